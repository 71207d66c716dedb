//! The host under test: a real stack on one interface, and an application that remembers what it heard.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use freeway_base::{HashKey, Instant, Seed};
use freeway_mem::{Arena, PacketPool, PoolConfig, RxBurst, TxBurst};
use freeway_stack::net::{Cidr, IfaceId, InterfaceConfig};
use freeway_stack::{Application, Conn, ConnId, ConnectConfig, Ended, ListenConfig, Stack, StackConfig};
use freeway_tcp::Config;
use freeway_wire::{MacAddr, arp, ethernet};

/// The host's address.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// The peer's address.
pub(crate) const PEER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
pub(crate) const HOST_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
pub(crate) const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
/// The port of the peer's end.
pub(crate) const PEER_PORT: u16 = 40_000;

fn is_ipv4(frame: &[u8]) -> bool {
    ethernet::Frame::new_checked(frame).is_ok_and(|frame| frame.ethertype() == ethernet::EtherType::IPV4)
}

/// The ARP request for the peer's address in a frame, if that is what it is.
fn arp_request_for_peer(frame: &[u8]) -> Option<arp::Repr> {
    let view = arp::Packet::new_checked(frame.get(ethernet::HEADER_LEN..)?).ok()?;
    arp::Repr::parse(&view)
        .ok()
        .filter(|repr| repr.operation == arp::Operation::REQUEST && repr.target_ip == PEER)
}

/// What the application heard, and the connection it heard it of.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) events: VecDeque<String>,
    pub(crate) conn: Option<ConnId>,
}

impl Application for Recorder {
    type Conn = [u64; 2];

    fn accepted(&mut self, conn: Conn<'_, Self::Conn>) {
        self.conn = Some(conn.id());
        self.events.push_back("accepted".into());
    }

    fn connected(&mut self, conn: Conn<'_, Self::Conn>) {
        self.conn = Some(conn.id());
        self.events.push_back("connected".into());
    }

    fn readable(&mut self, conn: Conn<'_, Self::Conn>) {
        let event = if conn.at_end() { "end".into() } else { format!("readable {}", conn.readable_bytes()) };
        self.events.push_back(event);
    }

    fn closed(&mut self, _: &mut Stack<Self::Conn>, ended: Ended<Self::Conn>) {
        let Ended { id, reason, .. } = ended;
        if self.conn == Some(id) {
            self.conn = None;
        }
        self.events.push_back(format!("closed {reason:?}"));
    }
}

/// A stack with its recorder, and the frames it has sent.
pub(crate) struct Host {
    pub(crate) stack: Stack<[u64; 2]>,
    pub(crate) app: Recorder,
    pub(crate) now: Instant,
    pub(crate) sent: VecDeque<Vec<u8>>,
    /// Frames that carried no IP packet: ARP, which is not what scenarios are about.
    other_frames: usize,
    iface: IfaceId,
    pub(crate) config: Config,
}

