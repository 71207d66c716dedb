//! Two hosts, the way between them, and a stranger on it: frames in hand, on a virtual clock.
//!
//! The way carries every frame after a delay, unless the test's `middle` says otherwise; the `stranger` sees what the server
//! sends and may take it for himself. Everything is deterministic.

mod desk;
pub(crate) mod forge;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use freeway_base::{Duration, HashKey, Instant, Seed};
use freeway_mem::{Arena, PacketPool, PoolConfig, RxBurst, TxBurst};
use freeway_stack::net::{IfaceId, InterfaceConfig};
use freeway_stack::{Application, Conn, ConnId, ConnectConfig, ListenConfig, Stack, StackConfig};
use freeway_tcp::Config;
use freeway_wire::MacAddr;

pub(crate) use desk::{DISCARD, Desk, ECHO, SOURCE};

/// Which host.
pub(crate) const SERVER: usize = 0;
pub(crate) const CLIENT: usize = 1;

const MACS: [MacAddr; 2] = [forge::SERVER_MAC, forge::CLIENT_MAC];
/// Turns of one run at most.
const TURNS_MAX: u64 = 30_000_000;

/// What becomes of a frame on its way.
pub(crate) enum Fate {
    Pass,
    Drop,
    /// It is dropped, and this one goes back to its sender.
    Answer(Vec<u8>),
}

/// A host: the real stack with an application.
pub(crate) struct Host {
    pub(crate) stack: Stack<[u64; 2]>,
    pub(crate) desk: Desk,
    iface: IfaceId,
}

impl Host {
    fn new(number: usize, change: &dyn Fn(usize, &mut StackConfig), tcp: Config, now: Instant) -> Self {
        let mut config = StackConfig::new(HashKey::new([1, 2]), HashKey::new([3, 4]));
        config.max_connections = 64;
        config.max_syn_received = 64;
        config.max_time_wait = 64;
        config.pool = PoolConfig { buffers: 4_096, ..PoolConfig::default() };
        config.max_items = 4_096;
        config.send_buffer = 1 << 20;
        config.send_buffer_max = 1 << 20;
        config.large_pool.buffers = 16;
        config.net.announce = false;
        change(number, &mut config);
        let mut arena = Arena::heap(config.arena_layout::<[u64; 2]>().bytes()).expect("there is memory");
        let pool = PacketPool::new(&mut arena, &config.pool).expect("the arena was measured");
        let mut stack =
            Stack::new(&config, &mut arena, pool, Seed(number as u64 + 1), now).expect("the sizes are right");
        let [v4, v6] = [address(number, false), address(number, true)];
        let interface = InterfaceConfig {
            addresses: vec![
                format!("{v4}/15").parse().expect("a network"),
                format!("{v6}/64").parse().expect("a network"),
            ],
            tx_queue: 8_192,
            ..InterfaceConfig::new("lab0", MACS[number])
        };
        let iface = stack.net.add_interface(interface).expect("the interface is right");
        let mut desk = Desk::default();
        if number == SERVER {
            for port in [ECHO, DISCARD, SOURCE] {
                stack
                    .listen(&ListenConfig { service: port, tcp, ..ListenConfig::new(port) })
                    .expect("a free port");
            }
        }
        desk.start(&mut stack, now);
        Self { stack, desk, iface }
    }

    fn receive(&mut self, now: Instant, frame: &[u8]) {
        // A frame that finds no buffer is lost, as at a device.
        let Some(mut packet) = self.stack.pool().alloc() else { return };
        assert!(packet.copy_from_slice(frame), "a frame of {} bytes", frame.len());
        let mut burst = RxBurst::new();
        burst.push(packet);
        self.stack.input(now, self.iface, &mut burst);
    }

    /// Runs the host until it has nothing more to do now; what it sends.
    fn run(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        for _ in 0..10_000 {
            let mut work = self.stack.expire(now, 256);
            work += self.stack.dispatch(now, &mut self.desk);
            work += self.stack.output(now);
            let mut burst = TxBurst::new();
            self.stack.tx_burst(self.iface, &mut burst);
            work += burst.len();
            sent.extend(burst.drain(..).map(|frame| frame.data().to_vec()));
            if work == 0 {
                return sent;
            }
        }
        panic!("the host does not come to rest: {:?}", self.stack.occupancy());
    }
}

/// A host's address.
pub(crate) fn address(number: usize, ipv6: bool) -> IpAddr {
    let text = match (number, ipv6) {
        (SERVER, false) => "198.18.0.2",
        (SERVER, true) => "2001:db8::2",
        (_, false) => "198.18.0.1",
        (_, true) => "2001:db8::1",
    };
    text.parse().expect("an address")
}

type Middle = Box<dyn FnMut(usize, &[u8]) -> Fate>;
type Stranger = Box<dyn FnMut(&[u8]) -> Option<Vec<Vec<u8>>>>;

/// The hosts, the way, the clock.
pub(crate) struct Lab {
    pub(crate) hosts: [Host; 2],
    pub(crate) now: Instant,
    pub(crate) delay: Duration,
    /// What becomes of frames between the hosts; first the sender.
    pub(crate) middle: Middle,
    /// Sees what the server sends; `Some` if he takes it, with his answers to the server.
    pub(crate) stranger: Stranger,
    flying: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    sent: u64,
}

