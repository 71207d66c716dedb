//! What the tests of this module share: pools, a host with one interface, frames to and from it.
#![allow(clippy::unwrap_used)]

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use freeway_base::{HashKey, Instant, Rng, Seed};
use freeway_mem::{Arena, ArenaLayout, PacketPool, PoolConfig, TxBurst};
use freeway_wire::arp::{self, Operation};
use freeway_wire::ethernet::{self, EtherType};
use freeway_wire::{Ecn, MacAddr, Protocol, checksum, ipv4, ipv6};

use super::{IfaceId, Ingress, InterfaceConfig, Net, NetConfig};

pub(crate) const OUR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
pub(crate) const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x22]);
pub(crate) const OTHER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x33]);
pub(crate) const OUR_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
pub(crate) const PEER_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
pub(crate) const OUR_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
pub(crate) const PEER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
pub(crate) const IFACE: IfaceId = IfaceId(0);
pub(crate) const START: Instant = Instant::from_secs(1_000);

fn pool_of(buffers: u32, buffer_size: u32) -> PacketPool {
    let config = PoolConfig { buffers, buffer_size, ..PoolConfig::default() };
    let mut arena = Arena::heap(ArenaLayout::new().pool(&config).bytes()).unwrap();
    PacketPool::new(&mut arena, &config).unwrap()
}

/// Buffers for frames.
pub(crate) fn pool() -> PacketPool {
    pool_of(256, 2_048)
}

/// Buffers for whole datagrams.
pub(crate) fn large_pool() -> PacketPool {
    pool_of(8, 128 * 1024)
}

/// A configuration that says nothing by itself.
pub(crate) fn quiet() -> NetConfig {
    NetConfig { announce: false, ..NetConfig::default() }
}

/// A host with one interface on a link where the test is everybody else.
pub(crate) struct Host {
    pub(crate) net: Net,
    pub(crate) pool: PacketPool,
    pub(crate) large: PacketPool,
    pub(crate) now: Instant,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::with(quiet(), |_| {})
    }

    pub(crate) fn with(config: NetConfig, change: impl FnOnce(&mut InterfaceConfig)) -> Self {
        let (pool, large) = (pool(), large_pool());
        let rng = Rng::new(Seed(7));
        let mut net = Net::new(config, pool.clone(), large.clone(), HashKey::new([3, 4]), rng);
        let mut interface = InterfaceConfig::new("test0", OUR_MAC);
        interface.addresses =
            Vec::from(["198.18.0.1/24".parse().unwrap(), "2001:db8::1/64".parse().unwrap()]);
        interface.gateway_v4 = Some(Ipv4Addr::new(198, 18, 0, 254));
        change(&mut interface);
        net.add_interface(interface).unwrap();
        Self { net, pool, large, now: START }
    }

    /// Hands a frame to the host.
    pub(crate) fn receive(&mut self, frame: &[u8]) -> Ingress {
        let mut packet = self.pool.alloc().unwrap();
        assert!(packet.copy_from_slice(frame));
        self.net.classify(self.now, IFACE, packet)
    }

    /// The same for a frame that the host deals with by itself.
    pub(crate) fn consume(&mut self, frame: &[u8]) {
        assert!(matches!(self.receive(frame), Ingress::Consumed), "handed up: {frame:x?}");
    }

    /// What the host has sent since the last call.
    pub(crate) fn sent(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        loop {
            let mut burst = TxBurst::new();
            self.net.tx_burst(IFACE, &mut burst);
            if burst.is_empty() {
                return frames;
            }
            frames.extend(burst.iter().map(|frame| frame.data().to_vec()));
        }
    }

    /// Lets the host learn the peer, as if it had answered.
    pub(crate) fn learn_peer(&mut self) {
        self.consume(&arp_frame(Operation::REQUEST, PEER_MAC, PEER_V4, MacAddr::UNSPECIFIED, OUR_V4));
        self.consume(&super::tests::neighbor_solicit(PEER_V6, OUR_V6, Some(PEER_MAC)));
        self.sent();
    }
}

pub(crate) fn ethernet(dst: MacAddr, src: MacAddr, ethertype: EtherType, payload: &[u8]) -> Vec<u8> {
    let mut frame = alloc::vec![0; ethernet::HEADER_LEN];
    ethernet::Repr { dst, src, ethertype }.emit(&mut frame);
    frame.extend(payload);
    frame
}

pub(crate) fn arp_frame(
    operation: Operation,
    sender_mac: MacAddr,
    sender_ip: Ipv4Addr,
    target_mac: MacAddr,
    target_ip: Ipv4Addr,
) -> Vec<u8> {
    let repr = arp::Repr { operation, sender_mac, sender_ip, target_mac, target_ip };
    let mut bytes = [0; arp::PACKET_LEN];
    repr.emit(&mut bytes);
    let dst = if operation == Operation::REPLY { OUR_MAC } else { MacAddr::BROADCAST };
    ethernet(dst, sender_mac, EtherType::ARP, &bytes)
}

/// An IPv4 header to the host; tests change what they are about.
pub(crate) fn v4_repr(protocol: Protocol, payload_len: usize) -> ipv4::Repr {
    ipv4::Repr {
        src: PEER_V4,
        dst: OUR_V4,
        protocol,
        ttl: 64,
        dscp: 0,
        ecn: Ecn::NotEct,
        ident: 77,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        payload_len: payload_len as u16,
    }
}

pub(crate) fn v4_packet(repr: &ipv4::Repr, payload: &[u8]) -> Vec<u8> {
    let mut bytes = alloc::vec![0; ipv4::HEADER_LEN];
    repr.emit(&mut bytes);
    bytes.extend(payload);
    bytes
}

pub(crate) fn v4_frame(protocol: Protocol, payload: &[u8]) -> Vec<u8> {
    v4_framed(&v4_repr(protocol, payload.len()), payload)
}

pub(crate) fn v4_framed(repr: &ipv4::Repr, payload: &[u8]) -> Vec<u8> {
    ethernet(OUR_MAC, PEER_MAC, EtherType::IPV4, &v4_packet(repr, payload))
}

pub(crate) fn v6_repr(next_header: Protocol, payload_len: usize) -> ipv6::Repr {
    ipv6::Repr {
        src: PEER_V6,
        dst: OUR_V6,
        next_header,
        hop_limit: 64,
        dscp: 0,
        ecn: Ecn::NotEct,
        flow_label: 0,
        payload_len: payload_len as u16,
    }
}

pub(crate) fn v6_packet(repr: &ipv6::Repr, payload: &[u8]) -> Vec<u8> {
    let mut bytes = alloc::vec![0; ipv6::HEADER_LEN];
    repr.emit(&mut bytes);
    bytes.extend(payload);
    bytes
}

pub(crate) fn v6_frame(next_header: Protocol, payload: &[u8]) -> Vec<u8> {
    v6_framed(&v6_repr(next_header, payload.len()), payload)
}

pub(crate) fn v6_framed(repr: &ipv6::Repr, payload: &[u8]) -> Vec<u8> {
    ethernet(OUR_MAC, PEER_MAC, EtherType::IPV6, &v6_packet(repr, payload))
}

/// An ICMP message with its sum, from the peer to the host.
pub(crate) fn icmp(src: IpAddr, dst: IpAddr, message: &[u8]) -> Vec<u8> {
    let mut bytes = message.to_vec();
    let protocol = if src.is_ipv4() { Protocol::ICMP } else { Protocol::ICMPV6 };
    checksum::fill_transport(src, dst, protocol, &mut bytes);
    bytes
}
