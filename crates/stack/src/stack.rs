//! The stack: one core's host, from frames to events and back.

use alloc::rc::Rc;
use core::net::{IpAddr, SocketAddr};

use freeway_base::{Instant, Rng, Seed};
use freeway_collections::BuildError;
use freeway_mem::{Arena, ArenaError, Packet, PacketPool, RxBurst, TxBurst};
use freeway_tcp::Info;
use freeway_wire::Protocol;
use thiserror::Error;

use crate::application::{Application, Ended};
use crate::config::{ConfigError, StackConfig};
use crate::net::{IfaceId, Ingress, Net, NetCounters};
use crate::tcp::list::Which;
use crate::tcp::record::{Flags, Live as _};
use crate::tcp::{
    Conn, ConnId, ConnectConfig, ConnectError, Lent, ListenConfig, ListenError, ListenerId, ListenerReport,
    TcpCounters, TcpHost,
};
use crate::udp::{BindError, ReplyTo, UdpCounters, UdpId, UdpSockets};

/// One core's whole host.
pub struct Stack<S: Copy + Default + 'static> {
    /// The IP host below the transports: interfaces, neighbours, routes.
    pub net: Net,
    pub(crate) udp: UdpSockets,
    pub(crate) tcp: TcpHost<S>,
    pool: PacketPool,
    /// The time of the turn at hand.
    now: Instant,
    /// What a handle without a connection shows; see [`Conn::state`].
    pub(crate) no_state: S,
}

/// A stack that cannot be built.
#[derive(Debug, Error)]
pub enum StackError {
    /// A size that cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The tables do not fit.
    #[error(transparent)]
    Tables(#[from] BuildError),
    /// The buffers do not fit.
    #[error(transparent)]
    Arena(#[from] ArenaError),
}

/// Everything that a core's stack counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct StackCounters {
    /// Ethernet, ARP, NDP, IP, ICMP.
    pub net: NetCounters,
    /// UDP.
    pub udp: UdpCounters,
    /// TCP.
    pub tcp: TcpCounters,
}

/// How full the stack's tables are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Occupancy {
    /// Connections with a TCB, and how many there may be.
    pub connections: (u32, u32),
    /// Half-open passive connections.
    pub syn_received: (u32, u32),
    /// TIME-WAIT records.
    pub time_wait: u32,
    /// Remote addresses of accepted connections, where they are counted.
    pub peers: u32,
    /// Pieces of queued data.
    pub items: (u32, u32),
    /// Sets of settings that single connections have of their own.
    pub classes: u32,
    /// Destinations whose paths are known to carry less than their links.
    pub paths: u32,
    /// Timers that are armed.
    pub timers: u32,
    /// Entries of the flow table: connections in every stage of life.
    pub flows: u32,
    /// Packet buffers in use, and the lowest number that was ever free.
    pub buffers: (u32, u32),
    /// Packet buffers ever free at the least.
    pub buffers_low_water: u32,
}

