//! Every algorithm as the connection uses it: tables from the RFCs, growth against arithmetic in floating point, and
//! bounds that hold whatever happens.

use freeway_wire::tcp::SeqNumber;
use proptest::prelude::*;

use super::*;

pub(super) const MSS: u32 = 1_000;

/// A window, with the given threshold, of which nothing else is known.
pub(super) fn window(cwnd: u32, ssthresh: u32) -> Congestion {
    Congestion { cwnd, ssthresh, memory: 0 }
}

/// An acknowledgment in the middle of a flight that the window limits.
pub(super) fn acked(bytes: u32) -> Ack {
    Ack {
        now_us: 0,
        bytes,
        una: SeqNumber(0),
        nxt: SeqNumber(1),
        rtt_us: None,
        srtt_us: 100_000,
        marked: false,
        limited: true,
        after_timeout: false,
    }
}

fn using(congestion: Algorithm) -> Config {
    Config { congestion, hystart: false, ..Config::default() }
}

/// A sender whose window is always full, and whose segments are acknowledged one by one a round trip later.
struct Path {
    config: Config,
    window: Congestion,
    epoch: Epoch,
    now_us: u64,
    rtt_us: u32,
    /// Acknowledgments come in the last part of the round trip, one in so many.
    part: u32,
    una: SeqNumber,
}

impl Path {
    fn new(config: Config, rtt_us: u32) -> Self {
        let window = Congestion::new(&config, MSS, false);
        Self {
            config,
            window,
            epoch: Epoch::new(),
            now_us: 1 << 31,
            rtt_us,
            part: 1,
            una: SeqNumber(u32::MAX - 500_000),
        }
    }

    /// One round trip: everything in flight is acknowledged, `per_ack` segments at a time, evenly.
    fn round(&mut self, per_ack: u32) {
        let flight = (self.window.cwnd / MSS).max(1);
        let acks = flight.div_ceil(per_ack);
        let within = self.rtt_us / self.part;
        let begin = self.now_us + u64::from(self.rtt_us - within);
        for index in 0..acks {
            self.now_us = begin + u64::from(within) * u64::from(index + 1) / u64::from(acks);
            let segments = per_ack.min(flight - index * per_ack);
            self.una += segments * MSS;
            let ack = Ack {
                now_us: self.now_us as u32,
                bytes: segments * MSS,
                una: self.una,
                nxt: self.una + self.window.cwnd,
                rtt_us: Some(self.rtt_us),
                srtt_us: self.rtt_us,
                ..acked(0)
            };
            self.window.on_ack(&self.config, Some(&mut self.epoch), MSS, &ack);
        }
    }

    fn lose(&mut self) {
        let flight = self.window.cwnd;
        self.window.on_loss(&self.config, Some(&mut self.epoch), MSS, flight);
        self.window.cwnd = self.window.ssthresh;
    }

    fn segments(&self) -> f64 {
        f64::from(self.window.cwnd) / f64::from(MSS)
    }
}

#[test]
fn the_initial_window_is_that_of_rfc_6928() {
    let config = Config::default();
    for (mss, wanted) in [(536, 5_360), (1_460, 14_600), (4_000, 14_600), (8_960, 17_920)] {
        assert_eq!(initial_window(&config, mss), wanted);
    }
    assert_eq!(Congestion::new(&config, 1460, true).cwnd, 1460);
}

#[test]
fn names_are_understood_and_given_back() {
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.name().parse(), Ok(algorithm));
    }
    assert_eq!("Cubic".parse::<Algorithm>(), Err(UnknownAlgorithm));
    assert_eq!("".parse::<Algorithm>(), Err(UnknownAlgorithm));
}

#[test]
fn slow_start_doubles_in_a_round_trip() {
    for algorithm in Algorithm::ALL {
        for per_ack in [1, 2] {
            let mut path = Path::new(using(algorithm), 50_000);
            for wanted in [20.0, 40.0, 80.0] {
                path.round(per_ack);
                assert_eq!(path.segments(), wanted, "{algorithm}");
            }
        }
    }
}

#[test]
fn an_acknowledgment_adds_two_segments_at_most_and_one_after_a_timeout() {
    let config = using(Algorithm::NewReno);
    for (bytes, after_timeout, wanted) in
        [(1, false, 1), (500, false, 500), (1_999, false, 1_999), (9_000, false, 2_000), (9_000, true, 1_000)]
    {
        let mut window = window(10 * MSS, CWND_MAX);
        window.on_ack(&config, None, MSS, &Ack { after_timeout, ..acked(bytes) });
        assert_eq!(window.cwnd, 10 * MSS + wanted);
    }
}

