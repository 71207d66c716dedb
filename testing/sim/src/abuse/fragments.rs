//! A flood of fragments whose datagrams never become whole (RFC 1858, RFC 5722, CVE-2018-5391).

use std::net::IpAddr;

use freeway_base::Duration;
use freeway_stack::StackConfig;
use freeway_tcp::Config;
use freeway_wire::{Protocol, ipv4};

use crate::lab::{CLIENT, Lab, SERVER, address, forge};

const PORT: u16 = 5_000;

fn small(_: usize, config: &mut StackConfig) {
    config.net.reassemblies = 8;
    config.net.reassemblies_per_source = 4;
}

/// The second fragment of a datagram, or its first.
fn fragment(src: IpAddr, dst: IpAddr, ident: u16, first: bool) -> Vec<u8> {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let repr = ipv4::Repr {
                ident,
                more_fragments: first,
                fragment_offset: if first { 0 } else { 1_400 },
                ..forge::v4_header(src, dst, Protocol::UDP, 800)
            };
            let mut packet = vec![0; ipv4::HEADER_LEN + 800];
            repr.emit(&mut packet);
            forge::ethernet(
                forge::STRANGER_MAC,
                forge::SERVER_MAC,
                freeway_wire::ethernet::EtherType::IPV4,
                &packet,
            )
        }
        _ => {
            let offset: u16 = if first { 0 } else { 1_400 };
            let [high, low] = (offset | u16::from(first)).to_be_bytes();
            let [a, b] = ident.to_be_bytes();
            let payload = [&[Protocol::UDP.0, 0, high, low, 0, 0, a, b][..], &[0; 800]].concat();
            forge::to_server(src, dst, Protocol::FRAGMENT, &payload)
        }
    }
}

/// The honest client sends a datagram that needs two fragments.
fn send_long(lab: &mut Lab, ipv6: bool) {
    let dst = address(SERVER, ipv6);
    let socket = lab.hosts[CLIENT].stack.udp_bind(None, 4_000, 0).expect("a free port");
    let mut packet = lab.hosts[CLIENT].stack.pool().alloc().expect("a buffer");
    assert!(packet.copy_from_slice(&[9; 1_900]));
    let remote = std::net::SocketAddr::new(dst, PORT);
    lab.hosts[CLIENT].stack.udp_send(socket, None, remote, packet);
    lab.wait(Duration::from_millis(5));
}

#[test]
fn fragments_that_never_become_whole_are_bounded_and_let_honest_ones_through() {
    for ipv6 in [false, true] {
        let mut lab = Lab::new(Config::default(), small);
        lab.hosts[SERVER].stack.udp_bind(None, PORT, 0).expect("a free port");
        lab.assert_served(10_000, ipv6, Duration::from_secs(5));
        let own = address(SERVER, ipv6);
        let mut peak = 0;
        for round in 0..5_000u32 {
            let src = if ipv6 { forge::stranger_v6(round / 2) } else { forge::stranger(round / 2) };
            lab.hit(&fragment(src, own, round as u16, round % 3 == 0));
            peak = peak.max(lab.hosts[SERVER].stack.occupancy().buffers.0);
            if round == 2_500 {
                // In the middle of it: a datagram in two fragments, and a connection.
                send_long(&mut lab, ipv6);
                assert_eq!(lab.hosts[SERVER].desk.datagrams, 1);
                lab.assert_served(200_000, ipv6, Duration::from_secs(5));
            }
        }
        assert!(peak < 1_000, "the frames' own pool is not used up: {peak}");
        let net = lab.hosts[SERVER].stack.counters().net;
        assert!(net.dropped_reassembly_shed > 4_000, "{net:?}");
        // After the flood what is left of it times out, and everything is as before.
        lab.wait(Duration::from_secs(121));
        lab.assert_served(10_000, ipv6, Duration::from_secs(5));
        let net = lab.hosts[SERVER].stack.counters().net;
        assert!((1..=8).contains(&net.dropped_reassembly_timeout), "{net:?}");
        lab.wait(Duration::from_secs(121));
        assert_eq!(lab.hosts[SERVER].stack.occupancy().buffers.0, 0);
    }
}

#[test]
fn one_source_displaces_its_own_fragments_and_not_others() {
    let mut lab = Lab::new(Config::default(), small);
    let own = address(SERVER, false);
    let honest = forge::stranger(9);
    lab.hit(&fragment(honest, own, 1, true));
    for ident in 0..1_000 {
        lab.hit(&fragment(forge::stranger(1), own, ident, true));
    }
    lab.hit(&fragment(honest, own, 1, false));
    let net = lab.hosts[SERVER].stack.counters().net;
    // The honest datagram lacks its middle; it is held still, and all that was shed was the flood's.
    assert_eq!(net.dropped_reassembly_shed, 1_000 - 4);
}
