//! UDP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use freeway_wire::udp::{Datagram, Repr};
use freeway_wire::{Error, Protocol, checksum};
use proptest::prelude::*;

use crate::strategy::{addresses, bytes, mapped};

const SRC: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1));
const DST: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2));

/// "ping" from port 4660 to port 53, and a byte of padding.
const DATAGRAM: [u8; 13] = [0x12, 0x34, 0x00, 0x35, 0x00, 0x0c, 0x82, 0x74, b'p', b'i', b'n', b'g', 0x00];

#[test]
fn known_datagram() {
    let datagram = Datagram::new_checked(&DATAGRAM).unwrap();
    assert_eq!(datagram.payload(), b"ping");
    assert!(datagram.verify_checksum(SRC, DST));
    let repr = Repr { src_port: 0x1234, dst_port: 53, payload_len: 4 };
    assert_eq!(Repr::parse(&datagram), Ok(repr));
    let mut written = DATAGRAM;
    repr.emit(&mut written);
    checksum::fill_transport(SRC, DST, Protocol::UDP, &mut written[..12]);
    assert_eq!(written, DATAGRAM);
}

#[test]
fn zero_means_none_over_ipv4_and_nothing_over_ipv6() {
    let mut bytes = DATAGRAM;
    bytes[6..8].fill(0);
    let datagram = Datagram::new_checked(&bytes).unwrap();
    assert!(datagram.verify_checksum(SRC, DST));
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    assert!(!datagram.verify_checksum(v6, v6));
}

#[test]
fn a_sum_of_zero_is_written_as_all_ones() {
    let mut bytes = [0, 0, 0, 0, 0, 10, 0, 0, 0, 0];
    checksum::fill_transport(SRC, DST, Protocol::UDP, &mut bytes);
    let missing = [bytes[6], bytes[7]];
    bytes[8..].copy_from_slice(&missing);
    checksum::fill_transport(SRC, DST, Protocol::UDP, &mut bytes);
    assert_eq!(bytes[6..8], [0xff, 0xff]);
    assert!(checksum::verify_transport(SRC, DST, Protocol::UDP, &bytes));
}

#[test]
fn lengths_that_contradict_are_refused() {
    let with_len = |len: u8| {
        let mut bytes = DATAGRAM;
        bytes[5] = len;
        Datagram::new_checked(bytes).map(|_| ())
    };
    assert_eq!(with_len(0), Err(Error::BadLength));
    assert_eq!(with_len(7), Err(Error::BadLength));
    assert_eq!(with_len(8), Ok(()));
    assert_eq!(with_len(14), Err(Error::Truncated));
    assert_eq!(Datagram::new_checked(&DATAGRAM[..7]).unwrap_err(), Error::Truncated);
}

proptest! {
    /// A header that is summed as it is written is the one that is written and then summed.
    #[test]
    fn both_ways_to_a_checksum_agree(
        (src, dst) in addresses(),
        (src_port, dst_port) in any::<(u16, u16)>(),
        payload in bytes(200),
    ) {
        let repr = Repr { src_port, dst_port, payload_len: payload.len() as u16 };
        let mut written = vec![0xa5; repr.buffer_len()];
        written.extend(&payload);
        let mut summed = written.clone();
        repr.emit(&mut written);
        checksum::fill_transport(src, dst, Protocol::UDP, &mut written);
        let len = summed.len() as u32;
        let pseudo = checksum::pseudo_header_mapped(mapped(src), mapped(dst), Protocol::UDP, len);
        repr.emit_summed(&mut summed, pseudo);
        prop_assert_eq!(summed, written);
    }
    #[test]
    fn there_and_back((src, dst) in addresses(), ports in any::<(u16, u16)>(), payload in bytes(100)) {
        let repr = Repr { src_port: ports.0, dst_port: ports.1, payload_len: payload.len() as u16 };
        let mut bytes = vec![0xa5; repr.buffer_len()];
        repr.emit(&mut bytes);
        bytes.extend(&payload);
        checksum::fill_transport(src, dst, Protocol::UDP, &mut bytes);
        let datagram = Datagram::new_checked(bytes).unwrap();
        prop_assert_eq!(datagram.payload(), payload);
        prop_assert!(datagram.verify_checksum(src, dst));
        prop_assert_eq!(Repr::parse(&datagram), Ok(repr));
    }

    #[test]
    fn no_bytes_panic(mut bytes in bytes(30)) {
        let datagram = Datagram::new_unchecked(&bytes);
        let _ = (datagram.payload(), datagram.verify_checksum(SRC, DST), Repr::parse(&datagram));
        Datagram::new_unchecked(&mut bytes[..]).payload_mut().fill(0);
    }
}
