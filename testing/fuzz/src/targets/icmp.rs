//! ICMP of both kinds and neighbour discovery.

use std::hint::black_box;
use std::net::Ipv6Addr;

use freeway_wire::{icmpv4, icmpv6, ndp};

use super::buffer;

const SRC: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const DST: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// ICMP messages for IPv4.
pub fn icmpv4(data: &[u8]) {
    let packet = icmpv4::Packet::new_unchecked(data);
    black_box((packet.kind().is_error(), packet.code(), packet.checksum(), packet.ident(), packet.seq()));
    black_box((packet.next_mtu(), packet.pointer(), packet.rest(), packet.payload()));
    black_box(packet.verify_checksum());
    let Ok(packet) = icmpv4::Packet::new_checked(data) else { return };
    let repr = icmpv4::Repr::parse(&packet).expect("was checked");
    let mut bytes = buffer(repr.buffer_len());
    repr.emit(&mut bytes);
    let again = icmpv4::Packet::new_unchecked(&bytes);
    assert!(again.verify_checksum());
    assert_eq!(icmpv4::Repr::parse(&again), Ok(repr));
}

/// ICMP messages for IPv6.
pub fn icmpv6(data: &[u8]) {
    let packet = icmpv6::Packet::new_unchecked(data);
    black_box((packet.kind().is_error(), packet.kind().is_ndp(), packet.code(), packet.checksum()));
    black_box((packet.ident(), packet.seq(), packet.mtu(), packet.pointer(), packet.rest()));
    black_box((packet.payload(), packet.verify_checksum(SRC, DST)));
    let Ok(packet) = icmpv6::Packet::new_checked(data) else { return };
    let repr = icmpv6::Repr::parse(&packet).expect("was checked");
    let mut bytes = buffer(repr.buffer_len());
    repr.emit(SRC, DST, &mut bytes);
    let again = icmpv6::Packet::new_unchecked(&bytes);
    assert!(again.verify_checksum(SRC, DST));
    assert_eq!(icmpv6::Repr::parse(&again), Ok(repr));
}

/// Neighbour discovery, from the ICMPv6 header on.
pub fn ndp(data: &[u8]) {
    for option in ndp::Options::new(data).flatten() {
        black_box((option.kind, option.data()));
    }
    let packet = icmpv6::Packet::new_unchecked(data);
    let Ok(repr) = ndp::Repr::parse(&packet) else { return };
    // An advertisement may repeat options and a redirect quote a packet: what is written is never longer.
    assert!(repr.buffer_len() <= data.len());
    let mut bytes = buffer(repr.buffer_len());
    repr.emit(SRC, DST, &mut bytes);
    let again = icmpv6::Packet::new_unchecked(&bytes);
    assert!(again.verify_checksum(SRC, DST));
    assert_eq!(ndp::Repr::parse(&again), Ok(repr));
}
