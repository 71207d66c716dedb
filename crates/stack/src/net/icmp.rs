//! What both ICMPs share: complaints about packets, and when not to complain.
//!
//! A complaint is made in the buffer of the packet it is about, which lies where the quotation belongs already:
//!
//! ```text
//!              │ IP header │ payload                    │   the offender
//!   │ IP │ ICMP│ IP header │ payload, cut to the limit │       the complaint
//! ```

use core::net::IpAddr;

use freeway_base::Instant;
use freeway_mem::{Packet, PacketFlags};
use freeway_wire::{Ecn, Protocol, checksum, icmpv4, ipv4, ipv6};

use super::Net;
use super::header::IpHeader;
use super::inbound::Inbound;
use super::output::RouteError;
use super::setup::is_host;

/// Type, code, sum and four bytes that depend on the type (RFC 792; RFC 4443, section 2.1).
pub(crate) const HEADER_LEN: usize = 8;
/// A complaint over IPv4 is at most so long (RFC 1812, section 4.3.2.3).
const LONGEST_V4: usize = 576;
/// One over IPv6 fits every link (RFC 4443, section 2.4 (c)).
const LONGEST_V6: usize = 1_280;

/// A packet that is complained about, from its IP header on.
pub(crate) struct Offender {
    pub(crate) packet: Packet,
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    /// Whether it went to more than one host.
    pub(crate) group: bool,
}

impl From<Inbound> for Offender {
    fn from(inbound: Inbound) -> Self {
        let Inbound { mut packet, src, dst, broadcast, network_header_len, .. } = inbound;
        // The header still lies in the headroom, which was its place.
        if packet.prepend(usize::from(network_header_len)).is_none() {
            packet.truncate(0);
        }
        Self { packet, src, dst, group: broadcast }
    }
}

/// What is said about a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Complaint {
    kind: u8,
    code: u8,
    /// A pointer, or nothing.
    detail: u32,
    /// Whether it may be about a packet to a group (RFC 4443, section 2.4 (e.3)).
    about_groups: bool,
}

impl Complaint {
    const fn new(kind: u8, code: u8, detail: u32) -> Self {
        Self { kind, code, detail, about_groups: false }
    }

    /// Nobody speaks that protocol here. IPv6 says it as a parameter problem.
    pub(crate) const fn protocol_unreachable_v4() -> Self {
        Self::new(3, 2, 0)
    }

    /// Nobody listens on that port.
    pub(crate) const fn port_unreachable(is_v4: bool) -> Self {
        if is_v4 { Self::new(3, 3, 0) } else { Self::new(1, 4, 0) }
    }

    /// The rest of the fragments did not come.
    pub(crate) const fn reassembly_time(is_v4: bool) -> Self {
        if is_v4 { Self::new(11, 1, 0) } else { Self::new(3, 1, 0) }
    }

    /// The IPv6 header field at `pointer` is wrong (RFC 4443, section 3.4, code 0).
    pub(crate) const fn erroneous_field(pointer: u32) -> Self {
        Self::new(4, 0, pointer)
    }

    /// The IPv6 next header named at `pointer` is unknown (code 1).
    pub(crate) const fn unknown_next_header(pointer: u32) -> Self {
        Self::new(4, 1, pointer)
    }

    /// The IPv6 option at `pointer` is unknown (code 2); about groups only if its type says so.
    pub(crate) const fn unknown_option(pointer: u32, about_groups: bool) -> Self {
        Self { about_groups, ..Self::new(4, 2, pointer) }
    }

    /// The IPv6 first fragment does not reach to the transport header (RFC 7112, code 3).
    pub(crate) const fn incomplete_chain() -> Self {
        Self::new(4, 3, 0)
    }
}

impl Net {
    /// Tells the sender of a UDP datagram that nobody listens there; not to groups, not about errors, and not
    /// faster than the rate allows (RFC 1122, section 3.2.2; RFC 4443, section 2.4).
    pub fn port_unreachable(&mut self, now: Instant, inbound: Inbound) {
        let complaint = Complaint::port_unreachable(inbound.src.is_ipv4());
        self.complain(now, Offender::from(inbound), complaint);
    }

