//! SYNs that claim to come from the server itself (LAND), or from nobody or everybody (RFC 9293, MUST-63).

use std::net::Ipv4Addr;

use freeway_base::Duration;
use freeway_stack::ListenConfig;

use super::forge;
use super::world::{PORT, SERVER, Setup, World};

fn attacked(src: Ipv4Addr, dst: Ipv4Addr) -> World {
    let mut world = World::new(Setup::new(ListenConfig::new(PORT)));
    world.assert_served(Duration::from_millis(500), |attacker, _| {
        for _ in 0..40 {
            let syn = forge::syn(&mut attacker.rng);
            let frame = forge::frame(attacker.mac, (src, PORT).into(), (dst, PORT).into(), &syn, &[]);
            attacker.send(&frame);
        }
    });
    assert!(world.peak.syn_received.0 < 16 && world.peak.connections.0 < 32, "{:?}", world.peak);
    assert_eq!(u64::from(world.fortunes().begun) + 1, world.counters().tcp.accepted);
    assert_eq!((world.attacker.syn_acks, world.attacker.resets), (0, 0), "nothing is answered");
    world.assert_recovered();
    world
}

#[test]
fn syns_from_the_server_itself_are_dropped() {
    for src in [SERVER, Ipv4Addr::new(198, 18, 1, 2)] {
        assert!(attacked(src, SERVER).counters().net.dropped_own_source > 90_000);
    }
}

#[test]
fn syns_from_a_broadcast_or_multicast_address_are_dropped() {
    for src in ["198.18.0.255", "255.255.255.255", "224.0.0.1", "0.0.0.0", "127.0.0.1"] {
        let world = attacked(src.parse().expect("an address"), SERVER);
        assert!(world.counters().net.dropped_martian > 90_000, "{src}");
    }
}

#[test]
fn syns_to_a_broadcast_or_multicast_address_are_dropped() {
    let stranger = Ipv4Addr::new(198, 18, 64, 1);
    for dst in ["198.18.1.255", "255.255.255.255", "224.0.0.1"] {
        let world = attacked(stranger, dst.parse().expect("an address"));
        assert!(world.counters().tcp.dropped_broadcast > 90_000, "{dst}");
    }
}
