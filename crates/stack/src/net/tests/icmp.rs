//! ICMP: echo, errors sent, errors received.

use alloc::vec::Vec;
use core::net::IpAddr;

use freeway_wire::tcp::SeqNumber;
use freeway_wire::{Protocol, icmpv4, icmpv6, ipv4, ipv6};

use crate::net::testing::*;
use crate::net::{IcmpKind, IcmpNotice, Ingress, NetConfig, Unreachable};

const V4: (IpAddr, IpAddr) = (IpAddr::V4(PEER_V4), IpAddr::V4(OUR_V4));
const V6: (IpAddr, IpAddr) = (IpAddr::V6(PEER_V6), IpAddr::V6(OUR_V6));

fn echo_v4() -> Vec<u8> {
    v4_frame(Protocol::ICMP, &icmp(V4.0, V4.1, b"\x08\0\0\0\x12\x34\0\x01abcdefg"))
}

fn echo_v6() -> Vec<u8> {
    v6_frame(Protocol::ICMPV6, &icmp(V6.0, V6.1, b"\x80\0\0\0\x12\x34\0\x01abcdefg"))
}

#[test]
fn echo_requests_are_answered_with_a_right_sum() {
    let mut host = Host::new();
    host.learn_peer();
    host.consume(&echo_v4());
    let sent = host.sent().remove(0);
    assert_eq!((&sent[..6], &sent[6..12]), (&PEER_MAC.0[..], &OUR_MAC.0[..]));
    let packet = ipv4::Packet::new_checked(&sent[14..]).unwrap();
    assert!(packet.verify_checksum());
    assert_eq!((packet.src(), packet.dst(), packet.ttl()), (OUR_V4, PEER_V4, 64));
    let message = icmpv4::Packet::new_checked(packet.payload()).unwrap();
    assert!(message.verify_checksum());
    assert_eq!((message.kind(), message.ident(), message.seq()), (icmpv4::Type::ECHO_REPLY, 0x1234, 1));
    assert_eq!(message.payload(), b"abcdefg");

    host.consume(&echo_v6());
    let sent = host.sent().remove(0);
    let packet = ipv6::Packet::new_checked(&sent[14..]).unwrap();
    let message = icmpv6::Packet::new_checked(packet.payload()).unwrap();
    assert!(message.verify_checksum(packet.src(), packet.dst()));
    assert_eq!((message.kind(), message.payload()), (icmpv6::Type::ECHO_REPLY, &b"abcdefg"[..]));
    assert_eq!(host.net.counters.echo_replies, 2);
    assert_eq!(host.pool.in_use(), 0);
}

#[test]
fn echoes_to_groups_and_above_the_rate_are_not_answered() {
    let mut host = Host::with(NetConfig { echo_burst: 2, echoes_per_second: 1, ..quiet() }, |_| {});
    host.learn_peer();
    for _ in 0..5 {
        host.consume(&echo_v4());
    }
    assert_eq!((host.net.counters.echo_replies, host.net.counters.limited_echoes), (2, 3));
    let mut repr = v4_repr(Protocol::ICMP, 15);
    repr.dst = "198.18.0.255".parse().unwrap();
    host.consume(&v4_framed(&repr, &icmp(V4.0, V4.1, b"\x08\0\0\0\x12\x34\0\x01abcdefg")));
    assert_eq!(host.net.counters.dropped_echo_group, 1);
}

#[test]
fn wrong_sums_and_short_messages_are_dropped() {
    let mut host = Host::new();
    for (mut frame, last) in [(echo_v4(), 48), (echo_v6(), 68)] {
        frame[last] ^= 1;
        host.consume(&frame);
    }
    host.consume(&v4_frame(Protocol::ICMP, &icmp(V4.0, V4.1, &[8, 0, 0, 0])));
    assert_eq!(host.net.counters.dropped_icmp, 3);
}

#[test]
fn messages_that_need_no_answer_are_ignored() {
    let mut host = Host::new();
    // Source quench, timestamp, redirect.
    for kind in [4, 13, 5] {
        host.consume(&v4_frame(Protocol::ICMP, &icmp(V4.0, V4.1, &[kind, 0, 0, 0, 0, 0, 0, 0])));
    }
    host.consume(&v6_frame(Protocol::ICMPV6, &icmp(V6.0, V6.1, &[143, 0, 0, 0, 0, 0, 0, 0])));
    assert_eq!((host.net.counters.ignored_icmp, host.net.counters.ignored_redirects), (3, 1));
    assert!(host.sent().is_empty());
}

