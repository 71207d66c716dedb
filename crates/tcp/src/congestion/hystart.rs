//! HyStart++: slow start ends when round trips grow, before a loss ends it (RFC 9406).
//!
//! ```text
//!                 the round's least is longer              five rounds
//!   Standard ─────────────────────────────► Conservative ─────────────► Stop
//!      ▲        than the last one's by an eighth  │
//!      └──────────────────────────────────────────┘
//!           shorter again: it was no queue
//! ```

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
    /// rttSampleCount, as far as it matters.
    samples: u8,
    /// Rounds of conservative slow start, the one in which it began included.
    rounds: u8,
}

impl HyStart {
    pub(crate) const fn new() -> Self {
        Self { least_us: NONE, last_us: NONE, baseline_us: NONE, samples: 0, rounds: 0 }
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

    /// An acknowledgment during the initial slow start.
    pub(crate) fn on_ack(&mut self, ack: &Ack) -> Caution {
        if let Some(us) = ack.rtt_us {
            self.least_us = self.least_us.min(us);
            self.samples = self.samples.saturating_add(1).min(SAMPLES);
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
}
