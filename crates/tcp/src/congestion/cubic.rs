//! CUBIC (RFC 9438): the window is a cubic of the time since the last reduction, with its inflection where that
//! happened.
//!
//! ```text
//!   W_max ┤· · · · · · ·_________· · ·/        W_cubic(t) = C (t - K)³ + W_max
//!         │       ___---         ---__/        K = cbrt((W_max - cwnd_epoch) / C)
//!         │    _--
//!    0.7  ┤___/
//!         └───────────────┬───────────► t
//!                         K
//! ```
//!
//! Where that is slower than RFC 5681 would be (short paths), the window follows W_est, RFC 5681's own growth at
//! CUBIC's factor of reduction. Bytes stand for the RFC's segments, ticks of 2^10 µs for its seconds. What an
//! acknowledgment adds is a multiplication: the slopes of both curves are fixed once a round trip.

use super::cube_root::cube_root;
use super::epoch::RECIPROCAL_BITS;
use super::{Ack, CWND_MAX, Congestion, Controller, Epoch, new_reno, share};

/// beta_cubic, 0.7, in 65536ths.
const BETA: u32 = 45_875;
/// (1 + beta_cubic) / 2: fast convergence, section 4.7.
const CONVERGENCE: u32 = 55_705;
/// alpha_cubic, 3 (1 - beta_cubic) / (1 + beta_cubic) = 9/17.
const ALPHA: u64 = 34_695;
/// C, 0.4 segments for a second cubed, for a tick cubed, times 2^64: 0.4 * 0.001024³ * 2^64.
const C: u64 = 7_922_816_251;
/// 1 / C for ticks: 1 / (0.4 * 0.001024³).
const PER_C: u64 = 2_328_306_437;
/// Microseconds of a tick, as a shift.
const TICK_SHIFT: u32 = 10;
/// No cube of more ticks (9 minutes) fits 64 bits after it was multiplied; no window needs more to reach its bound.
const TICKS_MAX: i64 = 1 << 19;

/// The algorithm of RFC 9438.
pub(crate) struct Cubic;

/// Where on its curve a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Curve {
    /// W_est in bytes, with 32 binary places.
    friendly: u64,
    /// W_max, the height of the inflection, in bytes.
    origin: u32,
    /// K, when it is reached, in ticks.
    inflection: i64,
    /// t: microseconds of congestion avoidance, without those in which something else limited the sender.
    elapsed_us: u32,
    /// The clock at the last acknowledgment.
    last_us: u32,
    /// cwnd_prior: the window before the reduction; 0 if there was none.
    prior: u32,
    /// What each acknowledged byte adds to the window, in 2^-32 bytes.
    slope: u32,
    /// What it adds to W_est.
    friendly_slope: u32,
    /// Binary places of the window.
    fraction: u32,
    /// Congestion avoidance has begun.
    started: bool,
    /// The time since the last acknowledgment counts.
    running: bool,
}

impl Controller for Cubic {
    fn avoid(window: &mut Congestion, epoch: Option<&mut Epoch>, mss: u32, ack: &Ack) {
        let Some(epoch) = epoch else {
            new_reno::add_one_at_most(window, mss, ack.bytes);
            return;
        };
        if !epoch.curve.started {
            epoch.refresh(window.cwnd);
            epoch.curve.begin(window, mss);
            epoch.curve.aim(window.cwnd, mss, ack.srtt_us, epoch.reciprocal());
        } else {
            epoch.curve.run(ack.now_us);
            if epoch.round_ends() {
                epoch.curve.aim(window.cwnd, mss, ack.srtt_us, epoch.reciprocal());
            }
        }
        window.cwnd = epoch.curve.climb(window.cwnd, ack.bytes);
    }

    fn reduced(window: &mut Congestion, epoch: Option<&mut Epoch>, flight: u32) -> u32 {
        // Section 4.7: a window that fell short of its last height leaves room for whoever took the rest.
        let converges = window.cwnd < window.memory;
        window.memory = if converges { share(window.cwnd, CONVERGENCE) } else { window.cwnd };
        if let Some(epoch) = epoch {
            epoch.curve = Curve { prior: window.cwnd, ..Curve::new() };
        }
        // Section 4.6.
        share(flight, BETA)
    }

    fn forget(window: &mut Congestion) {
        // Section 4.8: K is 0 after a time-out, and W_max where congestion avoidance begins.
        window.memory = 0;
    }
}

impl Curve {
    pub(super) const fn new() -> Self {
        Self {
            friendly: 0,
            origin: 0,
            inflection: 0,
            elapsed_us: 0,
            last_us: 0,
            prior: 0,
            slope: 0,
            friendly_slope: 0,
            fraction: 0,
            started: false,
            running: false,
        }
    }

