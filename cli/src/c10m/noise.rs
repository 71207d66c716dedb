//! What the machine does to a thread that only spins: the noise that every latency here contains.

use std::time::{Duration, Instant};

use freeway_loadgen::{Latencies, Percentiles};

/// How finely instants are told apart.
const STEP_NS: u64 = 100;

/// Spins on this thread's processor for `span`, reading the clock: how long an event that comes at a random instant waits
/// for the loop to come round. The 99.9th percentile says how long one in a thousand such events waits at least.
pub(crate) fn spin(span: Duration) -> Percentiles {
    let mut pauses = Latencies::new();
    let begun = Instant::now();
    let (mut last, mut smooth) = (0, 0u64);
    while last < span.as_nanos() as u64 {
        let now = begun.elapsed().as_nanos() as u64;
        let pause = now - last;
        last = now;
        if pause < STEP_NS {
            // The loop's own round; counted by the step, like all else.
            smooth += pause;
            if smooth >= STEP_NS {
                smooth -= STEP_NS;
                pauses.record(STEP_NS / 2);
            }
        } else {
            pauses.record_pause(pause, STEP_NS);
        }
    }
    pauses.percentiles()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instant_of_the_span_is_counted() {
        let found = spin(Duration::from_millis(50));
        let instants = found.count as f64;
        assert!((450_000.0..650_000.0).contains(&instants), "{found:?}");
        assert!(found.max >= found.p999 && found.p999 >= found.p50);
    }
}
