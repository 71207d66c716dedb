//! Losses: RFC 6298, RFC 5681, RFC 6582, RFC 3042.

use std::vec::Vec;

use freeway_base::Duration;

use super::single::{ISS, One, about, ack, data, plain};
use crate::{Config, Events, State};

/// Established, with 20 segments queued and the ten of the initial window out.
fn sending() -> One {
    let mut one = One::established(plain());
    assert_eq!(one.write(20_000).lens(), [1_000; 10]);
    one
}

fn offsets(one: &mut One) -> Vec<u32> {
    one.sent().iter().map(|outgoing| outgoing.seq.distance_from(ISS)).collect()
}

#[test]
fn established_slow_start_sends_two_for_each_acknowledged() {
    let mut one = sending();
    one.take(ack(1, 1_001));
    assert_eq!(one.lens(), [1_000; 2]);
    assert_eq!(one.tcb.info().cwnd, 11_000);
}

#[test]
fn established_an_application_that_sends_little_does_not_grow_the_window() {
    let mut one = One::established(plain());
    for round in 0..20 {
        one.write(100).sent();
        one.take(ack(1, 101 + round * 100));
    }
    assert_eq!(one.tcb.info().cwnd, 10_000);
}

#[test]
fn established_idle_longer_than_the_timeout_restarts_the_window() {
    let mut one = sending();
    for acked in 1..=10 {
        one.take(ack(1, acked * 1_000 + 1));
    }
    one.sent();
    one.take(ack(1, 20_001));
    assert!(one.tcb.info().cwnd > 15_000);
    one.wait(Duration::from_secs(5));
    one.write(50_000);
    assert_eq!(one.lens().len(), 10);
}

#[test]
fn established_limited_transmit_sends_new_data_on_the_first_two_duplicates() {
    let mut one = sending();
    for segment in 0..2 {
        one.take(ack(1, 1));
        assert_eq!(offsets(&mut one), [10_001 + segment * 1_000]);
    }
}

#[test]
fn established_third_duplicate_is_a_fast_retransmit_and_halves_the_window() {
    let mut one = sending();
    for _ in 0..3 {
        one.take(ack(1, 1));
    }
    assert_eq!(offsets(&mut one)[0], 1);
    assert_eq!(one.tcb.info().ssthresh, 5_000);
    for _ in 0..9 {
        one.take(ack(1, 1));
    }
    one.sent();
    // Everything arrives: the window is the half of what was in flight.
    one.take(ack(1, one.tcb.snd_nxt().distance_from(ISS)));
    assert!(one.tcb.info().cwnd <= 5_000);
}

#[test]
fn established_what_carries_data_or_opens_the_window_is_no_duplicate() {
    let mut one = sending();
    for segment in 0..5 {
        one.take(data(1 + segment * 100, 100, 1));
        one.take(ack(501, 1).window(60_000 + segment as u16));
    }
    let resent = one.sent().iter().filter(|outgoing| outgoing.retransmission).count();
    assert_eq!(resent, 0);
}

#[test]
fn established_partial_acknowledgment_sends_the_next_hole_at_once() {
    let mut one = sending();
    for _ in 0..3 {
        one.take(ack(1, 1));
    }
    assert_eq!(offsets(&mut one)[0], 1);
    one.take(ack(1, 3_001));
    let sent = one.sent();
    assert_eq!((sent[0].seq, sent[0].offset, sent[0].retransmission), (ISS + 3_001, 0, true));
}

#[test]
fn established_timeout_begins_again_with_one_segment_and_doubles_the_timer() {
    let mut one = sending();
    about(one.due_in(), Duration::from_millis(210));
    one.next();
    assert_eq!(offsets(&mut one), [1]);
    about(one.due_in(), Duration::from_millis(420));
    assert_eq!((one.tcb.info().cwnd, one.tcb.info().ssthresh), (1_000, 5_000));
    one.take(ack(1, 1_001));
    assert_eq!(offsets(&mut one), [1_001, 2_001]);
    // Karn: the acknowledgment of what was sent twice measures nothing, and the back-off stays.
    about(one.due_in(), Duration::from_millis(420));
    one.take(ack(1, 10_001));
    assert_eq!(offsets(&mut one)[0], 10_001);
}

#[test]
fn established_acknowledgment_restarts_the_timer_and_the_last_stops_it() {
    let mut one = One::established(plain());
    one.write(2_000).sent();
    one.wait(Duration::from_millis(100));
    one.take(ack(1, 1_001));
    assert!(one.due_in().unwrap() > Duration::from_millis(200));
    one.take(ack(1, 2_001));
    assert_eq!(one.due_in(), None);
}

#[test]
fn established_silence_is_reported_at_r1_and_ends_at_r2() {
    let mut one = One::established(plain());
    one.write(1_000).sent();
    let begin = one.now;
    let mut resent = 0;
    while !one.events.contains(Events::STALLED) {
        one.next();
        resent += one.sent().len();
    }
    assert_eq!(resent, 3);
    while one.events & Events::ENDED == Events::empty() {
        one.next();
        one.sent();
    }
    assert_eq!((one.events & Events::ENDED, one.tcb.state()), (Events::TIMED_OUT, State::Closed));
    assert!(one.now - begin >= Duration::from_secs(100));
    about(Some(one.now - begin), Duration::from_secs(120));
}

#[test]
fn established_user_timeout_is_the_connections_own() {
    let mut one = One::established(Config { user_timeout: Duration::from_secs(5), ..plain() });
    one.write(1_000).sent();
    let begin = one.now;
    while one.events & Events::ENDED == Events::empty() {
        one.next();
        one.sent();
    }
    about(Some(one.now - begin), Duration::from_secs(5));
}

#[test]
fn established_duplicates_after_a_timeout_start_no_fast_retransmit() {
    let mut one = sending();
    one.next();
    one.sent();
    for _ in 0..5 {
        one.take(ack(1, 1));
        assert!(one.sent().is_empty());
    }
    assert_eq!(one.tcb.info().ssthresh, 5_000);
}

#[test]
fn established_loss_late_in_a_long_stream_is_still_repaired_fast() {
    // More than half of the sequence space after the beginning, "recover" must not look like the future.
    let mut one = One::established(plain());
    let mut acked = 1u32;
    for _ in 0..70_000 {
        one.write(60_000).sent();
        acked = one.tcb.snd_nxt().distance_from(ISS);
        one.take(ack(1, acked));
    }
    assert!(one.tcb.info().in_flight == 0);
    one.write(10_000).sent();
    for _ in 0..3 {
        one.take(ack(1, acked));
    }
    assert!(one.sent().iter().any(|outgoing| outgoing.retransmission));
}

#[test]
fn established_loss_that_repairs_itself_before_the_turn_ends_is_not_sent_again() {
    let mut one = sending();
    for _ in 0..3 {
        one.take(ack(1, 1));
    }
    one.take(ack(1, 10_001));
    assert!(one.sent().iter().all(|outgoing| !outgoing.retransmission));
}
