//! Neighbour discovery: asking for MAC addresses of IPv6 neighbours, answering for our own (RFC 4861, RFC 4862).
//!
//! What is heard is believed as with ARP, by [`Net::hear`](super::arp): a neighbour that is there cannot be
//! displaced by a stranger's advertisement, override flag or not; it is asked instead.

use core::net::{IpAddr, Ipv6Addr};

use freeway_base::Instant;
use freeway_wire::icmpv6::Packet as IcmpPacket;
use freeway_wire::ndp::{HOP_LIMIT, NeighborAdvert, NeighborFlags, NeighborSolicit, Repr, solicited_node};
use freeway_wire::{Ecn, MacAddr, Protocol};

use super::address::Use;
use super::arp::{DEFEND_INTERVAL, Heard};
use super::header::IpHeader;
use super::inbound::Inbound;
use super::ipv6::ALL_NODES;
use super::neighbor::{Key, State};
use super::setup::is_host_v6;
use super::{IfaceId, Net};

impl Net {
    /// A discovery message; its checksum is right.
    pub(crate) fn ndp_input(&mut self, now: Instant, inbound: &Inbound) {
        let (IpAddr::V6(src), IpAddr::V6(dst)) = (inbound.src, inbound.dst) else { return };
        let view = IcmpPacket::new_unchecked(inbound.packet.data());
        // Sections 6.1 and 7.1: a hop limit of 255 shows that no router passed the message on.
        let Some(message) = Repr::parse(&view).ok().filter(|_| inbound.hop_limit == HOP_LIMIT) else {
            self.counters.dropped_ndp += 1;
            return;
        };
        let valid = match message {
            Repr::NeighborSolicit(solicit) => self.neighbor_solicited(now, inbound.iface, src, dst, &solicit),
            Repr::NeighborAdvert(advert) => self.neighbor_advertised(now, inbound.iface, dst, &advert),
            Repr::RouterAdvert(advert) => self.router_advertised(now, inbound.iface, src, &advert),
            // A host follows no redirects here (see ICMP for IPv4), and is no router to be solicited.
            Repr::Redirect(_) => {
                self.counters.ignored_redirects += 1;
                return;
            }
            Repr::RouterSolicit(_) => {
                self.counters.ignored_icmp += 1;
                return;
            }
        };
        *(if valid { &mut self.counters.ndp_in } else { &mut self.counters.dropped_ndp }) += 1;
    }

    /// Section 7.2.3 and 7.2.4. False if the message is invalid (7.1.1).
    fn neighbor_solicited(
        &mut self,
        now: Instant,
        iface: IfaceId,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        solicit: &NeighborSolicit,
    ) -> bool {
        let nameless = src.is_unspecified();
        let target = solicit.target;
        if !is_host_v6(target)
            || nameless && (dst != solicited_node(target) || solicit.source_lladdr.is_some())
        {
            return false;
        }
        let Some((index, address)) = self.addresses.lookup(IpAddr::V6(target)) else { return true };
        if address.iface != iface {
            return true;
        }
        match address.usable {
            // Somebody else is about to take the address that we are about to take (RFC 4862, section 5.4.3).
            Use::Tentative if nameless => self.lose_address(index),
            Use::Tentative | Use::No => {}
            Use::Yes => {
                if let Some(mac) = solicit.source_lladdr.filter(|mac| mac.is_unicast()) {
                    self.hear(now, Key { addr: src.to_bits(), iface }, mac, Heard::Question);
                }
                if self.config.respond_to_arp {
                    let (to, flags) = if nameless {
                        (ALL_NODES, NeighborFlags::OVERRIDE)
                    } else {
                        (src, NeighborFlags::OVERRIDE | NeighborFlags::SOLICITED)
                    };
                    self.advertise(now, iface, target, to, flags);
                }
            }
        }
        true
    }

