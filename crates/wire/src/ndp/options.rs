//! Options of neighbour discovery, RFC 4861 section 4.6: `kind, length in 8 B, data`, the length counting all three.

use core::net::Ipv6Addr;

use super::Writer;
use crate::bytes::{self, Octets, U8, U16, U32};
use crate::{Error, MacAddr, Result};

/// The unit in which options count their length.
const UNIT: usize = 8;

/// Bytes of an option that holds an Ethernet address.
pub(super) const LLADDR_LEN: usize = 8;

/// Bytes of an MTU option.
pub(super) const MTU_LEN: usize = 8;

/// Bytes of a prefix option.
const PREFIX_LEN: usize = 32;

/// Bytes before the packet in a redirected-header option.
const REDIRECTED_HEAD_LEN: usize = 8;

/// Where fields lie in an option, from its kind on.
mod field {
    use super::{Octets, U8, U16, U32};

    pub const KIND: U8 = U8(0);
    pub const UNITS: U8 = U8(1);
    pub const LLADDR: Octets<6> = Octets(2);
    pub const MTU_RESERVED: U16 = U16(2);
    pub const MTU: U32 = U32(4);
    pub const PREFIX_LEN: U8 = U8(2);
    pub const PREFIX_FLAGS: U8 = U8(3);
    pub const VALID_LIFETIME: U32 = U32(4);
    pub const PREFERRED_LIFETIME: U32 = U32(8);
    pub const PREFIX: Octets<16> = Octets(16);

    pub const ON_LINK: u8 = 0x80;
    pub const AUTONOMOUS: u8 = 0x40;
}

/// What an option is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OptionKind(pub u8);

impl OptionKind {
    /// The sender's Ethernet address.
    pub const SOURCE_LLADDR: Self = Self(1);
    /// The target's Ethernet address.
    pub const TARGET_LLADDR: Self = Self(2);
    /// A prefix of the link.
    pub const PREFIX: Self = Self(3);
    /// The packet that led to a redirect.
    pub const REDIRECTED_HEADER: Self = Self(4);
    /// The link's MTU.
    pub const MTU: Self = Self(5);
}

/// One option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NdpOption<'a> {
    /// What it is.
    pub kind: OptionKind,
    /// All of it, kind and length included: a multiple of eight bytes.
    bytes: &'a [u8],
}

impl<'a> NdpOption<'a> {
    /// What follows kind and length.
    #[inline]
    pub fn data(&self) -> &'a [u8] {
        bytes::rest(self.bytes, 2)
    }

    /// The Ethernet address of a link-layer address option; `None` for an address of another length.
    pub(super) fn lladdr(&self) -> Option<MacAddr> {
        (self.bytes.len() == LLADDR_LEN).then(|| MacAddr(field::LLADDR.get(self.bytes)))
    }

    /// The MTU of an MTU option.
    pub(super) fn mtu(&self) -> Option<u32> {
        (self.bytes.len() == MTU_LEN).then(|| field::MTU.get(self.bytes))
    }

    /// The prefix of a prefix option.
    pub(super) fn prefix(&self) -> Option<Prefix> {
        (self.bytes.len() == PREFIX_LEN).then(|| Prefix::read(self.bytes))
    }

    /// The packet in a redirected-header option, with the padding behind it.
    pub(super) fn redirected(&self) -> &'a [u8] {
        bytes::rest(self.bytes, REDIRECTED_HEAD_LEN)
    }
}

/// The options of a message, one after the other. After an error there are no more.
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
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<NdpOption<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let len = usize::from(field::UNITS.get(self.rest)) * UNIT;
        match self.rest.split_at_checked(len) {
            Some((bytes, rest)) if len > 0 => {
                self.rest = rest;
                Some(Ok(NdpOption { kind: OptionKind(field::KIND.get(bytes)), bytes }))
            }
            _ => {
                self.rest = &[];
                Some(Err(Error::BadLength))
            }
        }
    }
}

/// A prefix of the link, RFC 4861 section 4.6.2 and RFC 4862 section 5.5.3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    /// The prefix. Bits behind `len` mean nothing.
    pub address: Ipv6Addr,
    /// Bits of the prefix, 0 to 128 if the router is sane.
    pub len: u8,
    /// Addresses of this prefix are neighbours.
    pub on_link: bool,
    /// Hosts may make themselves addresses of this prefix.
    pub autonomous: bool,
    /// Seconds for which the prefix is valid; all ones for ever.
    pub valid_lifetime: u32,
    /// Seconds for which addresses of this prefix are preferred; all ones for ever.
    pub preferred_lifetime: u32,
}

