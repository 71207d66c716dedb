//! Losses told by SACK: RFC 2018, 2883, 6675, 6937, 8985, 5682, 3522.

use std::vec::Vec;

use freeway_base::Duration;
use freeway_wire::tcp::Flags;

use super::single::{ISS, Made, One, about, ack, data, made, plain};
use crate::{Config, Events, State};

/// Established with SACK, 10 ms away, 30 segments queued and the ten of the initial window out.
fn sending_with(config: Config) -> One {
    let mut one = One::syn_sent(config);
    one.now += Duration::from_millis(10);
    let mut syn_ack = made(Flags::SYN | Flags::ACK, 0, 1).mss(1_000);
    syn_ack.repr.options.sack_permitted = true;
    if config.timestamps {
        // Twelve bytes of every segment are the timestamps'.
        syn_ack = syn_ack.stamps(700, crate::clock::millis(one.now) - 10).mss(1_012);
    }
    one.take(syn_ack);
    assert_eq!(one.tcb.state(), State::Established);
    one.sent();
    assert_eq!(one.write(30_000).lens(), [1_000; 10]);
    one
}

fn config() -> Config {
    Config { mss: 1_012, ..plain() }
}

fn sending() -> One {
    let config = Config { mss: 1_000, ..config() };
    sending_with(config)
}

/// An acknowledgment that reports blocks, counted as `ack` is.
fn sack(ack_at: u32, blocks: &[(u32, u32)]) -> Made {
    let mut made = ack(1, ack_at);
    made.repr.options.sack = blocks.iter().map(|&(from, to)| (ISS + from, ISS + to)).collect();
    made
}

/// A round trip passes, shorter than any timer.
fn pass(one: &mut One) {
    one.now += Duration::from_millis(10);
}

/// Where what is sent begins, and whether it was sent before.
fn sent(one: &mut One) -> Vec<(u32, bool)> {
    one.sent().iter().map(|outgoing| (outgoing.seq.distance_from(ISS), outgoing.retransmission)).collect()
}

#[test]
fn established_segment_behind_a_hole_is_reported_the_latest_first() {
    let mut one = sending();
    one.take(data(1_001, 1_000, 1));
    one.held.gaps = [(super::single::IRS + 1_001, super::single::IRS + 2_001)].into_iter().collect();
    let reply = one.sent_one();
    assert_eq!((reply.len, reply.options.sack), (0, one.held.gaps));
}

#[test]
fn established_segment_received_twice_is_reported_first() {
    let mut one = sending();
    one.take(data(1, 1_000, 1));
    one.sent();
    let outcome = one.take(data(1, 500, 1));
    let block = (super::single::IRS + 1, super::single::IRS + 501);
    assert_eq!(outcome.duplicate, Some(block));
    let cx = crate::Context { now: one.now, config: &one.config };
    let reply = one.tcb.report_duplicate(&cx, &one.held, block);
    assert_eq!((reply.ack, reply.options.sack.as_slice()), (super::single::IRS + 1_001, [block].as_slice()));
    assert!(one.sent().is_empty(), "the report has acknowledged");
}

#[test]
fn established_three_segments_behind_a_hole_prove_a_loss() {
    let mut one = sending();
    pass(&mut one);
    // RFC 3042, by RFC 6675's pipe: each of the first two lets new data out.
    one.take(sack(1, &[(1_001, 2_001)]));
    assert_eq!(sent(&mut one), [(10_001, false)]);
    one.take(sack(1, &[(1_001, 3_001)]));
    assert_eq!(sent(&mut one), [(11_001, false)]);
    let outcome = one.take(sack(1, &[(1_001, 4_001)]));
    assert!(outcome.events.contains(Events::FAST_RECOVERY));
    assert_eq!(sent(&mut one), [(1, true)]);
    assert_eq!(one.tcb.info().ssthresh, 5_000);
}

