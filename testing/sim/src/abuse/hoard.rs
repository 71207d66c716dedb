//! Connections that are opened in all form, and kept.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use freeway_base::Duration;
use freeway_stack::{AcceptLimits, ListenConfig, Overflow};
use freeway_tcp::{Config, Keepalive};
use freeway_wire::tcp::Flags;

use super::forge;
use super::world::{Attacker, PORT, SERVER, Setup, World};

/// Opens connections to `port` and says nothing on them, from one address or from any.
fn hoard(attacker: &mut Attacker, port: u16, one_address: bool) {
    let server = SocketAddr::new(IpAddr::V4(SERVER), port);
    let answers = std::mem::take(&mut attacker.answers);
    for (own, syn_ack) in answers {
        let ack = forge::segment(Flags::ACK, syn_ack.ack.0, (syn_ack.seq + 1).0);
        attacker.send(&forge::frame(attacker.mac, own, server, &ack, &[]));
    }
    for _ in 0..4 {
        let mut own = attacker.stranger();
        if one_address {
            own.set_ip(IpAddr::V4(Ipv4Addr::new(198, 18, 64, 9)));
        }
        let syn = forge::syn(&mut attacker.rng);
        attacker.send(&forge::frame(attacker.mac, own, server, &syn, &[]));
    }
}

/// A listener that lets go of peers that do not answer.
fn watchful(port: u16, limits: AcceptLimits) -> ListenConfig {
    let keepalive =
        Keepalive { idle: Duration::from_secs(20), interval: Duration::from_secs(5), probes: 2, spread: 0 };
    let tcp = Config { keepalive: Some(keepalive), ..Config::default() };
    ListenConfig { tcp, limits, ..ListenConfig::new(port) }
}

#[test]
fn one_address_gets_its_share_and_no_more() {
    let limits = AcceptLimits { connections_per_peer: 8, ..AcceptLimits::default() };
    let mut world = World::new(Setup { count_peers: true, ..Setup::new(watchful(PORT, limits)) });
    world.assert_served(Duration::from_millis(1_000), |attacker, _| hoard(attacker, PORT, true));
    let listener = world.report(0);
    assert!(listener.counters.shed_peer > 10_000, "{listener:?}");
    assert!((8..16).contains(&listener.open), "eight of the hoarder, and the client's: {listener:?}");
    assert_eq!(world.peak.peers, 2);
    assert!(world.counters().tcp.dropped_accept_limit >= listener.counters.shed_peer);
    world.assert_recovered();
    assert_eq!(world.server.stack().occupancy().peers, 1);
}

#[test]
fn a_hoarded_listener_leaves_room_for_the_others() {
    let limits = AcceptLimits { connections: 62, overflow: Overflow::Reset, ..AcceptLimits::default() };
    let mut setup = Setup::new(watchful(PORT, AcceptLimits::default()));
    setup.listen.push(watchful(80, limits));
    let mut world = World::new(setup);
    world.assert_served(Duration::from_millis(1_000), |attacker, _| hoard(attacker, 80, false));
    let hoarded = world.report(1);
    assert_eq!(hoarded.open, 62);
    assert!(hoarded.counters.shed_connections > 10_000, "{hoarded:?}");
    // Handshakes that were under way when the last place was taken end in a reset.
    assert!(world.attacker.resets > 0);
    assert!(world.peak.connections.0 < 64 + 32);
    world.assert_recovered();
    assert_eq!(world.report(1).open, 0);
}

#[test]
fn a_full_host_keeps_what_it_has_and_recovers() {
    let mut world =
        World::new(Setup { connections: 100, ..Setup::new(watchful(PORT, AcceptLimits::default())) });
    world.run(Duration::from_millis(100), |_, _| {});
    let before = world.fortunes();
    world.run(Duration::from_millis(1_000), |attacker, _| hoard(attacker, PORT, false));
    let after = world.fortunes();
    assert!(after.lasting_bytes - before.lasting_bytes > 50_000 && !after.lasting_ended, "{after:?}");
    assert_eq!((world.peak.connections.0, after.wrong_bytes), (100, 0));
    assert!(world.counters().tcp.dropped_connections_full > 1_000);
    // Connections that were refused may have been given up by the client: what counts is that new ones open.
    world.assert_recovered();
}
