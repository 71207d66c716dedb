//! SYNs and text forged into a live connection, by somebody who knows both ends but not the numbers (RFC 5961,
//! sections 4 and 5).

use freeway_base::Duration;
use freeway_stack::ListenConfig;
use freeway_wire::tcp::{Flags, Repr};

use super::forge;
use super::honest::LASTING_PORT;
use super::world::{Attacker, CLIENT, PORT, SERVER, Setup, World};

fn inject(attacker: &mut Attacker, repr: &Repr, payload: &[u8]) {
    let frame =
        forge::frame(attacker.mac, (CLIENT, LASTING_PORT).into(), (SERVER, PORT).into(), repr, payload);
    attacker.send(&frame);
}

fn attacked(tcp: freeway_tcp::Config, mut attack: impl FnMut(&mut Attacker)) -> World {
    let listen = ListenConfig { tcp, ..ListenConfig::new(PORT) };
    let mut world = World::new(Setup { tcp, ..Setup::new(listen) });
    world.assert_served(Duration::from_millis(100), |_, _| {});
    world.assert_served(Duration::from_secs(2), |attacker, _| {
        for _ in 0..40 {
            attack(attacker);
        }
    });
    let counters = world.counters().tcp;
    assert!(counters.dropped_unacceptable > 300_000, "{counters:?}");
    assert_eq!(counters.closed_reset, 0);
    world
}

#[test]
fn forged_syns_provoke_two_challenges_a_second() {
    let mut world = attacked(freeway_tcp::Config::default(), |attacker| {
        let syn = forge::syn(&mut attacker.rng);
        inject(attacker, &syn, &[]);
    });
    let tcp = world.counters().tcp;
    // Two seconds: at most five half seconds were touched; all other challenges were held back.
    assert!(
        tcp.limited_challenges > 300_000 && tcp.limited_challenges + 5 >= tcp.dropped_unacceptable,
        "{tcp:?}"
    );
    assert_eq!(tcp.limited_replies, 0, "the host's own limit was not touched");
    world.assert_recovered();
}

#[test]
fn forged_text_is_not_believed() {
    for timestamps in [true, false] {
        let tcp = freeway_tcp::Config { timestamps, ..freeway_tcp::Config::default() };
        let mut world = attacked(tcp, |attacker| {
            let (seq, ack) = ((attacker.sent as u32).wrapping_mul(20_011), attacker.rng.next_u32());
            inject(attacker, &forge::segment(Flags::ACK | Flags::PSH, seq, ack), b"forged");
        });
        assert_eq!(world.fortunes().wrong_bytes, 0);
        world.assert_recovered();
    }
}
