//! HyStart++: slow start ends when round trips grow, before a loss ends it (RFC 9406), or when the path is full.
//!
//! ```text
//!                 the round's least is longer              five rounds
//!   Standard ─────────────────────────────► Conservative ─────────────► Stop
//!      ▲        than the last one's by an eighth  │
//!      └──────────────────────────────────────────┘
//!           shorter again: it was no queue
//! ```
//!
//! Round trips grow when a queue has stood for a round trip, and by then the window is twice what the path holds: too late
//! where the queue is shorter than that. The first HyStart (Ha and Rhee, 2011) also looks at the train of acknowledgments,
//! which follow one another as the bottleneck lets segments through, until the window is used up. A window that takes half a
//! round trip to come out fills the path when it has doubled, so when a train has become as long as that, slow start stops
//! at once. What is sent paced makes trains of half a round trip from the beginning: then it takes a whole one.

use super::Ack;
use super::slow_start::Caution;

/// N_RTT_SAMPLE: measurements in a round before it is judged.
const SAMPLES: u8 = 8;
/// MIN_RTT_THRESH and MAX_RTT_THRESH, in microseconds.
const THRESHOLD_US_MIN: u32 = 4_000;
const THRESHOLD_US_MAX: u32 = 16_000;
/// MIN_RTT_DIVISOR, 8, as a shift.
const THRESHOLD_SHIFT: u32 = 3;
/// CSS_ROUNDS.
const ROUNDS: u8 = 5;
/// CSS_GROWTH_DIVISOR, 4, as a shift.
pub(crate) const GROWTH_SHIFT: u32 = 2;
/// L: segments that one acknowledgment may add to the window when segments are not paced.
pub(crate) const SEGMENTS_PER_ACK: u32 = 8;

/// The longest pause between two acknowledgments of a train as a part of the round trip, 1/16, as a shift.
const PAUSE_SHIFT: u32 = 4;
/// On shorter paths trains tell more of how hosts batch their work than of the path, and a loss is soon repaired.
const TRAIN_RTT_US_MIN: u32 = 4_000;
/// Segments of a window whose train is too short to say something.
const SEGMENTS_MIN: u32 = 16;

/// No measurement yet.
const NONE: u32 = u32::MAX;

/// Round trips as slow start sees them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HyStart {
    /// currentRoundMinRTT, in microseconds.
    least_us: u32,
    /// lastRoundMinRTT.
    last_us: u32,
    /// cssBaselineMinRtt; `NONE` outside of conservative slow start.
    baseline_us: u32,
    /// The least round trip of all.
    floor_us: u32,
    /// When the first acknowledgment of the train came, and the last, in wrapping microseconds.
    train: (u32, u32),
    /// rttSampleCount, as far as it matters.
    samples: u8,
    /// Rounds of conservative slow start, the one in which it began included.
    rounds: u8,
    /// `train` has begun.
    has_train: bool,
}

impl HyStart {
    pub(crate) const fn new() -> Self {
        Self {
            least_us: NONE,
            last_us: NONE,
            baseline_us: NONE,
            floor_us: NONE,
            train: (0, 0),
            samples: 0,
            rounds: 0,
            has_train: false,
        }
    }

    /// A new round begins with this acknowledgment's successor.
    pub(crate) fn end_round(&mut self) {
        self.last_us = self.least_us;
        self.least_us = NONE;
        self.samples = 0;
        if self.baseline_us != NONE {
            self.rounds = self.rounds.saturating_add(1);
        }
    }

