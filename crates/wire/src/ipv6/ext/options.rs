//! Options in hop-by-hop and destination headers, RFC 8200 section 4.2: `kind` alone (Pad1), or `kind, length, data`
//! with a length that counts the data.

use crate::{Error, Result};

/// What an option is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OptionKind(pub u8);

impl OptionKind {
    /// One byte of padding.
    pub const PAD1: Self = Self(0x00);
    /// Two or more bytes of padding.
    pub const PADN: Self = Self(0x01);
    /// Routers are to look inside, RFC 2711.
    pub const ROUTER_ALERT: Self = Self(0x05);
    /// A payload longer than 65,535 bytes, RFC 2675.
    pub const JUMBO: Self = Self(0xc2);

    /// What to do if this kind is not known: its upper two bits.
    #[inline]
    pub const fn action(self) -> Action {
        match self.0 >> 6 {
            0b00 => Action::Skip,
            0b01 => Action::Discard,
            0b10 => Action::Report,
            _ => Action::ReportUnlessMulticast,
        }
    }

    /// Whether routers may change the data: the third bit.
    #[inline]
    pub const fn may_change(self) -> bool {
        self.0 & 0x20 != 0
    }
}

/// What to do with a packet that has an option that is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Pass over the option.
    Skip,
    /// Discard the packet and say nothing.
    Discard,
    /// Discard the packet and send a Parameter Problem of code 2, even if it was sent to a group.
    Report,
    /// Discard the packet and send a Parameter Problem of code 2, unless it was sent to a group.
    ReportUnlessMulticast,
}

/// One option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv6Option<'a> {
    /// What it is.
    pub kind: OptionKind,
    /// Where it begins, in bytes from the start of the IPv6 header's payload.
    pub offset: usize,
    /// What follows kind and length.
    pub data: &'a [u8],
}

/// The options of a header, one after the other, without padding. After an error there are no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Options<'a> {
    /// The options in `bytes`, which begin `offset` bytes into the IPv6 header's payload.
    #[inline]
    pub const fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self { rest: bytes, offset }
    }

    /// The bytes not yet walked.
    #[inline]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    fn advance(&mut self, rest: &'a [u8]) {
        self.offset += self.rest.len() - rest.len();
        self.rest = rest;
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<Ipv6Option<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        while let [kind, after @ ..] = self.rest {
            let (kind, offset) = (OptionKind(*kind), self.offset);
            if kind == OptionKind::PAD1 {
                self.advance(after);
                continue;
            }
            let split = after.split_first().and_then(|(len, rest)| rest.split_at_checked(usize::from(*len)));
            let Some((data, rest)) = split else {
                self.rest = &[];
                return Some(Err(Error::BadLength));
            };
            self.advance(rest);
            if kind != OptionKind::PADN {
                return Some(Ok(Ipv6Option { kind, offset, data }));
            }
        }
        None
    }
}