#[test]
fn fast_recovery_sends_every_hole_once_and_comes_down_in_proportion() {
    let mut one = sending();
    pass(&mut one);
    // The first, the third and the fifth are lost.
    let mut all = Vec::new();
    for upto in [6_001, 7_001, 8_001, 9_001, 10_001] {
        one.take(sack(1, &[(5_001, upto), (3_001, 4_001), (1_001, 2_001)]));
        all.extend(sent(&mut one));
    }
    let again: Vec<u32> = all.iter().filter(|(_, again)| *again).map(|&(seq, _)| seq).collect();
    assert_eq!(again, [1, 2_001, 4_001]);
    assert!(all.len() <= 6, "{all:?}");
    pass(&mut one);
    one.take(ack(1, 10_001));
    sent(&mut one);
    let end = one.tcb.snd_nxt().distance_from(ISS);
    pass(&mut one);
    one.take(ack(1, end));
    assert!((5_000..=6_000).contains(&one.tcb.info().cwnd), "{}", one.tcb.info().cwnd);
}

#[test]
fn established_one_segment_behind_a_hole_waits_a_quarter_of_a_round_trip() {
    let mut one = sending();
    pass(&mut one);
    one.take(sack(1, &[(1_001, 2_001)]));
    sent(&mut one);
    about(one.due_in(), Duration::from_micros(2_500));
    let events = one.next();
    assert!(events.contains(Events::FAST_RECOVERY));
    assert_eq!(sent(&mut one)[0], (1, true));
}

#[test]
fn fast_recovery_a_lost_retransmission_is_sent_again_without_a_time_out() {
    let mut one = sending();
    pass(&mut one);
    one.take(sack(1, &[(1_001, 5_001)]));
    assert!(sent(&mut one).contains(&(1, true)));
    // What went out with it arrives, it does not.
    pass(&mut one);
    let nxt = one.tcb.snd_nxt().distance_from(ISS);
    one.take(sack(1, &[(1_001, 10_001)]));
    sent(&mut one);
    pass(&mut one);
    let outcome = one.take(sack(1, &[(1_001, nxt.max(11_001))]));
    assert!(outcome.events.contains(Events::LOST_AGAIN), "{:?}", outcome.events);
    assert_eq!(sent(&mut one)[0], (1, true));
}

#[test]
fn established_silent_tail_is_probed_with_new_data_or_the_last_segment() {
    let mut one = sending();
    one.held.queued = 10_500;
    about(one.due_in(), Duration::from_millis(22));
    assert!(one.next().contains(Events::PROBED));
    assert_eq!(sent(&mut one), [(10_001, false)]);

    let mut one = sending();
    one.held.queued = 10_000;
    one.next();
    assert_eq!(sent(&mut one), [(9_001, true)]);
    // The answer shows the hole, and RACK repairs it long before the time-out.
    pass(&mut one);
    one.take(sack(7_001, &[(9_001, 10_001)]));
    if one.due_in().unwrap() < Duration::from_millis(20) {
        one.next();
    }
    assert_eq!(sent(&mut one), [(7_001, true), (8_001, true)]);
}

#[test]
fn established_a_probe_that_repaired_a_loss_halves_the_window() {
    let mut one = sending();
    one.held.queued = 10_000;
    one.next();
    sent(&mut one);
    pass(&mut one);
    one.take(ack(1, 10_001));
    let before = one.tcb.info().cwnd;
    one.write(1_000).sent();
    pass(&mut one);
    one.take(ack(1, 11_001));
    assert!(one.tcb.info().cwnd < before, "{} after {before}", one.tcb.info().cwnd);
}

#[test]
fn established_a_probe_that_was_not_needed_changes_nothing() {
    let mut one = sending();
    one.held.queued = 10_000;
    one.next();
    sent(&mut one);
    one.take(ack(1, 10_001));
    let before = one.tcb.info().cwnd;
    one.take(sack(10_001, &[(9_001, 10_001)]));
    assert!(one.flight.is_none(), "nothing is left to learn");
    one.write(1_000).sent();
    one.take(ack(1, 11_001));
    assert!(one.tcb.info().cwnd >= before);
}

#[test]
fn timeout_that_was_spurious_is_taken_back_by_what_was_not_sent_again() {
    let mut one = sending();
    let before = one.tcb.info().cwnd;
    // The probe, then the time-out.
    one.next();
    sent(&mut one);
    assert!(one.next().contains(Events::TIMED_RESEND));
    assert_eq!(sent(&mut one), [(1, true)]);
    // RFC 5682: the first acknowledgment lets new data out, the second tells.
    one.take(ack(1, 1_001));
    assert!(sent(&mut one).iter().all(|(_, again)| !again));
    let outcome = one.take(ack(1, 2_001));
    assert!(outcome.events.contains(Events::SPURIOUS));
    assert!(sent(&mut one).iter().all(|(_, again)| !again));
    assert!(one.tcb.info().cwnd >= before && one.tcb.info().ssthresh > 100_000);
}

