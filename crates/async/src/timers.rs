//! What wakes at a time: a binary heap of deadlines whose entries know their places, so that one can be taken out.
//!
//! Sized at start. Setting, moving and cancelling cost the heap's depth; among equal deadlines the older goes first.

use std::task::Waker;

use freeway::Instant;
use slab::Slab;

/// The name of a timer that is set; a stale one names nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimerKey {
    index: u32,
    serial: u64,
}

struct Timer {
    deadline: Instant,
    serial: u64,
    /// Where in the heap it stands.
    place: usize,
    waker: Waker,
}

/// Timers of one executor.
pub(crate) struct Timers {
    timers: Slab<Timer>,
    /// Numbers of timers; none is due before the one at half its place.
    heap: Vec<u32>,
    most: usize,
    next_serial: u64,
}

impl Timers {
    /// Room for so many.
    pub(crate) fn new(most: u32) -> Self {
        let most = most as usize;
        Self { timers: Slab::with_capacity(most), heap: Vec::with_capacity(most), most, next_serial: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Sets a timer; `None` when all are in use.
    pub(crate) fn set(&mut self, deadline: Instant, waker: &Waker) -> Option<TimerKey> {
        if self.heap.len() == self.most {
            return None;
        }
        let (place, serial) = (self.heap.len(), self.next_serial);
        self.next_serial += 1;
        let index = self.timers.insert(Timer { deadline, serial, place, waker: waker.clone() }) as u32;
        self.heap.push(index);
        self.rise(place);
        Some(TimerKey { index, serial })
    }

    /// Changes who is woken; false when the timer is over.
    pub(crate) fn change_waker(&mut self, key: TimerKey, waker: &Waker) -> bool {
        let timer = self.timers.get_mut(key.index as usize).filter(|timer| timer.serial == key.serial);
        timer.map(|timer| timer.waker.clone_from(waker)).is_some()
    }

    /// Takes a timer out. Returns its waker, for the caller to drop.
    pub(crate) fn cancel(&mut self, key: TimerKey) -> Option<Waker> {
        let timer = self.timers.get(key.index as usize).filter(|timer| timer.serial == key.serial)?;
        self.take_out(timer.place)
    }

    /// The soonest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().and_then(|&index| self.timers.get(index as usize)).map(|timer| timer.deadline)
    }

    /// Takes the next timer out that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Waker> {
        if self.next()? > now { None } else { self.take_out(0) }
    }

    /// Takes out one that is never due by time, numbered `from` or higher, and moves `from` behind it; see
    /// [`shutdown`](crate::shutdown()).
    pub(crate) fn pop_timeless(&mut self, from: &mut usize) -> Option<Waker> {
        while *from < self.timers.capacity() {
            let timer = self.timers.get(*from).filter(|timer| timer.deadline == Instant::FAR_FUTURE);
            *from += 1;
            if let Some(place) = timer.map(|timer| timer.place) {
                return self.take_out(place);
            }
        }
        None
    }

    fn take_out(&mut self, place: usize) -> Option<Waker> {
        let last = self.heap.len().checked_sub(1)?;
        self.exchange(place, last);
        let index = self.heap.pop()?;
        if place < last {
            self.rise(place);
            self.sink(place);
        }
        self.timers.try_remove(index as usize).map(|timer| timer.waker)
    }

    /// What the timer in a place is sorted by.
    fn rank(&self, place: usize) -> Option<(Instant, u64)> {
        let timer = self.timers.get(*self.heap.get(place)? as usize)?;
        Some((timer.deadline, timer.serial))
    }

    fn exchange(&mut self, one: usize, other: usize) {
        if one >= self.heap.len() || other >= self.heap.len() {
            return;
        }
        self.heap.swap(one, other);
        for place in [one, other] {
            if let Some(timer) = self.heap.get(place).and_then(|&index| self.timers.get_mut(index as usize)) {
                timer.place = place;
            }
        }
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 && self.rank(place) < self.rank((place - 1) / 2) {
            self.exchange(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let children =
                [2 * place + 1, 2 * place + 2].into_iter().filter(|&child| child < self.heap.len());
            let Some(child) = children.min_by_key(|&child| self.rank(child)) else { return };
            if self.rank(place) <= self.rank(child) {
                return;
            }
            self.exchange(place, child);
            place = child;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use proptest::prelude::*;

    use super::*;

    /// Writes down its number when it is woken.
    struct Note(usize, Arc<AtomicUsize>);

    impl Wake for Note {
        fn wake(self: Arc<Self>) {
            self.1.store(self.0, Ordering::Relaxed);
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(u64),
        Cancel(usize),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..50u64).prop_map(Step::Set),
            2 => any::<usize>().prop_map(Step::Cancel),
            1 => (0..30u64).prop_map(Step::Pass),
        ]
    }

    proptest! {
        /// Against a sorted map of deadlines.
        #[test]
        fn timers_fire_in_order(steps in proptest::collection::vec(step(), 1..200)) {
            const MOST: usize = 16;
            let fired = Arc::new(AtomicUsize::new(0));
            let mut timers = Timers::new(MOST as u32);
            let mut model: BTreeMap<(Instant, usize), TimerKey> = BTreeMap::new();
            let mut now = Instant::ZERO;
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Set(wait) => {
                        let deadline = Instant::from_nanos(now.as_nanos() + wait);
                        let waker = Waker::from(Arc::new(Note(number, Arc::clone(&fired))));
                        let key = timers.set(deadline, &waker);
                        prop_assert_eq!(key.is_some(), model.len() < MOST);
                        if let Some(key) = key {
                            model.insert((deadline, number), key);
                        }
                    }
                    Step::Cancel(which) => {
                        let Some(&name) = model.keys().nth(which % model.len().max(1)) else { continue };
                        let key = model.remove(&name).unwrap();
                        prop_assert!(timers.cancel(key).is_some());
                        prop_assert!(timers.cancel(key).is_none());
                        prop_assert!(!timers.change_waker(key, Waker::noop()));
                    }
                    Step::Pass(span) => {
                        now = Instant::from_nanos(now.as_nanos() + span);
                        while let Some(waker) = timers.pop_due(now) {
                            waker.wake();
                            let ((deadline, number), _) = model.pop_first().unwrap();
                            prop_assert!(deadline <= now);
                            prop_assert_eq!(number, fired.load(Ordering::Relaxed));
                        }
                    }
                }
                prop_assert_eq!(timers.len(), model.len());
                prop_assert_eq!(timers.next(), model.keys().next().map(|&(deadline, _)| deadline));
            }
        }
    }

    #[test]
    fn timeless_timers_wait_for_a_word() {
        let mut timers = Timers::new(4);
        timers.set(Instant::FAR_FUTURE, Waker::noop()).unwrap();
        timers.set(Instant::from_secs(1), Waker::noop()).unwrap();
        timers.set(Instant::FAR_FUTURE, Waker::noop()).unwrap();
        let mut from = 0;
        assert!(timers.pop_timeless(&mut from).is_some());
        assert!(timers.pop_timeless(&mut from).is_some());
        assert!(timers.pop_timeless(&mut from).is_none());
        assert_eq!(timers.len(), 1);
    }
}