/// The transport's first bytes in a packet of ours: ports 80 and 4096, sequence number 0x01020304.
const SEGMENT: [u8; 8] = [0, 80, 0x10, 0, 1, 2, 3, 4];

fn error_v4(kind: u8, code: u8, mtu: u16, change: impl FnOnce(&mut ipv4::Repr)) -> Vec<u8> {
    let mut repr = ipv4::Repr { src: OUR_V4, dst: PEER_V4, ..v4_repr(Protocol::TCP, 8) };
    change(&mut repr);
    let [high, low] = mtu.to_be_bytes();
    let message = [&[kind, code, 0, 0, 0, 0, high, low][..], &v4_packet(&repr, &SEGMENT)].concat();
    v4_frame(Protocol::ICMP, &icmp(V4.0, V4.1, &message))
}

fn error_v6(kind: u8, code: u8, mtu: u32) -> Vec<u8> {
    let repr = ipv6::Repr { src: OUR_V6, dst: PEER_V6, ..v6_repr(Protocol::TCP, 8) };
    let [a, b, c, d] = mtu.to_be_bytes();
    let message = [&[kind, code, 0, 0, a, b, c, d][..], &v6_packet(&repr, &SEGMENT)].concat();
    v6_frame(Protocol::ICMPV6, &icmp(V6.0, V6.1, &message))
}

fn notice(frame: &[u8]) -> IcmpNotice {
    let mut host = Host::new();
    let Ingress::Error(notice) = host.receive(frame) else { panic!("{:?}", host.net.counters) };
    assert_eq!(host.net.counters.errors_in, 1);
    notice
}

#[test]
fn errors_about_our_packets_become_notices() {
    let found = notice(&error_v4(3, 3, 0, |_| {}));
    let expected = IcmpNotice {
        kind: IcmpKind::Unreachable(Unreachable::Port),
        local: V4.1,
        remote: V4.0,
        protocol: Protocol::TCP,
        local_port: 80,
        remote_port: 4_096,
        seq: Some(SeqNumber(0x0102_0304)),
    };
    assert_eq!(found, expected);
    let kind = |code| notice(&error_v4(3, code, 1_400, |_| {})).kind;
    assert_eq!(kind(0), IcmpKind::Unreachable(Unreachable::Network));
    assert_eq!(kind(1), IcmpKind::Unreachable(Unreachable::Host));
    assert_eq!(kind(2), IcmpKind::Unreachable(Unreachable::Protocol));
    assert_eq!(kind(4), IcmpKind::PacketTooBig { mtu: 1_400 });
    assert_eq!(kind(13), IcmpKind::Unreachable(Unreachable::Prohibited));
    assert_eq!(notice(&error_v4(11, 0, 0, |_| {})).kind, IcmpKind::TimeExceeded);
    assert_eq!(notice(&error_v4(12, 0, 0, |_| {})).kind, IcmpKind::ParameterProblem);
    let udp = notice(&error_v4(3, 3, 0, |repr| repr.protocol = Protocol::UDP));
    assert_eq!((udp.protocol, udp.seq), (Protocol::UDP, None));

    assert_eq!(notice(&error_v6(1, 4, 0)).kind, IcmpKind::Unreachable(Unreachable::Port));
    assert_eq!(notice(&error_v6(2, 0, 1_400)).kind, IcmpKind::PacketTooBig { mtu: 1_400 });
    assert_eq!(notice(&error_v6(2, 0, 100)).kind, IcmpKind::PacketTooBig { mtu: 100 });
    assert_eq!(notice(&error_v6(2, 0, u32::MAX)).kind, IcmpKind::PacketTooBig { mtu: 65_535 });
    assert_eq!(notice(&error_v6(3, 0, 0)).kind, IcmpKind::TimeExceeded);
    assert_eq!(notice(&error_v6(4, 1, 6)).kind, IcmpKind::Unreachable(Unreachable::Protocol));
    assert_eq!(notice(&error_v6(4, 0, 6)).local_port, 80);
}

