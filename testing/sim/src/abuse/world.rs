//! The server between its client and its attacker.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use freeway::host::Memory;
use freeway::{Cidr, HostConfig, Interface, Mailboxes, Secrets};
use freeway_base::{Duration, Instant, Rng, Seed};
use freeway_mem::{Arena, ArenaLayout, PacketPool, PoolConfig, RxBurst, TxBurst};
use freeway_port::{Pipe, PipeConfig, Port, RxQueue, TxQueue, pipe};
use freeway_runtime::Core;
use freeway_stack::stack::{Occupancy, StackCounters};
use freeway_stack::{ListenConfig, ListenerReport};
use freeway_wire::MacAddr;
use freeway_wire::tcp::{Flags, Repr};

use super::forge;
use super::honest::{Client, Fortunes, Server};

/// The port that the honest client talks to.
pub(crate) const PORT: u16 = 7;
/// The server's address on the client's cable.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// The client's.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The server's address on the attacker's cable.
const SERVER_UP: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 2);
/// The router that the attacker poses as.
const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 1);
/// From turn to turn.
const TICK: Duration = Duration::from_micros(200);

const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// How the world is made.
pub(crate) struct Setup {
    pub(crate) listen: Vec<ListenConfig>,
    pub(crate) connections: u32,
    pub(crate) half_open: u32,
    pub(crate) count_peers: bool,
    pub(crate) ipv6: bool,
    pub(crate) tcp: freeway_tcp::Config,
}

impl Setup {
    pub(crate) fn new(listen: ListenConfig) -> Self {
        Self {
            listen: vec![listen],
            connections: 256,
            half_open: 128,
            count_peers: false,
            ipv6: false,
            tcp: freeway_tcp::Config::default(),
        }
    }
}

/// The attacker's hands.
pub(crate) struct Attacker {
    port: Pipe,
    pool: PacketPool,
    pub(crate) mac: MacAddr,
    pub(crate) rng: Rng,
    /// Segments that came back, by kind.
    pub(crate) syn_acks: u64,
    pub(crate) resets: u64,
    pub(crate) sent: u64,
    /// The SYN-ACKs of the last turn, and whom they were for.
    pub(crate) answers: Vec<(SocketAddr, Repr)>,
}

impl Attacker {
    /// Any address of a network that is not there.
    pub(crate) fn stranger(&mut self) -> SocketAddr {
        let host = self.rng.below(1 << 14);
        let addr = Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 64, 0).to_bits() + host);
        SocketAddr::new(IpAddr::V4(addr), 1_024 + self.rng.below(60_000) as u16)
    }

    pub(crate) fn send(&mut self, frame: &[u8]) {
        let mut packet = self.pool.alloc().expect("the attacker has buffers");
        assert!(packet.copy_from_slice(frame), "it fits");
        let mut burst = TxBurst::new();
        burst.push(packet.share());
        // What the cable does not take is lost.
        self.sent += self.port.tx_burst(&mut burst) as u64;
    }

    fn listen(&mut self) {
        let mut burst = RxBurst::new();
        while self.port.rx_burst(&self.pool, &mut burst) > 0 {
            for packet in burst.drain(..) {
                if let Some(reply) = forge::arp_reply(packet.data()) {
                    self.send(&reply);
                }
                let Some((to, repr, _)) = forge::segment_of(packet.data()) else { continue };
                self.resets += u64::from(repr.flags.contains(Flags::RST));
                if repr.flags.contains(Flags::SYN | Flags::ACK) {
                    self.syn_acks += 1;
                    self.answers.push((to, repr));
                }
            }
        }
    }
}

