//! Datagrams longer than the link allows, on their way out (RFC 791, section 3.2; RFC 8200, section 4.5).
//!
//! Every fragment gets a buffer of its own, and its part of the payload is copied there: the one copy on the way
//! out, of packets that should not have been that long.

use freeway_base::Instant;
use freeway_mem::Packet;
use freeway_wire::ipv6::ext::FRAGMENT_HEADER_LEN;
use freeway_wire::{Protocol, ipv4, ipv6};

use super::Net;
use super::header::{IpHeader, Part};

/// Bytes of headers in front of each fragment's payload.
const fn overhead(header: &IpHeader) -> usize {
    if header.dst.is_v4() { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN + FRAGMENT_HEADER_LEN }
}

impl Net {
    /// Sends a datagram in fragments of at most `mtu` bytes, or not at all.
    #[cold]
    pub(crate) fn send_fragments(
        &mut self,
        now: Instant,
        index: u16,
        header: &IpHeader,
        packet: &Packet,
        mtu: u16,
    ) {
        let room = (self.pool.buffer_size() as usize).saturating_sub(usize::from(self.pool.headroom()));
        let most = usize::from(mtu).saturating_sub(overhead(header)).min(room) & !7;
        let too_long = header.header_len() + packet.len() > usize::from(u16::MAX);
        if header.dont_fragment || header.protocol == Protocol::TCP || most == 0 || too_long {
            self.counters.dropped_too_big += 1;
            return;
        }
        // Part of a datagram is of no use to anybody.
        let count = packet.len().div_ceil(most);
        if (self.pool.available() as usize) < count {
            self.counters.dropped_no_buffer += 1;
            return;
        }
        let ident = self.next_ident(header);
        self.counters.fragmented += 1;
        for (number, bytes) in packet.data().chunks(most).enumerate() {
            let part = Part { ident, offset: (number * most) as u16, more: number + 1 < count };
            let Some(fragment) = self.fragment(header, part, bytes) else {
                self.counters.dropped_no_buffer += 1;
                return;
            };
            self.counters.fragments_out += 1;
            self.forward(now, index, fragment);
        }
    }

    fn fragment(&self, header: &IpHeader, part: Part, bytes: &[u8]) -> Option<Packet> {
        let mut packet = self.pool.alloc()?;
        if !packet.copy_from_slice(bytes) {
            return None;
        }
        header.prepend_part(&mut packet, part).then_some(packet)
    }
}
