//! Acknowledgments for connections that never were, some of them guesses at a SYN cookie.

use freeway_base::{Duration, Instant};
use freeway_stack::{ListenConfig, SynCookies};
use freeway_wire::tcp::Flags;

use super::forge;
use super::world::{Attacker, PORT, SERVER, Setup, World};

fn flood(attacker: &mut Attacker, _: Instant) {
    for _ in 0..40 {
        let src = attacker.stranger();
        let (seq, ack) = (attacker.rng.next_u32(), attacker.rng.next_u32());
        let frame = forge::frame(
            attacker.mac,
            src,
            (SERVER, PORT).into(),
            &forge::segment(Flags::ACK, seq, ack),
            &[],
        );
        attacker.send(&frame);
    }
}

fn flooded(cookies: SynCookies) -> World {
    let mut world = World::new(Setup::new(ListenConfig { cookies, ..ListenConfig::new(PORT) }));
    world.assert_served(Duration::from_millis(1_000), flood);
    let tcp = world.counters().tcp;
    assert!(tcp.dropped_no_listener > 150_000, "{tcp:?}");
    // Resets are limited, and the limit counted.
    assert!(tcp.resets_out <= 21_000 && tcp.limited_replies > 100_000, "{tcp:?}");
    // All but those that found the router's hardware address unknown.
    assert!((tcp.resets_out - 100..=tcp.resets_out).contains(&world.attacker.resets), "{tcp:?}");
    assert!(world.peak.connections.0 < 32 && world.peak.syn_received.0 < 16, "{:?}", world.peak);
    assert_eq!(u64::from(world.fortunes().begun) + 1 - tcp.accepted, 0, "nobody else got in");
    world
}

#[test]
fn stray_acknowledgments_are_reset_within_a_limit() {
    let mut world = flooded(SynCookies::WhenNeeded);
    assert_eq!(world.counters().tcp.dropped_bad_cookie, 0, "no cookie is about, none is looked for");
    world.assert_recovered();
}

#[test]
fn guesses_at_cookies_open_nothing() {
    let mut world = flooded(SynCookies::Always);
    let tcp = world.counters().tcp;
    assert!(tcp.dropped_bad_cookie > 150_000, "{tcp:?}");
    assert_eq!(world.report(0).counters.cookies_refused, tcp.dropped_bad_cookie);
    world.assert_recovered();
}
