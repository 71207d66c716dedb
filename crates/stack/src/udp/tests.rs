//! Scenarios of UDP on a host with one interface.
#![allow(clippy::unwrap_used)]

use alloc::vec;
use alloc::vec::Vec;

use freeway_wire::ethernet::EtherType;
use freeway_wire::{ipv4, ipv6};

use super::*;
use crate::net::testing::*;
use crate::net::{Ingress, TxChecksum};

const LOCAL_PORT: u16 = 7;
const PEER_PORT: u16 = 4_000;

fn datagram(src: impl Into<IpAddr>, dst: impl Into<IpAddr>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; udp::HEADER_LEN];
    udp::Repr { src_port: PEER_PORT, dst_port: LOCAL_PORT, payload_len: payload.len() as u16 }
        .emit(&mut bytes);
    bytes.extend(payload);
    checksum::fill_transport(src.into(), dst.into(), Protocol::UDP, &mut bytes);
    bytes
}

fn frame_v4(payload: &[u8]) -> Vec<u8> {
    v4_frame(Protocol::UDP, &datagram(PEER_V4, OUR_V4, payload))
}

fn frame_v6(payload: &[u8]) -> Vec<u8> {
    v6_frame(Protocol::UDP, &datagram(PEER_V6, OUR_V6, payload))
}

struct World {
    host: Host,
    udp: UdpSockets,
}

impl World {
    fn new() -> Self {
        let mut host = Host::new();
        host.learn_peer();
        Self { host, udp: UdpSockets::new() }
    }

    /// Takes a frame the long way. What the short way takes of it, too, is the same.
    fn receive(&mut self, frame: &[u8]) {
        let short = self.receive_plain(frame);
        let waiting = self.udp.waiting();
        self.receive_any(frame);
        if let Some(short) = short {
            let long = self.udp.queue.get(waiting).expect("the long way refuses it");
            assert_eq!((short.reply_to, short.service, short.ecn), (long.reply_to, long.service, long.ecn));
            assert_eq!(short.packet.data(), long.packet.data());
        }
    }

    /// The datagram of a frame that takes the short way; nothing is counted or kept.
    fn receive_plain(&mut self, frame: &[u8]) -> Option<Datagram> {
        let mut packet = self.host.pool.alloc().unwrap();
        assert!(packet.copy_from_slice(frame));
        let counters = self.udp.counters;
        let plain = self.host.net.plain(IFACE, &packet)?;
        let taken = self.udp.input_plain(&plain, packet).is_ok();
        assert!(taken || self.udp.counters == counters, "what goes the long way is counted there");
        self.udp.counters = counters;
        if taken { self.udp.queue.pop_back() } else { None }
    }

    fn receive_any(&mut self, frame: &[u8]) {
        let Ingress::Transport(inbound) = self.host.receive(frame) else { panic!("dropped") };
        self.udp.input(self.host.now, &mut self.host.net, inbound);
    }
}

#[test]
fn a_datagram_comes_and_goes_in_one_buffer() {
    let mut world = World::new();
    let socket = world.udp.bind(None, LOCAL_PORT, 42).unwrap();
    for (frame, v4) in [(frame_v4(b"ping"), true), (frame_v6(b"ping"), false)] {
        assert!(world.receive_plain(&frame).is_some(), "a common datagram takes the short way");
        world.receive(&frame);
        let datagram = world.udp.pop().unwrap();
        assert_eq!((datagram.reply_to.socket(), datagram.service), (socket, 42));
        assert_eq!((datagram.local().port(), datagram.remote().port()), (LOCAL_PORT, PEER_PORT));
        assert_eq!(datagram.packet.data(), b"ping");
        let (local, remote) = (datagram.local().ip(), datagram.remote());
        if v4 {
            let (now, net) = (world.host.now, &mut world.host.net);
            world.udp.send_to(now, net, socket, Some(local), remote, datagram.packet);
        } else {
            world.udp.reply(world.host.now, &mut world.host.net, datagram.reply_to, datagram.packet);
        }
        assert_eq!(world.host.pool.in_use(), 1, "the buffer it came in, and no other");
        let sent = world.host.sent().remove(0);
        let bytes = if v4 {
            ipv4::Packet::new_checked(&sent[14..]).unwrap().payload().to_vec()
        } else {
            ipv6::Packet::new_checked(&sent[14..]).unwrap().payload().to_vec()
        };
        let reply = udp::Datagram::new_checked(&bytes[..]).unwrap();
        assert_eq!(
            (reply.src_port(), reply.dst_port(), reply.payload()),
            (LOCAL_PORT, PEER_PORT, &b"ping"[..])
        );
        assert!(reply.checksum() != 0 && reply.verify_checksum(local, remote.ip()));
    }
    assert_eq!((world.udp.counters.datagrams_in, world.udp.counters.datagrams_out), (2, 2));
    assert_eq!(world.host.pool.in_use(), 0);
}

