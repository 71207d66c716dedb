//! Moves frames between two links, through an impaired path each way.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant as Clock;

use anyhow::{Result, anyhow};
use freeway_base::{Duration, Instant, Rng, Seed};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::config::{Both, Impairment};
use super::link::Link;
use super::queue::{Counts, Impairer};

/// Frames taken from one link before the other has its turn.
const BURST: usize = 64;

/// The longest frame there is: a segment of 64 KiB, should an offload have been left on, and its header.
const FRAME_MAX: usize = 65_536 + 256;

/// How long a bridge without work sleeps before it looks whether it should stop.
const NAP: Duration = Duration::from_millis(50);

freeway_base::counters! {
    /// What the receiving end of a direction refused.
    pub struct Refusals {
        /// Frames the interface did not take when sent: its queue was full, it was down, or they were too long.
        send_failed,
        /// Errors of the interface when read, such as that it went down.
        receive_failed,
    }
}

/// What happened on the path, by direction.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// What the path did.
    pub path: Both<Counts>,
    /// What the interfaces refused.
    pub refused: Both<Refusals>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, path, refused) in [
            ("forward", self.path.forward, self.refused.forward),
            ("backward", self.path.backward, self.refused.backward),
        ] {
            write!(f, "{name}:")?;
            for (counter, value) in path.iter().chain(refused.iter()) {
                write!(f, " {counter}={value}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

struct Direction {
    path: Impairer,
    refused: Refusals,
}

/// Two links and what lies between them.
pub struct Bridge {
    left: Link,
    right: Link,
    forward: Direction,
    backward: Direction,
    clock: Clock,
}

impl Bridge {
    /// A bridge whose `forward` direction leads from `left` to `right`; both directions draw from `seed`.
    pub fn new(left: Link, right: Link, impairment: Both<Impairment>, seed: Seed) -> Self {
        let mut rng = Rng::new(seed);
        let mut direction = |config| {
            let path = Impairer::new(config, Seed(rng.next_u64()));
            Direction { path, refused: Refusals::default() }
        };
        let (forward, backward) = (direction(impairment.forward), direction(impairment.backward));
        Self { left, right, forward, backward, clock: Clock::now() }
    }

    /// Carries frames until `stop` is set; frames still under way then are gone.
    ///
    /// # Errors
    ///
    /// When the links cannot be waited for.
    pub fn run(&mut self, stop: &AtomicBool) -> Result<()> {
        let mut buffer = vec![0; FRAME_MAX];
        while !stop.load(Ordering::Relaxed) {
            self.wait()?;
            self.forward.take(&self.left, &self.clock, &mut buffer);
            self.backward.take(&self.right, &self.clock, &mut buffer);
            self.forward.give(&self.right, &self.clock);
            self.backward.give(&self.left, &self.clock);
        }
        Ok(())
    }

    /// Runs the bridge on a thread of its own.
    pub fn start(mut self) -> RunningBridge {
        let stop = Arc::new(AtomicBool::new(false));
        let stop_seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || self.run(&stop_seen).map(|()| self.report()));
        RunningBridge { stop, thread: Some(thread) }
    }

    /// What happened so far.
    pub fn report(&self) -> Report {
        Report {
            path: Both { forward: self.forward.path.counts(), backward: self.backward.path.counts() },
            refused: Both { forward: self.forward.refused, backward: self.backward.refused },
        }
    }

    /// Sleeps until a frame has come in or one under way has arrived.
    fn wait(&self) -> Result<()> {
        let now = elapsed(&self.clock);
        let next = [&self.forward, &self.backward]
            .into_iter()
            .filter_map(|direction| direction.path.next_due())
            .min();
        let span = next.map_or(NAP, |due| due.since(now).min(NAP));
        // At most NAP, so that it fits.
        let timeout = Timespec { tv_sec: 0, tv_nsec: span.as_nanos() as _ };
        let mut links = [PollFd::new(&self.left, PollFlags::IN), PollFd::new(&self.right, PollFlags::IN)];
        match poll(&mut links, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Direction {
    fn take(&mut self, from: &Link, clock: &Clock, buffer: &mut [u8]) {
        for _ in 0..BURST {
            match from.receive(buffer) {
                Ok(Some(length)) => self.path.push(elapsed(clock), &buffer[..length]),
                Ok(None) => return,
                Err(_) => {
                    self.refused.receive_failed += 1;
                    return;
                }
            }
        }
    }

    fn give(&mut self, to: &Link, clock: &Clock) {
        let now = elapsed(clock);
        while let Some(frame) = self.path.pop(now) {
            if to.send(&frame).is_err() {
                self.refused.send_failed += 1;
            }
        }
    }
}

fn elapsed(clock: &Clock) -> Instant {
    Instant::ZERO + clock.elapsed().into()
}

/// A bridge at work; it ends on drop.
pub struct RunningBridge {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Report>>>,
}

impl RunningBridge {
    /// Ends the bridge and says what happened.
    ///
    /// # Errors
    ///
    /// When it had ended by itself.
    pub fn stop(mut self) -> Result<Report> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().ok_or_else(|| anyhow!("the bridge was stopped before"))?;
        thread.join().map_err(|_| anyhow!("the bridge panicked"))?
    }
}

impl Drop for RunningBridge {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its report is not wanted any more.
            let _ = thread.join();
        }
    }
}
