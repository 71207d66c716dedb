//! Neighbour discovery for IPv6 over Ethernet, RFC 4861.
//!
//! Every message is an ICMPv6 message whose data are fixed fields and then options. What a receiver must check about
//! the packet around it (a hop limit of 255, addresses) is the stack's to check; here it is lengths: an option of
//! length zero or beyond the message makes the whole message invalid (section 6.1 and 7.1).
//!
//! ```text
//!                    4               8                       24                      40
//!  router solicit    | reserved      | options
//!  router advert     |hops|MO|life   | reachable | retrans   | options
//!  neighbor solicit  | reserved      | target                | options
//!  neighbor advert   |RSO            | target                | options
//!  redirect          | reserved      | target                | destination           | options
//! ```

mod messages;
mod options;

use core::net::Ipv6Addr;

use crate::bytes;
use crate::icmpv6::{self, Packet, Type};
use crate::{Error, Result};

pub use messages::{NeighborAdvert, NeighborFlags, NeighborSolicit, Redirect, RouterAdvert, RouterSolicit};
pub use options::{NdpOption, OptionKind, Options, Prefix, Prefixes};

/// The hop limit that proves that a message comes from this link.
pub const HOP_LIMIT: u8 = 255;

/// A message of neighbour discovery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repr<'a> {
    /// Routers, show yourselves.
    RouterSolicit(RouterSolicit),
    /// Here is a router.
    RouterAdvert(RouterAdvert),
    /// Who has this address?
    NeighborSolicit(NeighborSolicit),
    /// I have it.
    NeighborAdvert(NeighborAdvert),
    /// There is a better next hop.
    Redirect(Redirect<'a>),
}

impl<'a> Repr<'a> {
    /// Reads the message; the checksum is not looked at. Options that are not known are passed over.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] when the message is too short for its type, [`Error::BadLength`] for an option's length,
    /// [`Error::BadValue`] for a type that is not neighbour discovery's, a code other than zero, or a target that is a
    /// group.
    pub fn parse<T: AsRef<[u8]>>(packet: &'a Packet<T>) -> Result<Self> {
        packet.check()?;
        if packet.code() != 0 {
            return Err(Error::BadValue);
        }
        Ok(match packet.kind() {
            Type::ROUTER_SOLICIT => Self::RouterSolicit(RouterSolicit::parse(packet)?),
            Type::ROUTER_ADVERT => Self::RouterAdvert(RouterAdvert::parse(packet)?),
            Type::NEIGHBOR_SOLICIT => Self::NeighborSolicit(NeighborSolicit::parse(packet)?),
            Type::NEIGHBOR_ADVERT => Self::NeighborAdvert(NeighborAdvert::parse(packet)?),
            Type::REDIRECT => Self::Redirect(Redirect::parse(packet)?),
            _ => return Err(Error::BadValue),
        })
    }

    /// Bytes that [`emit`](Self::emit) writes.
    pub fn buffer_len(&self) -> usize {
        let data = match self {
            Self::RouterSolicit(message) => message.data_len(),
            Self::RouterAdvert(message) => message.data_len(),
            Self::NeighborSolicit(message) => message.data_len(),
            Self::NeighborAdvert(message) => message.data_len(),
            Self::Redirect(message) => message.data_len(),
        };
        icmpv6::HEADER_LEN + data
    }

    /// Writes the whole ICMPv6 message, with its checksum between these addresses, to the front of `bytes`.
    pub fn emit(&self, src: Ipv6Addr, dst: Ipv6Addr, bytes: &mut [u8]) {
        let Some(bytes) = bytes.get_mut(..self.buffer_len()) else { return };
        let mut packet = Packet::new_unchecked(bytes);
        packet.set_code(0);
        match self {
            Self::RouterSolicit(message) => message.emit(&mut packet),
            Self::RouterAdvert(message) => message.emit(&mut packet),
            Self::NeighborSolicit(message) => message.emit(&mut packet),
            Self::NeighborAdvert(message) => message.emit(&mut packet),
            Self::Redirect(message) => message.emit(&mut packet),
        }
        packet.fill_checksum(src, dst);
    }
}

/// The options of a message whose fixed fields take `fixed` bytes of its data.
fn options_behind(data: &[u8], fixed: usize) -> Result<Options<'_>> {
    data.get(fixed..).map(Options::new).ok_or(Error::Truncated)
}

/// The group that whoever has this address listens to, RFC 4291 section 2.7.1: `ff02::1:ff` and its last 24 bits.
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | a as u16, (b as u16) << 8 | c as u16)
}

/// Writes options one behind the other.
struct Writer<'a> {
    bytes: &'a mut [u8],
}

impl<'a> Writer<'a> {
    fn new(data: &'a mut [u8], fixed: usize) -> Self {
        Self { bytes: bytes::rest_mut(data, fixed) }
    }

    /// The next `len` bytes, zeroed; none if there are not as many.
    fn take(&mut self, len: usize) -> &'a mut [u8] {
        match core::mem::take(&mut self.bytes).split_at_mut_checked(len) {
            Some((taken, rest)) => {
                self.bytes = rest;
                taken.fill(0);
                taken
            }
            None => &mut [],
        }
    }
}