#[test]
fn sums_are_verified_and_only_ipv4_may_do_without() {
    let mut world = World::new();
    world.udp.bind(None, LOCAL_PORT, 0).unwrap();
    let mut bad = frame_v4(b"ping");
    *bad.last_mut().unwrap() ^= 1;
    world.receive(&bad);
    assert_eq!(world.udp.counters.dropped_checksum, 1);
    let mut none = frame_v4(b"ping");
    none[40..42].fill(0);
    world.receive(&none);
    assert!(world.udp.pop().is_some());
    let mut none = frame_v6(b"ping");
    none[60..62].fill(0);
    world.receive(&none);
    assert_eq!(world.udp.counters.dropped_checksum, 2);
    assert!(world.udp.pop().is_none());
}

#[test]
fn lengths_must_agree_and_bytes_behind_are_cut_off() {
    let mut world = World::new();
    world.udp.bind(None, LOCAL_PORT, 0).unwrap();
    let mut long = datagram(PEER_V4, OUR_V4, b"ping");
    long.extend(b"more");
    world.receive(&v4_frame(Protocol::UDP, &long));
    assert_eq!(world.udp.pop().unwrap().packet.data(), b"ping");
    let mut short = datagram(PEER_V4, OUR_V4, b"ping");
    short.truncate(10);
    world.receive(&v4_frame(Protocol::UDP, &short));
    assert_eq!(world.udp.counters.dropped_malformed, 1);
}

#[test]
fn a_port_where_nobody_listens_is_reported() {
    let mut world = World::new();
    world.receive(&frame_v4(b"ping"));
    assert_eq!(world.udp.counters.dropped_no_socket, 1);
    let sent = world.host.sent().remove(0);
    assert_eq!(sent[34..36], [3, 3]);
    // The quotation reaches to the payload: the buffer's front was not lost.
    assert!(sent.ends_with(b"ping"));
    let mut repr = v4_repr(Protocol::UDP, 12);
    repr.dst = "198.18.0.255".parse().unwrap();
    world.receive(&v4_framed(&repr, &datagram(PEER_V4, repr.dst, b"ping")));
    assert!(world.host.sent().is_empty());
}

#[test]
fn the_queue_is_bounded() {
    let mut world = World::new();
    world.udp = UdpSockets::with_queue(3);
    world.udp.bind(None, LOCAL_PORT, 0).unwrap();
    for byte in 0..5 {
        world.receive(&frame_v4(&[byte]));
    }
    assert_eq!((world.udp.waiting(), world.udp.counters.dropped_queue_full), (3, 2));
    assert_eq!(world.udp.pop().unwrap().packet.data(), [0]);
}

#[test]
fn a_socket_of_one_address_answers_from_it() {
    let mut world = World::new();
    let cidr = "198.18.0.3/24".parse().unwrap();
    world.host.net.add_address(IFACE, cidr).unwrap();
    let socket = world.udp.bind(Some(cidr.addr), LOCAL_PORT, 0).unwrap();
    let remote = SocketAddr::new(PEER_V4.into(), PEER_PORT);
    let mut send = |local: Option<IpAddr>| {
        let packet = world.host.pool.alloc().unwrap();
        world.udp.send_to(world.host.now, &mut world.host.net, socket, local, remote, packet);
        let sent = world.host.sent().remove(0);
        IpAddr::V4(ipv4::Packet::new_checked(&sent[14..]).unwrap().src())
    };
    assert_eq!(send(None), cidr.addr);
    assert_eq!(send(Some(OUR_V4.into())), IpAddr::V4(OUR_V4));
    // A broadcast address, to which a datagram came, is none to send from.
    assert_eq!(send(Some("198.18.0.255".parse().unwrap())), cidr.addr);
}

#[test]
fn what_cannot_be_sent_is_counted() {
    let mut world = World::new();
    let socket = world.udp.bind(None, LOCAL_PORT, 0).unwrap();
    let now = world.host.now;
    for remote in ["[2001:db9::1]:1", "127.0.0.1:1", "198.18.0.1:1"] {
        let packet = world.host.pool.alloc().unwrap();
        world.udp.send_to(now, &mut world.host.net, socket, None, remote.parse().unwrap(), packet);
    }
    assert_eq!(world.udp.counters.dropped_no_route, 3);
    let mut packet = world.host.pool.alloc().unwrap();
    packet.prepend(128).unwrap();
    world.udp.send_to(now, &mut world.host.net, socket, None, "198.18.0.2:1".parse().unwrap(), packet);
    assert_eq!(world.udp.counters.dropped_too_long, 1);
    assert!(world.udp.unbind(socket));
    let packet = world.host.pool.alloc().unwrap();
    world.udp.send_to(now, &mut world.host.net, socket, None, "198.18.0.2:1".parse().unwrap(), packet);
    assert_eq!(world.udp.counters.dropped_no_route, 4);
    assert!(world.host.sent().is_empty());
    assert_eq!(world.host.pool.in_use(), 0);
}

