//! A short soak. The hour: `cargo run --release -p freeway-interop --bin freeway-soak -- --duration 3600s`.

use std::time::Duration;

use anyhow::{Result, ensure};
use freeway_base::Seed;
use freeway_interop::soak::{Plan, run};

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn two_short_days_leave_nothing_behind() -> Result<()> {
    let plan = Plan { seed: Seed(1), visits: Duration::from_secs(40), day: Duration::from_secs(20) };
    let Some(report) = run("soak", &plan, &mut |line| eprintln!("{line}"))? else { return Ok(()) };
    // It was worth running: everybody came, and the weather cost something.
    ensure!(report.visits.len() == 15, "{report}");
    ensure!(report.nights == 2 && report.lost > 0 && report.retransmitted > 0, "{report}");
    Ok(())
}