    /// Section 7.2.5. False if the message is invalid (7.1.2).
    fn neighbor_advertised(
        &mut self,
        now: Instant,
        iface: IfaceId,
        dst: Ipv6Addr,
        advert: &NeighborAdvert,
    ) -> bool {
        let solicited = advert.flags.contains(NeighborFlags::SOLICITED);
        if !is_host_v6(advert.target) || dst.is_multicast() && solicited {
            return false;
        }
        if let Some((index, address)) = self.addresses.lookup(IpAddr::V6(advert.target))
            && address.iface == iface
        {
            match address.usable {
                Use::Tentative => self.lose_address(index),
                Use::Yes => self.defend_v6(now, iface, index, advert.target),
                Use::No => {}
            }
            return true;
        }
        let key = Key { addr: advert.target.to_bits(), iface };
        let Some(index) = self.neighbors.find(key) else { return true };
        let known = self.neighbors.mac(index);
        let Some(mac) = advert.target_lladdr.or(known).filter(|mac| mac.is_unicast()) else { return true };
        let weak = !advert.flags.contains(NeighborFlags::OVERRIDE);
        if weak && known.is_some_and(|known| known != mac) {
            if self.neighbors.state(index) == State::Reachable {
                self.neighbors.doubt(index, now);
            }
            return true;
        }
        self.hear(now, key, mac, if solicited { Heard::Answer } else { Heard::Gossip });
        true
    }

    /// An address turned out to be another's.
    fn lose_address(&mut self, index: u16) {
        self.counters.address_conflicts += 1;
        self.addresses.set_use(index, Use::No);
    }

    /// Somebody claims an address of ours: say that it is ours, but not in a quarrel without end.
    fn defend_v6(&mut self, now: Instant, iface: IfaceId, index: u16, addr: Ipv6Addr) {
        self.counters.address_conflicts += 1;
        let Some(address) = self.addresses.get_mut(index) else { return };
        if address.defended.is_none_or(|last| now.since(last) >= DEFEND_INTERVAL) {
            address.defended = Some(now);
            self.announce_v6(now, iface, addr);
        }
    }

    // ---- what we say ----

    /// Asks for `target`: its solicited-node group, or the station that had it.
    pub(crate) fn send_neighbor_solicitation(
        &mut self,
        now: Instant,
        iface: IfaceId,
        target: Ipv6Addr,
        at: Option<MacAddr>,
    ) {
        let Some(IpAddr::V6(source)) = self.addresses.source(iface, IpAddr::V6(target)) else { return };
        let source_lladdr = self.interface(iface).map(|interface| interface.mac);
        let solicit = Repr::NeighborSolicit(NeighborSolicit { target, source_lladdr });
        let to = if at.is_some() { target } else { solicited_node(target) };
        self.send_ndp(now, iface, source, to, &solicit);
    }

    /// Asks whether anybody has `addr`, without claiming it (RFC 4862, section 5.4.2).
    pub(crate) fn probe_v6(&mut self, now: Instant, iface: IfaceId, addr: Ipv6Addr) {
        let solicit = Repr::NeighborSolicit(NeighborSolicit { target: addr, source_lladdr: None });
        self.send_ndp(now, iface, Ipv6Addr::UNSPECIFIED, solicited_node(addr), &solicit);
    }

    /// Says that `addr` is ours (section 7.2.6).
    pub(crate) fn announce_v6(&mut self, now: Instant, iface: IfaceId, addr: Ipv6Addr) {
        self.advertise(now, iface, addr, ALL_NODES, NeighborFlags::OVERRIDE);
    }

    fn advertise(
        &mut self,
        now: Instant,
        iface: IfaceId,
        target: Ipv6Addr,
        to: Ipv6Addr,
        flags: NeighborFlags,
    ) {
        let target_lladdr = self.interface(iface).map(|interface| interface.mac);
        let advert = Repr::NeighborAdvert(NeighborAdvert { flags, target, target_lladdr });
        self.send_ndp(now, iface, target, to, &advert);
    }

    /// Sends a discovery message on the link.
    pub(crate) fn send_ndp(
        &mut self,
        now: Instant,
        iface: IfaceId,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        message: &Repr<'_>,
    ) {
        let Some(index) = self.neighbor(now, Key { addr: dst.to_bits(), iface }) else { return };
        let Some(mut packet) = self.pool.alloc() else {
            self.counters.dropped_no_buffer += 1;
            return;
        };
        let Some(room) = packet.append(message.buffer_len()) else { return };
        message.emit(src, dst, room);
        let header = IpHeader {
            src: IpAddr::V6(src).into(),
            dst: IpAddr::V6(dst).into(),
            protocol: Protocol::ICMPV6,
            hop_limit: HOP_LIMIT,
            dscp: 0,
            ecn: Ecn::NotEct,
            dont_fragment: true,
        };
        self.send_to(now, index, &header, packet);
    }
}
