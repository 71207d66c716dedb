//! The few words of rtnetlink that an interface needs: ask about it, bring it up, give it an address.
//!
//! A message is a header, a body of its type, and attributes, all in the byte order of the machine, each attribute
//! filled up to four bytes:
//!
//! ```text
//!   0        4      6       8       12       16
//!   │ length │ type │ flags │ number│ port 0 │ body: ifinfomsg (16) or ifaddrmsg (8) │ attributes …
//!
//!   ifinfomsg   │ family │ 0 │ type (16) │ index (32) │ flags (32) │ change mask (32) │
//!   ifaddrmsg   │ family │ prefix length │ flags │ scope │ index (32) │
//!   attribute   │ length (16) │ type (16) │ value … │ fill │
//! ```
//!
//! Requests are made of bytes and answers read as bytes, so nothing here is unsafe. Sources: netlink(7),
//! rtnetlink(7), linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
};

const HEADER_LEN: usize = 16;
const LINK_BODY_LEN: usize = 16;
const ADDRESS_BODY_LEN: usize = 8;
/// More than the kernel puts into one datagram.
const ANSWER_MAX: usize = 64 << 10;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;

const NLM_F_REQUEST: u16 = 0x01;
const NLM_F_ACK: u16 = 0x04;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CREATE: u16 = 0x400;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

const IFF_UP: u32 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// An interface as the kernel describes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) is_up: bool,
    pub(crate) mtu: u32,
    pub(crate) mac: [u8; 6],
}

/// A conversation with the kernel about interfaces of this thread's network namespace.
pub(crate) struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    pub(crate) fn open() -> io::Result<Self> {
        // No protocol is protocol 0: NETLINK_ROUTE.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        connect(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self { socket })
    }

    /// The interface `name`.
    pub(crate) fn link(&self, name: &str) -> io::Result<Link> {
        let mut request = Message::new(RTM_GETLINK, 0, &[0; LINK_BODY_LEN]);
        // The name ends with a zero.
        request.attribute(IFLA_IFNAME, &[name.as_bytes(), &[0]].concat());
        let answer = self.ask(request)?;
        parse_link(&answer).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// The addresses of interface `index`, each with the length of its prefix in bits.
    pub(crate) fn addresses(&self, index: u32) -> io::Result<Vec<(IpAddr, u8)>> {
        self.send(Message::new(RTM_GETADDR, NLM_F_DUMP, &[0; ADDRESS_BODY_LEN]))?;
        let mut addresses = Vec::new();
        loop {
            let answer = self.receive()?;
            for message in messages(&answer) {
                match kind_of(message) {
                    Some(NLMSG_DONE) => return Ok(addresses),
                    Some(NLMSG_ERROR) => return Err(error_in(message)),
                    _ => addresses.extend(parse_address(message, index)),
                }
            }
        }
    }

    /// Sets the MTU of interface `index`, in bytes.
    pub(crate) fn set_mtu(&self, index: u32, mtu: u16) -> io::Result<()> {
        let mut request = Message::new(RTM_NEWLINK, NLM_F_ACK, &link_body(index, 0, 0));
        request.attribute(IFLA_MTU, &u32::from(mtu).to_ne_bytes());
        self.command(request)
    }

    /// Brings interface `index` up.
    pub(crate) fn bring_up(&self, index: u32) -> io::Result<()> {
        self.command(Message::new(RTM_NEWLINK, NLM_F_ACK, &link_body(index, IFF_UP, IFF_UP)))
    }

    /// Gives interface `index` an address; one that it has already is no error.
    pub(crate) fn add_address(&self, index: u32, addr: IpAddr, prefix_len: u8) -> io::Result<()> {
        let (family, bytes) = match addr {
            IpAddr::V4(v4) => (AF_INET, v4.octets().to_vec()),
            IpAddr::V6(v6) => (AF_INET6, v6.octets().to_vec()),
        };
        let [a, b, c, d] = index.to_ne_bytes();
        let body = [family, prefix_len, 0, 0, a, b, c, d];
        let mut request = Message::new(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, &body);
        request.attribute(IFA_LOCAL, &bytes);
        request.attribute(IFA_ADDRESS, &bytes);
        self.command(request)
    }

    /// Sends a request that is answered by whether it was fulfilled.
    fn command(&self, request: Message) -> io::Result<()> {
        self.ask(request).map(drop)
    }

    /// Sends a request and returns the one message that answers it.
    fn ask(&self, request: Message) -> io::Result<Vec<u8>> {
        self.send(request)?;
        let answer = self.receive()?;
        if kind_of(&answer) == Some(NLMSG_ERROR) && u32_at(&answer, HEADER_LEN) != Some(0) {
            return Err(error_in(&answer));
        }
        Ok(answer)
    }

    fn send(&self, request: Message) -> io::Result<()> {
        send(&self.socket, &request.finish(), SendFlags::empty())?;
        Ok(())
    }

    fn receive(&self) -> io::Result<Vec<u8>> {
        let mut answer = vec![0; ANSWER_MAX];
        let (len, _) = recv(&self.socket, answer.as_mut_slice(), RecvFlags::empty())?;
        answer.truncate(len);
        Ok(answer)
    }
}

