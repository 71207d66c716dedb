//! Requests for checksums: where they point, and that filling in what they point at makes a right sum.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use freeway_wire::Protocol;
use freeway_wire::checksum::{seed_transport, verify_transport};
use freeway_wire::offload::{ChecksumRequest, REQUEST_LEN};
use proptest::prelude::*;

const V4: (IpAddr, IpAddr) =
    (IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1)), IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2)));
const V6: (IpAddr, IpAddr) = (
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2)),
);

/// A frame with so many tags around `segment`, whose checksum field holds the pseudo-header's sum; and how long its
/// headers are.
fn frame((src, dst): (IpAddr, IpAddr), protocol: Protocol, tags: usize, segment: &[u8]) -> (Vec<u8>, usize) {
    let mut frame = vec![2; 12];
    for tag in 0..tags {
        frame.extend(if tag + 1 < tags { [0x88, 0xa8, 0, 7] } else { [0x81, 0, 0, 7] });
    }
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            frame.extend([8, 0, 0x45, 0]);
            frame.extend((20 + segment.len() as u16).to_be_bytes());
            frame.extend([0, 0, 0x40, 0, 64, protocol.0, 0, 0]);
            frame.extend([src.octets(), dst.octets()].concat());
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((segment.len() as u16).to_be_bytes());
            frame.extend([protocol.0, 64]);
            frame.extend([src.octets(), dst.octets()].concat());
        }
        _ => unreachable!("one version"),
    }
    let headers = frame.len();
    frame.extend(segment);
    seed_transport(src, dst, protocol, &mut frame[headers..]);
    (frame, headers)
}

proptest! {
    #[test]
    fn what_is_filled_in_is_right(
        is_v6: bool,
        is_udp: bool,
        tags in 0..3_usize,
        mut segment in prop::collection::vec(any::<u8>(), 20..200),
    ) {
        let (addresses, protocol) = (if is_v6 { V6 } else { V4 }, if is_udp { Protocol::UDP } else { Protocol::TCP });
        if is_udp {
            let len = segment.len() as u16;
            segment[4..6].copy_from_slice(&len.to_be_bytes());
        }
        let (mut frame, headers) = frame(addresses, protocol, tags, &segment);
        let request = ChecksumRequest::of_frame(&frame).expect("TCP and UDP have one");
        prop_assert_eq!(usize::from(request.start), headers);
        prop_assert_eq!(request.offset, if is_udp { 6 } else { 16 });
        let link = 14 + 4 * tags;
        prop_assert_eq!(ChecksumRequest::of_packet(&frame[link..], link), Some(request));
        prop_assert!(request.fill(&mut frame));
        prop_assert!(verify_transport(addresses.0, addresses.1, protocol, &frame[headers..]));
    }

    #[test]
    fn requests_survive_the_wire(start: u16, offset: u16, junk in prop::collection::vec(any::<u8>(), 0..40)) {
        let request = ChecksumRequest { start, offset };
        let mut bytes = junk.clone();
        request.emit(&mut bytes);
        if junk.len() < REQUEST_LEN {
            prop_assert_eq!(&bytes, &junk, "too short a place is left alone");
            prop_assert_eq!(ChecksumRequest::parse(&bytes), None);
        } else {
            prop_assert_eq!(ChecksumRequest::parse(&bytes), Some(request));
            prop_assert_eq!(&bytes[REQUEST_LEN..], &junk[REQUEST_LEN..]);
        }
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..120), start: u16, offset: u16, link: u16) {
        let _ = ChecksumRequest::of_frame(&bytes);
        let _ = ChecksumRequest::of_packet(&bytes, usize::from(link));
        let _ = ChecksumRequest::parse(&bytes);
        let mut frame = bytes.clone();
        if !(ChecksumRequest { start, offset }).fill(&mut frame) {
            prop_assert_eq!(frame, bytes);
        }
    }
}

/// The layout that Linux reads.
#[test]
fn a_request_has_the_layout_of_linux() {
    let mut bytes = [0xaa; REQUEST_LEN];
    ChecksumRequest { start: 0x1234, offset: 0x0506 }.emit(&mut bytes);
    assert_eq!(bytes[..8], 2_u64.to_ne_bytes());
    assert_eq!(bytes[8..10], 0x1234_u16.to_ne_bytes());
    assert_eq!(bytes[10..12], 0x0506_u16.to_ne_bytes());
    assert_eq!(bytes[12..], [0; 12]);
    bytes[0] |= 1;
    assert_eq!(ChecksumRequest::parse(&bytes), None, "a time stamp is wanted too");
}

#[test]
fn what_no_device_fills_in_is_not_asked_for() {
    let segment = [0; 40];
    let (icmp, _) = frame(V4, Protocol::ICMP, 0, &segment);
    assert_eq!(ChecksumRequest::of_frame(&icmp), None);
    let (extended, _) = frame(V6, Protocol::HOP_BY_HOP, 0, &segment);
    assert_eq!(ChecksumRequest::of_frame(&extended), None);
    let (whole, _) = frame(V4, Protocol::TCP, 0, &segment);
    for fragment in [[0x20, 0], [0, 1]] {
        let mut part = whole.clone();
        part[20..22].copy_from_slice(&fragment);
        assert_eq!(ChecksumRequest::of_frame(&part), None);
    }
    let (tagged, _) = frame(V4, Protocol::TCP, 3, &segment);
    assert_eq!(ChecksumRequest::of_frame(&tagged), None, "three tags");
    for len in 0..14 + 20 + 18 {
        assert_eq!(ChecksumRequest::of_frame(&whole[..len]), None, "{len} bytes");
    }
    let mut arp = whole;
    arp[12..14].copy_from_slice(&[8, 6]);
    assert_eq!(ChecksumRequest::of_frame(&arp), None);
}

/// A UDP sum of zero would say that there is none.
#[test]
fn a_sum_of_zero_is_written_as_ones() {
    let mut datagram = [0; 8];
    datagram[4..6].copy_from_slice(&8_u16.to_be_bytes());
    let (mut sent, headers) = frame(V4, Protocol::UDP, 0, &datagram);
    // The source port makes up for the rest.
    let request = ChecksumRequest::of_frame(&sent).expect("UDP has one");
    let mut once = sent.clone();
    assert!(request.fill(&mut once));
    sent[headers..headers + 2].copy_from_slice(&once[headers + 6..headers + 8]);
    assert!(request.fill(&mut sent));
    assert_eq!(sent[headers + 6..headers + 8], [0xff, 0xff]);
    assert!(verify_transport(V4.0, V4.1, Protocol::UDP, &sent[headers..]));
}
