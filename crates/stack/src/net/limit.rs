//! Token buckets: how many replies a stranger can provoke.
//!
//! The bucket counts time instead of tokens: it fills by a nanosecond each nanosecond, and a token costs as
//! many of them as lie between two replies of the steady rate. So nothing is divided when a packet is judged.

use freeway_base::Instant;

/// A steady rate with a burst on top.
#[derive(Clone, Debug)]
pub(crate) struct TokenBucket {
    /// What one token costs, in nanoseconds.
    cost_ns: u64,
    /// The most that can be saved up.
    brim_ns: u64,
    saved_ns: u64,
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket. A rate of 0 grants the burst and nothing more.
    pub(crate) const fn new(per_second: u32, burst: u32) -> Self {
        let cost_ns = match per_second {
            0 => u64::MAX / (if burst == 0 { 1 } else { burst as u64 }),
            rate => 1_000_000_000 / rate as u64,
        };
        let brim_ns = cost_ns.saturating_mul(burst as u64);
        Self { cost_ns, brim_ns, saved_ns: brim_ns, filled: Instant::ZERO }
    }

    /// Counts the time that has passed.
    fn fill(&mut self, now: Instant) {
        let fresh = now.since(self.filled).as_nanos();
        self.saved_ns = self.saved_ns.saturating_add(fresh).min(self.brim_ns);
        self.filled = now;
    }

    /// Loses `part` / 2^32 of a half of the most that can be saved up.
    pub(crate) fn spill(&mut self, now: Instant, part: u32) {
        self.fill(now);
        let lost = (u128::from(self.brim_ns / 2) * u128::from(part)) >> 32;
        self.saved_ns = self.saved_ns.saturating_sub(lost as u64);
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let granted = self.saved_ns >= self.cost_ns;
        if granted {
            self.saved_ns -= self.cost_ns;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freeway_base::Duration;

    fn granted(bucket: &mut TokenBucket, now: Instant, tries: usize) -> usize {
        (0..tries).filter(|_| bucket.take(now)).count()
    }

    #[test]
    fn a_burst_then_the_steady_rate() {
        let mut bucket = TokenBucket::new(100, 10);
        let start = Instant::from_secs(5);
        assert_eq!(granted(&mut bucket, start, 50), 10);
        assert_eq!(granted(&mut bucket, start + Duration::from_millis(9), 50), 0);
        assert_eq!(granted(&mut bucket, start + Duration::from_millis(30), 50), 3);
        assert_eq!(granted(&mut bucket, start + Duration::from_secs(60), 50), 10);
    }

    #[test]
    fn no_rate_and_no_burst_grant_nothing() {
        assert_eq!(granted(&mut TokenBucket::new(0, 0), Instant::from_secs(100), 5), 0);
        assert_eq!(granted(&mut TokenBucket::new(100, 0), Instant::from_secs(100), 5), 0);
    }
}
