//! Clients that are slow on purpose, and one that is not.
//!
//! slowhttptest opens more connections than the server has room for, by its four ways of being slow at once. What holds
//! them off is the bound on the connections of one address; what ends them, the times and rates that a peer must keep.

use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::site::Plan;

/// slow headers, slow bodies, ranges of one file (Apache killer), slow reading.
const MODES: [&[&str]; 4] = [
    &["-H", "-i", "2", "-u", "http://198.18.0.2/"],
    &["-B", "-i", "2", "-s", "8192", "-t", "POST", "-u", "http://198.18.0.2/echo"],
    &["-R", "-a", "10", "-b", "3000", "-u", "http://198.18.0.2/large"],
    &["-X", "-w", "10", "-y", "20", "-n", "2", "-z", "16", "-k", "3", "-u", "http://198.18.0.2/large"],
];

/// How long an honest client waits at most. Its own round takes under a millisecond.
const PATIENCE: Duration = Duration::from_secs(2);

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn honest_clients_are_served_while_slow_ones_press() -> Result<()> {
    let Some(plan) = Plan::new("http_slow", &["slowhttptest", "curl"])? else { return Ok(()) };
    let site = plan
        .document("large", &[b'x'; 2_000_000])?
        .flags(&["--handlers", "echo,healthz", "--header-timeout", "3", "--keep-alive-timeout", "5"])
        .flags(&["--max-connections", "1000", "--connections-per-address", "700"])
        .start()?;
    // The honest client has an address of its own.
    site.client.ip("address add 198.18.0.77/24 dev fw0")?;
    let attack = ["-c", "600", "-r", "300", "-l", "12", "-p", "2"];
    let mut attackers = Vec::new();
    for mode in MODES {
        let mut command = site.client.command("slowhttptest");
        command.args(attack).args(mode).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        attackers.push(command.spawn().context("slowhttptest")?);
    }
    let (mut rounds, mut slowest) = (0, Duration::ZERO);
    while attackers.iter_mut().any(|attacker| matches!(attacker.try_wait(), Ok(None))) {
        let begun = Instant::now();
        for path in ["", "large", "healthz"] {
            let said = site
                .run(
                    &[
                        "curl",
                        "-sS",
                        "--max-time",
                        "2",
                        "--interface",
                        "198.18.0.77",
                        "-o",
                        "/dev/null",
                        "-w",
                        "%{http_code}",
                    ]
                    .into_iter()
                    .chain([format!("http://198.18.0.2/{path}").as_str()])
                    .collect::<Vec<_>>(),
                )
                .with_context(|| format!("in round {rounds}"))?;
            ensure!(said == "200", "round {rounds}, /{path}: {said}");
        }
        slowest = slowest.max(begun.elapsed());
        rounds += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    ensure!(rounds > 20 && slowest < 3 * PATIENCE, "{rounds} rounds, the slowest {slowest:?}");
    let mut refused = 0;
    for (attacker, mode) in attackers.into_iter().zip(MODES) {
        let output = attacker.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(said.contains("slow HTTP test status"), "{mode:?} did not attack:\n{said}");
        refused += usize::from(said.contains("service available:"));
    }
    ensure!(refused > 0, "nobody attacked");
    // The server has let go of them: its room is free again.
    let mut stream = site.connect()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let mut heard = String::new();
    stream.read_to_string(&mut heard)?;
    ensure!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
    site.server.stop()
}
