//! Ports of shared addresses, kept from programs of Linux's.
//!
//! A served port is bound by a socket that is never read: a program that would serve it too is told so, and one that
//! serves it already is found out at start. Ports for active opens must lie outside the range that Linux picks from.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use crate::config::{Steering, Transport};
use crate::error::AfxdpError;

const LINUX_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// The sockets. Dropping them frees the ports.
pub(crate) struct Reservation {
    _sockets: Vec<OwnedFd>,
}

impl Reservation {
    pub(crate) fn make(steering: &Steering) -> Result<Self, AfxdpError> {
        let Steering { shared, services, opens, .. } = steering;
        if let (Some(ports), false) = (opens, shared.is_empty()) {
            let text = fs::read_to_string(LINUX_RANGE).unwrap_or_default();
            check(range_of(&text), (*ports.start(), *ports.end()))?;
        }
        let pairs = shared.iter().flat_map(|&addr| services.iter().map(move |&service| (addr, service)));
        let sockets = pairs.map(|(addr, (transport, port))| reserve(addr, transport, port));
        Ok(Self { _sockets: sockets.collect::<Result<_, _>>()? })
    }
}

fn reserve(addr: IpAddr, transport: Transport, port: u16) -> Result<OwnedFd, AfxdpError> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match transport {
        Transport::Tcp => SocketType::STREAM,
        Transport::Udp => SocketType::DGRAM,
    };
    let failed = |errno: Errno| match errno {
        Errno::ADDRINUSE => AfxdpError::PortInUse { addr, port },
        errno => AfxdpError::system("reserve a port of", &addr.to_string(), errno),
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None).map_err(failed)?;
    bind(&socket, &SocketAddr::new(addr, port)).map_err(failed)?;
    Ok(socket)
}

/// First and last port that Linux picks from.
fn range_of(text: &str) -> Option<(u16, u16)> {
    let mut words = text.split_whitespace().map(str::parse);
    Some((words.next()?.ok()?, words.next()?.ok()?))
}

fn check(linux: Option<(u16, u16)>, (first, last): (u16, u16)) -> Result<(), AfxdpError> {
    match linux {
        Some((linux_first, linux_last)) if first <= linux_last && linux_first <= last => {
            Err(AfxdpError::PortsOverlap { linux_first, linux_last, first, last })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn ranges_that_meet_are_refused() {
        assert_eq!(range_of("32768\t60999\n"), Some((32_768, 60_999)));
        assert_eq!(range_of("nonsense"), None);
        assert!(check(Some((32_768, 60_999)), (61_000, 65_535)).is_ok());
        assert!(check(Some((32_768, 61_000)), (61_000, 65_535)).is_err());
        assert!(check(Some((1_024, 65_535)), (61_000, 61_000)).is_err());
        assert!(check(None, (61_000, 65_535)).is_ok());
    }

    #[test]
    fn a_port_that_is_taken_is_found_out() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let localhost = "127.0.0.1".parse().unwrap();
        let refused = reserve(localhost, Transport::Tcp, port);
        assert!(matches!(refused, Err(AfxdpError::PortInUse { .. })), "{refused:?}");
        drop(taken);
        drop(reserve(localhost, Transport::Udp, 0).unwrap());
    }
}
