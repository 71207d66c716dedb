//! Settings of a connection: corks, Nagle, acknowledgments, keepalive, and changes while it lives.

use freeway_base::Duration;

use super::single::{One, about, ack, data, plain};
use crate::{Config, Context, Events, Keepalive};

/// Changes settings as the caller would.
fn configure(one: &mut One, change: impl FnOnce(&mut Config)) {
    let old = one.config;
    change(&mut one.config);
    one.tcb.on_configured(&Context { now: one.now, config: &one.config }, &old);
}

fn corked() -> One {
    One::established(Config { cork: true, ..plain() })
}

// ---- the cork ----

#[test]
fn corked_only_full_segments_go_out_until_the_cork_is_taken_out() {
    let mut one = corked();
    assert_eq!(one.write(2_300).lens(), [1_000, 1_000]);
    one.take(ack(1, 2_001));
    assert!(one.sent().is_empty(), "nothing in flight is no reason either");
    assert_eq!(one.write(800).lens(), [1_000]);
    configure(&mut one, |config| config.cork = false);
    assert_eq!(one.lens(), [100]);
}

#[test]
fn corked_rest_goes_out_after_the_time_out_without_blame() {
    let mut one = corked();
    assert!(one.write(300).lens().is_empty());
    about(one.due_in(), Duration::from_millis(210));
    one.next();
    let sent = one.sent_one();
    assert_eq!((sent.len, sent.retransmission), (300, false));
    assert_eq!(one.tcb.info().backoff, 0);
    one.take(ack(1, 301));
    assert_eq!(one.due_in(), None);
}

#[test]
fn corked_fin_takes_the_rest_along() {
    let mut one = corked();
    one.write(1_300).sent();
    one.tcb.close();
    let sent = one.sent_one();
    assert_eq!((sent.len, sent.flags.contains(freeway_wire::tcp::Flags::FIN)), (300, true));
}

#[test]
fn corked_into_a_small_window_goes_out_as_the_window_allows() {
    let mut one = corked();
    one.take(ack(1, 1).window(600));
    one.write(2_000).sent();
    one.next();
    assert_eq!(one.lens(), [600]);
}

// ---- changes ----

#[test]
fn established_nagle_is_turned_off_and_what_waited_goes_out() {
    let mut one = One::established(Config { nagle: true, ..plain() });
    assert_eq!(one.write(100).lens(), [100]);
    assert!(one.write(100).lens().is_empty());
    configure(&mut one, |config| config.nagle = false);
    assert_eq!(one.lens(), [100]);
}

#[test]
fn established_quick_ack_sends_what_was_delayed_and_delays_no_more() {
    let mut one = One::established(plain());
    one.take(data(1, 100, 1));
    assert!(one.sent().is_empty());
    one.tcb.acknowledge_at_once(2);
    assert_eq!(one.sent().len(), 1);
    for segment in 1..3 {
        one.take(data(1 + segment * 100, 100, 1));
        assert_eq!(one.sent().len(), 1, "{segment}");
    }
    one.take(data(301, 100, 1));
    assert!(one.sent().is_empty());
    configure(&mut one, |config| config.delayed_ack = None);
    assert_eq!(one.sent().len(), 1);
}

#[test]
fn established_keepalive_is_turned_on_shortened_and_off_again() {
    let keepalive = |secs| {
        Some(Keepalive {
            idle: Duration::from_secs(secs),
            interval: Duration::from_secs(1),
            probes: 2,
            spread: 0,
        })
    };
    let mut one = One::established(plain());
    assert_eq!(one.due_in(), None);
    configure(&mut one, |config| config.keepalive = keepalive(100));
    about(one.due_in(), Duration::from_secs(100));
    configure(&mut one, |config| config.keepalive = keepalive(10));
    about(one.due_in(), Duration::from_secs(10));
    one.next();
    assert_eq!(one.sent().len(), 1, "a probe");
    configure(&mut one, |config| config.keepalive = None);
    assert_eq!(one.due_in(), None);
    assert!(one.sent().is_empty());
}

#[test]
fn established_user_timeout_is_shortened_for_data_in_flight() {
    let mut one = One::established(plain());
    one.write(100).sent();
    one.next();
    one.sent();
    configure(&mut one, |config| config.user_timeout = Duration::from_secs(1));
    let begun = one.now;
    while !one.events.contains(Events::TIMED_OUT) {
        one.next();
        one.sent();
    }
    assert!(one.now - begun < Duration::from_millis(1_100), "{}", one.now - begun);
}

#[test]
fn established_stall_is_reported_at_the_chosen_retry() {
    for retries in [1, 3, 5] {
        let mut one = One::established(Config { stall_retries: retries, ..plain() });
        one.write(100).sent();
        let mut expiries = 0;
        while !one.events.contains(Events::STALLED) {
            one.next();
            one.sent();
            expiries += 1;
        }
        assert_eq!(expiries, retries);
    }
}

#[test]
fn established_longest_segment_is_lowered_and_not_raised() {
    let mut one = One::established(plain());
    configure(&mut one, |config| config.mss = 700);
    assert_eq!(one.write(1_500).lens(), [700, 700, 100]);
    configure(&mut one, |config| config.mss = 1_000);
    one.take(ack(1, 1_501));
    assert_eq!(one.write(1_400).lens(), [700, 700]);
}

// ---- figures ----

#[test]
fn established_info_tells_queues_times_and_limits() {
    let mut one = One::established(plain());
    one.take(ack(1, 1).window(2_500));
    one.write(5_000).sent();
    one.now += Duration::from_secs(2);
    let config = one.config;
    let info = one.tcb.info_with(&Context { now: one.now, config: &config }, &one.held);
    assert_eq!((info.queued, info.not_sent, info.in_flight), (5_000, 3_000, 2_000));
    assert_eq!((info.mss, info.mss_max, info.mss_advertised), (1_000, 1_000, 1_000));
    assert!(info.window_limited);
    assert_eq!((info.ack_timeout, info.rcv_space), (config.delayed_ack, 65_535));
    assert_eq!((info.since_received.as_millis() / 10, info.since_acked), (200, None));
    about(Some(info.rto), Duration::from_millis(210));
    one.take(ack(1, 2_001).window(0));
    let info = one.tcb.info_with(&Context { now: one.now, config: &config }, &one.held);
    assert_eq!((info.since_received, info.in_flight), (Duration::ZERO, 0));
}
