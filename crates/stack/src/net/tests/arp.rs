//! ARP, by RFC 826 and RFC 5227.

use core::net::Ipv4Addr;

use freeway_base::{Duration, Instant};
use freeway_wire::MacAddr;
use freeway_wire::arp::{self, Operation, Repr};
use freeway_wire::ethernet::{EtherType, Frame};

use crate::net::NetConfig;
use crate::net::testing::*;

const NO_MAC: MacAddr = MacAddr::UNSPECIFIED;

fn request(mac: MacAddr, ip: Ipv4Addr, target: Ipv4Addr) -> alloc::vec::Vec<u8> {
    arp_frame(Operation::REQUEST, mac, ip, NO_MAC, target)
}

fn reply(mac: MacAddr) -> alloc::vec::Vec<u8> {
    arp_frame(Operation::REPLY, mac, PEER_V4, OUR_MAC, OUR_V4)
}

/// The ARP packets among what was sent, with the MAC addresses they went to.
fn sent(host: &mut Host) -> alloc::vec::Vec<(MacAddr, Repr)> {
    let frames = host.sent().into_iter().filter_map(|frame| {
        let frame = Frame::new_checked(&frame[..]).unwrap();
        let packet = arp::Packet::new_checked(frame.payload());
        (frame.ethertype() == EtherType::ARP).then(|| (frame.dst(), Repr::parse(&packet.unwrap()).unwrap()))
    });
    frames.collect()
}

/// The MAC address that a packet to the peer goes to, or nothing while it waits.
fn mac_of_peer(host: &mut Host) -> Option<MacAddr> {
    let key = host.net.next_hop(PEER_V4.into()).unwrap();
    let index = host.net.neighbors.find(key)?;
    host.net.neighbors.mac(index)
}

#[test]
fn a_request_for_us_is_answered_and_its_sender_learned() {
    let mut host = Host::new();
    host.consume(&request(PEER_MAC, PEER_V4, OUR_V4));
    let (to, answer) = sent(&mut host).remove(0);
    assert_eq!(to, PEER_MAC);
    let expected = Repr {
        operation: Operation::REPLY,
        sender_mac: OUR_MAC,
        sender_ip: OUR_V4,
        target_mac: PEER_MAC,
        target_ip: PEER_V4,
    };
    assert_eq!(answer, expected);
    assert_eq!(mac_of_peer(&mut host), Some(PEER_MAC));
}

#[test]
fn requests_for_others_are_not_answered_nor_learned() {
    let mut host = Host::new();
    host.consume(&request(PEER_MAC, PEER_V4, Ipv4Addr::new(198, 18, 0, 9)));
    assert!(sent(&mut host).is_empty());
    assert_eq!(mac_of_peer(&mut host), None);
}

#[test]
fn a_core_that_does_not_respond_learns_all_the_same() {
    let mut host = Host::with(NetConfig { respond_to_arp: false, ..quiet() }, |_| {});
    host.consume(&request(PEER_MAC, PEER_V4, OUR_V4));
    assert!(sent(&mut host).is_empty());
    assert_eq!(mac_of_peer(&mut host), Some(PEER_MAC));
}

#[test]
fn a_hop_asks_and_a_reply_answers() {
    let mut host = Host::new();
    host.net.hop(host.now, PEER_V4.into()).unwrap();
    let (to, question) = sent(&mut host).remove(0);
    assert_eq!((to, question.target_ip, question.sender_ip), (MacAddr::BROADCAST, PEER_V4, OUR_V4));
    host.consume(&reply(PEER_MAC));
    assert_eq!(mac_of_peer(&mut host), Some(PEER_MAC));
    // An answer that nobody asked for makes no entry.
    let stranger = Ipv4Addr::new(198, 18, 0, 77);
    host.consume(&arp_frame(Operation::REPLY, OTHER_MAC, stranger, OUR_MAC, OUR_V4));
    let key = host.net.next_hop(stranger.into()).unwrap();
    assert_eq!(host.net.neighbors.find(key), None);
}

#[test]
fn a_reachable_neighbour_is_not_displaced_but_asked() {
    let mut host = Host::new();
    host.net.hop(host.now, PEER_V4.into()).unwrap();
    host.consume(&reply(PEER_MAC));
    host.sent();
    for claim in [reply(OTHER_MAC), request(OTHER_MAC, PEER_V4, PEER_V4), request(OTHER_MAC, PEER_V4, OUR_V4)]
    {
        host.consume(&claim);
        assert_eq!(mac_of_peer(&mut host), Some(PEER_MAC));
    }
    host.sent();
    host.net.expire(host.now);
    let (to, question) = sent(&mut host).remove(0);
    assert_eq!((to, question.target_ip), (PEER_MAC, PEER_V4));
    // It answers, and stays.
    host.consume(&reply(PEER_MAC));
    host.net.expire(host.now + Duration::from_secs(20));
    assert_eq!(mac_of_peer(&mut host), Some(PEER_MAC));
}

