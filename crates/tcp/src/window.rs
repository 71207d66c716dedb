//! The receive window: how much the peer may send, and when to tell it of more.
//!
//! ```text
//!              rcv_nxt          rcv_edge                     rcv_nxt + room
//!   ─ received ───┼── promised ─────┼────── could be promised ──────┼──
//!                 └── RCV.WND ──────┘
//! ```
//!
//! The edge never moves back (RFC 9293, SHLD-14) and moves forward in worthwhile steps (MUST-39): what the peer
//! was once told stays true, whatever the application reads or does not read.

use crate::config::{Config, Context};
use crate::outcome::Held;
use crate::tcb::{Marks, Tcb};

/// Half of the sequence space would be ambiguous; a quarter is the most a window may span (RFC 7323, 2.3).
const WINDOW_MAX: u32 = 1 << 30;

impl Tcb {
    /// Moves the right edge as far as is worthwhile, and returns the window field for the next segment.
    pub(crate) fn advertise(&mut self, config: &Config, held: &Held) -> u16 {
        let room = self.receive_room(config, held);
        let window = self.receive_window();
        let shift = self.scales.ours();
        let unit = 1u32 << shift;
        let wider = room & !(unit - 1);
        let is_worthwhile = room >= window.saturating_add(self.worthwhile(config)) && wider >= window;
        let bytes = if is_worthwhile { wider } else { self.unretracted(config, held, window, unit) };
        let field = (bytes >> shift).min(u32::from(u16::MAX));
        self.rcv_edge = self.rcv_edge.max(self.rcv_nxt + (field << shift));
        field as u16
    }

    /// A promised window that is no multiple of the unit is rounded up, so that the edge seems not to move back,
    /// unless a stream of tiny segments has stretched it by an eighth of the buffer: then the peer is told a little
    /// less than was promised, and what was promised is taken nevertheless (RFC 7323, section 2.4).
    fn unretracted(&self, config: &Config, held: &Held, window: u32, unit: u32) -> u32 {
        let rounded = window.saturating_add(unit - 1) & !(unit - 1);
        let buffer = self.receive_buffer(config);
        let limit = buffer.saturating_add(buffer / 8).saturating_add(unit);
        if held.unread.saturating_add(rounded) <= limit { rounded } else { window }
    }

    /// What the window field can express, at most.
    fn receive_buffer(&self, config: &Config) -> u32 {
        config.receive_window.min(WINDOW_MAX).min(u32::from(u16::MAX) << self.scales.ours())
    }

    fn receive_room(&self, config: &Config, held: &Held) -> u32 {
        self.receive_buffer(config).saturating_sub(held.unread)
    }

    /// The least step of the right edge: min(MSS, half of the buffer).
    fn worthwhile(&self, config: &Config) -> u32 {
        u32::from(config.mss).min(self.receive_buffer(config) / 2).max(1)
    }

    /// The application has read: tells the peer of the room, if that is worth a segment of its own.
    ///
    /// It is when the window was (nearly) closed, or when it grows by half of the buffer; in between, the next
    /// acknowledgment carries it.
    pub fn on_read(&mut self, cx: &Context<'_>, held: &Held) {
        if !self.state.can_receive() {
            return;
        }
        let buffer = self.receive_buffer(cx.config);
        let window = self.receive_window();
        let gain = self.receive_room(cx.config, held).saturating_sub(window);
        let nearly_closed = window < buffer / 4 || window < u32::from(cx.config.mss);
        let two_segments = (2 * u32::from(cx.config.mss)).min(buffer / 2).max(1);
        if gain >= buffer / 2 && gain > 0 || nearly_closed && gain >= two_segments {
            self.marks.insert(Marks::ACK_NOW);
        }
    }
}
