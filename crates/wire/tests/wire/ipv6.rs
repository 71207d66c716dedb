//! IPv6 and its extension headers.

use std::net::Ipv6Addr;

use freeway_wire::ipv6::ext::{
    Action, Extension, ExtensionHeaders, FragmentRepr, Kind, OptionKind, Options, Routing,
};
use freeway_wire::ipv6::{HEADER_LEN, NEXT_HEADER_OFFSET, Packet, Repr};
use freeway_wire::{Ecn, Error, Protocol};
use proptest::prelude::*;

use crate::strategy::{bytes, ecn};

const HEADER: [u8; HEADER_LEN] = [
    0x6b, 0xab, 0xcd,
    0xef, // version 6; expedited forwarding, ECT(0); flow label abcdef less its first digit
    0x00, 0x02, 0x11, 0x40, // two bytes of UDP, 64 hops
    0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, //
    0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, //
];

fn repr() -> Repr {
    Repr {
        src: "2001:db8::1".parse().unwrap(),
        dst: "2001:db8::2".parse().unwrap(),
        next_header: Protocol::UDP,
        hop_limit: 64,
        dscp: 46,
        ecn: Ecn::Ect0,
        flow_label: 0xbcdef,
        payload_len: 2,
    }
}

#[test]
fn known_packet() {
    let bytes = [&HEADER[..], &[1, 2, 0xff]].concat();
    let packet = Packet::new_checked(&bytes).unwrap();
    assert_eq!(packet.payload(), [1, 2]);
    assert_eq!(Repr::parse(&packet), Ok(repr()));
    let mut written = [0xa5; HEADER_LEN];
    repr().emit(&mut written);
    assert_eq!(written, HEADER);
}

#[test]
fn short_and_foreign_packets_are_refused() {
    assert_eq!(Packet::new_checked(&HEADER[..39]).unwrap_err(), Error::Truncated);
    assert_eq!(Packet::new_checked(&HEADER).unwrap_err(), Error::Truncated);
    assert!(Packet::new_quoted(&HEADER).unwrap().payload().is_empty());
    assert_eq!(Packet::new_quoted([0x40; 40]).unwrap_err(), Error::BadVersion);
}

fn walk(first: Protocol, payload: &[u8]) -> Vec<freeway_wire::Result<Extension<'_>>> {
    ExtensionHeaders::new(first, payload).collect()
}

fn upper(protocol: Protocol, offset: usize, announced_at: usize) -> Extension<'static> {
    Extension { kind: Kind::Upper(protocol), offset, announced_at }
}

#[test]
fn without_extensions_the_walk_is_one_step() {
    assert_eq!(walk(Protocol::TCP, &[]), [Ok(upper(Protocol::TCP, 0, NEXT_HEADER_OFFSET))]);
}

#[test]
fn a_whole_chain_is_walked() {
    let payload = [
        60, 0, 5, 2, 0, 0, 1, 0, // hop-by-hop: router alert, two bytes of padding
        43, 1, 0, 0xc2, 4, 1, 2, 3, 4, 0x01, 5, 0, 0, 0, 0,
        0, // destination: jumbo, seven bytes of padding
        44, 0, 253, 0, 0, 0, 0, 0, // routing of an experimental kind, no segments left
        6, 0, 0, 1, 0xaa, 0xbb, 0xcc, 0xdd, // the first of several fragments
        0x12, 0x34,
    ];
    let steps = walk(Protocol::HOP_BY_HOP, &payload);
    let fragment = FragmentRepr { next_header: Protocol::TCP, offset: 0, more: true, ident: 0xaabb_ccdd };
    let routing = Routing { kind: 253, segments_left: 0, data: &[0; 4] };
    assert_eq!(
        steps,
        [
            Ok(Extension {
                kind: Kind::HopByHop(Options::new(&payload[2..8], 2)),
                offset: 0,
                announced_at: 6
            }),
            Ok(Extension {
                kind: Kind::Destination(Options::new(&payload[10..24], 10)),
                offset: 8,
                announced_at: 40
            }),
            Ok(Extension { kind: Kind::Routing(routing), offset: 24, announced_at: 48 }),
            Ok(Extension { kind: Kind::Fragment(fragment), offset: 32, announced_at: 64 }),
            Ok(upper(Protocol::TCP, 40, 72)),
        ]
    );
    let options = Options::new(&payload[10..24], 10).collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(options.len(), 1);
    assert_eq!(
        (options[0].kind, options[0].offset, options[0].data),
        (OptionKind::JUMBO, 11, &[1, 2, 3, 4][..])
    );
}

