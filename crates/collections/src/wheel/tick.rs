//! The wheel's unit of time: 2^20 ns, about 1.05 ms, so that converting is a shift.

use freeway_base::Instant;

const SHIFT: u32 = 20;

/// The last tick that has begun at `at`.
#[inline]
pub(super) const fn tick_at_or_before(at: Instant) -> u64 {
    at.as_nanos() >> SHIFT
}

/// The first tick that begins at or after `at`: who waits for it never wakes early.
#[inline]
pub(super) const fn tick_at_or_after(at: Instant) -> u64 {
    let nanos = at.as_nanos();
    let begun = nanos >> SHIFT;
    if begun << SHIFT == nanos { begun } else { begun + 1 }
}

/// When `tick` begins.
#[inline]
pub(super) const fn instant_of(tick: u64) -> Instant {
    let nanos = tick << SHIFT;
    Instant::from_nanos(if nanos >> SHIFT == tick { nanos } else { u64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_rounded_away_from_early() {
        for (nanos, before, after) in
            [(0, 0, 0), (1, 0, 1), ((1 << 20) - 1, 0, 1), (1 << 20, 1, 1), ((1 << 20) + 1, 1, 2)]
        {
            assert_eq!(tick_at_or_before(Instant::from_nanos(nanos)), before);
            assert_eq!(tick_at_or_after(Instant::from_nanos(nanos)), after);
        }
    }

    #[test]
    fn the_end_of_time_does_not_overflow() {
        let last = tick_at_or_after(Instant::FAR_FUTURE);
        assert_eq!(instant_of(last), Instant::FAR_FUTURE);
    }
}
