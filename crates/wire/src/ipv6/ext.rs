//! IPv6's extension headers, RFC 8200 section 4.
//!
//! ```text
//!  0               1               2               3
//! +---------------+---------------+-------------------------------+
//! |  next header  | length in 8 B,|  hop-by-hop and destination: options
//! |               | less the first|  routing: type, segments left, data
//! +---------------+---------------+-------------------------------+
//! ```
//!
//! The fragment header is always eight bytes and has no length ([`FragmentRepr`]). Headers of other kinds
//! (authentication, mobility, ...) are not walked: they come out as the upper layer's protocol, which nobody serves.

mod fragment;
mod options;

use super::NEXT_HEADER_OFFSET;
use crate::bytes;
use crate::{Error, Protocol, Result};

pub use fragment::{FRAGMENT_HEADER_LEN, FragmentRepr};
pub use options::{Action, Ipv6Option, OptionKind, Options};

/// The unit in which extension headers count their length.
const UNIT: usize = 8;

/// A routing header. Type 0 must be refused (RFC 5095); with no segments left every type is passed over
/// (RFC 8200 section 4.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Routing<'a> {
    /// Which kind of routing header.
    pub kind: u8,
    /// Nodes still to be visited.
    pub segments_left: u8,
    /// What follows.
    pub data: &'a [u8],
}

/// What an extension header is, or what the last one leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind<'a> {
    /// Options for every node on the way.
    HopByHop(Options<'a>),
    /// Nodes to be visited.
    Routing(Routing<'a>),
    /// A part of a packet. If its offset is not zero, the walk ends: behind it lies the middle of something.
    Fragment(FragmentRepr),
    /// Options for the destination.
    Destination(Options<'a>),
    /// The end of the walk: what the headers lead to. [`Protocol::NO_NEXT`] if they lead nowhere, and
    /// [`Protocol::HOP_BY_HOP`] when those options stand elsewhere than first, where they are as unknown as any other
    /// protocol (RFC 8200 section 4.1).
    Upper(Protocol),
}

/// A step of the walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extension<'a> {
    /// What stands here.
    pub kind: Kind<'a>,
    /// Where it begins, in bytes from the start of the IPv6 header's payload.
    pub offset: usize,
    /// Where the Next Header field lies that announced it, in bytes from the start of the IPv6 header: what a
    /// Parameter Problem of code 1 points at.
    pub announced_at: usize,
}

/// A walk over the extension headers of a packet. Its last step is [`Kind::Upper`], unless a header is cut short:
/// then it is an error.
#[derive(Clone, Debug)]
pub struct ExtensionHeaders<'a> {
    payload: &'a [u8],
    offset: usize,
    announced_at: usize,
    next: Next,
}

/// What the walk comes to.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// A header.
    Header(Protocol),
    /// No header, whatever the number says: a fragment that is not the first.
    Upper(Protocol),
    /// Nothing.
    End,
}

impl<'a> ExtensionHeaders<'a> {
    /// A walk over the payload of an IPv6 header, which begins with `first`.
    #[inline]
    pub const fn new(first: Protocol, payload: &'a [u8]) -> Self {
        Self { payload, offset: 0, announced_at: NEXT_HEADER_OFFSET, next: Next::Header(first) }
    }

    #[inline]
    fn step(&mut self, header: Protocol) -> Result<Extension<'a>> {
        let rest = bytes::rest(self.payload, self.offset);
        let is_first = self.offset == 0;
        let (kind, len) = match header {
            Protocol::HOP_BY_HOP if is_first => {
                let body = body(rest)?;
                (Kind::HopByHop(Options::new(body, self.offset + 2)), body.len() + 2)
            }
            Protocol::DESTINATION => {
                let body = body(rest)?;
                (Kind::Destination(Options::new(body, self.offset + 2)), body.len() + 2)
            }
            Protocol::ROUTING => {
                let body = body(rest)?;
                let [kind, segments_left, data @ ..] = body else { return Err(Error::Truncated) };
                let routing = Routing { kind: *kind, segments_left: *segments_left, data };
                (Kind::Routing(routing), body.len() + 2)
            }
            Protocol::FRAGMENT => (Kind::Fragment(FragmentRepr::parse(rest)?), FRAGMENT_HEADER_LEN),
            upper => return Ok(self.last(upper)),
        };
        let extension = Extension { kind, offset: self.offset, announced_at: self.announced_at };
        let follows = Protocol(rest.first().copied().unwrap_or(Protocol::NO_NEXT.0));
        self.next = match kind {
            Kind::Fragment(FragmentRepr { offset: 1.., .. }) => Next::Upper(follows),
            _ => Next::Header(follows),
        };
        self.announced_at = super::HEADER_LEN + self.offset;
        self.offset += len;
        Ok(extension)
    }

    #[inline]
    fn last(&mut self, upper: Protocol) -> Extension<'a> {
        self.next = Next::End;
        Extension { kind: Kind::Upper(upper), offset: self.offset, announced_at: self.announced_at }
    }
}

impl<'a> Iterator for ExtensionHeaders<'a> {
    type Item = Result<Extension<'a>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.next {
            Next::Header(header) => {
                let step = self.step(header);
                if step.is_err() {
                    self.next = Next::End;
                }
                Some(step)
            }
            Next::Upper(upper) => Some(Ok(self.last(upper))),
            Next::End => None,
        }
    }
}

/// What stands behind the first two bytes of a header that counts its length.
#[inline]
fn body(bytes: &[u8]) -> Result<&[u8]> {
    let [_, units, ..] = bytes else { return Err(Error::Truncated) };
    bytes.get(2..UNIT + usize::from(*units) * UNIT).ok_or(Error::Truncated)
}
