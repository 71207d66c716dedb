//! The way out: from a transport's packet to a frame on an interface's queue.
//!
//! ```text
//!   headroom            │ transport header │ payload │      send
//!   headroom       │ IP │ transport header │ payload │      one header written, one sum over 20 bytes
//!   headroom │ eth │ IP │ transport header │ payload │      14 bytes copied from the neighbour's entry
//! ```

use core::net::IpAddr;

use freeway_base::Instant;
use freeway_mem::{Packet, SharedPacket, TxBurst, TxChecksum};
use freeway_wire::MacAddr;
use freeway_wire::ethernet::EtherType;
use thiserror::Error;

use super::address::{Addr, bits};
use super::header::IpHeader;
use super::interface::{Interface, LinkHeader};
use super::neighbor::{Hop, Key, Passage, State};
use super::setup::is_host;
use super::{IfaceId, Net};

/// Why there is no next hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum RouteError {
    /// No route leads there.
    #[error("no route to {0}")]
    NoRoute(IpAddr),
    /// It is this host itself, which does not send to itself.
    #[error("{0} is an address of this host")]
    Local(IpAddr),
}

impl Net {
    /// The next hop towards `dst`. A neighbour that is not known yet is asked for.
    ///
    /// # Errors
    ///
    /// No route, or an address of this host's own.
    pub fn hop(&mut self, now: Instant, dst: IpAddr) -> Result<Hop, RouteError> {
        let key = self.next_hop(dst)?;
        let index = self.neighbor(now, key).ok_or(RouteError::NoRoute(dst))?;
        Ok(self.neighbors.hop(index))
    }

    /// The longest IP packet that goes by this hop in one piece.
    #[inline]
    pub fn mtu(&self, hop: Hop) -> u16 {
        let index = self.neighbors.index(hop);
        let interface = index.and_then(|index| self.interface(self.neighbors.iface(index)));
        // Of a hop that is no more: every link carries this much.
        interface.map_or(super::setup::MTU_MIN_V6, |interface| interface.mtu)
    }

    /// Whether a datagram of `len` bytes under `header` goes by this hop in one piece.
    #[inline]
    pub fn goes_whole(&self, now: Instant, hop: Hop, header: &IpHeader, len: usize) -> bool {
        header.header_len() + len <= usize::from(self.datagram_mtu(now, header, len, self.mtu(hop)))
    }

    /// Whether the port that this hop leads to fills in TCP and UDP sums.
    #[inline]
    pub fn tx_checksum(&self, hop: Hop) -> bool {
        let index = self.neighbors.index(hop);
        index
            .and_then(|index| self.interface(self.neighbors.iface(index)))
            .is_some_and(|interface| interface.tx_checksum != TxChecksum::None)
    }

    /// Whether the queue that this hop leads to takes another frame: the interface's, or, while the neighbour has
    /// not answered, the one of packets that wait for it.
    #[inline]
    pub fn has_tx_room(&self, hop: Hop) -> bool {
        let Some(index) = self.neighbors.index(hop) else { return true };
        self.interface(self.neighbors.iface(index)).is_none_or(Interface::has_room)
            && self.neighbors.has_room(index)
    }

    /// An upper layer has seen the neighbour live: what it sent was acknowledged (RFC 4861, section 7.3.1).
    #[inline]
    pub fn confirm(&mut self, now: Instant, hop: Hop) {
        if let Some(index) = self.neighbors.index(hop) {
            self.neighbors.confirm_forward(index, now);
        }
    }

    /// An upper layer hears nothing by this hop any more: the neighbour is asked whether it is still there (RFC 9293,
    /// MUST-20; RFC 1122, section 3.3.1.4).
    #[cold]
    pub fn doubt(&mut self, now: Instant, hop: Hop) {
        if let Some(index) = self.neighbors.index(hop)
            && matches!(self.neighbors.state(index), State::Reachable | State::Stale | State::Delay)
        {
            self.neighbors.doubt(index, now);
        }
    }

    /// Sends a transport's packet: its IP and link headers go into its headroom, and it onto the interface's
    /// queue, or it waits for its neighbour, or is dropped and counted. A hop that is no more is looked up anew.
    /// What is longer than the MTU goes as fragments, if it may.
    #[inline]
    pub fn send(&mut self, now: Instant, hop: &mut Hop, header: &IpHeader, packet: Packet) {
        let Some(index) = self.locate(now, hop, header) else { return };
        self.send_to(now, index, header, packet);
    }

