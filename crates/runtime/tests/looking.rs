//! Looking at a core that runs: its sockets and its frames, from another thread.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use freeway_base::{HashKey, Seed};
use freeway_mem::{Arena, PacketPool, PoolConfig};
use freeway_port::{Pipe, PipeConfig, Port, pipe};
use freeway_runtime::{
    Attachment, BuildError, Core, Frames, Idle, LookError, Observer, Running, Runtime, RuntimeConfig, Seat,
};
use freeway_stack::net::{Cidr, InterfaceConfig};
use freeway_stack::rows::{Row, Stage, Tables};
use freeway_stack::{Application, Conn, ConnectConfig, ListenConfig, Stack, StackConfig};
use freeway_tcp::State;
use freeway_wire::MacAddr;

const SERVER: &str = "198.18.0.2";
const CLIENT: &str = "198.18.0.3";

/// Listens, or opens so many connections and says hello on each.
struct App {
    opens: usize,
}

impl Application for App {
    type Conn = ();

    fn start(&mut self, stack: &mut Stack<()>, _now: freeway_base::Instant) {
        if self.opens == 0 {
            stack.listen(&ListenConfig { service: 3, ..ListenConfig::new(7) }).unwrap();
            stack.udp_bind(None, 9, 4).unwrap();
        }
        let server = SocketAddr::new(SERVER.parse().unwrap(), 7);
        for _ in 0..self.opens {
            stack.connect(&ConnectConfig::new(server)).unwrap();
        }
    }

    fn connected(&mut self, mut conn: Conn<'_, ()>) {
        conn.write(b"hello");
    }
}

fn core(seat: Seat, mut port: Pipe, addr: &str, opens: usize) -> Core<App> {
    let key = HashKey::new([1, 2]);
    let mut config = StackConfig::new(key, key);
    (config.max_connections, config.max_items) = (1_024, 4_096);
    config.pool = PoolConfig { buffers: 4_096, ..PoolConfig::default() };
    let mut arena = Arena::heap(config.arena_layout::<()>().bytes()).unwrap();
    let pool = PacketPool::new(&mut arena, &config.pool).unwrap();
    let mut stack = Stack::new(&config, &mut arena, pool, Seed(1), seat.now()).unwrap();
    port.attach(stack.pool()).unwrap();
    let info = port.info();
    let interface = InterfaceConfig {
        addresses: vec![Cidr::new(addr.parse().unwrap(), 24)],
        mtu: info.mtu,
        ..InterfaceConfig::new(info.name.clone(), MacAddr(info.mac))
    };
    let iface = stack.net.add_interface(interface).unwrap();
    Core::new(key, stack, App { opens }, [Attachment::new(iface, Box::new(port))], seat.mailboxes)
}

fn start(port: Pipe, addr: &'static str, opens: usize, idle: Idle) -> Running {
    let runtime = Runtime::new(RuntimeConfig { idle, ..RuntimeConfig::default() }).unwrap();
    runtime.start([move |seat: Seat| -> Result<_, BuildError> { Ok(core(seat, port, addr, opens)) }]).unwrap()
}

/// A server, and a client that has opened so many connections.
fn pair(opens: usize, idle: Idle) -> (Running, Running) {
    let (left, right) = pipe(&PipeConfig::default()).unwrap();
    let server = start(left, SERVER, 0, idle);
    let client = start(right, CLIENT, opens, idle);
    let open = || client.stats()[0].get("tcp", "connected") == Some(opens as u64);
    eventually(|| open() && server.stats()[0].get("tcp", "bytes_in") == Some(5 * opens as u64));
    (server, client)
}

fn eventually(mut what: impl FnMut() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(20), "it never came true");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn all(observer: &Observer, tables: Tables, detail: bool) -> Vec<Row> {
    let mut rows = observer.rows(0, tables, detail).unwrap();
    std::iter::from_fn(|| rows.next_row().unwrap()).collect()
}

#[test]
fn every_socket_is_shown_once_with_what_was_asked_for() {
    for idle in [Idle::Sleep, Idle::Spin] {
        let (server, client) = pair(300, idle);
        let observer = server.observer();
        let rows = all(&observer, Tables::all(), true);
        let open: Vec<&Row> = rows.iter().filter(|row| row.stage == Stage::Tcp(State::Established)).collect();
        assert_eq!(open.len(), 300);
        let mut ports: Vec<u16> = open.iter().map(|row| row.peer.unwrap().port()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 300, "each connection once");
        for row in open {
            assert_eq!((row.local, row.local_port), (Some(SERVER.parse().unwrap()), 7));
            assert_eq!((row.service, row.receive_queue, row.send_queue), (3, 5, 0));
            assert_eq!(row.info.unwrap().unread, 5);
        }
        let listener = rows.iter().find(|row| row.stage == Stage::Listener { open: 300 }).unwrap();
        assert_eq!((listener.local, listener.local_port, listener.peer), (None, 7, None));
        assert!(rows.iter().any(|row| row.stage == Stage::Udp && (row.local_port, row.service) == (9, 4)));
        assert_eq!(rows.len(), 302);

        let brief = all(&client.observer(), Tables::CONNECTIONS, false);
        assert_eq!(brief.len(), 300);
        assert!(brief.iter().all(|row| row.info.is_none()));
        assert!(all(&observer, Tables::empty(), false).is_empty());
        server.stop().unwrap();
        client.stop().unwrap();
    }
}

