//! Congestion marks: RFC 3168 on both sides, RFC 8257 on the receiver's.

use std::vec::Vec;

use freeway_base::Duration;
use freeway_wire::Ecn;
use freeway_wire::tcp::{Flags, SeqNumber};

use super::single::{IRS, ISS, Made, One, ack, data, made, plain};
use super::world::{Faults, Plan, World};
use crate::congestion::Algorithm;
use crate::{Arrival, Config, Context, EcnMode, Outgoing, Reply, SynReceived, SynVerdict};

const ECE: Flags = Flags::ECE;
const CWR: Flags = Flags::CWR;

fn asking() -> Config {
    Config { ecn: EcnMode::On, ..plain() }
}

fn with(mut segment: Made, flags: Flags) -> Made {
    segment.repr.flags |= flags;
    segment
}

fn marked(segment: Made) -> Made {
    Made { ecn: Ecn::Ce, ..segment }
}

/// Established by an active open that asked; the SYN-ACK had these bits.
fn answered(config: Config, bits: Flags) -> One {
    let mut one = One::syn_sent(config);
    one.now += Duration::from_millis(10);
    one.take(with(made(Flags::SYN | Flags::ACK, 0, 1).mss(1_000), bits));
    assert_eq!(one.sent_one().ecn, Ecn::NotEct, "a bare acknowledgment");
    one
}

fn agreed() -> One {
    let one = answered(asking(), ECE);
    assert!(one.tcb.info().ecn.unwrap());
    one
}

fn has(outgoing: &Outgoing, flag: Flags) -> bool {
    outgoing.flags.contains(flag)
}

// ---- 6.1.1: negotiation ----

#[test]
fn syn_sent_only_a_setup_syn_ack_agrees() {
    for (bits, wanted) in [(ECE, true), (Flags::empty(), false), (CWR, false), (ECE | CWR, false)] {
        let mut one = answered(asking(), bits);
        assert_eq!(one.tcb.info().ecn.unwrap(), wanted, "{bits:?}");
        let sent = one.write(1_000).sent_one();
        assert_eq!(sent.ecn, if wanted { Ecn::Ect0 } else { Ecn::NotEct });
        assert!(!has(&sent, ECE | CWR));
    }
}

#[test]
fn syn_sent_who_does_not_ask_gets_none() {
    for ecn in [EcnMode::Off, EcnMode::Passive] {
        let one = answered(Config { ecn, ..plain() }, ECE);
        assert!(!one.tcb.info().ecn.unwrap());
    }
}

#[test]
fn syn_sent_a_repeated_syn_does_not_ask_and_its_answer_agrees_to_nothing() {
    let mut one = One::syn_sent(asking());
    one.next();
    let again = one.sent_one();
    assert_eq!((again.flags, again.ecn), (Flags::SYN, Ecn::NotEct));
    one.take(with(made(Flags::SYN | Flags::ACK, 0, 1), ECE));
    assert!(!one.tcb.info().ecn.unwrap());
}

#[test]
fn syn_sent_crossing_syns_agree_when_both_ask() {
    for (bits, wanted) in [(ECE | CWR, true), (ECE, false), (Flags::empty(), false)] {
        let mut one = One::syn_sent(asking());
        one.take(with(made(Flags::SYN, 0, 0), bits));
        let syn_ack = one.sent_one();
        assert_eq!(syn_ack.flags, Flags::SYN | Flags::ACK | if wanted { ECE } else { Flags::empty() });
        one.take(ack(1, 1));
        assert_eq!(one.tcb.info().ecn.unwrap(), wanted);
    }
}

/// The SYN-ACK to a SYN with these bits, and whether the connection uses ECN after the SYNs that follow.
fn accepted(ecn: EcnMode, bits: Flags, repeated: Option<Flags>) -> (Flags, bool) {
    let config = Config { ecn, ..plain() };
    let cx = Context { now: freeway_base::Instant::from_secs(5), config: &config };
    let syn = with(made(Flags::SYN, 0, 0), bits);
    let mut record = SynReceived::from_syn(&cx, &syn.arrival(), ISS, 5);
    if let Some(bits) = repeated {
        let syn = with(made(Flags::SYN, 0, 0), bits);
        assert!(matches!(record.on_segment(&cx, &syn.arrival()), SynVerdict::ResendSynAck));
    }
    let syn_ack = record.syn_ack(&cx);
    assert_eq!(syn_ack.ecn, Ecn::NotEct);
    match record.on_segment(&cx, &ack(1, 1).arrival()) {
        SynVerdict::Establish(tcb) => (syn_ack.flags, tcb.info().ecn.unwrap()),
        verdict => panic!("{verdict:?}"),
    }
}

