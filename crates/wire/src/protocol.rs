//! Numbers that both IP versions share: the protocol above and the congestion mark.

use core::fmt;

/// IPv4's Protocol and IPv6's Next Header (IANA's "Protocol Numbers").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u8);

impl Protocol {
    /// IPv6 hop-by-hop options, RFC 8200 section 4.3.
    pub const HOP_BY_HOP: Self = Self(0);
    /// ICMP for IPv4, RFC 792.
    pub const ICMP: Self = Self(1);
    /// TCP, RFC 9293.
    pub const TCP: Self = Self(6);
    /// UDP, RFC 768.
    pub const UDP: Self = Self(17);
    /// IPv6 routing header, RFC 8200 section 4.4.
    pub const ROUTING: Self = Self(43);
    /// IPv6 fragment header, RFC 8200 section 4.5.
    pub const FRAGMENT: Self = Self(44);
    /// ICMP for IPv6, RFC 4443.
    pub const ICMPV6: Self = Self(58);
    /// Nothing follows, RFC 8200 section 4.7.
    pub const NO_NEXT: Self = Self(59);
    /// IPv6 destination options, RFC 8200 section 4.6.
    pub const DESTINATION: Self = Self(60);
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::HOP_BY_HOP => "hop-by-hop",
            Self::ICMP => "icmp",
            Self::TCP => "tcp",
            Self::UDP => "udp",
            Self::ROUTING => "routing",
            Self::FRAGMENT => "fragment",
            Self::ICMPV6 => "icmpv6",
            Self::NO_NEXT => "no-next-header",
            Self::DESTINATION => "destination",
            Self(number) => return write!(f, "protocol {number}"),
        })
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Explicit congestion notification: the lower two bits of the traffic class, RFC 3168 section 5.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum Ecn {
    /// The sender does not understand ECN.
    #[default]
    NotEct = 0b00,
    /// ECN-capable, codepoint 1.
    Ect1 = 0b01,
    /// ECN-capable, codepoint 0: what TCP sends.
    Ect0 = 0b10,
    /// Congestion experienced: a router marked the packet in place of dropping it.
    Ce = 0b11,
}

impl Ecn {
    /// The codepoint in the lower two bits of `bits`; the upper six do not matter.
    #[inline]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0b00 => Self::NotEct,
            0b01 => Self::Ect1,
            0b10 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// The codepoint as two bits.
    #[inline]
    pub const fn bits(self) -> u8 {
        self as u8
    }
}

/// The traffic class: DSCP in the upper six bits (RFC 2474), ECN in the lower two.
#[inline]
pub(crate) const fn traffic_class(dscp: u8, ecn: Ecn) -> u8 {
    dscp << 2 | ecn.bits()
}
