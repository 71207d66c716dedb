//! UDP (RFC 768; RFC 1122, section 4.1): sockets, and datagrams without a copy.
//!
//! A datagram that arrives stays in the buffer it came in: [`Datagram::packet`] is its payload, with the headers'
//! place still before it. A reply written over it goes back by [`UdpSockets::reply`] in the same buffer.

mod table;

use alloc::collections::VecDeque;
use core::net::{IpAddr, SocketAddr};

use freeway_base::Instant;
use freeway_mem::{Packet, PacketFlags};
use freeway_wire::{Ecn, Protocol, checksum, udp};

use crate::net::plain::Plain;
use crate::net::{Addr, Hop, IcmpKind, IcmpNotice, Inbound, IpHeader, Net};
use table::Table;
pub use table::{BindError, UdpId};

/// Sockets that one core can bind.
const SOCKETS: usize = 1_024;
/// Datagrams that wait for the application; at the bound the newest goes. 80 bytes each, and a packet buffer.
const QUEUE: usize = 1_024;

freeway_base::counters! {
    /// UDP's counters.
    pub struct UdpCounters {
        /// Datagrams handed to sockets.
        datagrams_in,
        /// Bytes of their payloads.
        bytes_in,
        /// Datagrams sent.
        datagrams_out,
        /// Bytes of their payloads.
        bytes_out,
        /// Datagrams whose length is not what IP says.
        dropped_malformed,
        /// Datagrams with a wrong sum, or over IPv6 none.
        dropped_checksum,
        /// Datagrams to a port where nobody listens.
        dropped_no_socket,
        /// Datagrams that the application was too slow to take.
        dropped_queue_full,
        /// Datagrams not sent: no such socket, no address to send from, no route.
        dropped_no_route,
        /// Datagrams not sent: too long, or without room for the header.
        dropped_too_long,
    }
}

/// Between whom a datagram went, as numbers that are handed on whole: what an answer needs to find its way back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyTo {
    socket: UdpId,
    local_port: u16,
    remote_port: u16,
    local: Addr,
    remote: Addr,
}

impl ReplyTo {
    /// The socket that the datagram was for.
    pub const fn socket(&self) -> UdpId {
        self.socket
    }

    /// Where it was sent to: one of the host's addresses, or a group's or broadcast address.
    pub fn local(&self) -> SocketAddr {
        SocketAddr::new(self.local.into(), self.local_port)
    }

    /// Who sent it.
    pub fn remote(&self) -> SocketAddr {
        SocketAddr::new(self.remote.into(), self.remote_port)
    }

    /// The port that it was sent to.
    #[inline]
    pub const fn local_port(&self) -> u16 {
        self.local_port
    }

    /// The port that it came from.
    #[inline]
    pub const fn remote_port(&self) -> u16 {
        self.remote_port
    }
}

/// A datagram that arrived.
pub struct Datagram {
    /// Between whom it went; [`Stack::udp_reply`](crate::Stack::udp_reply) takes it.
    pub reply_to: ReplyTo,
    /// What the socket was bound with.
    pub service: u16,
    /// The congestion mark it came with.
    pub ecn: Ecn,
    /// The payload.
    pub packet: Packet,
}

impl Datagram {
    /// Where it was sent to.
    pub fn local(&self) -> SocketAddr {
        self.reply_to.local()
    }

    /// Who sent it.
    pub fn remote(&self) -> SocketAddr {
        self.reply_to.remote()
    }
}

const _: () = assert!(size_of::<Datagram>() <= 80);

/// One core's sockets.
pub struct UdpSockets {
    table: Table,
    queue: VecDeque<Datagram>,
    queue_limit: usize,
    /// What was counted since the start.
    pub counters: UdpCounters,
}

impl Default for UdpSockets {
    fn default() -> Self {
        Self::new()
    }
}

impl UdpSockets {
    /// No socket yet.
    pub fn new() -> Self {
        Self::with_queue(QUEUE)
    }

    /// The same with room for so many datagrams that wait.
    pub fn with_queue(datagrams: usize) -> Self {
        Self {
            table: Table::new(SOCKETS),
            queue: VecDeque::with_capacity(datagrams),
            queue_limit: datagrams,
            counters: UdpCounters::default(),
        }
    }