#[test]
fn listen_agrees_to_what_the_peer_asks_for() {
    let (plain, setup) = (Flags::SYN | Flags::ACK, Flags::SYN | Flags::ACK | ECE);
    for mode in [EcnMode::Passive, EcnMode::On] {
        assert_eq!(accepted(mode, ECE | CWR, None), (setup, true));
        assert_eq!(accepted(mode, ECE, None), (plain, false));
        assert_eq!(accepted(mode, CWR, None), (plain, false));
        assert_eq!(accepted(mode, Flags::empty(), None), (plain, false));
        // The same SYN again: our SYN-ACK was lost. Without ECN: the peer has given it up.
        assert_eq!(accepted(mode, ECE | CWR, Some(ECE | CWR)), (setup, true));
        assert_eq!(accepted(mode, ECE | CWR, Some(Flags::empty())), (plain, false));
        assert_eq!(accepted(mode, Flags::empty(), Some(ECE | CWR)), (plain, false));
    }
    assert_eq!(accepted(EcnMode::Off, ECE | CWR, None), (plain, false));
}

// ---- 6.1.2: the sender ----

#[test]
fn established_only_new_data_is_ecn_capable() {
    let mut one = agreed();
    for sent in one.write(5_000).sent() {
        assert_eq!((sent.ecn, has(&sent, ECE | CWR)), (Ecn::Ect0, false));
    }
    // 6.1.5: nothing that is sent again.
    one.next();
    let again = one.sent_one();
    assert_eq!((again.retransmission, again.ecn), (true, Ecn::NotEct));
    one.take(ack(1, 5_001));
    // No bare acknowledgment (6.1.4), no FIN without data.
    one.take(data(1, 1_000, 5_001));
    one.take(data(1_001, 1_000, 5_001));
    assert_eq!(one.sent_one().ecn, Ecn::NotEct);
    one.tcb.close();
    let fin = one.sent_one();
    assert_eq!((has(&fin, Flags::FIN), fin.len, fin.ecn), (true, 0, Ecn::NotEct));
}

#[test]
fn established_a_window_probe_is_not_ecn_capable() {
    // 6.1.6.
    let mut one = agreed();
    one.take(ack(1, 1).window(0));
    assert!(one.write(5_000).sent().is_empty());
    one.next();
    let probe = one.sent_one();
    assert_eq!((probe.len, probe.ecn), (1, Ecn::NotEct));
}

#[test]
fn established_an_echo_halves_the_window_once_and_new_data_says_so_once() {
    let mut one = agreed();
    assert_eq!(one.write(40_000).sent().len(), 10);
    // Every acknowledgment echoes, until the peer hears of the reduction.
    let mut sent = Vec::new();
    for acked in 1..=10 {
        let outcome = one.take(with(ack(1, acked * 1_000 + 1), ECE));
        assert_eq!(outcome.reduced, acked == 1);
        assert_eq!((one.tcb.info().cwnd, one.tcb.info().ssthresh), (5_000, 5_000));
        sent.extend(one.sent());
    }
    assert!(sent.iter().all(|outgoing| !outgoing.retransmission && outgoing.ecn == Ecn::Ect0));
    let told: Vec<_> = sent.iter().map(|outgoing| has(outgoing, CWR)).collect();
    assert_eq!(told, [true, false, false, false, false]);
    // The segment with CWR is acknowledged, still with an echo: it was marked itself, a new window begins.
    assert!(one.take(with(ack(1, 11_001), ECE)).reduced);
    assert_eq!(one.tcb.info().cwnd, 2_500);
    assert!(one.sent().is_empty(), "4000 are in flight");
    one.take(ack(1, 14_001));
    assert!(has(&one.sent()[0], CWR));
}