/// Waits for a frame, and takes it.
fn next(frames: &mut Frames) -> (bool, u32, Vec<u8>, freeway_base::Instant) {
    let mut found = None;
    eventually(|| {
        found = frames.peek().map(|seen| (seen.went_out, seen.len, seen.bytes.to_vec(), seen.at));
        found.is_some()
    });
    frames.release();
    found.unwrap()
}

/// Frames that went through the server's port, in and out.
fn passed(server: &Running) -> u64 {
    let core = server.stats()[0].clone();
    let port = core.groups.iter().find(|group| group.name.starts_with("port")).unwrap();
    let is_frames = |name: &str| ["rx_frames", "tx_frames"].contains(&name);
    port.counters.iter().filter(|(name, _)| is_frames(name)).map(|counter| counter.1).sum()
}

#[test]
fn frames_of_both_ways_are_copied_as_far_as_wanted() {
    let (left, right) = pipe(&PipeConfig::default()).unwrap();
    let server = start(left, SERVER, 0, Idle::Sleep);
    let observer = server.observer();
    let before = observer.now();
    let mut all = observer.frames(0, "".parse().unwrap(), 2_048, 256).unwrap();
    let mut syns = observer.frames(0, "tcp[tcpflags] & tcp-syn != 0".parse().unwrap(), 20, 256).unwrap();
    let mut none = observer.frames(0, "udp port 53".parse().unwrap(), 2_048, 256).unwrap();
    // The core takes orders once a turn; what is seen of these by then is seen by all.
    eventually(|| server.stats()[0].get("turns", "turns").unwrap() > 2);
    std::thread::sleep(Duration::from_millis(200));
    let (passed_before, taken_before) = (passed(&server), all.counts().0);
    let client = start(right, CLIENT, 1, Idle::Sleep);

    // Announcements of its own address went out before.
    let mut after = |out| loop {
        let frame = next(&mut all);
        if frame.0 == out {
            return frame;
        }
    };
    let (_, len, bytes, at) = after(false);
    assert!(bytes.starts_with(&[0xff; 6]) && len as usize == bytes.len(), "an ARP question came in");
    assert!(at >= before && at <= observer.now());
    let (_, _, bytes, _) = after(true);
    assert!(bytes[0] != 0xff && bytes[12..14] == [8, 6], "its answer went out");
    let (first, second) = (next(&mut syns), next(&mut syns));
    assert_eq!((first.0, second.0), (false, true), "a SYN came in, a SYN-ACK went out");
    assert!(first.2.len() == 20 && first.1 > 50, "no more than was wanted, and how long it was");

    eventually(|| server.stats()[0].get("tcp", "bytes_in") == Some(5));
    let passed = passed(&server) - passed_before;
    all.stop();
    let (taken, dropped) = (all.counts().0 - taken_before, all.counts().1);
    assert!(taken >= passed && dropped == 0, "{taken} of {passed} frames, {dropped} dropped");
    assert_eq!((syns.counts(), none.counts()), ((2, 0), (0, 0)));
    assert!(none.peek().is_none() && !none.is_disconnected());
    server.stop().unwrap();
    client.stop().unwrap();
    assert!(none.is_disconnected());
}

#[test]
fn a_reader_that_is_too_slow_loses_frames_and_they_are_counted() {
    let (left, right) = pipe(&PipeConfig::default()).unwrap();
    let server = start(left, SERVER, 0, Idle::Sleep);
    let observer = server.observer();
    let mut frames = observer.frames(0, "tcp".parse().unwrap(), 64, 4).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let client = start(right, CLIENT, 100, Idle::Sleep);
    eventually(|| server.stats()[0].get("tcp", "bytes_in") == Some(500));
    frames.stop();
    let (taken, dropped) = frames.counts();
    let waiting = std::iter::from_fn(|| frames.peek().is_some().then(|| frames.release())).count() as u64;
    assert_eq!((waiting, taken - waiting), (4, dropped));
    assert!(taken >= 400, "{taken}");
    server.stop().unwrap();
    client.stop().unwrap();
}

#[test]
fn lookers_are_bounded_and_make_room_when_they_go() {
    let (left, _right) = pipe(&PipeConfig::default()).unwrap();
    let server = start(left, SERVER, 0, Idle::Sleep);
    let observer = server.observer();
    assert_eq!((observer.cores(), observer.interfaces(0).len(), observer.interfaces(1).len()), (1, 1, 0));
    assert!(matches!(observer.frames(1, "".parse().unwrap(), 64, 4), Err(LookError::NoCore(1))));
    for _ in 0..3 {
        let mut lookers: Vec<_> =
            std::iter::from_fn(|| observer.frames(0, "".parse().unwrap(), 64, 4).ok()).collect();
        assert_eq!(lookers.len(), 8);
        assert!(matches!(observer.rows(0, Tables::all(), false), Err(LookError::Busy(0))));
        lookers.pop();
        assert_eq!(all(&observer, Tables::LISTENERS, false).len(), 1);
    }
    server.stop().unwrap();
    let gone = observer.rows(0, Tables::all(), false);
    assert!(gone.is_err() || gone.is_ok_and(|mut rows| rows.next_row().is_err()));
}
