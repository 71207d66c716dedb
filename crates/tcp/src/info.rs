//! Figures of a connection, for people and their tools.

use freeway_base::Duration;

use crate::state::State;
use crate::tcb::{Marks, Tcb};

/// What a connection knows of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Info {
    /// The state.
    pub state: State,
    /// Smoothed round-trip time; `None` before the first measurement.
    pub srtt: Option<Duration>,
    /// Variation of the round-trip time.
    pub rttvar: Duration,
    /// How often the retransmission time-out is doubled at the moment.
    pub backoff: u8,
    /// Congestion window, in bytes.
    pub cwnd: u32,
    /// Slow-start threshold, in bytes; very large before the first loss.
    pub ssthresh: u32,
    /// Bytes sent and not acknowledged.
    pub in_flight: u32,
    /// The peer's window, in bytes.
    pub snd_wnd: u32,
    /// Our window as promised, in bytes.
    pub rcv_wnd: u32,
    /// Payload bytes of a full segment.
    pub mss: u16,
    /// The peer's window shift, and ours.
    pub window_scales: (u8, u8),
    /// Whether segments carry timestamps.
    pub timestamps: bool,
    /// Whether both sides understand selective acknowledgments.
    pub sack: bool,
    /// Retransmissions of the same data so far.
    pub retries: u8,
    /// Segments retransmitted in all; stops at 65535.
    pub retransmitted: u16,
}

impl Tcb {
    /// Figures of the connection.
    pub fn info(&self) -> Info {
        Info {
            state: self.state,
            srtt: self.rtt.is_known().then(|| self.rtt.smoothed()),
            rttvar: self.rtt.variation(),
            backoff: self.backoff,
            cwnd: self.congestion.cwnd,
            ssthresh: self.congestion.ssthresh,
            in_flight: self.in_flight(),
            snd_wnd: self.snd_wnd,
            rcv_wnd: self.receive_window(),
            mss: self.mss,
            window_scales: (self.scales.theirs() as u8, self.scales.ours() as u8),
            timestamps: self.marks.contains(Marks::TIMESTAMPS),
            sack: self.marks.contains(Marks::SACK),
            retries: self.retries,
            retransmitted: self.retransmitted,
        }
    }
}
