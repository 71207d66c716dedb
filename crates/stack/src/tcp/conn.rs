//! What an application does with one of its connections.
//!
//! A [`Conn`] is a borrowed handle, good for one event; a [`ConnId`] is kept and turned into a handle again by
//! [`Stack::conn`](crate::Stack::conn).
//!
//! **Reading.** Bytes stay in the frame they came in. [`Conn::peek`] shows the first piece and
//! [`Conn::consume`] lets go of it; or [`Conn::receive`] takes the frame itself, to be kept, forwarded
//! ([`Conn::send`]) or put back in part ([`Conn::unreceive`]). What is not read closes the window: that is all
//! the flow control there is.
//!
//! **Writing.** [`Conn::write`] copies; [`Conn::reserve`] and [`Conn::commit`] let the application write
//! straight into a frame; [`Conn::lend`] sends memory that the application owns. All three take what there is
//! room for ([`Conn::send_room`]), and where they come short [`writable`](crate::Application::writable) follows.

use core::net::SocketAddr;
use core::ops::Range;

use freeway_base::{Duration, Instant};
use freeway_mem::{Packet, SharedPacket};
use freeway_tcp::{Config, Context, Held, Info, State};

use super::TcpHost;
use super::class::ConfigureError;
use super::item::Lent;
use super::list::Which;
use super::path::headers;
use super::record::{Connection, Flags, Tick};
use crate::application::CloseReason;
use crate::net::Net;
use crate::stack::Stack;

/// The name of a connection for as long as it lives; never that of another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnId {
    pub(crate) index: u32,
    pub(crate) serial: u32,
}

/// A connection, in the hands of its application.
pub struct Conn<'a, S: Copy + Default + 'static> {
    stack: &'a mut Stack<S>,
    index: u32,
}

impl<S: Copy + Default + 'static> TcpHost<S> {
    pub(crate) fn id(&self, index: u32) -> Option<ConnId> {
        self.connections.slot(index).map(|connection| ConnId { index, serial: connection.socket.serial })
    }

    /// All that is known of a connection, from its record and from the side tables.
    pub(crate) fn info(&self, now: Instant, net: &Net, index: u32) -> Option<Info> {
        let Connection { tcb, socket, .. } = self.connections.slot(index)?;
        let profile = self.listeners.profiles.get(usize::from(socket.profile))?;
        let peer = socket.key.remote();
        let held = self.store.held(socket.queues);
        let cx = Context { now, config: &profile.tcp };
        let info = match self.store.flights.slot(self.store.flight_of(socket.queues)) {
            Some(flight) => tcb.info_in_flight(&cx, &held, flight),
            None => tcb.info_with(&cx, &held),
        };
        let opening = self.listeners.opening(net, &self.store, socket.profile, socket.hop, peer);
        Some(Info {
            mss_advertised: opening.map_or(info.mss_advertised, |config| config.mss),
            receiver_rtt: self.tuning.rtt((index, socket.serial)),
            path_mtu: Some(tcb.path_mss().saturating_add(headers(peer)).min(net.mtu(socket.hop))),
            unread: self.store.rx_bytes(socket.queues),
            ..info
        })
    }

    /// The service number of a connection's profile.
    pub(crate) fn service(&self, index: u32) -> u16 {
        let profile = self.connections.slot(index).map_or(0, |connection| connection.socket.profile);
        self.listeners.profiles.get(usize::from(profile)).map_or(0, |profile| profile.service)
    }
}

