//! What a load shows to its controller, and what the controller tells it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Shared between one load, which writes the counts, and its controller, which opens and closes the valve.
#[derive(Clone, Debug, Default)]
pub struct Gauge {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    open: AtomicU64,
    failed: AtomicU64,
    answered: AtomicU64,
    running: AtomicBool,
}

/// The counts at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reading {
    /// Connections that are established.
    pub open: u64,
    /// Connections that ended otherwise than by the load's own wish.
    pub failed: u64,
    /// Requests answered since the start.
    pub answered: u64,
}

impl Gauge {
    /// Lets requests flow, or stops them; connections stay.
    pub fn set_running(&self, running: bool) {
        self.shared.running.store(running, Ordering::Relaxed);
    }

    /// The counts of the last turn.
    pub fn read(&self) -> Reading {
        Reading {
            open: self.shared.open.load(Ordering::Relaxed),
            failed: self.shared.failed.load(Ordering::Relaxed),
            answered: self.shared.answered.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.shared.running.load(Ordering::Relaxed)
    }

    pub(crate) fn write(&self, reading: Reading) {
        self.shared.open.store(reading.open, Ordering::Relaxed);
        self.shared.failed.store(reading.failed, Ordering::Relaxed);
        self.shared.answered.store(reading.answered, Ordering::Relaxed);
    }
}
