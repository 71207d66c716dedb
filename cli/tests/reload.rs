//! `freeway reload` on a server under load: a second Freeway in this process is its client, over memif. It needs no
//! privilege.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use freeway::{
    Application, BuildError, Cidr, HostConfig, Interface, Running, Runtime, RuntimeConfig, Seat, Secrets,
    allowed_cpus,
};
use freeway_loadgen::{Cause, Echo, Gauge, Http, Load, LoadConfig, Protocol, Requests, Work};
use freeway_memif::{Config, Role, SocketName, open};

/// How long anything may take that will certainly happen.
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2));
const SECOND: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 3));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 9));
const CONNECTIONS: u32 = 100;

/// A folder with a file of settings and documents, and the server that runs on it.
struct World {
    folder: tempfile::TempDir,
    name: String,
    cores: usize,
    server: Option<Child>,
}

impl World {
    fn new(test: &str, cores: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (root, text) in [("one", "Hello, World!"), ("two", "Another page that is longer.")] {
            fs::create_dir(folder.path().join(root)).unwrap();
            fs::write(folder.path().join(root).join("index.html"), text).unwrap();
        }
        Self { folder, name: format!("freeway-reload-{test}-{}", std::process::id()), cores, server: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the file of settings: the first interface with `addresses`, and `more`.
    fn settings(&self, addresses: &[IpAddr], more: &str) {
        let addresses: Vec<String> = addresses.iter().map(|addr| format!("\"{addr}/24\"")).collect();
        let cpus = allowed_cpus().unwrap();
        let cores = cpus.iter().take(self.cores).map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let text = format!(
            "cores = [{cores}]\nadmin = \"{}\"\n\
             [[interface]]\ndevice = \"memif:@{},id=1\"\naddresses = [{}]\n\
             [stack]\nmax_connections = 4096\nbuffers = 4096\n{more}",
            self.path("admin.sock").display(),
            self.name,
            addresses.join(", "),
        );
        fs::write(self.path("freeway.toml"), text).unwrap();
    }

    fn start(&mut self) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_freeway"))
            .args(["serve", "--config", self.path("freeway.toml").to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        self.server = Some(child);
        let mut lines = String::new();
        while !lines.contains("\nready dev=memif:") {
            assert!(log.read_line(&mut lines).unwrap() > 0, "the server ended: {lines}");
        }
        // What it says later is read, so that it never waits for a reader.
        std::thread::spawn(move || log.lines().map_while(Result::ok).for_each(drop));
    }

    fn reload(&self) -> Output {
        let socket = self.path("admin.sock");
        Command::new(env!("CARGO_BIN_EXE_freeway"))
            .args(["reload", "--admin", socket.to_str().unwrap()])
            .output()
            .unwrap()
    }

    /// Reloads, which must go well; returns what was said.
    fn reloaded(&self) -> String {
        let output = self.reload();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// Starts a load over a memif of its own.
    fn load<P: Protocol + Send + 'static>(
        &self,
        target: SocketAddr,
        connections: u32,
        protocol: P,
    ) -> (Gauge, Running) {
        let gauge = Gauge::default();
        let load = LoadConfig { sources: vec![CLIENT], opening: 20, ..LoadConfig::new(target, connections) };
        gauge.hold(connections);
        let client = self.client(Load::new(&load, protocol, gauge.clone()));
        (gauge, client)
    }

    fn client<A: Application + Send + 'static>(&self, app: A) -> Running {
        let memif = Config {
            socket: SocketName::Abstract(self.name.clone()),
            role: Role::Client,
            id: 1,
            ..Config::default()
        };
        let queue = open(&[memif]).unwrap().pop().unwrap().pop().unwrap();
        let config = HostConfig::new(Secrets::random().unwrap()).max_connections(1_024).buffers(8_192);
        let build = move |seat: Seat| -> Result<_, BuildError> {
            let interface = Interface::new(queue.into_port()).address(Cidr::new(CLIENT, 24));
            let now = seat.now();
            Ok(config.build(seat.mailboxes, now, app, [interface])?)
        };
        Runtime::new(RuntimeConfig::default()).unwrap().start([build]).unwrap()
    }

    fn pid(&self) -> String {
        self.server.as_ref().unwrap().id().to_string()
    }

    fn stop(mut self) {
        let mut server = self.server.take().unwrap();
        assert!(Command::new("kill").args(["-INT", &server.id().to_string()]).status().unwrap().success());
        assert!(server.wait().unwrap().success());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// Waits for a load; none of its connections may fail and none of its answers be wrong meanwhile.
fn until(gauge: &Gauge, what: &str, done: impl Fn(&Gauge) -> bool) {
    let begun = Instant::now();
    while !done(gauge) {
        let reading = gauge.read();
        assert_eq!((reading.failed, reading.wrong), (0, 0), "{what}: {reading:?}");
        assert!(begun.elapsed() < PATIENCE, "{what}: {reading:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((gauge.read().failed, gauge.read().wrong), (0, 0), "{what}");
}

/// Opens a few connections, and has a request answered on each.
fn answers<P: Protocol + Send + 'static>(world: &World, target: SocketAddr, protocol: P) {
    let (gauge, client) = world.load(target, 8, protocol);
    until(&gauge, "a few connections", |gauge| gauge.read().open == 8);
    gauge.order(Work::Requests(Requests { among: 8, cause: Cause::AnyAnswered(8) }));
    until(&gauge, "a few answers", |gauge| gauge.read().answered >= 100);
    client.stop().unwrap();
}

/// Nobody listens there.
fn refuses(world: &World, target: SocketAddr) {
    let (gauge, client) = world.load(target, 2, Echo::new(8));
    let begun = Instant::now();
    while gauge.read().failed == 0 {
        assert!(begun.elapsed() < PATIENCE && gauge.read().open == 0, "{:?}", gauge.read());
        std::thread::sleep(Duration::from_millis(5));
    }
    client.stop().unwrap();
}

fn certificate() -> (PathBuf, PathBuf) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../apps/httpd/tests/http/tls");
    (folder.join("chain.pem"), folder.join("key.pem"))
}

/// The settings that the server has at first, and those that it is to have; [`WHAT`] is what a reload says of them.
fn both(world: &World) -> [String; 2] {
    let (chain, key) = certificate();
    let own = world.path("chain.pem");
    fs::copy(&chain, &own).unwrap();
    let http = |root: &str, log: &str, ports: &str, chain: &Path, more: &str| {
        format!(
            "[http]\nroot = \"{}\"\naccess_log = \"{}\"\nports = {ports}\ntls_ports = [443]\n{more}\
             certificate = [{{ chain = \"{}\", key = \"{}\" }}]\n",
            world.path(root).display(),
            world.path(log).display(),
            chain.display(),
            key.display(),
        )
    };
    let first = http("one", "log-one", "[80]", &chain, "");
    let second = http(
        "two",
        "log-two",
        "[80, 81]",
        &own,
        "requests_per_second = 1000000\nrequests_burst = 1000000\nbody_max = \"2M\"\n",
    );
    [
        first,
        format!(
            "{second}[tcp]\ncongestion = \"newreno\"\n[echo]\nports = [7, 70]\nconnections = 2000\n[chargen]\nports = []\n"
        ),
    ]
}

const WHAT: [&str; 12] = [
    "applied  interface[0].addresses: [\"198.18.0.2/24\"] -> [\"198.18.0.2/24\", \"198.18.0.3/24\"]",
    "applied  tcp.congestion: \"cubic\" -> \"newreno\"",
    "applied  echo.ports: [7] -> [7, 70]",
    "applied  echo.connections: 0 -> 2000",
    "applied  chargen.ports: [19] -> []",
    "applied  http.ports: [80] -> [80, 81]",
    "applied  http.certificate",
    "applied  http.root",
    "applied  http.access_log",
    "applied  http.requests_per_second: 0 -> 1000000",
    "applied  http.body_max",
    "applied  documents were read",
];

/// A load runs while the server is reloaded again and again, to other settings and back; then the last ones hold.
fn a_load_loses_nothing<P: Protocol + Send + 'static>(test: &str, port: u16, protocol: P) {
    let mut world = World::new(test, 2);
    let [first, second] = both(&world);
    world.settings(&[FIRST], &first);
    world.start();
    let (gauge, client) = world.load(SocketAddr::new(FIRST, port), CONNECTIONS, protocol);
    until(&gauge, "connections", |gauge| gauge.read().open == u64::from(CONNECTIONS));
    gauge.order(Work::Requests(Requests { among: CONNECTIONS, cause: Cause::AnyAnswered(50) }));
    let mut answered = 0;
    for round in 0..9 {
        if round % 2 == 0 {
            world.settings(&[FIRST, SECOND], &second);
        } else {
            world.settings(&[FIRST], &first);
        }
        let said = world.reloaded();
        if round == 0 {
            for line in WHAT {
                assert!(said.contains(line), "{line} is not in\n{said}");
            }
        }
        let before = std::mem::replace(&mut answered, gauge.read().answered);
        until(&gauge, "answers between reloads", |gauge| gauge.read().answered >= before + 1_000);
    }
    // SIGHUP is the same.
    assert!(Command::new("kill").args(["-HUP", &world.pid()]).status().unwrap().success());
    let answered = gauge.read().answered;
    until(&gauge, "answers after SIGHUP", |gauge| gauge.read().answered >= answered + 5_000);
    assert_eq!(gauge.read().open, u64::from(CONNECTIONS));
    client.stop().unwrap();

    answers(&world, SocketAddr::new(SECOND, 70), Echo::new(8));
    answers(&world, SocketAddr::new(FIRST, 81), Http::new("/", "a"));
    refuses(&world, SocketAddr::new(FIRST, 19));
    let logged = |name: &str| fs::read_to_string(world.path(name)).unwrap_or_default().lines().count();
    let begun = Instant::now();
    while logged("log-two") < 100 {
        assert!(begun.elapsed() < PATIENCE, "the second log has {} lines", logged("log-two"));
        std::thread::sleep(Duration::from_millis(20));
    }
    let last = fs::read_to_string(world.path("log-two")).unwrap();
    let length = fs::metadata(world.path("two/index.html")).unwrap().len();
    assert!(last.lines().last().unwrap().contains(&format!(" 200 {length} ")), "the second folder is served");
    world.stop();
}

#[test]
fn echo_connections_live_through_reloads() {
    a_load_loses_nothing("echo", 7, Echo::new(64));
}

#[test]
fn http_connections_live_through_reloads() {
    a_load_loses_nothing("http", 80, Http::new("/", "a.example"));
}

/// What is wrong changes nothing and says why; what waits for a restart says so and leaves the rest to be taken.
#[test]
fn mistakes_change_nothing_and_some_settings_wait() {
    let mut world = World::new("mistakes", 1);
    let good = format!("[http]\nroot = \"{}\"\n", world.path("one").display());
    world.settings(&[FIRST], &good);
    world.start();
    for (more, said) in [
        ("[echo]\nports = [71]\n[tcp]\ncongestion = \"reno\"\n".to_owned(), "congestion control is one of"),
        ("[echo]\nports = [71]\n[nonsense]\n".to_owned(), "there is no setting nonsense"),
        ("[echo]\nports = [71, 80]\n[http]\nports = [80]\n".to_owned(), "wants port 80 too"),
        (
            format!("[echo]\nports = [71]\n[http]\nroot = \"{}\"\n", world.path("three").display()),
            "http.root",
        ),
    ] {
        world.settings(&[FIRST], &more);
        let output = world.reload();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && told.contains(said), "{told}");
        assert!(
            !told.contains("applied")
                && String::from_utf8_lossy(&output.stderr).contains("nothing was changed")
        );
    }
    refuses(&world, SocketAddr::new(FIRST, 71));
    answers(&world, SocketAddr::new(FIRST, 7), Echo::new(8));

    let more = "[echo]\nports = [72]\n[cache]\nports = [11211]\nmemory = \"128M\"\n[discard]\nconnections_per_address = 3\n";
    world.settings(&[FIRST], &format!("{more}[net]\nneighbors = 2048\n{good}"));
    let said = world.reloaded();
    for line in [
        "applied  echo.ports: [7] -> [72]",
        "restart  cache.ports: [] -> [11211] (there was no cache at the start)",
        "restart  cache.memory: \"64M\" -> \"128M\"",
        "restart  net.neighbors: 1024 -> 2048",
        "restart  discard.connections_per_address: 0 -> 3",
    ] {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    // What waits still waits, and is said again; what was taken is not.
    let again = world.reloaded();
    assert!(again.contains("restart  net.neighbors") && !again.contains("echo.ports"), "{again}");
    answers(&world, SocketAddr::new(FIRST, 72), Echo::new(8));
    refuses(&world, SocketAddr::new(FIRST, 7));
    world.stop();
}
