//! Neighbour discovery.

use std::net::Ipv6Addr;

use freeway_wire::icmpv6::Packet;
use freeway_wire::ndp::{
    self, NeighborAdvert, NeighborFlags, NeighborSolicit, Options, Prefix, Prefixes, Redirect, Repr,
    RouterAdvert, RouterSolicit,
};
use freeway_wire::{Error, MacAddr};
use proptest::prelude::*;

use crate::strategy::{bytes, mac, unicast_v6};

const TARGET: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// Who has 2001:db8::2? From 2001:db8::1 at 02:00:00:00:00:01.
const SOLICIT: [u8; 32] = [
    0x87, 0x00, 0x1c, 0x27, 0x00, 0x00, 0x00, 0x00, // type, code, checksum, reserved
    0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, // target
    0x01, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x01, // source link-layer address
];

#[test]
fn known_solicitation() {
    let repr = Repr::NeighborSolicit(NeighborSolicit {
        target: TARGET,
        source_lladdr: Some(MacAddr([2, 0, 0, 0, 0, 1])),
    });
    let packet = Packet::new_checked(&SOLICIT).unwrap();
    assert_eq!(Repr::parse(&packet), Ok(repr));
    let src = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let dst = ndp::solicited_node(TARGET);
    assert_eq!(dst, "ff02::1:ff00:2".parse::<Ipv6Addr>().unwrap());
    let mut written = [0xa5; 32];
    repr.emit(src, dst, &mut written);
    assert!(packet.verify_checksum(src, dst));
    assert_eq!(written, SOLICIT);
}

#[test]
fn what_rfc_4861_forbids_is_refused() {
    let parse = |change: fn(&mut Vec<u8>)| {
        let mut bytes = SOLICIT.to_vec();
        change(&mut bytes);
        Repr::parse(&Packet::new_unchecked(&bytes)).map(|_| ())
    };
    assert_eq!(parse(|bytes| bytes[25] = 0), Err(Error::BadLength), "option of no length");
    assert_eq!(parse(|bytes| bytes[25] = 2), Err(Error::BadLength), "option beyond the message");
    assert_eq!(parse(|bytes| bytes[1] = 1), Err(Error::BadValue), "code");
    assert_eq!(parse(|bytes| bytes[0] = 128), Err(Error::BadValue), "echo");
    assert_eq!(parse(|bytes| bytes[8] = 0xff), Err(Error::BadValue), "target is a group");
    assert_eq!(parse(|bytes| bytes.truncate(23)), Err(Error::Truncated));
    assert_eq!(
        parse(|bytes| *bytes = vec![0x85, 0, 0, 0, 0, 0, 0]),
        Err(Error::Truncated),
        "header cut short"
    );
    assert_eq!(parse(|bytes| bytes[24] = 99), Ok(()), "unknown option");
}

#[test]
fn a_ninth_prefix_is_left_out() {
    let prefix = Prefix {
        address: TARGET,
        len: 64,
        on_link: true,
        autonomous: true,
        valid_lifetime: 1,
        preferred_lifetime: 1,
    };
    let mut prefixes = Prefixes::NONE;
    assert!((0..8).all(|_| prefixes.push(prefix)));
    assert!(!prefixes.push(prefix));
    assert_eq!(prefixes.as_slice().len(), 8);
}

fn prefix() -> impl Strategy<Value = Prefix> {
    (any::<Ipv6Addr>(), 0u8..=128, any::<(bool, bool)>(), any::<(u32, u32)>()).prop_map(
        |(address, len, (on_link, autonomous), (valid_lifetime, preferred_lifetime))| Prefix {
            address,
            len,
            on_link,
            autonomous,
            valid_lifetime,
            preferred_lifetime,
        },
    )
}

fn router_advert() -> impl Strategy<Value = RouterAdvert> {
    (
        any::<(u8, bool, bool, u16, u32, u32)>(),
        proptest::option::of(mac()),
        any::<Option<u32>>(),
        prop::collection::vec(prefix(), 0..=8),
    )
        .prop_map(|(fixed, source_lladdr, mtu, list)| {
            let (hop_limit, managed, other_config, lifetime, reachable_time_ms, retrans_timer_ms) = fixed;
            let mut prefixes = Prefixes::NONE;
            for prefix in list {
                prefixes.push(prefix);
            }
            RouterAdvert {
                hop_limit,
                managed,
                other_config,
                lifetime,
                reachable_time_ms,
                retrans_timer_ms,
                source_lladdr,
                mtu,
                prefixes,
            }
        })
}

fn there_and_back(repr: &Repr<'_>) {
    let (src, dst) = (Ipv6Addr::LOCALHOST, TARGET);
    let mut bytes = vec![0xa5; repr.buffer_len()];
    repr.emit(src, dst, &mut bytes);
    let packet = Packet::new_checked(&bytes).unwrap();
    assert!(packet.verify_checksum(src, dst));
    assert_eq!(Repr::parse(&packet), Ok(*repr));
}

proptest! {
    #[test]
    fn router_messages_there_and_back(advert in router_advert(), source_lladdr in proptest::option::of(mac())) {
        there_and_back(&Repr::RouterAdvert(advert));
        there_and_back(&Repr::RouterSolicit(RouterSolicit { source_lladdr }));
    }

    #[test]
    fn neighbor_messages_there_and_back(
        target in unicast_v6(),
        destination in unicast_v6(),
        lladdr in proptest::option::of(mac()),
        flags in any::<u8>(),
        words in 0usize..20,
    ) {
        let flags = NeighborFlags::from_bits_truncate(flags);
        there_and_back(&Repr::NeighborSolicit(NeighborSolicit { target, source_lladdr: lladdr }));
        there_and_back(&Repr::NeighborAdvert(NeighborAdvert { flags, target, target_lladdr: lladdr }));
        // Whole units of eight bytes: what a shorter packet is padded to cannot be told from it.
        let invoking = vec![0x60; words * 8];
        there_and_back(&Repr::Redirect(Redirect { target, destination, target_lladdr: lladdr, invoking: &invoking }));
    }

    #[test]
    fn no_bytes_panic(kind in 133u8..=137, mut bytes in bytes(100)) {
        prop_assert!(Options::new(&bytes).count() <= bytes.len());
        if let [first, code, ..] = &mut bytes[..] {
            (*first, *code) = (kind, 0);
        }
        let _ = Repr::parse(&Packet::new_unchecked(&bytes));
    }
}
