//! IPv4, RFC 791, with the traffic class of RFC 2474 and RFC 3168.
//!
//! ```text
//!  0               1               2               3
//! +-------+-------+-----------+---+-------------------------------+
//! |   4   |  IHL  |   DSCP    |ECN|         total length          |   0
//! +-------+-------+-----------+---+-+-+-+-------------------------+
//! |        identification         |0|D|M|    fragment offset      |   4
//! +---------------+---------------+-+-+-+-------------------------+
//! |      TTL      |   protocol    |        header checksum        |   8
//! +---------------+---------------+-------------------------------+
//! |                         source address                        |  12
//! |                      destination address                      |  16
//! |                   options, (IHL - 5) words                    |  20
//! +---------------------------------------------------------------+
//! ```

mod options;

use core::net::{IpAddr, Ipv4Addr};

use crate::bytes::{self, Octets, U8, U16};
use crate::checksum::{self, Sum};
use crate::protocol::traffic_class;
use crate::{Ecn, Error, Protocol, Result};

pub use options::{IpOption, OptionKind, Options};

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;

/// Bytes of the longest header.
pub const HEADER_LEN_MAX: usize = 60;

/// The version number.
pub const VERSION: u8 = 4;

mod field {
    use super::{Octets, U8, U16};

    pub const VERSION_IHL: U8 = U8(0);
    pub const TRAFFIC_CLASS: U8 = U8(1);
    pub const TOTAL_LEN: U16 = U16(2);
    pub const IDENT: U16 = U16(4);
    pub const FRAGMENT: U16 = U16(6);
    pub const TTL: U8 = U8(8);
    pub const PROTOCOL: U8 = U8(9);
    pub const CHECKSUM: U16 = U16(10);
    pub const SRC: Octets<4> = Octets(12);
    pub const DST: Octets<4> = Octets(16);

    pub const DONT_FRAGMENT: u16 = 0x4000;
    pub const MORE_FRAGMENTS: u16 = 0x2000;
    pub const OFFSET: u16 = 0x1fff;
    /// The offset counts units of eight bytes.
    pub const OFFSET_SHIFT: u32 = 3;
}

/// A view of an IPv4 packet. Bytes behind its total length (Ethernet's padding) are not part of it.
#[derive(Clone, Copy, Debug)]
pub struct Packet<T: AsRef<[u8]>> {
    bytes: T,
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// A view without any check: fields that are not there read as zero.
    #[inline]
    pub const fn new_unchecked(bytes: T) -> Self {
        Self { bytes }
    }

    /// A view of bytes that hold a whole packet, options and payload included.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] when the bytes end before the header or the total length, [`Error::BadVersion`],
    /// [`Error::BadLength`] when header length and total length contradict each other.
    #[inline]
    pub fn new_checked(bytes: T) -> Result<Self> {
        let packet = Self { bytes };
        let available = packet.bytes.as_ref().len();
        packet.check_header(available)?;
        if packet.total_len() > available { Err(Error::Truncated) } else { Ok(packet) }
    }

    /// A view of the beginning of a packet: a whole header, and as much of the payload as there is. What an ICMP error
    /// quotes.
    ///
    /// # Errors
    ///
    /// As for [`new_checked`](Self::new_checked), but the payload may be cut short.
    #[inline]
    pub fn new_quoted(bytes: T) -> Result<Self> {
        let packet = Self { bytes };
        packet.check_header(packet.bytes.as_ref().len())?;
        Ok(packet)
    }

    #[inline]
    fn check_header(&self, available: usize) -> Result<()> {
        if available < HEADER_LEN {
            return Err(Error::Truncated);
        }
        if self.version() != VERSION {
            return Err(Error::BadVersion);
        }
        if self.header_len() < HEADER_LEN || self.header_len() > self.total_len() {
            return Err(Error::BadLength);
        }
        if self.header_len() > available { Err(Error::Truncated) } else { Ok(()) }
    }

    /// The bytes again.
    #[inline]
    pub fn into_inner(self) -> T {
        self.bytes
    }

    /// Four.
    #[inline]
    pub fn version(&self) -> u8 {
        field::VERSION_IHL.get(self.bytes.as_ref()) >> 4
    }

