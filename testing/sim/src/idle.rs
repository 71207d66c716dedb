//! Connections that say nothing for hours, kept by their keepalives: nothing may leak, nothing may drift.
//!
//! A client opens them through a pipe, and both hosts, the real [`Core`]s, probe each other by a schedule that is
//! known, so that what they send in so many hours is known too. Time is virtual.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use freeway::host::Memory;
use freeway::{Cidr, HostConfig, Interface, Mailboxes, Secrets};
use freeway_base::{Duration, Instant, Seed};
use freeway_port::{PipeConfig, pipe};
use freeway_runtime::Core;
use freeway_stack::stack::Occupancy;
use freeway_stack::{Application, Conn, ConnectConfig, Ended, ListenConfig, Stack};
use freeway_tcp::{Config, Keepalive};

const PORT: u16 = 7;
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// The client's first address; each is good for so many connections.
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 64, 1);
const PER_ADDRESS: u32 = 30_000;
/// Opened in one turn, so that no queue overflows.
const OPENED_AT_ONCE: u32 = 200;
/// From turn to turn, while something happens.
const TURN: Duration = Duration::from_micros(100);
/// Silence before the client probes,
const CLIENT_IDLE_SECS: u64 = 600;
/// and before the server does.
const SERVER_IDLE_SECS: u64 = 1_200;

/// What a run came to.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Connections held.
    pub connections: u32,
    /// Virtual time held.
    pub held: Duration,
    /// Segments that the client got meanwhile: answers to its probes, and the server's.
    pub heard: u64,
    /// Turns of both cores together.
    pub turns: u64,
    /// The server's tables while all were open.
    pub open: Occupancy,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, held, heard, turns, open } = self;
        write!(
            f,
            "{connections} connections held for {held} of virtual time: the client heard {heard} probes and answers, {turns} turns; \
             of the server's tables {} timers, {} flows, {} buffers, {} items",
            open.timers, open.flows, open.buffers.0, open.items.0
        )
    }
}

/// Opens, and counts.
struct Opener {
    to_open: u32,
    opened: u32,
    open: u32,
    broken: u32,
    tcp: Config,
}

/// Accepts, and closes when the peer does.
struct Holder {
    tcp: Config,
    open: u32,
}

impl Application for Opener {
    type Conn = u64;

    fn turn(&mut self, stack: &mut Stack<u64>, _: Instant) {
        for _ in 0..self.to_open.min(OPENED_AT_ONCE) {
            let addr = Ipv4Addr::from_bits(FIRST.to_bits() + self.opened / PER_ADDRESS);
            let connect = ConnectConfig {
                tcp: self.tcp,
                local_addr: Some(IpAddr::V4(addr)),
                ..ConnectConfig::new(SocketAddr::new(IpAddr::V4(SERVER), PORT))
            };
            if stack.connect(&connect).is_err() {
                return;
            }
            self.to_open -= 1;
            self.opened += 1;
        }
    }

    fn connected(&mut self, _: Conn<'_, u64>) {
        self.open += 1;
    }

    fn closed(&mut self, _: &mut Stack<u64>, _: Ended<u64>) {
        self.broken += 1;
    }
}

impl Application for Holder {
    type Conn = u64;

    fn start(&mut self, stack: &mut Stack<u64>, _: Instant) {
        let listening = stack.listen(&ListenConfig { tcp: self.tcp, ..ListenConfig::new(PORT) });
        debug_assert!(listening.is_ok(), "a fresh stack has no listener");
    }

    fn accepted(&mut self, _: Conn<'_, u64>) {
        self.open += 1;
    }

    fn readable(&mut self, mut conn: Conn<'_, u64>) {
        if conn.at_end() {
            conn.close();
        }
    }

    fn closed(&mut self, _: &mut Stack<u64>, _: Ended<u64>) {
        self.open = self.open.saturating_sub(1);
    }
}

struct World {
    client: Core<Opener>,
    server: Core<Holder>,
    now: Instant,
    turns: u64,
}

