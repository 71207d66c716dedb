//! What the tests share: a pair of ports over a socket of its own.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use freeway_mem::{Arena, ArenaLayout, PacketPool, PoolConfig, RxBurst, TxBurst};
use freeway_memif::{Config, LinkStatus, Memif, MemifQueue, Patience, Role, SocketName, Trust, open};
use freeway_port::{Port, RxQueue, TxQueue};

/// How long anything may take that will certainly happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A path that no other test has.
pub(crate) fn path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("freeway-memif-{}-{number}.sock", std::process::id()))
}

pub(crate) fn config(role: Role, socket: PathBuf) -> Config {
    let patience = Patience { reconnect: Duration::from_millis(5), handshake: Duration::from_secs(5) };
    let name = if role == Role::Server { "server" } else { "client" };
    Config { name: name.into(), role, socket: SocketName::Path(socket), patience, ..Config::default() }
}

/// The first queue of an interface.
pub(crate) fn open_one(config: &Config) -> MemifQueue {
    open(std::slice::from_ref(config)).unwrap().pop().unwrap().pop().unwrap()
}

/// A server and a client that are connected, changed by `change`.
pub(crate) fn pair(change: impl Fn(&mut Config)) -> (Memif, Memif) {
    let socket = path();
    let [server, client] = [Role::Server, Role::Client].map(|role| {
        let mut config = config(role, socket.clone());
        change(&mut config);
        open_one(&config).into_port()
    });
    (server, client)
}

/// Attaches ports to the pool, and waits until all see the link, calling them as cores do.
pub(crate) fn meet(pool: &PacketPool, ports: &mut [&mut Memif]) {
    for port in ports.iter_mut() {
        port.attach(pool).unwrap();
    }
    let over = Instant::now() + PATIENCE;
    loop {
        for port in ports.iter_mut() {
            port.rx_burst(pool, &mut RxBurst::new());
        }
        if ports.iter().all(|port| port.status().is_up() && ups_and_downs(port) == (1, 0)) {
            return;
        }
        assert!(Instant::now() < over, "no link: {:?}", ports[0].status().last_reason());
        std::thread::yield_now();
    }
}

pub(crate) fn ups_and_downs(port: &Memif) -> (u64, u64) {
    (port.counters().link_ups, port.counters().link_downs)
}

pub(crate) fn pool(buffers: u32, shared: bool) -> PacketPool {
    pool_of(&PoolConfig { buffers, shared, ..PoolConfig::default() })
}

pub(crate) fn pool_of(config: &PoolConfig) -> PacketPool {
    let mut arena = Arena::heap(ArenaLayout::new().pool(config).bytes()).unwrap();
    PacketPool::new(&mut arena, config).unwrap()
}

/// Sends one frame.
pub(crate) fn send(port: &mut Memif, pool: &PacketPool, bytes: &[u8]) -> bool {
    let mut packet = pool.alloc().unwrap();
    assert!(packet.copy_from_slice(bytes));
    port.tx_burst(&mut TxBurst::from_iter([packet.share()])) == 1
}

/// The next frame, if it comes soon.
pub(crate) fn receive(port: &mut Memif, pool: &PacketPool) -> Option<Vec<u8>> {
    let over = Instant::now() + PATIENCE;
    let mut burst = RxBurst::new();
    while burst.is_empty() && Instant::now() < over {
        // One at a time.
        let mut fill: RxBurst = (1..freeway_mem::BURST).filter_map(|_| None).collect();
        port.rx_burst(pool, &mut fill);
        assert!(fill.len() <= 1, "one frame was expected");
        burst.extend(fill);
    }
    burst.pop().map(|packet| packet.data().to_vec())
}

/// Polls until `done` says so.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let over = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < over, "{what}");
        std::thread::yield_now();
    }
}

/// A status that is down, for a reason.
pub(crate) fn ended(status: &LinkStatus, reason: freeway_memif::Reason) -> bool {
    status.ended(reason) > 0
}

/// Both ends trust each other.
pub(crate) fn trusting(config: &mut Config) {
    config.trust = Trust::Full;
}
