//! Polling when busy, sleeping when idle.
//!
//! A busy core never asks the kernel anything. A core that has found nothing for a while arms its ports and its
//! bell, looks once more, and sleeps until a frame, another core, or the next deadline wakes it: an idle server
//! costs no CPU, a busy one takes no interrupts.

use std::fmt;
use std::str::FromStr;

use freeway_base::{Duration, Instant};
use thiserror::Error;

/// What a core does when it finds nothing to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idle {
    /// Polls on for ever: the least latency for a whole CPU.
    Spin,
    /// Polls on for `spin`, then sleeps. A wake-up costs a few microseconds, so a pause shorter than that is
    /// best spent polling.
    Adaptive {
        /// How long to poll in vain before sleeping.
        spin: Duration,
    },
    /// Sleeps at once: the least CPU.
    Sleep,
}

impl Idle {
    /// How long [`Idle::Adaptive`] polls in vain by default: a few times the cost of a sleep and a wake-up.
    pub const SPIN: Duration = Duration::from_micros(50);

    /// Whether a core that found nothing at `now`, and last did something at `busy_at`, should sleep.
    #[inline]
    pub(crate) fn should_sleep(self, busy_at: Instant, now: Instant) -> bool {
        match self {
            Self::Spin => false,
            Self::Adaptive { spin } => now.since(busy_at) >= spin,
            Self::Sleep => true,
        }
    }
}

impl Default for Idle {
    fn default() -> Self {
        Self::Adaptive { spin: Self::SPIN }
    }
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spin => "spin",
            Self::Adaptive { .. } => "adaptive",
            Self::Sleep => "sleep",
        })
    }
}

/// A word that names no idle policy.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("`{0}` is no idle policy: it is one of sleep, adaptive, spin")]
pub struct ParseIdleError(String);

impl FromStr for Idle {
    type Err = ParseIdleError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "spin" => Ok(Self::Spin),
            "adaptive" => Ok(Self::default()),
            "sleep" => Ok(Self::Sleep),
            _ => Err(ParseIdleError(word.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_adaptive_core_sleeps_after_its_spin() {
        let at = Instant::from_micros;
        assert!(!Idle::default().should_sleep(at(100), at(149)));
        assert!(Idle::default().should_sleep(at(100), at(150)));
        assert!(!Idle::Spin.should_sleep(at(0), at(1_000_000)));
        assert!(Idle::Sleep.should_sleep(at(100), at(100)));
    }

    #[test]
    fn words_name_policies() {
        for word in ["spin", "adaptive", "sleep"] {
            assert_eq!(word.parse::<Idle>().unwrap().to_string(), word);
        }
        assert_eq!(
            "nap".parse::<Idle>().unwrap_err().to_string(),
            "`nap` is no idle policy: it is one of sleep, adaptive, spin"
        );
    }
}
