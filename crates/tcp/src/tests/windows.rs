//! Windows: RFC 9293, section 3.8.6; RFC 7323, section 2.

use freeway_base::Duration;
use freeway_wire::tcp::Flags;

use super::single::{IRS, ISS, Made, One, about, ack, data, made, plain};
use crate::{Config, Events, Pressure, State};

fn small_buffer() -> Config {
    Config { receive_window: 4_000, ..plain() }
}

// ---- ours ----

#[test]
fn established_window_shrinks_by_what_is_unread_and_its_edge_stays() {
    let mut one = One::established(small_buffer());
    one.take(data(1, 1_000, 1));
    one.take(data(1_001, 1_000, 1));
    let sent = one.sent_one();
    assert_eq!((sent.ack, sent.window), (IRS + 2_001, 2_000));
}

#[test]
fn established_little_reading_does_not_open_the_window() {
    let mut one = One::established(small_buffer());
    for segment in 0..4 {
        one.take(data(1 + segment * 1_000, 1_000, 1));
    }
    assert_eq!(one.sent_one().window, 0);
    one.held.unread -= 500;
    let config = one.config;
    one.tcb.on_read(&crate::Context { now: one.now, config: &config }, &one.held);
    assert!(one.sent().is_empty());
    // A probe is answered, but the window stays shut (MUST-39).
    let probe = one.take(data(4_001, 1, 1));
    assert_eq!(probe.accept, None);
    assert_eq!(one.sent_one().window, 0);
    one.read_all();
    assert_eq!(one.sent_one().window, 4_000);
}

#[test]
fn established_reading_in_time_needs_no_segment_of_its_own() {
    let mut one = One::established(Config { receive_window: 64_000, ..plain() });
    one.take(data(1, 1_000, 1));
    one.read_all();
    assert!(one.sent().is_empty());
}

#[test]
fn established_window_does_not_follow_a_buffer_that_shrinks() {
    let mut one = One::established(small_buffer());
    one.config.receive_window = 1_000;
    one.take(data(1, 500, 1));
    one.next();
    assert_eq!(one.sent_one().window, 3_500, "promised is promised");
    // And what was promised is taken.
    assert_eq!(one.take(data(501, 3_500, 1)).accept.unwrap().len, 3_500);
}

#[test]
fn established_ack_counts_while_our_window_is_closed() {
    let mut one = One::established(small_buffer());
    one.write(100).sent();
    for segment in 0..4 {
        one.take(data(1 + segment * 1_000, 1_000, 1));
    }
    one.sent();
    let outcome = one.take(data(4_001, 50, 101));
    assert_eq!((outcome.acked, outcome.accept), (100, None));
    assert_eq!(one.tcb.rcv_nxt(), IRS + 4_001);
}

#[test]
fn established_scaled_window_never_seems_to_shrink() {
    let config = Config { receive_window: 1 << 20, window_scale: true, ..plain() };
    let mut one = One::syn_sent(config);
    one.take(made(Flags::SYN | Flags::ACK, 0, 1).scale(0).mss(1_000));
    let mut edge = IRS;
    let mut at = 1;
    for len in [1, 7, 1_000, 999, 13, 1, 500, 1_000] {
        one.take(data(at, len, 1));
        at += len;
        one.held.unread = at;
        one.wait(Duration::from_millis(50));
        for sent in one.sent() {
            let promised = sent.ack + (u32::from(sent.window) << 5);
            assert!(promised.is_at_or_after(edge), "{promised:?} after {edge:?}");
            edge = promised;
        }
    }
}

// ---- the peer's ----

#[test]
fn established_sends_no_more_than_the_window_and_the_rest_when_it_opens() {
    let mut one = One::established(plain());
    one.take(ack(1, 1).window(2_500));
    assert_eq!(one.write(5_000).lens(), [1_000, 1_000]);
    one.take(ack(1, 2_001).window(2_500));
    assert_eq!(one.lens(), [1_000, 1_000]);
}

#[test]
fn established_silly_window_is_not_filled() {
    let mut one = One::established(plain());
    one.take(ack(1, 1).window(100));
    assert!(one.write(5_000).lens().is_empty());
    // The override timer sends what fits.
    about(one.due_in(), Duration::from_millis(210));
    one.next();
    assert_eq!(one.lens(), [100]);
}

