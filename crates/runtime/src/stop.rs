//! Stopping all cores, from anywhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::bell::Bell;

/// Stops the cores of one runtime. Clones stop the same cores; a signal handler's thread, an application, or a
/// failing core may hold one.
#[derive(Clone, Debug)]
pub struct StopHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    stopped: AtomicBool,
    bells: Vec<Arc<Bell>>,
}

impl StopHandle {
    pub(crate) fn new(bells: Vec<Arc<Bell>>) -> Self {
        Self { shared: Arc::new(Shared { stopped: AtomicBool::new(false), bells }) }
    }

    /// Asks all cores to end after their present turn, and wakes those that sleep. May be called any number of
    /// times.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.wake();
    }

    /// Wakes the cores that sleep, so that their applications find at once what somebody left for them. It has to be there
    /// before this.
    pub fn wake(&self) {
        for bell in &self.shared.bells {
            bell.signal();
        }
    }

    /// Whether the cores were asked to end.
    #[inline]
    pub fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Acquire)
    }
}
