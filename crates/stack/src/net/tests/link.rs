//! Frames: whose they are.

use alloc::vec::Vec;

use freeway_mem::{PacketFlags, TxBurst};
use freeway_wire::arp::Operation;
use freeway_wire::ethernet::EtherType;
use freeway_wire::{MacAddr, Protocol};

use crate::net::testing::*;
use crate::net::{IfaceId, Ingress, InterfaceConfig, NetError, RxChecksum};

#[test]
fn frames_for_others_and_of_others_kinds_are_dropped() {
    let mut host = Host::new();
    let frame = v4_frame(Protocol::TCP, &[0; 20]);
    assert!(matches!(host.receive(&frame), Ingress::Transport(_)));
    let mut other = frame.clone();
    other[..6].copy_from_slice(&OTHER_MAC.0);
    host.consume(&other);
    assert_eq!(host.net.counters.dropped_other_mac, 1);
    // A group that nobody joined.
    other[..6].copy_from_slice(&[0x33, 0x33, 0xff, 9, 9, 9]);
    host.consume(&other);
    assert_eq!(host.net.counters.dropped_other_mac, 2);
    host.consume(&frame[..13]);
    assert_eq!(host.net.counters.dropped_truncated, 1);
    host.consume(&ethernet(OUR_MAC, PEER_MAC, EtherType(0x88cc), &[0; 46]));
    assert_eq!(host.net.counters.dropped_ethertype, 1);
    let packet = host.pool.alloc().unwrap();
    assert!(matches!(host.net.classify(host.now, IfaceId(9), packet), Ingress::Consumed));
    assert_eq!(host.net.counters.dropped_no_interface, 1);
    assert_eq!(host.net.counters.frames_in, 6);
}

fn tagged(vid: u16, frame: &[u8]) -> Vec<u8> {
    let mut tagged = frame[..12].to_vec();
    tagged.extend(EtherType::VLAN.0.to_be_bytes());
    tagged.extend(vid.to_be_bytes());
    tagged.extend(&frame[12..]);
    tagged
}

#[test]
fn a_vlan_interface_takes_and_sends_its_tag() {
    let mut host = Host::with(quiet(), |interface| interface.vlan = Some(100));
    let plain = v4_frame(Protocol::TCP, &[0; 20]);
    assert!(matches!(host.receive(&tagged(100, &plain)), Ingress::Transport(_)));
    host.consume(&tagged(101, &plain));
    host.consume(&plain);
    assert_eq!(host.net.counters.dropped_vlan, 2);
    host.consume(&tagged(100, &plain)[..16]);
    assert_eq!(host.net.counters.dropped_truncated, 1);
    host.consume(&tagged(
        100,
        &arp_frame(Operation::REQUEST, PEER_MAC, PEER_V4, MacAddr::UNSPECIFIED, OUR_V4),
    ));
    let reply = host.sent().remove(0);
    assert_eq!(reply[12..18], [0x81, 0, 0, 100, 8, 6]);
}

#[test]
fn an_interface_without_vlan_takes_priority_tags_only() {
    let mut host = Host::new();
    let plain = v4_frame(Protocol::TCP, &[0; 20]);
    assert!(matches!(host.receive(&tagged(0x2000, &plain)), Ingress::Transport(_)));
    host.consume(&tagged(5, &plain));
    assert_eq!(host.net.counters.dropped_vlan, 1);
}

#[test]
fn checksums_are_verified_vouched_for_or_trusted() {
    let mut bad = v4_frame(Protocol::TCP, &[0; 20]);
    bad[24] ^= 1;
    let mut host = Host::new();
    host.consume(&bad);
    assert_eq!(host.net.counters.dropped_ip_checksum, 1);
    let mut packet = host.pool.alloc().unwrap();
    assert!(packet.copy_from_slice(&bad));
    packet.set_flags(PacketFlags::CHECKSUM_GOOD);
    let Ingress::Transport(inbound) = host.net.classify(host.now, IFACE, packet) else { panic!("dropped") };
    assert!(inbound.checksum_good);
    let mut host = Host::with(quiet(), |interface| interface.rx_checksum = RxChecksum::Trust);
    assert!(matches!(host.receive(&bad), Ingress::Transport(inbound) if inbound.checksum_good));
}

#[test]
fn what_cannot_be_set_up_is_refused() {
    let mut host = Host::new();
    let add = |host: &mut Host, change: &dyn Fn(&mut InterfaceConfig)| {
        let mut config = InterfaceConfig::new("other", OTHER_MAC);
        change(&mut config);
        host.net.add_interface(config).map(|_| ())
    };
    assert_eq!(add(&mut host, &|c| c.mtu = 500), Err(NetError::MtuTooSmall(500, 576)));
    let v6 = |c: &mut InterfaceConfig| {
        c.mtu = 1_000;
        c.addresses.push("2001:db8:1::1/64".parse().unwrap());
    };
    assert_eq!(add(&mut host, &v6), Err(NetError::MtuTooSmall(1_000, 1_280)));
    assert_eq!(add(&mut host, &|c| c.vlan = Some(4_095)), Err(NetError::BadVlan(4_095)));
    for text in ["127.0.0.1/8", "224.0.0.1/4", "198.18.1.255/24", "0.0.0.0/8", "::1/128", "ff02::1/16"] {
        let cidr = text.parse().unwrap();
        assert_eq!(add(&mut host, &|c| c.addresses.push(cidr)), Err(NetError::NotUnicast(cidr)), "{text}");
    }
    let taken = "198.18.0.1/24".parse().unwrap();
    assert_eq!(add(&mut host, &|c| c.addresses.push(taken)), Err(NetError::AddressTaken(taken, 0)));
    let network = "198.19.0.0/16".parse().unwrap();
    let gateway = Some("2001:db8::9".parse().unwrap());
    assert_eq!(host.net.add_route(network, gateway, IFACE), Err(NetError::MixedVersions(network)));
    assert_eq!(host.net.add_route(network, None, IfaceId(7)), Err(NetError::NoSuchInterface(7)));
    assert_eq!(host.net.interfaces().count(), 1);
}

#[test]
fn a_removed_address_is_nobodys() {
    let mut host = Host::new();
    let index = host.net.is_local(OUR_V4.into()).unwrap();
    assert!(host.net.remove_address(OUR_V4.into()));
    assert!(!host.net.remove_address(OUR_V4.into()));
    assert_eq!(host.net.is_local(OUR_V4.into()), None);
    // Connections that have it still know what it was.
    assert_eq!(host.net.address(index), core::net::IpAddr::V4(OUR_V4));
    host.consume(&v4_frame(Protocol::TCP, &[0; 20]));
    assert_eq!(host.net.counters.dropped_not_local, 1);
    assert_eq!(host.net.source_for(PEER_V4.into()), None);
}

#[test]
fn a_full_queue_drops_the_newest_frame() {
    let mut host = Host::with(quiet(), |interface| interface.tx_queue = 1);
    for _ in 0..2 {
        host.consume(&arp_frame(Operation::REQUEST, PEER_MAC, PEER_V4, MacAddr::UNSPECIFIED, OUR_V4));
    }
    assert_eq!(host.net.tx_pending(IFACE), 1);
    assert_eq!((host.net.counters.frames_out, host.net.counters.dropped_tx_full), (1, 1));
    host.net.tx_burst(IFACE, &mut TxBurst::new());
    assert_eq!(host.net.tx_pending(IFACE), 0);
}
