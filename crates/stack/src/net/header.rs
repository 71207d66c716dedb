//! The IP header of a packet on its way out.

use core::net::{Ipv4Addr, Ipv6Addr};

use freeway_mem::Packet;
use freeway_wire::{Ecn, Protocol, ipv4, ipv6};

use freeway_wire::ipv6::ext::{FRAGMENT_HEADER_LEN, FragmentRepr};

use super::address::Addr;

/// What a transport says of a packet to be sent; the versions of `src` and `dst` are one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpHeader {
    /// The address it comes from, this host's.
    pub src: Addr,
    /// Where it goes.
    pub dst: Addr,
    /// What it holds.
    pub protocol: Protocol,
    /// Its time to live, or hop limit.
    pub hop_limit: u8,
    /// Its differentiated services code point, 6 bits.
    pub dscp: u8,
    /// Its congestion mark.
    pub ecn: Ecn,
    /// Whether it is dropped rather than fragmented when it is too long, here or on the way.
    pub dont_fragment: bool,
}

/// A fragment's place in its datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Part {
    pub(crate) ident: u32,
    /// In bytes.
    pub(crate) offset: u16,
    pub(crate) more: bool,
}

impl IpHeader {
    /// Bytes of the header, without fragment.
    #[inline]
    pub const fn header_len(&self) -> usize {
        if self.dst.is_v4() { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN }
    }

    /// Writes the header in front of a payload. Without room, or with addresses of two versions, false.
    #[inline]
    #[must_use]
    pub(crate) fn prepend(&self, packet: &mut Packet, ident: u16) -> bool {
        let payload_len = packet.len() as u16;
        let (Addr(src), Addr(dst)) = (self.src, self.dst);
        match (self.src.is_v4(), self.dst.is_v4()) {
            (true, true) => {
                let Some(room) = packet.prepend(ipv4::HEADER_LEN) else { return false };
                let header = ipv4::Repr {
                    src: Ipv4Addr::from_bits(src as u32),
                    dst: Ipv4Addr::from_bits(dst as u32),
                    protocol: self.protocol,
                    ttl: self.hop_limit,
                    dscp: self.dscp,
                    ecn: self.ecn,
                    ident,
                    dont_fragment: self.dont_fragment,
                    more_fragments: false,
                    fragment_offset: 0,
                    payload_len,
                };
                header.emit(room);
                true
            }
            (false, false) => {
                let Some(room) = packet.prepend(ipv6::HEADER_LEN) else { return false };
                let header = ipv6::Repr {
                    src: Ipv6Addr::from_bits(src),
                    dst: Ipv6Addr::from_bits(dst),
                    next_header: self.protocol,
                    hop_limit: self.hop_limit,
                    dscp: self.dscp,
                    ecn: self.ecn,
                    flow_label: 0,
                    payload_len,
                };
                header.emit(room);
                true
            }
            _ => false,
        }
    }

    /// The same for a fragment.
    #[must_use]
    pub(crate) fn prepend_part(&self, packet: &mut Packet, part: Part) -> bool {
        match (self.src.is_v4(), self.dst.is_v4()) {
            (true, true) => {
                let whole = Self { dont_fragment: false, ..*self };
                if !whole.prepend(packet, part.ident as u16) {
                    return false;
                }
                let mut view = ipv4::Packet::new_unchecked(packet.data_mut());
                view.set_fragment(false, part.more, part.offset);
                view.fill_checksum();
                true
            }
            _ => {
                let Some(room) = packet.prepend(FRAGMENT_HEADER_LEN) else { return false };
                let fragment = FragmentRepr {
                    next_header: self.protocol,
                    offset: part.offset,
                    more: part.more,
                    ident: part.ident,
                };
                fragment.emit(room);
                Self { protocol: Protocol::FRAGMENT, ..*self }.prepend(packet, 0)
            }
        }
    }
}

/// Rewrites the header of a first fragment into that of the whole datagram.
pub(crate) fn unfragment(header: &mut [u8], payload_len: usize, protocol: Protocol) {
    if header.len() == ipv4::HEADER_LEN {
        let mut view = ipv4::Packet::new_unchecked(header);
        view.set_version_and_header_len(ipv4::HEADER_LEN);
        view.set_total_len((ipv4::HEADER_LEN + payload_len) as u16);
        view.set_fragment(false, false, 0);
        view.fill_checksum();
    } else {
        let mut view = ipv6::Packet::new_unchecked(header);
        view.set_payload_len(payload_len as u16);
        view.set_next_header(protocol);
    }
}
