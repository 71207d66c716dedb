//! How fast a stream goes over a bad path: with a scoreboard and RACK against acknowledgment numbers alone.
//!
//! `cargo test -p freeway-tcp goodput -- --nocapture` prints the table.

use std::println;

use freeway_base::{Duration, Instant};
use freeway_wire::tcp::SeqNumber;

use super::world::{Faults, Plan, World};
use crate::Config;
use crate::congestion::Algorithm;

/// Bytes in each run.
const TOTAL: u32 = 4_000_000;
const SEEDS: u64 = 5;

/// Kilobytes a second, over all seeds, and segments sent again in a thousand.
fn goodput(config: Config, faults: Faults, has_flights: bool) -> (u64, u64) {
    let (mut took, mut again) = (Duration::ZERO, 0);
    for seed in 0..SEEDS {
        let sender = Plan { iss: SeqNumber(9), total: TOTAL, write: 65_536, lazy: 0, opens: true };
        let receiver = Plan { iss: SeqNumber(7), total: 0, write: 1, lazy: 0, opens: false };
        let config = Config {
            user_timeout: Duration::from_secs(10_000),
            syn_retries: 40,
            fin_wait_2: None,
            syn_ack_retries: 40,
            ..config
        };
        let mut world = World::new([config; 2], [sender, receiver], faults, seed);
        for end in &mut world.ends {
            end.has_flights = has_flights;
        }
        world.run(Duration::from_secs(100_000));
        assert_eq!(world.ends[1].received, TOTAL);
        took = took + (world.now - Instant::from_secs(1_000));
        again += u64::from(world.ends[0].retransmitted);
    }
    let segments = u64::from(TOTAL / 1_448) * SEEDS;
    (u64::from(TOTAL) * SEEDS / took.as_millis().max(1), again * 1_000 / segments)
}

#[test]
fn goodput_over_bad_paths() {
    let path = Faults { delay: Duration::from_millis(10), ..Faults::NONE };
    let lossy = |loss_permille| Faults { loss_permille, ..path };
    let paths = [
        ("no loss", lossy(0)),
        ("0.1%", lossy(1)),
        ("1%", lossy(10)),
        ("3%", lossy(30)),
        ("10%", lossy(100)),
        ("reordering 5%", Faults { reordering: 5, ..path }),
        ("reordering 5%, 1%", Faults { reordering: 5, loss_permille: 10, ..path }),
        ("duplication 5%, 1%", Faults { duplication: 5, loss_permille: 10, ..path }),
    ];
    for congestion in [Algorithm::NewReno, Algorithm::Cubic] {
        for timestamps in [true, false] {
            println!("{congestion}, timestamps {timestamps}: kB/s and repetitions in a thousand");
            for (name, faults) in paths {
                let config = Config { congestion, timestamps, ..Config::default() };
                let plain = goodput(Config { sack: false, ..config }, faults, false);
                let selective = goodput(config, faults, true);
                println!(
                    "  {name:20} without {:5} {:4}  with {:5} {:4}",
                    plain.0, plain.1, selective.0, selective.1
                );
                if faults.reordering == 0 {
                    assert!(selective.0 * 20 >= plain.0 * 19, "{name}: {selective:?} against {plain:?}");
                } else {
                    // Segments are overtaken by more than a round trip, which looks like loss to anybody who looks;
                    // acknowledgments alone say nothing of it here, because their windows differ.
                    assert!(selective.0 * 2 >= plain.0, "{name}: {selective:?} against {plain:?}");
                }
                if faults.loss_permille >= 10 && faults.reordering == 0 {
                    assert!(selective.0 * 5 >= plain.0 * 6, "{name}: {selective:?} against {plain:?}");
                }
            }
        }
    }
}
