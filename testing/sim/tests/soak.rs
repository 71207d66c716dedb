//! Mixed traffic in all weathers. The week: `cargo run --release -p freeway-sim -- soak`.

use freeway_base::Seed;
use freeway_sim::soak::{Plan, run};

fn live(hours: u64, hours_a_day: u64, seed: u64) {
    let report =
        run(&Plan { seed: Seed(seed), hours, hours_a_day }).unwrap_or_else(|what| panic!("{what:#}"));
    // It was worth running: visits went well, the weather cost some, and was repaired.
    assert!(report.ledger.complete > hours * 1_500, "{report}");
    assert!(report.retransmitted > 100 && report.lost > 100, "{report}");
    assert!(report.ledger.datagrams_answered * 2 > report.ledger.datagrams, "{report}");
}

#[test]
fn a_few_hours_leave_nothing_behind() {
    live(6, 3, 1);
}

#[test]
#[ignore = "a week of virtual time takes minutes"]
fn a_week_leaves_nothing_behind() {
    live(168, 12, 2);
}