impl World {
    fn new(connections: u32) -> Result<Self> {
        let now = Instant::from_secs(1);
        let (near, far) = pipe(&PipeConfig { frames: 4_096, ..PipeConfig::default() })?;
        let sources = connections.div_ceil(PER_ADDRESS);
        let mut config = HostConfig::new(Secrets::from_seed(Seed(1)))
            .max_connections(connections)
            .buffers(8_192)
            .memory(Memory::Heap);
        config.stack.large_pool.buffers = 2;
        // Answers to probes must not need it.
        config.stack.challenges_per_second = (connections / 100).max(1);
        let places = sources as u16 + 8;
        let net = &mut config.stack.net;
        (net.addresses, net.routes, net.neighbors) = (places, places, 2 * places);
        let tcp = |idle| Config {
            keepalive: Some(Keepalive { idle, ..Keepalive::default() }),
            ..Config::default()
        };
        let opener = Opener {
            to_open: connections,
            opened: 0,
            open: 0,
            broken: 0,
            tcp: tcp(Duration::from_secs(CLIENT_IDLE_SECS)),
        };
        let cidr = |addr| Cidr::new(IpAddr::V4(addr), 15);
        let interface = (0..sources)
            .map(|number| cidr(Ipv4Addr::from_bits(FIRST.to_bits() + number)))
            .fold(Interface::new(near), Interface::address);
        let client = config.build(Mailboxes::single()?, now, opener, [interface])?;
        config.seed = Seed(2);
        let holder = Holder { tcp: tcp(Duration::from_secs(SERVER_IDLE_SECS)), open: 0 };
        let interface = Interface::new(far).address(cidr(SERVER));
        let server = config.build(Mailboxes::single()?, now, holder, [interface])?;
        Ok(Self { client, server, now, turns: 0 })
    }

    /// Lets time pass until `end`, from deadline to deadline, or until `done`.
    fn run(&mut self, end: Instant, done: impl Fn(&Self) -> bool) {
        while self.now < end && !done(self) {
            self.turns += 2;
            let busy = self.client.poll(self.now).is_busy() | self.server.poll(self.now).is_busy();
            let next = [self.client.next_deadline(), self.server.next_deadline()];
            let next = next.into_iter().flatten().min().unwrap_or(end);
            let soonest = self.now + TURN;
            self.now = if busy { soonest } else { next.max(soonest).min(end.max(soonest)) };
        }
    }
}

/// Opens so many connections, holds them in silence for `hours` of virtual time, and looks that all is as it was.
///
/// # Errors
///
/// What was not as it was.
pub fn run(connections: u32, hours: u64) -> Result<Report> {
    let mut world = World::new(connections)?;
    let limit = world.now + Duration::from_secs(300);
    world
        .run(limit, |world| world.client.app().open == connections && world.server.app().open == connections);
    ensure!(
        world.server.app().open == connections && world.client.app().open == connections,
        "{} and {} of {connections} connections opened",
        world.client.app().open,
        world.server.app().open
    );
    // Handshakes, delayed acknowledgments and neighbours come to rest.
    let limit = world.now + Duration::from_secs(10);
    world.run(limit, |_| false);
    let open = [world.client.stack().occupancy(), world.server.stack().occupancy()];
    let before = [world.client.stack().counters().tcp, world.server.stack().counters().tcp];

    let begun = world.now;
    let end = begun + Duration::from_secs(hours * 3_600);
    world.run(end, |_| false);
    let held = world.now - begun;
    let after = [world.client.stack().counters().tcp, world.server.stack().counters().tcp];
    for (name, core, open) in [
        ("client", world.client.stack().occupancy(), open[0]),
        ("server", world.server.stack().occupancy(), open[1]),
    ] {
        let key = |it: Occupancy| {
            [it.connections.0, it.syn_received.0, it.time_wait, it.timers, it.flows, it.classes]
        };
        ensure!(key(core) == key(open), "the {name}'s tables were {open:?} and are {core:?}");
        // Probes may be under way at this very moment.
        ensure!(core.buffers.0 <= open.buffers.0 + 256 && core.items.0 == 0, "the {name} holds {core:?}");
    }
    ensure!(world.client.app().broken == 0, "{} connections ended", world.client.app().broken);
    for (before, after) in before.iter().zip(&after) {
        ensure!(after.retransmitted == before.retransmitted, "something was sent again");
        ensure!(after.closed_timed_out == 0 && after.resets_out == 0, "something was given up");
    }
    // Each side probes once in its idle time and up to a sixteenth of it later, late by the timer's step: a probe is no sign
    // of life to the one who is probed, for it carries nothing new. A hundredth of drift is allowed, and a probe of each
    // side for where the hours end.
    let heard = after[0].segments_in - before[0].segments_in;
    let seconds = hours * 3_600;
    let rounds = seconds / CLIENT_IDLE_SECS + seconds / SERVER_IDLE_SECS;
    let least = u64::from(connections) * (rounds * 16 / 17 - rounds.div_ceil(100) - 2);
    let most = u64::from(connections) * (rounds + 2);
    ensure!((least..=most).contains(&heard), "the client heard {heard} segments, not {least} to {most}");
    Ok(Report { connections, held, heard, turns: world.turns, open: open[1] })
}
