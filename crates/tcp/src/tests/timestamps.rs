//! Timestamps and PAWS: RFC 7323, sections 3 to 5.

use freeway_base::Duration;
use freeway_wire::tcp::Flags;

use super::single::{IRS, ISS, Made, One, ack, data, made, plain};
use crate::{Config, DropReason, Events};

/// Established; the peer's SYN-ACK said 700.
fn stamped() -> One {
    One::established(Config { timestamps: true, ..plain() })
}

#[test]
fn established_every_segment_carries_them_and_echoes_the_peer() {
    let mut one = stamped();
    let sent = { one.write(10).sent_one() };
    let stamps = sent.options.timestamps.unwrap();
    assert_eq!((stamps.value, stamps.echo), (100_010, 700));
}

#[test]
fn established_not_agreed_on_they_are_not_sent_and_ignored() {
    let mut one = One::established(plain());
    assert_eq!(one.take(data(1, 10, 1).stamps(5, 5)).accept.unwrap().len, 10);
    one.next();
    assert_eq!(one.sent_one().options.timestamps, None);
}

#[test]
fn established_old_timestamp_in_the_window_is_dropped_and_acknowledged() {
    let mut one = stamped();
    let outcome = one.take(data(1, 10, 1).stamps(699, 0));
    assert_eq!((outcome.dropped, outcome.accept), (Some(DropReason::OldTimestamp), None));
    assert_eq!(one.sent_one().ack, IRS + 1);
}

#[test]
fn established_timestamps_wrap_around() {
    let mut one = stamped();
    one.take(data(1, 10, 1).stamps(700 + 0x7fff_ffff, 0));
    assert_eq!(one.take(data(11, 10, 1).stamps(u32::MAX, 0)).accept.unwrap().len, 10);
    one.wait(Duration::from_millis(50));
    one.sent();
    assert_eq!(one.take(data(21, 10, 1).stamps(3, 0)).accept.unwrap().len, 10);
}

#[test]
fn established_reset_is_exempt_from_paws() {
    let mut one = stamped();
    assert_eq!(one.take(made(Flags::RST, 1, 0).stamps(1, 0)).events, Events::RESET);
    let mut one = stamped();
    assert_eq!(one.take(made(Flags::RST, 1, 0)).events, Events::RESET);
}

#[test]
fn established_missing_timestamp_is_dropped() {
    let mut one = stamped();
    let outcome = one.take(data(1, 10, 1));
    assert_eq!((outcome.dropped, outcome.accept), (Some(DropReason::MissingTimestamp), None));
}

#[test]
fn established_timestamp_of_24_days_ago_is_no_longer_believed() {
    let mut one = stamped();
    one.wait(Duration::from_secs(25 * 86_400));
    assert_eq!(one.take(data(1, 10, 1).stamps(5, 0)).accept.unwrap().len, 10);
    one.wait(Duration::from_millis(50));
    assert_eq!(one.sent_one().options.timestamps.unwrap().echo, 5);
}

#[test]
fn established_delayed_acknowledgment_echoes_the_earliest() {
    let mut one = stamped();
    one.take(data(1, 10, 1).stamps(710, 0));
    one.take(data(11, 10, 1).stamps(720, 0));
    one.wait(Duration::from_millis(50));
    assert_eq!(one.sent_one().options.timestamps.unwrap().echo, 710);
}

#[test]
fn established_out_of_order_segment_is_not_echoed() {
    let mut one = stamped();
    one.take(data(101, 10, 1).stamps(710, 0));
    assert_eq!(one.sent_one().options.timestamps.unwrap().echo, 700);
}

#[test]
fn established_echo_measures_even_what_was_sent_twice() {
    let mut one = stamped();
    one.write(900).sent();
    one.next();
    let again = one.sent_one();
    one.now += Duration::from_millis(30);
    one.take(ack(1, 901).stamps(701, again.options.timestamps.unwrap().value));
    let info = one.tcb.info();
    assert_eq!((info.backoff, one.tcb.snd_una()), (0, ISS + 901));
    assert!(info.srtt.unwrap() < Duration::from_millis(20));
}

#[test]
fn established_keepalive_with_an_old_number_must_still_be_young() {
    let mut one = stamped();
    let outcome = one.take(Made { len: 1, ..made(Flags::ACK, 0, 1) }.stamps(10, 0));
    assert_eq!(outcome.dropped, Some(DropReason::OldTimestamp));
}
