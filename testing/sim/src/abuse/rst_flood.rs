//! Resets for a live connection, by somebody who knows both ends but not the numbers (RFC 5961, section 3).

use freeway_base::{Duration, Instant};
use freeway_stack::ListenConfig;
use freeway_wire::tcp::Flags;

use super::forge;
use super::honest::LASTING_PORT;
use super::world::{Attacker, CLIENT, PORT, SERVER, Setup, World};

/// Sweeps the sequence space in steps of less than a window: some lie in it, hardly one at its beginning.
fn sweep(attacker: &mut Attacker, step: u32) {
    for _ in 0..40 {
        let seq = (attacker.sent as u32).wrapping_mul(step);
        let reset = forge::segment(Flags::RST, seq, 0);
        let frame =
            forge::frame(attacker.mac, (CLIENT, LASTING_PORT).into(), (SERVER, PORT).into(), &reset, &[]);
        attacker.send(&frame);
    }
}

#[test]
fn resets_in_the_window_are_challenged_and_end_nothing() {
    let mut world = World::new(Setup::new(ListenConfig::new(PORT)));
    world.assert_served(Duration::from_millis(100), |_, _| {});
    let before = world.counters().tcp;
    world
        .assert_served(Duration::from_secs(2), |attacker: &mut Attacker, _: Instant| sweep(attacker, 20_011));
    let tcp = world.counters().tcp;
    assert!(tcp.dropped_unacceptable - before.dropped_unacceptable > 300_000, "{tcp:?}");
    // Several hit the window; one in half a second was answered.
    assert!(tcp.limited_challenges > before.limited_challenges, "{tcp:?}");
    assert_eq!((tcp.closed_reset, tcp.resets_out), (0, 0));
    world.assert_recovered();
}
