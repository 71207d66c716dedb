//! Latencies: a histogram of fixed size, and what people ask of it.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The longest latency that is told from longer ones, in nanoseconds: 100 s.
const LONGEST_NS: u64 = 100_000_000_000;
/// Figures that are told apart, in decimal digits.
const DIGITS: u8 = 3;

/// How long requests took, to three digits, from a nanosecond to 100 s. About 220 KiB, and never more: recording
/// allocates nothing.
#[derive(Clone, Debug)]
pub struct Latencies {
    histogram: Histogram<u64>,
}

/// What a histogram comes to, in microseconds.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// Latencies recorded.
    pub count: u64,
    /// The shortest.
    pub min: f64,
    /// The mean.
    pub mean: f64,
    /// Half were no longer.
    pub p50: f64,
    /// 90% were no longer.
    pub p90: f64,
    /// 99% were no longer.
    pub p99: f64,
    /// 99.9% were no longer.
    pub p999: f64,
    /// 99.99% were no longer.
    pub p9999: f64,
    /// The longest.
    pub max: f64,
}

impl Latencies {
    /// None yet.
    ///
    /// # Panics
    ///
    /// Never: the bounds are constants that the histogram takes.
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, DIGITS);
        Self { histogram: histogram.expect("three digits from 1 ns to 100 s are a histogram") }
    }

    /// Adds one, in nanoseconds; longer than 100 s counts as 100 s.
    #[inline]
    pub fn record(&mut self, nanos: u64) {
        self.histogram.saturating_record(nanos);
    }

    /// Adds a pause during which nothing was done, as an arrival at every instant of it would have felt it: `nanos`,
    /// and all that is left of it after each `step`.
    pub fn record_pause(&mut self, nanos: u64, step: u64) {
        let mut left = nanos;
        while left > 0 {
            self.histogram.saturating_record(left);
            left = left.saturating_sub(step.max(1));
        }
    }

    /// Adds all that `other` has.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds, so what one holds the other can.
        let added = self.histogram.add(&other.histogram);
        debug_assert!(added.is_ok());
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.histogram.reset();
    }

    /// What they come to.
    pub fn percentiles(&self) -> Percentiles {
        if self.histogram.is_empty() {
            return Percentiles::default();
        }
        let at = |quantile| self.histogram.value_at_quantile(quantile) as f64 / 1e3;
        Percentiles {
            count: self.histogram.len(),
            min: self.histogram.min() as f64 / 1e3,
            mean: self.histogram.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: self.histogram.max() as f64 / 1e3,
        }
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.percentiles(), Percentiles::default());
        for micros in 1..=10_000 {
            latencies.record(micros * 1_000);
        }
        let Percentiles { count, min, p50, p99, p9999, max, .. } = latencies.percentiles();
        let is = |value: f64, wanted: f64| (value / wanted - 1.0).abs() < 2e-3;
        assert_eq!(count, 10_000);
        assert!(is(min, 1.0) && is(p50, 5_000.0) && is(p99, 9_900.0) && is(p9999, 9_999.0), "{min} {p50}");
        assert!(is(max, 10_000.0));
        latencies.record(u64::MAX);
        assert!(is(latencies.percentiles().max, 1e8));
    }

    #[test]
    fn a_pause_is_felt_by_everyone_who_comes_during_it() {
        let mut latencies = Latencies::new();
        // A second without a pause, looked at every 100 ns; then one of a millisecond.
        for _ in 0..9_990_000 {
            latencies.record(100);
        }
        latencies.record_pause(1_000_000, 100);
        let Percentiles { count, p50, p9999, max, .. } = latencies.percentiles();
        assert_eq!(count, 10_000_000);
        assert!(p50 < 0.2 && (895.0..905.0).contains(&p9999) && (999.0..1_001.0).contains(&max), "{p9999}");
    }

    #[test]
    fn histograms_add_up() {
        let (mut one, mut two) = (Latencies::new(), Latencies::new());
        one.record(10);
        two.record(30);
        one.add(&two);
        assert_eq!(one.percentiles().count, 2);
        assert!((one.percentiles().mean - 0.02).abs() < 1e-6);
    }
}