#[test]
fn established_peer_with_a_tiny_buffer_is_served() {
    let mut one = One::syn_sent(plain());
    one.take(made(Flags::SYN | Flags::ACK, 0, 1).mss(1_000).window(300));
    one.sent();
    assert_eq!(one.write(5_000).lens(), [300]);
}

#[test]
fn established_closed_window_is_probed_for_ever_while_it_is_answered() {
    let mut one = One::established(plain());
    one.take(ack(1, 1).window(0));
    assert!(one.write(5_000).lens().is_empty());
    about(one.due_in(), Duration::from_millis(210));
    let begin = one.now;
    let mut last = Duration::ZERO;
    for _ in 0..40 {
        let wait = one.due_in().unwrap();
        assert!(wait >= last || wait > Duration::from_secs(59), "{wait} after {last}");
        last = wait;
        assert_eq!(one.next(), Events::empty());
        let probe = one.sent_one();
        assert_eq!((probe.seq, probe.len), (ISS + 1, 1));
        one.take(ack(1, 1).window(0));
    }
    assert!(one.now - begin > Duration::from_secs(1_000));
    assert_eq!((one.tcb.state(), one.tcb.info().cwnd), (State::Established, 10_000));
    one.take(ack(1, 1));
    let lens = one.lens();
    assert_eq!((lens.iter().sum::<u32>(), lens[0]), (5_000, 1));
}

#[test]
fn established_probe_that_was_taken_is_not_sent_again() {
    let mut one = One::established(plain());
    one.take(ack(1, 1).window(0));
    one.write(3_000).sent();
    one.next();
    one.sent_one();
    one.take(ack(1, 2));
    assert_eq!(
        one.sent().iter().map(|o| (o.offset, o.len)).collect::<std::vec::Vec<_>>(),
        [(0, 1_000), (1_000, 1_000), (2_000, 999)]
    );
}

#[test]
fn established_unanswered_probes_end_at_the_user_timeout() {
    let mut one = One::established(plain());
    one.take(ack(1, 1).window(0));
    one.write(10).sent();
    let begin = one.now;
    while one.events & Events::ENDED == Events::empty() {
        one.next();
        one.sent();
    }
    assert_eq!(one.events & Events::ENDED, Events::TIMED_OUT);
    about(Some(one.now - begin), Duration::from_secs(120));
}

#[test]
fn established_shrunk_window_sends_nothing_new_but_the_old_again() {
    let mut one = One::established(plain());
    assert_eq!(one.write(4_000).lens().len(), 4);
    // The peer takes back all but 500 bytes: nothing new goes out beyond that.
    one.take(ack(1, 1).window(500));
    assert!(one.write(4_000).lens().is_empty());
    // The timer sends the oldest again, in and beyond the window (SHLD-16).
    one.next();
    let again = one.sent_one();
    assert_eq!((again.seq, again.retransmission), (ISS + 1, true));
    one.take(ack(1, 4_001).window(500));
    assert_eq!(one.tcb.snd_una(), ISS + 4_001);
}

#[test]
fn established_window_closed_over_data_in_flight_is_no_congestion() {
    let mut one = One::established(plain());
    one.write(4_000).sent();
    one.take(ack(1, 1).window(0));
    for _ in 0..20 {
        one.next();
        assert_eq!(one.sent_one().seq, ISS + 1);
        one.take(ack(1, 1).window(0));
    }
    assert_eq!(one.tcb.info().cwnd, 10_000);
    one.take(ack(1, 1));
    assert_eq!(one.lens(), [1_000; 4]);
}

#[test]
fn established_older_segment_does_not_set_the_window() {
    let mut one = One::established(plain());
    one.take(data(1, 1_000, 1).window(9_000));
    assert_eq!(one.tcb.info().snd_wnd, 9_000);
    one.take(data(2_001, 100, 1).window(8_000));
    assert_eq!(one.tcb.info().snd_wnd, 8_000);
    one.take(data(1_001, 1_000, 1).window(7_000));
    assert_eq!(one.tcb.info().snd_wnd, 8_000);
}

#[test]
fn established_close_behind_a_closed_window_gets_out_by_the_persist_timer() {
    let mut one = One::established(plain());
    one.take(ack(1, 1).window(0));
    one.tcb.close();
    assert!(one.sent().is_empty());
    one.next();
    assert!(one.sent_one().flags.contains(Flags::FIN));
    one.take(ack(1, 2).window(0));
    assert_eq!(one.tcb.state(), State::FinWait2);
}

