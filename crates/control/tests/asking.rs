//! A server with connections, asked for its sockets and its frames by its admin socket.
#![allow(clippy::unwrap_used)]

use std::io::Read;
use std::net::{Shutdown, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use freeway_base::{HashKey, Seed};
use freeway_control::admin::AskError;
use freeway_control::sockets::{Netid, Socket, States, Summary, Wanted};
use freeway_control::{Client, Server, capture};
use freeway_mem::{Arena, PacketPool, PoolConfig};
use freeway_port::{Pipe, PipeConfig, Port, pipe};
use freeway_runtime::{Attachment, BuildError, Core, Idle, Running, Runtime, RuntimeConfig, Seat};
use freeway_stack::net::{Cidr, InterfaceConfig};
use freeway_stack::{Application, Conn, ConnectConfig, ListenConfig, Stack, StackConfig};
use pcap_file::pcapng::blocks::interface_statistics::InterfaceStatisticsOption;
use pcap_file::pcapng::{Block, PcapNgReader};

const SERVER: &str = "198.18.0.2";
const OPENS: usize = 200;

/// Listens on two ports, or opens connections to them; says hello on each.
struct App {
    is_server: bool,
}

impl Application for App {
    type Conn = ();

    fn start(&mut self, stack: &mut Stack<()>, _now: freeway_base::Instant) {
        if self.is_server {
            stack.listen(&ListenConfig::new(80)).unwrap();
            stack.listen(&ListenConfig::new(443)).unwrap();
            stack.udp_bind(None, 9, 4).unwrap();
            return;
        }
        for n in 0..OPENS {
            let server = SocketAddr::new(SERVER.parse().unwrap(), if n % 4 == 0 { 443 } else { 80 });
            stack.connect(&ConnectConfig::new(server)).unwrap();
        }
    }

    fn connected(&mut self, mut conn: Conn<'_, ()>) {
        conn.write(b"hello");
    }
}

fn core(seat: Seat, mut port: Pipe, addr: &str, app: App) -> Core<App> {
    let key = HashKey::new([1, 2]);
    let mut config = StackConfig::new(key, key);
    (config.max_connections, config.max_items) = (1_024, 4_096);
    config.pool = PoolConfig { buffers: 4_096, ..PoolConfig::default() };
    let mut arena = Arena::heap(config.arena_layout::<()>().bytes()).unwrap();
    let pool = PacketPool::new(&mut arena, &config.pool).unwrap();
    let mut stack = Stack::new(&config, &mut arena, pool, Seed(1), seat.now()).unwrap();
    port.attach(stack.pool()).unwrap();
    let interface = InterfaceConfig {
        addresses: vec![Cidr::new(addr.parse().unwrap(), 24)],
        ..InterfaceConfig::new(port.info().name.clone(), freeway_wire::MacAddr(port.info().mac))
    };
    let iface = stack.net.add_interface(interface).unwrap();
    Core::new(key, stack, app, [Attachment::new(iface, Box::new(port))], seat.mailboxes)
}

fn start(port: Pipe, addr: &'static str, is_server: bool) -> Running {
    let runtime = Runtime::new(RuntimeConfig { idle: Idle::Sleep, ..RuntimeConfig::default() }).unwrap();
    let build = move |seat: Seat| -> Result<_, BuildError> { Ok(core(seat, port, addr, App { is_server })) };
    runtime.start([build]).unwrap()
}

fn eventually(mut what: impl FnMut() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(20), "it never came true");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A server behind an admin socket, and the port of its peer.
struct Bench {
    server: Running,
    admin: Option<Server>,
    path: PathBuf,
    peer: Option<Pipe>,
    client: Option<Running>,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let (left, right) = pipe(&PipeConfig::default()).unwrap();
        let server = start(left, SERVER, true);
        let admin = Server::open(&path, server.observer(), "ready").unwrap();
        Self { server, admin: Some(admin), path, peer: Some(right), client: None, _folder: folder }
    }

    /// Opens all connections, and waits until everything said has arrived.
    fn fill(&mut self) {
        self.client = self.peer.take().map(|port| start(port, "198.18.0.3", false));
        let server = &self.server;
        eventually(|| server.stats()[0].get("tcp", "bytes_in") == Some(5 * OPENS as u64));
    }

    fn end(mut self) {
        drop(self.admin.take());
        self.server.stop().unwrap();
        self.client.map(|client| client.stop().unwrap());
    }
}

fn ask(
    path: &Path,
    filter: &str,
    change: impl FnOnce(&mut Wanted),
) -> Result<(Vec<Socket>, Summary), AskError> {
    let mut wanted = Wanted {
        filter: filter.to_owned(),
        states: States::USUAL.bits(),
        tcp: true,
        udp: true,
        ipv4: true,
        ipv6: true,
        ..Wanted::default()
    };
    change(&mut wanted);
    let mut all = Vec::new();
    let summary = Client::connect(path)?.sockets(wanted, |socket| -> Result<(), AskError> {
        all.push(socket);
        Ok(())
    })?;
    Ok((all, summary))
}

