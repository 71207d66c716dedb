//! The way in, IPv6: which packets are for this host, whole, and what their extension headers lead to.

use core::net::{IpAddr, Ipv6Addr};

use freeway_base::Instant;
use freeway_mem::Packet;
use freeway_wire::icmpv6::Type;
use freeway_wire::ipv6::ext::{Action, ExtensionHeaders, FRAGMENT_HEADER_LEN, FragmentRepr, Kind, Options};
use freeway_wire::{Ecn, Error, Protocol, ipv6};

use super::Net;
use super::counters::NetCounters;
use super::icmp::{Complaint, Offender};
use super::inbound::{Inbound, Ingress};
use super::ipv4::refuse;
use super::link::Arrived;
use super::reassembly::{Fragment, Key};
use super::setup::is_host_v6;

/// Where the payload length stands in the header.
const PAYLOAD_LEN_AT: u32 = 4;
/// The shortest transport header: UDP's, and ICMP's.
const TRANSPORT_MIN: usize = 8;
/// All nodes of the link, and of this node's interface (RFC 4291, section 2.7.1).
pub(crate) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_OF_INTERFACE: Ipv6Addr = Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 1);

/// What is read from a header, once.
#[derive(Clone, Copy)]
struct Header {
    src: Ipv6Addr,
    dst: Ipv6Addr,
    next_header: Protocol,
    ecn: Ecn,
    hop_limit: u8,
    total_len: usize,
}

impl Header {
    #[inline]
    fn parse(bytes: &[u8], counters: &mut NetCounters) -> Option<Self> {
        let view = match ipv6::Packet::new_checked(bytes) {
            Ok(view) => view,
            Err(Error::BadVersion) => return refuse(&mut counters.dropped_version),
            Err(_) => return refuse(&mut counters.dropped_length),
        };
        Some(Self {
            src: view.src(),
            dst: view.dst(),
            next_header: view.next_header(),
            ecn: view.ecn(),
            hop_limit: view.hop_limit(),
            total_len: view.total_len(),
        })
    }
}

/// Where a chain of extension headers leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// To a transport, so many bytes into the payload; its number stands at `announced_at` in the packet.
    Upper { protocol: Protocol, offset: usize, announced_at: usize },
    /// To a part of something; the fragment header begins so many bytes into the payload.
    Fragment { fragment: FragmentRepr, offset: usize },
}

/// Why a chain of extension headers leads nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// A header or an option is cut short.
    Malformed,
    /// An option says that a host that does not know it drops the packet.
    Discard,
    /// The same, and the sender is told.
    Report(Complaint),
    /// A source route, which is not followed (RFC 5095).
    SourceRoute(Complaint),
}

/// Walks the extension headers (RFC 8200, section 4). An atomic fragment, which is all of its datagram, is no
/// fragment (RFC 6946).
fn walk(first: Protocol, payload: &[u8]) -> Result<End, Fault> {
    for extension in ExtensionHeaders::new(first, payload) {
        let extension = extension.map_err(|_| Fault::Malformed)?;
        let offset = extension.offset;
        match extension.kind {
            Kind::HopByHop(options) | Kind::Destination(options) => check_options(options)?,
            Kind::Routing(routing) if routing.segments_left == 0 => {}
            Kind::Routing(_) => {
                // Section 4.4: the complaint points at the routing type.
                let pointer = ipv6::HEADER_LEN + offset + 2;
                return Err(Fault::SourceRoute(Complaint::erroneous_field(pointer as u32)));
            }
            Kind::Fragment(FragmentRepr { offset: 0, more: false, .. }) => {}
            Kind::Fragment(fragment) => return Ok(End::Fragment { fragment, offset }),
            Kind::Upper(protocol) => {
                return Ok(End::Upper { protocol, offset, announced_at: extension.announced_at });
            }
        }
    }
    Err(Fault::Malformed)
}

/// No option is known here but padding and the router alert, which a host passes over: the upper bits of the
/// others say what to do (section 4.2).
fn check_options(options: Options<'_>) -> Result<(), Fault> {
    for option in options {
        let option = option.map_err(|_| Fault::Malformed)?;
        let pointer = (ipv6::HEADER_LEN + option.offset) as u32;
        match option.kind.action() {
            Action::Skip => {}
            Action::Discard => return Err(Fault::Discard),
            Action::Report => return Err(Fault::Report(Complaint::unknown_option(pointer, true))),
            Action::ReportUnlessMulticast => {
                return Err(Fault::Report(Complaint::unknown_option(pointer, false)));
            }
        }
    }
    Ok(())
}

