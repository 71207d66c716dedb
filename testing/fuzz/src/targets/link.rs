//! Ethernet, VLAN tags, ARP.

use std::hint::black_box;

use freeway_wire::{arp, ethernet, vlan};

use super::buffer;

/// Ethernet frames.
pub fn ethernet(data: &[u8]) {
    let frame = ethernet::Frame::new_unchecked(data);
    black_box((frame.dst(), frame.src(), frame.ethertype(), frame.payload()));
    let Ok(frame) = ethernet::Frame::new_checked(data) else { return };
    let repr = ethernet::Repr::parse(&frame).expect("was checked");
    let mut bytes = buffer(repr.buffer_len());
    repr.emit(&mut bytes);
    assert_eq!(bytes, data[..ethernet::HEADER_LEN]);
    assert_eq!(ethernet::Repr::parse(&ethernet::Frame::new_unchecked(bytes)), Ok(repr));
}

/// VLAN tags.
pub fn vlan(data: &[u8]) {
    let tag = vlan::Tag::new_unchecked(data);
    black_box((tag.pcp(), tag.dei(), tag.vid(), tag.ethertype(), tag.payload()));
    let Ok(tag) = vlan::Tag::new_checked(data) else { return };
    let repr = vlan::Repr::parse(&tag).expect("was checked");
    let mut bytes = buffer(repr.buffer_len());
    repr.emit(&mut bytes);
    assert_eq!(bytes, data[..vlan::HEADER_LEN]);
    assert_eq!(vlan::Repr::parse(&vlan::Tag::new_unchecked(bytes)), Ok(repr));
}

/// ARP packets.
pub fn arp(data: &[u8]) {
    let packet = arp::Packet::new_unchecked(data);
    black_box((packet.operation(), packet.sender_mac(), packet.sender_ip()));
    black_box((packet.target_mac(), packet.target_ip()));
    let Ok(packet) = arp::Packet::new_checked(data) else { return };
    let repr = arp::Repr::parse(&packet).expect("was checked");
    let mut bytes = buffer(repr.buffer_len());
    repr.emit(&mut bytes);
    assert_eq!(bytes, data[..arp::PACKET_LEN]);
    assert_eq!(arp::Repr::parse(&arp::Packet::new_unchecked(bytes)), Ok(repr));
}
