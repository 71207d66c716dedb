//! Time: sleeps, time-outs, intervals, and what happens when all timers are in use.

use std::cell::RefCell;
use std::rc::Rc;

use freeway::{Duration, Instant};
use freeway_async::{Elapsed, ExecutorConfig, interval, now, sleep, sleep_until, spawn, timeout};

use crate::world::{TICK, World, level, small};

#[test]
fn sleeps_end_in_order_and_on_time() {
    let order = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&order);
    let mut world = World::new(
        || async {},
        move || async move {
            for millis in [30, 10, 20, 10] {
                let log = Rc::clone(&log);
                spawn(async move {
                    let begun = now();
                    sleep(Duration::from_millis(millis)).await;
                    log.borrow_mut().push((millis, now().since(begun)));
                })
                .unwrap()
                .detach();
            }
        },
    );
    world.finish(Duration::from_secs(1));
    let order = order.borrow();
    assert_eq!(order.iter().map(|&(millis, _)| millis).collect::<Vec<_>>(), [10, 10, 20, 30]);
    for &(millis, took) in order.iter() {
        let late = took - Duration::from_millis(millis);
        assert!(took >= Duration::from_millis(millis) && late <= TICK + TICK, "{millis} took {took:?}");
    }
    assert_eq!(level(&world.client, "timers"), 0);
}

#[test]
fn the_core_sleeps_until_the_soonest() {
    let mut world = World::new(
        || async {},
        || async {
            let long = spawn(sleep(Duration::from_secs(7))).unwrap();
            sleep(Duration::from_millis(3)).await;
            long.cancel();
            sleep(Duration::from_secs(2)).await;
        },
    );
    let begun = world.now;
    // What the host has to say of itself at first is over by then.
    world.turn();
    assert_eq!(world.client.app().tasks(), 2);
    use freeway::Application as _;
    assert_eq!(world.client.app().next_deadline(), Some(begun + Duration::from_millis(3)));
    world.run(Duration::from_millis(4));
    let next = world.client.app().next_deadline().unwrap();
    assert!(next > begun + Duration::from_secs(2) && next < begun + Duration::from_millis(2_004));
}

#[test]
fn a_time_out_drops_what_it_waited_for() {
    struct Mark(Rc<RefCell<Vec<&'static str>>>);
    impl Drop for Mark {
        fn drop(&mut self) {
            self.0.borrow_mut().push("dropped");
        }
    }
    let log = Rc::new(RefCell::new(Vec::new()));
    let own = Rc::clone(&log);
    let mut world = World::new(
        || async {},
        move || async move {
            let mark = Mark(Rc::clone(&own));
            let slow = async move {
                let _mark = mark;
                sleep(Duration::from_secs(9)).await;
            };
            assert_eq!(timeout(Duration::from_millis(5), slow).await, Err(Elapsed));
            own.borrow_mut().push("after");
            assert_eq!(timeout(Duration::from_millis(5), async { 3 }).await, Ok(3));
        },
    );
    world.finish(Duration::from_secs(1));
    assert_eq!(*log.borrow(), ["dropped", "after"]);
    assert_eq!(level(&world.client, "timers"), 0);
}

#[test]
fn an_interval_keeps_its_period_and_leaves_out_what_was_missed() {
    let ticks = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&ticks);
    let begun = Rc::new(RefCell::new(Instant::ZERO));
    let start = Rc::clone(&begun);
    let mut world = World::new(
        || async {},
        move || async move {
            *start.borrow_mut() = now();
            let mut every = interval(Duration::from_millis(10));
            for number in 0..5 {
                // A tick whose wait is dropped is not lost.
                let tick = match timeout(Duration::from_micros(10), every.tick()).await {
                    Ok(tick) => tick,
                    Err(Elapsed) => every.tick().await,
                };
                log.borrow_mut().push(tick);
                if number == 1 {
                    sleep(Duration::from_millis(25)).await;
                }
            }
        },
    );
    world.finish(Duration::from_secs(1));
    let ticks: Vec<_> = ticks.borrow().iter().map(|tick| tick.since(*begun.borrow()).as_millis()).collect();
    // The ones at 30 and 40 ms were due while it slept: the first is heard late, the second left out.
    assert_eq!(ticks, [10, 20, 30, 50, 60]);
}

#[test]
fn without_a_timer_a_sleep_costs_turns_but_ends() {
    let config = ExecutorConfig { max_timers: 2, ..small() };
    let mut world = World::with_config(
        config,
        || async {},
        || async {
            let sleeps = [(); 4].map(|()| spawn(sleep(Duration::from_millis(2))).unwrap());
            for sleep in sleeps {
                sleep.await.unwrap();
            }
        },
    );
    world.finish(Duration::from_millis(10));
    let counters = world.client.app().counters();
    assert!(counters.timers_full > 10, "{counters:?}");
}

#[test]
fn a_sleep_that_is_reset_ends_at_its_new_time() {
    let mut world = World::new(
        || async {},
        || async {
            let begun = now();
            let mut wait = sleep_until(begun + Duration::from_secs(60));
            assert!(timeout(Duration::from_millis(1), &mut wait).await.is_err());
            wait.reset(begun + Duration::from_millis(5));
            wait.await;
            assert!(now().since(begun) < Duration::from_millis(6));
        },
    );
    world.finish(Duration::from_secs(1));
}
