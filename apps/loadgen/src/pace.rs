//! When requests are due: an open loop's arrivals, which do not wait for answers.

use freeway::{Instant, Rng};
use serde::{Deserialize, Serialize};

/// How arrivals are spread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Arrivals {
    /// At equal distances.
    Constant,
    /// At random, as those of very many independent clients are: distances are distributed exponentially.
    #[default]
    Poisson,
}

/// A rate, and how its arrivals are spread.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Rate {
    /// Arrivals a second, more than none.
    pub per_second: f64,
    /// How they are spread.
    pub arrivals: Arrivals,
}

/// The arrivals of one rate, one after another.
///
/// An arrival that could not be served in its time stays due, with the time that it was meant for: so a latency counts
/// the wait in front of a busy generator or server too, and a stall is felt by every request that it delayed.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Mean distance, in nanoseconds.
    mean_ns: f64,
    arrivals: Arrivals,
    /// When the next one is due, in nanoseconds.
    next_ns: f64,
}

impl Schedule {
    /// Arrivals from `now` on.
    pub fn new(rate: Rate, now: Instant, rng: &mut Rng) -> Self {
        let mean_ns = 1e9 / rate.per_second.max(1e-6);
        let mut schedule = Self { mean_ns, arrivals: rate.arrivals, next_ns: now.as_nanos() as f64 };
        schedule.advance(rng);
        schedule
    }

    /// When the next one is due.
    #[inline]
    pub fn next(&self) -> Instant {
        Instant::from_nanos(self.next_ns as u64)
    }

    /// Goes on to the one after.
    #[inline]
    pub fn advance(&mut self, rng: &mut Rng) {
        self.next_ns += match self.arrivals {
            Arrivals::Constant => self.mean_ns,
            // 1 - unit is in (0, 1].
            Arrivals::Poisson => -(1.0 - rng.unit()).ln() * self.mean_ns,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freeway::Seed;

    /// Mean and variance of the distances, in units of the mean asked for.
    fn distances(arrivals: Arrivals) -> (f64, f64) {
        const COUNT: u32 = 200_000;
        let mut rng = Rng::new(Seed(1));
        let mut schedule = Schedule::new(Rate { per_second: 1e6, arrivals }, Instant::from_secs(5), &mut rng);
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..COUNT {
            let before = schedule.next_ns;
            schedule.advance(&mut rng);
            let distance = (schedule.next_ns - before) / 1e3;
            sum += distance;
            squares += distance * distance;
        }
        let mean = sum / f64::from(COUNT);
        (mean, squares / f64::from(COUNT) - mean * mean)
    }

    #[test]
    fn arrivals_have_their_rate_and_their_spread() {
        let (mean, variance) = distances(Arrivals::Constant);
        assert!((mean - 1.0).abs() < 1e-6 && variance < 1e-6, "{mean} {variance}");
        let (mean, variance) = distances(Arrivals::Poisson);
        assert!((mean - 1.0).abs() < 0.02 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }

    #[test]
    fn what_is_late_keeps_its_time() {
        let mut rng = Rng::new(Seed(1));
        let rate = Rate { per_second: 1_000.0, arrivals: Arrivals::Constant };
        let mut schedule = Schedule::new(rate, Instant::from_secs(1), &mut rng);
        let due = |schedule: &Schedule| schedule.next().as_micros();
        assert_eq!(due(&schedule), 1_001_000);
        // However late it is served.
        schedule.advance(&mut rng);
        assert_eq!(due(&schedule), 1_002_000);
    }
}