#[test]
fn established_segment_longer_than_the_window_is_cut_to_it() {
    let mut one = One::established(small_buffer());
    let outcome = one.take(Made { len: 60_000, ..made(Flags::ACK, 0u32.wrapping_sub(99), 1) });
    let accept = outcome.accept.unwrap();
    assert_eq!((accept.offset, accept.len, accept.in_order), (100, 4_000, true));
}

// ---- the buffer behind ours ----

fn widen(one: &mut One, wanted: u32, pressure: Pressure) -> bool {
    let config = one.config;
    one.tcb.widen_buffer(&crate::Context { now: one.now, config: &config }, wanted, pressure)
}

/// 64 KiB that may grow to 1 MiB; the peer's SYN said that it scales.
fn growing() -> One {
    let config =
        Config { receive_window: 64 << 10, receive_window_max: 1 << 20, window_scale: true, ..plain() };
    let mut one = One::syn_sent(config);
    one.take(made(Flags::SYN | Flags::ACK, 0, 1).scale(0).mss(1_000));
    one.sent();
    one
}

#[test]
fn established_buffer_grows_to_what_is_wanted_and_never_beyond_its_limit() {
    let mut one = growing();
    assert_eq!(one.tcb.info().window_scales, (0, 5), "the shift is for the limit");
    assert!(!widen(&mut one, 60_000, Pressure::None), "it is as large already");
    assert!(widen(&mut one, 100_000, Pressure::None));
    one.take(data(1, 1_000, 1));
    one.read_all();
    one.wait(Duration::from_millis(50));
    let window = u32::from(one.sent_one().window) << 5;
    assert!((100_000..=150_000).contains(&window), "{window}");
    assert!(widen(&mut one, u32::MAX, Pressure::None));
    assert!(!widen(&mut one, u32::MAX, Pressure::None));
    one.take(data(1_001, 1_000, 1));
    one.read_all();
    one.wait(Duration::from_millis(50));
    assert_eq!(u32::from(one.sent_one().window) << 5, 1 << 20);
}

#[test]
fn established_buffer_of_fixed_size_does_not_grow() {
    let mut one = One::established(small_buffer());
    assert!(!widen(&mut one, 1 << 20, Pressure::None));
}

#[test]
fn established_short_memory_stops_growth_and_then_shrinks_what_is_promised_next() {
    let mut one = growing();
    widen(&mut one, 400_000, Pressure::None);
    one.take(data(1, 1_000, 1));
    one.read_all();
    one.wait(Duration::from_millis(50));
    let promised = one.tcb.rcv_nxt() + (u32::from(one.sent_one().window) << 5);
    assert!(!widen(&mut one, 1 << 20, Pressure::Some));
    one.held.pressure = Pressure::High;
    // The edge stands still while the peer fills what it was promised; nothing is taken back.
    let (mut at, mut edge) = (1_001, promised);
    while (IRS + at + 1_000).is_at_or_before(promised - (80 << 10)) {
        one.take(data(at, 1_000, 1));
        at += 1_000;
        one.read_all();
        one.wait(Duration::from_millis(50));
        for sent in one.sent() {
            edge = sent.ack + (u32::from(sent.window) << 5);
            assert!(
                edge.is_at_or_after(promised - 32) && edge.is_at_or_before(promised + 32),
                "{edge:?} {promised:?} {at}"
            );
        }
    }
    assert!(at > 100_000);
    // From there on the window is as large as in the beginning.
    for _ in 0..200 {
        one.take(data(at, 1_000, 1));
        at += 1_000;
        one.read_all();
        one.wait(Duration::from_millis(50));
        one.sent();
    }
    let window = one.tcb.receive_window();
    assert!(window <= 64 << 10 && window > 60_000, "{window}");
    assert!(edge.is_before(one.tcb.rcv_nxt() + window));
}

#[test]
fn established_window_is_announced_when_it_would_double() {
    let mut one = One::established(Config { receive_window: 8_000, ..plain() });
    for segment in 0..6 {
        one.take(data(1 + segment * 1_000, 1_000, 1));
        one.sent();
    }
    // 2000 are open, 6000 unread: reading 1500 makes it less than double.
    one.held.unread -= 1_500;
    let config = one.config;
    one.tcb.on_read(&crate::Context { now: one.now, config: &config }, &one.held);
    assert!(one.sent().is_empty());
    one.held.unread -= 500;
    one.tcb.on_read(&crate::Context { now: one.now, config: &config }, &one.held);
    assert_eq!(one.sent_one().window, 4_000);
}