/// Whether a packet is an ICMP error, or a fragment other than the first.
pub(crate) fn is_error(packet: &[u8]) -> bool {
    let Ok(view) = ipv6::Packet::new_quoted(packet) else { return true };
    for extension in view.extension_headers().flatten() {
        match extension.kind {
            Kind::Fragment(FragmentRepr { offset: 1.., .. }) => return true,
            Kind::Upper(Protocol::ICMPV6) => {
                // RFC 4443, section 2.4 (e): neither errors nor redirects are complained about.
                let kind = packet.get(ipv6::HEADER_LEN + extension.offset).map(|&kind| Type(kind));
                return kind.is_none_or(|kind| kind.is_error() || kind == Type::REDIRECT);
            }
            _ => {}
        }
    }
    false
}

impl Net {
    #[inline]
    pub(crate) fn ipv6_input(&mut self, now: Instant, arrived: Arrived, mut packet: Packet) -> Ingress {
        let Some(header) = Header::parse(packet.data(), &mut self.counters) else { return Ingress::Consumed };
        let Some(broadcast) = self.is_for_us_v6(&arrived, &header) else { return Ingress::Consumed };
        packet.truncate(header.total_len);
        let inbound = Inbound {
            packet,
            src: IpAddr::V6(header.src),
            dst: IpAddr::V6(header.dst),
            protocol: header.next_header,
            ecn: header.ecn,
            hop_limit: header.hop_limit,
            iface: arrived.iface,
            broadcast,
            checksum_good: arrived.trusted,
            network_header_len: 0,
        };
        // Nearly every packet has no extension header.
        if matches!(header.next_header, Protocol::TCP | Protocol::UDP) {
            return self.ipv6_deliver(now, inbound, header.next_header, ipv6::HEADER_LEN);
        }
        self.ipv6_extended(now, inbound)
    }

    /// RFC 4291, section 2.5 to 2.8: says whether the packet went to more than one host, or nothing if it is not
    /// for this one.
    #[inline]
    fn is_for_us_v6(&mut self, arrived: &Arrived, header: &Header) -> Option<bool> {
        // Only discovery speaks before it has an address.
        let nameless = header.src.is_unspecified() && header.next_header == Protocol::ICMPV6;
        if !is_host_v6(header.src) && !nameless {
            return refuse(&mut self.counters.dropped_martian);
        }
        // An IPv4 address in disguise must not be taken for the one it imitates.
        let to_group = !is_host_v6(header.dst) || self.addresses.find(header.dst.to_bits()).is_none();
        if to_group {
            self.check_group_v6(arrived, header.dst)?;
        } else if arrived.group {
            return refuse(&mut self.counters.dropped_link_broadcast);
        }
        if self.addresses.find(header.src.to_bits()).is_some() {
            return refuse(&mut self.counters.dropped_own_source);
        }
        Some(to_group)
    }

    #[cold]
    fn check_group_v6(&mut self, arrived: &Arrived, dst: Ipv6Addr) -> Option<()> {
        let is_group = dst.is_multicast();
        if !is_group && !is_host_v6(dst) {
            return refuse(&mut self.counters.dropped_martian);
        }
        let joined = dst == ALL_NODES
            || dst == ALL_NODES_OF_INTERFACE
            || is_group && self.addresses.is_solicited(arrived.iface, dst);
        if joined { Some(()) } else { refuse(&mut self.counters.dropped_not_local) }
    }

    /// A packet with extension headers, or of a protocol that is no transport. `inbound.packet` is all of it.
    #[cold]
    fn ipv6_extended(&mut self, now: Instant, inbound: Inbound) -> Ingress {
        let payload = inbound.packet.data().get(ipv6::HEADER_LEN..).unwrap_or_default();
        match walk(inbound.protocol, payload) {
            Ok(End::Upper { protocol, offset, announced_at }) => {
                self.ipv6_upper(now, inbound, protocol, offset, announced_at)
            }
            Ok(End::Fragment { fragment, offset }) => self.ipv6_fragment(now, inbound, fragment, offset),
            Err(fault) => self.ipv6_fault(now, inbound, fault),
        }
    }

    fn ipv6_fault(&mut self, now: Instant, inbound: Inbound, fault: Fault) -> Ingress {
        let complaint = match fault {
            Fault::Malformed | Fault::Discard => {
                self.counters.dropped_options += 1;
                None
            }
            Fault::Report(complaint) => {
                self.counters.dropped_options += 1;
                Some(complaint)
            }
            Fault::SourceRoute(complaint) => {
                self.counters.dropped_source_route += 1;
                Some(complaint)
            }
        };
        if let Some(complaint) = complaint {
            self.complain(now, Offender::from(inbound), complaint);
        }
        Ingress::Consumed
    }