/// Server, client, attacker, clock.
pub(crate) struct World {
    pub(crate) server: Core<Server>,
    pub(crate) client: Core<Client>,
    pub(crate) attacker: Attacker,
    pub(crate) now: Instant,
    /// The fullest that the server's tables were.
    pub(crate) peak: Occupancy,
}

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        let now = Instant::from_secs(1_000);
        let cable = |name: &str| {
            pipe(&PipeConfig { frames: 1_024, name: name.into(), ..PipeConfig::default() }).expect("a pipe")
        };
        let v4 = |addr| Cidr::new(IpAddr::V4(addr), 24);
        let v6 = |addr| Cidr::new(IpAddr::V6(addr), 64);
        let ((client_end, server_end), (attacker_end, server_up)) = (cable("honest"), cable("hostile"));
        let mac = MacAddr(server_up.info().mac);
        let server_addr = if setup.ipv6 { IpAddr::V6(SERVER_V6) } else { IpAddr::V4(SERVER) };

        let mut config = HostConfig::new(Secrets::from_seed(Seed(1)))
            .max_connections(setup.connections)
            .buffers(4_096)
            .memory(Memory::Heap);
        config.stack.large_pool.buffers = 2;
        config.stack.max_syn_received = setup.half_open;
        config.stack.count_peers = setup.count_peers;
        let mail = || Mailboxes::single().expect("mailboxes");
        let down = Interface::new(server_end).address(v4(SERVER)).address(v6(SERVER_V6));
        let up = Interface::new(server_up).address(v4(SERVER_UP)).gateway_v4(ROUTER);
        let server = config.build(mail(), now, Server::new(setup.listen), [down, up]).expect("a server");

        config = config.max_connections(4_096);
        config.seed = Seed(2);
        let interface = Interface::new(client_end).address(v4(CLIENT)).address(v6(CLIENT_V6));
        let client = Client::new(SocketAddr::new(server_addr, PORT), setup.tcp);
        let client = config.build(mail(), now, client, [interface]).expect("a client");

        let pool = PoolConfig { buffers: 1_024, ..PoolConfig::default() };
        let mut arena = Arena::heap(ArenaLayout::new().pool(&pool).bytes()).expect("memory");
        let pool = PacketPool::new(&mut arena, &pool).expect("a pool");
        let rng = Rng::new(Seed(3));
        let attacker = Attacker {
            port: attacker_end,
            pool,
            mac,
            rng,
            syn_acks: 0,
            resets: 0,
            sent: 0,
            answers: Vec::new(),
        };
        Self { server, client, attacker, now, peak: Occupancy::default() }
    }

    /// Lets time pass, and `attack` act before each turn.
    pub(crate) fn run(&mut self, span: Duration, mut attack: impl FnMut(&mut Attacker, Instant)) {
        let end = self.now + span;
        while self.now < end {
            attack(&mut self.attacker, self.now);
            self.attacker.answers.clear();
            loop {
                let busy = self.server.poll(self.now).is_busy() | self.client.poll(self.now).is_busy();
                self.attacker.listen();
                self.look();
                if !busy {
                    break;
                }
            }
            self.now += TICK;
        }
    }

    /// Lets time pass in peace, from deadline to deadline.
    pub(crate) fn rest(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            while self.server.poll(self.now).is_busy() | self.client.poll(self.now).is_busy() {}
            self.attacker.listen();
            let next = [self.server.next_deadline(), self.client.next_deadline()];
            let next = next.into_iter().flatten().min().unwrap_or(end);
            self.now = next.max(self.now + TICK).min(end);
        }
    }

    fn look(&mut self) {
        let now = self.server.stack().occupancy();
        self.peak.syn_received.0 = self.peak.syn_received.0.max(now.syn_received.0);
        self.peak.connections.0 = self.peak.connections.0.max(now.connections.0);
        self.peak.peers = self.peak.peers.max(now.peers);
        self.peak.flows = self.peak.flows.max(now.flows);
        self.peak.timers = self.peak.timers.max(now.timers);
        self.peak.buffers.0 = self.peak.buffers.0.max(now.buffers.0);
    }

    /// What the server counted.
    pub(crate) fn counters(&self) -> StackCounters {
        self.server.stack().counters()
    }

    /// How a listener of the server does.
    pub(crate) fn report(&self, number: usize) -> ListenerReport {
        self.server.app().report(self.server.stack(), number)
    }

    /// What the honest client came to so far.
    pub(crate) fn fortunes(&self) -> Fortunes {
        self.client.app().fortunes
    }

    /// During `span` the honest client is served as if nothing were: it speaks, and all that it opens opens.
    pub(crate) fn assert_served(&mut self, span: Duration, attack: impl FnMut(&mut Attacker, Instant)) {
        let before = self.fortunes();
        self.run(span, attack);
        let after = self.fortunes();
        let seconds = span.as_millis() as f64 / 1e3;
        let (bytes, complete) =
            (after.lasting_bytes - before.lasting_bytes, f64::from(after.complete - before.complete));
        assert_eq!((after.wrong_bytes, after.broken, after.lasting_ended), (0, 0, false), "{after:?}");
        assert!(bytes as f64 > seconds * 50_000.0, "{bytes} bytes in {seconds} s");
        assert!(complete > seconds * 90.0, "{complete} connections in {seconds} s: {after:?}");
    }

    /// Long after an attack nothing is left of it, and the host serves on.
    pub(crate) fn assert_recovered(&mut self) {
        self.client.app_mut().opens = false;
        self.rest(Duration::from_secs(200));
        let left = self.server.stack().occupancy();
        assert_eq!((left.syn_received.0, left.connections.0, left.flows), (0, 1, 1), "{left:?}");
        // The connection that lasts may be in the middle of an exchange.
        assert!(left.items.0 <= 1 && left.buffers.0 <= 1, "{left:?}");
        let ListenerReport { half_open, backlog, open, .. } = self.report(0);
        assert_eq!((half_open, backlog, open), (0, 0, 1));
        self.client.app_mut().opens = true;
        self.assert_served(Duration::from_millis(500), |_, _| {});
    }
}