/// A request in the making.
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: u16, body: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
        bytes.extend_from_slice(body);
        Self { bytes }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let len = (4 + value.len()) as u16;
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        let len = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&len.to_ne_bytes());
        self.bytes
    }
}

fn link_body(index: u32, flags: u32, change: u32) -> [u8; LINK_BODY_LEN] {
    let mut body = [0; LINK_BODY_LEN];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8..12].copy_from_slice(&flags.to_ne_bytes());
    body[12..].copy_from_slice(&change.to_ne_bytes());
    body
}

/// The messages of an answer.
fn messages(mut answer: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let len = u32_at(answer, 0)? as usize;
        let message = answer.get(..len).filter(|message| message.len() >= HEADER_LEN)?;
        answer = answer.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    })
}

fn kind_of(message: &[u8]) -> Option<u16> {
    u16_at(message, 4)
}

/// The error that a message of that kind reports: a number below zero.
fn error_in(message: &[u8]) -> io::Error {
    match u32_at(message, HEADER_LEN) {
        Some(code) => io::Error::from_raw_os_error((code as i32).wrapping_neg()),
        None => io::ErrorKind::InvalidData.into(),
    }
}

/// The attributes behind a message's header and body, each with its kind.
fn attributes(message: &[u8], body_len: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = message.get(HEADER_LEN + body_len..).unwrap_or(&[]);
    std::iter::from_fn(move || {
        let (len, kind) = (usize::from(u16_at(rest, 0)?), u16_at(rest, 2)?);
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

fn parse_link(message: &[u8]) -> Option<Link> {
    if kind_of(message)? != RTM_NEWLINK {
        return None;
    }
    let is_up = u32_at(message, HEADER_LEN + 8)? & IFF_UP != 0;
    let mut link = Link { index: u32_at(message, HEADER_LEN + 4)?, is_up, ..Link::default() };
    for (kind, value) in attributes(message, LINK_BODY_LEN) {
        match kind {
            IFLA_ADDRESS => link.mac = value.try_into().ok()?,
            IFLA_MTU => link.mtu = u32_at(value, 0)?,
            _ => {}
        }
    }
    Some(link)
}

/// The address that `message` reports, if it is one of interface `index`.
fn parse_address(message: &[u8], index: u32) -> Option<(IpAddr, u8)> {
    if kind_of(message)? != RTM_NEWADDR || u32_at(message, HEADER_LEN + 4)? != index {
        return None;
    }
    // IPv4 reports its own address as local (the other may be a peer's); IPv6 mostly has one alone.
    let find = |wanted| attributes(message, ADDRESS_BODY_LEN).find(|&(kind, _)| kind == wanted);
    let (_, value) = find(IFA_LOCAL).or_else(|| find(IFA_ADDRESS))?;
    let v4 = <[u8; 4]>::try_from(value).map(|octets| Ipv4Addr::from(octets).into());
    let addr =
        v4.or_else(|_| <[u8; 16]>::try_from(value).map(|octets| Ipv6Addr::from(octets).into())).ok()?;
    Some((addr, *message.get(HEADER_LEN + 1)?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_loopback_interface_describes_itself() {
        let netlink = Netlink::open().unwrap();
        let link = netlink.link("lo").unwrap();
        assert_eq!((link.mac, link.index), ([0; 6], 1));
        assert!(link.mtu >= 1_500);
        let addresses = netlink.addresses(link.index).unwrap();
        assert!(!link.is_up || addresses.contains(&(Ipv4Addr::LOCALHOST.into(), 8)), "{addresses:?}");
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error_with_the_kernels_number() {
        let error = Netlink::open().unwrap().link("no-such-device").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::NODEV.raw_os_error()));
    }

    #[test]
    fn answers_that_are_cut_short_are_refused() {
        let whole = {
            let mut message = Message::new(RTM_NEWLINK, 0, &link_body(7, IFF_UP, 0));
            message.attribute(IFLA_IFNAME, b"tap\0");
            message.attribute(IFLA_ADDRESS, &[1, 2, 3, 4, 5, 6]);
            message.attribute(IFLA_MTU, &1_400_u32.to_ne_bytes());
            message.finish()
        };
        assert_eq!(
            parse_link(&whole),
            Some(Link { index: 7, is_up: true, mtu: 1_400, mac: [1, 2, 3, 4, 5, 6] })
        );
        for len in 0..whole.len() {
            assert_eq!(messages(&whole[..len]).count(), 0);
            let cut = parse_link(&whole[..len]);
            assert!(cut.is_none_or(|link| link.mtu == 0), "cut to {len} bytes: {cut:?}");
        }
    }
}
