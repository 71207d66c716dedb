//! Strangers on the link who make the host ask for neighbours that do not exist (RFC 6583), or claim to be others.

use freeway_base::Duration;
use freeway_stack::StackConfig;
use freeway_tcp::Config;
use freeway_wire::MacAddr;
use freeway_wire::arp::{self, Operation};
use freeway_wire::ethernet::EtherType;
use freeway_wire::tcp::Flags;

use crate::lab::{CLIENT, DISCARD, Lab, SERVER, address, forge};

fn small(_: usize, config: &mut StackConfig) {
    config.net.neighbors = 64;
    config.net.pending = 32;
}

#[test]
fn addresses_that_nobody_has_displace_no_neighbour_in_use() {
    for ipv6 in [false, true] {
        let mut lab = Lab::new(Config::default(), small);
        let id = lab.open(Config::default(), DISCARD, ipv6, 0);
        lab.wait(Duration::from_secs(1));
        let own = address(SERVER, ipv6);
        let mut peak = 0;
        for number in 0..3_000u32 {
            // Each of them wants an answer: a reset, to an address that nobody has.
            let src = if ipv6 { forge::stranger_v6(number) } else { forge::stranger(number) };
            let syn = forge::fields(Flags::ACK, 1, 1, 1_000);
            lab.hit(&forge::segment((src, 1_000).into(), (own, 81).into(), &syn, &[]));
            peak = peak.max(lab.hosts[SERVER].stack.occupancy().buffers.0);
            if number % 100 == 0 {
                lab.conn(CLIENT, id).write(&[1; 1_000]);
                lab.wait(Duration::from_millis(20));
            }
        }
        assert_eq!(lab.hosts[SERVER].desk.discarded, 30_000, "the honest connection goes on");
        assert!(peak <= 32 + 8, "{peak}");
        let net = lab.hosts[SERVER].stack.counters().net;
        assert!(net.dropped_unresolved > 2_900, "{net:?}");
        lab.assert_served(50_000, ipv6, Duration::from_secs(5));
        lab.wait(Duration::from_secs(10));
        assert_eq!(lab.hosts[SERVER].stack.occupancy().buffers.0, 0);
    }
}

#[test]
fn a_stranger_who_claims_a_neighbours_address_is_not_believed_while_the_neighbour_answers() {
    let mut lab = Lab::new(Config::default(), |_, _| {});
    let id = lab.open(Config::default(), DISCARD, false, 0);
    lab.wait(Duration::from_secs(1));
    let [server, client] = [SERVER, CLIENT].map(|host| match address(host, false) {
        std::net::IpAddr::V4(v4) => v4,
        std::net::IpAddr::V6(_) => unreachable!("asked for IPv4"),
    });
    for _ in 0..200 {
        for operation in [Operation::REPLY, Operation::REQUEST] {
            let claim = arp::Repr {
                operation,
                sender_mac: forge::STRANGER_MAC,
                sender_ip: client,
                target_mac: forge::SERVER_MAC,
                target_ip: server,
            };
            let mut bytes = [0; arp::PACKET_LEN];
            claim.emit(&mut bytes);
            lab.hit(&forge::ethernet(forge::STRANGER_MAC, MacAddr::BROADCAST, EtherType::ARP, &bytes));
        }
        lab.conn(CLIENT, id).write(&[1; 500]);
        lab.wait(Duration::from_millis(50));
    }
    lab.wait(Duration::from_secs(2));
    assert_eq!(lab.hosts[SERVER].desk.discarded, 100_000);
    assert!(lab.conn(CLIENT, id).info().is_some_and(|info| info.in_flight == 0), "and it is answered");
}

#[test]
fn a_stranger_who_claims_our_own_address_is_counted_and_changes_nothing() {
    let mut lab = Lab::new(Config::default(), |_, _| {});
    let std::net::IpAddr::V4(server) = address(SERVER, false) else { unreachable!("asked for IPv4") };
    for _ in 0..100 {
        let claim = arp::Repr {
            operation: Operation::REQUEST,
            sender_mac: forge::STRANGER_MAC,
            sender_ip: server,
            target_mac: MacAddr::UNSPECIFIED,
            target_ip: server,
        };
        let mut bytes = [0; arp::PACKET_LEN];
        claim.emit(&mut bytes);
        lab.hit(&forge::ethernet(forge::STRANGER_MAC, MacAddr::BROADCAST, EtherType::ARP, &bytes));
    }
    assert_eq!(lab.hosts[SERVER].stack.counters().net.address_conflicts, 100);
    lab.assert_served(50_000, false, Duration::from_secs(5));
}