impl<S: Copy + Default + 'static> Stack<S> {
    /// Lays a stack out in `arena`, which [`StackConfig::arena_layout`] measures. `pool` holds the frames and
    /// may be shared with the ports of this core.
    ///
    /// # Errors
    ///
    /// A size that cannot be, or an arena that is too small.
    pub fn new(
        config: &StackConfig,
        arena: &mut Arena,
        pool: PacketPool,
        seed: Seed,
        now: Instant,
    ) -> Result<Self, StackError> {
        config.check()?;
        let mut rng = Rng::new(seed);
        let large = PacketPool::new(arena, &config.large_pool)?;
        let net = Net::new(config.net.clone(), pool.clone(), large.clone(), config.flow_key, rng.fork());
        let tcp = TcpHost::new(arena, config, pool.clone(), large, now, rng)?;
        Ok(Self { net, udp: UdpSockets::new(), tcp, pool, now, no_state: S::default() })
    }

    // ---- a turn, in this order ----

    /// Carries a burst of frames from `iface` through the stack. The burst is empty afterwards.
    pub fn input(&mut self, now: Instant, iface: IfaceId, burst: &mut RxBurst) {
        self.now = now;
        for packet in burst.drain(..) {
            self.classify(now, iface, packet);
        }
        self.tcp.run_batch(now, &mut self.net);
    }

    #[inline]
    fn classify(&mut self, now: Instant, iface: IfaceId, packet: Packet) {
        let Some(plain) = self.net.plain(iface, &packet) else {
            return self.classify_any(now, iface, packet);
        };
        if plain.protocol == Protocol::TCP {
            self.net.count_plain(&plain);
            return self.tcp.gather_plain(&plain, packet);
        }
        match self.udp.input_plain(&plain, packet) {
            Ok(()) => self.net.count_plain(&plain),
            Err(packet) => self.classify_any(now, iface, packet),
        }
    }

    #[inline(never)]
    fn classify_any(&mut self, now: Instant, iface: IfaceId, packet: Packet) {
        match self.net.classify(now, iface, packet) {
            Ingress::Transport(inbound) if inbound.protocol == Protocol::TCP => {
                self.tcp.gather(&self.net, inbound);
            }
            Ingress::Transport(inbound) => self.udp.input(now, &mut self.net, inbound),
            Ingress::Error(notice) if notice.protocol == Protocol::TCP => {
                self.tcp.icmp_error(now, &mut self.net, &notice);
            }
            Ingress::Error(notice) => self.udp.icmp_error(now, &mut self.net, &notice),
            Ingress::Consumed => {}
        }
    }

    /// Runs at most `limit` timers that are due, and the IP host's housekeeping; returns how many there were.
    pub fn expire(&mut self, now: Instant, limit: usize) -> usize {
        self.now = now;
        self.net.expire(now);
        self.tcp.expire(now, &mut self.net, limit)
    }

    /// Runs the application on its events; returns how many there were.
    pub fn dispatch<A: Application<Conn = S>>(&mut self, now: Instant, app: &mut A) -> usize {
        self.now = now;
        let mut events = 0;
        self.tcp.feed_starved();
        while let Some(datagram) = self.udp.pop() {
            events += 1;
            app.datagram(self, datagram);
        }
        for _ in 0..self.tcp.ready.len() {
            let Some(index) = self.tcp.ready.pop(Which::Ready, &mut self.tcp.connections) else { break };
            events += 1;
            self.dispatch_connection(app, index);
        }
        app.turn(self, now);
        events
    }

    fn dispatch_connection<A: Application<Conn = S>>(&mut self, app: &mut A, index: u32) {
        let Some(connection) = self.tcp.connections.live_mut(index) else { return };
        let flags = connection.socket.flags;
        connection.socket.flags.remove(Flags::EVENTS.difference(Flags::CLOSED));
        let stalled = !flags.contains(Flags::DETACHED) && flags.contains(Flags::STALLED);
        if stalled {
            connection.socket.flags.remove(Flags::STALLED);
        }
        let trouble = self.tcp.take_trouble(index).filter(|_| !flags.contains(Flags::DETACHED));
        if flags.contains(Flags::ACCEPTED) {
            app.accepted(Conn::new(self, index));
            self.tcp.after_accepted(index);
        }
        if flags.contains(Flags::CONNECTED) {
            app.connected(Conn::new(self, index));
        }
        if flags.contains(Flags::READABLE) {
            app.readable(Conn::new(self, index));
        }
        if flags.contains(Flags::WRITABLE) && self.take_want(index) {
            app.writable(Conn::new(self, index));
        }
        if stalled {
            app.stalled(Conn::new(self, index));
        }
        if let Some(kind) = trouble {
            app.path_error(Conn::new(self, index), kind);
        }
        if flags.contains(Flags::TIMER) {
            app.timer(Conn::new(self, index));
        }
        self.dispatch_end(app, index);
    }

    /// Clears the wish for room; false when there is none (any more).
    fn take_want(&mut self, index: u32) -> bool {
        self.tcp.connections.live_mut(index).is_some_and(|connection| {
            let wanted = connection.socket.flags.contains(Flags::WANTS_ROOM);
            connection.socket.flags.remove(Flags::WANTS_ROOM);
            wanted
        })
    }

    /// Tells the application of a connection's end, unless it still has bytes to read.
    fn dispatch_end<A: Application<Conn = S>>(&mut self, app: &mut A, index: u32) {
        let Some(connection) = self.tcp.connections.live(index) else { return };
        let socket = &connection.socket;
        if !socket.flags.contains(Flags::CLOSED) || self.tcp.store.rx_bytes(socket.queues) > 0 {
            return;
        }
        if socket.flags.intersects(Flags::LISTS) {
            // The lists run through the record: it is let go when it is on none.
            self.tcp.raise(index, Flags::CLOSED);
            return;
        }
        let (reason, service) = (socket.flags.reason(), self.tcp.service(index));
        let Some(id) = self.tcp.id(index) else { return };
        if let Some(state) = self.tcp.release(index) {
            app.closed(self, Ended { id, service, state, reason });
        }
    }

    /// Lets connections transmit what they have to say; returns how many segments went to the interfaces.
    pub fn output(&mut self, now: Instant) -> usize {
        self.now = now;
        self.tcp.output(now, &mut self.net)
    }

    /// Fills up `into` with frames that wait for `iface`.
    pub fn tx_burst(&mut self, iface: IfaceId, into: &mut TxBurst) {
        self.net.tx_burst(iface, into);
    }

    // ---- between the turns ----

    /// Whether there is something to do without any frame arriving.
    pub fn has_work(&self) -> bool {
        let fed = self.tcp.starved.len() > 0 && self.tcp.store.has_room_to_send();
        self.tcp.ready.len() > 0 || self.tcp.dirty.len() > 0 || self.udp.waiting() > 0 || fed
    }

    /// When the stack must be run next, though nothing arrives.
    pub fn next_deadline(&self) -> Option<Instant> {
        [self.net.next_deadline(), self.tcp.next_deadline()].into_iter().flatten().min()
    }

    /// The time of the turn at hand.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The pool of frames.
    pub const fn pool(&self) -> &PacketPool {
        &self.pool
    }

    /// What TCP knows of each connection, with its name; a walk over the whole table.
    pub fn connections(&self) -> impl Iterator<Item = (ConnId, Info)> {
        self.tcp.connections.iter().filter_map(|(index, connection)| {
            let info = self.tcp.info(self.now, &self.net, index)?;
            Some((ConnId { index, serial: connection.socket.serial }, info))
        })
    }

    /// What was counted since the start.
    pub const fn counters(&self) -> StackCounters {
        StackCounters { net: self.net.counters, udp: self.udp.counters, tcp: self.tcp.counters }
    }

    /// How full the tables are.
    pub fn occupancy(&self) -> Occupancy {
        let tcp = &self.tcp;
        Occupancy {
            connections: (tcp.connections.len(), tcp.connections.capacity()),
            syn_received: (tcp.half_open.entries.len(), tcp.half_open.entries.capacity()),
            time_wait: tcp.time_wait.len(),
            peers: tcp.peers(),
            items: (tcp.store.items.len(), tcp.store.items.capacity()),
            classes: tcp.listeners.classes.len() as u32,
            paths: self.net.paths_known(self.now) as u32,
            timers: tcp.wheel.armed(),
            flows: tcp.flows.len(),
            buffers: (self.pool.in_use(), self.pool.capacity()),
            buffers_low_water: self.pool.low_water(),
        }
    }

    // ---- what applications ask for ----

    /// Listens on a TCP port.
    ///
    /// # Errors
    ///
    /// See [`ListenError`].
    pub fn listen(&mut self, config: &ListenConfig) -> Result<ListenerId, ListenError> {
        self.tcp.listeners.add(config)
    }

    /// Stops listening; accepted connections live on.
    pub fn unlisten(&mut self, id: ListenerId) {
        self.tcp.listeners.remove(id);
    }

    /// How full a listener's bounds are, and what it let in and shed; `None` when it listens no more.
    pub fn listener(&self, id: ListenerId) -> Option<ListenerReport> {
        self.tcp.listeners.report(id)
    }

    /// Opens a connection; [`connected`](Application::connected) or [`closed`](Application::closed) follows.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub fn connect(&mut self, config: &ConnectConfig) -> Result<ConnId, ConnectError> {
        self.tcp.connect(self.now, &mut self.net, config)
    }

    /// Bytes that could travel in the SYN of a connection to `peer` with Fast Open, were it opened now: none before the
    /// server has given out a cookie (RFC 7413, section 4.1.3). What it writes beyond them follows the handshake.
    pub fn fast_open_room(&self, peer: IpAddr, tcp: &freeway_tcp::Config) -> u16 {
        self.tcp.fast_open_room(self.now, peer, tcp)
    }

    /// A handle on a connection, while it lives.
    pub fn conn(&mut self, id: ConnId) -> Option<Conn<'_, S>> {
        let connection = self.tcp.connections.live(id.index)?;
        if connection.socket.serial == id.serial { Some(Conn::new(self, id.index)) } else { None }
    }

    /// Asks for the memory of a connection that will be used soon, without waiting for it. An application that
    /// walks over many idle connections does so a few ahead.
    pub fn prefetch(&self, id: ConnId) {
        self.tcp.prefetch(id.index);
    }

    /// Binds a UDP socket.
    ///
    /// # Errors
    ///
    /// See [`BindError`].
    pub fn udp_bind(&mut self, addr: Option<IpAddr>, port: u16, service: u16) -> Result<UdpId, BindError> {
        self.udp.bind(addr, port, service)
    }

    /// Gives a UDP socket's port back; false when there is no such socket. Its datagrams that wait are dropped.
    pub fn udp_unbind(&mut self, socket: UdpId) -> bool {
        self.udp.unbind(socket)
    }

    /// Sends a datagram whose payload is `payload` (with headroom before it, as [`PacketPool::alloc`] and a
    /// received datagram have it); from the address that the route suggests unless `local` says which.
    pub fn udp_send(&mut self, socket: UdpId, local: Option<IpAddr>, remote: SocketAddr, payload: Packet) {
        self.udp.send_to(self.now, &mut self.net, socket, local, remote, payload);
    }

    /// Sends `payload` back to where a datagram came from, from the address that it was sent to; to a group's or a
    /// broadcast address, as [`udp_send`](Self::udp_send) without one. The datagram's own packet may be it.
    #[inline]
    pub fn udp_reply(&mut self, to: ReplyTo, payload: Packet) {
        self.udp.reply(self.now, &mut self.net, to, payload);
    }

    /// Takes memory for sending without a copy; done at start or at leisure, since it may allocate. `None`
    /// when it is longer than 4 GiB.
    pub fn lend(&mut self, bytes: Rc<dyn AsRef<[u8]>>) -> Option<Lent> {
        self.tcp.store.lend(bytes)
    }

    /// Whether anybody has room to send: `false` while this host as a whole is short of buffers, until peers acknowledge.
    pub fn has_room_to_send(&self) -> bool {
        self.tcp.store.has_room_to_send()
    }

    /// Connections that have something to transmit and have not had their turn, or found no room on their interface.
    pub fn waiting_to_transmit(&self) -> usize {
        self.tcp.dirty.len() as usize
    }

    /// Gives lent memory back to the application, when the last byte in flight is acknowledged.
    pub fn take_back(&mut self, lent: Lent) {
        self.tcp.store.take_back(lent);
    }
}