impl Prefix {
    fn read(option: &[u8]) -> Self {
        let flags = field::PREFIX_FLAGS.get(option);
        Self {
            address: field::PREFIX.get(option).into(),
            len: field::PREFIX_LEN.get(option),
            on_link: flags & field::ON_LINK != 0,
            autonomous: flags & field::AUTONOMOUS != 0,
            valid_lifetime: field::VALID_LIFETIME.get(option),
            preferred_lifetime: field::PREFERRED_LIFETIME.get(option),
        }
    }

    fn write(&self, option: &mut [u8]) {
        let Self { address, len, on_link, autonomous, valid_lifetime, preferred_lifetime } = *self;
        let flags = if on_link { field::ON_LINK } else { 0 } | if autonomous { field::AUTONOMOUS } else { 0 };
        field::PREFIX_LEN.set(option, len);
        field::PREFIX_FLAGS.set(option, flags);
        field::VALID_LIFETIME.set(option, valid_lifetime);
        field::PREFERRED_LIFETIME.set(option, preferred_lifetime);
        field::PREFIX.set(option, address.octets());
    }
}

/// Prefixes of one router advertisement that are remembered.
const PREFIXES_MAX: usize = 8;

/// The prefixes of a router advertisement: the first eight, more than any link has.
#[derive(Clone, Copy)]
pub struct Prefixes {
    prefixes: [Prefix; PREFIXES_MAX],
    len: u8,
}

impl Prefixes {
    const UNUSED: Prefix = Prefix {
        address: Ipv6Addr::UNSPECIFIED,
        len: 0,
        on_link: false,
        autonomous: false,
        valid_lifetime: 0,
        preferred_lifetime: 0,
    };

    /// No prefix.
    pub const NONE: Self = Self { prefixes: [Self::UNUSED; PREFIXES_MAX], len: 0 };

    /// The prefixes, in the order of the message.
    pub fn as_slice(&self) -> &[Prefix] {
        self.prefixes.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// Appends a prefix; false, and nothing is changed, when there are eight.
    pub fn push(&mut self, prefix: Prefix) -> bool {
        match self.prefixes.get_mut(usize::from(self.len)) {
            Some(place) => {
                *place = prefix;
                self.len += 1;
                true
            }
            None => false,
        }
    }

    /// Bytes of the options.
    pub(super) fn options_len(&self) -> usize {
        self.as_slice().len() * PREFIX_LEN
    }
}

impl Default for Prefixes {
    fn default() -> Self {
        Self::NONE
    }
}

/// Only prefixes that are there count.
impl PartialEq for Prefixes {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Prefixes {}

impl core::fmt::Debug for Prefixes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

/// Bytes of a redirected-header option for a packet of `len` bytes.
pub(super) const fn redirected_len(len: usize) -> usize {
    (REDIRECTED_HEAD_LEN + len).next_multiple_of(UNIT)
}

/// Bytes of an optional link-layer address option.
pub(super) const fn lladdr_len(lladdr: Option<MacAddr>) -> usize {
    if lladdr.is_some() { LLADDR_LEN } else { 0 }
}

impl Writer<'_> {
    fn option(&mut self, kind: OptionKind, len: usize) -> &mut [u8] {
        let option = self.take(len);
        field::KIND.set(option, kind.0);
        field::UNITS.set(option, (len / UNIT) as u8);
        option
    }

    /// Writes a link-layer address, if there is one.
    pub(super) fn lladdr(&mut self, kind: OptionKind, lladdr: Option<MacAddr>) {
        if let Some(lladdr) = lladdr {
            field::LLADDR.set(self.option(kind, LLADDR_LEN), lladdr.0);
        }
    }

    /// Writes an MTU, if there is one.
    pub(super) fn mtu(&mut self, mtu: Option<u32>) {
        if let Some(mtu) = mtu {
            let option = self.option(OptionKind::MTU, MTU_LEN);
            field::MTU_RESERVED.set(option, 0);
            field::MTU.set(option, mtu);
        }
    }

    /// Writes prefixes.
    pub(super) fn prefixes(&mut self, prefixes: &Prefixes) {
        for prefix in prefixes.as_slice() {
            prefix.write(self.option(OptionKind::PREFIX, PREFIX_LEN));
        }
    }

    /// Writes the packet that led to a redirect, if there is one.
    pub(super) fn redirected(&mut self, packet: &[u8]) {
        if !packet.is_empty() {
            let option = self.option(OptionKind::REDIRECTED_HEADER, redirected_len(packet.len()));
            bytes::put(bytes::rest_mut(option, REDIRECTED_HEAD_LEN), packet);
        }
    }
}
