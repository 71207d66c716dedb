//! What the network is like for half an hour.

use freeway_base::{Duration, Rng};
use freeway_port::FaultConfig;

/// The faults of both directions, which need not be alike.
pub(super) fn spell(rng: &mut Rng) -> (FaultConfig, FaultConfig) {
    match rng.below(10) {
        0..=2 => (FaultConfig::NONE, FaultConfig::NONE),
        // Nothing arrives, in one direction or in both.
        3 if rng.chance(0.5) => (DEAD, sky(rng)),
        3 => (DEAD, DEAD),
        _ => (sky(rng), sky(rng)),
    }
}

const DEAD: FaultConfig = FaultConfig { loss_ratio: 1.0, ..FaultConfig::NONE };

fn sky(rng: &mut Rng) -> FaultConfig {
    let millis = |rng: &mut Rng, most| Duration::from_millis(u64::from(rng.below(most)));
    match rng.below(6) {
        0 => FaultConfig { loss_ratio: rng.unit() * 0.05, delay_mean: millis(rng, 50), ..FaultConfig::NONE },
        1 => FaultConfig {
            loss_burst_ratio: 0.002,
            loss_burst_frames_mean: 1.0 + rng.unit() * 30.0,
            delay_mean: millis(rng, 20),
            ..FaultConfig::NONE
        },
        2 => FaultConfig {
            duplicate_ratio: 0.05,
            reorder_ratio: 0.05,
            reorder_distance: 1 + rng.below(20),
            delay_mean: millis(rng, 50),
            jitter: millis(rng, 20),
            ..FaultConfig::NONE
        },
        3 => FaultConfig { corrupt_ratio: rng.unit() * 0.02, ..FaultConfig::NONE },
        // Far and narrow: a queue that overflows.
        4 => FaultConfig {
            rate_bits_per_sec: 2_000_000,
            queue_frames: 50,
            delay_mean: millis(rng, 300),
            ..FaultConfig::NONE
        },
        _ => FaultConfig::NONE,
    }
}
