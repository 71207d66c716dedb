//! How many segments a stranger can provoke, and why it tells nothing about others (RFC 5961, section 7).
//!
//! A limit that all connections share is a channel: who has a connection of its own drains it, sends a forged segment
//! to somebody else's, and sees by what is left whether that was answered (CVE-2016-5696). Against it:
//!
//! - a connection sends one challenge ACK in half a second and no more, so that forged segments for one connection
//!   take next to nothing from the others' share;
//! - challenges and resets draw from separate limits;
//! - each second both limits lose a random part, up to a half, so that what is left tells nothing of one segment.

use freeway_base::{Instant, Rng};

use crate::net::limit::TokenBucket;

/// A limit whose exact height nobody knows.
pub(crate) struct Replies {
    bucket: TokenBucket,
    rng: Rng,
    /// The period of 2^30 ns that the last draw was made in.
    period: u64,
}

impl Replies {
    const PERIOD_SHIFT: u32 = 30;

    /// At most `per_second` in the long run, and `burst` at once.
    pub(crate) const fn new(per_second: u32, burst: u32, rng: Rng) -> Self {
        Self { bucket: TokenBucket::new(per_second, burst), rng, period: u64::MAX }
    }

    /// Whether one more reply may go out.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let period = now.as_nanos() >> Self::PERIOD_SHIFT;
        if self.period != period {
            self.period = period;
            self.bucket.spill(now, self.rng.next_u32());
        }
        self.bucket.take(now)
    }
}

/// The half second that `now` lies in, modulo 256 (137 s).
pub(crate) const fn half_second(now: Instant) -> u8 {
    (now.as_nanos() >> 29) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use freeway_base::{Duration, Seed};

    #[test]
    fn the_limit_is_between_a_half_and_the_whole_and_never_the_same() {
        let mut replies = Replies::new(1_000, 1_000, Rng::new(Seed(1)));
        let mut now = Instant::from_secs(10);
        let mut seen = [0; 100];
        for count in &mut seen {
            while replies.take(now) {
                *count += 1;
            }
            now += Duration::from_secs(2);
        }
        assert!(seen.iter().all(|count| (500..=1_000).contains(count)), "{seen:?}");
        let mean = seen.iter().sum::<u32>() / 100;
        assert!((700..800).contains(&mean), "{mean}");
        seen.sort_unstable();
        assert!(seen.windows(2).filter(|pair| pair[0] != pair[1]).count() > 80, "{seen:?}");
    }
}
