//! The ends: RFC 9293, sections 3.6 and 3.10.4; TIME-WAIT with RFC 1337 and RFC 6191.

use freeway_base::{Duration, Instant};
use freeway_wire::tcp::Flags;

use super::single::{IRS, ISS, Made, One, about, ack, data, made, plain};
use crate::{Config, Context, Events, State, TimeWait, TimeWaitVerdict};

fn fin(seq: u32, ack: u32) -> Made {
    made(Flags::FIN | Flags::ACK, seq, ack)
}

#[test]
fn established_close_sends_a_fin_behind_the_queue() {
    let mut one = One::established(plain());
    one.write(1_500);
    one.tcb.close();
    assert_eq!((one.tcb.state(), one.tcb.can_send()), (State::FinWait1, false));
    let sent = one.sent();
    assert_eq!(sent.len(), 2);
    assert_eq!((sent[0].flags, sent[0].len), (Flags::ACK, 1_000));
    assert_eq!((sent[1].flags, sent[1].len), (Flags::ACK | Flags::PSH | Flags::FIN, 500));
    assert_eq!(one.tcb.snd_nxt(), ISS + 1_502);
}

#[test]
fn fin_wait_1_ack_of_fin_then_fin_is_time_wait() {
    let mut one = One::established(plain());
    one.tcb.close();
    one.sent();
    let outcome = one.take(ack(1, 2));
    assert_eq!((outcome.acked, one.tcb.state()), (0, State::FinWait2));
    let outcome = one.take(fin(1, 2));
    assert_eq!(outcome.events, Events::PEER_FIN | Events::TIME_WAIT);
    assert_eq!(one.tcb.state(), State::TimeWait);
    let cx = Context { now: one.now, config: &plain() };
    let last = TimeWait::from_tcb(&cx, &one.tcb).ack(&cx);
    assert_eq!((last.seq, last.ack), (ISS + 2, IRS + 2));
    assert_eq!(one.sent_one().ack, IRS + 2);
}

#[test]
fn fin_wait_1_fin_with_ack_of_ours_is_time_wait_at_once() {
    let mut one = One::established(plain());
    one.tcb.close();
    one.sent();
    assert_eq!(one.take(fin(1, 2)).events, Events::PEER_FIN | Events::TIME_WAIT);
}

#[test]
fn fin_wait_1_fin_closes_simultaneously() {
    let mut one = One::established(plain());
    one.tcb.close();
    one.sent();
    assert_eq!(one.take(fin(1, 1)).events, Events::PEER_FIN);
    assert_eq!(one.tcb.state(), State::Closing);
    assert_eq!(one.sent_one().ack, IRS + 2);
    assert_eq!(one.take(ack(2, 2)).events, Events::TIME_WAIT);
}

#[test]
fn fin_wait_2_data_still_arrives() {
    let mut one = One::established(plain());
    one.tcb.close();
    one.sent();
    one.take(ack(1, 2));
    assert_eq!(one.take(data(1, 300, 2)).accept.unwrap().len, 300);
    assert_eq!(one.tcb.state(), State::FinWait2);
}

#[test]
fn fin_wait_2_silence_ends_it_but_traffic_does_not() {
    let mut one = One::established(plain());
    one.tcb.close();
    one.sent();
    one.take(ack(1, 2));
    about(one.due_in(), Duration::from_secs(60));
    one.wait(Duration::from_secs(50));
    one.take(data(1, 10, 2));
    one.wait(Duration::from_millis(100));
    one.sent();
    assert_eq!(one.wait(Duration::from_secs(50)), Events::empty());
    // Nor does it end while the peer may be waiting for us to read.
    assert_eq!(one.wait(Duration::from_secs(50)), Events::empty());
    one.read_all();
    // Nor while our application would still read: the connection is half closed.
    assert_eq!(one.wait(Duration::from_secs(600)), Events::empty());
    one.held.closed = true;
    assert_eq!(one.wait(Duration::from_secs(61)), Events::CLOSED);
}

#[test]
fn fin_wait_1_lost_fin_is_sent_again() {
    let mut one = One::established(plain());
    one.write(10);
    one.tcb.close();
    one.sent();
    one.next();
    let again = one.sent_one();
    assert_eq!((again.offset, again.len, again.retransmission), (0, 10, true));
    assert!(again.flags.contains(Flags::FIN));
    // Only the FIN is left.
    one.take(ack(1, 11));
    one.next();
    let again = one.sent_one();
    assert_eq!((again.seq, again.len), (ISS + 11, 0));
    assert!(again.flags.contains(Flags::FIN));
}

#[test]
fn close_wait_close_is_last_ack_and_its_ack_ends_it() {
    let mut one = One::established(plain());
    assert_eq!(one.take(fin(1, 1)).events, Events::PEER_FIN);
    assert_eq!((one.tcb.state(), one.tcb.can_send()), (State::CloseWait, true));
    assert_eq!(one.sent_one().ack, IRS + 2);
    assert_eq!(one.write(20).lens(), [20]);
    one.tcb.close();
    assert_eq!(one.tcb.state(), State::LastAck);
    assert!(one.sent_one().flags.contains(Flags::FIN));
    let outcome = one.take(ack(2, 22));
    assert_eq!((outcome.acked, outcome.events), (20, Events::WRITABLE | Events::CLOSED));
    assert_eq!((one.tcb.state(), one.due_in()), (State::Closed, None));
}

