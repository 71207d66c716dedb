//! VLAN tags, IEEE 802.1Q.
//!
//! ```text
//!          0               2               4
//!  --------+---+-+---------+---------------+---------
//!   TPID   |PCP|D|  VID    | type          | payload
//!  --------+---+-+---------+---------------+---------
//! ```
//!
//! The tag protocol identifier stands where an untagged frame has its EtherType
//! ([`EtherType::VLAN`] or [`EtherType::QINQ`]) and belongs to the header before; the view begins behind it.

use crate::bytes::{self, U16};
use crate::ethernet::EtherType;
use crate::{Error, Result};

/// Bytes of a tag behind the EtherType that announces it.
pub const HEADER_LEN: usize = 4;

mod field {
    use super::U16;

    pub const CONTROL: U16 = U16(0);
    pub const ETHERTYPE: U16 = U16(2);

    pub const PCP_SHIFT: u32 = 13;
    pub const DEI: u16 = 0x1000;
    pub const VID: u16 = 0x0fff;
}

/// A view of a tag and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct Tag<T: AsRef<[u8]>> {
    bytes: T,
}

impl<T: AsRef<[u8]>> Tag<T> {
    /// A view without any check: fields that are not there read as zero.
    #[inline]
    pub const fn new_unchecked(bytes: T) -> Self {
        Self { bytes }
    }

    /// A view of bytes that hold a whole tag.
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

    /// Priority, 0 to 7.
    #[inline]
    pub fn pcp(&self) -> u8 {
        (field::CONTROL.get(self.bytes.as_ref()) >> field::PCP_SHIFT) as u8
    }

    /// Whether the frame may be dropped first.
    #[inline]
    pub fn dei(&self) -> bool {
        field::CONTROL.get(self.bytes.as_ref()) & field::DEI != 0
    }

    /// The VLAN, 0 to 4095; 0 means none (a priority only), 4095 is reserved.
    #[inline]
    pub fn vid(&self) -> u16 {
        field::CONTROL.get(self.bytes.as_ref()) & field::VID
    }

    /// What the payload is.
    #[inline]
    pub fn ethertype(&self) -> EtherType {
        EtherType(field::ETHERTYPE.get(self.bytes.as_ref()))
    }

    /// Everything behind the tag.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        bytes::rest(self.bytes.as_ref(), HEADER_LEN)
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Tag<T> {
    /// Writes priority (three bits), drop eligibility and VLAN (twelve bits).
    #[inline]
    pub fn set_control(&mut self, pcp: u8, dei: bool, vid: u16) {
        let control =
            u16::from(pcp) << field::PCP_SHIFT | if dei { field::DEI } else { 0 } | vid & field::VID;
        field::CONTROL.set(self.bytes.as_mut(), control);
    }

    /// Writes what the payload is.
    #[inline]
    pub fn set_ethertype(&mut self, ethertype: EtherType) {
        field::ETHERTYPE.set(self.bytes.as_mut(), ethertype.0);
    }
}

/// A VLAN tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Repr {
    /// Priority, 0 to 7.
    pub pcp: u8,
    /// Whether the frame may be dropped first.
    pub dei: bool,
    /// The VLAN, 0 to 4095.
    pub vid: u16,
    /// What follows the tag.
    pub ethertype: EtherType,
}

impl Repr {
    /// Reads the tag.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] when the view was made unchecked and holds no whole tag.
    #[inline]
    pub fn parse<T: AsRef<[u8]>>(tag: &Tag<T>) -> Result<Self> {
        let header: &[u8; HEADER_LEN] = tag.bytes.as_ref().first_chunk().ok_or(Error::Truncated)?;
        let tag = Tag::new_unchecked(header);
        Ok(Self { pcp: tag.pcp(), dei: tag.dei(), vid: tag.vid(), ethertype: tag.ethertype() })
    }

    /// Bytes that [`emit`](Self::emit) writes.
    #[inline]
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the tag to the front of `bytes`.
    #[inline]
    pub fn emit(&self, bytes: &mut [u8]) {
        let Self { pcp, dei, vid, ethertype } = *self;
        let Some(header) = bytes.first_chunk_mut::<HEADER_LEN>() else { return };
        let mut tag = Tag::new_unchecked(header);
        tag.set_control(pcp, dei, vid);
        tag.set_ethertype(ethertype);
    }
}
