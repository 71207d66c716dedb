//! The two hosts: the real stack, with an application that pours or one that counts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use freeway_base::{HashKey, Instant, Seed};
use freeway_mem::{Arena, PacketPool, PoolConfig, RxBurst, TxBurst};
use freeway_stack::net::{IfaceId, InterfaceConfig, RxChecksum, TxChecksum};
use freeway_stack::{Application, Conn, ConnId, ConnectConfig, ListenConfig, Stack, StackConfig};
use freeway_wire::{MacAddr, Protocol, ethernet, ipv4, tcp};

use super::Flow;

/// The port of the first flow at both ends; the next flow has the next one.
const FIRST_PORT: u16 = 1_000;
const SENDER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const RECEIVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// Buffers of each host: more than the largest window, so that no figure depends on them.
const BUFFERS: u32 = 8_192;
/// Bytes that are queued and not sent yet: enough for what one acknowledgment lets out.
const NOT_SENT: u32 = 1 << 18;

/// Pours, or counts.
pub(super) struct Ends {
    /// Bytes read, by flow.
    pub(super) delivered: Vec<u64>,
    is_sender: bool,
}

pub(super) struct Host {
    pub(super) stack: Stack<u64>,
    pub(super) app: Ends,
    iface: IfaceId,
    touched: bool,
    /// The connections opened, by flow.
    pub(super) opened: Vec<ConnId>,
}

impl Host {
    pub(super) fn sender(flows: &[Flow], seed: u64, now: Instant) -> Self {
        Self::new(SENDER, flows, seed, now)
    }

    pub(super) fn receiver(flows: &[Flow], seed: u64, now: Instant) -> Self {
        let mut host = Self::new(RECEIVER, flows, seed, now);
        for (number, flow) in flows.iter().enumerate() {
            let port = FIRST_PORT + number as u16;
            let listen = ListenConfig { service: number as u16, tcp: flow.tcp, ..ListenConfig::new(port) };
            host.stack.listen(&listen).expect("a free port");
        }
        host
    }

    fn new(addr: Ipv4Addr, flows: &[Flow], seed: u64, now: Instant) -> Self {
        let mut config = StackConfig::new(HashKey::new([1, 2]), HashKey::new([3, 4]));
        config.max_connections = 64;
        config.max_syn_received = 64;
        config.max_time_wait = 64;
        config.max_flights = 64;
        config.pool = PoolConfig { buffers: BUFFERS, ..PoolConfig::default() };
        config.max_items = BUFFERS;
        config.send_buffer = 16 << 20;
        config.large_pool.buffers = 4;
        config.net.announce = false;
        let mut arena = Arena::heap(config.arena_layout::<u64>().bytes()).expect("there is memory");
        let pool = PacketPool::new(&mut arena, &config.pool).expect("the arena was measured");
        let mut stack = Stack::new(&config, &mut arena, pool, Seed(seed), now).expect("the sizes are right");
        let last = addr.octets()[3];
        let interface = InterfaceConfig {
            addresses: vec![format!("{addr}/24").parse().expect("a network")],
            tx_queue: 16_384,
            tx_checksum: TxChecksum::Flagged,
            rx_checksum: RxChecksum::Trust,
            ..InterfaceConfig::new("road0", MacAddr([2, 0, 0, 0, 0, last]))
        };
        let iface = stack.net.add_interface(interface).expect("the interface is right");
        let app = Ends { delivered: vec![0; flows.len()], is_sender: addr == SENDER };
        Self { stack, app, iface, touched: true, opened: Vec::new() }
    }

    pub(super) fn open(&mut self, number: usize, flow: &Flow) {
        let port = FIRST_PORT + number as u16;
        let connect = ConnectConfig {
            tcp: freeway_tcp::Config { not_sent_low_water: NOT_SENT, ..flow.tcp },
            service: number as u16,
            local_port: Some(port),
            ..ConnectConfig::new(SocketAddr::new(IpAddr::V4(RECEIVER), port))
        };
        let id = self.stack.connect(&connect).expect("there is room and a route");
        *self.stack.conn(id).expect("it was just opened").state() = flow.bytes;
        self.opened.push(id);
        self.touched = true;
    }

    pub(super) fn receive(&mut self, now: Instant, frame: &[u8]) {
        self.touched = true;
        let mut packet = self.stack.pool().alloc().expect("there are more buffers than windows");
        assert!(packet.copy_from_slice(frame), "a frame of {} bytes", frame.len());
        let mut burst = RxBurst::new();
        burst.push(packet);
        self.stack.input(now, self.iface, &mut burst);
    }

    /// Runs the host until it has nothing more to do now, if there is anything; hands out what it sends.
    pub(super) fn run(&mut self, now: Instant, mut send: impl FnMut(Vec<u8>)) {
        if !self.touched && self.stack.next_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        self.touched = false;
        for _ in 0..100_000 {
            let mut work = self.stack.expire(now, 256);
            work += self.stack.dispatch(now, &mut self.app);
            work += self.stack.output(now);
            let mut burst = TxBurst::new();
            self.stack.tx_burst(self.iface, &mut burst);
            work += burst.len();
            burst.drain(..).for_each(|frame| send(frame.data().to_vec()));
            if work == 0 {
                return;
            }
        }
        panic!("the host does not come to rest: {:?}", self.stack.occupancy());
    }
}

/// Which flow a frame belongs to; none if it is no segment.
pub(super) fn flow_of(frame: &[u8]) -> Option<usize> {
    let packet = ipv4::Packet::new_checked(frame.get(ethernet::HEADER_LEN..)?).ok()?;
    if packet.protocol() != Protocol::TCP {
        return None;
    }
    let segment = tcp::Segment::new_checked(packet.payload()).ok()?;
    Some(usize::from(segment.dst_port().checked_sub(FIRST_PORT)?))
}

impl Ends {
    fn pour(conn: &mut Conn<'_, u64>) {
        static BYTES: [u8; 65_536] = [0x5a; 65_536];
        loop {
            let left = *conn.state();
            let wanted = left.min(BYTES.len() as u64) as usize;
            let taken = conn.write(&BYTES[..wanted]);
            *conn.state() = left - taken as u64;
            if left == taken as u64 {
                conn.shutdown();
                return;
            }
            if taken < wanted {
                return;
            }
        }
    }
}

impl Application for Ends {
    type Conn = u64;

    fn connected(&mut self, mut conn: Conn<'_, u64>) {
        Self::pour(&mut conn);
    }

    fn writable(&mut self, mut conn: Conn<'_, u64>) {
        if self.is_sender {
            Self::pour(&mut conn);
        }
    }

    fn readable(&mut self, mut conn: Conn<'_, u64>) {
        let bytes = conn.readable_bytes();
        if let Some(delivered) = self.delivered.get_mut(usize::from(conn.service())) {
            *delivered += bytes as u64;
        }
        conn.consume(bytes);
        if conn.at_end() {
            conn.close();
        }
    }
}
