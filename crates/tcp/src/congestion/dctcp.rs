//! DCTCP (RFC 8257): the more of a window was marked, the further it falls.
//!
//! The receiver's half, echoing each mark exactly, is in `ecn`.

use super::{Ack, Congestion, Controller, Epoch, new_reno};

/// The algorithm of RFC 8257, section 3.3.
pub(crate) struct Dctcp;

/// g, 1/16, as a shift.
const GAIN_SHIFT: u32 = 4;
/// 1, as alpha counts.
const ONE: u32 = 1 << 16;

/// The observation window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Marked {
    /// DCTCP.BytesAcked.
    acked: u32,
    /// DCTCP.BytesMarked.
    marked: u32,
    /// Bytes acknowledged since the window last grew.
    count: u32,
}

impl Marked {
    pub(super) const fn new() -> Self {
        Self { acked: 0, marked: 0, count: 0 }
    }
}

/// Steps 3 to 9: counts what is acknowledged, and at the end of a round moves alpha towards the part that was marked.
pub(super) fn observe(window: &mut Congestion, epoch: &mut Epoch, ack: &Ack) {
    let ends = epoch.round_ends();
    let seen = &mut epoch.marks;
    seen.acked = seen.acked.saturating_add(ack.bytes);
    if ack.marked {
        seen.marked = seen.marked.saturating_add(ack.bytes);
    }
    if ends && seen.acked > 0 {
        // One division a round trip.
        let part = ((u64::from(seen.marked) << 16) / u64::from(seen.acked)).min(u64::from(ONE)) as u32;
        let alpha = alpha(window);
        set_alpha(window, alpha - (alpha >> GAIN_SHIFT) + (part >> GAIN_SHIFT));
        seen.acked = 0;
        seen.marked = 0;
    }
}

/// DCTCP.Alpha in 65536ths; 1 at first (step 1).
const fn alpha(window: &Congestion) -> u32 {
    ONE.saturating_sub(window.memory)
}

const fn set_alpha(window: &mut Congestion, alpha: u32) {
    window.memory = ONE.saturating_sub(alpha);
}

impl Controller for Dctcp {
    fn avoid(window: &mut Congestion, epoch: Option<&mut Epoch>, mss: u32, ack: &Ack) {
        match epoch {
            Some(epoch) => {
                let count = epoch.marks.count;
                epoch.marks.count = new_reno::add_one_each_round(window, count, mss, ack.bytes);
            }
            None => new_reno::add_one_at_most(window, mss, ack.bytes),
        }
    }

    fn reduced(_: &mut Congestion, _: Option<&mut Epoch>, flight: u32) -> u32 {
        // Section 3.5: to a loss it reacts as RFC 5681 does.
        flight >> 1
    }

    fn marked(window: &mut Congestion, epoch: Option<&mut Epoch>, flight: u32) -> u32 {
        if epoch.is_none() {
            // Nothing was counted: as RFC 3168 says.
            return flight >> 1;
        }
        // Step 9: cwnd * (1 - alpha / 2).
        let cut = (u64::from(window.cwnd) * u64::from(alpha(window))) >> 17;
        window.cwnd - cut as u32
    }
}

#[cfg(test)]
mod tests {
    use freeway_wire::tcp::SeqNumber;

    use super::super::tests::{MSS, acked, window};
    use super::*;

    /// Rounds of ten acknowledgments, of which the first `marked` echo a mark.
    fn rounds(window: &mut Congestion, epoch: &mut Epoch, rounds: u32, marked: u32) {
        for _ in 0..rounds {
            let base = SeqNumber(0);
            let end = base + 10 * MSS;
            epoch.end_ack(&Ack { nxt: end, ..acked(MSS) });
            for index in 1..=10 {
                let ack = Ack { una: base + index * MSS, nxt: end, marked: index <= marked, ..acked(MSS) };
                epoch.begin_ack(window.cwnd, &ack);
                observe(window, epoch, &ack);
            }
            let marks = epoch.marks;
            *epoch = Epoch::new();
            epoch.marks = marks;
        }
    }

    #[test]
    fn alpha_begins_at_one_and_follows_the_marked_part() {
        let (mut window, mut epoch) = (window(10 * MSS, 10 * MSS), Epoch::new());
        assert_eq!(alpha(&window), ONE);
        let mut exact = 1.0;
        for marked in [0, 0, 3, 10, 0, 1, 10, 10, 0, 0, 0, 5] {
            rounds(&mut window, &mut epoch, 1, marked);
            exact = exact * 15.0 / 16.0 + f64::from(marked) / 10.0 / 16.0;
            let found = f64::from(alpha(&window)) / 65_536.0;
            assert!((found - exact).abs() < 0.001, "{found} {exact}");
        }
    }

    #[test]
    fn alpha_settles_at_the_part_and_nearly_at_nothing() {
        let (mut window, mut epoch) = (window(10 * MSS, 10 * MSS), Epoch::new());
        rounds(&mut window, &mut epoch, 300, 2);
        assert!(alpha(&window).abs_diff(ONE / 5) < 40);
        rounds(&mut window, &mut epoch, 300, 0);
        assert!(alpha(&window) < 16);
        assert!(Dctcp::marked(&mut window, Some(&mut epoch), 0) > window.cwnd - MSS / 10);
        rounds(&mut window, &mut epoch, 300, 10);
        assert!(alpha(&window) > ONE - 16);
        assert!(Dctcp::marked(&mut window, Some(&mut epoch), 0).abs_diff(5 * MSS) < 10);
    }

    #[test]
    fn a_loss_and_marks_that_nobody_counted_halve() {
        let mut window = window(10 * MSS, 10 * MSS);
        set_alpha(&mut window, 100);
        assert_eq!(Dctcp::reduced(&mut window, Some(&mut Epoch::new()), 8 * MSS), 4 * MSS);
        assert_eq!(Dctcp::marked(&mut window, None, 8 * MSS), 4 * MSS);
    }
}