    /// Sends a complaint, if the rules and the rate allow it.
    #[cold]
    pub(crate) fn complain(&mut self, now: Instant, offender: Offender, complaint: Complaint) {
        let Offender { packet, src, dst, group } = offender;
        let unfit =
            group && !complaint.about_groups || !is_host(src) || is_error(packet.data()) || packet.is_empty();
        if unfit {
            return;
        }
        if !self.errors.take(now) {
            self.counters.limited_errors += 1;
            return;
        }
        let own = if self.is_local(dst).is_some() { Some(dst) } else { self.source_for(src) };
        let Some(own) = own else { return };
        if self.send_complaint(now, own, src, complaint, packet).is_ok() {
            self.counters.errors_out += 1;
        }
    }

    fn send_complaint(
        &mut self,
        now: Instant,
        own: IpAddr,
        to: IpAddr,
        complaint: Complaint,
        mut packet: Packet,
    ) -> Result<(), RouteError> {
        let (quote_max, protocol) = match to {
            IpAddr::V4(_) => (LONGEST_V4 - ipv4::HEADER_LEN - HEADER_LEN, Protocol::ICMP),
            IpAddr::V6(_) => (LONGEST_V6 - ipv6::HEADER_LEN - HEADER_LEN, Protocol::ICMPV6),
        };
        packet.truncate(quote_max);
        packet.set_flags(PacketFlags::empty());
        let Some(room) = packet.prepend(HEADER_LEN) else {
            self.counters.dropped_no_headroom += 1;
            return Ok(());
        };
        let [a, b, c, d] = match to {
            // IPv4's pointer is the first byte of the four; none is used here.
            IpAddr::V4(_) => [0; 4],
            IpAddr::V6(_) => complaint.detail.to_be_bytes(),
        };
        room.copy_from_slice(&[complaint.kind, complaint.code, 0, 0, a, b, c, d]);
        checksum::fill_transport(own, to, protocol, packet.data_mut());
        self.send_icmp(now, own, to, protocol, packet)
    }

    /// Sends an ICMP message.
    pub(crate) fn send_icmp(
        &mut self,
        now: Instant,
        src: IpAddr,
        dst: IpAddr,
        protocol: Protocol,
        packet: Packet,
    ) -> Result<(), RouteError> {
        let mut hop = self.hop(now, dst).inspect_err(|_| self.counters.dropped_no_route += 1)?;
        let header = IpHeader {
            src: src.into(),
            dst: dst.into(),
            protocol,
            hop_limit: self.config.hop_limit,
            dscp: 0,
            ecn: Ecn::NotEct,
            dont_fragment: false,
        };
        self.send(now, &mut hop, &header, packet);
        Ok(())
    }

    /// Answers an echo request in its own buffer: the type is changed and the sum with it, and the headers go
    /// where the request's were.
    pub(crate) fn answer_echo(&mut self, now: Instant, inbound: Inbound, kinds: [u8; 2]) {
        let Inbound { mut packet, src, dst, protocol, broadcast, .. } = inbound;
        if broadcast {
            self.counters.dropped_echo_group += 1;
            return;
        }
        if !self.echoes.take(now) {
            self.counters.limited_echoes += 1;
            return;
        }
        let [request, reply] = kinds;
        let Some([kind, _, sum_high, sum_low, ..]) = packet.data_mut().first_chunk_mut::<HEADER_LEN>() else {
            return;
        };
        *kind = reply;
        let sum = u16::from_be_bytes([*sum_high, *sum_low]);
        // The type is the upper byte of its word.
        let updated = checksum::update16(sum, u16::from(request) << 8, u16::from(reply) << 8);
        [*sum_high, *sum_low] = updated.to_be_bytes();
        packet.set_flags(PacketFlags::empty());
        if self.send_icmp(now, dst, src, protocol, packet).is_ok() {
            self.counters.echo_replies += 1;
        }
    }
}

/// Whether a packet is an ICMP error itself, or a fragment other than the first: nothing is said about those.
fn is_error(packet: &[u8]) -> bool {
    match packet.first().map(|byte| byte >> 4) {
        Some(ipv4::VERSION) => {
            let Ok(view) = ipv4::Packet::new_quoted(packet) else { return true };
            let is_error = || view.payload().first().is_none_or(|&kind| icmpv4::Type(kind).is_error());
            view.fragment_offset() != 0 || view.protocol() == Protocol::ICMP && is_error()
        }
        Some(ipv6::VERSION) => super::ipv6::is_error(packet),
        _ => true,
    }
}
