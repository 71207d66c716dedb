//! Two thousand worlds. A failure prints the command that replays it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use freeway_base::Seed;
use freeway_sim::{Plan, run};

/// Seeds of every run of the tests.
const SEEDS: u64 = 2_000;

#[test]
fn two_thousand_seeds_lose_nothing() {
    let next = AtomicU64::new(1);
    let violations = Mutex::new(Vec::new());
    let bytes = AtomicU64::new(0);
    let retransmitted = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let seed @ 1..=SEEDS = next.fetch_add(1, Ordering::Relaxed) {
                    match run(&Plan::new(Seed(seed))) {
                        Ok(outcome) => {
                            bytes.fetch_add(outcome.streams.bytes, Ordering::Relaxed);
                            retransmitted.fetch_add(outcome.retransmitted, Ordering::Relaxed);
                        }
                        Err(violation) => {
                            violations.lock().expect("no thread panics").push(violation.to_string());
                        }
                    }
                }
            });
        }
    });
    let violations = violations.into_inner().expect("no thread panics");
    assert!(
        violations.is_empty(),
        "{} of {SEEDS} seeds failed:\n{}",
        violations.len(),
        violations.join("\n")
    );
    // The worlds were worth running: bytes flowed, and faults were repaired.
    assert!(bytes.into_inner() > 10_000_000);
    assert!(retransmitted.into_inner() > 1_000);
}

#[test]
fn a_seed_repeats_itself() {
    for seed in [3, 17, 99] {
        let plan = Plan::new(Seed(seed));
        assert_eq!(run(&plan), run(&plan), "seed {seed}");
    }
}
