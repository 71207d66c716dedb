//! ICMP for both versions of IP.

use std::net::Ipv6Addr;

use freeway_wire::{Error, icmpv4, icmpv6};
use proptest::prelude::*;

use crate::strategy::bytes;

#[test]
fn known_echo() {
    let bytes = [0x08, 0x00, 0x21, 0x68, 0x12, 0x34, 0x00, 0x01, b'a', b'b', b'c'];
    let packet = icmpv4::Packet::new_checked(&bytes).unwrap();
    assert!(packet.verify_checksum());
    let repr = icmpv4::Repr::EchoRequest { ident: 0x1234, seq: 1, data: b"abc" };
    assert_eq!(icmpv4::Repr::parse(&packet), Ok(repr));
    let mut written = [0xa5; 11];
    repr.emit(&mut written);
    assert_eq!(written, bytes);
}

#[test]
fn known_echo_v6() {
    let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let bytes = [0x80, 0x00, 0x4d, 0xae, 0x12, 0x34, 0x00, 0x01, b'a', b'b', b'c'];
    let packet = icmpv6::Packet::new_checked(&bytes).unwrap();
    assert_eq!(
        icmpv6::Repr::parse(&packet),
        Ok(icmpv6::Repr::EchoRequest { ident: 0x1234, seq: 1, data: b"abc" })
    );
    assert!(packet.verify_checksum(address, address));
    assert!(!packet.verify_checksum(address, Ipv6Addr::LOCALHOST));
}

#[test]
fn the_mtu_belongs_to_fragmentation_needed() {
    let mut bytes = [3, icmpv4::unreachable::FRAGMENTATION_NEEDED, 0, 0, 0, 0, 0x05, 0xdc];
    let mtu = |bytes: &[u8]| match icmpv4::Repr::parse(&icmpv4::Packet::new_unchecked(bytes)) {
        Ok(icmpv4::Repr::DstUnreachable { mtu, .. }) => mtu,
        other => panic!("{other:?}"),
    };
    assert_eq!(mtu(&bytes), 1500);
    bytes[1] = icmpv4::unreachable::PORT;
    assert_eq!(mtu(&bytes), 0);
}

#[test]
fn short_messages_are_truncated() {
    assert_eq!(icmpv4::Packet::new_checked(&[0; 7]).unwrap_err(), Error::Truncated);
    assert_eq!(icmpv6::Packet::new_checked(&[0; 7]).unwrap_err(), Error::Truncated);
    assert_eq!(icmpv4::Repr::parse(&icmpv4::Packet::new_unchecked(&[8, 0])), Err(Error::Truncated));
}

#[test]
fn errors_are_told_from_questions() {
    assert!(icmpv4::Type::DST_UNREACHABLE.is_error() && !icmpv4::Type::ECHO_REQUEST.is_error());
    assert!(icmpv6::Type::PACKET_TOO_BIG.is_error() && !icmpv6::Type::NEIGHBOR_ADVERT.is_error());
    assert!(icmpv6::Type::REDIRECT.is_ndp() && !icmpv6::Type::ECHO_REPLY.is_ndp());
}

proptest! {
    #[test]
    fn v4_there_and_back(which in 0..6, a in any::<u16>(), b in any::<u16>(), code in any::<u8>(), data in bytes(60)) {
        let data = &data[..];
        let repr = match which {
            0 => icmpv4::Repr::EchoRequest { ident: a, seq: b, data },
            1 => icmpv4::Repr::EchoReply { ident: a, seq: b, data },
            2 => icmpv4::Repr::DstUnreachable {
                code,
                mtu: if code == icmpv4::unreachable::FRAGMENTATION_NEEDED { a } else { 0 },
                invoking: data,
            },
            3 => icmpv4::Repr::TimeExceeded { code, invoking: data },
            4 => icmpv4::Repr::ParameterProblem { code, pointer: a as u8, invoking: data },
            _ => icmpv4::Repr::Other { kind: icmpv4::Type(13), code, rest: [1, 2, 3, a as u8], data },
        };
        let mut bytes = vec![0xa5; repr.buffer_len()];
        repr.emit(&mut bytes);
        let packet = icmpv4::Packet::new_checked(&bytes).unwrap();
        prop_assert!(packet.verify_checksum());
        prop_assert_eq!(icmpv4::Repr::parse(&packet), Ok(repr));
    }

    #[test]
    fn v6_there_and_back(
        which in 0..7,
        (src, dst) in any::<(Ipv6Addr, Ipv6Addr)>(),
        (a, b, code, word) in any::<(u16, u16, u8, u32)>(),
        data in bytes(60),
    ) {
        let data = &data[..];
        let repr = match which {
            0 => icmpv6::Repr::EchoRequest { ident: a, seq: b, data },
            1 => icmpv6::Repr::EchoReply { ident: a, seq: b, data },
            2 => icmpv6::Repr::DstUnreachable { code, invoking: data },
            3 => icmpv6::Repr::PacketTooBig { mtu: word, invoking: data },
            4 => icmpv6::Repr::TimeExceeded { code, invoking: data },
            5 => icmpv6::Repr::ParameterProblem { code, pointer: word, invoking: data },
            _ => icmpv6::Repr::Other { kind: icmpv6::Type(143), code, rest: word.to_be_bytes(), data },
        };
        let mut bytes = vec![0xa5; repr.buffer_len()];
        repr.emit(src, dst, &mut bytes);
        let packet = icmpv6::Packet::new_checked(&bytes).unwrap();
        prop_assert!(packet.verify_checksum(src, dst));
        prop_assert_eq!(icmpv6::Repr::parse(&packet), Ok(repr));
    }

    #[test]
    fn no_bytes_panic(mut bytes in bytes(40)) {
        let v4 = icmpv4::Packet::new_unchecked(&bytes);
        let _ = (v4.ident(), v4.seq(), v4.next_mtu(), v4.pointer(), v4.rest(), v4.payload(), v4.verify_checksum());
        let v6 = icmpv6::Packet::new_unchecked(&bytes);
        let _ = (v6.ident(), v6.seq(), v6.mtu(), v6.pointer(), v6.rest(), v6.payload());
        let _ = (icmpv4::Repr::parse(&v4), icmpv6::Repr::parse(&v6));
        icmpv4::Packet::new_unchecked(&mut bytes[..]).fill_checksum();
    }
}
