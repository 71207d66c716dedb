//! What can be opened, and what cannot: addresses, source ports, listeners (RFC 9293, section 3.9.1; RFC 6056).

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use freeway_base::{HashKey, Instant, Seed};
use freeway_mem::{Arena, Packet, PacketPool, PoolConfig, RxBurst};
use freeway_stack::net::{Cidr, IfaceId, InterfaceConfig};
use freeway_stack::{ConnectConfig, ConnectError, ListenConfig, ListenError, Stack, StackConfig};
use freeway_wire::{Ecn, MacAddr, Protocol, checksum, ethernet, ipv4, tcp};

/// A host with `198.18.0.2/24` and `2001:db8::2/64`, and sixteen source ports.
fn host(key: u64) -> Stack<()> {
    let now = Instant::from_secs(1);
    let mut config = StackConfig::new(HashKey::new([key, 2]), HashKey::new([3, 4]));
    (config.max_connections, config.max_syn_received, config.max_time_wait) = (256, 16, 16);
    config.pool = PoolConfig { buffers: 256, ..PoolConfig::default() };
    config.max_items = 256;
    config.large_pool.buffers = 2;
    config.ephemeral_ports = 40_000..=40_015;
    let mut arena = Arena::heap(config.arena_layout::<()>().bytes()).unwrap();
    let pool = PacketPool::new(&mut arena, &config.pool).unwrap();
    let mut stack = Stack::new(&config, &mut arena, pool, Seed(key), now).unwrap();
    let cidr = |text: &str, len| Cidr::new(text.parse().unwrap(), len);
    stack
        .net
        .add_interface(InterfaceConfig {
            addresses: vec![cidr("198.18.0.2", 24), cidr("2001:db8::2", 64)],
            ..InterfaceConfig::new("test0", MacAddr([2, 0, 0, 0, 0, 2]))
        })
        .unwrap();
    stack
}

fn remote(text: &str) -> SocketAddr {
    SocketAddr::new(text.parse().unwrap(), 80)
}

/// The source port that a connection to `remote` gets.
fn port(stack: &mut Stack<()>, remote: SocketAddr) -> u16 {
    let id = stack.connect(&ConnectConfig::new(remote)).unwrap();
    stack.conn(id).unwrap().local().port()
}

/// A SYN from `198.18.0.1` to the host's port 80.
fn syn(stack: &Stack<()>, src_port: u16, seq: u32) -> Packet {
    let [src, dst] = [Ipv4Addr::new(198, 18, 0, 1), Ipv4Addr::new(198, 18, 0, 2)];
    let link = ethernet::Repr {
        dst: MacAddr([2, 0, 0, 0, 0, 2]),
        src: MacAddr([2, 0, 0, 0, 0, 1]),
        ethertype: ethernet::EtherType::IPV4,
    };
    let ip = ipv4::Repr {
        src,
        dst,
        protocol: Protocol::TCP,
        ttl: 64,
        dscp: 0,
        ecn: Ecn::NotEct,
        ident: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        payload_len: tcp::HEADER_LEN as u16,
    };
    let segment = tcp::Repr {
        src_port,
        dst_port: 80,
        seq: tcp::SeqNumber(seq),
        flags: tcp::Flags::SYN,
        window: 1_000,
        ..tcp::Repr::default()
    };
    let mut packet = stack.pool().alloc().unwrap();
    let bytes = packet.append(ethernet::HEADER_LEN + ipv4::HEADER_LEN + tcp::HEADER_LEN).unwrap();
    let (header, rest) = bytes.split_at_mut(ethernet::HEADER_LEN);
    link.emit(header);
    let (header, rest) = rest.split_at_mut(ipv4::HEADER_LEN);
    ip.emit(header);
    segment.emit(rest);
    checksum::fill_transport(src.into(), dst.into(), Protocol::TCP, rest);
    packet
}

/// A burst is looked up as a whole before its first segment is run: what that enters is found by those behind it.
#[test]
fn a_syn_that_comes_twice_in_a_burst_opens_once() {
    let mut stack = host(1);
    stack.listen(&ListenConfig::new(80)).unwrap();
    let mut burst: RxBurst = [(1, 5), (2, 6), (1, 5), (2, 6), (3, 7)]
        .map(|(port, seq)| syn(&stack, port, seq))
        .into_iter()
        .collect();
    stack.input(Instant::from_secs(1), IfaceId(0), &mut burst);
    assert_eq!((stack.occupancy().syn_received.0, stack.occupancy().flows), (3, 3));
    // In the next burst, too.
    let mut burst: RxBurst = [(3, 7), (4, 8)].map(|(port, seq)| syn(&stack, port, seq)).into_iter().collect();
    stack.input(Instant::from_secs(1), IfaceId(0), &mut burst);
    assert_eq!(stack.occupancy().syn_received.0, 4);
}