    /// Bytes of the header with its options.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(field::VERSION_IHL.get(self.bytes.as_ref()) & 0x0f) * 4
    }

    /// The class of service, six bits.
    #[inline]
    pub fn dscp(&self) -> u8 {
        field::TRAFFIC_CLASS.get(self.bytes.as_ref()) >> 2
    }

    /// The congestion mark.
    #[inline]
    pub fn ecn(&self) -> Ecn {
        Ecn::from_bits(field::TRAFFIC_CLASS.get(self.bytes.as_ref()))
    }

    /// Bytes of header and payload.
    #[inline]
    pub fn total_len(&self) -> usize {
        usize::from(field::TOTAL_LEN.get(self.bytes.as_ref()))
    }

    /// Tells the fragments of one packet from those of another.
    #[inline]
    pub fn ident(&self) -> u16 {
        field::IDENT.get(self.bytes.as_ref())
    }

    /// Whether routers may not fragment the packet.
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        field::FRAGMENT.get(self.bytes.as_ref()) & field::DONT_FRAGMENT != 0
    }

    /// Whether more fragments follow this one.
    #[inline]
    pub fn more_fragments(&self) -> bool {
        field::FRAGMENT.get(self.bytes.as_ref()) & field::MORE_FRAGMENTS != 0
    }

    /// Where in the original payload this fragment's lies, in bytes.
    #[inline]
    pub fn fragment_offset(&self) -> u16 {
        (field::FRAGMENT.get(self.bytes.as_ref()) & field::OFFSET) << field::OFFSET_SHIFT
    }

    /// Whether this is a fragment and not a whole packet.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        field::FRAGMENT.get(self.bytes.as_ref()) & (field::MORE_FRAGMENTS | field::OFFSET) != 0
    }

    /// Time to live: hops that are left.
    #[inline]
    pub fn ttl(&self) -> u8 {
        field::TTL.get(self.bytes.as_ref())
    }

    /// What the payload is.
    #[inline]
    pub fn protocol(&self) -> Protocol {
        Protocol(field::PROTOCOL.get(self.bytes.as_ref()))
    }

    /// The header checksum as it stands.
    #[inline]
    pub fn checksum(&self) -> u16 {
        field::CHECKSUM.get(self.bytes.as_ref())
    }

    /// From whom.
    #[inline]
    pub fn src(&self) -> Ipv4Addr {
        field::SRC.get(self.bytes.as_ref()).into()
    }

    /// To whom.
    #[inline]
    pub fn dst(&self) -> Ipv4Addr {
        field::DST.get(self.bytes.as_ref()).into()
    }

    /// The header, options included.
    #[inline]
    pub fn header(&self) -> &[u8] {
        bytes::range(self.bytes.as_ref(), 0, self.header_len())
    }

    /// The options.
    #[inline]
    pub fn options(&self) -> Options<'_> {
        Options::new(bytes::range(self.bytes.as_ref(), HEADER_LEN, self.header_len()))
    }

    /// What lies between the header and the total length, or what there is of it.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        let bytes = self.bytes.as_ref();
        bytes::range(bytes, self.header_len(), self.total_len().min(bytes.len()))
    }

    /// Whether the header's checksum is right.
    #[inline]
    pub fn verify_checksum(&self) -> bool {
        let bytes = self.bytes.as_ref();
        match bytes.first_chunk::<HEADER_LEN>() {
            // Nearly every header: its length is known to the compiler.
            Some(header) if self.header_len() == HEADER_LEN => sum_of_plain_header(header).is_valid(),
            _ => checksum::sum(self.header()).is_valid(),
        }
    }

    /// The sum of the pseudo-header for the payload.
    #[inline]
    pub fn pseudo_header(&self) -> Sum {
        let len = self.payload().len() as u32;
        checksum::pseudo_header(IpAddr::V4(self.src()), IpAddr::V4(self.dst()), self.protocol(), len)
    }
}

/// Straight-line: five additions.
#[inline]
fn sum_of_plain_header(header: &[u8; HEADER_LEN]) -> Sum {
    let (words, _) = header.as_chunks::<4>();
    words.iter().fold(Sum::new(), |sum, word| sum.add_u32(u32::from_be_bytes(*word)))
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Writes the version, and the header's length in bytes (a multiple of four, at most 60).
    #[inline]
    pub fn set_version_and_header_len(&mut self, len: usize) {
        field::VERSION_IHL.set(self.bytes.as_mut(), VERSION << 4 | (len / 4) as u8 & 0x0f);
    }

    /// Writes class of service and congestion mark.
    #[inline]
    pub fn set_traffic_class(&mut self, dscp: u8, ecn: Ecn) {
        field::TRAFFIC_CLASS.set(self.bytes.as_mut(), traffic_class(dscp, ecn));
    }

    /// Writes the congestion mark alone.
    #[inline]
    pub fn set_ecn(&mut self, ecn: Ecn) {
        field::TRAFFIC_CLASS.set_bits(self.bytes.as_mut(), 0b11, ecn.bits());
    }

    /// Writes the bytes of header and payload.
    #[inline]
    pub fn set_total_len(&mut self, len: u16) {
        field::TOTAL_LEN.set(self.bytes.as_mut(), len);
    }

    /// Writes the identification.
    #[inline]
    pub fn set_ident(&mut self, ident: u16) {
        field::IDENT.set(self.bytes.as_mut(), ident);
    }

    /// Writes both fragmentation flags and the offset in bytes (a multiple of eight).
    #[inline]
    pub fn set_fragment(&mut self, dont_fragment: bool, more_fragments: bool, offset: u16) {
        let flags = if dont_fragment { field::DONT_FRAGMENT } else { 0 }
            | if more_fragments { field::MORE_FRAGMENTS } else { 0 };
        field::FRAGMENT.set(self.bytes.as_mut(), flags | offset >> field::OFFSET_SHIFT);
    }

    /// Writes the time to live.
    #[inline]
    pub fn set_ttl(&mut self, ttl: u8) {
        field::TTL.set(self.bytes.as_mut(), ttl);
    }

    /// Writes what the payload is.
    #[inline]
    pub fn set_protocol(&mut self, protocol: Protocol) {
        field::PROTOCOL.set(self.bytes.as_mut(), protocol.0);
    }

    /// Writes the header checksum.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        field::CHECKSUM.set(self.bytes.as_mut(), checksum);
    }

    /// Writes from whom.
    #[inline]
    pub fn set_src(&mut self, src: Ipv4Addr) {
        field::SRC.set(self.bytes.as_mut(), src.octets());
    }

    /// Writes to whom.
    #[inline]
    pub fn set_dst(&mut self, dst: Ipv4Addr) {
        field::DST.set(self.bytes.as_mut(), dst.octets());
    }

    /// Computes the header's checksum and writes it.
    #[inline]
    pub fn fill_checksum(&mut self) {
        self.set_checksum(0);
        let checksum = checksum::sum(self.header()).finish();
        self.set_checksum(checksum);
    }

    /// What lies between the header and the total length, for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let from = self.header_len();
        let to = self.total_len().min(self.bytes.as_ref().len());
        bytes::range_mut(self.bytes.as_mut(), from, to)
    }
}

