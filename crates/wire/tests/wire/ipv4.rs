//! IPv4.

use std::net::Ipv4Addr;

use freeway_wire::ipv4::{HEADER_LEN, OptionKind, Options, Packet, Repr};
use freeway_wire::{Ecn, Error, Protocol};
use proptest::prelude::*;

use crate::strategy::{bytes, ecn};

/// Four bytes of UDP's from 198.18.0.1 to 198.18.0.2, and two bytes of Ethernet's padding.
const PACKET: [u8; 26] = [
    0x45, 0xb9, 0x00, 0x18, // version 4, five words; expedited forwarding, ECT(1); 24 bytes
    0x12, 0x34, 0x40, 0x00, // don't fragment
    0x40, 0x11, 0x9b, 0xc0, // 64 hops, UDP
    198, 18, 0, 1, //
    198, 18, 0, 2, //
    0xde, 0xad, 0xbe, 0xef, //
    0x00, 0x00,
];

fn repr() -> Repr {
    Repr {
        src: Ipv4Addr::new(198, 18, 0, 1),
        dst: Ipv4Addr::new(198, 18, 0, 2),
        protocol: Protocol::UDP,
        ttl: 64,
        dscp: 46,
        ecn: Ecn::Ect1,
        ident: 0x1234,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        payload_len: 4,
    }
}

#[test]
fn known_packet() {
    let packet = Packet::new_checked(&PACKET).unwrap();
    assert!(packet.verify_checksum());
    assert_eq!(packet.payload(), [0xde, 0xad, 0xbe, 0xef]);
    assert_eq!(Repr::parse(&packet), Ok(repr()));
    let mut written = PACKET;
    written[..HEADER_LEN].fill(0xa5);
    repr().emit(&mut written);
    assert_eq!(written, PACKET);
}

#[test]
fn lengths_that_contradict_are_refused() {
    let damaged = |at: usize, value: u8| {
        let mut bytes = PACKET;
        bytes[at] = value;
        Packet::new_checked(bytes).map(|_| ())
    };
    assert_eq!(damaged(0, 0x65), Err(Error::BadVersion));
    assert_eq!(damaged(0, 0x44), Err(Error::BadLength), "header shorter than five words");
    assert_eq!(damaged(0, 0x47), Err(Error::BadLength), "header longer than the packet");
    assert_eq!(damaged(3, 19), Err(Error::BadLength), "packet shorter than its header");
    assert_eq!(damaged(3, 27), Err(Error::Truncated), "packet longer than the bytes");
    assert_eq!(Packet::new_checked(&PACKET[..19]).unwrap_err(), Error::Truncated);
}

#[test]
fn a_quoted_packet_may_be_cut_short() {
    let quoted = &PACKET[..22];
    assert_eq!(Packet::new_checked(quoted).unwrap_err(), Error::Truncated);
    assert_eq!(Packet::new_quoted(quoted).unwrap().payload(), [0xde, 0xad]);
}

#[test]
fn options_are_walked_and_checked() {
    let walk = |bytes: &[u8]| {
        Options::new(bytes)
            .map(|option| option.map(|option| (option.kind, option.data.to_vec())))
            .collect::<Vec<_>>()
    };
    assert_eq!(walk(&[1, 148, 4, 0, 0, 0, 255, 255]), [Ok((OptionKind::ROUTER_ALERT, vec![0, 0]))]);
    for wrong in [&[7][..], &[7, 0, 0, 0], &[7, 1, 0, 0], &[7, 5, 0, 0]] {
        assert_eq!(walk(wrong), [Err(Error::BadLength)], "{wrong:?}");
    }
    let mut packet = [0; 24];
    repr().emit(&mut packet);
    packet[0] = 0x46;
    packet[20..].copy_from_slice(&[148, 4, 0, 0]);
    Packet::new_unchecked(&mut packet[..]).fill_checksum();
    let view = Packet::new_checked(&packet).unwrap();
    assert!(view.verify_checksum());
    assert_eq!(Repr::parse(&view), Ok(Repr { payload_len: 0, ..repr() }));
    packet[21] = 5;
    assert_eq!(Repr::parse(&Packet::new_unchecked(&packet)), Err(Error::BadLength));
}

proptest! {
    #[test]
    fn there_and_back(
        (src, dst) in any::<(Ipv4Addr, Ipv4Addr)>(),
        (protocol, ttl, dscp, ecn) in (any::<u8>(), any::<u8>(), 0u8..64, ecn()),
        (ident, units) in (any::<u16>(), 0u16..8192),
        (dont_fragment, more_fragments) in any::<(bool, bool)>(),
        payload_len in 0u16..=65_515,
    ) {
        let repr = Repr {
            src,
            dst,
            protocol: Protocol(protocol),
            ttl,
            dscp,
            ecn,
            ident,
            dont_fragment,
            more_fragments,
            fragment_offset: units * 8,
            payload_len,
        };
        let mut bytes = vec![0xa5; repr.buffer_len()];
        repr.emit(&mut bytes);
        let mut packet = Packet::new_quoted(bytes).unwrap();
        prop_assert!(packet.verify_checksum());
        prop_assert_eq!(packet.is_fragment(), more_fragments || units != 0);
        prop_assert_eq!(Repr::parse(&packet), Ok(repr));
        packet.set_ecn(Ecn::Ce);
        prop_assert_eq!(Repr::parse(&packet), Ok(Repr { ecn: Ecn::Ce, ..repr }));
    }

    #[test]
    fn no_bytes_panic(mut bytes in bytes(80), first in 0x40u8..0x50) {
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        let packet = Packet::new_unchecked(&bytes);
        let _ = (packet.header_len(), packet.payload(), packet.header(), packet.verify_checksum());
        let _ = (packet.pseudo_header(), packet.options().count(), Repr::parse(&packet));
        let mut packet = Packet::new_unchecked(&mut bytes[..]);
        packet.fill_checksum();
        packet.payload_mut().fill(0);
    }
}
