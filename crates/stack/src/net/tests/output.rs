//! The way out: resolution, queues, fragments.

use alloc::vec::Vec;
use core::net::IpAddr;

use freeway_base::Duration;
use freeway_mem::Packet;
use freeway_wire::arp::Operation;
use freeway_wire::{Ecn, Protocol, ipv4, ipv6};

use crate::net::testing::*;
use crate::net::{Hop, Ingress, IpHeader, NetConfig, RouteError};

pub(super) fn header(src: impl Into<IpAddr>, dst: impl Into<IpAddr>, protocol: Protocol) -> IpHeader {
    IpHeader {
        src: src.into().into(),
        dst: dst.into().into(),
        protocol,
        hop_limit: 64,
        dscp: 0,
        ecn: Ecn::Ect0,
        dont_fragment: protocol == Protocol::TCP,
    }
}

fn payload(host: &Host, bytes: &[u8]) -> Packet {
    let mut packet = host.pool.alloc().unwrap();
    assert!(packet.copy_from_slice(bytes));
    packet
}

pub(super) fn answer(host: &mut Host) {
    host.consume(&arp_frame(Operation::REPLY, PEER_MAC, PEER_V4, OUR_MAC, OUR_V4));
}

#[test]
fn packets_wait_for_their_neighbour_and_leave_in_order() {
    let mut host = Host::new();
    let mut hop = Hop::UNRESOLVED;
    let header = header(OUR_V4, PEER_V4, Protocol::TCP);
    for byte in 0..6 {
        let packet = payload(&host, &[byte; 30]);
        host.net.send(host.now, &mut hop, &header, packet);
    }
    assert_ne!(hop, Hop::UNRESOLVED);
    assert_eq!(host.net.counters.dropped_unresolved, 2);
    assert_eq!(host.sent().len(), 1, "one question and nothing else");
    answer(&mut host);
    let sent = host.sent();
    let order: Vec<u8> = sent.iter().map(|frame| frame[34]).collect();
    assert_eq!(order, [2, 3, 4, 5]);
    assert_eq!(sent[0][..14], [2, 0, 0, 0, 0, 0x22, 2, 0, 0, 0, 0, 0x11, 8, 0]);
    let packet = ipv4::Packet::new_checked(&sent[0][14..]).unwrap();
    assert!(packet.verify_checksum());
    assert_eq!((packet.src(), packet.dst(), packet.ecn()), (OUR_V4, PEER_V4, Ecn::Ect0));
    assert!(packet.dont_fragment());
    assert_eq!(host.pool.in_use(), 0);
}

#[test]
fn an_unanswered_question_costs_the_packets() {
    let mut host = Host::new();
    let mut hop = Hop::UNRESOLVED;
    let packet = payload(&host, &[1; 30]);
    host.net.send(host.now, &mut hop, &header(OUR_V4, PEER_V4, Protocol::TCP), packet);
    let old = hop;
    for second in 1..=3 {
        host.net.expire(host.now + Duration::from_secs(second));
    }
    assert_eq!(host.net.counters.dropped_unresolved, 1);
    assert_eq!(host.sent().len(), 3);
    assert_eq!(host.pool.in_use(), 0);
    // The hop is no more; the next packet takes a new one.
    let packet = payload(&host, &[1; 30]);
    host.net.send(host.now, &mut hop, &header(OUR_V4, PEER_V4, Protocol::TCP), packet);
    assert_ne!(hop, old);
}

#[test]
fn a_kept_packet_stays_readable_sent_or_waiting() {
    let mut host = Host::new();
    let mut hop = Hop::UNRESOLVED;
    let header = header(OUR_V4, PEER_V4, Protocol::TCP);
    let packet = payload(&host, b"waiting");
    let waiting = host.net.send_and_keep(host.now, &mut hop, &header, packet);
    assert!(waiting.data().ends_with(b"waiting"));
    assert!(waiting.is_unique(), "what waits is a copy");
    host.sent();
    answer(&mut host);
    assert!(host.sent()[0].ends_with(b"waiting"));
    let packet = payload(&host, b"at once");
    let kept = host.net.send_and_keep(host.now, &mut hop, &header, packet);
    assert!(!kept.is_unique());
    assert!(host.sent()[0].ends_with(b"at once"));
    assert!(kept.is_unique() && kept.data().ends_with(b"at once"));
    // Too long for the link: kept, not sent.
    let packet = payload(&host, &[7; 1_600]);
    let kept = host.net.send_and_keep(host.now, &mut hop, &header, packet);
    assert_eq!((kept.len(), host.net.counters.dropped_too_big), (1_600, 1));
}

#[test]
fn routes_lead_to_gateways_and_nowhere() {
    let mut host = Host::new();
    let far: IpAddr = "203.0.113.5".parse().unwrap();
    host.net.hop(host.now, far).unwrap();
    let question = host.sent().remove(0);
    assert_eq!(question[14 + 24..14 + 28], [198, 18, 0, 254]);
    assert_eq!(host.net.source_for(far), Some(OUR_V4.into()));
    let nowhere: IpAddr = "2001:db9::1".parse().unwrap();
    assert_eq!(host.net.hop(host.now, nowhere), Err(RouteError::NoRoute(nowhere)));
    assert_eq!(host.net.hop(host.now, OUR_V4.into()), Err(RouteError::Local(OUR_V4.into())));
    for never in ["0.0.0.0", "127.0.0.1", "::", "::1"] {
        let never: IpAddr = never.parse().unwrap();
        assert_eq!(host.net.hop(host.now, never), Err(RouteError::NoRoute(never)));
    }
    let packet = payload(&host, &[0; 8]);
    host.net.send(
        host.now,
        &mut { Hop::UNRESOLVED },
        &header(OUR_V6, IpAddr::V6("2001:db9::1".parse().unwrap()), Protocol::UDP),
        packet,
    );
    assert_eq!(host.net.counters.dropped_no_route, 1);
}

