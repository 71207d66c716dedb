//! Frames whose TCP or UDP sum Linux left to a device that does not exist.
//!
//! Linux gives a frame to a veth with the checksum field holding only the sum of the pseudo-header, not complemented:
//! a card would add the rest. Nothing else tells such a frame from others, and this does: the field equals the
//! pseudo-header's sum. In a damaged frame that is as unlikely as a right sum is.

use freeway_wire::Protocol;
use freeway_wire::checksum::Sum;
use freeway_wire::ethernet::{EtherType, Frame};
use freeway_wire::{ipv4, ipv6};

/// Whether `frame` carries TCP or UDP whose sum was left unfilled, in a packet that is right otherwise: its IPv4
/// header's sum, if it has one, is verified.
#[inline]
pub(crate) fn is_unfilled(frame: &[u8]) -> bool {
    let Ok(view) = Frame::new_checked(frame) else { return false };
    let Some((ethertype, payload)) = view.untagged() else { return false };
    match ethertype {
        EtherType::IPV4 => ipv4::Packet::new_checked(payload).is_ok_and(|packet| {
            !packet.is_fragment()
                && holds(packet.protocol(), packet.payload(), packet.pseudo_header())
                && packet.verify_checksum()
        }),
        // Linux puts no extension header before what it leaves to a device.
        EtherType::IPV6 => ipv6::Packet::new_checked(payload).is_ok_and(|packet| {
            let (protocol, len) = (packet.next_header(), packet.payload().len() as u32);
            holds(protocol, packet.payload(), packet.pseudo_header(protocol, len))
        }),
        _ => false,
    }
}

/// Whether the checksum field of `segment` holds the pseudo-header's sum alone.
#[inline]
fn holds(protocol: Protocol, segment: &[u8], pseudo_header: Sum) -> bool {
    let field = match protocol {
        Protocol::TCP => segment.get(16..18),
        Protocol::UDP => segment.get(6..8),
        _ => None,
    };
    field == Some(&pseudo_header.partial().to_be_bytes()[..])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use freeway_wire::checksum::{fill_transport, seed_transport};

    use super::*;

    const SRC: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
    const DST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

    /// An Ethernet frame with an IPv4 packet around `segment`, behind so many tags.
    fn ipv4_frame(protocol: Protocol, segment: &[u8], tags: usize) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, protocol.0, 0, 0];
        packet.extend(SRC.octets().iter().chain(&DST.octets()));
        packet.extend(segment);
        let len = packet.len() as u16;
        packet[2..4].copy_from_slice(&len.to_be_bytes());
        ipv4::Packet::new_unchecked(&mut packet[..]).fill_checksum();
        let mut frame = vec![2; 12];
        for tag in 0..tags {
            frame.extend([if tag + 1 < tags { 0x88a8_u16 } else { 0x8100 }.to_be_bytes(), [0, 7]].concat());
        }
        frame.extend([8, 0]);
        frame.extend(packet);
        frame
    }

    fn ipv6_frame(protocol: Protocol, src: Ipv6Addr, dst: Ipv6Addr, segment: &[u8]) -> Vec<u8> {
        let mut frame = vec![2; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend((segment.len() as u16).to_be_bytes());
        frame.extend([protocol.0, 64]);
        frame.extend(src.octets().iter().chain(&dst.octets()));
        frame.extend(segment);
        frame
    }

    #[test]
    fn what_linux_left_unfilled_is_told_from_right_and_wrong_sums() {
        for protocol in [Protocol::TCP, Protocol::UDP] {
            for tags in 0..3 {
                let mut segment: Vec<u8> = (0..60).collect();
                if protocol == Protocol::UDP {
                    segment[4..6].copy_from_slice(&60_u16.to_be_bytes());
                }
                seed_transport(SRC.into(), DST.into(), protocol, &mut segment);
                assert!(is_unfilled(&ipv4_frame(protocol, &segment, tags)), "{protocol:?}, {tags} tags");
                let mut bad_header = ipv4_frame(protocol, &segment, tags);
                bad_header[14 + 4 * tags + 8] ^= 1;
                assert!(!is_unfilled(&bad_header), "the IPv4 header is damaged");
                fill_transport(SRC.into(), DST.into(), protocol, &mut segment);
                assert!(!is_unfilled(&ipv4_frame(protocol, &segment, tags)));
                segment[20] ^= 1;
                assert!(!is_unfilled(&ipv4_frame(protocol, &segment, tags)));
            }
        }
    }

    #[test]
    fn ipv6_is_known_too() {
        let (src, dst): (Ipv6Addr, Ipv6Addr) =
            ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let mut segment: Vec<u8> = (0..40).collect();
        seed_transport(IpAddr::V6(src), IpAddr::V6(dst), Protocol::TCP, &mut segment);
        assert!(is_unfilled(&ipv6_frame(Protocol::TCP, src, dst, &segment)));
        segment[16] ^= 0x80;
        assert!(!is_unfilled(&ipv6_frame(Protocol::TCP, src, dst, &segment)));
    }

    #[test]
    fn short_frames_and_other_protocols_are_not() {
        let mut segment = vec![0; 60];
        seed_transport(SRC.into(), DST.into(), Protocol::TCP, &mut segment);
        let frame = ipv4_frame(Protocol::TCP, &segment, 1);
        for len in 0..frame.len() {
            assert!(!is_unfilled(&frame[..len]), "{len} bytes");
        }
        assert!(!is_unfilled(&ipv4_frame(Protocol::ICMP, &segment, 0)));
    }
}