    /// An acknowledgment during the initial slow start, the window being `cwnd`.
    pub(crate) fn on_ack(&mut self, ack: &Ack, cwnd: u32, mss: u32, pacing: bool) -> Caution {
        if let Some(us) = ack.rtt_us {
            self.least_us = self.least_us.min(us);
            self.floor_us = self.floor_us.min(us);
            self.samples = self.samples.saturating_add(1).min(SAMPLES);
        }
        if self.is_full_train(ack, pacing) && cwnd >= SEGMENTS_MIN * mss {
            return Caution::Stop;
        }
        let is_judged = self.samples >= SAMPLES;
        if self.baseline_us != NONE {
            if self.rounds >= ROUNDS {
                return Caution::Stop;
            }
            if is_judged && self.least_us < self.baseline_us {
                // The exit was spurious: slow start goes on.
                self.baseline_us = NONE;
                self.rounds = 0;
                return Caution::Standard;
            }
            return Caution::Conservative;
        }
        if is_judged && self.last_us != NONE {
            let threshold = (self.last_us >> THRESHOLD_SHIFT).clamp(THRESHOLD_US_MIN, THRESHOLD_US_MAX);
            if self.least_us >= self.last_us.saturating_add(threshold) {
                self.baseline_us = self.least_us;
                self.rounds = 0;
                return Caution::Conservative;
            }
        }
        Caution::Standard
    }

    /// Whether acknowledgments have come without a pause for as long as the path needs to be full.
    fn is_full_train(&mut self, ack: &Ack, pacing: bool) -> bool {
        if self.floor_us == NONE || self.floor_us < TRAIN_RTT_US_MIN || !ack.limited {
            self.has_train = false;
            return false;
        }
        let pause = self.floor_us >> PAUSE_SHIFT;
        if !self.has_train || ack.now_us.wrapping_sub(self.train.1) > pause {
            (self.train.0, self.has_train) = (ack.now_us, true);
        }
        self.train.1 = ack.now_us;
        let long = if pacing { self.floor_us } else { self.floor_us >> 1 };
        ack.now_us.wrapping_sub(self.train.0) >= long
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MSS, acked};
    use super::*;

    /// A round of `count` acknowledgments `apart_us` after one another, of a path of 40 ms; when slow start stops.
    fn round(hystart: &mut HyStart, begin_us: u32, count: u32, apart_us: u32, pacing: bool) -> Option<u32> {
        hystart.end_round();
        for number in 0..count {
            let now_us = begin_us.wrapping_add(number * apart_us);
            let ack = Ack { now_us, rtt_us: Some(40_000), ..acked(MSS) };
            if hystart.on_ack(&ack, 100 * MSS, MSS, pacing) == Caution::Stop {
                return Some(now_us.wrapping_sub(begin_us));
            }
        }
        None
    }

    #[test]
    fn a_train_of_half_a_round_trip_stops_it_and_a_shorter_one_does_not() {
        let begin = u32::MAX - 5_000;
        assert_eq!(round(&mut HyStart::new(), begin, 100, 240, false), Some(20_160));
        assert_eq!(round(&mut HyStart::new(), begin, 83, 240, false), None);
        assert_eq!(round(&mut HyStart::new(), begin, 100, 240, true), None);
        assert_eq!(round(&mut HyStart::new(), begin, 200, 240, true), Some(40_080));
    }

    #[test]
    fn a_pause_ends_a_train_and_the_next_one_begins() {
        let mut hystart = HyStart::new();
        assert_eq!(round(&mut hystart, 0, 100, 2_600, false), None);
        assert_eq!(round(&mut hystart, 280_000, 8, 2_400, false), None);
        assert_eq!(round(&mut hystart, 300_000, 100, 2_400, false), Some(21_600));
    }

    #[test]
    fn a_window_of_a_few_segments_or_one_that_is_not_used_has_no_train() {
        let mut hystart = HyStart::new();
        hystart.end_round();
        for now_us in (0..60_000).step_by(500) {
            let ack = Ack { now_us, rtt_us: Some(40_000), ..acked(MSS) };
            assert_eq!(hystart.on_ack(&ack, 15 * MSS, MSS, false), Caution::Standard);
        }
        let mut hystart = HyStart::new();
        hystart.end_round();
        for now_us in (0..60_000).step_by(500) {
            let ack = Ack { now_us, rtt_us: Some(40_000), limited: false, ..acked(MSS) };
            assert_eq!(hystart.on_ack(&ack, 100 * MSS, MSS, false), Caution::Standard);
        }
    }
}
