//! UDP, RFC 768.
//!
//! ```text
//!  0               2               4               6               8
//! +---------------+---------------+---------------+---------------+---------
//! | source port   | destination   | length        | checksum      | payload
//! +---------------+---------------+---------------+---------------+---------
//! ```
//!
//! The length counts header and payload. Over IPv4 a checksum of zero means that there is none.

use core::net::IpAddr;

use crate::bytes::{self, U16};
use crate::checksum::{self, Sum};
use crate::{Error, Protocol, Result};

/// Bytes of the header.
pub const HEADER_LEN: usize = 8;

mod field {
    use super::U16;

    pub const SRC_PORT: U16 = U16(0);
    pub const DST_PORT: U16 = U16(2);
    pub const LEN: U16 = U16(4);
    pub const CHECKSUM: U16 = U16(6);
}

/// A view of a UDP datagram. Bytes behind its length are not part of it.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<T: AsRef<[u8]>> {
    bytes: T,
}

impl<T: AsRef<[u8]>> Datagram<T> {
    /// A view without any check: fields that are not there read as zero.
    #[inline]
    pub const fn new_unchecked(bytes: T) -> Self {
        Self { bytes }
    }

    /// A view of bytes that hold a whole datagram.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] when the bytes end before the header or the datagram does, [`Error::BadLength`] when
    /// the length is less than a header's.
    #[inline]
    pub fn new_checked(bytes: T) -> Result<Self> {
        let datagram = Self { bytes };
        let available = datagram.bytes.as_ref().len();
        if available < HEADER_LEN {
            return Err(Error::Truncated);
        }
        if datagram.len() < HEADER_LEN {
            return Err(Error::BadLength);
        }
        if datagram.len() > available { Err(Error::Truncated) } else { Ok(datagram) }
    }

    /// The bytes again.
    #[inline]
    pub fn into_inner(self) -> T {
        self.bytes
    }

    /// From which port; zero when no answer is wanted.
    #[inline]
    pub fn src_port(&self) -> u16 {
        field::SRC_PORT.get(self.bytes.as_ref())
    }

    /// To which port.
    #[inline]
    pub fn dst_port(&self) -> u16 {
        field::DST_PORT.get(self.bytes.as_ref())
    }

    /// Bytes of header and payload.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a field of the format; no datagram is empty")]
    pub fn len(&self) -> usize {
        usize::from(field::LEN.get(self.bytes.as_ref()))
    }

    /// The checksum as it stands; zero for none.
    #[inline]
    pub fn checksum(&self) -> u16 {
        field::CHECKSUM.get(self.bytes.as_ref())
    }

    /// What lies between the header and the length.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        bytes::range(self.bytes.as_ref(), HEADER_LEN, self.len())
    }

    /// Whether the checksum is right, or absent where it may be (IPv4).
    #[inline]
    pub fn verify_checksum(&self, src: IpAddr, dst: IpAddr) -> bool {
        let datagram = bytes::range(self.bytes.as_ref(), 0, self.len());
        checksum::verify_transport(src, dst, Protocol::UDP, datagram)
    }

    /// Whether the checksum is right, with addresses as numbers, IPv4 in its mapped form (RFC 4291, section 2.5.5.2). One of
    /// zero, which says that there is none, is not.
    #[inline]
    pub fn verify_checksum_mapped(&self, src: u128, dst: u128) -> bool {
        let datagram = bytes::range(self.bytes.as_ref(), 0, self.len());
        let pseudo = checksum::pseudo_header_mapped(src, dst, Protocol::UDP, datagram.len() as u32);
        self.checksum() != 0 && pseudo.join(checksum::sum(datagram), 0).is_valid()
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Datagram<T> {
    /// Writes from which port.
    #[inline]
    pub fn set_src_port(&mut self, port: u16) {
        field::SRC_PORT.set(self.bytes.as_mut(), port);
    }

    /// Writes to which port.
    #[inline]
    pub fn set_dst_port(&mut self, port: u16) {
        field::DST_PORT.set(self.bytes.as_mut(), port);
    }

    /// Writes the bytes of header and payload.
    #[inline]
    pub fn set_len(&mut self, len: u16) {
        field::LEN.set(self.bytes.as_mut(), len);
    }

    /// Writes the checksum.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        field::CHECKSUM.set(self.bytes.as_mut(), checksum);
    }

    /// What lies between the header and the length, for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let to = self.len();
        bytes::range_mut(self.bytes.as_mut(), HEADER_LEN, to)
    }
}

/// A UDP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Repr {
    /// From which port; zero when no answer is wanted.
    pub src_port: u16,
    /// To which port.
    pub dst_port: u16,
    /// Bytes behind the header, at most 65,527.
    pub payload_len: u16,
}

impl Repr {
    /// Writes the header to the front of `bytes`, the rest of which is the payload, with its checksum; `pseudo` is the
    /// [pseudo-header's sum](checksum::pseudo_header). The header is summed as it is written: reading back what was
    /// written in parts would wait for the stores.
    #[inline]
    pub fn emit_summed(&self, bytes: &mut [u8], pseudo: Sum) {
        let Self { src_port, dst_port, payload_len } = *self;
        let Some((header, payload)) = bytes.split_first_chunk_mut::<HEADER_LEN>() else { return };
        let len = payload_len.saturating_add(HEADER_LEN as u16);
        let word = u64::from(src_port) << 48 | u64::from(dst_port) << 32 | u64::from(len) << 16;
        let checksum = match pseudo.add_u64(word).join(checksum::sum(payload), 0).finish() {
            // Zero would mean "none" (RFC 768).
            0 => u16::MAX,
            checksum => checksum,
        };
        *header = (word | u64::from(checksum)).to_be_bytes();
    }

    /// Reads the header; the checksum is not looked at.
    ///
    /// # Errors
    ///
    /// Those of [`Datagram::new_checked`] for a view that was made unchecked, except that the payload may be cut short
    /// (an ICMP error quotes only the beginning).
    #[inline]
    pub fn parse<T: AsRef<[u8]>>(datagram: &Datagram<T>) -> Result<Self> {
        let header: &[u8; HEADER_LEN] = datagram.bytes.as_ref().first_chunk().ok_or(Error::Truncated)?;
        let header = Datagram::new_unchecked(header);
        let payload_len = header.len().checked_sub(HEADER_LEN).ok_or(Error::BadLength)? as u16;
        Ok(Self { src_port: header.src_port(), dst_port: header.dst_port(), payload_len })
    }

    /// Bytes that [`emit`](Self::emit) writes.
    #[inline]
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header to the front of `bytes`, with a checksum of zero: none, until
    /// [`fill_transport`](checksum::fill_transport) fills it in.
    #[inline]
    pub fn emit(&self, bytes: &mut [u8]) {
        let Self { src_port, dst_port, payload_len } = *self;
        let Some(header) = bytes.first_chunk_mut::<HEADER_LEN>() else { return };
        let mut datagram = Datagram::new_unchecked(header);
        datagram.set_src_port(src_port);
        datagram.set_dst_port(dst_port);
        datagram.set_len(payload_len.saturating_add(HEADER_LEN as u16));
        datagram.set_checksum(0);
    }
}
