//! SYNs from everywhere, whose senders never answer (RFC 4987).

use freeway_base::{Duration, Instant};
use freeway_stack::{AcceptLimits, ListenConfig, SynCookies};
use freeway_tcp::Config;

use super::forge;
use super::world::{Attacker, PORT, SERVER, Setup, World};

/// Forty SYNs a turn: 200,000 a second.
fn flood(attacker: &mut Attacker, _: Instant) {
    flood_port(attacker, PORT);
}

fn flood_port(attacker: &mut Attacker, port: u16) {
    for _ in 0..40 {
        let (src, syn) = (attacker.stranger(), forge::syn(&mut attacker.rng));
        let frame = forge::frame(attacker.mac, src, (SERVER, port).into(), &syn, &[]);
        attacker.send(&frame);
    }
}

fn served_by_cookies(ipv6: bool, tcp: Config) {
    let listen = ListenConfig { tcp, ..ListenConfig::new(PORT) };
    let mut world = World::new(Setup { ipv6, tcp, ..Setup::new(listen) });
    world.assert_served(Duration::from_millis(200), |_, _| {});
    assert_eq!(world.counters().tcp.syn_cookies_sent, 0);

    world.run(Duration::from_millis(50), flood);
    world.assert_served(Duration::from_millis(1_000), flood);
    let (tcp, listener) = (world.counters().tcp, world.report(0));
    assert_eq!(world.peak.syn_received.0, 128, "the table was full, and no fuller");
    assert!(world.peak.connections.0 < 32 && world.peak.buffers.0 < 1_024, "{:?}", world.peak);
    assert!(tcp.syn_cookies_sent > 100_000 && world.attacker.syn_acks > 100_000, "{tcp:?}");
    assert!((50..200).contains(&tcp.syn_cookies_accepted), "{tcp:?}");
    assert_eq!(listener.counters.cookies_accepted, tcp.syn_cookies_accepted);
    assert_eq!((tcp.dropped_syn_table_full, tcp.dropped_bad_cookie), (0, 0));
    world.assert_recovered();
}

#[test]
fn cookies_serve_newcomers_through_a_flood() {
    served_by_cookies(false, Config::default());
}

#[test]
fn cookies_serve_newcomers_without_timestamps() {
    served_by_cookies(false, Config { timestamps: false, ..Config::default() });
}

#[test]
fn cookies_serve_newcomers_over_ipv6() {
    served_by_cookies(true, Config::default());
}

#[test]
fn cookies_always_keep_no_half_open_record() {
    let listen = ListenConfig { cookies: SynCookies::Always, ..ListenConfig::new(PORT) };
    let mut world = World::new(Setup::new(listen));
    world.assert_served(Duration::from_millis(500), flood);
    assert_eq!(world.peak.syn_received.0, 0);
    assert_eq!(world.counters().tcp.accepted, world.counters().tcp.syn_cookies_accepted);
    world.assert_recovered();
}

#[test]
fn without_cookies_open_connections_live_and_newcomers_wait() {
    let listen = ListenConfig { cookies: SynCookies::Off, ..ListenConfig::new(PORT) };
    let mut world = World::new(Setup::new(listen));
    world.run(Duration::from_millis(100), |_, _| {});
    let before = world.fortunes();
    world.run(Duration::from_millis(50), flood);
    world.run(Duration::from_millis(950), flood);
    let (after, tcp) = (world.fortunes(), world.counters().tcp);
    assert!(after.lasting_bytes - before.lasting_bytes > 50_000, "{after:?}");
    assert!(after.complete - before.complete < 50, "the flood was one: {after:?}");
    assert_eq!((after.broken, after.wrong_bytes, after.lasting_ended), (0, 0, false));
    assert_eq!(world.peak.syn_received.0, 128);
    assert!(tcp.dropped_syn_table_full > 100_000 && tcp.syn_cookies_sent == 0, "{tcp:?}");
    assert_eq!(world.report(0).counters.shed_half_open, tcp.dropped_syn_table_full);
    world.assert_recovered();
}

#[test]
fn a_flooded_listener_takes_only_its_share() {
    let limits = AcceptLimits { half_open: 16, ..AcceptLimits::default() };
    let flooded = ListenConfig { limits, cookies: SynCookies::Off, ..ListenConfig::new(80) };
    let quiet = ListenConfig { cookies: SynCookies::Off, ..ListenConfig::new(PORT) };
    let mut setup = Setup::new(quiet);
    setup.listen.push(flooded);
    let mut world = World::new(setup);
    world.assert_served(Duration::from_millis(1_000), |attacker, _| flood_port(attacker, 80));
    assert_eq!(world.report(1).half_open, 16);
    assert!(world.report(1).counters.shed_half_open > 100_000);
    assert_eq!(world.report(0).counters.shed_half_open, 0);
    world.assert_recovered();
}
