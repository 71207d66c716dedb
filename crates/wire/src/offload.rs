//! What a sender asks of a device: to fill in a frame's TCP or UDP checksum.
//!
//! The checksum field holds the pseudo-header's sum ([`seed_transport`](crate::checksum::seed_transport)); the device adds
//! what lies from `start` to the frame's end and writes the complement of it all. Linux, the device's driver here, reads
//! the request right before the frame (`struct xsk_tx_metadata`, numbers in the machine's byte order):
//!
//! ```text
//!   0                       8        10       12                      24
//!   │ what is asked for: 2  │ start  │ offset │ 0                     │ frame …
//!   │       (u64)           │ (u16)  │ (u16)  │                       │ ├─ start ─►│ transport …
//! ```
//!
//! `start` counts from the frame's begin, `offset` from there to the field.
//!
//! Sources: Documentation/networking/xsk-tx-metadata.rst and linux/if_xdp.h of Linux (6.8 and later), and
//! Documentation/networking/checksum-offloads.rst for what a device does.

use crate::checksum::Sum;
use crate::ethernet::{EtherType, Frame};
use crate::{Protocol, ipv4, ipv6};

/// Bytes of a request.
pub const REQUEST_LEN: usize = 24;

/// `XDP_TXMD_FLAGS_CHECKSUM`.
const CHECKSUM: u64 = 1 << 1;

/// A checksum that a device is to fill in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChecksumRequest {
    /// From where the device adds, in bytes from the frame's begin: where the transport's header begins.
    pub start: u16,
    /// Where the checksum field is, in bytes from `start`.
    pub offset: u16,
}

impl ChecksumRequest {
    /// For an IP packet behind a link header of `link_len` bytes. `None` for what no device fills in: other protocols than
    /// TCP and UDP, fragments, IPv6 extension headers, and packets too short for their checksum field.
    #[inline]
    pub fn of_packet(packet: &[u8], link_len: usize) -> Option<Self> {
        let (header_len, protocol) = match packet.first()? >> 4 {
            4 => {
                let view = ipv4::Packet::new_unchecked(packet);
                if view.is_fragment() {
                    return None;
                }
                (view.header_len(), view.protocol())
            }
            6 => (ipv6::HEADER_LEN, ipv6::Packet::new_unchecked(packet).next_header()),
            _ => return None,
        };
        let offset = match protocol {
            Protocol::TCP => 16,
            Protocol::UDP => 6,
            _ => return None,
        };
        if packet.len() < header_len + offset + 2 {
            return None;
        }
        Some(Self { start: u16::try_from(link_len + header_len).ok()?, offset: offset as u16 })
    }

    /// For a whole Ethernet frame, with up to two VLAN tags.
    pub fn of_frame(frame: &[u8]) -> Option<Self> {
        let view = Frame::new_checked(frame).ok()?;
        match view.untagged()? {
            (EtherType::IPV4 | EtherType::IPV6, packet) => {
                Self::of_packet(packet, frame.len() - packet.len())
            }
            _ => None,
        }
    }

    /// Writes the request to the front of `bytes`, all [`REQUEST_LEN`] of it.
    #[inline]
    pub fn emit(&self, bytes: &mut [u8]) {
        let Some(room) = bytes.first_chunk_mut::<REQUEST_LEN>() else { return };
        let [a, b, c, d, e, f, g, h] = CHECKSUM.to_ne_bytes();
        let ([i, j], [k, l]) = (self.start.to_ne_bytes(), self.offset.to_ne_bytes());
        *room = [a, b, c, d, e, f, g, h, i, j, k, l, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    }

    /// Reads a request that [`emit`](Self::emit) wrote; `None` where anything else, or less, is there.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (flags, rest) = bytes.get(..REQUEST_LEN)?.split_first_chunk()?;
        let (start, rest) = rest.split_first_chunk()?;
        let (offset, _) = rest.split_first_chunk()?;
        (u64::from_ne_bytes(*flags) == CHECKSUM)
            .then(|| Self { start: u16::from_ne_bytes(*start), offset: u16::from_ne_bytes(*offset) })
    }

    /// Does in software what the device is asked for; false, and no change, when the field is not within `frame`.
    ///
    /// A sum of zero is written as its other representation, which is what UDP needs and TCP may have.
    #[inline]
    pub fn fill(&self, frame: &mut [u8]) -> bool {
        let Some(bytes) = frame.get_mut(usize::from(self.start)..) else { return false };
        // The field is part of what is added: it holds the pseudo-header's sum.
        let sum = Sum::new().add(bytes).finish();
        let at = usize::from(self.offset);
        let Some(field) = bytes.get_mut(at..at + 2) else { return false };
        field.copy_from_slice(&if sum == 0 { 0xffff } else { sum }.to_be_bytes());
        true
    }
}
