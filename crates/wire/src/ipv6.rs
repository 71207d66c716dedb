//! IPv6, RFC 8200 section 3; extension headers are in [`ext`].
//!
//! ```text
//!  0               1               2               3
//! +-------+-----------+---+---------------------------------------+
//! |   6   |   DSCP    |ECN|              flow label               |   0
//! +-------+-----------+---+-------+---------------+---------------+
//! |        payload length         |  next header  |   hop limit   |   4
//! +-------------------------------+---------------+---------------+
//! |                         source address                        |   8
//! |                      destination address                      |  24
//! +---------------------------------------------------------------+
//! ```

pub mod ext;

use core::net::{IpAddr, Ipv6Addr};

use crate::bytes::{self, Octets, U8, U16, U32};
use crate::checksum::{self, Sum};
use crate::protocol::traffic_class;
use crate::{Ecn, Error, Protocol, Result};

/// Bytes of the header, extension headers not counted.
pub const HEADER_LEN: usize = 40;

/// The version number.
pub const VERSION: u8 = 6;

/// Bytes of packet that every link carries, RFC 8200 section 5.
pub const MTU_MIN: usize = 1280;

mod field {
    use super::{Octets, U8, U16, U32};

    /// Version, traffic class and flow label.
    pub const FIRST_WORD: U32 = U32(0);
    pub const PAYLOAD_LEN: U16 = U16(4);
    pub const NEXT_HEADER: U8 = U8(6);
    pub const HOP_LIMIT: U8 = U8(7);
    pub const SRC: Octets<16> = Octets(8);
    pub const DST: Octets<16> = Octets(24);

    pub const VERSION_SHIFT: u32 = 28;
    pub const TRAFFIC_CLASS_SHIFT: u32 = 20;
    pub const FLOW_LABEL: u32 = 0x000f_ffff;
}

/// Where the Next Header field lies: what an ICMPv6 Parameter Problem points at when the first header is not known.
pub const NEXT_HEADER_OFFSET: usize = field::NEXT_HEADER.0;

