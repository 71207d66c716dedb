//! Resets: RFC 9293, sections 3.5.2, 3.5.3 and 3.10.5.

use freeway_wire::tcp::{Flags, SeqNumber};

use super::single::{IRS, ISS, Made, One, ack, data, made, plain};
use crate::{Context, DropReason, Events, Reply, State, reset_for};

#[test]
fn closed_ack_is_reset_at_its_own_number() {
    let reset = reset_for(&ack(5, 9).repr, 0).unwrap();
    assert_eq!((reset.flags, reset.seq), (Flags::RST, ISS + 9));
}

#[test]
fn closed_segment_without_ack_is_reset_by_acknowledging_it() {
    let reset = reset_for(&made(Flags::SYN | Flags::FIN, 5, 0).repr, 10).unwrap();
    assert_eq!((reset.flags, reset.seq, reset.ack), (Flags::RST | Flags::ACK, SeqNumber(0), IRS + 17));
}

#[test]
fn closed_reset_is_never_answered() {
    assert_eq!(reset_for(&made(Flags::RST, 5, 0).repr, 0), None);
    assert_eq!(reset_for(&made(Flags::RST | Flags::ACK, 5, 5).repr, 3), None);
}

#[test]
fn syn_sent_reset_counts_only_with_an_acceptable_ack() {
    let mut one = One::syn_sent(plain());
    assert_eq!(one.take(made(Flags::RST, 0, 0)).dropped, Some(DropReason::BlindReset));
    assert_eq!(one.take(made(Flags::RST | Flags::ACK, 0, 7)).dropped, Some(DropReason::BadAck));
    assert_eq!(one.tcb.state(), State::SynSent);
    let outcome = one.take(made(Flags::RST | Flags::ACK, 0, 1));
    assert_eq!((outcome.events, one.tcb.state()), (Events::REFUSED, State::Closed));
}

#[test]
fn established_reset_with_data_ends_it() {
    let mut one = One::established(plain());
    let outcome = one.take(Made { len: 20, ..made(Flags::RST | Flags::ACK, 1, 1) });
    assert_eq!((outcome.events, outcome.reply, one.tcb.state()), (Events::RESET, Reply::None, State::Closed));
    assert_eq!(one.due_in(), None);
}

#[test]
fn established_reset_counts_while_the_window_is_closed() {
    let mut one = One::established(crate::Config { receive_window: 1_000, ..plain() });
    one.take(data(1, 1_000, 1));
    one.sent();
    assert_eq!(one.tcb.receive_window(), 0);
    assert_eq!(one.take(made(Flags::RST, 1_001, 0)).events, Events::RESET);
}

#[test]
fn abort_informs_the_peer_where_there_is_one() {
    let config = plain();
    let mut one = One::established(config);
    one.write(10);
    one.sent();
    let cx = Context { now: one.now, config: &config };
    let reset = one.tcb.abort(&cx).unwrap();
    assert_eq!((reset.flags, reset.seq, reset.ack), (Flags::RST | Flags::ACK, ISS + 11, IRS + 1));
    assert_eq!((one.tcb.state(), one.due_in()), (State::Closed, None));
    assert_eq!(one.tcb.abort(&cx), None);
    assert_eq!(One::syn_sent(config).tcb.abort(&cx), None);
}

#[test]
fn closed_connection_resets_what_still_arrives() {
    let mut one = One::established(plain());
    one.tcb.abort(&Context { now: one.now, config: &plain() });
    let outcome = one.take(data(1, 5, 1));
    assert!(matches!(outcome.reply, Reply::Reset(_)), "{outcome:?}");
    assert_eq!(outcome.accept, None);
}
