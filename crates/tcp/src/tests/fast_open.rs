//! Text in SYNs: RFC 7413, section 4.2.

use freeway_base::{Duration, Instant};
use freeway_wire::tcp::{Flags, SeqNumber};

use super::single::{IRS, ISS, Made, One, about, ack, made, plain};
use crate::{Config, Context, Events, Held, State, SynReceived, Tcb};

// ---- the client ----

/// In SYN-SENT, with a cookie: 500 bytes were written before the SYN went out, which may carry 300.
fn client() -> (One, crate::Outgoing) {
    let config = Config { syn_payload: 300, ..plain() };
    let now = Instant::from_secs(100);
    let tcb = Tcb::connect(&Context { now, config: &config }, ISS, 0);
    let mut one = One::of(tcb, config, now, Held::default());
    one.write(500);
    let syn = one.sent_one();
    (one, syn)
}

#[test]
fn syn_sent_first_syn_carries_text() {
    let (one, syn) = client();
    assert_eq!((syn.flags, syn.seq, syn.offset, syn.len), (Flags::SYN, ISS, 0, 300));
    assert_eq!(one.tcb.state(), State::SynSent);
}

#[test]
fn syn_sent_text_that_was_taken_is_acknowledged_and_the_rest_follows() {
    let (mut one, _) = client();
    let outcome = one.take(made(Flags::SYN | Flags::ACK, 0, 301).mss(1_000));
    assert_eq!((outcome.acked, one.tcb.state()), (300, State::Established));
    assert!(outcome.events.contains(Events::ESTABLISHED));
    let rest = one.sent_one();
    assert_eq!((rest.seq, rest.offset, rest.len, rest.ack), (ISS + 301, 0, 200, IRS + 1));
    assert!(!rest.retransmission);
}

#[test]
fn syn_sent_text_that_was_not_taken_is_sent_again_at_once() {
    let (mut one, _) = client();
    let outcome = one.take(made(Flags::SYN | Flags::ACK, 0, 1).mss(1_000));
    assert_eq!((outcome.acked, one.tcb.state()), (0, State::Established));
    let sent = one.sent();
    assert_eq!((sent[0].seq, sent[0].offset, sent[0].len), (ISS + 1, 0, 300));
    assert_eq!(one.take(ack(1, 301)).acked, 300);
    let rest: u32 = sent[1..].iter().chain(&one.sent()).map(|outgoing| outgoing.len).sum();
    assert_eq!(rest, 200);
    assert_eq!(one.take(ack(1, 501)).acked, 200);
    assert_eq!(one.held.queued, 0);
}

#[test]
fn syn_sent_retransmitted_syn_is_bare_and_a_late_acknowledgment_of_the_text_counts() {
    let (mut one, _) = client();
    one.next();
    let again = one.sent_one();
    assert_eq!((again.flags, again.seq, again.len), (Flags::SYN, ISS, 0));
    assert!(again.retransmission);
    assert_eq!(one.take(made(Flags::SYN | Flags::ACK, 0, 301).mss(1_000)).acked, 300);
    assert_eq!(one.tcb.state(), State::Established);
}

#[test]
fn syn_sent_acknowledgment_of_more_than_was_sent_is_reset() {
    let (mut one, _) = client();
    let outcome = one.take(made(Flags::SYN | Flags::ACK, 0, 302));
    assert!(matches!(outcome.reply, crate::Reply::Reset(_)));
    assert_eq!(one.tcb.state(), State::SynSent);
}

// ---- the server ----

fn server(len: u32) -> One {
    let (config, now) = (plain(), Instant::from_secs(50));
    let cx = Context { now, config: &config };
    let syn = Made { len, ..made(Flags::SYN, 0, 0).mss(1_000).window(5_000) };
    let record = SynReceived::from_syn(&cx, &syn.arrival(), ISS, 5);
    let (tcb, accept) = record.fast_open(&cx, &syn.arrival());
    assert_eq!(accept.map_or(0, |accept| accept.len), len);
    assert!(accept.is_none_or(|accept| accept.in_order && accept.seq == IRS + 1));
    let held = Held { unread: len, ..Held::default() };
    One::of(tcb, config, now, held)
}

