//! RFC 5681: a segment more each round trip, half after a loss, by bytes acknowledged.

use super::{Ack, Congestion, Controller, Epoch};

/// The algorithm of RFC 5681; its loss recovery (RFC 6582) is in `recovery`.
pub(crate) struct NewReno;

impl Controller for NewReno {
    fn avoid(window: &mut Congestion, _: Option<&mut Epoch>, mss: u32, ack: &Ack) {
        let count = window.memory;
        window.memory = add_one_each_round(window, count, mss, ack.bytes);
    }

    fn reduced(window: &mut Congestion, _: Option<&mut Epoch>, flight: u32) -> u32 {
        window.memory = 0;
        // Equation 4.
        flight >> 1
    }
}

/// One segment for each window's worth acknowledged (section 3.1, the byte-counting way). Returns the new count.
///
/// A round trip's worth is the whole segments of the window: what is short of one is not sent.
pub(super) fn add_one_each_round(window: &mut Congestion, count: u32, mss: u32, acked: u32) -> u32 {
    let count = count.saturating_add(acked);
    if count.saturating_add(mss) <= window.cwnd {
        return count;
    }
    // What is left over never saves up for more than the next step.
    let whole = window.cwnd - window.cwnd % mss.max(1);
    let rest = count.saturating_sub(whole).min(whole);
    window.cwnd = window.cwnd.saturating_add(mss);
    rest
}

/// The same without a count: each acknowledgment adds mss * acked / cwnd, the window rounded up to a power of two, so
/// that the growth is between half and all of what RFC 5681 allows.
pub(super) fn add_one_at_most(window: &mut Congestion, mss: u32, acked: u32) {
    let acked = acked.min(window.cwnd);
    let bits = u32::BITS - window.cwnd.leading_zeros();
    window.cwnd = window.cwnd.saturating_add(((u64::from(mss) * u64::from(acked)) >> bits) as u32);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MSS, acked, window};
    use super::*;

    #[test]
    fn congestion_avoidance_adds_a_segment_in_a_round_trip() {
        let mut window = window(10 * MSS, 10 * MSS);
        for _ in 0..10 {
            NewReno::avoid(&mut window, None, MSS, &acked(MSS));
        }
        assert_eq!(window.cwnd, 11 * MSS);
    }

    #[test]
    fn a_round_trip_is_as_many_whole_segments_as_the_window_has() {
        let mut window = window(3 * MSS + MSS / 2, 3 * MSS + MSS / 2);
        for segments in 3..10 {
            for _ in 0..segments {
                assert_eq!(window.cwnd, segments * MSS + MSS / 2);
                NewReno::avoid(&mut window, None, MSS, &acked(MSS));
            }
        }
        assert_eq!(window.cwnd, 10 * MSS + MSS / 2);
    }

    #[test]
    fn an_acknowledgment_of_everything_adds_one_segment() {
        let mut window = window(10 * MSS, 10 * MSS);
        NewReno::avoid(&mut window, None, MSS, &acked(10 * MSS));
        assert_eq!(window.cwnd, 11 * MSS);
        NewReno::avoid(&mut window, None, MSS, &acked(u32::MAX));
        assert_eq!(window.cwnd, 12 * MSS);
        // Of that one, no more than one further step is left.
        NewReno::avoid(&mut window, None, MSS, &acked(0));
        assert_eq!(window.cwnd, 12 * MSS);
        NewReno::avoid(&mut window, None, MSS, &acked(MSS));
        assert_eq!(window.cwnd, 13 * MSS);
    }

    #[test]
    fn a_loss_halves_the_flight_and_starts_the_count_again() {
        let mut window = window(10 * MSS, 10 * MSS);
        NewReno::avoid(&mut window, None, MSS, &acked(9 * MSS));
        assert_eq!(NewReno::reduced(&mut window, None, 9 * MSS), 4 * MSS + MSS / 2);
        assert_eq!(window.memory, 0);
    }

    #[test]
    fn without_a_count_a_round_adds_between_half_a_segment_and_one() {
        for segments in [4, 10, 16, 31, 32, 33, 1_000] {
            let mut window = window(segments * MSS, segments * MSS);
            for _ in 0..segments {
                add_one_at_most(&mut window, MSS, MSS);
            }
            let grown = window.cwnd - segments * MSS;
            // Each acknowledgment may lose a fraction of a byte.
            assert!(grown + segments >= MSS / 2 && grown <= MSS, "{segments}: {grown}");
        }
    }
}
