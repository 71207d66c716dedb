//! The handshake: RFC 9293, section 3.5.

use freeway_base::{Duration, Instant};
use freeway_wire::tcp::{Flags, SeqNumber};

use super::single::{IRS, ISS, Made, One, about, ack, data, made, plain};
use crate::{Config, Context, Events, Reply, State, SynReceived, SynTimeout, SynVerdict, Tcb};

#[test]
fn closed_connect_sends_a_syn_with_all_offers() {
    let config = Config { sack: true, ..Config::default() };
    let now = Instant::from_secs(9);
    let cx = Context { now, config: &config };
    let mut tcb = Tcb::connect(&cx, ISS, 17);
    let syn = tcb.poll_transmit(&cx, &crate::Held::default(), None).unwrap();
    assert_eq!((syn.flags, syn.seq, syn.len), (Flags::SYN | Flags::ECE | Flags::CWR, ISS, 0));
    assert_eq!((syn.options.mss, syn.options.window_scale), (Some(1460), Some(7)));
    assert!(syn.options.sack_permitted);
    assert_eq!(syn.options.timestamps.unwrap().value, 9_017);
    assert_eq!(syn.window, 65_535);
    assert_eq!(tcb.poll_transmit(&cx, &crate::Held::default(), None), None);
}

#[test]
fn syn_sent_syn_ack_establishes_and_is_acknowledged() {
    let mut one = One::syn_sent(plain());
    let outcome = one.take(made(Flags::SYN | Flags::ACK, 0, 1).mss(800));
    assert_eq!(outcome.events, Events::ESTABLISHED);
    assert_eq!((one.tcb.state(), one.tcb.mss()), (State::Established, 800));
    let ack = one.sent_one();
    assert_eq!((ack.flags, ack.seq, ack.ack), (Flags::ACK, ISS + 1, IRS + 1));
    assert_eq!(one.due_in(), None);
}

#[test]
fn syn_sent_data_and_fin_with_the_syn_ack_are_taken() {
    let mut one = One::syn_sent(plain());
    let outcome = one.take(Made { len: 10, ..made(Flags::SYN | Flags::ACK | Flags::FIN, 0, 1) });
    let accept = outcome.accept.unwrap();
    assert_eq!((accept.offset, accept.len, accept.seq, accept.in_order), (0, 10, IRS + 1, true));
    assert_eq!(outcome.events, Events::ESTABLISHED | Events::PEER_FIN);
    assert_eq!((one.tcb.state(), one.tcb.rcv_nxt()), (State::CloseWait, IRS + 12));
}

#[test]
fn syn_sent_missing_mss_means_the_default() {
    let mut one = One::syn_sent(plain());
    one.take(made(Flags::SYN | Flags::ACK, 0, 1));
    assert_eq!(one.tcb.mss(), 536);
}

#[test]
fn syn_sent_mss_is_reduced_by_the_options_of_every_segment() {
    let mut one = One::syn_sent(Config { timestamps: true, ..plain() });
    one.take(made(Flags::SYN | Flags::ACK, 0, 1).mss(1_400).stamps(1, 0));
    assert_eq!(one.tcb.mss(), 1_000 - 12);
}

#[test]
fn syn_sent_syn_opens_simultaneously() {
    let mut one = One::syn_sent(plain());
    one.take(made(Flags::SYN, 0, 0).mss(900));
    assert_eq!(one.tcb.state(), State::SynReceived);
    let syn_ack = one.sent_one();
    assert_eq!((syn_ack.flags, syn_ack.seq, syn_ack.ack), (Flags::SYN | Flags::ACK, ISS, IRS + 1));
    let outcome = one.take(ack(1, 1));
    assert_eq!((outcome.events, one.tcb.state()), (Events::ESTABLISHED, State::Established));
}

#[test]
fn syn_received_crossed_syn_ack_is_answered_by_an_ack_that_establishes_the_peer() {
    let mut one = One::syn_sent(plain());
    one.take(made(Flags::SYN, 0, 0));
    one.sent();
    let outcome = one.take(made(Flags::SYN | Flags::ACK, 0, 1));
    let Reply::Challenge(reply) = outcome.reply else { panic!("{outcome:?}") };
    assert_eq!((reply.flags, reply.seq, reply.ack), (Flags::ACK, ISS + 1, IRS + 1));
}

#[test]
fn syn_sent_timer_doubles_and_gives_up_after_three_minutes() {
    let mut one = One::syn_sent(plain());
    let begin = one.now;
    about(one.due_in(), Duration::from_secs(1));
    one.next();
    assert!(one.sent_one().retransmission);
    about(one.due_in(), Duration::from_secs(2));
    while one.events.is_empty() {
        one.next();
        one.sent();
    }
    assert_eq!((one.events, one.tcb.state()), (Events::TIMED_OUT, State::Closed));
    assert!(one.now - begin >= Duration::from_secs(180));
}

#[test]
fn syn_sent_lost_syn_means_one_segment_and_three_seconds() {
    let mut one = One::syn_sent(plain());
    one.next();
    one.sent();
    one.take(made(Flags::SYN | Flags::ACK, 0, 1).mss(1_000));
    one.write(5_000);
    assert_eq!(one.lens(), [1_000]);
    about(one.due_in(), Duration::from_secs(3));
}

#[test]
fn syn_sent_close_deletes_the_connection() {
    let mut one = One::syn_sent(plain());
    one.tcb.close();
    assert_eq!((one.tcb.state(), one.due_in()), (State::Closed, None));
    assert!(one.sent().is_empty());
}