#[test]
fn sockets_are_shown_by_filter_family_and_state() {
    let mut bench = Bench::new();
    bench.fill();
    let path = bench.path.clone();
    let count = |filter: &str| ask(&path, filter, |_| {}).unwrap().0.len();
    assert_eq!(count(""), OPENS);
    assert_eq!(count("sport = :443"), OPENS / 4);
    assert_eq!(count("dst 198.18.0.3 and not sport = :443"), OPENS * 3 / 4);
    assert_eq!((count("dst 198.18.1.0/24"), count("core 1"), count("state time-wait")), (0, 0, 0));
    assert_eq!(count("state listening"), 2);

    let (waiting, summary) = ask(&path, "", |wanted| wanted.states = States::WAITING.bits()).unwrap();
    assert_eq!((waiting.len(), summary.udp, summary.tcp["LISTEN"]), (3, 1, 2));
    let listener = waiting.iter().find(|socket| socket.local_port == 443).unwrap();
    assert_eq!((listener.open, listener.local, listener.peer), (Some(50), None, None));
    assert!(waiting.iter().any(|socket| socket.netid == Netid::Udp && socket.local_port == 9));
    assert!(ask(&path, "", |wanted| wanted.ipv4 = false).unwrap().0.is_empty());
    assert_eq!(ask(&path, "", |wanted| wanted.tcp = false).unwrap().1, Summary::default());

    let (detailed, _) = ask(&path, "sport = :80", |wanted| wanted.details = true).unwrap();
    let tcp = detailed[0].tcp.as_ref().unwrap();
    assert_eq!((detailed[0].state.as_str(), detailed[0].recv_q), ("ESTAB", 5));
    assert!(tcp.rto_us >= 200_000 && tcp.mss_bytes > 500 && tcp.congestion.is_some(), "{tcp:?}");

    let (none, sums) = ask(&path, "sport = :80", |wanted| wanted.summary = true).unwrap();
    assert_eq!((none.len(), sums.sockets, sums.tcp["ESTAB"]), (0, 150, 150));
    let wrong = ask(&path, "sport = :http", |_| {});
    assert!(matches!(&wrong, Err(AskError::Refused(reason)) if reason.contains("no port")), "{wrong:?}");
    bench.end();
}

/// A frame of a capture: when it passed, how long it was, and what was kept of it.
type Frame = (Duration, u32, Vec<u8>);

/// The frames of a capture, how many the file says were taken, and dropped.
fn read(file: &[u8]) -> (Vec<Frame>, u64, u64) {
    let mut reader = PcapNgReader::new(file).unwrap();
    let (mut frames, mut taken, mut dropped) = (Vec::new(), 0, 0);
    while let Some(block) = reader.next_block() {
        match block.unwrap() {
            Block::EnhancedPacket(packet) => {
                frames.push((packet.timestamp, packet.original_len, packet.data.to_vec()));
            }
            Block::InterfaceStatistics(counts) => {
                for option in counts.options {
                    match option {
                        InterfaceStatisticsOption::IsbIfRecv(count) => taken += count,
                        InterfaceStatisticsOption::IsbIfDrop(count) => dropped += count,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    (frames, taken, dropped)
}

#[test]
fn a_capture_ends_when_its_client_does_and_holds_what_passed() {
    let mut bench = Bench::new();
    let capture = |filter: &str, change: &dyn Fn(&mut capture::Wanted)| {
        let mut wanted = capture::Wanted { filter: filter.to_owned(), ..Default::default() };
        change(&mut wanted);
        Client::connect(&bench.path).unwrap().capture(wanted)
    };
    let (begun, mut everything) = capture("", &|_| {}).unwrap();
    assert_eq!(begun.interfaces.len(), 1);
    let (_, mut short) = capture("tcp port 443 and src 198.18.0.3", &|wanted| wanted.snap_len = 60).unwrap();
    let (_, mut few) = capture("tcp", &|wanted| wanted.count = 10).unwrap();
    let (_, mut brief) = capture("udp", &|wanted| wanted.millis = 50).unwrap();
    let wrong = capture("tcp prot 80", &|_| {}).unwrap_err();
    assert!(matches!(&wrong, AskError::Refused(reason) if reason.contains("column 5")), "{wrong}");
    // What passes is copied once the core has its order, which it takes in its next turn.
    std::thread::sleep(Duration::from_millis(100));
    let before = std::time::SystemTime::now();
    bench.fill();

    let mut bytes = Vec::new();
    everything.get_ref().shutdown(Shutdown::Write).unwrap();
    everything.read_to_end(&mut bytes).unwrap();
    let (frames, taken, dropped) = read(&bytes);
    // Three segments open a connection, one more says hello.
    assert!(frames.len() >= 4 * OPENS && taken == frames.len() as u64 && dropped == 0, "{}", frames.len());
    assert!(frames.is_sorted_by_key(|(at, _, _)| *at));
    let since_1970 = before.duration_since(std::time::UNIX_EPOCH).unwrap();
    let (first, last) = (frames[0].0, frames[frames.len() - 1].0);
    assert!(last + Duration::from_secs(30) > since_1970 && first < since_1970 + Duration::from_secs(30));

    let mut bytes = Vec::new();
    short.get_ref().shutdown(Shutdown::Write).unwrap();
    short.read_to_end(&mut bytes).unwrap();
    let (frames, _, _) = read(&bytes);
    assert!(
        frames.len() >= 2 * OPENS / 4
            && frames.iter().all(|(_, len, kept)| kept.len() == 60.min(*len as usize))
    );

    let mut bytes = Vec::new();
    few.read_to_end(&mut bytes).unwrap();
    assert_eq!(read(&bytes).0.len(), 10, "it ends by itself");
    let mut bytes = Vec::new();
    brief.read_to_end(&mut bytes).unwrap();
    assert_eq!(read(&bytes), (Vec::new(), 0, 0));
    // Nobody captures any more: there is room for as many as at first.
    assert!(ask(&bench.path, "", |_| {}).is_ok());
    bench.end();
}
