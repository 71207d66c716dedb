//! Times to live as clients say them, in seconds of the store's clock.

use freeway::Instant;

use crate::store::NEVER;

/// Above this a time to live is a Unix time: 30 days (memcached's protocol.txt, "Expiration times").
const RELATIVE_MAX: i32 = 60 * 60 * 24 * 30;

/// The seconds of one core's store. It begins at 1, so that 0 is always over.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    /// The Unix time of the store's second 0.
    unix: u64,
    now: u32,
    /// Microseconds since the start.
    us: u64,
}

impl Clock {
    /// A clock that starts at `now`, when the Unix time is `unix` seconds.
    pub const fn new(now: Instant, unix: u64) -> Self {
        Self { started: now, unix: unix.saturating_sub(1), now: 1, us: 0 }
    }

    /// Tells it the time; returns whether another second has begun.
    #[inline]
    pub fn set(&mut self, now: Instant) -> bool {
        let second = 1 + u32::try_from((now - self.started).as_nanos() / 1_000_000_000).unwrap_or(NEVER - 2);
        self.us = (now - self.started).as_nanos() / 1_000;
        let changed = second != self.now;
        self.now = second;
        changed
    }

    /// The second it is.
    #[inline]
    pub const fn now(&self) -> u32 {
        self.now
    }

    /// Seconds since the start.
    pub const fn uptime(&self) -> u32 {
        self.now - 1
    }

    /// The Unix time in seconds.
    pub const fn unix_time(&self) -> u64 {
        self.unix + self.now as u64
    }

    /// The Unix time in microseconds.
    pub const fn unix_us(&self) -> u64 {
        (self.unix + 1) * 1_000_000 + self.us
    }

    /// The Unix time of a second of the store's clock.
    pub const fn unix_of(&self, second: u32) -> u64 {
        self.unix + second as u64
    }

    /// When something stored now expires: [`NEVER`] at 0, at once below, in so many seconds up to 30 days, at that Unix
    /// time above.
    #[inline]
    pub fn expiry(&self, exptime: i32) -> u32 {
        match exptime {
            0 => NEVER,
            ..0 => self.now,
            1..=RELATIVE_MAX => self.now + exptime.unsigned_abs(),
            _ => {
                let second = u64::from(exptime.unsigned_abs()).saturating_sub(self.unix);
                u32::try_from(second).unwrap_or(NEVER - 1).clamp(self.now, NEVER - 1)
            }
        }
    }

    /// Seconds that are left until `expiry`; `None` for ever.
    #[inline]
    pub const fn left(&self, expiry: u32) -> Option<u32> {
        if expiry == NEVER { None } else { Some(expiry.saturating_sub(self.now)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_live_are_read_as_memcached_reads_them() {
        let mut clock = Clock::new(Instant::from_secs(100), 1_700_000_000);
        assert!(clock.set(Instant::from_millis(109_900)));
        assert!(!clock.set(Instant::from_millis(109_950)));
        assert_eq!((clock.now(), clock.uptime(), clock.unix_time()), (10, 9, 1_700_000_009));
        assert_eq!(clock.expiry(0), NEVER);
        assert_eq!(clock.expiry(-1), 10);
        assert_eq!(clock.expiry(5), 15);
        assert_eq!(clock.expiry(RELATIVE_MAX), 10 + 2_592_000);
        assert_eq!(clock.expiry(1_700_000_100), 101);
        assert_eq!(clock.unix_of(101), 1_700_000_100);
        // A date that is past is over.
        assert_eq!(clock.expiry(RELATIVE_MAX + 1), 10);
        assert_eq!((clock.left(NEVER), clock.left(15), clock.left(3)), (None, Some(5), Some(0)));
    }
}
