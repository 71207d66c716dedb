//! TCP's header.

use std::net::{IpAddr, Ipv4Addr};

use freeway_wire::tcp::{Flags, HEADER_LEN, Header, Options, Repr, Segment, SeqNumber, Timestamps};
use freeway_wire::{Error, Protocol, checksum};
use proptest::prelude::*;

use crate::strategy::{addresses, bytes, mapped};
use crate::tcp_options;

const SRC: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1));
const DST: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2));

/// What an established connection sends: timestamps, two bytes of data.
const DATA: [u8; 34] = [
    0x1f, 0x90, 0xc3, 0x50, // from 8080 to 50000
    0x01, 0x02, 0x03, 0x04, // sequence number
    0xff, 0xff, 0xff, 0xff, // acknowledgment number
    0x80, 0x18, 0x01, 0xf6, // eight words, PSH and ACK, window
    0x91, 0x17, 0x00, 0x00, // checksum
    0x01, 0x01, 0x08, 0x0a, 0x00, 0x00, 0x00, 0x64, 0x00, 0x00, 0x00, 0xc8, // timestamps
    b'o', b'k',
];

fn repr() -> Repr {
    Repr {
        src_port: 8080,
        dst_port: 50_000,
        seq: SeqNumber(0x0102_0304),
        ack: SeqNumber(u32::MAX),
        flags: Flags::PSH | Flags::ACK,
        window: 502,
        urgent: 0,
        options: Options::with_timestamps(Timestamps { value: 100, echo: 200 }),
    }
}

#[test]
fn known_segment() {
    let segment = Segment::new_checked(&DATA).unwrap();
    assert_eq!(segment.payload(), b"ok");
    assert_eq!(Repr::parse(&segment), Ok(repr()));
    let mut written = DATA;
    written[..32].fill(0xa5);
    repr().emit(&mut written);
    checksum::fill_transport(SRC, DST, Protocol::TCP, &mut written);
    assert_eq!(written, DATA);
    assert!(segment.verify_checksum(SRC, DST));
}

/// MUST-3: zero is a checksum like any other.
#[test]
fn a_checksum_of_zero_is_not_none() {
    let mut bytes = DATA;
    bytes[16..18].fill(0);
    assert!(!Segment::new_checked(&bytes).unwrap().verify_checksum(SRC, DST));
}

/// Section 3.1: reserved bits are sent as zero and ignored on receipt.
#[test]
fn reserved_bits_are_ignored_and_sent_as_zero() {
    let mut bytes = DATA;
    bytes[12] |= 0x0f;
    assert_eq!(Repr::parse(&Segment::new_checked(&bytes).unwrap()), Ok(repr()));
    repr().emit(&mut bytes);
    assert_eq!(bytes[12], 0x80);
}

#[test]
fn header_lengths_that_cannot_be_are_refused() {
    let with_words = |words: u8| {
        let mut bytes = DATA;
        bytes[12] = words << 4;
        Segment::new_checked(bytes).map(|_| ())
    };
    assert_eq!(with_words(4), Err(Error::BadLength));
    assert_eq!(with_words(5), Ok(()));
    assert_eq!(with_words(9), Err(Error::Truncated));
    assert_eq!(Segment::new_checked(&DATA[..19]).unwrap_err(), Error::Truncated);
}

#[test]
fn nothing_is_written_into_too_little_room() {
    let mut room = [0xa5; 31];
    repr().emit(&mut room);
    assert_eq!(room, [0xa5; 31]);
    let mut room = [0xa5; 19];
    Repr { options: Options::NONE, ..repr() }.emit(&mut room);
    assert_eq!(room, [0xa5; 19]);
}

#[test]
fn syn_and_fin_take_a_sequence_number_each() {
    assert_eq!((Flags::SYN | Flags::FIN | Flags::ACK).sequence_len(), 2);
    assert_eq!((Flags::RST | Flags::ACK).sequence_len(), 0);
}

proptest! {
    /// A header that is summed as it is written is the one that is written and then summed.
    #[test]
    fn both_ways_to_a_checksum_agree(
        (src, dst) in addresses(),
        (seq, ack, ports) in any::<(u32, u32, u32)>(),
        (window, urgent, flags) in any::<(u16, u16, u8)>(),
        options in prop_oneof![
            tcp_options::any_options(),
            tcp_options::timestamps().prop_map(Options::with_timestamps),
            tcp_options::opening(),
        ],
        payload in bytes(200),
    ) {
        let (src_port, dst_port) = ((ports >> 16) as u16, ports as u16);
        let (seq, ack) = (SeqNumber(seq), SeqNumber(ack));
        let flags = Flags::from_bits_retain(flags);
        let repr = Repr { src_port, dst_port, seq, ack, flags, window, urgent, options };
        let header = Header { src_port, dst_port, seq, ack, flags, window, urgent, options: &repr.options };
        let mut written = vec![0xa5; repr.header_len()];
        written.extend(&payload);
        let mut summed = written.clone();
        repr.emit(&mut written);
        checksum::fill_transport(src, dst, Protocol::TCP, &mut written);
        let (src_bits, dst_bits) = (mapped(src), mapped(dst));
        let pseudo = checksum::pseudo_header_mapped(src_bits, dst_bits, Protocol::TCP, summed.len() as u32);
        header.emit_summed(&mut summed, pseudo);
        prop_assert_eq!(summed, written);
    }
    #[test]
    fn there_and_back(
        (src_port, dst_port, seq, ack) in any::<(u16, u16, u32, u32)>(),
        (flags, window, urgent) in any::<(u8, u16, u16)>(),
        options in tcp_options::any_options(),
    ) {
        let repr = Repr {
            src_port,
            dst_port,
            seq: SeqNumber(seq),
            ack: SeqNumber(ack),
            flags: Flags::from_bits_retain(flags),
            window,
            urgent,
            options,
        };
        let mut bytes = vec![0xa5; repr.buffer_len()];
        repr.emit(&mut bytes);
        let segment = Segment::new_checked(bytes).unwrap();
        prop_assert!(segment.payload().is_empty());
        prop_assert_eq!(segment.header_len(), HEADER_LEN + options.len());
        prop_assert_eq!(Repr::parse(&segment), Ok(Repr { options: options.fitting(), ..repr }));
    }

    #[test]
    fn no_bytes_panic(mut bytes in bytes(80)) {
        let segment = Segment::new_unchecked(&bytes);
        let _ = (segment.header_len(), segment.options(), segment.payload(), segment.verify_checksum(SRC, DST));
        let _ = (Repr::parse(&segment), Repr::read(&segment));
        let mut segment = Segment::new_unchecked(&mut bytes[..]);
        segment.options_mut().fill(0);
        segment.payload_mut().fill(0);
    }
}
