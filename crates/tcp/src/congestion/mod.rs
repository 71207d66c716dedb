//! Congestion control: how much may be in flight (RFC 5681).
//!
//! The connection reports what happened; the controller moves the window. Everything else (which bytes are
//! lost, what to send again) is `recovery`'s. A new algorithm is a variant of [`Algorithm`], a file beside
//! `new_reno` that implements `Controller`, and an arm in each `match` below.

mod new_reno;

use new_reno::NewReno;

use crate::config::Config;

/// Which algorithm moves the congestion window.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Algorithm {
    /// RFC 5681 with RFC 6582.
    #[default]
    NewReno,
}

/// The state of every algorithm, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(crate) struct Congestion {
    /// What may be in flight.
    pub(crate) cwnd: u32,
    /// Below it the window doubles each round trip, above it grows by a segment.
    pub(crate) ssthresh: u32,
    /// The algorithm's own count: for NewReno bytes acknowledged since the window last grew.
    pub(crate) counted: u32,
}

/// What a controller keeps while data is in flight, in the connection's [`Flight`](crate::Flight).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Epoch {}

impl Epoch {
    pub(crate) const fn new() -> Self {
        Self {}
    }
}

/// What an algorithm decides.
pub(crate) trait Controller {
    /// New data was acknowledged, outside of fast recovery, while the window was what limited the sender.
    fn on_ack(window: &mut Congestion, mss: u32, acked: u32);

    /// Data was lost: how far the window falls, `flight` bytes being out.
    fn reduced(window: &Congestion, mss: u32, flight: u32) -> u32;
}

/// No window grows beyond what sequence numbers can tell apart.
const CWND_MAX: u32 = 1 << 30;

impl Congestion {
    /// The window of a new connection.
    pub(crate) fn new(config: &Config, mss: u32, syn_was_lost: bool) -> Self {
        let cwnd = if syn_was_lost { mss } else { initial_window(config, mss) };
        Self { cwnd, ssthresh: CWND_MAX, counted: 0 }
    }

    /// Whether the window doubles each round trip.
    pub(crate) const fn in_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    /// New data was acknowledged.
    pub(crate) fn on_ack(&mut self, algorithm: Algorithm, mss: u32, acked: u32) {
        match algorithm {
            Algorithm::NewReno => NewReno::on_ack(self, mss, acked),
        }
        self.cwnd = self.cwnd.min(CWND_MAX);
    }

    /// A loss was noticed by duplicate acknowledgments: the new ssthresh. `recovery` shapes the window.
    pub(crate) fn on_loss(&mut self, algorithm: Algorithm, mss: u32, flight: u32) {
        self.counted = 0;
        self.ssthresh = match algorithm {
            Algorithm::NewReno => NewReno::reduced(self, mss, flight),
        };
    }

    /// The retransmission timer expired: begin anew with one segment (RFC 5681, section 3.1). When the same data
    /// was sent again before, ssthresh stays (equation 4's condition).
    pub(crate) fn on_timeout(&mut self, algorithm: Algorithm, mss: u32, flight: u32, first: bool) {
        if first {
            self.on_loss(algorithm, mss, flight);
        }
        self.counted = 0;
        self.cwnd = mss;
    }

    /// Nothing was in flight for longer than the time-out: what was known of the path is old (RFC 5681, 4.1).
    pub(crate) fn after_idle(&mut self, config: &Config, mss: u32) {
        self.cwnd = self.cwnd.min(initial_window(config, mss));
        self.counted = 0;
    }
}

/// RFC 6928: min(10 MSS, max(2 MSS, 14600)), with the number of segments a setting.
fn initial_window(config: &Config, mss: u32) -> u32 {
    let segments = u32::from(config.initial_window.max(1));
    (segments * mss).min((2 * mss).max(segments * 1460))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_window_is_that_of_rfc_6928() {
        let config = Config::default();
        assert_eq!(initial_window(&config, 536), 5_360);
        assert_eq!(initial_window(&config, 1460), 14_600);
        assert_eq!(initial_window(&config, 4000), 14_600);
        assert_eq!(initial_window(&config, 8960), 17_920);
        assert_eq!(Congestion::new(&config, 1460, true).cwnd, 1460);
    }

    #[test]
    fn a_timeout_begins_anew_and_halves_only_once() {
        let mut window = Congestion { cwnd: 20_000, ssthresh: CWND_MAX, counted: 5 };
        window.on_timeout(Algorithm::NewReno, 1_000, 16_000, true);
        assert_eq!((window.cwnd, window.ssthresh), (1_000, 8_000));
        window.on_timeout(Algorithm::NewReno, 1_000, 1_000, false);
        assert_eq!((window.cwnd, window.ssthresh), (1_000, 8_000));
    }
}
