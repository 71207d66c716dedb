//! The two versions of IP, and who is who in each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use freeway_wire::{MacAddr, Protocol, ethernet::EtherType};

/// The host's hardware address.
pub(crate) const HOST_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
/// Everybody else's.
pub(crate) const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
/// A station that nobody is.
const NOBODYS_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

/// Which IP a scenario runs over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Version {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Version {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// As scenarios write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    /// The host's address of this version with that number in its network.
    const fn on_link(self, number: u8) -> IpAddr {
        match self {
            Self::Ipv4 => IpAddr::V4(Ipv4Addr::new(198, 18, 0, number)),
            Self::Ipv6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number as u16)),
        }
    }

    /// The host's address.
    pub(crate) const fn host(self) -> IpAddr {
        self.on_link(2)
    }

    /// The host's other address.
    pub(crate) const fn second(self) -> IpAddr {
        self.on_link(3)
    }

    /// The peer's address.
    pub(crate) const fn peer(self) -> IpAddr {
        self.on_link(1)
    }

    /// The address that a scenario calls `word`.
    pub(crate) fn address(self, word: &str) -> Result<IpAddr, String> {
        let pair = |v4: Ipv4Addr, v6: Ipv6Addr| match self {
            Self::Ipv4 => IpAddr::V4(v4),
            Self::Ipv6 => IpAddr::V6(v6),
        };
        let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        Ok(match word {
            "peer" => self.peer(),
            "host" => self.host(),
            "second" => self.second(),
            "stranger" => self.on_link(7),
            "nobody" => self.on_link(9),
            "broadcast" => pair(Ipv4Addr::new(198, 18, 0, 255), all_nodes),
            "everybody" => pair(Ipv4Addr::BROADCAST, all_nodes),
            "group" => pair(Ipv4Addr::new(224, 0, 0, 1), all_nodes),
            "loopback" => pair(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
            "unspecified" => pair(Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED),
            literal => literal.parse().map_err(|_| format!("'{literal}' is no address known here"))?,
        })
    }

    pub(crate) const fn ethertype(self) -> EtherType {
        match self {
            Self::Ipv4 => EtherType::IPV4,
            Self::Ipv6 => EtherType::IPV6,
        }
    }

    pub(crate) const fn icmp(self) -> Protocol {
        match self {
            Self::Ipv4 => Protocol::ICMP,
            Self::Ipv6 => Protocol::ICMPV6,
        }
    }
}

/// The hardware address that a scenario calls `word`.
pub(crate) fn mac(word: &str) -> Result<MacAddr, String> {
    Ok(match word {
        "host" => HOST_MAC,
        "broadcast" => MacAddr::BROADCAST,
        "group" => MacAddr([1, 0, 0x5e, 0, 0, 1]),
        "nobody" => NOBODYS_MAC,
        _ => return Err(format!("'{word}' is no station: host, broadcast, group or nobody")),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_addresses_of_the_version() {
        for version in Version::ALL {
            for word in ["peer", "host", "second", "stranger", "nobody", "group", "loopback", "unspecified"] {
                let address = version.address(word).unwrap();
                assert_eq!(address.is_ipv4(), version == Version::Ipv4, "{word}");
            }
        }
        assert_eq!(Version::Ipv6.address("198.18.0.1").unwrap(), Version::Ipv4.peer());
        assert!(Version::Ipv4.address("somebody").is_err());
    }
}