#[test]
fn a_neighbour_that_moved_is_found_again() {
    let mut host = Host::new();
    host.net.hop(host.now, PEER_V4.into()).unwrap();
    host.consume(&reply(PEER_MAC));
    host.consume(&request(OTHER_MAC, PEER_V4, PEER_V4));
    for second in 0..4 {
        host.net.expire(host.now + Duration::from_secs(second));
    }
    assert_eq!(mac_of_peer(&mut host), None);
    host.net.hop(host.now, PEER_V4.into()).unwrap();
    host.consume(&reply(OTHER_MAC));
    assert_eq!(mac_of_peer(&mut host), Some(OTHER_MAC));
}

#[test]
fn an_address_of_ours_is_defended_but_not_in_a_quarrel() {
    let mut host = Host::new();
    for _ in 0..3 {
        host.consume(&request(OTHER_MAC, OUR_V4, PEER_V4));
    }
    assert_eq!(host.net.counters.address_conflicts, 3);
    let defences = sent(&mut host);
    assert_eq!(defences.len(), 1);
    assert_eq!((defences[0].1.sender_ip, defences[0].1.target_ip), (OUR_V4, OUR_V4));
    host.now += Duration::from_secs(10);
    host.consume(&request(OTHER_MAC, OUR_V4, PEER_V4));
    assert_eq!(sent(&mut host).len(), 1);
    assert!(host.net.is_local(OUR_V4.into()).is_some());
}

#[test]
fn a_probe_for_our_address_is_answered() {
    let mut host = Host::new();
    host.consume(&request(OTHER_MAC, Ipv4Addr::UNSPECIFIED, OUR_V4));
    let (_, answer) = sent(&mut host).remove(0);
    assert_eq!((answer.sender_ip, answer.target_mac), (OUR_V4, OTHER_MAC));
}

#[test]
fn a_new_address_is_announced_twice() {
    let mut host = Host::with(NetConfig::default(), |_| {});
    assert_eq!(host.net.next_deadline(), Some(Instant::ZERO));
    let mut announcements = 0;
    for second in 0..10 {
        host.net.expire(host.now + Duration::from_secs(second));
        announcements += sent(&mut host).iter().filter(|(_, repr)| repr.sender_ip == OUR_V4).count();
    }
    assert_eq!(announcements, 2);
    assert_eq!(host.net.next_deadline(), None);
}

#[test]
fn a_probed_address_is_ours_when_nobody_objects() {
    let mut host = Host::with(NetConfig { probe: true, ..quiet() }, |_| {});
    assert_eq!(host.net.is_local(OUR_V4.into()), None);
    let mut probes = 0;
    for step in 0..40 {
        host.net.expire(host.now + Duration::from_millis(step * 500));
        probes += sent(&mut host).iter().filter(|(_, repr)| repr.sender_ip.is_unspecified()).count();
    }
    assert_eq!(probes, 3);
    assert!(host.net.is_local(OUR_V4.into()).is_some());
    assert!(host.net.is_local(OUR_V6.into()).is_some());
}

#[test]
fn a_probed_address_is_given_up_when_somebody_objects() {
    for objection in [request(OTHER_MAC, OUR_V4, PEER_V4), request(OTHER_MAC, Ipv4Addr::UNSPECIFIED, OUR_V4)]
    {
        let mut host = Host::with(NetConfig { probe: true, ..quiet() }, |_| {});
        host.net.expire(host.now);
        host.consume(&objection);
        for second in 0..20 {
            host.net.expire(host.now + Duration::from_secs(second));
        }
        assert_eq!(host.net.is_local(OUR_V4.into()), None);
        assert_eq!(host.net.counters.address_conflicts, 1);
    }
}

#[test]
fn nonsense_is_dropped() {
    let mut host = Host::new();
    let mut bad = request(PEER_MAC, PEER_V4, OUR_V4);
    bad[15] = 9;
    host.consume(&bad);
    host.consume(&request(MacAddr::BROADCAST, PEER_V4, OUR_V4));
    host.consume(&request(PEER_MAC, Ipv4Addr::new(224, 0, 0, 1), OUR_V4));
    host.consume(&request(PEER_MAC, PEER_V4, OUR_V4)[..30]);
    assert_eq!(host.net.counters.dropped_arp, 4);
    // Our own words, come back.
    host.consume(&request(OUR_MAC, OUR_V4, OUR_V4));
    assert_eq!(host.net.counters.address_conflicts, 0);
}
