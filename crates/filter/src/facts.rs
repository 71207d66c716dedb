//! What tests ask of a frame, read from it once.

use core::net::{IpAddr, Ipv4Addr};

use freeway_wire::ethernet::{EtherType, Frame};
use freeway_wire::ipv6::ext::{ExtensionHeaders, Kind};
use freeway_wire::{MacAddr, Protocol, arp, ipv4, ipv6, vlan};

/// Tags that are looked through; a service provider's may stand before the customer's.
const TAGS: usize = 2;

/// What a frame's headers say, as far as it has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Bytes of the whole frame.
    pub len: usize,
    /// The station it goes to.
    pub dst_mac: MacAddr,
    /// The station it comes from.
    pub src_mac: MacAddr,
    /// VLANs, the outer one first.
    pub vlans: [Option<u16>; TAGS],
    /// What follows the tags.
    pub ethertype: EtherType,
    /// Source and destination of IP; who is asking and who is asked for in ARP.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// What IP carries, behind extension headers.
    pub protocol: Option<Protocol>,
    /// Source and destination port of TCP or UDP.
    pub ports: Option<(u16, u16)>,
    /// TCP's flags.
    pub tcp_flags: Option<u8>,
}

impl Facts {
    /// Reads `frame`; one that is shorter than an Ethernet header says nothing but its length.
    pub fn of(frame: &[u8]) -> Self {
        let mut facts = Self {
            len: frame.len(),
            dst_mac: MacAddr([0; 6]),
            src_mac: MacAddr([0; 6]),
            vlans: [None; TAGS],
            ethertype: EtherType(0),
            addresses: None,
            protocol: None,
            ports: None,
            tcp_flags: None,
        };
        let Ok(view) = Frame::new_checked(frame) else { return facts };
        (facts.dst_mac, facts.src_mac, facts.ethertype) = (view.dst(), view.src(), view.ethertype());
        let mut payload = view.payload();
        for place in &mut facts.vlans {
            if !matches!(facts.ethertype, EtherType::VLAN | EtherType::QINQ) {
                break;
            }
            let Some((tag, rest)) = payload.split_at_checked(vlan::HEADER_LEN) else { return facts };
            let tag = vlan::Tag::new_unchecked(tag);
            *place = Some(tag.vid());
            (facts.ethertype, payload) = (tag.ethertype(), rest);
        }
        // What is cut short ends the reading; what was read stays.
        let _ = match facts.ethertype {
            EtherType::ARP => facts.read_arp(payload),
            EtherType::IPV4 => facts.read_ipv4(payload),
            EtherType::IPV6 => facts.read_ipv6(payload),
            _ => None,
        };
        facts
    }

    fn read_arp(&mut self, bytes: &[u8]) -> Option<()> {
        let view = arp::Packet::new_checked(bytes).ok()?;
        let version4 = |addr: Ipv4Addr| IpAddr::V4(addr);
        self.addresses = Some((version4(view.sender_ip()), version4(view.target_ip())));
        Some(())
    }

    fn read_ipv4(&mut self, bytes: &[u8]) -> Option<()> {
        let view = ipv4::Packet::new_quoted(bytes).ok()?;
        self.addresses = Some((view.src().into(), view.dst().into()));
        self.protocol = Some(view.protocol());
        if view.fragment_offset() == 0 {
            self.read_transport(view.protocol(), bytes.get(view.header_len()..)?);
        }
        Some(())
    }

    fn read_ipv6(&mut self, bytes: &[u8]) -> Option<()> {
        let view = ipv6::Packet::new_quoted(bytes).ok()?;
        self.addresses = Some((view.src().into(), view.dst().into()));
        self.protocol = Some(view.next_header());
        let payload = bytes.get(ipv6::HEADER_LEN..)?;
        let mut is_first = true;
        for extension in ExtensionHeaders::new(view.next_header(), payload) {
            let extension = extension.ok()?;
            match extension.kind {
                Kind::Fragment(fragment) => is_first = fragment.offset == 0,
                Kind::Upper(protocol) => {
                    self.protocol = Some(protocol);
                    if is_first {
                        self.read_transport(protocol, payload.get(extension.offset..)?);
                    }
                }
                Kind::HopByHop(_) | Kind::Routing(_) | Kind::Destination(_) => {}
            }
        }
        Some(())
    }

    fn read_transport(&mut self, protocol: Protocol, bytes: &[u8]) {
        /// Where TCP's flags stand (RFC 9293, section 3.1).
        const FLAGS: usize = 13;
        if !matches!(protocol, Protocol::TCP | Protocol::UDP) {
            return;
        }
        self.ports = bytes
            .first_chunk::<4>()
            .map(|&[a, b, c, d]| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])));
        if protocol == Protocol::TCP {
            self.tcp_flags = bytes.get(FLAGS).copied();
        }
    }
}
