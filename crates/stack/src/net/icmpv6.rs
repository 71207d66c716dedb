//! ICMP for IPv6 (RFC 4443).

use core::net::IpAddr;

use freeway_base::Instant;
use freeway_wire::icmpv6::{Packet, Type, parameter_problem, unreachable};
use freeway_wire::ipv6::ext::{FragmentRepr, Kind};
use freeway_wire::{Protocol, checksum, ipv6};

use super::Net;
use super::inbound::{IcmpKind, Inbound, Ingress, Unreachable};

impl Net {
    #[cold]
    pub(crate) fn icmpv6_input(&mut self, now: Instant, inbound: Inbound) -> Ingress {
        let bytes = inbound.packet.data();
        let valid = inbound.checksum_good
            || checksum::verify_transport(inbound.src, inbound.dst, inbound.protocol, bytes);
        let Some(message) = Packet::new_checked(bytes).ok().filter(|_| valid) else {
            self.counters.dropped_icmp += 1;
            return Ingress::Consumed;
        };
        let error = match message.kind() {
            Type::ECHO_REQUEST if message.code() == 0 => {
                self.answer_echo(now, inbound, [Type::ECHO_REQUEST.0, Type::ECHO_REPLY.0]);
                return Ingress::Consumed;
            }
            kind if kind.is_ndp() => {
                self.ndp_input(now, &inbound);
                return Ingress::Consumed;
            }
            Type::DST_UNREACHABLE => IcmpKind::Unreachable(cause(message.code())),
            Type::PACKET_TOO_BIG => {
                IcmpKind::PacketTooBig { mtu: u16::try_from(message.mtu()).unwrap_or(u16::MAX) }
            }
            Type::TIME_EXCEEDED => IcmpKind::TimeExceeded,
            // Section 3.4: an unknown next header says that the protocol is not spoken there.
            Type::PARAMETER_PROBLEM if message.code() == parameter_problem::NEXT_HEADER => {
                IcmpKind::Unreachable(Unreachable::Protocol)
            }
            Type::PARAMETER_PROBLEM => IcmpKind::ParameterProblem,
            _ => {
                self.counters.ignored_icmp += 1;
                return Ingress::Consumed;
            }
        };
        self.notice(error, quoted(message.payload()))
    }
}

/// Section 3.1.
const fn cause(code: u8) -> Unreachable {
    match code {
        unreachable::NO_ROUTE | unreachable::BEYOND_SCOPE => Unreachable::Network,
        unreachable::PROHIBITED | 5 | 6 => Unreachable::Prohibited,
        unreachable::PORT => Unreachable::Port,
        _ => Unreachable::Host,
    }
}

/// What an error quotes: source, destination, protocol, and the transport's first bytes.
fn quoted(quote: &[u8]) -> Option<(IpAddr, IpAddr, Protocol, &[u8])> {
    let view = ipv6::Packet::new_quoted(quote).ok()?;
    for extension in view.extension_headers() {
        let extension = extension.ok()?;
        match extension.kind {
            Kind::Fragment(FragmentRepr { offset: 1.., .. }) => return None,
            Kind::Upper(protocol) => {
                let transport = quote.get(ipv6::HEADER_LEN + extension.offset..)?;
                return Some((view.src().into(), view.dst().into(), protocol, transport));
            }
            _ => {}
        }
    }
    None
}