impl Lab {
    /// Both hosts with the same settings of TCP, and sizes as `change` makes them.
    pub(crate) fn new(tcp: Config, change: impl Fn(usize, &mut StackConfig) + 'static) -> Self {
        let now = Instant::from_secs(1);
        let hosts = [SERVER, CLIENT].map(|number| Host::new(number, &change, tcp, now));
        Self {
            hosts,
            now,
            delay: Duration::from_millis(1),
            middle: Box::new(|_, _| Fate::Pass),
            stranger: Box::new(|_| None),
            flying: BTreeMap::new(),
            sent: 0,
        }
    }

    /// The client opens a connection to a port of the server and is to send so many bytes.
    pub(crate) fn open(&mut self, tcp: Config, port: u16, ipv6: bool, to_send: u64) -> ConnId {
        let remote = SocketAddr::new(address(SERVER, ipv6), port);
        let Host { stack, desk, .. } = &mut self.hosts[CLIENT];
        let connect = ConnectConfig { tcp, service: desk::SENDER, ..ConnectConfig::new(remote) };
        let id = stack.connect(&connect).expect("there is room and a route");
        *stack.conn(id).expect("it was just opened").state() = [to_send, 0];
        desk.opened += 1;
        id
    }

    pub(crate) fn conn(&mut self, host: usize, id: ConnId) -> Conn<'_, [u64; 2]> {
        self.hosts[host].stack.conn(id).expect("the connection lives")
    }

    /// The only connection of a host.
    pub(crate) fn only(&self, host: usize) -> ConnId {
        let mut all = self.hosts[host].stack.connections();
        let (id, _) = all.next().expect("there is a connection");
        assert!(all.next().is_none());
        id
    }

    /// Hands the server a frame of the stranger's.
    pub(crate) fn hit(&mut self, frame: &[u8]) {
        self.hosts[SERVER].receive(self.now, frame);
        self.settle();
    }

    /// Hands the client one.
    pub(crate) fn hit_client(&mut self, frame: &[u8]) {
        self.hosts[CLIENT].receive(self.now, frame);
        self.settle();
    }

    /// Lets both hosts do what they have to do now.
    pub(crate) fn settle(&mut self) {
        for _ in 0..1_000 {
            let mut quiet = true;
            for from in [SERVER, CLIENT] {
                for frame in self.hosts[from].run(self.now) {
                    quiet = false;
                    self.carry(from, frame);
                }
            }
            if quiet {
                return;
            }
        }
        panic!("the hosts do not come to rest");
    }

    fn carry(&mut self, from: usize, frame: Vec<u8>) {
        if from == SERVER
            && let Some(answers) = (self.stranger)(&frame)
        {
            for answer in answers {
                self.fly(SERVER, self.delay, answer);
            }
            return;
        }
        match (self.middle)(from, &frame) {
            Fate::Pass => self.fly(1 - from, self.delay, frame),
            Fate::Drop => {}
            Fate::Answer(answer) => self.fly(from, Duration::from_micros(10), answer),
        }
    }

    fn fly(&mut self, to: usize, delay: Duration, frame: Vec<u8>) {
        self.sent += 1;
        self.flying.insert((self.now + delay, self.sent), (to, frame));
    }

    /// Lets time pass until `done`, at most for `limit`; whether it was.
    pub(crate) fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + limit;
        for _ in 0..TURNS_MAX {
            self.settle();
            if done(self) {
                return true;
            }
            let arrival = self.flying.keys().next().map(|&(at, _)| at);
            let deadlines = self.hosts.iter().filter_map(|host| host.stack.next_deadline()).min();
            let next = arrival.into_iter().chain(deadlines).min().unwrap_or(end);
            if next >= end {
                self.now = end;
                return false;
            }
            self.now = next.max(self.now + Duration::from_micros(1));
            while let Some(entry) = self.flying.first_entry()
                && entry.key().0 <= self.now
            {
                let (to, frame) = entry.remove();
                self.hosts[to].receive(self.now, &frame);
            }
        }
        panic!("no end after {TURNS_MAX} turns");
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, span: Duration) {
        assert!(!self.run_until(span, |_| false));
    }

    /// An honest client's connection opens, its bytes arrive, and it closes, within `limit`.
    #[track_caller]
    pub(crate) fn assert_served(&mut self, bytes: u64, ipv6: bool, limit: Duration) {
        let before = (self.hosts[SERVER].desk.discarded, self.hosts[CLIENT].desk.finished);
        self.open(Config::default(), DISCARD, ipv6, bytes);
        let served = self.run_until(limit, |lab| {
            lab.hosts[SERVER].desk.discarded >= before.0 + bytes && lab.hosts[CLIENT].desk.finished > before.1
        });
        let Host { stack, desk, .. } = &self.hosts[SERVER];
        assert!(
            served,
            "an honest client was not served: {} of {bytes} bytes, {:?}, {:?}",
            desk.discarded - before.0,
            stack.occupancy(),
            stack.counters()
        );
    }
}
