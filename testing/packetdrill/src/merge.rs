//! Segments sent back to back, shown as the one large segment that a stack with segmentation offload hands down.
//!
//! Linux's scripts are written for a device with that offload: what leaves at one instant is one packet. Freeway cuts
//! segments itself; with the flag `tso=on` the tool sees them put together again, as a receiver with large receive
//! offload would.

use freeway_wire::tcp::{Flags, Segment};
use freeway_wire::{Protocol, checksum, ipv4, ipv6};

/// The longest IP packet.
const PACKET_MAX: usize = 65_535;

/// A packet's TCP segment: where it begins, how long its header is.
struct Place {
    start: usize,
    header_len: usize,
}

fn place(packet: &[u8]) -> Option<Place> {
    let (start, protocol) = match packet.first()? >> 4 {
        4 => {
            let view = ipv4::Packet::new_checked(packet).ok()?;
            (view.header_len(), view.protocol())
        }
        6 => {
            let view = ipv6::Packet::new_checked(packet).ok()?;
            (ipv6::HEADER_LEN, view.next_header())
        }
        _ => return None,
    };
    (protocol == Protocol::TCP).then_some(())?;
    let segment = Segment::new_checked(packet.get(start..)?).ok()?;
    Some(Place { start, header_len: segment.header_len() })
}

/// Puts `next` behind `packet`, if it continues it; `full` is the payload of the segments that `packet` is made of, 0
/// where it is one alone.
pub(crate) fn merge(packet: &mut Vec<u8>, next: &[u8], full: &mut usize) -> bool {
    let (Some(first), Some(second)) = (place(packet), place(next)) else { return false };
    let (Some(head), Some(tail)) = (packet.get(first.start..), next.get(second.start..)) else {
        return false;
    };
    let (Ok(one), Ok(other)) = (Segment::new_checked(head), Segment::new_checked(tail)) else { return false };
    let payload = head.len() - first.header_len;
    let added = tail.len() - second.header_len;
    let segment = if *full == 0 { payload } else { *full };
    let options = |bytes: &[u8], len: usize| bytes.get(20..len).map(<[u8]>::to_vec);
    let continues = one.src_port() == other.src_port()
        && one.dst_port() == other.dst_port()
        && one.seq() + payload as u32 == other.seq()
        && one.ack() == other.ack()
        && one.window() == other.window()
        && one.flags() == Flags::ACK
        && other.flags().difference(Flags::PSH) == Flags::ACK
        && options(head, first.header_len) == options(tail, second.header_len)
        && payload > 0
        && payload.is_multiple_of(segment)
        && (1..=segment).contains(&added)
        && packet.len() + added <= PACKET_MAX
        && addresses(packet) == addresses(next);
    if !continues {
        return false;
    }
    *full = segment;
    let flags = other.flags();
    let bytes = tail[second.header_len..].to_vec();
    packet.extend_from_slice(&bytes);
    mend(packet, &first, flags);
    true
}

fn addresses(packet: &[u8]) -> Option<Vec<u8>> {
    let range = if packet.first()? >> 4 == 4 { 12..20 } else { 8..40 };
    packet.get(range).map(<[u8]>::to_vec)
}

/// Lengths, flags and checksums after the packet has grown.
fn mend(packet: &mut [u8], place: &Place, flags: Flags) {
    let len = packet.len();
    let (src, dst) = if packet[0] >> 4 == 4 {
        let mut view = ipv4::Packet::new_unchecked(&mut *packet);
        view.set_total_len(len as u16);
        view.fill_checksum();
        (view.src().into(), view.dst().into())
    } else {
        let mut view = ipv6::Packet::new_unchecked(&mut *packet);
        view.set_payload_len((len - ipv6::HEADER_LEN) as u16);
        (view.src().into(), view.dst().into())
    };
    let segment = &mut packet[place.start..];
    Segment::new_unchecked(&mut *segment).set_flags(flags);
    checksum::fill_transport(src, dst, Protocol::TCP, segment);
}
