//! The Internet checksum against words added one by one.

use freeway_wire::checksum::{self, Sum, copy_and_sum, update16, update32};
use freeway_wire::{Protocol, checksum::pseudo_header};
use proptest::prelude::*;

use crate::strategy::{addresses, bytes};

/// RFC 1071 section 1, as plainly as it goes.
fn word_by_word(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The example of RFC 1071 section 3.
#[test]
fn example_of_rfc_1071() {
    let sum = checksum::sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
    assert_eq!(sum.partial(), 0xddf2);
    assert_eq!(sum.finish(), !0xddf2);
}

/// The example of RFC 1624 section 4.
#[test]
fn example_of_rfc_1624() {
    assert_eq!(update16(0xdd2f, 0x5555, 0x3285), 0x0000);
}

#[test]
fn nothing_sums_to_zero_and_all_ones_to_all_ones() {
    assert_eq!(Sum::new().finish(), 0xffff);
    for len in [2, 64, 128, 1460, 65_534] {
        assert!(checksum::sum(&vec![0xff; len]).is_valid(), "{len}");
    }
}

/// Both sides of every change of shape in the kernel.
#[test]
fn every_length_agrees() {
    let bytes: Vec<u8> = (0..700u32).map(|i| ((i * 167) >> 2) as u8 | 0x80).collect();
    let mut copy = vec![0; bytes.len()];
    for from in 0..2 {
        for to in from..bytes.len() {
            let piece = &bytes[from..to];
            assert_eq!(checksum::sum(piece).finish(), word_by_word(piece), "{from}..{to}");
            copy.fill(0);
            assert_eq!(copy_and_sum(&mut copy, piece).finish(), word_by_word(piece), "{from}..{to}");
            assert_eq!(&copy[..piece.len()], piece);
            assert!(copy[piece.len()..].iter().all(|&byte| byte == 0));
        }
    }
}

#[test]
fn a_copy_stops_at_the_shorter_end() {
    let mut short = [0; 3];
    assert_eq!(copy_and_sum(&mut short, &[1, 2, 3, 4]).finish(), word_by_word(&[1, 2, 3]));
    assert_eq!(short, [1, 2, 3]);
}

proptest! {
    #[test]
    fn any_bytes_agree(bytes in bytes(3000)) {
        prop_assert_eq!(checksum::sum(&bytes).finish(), word_by_word(&bytes));
    }

    #[test]
    fn pieces_join_at_any_offset(bytes in bytes(400), cuts in any::<[prop::sample::Index; 2]>()) {
        let [a, b] = cuts.map(|cut| cut.index(bytes.len() + 1));
        let (a, b) = (a.min(b), a.max(b));
        let sum = Sum::new()
            .join(checksum::sum(&bytes[b..]), b)
            .join(checksum::sum(&bytes[..a]), 0)
            .join(checksum::sum(&bytes[a..b]), a);
        prop_assert_eq!(sum.finish(), word_by_word(&bytes));
    }

    #[test]
    fn words_are_bytes(half in any::<u16>(), word in any::<u32>()) {
        let [a, b] = half.to_be_bytes();
        let [c, d, e, f] = word.to_be_bytes();
        prop_assert_eq!(Sum::new().add_u16(half).add_u32(word).finish(), word_by_word(&[a, b, c, d, e, f]));
    }

    /// One byte is never zero, so that the sum's two zeros do not meet.
    #[test]
    fn an_update_is_a_new_sum(mut bytes in prop::collection::vec(any::<u8>(), 9..60), new in any::<u32>()) {
        bytes[8] = 1;
        let before = word_by_word(&bytes);
        let old = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        bytes[..4].copy_from_slice(&new.to_be_bytes());
        let after = word_by_word(&bytes);
        prop_assert_eq!(update32(before, old, new), after);
        let halfway = update16(before, (old >> 16) as u16, (new >> 16) as u16);
        prop_assert_eq!(update16(halfway, old as u16, new as u16), after);
    }

    #[test]
    fn transport_is_filled_and_verified(
        (src, dst) in addresses(),
        protocol in prop::sample::select(&[Protocol::TCP, Protocol::UDP, Protocol::ICMP, Protocol::ICMPV6][..]),
        mut bytes in prop::collection::vec(any::<u8>(), 20..200),
        cut in 20usize..200,
        flip in any::<prop::sample::Index>(),
    ) {
        checksum::fill_transport(src, dst, protocol, &mut bytes);
        prop_assert!(checksum::verify_transport(src, dst, protocol, &bytes));

        let mut in_parts = bytes.clone();
        let (front, rest) = in_parts.split_at_mut(cut.min(bytes.len()));
        checksum::fill_transport_parts(src, dst, protocol, front, checksum::sum(rest), rest.len());
        prop_assert_eq!(&in_parts, &bytes);

        // A device that goes on from the pseudo-header's sum comes to the same.
        let mut seeded = bytes.clone();
        checksum::seed_transport(src, dst, protocol, &mut seeded);
        let at = match protocol { Protocol::TCP => 16, Protocol::UDP => 6, _ => 2 };
        let by_device = checksum::sum(&seeded).finish().to_be_bytes();
        let written = [bytes[at], bytes[at + 1]];
        prop_assert!(by_device == written || (by_device, written) == ([0, 0], [0xff, 0xff]));

        let bit = flip.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        // A UDP checksum that became zero means "none" over IPv4.
        let none = protocol == Protocol::UDP && src.is_ipv4() && bytes[6..8] == [0, 0];
        prop_assert!(none || !checksum::verify_transport(src, dst, protocol, &bytes));
    }

    #[test]
    fn short_transport_never_panics((src, dst) in addresses(), protocol in any::<u8>(), mut bytes in bytes(24)) {
        let protocol = Protocol(protocol);
        checksum::fill_transport(src, dst, protocol, &mut bytes);
        checksum::seed_transport(src, dst, protocol, &mut bytes);
        checksum::verify_transport(src, dst, protocol, &bytes);
        let _ = pseudo_header(src, dst, protocol, bytes.len() as u32);
    }
}