    /// What the headers lead to, `offset` bytes behind the IPv6 header.
    fn ipv6_upper(
        &mut self,
        now: Instant,
        inbound: Inbound,
        protocol: Protocol,
        offset: usize,
        announced_at: usize,
    ) -> Ingress {
        match protocol {
            Protocol::TCP | Protocol::UDP | Protocol::ICMPV6 => {
                self.ipv6_deliver(now, inbound, protocol, ipv6::HEADER_LEN + offset)
            }
            Protocol::NO_NEXT => {
                self.counters.dropped_protocol += 1;
                Ingress::Consumed
            }
            _ => {
                self.counters.dropped_protocol += 1;
                let complaint = Complaint::unknown_next_header(announced_at as u32);
                self.complain(now, Offender::from(inbound), complaint);
                Ingress::Consumed
            }
        }
    }

    #[inline]
    fn ipv6_deliver(
        &mut self,
        now: Instant,
        mut inbound: Inbound,
        protocol: Protocol,
        header_len: usize,
    ) -> Ingress {
        self.counters.ipv6_in += 1;
        inbound.packet.trim_front(header_len);
        inbound.protocol = protocol;
        inbound.network_header_len = header_len as u16;
        if protocol == Protocol::ICMPV6 {
            self.icmpv6_input(now, inbound)
        } else {
            Ingress::Transport(inbound)
        }
    }

    /// Section 4.5: reassembly. `offset` is where the fragment header begins.
    fn ipv6_fragment(
        &mut self,
        now: Instant,
        inbound: Inbound,
        part: FragmentRepr,
        offset: usize,
    ) -> Ingress {
        let start = ipv6::HEADER_LEN + offset + FRAGMENT_HEADER_LEN;
        let packet = inbound.packet.data();
        let (bytes, header) =
            (packet.get(start..).unwrap_or_default(), packet.get(..ipv6::HEADER_LEN).unwrap_or_default());
        if let Some(complaint) = fragment_fault(part, bytes, offset) {
            self.counters.dropped_fragment += 1;
            self.complain(now, Offender::from(inbound), complaint);
            return Ingress::Consumed;
        }
        let fragment = Fragment {
            key: Key {
                src: super::address::bits(inbound.src),
                dst: super::address::bits(inbound.dst),
                ident: part.ident,
                protocol: Protocol::HOP_BY_HOP,
            },
            offset: usize::from(part.offset),
            more: part.more,
            bytes,
            header,
            protocol: part.next_header,
            ecn: inbound.ecn,
            hop_limit: inbound.hop_limit,
        };
        let whole = self.reassembly.insert(now, &fragment, &self.large, &mut self.counters);
        let Some(mut whole) = whole.map(|whole| whole.fitted(&self.pool)) else { return Ingress::Consumed };
        self.counters.reassembled += 1;
        if whole.packet.prepend(usize::from(whole.header_len)).is_none() {
            return Ingress::Consumed;
        }
        let whole = Inbound {
            packet: whole.packet,
            protocol: whole.protocol,
            ecn: whole.ecn,
            hop_limit: whole.hop_limit,
            // A port that vouches for a fragment has not seen the whole.
            checksum_good: false,
            ..inbound
        };
        self.ipv6_reassembled(now, whole)
    }

    /// The rest of the chain, which was inside the fragments. It holds no fragments again.
    fn ipv6_reassembled(&mut self, now: Instant, whole: Inbound) -> Ingress {
        let payload = whole.packet.data().get(ipv6::HEADER_LEN..).unwrap_or_default();
        match walk(whole.protocol, payload) {
            Ok(End::Upper { protocol, offset, announced_at }) => {
                self.ipv6_upper(now, whole, protocol, offset, announced_at)
            }
            Ok(End::Fragment { .. }) => {
                self.counters.dropped_fragment += 1;
                Ingress::Consumed
            }
            Err(fault) => self.ipv6_fault(now, whole, fault),
        }
    }
}

/// What is wrong with a fragment by itself (section 4.5; RFC 7112, section 5).
fn fragment_fault(part: FragmentRepr, bytes: &[u8], offset: usize) -> Option<Complaint> {
    if part.more && !bytes.len().is_multiple_of(8) {
        return Some(Complaint::erroneous_field(PAYLOAD_LEN_AT));
    }
    if usize::from(part.offset) + bytes.len() > usize::from(u16::MAX) {
        return Some(Complaint::erroneous_field((ipv6::HEADER_LEN + offset + 2) as u32));
    }
    let is_first = part.offset == 0;
    let reaches = || match walk(part.next_header, bytes) {
        Ok(End::Upper { protocol, offset, .. }) => {
            protocol == Protocol::NO_NEXT || bytes.len() >= offset + TRANSPORT_MIN
        }
        // Other faults are dealt with when the datagram is whole.
        result => result != Err(Fault::Malformed),
    };
    (is_first && !reaches()).then_some(Complaint::incomplete_chain())
}
