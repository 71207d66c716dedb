//! The stack under test on one core, its clock, and the application that writes down what it hears.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};
use freeway::{
    Application, Cidr, CloseReason, Conn, ConnId, Core, Datagram, Duration, Ended, HostConfig, IfaceId,
    Instant, Interface, Mailboxes, Memory, Secrets, Stack,
};
use freeway_base::Seed;
use freeway_mem::PoolConfig;
use freeway_tcp::State;

use crate::cable::{Cable, cable};
use crate::flags::Flags;

/// Turns that the host is given at one instant: more would mean that it never comes to rest.
const TURNS_MAX: usize = 10_000;
/// When the clock starts: not at zero, so that there is a past.
const START: Instant = Instant::from_secs(1_000);
/// The least that the clock moves.
const STEP: Duration = Duration::from_micros(1);
/// A script may inject segments of any size, whatever the MTU: buffers hold an IP packet of any length.
const BUFFER_SIZE: u32 = 64 << 10;
const BUFFERS: u32 = 1_024;
const CONNECTIONS: u32 = 1_024;
/// The host's address where neither a flag nor a bind or packet has told one: what the tool itself would choose.
const DEFAULT_LOCAL: [&str; 2] = ["192.168.0.1", "fd3d:a0b:17d6::1"];

/// What the stack told its application.
#[derive(Debug)]
pub(crate) enum Event {
    /// A peer opened a connection to the listener with this service number.
    Accepted { id: ConnId, service: u16, local: SocketAddr, peer: SocketAddr },
    /// An open succeeded.
    Connected { id: ConnId },
    /// Bytes arrived (these), or the peer has finished.
    Readable { id: ConnId, bytes: Vec<u8>, finished: bool },
    /// There is room to write again.
    Writable { id: ConnId },
    /// A connection is over.
    Closed { id: ConnId, reason: CloseReason },
    /// A datagram arrived for the socket with this service number.
    Datagram { service: u16, remote: SocketAddr, bytes: Vec<u8> },
}

/// The application: it keeps a copy of what a connection has to read, because Linux lets a socket read what came
/// before a reset, and the stack does not. Each connection's state counts the bytes copied and not yet consumed.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    events: VecDeque<Event>,
}

impl Application for Recorder {
    type Conn = u64;

    fn accepted(&mut self, mut conn: Conn<'_, u64>) {
        conn.defer();
        let (id, service) = (conn.id(), conn.service());
        self.events.push_back(Event::Accepted { id, service, local: conn.local(), peer: conn.peer() });
    }

    fn connected(&mut self, conn: Conn<'_, u64>) {
        self.events.push_back(Event::Connected { id: conn.id() });
    }

    fn readable(&mut self, mut conn: Conn<'_, u64>) {
        let mut bytes = vec![0; conn.readable_bytes()];
        let copied = conn.copy_readable(&mut bytes);
        bytes.truncate(copied);
        let known = usize::try_from(*conn.state()).unwrap_or(usize::MAX).min(bytes.len());
        *conn.state() = bytes.len() as u64;
        bytes.drain(..known);
        let finished = conn.info().is_some_and(|info| {
            matches!(info.state, State::CloseWait | State::Closing | State::LastAck | State::TimeWait)
        });
        self.events.push_back(Event::Readable { id: conn.id(), bytes, finished });
    }

    fn writable(&mut self, conn: Conn<'_, u64>) {
        self.events.push_back(Event::Writable { id: conn.id() });
    }

    fn closed(&mut self, _: &mut Stack<u64>, ended: Ended<u64>) {
        self.events.push_back(Event::Closed { id: ended.id, reason: ended.reason });
    }

    fn datagram(&mut self, _: &mut Stack<u64>, datagram: Datagram) {
        let Datagram { service, reply_to, packet, .. } = datagram;
        let remote = reply_to.remote();
        self.events.push_back(Event::Datagram { service, remote, bytes: packet.data().to_vec() });
    }
}

/// A packet that the stack has sent, and when.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) at: Instant,
    pub(crate) packet: Vec<u8>,
}

/// The stack with its cable and its clock.
pub(crate) struct Host {
    core: Core<Recorder>,
    cable: Cable,
    now: Instant,
    iface: IfaceId,
    sent: VecDeque<Sent>,
}