    /// Section 4.2: congestion avoidance begins, at this window; or it goes on, after everything had been acknowledged
    /// and the old curve was forgotten. W_max and the window say where on the curve that is. A reduction leaves the
    /// window below W_max: where it is above, K lies in the past.
    fn begin(&mut self, window: &mut Congestion, mss: u32) {
        if window.memory == 0 {
            // Slow start ended without a loss, or after a time-out.
            window.memory = window.cwnd;
        }
        let distance = u64::from(window.memory.abs_diff(window.cwnd));
        let ticks = i64::from(cube_root(distance * PER_C / u64::from(mss.max(1))));
        self.origin = window.memory;
        self.inflection = if window.cwnd < window.memory { ticks } else { -ticks };
        if self.prior == 0 {
            self.prior = window.memory;
        }
        self.friendly = u64::from(window.cwnd) << 32;
        self.elapsed_us = 0;
        self.fraction = 0;
        self.started = true;
    }

    /// The window fell: the next congestion avoidance begins a curve of its own.
    pub(super) fn stop(&mut self) {
        self.started = false;
    }

    /// Time goes on.
    fn run(&mut self, now_us: u32) {
        if self.running {
            self.elapsed_us = self.elapsed_us.saturating_add(now_us.wrapping_sub(self.last_us));
        }
    }

    /// Section 4.2: t must not count time in which the application, not the window, limited the sender.
    pub(super) fn end_ack(&mut self, ack: &Ack) {
        self.last_us = ack.now_us;
        self.running = ack.limited && ack.una != ack.nxt;
    }

    /// W_cubic, in bytes.
    fn height(&self, mss: u32, elapsed_us: u32) -> u32 {
        let ticks = i64::from(elapsed_us >> TICK_SHIFT) - self.inflection;
        let distance = ticks.clamp(-TICKS_MAX, TICKS_MAX).unsigned_abs();
        let factor = u64::from(mss) * C;
        let offset = (u128::from(distance.pow(3)) * u128::from(factor)) >> 64;
        let offset = offset.min(u128::from(CWND_MAX)) as u32;
        if ticks < 0 { self.origin.saturating_sub(offset) } else { self.origin.saturating_add(offset) }
    }

    /// A round trip begins: how steep both curves are in it.
    fn aim(&mut self, cwnd: u32, mss: u32, srtt_us: u32, reciprocal: u64) {
        const TO_SLOPE: u32 = RECIPROCAL_BITS - 32;
        let friendly = (self.friendly >> 32) as u32;
        // Section 4.3: once W_est has reached cwnd_prior, it grows as RFC 5681 does.
        let alpha = if friendly >= self.prior { 1 << 16 } else { ALPHA };
        let per_byte = (u64::from(mss) * reciprocal) >> TO_SLOPE;
        self.friendly_slope = u32::try_from((per_byte * alpha) >> 16).unwrap_or(u32::MAX);
        self.slope = if self.height(mss, self.elapsed_us) < friendly {
            // The Reno-friendly region.
            0
        } else {
            // Sections 4.4 and 4.5: what a round trip from now it is to be, and no more than half as much again.
            let ahead = self.height(mss, self.elapsed_us.saturating_add(srtt_us));
            let target = ahead.clamp(cwnd, cwnd.saturating_add(cwnd >> 1));
            u32::try_from((u64::from(target - cwnd) * reciprocal) >> TO_SLOPE).unwrap_or(u32::MAX)
        };
    }

