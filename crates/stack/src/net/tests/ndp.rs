//! Neighbour discovery and autoconfiguration, by RFC 4861 and RFC 4862.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use freeway_base::Duration;
use freeway_wire::ethernet::{EtherType, Frame};
use freeway_wire::icmpv6::Packet as IcmpPacket;
use freeway_wire::ndp::{
    NeighborAdvert, NeighborFlags, NeighborSolicit, Prefix, Prefixes, Repr, RouterAdvert, RouterSolicit,
    solicited_node,
};
use freeway_wire::{MacAddr, Protocol, ipv6};

use crate::net::NetConfig;
use crate::net::testing::*;

const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xff);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

fn message(src: Ipv6Addr, dst: Ipv6Addr, repr: &Repr<'_>) -> Vec<u8> {
    let mut bytes = vec![0; repr.buffer_len()];
    repr.emit(src, dst, &mut bytes);
    let header = ipv6::Repr { src, dst, hop_limit: 255, ..v6_repr(Protocol::ICMPV6, bytes.len()) };
    let mac = if dst.is_multicast() { MacAddr::from_ipv6_multicast(dst) } else { OUR_MAC };
    ethernet(mac, PEER_MAC, EtherType::IPV6, &v6_packet(&header, &bytes))
}

/// A solicitation for `target`, to its solicited-node group.
pub(crate) fn neighbor_solicit(src: Ipv6Addr, target: Ipv6Addr, source_lladdr: Option<MacAddr>) -> Vec<u8> {
    let solicit = NeighborSolicit { target, source_lladdr };
    message(src, solicited_node(target), &Repr::NeighborSolicit(solicit))
}

fn neighbor_advert(mac: MacAddr, flags: NeighborFlags) -> Vec<u8> {
    let advert = NeighborAdvert { flags, target: PEER_V6, target_lladdr: Some(mac) };
    let dst = if flags.contains(NeighborFlags::SOLICITED) { OUR_V6 } else { ALL_NODES };
    message(PEER_V6, dst, &Repr::NeighborAdvert(advert))
}

