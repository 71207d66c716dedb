//! Tasks: order, bounds, results, cancelling oneself.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use freeway::Duration;
use freeway_async::{ExecutorConfig, JoinHandle, SpawnError, sleep, spawn, yield_now};

use crate::world::{Slot, World, small};

#[test]
fn tasks_run_in_the_order_in_which_they_were_woken() {
    let order = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&order);
    let mut world = World::new(
        || async {},
        move || async move {
            for name in ["one", "two", "three"] {
                let log = Rc::clone(&log);
                let task = async move {
                    for round in 0..2 {
                        log.borrow_mut().push((name, round));
                        yield_now().await;
                    }
                };
                spawn(task).unwrap().detach();
            }
        },
    );
    world.finish(Duration::from_millis(1));
    let order: Vec<_> = order.borrow().iter().map(|&(name, round)| format!("{name} {round}")).collect();
    assert_eq!(order, ["one 0", "two 0", "three 0", "one 1", "two 1", "three 1"]);
}

#[test]
fn a_task_spawned_runs_in_the_same_turn_and_tells_its_result() {
    let result = Slot::new();
    let slot = result.clone();
    let mut world = World::new(
        || async {},
        move || async move {
            let sum: u32 =
                spawn(async { spawn(async { 20 }).unwrap().await.unwrap() + 2 }).unwrap().await.unwrap();
            slot.put(sum);
        },
    );
    world.turn();
    assert_eq!(result.take(), Some(22));
    assert_eq!(world.client.app().counters().finished, 3);
}

#[test]
fn past_the_bound_spawning_fails_until_a_task_ends() {
    let config = ExecutorConfig { max_tasks: 4, ..small() };
    let mut world = World::with_config(
        config,
        || async {},
        || async {
            let tasks = [(); 3].map(|()| spawn(sleep(Duration::from_millis(5))).unwrap());
            assert_eq!(spawn(async {}).err(), Some(SpawnError::Full));
            for task in tasks {
                task.await.unwrap();
            }
            spawn(async {}).unwrap().await.unwrap();
        },
    );
    world.finish(Duration::from_secs(1));
    assert_eq!(world.client.app().counters().refused_tasks_full, 1);
}

#[test]
fn outside_of_an_executor_nothing_is_spawned() {
    assert_eq!(spawn(async {}).err(), Some(SpawnError::NoExecutor));
}

/// Two tasks that wake each other for ever take no more than their share of a turn.
#[test]
fn a_busy_task_does_not_hold_the_core() {
    let config = ExecutorConfig { polls_per_turn: 100, ..small() };
    let turns = Rc::new(Cell::new(0u32));
    let count = Rc::clone(&turns);
    let mut world = World::with_config(
        config,
        || async {},
        move || async move {
            spawn(async move {
                loop {
                    count.set(count.get() + 1);
                    yield_now().await;
                }
            })
            .unwrap()
            .detach();
            std::future::pending::<()>().await;
        },
    );
    for turn in 1..=10u32 {
        world.turn();
        assert!((100 * turn - 10..=100 * turn).contains(&turns.get()), "{} in {turn} turns", turns.get());
        assert!(world.client.next_deadline().is_some_and(|at| at <= world.now), "the core stays awake");
    }
    assert_eq!(world.client.app().counters().polls_left_over, 10);
}

#[test]
fn a_task_may_cancel_itself() {
    let handle: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
    let own = Rc::clone(&handle);
    let reached = Rc::new(Cell::new(0));
    let mark = Rc::clone(&reached);
    let mut world = World::new(
        || async {},
        move || async move {
            let slot = Rc::clone(&own);
            let task = spawn(async move {
                slot.borrow().as_ref().unwrap().cancel();
                mark.set(1);
                yield_now().await;
                mark.set(2);
            });
            *own.borrow_mut() = Some(task.unwrap());
        },
    );
    world.finish(Duration::from_millis(10));
    assert_eq!((reached.get(), world.client.app().counters().cancelled), (1, 1));
    assert!(handle.borrow().as_ref().unwrap().is_finished());
}

/// A waker that outlives its task wakes whoever has its place now, who finds nothing to do.
#[test]
fn a_stale_waker_does_no_harm() {
    let waker = Slot::new();
    let slot = waker.clone();
    let polls = Rc::new(Cell::new(0));
    let count = Rc::clone(&polls);
    let mut world = World::new(
        || async {},
        move || async move {
            spawn(std::future::poll_fn(move |cx| {
                slot.put(cx.waker().clone());
                std::task::Poll::Ready(())
            }))
            .unwrap()
            .await
            .unwrap();
            spawn(std::future::poll_fn(move |_| {
                count.set(count.get() + 1);
                std::task::Poll::<()>::Pending
            }))
            .unwrap()
            .detach();
            std::future::pending::<()>().await;
        },
    );
    world.turn();
    assert_eq!(polls.get(), 1);
    waker.take().unwrap().wake();
    world.turn();
    world.turn();
    assert_eq!(polls.get(), 2);
}