#[test]
fn established_one_segment_at_a_time_each_echo_is_a_window_of_its_own() {
    let mut one = agreed();
    let mut windows = Vec::new();
    for round in 0..5 {
        let sent = one.write(500).sent_one();
        assert_eq!(has(&sent, CWR), round > 0);
        one.now += Duration::from_millis(1);
        one.take(with(ack(1, 501 + round * 500), ECE));
        windows.push(one.tcb.info().cwnd);
    }
    // Half of what was in flight, which is less than a segment: one segment is the least.
    assert_eq!(windows, [1_000; 5]);
}

#[test]
fn established_without_a_flight_a_window_is_reduced_once_too() {
    let mut one = agreed();
    one.has_flights = false;
    one.write(40_000).sent();
    let reduced = (1..=10).filter(|acked| one.take(with(ack(1, acked * 1_000 + 1), ECE)).reduced).count();
    assert_eq!((reduced, one.tcb.info().cwnd), (1, 5_000));
    one.sent();
    assert!(one.take(with(ack(1, 11_001), ECE)).reduced);
    // The clock of round trips runs again afterwards.
    let before = one.tcb.info().srtt;
    for _ in 0..3 {
        one.take(ack(1, one.tcb.snd_nxt().distance_from(ISS)));
        one.sent();
        one.now += Duration::from_millis(50);
    }
    assert_ne!(one.tcb.info().srtt, before);
}

#[test]
fn established_a_loss_and_a_mark_in_one_window_reduce_it_once() {
    let mut one = agreed();
    one.write(40_000).sent();
    for _ in 0..3 {
        one.take(with(ack(1, 1), ECE));
    }
    assert_eq!(one.tcb.info().ssthresh, 5_000);
    let sent = one.sent();
    assert!(sent[0].retransmission && !has(&sent[0], CWR));
    assert!(!one.take(with(ack(1, 9_001), ECE)).reduced);
    assert!(!one.take(with(ack(1, 10_001), ECE)).reduced);
    assert_eq!(one.tcb.info().ssthresh, 5_000);
    let fresh: Vec<_> = one.sent().into_iter().filter(|outgoing| !outgoing.retransmission).collect();
    assert!(sent.iter().chain(&fresh).any(|outgoing| has(outgoing, CWR)));
}

#[test]
fn established_bits_mean_nothing_where_they_were_not_agreed_on() {
    let mut one = answered(asking(), Flags::empty());
    one.write(40_000).sent();
    assert!(!one.take(with(ack(1, 1_001), ECE)).reduced);
    assert_eq!(one.tcb.info().cwnd, 11_000);
    one.take(marked(data(1, 1_000, 1_001)));
    one.take(marked(data(1_001, 1_000, 1_001)));
    assert!(one.sent().iter().all(|outgoing| !has(outgoing, ECE | CWR)));
}

// ---- 6.1.3: the receiver ----

#[test]
fn established_a_mark_is_echoed_at_once_until_the_peer_says_cwr() {
    let mut one = agreed();
    one.take(marked(data(1, 1_000, 1)));
    assert!(has(&one.sent_one(), ECE), "without delay");
    for index in 1..5 {
        one.take(data(1 + index * 1_000, 1_000, 1));
        if index % 2 == 0 {
            assert!(has(&one.sent_one(), ECE));
        }
    }
    // Data of our own echoes it, too.
    assert!(has(&one.write(100).sent_one(), ECE));
    one.take(with(data(5_001, 1_000, 101), CWR));
    assert!(!has(&one.sent_one(), ECE));
}

#[test]
fn established_cwr_that_is_marked_itself_goes_on_echoing() {
    let mut one = agreed();
    one.take(marked(data(1, 1_000, 1)));
    one.sent();
    one.take(with(marked(data(1_001, 1_000, 1)), CWR));
    assert!(has(&one.sent_one(), ECE));
}

#[test]
fn established_marks_out_of_order_count_and_those_outside_of_the_window_do_not() {
    let mut one = agreed();
    one.take(marked(data(50_001, 1_000, 1)));
    assert!(has(&one.sent_one(), ECE));
    let mut one = agreed();
    one.take(data(1, 1_000, 1));
    one.take(data(1_001, 1_000, 1));
    one.sent();
    one.take(marked(data(1, 1_000, 1)));
    assert!(!has(&one.sent_one(), ECE));
    // Nor do those on bare acknowledgments.
    one.write(1_000).sent();
    one.take(marked(ack(2_001, 1_001)));
    one.take(data(2_001, 1_000, 1_001));
    one.take(data(3_001, 1_000, 1_001));
    assert!(!has(&one.sent_one(), ECE));
}

