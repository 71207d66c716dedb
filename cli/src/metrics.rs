//! `freeway serve --metrics`: the server's figures over HTTP, on an address of its own.
//!
//! A thread makes the texts once a second; each core's second HTTP server sends them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use freeway::{HashKey, StatsReader};
use freeway_cache::ServerCounters;
use freeway_control::Snapshot;
use freeway_control::metrics::{self, Help};
use freeway_httpd::handlers::Publisher;
use freeway_httpd::{HttpCounters, Library, Parts, Route};

use crate::http::{Helpers, Http};

/// How often the texts are made anew.
const PERIOD: Duration = Duration::from_secs(1);

/// Where the figures are served: on one of the server's addresses, or on all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct At {
    pub(crate) addr: Option<IpAddr>,
    pub(crate) port: u16,
}

impl FromStr for At {
    type Err = String;

    /// `ADDR:PORT`, `:PORT` or `PORT`; an address of zeros is all of them.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no ADDR:PORT: such as 198.18.0.2:9100, [fdc1::2]:9100 or :9100");
        let at = match text.parse::<SocketAddr>() {
            Ok(at) => Self { addr: Some(at.ip()).filter(|addr| !addr.is_unspecified()), port: at.port() },
            Err(_) => Self {
                addr: None,
                port: text.strip_prefix(':').unwrap_or(text).parse().map_err(|_| wrong())?,
            },
        };
        if at.port == 0 {
            Err("port 0 cannot be served: choose one from 1 to 65535".to_owned())
        } else {
            Ok(at)
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr {
            Some(addr) => SocketAddr::new(addr, self.port).fmt(f),
            None => write!(f, ":{}", self.port),
        }
    }
}

/// The parts of each core's second HTTP server, and what runs beside them.
pub(crate) struct Metrics {
    counters: Publisher,
    stats: Publisher,
    _helpers: Helpers,
}

impl Metrics {
    /// A server's parts for each of `cores`.
    pub(crate) fn new(cores: usize, key: HashKey) -> Result<(Self, Vec<Parts>)> {
        let page = Library::of([("/".to_owned(), metrics::PAGE.as_bytes().into())]);
        let (mut parts, helpers) = Http::of(page).start(cores, key).context("--metrics")?;
        let (counters, counter_handlers) = Publisher::new(metrics::MEDIA_TYPE, cores);
        let (stats, stats_handlers) = Publisher::new("application/json", cores);
        for ((parts, counters), stats) in parts.iter_mut().zip(counter_handlers).zip(stats_handlers) {
            parts.routes.push(Route { path: "/metrics".to_owned(), handler: Box::new(counters) });
            parts.routes.push(Route { path: "/stats.json".to_owned(), handler: Box::new(stats) });
        }
        Ok((Self { counters, stats, _helpers: helpers }, parts))
    }

    /// Publishes what `reader` sees, until the returned handle is dropped.
    pub(crate) fn watch(self, reader: StatsReader, ready: String) -> Result<Watch> {
        let (stop, stopped) = mpsc::channel::<()>();
        let Self { mut counters, mut stats, _helpers: helpers } = self;
        let begun = Instant::now();
        let help = Help::default()
            .with("http", HttpCounters::HELP)
            .with("metrics", HttpCounters::HELP)
            .with("cache server", ServerCounters::HELP);
        let thread = thread::Builder::new().name("freeway-metrics".to_owned()).spawn(move || {
            let take = || Snapshot::take(&reader.read(), &ready, begun.elapsed().as_secs());
            let mut before = take();
            loop {
                let now = take();
                counters.publish(Arc::from(metrics::text(&now, &help).into_bytes()));
                stats.publish(Arc::from(metrics::json(&before, &now).into_bytes()));
                before = now;
                match stopped.recv_timeout(PERIOD) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            drop(helpers);
        });
        Ok(Watch { stop: Some(stop), thread: Some(thread.context("no thread for --metrics")?) })
    }
}

/// The publishing thread, while it is wanted.
pub(crate) struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It cannot panic.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_are_read_in_every_spelling() {
        let at = |text: &str| {
            text.parse::<At>().map(|At { addr, port }| (addr.map(|addr| addr.to_string()), port))
        };
        assert_eq!(at("198.18.0.2:9100").unwrap(), (Some("198.18.0.2".to_owned()), 9_100));
        assert_eq!(at("[fdc1::2]:9100").unwrap(), (Some("fdc1::2".to_owned()), 9_100));
        assert_eq!(
            [at(":9100").unwrap(), at("9100").unwrap(), at("0.0.0.0:9100").unwrap()],
            [(None, 9_100), (None, 9_100), (None, 9_100)]
        );
        assert!(["", ":0", "host:80", "198.18.0.2", "9100x"].iter().all(|text| at(text).is_err()));
    }
}
