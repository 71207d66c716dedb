//! Whatever arrives, nothing panics, and no buffer is lost.

use alloc::vec::Vec;

use freeway_base::Duration;
use freeway_wire::arp::Operation;
use freeway_wire::ethernet::EtherType;
use freeway_wire::{MacAddr, Protocol};
use proptest::prelude::*;

use super::neighbor_solicit;
use crate::net::testing::*;
use crate::net::{IfaceId, Ingress, NetConfig};

/// Takes what a host takes, and answers where it can be made to.
fn feed(host: &mut Host, frame: &[u8]) {
    if let Ingress::Transport(inbound) = host.receive(frame) {
        host.net.port_unreachable(host.now, inbound);
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let fragment = [&[17, 0, 0, 1, 0, 0, 0, 5][..], &[3; 64]].concat();
    let options = [&[44, 0, 5, 2, 0, 0, 1, 0][..], &fragment].concat();
    let echo = icmp(PEER_V6.into(), OUR_V6.into(), &[128, 0, 0, 0, 0, 1, 0, 2, 9]);
    let mut more = v4_repr(Protocol::UDP, 64);
    more.more_fragments = true;
    Vec::from([
        v4_frame(Protocol::TCP, &[0; 40]),
        v4_frame(Protocol::UDP, &[0; 40]),
        v4_frame(Protocol::ICMP, &icmp(PEER_V4.into(), OUR_V4.into(), &[8, 0, 0, 0, 0, 1, 0, 2, 9])),
        v4_framed(&more, &[4; 64]),
        v6_frame(Protocol::TCP, &[0; 40]),
        v6_frame(Protocol::ICMPV6, &echo),
        v6_frame(Protocol::FRAGMENT, &fragment),
        v6_frame(Protocol::HOP_BY_HOP, &options),
        arp_frame(Operation::REQUEST, PEER_MAC, PEER_V4, MacAddr::UNSPECIFIED, OUR_V4),
        arp_frame(Operation::REPLY, PEER_MAC, PEER_V4, OUR_MAC, OUR_V4),
        neighbor_solicit(PEER_V6, OUR_V6, Some(PEER_MAC)),
    ])
}

fn host() -> Host {
    // Without sums to stop them, mutations get deep.
    let config = NetConfig { autoconfigure: true, probe: true, neighbors: 8, ..NetConfig::default() };
    Host::with(config, |interface| interface.rx_checksum = crate::net::RxChecksum::Trust)
}

fn settle(mut host: Host) {
    for second in 0..70 {
        host.net.expire(host.now + Duration::from_secs(second));
        host.sent();
    }
    drop(host.net);
    assert_eq!((host.pool.in_use(), host.large.in_use()), (0, 0));
}

proptest! {
    #[test]
    fn random_bytes_do_no_harm(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20), kind in 0usize..4) {
        let mut host = host();
        let ethertype = [EtherType::IPV4, EtherType::IPV6, EtherType::ARP, EtherType::VLAN][kind];
        for bytes in &frames {
            feed(&mut host, bytes);
            feed(&mut host, &ethernet(OUR_MAC, PEER_MAC, ethertype, bytes));
            let packet = host.pool.alloc().unwrap();
            host.net.classify(host.now, IfaceId(3), packet);
            host.sent();
        }
        settle(host);
    }

    #[test]
    fn mutated_frames_do_no_harm(
        mutations in prop::collection::vec((0usize..11, any::<prop::sample::Index>(), any::<u8>(), any::<prop::sample::Index>(), any::<bool>()), 0..60),
    ) {
        let mut host = host();
        let seeds = seeds();
        for (seed, at, value, cut, is_cut) in mutations {
            let mut frame = seeds[seed].clone();
            let at = at.index(frame.len());
            frame[at] ^= value;
            if is_cut {
                frame.truncate(cut.index(frame.len()));
            }
            feed(&mut host, &frame);
            host.net.expire(host.now);
            host.now += Duration::from_millis(100);
            host.sent();
        }
        settle(host);
    }
}
