//! The ring of frames against a queue, on one thread and on two.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

#[test]
fn frames_are_seen_once_committed() {
    let (mut producer, mut consumer) = frames(4, 100);
    assert!(producer.push(b"one", 1) && producer.push(b"", 2));
    assert!(consumer.peek().is_none() && consumer.is_empty());
    producer.commit();
    assert_eq!(consumer.peek(), Some((&b"one"[..], 1)));
    assert_eq!(consumer.peek(), Some((&b"one"[..], 1)));
    consumer.release();
    assert_eq!(consumer.peek(), Some((&b""[..], 2)));
    consumer.release();
    assert_eq!(consumer.peek(), None);
    consumer.release();
    assert!(producer.is_empty());
}

#[test]
fn a_frame_longer_than_a_slot_is_refused() {
    let (mut producer, mut consumer) = frames(1, 65);
    assert_eq!((producer.slot_size(), consumer.slot_size()), (65, 65));
    assert!(!producer.push(&[0; 66], 0));
    assert!(producer.push(&[9; 65], 0));
    producer.commit();
    assert_eq!(consumer.peek(), Some((&[9; 65][..], 0)));
}

#[test]
fn two_parts_become_one_frame() {
    let (mut producer, mut consumer) = frames(2, 8);
    assert!(producer.push_parts(b"head", b"body", 3) && producer.push_parts(b"", b"", 4));
    assert!(!producer.push_parts(b"full", b"", 0));
    producer.commit();
    assert_eq!(consumer.peek(), Some((&b"headbody"[..], 3)));
    consumer.release();
    assert_eq!(consumer.peek(), Some((&b""[..], 4)));
    consumer.release();
    consumer.commit();
    assert!(!producer.push_parts(b"heads", b"body", 0), "longer than a slot");
    assert!(producer.push_parts(b"", b"all of it", 0) == (b"all of it".len() <= 8));
}

#[test]
fn a_full_ring_has_room_again_when_the_reader_finds_nothing() {
    let (mut producer, mut consumer) = frames(8, 1);
    let fill = |producer: &mut FrameProducer| {
        std::iter::repeat_with(|| producer.push(b"x", 0)).take_while(|&done| done).count()
    };
    assert_eq!((fill(&mut producer), producer.room()), (8, 0));
    producer.commit();
    consumer.release();
    assert_eq!(fill(&mut producer), 0);
    consumer.release();
    assert_eq!(fill(&mut producer), 2);
    consumer.release();
    consumer.commit();
    assert_eq!(fill(&mut producer), 1);
    while consumer.peek().is_some() {
        consumer.release();
    }
    assert_eq!((fill(&mut producer), producer.capacity()), (5, 8));
}

#[test]
fn either_end_notices_that_the_other_is_gone() {
    let (mut producer, mut consumer) = frames(2, 8);
    producer.push(b"last", 0);
    producer.commit();
    producer.push(b"never", 0);
    assert!(!consumer.is_disconnected());
    drop(producer);
    assert!(consumer.is_disconnected());
    assert_eq!(consumer.peek(), Some((&b"last"[..], 0)));
    let (producer, consumer) = frames(2, 8);
    drop(consumer);
    assert!(producer.is_disconnected());
}

#[test]
fn two_threads_lose_and_reorder_nothing() {
    let count = if cfg!(miri) { 200 } else { 500_000_u32 };
    let (mut producer, mut consumer) = frames(32, 64);
    let sender = std::thread::spawn(move || {
        for n in 0..count {
            let (mut frame, len) = ([n as u8; 64], n as usize % 61 + 4);
            frame[..4].copy_from_slice(&n.to_le_bytes());
            while !producer.push(&frame[..len], n as u8) {
                producer.commit();
                std::thread::yield_now();
            }
            if n % 7 == 0 {
                producer.commit();
            }
        }
        producer.commit();
    });
    let mut expected = 0_u32;
    while expected < count {
        let Some((frame, flags)) = consumer.peek() else {
            std::thread::yield_now();
            continue;
        };
        assert_eq!((flags, frame.len()), (expected as u8, expected as usize % 61 + 4));
        assert_eq!(frame[..4], expected.to_le_bytes());
        assert!(frame[4..].iter().all(|&byte| byte == expected as u8));
        consumer.release();
        expected += 1;
    }
    sender.join().unwrap();
    assert!(consumer.peek().is_none() && consumer.is_disconnected());
}

fn cases() -> ProptestConfig {
    let failure_persistence = None;
    ProptestConfig { cases: if cfg!(miri) { 4 } else { 256 }, failure_persistence, ..Default::default() }
}

#[derive(Clone, Debug)]
enum Step {
    Push(Vec<u8>, u8),
    Commit,
    Read(usize),
    GiveBack,
}

proptest! {
    #![proptest_config(cases())]

    /// The ring is a bounded queue of frames, of which the reader sees those committed.
    #[test]
    fn a_ring_is_a_queue(slots in 1..10_usize, steps in prop::collection::vec(prop_oneof![
        4 => (prop::collection::vec(any::<u8>(), 0..80), any::<u8>()).prop_map(|(frame, flags)| Step::Push(frame, flags)),
        1 => Just(Step::Commit),
        1 => (0..6_usize).prop_map(Step::Read),
        1 => Just(Step::GiveBack),
    ], 0..80)) {
        let (mut producer, mut consumer) = frames(slots, 72);
        let (mut unseen, mut seen) = (VecDeque::new(), VecDeque::new());
        // Read, but maybe not yet given back.
        let mut kept = 0;
        for step in steps {
            match step {
                Step::Push(frame, flags) => {
                    let pushed = producer.push(&frame, flags);
                    let used = unseen.len() + seen.len();
                    if frame.len() > 72 || used == producer.capacity() {
                        prop_assert!(!pushed);
                    } else if used + kept < producer.capacity() {
                        prop_assert!(pushed);
                    }
                    if pushed {
                        unseen.push_back((frame, flags));
                    }
                }
                Step::Commit => {
                    producer.commit();
                    seen.append(&mut unseen);
                }
                Step::Read(count) => for _ in 0..count {
                    let expected = seen.pop_front();
                    prop_assert_eq!(consumer.peek(), expected.as_ref().map(|(frame, flags)| (frame.as_slice(), *flags)));
                    kept = if expected.is_some() { kept + 1 } else { 0 };
                    consumer.release();
                },
                Step::GiveBack => {
                    consumer.commit();
                    kept = 0;
                }
            }
            prop_assert_eq!(consumer.len(), seen.len());
        }
    }
}