    /// The same, and gives the packet back, to be read when it must be sent again: its payload is where it was,
    /// at the end. It is never fragmented.
    #[inline]
    pub fn send_and_keep(
        &mut self,
        now: Instant,
        hop: &mut Hop,
        header: &IpHeader,
        mut packet: Packet,
    ) -> SharedPacket {
        let Some(index) = self.locate(now, hop, header) else { return packet.share() };
        let iface = self.neighbors.iface(index);
        let Some(interface) = self.interfaces.get_mut(usize::from(iface.0)) else { return packet.share() };
        if header.header_len() + packet.len() > usize::from(interface.mtu) {
            self.counters.dropped_too_big += 1;
            return packet.share();
        }
        if !header.prepend(&mut packet, 0) {
            self.counters.dropped_no_headroom += 1;
            return packet.share();
        }
        match self.neighbors.passage(index, now) {
            Passage::Open => {
                let linked =
                    self.neighbors.link(index).is_some_and(|link| interface.frame(link, &mut packet));
                let kept = packet.share();
                if !linked {
                    self.counters.dropped_no_headroom += 1;
                } else if kept.try_clone().is_some_and(|frame| interface.enqueue(frame)) {
                    self.counters.frames_out += 1;
                } else {
                    self.counters.dropped_tx_full += 1;
                }
                kept
            }
            Passage::Wait => {
                match self.copy(&packet) {
                    Some(copy) => self.wait(index, copy),
                    None => self.counters.dropped_no_buffer += 1,
                }
                packet.share()
            }
        }
    }

    fn copy(&self, packet: &Packet) -> Option<Packet> {
        let mut copy = self.pool.alloc()?;
        copy.set_flags(packet.flags());
        if copy.copy_from_slice(packet.data()) { Some(copy) } else { None }
    }

    /// Moves frames that wait for a port into `into`, until it is full.
    #[inline]
    pub fn tx_burst(&mut self, iface: IfaceId, into: &mut TxBurst) {
        if let Some(interface) = self.interfaces.get_mut(usize::from(iface.0)) {
            interface.drain(into);
        }
    }

    /// How many frames wait for a port.
    #[inline]
    pub fn tx_pending(&self, iface: IfaceId) -> usize {
        self.interface(iface).map_or(0, Interface::pending)
    }

    // ---- the steps ----

    /// The neighbour entry of a hop, looked up anew if it is not what it was.
    #[inline]
    fn locate(&mut self, now: Instant, hop: &mut Hop, header: &IpHeader) -> Option<u16> {
        match self.neighbors.index(*hop) {
            Some(index) => Some(index),
            None => self.locate_anew(now, hop, header),
        }
    }

    #[cold]
    fn locate_anew(&mut self, now: Instant, hop: &mut Hop, header: &IpHeader) -> Option<u16> {
        match self.hop(now, header.dst.into()) {
            Ok(found) => {
                *hop = found;
                self.neighbors.index(found)
            }
            Err(_) => {
                self.counters.dropped_no_route += 1;
                None
            }
        }
    }

    /// Sends a packet to a neighbour.
    #[inline]
    pub(crate) fn send_to(&mut self, now: Instant, index: u16, header: &IpHeader, mut packet: Packet) {
        let Some(interface) = self.interface(self.neighbors.iface(index)) else { return };
        let link_mtu = interface.mtu;
        let mtu = self.datagram_mtu(now, header, packet.len(), link_mtu);
        if header.header_len() + packet.len() > usize::from(mtu) {
            return self.send_fragments(now, index, header, &packet, mtu);
        }
        let ident = if header.dont_fragment { 0 } else { self.next_ident(header) as u16 };
        if header.prepend(&mut packet, ident) {
            self.forward(now, index, packet);
        } else {
            self.counters.dropped_no_headroom += 1;
        }
    }

    /// How long a packet may be that may be fragmented: what the path is known to carry, if this packet is long enough for
    /// the question to matter.
    #[inline]
    fn datagram_mtu(&self, now: Instant, header: &IpHeader, len: usize, link_mtu: u16) -> u16 {
        if header.dont_fragment || header.header_len() + len <= usize::from(self.path_mtu_min(header.dst)) {
            return link_mtu;
        }
        self.path(now, header.dst.into()).map_or(link_mtu, |path| path.mtu.min(link_mtu))
    }

    /// Sends an IP packet to a neighbour, or lets it wait for it.
    #[inline]
    pub(crate) fn forward(&mut self, now: Instant, index: u16, packet: Packet) {
        match self.neighbors.passage(index, now) {
            Passage::Open => self.enqueue(index, packet),
            Passage::Wait => self.wait(index, packet),
        }
    }

    #[inline]
    fn enqueue(&mut self, index: u16, mut packet: Packet) {
        let Some(link) = self.neighbors.link(index) else { return };
        let iface = self.neighbors.iface(index);
        let Some(interface) = self.interface(iface) else { return };
        if !interface.frame(link, &mut packet) {
            self.counters.dropped_no_headroom += 1;
            return;
        }
        self.enqueue_frame(iface, packet);
    }

