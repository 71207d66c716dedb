//! How large a segment the path carries: RFC 1191, RFC 4821, RFC 5927.

use std::vec::Vec;

use freeway_base::Duration;
use freeway_wire::tcp::{Flags, SeqNumber};

use super::single::{ISS, One, ack, made, plain};
use crate::{Config, Context, Events, IcmpError, PathProbing, Probe, State};

/// Segments of 1460 bytes agreed on, and plenty of window.
fn wide(config: Config) -> One {
    let mut one = One::syn_sent(Config { mss: 1_460, initial_window: 40, ..config });
    one.now += Duration::from_millis(10);
    one.take(made(Flags::SYN | Flags::ACK, 0, 1).mss(1_460));
    assert_eq!(one.sent().len(), 1);
    assert_eq!(one.tcb.state(), State::Established);
    one
}

fn too_big(one: &mut One, mss: u16, seq: SeqNumber) -> Events {
    let config = one.config;
    one.tcb.on_icmp(&Context { now: one.now, config: &config }, IcmpError::PacketTooBig { mss }, seq)
}

// ---- what routers say ----

#[test]
fn established_too_big_is_believed_once_and_only_downwards() {
    let mut one = wide(plain());
    one.write(10_000).sent();
    assert_eq!(too_big(&mut one, 1_460, ISS + 1), Events::empty());
    assert_eq!(too_big(&mut one, 60_000, ISS + 1), Events::empty());
    assert_eq!(too_big(&mut one, 1_000, ISS + 10_001), Events::empty(), "not in flight");
    assert_eq!(one.tcb.mss(), 1_460);
    assert_eq!(too_big(&mut one, 1_200, ISS + 1), Events::PATH);
    assert_eq!((one.tcb.mss(), one.tcb.mss_max(), one.tcb.is_narrow()), (1_200, 1_460, true));
    assert_eq!(one.lens().iter().sum::<u32>(), 10_000, "all of it once more");
    assert_eq!(too_big(&mut one, 1_200, ISS + 1), Events::empty());
    assert!(one.sent().is_empty(), "the same report twice sends nothing twice");
}

#[test]
fn established_path_that_is_wide_again_is_used_up_to_what_was_agreed() {
    let mut one = wide(plain());
    one.write(5_000).sent();
    too_big(&mut one, 600, ISS + 1);
    one.sent();
    one.take(ack(1, 5_001));
    one.tcb.set_path_mss(u16::MAX);
    assert_eq!((one.tcb.mss(), one.tcb.is_narrow()), (1_460, false));
    assert_eq!(one.write(3_000).lens(), [1_460, 1_460, 80]);
}

#[test]
fn syn_sent_too_big_cuts_the_later_segments_and_sends_nothing_at_once() {
    let mut one = One::syn_sent(Config { mss: 1_460, ..plain() });
    assert_eq!(too_big(&mut one, 600, ISS), Events::PATH);
    assert!(one.sent().is_empty());
}

#[test]
fn established_options_are_part_of_the_segment_that_the_path_carries() {
    let mut one = One::established(Config { timestamps: true, ..plain() });
    assert_eq!((one.tcb.mss(), one.tcb.path_mss()), (988, 1_000));
    one.tcb.set_path_mss(700);
    assert_eq!((one.tcb.mss(), one.tcb.path_mss()), (688, 700));
}

#[test]
fn established_limit_by_the_application_stays() {
    let mut one = wide(plain());
    one.tcb.limit_mss(800);
    one.tcb.set_path_mss(u16::MAX);
    assert_eq!(one.write(1_700).lens(), [800, 800, 100]);
    assert!(!one.tcb.is_narrow());
}

// ---- black holes ----

/// Runs the retransmission timer so many times; returns the length of the first segment that each sends.
fn starve(one: &mut One, times: usize) -> Vec<u32> {
    let run = |_| {
        one.next();
        one.lens()[0]
    };
    (0..times).map(run).collect()
}

#[test]
fn established_silence_from_r1_on_shrinks_segments_to_the_base_and_then_by_halves() {
    let mut one = wide(plain());
    one.write(20_000).sent();
    assert_eq!(starve(&mut one, 6), [1_460, 1_460, 1_024, 512, 512, 512]);
    assert!(one.tcb.probes_path() && one.tcb.is_narrow());
    assert!(one.tcb.has_path_news());
    // The first answer proves that this size gets through; it is told once.
    one.take(ack(1, 513));
    assert!(one.tcb.take_path_news());
    assert!(!one.tcb.take_path_news());
}

#[test]
fn established_silence_of_a_path_that_carried_full_segments_is_proof_the_second_time() {
    for is_hole in [false, true] {
        let mut one = wide(plain());
        one.write(40_000).sent();
        one.take(ack(1, 1 + 2 * 1_460));
        one.sent();
        assert_eq!(starve(&mut one, 4), [1_460, 1_460, 1_024, 512]);
        one.take(ack(1, 1 + 2 * 1_460 + 512));
        assert!(!one.tcb.take_path_news(), "so many may be lost by chance");
        assert_eq!((one.tcb.mss(), one.tcb.probes_path()), (1_460, false));
        one.sent();
        if !is_hole {
            one.take(ack(1, 1 + 4 * 1_460 + 512));
            one.sent();
        }
        assert_eq!(starve(&mut one, 3), [1_460, 1_460, 1_024]);
        let acked = if is_hole { 2 } else { 4 } * 1_460 + 512 + 1_024;
        one.take(ack(1, 1 + acked));
        assert_eq!(one.tcb.take_path_news(), is_hole);
        assert_eq!(one.tcb.is_narrow(), is_hole);
    }
}