#[test]
fn an_open_goes_to_one_host() {
    let mut stack = host(1);
    for text in ["224.0.0.1", "239.1.2.3", "255.255.255.255", "198.18.0.255", "0.0.0.0", "ff02::1", "::"] {
        let addr: IpAddr = text.parse().unwrap();
        let refused = stack.connect(&ConnectConfig::new(SocketAddr::new(addr, 80)));
        assert_eq!(refused, Err(ConnectError::NotUnicast(addr)));
    }
    stack.connect(&ConnectConfig::new(remote("198.18.0.254"))).unwrap();
    stack.connect(&ConnectConfig::new(remote("2001:db8::1"))).unwrap();
}

#[test]
fn every_source_port_is_used_once_and_then_it_is_said() {
    let mut stack = host(1);
    for peer in [remote("198.18.0.1"), remote("2001:db8::1")] {
        let ports: BTreeSet<_> = (0..16).map(|_| port(&mut stack, peer)).collect();
        assert_eq!(ports, (40_000..=40_015).collect());
        assert_eq!(stack.connect(&ConnectConfig::new(peer)), Err(ConnectError::NoPort(peer)));
    }
    assert_eq!(stack.counters().tcp.no_source_port, 2);
    // To another host, or another port of the same, all are free.
    port(&mut stack, remote("198.18.0.3"));
    port(&mut stack, SocketAddr::new(remote("198.18.0.1").ip(), 81));
}

#[test]
fn source_ports_begin_where_no_stranger_can_tell() {
    let first = |key, peer: &str| port(&mut host(key), remote(peer));
    let by_key: BTreeSet<_> = (0..32).map(|key| first(key, "198.18.0.1")).collect();
    assert!(by_key.len() > 8, "{by_key:?}");
    let by_peer: BTreeSet<_> = (1..33).map(|last| first(1, &format!("198.18.0.{}", 100 + last))).collect();
    assert!(by_peer.len() > 8, "{by_peer:?}");
}

#[test]
fn a_source_port_is_not_used_again_soon() {
    let mut stack = host(1);
    let peer = remote("198.18.0.1");
    let mut seen = BTreeSet::new();
    for _ in 0..16 {
        let id = stack.connect(&ConnectConfig::new(peer)).unwrap();
        assert!(seen.insert(stack.conn(id).unwrap().local().port()), "all others come first");
        stack.conn(id).unwrap().abort();
    }
}

#[test]
fn a_four_tuple_is_opened_once() {
    let mut stack = host(1);
    let config = ConnectConfig { local_port: Some(7_000), ..ConnectConfig::new(remote("198.18.0.1")) };
    stack.connect(&config).unwrap();
    assert_eq!(stack.connect(&config), Err(ConnectError::InUse(7_000)));
    stack.connect(&ConnectConfig { remote: remote("198.18.0.3"), ..config }).unwrap();
}

#[test]
fn listeners_stand_beside_connections_and_each_other() {
    let mut stack = host(1);
    // MUST-41: a passive open leaves a connection of the same port alone.
    let connect = ConnectConfig { local_port: Some(80), ..ConnectConfig::new(remote("198.18.0.1")) };
    let id = stack.connect(&connect).unwrap();
    let all = stack.listen(&ListenConfig::new(80)).unwrap();
    assert!(stack.conn(id).is_some());
    // MUST-42: several on one port, as long as they differ in address.
    let exact = |text: &str| ListenConfig { addr: Some(text.parse().unwrap()), ..ListenConfig::new(80) };
    stack.listen(&exact("198.18.0.2")).unwrap();
    stack.listen(&exact("2001:db8::2")).unwrap();
    assert_eq!(stack.listen(&exact("2001:db8::2")), Err(ListenError::InUse(80)));
    assert_eq!(stack.listen(&ListenConfig::new(80)), Err(ListenError::InUse(80)));
    stack.unlisten(all);
    assert!(stack.listener(all).is_none());
    assert!(stack.listen(&ListenConfig::new(80)).is_ok());
}
