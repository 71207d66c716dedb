//! Where the time comes from: the owner of the loop reads it, once a turn.

use freeway_base::{Duration, Instant};

/// A source of time that never goes backwards.
///
/// [`Core::poll`](crate::Core::poll) is told the time, so a simulation needs no clock at all; this is for loops
/// that run by themselves.
pub trait Clock {
    /// The time now.
    fn now(&mut self) -> Instant;
}

/// The system's monotonic clock, counted from a common origin: instants of two cores may be compared.
#[derive(Clone, Copy, Debug)]
pub struct Monotonic {
    origin: std::time::Instant,
}

impl Monotonic {
    /// A clock that shows zero now.
    pub fn new() -> Self {
        Self { origin: std::time::Instant::now() }
    }
}

impl Default for Monotonic {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for Monotonic {
    #[inline]
    fn now(&mut self) -> Instant {
        Instant::ZERO + Duration::from(self.origin.elapsed())
    }
}

impl<F: FnMut() -> Instant> Clock for F {
    #[inline]
    fn now(&mut self) -> Instant {
        self()
    }
}

/// The kernel's monotonic clock itself, the same for all threads and processes: for what two threads time together.
pub(crate) fn uptime() -> Instant {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Instant::from_secs(time.tv_sec as u64) + Duration::from_nanos(time.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_a_clock_agree() {
        let mut one = Monotonic::new();
        let mut two = one;
        let first = one.now();
        let second = two.now();
        assert!(first <= second && second - first < Duration::from_secs(10));
    }
}