    /// Binds a socket to a port, of one address or of all. `service` comes back with its datagrams.
    ///
    /// # Errors
    ///
    /// See [`BindError`].
    pub fn bind(&mut self, addr: Option<IpAddr>, port: u16, service: u16) -> Result<UdpId, BindError> {
        self.table.bind(addr, port, service)
    }

    /// Gives a socket's port back; false when there is no such socket. Its datagrams that wait are dropped.
    pub fn unbind(&mut self, socket: UdpId) -> bool {
        let bound = self.table.unbind(socket);
        if bound {
            self.queue.retain(|datagram| datagram.reply_to.socket != socket);
        }
        bound
    }

    /// The socket at `place` of the table: its address, port and service. `Err` beyond the last.
    pub(crate) fn at(&self, place: usize) -> Result<Option<(Option<IpAddr>, u16, u16)>, ()> {
        self.table.at(place)
    }

    // ---- the way in ----

    /// Takes a datagram in a frame that was recognised at a glance to its socket's queue; gives the frame back when there is
    /// anything about it, to go the long way.
    #[inline]
    pub(crate) fn input_plain(&mut self, plain: &Plain, mut packet: Packet) -> Result<(), Packet> {
        let &Plain { src, dst, ecn, trusted, header_len, len, .. } = plain;
        let bytes = packet.data().get(header_len..header_len + len).unwrap_or(&[]);
        let Ok(view) = udp::Datagram::new_checked(bytes) else { return Err(packet) };
        let (src_port, dst_port, len) = (view.src_port(), view.dst_port(), view.len());
        let Some((socket, service)) = self.table.find(dst, dst_port) else { return Err(packet) };
        let is_summed = view.checksum() != 0 && (trusted || view.verify_checksum_mapped(src.0, dst.0));
        if !is_summed || self.queue.len() >= self.queue_limit {
            return Err(packet);
        }
        packet.trim_front(header_len + udp::HEADER_LEN);
        packet.truncate(len - udp::HEADER_LEN);
        let reply_to =
            ReplyTo { socket, local_port: dst_port, remote_port: src_port, local: dst, remote: src };
        self.enqueue(Datagram { reply_to, service, ecn, packet });
        Ok(())
    }

    #[inline]
    fn enqueue(&mut self, datagram: Datagram) {
        self.counters.datagrams_in += 1;
        self.counters.bytes_in += datagram.packet.len() as u64;
        self.queue.push_back(datagram);
    }

    /// The same for any other, from IP.
    pub fn input(&mut self, now: Instant, net: &mut Net, inbound: Inbound) {
        let Ok(view) = udp::Datagram::new_checked(inbound.packet.data()) else {
            self.counters.dropped_malformed += 1;
            return;
        };
        let (src_port, dst_port, len) = (view.src_port(), view.dst_port(), view.len());
        // RFC 1122, section 4.1.3.4; RFC 8200, section 8.1: over IPv6 a sum of zero is wrong.
        let exempt = inbound.checksum_good && (view.checksum() != 0 || inbound.src.is_ipv4());
        if !exempt && !view.verify_checksum(inbound.src, inbound.dst) {
            self.counters.dropped_checksum += 1;
            return;
        }
        let Some((socket, service)) = self.table.find(inbound.dst.into(), dst_port) else {
            self.counters.dropped_no_socket += 1;
            net.port_unreachable(now, inbound);
            return;
        };
        if self.queue.len() >= self.queue_limit {
            self.counters.dropped_queue_full += 1;
            return;
        }
        let Inbound { mut packet, src, dst, ecn, .. } = inbound;
        packet.truncate(len);
        packet.trim_front(udp::HEADER_LEN);
        let (local, remote) = (dst.into(), src.into());
        let reply_to = ReplyTo { socket, local_port: dst_port, remote_port: src_port, local, remote };
        self.enqueue(Datagram { reply_to, service, ecn, packet });
    }

    /// An ICMP error about a datagram of ours. All that a datagram can be checked by is its port (RFC 5927, section 4):
    /// a socket must have it.
    #[cold]
    pub(crate) fn icmp_error(&self, now: Instant, net: &mut Net, notice: &IcmpNotice) {
        let IcmpKind::PacketTooBig { mtu } = notice.kind else { return };
        if self.table.find(notice.local.into(), notice.local_port).is_some() {
            net.datagram_too_big(now, notice.remote, mtu);
        } else {
            net.counters.ignored_too_big += 1;
        }
    }

