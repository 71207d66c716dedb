//! Time in 32 bits.
//!
//! A connection keeps deadlines in ticks of 2^20 ns (1.05 ms), the unit of the timing wheel: a shift instead of a
//! division. Ticks wrap after 52 days; a deadline lies at most 13 days ahead, so that it cannot be mistaken for
//! one that has passed.

use freeway_base::{Duration, Instant};

/// A point in time, in units of 2^20 ns, modulo 2^32.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tick(u32);

impl Tick {
    const SHIFT: u32 = 20;
    const ROUND_UP: u64 = (1 << Self::SHIFT) - 1;
    /// The longest wait: a quarter of the tick's range.
    const WAIT_MAX: Duration = Duration::from_nanos(1 << (30 + Self::SHIFT));

    /// The tick that `now` lies in.
    #[inline]
    pub(crate) const fn at(now: Instant) -> Self {
        Self((now.as_nanos() >> Self::SHIFT) as u32)
    }

    /// The first tick at or after the end of a wait: a deadline is never early.
    #[inline]
    pub(crate) fn after(now: Instant, wait: Duration) -> Self {
        let end = now + wait.min(Self::WAIT_MAX);
        Self((end.as_nanos().saturating_add(Self::ROUND_UP) >> Self::SHIFT) as u32)
    }

    /// Whether this deadline has come.
    #[inline]
    pub(crate) const fn is_reached(self, now: Instant) -> bool {
        Self::at(now).0.wrapping_sub(self.0) as i32 >= 0
    }

    /// The instant that this tick begins, for a deadline set not long before `now`.
    #[inline]
    pub(crate) const fn instant(self, now: Instant) -> Instant {
        let ticks = now.as_nanos() >> Self::SHIFT;
        let ahead = self.0.wrapping_sub(ticks as u32) as i32;
        Instant::from_nanos(ticks.saturating_add_signed(ahead as i64) << Self::SHIFT)
    }

    /// How long ago this tick of the past was; right for 52 days.
    #[inline]
    pub(crate) const fn elapsed(self, now: Instant) -> Duration {
        Duration::from_nanos((Self::at(now).0.wrapping_sub(self.0) as u64) << Self::SHIFT)
    }
}

/// Microseconds of the clock, modulo 2^32 (71 minutes): round trips are measured in it.
#[inline]
pub(crate) const fn micros(now: Instant) -> u32 {
    now.as_micros() as u32
}

/// The timestamp clock: milliseconds, as RFC 7323, section 5.4, asks for 1 ms to 1 s a tick.
#[inline]
pub(crate) const fn millis(now: Instant) -> u32 {
    now.as_millis() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_early_and_survives_the_wrap() {
        let wrap = Instant::from_nanos(1 << 52);
        for now in [Instant::ZERO, wrap - Duration::from_secs(1), wrap, wrap + Duration::from_nanos(77)] {
            for wait in [0, 1, 1_000_000, 40_000_000, 7_200_000_000_000].map(Duration::from_nanos) {
                let deadline = Tick::after(now, wait);
                let instant = deadline.instant(now);
                assert!(instant >= now + wait || wait == Duration::ZERO);
                assert!(instant - (now + wait) <= Duration::from_nanos(1 << 20));
                assert!(deadline.is_reached(instant));
                assert!(wait < Duration::from_millis(3) || !deadline.is_reached(now));
            }
        }
    }

    #[test]
    fn a_wait_for_ever_lies_in_the_future() {
        let now = Instant::from_secs(1_000);
        assert!(!Tick::after(now, Duration::MAX).is_reached(now));
    }

    #[test]
    fn elapsed_counts_from_the_past() {
        let then = Instant::from_secs(3);
        let weeks = Duration::from_secs(30 * 86_400);
        let elapsed = Tick::at(then).elapsed(then + weeks);
        assert!(elapsed + Duration::from_millis(3) > weeks && weeks + Duration::from_millis(3) > elapsed);
    }
}