impl Host {
    pub(crate) fn new(flags: &Flags) -> Result<Self> {
        let mut config = HostConfig::new(Secrets::from_seed(Seed(flags.seed)))
            .max_connections(CONNECTIONS)
            .buffers(BUFFERS)
            .memory(Memory::Heap);
        let stack = &mut config.stack;
        stack.pool = PoolConfig { buffers: BUFFERS, buffer_size: BUFFER_SIZE, ..PoolConfig::default() };
        stack.large_pool.buffers = 8;
        stack.net.announce = false;
        stack.fast_open_key = flags.fast_open_key;
        // The tool sends many segments at one instant.
        stack.send_buffer = u32::MAX / 2;
        let (cable, port) = cable(flags.mtu);
        let core = config.build(Mailboxes::single()?, START, Recorder::default(), [Interface::new(port)])?;
        let iface = core.stack().net.interfaces().next().context("the host has no interface")?.0;
        let mut host = Self { core, cable, now: START, iface, sent: VecDeque::new() };
        for everywhere in ["0.0.0.0", "::"] {
            let network = Cidr::new(everywhere.parse()?, 0);
            host.core.stack_mut().net.add_route(network, None, iface)?;
        }
        for &local in &flags.local {
            host.core.stack_mut().net.add_address(iface, host_cidr(local))?;
        }
        host.run();
        Ok(host)
    }

    // ---- time ----

    pub(crate) const fn now(&self) -> Instant {
        self.now
    }

    /// Lets the least span pass: whoever looks at the clock again and again sees it move.
    pub(crate) fn tick(&mut self) -> Instant {
        self.now += STEP;
        self.now
    }

    /// Moves the clock, which never goes back.
    pub(crate) fn set_time(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// When the stack has something to do though nothing arrives.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.core.next_deadline().map(|deadline| deadline.max(self.now + STEP))
    }

    /// Runs the stack at the present time until it rests.
    pub(crate) fn run(&mut self) {
        for _ in 0..TURNS_MAX {
            let turn = self.core.poll(self.now);
            while let Some(packet) = self.cable.pop() {
                self.sent.push_back(Sent { at: self.now, packet });
            }
            if !turn.is_busy() && !self.core.has_work() && !self.cable.has_inward() {
                return;
            }
        }
    }

    // ---- packets ----

    pub(crate) fn inject(&mut self, packet: &[u8]) {
        self.cable.push(packet);
    }

    /// The packets that the stack has sent since the last call, oldest first.
    pub(crate) fn drain_sent(&mut self) -> VecDeque<Sent> {
        std::mem::take(&mut self.sent)
    }

    // ---- addresses ----

    /// Whether the host has an address of this one's version.
    pub(crate) fn has_version(&self, of: IpAddr) -> bool {
        self.core.stack().net.addresses().any(|(_, cidr)| cidr.addr.is_ipv4() == of.is_ipv4())
    }

    pub(crate) fn is_local(&self, addr: IpAddr) -> bool {
        self.core.stack().net.is_local(addr).is_some()
    }

    /// Gives the host its first address of a version; false when it has one of that version, or cannot have this.
    pub(crate) fn adopt(&mut self, addr: IpAddr) -> bool {
        if self.has_version(addr) {
            return false;
        }
        let added = self.core.stack_mut().net.add_address(self.iface, host_cidr(addr)).is_ok();
        self.run();
        added
    }

    /// Makes sure that there is an address to talk to `peer` from.
    pub(crate) fn ensure_source_for(&mut self, peer: IpAddr) {
        let default = DEFAULT_LOCAL[usize::from(peer.is_ipv6())];
        if let Ok(addr) = default.parse() {
            self.adopt(addr);
        }
    }

    // ---- the stack ----

    pub(crate) fn stack(&mut self) -> &mut Stack<u64> {
        self.core.stack_mut()
    }

    pub(crate) fn conn(&mut self, id: ConnId) -> Option<Conn<'_, u64>> {
        self.core.stack_mut().conn(id)
    }

    pub(crate) fn take_event(&mut self) -> Option<Event> {
        self.core.app_mut().events.pop_front()
    }
}

/// A host's address, with no network: everybody is reached by the route to everywhere.
fn host_cidr(addr: IpAddr) -> Cidr {
    Cidr::new(addr, if addr.is_ipv4() { 32 } else { 128 })
}
