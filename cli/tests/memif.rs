//! `freeway serve` on a memif, and a second Freeway in this process as its client. It needs no privilege.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use freeway::{
    Application, BuildError, Cidr, ConnectConfig, HostConfig, Interface, Running, Runtime, RuntimeConfig,
    Seat, Secrets, allowed_cpus,
};
use freeway_loadgen::{Cause, Download, Echo, Gauge, Load, LoadConfig, Requests, Work, file_byte};
use freeway_memif::{Config, Role, SocketName, Trust, open};

/// How long anything may take that will certainly happen.
const PATIENCE: Duration = Duration::from_secs(60);
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2));
/// The file's length, in bytes.
const FILE: u64 = 24 << 20;
const CONNECTIONS: u32 = 300;

/// `freeway serve`, ended with the test.
struct Server(Child);

impl Server {
    fn start(device: &str, cores: usize, root: &str) -> Self {
        let cpus = allowed_cpus().unwrap();
        let cores: Vec<String> = cpus.iter().take(cores).map(ToString::to_string).collect();
        let mut child = Command::new(env!("CARGO_BIN_EXE_freeway"))
            .args(["serve", "--dev", device, "--addr", "198.18.0.2/24", "--buffers", "4096"])
            .args(["--max-connections", "4096", "--root", root, "--cores", &cores.join(",")])
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
            if lines.iter().any(|line| line.starts_with("ready dev=memif:")) {
                return server;
            }
        }
        panic!("the server ended: {lines:?}");
    }

    /// Asked to end as by a person; it does, without an error.
    fn stop(mut self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A host of this process with one core, an address, and an application.
fn host<A: Application + Send + 'static>(memif: &Config, address: IpAddr, app: A) -> Running {
    let queue = open(std::slice::from_ref(memif)).unwrap().pop().unwrap().pop().unwrap();
    let mut config =
        HostConfig::new(Secrets::random().unwrap()).max_connections(2 * CONNECTIONS).buffers(8_192);
    config.stack.pool.shared = memif.role == Role::Client && memif.trust == Trust::Full;
    let build = move |seat: Seat| -> Result<_, BuildError> {
        let interface = Interface::new(queue.into_port()).address(Cidr::new(address, 24));
        let now = seat.now();
        Ok(config.build(seat.mailboxes, now, app, [interface])?)
    };
    Runtime::new(RuntimeConfig::default()).unwrap().start([build]).unwrap()
}

/// Waits for a load; it must not fail meanwhile.
fn until(gauge: &Gauge, what: &str, done: impl Fn(&Gauge) -> bool) {
    let begun = Instant::now();
    while !done(gauge) {
        let reading = gauge.read();
        assert_eq!(reading.failed, 0, "{what}: {reading:?}");
        assert!(begun.elapsed() < PATIENCE, "{what}: {reading:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(gauge.read().failed, 0, "{what}");
}

/// A folder with the file, removed with the test.
struct Root(PathBuf);

impl Root {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("freeway-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("file"), (0..FILE).map(file_byte).collect::<Vec<u8>>()).unwrap();
        Self(path)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Fetches a file and compares it; then, as another client of the same device, has connections echo.
fn serves(test: &str, server_role: &str, own_role: Role, trust: Trust, cores: usize) {
    let root = Root::new(test);
    let name = format!("freeway-{test}-{}", std::process::id());
    let peer = if trust == Trust::Full { "trusted" } else { "untrusted" };
    let device = format!("memif:@{name},role={server_role},id=3,secret=s,peer={peer}");
    let server = Server::start(&device, cores, root.0.to_str().unwrap());
    let memif = Config {
        socket: SocketName::Abstract(name),
        role: own_role,
        id: 3,
        secret: "s".into(),
        trust,
        ..Config::default()
    };

    let gauge = Gauge::default();
    let connect = ConnectConfig::new(SocketAddr::new(SERVER, 80));
    let client = host(&memif, [198, 18, 0, 9].into(), Download::new(connect, "/file", FILE, gauge.clone()));
    until(&gauge, "the file", |gauge| gauge.read().answered == FILE);
    client.stop().unwrap();

    let gauge = Gauge::default();
    let source = [198, 18, 0, 10].into();
    let load = LoadConfig {
        sources: vec![source],
        opening: 50,
        ..LoadConfig::new(SocketAddr::new(SERVER, 7), CONNECTIONS)
    };
    gauge.hold(CONNECTIONS);
    let client = host(&memif, source, Load::new(&load, Echo::new(700), gauge.clone()));
    // So many that every core of the server has some of them.
    until(&gauge, "connections", |gauge| gauge.read().open == u64::from(CONNECTIONS));
    gauge.order(Work::Requests(Requests { among: CONNECTIONS, cause: Cause::AnyAnswered(100) }));
    until(&gauge, "answers", |gauge| gauge.read().answered >= 20_000);
    client.stop().unwrap();
    server.stop();
}

#[test]
fn a_server_that_trusts_nobody_serves_on_all_its_cores_by_one_queue() {
    serves("untrusted", "server", Role::Client, Trust::None, 2);
}

#[test]
fn a_client_that_lends_its_pool_serves() {
    serves("lending", "client", Role::Server, Trust::Full, 1);
}

#[test]
fn what_a_memif_has_not_is_refused_by_name() {
    for (arguments, words) in [
        (&["--host-addr", "198.18.0.1/24"][..], "the process at the other end of a memif has its own"),
        (&["--shared-address"], "--shared-address: it needs an interface that Linux has"),
    ] {
        let device = format!("memif:@freeway-refused-{}", std::process::id());
        let output = Command::new(env!("CARGO_BIN_EXE_freeway"))
            .args(["serve", "--dev", &device])
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(words), "{said}");
    }
    let device = format!("memif:@freeway-refused-{},queues=200", std::process::id());
    let output =
        Command::new(env!("CARGO_BIN_EXE_freeway")).args(["serve", "--dev", &device]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("200 queues need as many cores"), "{said}");
}