#[test]
fn slow_start_stops_at_the_threshold() {
    let mut window = window(10 * MSS, 11 * MSS + 1);
    window.on_ack(&using(Algorithm::Cubic), None, MSS, &acked(2 * MSS));
    assert_eq!(window.cwnd, 11 * MSS + 1);
    assert!(!window.in_slow_start());
}

#[test]
fn what_the_application_or_a_mark_holds_back_does_not_grow_the_window() {
    for algorithm in Algorithm::ALL {
        for ssthresh in [CWND_MAX, 10 * MSS] {
            let (mut window, mut epoch) = (window(10 * MSS, ssthresh), Epoch::new());
            for _ in 0..100 {
                let idle = Ack { limited: false, ..acked(MSS) };
                window.on_ack(&using(algorithm), Some(&mut epoch), MSS, &idle);
                let marked = Ack { marked: true, ..acked(MSS) };
                window.on_ack(&using(algorithm), Some(&mut epoch), MSS, &marked);
            }
            assert_eq!(window.cwnd, 10 * MSS);
        }
    }
}

#[test]
fn a_loss_a_mark_and_a_timeout_reduce_as_the_rfcs_say() {
    // The algorithm, flight; ssthresh after a loss; the window and ssthresh after a mark without and with counts.
    let table = [
        (Algorithm::NewReno, 16 * MSS, 8_000, (8_000, 8_000)),
        (Algorithm::NewReno, 2 * MSS, 2_000, (1_000, 2_000)),
        (Algorithm::Cubic, 16 * MSS, 11_199, (11_199, 11_199)),
        (Algorithm::Cubic, 2 * MSS, 2_000, (1_399, 2_000)),
        (Algorithm::Dctcp, 16 * MSS, 8_000, (10_000, 10_000)),
        (Algorithm::Dctcp, 2 * MSS, 2_000, (10_000, 10_000)),
    ];
    for (algorithm, flight, lost, marked) in table {
        let config = using(algorithm);
        let fresh = || (window(20 * MSS, CWND_MAX), Epoch::new());
        let (mut window, mut epoch) = fresh();
        window.on_loss(&config, Some(&mut epoch), MSS, flight);
        assert_eq!((window.cwnd, window.ssthresh), (20 * MSS, lost), "{algorithm}");
        let (mut window, mut epoch) = fresh();
        window.on_mark(&config, Some(&mut epoch), MSS, flight);
        assert_eq!((window.cwnd, window.ssthresh), marked, "{algorithm}");
        let (mut window, mut epoch) = fresh();
        window.on_timeout(&config, Some(&mut epoch), MSS, flight, true);
        assert_eq!((window.cwnd, window.ssthresh), (MSS, lost), "{algorithm}");
        window.on_timeout(&config, Some(&mut epoch), MSS, MSS, false);
        assert_eq!((window.cwnd, window.ssthresh), (MSS, lost), "only the first one counts");
    }
}

#[test]
fn a_window_of_one_segment_that_is_marked_stays_one() {
    let mut window = window(MSS, 2 * MSS);
    window.on_mark(&using(Algorithm::Cubic), None, MSS, 0);
    assert_eq!(window.cwnd, MSS);
}

#[test]
fn after_idle_the_window_is_the_initial_one_at_most() {
    let config = Config::default();
    for (before, after) in [(100 * MSS, 10 * MSS), (4 * MSS, 4 * MSS)] {
        let mut window = window(before, 50 * MSS);
        window.after_idle(&config, None, MSS);
        assert_eq!((window.cwnd, window.ssthresh), (after, 50 * MSS));
    }
}

#[test]
fn undo_restores_what_the_loss_took_once() {
    for algorithm in Algorithm::ALL {
        let mut path = Path::new(using(algorithm), 50_000);
        path.round(1);
        path.lose();
        for _ in 0..50 {
            path.round(1);
        }
        let (before, curve) = (path.window, path.epoch.curve);
        let flight = path.window.cwnd;
        path.window.on_timeout(&path.config, Some(&mut path.epoch), MSS, flight, true);
        assert!(path.window.cwnd == MSS && path.window.ssthresh < before.cwnd);
        assert!(path.window.undo(&mut path.epoch));
        let wanted = Congestion { ssthresh: before.ssthresh.max(path.window.ssthresh), ..before };
        assert_eq!((path.window, path.epoch.curve), (wanted, curve), "{algorithm}");
        assert!(!path.window.undo(&mut path.epoch));
        assert_eq!(path.window, wanted);
    }
}

