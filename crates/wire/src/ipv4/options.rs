//! IPv4's options, RFC 791 section 3.1: `kind` alone, or `kind, length, data` with a length that counts all three.

use crate::{Error, Result};

/// What an option is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OptionKind(pub u8);

impl OptionKind {
    /// The end of the options; padding follows.
    pub const END: Self = Self(0);
    /// Nothing, for alignment.
    pub const NOP: Self = Self(1);
    /// Routers write their addresses down.
    pub const RECORD_ROUTE: Self = Self(7);
    /// Routers write down when they saw the packet.
    pub const TIMESTAMP: Self = Self(68);
    /// Loose source route; hosts discard or ignore it (RFC 7126).
    pub const LOOSE_SOURCE_ROUTE: Self = Self(131);
    /// Strict source route; hosts discard or ignore it (RFC 7126).
    pub const STRICT_SOURCE_ROUTE: Self = Self(137);
    /// Routers are to look inside, RFC 2113.
    pub const ROUTER_ALERT: Self = Self(148);
}

/// One option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpOption<'a> {
    /// What it is.
    pub kind: OptionKind,
    /// What follows kind and length.
    pub data: &'a [u8],
}

/// The options of a packet, one after the other, without padding. After an error there are no more.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Options<'a> {
    /// The options in `bytes`.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes not yet walked.
    #[inline]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether every length is right.
    ///
    /// # Errors
    ///
    /// [`Error::BadLength`] when one is not.
    pub fn check(self) -> Result<()> {
        for option in self {
            option?;
        }
        Ok(())
    }

    fn fail(&mut self) -> Result<IpOption<'a>> {
        self.rest = &[];
        Err(Error::BadLength)
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<IpOption<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        while let [kind, after @ ..] = self.rest {
            let kind = OptionKind(*kind);
            match kind {
                OptionKind::END => self.rest = &[],
                OptionKind::NOP => self.rest = after,
                _ => {
                    let [len, ..] = after else { return Some(self.fail()) };
                    let Some((whole, rest)) = self.rest.split_at_checked(usize::from(*len)) else {
                        return Some(self.fail());
                    };
                    let [_, _, data @ ..] = whole else { return Some(self.fail()) };
                    self.rest = rest;
                    return Some(Ok(IpOption { kind, data }));
                }
            }
        }
        None
    }
}
