//! What befalls one frame.

use freeway_base::{Duration, Rng};

use super::config::FaultConfig;

/// The numbers drawn for one frame. Always the same number of draws in the same order, whatever the configuration:
/// a fault that is turned on or off leaves the others of the same seed where they were.
pub(super) struct Dice {
    loss: f64,
    burst_begins: f64,
    burst_ends: f64,
    corrupt: f64,
    bit: u32,
    duplicate: f64,
    delay: f64,
    delay_of_copy: f64,
    reorder: f64,
}

impl Dice {
    pub(super) fn throw(rng: &mut Rng) -> Self {
        Self {
            loss: rng.unit(),
            burst_begins: rng.unit(),
            burst_ends: rng.unit(),
            corrupt: rng.unit(),
            bit: rng.next_u32(),
            duplicate: rng.unit(),
            delay: rng.unit(),
            delay_of_copy: rng.unit(),
            reorder: rng.unit(),
        }
    }

    pub(super) fn is_lost(&self, config: &FaultConfig) -> bool {
        self.loss < config.loss_ratio
    }

    /// Whether the frame is lost in a burst, one that is `on` already or begins with it. Leaves in `on` whether the
    /// burst goes on after the frame.
    pub(super) fn is_lost_in_burst(&self, config: &FaultConfig, on: &mut bool) -> bool {
        let lost = *on || self.burst_begins < config.loss_burst_ratio;
        // A burst of n frames on average ends after each of them with a chance of 1/n.
        *on = lost && self.burst_ends * config.loss_burst_frames_mean >= 1.0;
        lost
    }

    /// Flips a bit of `frame` if it is this frame's fate, and tells so.
    pub(super) fn corrupt(&self, config: &FaultConfig, frame: &mut [u8]) -> bool {
        if self.corrupt >= config.corrupt_ratio || frame.is_empty() {
            return false;
        }
        let bit = (u64::from(self.bit) * (frame.len() as u64 * 8)) >> 32;
        frame[bit as usize / 8] ^= 1 << (bit % 8);
        true
    }

    pub(super) fn is_duplicated(&self, config: &FaultConfig) -> bool {
        self.duplicate < config.duplicate_ratio
    }

    pub(super) fn delay(&self, config: &FaultConfig) -> Duration {
        spread(config, self.delay)
    }

    pub(super) fn delay_of_copy(&self, config: &FaultConfig) -> Duration {
        spread(config, self.delay_of_copy)
    }

    pub(super) fn is_reordered(&self, config: &FaultConfig) -> bool {
        self.reorder < config.reorder_ratio
    }
}

/// The delay that `unit`, in `0.0..1.0`, chooses.
fn spread(config: &FaultConfig, unit: f64) -> Duration {
    let span = config.jitter.as_nanos() as f64 * 2.0;
    config.delay_mean + Duration::from_nanos((span * unit) as u64) - config.jitter
}
