//! `freeway bench` against `freeway serve` over memif, and over Linux's sockets; `freeway c10m`, small. No privilege.
//!
//! How fast they are depends on the machine, so it is not asserted: that requests are answered, and counted right, is.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread;

use freeway_loadgen::{KernelServer, KernelService};
use serde_json::Value;

const BIN: &str = env!("CARGO_BIN_EXE_freeway");

/// Cores that spin on one processor wait for each other, and these tests then take too long.
fn has_two_processors() -> bool {
    let two = freeway::allowed_cpus().unwrap().len() >= 2;
    if !two {
        eprintln!("skipped: it takes two processors");
    }
    two
}

/// Runs the command, which must succeed, and returns the JSON that it prints.
fn figures(arguments: &[&str]) -> Value {
    let output =
        Command::new(BIN).args(arguments).args(["--json", "-"]).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(figures: &Value, pointer: &str) -> f64 {
    figures.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer} in {figures}"))
}

struct Server(Child);

impl Server {
    fn start(device: &str) -> Self {
        let mut child = Command::new(BIN)
            .args(["serve", "--dev", device, "--addr", "198.18.0.2/24", "--buffers", "4096"])
            .args(["--max-connections", "4096"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let server = Self(child);
        let mut lines = Vec::new();
        for line in log.lines() {
            lines.push(line.unwrap());
            if lines.iter().any(|line| line.starts_with("ready dev=")) {
                return server;
            }
        }
        panic!("the server ended: {lines:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_protocol_is_measured_over_memif() {
    if !has_two_processors() {
        return;
    }
    let socket = format!("@freeway-bench-{}", std::process::id());
    let _server = Server::start(&format!("memif:{socket},role=client"));
    let via = format!("memif:{socket},role=server");
    for (target, more, counted) in [
        ("echo://198.18.0.2:7", &["--connections", "300"][..], "/requests_per_s"),
        ("echo://198.18.0.2:7", &["--rate", "5000", "--connections", "20"], "/requests_per_s"),
        ("echo://198.18.0.2:7", &["--depth", "8", "--value-size", "3000"], "/requests_per_s"),
        ("echo://198.18.0.2:7", &["--in-flight", "10", "--connections", "100"], "/requests_per_s"),
        ("http://198.18.0.2:80/", &["--depth", "4"], "/requests_per_s"),
        ("udp://198.18.0.2:7", &["--connections", "3"], "/requests_per_s"),
        ("connect://198.18.0.2:7", &[], "/connects_per_s"),
        ("bulk://198.18.0.2:9", &["--connections", "2"], "/bytes_out_per_s"),
        ("source://198.18.0.2:19", &["--connections", "2"], "/bytes_in_per_s"),
    ] {
        let mut arguments = vec!["bench", target, "--via", &via, "--addr", "198.18.0.9/24"];
        arguments.extend(["--duration", "300ms", "--warm-up", "200ms", "--sources", "2"]);
        arguments.extend(more);
        let found = figures(&arguments);
        assert!(number(&found, counted) > 100.0, "{target}: {found}");
        assert_eq!(number(&found, "/errors"), 0.0, "{target}: {found}");
        // A datagram that finds a queue full is lost, as when a processor is taken away for a while.
        let lossy = if target.starts_with("udp") { 0.01 * number(&found, counted) } else { 0.0 };
        assert!(number(&found, "/timeouts") <= lossy, "{target}: {found}");
    }
    let found = figures(&[
        "bench",
        "echo://198.18.0.2:7",
        "--via",
        &via,
        "--addr",
        "198.18.0.9/24",
        "--hold",
        "--connections",
        "1000",
        "--duration",
        "200ms",
    ]);
    assert_eq!((number(&found, "/connections"), number(&found, "/requests_per_s")), (1_000.0, 0.0));
}

#[test]
fn a_server_of_linux_is_measured_by_the_same_tool() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (listening, is_listening) = mpsc::channel();
    // It ends with the process.
    thread::spawn(move || {
        let mut server = KernelServer::new(&[(port, KernelService::Echo)], None).unwrap();
        listening.send(()).unwrap();
        server.run(&AtomicBool::new(false)).unwrap();
    });
    is_listening.recv().unwrap();
    for (proto, more, counted) in [
        ("echo", &["--connections", "100"][..], "/requests_per_s"),
        ("echo", &["--rate", "2000"], "/requests_per_s"),
        ("udp", &[], "/requests_per_s"),
        ("connect", &["--connections", "4"], "/connects_per_s"),
    ] {
        let target = format!("{proto}://127.0.0.1:{port}");
        let mut arguments =
            vec!["bench", &target, "--via", "kernel", "--duration", "300ms", "--warm-up", "100ms"];
        arguments.extend(more);
        let found = figures(&arguments);
        assert!(number(&found, counted) > 100.0, "{target}: {found}");
        assert_eq!(number(&found, "/errors"), 0.0, "{target}: {found}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    for (arguments, words) in [
        (&["echo://127.0.0.1"][..], "HOST:PORT"),
        (&["gopher://127.0.0.1:70"], "names no protocol"),
        (&["udp://127.0.0.1:7", "--hold"], "--hold is for"),
        (&["echo://198.18.0.2:7", "--via", "memif:@nobody,role=client"], "needs --addr"),
    ] {
        let output = Command::new(BIN).arg("bench").args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(words), "{said}");
    }
}

#[test]
fn the_challenge_is_whole_when_it_is_small() {
    if !has_two_processors() {
        return;
    }
    let page = std::env::temp_dir().join(format!("freeway-c10m-{}.html", std::process::id()));
    let found = figures(&["c10m", "--quick", "--connections", "20000", "--html", page.to_str().unwrap()]);
    let html = std::fs::read_to_string(&page).unwrap();
    std::fs::remove_file(&page).unwrap();
    assert!(html.contains("<svg") && html.ends_with("</html>\n"));
    assert_eq!(number(&found, "/connections/measured"), 20_000.0);
    assert_eq!(number(&found, "/ramp/swept"), 20_000.0);
    for pointer in [
        "/connection_rate/measured",
        "/bandwidth/measured",
        "/packets/measured",
        "/latency/measured",
        "/memory/server_bytes_per_connection",
        "/flatness/2/requests_per_s",
        "/cores/0/requests_per_s",
        "/cycles/total",
        "/noise/stall_us_max",
        "/loads/4/bare_frames_us/p50",
    ] {
        assert!(number(&found, pointer) > 0.0, "{pointer}");
    }
}
