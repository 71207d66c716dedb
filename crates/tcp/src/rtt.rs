//! Round-trip time and the retransmission time-out (RFC 6298).

use freeway_base::Duration;

use crate::config::Config;

/// The smoothed round trip and its variation, in fixed point as in the appendix of Jacobson's paper: the
/// divisions by 8 and 4 are shifts, and no bit is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub(crate) struct Rtt {
    /// SRTT in eighths of a microsecond; 0 before the first measurement.
    srtt_8: u32,
    /// RTTVAR in quarters of a microsecond.
    rttvar_4: u32,
}

/// Longest believable round trip: what an eighth-microsecond count can hold with room to spare.
const SAMPLE_US_MAX: u32 = 1 << 27;

impl Rtt {
    /// Takes a measurement in microseconds.
    pub(crate) fn sample(&mut self, us: u32) {
        let us = us.clamp(1, SAMPLE_US_MAX);
        if self.srtt_8 == 0 {
            // 2.2: SRTT <- R, RTTVAR <- R/2.
            self.srtt_8 = us << 3;
            self.rttvar_4 = us << 1;
            return;
        }
        // 2.3: RTTVAR <- 3/4 RTTVAR + 1/4 |SRTT - R|, then SRTT <- 7/8 SRTT + 1/8 R.
        let error = (self.srtt_8 >> 3).abs_diff(us);
        self.rttvar_4 = self.rttvar_4 - (self.rttvar_4 >> 2) + error;
        self.srtt_8 = (self.srtt_8 - (self.srtt_8 >> 3) + us).max(1);
    }

    /// Whether there was a measurement.
    pub(crate) const fn is_known(&self) -> bool {
        self.srtt_8 != 0
    }

    /// SRTT.
    pub(crate) const fn smoothed(&self) -> Duration {
        Duration::from_micros((self.srtt_8 >> 3) as u64)
    }

    /// RTTVAR.
    pub(crate) const fn variation(&self) -> Duration {
        Duration::from_micros((self.rttvar_4 >> 2) as u64)
    }

    /// What no [time-out](Self::timeout) is shorter than.
    #[inline]
    pub(crate) fn timeout_min(config: &Config) -> Duration {
        config.rto_min.min(config.rto_initial).min(config.rto_max)
    }

    /// The time-out, doubled `backoff` times (5.5), and never above the maximum.
    ///
    /// 2.3: RTO <- SRTT + max(G, 4 RTTVAR). The floor takes the clock granularity's place in that formula
    /// instead of bounding the sum (2.4), so that a peer's delayed acknowledgment never looks like a loss,
    /// however short the path.
    #[inline]
    pub(crate) fn timeout(&self, config: &Config, syn_was_lost: bool, backoff: u8) -> Duration {
        let base = if self.is_known() {
            let sum = self.smoothed() + Duration::from_micros(u64::from(self.rttvar_4)).max(config.rto_min);
            if backoff == 0 {
                return sum.min(config.rto_max);
            }
            sum
        } else if syn_was_lost {
            // 5.7: 3 s for data, when the SYN was sent more than once and nothing was measured since.
            config.rto_initial.max(Duration::from_secs(3))
        } else {
            config.rto_initial
        };
        base.saturating_mul(1 << backoff.min(16)).min(config.rto_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_measurement_sets_both() {
        let mut rtt = Rtt::default();
        rtt.sample(100_000);
        assert_eq!(rtt.smoothed(), Duration::from_millis(100));
        assert_eq!(rtt.variation(), Duration::from_millis(50));
        assert_eq!(rtt.timeout(&Config::default(), false, 0), Duration::from_millis(300));
    }

    #[test]
    fn a_steady_path_settles_at_the_floor_and_doubles_from_there() {
        let mut rtt = Rtt::default();
        for _ in 0..100 {
            rtt.sample(10_000);
        }
        let config = Config::default();
        let timeout = rtt.timeout(&config, false, 0);
        assert_eq!(timeout.as_millis(), 210);
        assert_eq!(rtt.timeout(&config, false, 1), timeout + timeout);
        assert_eq!(rtt.timeout(&config, false, 200), config.rto_max);
    }

    #[test]
    fn nothing_measured_means_one_second_or_three_after_a_lost_syn() {
        let config = Config::default();
        assert_eq!(Rtt::default().timeout(&config, false, 0), Duration::from_secs(1));
        assert_eq!(Rtt::default().timeout(&config, true, 0), Duration::from_secs(3));
    }

    #[test]
    fn no_time_out_is_shorter_than_the_least() {
        let short = Config {
            rto_initial: Duration::from_millis(20),
            rto_max: Duration::from_millis(100),
            ..Config::default()
        };
        for config in [Config::default(), short] {
            for us in [None, Some(1), Some(5_000), Some(300_000)] {
                let mut rtt = Rtt::default();
                us.into_iter().for_each(|us| rtt.sample(us));
                assert!(rtt.timeout(&config, false, 0) >= Rtt::timeout_min(&config), "{us:?}");
            }
        }
    }

    #[test]
    fn no_measurement_overflows() {
        let mut rtt = Rtt::default();
        for us in [0, 1, u32::MAX, 0, u32::MAX, SAMPLE_US_MAX, 3] {
            for _ in 0..50 {
                rtt.sample(us);
            }
            assert!(rtt.is_known());
        }
    }
}
