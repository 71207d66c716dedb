//! Ethernet addresses. Those of IP are `core::net`'s.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// An Ethernet (EUI-48) address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// Every station on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// No station; ARP's "not known yet".
    pub const UNSPECIFIED: Self = Self([0; 6]);

    /// The group address that an IPv4 multicast group maps to: 23 bits of it, RFC 1112 section 6.4.
    #[inline]
    pub const fn from_ipv4_multicast(group: Ipv4Addr) -> Self {
        let [_, b, c, d] = group.octets();
        Self([0x01, 0x00, 0x5e, b & 0x7f, c, d])
    }

    /// The group address that an IPv6 multicast group maps to: its last 32 bits, RFC 2464 section 7.
    #[inline]
    pub const fn from_ipv6_multicast(group: Ipv6Addr) -> Self {
        let [.., a, b, c, d] = group.octets();
        Self([0x33, 0x33, a, b, c, d])
    }

    /// Whether this is a group's address; the broadcast address is one.
    #[inline]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 0x01 != 0
    }

    /// Whether this is the broadcast address.
    #[inline]
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }

    /// Whether one station can have this address: neither a group's nor all zeros.
    #[inline]
    pub fn is_unicast(self) -> bool {
        !self.is_multicast() && self != Self::UNSPECIFIED
    }

    /// The interface identifier that stateless address configuration makes of this address: `ff:fe` in the middle
    /// and the universal/local bit inverted, RFC 4291 appendix A.
    pub const fn interface_identifier(self) -> [u8; 8] {
        let [a, b, c, d, e, f] = self.0;
        [a ^ 0x02, b, c, 0xff, 0xfe, d, e, f]
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not six pairs of hexadecimal digits with colons or dashes between them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseMacAddrError;

impl fmt::Display for ParseMacAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an Ethernet address is six pairs of hexadecimal digits, as in 02:00:00:00:00:01")
    }
}

impl core::error::Error for ParseMacAddrError {}

impl FromStr for MacAddr {
    type Err = ParseMacAddrError;

    fn from_str(text: &str) -> Result<Self, ParseMacAddrError> {
        let mut octets = [0; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().ok_or(ParseMacAddrError)?;
            // `from_str_radix` would take a sign.
            if part.len() != 2 || !part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(ParseMacAddrError);
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| ParseMacAddrError)?;
        }
        if parts.next().is_some() { Err(ParseMacAddrError) } else { Ok(Self(octets)) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::string::ToString;

    #[test]
    fn text_there_and_back() {
        let mac: MacAddr = "02:1a:ff:00-0C:9d".parse().unwrap();
        assert_eq!(mac, MacAddr([0x02, 0x1a, 0xff, 0x00, 0x0c, 0x9d]));
        assert_eq!(mac.to_string(), "02:1a:ff:00:0c:9d");
        for wrong in
            ["", "02", "02:00:00:00:00", "02:00:00:00:00:00:00", "+2:00:00:00:00:00", "002:0:0:0:0:0"]
        {
            assert_eq!(wrong.parse::<MacAddr>(), Err(ParseMacAddrError), "{wrong}");
        }
    }

    #[test]
    fn groups_map_to_group_addresses() {
        let mdns = MacAddr::from_ipv4_multicast(Ipv4Addr::new(224, 128, 0, 251));
        assert_eq!(mdns.to_string(), "01:00:5e:00:00:fb");
        let solicited = MacAddr::from_ipv6_multicast("ff02::1:ff12:3456".parse().unwrap());
        assert_eq!(solicited.to_string(), "33:33:ff:12:34:56");
        assert!(mdns.is_multicast() && solicited.is_multicast() && MacAddr::BROADCAST.is_multicast());
        assert!(!mdns.is_unicast() && !MacAddr::UNSPECIFIED.is_unicast());
    }

    #[test]
    fn interface_identifier_inverts_the_local_bit() {
        let mac = MacAddr([0x00, 0x1b, 0x21, 0x3c, 0x4d, 0x5e]);
        assert_eq!(mac.interface_identifier(), [0x02, 0x1b, 0x21, 0xff, 0xfe, 0x3c, 0x4d, 0x5e]);
    }
}
