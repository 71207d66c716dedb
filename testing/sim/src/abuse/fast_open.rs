//! Text in SYNs: honest hosts that use it, and others that forge cookies, hoard pending connections or have them reset
//! (RFC 7413, section 5).

use std::net::SocketAddr;

use freeway_base::Duration;
use freeway_stack::{FastOpen, ListenConfig};
use freeway_wire::tcp::{FastOpenCookie, Flags, Options, Repr};

use super::forge;
use super::world::{Attacker, PORT, SERVER, Setup, World};

fn world(max_pending: u32) -> World {
    let listen = ListenConfig { fast_open: Some(FastOpen { max_pending }), ..ListenConfig::new(PORT) };
    let mut world = World::new(Setup::new(listen));
    world.client.app_mut().fast_open = true;
    world
}

fn server() -> SocketAddr {
    (SERVER, PORT).into()
}

/// A SYN with a Fast Open option.
fn syn(attacker: &mut Attacker, cookie: FastOpenCookie) -> Repr {
    let syn = forge::syn(&mut attacker.rng);
    Repr { options: Options { fast_open: Some(cookie), ..syn.options }, ..syn }
}

/// Asks the server for the cookie of an address.
fn cookie_for(world: &mut World, own: SocketAddr) -> FastOpenCookie {
    let mut cookie = None;
    let mut asked = false;
    world.run(Duration::from_millis(20), |attacker, _| {
        if !asked {
            let request = syn(attacker, FastOpenCookie::REQUEST);
            attacker.send(&forge::frame(attacker.mac, own, server(), &request, &[]));
            asked = true;
        }
        cookie = cookie.or(attacker.answers.iter().find_map(|(_, repr)| repr.options.fast_open));
    });
    cookie.expect("the SYN-ACK brings a cookie")
}

#[test]
fn an_honest_client_sends_text_with_its_syns() {
    for cookies in [freeway_stack::SynCookies::WhenNeeded, freeway_stack::SynCookies::Always] {
        let fast_open = Some(FastOpen::default());
        let mut world =
            World::new(Setup::new(ListenConfig { fast_open, cookies, ..ListenConfig::new(PORT) }));
        world.client.app_mut().fast_open = true;
        world.assert_served(Duration::from_millis(1_000), |_, _| {});
        let (client, listener) = (world.client.stack().counters().tcp, world.report(0).counters);
        assert!(client.fast_open_sent > 90 && client.fast_open_failed == 0, "{client:?}");
        assert_eq!(listener.fast_opened, client.fast_open_sent);
        assert_eq!((listener.fast_open_cookies_sent, listener.fast_open_refused), (1, 0));
        assert_eq!(world.report(0).fast_open_pending, 0);
        world.assert_recovered();
    }
}

#[test]
fn a_server_without_it_is_asked_once() {
    let mut world = World::new(Setup::new(ListenConfig::new(PORT)));
    world.client.app_mut().fast_open = true;
    world.assert_served(Duration::from_millis(500), |_, _| {});
    let client = world.client.stack().counters().tcp;
    assert_eq!((client.fast_open_sent, client.fast_open_failed), (0, 1));
}

#[test]
fn forged_cookies_open_nothing() {
    let mut world = world(256);
    world.assert_served(Duration::from_millis(500), |attacker, _| {
        for _ in 0..40 {
            let own = attacker.stranger();
            let guess = FastOpenCookie::new(&attacker.rng.next_u64().to_be_bytes()).expect("eight bytes");
            let forged = syn(attacker, guess);
            attacker.send(&forge::frame(attacker.mac, own, server(), &forged, b"forged"));
        }
    });
    let listener = world.report(0).counters;
    assert!(listener.fast_open_refused > 90_000, "{listener:?}");
    assert!(listener.fast_opened <= u64::from(world.fortunes().begun));
    assert!(world.peak.connections.0 < 32, "{:?}", world.peak);
    world.assert_recovered();
}

#[test]
fn pending_connections_are_bounded_and_resets_do_not_make_room() {
    let mut world = world(16);
    // An address that the attacker holds, or had a cookie stolen from.
    let mut own = world.attacker.stranger();
    let cookie = cookie_for(&mut world, own);
    // The honest client goes without: its SYNs fall back while the attacker fills the quota.
    for _ in 0..3 {
        world.run(Duration::from_millis(100), |attacker, _| {
            for _ in 0..4 {
                own.set_port(1_024 + attacker.rng.below(60_000) as u16);
                let request = syn(attacker, cookie);
                attacker.send(&forge::frame(attacker.mac, own, server(), &request, b"request"));
                // The owner of the address knows nothing of it, and resets what it gets.
                for (to, syn_ack) in std::mem::take(&mut attacker.answers) {
                    let reset = forge::segment(Flags::RST, syn_ack.ack.0, 0);
                    attacker.send(&forge::frame(attacker.mac, to, server(), &reset, &[]));
                }
            }
        });
        let report = world.report(0);
        assert!(report.fast_open_pending <= 16 && world.peak.connections.0 < 64, "{report:?}");
    }
    let listener = world.report(0).counters;
    let honest = world.client.stack().counters().tcp.fast_open_sent;
    assert!(listener.fast_opened <= 16 + honest, "resets make no room: {listener:?}");
    assert!(listener.fast_open_overflow > 1_000, "{listener:?}");
    world.assert_served(Duration::from_millis(500), |_, _| {});
    world.assert_recovered();
    // After a minute the quota is whole again.
    let before = world.report(0).counters.fast_open_overflow;
    world.assert_served(Duration::from_millis(500), |_, _| {});
    assert_eq!(world.report(0).counters.fast_open_overflow, before);
}