#[test]
fn syn_received_close_waits_for_the_handshake_and_then_sends_a_fin() {
    let mut one = One::syn_sent(plain());
    one.take(made(Flags::SYN, 0, 0));
    one.sent();
    one.tcb.close();
    assert!(one.sent().is_empty());
    one.take(ack(1, 1));
    assert_eq!(one.tcb.state(), State::FinWait1);
    assert!(one.sent_one().flags.contains(Flags::FIN));
}

// ---- the passive side ----

fn half_open(config: &Config, syn: Made) -> (SynReceived, Context<'_>) {
    let cx = Context { now: Instant::from_secs(50), config };
    (SynReceived::from_syn(&cx, &syn.arrival(), ISS, 5), cx)
}

fn syn() -> Made {
    made(Flags::SYN, 0, 0).mss(1_200)
}

#[test]
fn listen_syn_is_answered_in_kind() {
    let config = Config::default();
    let (record, cx) = half_open(&config, syn().stamps(77, 0).scale(7));
    let syn_ack = record.syn_ack(&cx);
    assert_eq!((syn_ack.flags, syn_ack.seq, syn_ack.ack), (Flags::SYN | Flags::ACK, ISS, IRS + 1));
    assert_eq!(syn_ack.options.window_scale, Some(7));
    let stamps = syn_ack.options.timestamps.unwrap();
    assert_eq!((stamps.value, stamps.echo), (50_005, 77));
    assert!(!syn_ack.options.sack_permitted);

    let (record, cx) = half_open(&config, syn());
    let options = record.syn_ack(&cx).options;
    assert_eq!((options.window_scale, options.timestamps, options.mss), (None, None, Some(1460)));
}

#[test]
fn syn_received_ack_establishes_with_what_was_agreed() {
    let config = Config::default();
    let (mut record, cx) = half_open(&config, syn().stamps(77, 0).scale(7));
    let SynVerdict::Establish(tcb) =
        record.on_segment(&cx, &ack(1, 1).window(10).stamps(78, 50_005).arrival())
    else {
        panic!("not established")
    };
    let info = tcb.info();
    assert_eq!((info.state, info.mss, info.snd_wnd), (State::Established, 1_188, 10 << 7));
    assert_eq!(info.window_scales, (7, 7));
    assert_eq!(info.rcv_wnd, 65_535);
    assert!(info.timestamps && !info.sack);
}

#[test]
fn syn_received_repeated_syn_is_answered_again() {
    let config = plain();
    let (mut record, cx) = half_open(&config, syn());
    assert!(matches!(record.on_segment(&cx, &syn().arrival()), SynVerdict::ResendSynAck));
}

#[test]
fn syn_received_other_syn_is_challenged() {
    let config = plain();
    let (mut record, cx) = half_open(&config, syn());
    let verdict = record.on_segment(&cx, &made(Flags::SYN, 7, 0).arrival());
    assert!(matches!(verdict, SynVerdict::ChallengeAck(_)), "{verdict:?}");
}

#[test]
fn syn_received_bad_ack_is_reset_and_the_record_stays() {
    let config = plain();
    let (mut record, cx) = half_open(&config, syn());
    for bad in [0, 2, 0x8000_0000] {
        let verdict = record.on_segment(&cx, &ack(1, bad).arrival());
        let SynVerdict::Reset(reset) = verdict else { panic!("{verdict:?}") };
        assert_eq!((reset.flags, reset.seq), (Flags::RST, ISS + bad));
    }
    assert!(matches!(record.on_segment(&cx, &ack(1, 1).arrival()), SynVerdict::Establish(_)));
}

#[test]
fn syn_received_reset_counts_only_at_rcv_nxt() {
    let config = plain();
    let (mut record, cx) = half_open(&config, syn());
    let mut reset = |seq| record.on_segment(&cx, &made(Flags::RST, seq, 0).arrival());
    assert!(matches!(reset(1), SynVerdict::Remove));
    assert!(matches!(reset(2), SynVerdict::ChallengeAck(_)));
    assert!(matches!(reset(200_000), SynVerdict::Drop(_)));
    assert!(matches!(reset(0u32.wrapping_sub(3)), SynVerdict::Drop(_)));
}

#[test]
fn syn_received_data_with_the_last_ack_goes_to_the_connection() {
    let config = plain();
    let (mut record, cx) = half_open(&config, syn());
    let segment = data(1, 100, 1);
    let SynVerdict::Establish(mut tcb) = record.on_segment(&cx, &segment.arrival()) else { panic!("no") };
    let outcome = tcb.take_segment(&cx, &segment.arrival(), &crate::Held::default(), None);
    assert_eq!(outcome.accept.unwrap().len, 100);
    assert_eq!(tcb.rcv_nxt(), IRS + 101);
}

#[test]
fn syn_received_gives_up_after_five_retransmissions() {
    let config = plain();
    let (mut record, cx) = half_open(&config, syn());
    let mut now = cx.now;
    for wait in [1, 2, 4, 8, 16] {
        about(record.next_deadline(now).map(|at| at - now), Duration::from_secs(wait));
        now = record.next_deadline(now).unwrap();
        assert_eq!(record.on_deadline(&Context { now, config: &config }), SynTimeout::Retransmit);
    }
    assert_eq!(record.on_deadline(&Context { now, config: &config }), SynTimeout::GiveUp);
}

#[test]
fn syn_sent_bad_ack_is_reset() {
    let mut one = One::syn_sent(plain());
    for bad in [0, 2] {
        let outcome = one.take(made(Flags::SYN | Flags::ACK, 0, bad));
        let Reply::Reset(reset) = outcome.reply else { panic!("{outcome:?}") };
        assert_eq!((reset.flags, reset.seq, reset.ack), (Flags::RST, ISS + bad, SeqNumber(0)));
        assert_eq!(one.tcb.state(), State::SynSent);
    }
    assert_eq!(one.take(made(Flags::RST | Flags::ACK, 0, 0)).reply, Reply::None);
}
