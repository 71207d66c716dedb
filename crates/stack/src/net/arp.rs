//! ARP: asking for MAC addresses of IPv4 neighbours, answering for our own (RFC 826, RFC 5227).
//!
//! Whoever is on the link can claim anything, so what is heard is believed by what it answers:
//!
//! | of the sender we have | a reply to us | a request for us | any other |
//! |---|---|---|---|
//! | nothing | ignored | learned as stale | ignored |
//! | an incomplete entry | reachable | stale | stale |
//! | an entry in use with another MAC address | the old one is probed, and the entry goes if it is silent |||
//! | a stale entry | reachable | stale, new address | stale, new address |
//!
//! So a stranger cannot take over the address of a neighbour who is there, and a neighbour who has moved is
//! found again within some seconds.

use core::net::{IpAddr, Ipv4Addr};

use freeway_base::{Duration, Instant};
use freeway_mem::Packet;
use freeway_wire::MacAddr;
use freeway_wire::arp::{self, Operation, Repr};
use freeway_wire::ethernet::EtherType;

use super::address::{Use, v4_bits};
use super::inbound::Ingress;
use super::neighbor::{Key, State};
use super::setup::is_host_v4;
use super::{IfaceId, Net};

/// Between two defences of an address (RFC 5227, section 1.1, DEFEND_INTERVAL).
pub(crate) const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// How much what was heard of a neighbour tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    /// An answer to us: it is there, and it hears us.
    Answer,
    /// A question to us: it is there.
    Question,
    /// Something said to others.
    Gossip,
}

impl Net {
    pub(crate) fn arp_input(&mut self, now: Instant, iface: IfaceId, packet: Packet) -> Ingress {
        self.counters.arp_in += 1;
        let repr = arp::Packet::new_checked(packet.data()).and_then(|view| Repr::parse(&view));
        let Ok(repr) = repr else {
            self.counters.dropped_arp += 1;
            return Ingress::Consumed;
        };
        let Some(own_mac) = self.interface(iface).map(|interface| interface.mac) else {
            return Ingress::Consumed;
        };
        let is_probe = repr.sender_ip.is_unspecified();
        // What we said ourselves may come back; what no host can be is not believed.
        if repr.sender_mac == own_mac {
            return Ingress::Consumed;
        }
        let is_host = is_host_v4(repr.sender_ip) && !self.addresses.is_any_broadcast(repr.sender_ip);
        if !repr.sender_mac.is_unicast() || !(is_probe || is_host) {
            self.counters.dropped_arp += 1;
            return Ingress::Consumed;
        }
        if self.arp_conflict(now, iface, &repr, is_probe) {
            return Ingress::Consumed;
        }
        let to_us = self.is_own_v4(iface, repr.target_ip);
        if !is_probe {
            let heard = match repr.operation {
                Operation::REPLY if to_us && repr.target_mac == own_mac => Heard::Answer,
                Operation::REQUEST if to_us => Heard::Question,
                _ => Heard::Gossip,
            };
            let key = Key { addr: v4_bits(repr.sender_ip), iface };
            self.hear(now, key, repr.sender_mac, heard);
        }
        if to_us && repr.operation == Operation::REQUEST && self.config.respond_to_arp {
            let reply = Repr {
                operation: Operation::REPLY,
                sender_mac: own_mac,
                sender_ip: repr.target_ip,
                target_mac: repr.sender_mac,
                target_ip: repr.sender_ip,
            };
            self.send_arp(iface, repr.sender_mac, &reply, packet);
        }
        Ingress::Consumed
    }

    /// Whether somebody else uses, or wants, an address of ours (RFC 5227, sections 2.1.1 and 2.4).
    fn arp_conflict(&mut self, now: Instant, iface: IfaceId, repr: &Repr, is_probe: bool) -> bool {
        let claimed = if is_probe { repr.target_ip } else { repr.sender_ip };
        let Some((index, address)) = self.addresses.lookup(IpAddr::V4(claimed)) else { return false };
        let (usable, defended) = (address.usable, address.defended);
        match usable {
            _ if address.iface != iface => false,
            Use::No => false,
            Use::Tentative => {
                self.counters.address_conflicts += 1;
                self.addresses.set_use(index, Use::No);
                true
            }
            // A probe is answered like any request, which defends the address.
            Use::Yes if is_probe => false,
            Use::Yes => {
                self.counters.address_conflicts += 1;
                if defended.is_none_or(|last| now.since(last) >= DEFEND_INTERVAL) {
                    if let Some(address) = self.addresses.get_mut(index) {
                        address.defended = Some(now);
                    }
                    self.announce_v4(iface, claimed);
                }
                true
            }
        }
    }

