//! Idle connections: keepalive (RFC 9293, section 3.8.4), and that they cost nothing.

use freeway_base::Duration;

use super::single::{IRS, ISS, One, about, ack, data, plain};
use crate::{Config, Events, Keepalive};

fn watched() -> One {
    One::established(Config {
        keepalive: Some(Keepalive {
            idle: Duration::from_secs(100),
            interval: Duration::from_secs(10),
            probes: 3,
            spread: 0,
        }),
        ..plain()
    })
}

#[test]
fn established_idle_without_keepalive_has_no_deadline() {
    let one = One::established(plain());
    assert!(one.tcb.is_idle());
    assert_eq!(one.due_in(), None);
    assert_eq!(Config::default().keepalive, None);
    assert_eq!(Keepalive::default().idle, Duration::from_secs(7_200));
}

#[test]
fn established_silence_is_probed_without_data() {
    let mut one = watched();
    about(one.due_in(), Duration::from_secs(100));
    one.next();
    let probe = one.sent_one();
    assert_eq!((probe.seq, probe.ack, probe.len), (ISS, IRS + 1, 0));
}

#[test]
fn established_answered_probe_starts_the_wait_anew() {
    let mut one = watched();
    for _ in 0..5 {
        while one.sent().is_empty() {
            one.next();
        }
        one.take(ack(1, 1));
    }
    assert_eq!(one.events, Events::ESTABLISHED);
}

#[test]
fn established_unanswered_probes_end_it_only_together() {
    let mut one = watched();
    let begin = one.now;
    let mut probes = 0;
    while one.events & Events::ENDED == Events::empty() {
        one.next();
        probes += one.sent().len();
    }
    assert_eq!((probes, one.events & Events::ENDED), (3, Events::TIMED_OUT));
    about(Some(one.now - begin), Duration::from_secs(130));
}

#[test]
fn established_traffic_puts_the_probe_off() {
    let mut one = watched();
    for segment in 0..10 {
        one.wait(Duration::from_secs(60));
        one.take(data(1 + segment, 1, 1));
        one.wait(Duration::from_millis(50));
        let sent = one.sent_one();
        assert_eq!(sent.seq, ISS + 1, "an acknowledgment, no probe");
    }
}

#[test]
fn established_probe_of_the_peer_is_answered() {
    let mut one = One::established(plain());
    one.take(data(1, 10, 1));
    one.next();
    one.sent();
    let outcome = one.take(ack(10, 1));
    assert!(matches!(outcome.reply, crate::Reply::Alive(reply) if reply.ack == IRS + 11), "{outcome:?}");
    // One with a byte of rubbish is answered, too (RFC 9293, section 3.8.4).
    one.take(data(10, 1, 1));
    assert_eq!(one.sent_one().ack, IRS + 11);
}

#[test]
fn established_probe_that_acknowledges_what_was_never_sent_is_a_stranger_s() {
    for beyond in [1, 1 << 31] {
        let mut one = One::established(plain());
        let outcome = one.take(ack(0, 1 + beyond));
        assert!(matches!(outcome.reply, crate::Reply::Challenge(_)), "{outcome:?}");
    }
    // One below the last number received is an old duplicate.
    let mut one = One::established(plain());
    one.take(data(1, 10, 1));
    let outcome = one.take(ack(9, 1));
    assert!(matches!(outcome.reply, crate::Reply::Challenge(_)), "{outcome:?}");
}

#[test]
fn established_first_probes_of_many_are_spread_over_a_sixteenth() {
    let idle = Duration::from_secs(1_600);
    let config = Config { keepalive: Some(Keepalive { idle, ..Keepalive::default() }), ..plain() };
    let mut tenths = [0u32; 10];
    for sequence in 0..1_000u32 {
        let mut one = One::established(config);
        // Initial numbers that lie close together, as a clock hands them out.
        one.tcb.snd_nxt = ISS + 1 + sequence * 7;
        one.tcb.arm_keepalive(&crate::Context { now: one.now, config: &config });
        let later = one.due_in().expect("it is watched") - idle;
        assert!(later <= Duration::from_millis(100_003), "{later}");
        tenths[(later.as_millis() / 10_001).min(9) as usize] += 1;
    }
    assert!(tenths.iter().all(|&count| (50..200).contains(&count)), "{tenths:?}");
}
