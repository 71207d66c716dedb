//! `freeway stats`: all counters, as a table or as JSON.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use freeway_control::Snapshot;

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
    for (group, counters) in &snapshot.total.groups {
        let shown: Vec<_> = counters.iter().filter(|(_, value)| all || **value > 0).collect();
        if shown.is_empty() {
            continue;
        }
        writeln!(out, "\n{group}")?;
        for (name, total) in shown {
            write!(out, "  {name:<36} {total:>16}")?;
            if several {
                for core in &snapshot.cores {
                    write!(out, " {:>14}", core.get(group, name))?;
                }
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use freeway_control::CoreSnapshot;

    use super::*;

    #[test]
    fn zeros_are_left_out_and_cores_stand_beside_the_sum() -> Result<()> {
        let core = |frames| CoreSnapshot {
            groups: [("net".to_owned(), [("frames".to_owned(), frames), ("lost".to_owned(), 0)].into())]
                .into(),
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
        assert!(text(false)?.ends_with(&format!("ready dev=none\n\nnet\n{frames}")));
        assert!(text(true)?.contains("lost"));
        Ok(())
    }
}