#[test]
fn a_port_that_sums_gets_the_pseudo_headers_sum() {
    let mut host = Host::with(quiet(), |interface| interface.tx_checksum = TxChecksum::Flagged);
    host.learn_peer();
    let mut udp = UdpSockets::new();
    let socket = udp.bind(None, LOCAL_PORT, 0).unwrap();
    let mut packet = host.pool.alloc().unwrap();
    assert!(packet.copy_from_slice(b"ping"));
    udp.send_to(host.now, &mut host.net, socket, None, SocketAddr::new(PEER_V4.into(), PEER_PORT), packet);
    let mut burst = freeway_mem::TxBurst::new();
    host.net.tx_burst(IFACE, &mut burst);
    assert_eq!(burst[0].flags(), PacketFlags::CHECKSUM_NEEDED);
    assert_eq!(burst[0].data()[12..14], EtherType::IPV4.0.to_be_bytes());
}

/// A router's report that a datagram of ours, sent from `port`, was longer than `mtu`.
fn too_big(port: u16, mtu: u16) -> [Vec<u8>; 2] {
    let [high, low] = mtu.to_be_bytes();
    let mut quoted = datagram(OUR_V4, PEER_V4, &[0; 8]);
    quoted[..2].copy_from_slice(&port.to_be_bytes());
    let v4 = ipv4::Repr { src: OUR_V4, dst: PEER_V4, ..v4_repr(Protocol::UDP, quoted.len()) };
    let v4 = [&[3, 4, 0, 0, 0, 0, high, low][..], &v4_packet(&v4, &quoted)].concat();
    let v6 = ipv6::Repr { src: OUR_V6, dst: PEER_V6, ..v6_repr(Protocol::UDP, quoted.len()) };
    let v6 = [&[2, 0, 0, 0, 0, 0, high, low][..], &v6_packet(&v6, &quoted)].concat();
    [
        v4_frame(Protocol::ICMP, &icmp(PEER_V4.into(), OUR_V4.into(), &v4)),
        v6_frame(Protocol::ICMPV6, &icmp(PEER_V6.into(), OUR_V6.into(), &v6)),
    ]
}

#[test]
fn a_narrow_path_is_remembered_and_datagrams_are_cut_to_it() {
    let mut world = World::new();
    let socket = world.udp.bind(None, LOCAL_PORT, 0).unwrap();
    let report = |world: &mut World, port, mtu| {
        for frame in too_big(port, mtu) {
            let Ingress::Error(notice) = world.host.receive(&frame) else { panic!("not an error") };
            world.udp.icmp_error(world.host.now, &mut world.host.net, &notice);
        }
    };
    let sent = |world: &mut World, remote: IpAddr| {
        let mut payload = world.host.pool.alloc().unwrap();
        assert!(payload.copy_from_slice(&[7; 1_400]));
        let remote = SocketAddr::new(remote, PEER_PORT);
        world.udp.send_to(world.host.now, &mut world.host.net, socket, None, remote, payload);
        world.host.sent().iter().map(|frame| frame.len() - 14).collect::<Vec<_>>()
    };
    let peers = [IpAddr::V4(PEER_V4), IpAddr::V6(PEER_V6)];
    // Of a port that no socket has, below the least, above what is known: nothing changes.
    for (port, mtu) in [(LOCAL_PORT + 1, 1_300), (LOCAL_PORT, 100), (LOCAL_PORT, 1_500)] {
        report(&mut world, port, mtu);
    }
    assert_eq!(world.host.net.counters.ignored_too_big, 6);
    assert_eq!(peers.map(|peer| sent(&mut world, peer).len()), [1, 1]);

    report(&mut world, LOCAL_PORT, 1_300);
    for peer in peers {
        let lens = sent(&mut world, peer);
        assert!(lens.len() == 2 && lens.iter().all(|&len| len <= 1_300), "{lens:?}");
    }
    // After its time the link's MTU is tried again.
    world.host.now += freeway_base::Duration::from_secs(601);
    world.host.learn_peer();
    assert_eq!(peers.map(|peer| sent(&mut world, peer).len()), [1, 1]);
}
