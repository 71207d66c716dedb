//! The rings under every interleaving that loom finds:
//! `RUSTFLAGS="--cfg loom" cargo test -p freeway-mem --release --test loom_ring`.
#![cfg(loom)]
#![allow(clippy::unwrap_used)]

use freeway_mem::ring::{frames, spsc};
use loom::thread;

/// More values than slots, so that slots are used again while the reader is about.
#[test]
fn values_arrive_in_order_and_once() {
    loom::model(|| {
        let (mut producer, mut consumer) = spsc(2);
        let sender = thread::spawn(move || {
            let mut next = 0;
            for _ in 0..4 {
                match producer.push(Box::new(next)) {
                    Ok(()) => next += 1,
                    Err(_) => thread::yield_now(),
                }
            }
            next
        });
        let mut expected = 0;
        for _ in 0..3 {
            match consumer.pop() {
                Some(value) => {
                    assert_eq!(*value, expected);
                    expected += 1;
                }
                None => thread::yield_now(),
            }
        }
        let sent = sender.join().unwrap();
        while let Some(value) = consumer.pop() {
            assert_eq!(*value, expected);
            expected += 1;
        }
        assert_eq!(sent, expected);
    });
}

#[test]
fn bursts_wrap_around() {
    loom::model(|| {
        let (mut producer, mut consumer) = spsc(2);
        let sender = thread::spawn(move || {
            let mut values = 0..3_u32;
            producer.push_iter(&mut values);
            thread::yield_now();
            producer.push_iter(&mut values);
            values.start
        });
        let mut into = arrayvec::ArrayVec::<u32, 3>::new();
        consumer.pop_burst(&mut into);
        thread::yield_now();
        consumer.pop_burst(&mut into);
        let sent = sender.join().unwrap();
        consumer.pop_burst(&mut into);
        assert!(into.iter().copied().eq(0..sent));
    });
}

/// Either end may go first; what is left in the ring is dropped (loom tells of leaks).
#[test]
fn ends_that_go_leave_nothing_behind() {
    loom::model(|| {
        let (mut producer, mut consumer) = spsc(2);
        let sender = thread::spawn(move || {
            for _ in 0..2 {
                producer.push(loom::sync::Arc::new(())).unwrap();
            }
        });
        let gone = consumer.is_disconnected();
        let left = consumer.len();
        assert!(!gone || left == 2, "what was sent before going is there");
        drop(consumer.pop());
        drop(consumer);
        sender.join().unwrap();
    });
}

#[test]
fn frames_are_whole() {
    loom::model(|| {
        let (mut producer, mut consumer) = frames(2, 4);
        let sender = thread::spawn(move || {
            let mut sent = 0_u8;
            for _ in 0..4 {
                if producer.push(&[sent; 3][..sent as usize], sent) {
                    sent += 1;
                    producer.commit();
                } else {
                    thread::yield_now();
                }
            }
            sent
        });
        let mut expected = 0_u8;
        for _ in 0..3 {
            match consumer.peek() {
                Some((frame, flags)) => {
                    assert_eq!((frame, flags), (&[expected; 3][..expected as usize], expected));
                    consumer.release();
                    expected += 1;
                }
                None => thread::yield_now(),
            }
        }
        let sent = sender.join().unwrap();
        while let Some((_, flags)) = consumer.peek() {
            assert_eq!(flags, expected);
            consumer.release();
            expected += 1;
        }
        assert_eq!(sent, expected);
    });
}

#[test]
fn what_is_committed_is_seen_before_the_end_is_gone() {
    loom::model(|| {
        let (mut producer, mut consumer) = frames(2, 4);
        let sender = thread::spawn(move || {
            producer.push(b"last", 1);
            producer.commit();
        });
        if consumer.is_disconnected() {
            assert_eq!(consumer.peek(), Some((&b"last"[..], 1)));
        }
        sender.join().unwrap();
    });
}
