//! Packets: which are for this host, and why the others are dropped.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use freeway_base::Duration;
use freeway_wire::ethernet::EtherType;
use freeway_wire::ipv6::ext::FragmentRepr;
use freeway_wire::{Ecn, MacAddr, Protocol, icmpv4, icmpv6, ipv4, ipv6};

use crate::net::testing::*;
use crate::net::{Ingress, NetCounters};

/// Expects a frame to be dropped, and exactly one counter to say so.
fn dropped(frame: &[u8], counter: impl Fn(&NetCounters) -> u64) {
    let mut host = Host::new();
    host.consume(frame);
    assert_eq!(counter(&host.net.counters), 1, "{frame:x?}\n{:?}", host.net.counters);
    let drops: u64 =
        host.net.counters.iter().filter(|(name, _)| name.starts_with("dropped")).map(|(_, n)| n).sum();
    assert_eq!(drops, 1, "{:?}", host.net.counters);
}

fn v4(change: impl FnOnce(&mut ipv4::Repr)) -> Vec<u8> {
    let mut repr = v4_repr(Protocol::TCP, 20);
    change(&mut repr);
    v4_framed(&repr, &[0; 20])
}

fn v6(change: impl FnOnce(&mut ipv6::Repr)) -> Vec<u8> {
    let mut repr = v6_repr(Protocol::TCP, 20);
    change(&mut repr);
    v6_framed(&repr, &[0; 20])
}

#[test]
fn a_packet_for_us_goes_up_without_its_padding() {
    let mut host = Host::new();
    let mut frame = v4(|repr| {
        repr.ttl = 9;
        repr.ecn = Ecn::Ce;
    });
    frame.extend([0xee; 12]);
    let Ingress::Transport(inbound) = host.receive(&frame) else { panic!("dropped") };
    assert_eq!(inbound.packet.data(), [0; 20]);
    assert_eq!((inbound.src, inbound.dst), (IpAddr::V4(PEER_V4), IpAddr::V4(OUR_V4)));
    assert_eq!((inbound.hop_limit, inbound.ecn, inbound.network_header_len), (9, Ecn::Ce, 20));
    assert!(!inbound.broadcast && !inbound.checksum_good);
    let Ingress::Transport(inbound) = host.receive(&v6(|_| {})) else { panic!("dropped") };
    assert_eq!((inbound.packet.len(), inbound.network_header_len), (20, 40));
    assert_eq!((inbound.src, inbound.dst), (IpAddr::V6(PEER_V6), IpAddr::V6(OUR_V6)));
    assert_eq!((host.net.counters.ipv4_in, host.net.counters.ipv6_in), (1, 1));
}

#[test]
fn malformed_headers_are_dropped() {
    let mut version = v4(|_| {});
    version[14] = 0x55;
    dropped(&version, |c| c.dropped_version);
    let mut version = v6(|_| {});
    version[14] = 0x45;
    dropped(&version, |c| c.dropped_version);
    dropped(&v4(|_| {})[..50], |c| c.dropped_length);
    dropped(&v6(|_| {})[..70], |c| c.dropped_length);
    let mut header_len = v4(|_| {});
    header_len[14] = 0x44;
    dropped(&header_len, |c| c.dropped_length);
    let mut sum = v4(|_| {});
    sum[14 + 10] ^= 0x40;
    dropped(&sum, |c| c.dropped_ip_checksum);
}

#[test]
fn martians_are_dropped() {
    for src in
        ["127.0.0.1", "224.0.0.1", "255.255.255.255", "198.18.0.255", "240.0.0.1", "0.0.0.0", "0.1.2.3"]
    {
        dropped(&v4(|repr| repr.src = src.parse().unwrap()), |c| c.dropped_martian);
    }
    for dst in ["127.0.0.1", "0.0.0.0"] {
        dropped(&v4(|repr| repr.dst = dst.parse().unwrap()), |c| c.dropped_martian);
    }
    for src in ["::", "::1", "ff02::1", "::ffff:198.18.0.2", "::198.18.0.2"] {
        dropped(&v6(|repr| repr.src = src.parse().unwrap()), |c| c.dropped_martian);
    }
    for dst in ["::", "::1", "::ffff:198.18.0.1"] {
        dropped(&v6(|repr| repr.dst = dst.parse().unwrap()), |c| c.dropped_martian);
    }
    dropped(&v4(|repr| repr.src = OUR_V4), |c| c.dropped_own_source);
    dropped(&v6(|repr| repr.src = OUR_V6), |c| c.dropped_own_source);
}

