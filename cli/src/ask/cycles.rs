//! `freeway cycles`: where a server's cycles go, beside what a frame may cost.

use std::io::{self, Write};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use freeway_control::Rates;
use freeway_control::rates::STAGES;
use serde_json::json;

use super::Whom;

/// Cycles for a frame through the data plane, and for the application behind it: ten million frames a second on eight
/// cores of 2 GHz leave 1,600 of them.
const BUDGET: (f64, f64) = (200.0, 1_400.0);

/// Prints the cycles that each frame costs, by stage and core.
///
/// Example: freeway cycles --interval 5
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    whom: Whom,
    /// Seconds to look at.
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS", value_parser = super::screen::interval)]
    interval: f64,
    /// Writes one JSON object to FILE (- for standard output) instead of a table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let mut client = args.whom.connect()?;
    let before = client.stats()?;
    thread::sleep(Duration::from_secs_f64(args.interval));
    let after = client.stats()?;
    let mut rows: Vec<(String, Rates)> = before
        .cores
        .iter()
        .zip(&after.cores)
        .map(|(before, after)| {
            (format!("core {}", after.core.unwrap_or_default()), Rates::between(before, after))
        })
        .collect();
    rows.push(("all".to_owned(), Rates::between(&before.total, &after.total)));
    match &args.json {
        None => table(&rows, io::stdout().lock()),
        Some(path) => {
            let text = serde_json::to_string_pretty(&object(&rows))? + "\n";
            super::screen::write(path, &text)
        }
    }
}

fn table(rows: &[(String, Rates)], mut out: impl Write) -> Result<()> {
    write!(out, "{:<10}", "cycles")?;
    for stage in STAGES {
        write!(out, " {stage:>8}")?;
    }
    writeln!(out, " {:>8} {:>8} {:>12} {:>6}", "plane", "total", "frames/s", "busy")?;
    for (name, rates) in rows {
        write!(out, "{name:<10}")?;
        for cycles in rates.cycles_per_frame {
            write!(out, " {cycles:>8.0}")?;
        }
        let frames = rates.rx_frames + rates.tx_frames;
        let (plane, total) = (plane(rates), rates.total_cycles_per_frame());
        writeln!(out, " {plane:>8.0} {total:>8.0} {frames:>12.0} {:>5.0}%", rates.busy * 100.0)?;
    }
    let (plane, app) = BUDGET;
    writeln!(
        out,
        "{:<10} {:>62.0} {:>8.0}   of which {app:.0} are the application's",
        "budget",
        plane,
        plane + app
    )?;
    Ok(())
}

/// Everything but the application.
fn plane(rates: &Rates) -> f64 {
    let app: f64 =
        STAGES.iter().zip(rates.cycles_per_frame).filter(|(stage, _)| **stage == "app").map(|(_, c)| c).sum();
    rates.total_cycles_per_frame() - app
}

fn object(rows: &[(String, Rates)]) -> serde_json::Value {
    let rows: serde_json::Map<_, _> = rows
        .iter()
        .map(|(name, rates)| {
            let stages: serde_json::Map<_, _> = STAGES
                .iter()
                .zip(rates.cycles_per_frame)
                .map(|(stage, cycles)| ((*stage).to_owned(), json!(cycles)))
                .collect();
            let row = json!({
                "cycles_per_frame": stages,
                "total_cycles_per_frame": rates.total_cycles_per_frame(),
                "frames_per_s": rates.rx_frames + rates.tx_frames,
                "busy_share": rates.busy,
            });
            (name.clone(), row)
        })
        .collect();
    json!({ "budget_cycles": { "plane": BUDGET.0, "app": BUDGET.1 }, "cores": rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_is_told_from_the_plane() -> Result<()> {
        let rates = Rates { cycles_per_frame: [10.0, 20.0, 1.0, 300.0, 30.0, 5.0], ..Rates::default() };
        assert_eq!(plane(&rates), 66.0);
        let mut out = Vec::new();
        table(&[("all".to_owned(), rates)], &mut out)?;
        let text = String::from_utf8(out)?;
        assert!(text.lines().nth(1).is_some_and(|line| line.contains("      66      366 ")), "{text}");
        assert_eq!(object(&[("all".to_owned(), rates)])["cores"]["all"]["cycles_per_frame"]["app"], 300.0);
        Ok(())
    }
}