/// A view of an IPv6 packet. Bytes behind its payload length (Ethernet's padding) are not part of it.
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

    /// A view of bytes that hold a whole packet.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] when the bytes end before the header or the payload length, [`Error::BadVersion`].
    /// Jumbograms (RFC 2675) are not served: a payload length of zero means no payload.
    #[inline]
    pub fn new_checked(bytes: T) -> Result<Self> {
        let packet = Self::new_quoted(bytes)?;
        let available = packet.bytes.as_ref().len();
        if HEADER_LEN + packet.payload_len() > available { Err(Error::Truncated) } else { Ok(packet) }
    }

    /// A view of the beginning of a packet: a whole header, and as much of the payload as there is. What an ICMPv6
    /// error quotes.
    ///
    /// # Errors
    ///
    /// As for [`new_checked`](Self::new_checked), but the payload may be cut short.
    #[inline]
    pub fn new_quoted(bytes: T) -> Result<Self> {
        let packet = Self { bytes };
        if packet.bytes.as_ref().len() < HEADER_LEN {
            return Err(Error::Truncated);
        }
        if packet.version() != VERSION { Err(Error::BadVersion) } else { Ok(packet) }
    }

    /// The bytes again.
    #[inline]
    pub fn into_inner(self) -> T {
        self.bytes
    }

    /// Six.
    #[inline]
    pub fn version(&self) -> u8 {
        (field::FIRST_WORD.get(self.bytes.as_ref()) >> field::VERSION_SHIFT) as u8
    }

    #[inline]
    fn traffic_class(&self) -> u8 {
        (field::FIRST_WORD.get(self.bytes.as_ref()) >> field::TRAFFIC_CLASS_SHIFT) as u8
    }

    /// The class of service, six bits.
    #[inline]
    pub fn dscp(&self) -> u8 {
        self.traffic_class() >> 2
    }

    /// The congestion mark.
    #[inline]
    pub fn ecn(&self) -> Ecn {
        Ecn::from_bits(self.traffic_class())
    }

    /// The flow label, twenty bits (RFC 6437).
    #[inline]
    pub fn flow_label(&self) -> u32 {
        field::FIRST_WORD.get(self.bytes.as_ref()) & field::FLOW_LABEL
    }

    /// Bytes behind the header, extension headers counted.
    #[inline]
    pub fn payload_len(&self) -> usize {
        usize::from(field::PAYLOAD_LEN.get(self.bytes.as_ref()))
    }

    /// Bytes of header and payload.
    #[inline]
    pub fn total_len(&self) -> usize {
        HEADER_LEN + self.payload_len()
    }

    /// What the payload begins with: an extension header or a protocol.
    #[inline]
    pub fn next_header(&self) -> Protocol {
        Protocol(field::NEXT_HEADER.get(self.bytes.as_ref()))
    }

    /// Hops that are left.
    #[inline]
    pub fn hop_limit(&self) -> u8 {
        field::HOP_LIMIT.get(self.bytes.as_ref())
    }

    /// From whom.
    #[inline]
    pub fn src(&self) -> Ipv6Addr {
        field::SRC.get(self.bytes.as_ref()).into()
    }

    /// To whom.
    #[inline]
    pub fn dst(&self) -> Ipv6Addr {
        field::DST.get(self.bytes.as_ref()).into()
    }

    /// What lies between the header and the payload length, or what there is of it.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        let bytes = self.bytes.as_ref();
        bytes::range(bytes, HEADER_LEN, self.total_len().min(bytes.len()))
    }

    /// The extension headers, and what they lead to.
    #[inline]
    pub fn extension_headers(&self) -> ext::ExtensionHeaders<'_> {
        ext::ExtensionHeaders::new(self.next_header(), self.payload())
    }

    /// The sum of the pseudo-header for an upper layer's `len` bytes.
    #[inline]
    pub fn pseudo_header(&self, protocol: Protocol, len: u32) -> Sum {
        checksum::pseudo_header(IpAddr::V6(self.src()), IpAddr::V6(self.dst()), protocol, len)
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Writes the version, class of service (six bits), congestion mark and flow label (twenty bits).
    #[inline]
    pub fn set_first_word(&mut self, dscp: u8, ecn: Ecn, flow_label: u32) {
        let word = u32::from(VERSION) << field::VERSION_SHIFT
            | u32::from(traffic_class(dscp, ecn)) << field::TRAFFIC_CLASS_SHIFT
            | flow_label & field::FLOW_LABEL;
        field::FIRST_WORD.set(self.bytes.as_mut(), word);
    }

    /// Writes the congestion mark alone.
    #[inline]
    pub fn set_ecn(&mut self, ecn: Ecn) {
        U8(1).set_bits(self.bytes.as_mut(), 0x30, ecn.bits() << 4);
    }

    /// Writes the bytes behind the header.
    #[inline]
    pub fn set_payload_len(&mut self, len: u16) {
        field::PAYLOAD_LEN.set(self.bytes.as_mut(), len);
    }

    /// Writes what the payload begins with.
    #[inline]
    pub fn set_next_header(&mut self, protocol: Protocol) {
        field::NEXT_HEADER.set(self.bytes.as_mut(), protocol.0);
    }

    /// Writes the hops that are left.
    #[inline]
    pub fn set_hop_limit(&mut self, hop_limit: u8) {
        field::HOP_LIMIT.set(self.bytes.as_mut(), hop_limit);
    }

    /// Writes from whom.
    #[inline]
    pub fn set_src(&mut self, src: Ipv6Addr) {
        field::SRC.set(self.bytes.as_mut(), src.octets());
    }

    /// Writes to whom.
    #[inline]
    pub fn set_dst(&mut self, dst: Ipv6Addr) {
        field::DST.set(self.bytes.as_mut(), dst.octets());
    }

    /// What lies between the header and the payload length, for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let to = self.total_len().min(self.bytes.as_ref().len());
        bytes::range_mut(self.bytes.as_mut(), HEADER_LEN, to)
    }
}

/// An IPv6 header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Repr {
    /// From whom.
    pub src: Ipv6Addr,
    /// To whom.
    pub dst: Ipv6Addr,
    /// What the payload begins with.
    pub next_header: Protocol,
    /// Hops that are left.
    pub hop_limit: u8,
    /// Class of service, six bits.
    pub dscp: u8,
    /// Congestion mark.
    pub ecn: Ecn,
    /// Flow label, twenty bits.
    pub flow_label: u32,
    /// Bytes behind the header, extension headers counted.
    pub payload_len: u16,
}

impl Repr {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// Those of [`Packet::new_quoted`] for a view that was made unchecked.
    #[inline]
    pub fn parse<T: AsRef<[u8]>>(packet: &Packet<T>) -> Result<Self> {
        let packet = Packet::new_quoted(packet.bytes.as_ref())?;
        Ok(Self {
            src: packet.src(),
            dst: packet.dst(),
            next_header: packet.next_header(),
            hop_limit: packet.hop_limit(),
            dscp: packet.dscp(),
            ecn: packet.ecn(),
            flow_label: packet.flow_label(),
            payload_len: packet.payload_len() as u16,
        })
    }

    /// Bytes that [`emit`](Self::emit) writes.
    #[inline]
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header to the front of `bytes`.
    #[inline]
    pub fn emit(&self, bytes: &mut [u8]) {
        let Self { src, dst, next_header, hop_limit, dscp, ecn, flow_label, payload_len } = *self;
        let Some(header) = bytes.first_chunk_mut::<HEADER_LEN>() else { return };
        let mut packet = Packet::new_unchecked(header);
        packet.set_first_word(dscp, ecn, flow_label);
        packet.set_payload_len(payload_len);
        packet.set_next_header(next_header);
        packet.set_hop_limit(hop_limit);
        packet.set_src(src);
        packet.set_dst(dst);
    }
}
