//! `freeway stats`: all counters, as a table or as JSON.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use freeway_control::rates::STAGES;
use freeway_control::{CoreSnapshot, Snapshot};

use super::Whom;

/// Prints all counters of a running server.
///
/// Example: freeway stats --json - | jq .total.groups.tcp
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    whom: Whom,
    /// Writes one JSON object to FILE (- for standard output) instead of a table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Counters that are zero, too.
    #[arg(long)]
    all: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let snapshot = args.whom.connect()?.stats()?;
    match &args.json {
        Some(path) if path.as_os_str() == "-" => json(&snapshot, io::stdout().lock()),
        Some(path) => {
            let file = File::create(path).with_context(|| format!("--json {}", path.display()))?;
            json(&snapshot, file)
        }
        None => table(&snapshot, args.all, io::stdout().lock()),
    }
}

fn json(snapshot: &Snapshot, mut out: impl Write) -> Result<()> {
    serde_json::to_writer_pretty(&mut out, snapshot)?;
    Ok(writeln!(out)?)
}

/// One line a counter: its name, the sum, and each core's share where there are several.
fn table(snapshot: &Snapshot, all: bool, mut out: impl Write) -> Result<()> {
    writeln!(out, "freeway {}, process {}, up {} s", snapshot.program, snapshot.pid, snapshot.uptime_s)?;
    writeln!(out, "{}", snapshot.ready)?;
    let several = snapshot.cores.len() > 1;
    for (group, names) in groups(&snapshot.total) {
        let value = |core: &CoreSnapshot, name: &str| count(core, &group, name);
        let shown: Vec<&String> =
            names.iter().filter(|name| all || value(&snapshot.total, name) > 0).collect();
        if shown.is_empty() {
            continue;
        }
        writeln!(out, "\n{group}")?;
        for name in shown {
            write!(out, "  {name:<36} {:>16}", value(&snapshot.total, name))?;
            if several {
                for core in &snapshot.cores {
                    write!(out, " {:>14}", value(core, name))?;
                }
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

/// Where cycles are shown.
const CYCLES: &str = "cycles of busy turns, by stage";
/// Where bursts are shown.
const BURSTS: &str = "bursts, by frames taken at once";
/// The stage of turns that found nothing to do.
const IDLE: &str = "idle turns";

/// Every group with the names in it: the counters', and what is counted by stage and by size.
fn groups(total: &CoreSnapshot) -> Vec<(String, Vec<String>)> {
    let counters =
        total.groups.iter().map(|(group, counters)| (group.clone(), counters.keys().cloned().collect()));
    let stages = STAGES.iter().copied().chain([IDLE]).map(str::to_owned).collect();
    let sizes = total.bursts.keys().map(u32::to_string).collect();
    counters.chain([(CYCLES.to_owned(), stages), (BURSTS.to_owned(), sizes)]).collect()
}

fn count(core: &CoreSnapshot, group: &str, name: &str) -> u64 {
    match (group, name) {
        (CYCLES, IDLE) => core.idle_cycles,
        (CYCLES, stage) => core.cycles.get(stage).copied().unwrap_or(0),
        (BURSTS, size) => {
            size.parse().ok().and_then(|size: u32| core.bursts.get(&size)).copied().unwrap_or(0)
        }
        _ => core.get(group, name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_left_out_and_cores_stand_beside_the_sum() -> Result<()> {
        let core = |frames| CoreSnapshot {
            groups: [("net".to_owned(), [("frames".to_owned(), frames), ("lost".to_owned(), 0)].into())]
                .into(),
            cycles: [("app".to_owned(), 10 * frames)].into(),
            bursts: [(64, frames)].into(),
            ..CoreSnapshot::default()
        };
        let snapshot = Snapshot {
            cores: vec![core(3), core(4)],
            total: core(7),
            ..Snapshot::take(&[], "ready dev=none", 9)
        };
        let text = |all| -> Result<String> {
            let mut out = Vec::new();
            table(&snapshot, all, &mut out)?;
            Ok(String::from_utf8(out)?)
        };
        let frames = format!("  {:<36} {:>16} {:>14} {:>14}\n", "frames", 7, 3, 4);
        let line = |name, values: [u64; 3]| {
            format!("  {name:<36} {:>16} {:>14} {:>14}\n", values[0], values[1], values[2])
        };
        let (app, bursts) = (line("app", [70, 30, 40]), line("64", [7, 3, 4]));
        let rest = format!("ready dev=none\n\nnet\n{frames}\n{CYCLES}\n{app}\n{BURSTS}\n{bursts}");
        assert!(text(false)?.ends_with(&rest), "{}", text(false)?);
        assert!(text(true)?.contains("lost"));
        Ok(())
    }
}