/// An IPv4 header without options.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Repr {
    /// From whom.
    pub src: Ipv4Addr,
    /// To whom.
    pub dst: Ipv4Addr,
    /// What the payload is.
    pub protocol: Protocol,
    /// Hops that are left.
    pub ttl: u8,
    /// Class of service, six bits.
    pub dscp: u8,
    /// Congestion mark.
    pub ecn: Ecn,
    /// Tells the fragments of one packet from those of another.
    pub ident: u16,
    /// Routers may not fragment the packet.
    pub dont_fragment: bool,
    /// More fragments follow this one.
    pub more_fragments: bool,
    /// Where in the original payload this fragment's lies, in bytes: a multiple of eight.
    pub fragment_offset: u16,
    /// Bytes behind the header.
    pub payload_len: u16,
}

impl Repr {
    /// Reads the header. Options are checked and passed over; the checksum is not looked at.
    ///
    /// # Errors
    ///
    /// Those of [`Packet::new_quoted`] for a view that was made unchecked, and [`Error::BadLength`] for options that do
    /// not fit into the header.
    #[inline]
    pub fn parse<T: AsRef<[u8]>>(packet: &Packet<T>) -> Result<Self> {
        let packet = Packet::new_quoted(packet.bytes.as_ref())?;
        if packet.header_len() > HEADER_LEN {
            packet.options().check()?;
        }
        Ok(Self {
            src: packet.src(),
            dst: packet.dst(),
            protocol: packet.protocol(),
            ttl: packet.ttl(),
            dscp: packet.dscp(),
            ecn: packet.ecn(),
            ident: packet.ident(),
            dont_fragment: packet.dont_fragment(),
            more_fragments: packet.more_fragments(),
            fragment_offset: packet.fragment_offset(),
            payload_len: (packet.total_len() - packet.header_len()) as u16,
        })
    }

    /// Bytes that [`emit`](Self::emit) writes.
    #[inline]
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header, with its checksum, to the front of `bytes`.
    #[inline]
    pub fn emit(&self, bytes: &mut [u8]) {
        let Self {
            src,
            dst,
            protocol,
            ttl,
            dscp,
            ecn,
            ident,
            dont_fragment,
            more_fragments,
            fragment_offset,
            payload_len,
        } = *self;
        let Some(header) = bytes.first_chunk_mut::<HEADER_LEN>() else { return };
        // The sum is taken from the words as they are written: reading back what was written in parts would wait for
        // the stores.
        let traffic_class = traffic_class(dscp, ecn);
        let total_len = payload_len.saturating_add(HEADER_LEN as u16);
        let fragment = if dont_fragment { field::DONT_FRAGMENT } else { 0 }
            | if more_fragments { field::MORE_FRAGMENTS } else { 0 }
            | fragment_offset >> field::OFFSET_SHIFT;
        let first = u64::from(VERSION << 4 | (HEADER_LEN / 4) as u8) << 56
            | u64::from(traffic_class) << 48
            | u64::from(total_len) << 32
            | u64::from(ident) << 16
            | u64::from(fragment);
        let second = u64::from(ttl) << 56 | u64::from(protocol.0) << 48 | u64::from(src.to_bits());
        let third = dst.to_bits();
        let checksum = Sum::new().add_u64(first).add_u64(second).add_u32(third).finish();
        let second = second | u64::from(checksum) << 32;
        header[..8].copy_from_slice(&first.to_be_bytes());
        header[8..16].copy_from_slice(&second.to_be_bytes());
        header[16..].copy_from_slice(&third.to_be_bytes());
    }
}