impl<'a, S: Copy + Default + 'static> Conn<'a, S> {
    /// A handle on the connection in place `index`, which exists.
    pub(crate) const fn new(stack: &'a mut Stack<S>, index: u32) -> Self {
        Self { stack, index }
    }

    fn record(&self) -> Option<&Connection<S>> {
        self.stack.tcp.connections.slot(self.index)
    }

    fn has(&self, flags: Flags) -> bool {
        self.record().is_some_and(|connection| connection.socket.flags.contains(flags))
    }

    fn queues(&self) -> u32 {
        self.record().map_or(super::NONE, |connection| connection.socket.queues)
    }

    /// The connection's name.
    pub fn id(&self) -> ConnId {
        self.stack.tcp.id(self.index).unwrap_or(ConnId { index: super::NONE, serial: 0 })
    }

    /// The number that the listener or the open was given.
    pub fn service(&self) -> u16 {
        self.stack.tcp.service(self.index)
    }

    /// This side's address and port.
    pub fn local(&self) -> SocketAddr {
        let key = self.record().map(|connection| connection.socket.key);
        let (local, port) = key.map_or((0, 0), |key| (key.local, key.local_port));
        SocketAddr::new(self.stack.net.address(local), port)
    }

    /// The peer's address and port.
    pub fn peer(&self) -> SocketAddr {
        match self.record() {
            Some(connection) => {
                SocketAddr::new(connection.socket.key.remote(), connection.socket.key.remote_port)
            }
            None => SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), 0),
        }
    }

    /// The application's own state of this connection.
    ///
    /// # Panics
    ///
    /// Never: a handle exists only for a connection that does, and releasing one needs the handle back.
    pub fn state(&mut self) -> &mut S {
        match self.stack.tcp.connections.slot_mut(self.index) {
            Some(connection) => &mut connection.app,
            None => &mut self.stack.no_state,
        }
    }

    /// The stack, to reach other connections, sockets or the time from within an event.
    pub const fn stack(&mut self) -> &mut Stack<S> {
        self.stack
    }

    // ---- reading ----

    /// The first bytes to be read, as far as they lie in one piece; empty when there are none.
    pub fn peek(&self) -> &[u8] {
        self.stack.tcp.store.rx_peek(self.queues())
    }

    /// Copies what is to be read, as much as `into` takes, and leaves it there; returns how many bytes.
    pub fn copy_readable(&self, into: &mut [u8]) -> usize {
        self.stack.tcp.store.rx_copy(self.queues(), into)
    }

    /// How many bytes are there to be read.
    pub fn readable_bytes(&self) -> usize {
        self.stack.tcp.store.rx_bytes(self.queues()) as usize
    }

    /// Lets go of the first `count` bytes (or all there are): they have been dealt with.
    pub fn consume(&mut self, count: usize) {
        let Some(connection) = self.stack.tcp.connections.slot_mut(self.index) else { return };
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let taken = self.stack.tcp.store.rx_consume(connection.socket.queues, count);
        self.after_read(taken);
    }

    /// Takes the first piece of what is to be read, in the frame it came in.
    pub fn receive(&mut self) -> Option<SharedPacket> {
        let connection = self.stack.tcp.connections.slot_mut(self.index)?;
        let packet = self.stack.tcp.store.rx_take(connection.socket.queues);
        if let Some(packet) = &packet {
            self.after_read(packet.data().len() as u32);
        }
        packet
    }

    /// Puts back what [`receive`](Conn::receive) took, or the part of it that was not dealt with.
    pub fn unreceive(&mut self, packet: SharedPacket) {
        let Some(connection) = self.stack.tcp.connections.slot_mut(self.index) else { return };
        let end = connection
            .tcb
            .rcv_nxt()
            .0
            .wrapping_sub(u32::from(connection.socket.flags.contains(Flags::PEER_FINISHED)));
        self.stack.tcp.store.rx_put_back(&mut connection.socket.queues, packet, end);
    }

    /// Whether the peer has finished sending and everything it sent has been read. Never so on a connection that was
    /// cut off: what was not read of it is lost, and [`closed`](crate::Application::closed) says why.
    pub fn at_end(&self) -> bool {
        let cut_off = self.record().is_some_and(|connection| {
            let flags = connection.socket.flags;
            flags.contains(Flags::DETACHED) && flags.reason() != CloseReason::Finished
        });
        self.has(Flags::PEER_FINISHED) && self.readable_bytes() == 0 && !cut_off
    }

    /// Tells TCP that there may be more window to offer, or reason to make the buffer larger.
    fn after_read(&mut self, taken: u32) {
        let now = self.stack.now();
        let tcp = &mut self.stack.tcp;
        let Some(connection) = tcp.connections.slot_mut(self.index) else { return };
        if connection.socket.flags.contains(Flags::DETACHED) {
            // The end was held back until all was read.
            tcp.store.close_if_empty(&mut connection.socket.queues);
            tcp.raise(self.index, Flags::CLOSED);
            return;
        }
        let held = tcp.store.held(connection.socket.queues);
        let Some(profile) = tcp.listeners.profiles.get(usize::from(connection.socket.profile)) else {
            return;
        };
        let (cx, owner) = (Context { now, config: &profile.tcp }, (self.index, connection.socket.serial));
        if tcp.tuning.taken(&cx, owner, &mut connection.tcb, taken, held.pressure) {
            tcp.counters.windows_widened += 1;
        }
        // At the end of the turn it may have a window to tell of, and lets go of queues that are empty.
        if connection.tcb.on_read(&cx, &held) || tcp.store.is_empty(connection.socket.queues) {
            tcp.mark_dirty(self.index);
        }
    }

    // ---- writing ----

    /// Whether bytes can still be queued: open in this direction, and not finished.
    pub fn can_write(&self) -> bool {
        let open = |it: &Connection<S>| !it.socket.flags.contains(Flags::DETACHED) && it.tcb.can_send();
        self.record().is_some_and(open)
    }

    /// How many bytes may be queued now; none while the host as a whole is short of buffers.
    pub fn send_room(&self) -> usize {
        let tcp = &self.stack.tcp;
        let Some(Connection { tcb, socket, .. }) = self.record() else { return 0 };
        let is_open = !socket.flags.contains(Flags::DETACHED) && tcb.can_send();
        if !is_open || !tcp.store.admits_sent(socket.queues) {
            return 0;
        }
        let Some(profile) = tcp.listeners.profiles.get(usize::from(socket.profile)) else { return 0 };
        let config = &profile.tcp;
        let queued = tcp.store.tx_bytes(socket.queues);
        let bound = config.send_buffer.unwrap_or(u32::MAX).min(tcp.limits.send_buffer(tcb.cwnd()));
        let room = bound.saturating_sub(queued);
        if config.not_sent_low_water == u32::MAX {
            return room as usize;
        }
        let not_sent = tcb.not_sent(&Held { queued, ..Held::default() });
        room.min(config.not_sent_low_water.saturating_sub(not_sent)) as usize
    }

    /// Bytes queued and not yet acknowledged.
    pub fn unacknowledged_bytes(&self) -> usize {
        self.stack.tcp.store.tx_bytes(self.queues()) as usize
    }

    /// Queues a copy of as many of `bytes` as there is room for; returns how many.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let room = self.send_room().min(bytes.len());
        let mut written = 0;
        if room > 0
            && let Some(connection) = self.stack.tcp.connections.slot_mut(self.index)
        {
            let mss = usize::from(connection.tcb.mss());
            written = self.stack.tcp.store.tx_write(&mut connection.socket.queues, &bytes[..room], mss);
        }
        self.after_write(written < bytes.len());
        written
    }

    /// A frame to write payload into, at most [`mss`](Conn::mss) bytes of it; `None` when there is no room.
    pub fn reserve(&mut self) -> Option<Packet> {
        self.reserve_for(1)
    }

    /// The same; `None` also when there is no room for `len` bytes of payload.
    pub fn reserve_for(&mut self, len: usize) -> Option<Packet> {
        let has_room = self.send_room() >= len.max(1);
        let packet = if has_room { self.stack.tcp.store.pool.alloc() } else { None };
        if packet.is_none() {
            self.after_write(true);
        }
        packet
    }

    /// The most payload that goes into one segment.
    pub fn mss(&self) -> usize {
        self.record().map_or(0, |connection| usize::from(connection.tcb.mss()))
    }

    /// Queues a frame that [`reserve`](Conn::reserve) gave.
    pub fn commit(&mut self, packet: Packet) -> bool {
        self.send(packet.share())
    }

    /// Queues a frame, such as one that [`receive`](Conn::receive) gave, without a copy. Returns whether there
    /// was room for it; where there was not, the frame is dropped.
    pub fn send(&mut self, packet: SharedPacket) -> bool {
        self.offer(packet).is_ok()
    }

    /// The same for a frame that is not to be lost.
    ///
    /// # Errors
    ///
    /// Gives the frame back where there is no room for it, and has [`writable`](crate::Application::writable) called
    /// when there is more.
    pub fn offer(&mut self, packet: SharedPacket) -> Result<(), SharedPacket> {
        if self.send_room() < packet.data().len() {
            self.after_write(true);
            return Err(packet);
        }
        let tcp = &mut self.stack.tcp;
        let Some(connection) = tcp.connections.slot_mut(self.index) else { return Err(packet) };
        let queued = tcp.store.tx_push(&mut connection.socket.queues, packet);
        self.after_write(queued.is_err());
        queued
    }

    /// Queues a range of memory lent by [`Stack::lend`], as much of it as there is room for; returns how many
    /// bytes that is. The memory is read when its bytes are sent, and sent again.
    pub fn lend(&mut self, lent: Lent, range: Range<usize>) -> usize {
        let end = range.end.min(lent.len());
        let wanted = end.saturating_sub(range.start);
        let room = self.send_room().min(wanted) as u32;
        let mut queued = 0;
        if room > 0
            && let Some(connection) = self.stack.tcp.connections.slot_mut(self.index)
        {
            let list = &mut connection.socket.queues;
            if self.stack.tcp.store.tx_push_lent(list, lent.index, range.start as u32, room) {
                queued = room as usize;
            }
        }
        self.after_write(queued < wanted);
        queued
    }

    /// Has [`writable`](crate::Application::writable) called when there is more room than now.
    pub fn want_room(&mut self) {
        let tcp = &mut self.stack.tcp;
        let Some(Connection { socket, .. }) = tcp.connections.slot_mut(self.index) else { return };
        if socket.flags.contains(Flags::DETACHED) {
            // It is over: there will be no room, and the application is about to hear why.
            return;
        }
        socket.flags.insert(Flags::WANTS_ROOM);
        // An acknowledgment brings room of the connection's own; room of the host's is told of by the host.
        if !tcp.store.has_room_to_send() {
            tcp.counters.starved_writes += 1;
            tcp.starved.push(Which::Starved, &mut tcp.connections, self.index);
        }
    }

    fn after_write(&mut self, came_short: bool) {
        if came_short {
            self.want_room();
        }
        self.stack.tcp.mark_dirty(self.index);
    }

    // ---- ending ----

    /// Finishes sending: a FIN follows the last queued byte. Reading goes on until the peer finishes too.
    pub fn shutdown(&mut self) {
        let Stack { tcp, net, .. } = &mut *self.stack;
        let Some(connection) = tcp.connections.slot_mut(self.index) else { return };
        connection.tcb.close();
        if connection.tcb.state() == State::Closed {
            // It was not open yet: there is nobody to finish with (RFC 9293, section 3.10.4, SYN-SENT).
            tcp.finish(net, self.index, CloseReason::Aborted);
        }
        tcp.mark_dirty(self.index);
    }

    /// Closes both ways. What is queued is still delivered, for as long as [`linger`](freeway_tcp::Config::linger) says;
    /// what the peer sent and nobody read, or sends from now on, is answered with a reset (RFC 9293, SHLD-3).
    pub fn close(&mut self) {
        let linger = self.config().and_then(|config| config.linger);
        if self.readable_bytes() > 0 || linger == Some(Duration::ZERO) {
            self.abort();
            return;
        }
        if linger.is_some() {
            self.set_timer(linger);
        }
        if let Some(connection) = self.stack.tcp.connections.slot_mut(self.index) {
            connection.socket.flags.insert(Flags::READ_CLOSED);
        }
        self.shutdown();
    }

    /// Ends the connection at once; the peer gets a reset.
    pub fn abort(&mut self) {
        let now = self.stack.now();
        let Stack { tcp, net, .. } = &mut *self.stack;
        tcp.abort(now, net, self.index);
    }

    // ---- being accepted ----

    /// Puts an accepted connection off: it counts towards its listener's
    /// [`backlog`](crate::AcceptLimits::backlog) until [`handled`](Conn::handled), or its end. For applications that
    /// queue what they accept; called from [`accepted`](crate::Application::accepted).
    pub fn defer(&mut self) {
        self.stack.tcp.defer(self.index);
    }

    /// A connection that was put off is dealt with now: it makes room for another.
    pub fn handled(&mut self) {
        self.stack.tcp.handled(self.index);
    }

    // ---- the rest ----

    /// Has [`timer`](crate::Application::timer) called after `wait`, instead of any time set before.
    pub fn set_timer(&mut self, wait: Option<Duration>) {
        let now = self.stack.now();
        if let Some(connection) = self.stack.tcp.connections.slot_mut(self.index) {
            connection.socket.timer = wait.map_or(Tick::NEVER, |wait| Tick::at_or_after(now + wait));
        }
        self.stack.tcp.rearm_application(now, self.index);
    }

    /// What TCP knows of the connection: all that Linux tells in TCP_INFO, as far as it has a meaning here.
    pub fn info(&self) -> Option<Info> {
        self.stack.tcp.info(self.stack.now(), &self.stack.net, self.index)
    }

    // ---- settings of this connection ----

    /// TCP's settings of this connection: its listener's or its open's, until [`configure`](Conn::configure) changes them.
    pub fn config(&self) -> Option<&Config> {
        let profile = usize::from(self.record()?.socket.profile);
        self.stack.tcp.listeners.profiles.get(profile).map(|profile| &profile.tcp)
    }

    /// Changes settings of this connection alone. What takes effect at once, what with the next segment:
    ///
    /// | as Linux calls it | setting | effect |
    /// |---|---|---|
    /// | TCP_NODELAY, TCP_CORK | `nagle`, `cork` | at once; taking the cork out sends what waits |
    /// | TCP_QUICKACK | `delayed_ack`; [`quick_ack`](Conn::quick_ack) | at once |
    /// | SO_KEEPALIVE, TCP_KEEPIDLE, ... | `keepalive` | from now on |
    /// | TCP_USER_TIMEOUT | `user_timeout` | at once, for data in flight too |
    /// | TCP_CONGESTION | `congestion` | with the next acknowledgment |
    /// | IP_TOS, IP_TTL, IPV6_TCLASS, ... | `dscp`, `hop_limit` | with the next segment |
    /// | TCP_MAXSEG | `mss` | with the next segment; only ever less than the SYNs agreed on |
    /// | SO_RCVBUF | `receive_window`, `receive_window_max` | as the window moves; what was promised stays |
    /// | SO_SNDBUF, TCP_NOTSENT_LOWAT | `send_buffer`, `not_sent_low_water` | with the next write |
    /// | SO_LINGER | `linger` | when the connection is closed |
    /// | TCP_RETRIES1 | `stall_retries` | with the next retransmission |
    ///
    /// What the SYNs have settled (`window_scale`, `timestamps`, `sack`) stays as it is.
    ///
    /// Connections of equal settings share a class, and a connection's record does not grow. Classes are bounded
    /// ([`max_classes`](crate::StackConfig::max_classes)).
    ///
    /// # Errors
    ///
    /// See [`ConfigureError`]; nothing has changed then.
    pub fn configure(&mut self, change: impl FnOnce(&mut Config)) -> Result<(), ConfigureError> {
        if self.has(Flags::DETACHED) {
            return Err(ConfigureError::Over);
        }
        let old = *self.config().ok_or(ConfigureError::Over)?;
        let mut new = old;
        change(&mut new);
        if new == old {
            return Ok(());
        }
        let now = self.stack.now();
        let tcp = &mut self.stack.tcp;
        let connection = tcp.connections.slot_mut(self.index).ok_or(ConfigureError::Over)?;
        connection.socket.profile = tcp.listeners.reclass(connection.socket.profile, &new)?;
        connection.tcb.on_configured(&Context { now, config: &new }, &old);
        if connection.socket.flags.contains(Flags::WANTS_ROOM) {
            // There may be room where there was none.
            tcp.raise(self.index, Flags::WRITABLE);
        }
        tcp.mark_dirty(self.index);
        Ok(())
    }

    /// Acknowledges at once what was received and waits for company, and the next segments too, as many as a young
    /// connection's ([`quick_acks`](freeway_tcp::Config::quick_acks)); or, with `false`, goes back to delaying.
    pub fn quick_ack(&mut self, on: bool) {
        let segments = self.config().map_or(0, |config| if on { config.quick_acks.max(1) } else { 0 });
        if let Some(connection) = self.stack.tcp.connections.slot_mut(self.index) {
            connection.tcb.acknowledge_at_once(segments);
        }
        self.stack.tcp.mark_dirty(self.index);
    }
}
