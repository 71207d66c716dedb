//! TIME-WAIT: a service that closes first is asked more often than its records can wait.

use freeway_base::Duration;

use super::crowd::Habit;
use super::world::World;

/// Records for TIME-WAIT.
const RECORDS: u32 = 512;

#[test]
fn past_the_bound_the_oldest_record_goes_and_newcomers_are_served() {
    let mut world = World::new(1_024, |config| config.max_time_wait = RECORDS);
    world.crowd.app_mut().habit = Habit::Churn(1);
    world.assert_served(Duration::from_secs(1));
    let crowd = world.crowd.app();
    assert!(crowd.lines > 2_000 && crowd.broken == 0, "{} lines, {} broken", crowd.lines, crowd.broken);
    assert_eq!(world.peak.time_wait, RECORDS);
    let shed = world.counters().tcp.shed_time_wait;
    assert!(shed > 1_000 && shed < crowd.lines + 200, "{shed} shed of {}", crowd.lines);
    world.assert_recovered();
    assert_eq!(world.server.stack().occupancy().time_wait, 0, "the rest has waited its time");
}
