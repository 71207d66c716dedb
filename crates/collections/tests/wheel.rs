//! The wheel against a model, over time jumps of every magnitude.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use freeway_base::{Duration, Instant, Rng, Seed};
use freeway_collections::Wheel;
use freeway_mem::{Arena, ArenaLayout};
use proptest::prelude::*;

const CASES: u32 = if cfg!(miri) { 3 } else { 256 };
const OPS: usize = if cfg!(miri) { 60 } else { 300 };
const TIMERS: u32 = 60;

const TICK: Duration = Duration::from_nanos(1 << 20);
/// What 32 bits of ticks reach.
const HORIZON: Duration = Duration::from_nanos(u32::MAX as u64 * (1 << 20));

fn wheel(timers: u32, now: Instant) -> Wheel {
    let mut arena = Arena::heap(Wheel::plan(ArenaLayout::new(), timers).bytes()).unwrap();
    Wheel::new(&mut arena, timers, now).unwrap()
}

/// Delivers what is due at `now`, over as many turns as the wheel asks for.
fn drain(wheel: &mut Wheel, now: Instant) -> Vec<u32> {
    let mut due = Vec::new();
    loop {
        let before = due.len();
        due.extend(std::iter::from_fn(|| wheel.pop_due(now)));
        let done = wheel.next_deadline().is_none_or(|next| next > now);
        if done && due.len() == before {
            return due;
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Arm { id: u32, ahead: u64 },
    ArmPast { id: u32, behind: u64 },
    Cancel { id: u32 },
    Jump { ahead: u64 },
    JumpToNext { early: bool },
}

/// Spans from a nanosecond to 26 days, each magnitude as likely as the others.
fn span() -> impl Strategy<Value = u64> {
    (0..51u32).prop_flat_map(|magnitude| (1u64 << magnitude)..(2u64 << magnitude))
}

fn op() -> impl Strategy<Value = Op> {
    let id = || 0..TIMERS;
    prop_oneof![
        6 => (id(), span()).prop_map(|(id, ahead)| Op::Arm { id, ahead }),
        1 => (id(), span()).prop_map(|(id, behind)| Op::ArmPast { id, behind }),
        2 => id().prop_map(|id| Op::Cancel { id }),
        2 => span().prop_map(|ahead| Op::Jump { ahead }),
        2 => any::<bool>().prop_map(|early| Op::JumpToNext { early }),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Timer {
    at: Instant,
    /// What the wheel made of it.
    told: Instant,
}

struct Run {
    wheel: Wheel,
    armed: BTreeMap<u32, Timer>,
    now: Instant,
}

impl Run {
    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Arm { id, ahead } => self.arm(id, self.now + Duration::from_nanos(ahead)),
            Op::ArmPast { id, behind } => self.arm(id, self.now - Duration::from_nanos(behind)),
            Op::Cancel { id } => assert_eq!(self.wheel.cancel(id), self.armed.remove(&id).is_some()),
            Op::Jump { ahead } => self.move_to(self.now + Duration::from_nanos(ahead)),
            Op::JumpToNext { early } => {
                let Some(next) = self.wheel.next_deadline() else { return };
                self.move_to(if early { next - Duration::from_nanos(1) } else { next });
            }
        }
    }

    fn arm(&mut self, id: u32, at: Instant) {
        self.wheel.arm(id, at);
        let told = self.wheel.deadline(id).unwrap();
        self.armed.insert(id, Timer { at, told });
        assert!(told >= at, "timer {id} is to fire early");
        assert!(told <= at.max(self.now) + TICK, "timer {id} is to fire late");
    }

    /// Nothing early, nothing more than a tick late, nothing lost, nothing twice, all in order.
    fn move_to(&mut self, later: Instant) {
        self.now = self.now.max(later);
        let mut last = Instant::ZERO;
        for id in drain(&mut self.wheel, self.now) {
            let Timer { at, told } = self.armed.remove(&id).expect("an unarmed timer fired");
            assert!(at <= self.now, "timer {id} fired early: {at:?} at {:?}", self.now);
            assert!(told >= last, "out of order: {told:?} after {last:?}");
            last = told;
        }
        let overdue = self.armed.values().find(|timer| timer.at + TICK <= self.now);
        assert_eq!(overdue, None, "not fired at {:?}", self.now);
    }

    fn check(&self) {
        assert_eq!(self.wheel.armed() as usize, self.armed.len());
        for id in 0..TIMERS {
            assert_eq!(self.wheel.is_armed(id), self.armed.contains_key(&id));
            assert_eq!(self.wheel.deadline(id), self.armed.get(&id).map(|timer| timer.told));
        }
        let soonest = self.armed.values().map(|timer| timer.told).min();
        match (self.wheel.next_deadline(), soonest) {
            (Some(next), Some(soonest)) => assert!(next <= soonest, "would oversleep"),
            (next, soonest) => assert_eq!(next.is_some(), soonest.is_some()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_map(origin in prop_oneof![Just(0), span()], ops in prop::collection::vec(op(), 1..OPS)) {
        let now = Instant::from_nanos(origin);
        let mut run = Run { wheel: wheel(TIMERS, now), armed: BTreeMap::new(), now };
        for op in &ops {
            run.apply(op);
            run.check();
        }
        run.move_to(run.now + HORIZON + TICK);
        prop_assert!(run.armed.is_empty());
    }
}

/// Sleeps by `next_deadline` alone and returns when timer 0 fired, and after how many awakenings.
fn sleep_until_fired(wheel: &mut Wheel) -> (Instant, u32) {
    let mut wakes = 0;
    loop {
        let now = wheel.next_deadline().unwrap();
        wakes += 1;
        if wheel.pop_due(now) == Some(0) {
            return (now, wakes);
        }
        assert!(wakes < 20, "too many awakenings");
    }
}

#[test]
fn a_sleeper_wakes_in_time_after_any_span() {
    for seconds in [0, 1, 60, 137, 138, 3_600, 7_200, 86_400, 40 * 86_400] {
        for nanos in [0, 1, (1 << 20) - 1, 1 << 20, 999_999_999] {
            let start = Instant::from_nanos(123_456_789_012_345);
            let at = start + Duration::from_nanos(seconds * 1_000_000_000 + nanos);
            let mut wheel = wheel(1, start);
            wheel.arm(0, at);
            let (fired, wakes) = sleep_until_fired(&mut wheel);
            assert!(fired >= at || nanos == 0 && seconds == 0, "early: {fired:?} for {at:?}");
            assert!(fired <= at + TICK, "late: {fired:?} for {at:?}");
            assert!(wakes <= 4, "{wakes} awakenings for {at:?}");
        }
    }
}

#[test]
fn a_timer_at_the_edge_of_a_ring_is_neither_early_nor_late() {
    let starts: &[u64] = if cfg!(miri) { &[255] } else { &[0, 1, 255, 256, 65_535, 123_456_789] };
    for &start in starts {
        for level in 0..4 {
            for slots in [1, 2, 255, 256, 257, 511, 512, 513] {
                for beside in 0..3 {
                    let ahead = ((slots << (8 * level)) + beside - 1).min(u64::from(u32::MAX));
                    check_fires_at(start, start + ahead);
                }
            }
        }
    }
}

/// Arms a timer for `at` in a wheel that begins at `start`, both in ticks.
fn check_fires_at(start: u64, at: u64) {
    let instant = |tick: u64| Instant::ZERO + TICK.saturating_mul(tick);
    let mut wheel = wheel(1, instant(start));
    wheel.arm(0, instant(at));
    assert_eq!(wheel.deadline(0), Some(instant(at)));
    if at > start {
        let before = instant(at) - Duration::from_nanos(1);
        assert_eq!(drain(&mut wheel, before), [], "{at} from {start}: early");
    }
    assert_eq!(drain(&mut wheel, instant(at)), [0], "{at} from {start}: late");
}

#[test]
fn what_lies_past_the_horizon_comes_at_the_horizon() {
    let mut wheel = wheel(2, Instant::ZERO);
    wheel.arm(0, Instant::FAR_FUTURE);
    assert_eq!(wheel.deadline(0), Some(Instant::ZERO + HORIZON));
    assert_eq!(drain(&mut wheel, Instant::ZERO + HORIZON - TICK), []);
    assert_eq!(drain(&mut wheel, Instant::ZERO + HORIZON), [0]);
}

#[test]
fn the_end_of_time_is_no_trap() {
    let mut wheel = wheel(1, Instant::FAR_FUTURE);
    wheel.arm(0, Instant::FAR_FUTURE);
    assert!(wheel.deadline(0).is_some() && wheel.next_deadline().is_some());
    assert!(wheel.cancel(0));
    assert_eq!(wheel.pop_due(Instant::FAR_FUTURE), None);
}

#[test]
fn a_clock_that_steps_back_fires_nothing() {
    let mut wheel = wheel(1, Instant::from_secs(10));
    wheel.arm(0, Instant::ZERO);
    assert_eq!(wheel.pop_due(Instant::from_secs(9)), None);
    assert_eq!(wheel.pop_due(Instant::from_secs(10)), Some(0));
}

#[test]
fn arming_again_moves_a_timer_and_cancelling_stops_it() {
    let mut wheel = wheel(3, Instant::ZERO);
    for id in 0..3 {
        wheel.arm(id, Instant::from_millis(5));
    }
    wheel.arm(1, Instant::from_secs(3_000));
    assert!(wheel.cancel(2) && !wheel.cancel(2));
    assert_eq!(drain(&mut wheel, Instant::from_secs(2_999)), [0]);
    assert!(!wheel.is_armed(0));
    wheel.arm(1, Instant::from_secs(2_999));
    assert_eq!(drain(&mut wheel, Instant::from_secs(3_000)), [1]);
    assert_eq!((wheel.armed(), wheel.next_deadline()), (0, None));
}

#[test]
fn strange_numbers_are_no_timers() {
    let mut wheel = wheel(1, Instant::ZERO);
    for id in [1, 2, 1 << 31, u32::MAX] {
        wheel.prefetch(id);
        assert!(!wheel.cancel(id) && !wheel.is_armed(id) && wheel.deadline(id).is_none());
    }
}

#[test]
fn a_crowd_in_one_slot_sinks_beforehand_and_is_punctual() {
    // 268 ms of level-1 slot at 100 us a turn and 64 moves a turn carry 170,000 timers.
    let crowd = if cfg!(miri) { 150 } else { 20_000 };
    let (turn, slot) = (Duration::from_micros(100), Duration::from_nanos(1 << 28));
    let mut wheel = wheel(crowd, Instant::ZERO);
    let first = Instant::ZERO + slot.saturating_mul(10);
    let mut rng = Rng::new(Seed(1));
    let deadlines: Vec<_> =
        (0..crowd).map(|_| first + Duration::from_nanos(u64::from(rng.below(1 << 28)))).collect();
    for (id, &at) in deadlines.iter().enumerate() {
        wheel.arm(id as u32, at);
    }
    let mut fired = 0;
    let mut now = first - slot;
    while now < first + slot + TICK {
        while let Some(id) = wheel.pop_due(now) {
            let at = deadlines[id as usize];
            assert!(at <= now && now <= at + TICK + turn, "{at:?} fired at {now:?}");
            fired += 1;
        }
        now += turn;
    }
    assert_eq!(fired, crowd);
}

#[test]
fn a_long_stall_is_worked_off_in_bounded_calls_and_says_so() {
    let crowd = if cfg!(miri) { 100 } else { 10_000 };
    let mut wheel = wheel(crowd, Instant::ZERO);
    for id in 0..crowd {
        wheel.arm(id, Instant::from_secs(7_200) + Duration::from_micros(u64::from(id)));
    }
    let now = Instant::from_secs(86_400);
    let mut turns = 0;
    let mut fired = 0;
    while wheel.next_deadline().is_some_and(|next| next <= now) {
        turns += 1;
        while wheel.pop_due(now).is_some() {
            fired += 1;
        }
    }
    assert_eq!(fired, crowd);
    assert!(turns >= crowd / 128, "{turns} turns: work is not bounded");
}