#[test]
fn close_wait_repeated_fin_is_acknowledged_again() {
    let mut one = One::established(plain());
    one.take(fin(1, 1));
    one.sent();
    assert_eq!(one.take(fin(1, 1)).events, Events::empty());
    assert_eq!(one.sent_one().ack, IRS + 2);
}

#[test]
fn established_fin_behind_a_gap_waits_for_it() {
    let mut one = One::established(plain());
    let outcome = one.take(Made { len: 50, ..fin(101, 1) });
    let accept = outcome.accept.unwrap();
    assert_eq!((accept.in_order, accept.fin, accept.seq), (false, true, IRS + 101));
    assert_eq!((outcome.events, one.tcb.rcv_nxt()), (Events::empty(), IRS + 1));
    one.take(data(1, 100, 1));
    let cx = Context { now: one.now, config: &plain() };
    assert_eq!(one.tcb.on_gap_filled(&cx, 50, true), Events::PEER_FIN);
    assert_eq!((one.tcb.state(), one.tcb.rcv_nxt()), (State::CloseWait, IRS + 152));
}

#[test]
fn fin_wait_2_fin_behind_a_gap_is_time_wait_when_it_closes() {
    let mut one = One::established(plain());
    one.tcb.close();
    one.sent();
    one.take(ack(1, 2));
    one.take(fin(101, 2));
    one.take(data(1, 100, 2));
    let cx = Context { now: one.now, config: &plain() };
    assert_eq!(one.tcb.on_gap_filled(&cx, 0, true), Events::PEER_FIN | Events::TIME_WAIT);
}

// ---- TIME-WAIT ----

fn waiting(timestamps: bool) -> (TimeWait, Config, Instant) {
    let config = Config { timestamps, ..plain() };
    let mut one = One::established(config);
    one.tcb.close();
    one.sent();
    let mut last = fin(1, 2);
    if timestamps {
        last = last.stamps(900, 0);
    }
    one.take(last);
    let cx = Context { now: one.now, config: &config };
    (TimeWait::from_tcb(&cx, &one.tcb), config, one.now)
}

#[test]
fn time_wait_reset_is_ignored() {
    let (mut record, config, now) = waiting(false);
    let cx = Context { now, config: &config };
    assert_eq!(record.on_segment(&cx, &made(Flags::RST, 2, 0).arrival()), TimeWaitVerdict::Drop);
}

#[test]
fn time_wait_repeated_fin_restarts_the_wait() {
    let (mut record, config, now) = waiting(false);
    let cx = Context { now, config: &config };
    let TimeWaitVerdict::Restart(reply) = record.on_segment(&cx, &fin(1, 2).arrival()) else { panic!("no") };
    assert_eq!((reply.seq, reply.ack), (ISS + 2, IRS + 2));
}

#[test]
fn time_wait_old_data_is_acknowledged_and_bare_acks_are_not() {
    let (mut record, config, now) = waiting(false);
    let cx = Context { now, config: &config };
    assert!(matches!(record.on_segment(&cx, &data(1, 10, 2).arrival()), TimeWaitVerdict::Ack(_)));
    assert_eq!(record.on_segment(&cx, &ack(2, 2).arrival()), TimeWaitVerdict::Drop);
}

#[test]
fn time_wait_syn_with_a_greater_number_reopens() {
    let (mut record, config, now) = waiting(false);
    let cx = Context { now, config: &config };
    let verdict = record.on_segment(&cx, &made(Flags::SYN, 3, 0).arrival());
    let TimeWaitVerdict::Reopen { iss_floor } = verdict else { panic!("{verdict:?}") };
    assert!(iss_floor.is_after(ISS + 2 + 65_535));
    assert!(matches!(record.on_segment(&cx, &made(Flags::SYN, 1, 0).arrival()), TimeWaitVerdict::Ack(_)));
    assert!(matches!(
        record.on_segment(&cx, &made(Flags::SYN | Flags::ACK, 3, 2).arrival()),
        TimeWaitVerdict::Ack(_)
    ));
}

#[test]
fn time_wait_syn_with_a_greater_timestamp_reopens() {
    let (mut record, config, now) = waiting(true);
    let cx = Context { now, config: &config };
    let mut syn = |seq, value| record.on_segment(&cx, &made(Flags::SYN, seq, 0).stamps(value, 0).arrival());
    assert!(matches!(syn(0, 901), TimeWaitVerdict::Reopen { .. }));
    assert!(matches!(syn(3, 900), TimeWaitVerdict::Reopen { .. }));
    assert!(matches!(syn(0, 900), TimeWaitVerdict::Ack(_)));
    assert!(matches!(syn(3, 899), TimeWaitVerdict::Ack(_)));
}
