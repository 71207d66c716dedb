//! The ring against a queue, on one thread and on two.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

#[test]
fn a_full_ring_gives_the_value_back() {
    let (mut producer, mut consumer) = spsc(3);
    assert_eq!(producer.capacity(), 4);
    for n in 0..4 {
        producer.push(n).unwrap();
    }
    assert_eq!((producer.push(4), producer.len(), consumer.len()), (Err(4), 4, 4));
    assert_eq!(consumer.pop(), Some(0));
    producer.push(4).unwrap();
    assert_eq!(std::iter::from_fn(|| consumer.pop()).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(producer.is_empty() && consumer.is_empty());
}

#[test]
fn leftovers_of_a_burst_stay_in_order() {
    let (mut producer, mut consumer) = spsc(4);
    let mut from: ArrayVec<_, 8> = (0..6).collect();
    assert_eq!((producer.push_burst(&mut from), from.as_slice()), (4, &[4, 5][..]));
    assert_eq!(producer.push_burst(&mut from), 0);
    let mut into = ArrayVec::<_, 3>::new();
    assert_eq!((consumer.pop_burst(&mut into), into.as_slice()), (3, &[0, 1, 2][..]));
    assert_eq!(consumer.pop_burst(&mut into), 0);
    assert_eq!((producer.push_burst(&mut from), from.len()), (2, 0));
    into.clear();
    assert_eq!((consumer.pop_burst(&mut into), into.as_slice()), (3, &[3, 4, 5][..]));
}

#[test]
fn an_iterator_is_asked_for_no_more_than_there_is_room_for() {
    let (mut producer, mut consumer) = spsc(2);
    let mut values = 0..;
    assert_eq!((producer.push_iter(&mut values), producer.push_iter(&mut values)), (2, 0));
    assert_eq!((consumer.pop(), values.next()), (Some(0), Some(2)));
}

#[test]
fn what_nobody_took_is_dropped_once() {
    let value = Arc::new(());
    let (mut producer, mut consumer) = spsc(8);
    for _ in 0..8 {
        producer.push(Arc::clone(&value)).unwrap();
    }
    drop(consumer.pop());
    drop(consumer.pop());
    assert!(!producer.is_disconnected());
    drop(consumer);
    assert!(producer.is_disconnected());
    producer.push(Arc::clone(&value)).unwrap();
    assert_eq!(Arc::strong_count(&value), 8);
    drop(producer);
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn a_ring_of_nothing_counts_nothings() {
    let (mut producer, mut consumer) = spsc(0);
    producer.push(()).unwrap();
    assert_eq!((producer.push(()), consumer.pop(), consumer.pop()), (Err(()), Some(()), None));
}

#[test]
fn two_threads_lose_and_reorder_nothing() {
    let count = if cfg!(miri) { 300 } else { 1_000_000_u64 };
    let (mut producer, mut consumer) = spsc(64);
    let sender = std::thread::spawn(move || {
        let mut next = 0;
        let mut burst = ArrayVec::<_, 32>::new();
        while next < count || !burst.is_empty() {
            // Bursts of all sizes, and single values between them.
            while next < count && burst.len() < (next % 32) as usize + 1 {
                burst.push(Box::new(next));
                next += 1;
            }
            if producer.push_burst(&mut burst) == 0 {
                std::thread::yield_now();
            }
        }
    });
    let mut expected = 0;
    let mut into = ArrayVec::<Box<u64>, 24>::new();
    while expected < count {
        if expected % 5 == 0 {
            into.extend(consumer.pop());
        }
        if consumer.pop_burst(&mut into) == 0 && into.is_empty() {
            std::thread::yield_now();
        }
        for value in into.drain(..) {
            assert_eq!(*value, expected);
            expected += 1;
        }
    }
    sender.join().unwrap();
    assert!(consumer.is_disconnected() && consumer.pop().is_none());
}

fn cases() -> ProptestConfig {
    let failure_persistence = None;
    ProptestConfig { cases: if cfg!(miri) { 4 } else { 256 }, failure_persistence, ..Default::default() }
}

proptest! {
    #![proptest_config(cases())]

    /// The ring is a bounded queue.
    #[test]
    fn a_ring_is_a_queue(capacity in 1..20_usize, steps in prop::collection::vec((any::<bool>(), 0..12_usize), 0..80)) {
        let (mut producer, mut consumer) = spsc(capacity);
        let mut model = VecDeque::new();
        let mut next = 0_u32;
        for (push, count) in steps {
            if push {
                let mut burst: ArrayVec<_, 12> = (next..next + count as u32).map(Box::new).collect();
                let sent = producer.push_burst(&mut burst);
                prop_assert_eq!(sent, count.min(producer.capacity() - model.len()));
                prop_assert_eq!(burst.len(), count - sent);
                model.extend(next..next + sent as u32);
                next += sent as u32;
            } else {
                let mut into: ArrayVec<_, 12> = (count..12).map(|_| Box::new(0)).collect();
                let taken = consumer.pop_burst(&mut into);
                prop_assert_eq!(taken, count.min(model.len()));
                prop_assert!(into.drain(12 - count..).map(|value| *value).eq(model.drain(..taken)));
            }
            prop_assert_eq!((producer.len(), consumer.len()), (model.len(), model.len()));
        }
    }
}