#[test]
fn established_silence_is_no_black_hole_for_what_is_short_or_shut_in() {
    let mut one = wide(plain());
    one.write(100).sent();
    assert_eq!(starve(&mut one, 5), [100; 5]);
    assert_eq!((one.tcb.mss(), one.tcb.probes_path()), (1_460, false));

    let mut one = wide(plain());
    one.write(20_000).sent();
    one.take(ack(1, 1).window(0));
    starve(&mut one, 5);
    assert_eq!(one.tcb.mss(), 1_460, "a closed window is no black hole");

    let mut one = wide(Config { path_probing: PathProbing::Off, ..plain() });
    one.write(20_000).sent();
    assert_eq!(starve(&mut one, 5), [1_460; 5]);
}

// ---- probes ----

#[test]
fn established_probe_goes_out_whole_with_others_behind_it_and_widens_the_path() {
    let mut one = wide(Config { path_probing: PathProbing::Always, ..plain() });
    let config = one.config;
    one.tcb.begin_probing(&Context { now: one.now, config: &config });
    assert_eq!((one.tcb.mss(), one.tcb.probes_path()), (1_024, true));
    assert_eq!(one.tcb.probe_len(u16::MAX), Some(1_460), "the most likely first");
    // Too little is waiting for a loss of the probe to show.
    one.write(1_460 + 3 * 1_024 - 1);
    assert!(one.probe(1_460).is_none());
    one.write(5_001);
    let sent = one.probe(1_460).unwrap();
    assert_eq!((sent.seq, sent.len, sent.offset, sent.retransmission), (ISS + 1, 1_460, 0, false));
    assert!(one.probe(1_460).is_none(), "one at a time");
    let behind = one.sent();
    assert_eq!((behind[0].seq, behind[0].len), (ISS + 1_461, 1_024));
    one.take(ack(1, 1_000));
    assert!(!one.held.probe.is_acked(one.tcb.snd_una()), "a part of it proves nothing");
    one.take(ack(1, 1_461));
    assert!(one.held.probe.is_acked(one.tcb.snd_una()));
    one.tcb.on_probe_acked(core::mem::take(&mut one.held.probe));
    assert_eq!((one.tcb.mss(), one.tcb.is_narrow(), one.tcb.probes_path()), (1_460, false, false));
}

#[test]
fn established_probes_search_between_what_passes_and_what_does_not() {
    let mut one = wide(plain());
    one.tcb.set_path_mss(1_024);
    let (mut fails, carried, mut tried) = (u16::MAX, 1_321, Vec::new());
    while let Some(len) = one.tcb.probe_len(fails) {
        assert!(len > one.tcb.mss() && len < fails);
        tried.push(len);
        if len <= carried {
            one.tcb.set_path_mss(len);
        } else {
            fails = len;
        }
    }
    assert!(one.tcb.mss() <= carried && carried - one.tcb.mss() < 8, "{tried:?}");
    assert!(tried.len() <= 9, "{tried:?}");
}

#[test]
fn established_probe_waits_while_anything_is_amiss() {
    let mut one = wide(plain());
    one.tcb.set_path_mss(1_000);
    one.write(30_000);
    assert!(one.probe(1_000).is_none() && one.probe(1_461).is_none(), "no probe at all");
    one.take(ack(1, 1).window(4_000));
    assert!(one.probe(1_460).is_none(), "no room in the window for those behind it");
    one.take(ack(1, 1).window(65_535));
    one.sent();
    one.take(ack(1, 1_001));
    for _ in 0..2 {
        one.take(ack(1, 1_001));
    }
    assert!(one.probe(1_460).is_none(), "duplicates are about");
}

#[test]
fn established_lost_probe_is_sent_again_in_pieces_and_blames_no_congestion() {
    let mut one = wide(plain());
    one.tcb.set_path_mss(1_024);
    one.write(20_000);
    assert!(one.probe(1_460).is_some());
    let behind = one.sent().len() as u32;
    let cwnd = one.tcb.info().cwnd;
    for _ in 0..3 {
        one.take(ack(1, 1));
    }
    let again = one.sent();
    let pieces: Vec<_> = again.iter().filter(|o| o.retransmission).map(|o| (o.seq, o.len)).collect();
    assert_eq!(pieces, [(ISS + 1, 1_024), (ISS + 1_025, 436)], "the probe's bytes and no others");
    assert!(one.held.probe.covers(again[0].seq));
    one.held.probe = Probe::NONE;
    assert!(one.tcb.info().ssthresh > 1 << 20, "{behind}: the window was not halved");
    one.take(ack(1, 20_001));
    assert!(one.tcb.info().cwnd >= cwnd);
}