#[test]
fn undo_keeps_what_was_gained_meanwhile() {
    let mut path = Path::new(using(Algorithm::NewReno), 50_000);
    path.lose();
    path.window.cwnd = 500 * MSS;
    path.window.undo(&mut path.epoch);
    assert_eq!(path.window.cwnd, 500 * MSS);
}

/// RFC 9438 in floating point, in segments and seconds, a round trip at a time.
struct Reference {
    cwnd: f64,
    w_max: f64,
    w_est: f64,
    prior: f64,
    k: f64,
    t: f64,
}

impl Reference {
    fn after_loss(cwnd: f64, w_max: f64) -> Self {
        let w_max = if cwnd < w_max { cwnd * 0.85 } else { cwnd };
        let reduced = cwnd * 0.7;
        let k = ((w_max - reduced).max(0.0) / 0.4).cbrt();
        Self { cwnd: reduced, w_max: w_max.max(reduced), w_est: reduced, prior: cwnd, k, t: 0.0 }
    }

    fn at(&self, t: f64) -> f64 {
        0.4 * (t - self.k).powi(3) + self.w_max
    }

    /// The acknowledgments of one window, one by one.
    fn round(&mut self, rtt: f64) {
        let acks = self.cwnd.floor();
        let step = rtt / acks;
        for _ in 0..acks as u32 {
            let alpha = if self.w_est >= self.prior { 1.0 } else { 9.0 / 17.0 };
            self.w_est += alpha / self.cwnd;
            if self.at(self.t) < self.w_est {
                self.cwnd = self.cwnd.max(self.w_est);
            } else {
                let target = self.at(self.t + rtt).clamp(self.cwnd, 1.5 * self.cwnd);
                self.cwnd += (target - self.cwnd) / self.cwnd;
            }
            self.t += step;
        }
    }
}

#[test]
fn cubic_grows_as_the_reference_in_floating_point_does() {
    // Round trip in ms; the window at the first loss, in segments; round trips to follow.
    let table = [
        (1, 100, 3_000),
        (10, 50, 2_000),
        (10, 1_000, 1_500),
        (40, 200, 800),
        (100, 100, 300),
        (100, 5_000, 180),
        (300, 2_000, 60),
    ];
    for (rtt_ms, segments, rounds) in table {
        let rtt = f64::from(rtt_ms) / 1_000.0;
        let mut path = Path::new(using(Algorithm::Cubic), rtt_ms * 1_000);
        path.window = window(segments * MSS, segments * MSS);
        path.lose();
        let mut reference = Reference::after_loss(f64::from(segments), 0.0);
        let mut worst: f64 = 0.0;
        for round in 0..rounds {
            path.round(1);
            reference.round(rtt);
            worst = worst.max((path.segments() - reference.cwnd).abs() / reference.cwnd);
            assert!(
                worst < 0.04,
                "{rtt_ms} ms, {segments}, round {round}: {} {}",
                path.segments(),
                reference.cwnd
            );
        }
        // It has passed its old height by then, or the table is too short to show anything.
        assert!(path.segments() > f64::from(segments), "{rtt_ms} ms, {segments}: {}", path.segments());
    }
}

#[test]
fn cubic_reaches_its_height_after_k_whatever_the_round_trip() {
    for rtt_ms in [20, 80, 200] {
        let mut path = Path::new(using(Algorithm::Cubic), rtt_ms * 1_000);
        path.window = window(1_000 * MSS, 1_000 * MSS);
        path.lose();
        let begin = path.now_us;
        while path.segments() < 995.0 {
            path.round(1);
        }
        let took = (path.now_us - begin) as f64 / 1e6;
        // K = cbrt(300 / 0.4) = 9.09 s; 995 is reached cbrt(5 / 0.4) = 2.3 s earlier.
        assert!((6.3..7.3).contains(&took), "{rtt_ms} ms: {took} s");
    }
}

#[test]
fn cubic_on_a_short_path_is_as_fast_as_newreno() {
    let mut cubic = Path::new(using(Algorithm::Cubic), 1_000);
    let mut reno = Path::new(using(Algorithm::NewReno), 1_000);
    for path in [&mut cubic, &mut reno] {
        path.window = window(40 * MSS, 40 * MSS);
        path.lose();
        for _ in 0..200 {
            path.round(1);
        }
    }
    // 28 and 20 segments at first. RFC 5681 gains 200; W_est 9/17 of a segment up to 40, and then one.
    assert!((219.0..=221.0).contains(&reno.segments()), "{}", reno.segments());
    let wanted = 40.0 + 200.0 - 12.0 * 17.0 / 9.0;
    assert!((cubic.segments() - wanted).abs() < 3.0, "{} {wanted}", cubic.segments());
}

