//! Everything that looks at a running server, at once: what a person and their tools would do to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use freeway::{Observer, Tables};
use freeway_control::Snapshot;
use freeway_control::metrics::{Help, json, text};

/// How often the figures are asked for: as `top` and the metrics' thread do.
const PERIOD: Duration = Duration::from_secs(1);

/// A filter of several tests that takes no frame of a benchmark.
const NOTHING: &str = "vlan 4094 or (udp port 53 and net 198.51.100.0/24) or host 2001:db8::53 or arp";

/// Looks at a server until it is dropped: its figures once a second, as a snapshot and as metrics, and every frame of it
/// by a capture whose filter takes none.
#[derive(Debug)]
pub struct Watching {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    listing: Option<JoinHandle<()>>,
    done: Arc<AtomicBool>,
    rows: Arc<AtomicU64>,
}

impl Watching {
    /// Begins to look; with `list`, also at every socket with all that TCP knows of it, over and over.
    ///
    /// # Errors
    ///
    /// No thread, or a core that does not let itself be looked at.
    pub fn start(observer: Observer, list: bool) -> anyhow::Result<Self> {
        let (done, rows) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let listing = match list {
            true => {
                let (observer, done, rows) = (observer.clone(), Arc::clone(&done), Arc::clone(&rows));
                Some(thread::Builder::new().spawn(move || list_all(&observer, &done, &rows))?)
            }
            false => None,
        };
        let frames: Vec<_> = (0..observer.cores())
            .map(|core| observer.frames(core, NOTHING.parse()?, 256, 4_096).map_err(anyhow::Error::from))
            .collect::<anyhow::Result<_>>()?;
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::Builder::new().name("watching".to_owned()).spawn(move || {
            let (mut frames, help) = (frames, Help::default());
            let take = || Snapshot::take(&observer.stats().read(), "bench", 0);
            let mut before = take();
            loop {
                let now = take();
                std::hint::black_box((text(&now, &help), json(&before, &now)));
                before = now;
                for frames in &mut frames {
                    while frames.peek().is_some() {
                        frames.release();
                    }
                }
                if stopped.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread), listing, done, rows })
    }

    /// Sockets that were shown so far.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }
}

fn list_all(observer: &Observer, done: &AtomicBool, count: &AtomicU64) {
    while !done.load(Ordering::Relaxed) {
        for core in 0..observer.cores() {
            let Ok(mut rows) = observer.rows(core, Tables::all(), true) else { return };
            while let Ok(Some(row)) = rows.next_row() {
                std::hint::black_box(row);
                count.fetch_add(1, Ordering::Relaxed);
                if done.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.done.store(true, Ordering::Relaxed);
        for thread in self.thread.take().into_iter().chain(self.listing.take()) {
            // They cannot panic.
            let _ = thread.join();
        }
    }
}
