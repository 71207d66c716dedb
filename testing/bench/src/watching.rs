//! Everything that looks at a running server, at once: what a person and their tools would do to it.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use freeway::Observer;
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
}

impl Watching {
    /// Begins to look.
    ///
    /// # Errors
    ///
    /// No thread, or a core that does not let itself be looked at.
    pub fn start(observer: Observer) -> anyhow::Result<Self> {
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
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It cannot panic.
            let _ = thread.join();
        }
    }
}