    /// Takes the next datagram.
    #[inline]
    pub fn pop(&mut self) -> Option<Datagram> {
        self.queue.pop_front()
    }

    /// How many datagrams wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    // ---- the way out ----

    /// Sends `payload`, which has headroom for the headers, from `socket`'s port. It comes from `local` if that
    /// is an address of this host, else from the socket's own address, else from the one that the route
    /// suggests. What cannot be sent is dropped and counted.
    #[inline]
    pub fn send_to(
        &mut self,
        now: Instant,
        net: &mut Net,
        socket: UdpId,
        local: Option<IpAddr>,
        remote: SocketAddr,
        payload: Packet,
    ) {
        self.send(now, net, socket, local.map(Addr::from), (remote.ip().into(), remote.port()), payload);
    }

    /// Sends `payload` back to where a datagram came from, from the address that it was sent to if that is one of this
    /// host; else as [`send_to`](Self::send_to).
    #[inline]
    pub fn reply(&mut self, now: Instant, net: &mut Net, to: ReplyTo, payload: Packet) {
        let ReplyTo { socket, local, remote, remote_port, .. } = to;
        self.send(now, net, socket, Some(local), (remote, remote_port), payload);
    }

    #[inline]
    fn send(
        &mut self,
        now: Instant,
        net: &mut Net,
        socket: UdpId,
        local: Option<Addr>,
        (dst, dst_port): (Addr, u16),
        payload: Packet,
    ) {
        let Some(bound) = self.table.get_mut(socket) else {
            self.counters.dropped_no_route += 1;
            return;
        };
        let (port, own) = (bound.port, bound.addr);
        let named = local.filter(|&addr| net.is_own(addr.0)).or(own);
        let Some(src) = named
            .or_else(|| net.source_for(dst.into()).map(Addr::from))
            .filter(|src| src.is_v4() == dst.is_v4())
        else {
            self.counters.dropped_no_route += 1;
            return;
        };
        let mut hop = match bound.last {
            Some((to, hop)) if to == dst => hop,
            _ => match net.hop(now, dst.into()) {
                Ok(hop) => hop,
                Err(_) => {
                    self.counters.dropped_no_route += 1;
                    return;
                }
            },
        };
        let len = payload.len();
        let ports = (port, dst_port);
        if send(now, net, &mut hop, (src, dst), ports, payload) {
            self.counters.datagrams_out += 1;
            self.counters.bytes_out += len as u64;
        } else {
            self.counters.dropped_too_long += 1;
        }
        if let Some(bound) = self.table.get_mut(socket) {
            bound.last = Some((dst, hop));
        }
    }
}

/// Puts the header before a payload, with its sum, and hands both to IP; false when they do not fit.
#[inline]
fn send(
    now: Instant,
    net: &mut Net,
    hop: &mut Hop,
    (src, dst): (Addr, Addr),
    (src_port, dst_port): (u16, u16),
    mut packet: Packet,
) -> bool {
    let repr = udp::Repr { src_port, dst_port, payload_len: packet.len() as u16 };
    if packet.len() > usize::from(u16::MAX) - udp::HEADER_LEN {
        return false;
    }
    if packet.prepend(udp::HEADER_LEN).is_none() {
        return false;
    }
    let header = IpHeader {
        src,
        dst,
        protocol: Protocol::UDP,
        hop_limit: net.hop_limit(),
        dscp: 0,
        ecn: Ecn::NotEct,
        dont_fragment: false,
    };
    // A port sums whole datagrams only.
    let by_port = net.tx_checksum(*hop) && net.goes_whole(now, *hop, &header, packet.len());
    if by_port {
        repr.emit(packet.data_mut());
        checksum::seed_transport(src.into(), dst.into(), Protocol::UDP, packet.data_mut());
        packet.set_flags(PacketFlags::CHECKSUM_NEEDED);
    } else {
        let pseudo = checksum::pseudo_header_mapped(src.0, dst.0, Protocol::UDP, packet.len() as u32);
        repr.emit_summed(packet.data_mut(), pseudo);
        packet.set_flags(PacketFlags::empty());
    }
    net.send(now, hop, &header, packet);
    true
}

#[cfg(test)]
mod tests;