#[test]
fn without_an_epoch_every_algorithm_grows_and_none_faster_than_rfc_5681() {
    for algorithm in Algorithm::ALL {
        let mut window = window(20 * MSS, 20 * MSS);
        for _ in 0..20 {
            window.on_ack(&using(algorithm), None, MSS, &acked(MSS));
        }
        assert!(window.cwnd > 20 * MSS + MSS / 3 && window.cwnd <= 21 * MSS, "{algorithm}: {}", window.cwnd);
    }
}

/// Slow start over a path whose round trip is `rtt(round)`, and which has room for much more: the window after each round.
fn slow_start_over(config: Config, rounds: u32, rtt: impl Fn(u32) -> u32) -> std::vec::Vec<f64> {
    let mut path = Path { part: 4, ..Path::new(config, 0) };
    (0..rounds)
        .map(|round| {
            path.rtt_us = rtt(round);
            path.round(1);
            path.segments()
        })
        .collect()
}

#[test]
fn hystart_leaves_slow_start_when_round_trips_grow_and_stay_long() {
    let config = Config { hystart: true, ..using(Algorithm::Cubic) };
    let found = slow_start_over(config, 12, |round| if round < 3 { 40_000 } else { 46_000 + round * 100 });
    assert_eq!(found[2], 80.0);
    // Conservative slow start begins after eight samples of the fourth round, and then adds a quarter each round.
    assert!((100.0..116.0).contains(&found[3]), "{found:?}");
    for round in 4..8 {
        let growth = found[round] / found[round - 1];
        assert!((1.2..1.3).contains(&growth), "{found:?}");
    }
    // Five rounds, the partial one included; then congestion avoidance.
    assert!(found[9] < found[8] * 1.05, "{found:?}");
    assert!(found[11] < found[8] * 1.1, "{found:?}");
}

#[test]
fn hystart_is_not_for_newreno() {
    let config = Config { hystart: true, ..using(Algorithm::NewReno) };
    let found = slow_start_over(config, 6, |round| 40_000 + round * 10_000);
    assert!(found.windows(2).all(|pair| pair[1] >= 1.9 * pair[0]), "{found:?}");
}

#[test]
fn hystart_goes_on_when_it_was_only_jitter_or_too_little() {
    let config = Config { hystart: true, ..using(Algorithm::Cubic) };
    let jitter = slow_start_over(config, 6, |round| if round == 3 { 60_000 } else { 40_000 });
    assert!(jitter[3] < 130.0, "{jitter:?}");
    assert!(jitter[5] > jitter[4] * 1.9, "{jitter:?}");
    // An eighth of 40 ms is 5 ms; of 8 ms it would be 1 ms, but below 4 ms nothing counts.
    for (short, long) in [(40_000, 44_900), (8_000, 11_900), (400, 4_300)] {
        let small = slow_start_over(config, 6, |round| if round < 3 { short } else { long });
        assert_eq!(small[5], 640.0, "{short}");
    }
    // Above 128 ms, 16 ms always count.
    let far = slow_start_over(config, 5, |round| if round < 3 { 300_000 } else { 316_000 });
    assert!(far[4] < 200.0, "{far:?}");
}

#[test]
fn hystart_is_for_the_first_slow_start_alone() {
    let config = Config { hystart: true, ..using(Algorithm::Cubic) };
    let mut path = Path::new(config, 40_000);
    path.window = window(10 * MSS, 1_000 * MSS);
    for round in 0..4 {
        path.rtt_us = 40_000 + round * 20_000;
        path.round(1);
    }
    assert_eq!(path.segments(), 160.0);
}

/// Anything that can happen to a window.
#[derive(Clone, Copy, Debug)]
enum Event {
    Acked { segments: u32, rest: u32, rtt_us: u32, marked: bool, limited: bool, after_timeout: bool },
    Lost { flight: u32 },
    TimedOut { flight: u32, first: bool },
    Marked { flight: u32 },
    Undone,
    Idle,
    Forgotten,
}