#[test]
fn only_what_the_host_itself_said_is_hard() {
    let hard = |unreachable| IcmpKind::Unreachable(unreachable).is_hard();
    assert!(hard(Unreachable::Port) && hard(Unreachable::Protocol));
    assert!(!hard(Unreachable::Network) && !hard(Unreachable::Host) && !hard(Unreachable::Prohibited));
    assert!(!IcmpKind::TimeExceeded.is_hard() && !IcmpKind::PacketTooBig { mtu: 1_400 }.is_hard());
}

#[test]
fn errors_about_what_we_did_not_send_are_dropped() {
    let mut host = Host::new();
    host.consume(&error_v4(3, 3, 0, |repr| repr.src = PEER_V4));
    host.consume(&error_v4(3, 3, 0, |repr| repr.fragment_offset = 8));
    host.consume(&error_v4(3, 3, 0, |repr| repr.protocol = Protocol::ICMP));
    host.consume(&v4_frame(Protocol::ICMP, &icmp(V4.0, V4.1, &[3, 3, 0, 0, 0, 0, 0, 0, 0x45, 0])));
    assert_eq!(host.net.counters.dropped_icmp_quote, 4);
}

/// How many errors a UDP datagram provokes for which nobody listens.
fn unreachables(host: &mut Host, frame: &[u8]) -> Vec<Vec<u8>> {
    let Ingress::Transport(inbound) = host.receive(frame) else { panic!("dropped") };
    host.net.port_unreachable(host.now, inbound);
    host.sent()
}

#[test]
fn a_port_where_nobody_listens_is_unreachable() {
    let mut host = Host::new();
    host.learn_peer();
    let sent = unreachables(&mut host, &v4_frame(Protocol::UDP, &[9; 1_000])).remove(0);
    let packet = ipv4::Packet::new_checked(&sent[14..]).unwrap();
    assert!(packet.verify_checksum());
    assert_eq!(packet.total_len(), 576);
    let message = icmpv4::Packet::new_checked(packet.payload()).unwrap();
    assert!(message.verify_checksum());
    assert_eq!((message.kind().0, message.code()), (3, 3));
    assert_eq!(message.payload()[..20], v4_packet(&v4_repr(Protocol::UDP, 1_000), &[]));

    let sent = unreachables(&mut host, &v6_frame(Protocol::UDP, &[9; 1_400])).remove(0);
    let packet = ipv6::Packet::new_checked(&sent[14..]).unwrap();
    assert_eq!(packet.total_len(), 1_280);
    let message = icmpv6::Packet::new_checked(packet.payload()).unwrap();
    assert!(message.verify_checksum(packet.src(), packet.dst()));
    assert_eq!((message.kind().0, message.code()), (1, 4));
    assert_eq!(host.net.counters.errors_out, 2);
}

#[test]
fn nothing_is_said_about_groups_nor_faster_than_the_rate() {
    let mut host = Host::with(NetConfig { errors_per_second: 1, error_burst: 2, ..quiet() }, |_| {});
    host.learn_peer();
    let mut repr = v4_repr(Protocol::UDP, 20);
    repr.dst = "198.18.0.255".parse().unwrap();
    assert!(unreachables(&mut host, &v4_framed(&repr, &[0; 20])).is_empty());
    for expected in [1, 1, 0] {
        assert_eq!(unreachables(&mut host, &v4_frame(Protocol::UDP, &[0; 20])).len(), expected);
    }
    assert_eq!(host.net.counters.limited_errors, 1);
    // A sender whom no answer can reach.
    repr = v4_repr(Protocol::UDP, 20);
    repr.src = "203.0.113.9".parse().unwrap();
    host.now += freeway_base::Duration::from_secs(5);
    unreachables(&mut host, &v4_framed(&repr, &[0; 20]));
}

#[test]
fn nothing_is_said_about_errors() {
    let mut host = Host::new();
    host.learn_peer();
    // An ICMPv6 error with an option that asks for a report.
    let error = icmp(V6.0, V6.1, &[1, 4, 0, 0, 0, 0, 0, 0]);
    let options = [&[Protocol::ICMPV6.0, 0, 0x9e, 4, 0, 0, 0, 0][..], &error].concat();
    host.consume(&v6_frame(Protocol::DESTINATION, &options));
    assert_eq!(host.net.counters.dropped_options, 1);
    assert!(host.sent().is_empty());
}
