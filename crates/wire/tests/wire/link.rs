//! Ethernet, VLAN tags, ARP.

use std::net::Ipv4Addr;

use freeway_wire::ethernet::{self, EtherType};
use freeway_wire::{Error, MacAddr, arp, vlan};
use proptest::prelude::*;

use crate::strategy::{bytes, mac};

/// A request for 198.18.0.2 in a frame with a VLAN tag: 42, priority 5.
const TAGGED_REQUEST: [u8; 46] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x81, 0x00, // Ethernet
    0xa0, 0x2a, 0x08, 0x06, // VLAN
    0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, // IPv4 over Ethernet, request
    0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 198, 18, 0, 1, // sender
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 198, 18, 0, 2, // target
];

const SENDER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x01]);

#[test]
fn tagged_request() {
    let frame = ethernet::Frame::new_checked(&TAGGED_REQUEST).unwrap();
    let outer = ethernet::Repr::parse(&frame).unwrap();
    assert_eq!(outer, ethernet::Repr { dst: MacAddr::BROADCAST, src: SENDER, ethertype: EtherType::VLAN });
    let tag = vlan::Tag::new_checked(frame.payload()).unwrap();
    let inner = vlan::Repr::parse(&tag).unwrap();
    assert_eq!(inner, vlan::Repr { pcp: 5, dei: false, vid: 42, ethertype: EtherType::ARP });
    let packet = arp::Packet::new_checked(tag.payload()).unwrap();
    let request = arp::Repr::parse(&packet).unwrap();
    assert_eq!(
        request,
        arp::Repr {
            operation: arp::Operation::REQUEST,
            sender_mac: SENDER,
            sender_ip: Ipv4Addr::new(198, 18, 0, 1),
            target_mac: MacAddr::UNSPECIFIED,
            target_ip: Ipv4Addr::new(198, 18, 0, 2),
        }
    );

    let mut written = [0xa5; 46];
    outer.emit(&mut written);
    inner.emit(&mut written[14..]);
    request.emit(&mut written[18..]);
    assert_eq!(written, TAGGED_REQUEST);
}

#[test]
fn short_frames_are_truncated() {
    assert_eq!(ethernet::Frame::new_checked(&[0; 13]).unwrap_err(), Error::Truncated);
    assert_eq!(vlan::Tag::new_checked(&[0; 3]).unwrap_err(), Error::Truncated);
    assert_eq!(arp::Packet::new_checked(&TAGGED_REQUEST[18..45]).unwrap_err(), Error::Truncated);
}

#[test]
fn arp_for_other_networks_is_refused() {
    for at in [1, 2, 4, 5] {
        let mut packet = TAGGED_REQUEST[18..].to_vec();
        packet[at] ^= 0x40;
        assert_eq!(arp::Packet::new_checked(packet).unwrap_err(), Error::BadValue, "byte {at}");
    }
}

#[test]
fn nothing_is_written_into_too_little_room() {
    let frame = ethernet::Frame::new_unchecked(&TAGGED_REQUEST);
    let mut room = [0xa5; 13];
    ethernet::Repr::parse(&frame).unwrap().emit(&mut room);
    assert_eq!(room, [0xa5; 13]);
}

proptest! {
    #[test]
    fn ethernet_there_and_back(dst in mac(), src in mac(), ethertype in any::<u16>()) {
        let repr = ethernet::Repr { dst, src, ethertype: EtherType(ethertype) };
        let mut bytes = vec![0xa5; repr.buffer_len()];
        repr.emit(&mut bytes);
        prop_assert_eq!(ethernet::Repr::parse(&ethernet::Frame::new_checked(bytes).unwrap()), Ok(repr));
    }

    #[test]
    fn vlan_there_and_back(pcp in 0u8..8, dei in any::<bool>(), vid in 0u16..4096, ethertype in any::<u16>()) {
        let repr = vlan::Repr { pcp, dei, vid, ethertype: EtherType(ethertype) };
        let mut bytes = vec![0xa5; repr.buffer_len()];
        repr.emit(&mut bytes);
        prop_assert_eq!(vlan::Repr::parse(&vlan::Tag::new_checked(bytes).unwrap()), Ok(repr));
    }

    #[test]
    fn arp_there_and_back(
        operation in any::<u16>(),
        sender_mac in mac(),
        sender_ip in any::<Ipv4Addr>(),
        target_mac in mac(),
        target_ip in any::<Ipv4Addr>(),
    ) {
        let operation = arp::Operation(operation);
        let repr = arp::Repr { operation, sender_mac, sender_ip, target_mac, target_ip };
        let mut bytes = vec![0xa5; repr.buffer_len()];
        repr.emit(&mut bytes);
        prop_assert_eq!(arp::Repr::parse(&arp::Packet::new_checked(bytes).unwrap()), Ok(repr));
    }

    #[test]
    fn no_bytes_panic(mut bytes in bytes(40)) {
        let frame = ethernet::Frame::new_unchecked(&bytes);
        let _ = (frame.dst(), frame.src(), frame.ethertype(), frame.payload(), ethernet::Repr::parse(&frame));
        let tag = vlan::Tag::new_unchecked(&bytes);
        let _ = (tag.pcp(), tag.dei(), tag.vid(), tag.ethertype(), tag.payload(), vlan::Repr::parse(&tag));
        let packet = arp::Packet::new_unchecked(&bytes);
        let _ = (packet.operation(), packet.sender_mac(), packet.sender_ip(), arp::Repr::parse(&packet));
        let _ = (packet.target_mac(), packet.target_ip());
        ethernet::Frame::new_unchecked(&mut bytes[..]).payload_mut().fill(0);
    }
}