#[test]
fn syn_received_text_goes_out_behind_the_syn_ack() {
    let mut one = server(200);
    assert_eq!(one.tcb.state(), State::SynReceived);
    one.write(1_500);
    let sent = one.sent();
    let shape: std::vec::Vec<_> = sent.iter().map(|o| (o.flags, o.seq, o.len, o.ack)).collect();
    assert_eq!(shape[0], (Flags::SYN | Flags::ACK, ISS, 0, IRS + 201));
    assert_eq!(shape[1], (Flags::ACK, ISS + 1, 1_000, IRS + 201));
    assert_eq!(shape[2], (Flags::ACK | Flags::PSH, ISS + 1_001, 500, IRS + 201));
    // The handshake's end, and the text's acknowledgment, in one.
    let outcome = one.take(ack(201, 1_501));
    assert_eq!((outcome.acked, one.tcb.state()), (1_500, State::Established));
    assert!(outcome.events.contains(Events::ESTABLISHED));
    assert_eq!(one.due_in(), None);
}

#[test]
fn syn_received_peers_window_bounds_the_text() {
    let mut one = server(0);
    one.write(20_000);
    assert_eq!(one.lens(), [0, 1_000, 1_000, 1_000, 1_000, 1_000]);
}

#[test]
fn syn_received_lost_syn_ack_is_sent_again_and_the_text_after_it() {
    let mut one = server(10);
    one.write(400);
    assert_eq!(one.lens(), [0, 400]);
    about(one.due_in(), Duration::from_secs(1));
    one.next();
    let again = one.sent_one();
    assert_eq!((again.flags, again.seq, again.retransmission), (Flags::SYN | Flags::ACK, ISS, true));
    one.take(ack(11, 1));
    let text = one.sent_one();
    assert_eq!((text.seq, text.len, text.retransmission), (ISS + 1, 400, true));
}

#[test]
fn syn_received_repeated_syn_is_answered_by_the_syn_ack() {
    let mut one = server(10);
    one.sent();
    let outcome = one.take(made(Flags::SYN, 0, 0));
    assert_eq!((outcome.reply, outcome.dropped), (crate::Reply::None, None));
    assert_eq!((one.sent_one().flags, one.tcb.rcv_nxt()), (Flags::SYN | Flags::ACK, IRS + 11));
}

#[test]
fn syn_received_close_sends_text_and_fin_in_one_round_trip() {
    let mut one = server(10);
    one.write(400);
    one.tcb.close();
    let sent = one.sent();
    assert_eq!((sent[1].len, sent[1].flags.contains(Flags::FIN)), (400, true));
    one.take(ack(11, 402));
    assert_eq!(one.tcb.state(), State::FinWait2);
}

#[test]
fn syn_received_without_an_answer_ends_after_the_syn_acks_retries() {
    let mut one = server(10);
    let mut syn_acks = 0;
    while one.events.is_empty() {
        syn_acks += one.sent().iter().filter(|outgoing| outgoing.flags.contains(Flags::SYN)).count();
        one.next();
    }
    assert_eq!((one.events, syn_acks), (Events::TIMED_OUT, 6));
}

#[test]
fn syn_received_reset_refuses_and_a_wrong_ack_is_reset() {
    let mut one = server(10);
    one.sent();
    let outcome = one.take(ack(11, 2));
    let crate::Reply::Reset(reset) = outcome.reply else { panic!("{outcome:?}") };
    assert_eq!((reset.seq, reset.ack), (ISS + 2, SeqNumber(0)));
    one.take(made(Flags::RST, 11, 0));
    assert_eq!((one.events, one.tcb.state()), (Events::REFUSED, State::Closed));
}
