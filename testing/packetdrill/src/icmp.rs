//! What ICMP errors say of a connection: Linux's errno for each, and the connection they quote.
//!
//! The stack acts on such errors by itself, by RFC 5927 and RFC 9293; what it reports is whether a connection was
//! refused, not by what. Linux's sockets show the difference, so the socket layer looks at these packets too.

use std::net::{IpAddr, SocketAddr};

use freeway_wire::{Protocol, icmpv4, icmpv6, ipv4, ipv6};

use crate::errno::Errno;

/// An ICMP error about a packet of the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Report {
    /// The quoted packet's transport.
    pub(crate) protocol: Protocol,
    /// Where the quoted packet came from: this host.
    pub(crate) local: SocketAddr,
    /// Where it was going.
    pub(crate) remote: SocketAddr,
    /// The quoted sequence number, with TCP.
    pub(crate) seq: u32,
    /// What Linux makes of it.
    pub(crate) errno: Errno,
    /// Whether it concerns only the packet's size.
    pub(crate) too_big: bool,
}

/// Reads a packet that arrives for the stack, if it is an ICMP error.
pub(crate) fn report(packet: &[u8]) -> Option<Report> {
    match packet.first()? >> 4 {
        4 => {
            let outer = ipv4::Packet::new_checked(packet).ok()?;
            (outer.protocol() == Protocol::ICMP).then_some(())?;
            let message = icmpv4::Packet::new_checked(outer.payload()).ok()?;
            let errno = errno_v4(message.kind().0, message.code())?;
            let quoted = message.payload();
            let inner = ipv4::Packet::new_quoted(quoted).ok()?;
            let transport = quoted.get(inner.header_len()..)?;
            let addresses = (inner.src().into(), inner.dst().into());
            quote(inner.protocol(), addresses, transport, errno)
        }
        6 => {
            let outer = ipv6::Packet::new_checked(packet).ok()?;
            (outer.next_header() == Protocol::ICMPV6).then_some(())?;
            let message = icmpv6::Packet::new_checked(outer.payload()).ok()?;
            let errno = errno_v6(message.kind().0, message.code())?;
            let quoted = message.payload();
            let inner = ipv6::Packet::new_quoted(quoted).ok()?;
            let transport = quoted.get(ipv6::HEADER_LEN..)?;
            let addresses = (inner.src().into(), inner.dst().into());
            quote(inner.next_header(), addresses, transport, errno)
        }
        _ => None,
    }
}

fn quote(protocol: Protocol, (src, dst): (IpAddr, IpAddr), bytes: &[u8], errno: i32) -> Option<Report> {
    let word = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let seq = bytes.get(4..8).and_then(|seq| seq.try_into().ok()).map_or(0, u32::from_be_bytes);
    Some(Report {
        protocol,
        local: SocketAddr::new(src, word(0)?),
        remote: SocketAddr::new(dst, word(2)?),
        seq,
        errno: Errno(errno),
        too_big: errno == libc::EMSGSIZE,
    })
}

/// Type and code of ICMPv4 (RFC 792, RFC 1122, RFC 1812).
const fn errno_v4(kind: u8, code: u8) -> Option<i32> {
    Some(match (kind, code) {
        (3, 0 | 6 | 9 | 11) => libc::ENETUNREACH,
        (3, 1 | 10 | 12..=15) => libc::EHOSTUNREACH,
        (3, 2) => libc::ENOPROTOOPT,
        (3, 3) => libc::ECONNREFUSED,
        (3, 4) => libc::EMSGSIZE,
        (3, 5) => libc::EOPNOTSUPP,
        (3, 7) => libc::EHOSTDOWN,
        (3, 8) => libc::ENONET,
        (11, _) => libc::EHOSTUNREACH,
        (12, _) => libc::EPROTO,
        _ => return None,
    })
}

/// Type and code of ICMPv6 (RFC 4443).
const fn errno_v6(kind: u8, code: u8) -> Option<i32> {
    Some(match (kind, code) {
        (1, 0) => libc::ENETUNREACH,
        (1, 1 | 5 | 6) => libc::EACCES,
        (1, 2 | 3) => libc::EHOSTUNREACH,
        (1, 4) => libc::ECONNREFUSED,
        (2, _) => libc::EMSGSIZE,
        (3, _) => libc::EHOSTUNREACH,
        (4, _) => libc::EPROTO,
        _ => return None,
    })
}
