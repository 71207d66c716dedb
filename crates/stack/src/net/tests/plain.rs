//! The short way says what the long way says, or nothing.

use alloc::vec::Vec;
use core::net::IpAddr;

use freeway_wire::Protocol;
use proptest::prelude::*;

use crate::net::testing::*;
use crate::net::{Ingress, InterfaceConfig, RxChecksum};

fn seeds() -> [Vec<u8>; 4] {
    let payload: Vec<u8> = (0..60).collect();
    let mut frames = [
        v4_frame(Protocol::TCP, &payload),
        v6_frame(Protocol::TCP, &payload),
        v4_frame(Protocol::UDP, &payload),
        v6_frame(Protocol::UDP, &payload),
    ];
    // Padding, as short frames have it.
    frames.iter_mut().for_each(|frame| frame.extend([0; 6]));
    frames
}

/// What the short way makes of a frame, checked against the long way.
fn is_plain(host: &mut Host, frame: &[u8]) -> bool {
    let mut packet = host.pool.alloc().unwrap();
    assert!(packet.copy_from_slice(frame));
    let Some(plain) = host.net.plain(IFACE, &packet) else { return false };
    let Ingress::Transport(inbound) = host.receive(frame) else { panic!("the long way refuses {frame:x?}") };
    packet.trim_front(plain.header_len);
    packet.truncate(plain.len);
    assert_eq!(packet.data(), inbound.packet.data());
    assert_eq!((IpAddr::from(plain.src), IpAddr::from(plain.dst)), (inbound.src, inbound.dst));
    assert_eq!(Some(plain.local), host.net.is_local(inbound.dst));
    assert_eq!((plain.ecn, plain.trusted), (inbound.ecn, inbound.checksum_good));
    assert_eq!((inbound.protocol, inbound.broadcast), (plain.protocol, false));
    true
}

#[test]
fn common_frames_are_plain_and_others_are_not() {
    let mut host = Host::new();
    for frame in seeds() {
        assert!(is_plain(&mut host, &frame));
    }
    let segment = [0; 40];
    assert!(!is_plain(&mut host, &v4_frame(Protocol::ICMP, &segment)));
    let mut fragment = v4_repr(Protocol::TCP, segment.len());
    fragment.more_fragments = true;
    assert!(!is_plain(&mut host, &v4_framed(&fragment, &segment)));
    let mut martian = v4_repr(Protocol::TCP, segment.len());
    martian.src = OUR_V4;
    assert!(!is_plain(&mut host, &v4_framed(&martian, &segment)));
}

proptest! {
    #[test]
    fn a_plain_frame_is_what_the_long_way_finds(
        which in 0usize..4,
        trusts in any::<bool>(),
        changes in prop::collection::vec((0usize..60, any::<u8>()), 0..4),
        cut in 0usize..30,
    ) {
        let trust = |config: &mut InterfaceConfig| {
            config.rx_checksum = if trusts { RxChecksum::Trust } else { RxChecksum::Verify };
        };
        let mut host = Host::with(quiet(), trust);
        let mut frame = seeds()[which].clone();
        for (at, value) in changes {
            frame[at] = value;
        }
        frame.truncate(frame.len() - cut);
        is_plain(&mut host, &frame);
    }
}
