//! The cores while they run: a thread's loop, and the handle on all of them.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;

use freeway_base::Duration;
use freeway_stack::Application;
use thiserror::Error;

use crate::board::{self, Board};
use crate::clock::{Clock, Monotonic};
use crate::core::Core;
use crate::idle::Idle;
use crate::observer::{Desk, Observer};
use crate::stats::CoreStats;
use crate::stop::StopHandle;

/// The longest a core sleeps without a deadline. Nothing depends on it: it bounds the harm of a device that
/// forgets to wake its core.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// A core's thread, from its first turn to its last.
pub(crate) fn run<A: Application>(
    mut core: Core<A>,
    mut clock: impl Clock,
    idle: Idle,
    stop: &StopHandle,
    board: &Board,
) {
    // However this thread ends, a data plane that lacks a core has to end.
    let _all = StopOnDrop(stop);
    let mut busy_at = clock.now();
    let mut publish_at = busy_at;
    // Whether something happened that the board does not show: then the sleep ends in time to publish it.
    let mut stale = true;
    while !stop.is_stopped() {
        let now = clock.now();
        let busy = core.poll(now).is_busy();
        stale |= busy;
        if now >= publish_at {
            board.publish(now, &core);
            publish_at = now + board::PERIOD;
            stale = false;
        }
        if busy {
            busy_at = now;
        } else if idle.should_sleep(busy_at, now) {
            let until_publish = if stale { publish_at.since(now) } else { LONGEST_SLEEP };
            core.sleep(now, until_publish);
        } else {
            std::hint::spin_loop();
        }
    }
    board.publish(clock.now(), &core);
}

struct StopOnDrop<'a>(&'a StopHandle);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A core that ended by a panic; all others were stopped.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("core {core} panicked: {message}")]
pub struct CorePanic {
    /// The core.
    pub core: u32,
    /// What it said.
    pub message: String,
}

/// The cores while they run. Dropping it stops them and waits for their end.
pub struct Running {
    stop: StopHandle,
    pub(crate) threads: Vec<(u32, JoinHandle<()>)>,
    pub(crate) boards: Vec<Arc<Board>>,
    pub(crate) desks: Vec<Arc<Desk>>,
    clock: Monotonic,
}

impl Running {
    pub(crate) fn new(stop: StopHandle, clock: Monotonic) -> Self {
        Self { stop, threads: Vec::new(), boards: Vec::new(), desks: Vec::new(), clock }
    }

    /// What looks at the cores while they run; it may move to another thread.
    pub fn observer(&self) -> Observer {
        Observer { stats: self.stats_reader(), desks: self.desks.clone(), clock: self.clock }
    }

    /// What stops the cores.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// A reader of the cores' counters that may move to another thread.
    pub fn stats_reader(&self) -> StatsReader {
        StatsReader { boards: self.boards.clone() }
    }

    /// The counters of each core, in order. A core that does something publishes them every 100 ms, one that
    /// sleeps whenever it wakes, at least once a second; [`CoreStats::at`] says when.
    pub fn stats(&self) -> Vec<CoreStats> {
        self.boards.iter().map(|board| board.read()).collect()
    }

    /// Waits until all cores have ended: by a [`StopHandle`], or because one of them panicked. Returns the last
    /// counters of each core.
    ///
    /// # Errors
    ///
    /// The first core that panicked.
    pub fn join(mut self) -> Result<Vec<CoreStats>, CorePanic> {
        self.join_threads()?;
        Ok(self.stats())
    }

    /// Stops the cores and waits for their end. See [`Running::join`].
    ///
    /// # Errors
    ///
    /// The first core that panicked.
    pub fn stop(self) -> Result<Vec<CoreStats>, CorePanic> {
        self.stop.stop();
        self.join()
    }

    fn join_threads(&mut self) -> Result<(), CorePanic> {
        let mut first = Ok(());
        for (core, thread) in self.threads.drain(..) {
            let ended =
                thread.join().map_err(|panic| CorePanic { core, message: message_of(panic.as_ref()) });
            first = first.and(ended);
        }
        first
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        let _ = self.join_threads();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("cores", &self.boards.len()).finish_non_exhaustive()
    }
}

/// Reads the cores' counters. Clones read the same ones.
#[derive(Clone, Default)]
pub struct StatsReader {
    boards: Vec<Arc<Board>>,
}

impl StatsReader {
    /// The counters of each core, in order. See [`Running::stats`].
    pub fn read(&self) -> Vec<CoreStats> {
        self.boards.iter().map(|board| board.read()).collect()
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}
