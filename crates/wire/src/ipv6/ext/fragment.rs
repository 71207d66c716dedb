//! The fragment header, RFC 8200 section 4.5.
//!
//! ```text
//! +---------------+---------------+-------------------------+---+-+
//! |  next header  |   reserved    |     offset in 8 B       |rsv|M|   0
//! |                        identification                         |   4
//! +---------------------------------------------------------------+
//! ```

use crate::bytes::{U8, U16, U32};
use crate::{Error, Protocol, Result};

/// Bytes of the header.
pub const FRAGMENT_HEADER_LEN: usize = 8;

mod field {
    use super::{U8, U16, U32};

    pub const NEXT_HEADER: U8 = U8(0);
    pub const RESERVED: U8 = U8(1);
    pub const OFFSET_AND_MORE: U16 = U16(2);
    pub const IDENT: U32 = U32(4);

    /// The offset counts eight bytes and begins at bit 3, so that under this mask it counts bytes.
    pub const OFFSET: u16 = 0xfff8;
    pub const MORE: u16 = 0x0001;
}

/// A fragment header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FragmentRepr {
    /// What the whole packet's fragmented part begins with.
    pub next_header: Protocol,
    /// Where this part lies in the whole, in bytes: a multiple of eight.
    pub offset: u16,
    /// More fragments follow this one.
    pub more: bool,
    /// Tells the fragments of one packet from those of another.
    pub ident: u32,
}

impl FragmentRepr {
    /// Reads the header at the front of `bytes`.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] when they are too short.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let header: &[u8; FRAGMENT_HEADER_LEN] = bytes.first_chunk().ok_or(Error::Truncated)?;
        let offset_and_more = field::OFFSET_AND_MORE.get(header);
        Ok(Self {
            next_header: Protocol(field::NEXT_HEADER.get(header)),
            offset: offset_and_more & field::OFFSET,
            more: offset_and_more & field::MORE != 0,
            ident: field::IDENT.get(header),
        })
    }

    /// Bytes that [`emit`](Self::emit) writes.
    #[inline]
    pub const fn buffer_len(&self) -> usize {
        FRAGMENT_HEADER_LEN
    }

    /// Writes the header to the front of `bytes`.
    #[inline]
    pub fn emit(&self, bytes: &mut [u8]) {
        let Self { next_header, offset, more, ident } = *self;
        let Some(header) = bytes.first_chunk_mut::<FRAGMENT_HEADER_LEN>() else { return };
        field::NEXT_HEADER.set(header, next_header.0);
        field::RESERVED.set(header, 0);
        field::OFFSET_AND_MORE.set(header, offset & field::OFFSET | if more { field::MORE } else { 0 });
        field::IDENT.set(header, ident);
    }
}
