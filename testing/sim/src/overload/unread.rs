//! Received and not read: an application that does not take what a crowd sends it.

use freeway_base::Duration;

use super::crowd::{DEAF, Habit};
use super::world::World;

/// Buffers for what nobody has read.
const BUDGET: u32 = 600;

#[test]
fn what_nobody_reads_is_bounded_and_leaves_buffers_for_the_others() {
    let mut world = World::new(1_024, |config| config.receive_budget = Some(BUDGET));
    world.crowd.app_mut().habit = Habit::Shove { port: DEAF, connections: 100 };
    world.assert_served(Duration::from_secs(1));
    // Windows shrink from three quarters of the budget on, and past it payload is dropped, but for a third more that goes to
    // those who hold little: the honest client, who is read at once. What is under way comes on top.
    assert!((BUDGET / 2..BUDGET + BUDGET / 3 + 64).contains(&world.peak.items.0), "{:?}", world.peak);
    assert!(world.peak.buffers.0 < 2 * BUDGET, "{:?}", world.peak);
    assert!(world.counters().tcp.dropped_no_room > 0, "{:?}", world.counters().tcp);
    assert_eq!(world.crowd.app().broken, 0, "a shut window ends nobody");
    world.assert_served(Duration::from_secs(5));
    world.assert_recovered();
}
