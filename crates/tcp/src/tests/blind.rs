//! Attackers who cannot see the connection: RFC 5961; and acceptability in general, RFC 9293, section 3.4.

use freeway_base::Duration;
use freeway_wire::tcp::Flags;

use super::single::{IRS, ISS, Made, One, ack, data, made, plain};
use crate::{Config, DropReason, Events, IcmpError, Reply, State};

#[track_caller]
fn challenged(one: &mut One, segment: Made, reason: DropReason) {
    let (before, outcome) = (one.tcb.rcv_nxt(), one.take(segment));
    assert_eq!(outcome.dropped, Some(reason));
    let Reply::Challenge(reply) = outcome.reply else { panic!("{outcome:?}") };
    assert_eq!((reply.flags, reply.seq, reply.ack), (Flags::ACK, one.tcb.snd_nxt(), before));
    assert_eq!((one.tcb.rcv_nxt(), one.tcb.state()), (before, State::Established));
}

#[test]
fn established_reset_in_the_window_is_challenged() {
    let mut one = One::established(plain());
    challenged(&mut one, made(Flags::RST, 2, 0), DropReason::BlindReset);
    challenged(&mut one, made(Flags::RST, 65_535, 0), DropReason::BlindReset);
}

#[test]
fn established_reset_outside_of_the_window_is_dropped_silently() {
    let mut one = One::established(plain());
    for seq in [0, 65_536, 0x8000_0000] {
        let outcome = one.take(made(Flags::RST, seq, 0));
        assert_eq!((outcome.reply, outcome.dropped), (Reply::None, Some(DropReason::OutOfWindow)));
    }
    assert!(one.sent().is_empty());
}

#[test]
fn established_syn_is_challenged_in_and_out_of_the_window() {
    let mut one = One::established(plain());
    challenged(&mut one, made(Flags::SYN, 1, 0), DropReason::BlindSyn);
    challenged(&mut one, made(Flags::SYN, 100, 0), DropReason::BlindSyn);
    challenged(&mut one, made(Flags::SYN | Flags::ACK, 0, 1), DropReason::OutOfWindow);
    challenged(&mut one, made(Flags::SYN, 0x4000_0000, 0), DropReason::OutOfWindow);
}

#[test]
fn established_ack_outside_of_its_range_is_challenged() {
    let mut one = One::established(plain());
    one.write(100);
    one.sent();
    challenged(&mut one, ack(1, 102), DropReason::BadAck);
    challenged(&mut one, data(1, 10, 0x4000_0000), DropReason::BadAck);
    challenged(&mut one, data(1, 10, 0u32.wrapping_sub(70_000)), DropReason::BadAck);
    // An old acknowledgment within a window is merely old: its data counts.
    assert_eq!(one.take(data(1, 10, 0u32.wrapping_sub(60_000))).accept.unwrap().len, 10);
}

#[test]
fn established_segment_without_ack_is_dropped() {
    let mut one = One::established(plain());
    let outcome = one.take(Made { len: 10, ..made(Flags::PSH, 1, 0) });
    assert_eq!((outcome.dropped, outcome.accept), (Some(DropReason::NoAck), None));
}

#[test]
fn established_unacceptable_data_is_acknowledged_and_the_state_kept() {
    let mut one = One::established(plain());
    for seq in [0x8000_0000, 65_537, 0u32.wrapping_sub(500)] {
        let outcome = one.take(data(seq, 100, 1));
        assert_eq!((outcome.dropped, outcome.accept), (Some(DropReason::OutOfWindow), None));
        let reply = one.sent_one();
        assert_eq!((reply.seq, reply.ack, reply.len), (ISS + 1, IRS + 1, 0));
    }
}

#[test]
fn established_data_is_trimmed_on_both_sides() {
    let mut one = One::established(Config { receive_window: 1_000, ..plain() });
    one.take(data(1, 100, 1));
    one.sent();
    // 50 old bytes, 900 that fit, 150 beyond the edge; the FIN behind them is cut off, too.
    let outcome = one.take(Made { len: 1_100, ..made(Flags::ACK | Flags::FIN, 51, 1) });
    let accept = outcome.accept.unwrap();
    assert_eq!((accept.offset, accept.len, accept.seq, accept.in_order), (50, 900, IRS + 101, true));
    assert_eq!((outcome.events, one.tcb.rcv_nxt()), (Events::empty(), IRS + 1_001));
    assert_eq!(one.sent_one().ack, IRS + 1_001);
}

#[test]
fn established_icmp_is_believed_only_for_what_is_in_flight_and_ends_nothing() {
    let mut one = One::established(plain());
    let config = one.config;
    let cx = crate::Context { now: one.now, config: &config };
    assert_eq!(one.tcb.on_icmp(&cx, IcmpError::Hard, ISS + 1), Events::empty());
    one.write(3_000);
    one.sent();
    assert_eq!(one.tcb.on_icmp(&cx, IcmpError::Hard, ISS + 3_001), Events::empty());
    assert_eq!(one.tcb.on_icmp(&cx, IcmpError::Hard, ISS + 1), Events::SOFT_ERROR);
    assert_eq!(one.tcb.on_icmp(&cx, IcmpError::PacketTooBig { mss: 500 }, ISS), Events::empty());
    assert_eq!((one.tcb.mss(), one.tcb.state()), (1_000, State::Established));
}

#[test]
fn syn_sent_hard_icmp_refuses() {
    let mut one = One::syn_sent(plain());
    let config = one.config;
    let cx = crate::Context { now: one.now, config: &config };
    assert_eq!(one.tcb.on_icmp(&cx, IcmpError::Soft, ISS), Events::SOFT_ERROR);
    assert_eq!(one.tcb.on_icmp(&cx, IcmpError::Hard, ISS), Events::REFUSED);
    assert_eq!(one.tcb.state(), State::Closed);
}

#[test]
fn established_narrow_path_cuts_anew_and_sends_again_at_once() {
    let mut one = One::established(plain());
    let config = one.config;
    assert_eq!(one.write(2_000).lens(), [1_000, 1_000]);
    one.tcb.on_icmp(
        &crate::Context { now: one.now, config: &config },
        IcmpError::PacketTooBig { mss: 600 },
        ISS + 1,
    );
    let again = one.sent();
    assert_eq!(
        again.iter().map(|o| (o.offset, o.len)).collect::<std::vec::Vec<_>>(),
        [(0, 600), (600, 600), (1_200, 600), (1_800, 200)]
    );
    assert!(one.tcb.info().ssthresh > 1 << 20, "no congestion is blamed");
    assert!(one.due_in().unwrap() < Duration::from_secs(2));
}
