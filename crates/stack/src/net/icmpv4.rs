//! ICMP for IPv4 (RFC 792; RFC 1122, section 3.2.2).

use freeway_base::Instant;
use freeway_wire::checksum;
use freeway_wire::icmpv4::{Packet, Type, unreachable};

use super::Net;
use super::inbound::{IcmpKind, Inbound, Ingress, Unreachable};
use super::quote::{path_mtu_v4, quoted_v4};

impl Net {
    #[cold]
    pub(crate) fn icmpv4_input(&mut self, now: Instant, inbound: Inbound) -> Ingress {
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
            // A host need not follow redirects, and a stranger on the link could send them.
            Type::REDIRECT => {
                self.counters.ignored_redirects += 1;
                return Ingress::Consumed;
            }
            Type::DST_UNREACHABLE if message.code() == unreachable::FRAGMENTATION_NEEDED => {
                let least = self.config.path_mtu_min_v4;
                IcmpKind::PacketTooBig { mtu: path_mtu_v4(message.next_mtu(), message.payload(), least) }
            }
            Type::DST_UNREACHABLE => IcmpKind::Unreachable(cause(message.code())),
            Type::TIME_EXCEEDED => IcmpKind::TimeExceeded,
            Type::PARAMETER_PROBLEM => IcmpKind::ParameterProblem,
            // Source quench among them (RFC 6633).
            _ => {
                self.counters.ignored_icmp += 1;
                return Ingress::Consumed;
            }
        };
        self.notice(error, quoted_v4(message.payload()))
    }
}

/// RFC 792 and RFC 1122, section 3.2.2.1.
const fn cause(code: u8) -> Unreachable {
    match code {
        unreachable::NET | 6 | 11 => Unreachable::Network,
        unreachable::PROTOCOL => Unreachable::Protocol,
        unreachable::PORT => Unreachable::Port,
        9 | 10 | unreachable::PROHIBITED => Unreachable::Prohibited,
        _ => Unreachable::Host,
    }
}