    fn is_own_v4(&self, iface: IfaceId, addr: Ipv4Addr) -> bool {
        let index = self.addresses.find(v4_bits(addr));
        index.and_then(|index| self.addresses.get(index)).is_some_and(|address| address.iface == iface)
    }

    /// Takes note of a neighbour at `mac`; see the [table](self). Serves both ARP and NDP.
    pub(crate) fn hear(&mut self, now: Instant, key: Key, mac: MacAddr, heard: Heard) {
        let Some(link) = self.link_to(key, mac) else { return };
        let index = match self.neighbors.find(key) {
            Some(index) => index,
            None if heard == Heard::Question => {
                if let Some(index) = self.open_neighbor(now, key) {
                    self.neighbors.learn(index, link);
                }
                return;
            }
            None => return,
        };
        let same = self.neighbors.mac(index) == Some(mac);
        match (self.neighbors.state(index), heard) {
            (State::Free | State::Permanent, _) => {}
            (State::Incomplete, Heard::Question | Heard::Gossip) => self.neighbors.learn(index, link),
            (State::Reachable, _) if !same => self.neighbors.doubt(index, now),
            (State::Delay | State::Probe, _) if !same => {}
            (_, Heard::Answer) => self.neighbors.confirm(index, link, now),
            (State::Stale, _) if !same => self.neighbors.learn(index, link),
            _ => {}
        }
        self.release(index);
    }

    // ---- what we say ----

    /// Asks who has `target`: everybody, or the station that had it.
    pub(crate) fn send_arp_request(&mut self, iface: IfaceId, target: Ipv4Addr, at: Option<MacAddr>) {
        let Some(IpAddr::V4(source)) = self.addresses.source(iface, IpAddr::V4(target)) else { return };
        self.send_arp_question(iface, source, target, at.unwrap_or(MacAddr::BROADCAST));
    }

    /// Asks whether anybody has `addr`, without claiming it (RFC 5227, section 2.1.1).
    pub(crate) fn probe_v4(&mut self, iface: IfaceId, addr: Ipv4Addr) {
        self.send_arp_question(iface, Ipv4Addr::UNSPECIFIED, addr, MacAddr::BROADCAST);
    }

    /// Says that `addr` is ours (RFC 5227, section 2.3).
    pub(crate) fn announce_v4(&mut self, iface: IfaceId, addr: Ipv4Addr) {
        self.send_arp_question(iface, addr, addr, MacAddr::BROADCAST);
    }

    fn send_arp_question(&mut self, iface: IfaceId, sender_ip: Ipv4Addr, target_ip: Ipv4Addr, to: MacAddr) {
        let Some(sender_mac) = self.interface(iface).map(|interface| interface.mac) else { return };
        let Some(packet) = self.pool.alloc() else {
            self.counters.dropped_no_buffer += 1;
            return;
        };
        let target_mac = MacAddr::UNSPECIFIED;
        let repr = Repr { operation: Operation::REQUEST, sender_mac, sender_ip, target_mac, target_ip };
        self.send_arp(iface, to, &repr, packet);
    }

    /// Sends an ARP packet in the buffer of `packet`.
    fn send_arp(&mut self, iface: IfaceId, to: MacAddr, repr: &Repr, mut packet: Packet) {
        let Some(interface) = self.interface(iface) else { return };
        let link = interface.link_header(to, EtherType::ARP);
        packet.reset();
        let room = packet.append(repr.buffer_len());
        let fits = room.map(|room| repr.emit(room)).is_some() && link.prepend(&mut packet);
        if fits {
            self.enqueue_frame(iface, packet);
        } else {
            self.counters.dropped_no_headroom += 1;
        }
    }
}
