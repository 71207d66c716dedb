//! A device that takes nothing: the crowd asks for much and stops listening, while others share the server.

use freeway_base::Duration;

use super::crowd::{ECHO, Habit};
use super::world::World;

/// Frames that the crowd's cable holds.
const CABLE: usize = 64;

#[test]
fn a_port_that_takes_nothing_holds_a_bounded_number_of_frames_and_nobody_else() {
    let mut world = World::new(CABLE, |_| {});
    world.crowd.app_mut().habit = Habit::Shove { port: ECHO, connections: 100 };
    world.run(Duration::from_millis(20));
    assert_eq!(world.server.app().echoing, 101, "the crowd's, and the connection that lasts");
    world.crowd_runs = false;
    world.assert_served(Duration::from_secs(2));
    assert!(world.server.is_blocked(), "the cable is full");
    let held = world.server.stack().occupancy().buffers.0;
    // Half of all, at most, for what is queued; and acknowledgments in the port's queue.
    assert!(held < 2_048 + 1_024, "{held} buffers wait for a port that takes nothing");
    // Whoever is heard again is served again, by the retransmission timers that run meanwhile.
    world.crowd_runs = true;
    let before = world.counters().tcp.bytes_in;
    world.assert_served(Duration::from_secs(3));
    assert!(world.counters().tcp.bytes_in > before + 1_000_000);
    assert_eq!(world.crowd.app().broken, 0);
    world.assert_recovered();
    assert!(!world.server.is_blocked());
}