#[test]
fn groups_need_no_asking() {
    let mut host = Host::new();
    for (dst, mac) in [
        ("255.255.255.255", [0xff; 6]),
        ("198.18.0.255", [0xff; 6]),
        ("224.0.0.251", [1, 0, 0x5e, 0, 0, 0xfb]),
        ("ff02::fb", [0x33, 0x33, 0, 0, 0, 0xfb]),
    ] {
        let dst: IpAddr = dst.parse().unwrap();
        let src: IpAddr = if dst.is_ipv4() { OUR_V4.into() } else { OUR_V6.into() };
        let packet = payload(&host, &[0; 8]);
        host.net.send(host.now, &mut { Hop::UNRESOLVED }, &header(src, dst, Protocol::UDP), packet);
        assert_eq!(host.sent().remove(0)[..6], mac, "{dst}");
    }
}

#[test]
fn long_datagrams_go_in_fragments_that_become_whole_again() {
    let bytes: Vec<u8> = (0..9_000).map(|n| (n * 7) as u8).collect();
    for (src, dst) in [(IpAddr::V4(OUR_V4), IpAddr::V4(PEER_V4)), (IpAddr::V6(OUR_V6), IpAddr::V6(PEER_V6))] {
        let mut host = Host::new();
        host.learn_peer();
        let mut packet = host.large.alloc().unwrap();
        assert!(packet.copy_from_slice(&bytes));
        host.net.send(host.now, &mut { Hop::UNRESOLVED }, &header(src, dst, Protocol::UDP), packet);
        let sent = host.sent();
        assert!(sent.len() >= 7 && sent.iter().all(|frame| frame.len() <= 1_514));
        assert_eq!((host.net.counters.fragmented, host.net.counters.fragments_out), (1, sent.len() as u64));
        // The other end has the addresses exchanged.
        let mut other = Host::new();
        let mut whole = None;
        for frame in sent.iter().rev() {
            let mut frame = frame.clone();
            frame[..6].copy_from_slice(&OUR_MAC.0);
            exchange_addresses(&mut frame[14..]);
            if let Ingress::Transport(inbound) = other.receive(&frame) {
                whole = Some(inbound.packet.data().to_vec());
            }
        }
        assert_eq!(whole.as_deref(), Some(&bytes[..]));
    }
}

fn exchange_addresses(packet: &mut [u8]) {
    if packet[0] >> 4 == 4 {
        let mut view = ipv4::Packet::new_unchecked(packet);
        view.set_src(PEER_V4);
        view.set_dst(OUR_V4);
        view.fill_checksum();
    } else {
        let mut view = ipv6::Packet::new_unchecked(packet);
        view.set_src(PEER_V6);
        view.set_dst(OUR_V6);
    }
}

#[test]
fn what_may_not_be_fragmented_is_dropped() {
    let mut host = Host::new();
    host.learn_peer();
    for (protocol, dont_fragment) in [(Protocol::TCP, false), (Protocol::UDP, true)] {
        let header = IpHeader { dont_fragment, ..header(OUR_V4, PEER_V4, protocol) };
        let packet = payload(&host, &[0; 1_600]);
        host.net.send(host.now, &mut { Hop::UNRESOLVED }, &header, packet);
    }
    assert_eq!(host.net.counters.dropped_too_big, 2);
    let held: Vec<_> = core::iter::from_fn(|| host.pool.alloc()).collect();
    let mut packet = host.large.alloc().unwrap();
    assert!(packet.copy_from_slice(&[0; 3_000]));
    host.net.send(host.now, &mut { Hop::UNRESOLVED }, &header(OUR_V4, PEER_V4, Protocol::UDP), packet);
    assert_eq!(host.net.counters.dropped_no_buffer, 1);
    drop(held);
}

#[test]
fn a_packet_without_headroom_is_dropped() {
    let mut host = Host::new();
    host.learn_peer();
    let mut packet = payload(&host, &[0; 8]);
    packet.prepend(128).unwrap();
    host.net.send(host.now, &mut { Hop::UNRESOLVED }, &header(OUR_V4, PEER_V4, Protocol::UDP), packet);
    assert_eq!(host.net.counters.dropped_no_headroom, 1);
}

#[test]
fn a_scan_does_not_cost_neighbours_in_use() {
    let mut host = Host::with(NetConfig { neighbors: 16, ..quiet() }, |_| {});
    let hop = host.net.hop(host.now, PEER_V4.into()).unwrap();
    answer(&mut host);
    for last in 10..200 {
        host.net.hop(host.now, IpAddr::from([198, 18, 0, last])).unwrap();
    }
    assert_eq!(host.net.hop(host.now, PEER_V4.into()), Ok(hop));
    assert_eq!(host.net.mtu(hop), 1_500);
    assert!(host.net.has_tx_room(hop) && !host.net.tx_checksum(hop));
}

#[test]
fn an_upper_layers_word_spares_the_probes() {
    let mut host = Host::new();
    let mut hop = host.net.hop(host.now, PEER_V4.into()).unwrap();
    answer(&mut host);
    host.sent();
    for step in 0..20 {
        host.now += Duration::from_secs(4);
        host.net.expire(host.now);
        let packet = payload(&host, &[step; 8]);
        host.net.send(host.now, &mut hop, &header(OUR_V4, PEER_V4, Protocol::TCP), packet);
        host.net.confirm(host.now, hop);
    }
    assert_eq!(host.sent().len(), 20, "segments and no question");
}