#[test]
fn a_later_fragment_ends_the_walk() {
    // Its next header says destination options, but they were in the first fragment.
    let payload = [60, 0, 0x00, 0x08, 0, 0, 0, 1, 0xff, 0xff];
    let steps = walk(Protocol::FRAGMENT, &payload);
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[1], Ok(upper(Protocol::DESTINATION, 8, 40)));
}

#[test]
fn hop_by_hop_options_elsewhere_than_first_are_unknown() {
    let payload = [0, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0];
    let steps = walk(Protocol::DESTINATION, &payload);
    assert_eq!(steps.last(), Some(&Ok(upper(Protocol::HOP_BY_HOP, 8, 40))));
}

#[test]
fn a_header_cut_short_is_an_error_and_the_end() {
    for (first, payload) in [
        (Protocol::HOP_BY_HOP, &[17][..]),
        (Protocol::DESTINATION, &[17, 1, 0, 0, 0, 0, 0, 0]),
        (Protocol::ROUTING, &[]),
        (Protocol::FRAGMENT, &[17, 0, 0, 0, 0, 0, 0]),
    ] {
        assert_eq!(walk(first, payload), [Err(Error::Truncated)], "{first}");
    }
}

#[test]
fn options_say_what_to_do_when_unknown() {
    let actions = [0x3e, 0x7e, 0xbe, 0xfe].map(|kind| OptionKind(kind).action());
    assert_eq!(actions, [Action::Skip, Action::Discard, Action::Report, Action::ReportUnlessMulticast]);
    assert!(OptionKind(0x20).may_change() && !OptionKind(0xdf).may_change());
    let overlong = [0x3e, 4, 0, 0, 0];
    assert_eq!(Options::new(&overlong, 0).collect::<Vec<_>>(), [Err(Error::BadLength)]);
    assert_eq!(Options::new(&[0x3e], 0).collect::<Vec<_>>(), [Err(Error::BadLength)]);
}

proptest! {
    #[test]
    fn there_and_back(
        (src, dst) in any::<(Ipv6Addr, Ipv6Addr)>(),
        (next_header, hop_limit, dscp, ecn) in (any::<u8>(), any::<u8>(), 0u8..64, ecn()),
        flow_label in 0u32..1 << 20,
        payload_len in any::<u16>(),
    ) {
        let next_header = Protocol(next_header);
        let repr = Repr { src, dst, next_header, hop_limit, dscp, ecn, flow_label, payload_len };
        let mut bytes = vec![0xa5; repr.buffer_len()];
        repr.emit(&mut bytes);
        let mut packet = Packet::new_quoted(bytes).unwrap();
        prop_assert_eq!(Repr::parse(&packet), Ok(repr));
        packet.set_ecn(Ecn::Ce);
        prop_assert_eq!(Repr::parse(&packet), Ok(Repr { ecn: Ecn::Ce, ..repr }));
    }

    #[test]
    fn fragment_there_and_back(next in any::<u8>(), units in 0u16..8192, more in any::<bool>(), ident in any::<u32>()) {
        let repr = FragmentRepr { next_header: Protocol(next), offset: units * 8, more, ident };
        let mut bytes = vec![0xa5; repr.buffer_len()];
        repr.emit(&mut bytes);
        prop_assert_eq!(FragmentRepr::parse(&bytes), Ok(repr));
    }

    #[test]
    fn no_bytes_panic(first in prop::sample::select(&[0u8, 43, 44, 60][..]), mut bytes in bytes(120)) {
        for step in ExtensionHeaders::new(Protocol(first), &bytes) {
            if let Ok(Extension { kind: Kind::HopByHop(options) | Kind::Destination(options), .. }) = step {
                prop_assert!(options.count() <= bytes.len());
            }
        }
        let packet = Packet::new_unchecked(&bytes);
        let _ = (packet.payload(), packet.extension_headers().count(), Repr::parse(&packet));
        Packet::new_unchecked(&mut bytes[..]).payload_mut().fill(0);
    }
}
