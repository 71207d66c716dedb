//! The receive window: how much the peer may send, when to tell it of more, and how the buffer behind it grows.
//!
//! ```text
//!              rcv_nxt          rcv_edge                     rcv_nxt + room
//!   ─ received ───┼── promised ─────┼────── could be promised ──────┼──
//!                 └── RCV.WND ──────┘
//! ```
//!
//! The edge never moves back (RFC 9293, SHLD-14) and moves forward in worthwhile steps (MUST-39): what the peer
//! was once told stays true, whatever the application reads or does not read.
//!
//! The buffer begins at `receive_window` and grows, in steps of a half and a third, while the caller finds that the
//! application takes in a round trip all that the window lets through. While the caller is short of memory it stops
//! growing, and then counts as its first size again: the window shrinks as it fills, and nothing promised is taken back.

use crate::config::{Config, Context};
use crate::outcome::{Held, Pressure};
use crate::tcb::{Marks, Tcb};

/// Half of the sequence space would be ambiguous; a quarter is the most a window may span (RFC 7323, 2.3).
const WINDOW_MAX: u32 = 1 << 30;

/// How far the receive buffer has grown: 1, 1.5, 2, 3, 4, 6, ... times its first size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Growth(u8);

impl Growth {
    const MAX: Self = Self(40);

    #[inline]
    fn of(self, first: u32) -> u32 {
        let factor_2 = u64::from(2 + (self.0 & 1)) << (self.0 >> 1);
        u32::try_from((u64::from(first) * factor_2) >> 1).unwrap_or(u32::MAX)
    }
}

impl Config {
    /// The most that a receive buffer may grow to.
    pub(crate) fn receive_window_limit(&self) -> u32 {
        self.receive_window_max.max(self.receive_window).min(WINDOW_MAX)
    }
}

impl Tcb {
    /// Moves the right edge as far as is worthwhile, and returns the window field for the next segment.
    #[inline]
    pub(crate) fn advertise(&mut self, config: &Config, held: &Held) -> u16 {
        let buffer = self.receive_buffer(config, held);
        let room = buffer.saturating_sub(held.unread);
        let window = self.receive_window();
        let shift = self.scales.ours();
        let unit = 1u32 << shift;
        let wider = room & !(unit - 1);
        let is_worthwhile = room >= window.saturating_add(worthwhile(config, buffer)) && wider >= window;
        let bytes = if is_worthwhile { wider } else { unretracted(held.unread, buffer, window, unit) };
        let field = (bytes >> shift).min(u32::from(u16::MAX));
        self.rcv_edge = self.rcv_edge.max(self.rcv_nxt + (field << shift));
        field as u16
    }

    /// What is to be held for the peer at most, and what the window field can express.
    #[inline]
    fn receive_buffer(&self, config: &Config, held: &Held) -> u32 {
        let growth = if held.pressure == Pressure::High { Growth::default() } else { self.growth };
        let buffer = growth.of(config.receive_window).min(config.receive_window_limit());
        buffer.min(u32::from(u16::MAX) << self.scales.ours())
    }

    /// The application has read: tells the peer of the room, if that is worth a segment of its own. Returns whether it is,
    /// and [`poll_transmit`](Self::poll_transmit) has something to give.
    ///
    /// It is when the window would at least double, by a worthwhile step: so it is as long as it is small, and a
    /// window that is mostly open waits for the next acknowledgment to carry the news.
    #[inline]
    pub fn on_read(&mut self, cx: &Context<'_>, held: &Held) -> bool {
        let window = self.receive_window();
        let buffer = self.receive_buffer(cx.config, held);
        // Nearly always so: what is mostly open cannot double.
        if window > buffer / 2 {
            return false;
        }
        let gain = buffer.saturating_sub(held.unread).saturating_sub(window);
        let is_worthwhile = gain >= window && gain >= worthwhile(cx.config, buffer);
        if !is_worthwhile || !self.state.can_receive() {
            return false;
        }
        self.marks.insert(Marks::ACK_NOW);
        true
    }

    /// The application takes so much that a buffer of `wanted` bytes would not be idle: grows towards it. Acknowledgments
    /// tell the peer. Returns whether it has grown.
    pub fn widen_buffer(&mut self, cx: &Context<'_>, wanted: u32, pressure: Pressure) -> bool {
        let (first, limit) = (cx.config.receive_window, cx.config.receive_window_limit());
        let before = self.growth;
        if pressure == Pressure::High {
            // Half of it goes, for good: it has to be earned again.
            self.growth = Growth(before.0.saturating_sub(2));
            return false;
        }
        while pressure == Pressure::None
            && self.growth < Growth::MAX
            && self.growth.of(first) < wanted.min(limit)
        {
            self.growth.0 += 1;
        }
        self.growth > before
    }

    /// Bytes that the receive buffer has grown to.
    pub(crate) fn buffer_size(&self, config: &Config) -> u32 {
        self.receive_buffer(config, &Held::default())
    }

    /// The longest segment that the peer has sent, in bytes of payload; at first what peers without options send.
    #[inline]
    pub const fn peer_segment(&self) -> u16 {
        self.peer_segment
    }
}

/// The least step of the right edge: min(MSS, half of the buffer).
#[inline]
fn worthwhile(config: &Config, buffer: u32) -> u32 {
    u32::from(config.mss).min(buffer / 2).max(1)
}

/// A promised window that is no multiple of the unit is rounded up, so that the edge seems not to move back,
/// unless a stream of tiny segments has stretched it by an eighth of the buffer: then the peer is told a little
/// less than was promised, and what was promised is taken nevertheless (RFC 7323, section 2.4).
#[inline]
fn unretracted(unread: u32, buffer: u32, window: u32, unit: u32) -> u32 {
    let rounded = window.saturating_add(unit - 1) & !(unit - 1);
    let limit = buffer.saturating_add(buffer / 8).saturating_add(unit);
    if unread.saturating_add(rounded) <= limit { rounded } else { window }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_grows_by_halves_and_thirds_and_never_overflows() {
        let sizes = (0..8).map(|n| Growth(n).of(1_000));
        assert!(sizes.eq([1_000, 1_500, 2_000, 3_000, 4_000, 6_000, 8_000, 12_000]));
        assert_eq!(Growth(13).of(65_536), 6 << 20);
        assert_eq!(Growth::MAX.of(u32::MAX), u32::MAX);
        assert_eq!(Growth::MAX.of(1), 1 << 20);
    }
}
