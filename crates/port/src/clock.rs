//! Where wrappers take the time from.

use std::cell::Cell;
use std::rc::Rc;

use freeway_base::Instant;

/// Tells the time. Any `Fn() -> Instant` does.
pub trait Clock {
    /// The time now; never earlier than what was told before.
    fn now(&self) -> Instant;
}

impl<F: Fn() -> Instant> Clock for F {
    fn now(&self) -> Instant {
        self()
    }
}

/// A clock that stands still until it is set. All clones show the same time: a simulation holds one and gives the
/// others away.
#[derive(Clone, Debug, Default)]
pub struct SharedClock {
    now: Rc<Cell<Instant>>,
}

impl SharedClock {
    /// A clock that shows `now`.
    pub fn new(now: Instant) -> Self {
        Self { now: Rc::new(Cell::new(now)) }
    }

    /// Moves every clone on to `now`. A clock does not go back: an earlier time changes nothing.
    pub fn set(&self, now: Instant) {
        self.now.set(now.max(self.now.get()));
    }
}

impl Clock for SharedClock {
    fn now(&self) -> Instant {
        self.now.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_show_one_time_that_never_goes_back() {
        let clock = SharedClock::default();
        let clone = clock.clone();
        clock.set(Instant::from_secs(2));
        clock.set(Instant::from_secs(1));
        assert_eq!(clone.now(), Instant::from_secs(2));
    }
}
