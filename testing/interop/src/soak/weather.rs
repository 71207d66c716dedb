//! What the path is like for a few seconds.

use std::time;

use freeway_base::{Duration, Rng};

use crate::impair::{Both, Impairment, Rate};

/// How long the weather stays.
const SPELL: time::Duration = time::Duration::from_secs(8);
/// Shorter than any time-out that gives a connection up: whoever is under way gets through.
const OUTAGE: time::Duration = time::Duration::from_secs(3);

/// A path that does nothing.
pub(super) fn calm() -> Both<Impairment> {
    both(Impairment::default)
}

/// The next weather, and how long it stays: calm, one of several kinds of bad path by direction, or nothing passing at all.
pub(super) fn spell(rng: &mut Rng) -> (Both<Impairment>, time::Duration) {
    match rng.below(10) {
        0..=1 => (calm(), SPELL),
        2 => (both(|| Impairment { loss: 1.0, ..Impairment::default() }), OUTAGE),
        _ => (both(|| sky(rng)), SPELL),
    }
}

fn both(mut way: impl FnMut() -> Impairment) -> Both<Impairment> {
    Both { forward: way(), backward: way() }
}

fn sky(rng: &mut Rng) -> Impairment {
    let calm = Impairment::default();
    let millis = |rng: &mut Rng, most| Duration::from_millis(u64::from(rng.below(most)));
    match rng.below(6) {
        0 => Impairment { loss: rng.unit() * 0.05, delay: millis(rng, 20), ..calm },
        1 => {
            Impairment { burst: 0.002, burst_length: 1.0 + rng.unit() * 12.0, delay: millis(rng, 10), ..calm }
        }
        2 => Impairment {
            duplicate: 0.05,
            reorder: 0.05,
            delay: millis(rng, 20),
            jitter: millis(rng, 5),
            ..calm
        },
        3 => Impairment { corrupt: rng.unit() * 0.02, ..calm },
        // Narrow: a queue that overflows.
        4 => Impairment {
            rate: Some(Rate { bits_per_second: 20_000_000 }),
            queue_bytes: 48 * 1024,
            delay: millis(rng, 20),
            ..calm
        },
        _ => calm,
    }
}
