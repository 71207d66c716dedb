//! A running server, seen by the tools that ask it. It needs no privilege: the server's device is a memif without a peer.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use freeway_control::Client;
use freeway_control::metrics::{Help, text};

/// `freeway serve` with everything that counts, ended with the test.
struct Server {
    child: Child,
    folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let core = freeway::allowed_cpus().unwrap()[0].to_string();
        let memif = format!("memif:{},role=server", folder.path().join("memif.sock").display());
        let mut child = Command::new(env!("CARGO_BIN_EXE_freeway"))
            .args([
                "serve",
                "--dev",
                &memif,
                "--addr",
                "198.18.0.2/24",
                "--buffers",
                "1024",
                "--cores",
                &core,
            ])
            .args([
                "--max-connections",
                "1024",
                "--cache",
                "11211",
                "--cache-memory",
                "4M",
                "--idle",
                "sleep",
            ])
            .args(["--metrics", "198.18.0.2:9100", "--cache-item-max", "64K", "--admin"])
            .arg(folder.path().join("admin.sock"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let server = Self { child, folder };
        let mut lines = Vec::new();
        for line in log.lines() {
            lines.push(line.unwrap());
            if lines.iter().any(|line| line.starts_with("ready dev=memif:") && line.contains("metrics:9100"))
            {
                return server;
            }
        }
        panic!("the server ended: {lines:?}");
    }

    fn admin(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    fn ask(&self, command: &str, arguments: &[&str]) -> Output {
        let mut freeway = Command::new(env!("CARGO_BIN_EXE_freeway"));
        freeway.arg(command).arg("--admin").arg(self.admin()).args(arguments).output().unwrap()
    }

    fn answer(&self, command: &str, arguments: &[&str]) -> String {
        let output = self.ask(command, arguments);
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_tool_shows_something_of_a_running_server() {
    let server = Server::start();
    let stats = server.answer("stats", &["--all"]);
    assert!(
        ["tcp", "tables", "cache store", "metrics"]
            .iter()
            .all(|group| stats.lines().any(|line| line == *group))
    );
    let top = server.answer("top", &["--once", "--interval", "0.3"]);
    for part in ["frames a burst", "wake-ups by how late", "tables", "drops", "budget: 200"] {
        assert!(top.contains(part), "no {part:?} in\n{top}");
    }
    let cycles = server.answer("cycles", &["--interval", "0.3"]);
    assert!(cycles.contains("budget") && cycles.contains("200     1600"), "{cycles}");

    let waiting = server.answer("ss", &["-l"]);
    assert!(waiting.starts_with("Netid State") && waiting.lines().count() > 7, "{waiting}");
    assert!(waiting.lines().any(|line| line.contains("198.18.0.2:9100")), "{waiting}");
    let json = server.answer("ss", &["-a", "--json", "-", "sport", "=", ":80"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (json["sockets"][0]["state"].as_str(), json["summary"]["sockets"].as_u64()),
        (Some("LISTEN"), Some(1))
    );
    assert_eq!(server.answer("ss", &["-H"]), "");

    let file = server.folder.path().join("none.pcapng").display().to_string();
    server.answer("pcap", &["-w", &file, "-G", "0.2", "udp", "port", "53"]);
    assert!(std::fs::metadata(&file).unwrap().len() > 100);
    for (command, arguments, part) in [
        ("ss", &["sport", "=", ":http"][..], "no port"),
        ("pcap", &["-w", &file, "tcp", "prot", "80"], "column 5"),
        ("pcap", &["tcp"], "--write"),
    ] {
        let output = server.ask(command, arguments);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && complaint.contains(part), "{command}: {complaint}");
    }
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are() {
    let server = Server::start();
    let snapshot = Client::connect(&server.admin()).unwrap().stats().unwrap();
    let exposition = text(&snapshot, &Help::default());
    let there: BTreeSet<&str> = exposition
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/grafana/freeway.json");
    let dashboard = std::fs::read_to_string(path).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&dashboard).is_ok());
    let asked: BTreeSet<&str> = dashboard
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("freeway_"))
        .collect();
    let unknown: Vec<_> = asked.difference(&there).collect();
    assert!(unknown.is_empty(), "the dashboard asks for {unknown:?}");
    assert!(asked.len() > 30, "{asked:?}");
    // Tables, too, are named there.
    let tables = dashboard.split("table=\\\"").skip(1).filter_map(|rest| rest.split("\\\"").next());
    for table in tables {
        assert!(exposition.contains(&format!("table=\"{table}\"")), "there is no table {table}");
    }
}
