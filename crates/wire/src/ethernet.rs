//! Ethernet II frames, IEEE 802.3 with an EtherType.
//!
//! ```text
//!  0               6               12      14
//! +---------------+---------------+-------+---------
//! | destination   | source        | type  | payload
//! +---------------+---------------+-------+---------
//! ```
//!
//! The frame check sequence never reaches software. A payload shorter than 46 bytes is followed by padding, which
//! is why the length in the IP header counts and not the frame's.

use core::fmt;

use crate::bytes::{self, Octets, U16};
use crate::{Error, MacAddr, Result, vlan};

/// Bytes of the header.
pub const HEADER_LEN: usize = 14;

mod field {
    use super::{Octets, U16};

    pub const DST: Octets<6> = Octets(0);
    pub const SRC: Octets<6> = Octets(6);
    pub const ETHERTYPE: U16 = U16(12);
}

/// What a frame carries (IANA's "IEEE 802 Numbers"). Below 0x0600 it is a length of IEEE 802.3 instead.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4.
    pub const IPV4: Self = Self(0x0800);
    /// ARP.
    pub const ARP: Self = Self(0x0806);
    /// A customer's VLAN tag, IEEE 802.1Q.
    pub const VLAN: Self = Self(0x8100);
    /// IPv6.
    pub const IPV6: Self = Self(0x86dd);
    /// A provider's VLAN tag, IEEE 802.1ad.
    pub const QINQ: Self = Self(0x88a8);
}

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::IPV4 => "ipv4",
            Self::ARP => "arp",
            Self::VLAN => "vlan",
            Self::IPV6 => "ipv6",
            Self::QINQ => "qinq",
            Self(number) => return write!(f, "ethertype {number:#06x}"),
        })
    }
}

impl fmt::Debug for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A view of an Ethernet frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<T: AsRef<[u8]>> {
    bytes: T,
}

impl<T: AsRef<[u8]>> Frame<T> {
    /// A view without any check: fields that are not there read as zero.
    #[inline]
    pub const fn new_unchecked(bytes: T) -> Self {
        Self { bytes }
    }

    /// A view of bytes that hold a whole header.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] when they do not.
    #[inline]
    pub fn new_checked(bytes: T) -> Result<Self> {
        if bytes.as_ref().len() < HEADER_LEN {
            return Err(Error::Truncated);
        }
        Ok(Self { bytes })
    }

    /// The bytes again.
    #[inline]
    pub fn into_inner(self) -> T {
        self.bytes
    }

    /// To whom.
    #[inline]
    pub fn dst(&self) -> MacAddr {
        MacAddr(field::DST.get(self.bytes.as_ref()))
    }

    /// From whom.
    #[inline]
    pub fn src(&self) -> MacAddr {
        MacAddr(field::SRC.get(self.bytes.as_ref()))
    }

    /// What the payload is.
    #[inline]
    pub fn ethertype(&self) -> EtherType {
        EtherType(field::ETHERTYPE.get(self.bytes.as_ref()))
    }

    /// Everything behind the header, padding included.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        bytes::rest(self.bytes.as_ref(), HEADER_LEN)
    }

    /// What lies behind the header and up to two VLAN tags (a service provider's may stand before the customer's), and
    /// what it is; `None` when a tag is cut off.
    #[inline]
    pub fn untagged(&self) -> Option<(EtherType, &[u8])> {
        let (mut ethertype, mut payload) = (self.ethertype(), self.payload());
        for _ in 0..2 {
            if !matches!(ethertype, EtherType::VLAN | EtherType::QINQ) {
                break;
            }
            let (tag, rest) = payload.split_at_checked(vlan::HEADER_LEN)?;
            (ethertype, payload) = (vlan::Tag::new_unchecked(tag).ethertype(), rest);
        }
        Some((ethertype, payload))
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Frame<T> {
    /// Writes to whom.
    #[inline]
    pub fn set_dst(&mut self, dst: MacAddr) {
        field::DST.set(self.bytes.as_mut(), dst.0);
    }

    /// Writes from whom.
    #[inline]
    pub fn set_src(&mut self, src: MacAddr) {
        field::SRC.set(self.bytes.as_mut(), src.0);
    }

    /// Writes what the payload is.
    #[inline]
    pub fn set_ethertype(&mut self, ethertype: EtherType) {
        field::ETHERTYPE.set(self.bytes.as_mut(), ethertype.0);
    }

    /// Everything behind the header, for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        bytes::rest_mut(self.bytes.as_mut(), HEADER_LEN)
    }
}

/// An Ethernet header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Repr {
    /// To whom.
    pub dst: MacAddr,
    /// From whom.
    pub src: MacAddr,
    /// What the payload is.
    pub ethertype: EtherType,
}

impl Repr {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] when the view was made unchecked and holds no whole header.
    #[inline]
    pub fn parse<T: AsRef<[u8]>>(frame: &Frame<T>) -> Result<Self> {
        let header: &[u8; HEADER_LEN] = frame.bytes.as_ref().first_chunk().ok_or(Error::Truncated)?;
        let header = Frame::new_unchecked(header);
        Ok(Self { dst: header.dst(), src: header.src(), ethertype: header.ethertype() })
    }

    /// Bytes that [`emit`](Self::emit) writes.
    #[inline]
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header to the front of `bytes`.
    #[inline]
    pub fn emit(&self, bytes: &mut [u8]) {
        let Self { dst, src, ethertype } = *self;
        let Some(header) = bytes.first_chunk_mut::<HEADER_LEN>() else { return };
        let mut frame = Frame::new_unchecked(header);
        frame.set_dst(dst);
        frame.set_src(src);
        frame.set_ethertype(ethertype);
    }
}
