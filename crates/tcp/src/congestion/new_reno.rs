//! RFC 5681: slow start and congestion avoidance by bytes acknowledged.

use super::{Congestion, Controller};

/// The algorithm of RFC 5681; its loss recovery (RFC 6582) is in `recovery`.
pub(crate) struct NewReno;

impl Controller for NewReno {
    fn on_ack(window: &mut Congestion, mss: u32, acked: u32) {
        if window.in_slow_start() {
            // Equation 2: by at most one segment per acknowledgment, so that splitting ACKs gains nothing.
            window.cwnd = window.cwnd.saturating_add(acked.min(mss));
            return;
        }
        // One segment for each window's worth acknowledged (section 3.1, the byte-counting way).
        window.counted = window.counted.saturating_add(acked);
        if window.counted >= window.cwnd {
            window.counted -= window.cwnd;
            window.cwnd = window.cwnd.saturating_add(mss);
        }
    }

    fn reduced(_window: &Congestion, mss: u32, flight: u32) -> u32 {
        // Equation 4.
        (flight / 2).max(2 * mss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_start_doubles_in_a_round_trip() {
        let mut window = Congestion { cwnd: 10_000, ssthresh: 1 << 30, counted: 0 };
        for _ in 0..10 {
            NewReno::on_ack(&mut window, 1_000, 1_000);
        }
        assert_eq!(window.cwnd, 20_000);
    }

    #[test]
    fn congestion_avoidance_adds_a_segment_in_a_round_trip() {
        let mut window = Congestion { cwnd: 10_000, ssthresh: 10_000, counted: 0 };
        for _ in 0..10 {
            NewReno::on_ack(&mut window, 1_000, 1_000);
        }
        assert_eq!(window.cwnd, 11_000);
    }

    #[test]
    fn one_acknowledgment_of_much_data_is_one_step_of_slow_start() {
        let mut window = Congestion { cwnd: 10_000, ssthresh: 1 << 30, counted: 0 };
        NewReno::on_ack(&mut window, 1_000, 9_000);
        assert_eq!(window.cwnd, 11_000);
    }

    #[test]
    fn a_loss_halves_the_flight_but_leaves_two_segments() {
        let window = Congestion { cwnd: 10_000, ssthresh: 1 << 30, counted: 0 };
        assert_eq!(NewReno::reduced(&window, 1_000, 9_000), 4_500);
        assert_eq!(NewReno::reduced(&window, 1_000, 1_000), 2_000);
    }
}
