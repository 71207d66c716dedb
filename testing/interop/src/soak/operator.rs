//! What goes on beside the visits: load generators on another interface, some killed, and an operator who changes the
//! settings and looks at the server with every tool.

use std::process::{Child, Command, Stdio};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use freeway_base::Rng;
use serde_json::Value;

use super::Book;
use super::site::{MEMIF_SERVER, Tools};
use crate::server::binary;
use crate::shell::output;

/// What load generators do.
const LOADS: [(&str, &str, &[&str]); 6] = [
    ("echo", ":7", &["--rate", "3000", "--connections", "50"]),
    ("cache", ":11211", &["--rate", "3000", "--set-ratio", "0.1", "--keys", "2000"]),
    ("cacheu", ":11211", &["--rate", "3000", "--keys", "2000"]),
    ("http", ":80/1.bin", &["--rate", "3000", "--connections", "100"]),
    ("connect", ":7", &["--rate", "1000"]),
    ("source", ":19", &["--connections", "2"]),
];
/// How long each lasts.
const LOAD: &str = "5s";

/// Starts them; they end with the day.
pub(super) fn start<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    book: &'env Book,
    tools: &Tools<'env>,
    mut rng: Rng,
) -> Vec<ScopedJoinHandle<'scope, ()>> {
    let tools = *tools;
    let (mut of_loads, mut of_reloads, mut of_looks) = (rng.fork(), rng.fork(), rng.fork());
    // A peer that was killed leaves connections behind, and the next has another address.
    let mut host = 9;
    let loads = scope.spawn(move || {
        book.keep_visiting("loads", &mut of_loads, Duration::from_secs(1), |rng| {
            host = if host == 250 { 10 } else { host + 1 };
            load(&tools, host, rng)
        });
    });
    let mut is_other = false;
    let reloads = scope.spawn(move || {
        book.keep_visiting("reloads", &mut of_reloads, Duration::from_secs(4), |rng| {
            is_other = !is_other;
            tools.configure(is_other)?;
            if rng.chance(0.5) { tools.server.hang_up() } else { tools.ask("reload", &[]).map(drop) }
        });
    });
    let looks = scope.spawn(move || {
        book.keep_visiting("looks", &mut of_looks, Duration::from_secs(3), |rng| look(&tools, rng));
    });
    vec![loads, reloads, looks]
}

/// A load generator on the memif: whole and without an error, or killed on its way.
fn load(tools: &Tools<'_>, host: u32, rng: &mut Rng) -> Result<()> {
    let (service, place, more) = LOADS[rng.below(LOADS.len() as u32) as usize];
    let mut command = Command::new(binary()?);
    command.arg("bench").arg(format!("{service}://{MEMIF_SERVER}{place}"));
    command.args(["--via", &tools.memif(), "--addr", &format!("198.18.1.{host}/24"), "--sources", "1"]);
    command.args(["--duration", LOAD, "--json", "-"]).args(more);
    if rng.chance(0.25) {
        let mut killed =
            Killed(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        thread::sleep(Duration::from_millis(200 + u64::from(rng.below(3_000))));
        return killed.kill();
    }
    let figures: Value = serde_json::from_str(&output(&mut command)?).context(service)?;
    for kind in ["errors", "timeouts"] {
        let count = figures.get(kind).and_then(Value::as_u64).context("figures")?;
        ensure!(count == 0, "{service}: {count} {kind}: {figures}");
    }
    Ok(())
}

/// A process that is killed, at the latest on drop.
struct Killed(Child);

impl Killed {
    fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // It is gone already, but for a failure on the way.
        let _ = self.kill();
    }
}

/// One of the tools that look into a running server.
fn look(tools: &Tools<'_>, rng: &mut Rng) -> Result<()> {
    match rng.below(4) {
        0 => {
            let shown = tools.ask("ss", &["state", "established"])?;
            ensure!(shown.lines().count() >= 1, "{shown}");
        }
        1 => {
            let stats: Value = serde_json::from_str(&tools.ask("stats", &["--json", "-"])?)?;
            ensure!(stats.pointer("/cores/1").is_some(), "two cores: {stats}");
        }
        2 => {
            let shown = tools.ask("cycles", &[])?;
            ensure!(shown.contains("input"), "{shown}");
        }
        _ => {
            let file = tools.file("look.pcap");
            let mut command = Command::new(binary()?);
            command.arg("pcap").arg("--admin").arg(tools.admin()).arg("-w").arg(&file).arg("tcp");
            let capture = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
            let mut capture = Killed(capture);
            thread::sleep(Duration::from_millis(500 + u64::from(rng.below(2_000))));
            output(Command::new("kill").args(["-INT", &capture.0.id().to_string()]))?;
            let ended = capture.0.wait()?;
            ensure!(ended.success(), "the capture ended with {ended}");
            std::fs::remove_file(file)?;
        }
    }
    Ok(())
}