#[test]
fn timeout_that_was_not_spurious_goes_on_with_repetitions() {
    let mut one = sending();
    one.next();
    sent(&mut one);
    one.next();
    sent(&mut one);
    one.take(ack(1, 1_001));
    let new: Vec<_> = sent(&mut one);
    assert!(!new.is_empty() && new.iter().all(|(_, again)| !again), "{new:?}");
    let outcome = one.take(sack(1_001, &[(new[0].0, new[0].0 + 1_000)]));
    assert!(!outcome.events.contains(Events::SPURIOUS));
    assert_eq!(sent(&mut one)[0], (1_001, true));
}

#[test]
fn fast_recovery_that_was_spurious_is_taken_back_by_an_old_echo() {
    let mut one = sending_with(Config { timestamps: true, ..config() });
    let first = crate::clock::millis(one.now);
    pass(&mut one);
    let before = one.tcb.info();
    one.take(sack(1, &[(1_001, 6_001)]).stamps(710, first));
    assert!(sent(&mut one).contains(&(1, true)));
    assert!(one.tcb.info().cwnd < before.cwnd);
    one.now += Duration::from_millis(2);
    let outcome = one.take(ack(1, 6_001).stamps(712, first));
    assert!(outcome.events.contains(Events::SPURIOUS));
    assert!(one.tcb.info().cwnd >= before.cwnd && one.tcb.info().ssthresh == before.ssthresh);
}

#[test]
fn fast_recovery_that_was_spurious_is_taken_back_by_a_duplicate_report() {
    let mut one = sending();
    pass(&mut one);
    let before = one.tcb.info();
    one.take(sack(1, &[(1_001, 6_001)]));
    sent(&mut one);
    one.take(ack(1, 10_001));
    let outcome = one.take(sack(10_001, &[(1, 1_001)]));
    assert!(outcome.events.contains(Events::SPURIOUS));
    assert!(one.tcb.info().cwnd >= before.cwnd && one.tcb.info().ssthresh == before.ssthresh);
}

#[test]
fn established_lies_are_counted_and_change_nothing() {
    let mut one = sending();
    pass(&mut one);
    for lie in [(10_001, 11_001), (5_001, 5_001), (20_001, 50_001)] {
        let outcome = one.take(sack(1, &[(1_001, 2_001), lie]));
        assert!(outcome.events.contains(Events::SACK_REJECTED), "{lie:?}");
    }
    let info = one.tcb.info();
    assert_eq!((info.in_flight, info.cwnd), (10_000, 10_000));
}

#[test]
fn timeout_forgets_what_a_reneging_peer_has_thrown_away() {
    let mut one = sending();
    pass(&mut one);
    one.take(sack(1, &[(1_001, 10_001)]));
    sent(&mut one);
    pass(&mut one);
    // The repair arrives, but what was reported behind it is not acknowledged.
    one.take(ack(1, 1_001));
    sent(&mut one);
    let mut events = Events::empty();
    while !events.contains(Events::TIMED_RESEND) {
        events |= one.next();
        if !events.contains(Events::TIMED_RESEND) {
            sent(&mut one);
        }
    }
    assert!(events.contains(Events::RENEGED));
    assert_eq!(sent(&mut one), [(1_001, true)]);
    one.take(ack(1, 2_001));
    assert!(sent(&mut one).contains(&(2_001, true)), "everything is sent again");
}

#[test]
fn without_a_flight_the_connection_recovers_by_acknowledgments_alone() {
    let mut one = One::established(plain());
    one.has_flights = false;
    one.write(20_000).sent();
    for _ in 0..3 {
        one.take(ack(1, 1));
    }
    assert!(one.flight.is_none());
    assert!(sent(&mut one).contains(&(1, true)));
}

#[test]
fn established_one_segment_at_a_time_needs_no_flight() {
    let mut one = One::established(plain());
    for round in 0..10 {
        one.write(500).sent();
        assert!(one.flight.is_none());
        one.take(ack(1, 501 + round * 500));
    }
}