#[test]
fn packets_to_others_are_dropped() {
    for dst in ["198.18.0.9", "203.0.113.1", "224.0.0.251"] {
        dropped(&v4(|repr| repr.dst = dst.parse().unwrap()), |c| c.dropped_not_local);
    }
    for dst in ["2001:db8::9", "fe80::1", "ff02::fb", "ff02::1:ff00:9"] {
        dropped(&v6(|repr| repr.dst = dst.parse().unwrap()), |c| c.dropped_not_local);
    }
    let mut to_all = v4(|_| {});
    to_all[..6].copy_from_slice(&MacAddr::BROADCAST.0);
    dropped(&to_all, |c| c.dropped_link_broadcast);
    let mut to_all = v6(|_| {});
    to_all[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    dropped(&to_all, |c| c.dropped_link_broadcast);
}

#[test]
fn broadcasts_go_up_as_such() {
    for dst in ["198.18.0.255", "255.255.255.255", "224.0.0.1"] {
        let mut host = Host::new();
        let Ingress::Transport(inbound) = host.receive(&v4(|repr| repr.dst = dst.parse().unwrap())) else {
            panic!("dropped {dst}")
        };
        assert!(inbound.broadcast);
    }
    let mut host = Host::new();
    let all_nodes: Ipv6Addr = "ff02::1".parse().unwrap();
    assert!(
        matches!(host.receive(&v6(|repr| repr.dst = all_nodes)), Ingress::Transport(inbound) if inbound.broadcast)
    );
}

fn with_options(options: &[u8]) -> Vec<u8> {
    let mut packet = v4_packet(&v4_repr(Protocol::TCP, 20), &[]);
    packet.extend(options);
    packet.extend([0; 20]);
    let total = packet.len() as u16;
    let mut view = ipv4::Packet::new_unchecked(&mut packet[..]);
    view.set_version_and_header_len(20 + options.len());
    view.set_total_len(total);
    view.fill_checksum();
    ethernet(OUR_MAC, PEER_MAC, EtherType::IPV4, &packet)
}

#[test]
fn options_are_passed_over_unless_they_route_or_lie() {
    let mut host = Host::new();
    let Ingress::Transport(inbound) = host.receive(&with_options(&[1, 148, 4, 0, 0, 0, 0, 0])) else {
        panic!("dropped")
    };
    assert_eq!((inbound.packet.len(), inbound.network_header_len), (20, 28));
    for kind in [131, 137] {
        dropped(&with_options(&[kind, 7, 4, 1, 2, 3, 4, 0]), |c| c.dropped_source_route);
    }
    dropped(&with_options(&[7, 200, 0, 0]), |c| c.dropped_options);
}

/// The kind, code and pointer of the ICMPv6 error that a frame provokes.
fn complaint(frame: &[u8]) -> Option<(u8, u8, u32)> {
    let mut host = Host::new();
    host.learn_peer();
    host.consume(frame);
    let sent = host.sent();
    let packet = ipv6::Packet::new_checked(&sent.first()?[14..]).unwrap();
    let message = icmpv6::Packet::new_checked(packet.payload()).unwrap();
    assert!(message.verify_checksum(packet.src(), packet.dst()));
    assert_eq!((packet.src(), packet.dst()), (OUR_V6, PEER_V6));
    assert_eq!(message.payload(), &frame[14..]);
    Some((message.kind().0, message.code(), message.pointer()))
}

#[test]
fn unknown_protocols_are_complained_about() {
    assert_eq!(complaint(&v6_frame(Protocol(250), &[0; 8])), Some((4, 1, 6)));
    // Behind an extension header the pointer is that header's.
    let chained = [&[250, 0, 1, 4, 0, 0, 0, 0][..], &[0; 8]].concat();
    assert_eq!(complaint(&v6_frame(Protocol::DESTINATION, &chained)), Some((4, 1, 40)));
    assert_eq!(complaint(&v6_frame(Protocol::NO_NEXT, &[0; 8])), None);

    let mut host = Host::new();
    host.learn_peer();
    host.consume(&v4_frame(Protocol(250), &[7; 30]));
    assert_eq!(host.net.counters.dropped_protocol, 1);
    let sent = host.sent().remove(0);
    let packet = ipv4::Packet::new_checked(&sent[14..]).unwrap();
    let message = icmpv4::Packet::new_checked(packet.payload()).unwrap();
    assert_eq!((message.kind().0, message.code()), (3, 2));
    assert_eq!(message.payload(), v4_packet(&v4_repr(Protocol(250), 30), &[7; 30]));
}

#[test]
fn unknown_options_do_what_their_bits_say() {
    let with_option = |kind: u8| {
        let options = [&[Protocol::TCP.0, 0, kind, 4, 0, 0, 0, 0][..], &[0; 20]].concat();
        v6_frame(Protocol::HOP_BY_HOP, &options)
    };
    let mut host = Host::new();
    let Ingress::Transport(inbound) = host.receive(&with_option(0x1e)) else { panic!("dropped") };
    assert_eq!((inbound.packet.len(), inbound.network_header_len), (20, 48));
    dropped(&with_option(0x5e), |c| c.dropped_options);
    assert_eq!(complaint(&with_option(0x5e)), None);
    assert_eq!(complaint(&with_option(0x9e)), Some((4, 2, 42)));
    assert_eq!(complaint(&with_option(0xde)), Some((4, 2, 42)));
    // To a group, only the one kind is reported.
    for (kind, reported) in [(0x9e, 1), (0xde, 0)] {
        let mut frame = with_option(kind);
        frame[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
        frame[14 + 24..14 + 40].copy_from_slice(&"ff02::1".parse::<Ipv6Addr>().unwrap().octets());
        let mut host = Host::new();
        host.learn_peer();
        host.consume(&frame);
        assert_eq!(host.sent().len(), reported);
    }
    // Options that are cut short.
    dropped(&v6_frame(Protocol::HOP_BY_HOP, &[6, 9, 0, 0]), |c| c.dropped_options);
}

#[test]
fn routing_headers_are_refused_until_they_are_done() {
    let routing = |segments_left| {
        let mut payload = vec![Protocol::TCP.0, 2, 0, segments_left];
        payload.extend([0; 20 + 20]);
        v6_frame(Protocol::ROUTING, &payload)
    };
    let mut host = Host::new();
    assert!(matches!(host.receive(&routing(0)), Ingress::Transport(_)));
    dropped(&routing(1), |c| c.dropped_source_route);
    assert_eq!(complaint(&routing(1)), Some((4, 0, 42)));
}

fn v4_fragment(offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut repr = v4_repr(Protocol::UDP, payload.len());
    (repr.fragment_offset, repr.more_fragments) = (offset, more);
    v4_framed(&repr, payload)
}

fn v6_fragment(offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    FragmentRepr { next_header: Protocol::UDP, offset, more, ident: 5 }.emit(&mut bytes);
    bytes.extend(payload);
    v6_frame(Protocol::FRAGMENT, &bytes)
}

#[test]
fn fragments_become_a_datagram() {
    let payload: Vec<u8> = (0..2_000).map(|n| n as u8).collect();
    let (front, back) = payload.split_at(1_000);
    for (first, last, header_len) in [
        (v4_fragment(0, true, front), v4_fragment(1_000, false, back), 20),
        (v6_fragment(0, true, front), v6_fragment(1_000, false, back), 40),
    ] {
        let mut host = Host::new();
        host.consume(&last);
        let Ingress::Transport(inbound) = host.receive(&first) else { panic!("not whole") };
        assert_eq!(inbound.packet.data(), payload);
        assert_eq!((inbound.protocol, inbound.network_header_len), (Protocol::UDP, header_len));
        assert!(!inbound.checksum_good);
        assert_eq!(host.net.counters.reassembled, 1);
        drop(inbound);
        assert_eq!((host.large.in_use(), host.pool.in_use()), (0, 0));
    }
}

#[test]
fn a_datagram_that_fits_into_a_frame_leaves_the_large_buffers() {
    let payload = [7; 512];
    let (front, back) = payload.split_at(256);
    for (first, last) in [
        (v4_fragment(0, true, front), v4_fragment(256, false, back)),
        (v6_fragment(0, true, front), v6_fragment(256, false, back)),
    ] {
        let mut host = Host::new();
        host.consume(&last);
        let Ingress::Transport(mut inbound) = host.receive(&first) else { panic!("not whole") };
        assert_eq!(inbound.packet.data(), payload);
        assert_eq!((host.large.in_use(), host.pool.in_use()), (0, 1));
        // Its header came along: an ICMP error would quote it.
        let header = inbound.packet.prepend(usize::from(inbound.network_header_len)).unwrap();
        assert!(matches!(header[0] >> 4, 4 | 6));
    }
}

#[test]
fn atomic_fragments_are_whole() {
    let mut host = Host::new();
    assert!(
        matches!(host.receive(&v6_fragment(0, false, &[1; 30])), Ingress::Transport(inbound) if inbound.packet.len() == 30)
    );
    assert_eq!((host.net.counters.reassembled, host.large.in_use()), (0, 0));
}

#[test]
fn impossible_fragments_are_dropped() {
    dropped(&v4_fragment(0, true, &[1; 30]), |c| c.dropped_fragment);
    dropped(&v6_fragment(0, true, &[1; 30]), |c| c.dropped_fragment);
    assert_eq!(complaint(&v6_fragment(0, true, &[1; 30])), Some((4, 0, 4)));
    assert_eq!(complaint(&v6_fragment(0, true, &[])), Some((4, 3, 0)));
    // A fragment that is not the first is quoted to nobody; its offset cannot be complained about.
    dropped(&v6_fragment(65_528, true, &[1; 64]), |c| c.dropped_fragment);
    dropped(&v4_fragment(65_528, false, &[1; 64]), |c| c.dropped_fragment);
    let nested = [&[Protocol::UDP.0, 0, 0, 1, 0, 0, 0, 9][..], &[0; 16]].concat();
    let mut bytes = vec![0; 8];
    FragmentRepr { next_header: Protocol::FRAGMENT, offset: 0, more: true, ident: 5 }.emit(&mut bytes);
    bytes.extend(&nested);
    let mut host = Host::new();
    host.consume(&v6_frame(Protocol::FRAGMENT, &bytes));
    bytes.truncate(8);
    FragmentRepr { next_header: Protocol::FRAGMENT, offset: 24, more: false, ident: 5 }.emit(&mut bytes);
    bytes.extend([0; 8]);
    host.consume(&v6_frame(Protocol::FRAGMENT, &bytes));
    assert_eq!((host.net.counters.reassembled, host.net.counters.dropped_fragment), (1, 1));
}

#[test]
fn fragments_that_do_not_come_are_reported_after_a_minute() {
    for (first, protocol) in
        [(v4_fragment(0, true, &[1; 64]), EtherType::IPV4), (v6_fragment(0, true, &[1; 64]), EtherType::IPV6)]
    {
        let mut host = Host::new();
        host.learn_peer();
        host.consume(&first);
        let end = host.now + Duration::from_secs(60);
        assert!(host.net.next_deadline().unwrap() <= end);
        host.net.expire(end);
        assert_eq!(host.net.counters.dropped_reassembly_timeout, 1);
        let (kind_at, expected) = if protocol == EtherType::IPV4 { (34, [11, 1]) } else { (54, [3, 1]) };
        let is_report = |frame: &Vec<u8>| {
            frame[12..14] == protocol.0.to_be_bytes() && frame[kind_at..kind_at + 2] == expected
        };
        // Among the questions whether the neighbours are still there.
        assert_eq!(host.sent().into_iter().filter(is_report).count(), 1);
        assert_eq!(host.large.in_use(), 0);
    }
}

#[test]
fn no_large_buffer_no_reassembly() {
    let mut host = Host::new();
    let held: Vec<_> = core::iter::from_fn(|| host.large.alloc()).collect();
    host.consume(&v4_fragment(0, true, &[1; 64]));
    assert_eq!(host.net.counters.dropped_reassembly_no_buffer, 1);
    drop(held);
}

#[test]
fn addresses_of_every_interface_are_ours() {
    let mut host = Host::with(quiet(), |interface| {
        for last in 2..20 {
            let addr = Ipv4Addr::new(198, 18, 7, last);
            interface.addresses.push(crate::net::Cidr::new(addr.into(), 24));
        }
    });
    for last in 2..20 {
        let frame = v4(|repr| repr.dst = Ipv4Addr::new(198, 18, 7, last));
        assert!(matches!(host.receive(&frame), Ingress::Transport(_)));
    }
    host.consume(&v4(|repr| repr.dst = Ipv4Addr::new(198, 18, 7, 20)));
}
