//! Pacing: segments spread over the round trip, instead of sent as acknowledgments come (as RFC 9002, section 7.7, has it
//! for QUIC; no RFC says how for TCP).
//!
//! ```text
//!   rate = factor * cwnd / SRTT         factor: 2 in slow start, 1.2 afterwards
//!
//!   release ──┐  each segment moves it by len / rate
//!   ──────────┼──────────────────────► time
//!       now + quantum: what lies before may go now, what lies behind waits for a deadline
//! ```
//!
//! The factor is above 1 so that acknowledgments that come unevenly do not keep the window from being used; twice the
//! window in a round trip is what slow start grows to. The quantum is a tick of the timing wheel, about a
//! millisecond: a finer deadline could not be kept, and a connection whose round trip is shorter is not held at all.
//! While it waits, whatever else is due (a delayed acknowledgment) shares the deadline.

use crate::clock::Tick;
use crate::config::{Config, Context};
use crate::congestion::RECIPROCAL_BITS;
use crate::recovery::Flight;
use crate::tcb::{Marks, Tcb};

use freeway_base::{Duration, Instant};

/// One tick of the timing wheel.
const QUANTUM: Duration = Duration::from_nanos(1 << 20);

/// 1 / 1.2 in 65536ths.
const AVOIDANCE: u64 = 54_613;
/// 1 / 2.
const SLOW_START: u64 = 32_768;

/// The longest round trip that intervals are computed for: 67 s, and no overflow.
const SRTT_US_MAX: u32 = (1 << 26) - 1;

/// How long `len` bytes take at `cwnd / SRTT`, times `part` in 65536ths. `reciprocal` is 2^44 / cwnd.
fn interval(len: u32, srtt_us: u32, reciprocal: u64, part: u64) -> Duration {
    /// Binary places of `len / cwnd`, of which it keeps 26: no window is so large that this is not enough.
    const PLACES: u32 = 26;
    let share = (u64::from(len) * reciprocal) >> (RECIPROCAL_BITS - PLACES);
    let share = share.min(1 << PLACES);
    let srtt_ns = u64::from(srtt_us.min(SRTT_US_MAX)) * 1_000;
    Duration::from_nanos((((share * srtt_ns) >> PLACES) * part) >> 16)
}

impl Tcb {
    /// Bytes a second at which segments are let out; `None` without pacing, or before a round trip was measured. Divides:
    /// for reports.
    pub(crate) fn pacing_rate(&self, config: &Config) -> Option<u64> {
        let srtt_us = u64::from(self.srtt_us());
        if !config.pacing {
            return None;
        }
        let part = if self.congestion.in_slow_start() { SLOW_START } else { AVOIDANCE };
        (u64::from(self.congestion.cwnd) * 1_000_000).checked_div(srtt_us).map(|rate| (rate << 16) / part)
    }

    /// Whether the next segment must wait. If so, its deadline is armed.
    #[inline]
    pub(crate) fn waits_for_release(&mut self, cx: &Context<'_>, flight: Option<&Flight>) -> bool {
        if !cx.config.pacing || self.in_flight() == 0 {
            return false;
        }
        let Some(flight) = flight else { return false };
        // A probe is late already, and a segment known to be lost first of all.
        let is_urgent = flight.probe_is_due() || self.marks.contains(Marks::RESEND_NOW);
        let release = flight.epoch.release();
        if is_urgent || release <= cx.now + QUANTUM {
            return false;
        }
        self.arm_release(cx, release - QUANTUM);
        true
    }

    /// `ack_at` serves both: an acknowledgment that goes earlier than it must does no harm.
    fn arm_release(&mut self, cx: &Context<'_>, at: Instant) {
        let deadline = Tick::after(cx.now, at - cx.now);
        let is_earlier = self.ack_at.instant(cx.now) <= deadline.instant(cx.now);
        let is_armed = self.marks.intersects(Marks::ACK_ARMED.union(Marks::PACED));
        self.marks.insert(Marks::PACED);
        if !(is_armed && is_earlier) {
            self.ack_at = deadline;
        }
    }

    /// `len` bytes go out now: the next ones so much later.
    #[inline]
    pub(crate) fn note_release(&mut self, cx: &Context<'_>, flight: &mut Flight, len: u32) {
        if !cx.config.pacing || !self.rtt.is_known() {
            return;
        }
        let part = if self.congestion.in_slow_start() { SLOW_START } else { AVOIDANCE };
        let reciprocal = flight.epoch.known_reciprocal(self.congestion.cwnd);
        let wait = interval(len, self.rtt.smoothed().as_micros() as u32, reciprocal, part);
        let release = flight.epoch.release().max(cx.now) + wait;
        flight.epoch.set_release(release);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_window_takes_a_round_trip_over_the_factor() {
        for (cwnd, srtt_us) in
            [(14_600u32, 100_000u32), (1_000_000, 1_000), (100_000_000, 200_000), (1_460, 50)]
        {
            let reciprocal = (1 << RECIPROCAL_BITS) / u64::from(cwnd);
            for (part, factor) in [(AVOIDANCE, 1.2), (SLOW_START, 2.0)] {
                let one = interval(1_460, srtt_us, reciprocal, part).as_nanos() as f64;
                let exact = 1_460.0 / f64::from(cwnd) * f64::from(srtt_us) * 1_000.0 / factor;
                assert!((one - exact).abs() <= exact * 0.002 + 2.0, "{cwnd} {srtt_us}: {one} {exact}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_interval_overflows_or_exceeds_the_round_trip(len: u32, srtt_us: u32, cwnd in 1u32..=1 << 30) {
            let reciprocal = (1 << RECIPROCAL_BITS) / u64::from(cwnd);
            let found = interval(len.min(1 << 16), srtt_us, reciprocal, AVOIDANCE);
            prop_assert!(found <= Duration::from_micros(u64::from(srtt_us)));
        }
    }
}