/// What the host said, with the addresses it said it from and to.
fn heard(frame: &[u8], check: impl FnOnce(Ipv6Addr, Ipv6Addr, MacAddr, Repr<'_>)) {
    let frame = Frame::new_checked(frame).unwrap();
    let packet = ipv6::Packet::new_checked(frame.payload()).unwrap();
    let message = IcmpPacket::new_checked(packet.payload()).unwrap();
    assert_eq!(packet.hop_limit(), 255);
    assert!(message.verify_checksum(packet.src(), packet.dst()));
    check(packet.src(), packet.dst(), frame.dst(), Repr::parse(&message).unwrap());
}

fn mac_of_peer(host: &mut Host) -> Option<MacAddr> {
    let key = host.net.next_hop(PEER_V6.into()).unwrap();
    host.net.neighbors.mac(host.net.neighbors.find(key)?)
}

#[test]
fn a_solicitation_is_answered_and_its_sender_learned() {
    let mut host = Host::new();
    host.consume(&neighbor_solicit(PEER_V6, OUR_V6, Some(PEER_MAC)));
    heard(&host.sent()[0], |src, dst, mac, repr| {
        assert_eq!((src, dst, mac), (OUR_V6, PEER_V6, PEER_MAC));
        let flags = NeighborFlags::SOLICITED | NeighborFlags::OVERRIDE;
        let expected = NeighborAdvert { flags, target: OUR_V6, target_lladdr: Some(OUR_MAC) };
        assert_eq!(repr, Repr::NeighborAdvert(expected));
    });
    assert_eq!(mac_of_peer(&mut host), Some(PEER_MAC));
}

#[test]
fn a_probe_for_our_address_is_answered_to_all() {
    let mut host = Host::new();
    host.consume(&neighbor_solicit(Ipv6Addr::UNSPECIFIED, OUR_V6, None));
    heard(&host.sent()[0], |src, dst, mac, repr| {
        assert_eq!((src, dst, mac), (OUR_V6, ALL_NODES, MacAddr([0x33, 0x33, 0, 0, 0, 1])));
        let Repr::NeighborAdvert(advert) = repr else { panic!("{repr:?}") };
        assert_eq!(advert.flags, NeighborFlags::OVERRIDE);
    });
}

#[test]
fn a_hop_solicits_and_an_advertisement_answers() {
    let mut host = Host::new();
    host.net.hop(host.now, PEER_V6.into()).unwrap();
    heard(&host.sent()[0], |src, dst, _, repr| {
        assert_eq!((src, dst), (OUR_V6, solicited_node(PEER_V6)));
        assert_eq!(
            repr,
            Repr::NeighborSolicit(NeighborSolicit { target: PEER_V6, source_lladdr: Some(OUR_MAC) })
        );
    });
    host.consume(&neighbor_advert(PEER_MAC, NeighborFlags::SOLICITED | NeighborFlags::OVERRIDE));
    assert_eq!(mac_of_peer(&mut host), Some(PEER_MAC));
    for flags in [
        NeighborFlags::OVERRIDE,
        NeighborFlags::SOLICITED,
        NeighborFlags::SOLICITED | NeighborFlags::OVERRIDE,
    ] {
        host.consume(&neighbor_advert(OTHER_MAC, flags));
        assert_eq!(mac_of_peer(&mut host), Some(PEER_MAC), "{flags:?} displaced a neighbour that is there");
    }
    host.net.expire(host.now);
    heard(&host.sent()[0], |_, dst, mac, _| assert_eq!((dst, mac), (PEER_V6, PEER_MAC)));
}

#[test]
fn invalid_messages_are_dropped() {
    let mut host = Host::new();
    // An IPv4 address in disguise is no target.
    let mapped = NeighborSolicit { target: OUR_V4.to_ipv6_mapped(), source_lladdr: Some(PEER_MAC) };
    host.consume(&message(PEER_V6, OUR_V6, &Repr::NeighborSolicit(mapped)));
    let mut routed = neighbor_solicit(PEER_V6, OUR_V6, Some(PEER_MAC));
    routed[14 + 7] = 254;
    host.consume(&routed);
    // A nameless one with a link address, and one that is not sent to the group.
    host.consume(&neighbor_solicit(Ipv6Addr::UNSPECIFIED, OUR_V6, Some(PEER_MAC)));
    let solicit = Repr::NeighborSolicit(NeighborSolicit { target: OUR_V6, source_lladdr: None });
    host.consume(&message(Ipv6Addr::UNSPECIFIED, ALL_NODES, &solicit));
    let group = Repr::NeighborSolicit(NeighborSolicit { target: ALL_NODES, source_lladdr: None });
    host.consume(&message(PEER_V6, OUR_V6, &group));
    let flags = NeighborFlags::SOLICITED;
    let advert = Repr::NeighborAdvert(NeighborAdvert { flags, target: PEER_V6, target_lladdr: None });
    host.consume(&message(PEER_V6, ALL_NODES, &advert));
    assert_eq!((host.net.counters.dropped_ndp, host.net.counters.ndp_in), (6, 0));
    host.consume(&message(PEER_V6, ALL_NODES, &Repr::RouterSolicit(RouterSolicit { source_lladdr: None })));
    assert_eq!(host.net.counters.ignored_icmp, 1);
    assert!(host.sent().is_empty());
}

#[test]
fn a_probed_address_is_given_up_when_somebody_has_or_wants_it() {
    let advert =
        NeighborAdvert { flags: NeighborFlags::OVERRIDE, target: OUR_V6, target_lladdr: Some(OTHER_MAC) };
    let has = message(OUR_V6, ALL_NODES, &Repr::NeighborAdvert(advert));
    let wants = neighbor_solicit(Ipv6Addr::UNSPECIFIED, OUR_V6, None);
    for objection in [has, wants] {
        let mut host = Host::with(NetConfig { probe: true, ..quiet() }, |_| {});
        host.net.expire(host.now);
        host.consume(&objection);
        for second in 0..20 {
            host.net.expire(host.now + Duration::from_secs(second));
        }
        assert_eq!(host.net.is_local(OUR_V6.into()), None);
        assert_eq!(host.net.counters.address_conflicts, 1);
    }
}

#[test]
fn an_address_of_ours_is_defended() {
    let mut host = Host::new();
    let advert =
        NeighborAdvert { flags: NeighborFlags::OVERRIDE, target: OUR_V6, target_lladdr: Some(OTHER_MAC) };
    for _ in 0..3 {
        host.consume(&message(PEER_V6, ALL_NODES, &Repr::NeighborAdvert(advert)));
    }
    assert_eq!(host.net.counters.address_conflicts, 3);
    assert_eq!(host.sent().len(), 1);
    assert!(host.net.is_local(OUR_V6.into()).is_some());
}

fn router_advert(lifetime: u16, valid_lifetime: u32) -> Vec<u8> {
    let mut prefixes = Prefixes::NONE;
    prefixes.push(Prefix {
        address: "2001:db8:7::".parse().unwrap(),
        len: 64,
        on_link: true,
        autonomous: true,
        valid_lifetime,
        preferred_lifetime: valid_lifetime,
    });
    let advert = RouterAdvert {
        hop_limit: 64,
        managed: false,
        other_config: false,
        lifetime,
        reachable_time_ms: 0,
        retrans_timer_ms: 0,
        source_lladdr: Some(PEER_MAC),
        mtu: Some(1_400),
        prefixes,
    };
    message(ROUTER, ALL_NODES, &Repr::RouterAdvert(advert))
}

#[test]
fn routers_are_sought_and_give_addresses_and_routes_for_a_time() {
    let mut host = Host::with(NetConfig { autoconfigure: true, ..quiet() }, |_| {});
    let link_local: IpAddr = "fe80::ff:fe00:11".parse().unwrap();
    assert!(host.net.is_local(link_local).is_some());
    host.net.expire(host.now);
    let solicit = RouterSolicit { source_lladdr: Some(OUR_MAC) };
    heard(&host.sent()[0], |_, _, _, repr| assert_eq!(repr, Repr::RouterSolicit(solicit)));
    host.consume(&router_advert(1_800, 10_000));
    let own: IpAddr = "2001:db8:7::ff:fe00:11".parse().unwrap();
    assert!(host.net.is_local(own).is_some());
    let far: IpAddr = "2001:db9::1".parse().unwrap();
    let hop = host.net.hop(host.now, far).unwrap();
    assert_eq!(host.net.mtu(hop), 1_400);
    // No more solicitations.
    host.net.expire(host.now + Duration::from_secs(60));
    assert!(host.sent().is_empty());
    // A stranger cannot end an address's life at once.
    host.consume(&router_advert(1_800, 0));
    assert!(host.net.is_local(own).is_some());
    host.net.expire(host.now + Duration::from_secs(7_199));
    assert!(host.net.is_local(own).is_some());
    assert!(host.net.hop(host.now, far).is_err());
    host.net.expire(host.now + Duration::from_secs(7_201));
    assert!(host.net.is_local(own).is_none());
}

#[test]
fn a_router_can_retire() {
    let mut host = Host::with(NetConfig { autoconfigure: true, ..quiet() }, |_| {});
    host.consume(&router_advert(1_800, 10_000));
    let far: IpAddr = "2001:db9::1".parse().unwrap();
    assert!(host.net.source_for(far).is_some());
    host.consume(&router_advert(0, 10_000));
    assert!(host.net.source_for(far).is_none());
}

#[test]
fn routers_are_not_heard_unless_asked_for() {
    let mut host = Host::new();
    host.consume(&router_advert(1_800, 10_000));
    assert_eq!(host.net.routes().filter(|route| route.gateway.is_some()).count(), 1);
    // Nor are they believed from another link.
    let advert = router_advert(1_800, 10_000);
    let mut host = Host::with(NetConfig { autoconfigure: true, ..quiet() }, |_| {});
    let mut foreign = advert;
    foreign[14 + 8] = 0x20;
    host.consume(&foreign);
    assert_eq!(host.net.counters.dropped_icmp + host.net.counters.dropped_ndp, 1);
}
