//! Slow start, counted in bytes (RFC 5681, section 3.1; RFC 3465).

use super::hystart;
use super::{Ack, Congestion};
use crate::config::Config;

/// L of RFC 3465, section 2.1: segments that one acknowledgment may add.
const SEGMENTS_PER_ACK: u32 = 2;

/// What HyStart++ says about growing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Caution {
    /// HyStart++ is not in use.
    None,
    /// No sign of a queue.
    Standard,
    /// Conservative slow start: round trips have become longer.
    Conservative,
    /// They stayed longer: on to congestion avoidance.
    Stop,
}

/// Grows by what was acknowledged: by two segments at most, so that stretched acknowledgments count and split ones do
/// not, or by one while the window refills after a time-out, when acknowledgments may tell of segments that had left
/// the network before (RFC 3465, section 2.3). With HyStart++ the bounds are its own.
pub(crate) fn grow(window: &mut Congestion, config: &Config, caution: Caution, mss: u32, ack: &Ack) {
    let most = match caution {
        _ if ack.after_timeout => mss,
        _ if let Some(step) = config.slow_start_step => mss.saturating_mul(u32::from(step)),
        Caution::None => SEGMENTS_PER_ACK * mss,
        _ if config.pacing => u32::MAX,
        _ => hystart::SEGMENTS_PER_ACK * mss,
    };
    let step = ack.bytes.min(most);
    let step = if caution == Caution::Conservative { step >> hystart::GROWTH_SHIFT } else { step };
    window.cwnd = window.cwnd.saturating_add(step).min(window.ssthresh);
}
