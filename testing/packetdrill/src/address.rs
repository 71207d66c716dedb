//! Socket addresses as the bytes of `struct sockaddr_in` and `struct sockaddr_in6`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::errno::{Errno, Result, fail};

/// Bytes of a `sockaddr_in`, and of a `sockaddr_in6`.
const V4_LEN: usize = 16;
const V6_LEN: usize = 28;

/// The family of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    V4,
    V6,
}

/// What the bytes of a `sockaddr` say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Named {
    /// An address; one of IPv4 mapped into IPv6 is given as IPv4.
    Addr(SocketAddr),
    /// `AF_UNSPEC`: no address at all.
    Unspecified,
}

fn family_of(bytes: &[u8]) -> Option<i32> {
    let family = bytes.get(..2)?.try_into().ok()?;
    Some(i32::from(u16::from_ne_bytes(family)))
}

/// Reads an address for a socket of `family`.
///
/// # Errors
///
/// `EINVAL` for too few bytes, `EAFNOSUPPORT` for another family than the socket's.
pub(crate) fn parse(family: Family, bytes: &[u8]) -> Result<Named> {
    let found = family_of(bytes).ok_or(Errno::INVALID)?;
    let port = || bytes.get(2..4).and_then(|port| port.try_into().ok()).map(u16::from_be_bytes);
    match (family, found) {
        (_, libc::AF_UNSPEC) => Ok(Named::Unspecified),
        (Family::V4, libc::AF_INET) if bytes.len() >= V4_LEN => {
            let octets: [u8; 4] = bytes.get(4..8).and_then(|ip| ip.try_into().ok()).ok_or(Errno::INVALID)?;
            let addr = SocketAddr::new(Ipv4Addr::from(octets).into(), port().ok_or(Errno::INVALID)?);
            Ok(Named::Addr(addr))
        }
        (Family::V6, libc::AF_INET6) if bytes.len() >= V6_LEN => {
            let octets: [u8; 16] =
                bytes.get(8..24).and_then(|ip| ip.try_into().ok()).ok_or(Errno::INVALID)?;
            let ip = IpAddr::V6(Ipv6Addr::from(octets)).to_canonical();
            Ok(Named::Addr(SocketAddr::new(ip, port().ok_or(Errno::INVALID)?)))
        }
        (Family::V4, libc::AF_INET) | (Family::V6, libc::AF_INET6) => Err(Errno::INVALID),
        _ => fail(libc::EAFNOSUPPORT),
    }
}

/// The bytes of an address as a socket of `family` shows it: IPv4's mapped where the socket is IPv6's.
pub(crate) fn bytes(family: Family, addr: SocketAddr) -> Vec<u8> {
    let mapped = match (family, addr.ip()) {
        (Family::V6, IpAddr::V4(v4)) => IpAddr::V6(v4.to_ipv6_mapped()),
        (_, ip) => ip,
    };
    let mut bytes;
    match mapped {
        IpAddr::V4(v4) => {
            bytes = vec![0; V4_LEN];
            bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
            bytes[4..8].copy_from_slice(&v4.octets());
        }
        IpAddr::V6(v6) => {
            bytes = vec![0; V6_LEN];
            bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
            bytes[8..24].copy_from_slice(&v6.octets());
        }
    }
    bytes[2..4].copy_from_slice(&addr.port().to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_survive_the_way_there_and_back() {
        for (family, text) in
            [(Family::V4, "192.0.2.1:80"), (Family::V6, "[2001:db8::1]:443"), (Family::V6, "192.0.2.1:8080")]
        {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(parse(family, &bytes(family, addr)), Ok(Named::Addr(addr)), "{text}");
        }
    }

    #[test]
    fn a_mapped_address_is_ipv6_on_an_ipv6_socket() {
        let shown = bytes(Family::V6, "192.0.2.1:1".parse().unwrap());
        assert_eq!(shown.len(), V6_LEN);
        assert_eq!(shown[18..24], [0xff, 0xff, 192, 0, 2, 1]);
    }

    #[test]
    fn other_families_and_short_addresses_are_refused() {
        let v6 = bytes(Family::V6, "[2001:db8::1]:1".parse().unwrap());
        assert_eq!(parse(Family::V4, &v6), fail(libc::EAFNOSUPPORT));
        assert_eq!(parse(Family::V6, &v6[..20]), Err(Errno::INVALID));
        assert_eq!(parse(Family::V4, &[]), Err(Errno::INVALID));
        assert_eq!(parse(Family::V4, &[0; 16]), Ok(Named::Unspecified));
    }
}