impl Host {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let now = Instant::from_secs(1);
        let mut config = StackConfig::new(HashKey::new([1, 2]), HashKey::new([3, 4]));
        config.max_connections = 64;
        config.max_syn_received = 64;
        config.max_time_wait = 64;
        config.pool = PoolConfig { buffers: 1024, ..PoolConfig::default() };
        config.max_items = 1024;
        config.large_pool.buffers = 2;
        config.net.announce = false;
        let mut arena = Arena::heap(config.arena_layout::<[u64; 2]>().bytes())?;
        let pool = PacketPool::new(&mut arena, &config.pool)?;
        let mut stack = Stack::new(&config, &mut arena, pool, Seed(1), now)?;
        let iface = stack.net.add_interface(InterfaceConfig {
            addresses: vec![Cidr::new(IpAddr::V4(HOST), 24)],
            ..InterfaceConfig::new("script0", HOST_MAC)
        })?;
        let mut host = Self {
            stack,
            app: Recorder::default(),
            now,
            sent: VecDeque::new(),
            other_frames: 0,
            iface,
            config: Config::default(),
        };
        host.learn_peer()?;
        Ok(host)
    }

    /// Lets the host learn the peer's hardware address from an ARP request of the peer's.
    fn learn_peer(&mut self) -> anyhow::Result<()> {
        self.say_arp(arp::Operation::REQUEST, MacAddr::BROADCAST);
        self.run();
        anyhow::ensure!(self.other_frames > 0, "the host does not answer ARP");
        Ok(())
    }

    /// Lets the peer ask or answer by ARP.
    fn say_arp(&mut self, operation: arp::Operation, dst: MacAddr) {
        let message = arp::Repr {
            operation,
            sender_mac: PEER_MAC,
            sender_ip: PEER,
            target_mac: HOST_MAC,
            target_ip: HOST,
        };
        let mut frame = vec![0; ethernet::HEADER_LEN + message.buffer_len()];
        ethernet::Repr { dst, src: PEER_MAC, ethertype: ethernet::EtherType::ARP }.emit(&mut frame);
        message.emit(&mut frame[ethernet::HEADER_LEN..]);
        // A message that finds no buffer is lost, as on a network; the host asks again.
        let _ = self.receive(&frame);
    }

    /// Gives the host a frame.
    pub(crate) fn receive(&mut self, frame: &[u8]) -> anyhow::Result<()> {
        let mut packet = self.stack.pool().alloc().ok_or_else(|| anyhow::anyhow!("the pool is empty"))?;
        anyhow::ensure!(packet.copy_from_slice(frame), "the frame is longer than a buffer");
        let mut burst = RxBurst::new();
        burst.push(packet);
        self.stack.input(self.now, self.iface, &mut burst);
        Ok(())
    }

    /// Runs the host at the present time until it has nothing more to do.
    pub(crate) fn run(&mut self) {
        for _ in 0..1_000 {
            let mut work = self.stack.expire(self.now, 64);
            work += self.stack.dispatch(self.now, &mut self.app);
            work += self.stack.output(self.now);
            let mut burst = TxBurst::new();
            self.stack.tx_burst(self.iface, &mut burst);
            work += burst.len();
            let frames = burst.drain(..).map(|frame| frame.data().to_vec());
            let (packets, others): (Vec<_>, Vec<_>) = frames.partition(|frame| is_ipv4(frame));
            self.sent.extend(packets);
            self.other_frames += others.len();
            for request in others.iter().filter_map(|frame| arp_request_for_peer(frame)) {
                self.say_arp(arp::Operation::REPLY, request.sender_mac);
            }
            if work == 0 {
                return;
            }
        }
    }

    /// Lets time pass, and the host run at every deadline on the way.
    pub(crate) fn wait(&mut self, span: std::time::Duration) {
        let end = self.now + span.into();
        while let Some(deadline) = self.stack.next_deadline().filter(|&deadline| deadline <= end) {
            self.now = deadline.max(self.now + freeway_base::Duration::from_micros(1));
            self.run();
        }
        self.now = end;
        self.run();
    }

    pub(crate) fn listen(&mut self, port: u16) -> anyhow::Result<()> {
        let listen = ListenConfig { tcp: self.config, ..ListenConfig::new(port) };
        self.stack.listen(&listen)?;
        Ok(())
    }

    pub(crate) fn connect(&mut self, port: u16) -> anyhow::Result<u16> {
        const LOCAL_PORT: u16 = 50_000;
        let remote = SocketAddr::new(IpAddr::V4(PEER), port);
        let connect =
            ConnectConfig { local_port: Some(LOCAL_PORT), tcp: self.config, ..ConnectConfig::new(remote) };
        self.app.conn = Some(self.stack.connect(&connect)?);
        Ok(LOCAL_PORT)
    }

    /// The connection of the scenario.
    pub(crate) fn conn(&mut self) -> anyhow::Result<Conn<'_, [u64; 2]>> {
        let id = self.app.conn.ok_or_else(|| anyhow::anyhow!("there is no connection"))?;
        self.stack.conn(id).ok_or_else(|| anyhow::anyhow!("the connection is gone"))
    }
}