#[test]
fn dctcp_each_change_of_the_mark_is_told_exactly() {
    let mut one = answered(Config { congestion: Algorithm::Dctcp, ..asking() }, ECE);
    // What each segment is marked; what is acknowledged at once, and with which echo.
    let table = [
        (false, None),
        (true, Some((1_001, false))),
        (true, None),
        (false, Some((3_001, true))),
        (true, Some((4_001, false))),
        (false, Some((5_001, true))),
    ];
    for (index, (is_marked, wanted)) in (0u32..).zip(table) {
        let segment = data(1 + index * 1_000, 1_000, 1);
        let outcome = one.take(if is_marked { marked(segment) } else { segment });
        let told = match outcome.reply {
            Reply::Ack(reply) => Some((reply.ack.distance_from(IRS), has(&reply, ECE))),
            _ => None,
        };
        assert_eq!(told, wanted, "segment {index}");
    }
    // And the last state without delay.
    let last = one.sent_one();
    assert_eq!((last.ack, has(&last, ECE)), (IRS + 6_001, false));
}

#[test]
fn dctcp_a_change_with_nothing_unacknowledged_is_told_once() {
    let mut one = answered(Config { congestion: Algorithm::Dctcp, ..asking() }, ECE);
    let outcome = one.take(marked(data(1, 1_000, 1)));
    assert_eq!(outcome.reply, Reply::None);
    let sent = one.sent_one();
    assert_eq!((sent.ack, has(&sent, ECE)), (IRS + 1_001, true));
    // CWR does not end it; an unmarked segment does.
    one.take(with(marked(data(1_001, 1_000, 1)), CWR));
    one.take(marked(data(2_001, 1_000, 1)));
    assert!(has(&one.sent_one(), ECE));
    one.take(data(3_001, 1_000, 1));
    assert!(!has(&one.sent_one(), ECE));
}

// ---- both sides ----

fn transfer(congestion: Algorithm, faults: Faults, seed: u64) -> World {
    let config = Config { congestion, ..Config::default() };
    let client = Plan { iss: SeqNumber(7), total: 2_000_000, write: 50_000, lazy: 0, opens: true };
    let server = Plan { iss: SeqNumber(9), total: 10, opens: false, ..client };
    let mut world = World::new([config; 2], [client, server], faults, seed);
    world.run(Duration::from_secs(2_000));
    assert_eq!((world.ends[1].received, world.ends[0].received), (2_000_000, 10));
    world
}

#[test]
fn a_path_that_marks_slows_every_algorithm_and_loses_nothing() {
    for congestion in Algorithm::ALL {
        for seed in 0..5 {
            let free = transfer(congestion, Faults::NONE, seed);
            assert_eq!(free.ends[0].reduced, 0);
            let world = transfer(congestion, Faults { marking: 5, ..Faults::NONE }, seed);
            assert!(world.ends[0].reduced > 5, "{congestion}: {}", world.ends[0].reduced);
            assert_eq!(world.ends[0].retransmitted, 0, "{congestion}");
            assert!(world.now > free.now, "{congestion}");
        }
    }
}

#[test]
fn marks_losses_and_reordering_together_deliver_everything() {
    for congestion in Algorithm::ALL {
        for seed in 0..10 {
            let faults = Faults { marking: 10, loss: 2, reordering: 5, duplication: 2, ..Faults::NONE };
            transfer(congestion, faults, seed);
        }
    }
}

#[test]
fn a_mark_on_a_handshake_segment_means_nothing() {
    let config = Config { ecn: EcnMode::On, ..plain() };
    let cx = Context { now: freeway_base::Instant::from_secs(5), config: &config };
    let syn = with(made(Flags::SYN, 0, 0), ECE | CWR);
    let arrival = Arrival { ecn: Ecn::Ce, ..syn.arrival() };
    let mut record = SynReceived::from_syn(&cx, &arrival, ISS, 5);
    let SynVerdict::Establish(mut tcb) = record.on_segment(&cx, &marked(ack(1, 1)).arrival()) else {
        panic!("it opens");
    };
    let held = crate::Held { queued: 100, ..crate::Held::default() };
    let sent = tcb.poll_transmit(&cx, &held, None).unwrap();
    assert!(!has(&sent, ECE) && sent.ecn == Ecn::Ect0);
}
