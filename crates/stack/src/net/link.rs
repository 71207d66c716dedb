//! The way in, first step: which frames are meant for this host.

use freeway_base::Instant;
use freeway_mem::{Packet, PacketFlags};
use freeway_wire::MacAddr;
use freeway_wire::ethernet::{EtherType, Frame};
use freeway_wire::ndp::solicited_node;

use super::inbound::Ingress;
use super::interface::{PLAIN_LEN, TAGGED_LEN};
use super::{IfaceId, Net};

/// What the link says of an IP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Arrived {
    pub(crate) iface: IfaceId,
    /// Whether its frame was sent to more than one station.
    pub(crate) group: bool,
    /// Whether its checksums need no look.
    pub(crate) trusted: bool,
}

impl Net {
    /// Carries a frame up to the transports.
    #[inline]
    pub fn classify(&mut self, now: Instant, iface: IfaceId, mut packet: Packet) -> Ingress {
        self.counters.frames_in += 1;
        let Some(interface) = self.interfaces.get(usize::from(iface.0)) else {
            self.counters.dropped_no_interface += 1;
            return Ingress::Consumed;
        };
        let Ok(frame) = Frame::new_checked(packet.data()) else {
            self.counters.dropped_truncated += 1;
            return Ingress::Consumed;
        };
        let (dst, mut ethertype) = (frame.dst(), frame.ethertype());
        let trusted = interface.trusted || packet.flags().contains(PacketFlags::CHECKSUM_GOOD);
        let (mac, vlan) = (interface.mac, interface.vlan);
        let mut header_len = PLAIN_LEN;
        if vlan.is_some() || ethertype == EtherType::VLAN {
            let Some(inner) = self.untag(vlan, packet.data()) else { return Ingress::Consumed };
            (ethertype, header_len) = (inner, TAGGED_LEN);
        }
        let group = dst != mac;
        if group && !self.is_group(iface, dst) {
            self.counters.dropped_other_mac += 1;
            return Ingress::Consumed;
        }
        packet.trim_front(header_len);
        let arrived = Arrived { iface, group, trusted };
        match ethertype {
            EtherType::IPV4 => self.ipv4_input(now, arrived, packet),
            EtherType::IPV6 => self.ipv6_input(now, arrived, packet),
            EtherType::ARP => self.arp_input(now, iface, packet),
            _ => {
                self.counters.dropped_ethertype += 1;
                Ingress::Consumed
            }
        }
    }

    /// The type of what a tagged frame holds, if its tag is the interface's. Number 0 is no VLAN but a mere
    /// priority, which every interface takes (IEEE 802.1Q, 9.6).
    #[cold]
    fn untag(&mut self, vlan: Option<u16>, frame: &[u8]) -> Option<EtherType> {
        let tag = frame.get(PLAIN_LEN..).and_then(|bytes| freeway_wire::vlan::Tag::new_checked(bytes).ok());
        let tagged = frame.get(12..14) == Some(&EtherType::VLAN.0.to_be_bytes());
        match tag {
            Some(tag) if tagged && (Some(tag.vid()) == vlan || vlan.is_none() && tag.vid() == 0) => {
                Some(tag.ethertype())
            }
            None if tagged => {
                self.counters.dropped_truncated += 1;
                None
            }
            _ => {
                self.counters.dropped_vlan += 1;
                None
            }
        }
    }

    /// Whether `mac` is a group that this host is in: everybody, all hosts of IPv4 and all nodes of IPv6, the
    /// solicited-node groups of its own addresses.
    fn is_group(&self, iface: IfaceId, mac: MacAddr) -> bool {
        match mac.0 {
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] | [0x01, 0x00, 0x5e, 0, 0, 1] | [0x33, 0x33, 0, 0, 0, 1] => {
                true
            }
            [0x33, 0x33, 0xff, a, b, c] => {
                let low = u128::from(u32::from_be_bytes([0, a, b, c]));
                self.addresses.is_solicited(iface, solicited_node(low.into()))
            }
            _ => false,
        }
    }
}
