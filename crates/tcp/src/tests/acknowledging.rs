//! When to acknowledge: RFC 9293, section 3.8.6.3; RFC 5681, section 4.2; when not to send small segments.

use freeway_base::Duration;
use freeway_wire::tcp::Flags;

use super::single::{IRS, ISS, One, about, ack, data, plain};
use crate::{Config, Context};

#[test]
fn established_one_segment_is_acknowledged_after_the_delay() {
    let mut one = One::established(plain());
    one.take(data(1, 1_000, 1));
    assert!(one.sent().is_empty());
    about(one.due_in(), Duration::from_millis(40));
    one.next();
    assert_eq!(one.sent_one().ack, IRS + 1_001);
    assert_eq!(one.due_in(), None);
}

#[test]
fn established_second_full_segment_is_acknowledged_at_once() {
    let mut one = One::established(plain());
    one.take(data(1, 1_000, 1));
    one.take(data(1_001, 1_000, 1));
    assert_eq!(one.sent_one().ack, IRS + 2_001);
    assert_eq!(one.due_in(), None);
}

#[test]
fn established_young_connection_acknowledges_every_segment() {
    let mut one = One::established(Config { quick_acks: 2, ..plain() });
    for segment in 0..2 {
        one.take(data(1 + segment * 100, 100, 1));
        one.sent_one();
    }
    one.take(data(201, 100, 1));
    assert!(one.sent().is_empty());
}

#[test]
fn established_no_delay_configured_acknowledges_every_segment() {
    let mut one = One::established(Config { delayed_ack: None, ..plain() });
    one.take(data(1, 1, 1));
    one.sent_one();
}

#[test]
fn established_an_acknowledgment_rides_on_data() {
    let mut one = One::established(plain());
    one.take(data(1, 100, 1));
    one.write(50);
    let sent = one.sent_one();
    assert_eq!((sent.len, sent.ack, sent.flags), (50, IRS + 101, Flags::ACK | Flags::PSH));
    one.take(ack(101, 51));
    assert_eq!(one.due_in(), None);
}

#[test]
fn established_a_whole_burst_is_acknowledged_once() {
    let mut one = One::established(plain());
    for segment in 0..20 {
        one.take(data(1 + segment * 1_000, 1_000, 1));
    }
    assert_eq!(one.sent_one().ack, IRS + 20_001);
}

#[test]
fn established_out_of_order_is_acknowledged_at_once_and_so_is_the_repair() {
    let mut one = One::established(plain());
    for seq in [1_001, 2_001] {
        let outcome = one.take(data(seq, 1_000, 1));
        assert!(!outcome.accept.unwrap().in_order);
        let duplicate = one.sent_one();
        assert_eq!((duplicate.ack, duplicate.len), (IRS + 1, 0));
    }
    assert!(one.take(data(1, 1_000, 1)).accept.unwrap().in_order);
    one.tcb.on_gap_filled(&Context { now: one.now, config: &plain() }, 2_000, false);
    one.held.out_of_order = false;
    assert_eq!(one.sent_one().ack, IRS + 3_001);
}

#[test]
fn established_data_received_before_is_acknowledged_at_once() {
    let mut one = One::established(plain());
    one.take(data(1, 1_000, 1));
    one.next();
    one.sent();
    assert_eq!(one.take(data(1, 1_000, 1)).accept, None);
    assert_eq!(one.sent_one().ack, IRS + 1_001);
}

#[test]
fn established_segment_over_old_and_new_keeps_the_new() {
    let mut one = One::established(plain());
    one.take(data(1, 500, 1));
    one.next();
    one.sent();
    let accept = one.take(data(1, 1_000, 1)).accept.unwrap();
    assert_eq!((accept.offset, accept.len, accept.seq), (500, 500, IRS + 501));
    assert_eq!(one.sent_one().ack, IRS + 1_001);
}

#[test]
fn established_push_marks_the_end_of_what_is_queued() {
    let mut one = One::established(plain());
    let sent = { one.write(2_500).sent() };
    assert_eq!(sent.iter().map(|o| o.len).collect::<std::vec::Vec<_>>(), [1_000, 1_000, 500]);
    assert_eq!(
        sent.iter().map(|o| o.flags.contains(Flags::PSH)).collect::<std::vec::Vec<_>>(),
        [false, false, true]
    );
}

#[test]
fn established_without_nagle_small_segments_go_at_once() {
    let mut one = One::established(plain());
    assert_eq!(one.write(10).lens(), [10]);
    assert_eq!(one.write(10).lens(), [10]);
}

#[test]
fn established_with_nagle_small_segments_wait_for_the_acknowledgment() {
    let mut one = One::established(Config { nagle: true, ..plain() });
    assert_eq!(one.write(10).lens(), [10]);
    assert!(one.write(10).lens().is_empty());
    assert_eq!(one.write(990).lens(), [1_000], "a full segment need not wait");
}

#[test]
fn established_with_nagle_the_end_of_a_write_follows_its_full_segments() {
    let mut one = One::established(Config { nagle: true, ..plain() });
    assert_eq!(one.write(1_700).lens(), [1_000, 700]);
    // Now a small segment is in flight: the next one waits, not for the full segment's acknowledgment but for its own.
    assert!(one.write(10).lens().is_empty());
    one.take(ack(1, 1_001));
    assert!(one.lens().is_empty());
    one.take(ack(1, 1_701));
    assert_eq!(one.lens(), [10]);
}

#[test]
fn established_common_path_and_slow_path_agree() {
    // The same stream once as predicted and once with the URG bit, which only the slow path takes.
    let mut fast = One::established(plain());
    let mut slow = One::established(plain());
    fast.write(5_000).sent();
    slow.write(5_000).sent();
    for (seq, len, acked) in [(1, 700, 1), (701, 1_000, 1_001), (1_701, 0, 3_001), (1_701, 10, 5_001)] {
        let segment = data(seq, len, acked);
        let mut urgent = segment;
        urgent.repr.flags |= Flags::URG;
        urgent.repr.urgent = 3;
        assert_eq!(fast.take(segment), slow.take(urgent));
        assert_eq!(fast.sent(), slow.sent());
        assert_eq!(std::format!("{:?}", fast.tcb), std::format!("{:?}", slow.tcb));
    }
    assert_eq!(fast.tcb.snd_una(), ISS + 5_001);
}