    /// Queues a whole frame.
    #[inline]
    pub(crate) fn enqueue_frame(&mut self, iface: IfaceId, frame: Packet) {
        let Some(interface) = self.interfaces.get_mut(usize::from(iface.0)) else { return };
        if interface.enqueue(frame.share()) {
            self.counters.frames_out += 1;
        } else {
            self.counters.dropped_tx_full += 1;
        }
    }

    #[cold]
    fn wait(&mut self, index: u16, packet: Packet) {
        if self.neighbors.wait(index, packet).is_some() {
            self.counters.dropped_unresolved += 1;
        }
    }

    /// Sends what waited for a neighbour that is known now.
    pub(crate) fn release(&mut self, index: u16) {
        while let Some(packet) = self.neighbors.waited(index) {
            self.enqueue(index, packet);
        }
    }

    /// An identification for a datagram that may be fragmented: a count that starts elsewhere for every pair of
    /// addresses, so that nobody learns from his own datagrams how many others there are (RFC 7739).
    pub(crate) fn next_ident(&mut self, header: &IpHeader) -> u32 {
        self.ident = self.ident.wrapping_add(1);
        let mut pair = [0; 32];
        pair[..16].copy_from_slice(&header.src.0.to_be_bytes());
        pair[16..].copy_from_slice(&header.dst.0.to_be_bytes());
        (self.key.hash(&pair) as u32).wrapping_add(self.ident)
    }

    // ---- neighbours ----

    /// Which neighbour a packet to `dst` goes to.
    pub(crate) fn next_hop(&self, dst: IpAddr) -> Result<Key, RouteError> {
        if self.is_local(dst).is_some() {
            return Err(RouteError::Local(dst));
        }
        let is_group = dst.is_multicast() || matches!(dst, IpAddr::V4(v4) if v4.is_broadcast());
        if !is_group && !is_host(dst) {
            return Err(RouteError::NoRoute(dst));
        }
        if let Some(route) = self.routes.lookup(dst) {
            // A group is not behind a gateway.
            let via = if is_group { dst } else { route.gateway.unwrap_or(dst) };
            return Ok(Key { addr: bits(via), iface: route.iface });
        }
        let of_version = || self.addresses().find(|(_, own)| own.addr.is_ipv4() == dst.is_ipv4());
        let any = if is_group { of_version() } else { None };
        any.map(|(iface, _)| Key { addr: bits(dst), iface }).ok_or(RouteError::NoRoute(dst))
    }

    /// The entry of a neighbour, made and asked for if there is none.
    pub(crate) fn neighbor(&mut self, now: Instant, key: Key) -> Option<u16> {
        if let Some(index) = self.neighbors.find_again(key) {
            return Some(index);
        }
        let Some(mac) = self.group_mac(key) else {
            // Asked for first: the question goes to a group, whose entry might displace the one that is being made.
            self.solicit(now, key, None);
            return self.open_neighbor(now, key);
        };
        let index = self.open_neighbor(now, key)?;
        let link = self.link_to(key, mac)?;
        self.neighbors.fix(index, link);
        Some(index)
    }

    /// A new entry, at another's cost if the cache is full.
    pub(crate) fn open_neighbor(&mut self, now: Instant, key: Key) -> Option<u16> {
        let (index, dropped) = self.neighbors.insert(key, now)?;
        self.counters.dropped_unresolved += u64::from(dropped);
        Some(index)
    }

    /// The MAC address of a group, which needs no asking for.
    fn group_mac(&self, key: Key) -> Option<MacAddr> {
        match to_ip(key.addr) {
            IpAddr::V4(v4) if v4.is_multicast() => Some(MacAddr::from_ipv4_multicast(v4)),
            IpAddr::V4(v4) => self.addresses.is_broadcast(key.iface, v4).then_some(MacAddr::BROADCAST),
            IpAddr::V6(v6) => v6.is_multicast().then(|| MacAddr::from_ipv6_multicast(v6)),
        }
    }

    /// The link header of frames to a neighbour at `mac`.
    pub(crate) fn link_to(&self, key: Key, mac: MacAddr) -> Option<LinkHeader> {
        let ethertype = match to_ip(key.addr) {
            IpAddr::V4(_) => EtherType::IPV4,
            IpAddr::V6(_) => EtherType::IPV6,
        };
        Some(self.interface(key.iface)?.link_header(mac, ethertype))
    }

    /// Asks for a neighbour: everybody, or itself at its last known MAC address.
    pub(crate) fn solicit(&mut self, now: Instant, key: Key, at: Option<MacAddr>) {
        self.counters.solicitations_out += 1;
        match to_ip(key.addr) {
            IpAddr::V4(target) => self.send_arp_request(key.iface, target, at),
            IpAddr::V6(target) => self.send_neighbor_solicitation(now, key.iface, target, at),
        }
    }
}

/// The address whose [`bits`](super::address::bits) these are.
pub(crate) fn to_ip(number: u128) -> IpAddr {
    Addr(number).into()
}