    /// An acknowledgment's step along both curves; returns the new window.
    fn climb(&mut self, cwnd: u32, acked: u32) -> u32 {
        let acked = u64::from(acked.min(cwnd));
        let grown = u64::from(self.fraction) + acked * u64::from(self.slope);
        self.fraction = grown as u32;
        self.friendly += acked * u64::from(self.friendly_slope);
        self.friendly = self.friendly.min(u64::from(CWND_MAX) << 32);
        cwnd.saturating_add((grown >> 32) as u32).max((self.friendly >> 32) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MSS, acked, window};
    use super::*;

    fn begun(window: &mut Congestion) -> Curve {
        let mut curve = Curve::new();
        curve.begin(window, MSS);
        curve
    }

    #[test]
    fn the_constants_are_those_of_the_rfc() {
        let tick = 0.001_024f64;
        let exact = 0.4 * tick.powi(3);
        assert!((C as f64 / exact / 2f64.powi(64) - 1.0).abs() < 1e-9);
        assert!((PER_C as f64 * exact - 1.0).abs() < 1e-9);
        let beta: f64 = 0.7;
        let near = |fixed: u64, exact: f64| (fixed as f64 / 65_536.0 - exact).abs() < 1.0 / 65_536.0;
        assert!(near(BETA.into(), beta));
        assert!(near(CONVERGENCE.into(), (1.0 + beta) / 2.0));
        assert!(near(ALPHA, 3.0 * (1.0 - beta) / (1.0 + beta)));
    }

    #[test]
    fn the_curve_is_that_of_equation_1() {
        for (w_max, segments) in [(100u32, 70u32), (1_000, 700), (20_000, 14_000), (50, 49), (10, 10)] {
            let mut window = window(segments * MSS, segments * MSS);
            window.memory = w_max * MSS;
            let curve = begun(&mut window);
            let k = (f64::from(w_max - segments) / 0.4).cbrt();
            for ms in (0..60_000).step_by(250) {
                let t = f64::from(ms) / 1_000.0;
                let exact = (0.4 * (t - k).powi(3) + f64::from(w_max)) * f64::from(MSS);
                if exact >= f64::from(CWND_MAX) {
                    break;
                }
                let found = f64::from(curve.height(MSS, ms * 1_000));
                // A tick's worth of the slope at that place, and a segment for K, which is cut to ticks.
                let slope = 1.2 * (t - k).powi(2) * f64::from(MSS) * 0.002_1;
                assert!(
                    (found - exact).abs() <= slope + f64::from(MSS) / 10.0,
                    "{w_max} {ms}: {found} {exact}"
                );
            }
        }
    }

    #[test]
    fn a_loss_leaves_seven_tenths_and_remembers_the_height() {
        let mut window = window(100 * MSS, 50 * MSS);
        let mut epoch = Epoch::new();
        assert_eq!(Cubic::reduced(&mut window, Some(&mut epoch), 100 * MSS) / 100, 7 * MSS / 10 - 1);
        assert_eq!((window.memory, epoch.curve.prior), (100 * MSS, 100 * MSS));
        // Fast convergence: the next loss comes below that height.
        window.cwnd = 80 * MSS;
        Cubic::reduced(&mut window, Some(&mut epoch), 80 * MSS);
        assert_eq!(window.memory / 10, 80 * MSS * 85 / 1_000 - 1);
        // And this one above.
        window.cwnd = 90 * MSS;
        Cubic::reduced(&mut window, None, 90 * MSS);
        assert_eq!(window.memory, 90 * MSS);
    }

    #[test]
    fn without_a_known_height_the_curve_begins_at_its_inflection() {
        let mut window = window(100 * MSS, 100 * MSS);
        let curve = begun(&mut window);
        assert_eq!((curve.origin, curve.inflection, window.memory), (100 * MSS, 0, 100 * MSS));
    }

    #[test]
    fn a_curve_that_was_forgotten_goes_on_where_it_was() {
        for segments in [75, 99, 100, 101, 120, 300] {
            let mut window = window(segments * MSS, 70 * MSS);
            window.memory = 100 * MSS;
            let curve = begun(&mut window);
            assert!(curve.height(MSS, 0).abs_diff(window.cwnd) < 100, "{segments}");
            // Its future is that of the whole curve, shifted.
            let k =
                -(f64::from(segments) - 100.0).signum() * ((f64::from(segments) - 100.0).abs() / 0.4).cbrt();
            let wanted = (0.4 * (5.0 - k).powi(3) + 100.0) * f64::from(MSS);
            let found = f64::from(curve.height(MSS, 5_000_000));
            assert!((found - wanted).abs() < 2.0 * f64::from(MSS), "{segments}: {found} {wanted}");
        }
    }

    #[test]
    fn a_pause_of_the_application_does_not_move_the_curve() {
        let mut window = window(100 * MSS, 100 * MSS);
        let mut epoch = Epoch::new();
        let mut ack = acked(MSS);
        let mut take = |now_us, limited| {
            ack.now_us = now_us;
            ack.limited = limited;
            epoch.begin_ack(window.cwnd, &ack);
            if limited {
                Cubic::avoid(&mut window, Some(&mut epoch), MSS, &ack);
            }
            epoch.end_ack(&ack);
            epoch.curve.elapsed_us
        };
        assert_eq!(take(0, true), 0);
        assert_eq!(take(1_000, true), 1_000);
        assert_eq!(take(2_000, false), 1_000);
        assert_eq!(take(9_000_000, true), 1_000);
        assert_eq!(take(9_000_500, true), 1_500);
    }
}