fn event() -> impl Strategy<Value = Event> {
    let flight = 0..=CWND_MAX;
    prop_oneof![
        20 => (0u32..100_000, 0..MSS, 0u32..30_000_000, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(segments, rest, rtt_us, marked, limited, after_timeout)| Event::Acked {
                segments, rest, rtt_us, marked, limited, after_timeout
            }
        ),
        1 => flight.clone().prop_map(|flight| Event::Lost { flight }),
        1 => (flight.clone(), any::<bool>()).prop_map(|(flight, first)| Event::TimedOut { flight, first }),
        1 => flight.prop_map(|flight| Event::Marked { flight }),
        1 => Just(Event::Undone),
        1 => Just(Event::Idle),
        1 => Just(Event::Forgotten),
    ]
}

proptest! {
    #[test]
    fn the_window_is_one_segment_at_least_and_the_greatest_at_most(
        algorithm in prop::sample::select(Algorithm::ALL.to_vec()),
        (hystart, pacing) in any::<(bool, bool)>(),
        mss in prop_oneof![64u32..=9_000, Just(65_535)],
        mut now_us in any::<u32>(),
        mut una in any::<u32>().prop_map(SeqNumber),
        events in prop::collection::vec((event(), 0u32..200_000_000), 1..200),
    ) {
        let config = Config { congestion: algorithm, hystart, pacing, ..Config::default() };
        let mut window = Congestion::new(&config, mss, false);
        let mut epoch = Some(Epoch::new());
        for (event, pause_us) in events {
            now_us = now_us.wrapping_add(pause_us);
            let before = window;
            let slot = epoch.as_mut();
            match event {
                Event::Acked { segments, rest, rtt_us, marked, limited, after_timeout } => {
                    let bytes = (segments * mss.min(10_000) + rest).min(CWND_MAX);
                    una += bytes;
                    let nxt = una + window.cwnd.min(CWND_MAX / 2);
                    let (rtt_us, srtt_us) = ((rtt_us > 0).then_some(rtt_us), rtt_us);
                    let ack = Ack { now_us, bytes, una, nxt, rtt_us, srtt_us, marked, limited, after_timeout };
                    window.on_ack(&config, slot, mss, &ack);
                    prop_assert!(window.cwnd >= before.cwnd, "an acknowledgment took something away");
                    let most = bytes.max(before.cwnd / 2).max(mss);
                    prop_assert!(window.cwnd - before.cwnd <= most, "{before:?} {window:?}");
                }
                Event::Lost { flight } => {
                    window.on_loss(&config, slot, mss, flight.min(window.cwnd));
                    window.cwnd = window.ssthresh;
                }
                Event::TimedOut { flight, first } => {
                    window.on_timeout(&config, slot, mss, flight.min(window.cwnd), first);
                }
                Event::Marked { flight } => {
                    window.on_mark(&config, slot, mss, flight.min(window.cwnd));
                    prop_assert!(window.cwnd <= before.cwnd.max(mss));
                }
                Event::Undone => {
                    if let Some(epoch) = slot {
                        window.undo(epoch);
                    }
                }
                Event::Idle => window.after_idle(&config, slot, mss),
                Event::Forgotten => epoch = if epoch.is_some() { None } else { Some(Epoch::new()) },
            }
            prop_assert!((mss.min(CWND_MAX)..=CWND_MAX).contains(&window.cwnd), "{event:?}: {window:?}");
            prop_assert!(window.ssthresh >= 2 * mss && window.ssthresh <= CWND_MAX, "{event:?}: {window:?}");
        }
    }

    #[test]
    fn hours_of_growth_overflow_nothing_and_end_at_the_bound(
        algorithm in prop::sample::select(Algorithm::ALL.to_vec()),
        rtt_us in 100u32..2_000_000,
        hours in 1u64..12,
    ) {
        let config = using(algorithm);
        let mut window = window(10 * MSS, 10 * MSS);
        let mut epoch = Epoch::new();
        let mut una = SeqNumber(7);
        // Five thousand acknowledgments of a whole window each, spread over hours.
        let pause_us = (hours * 3_600_000_000 / 5_000) as u32;
        for index in 0..5_000u32 {
            una += window.cwnd / 2;
            let nxt = una + window.cwnd / 2;
            let ack = Ack { now_us: index.wrapping_mul(pause_us), una, nxt, srtt_us: rtt_us, ..acked(window.cwnd) };
            let before = window.cwnd;
            window.on_ack(&config, Some(&mut epoch), MSS, &ack);
            prop_assert!(window.cwnd >= before && window.cwnd <= CWND_MAX);
        }
        match algorithm {
            Algorithm::Cubic => prop_assert_eq!(window.cwnd, CWND_MAX),
            _ => prop_assert_eq!(window.cwnd, 5_010 * MSS),
        }
    }
}
