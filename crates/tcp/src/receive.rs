//! Seventh, process the segment text; eighth, check the FIN bit (RFC 9293, section 3.10.7.4); and when to
//! acknowledge (RFC 9293, section 3.8.6.3; RFC 5681, section 4.2).

use crate::arrival::Trimmed;
use crate::clock::Tick;
use crate::config::Context;
use crate::outcome::{Accept, DropReason, Events, Held, Outcome};
use crate::state::State;
use crate::tcb::{Marks, Tcb};

impl Tcb {
    /// Seventh, process the segment text.
    pub(crate) fn take_text(
        &mut self,
        cx: &Context<'_>,
        trimmed: &mut Trimmed,
        held: &Held,
        outcome: &mut Outcome,
    ) {
        let &mut Trimmed { seq, offset, len, fin } = trimmed;
        if len == 0 && !fin {
            return;
        }
        if !self.state.can_receive() {
            // The peer has sent its FIN already: this should not occur.
            outcome.dropped = Some(DropReason::AfterFin);
            self.marks.insert(Marks::ACK_NOW);
            trimmed.fin = false;
            return;
        }
        let in_order = seq == self.rcv_nxt;
        if in_order {
            if len > 0 {
                self.take_in_order(cx, len, held);
                outcome.accept = Some(Accept { offset, len, seq, in_order, fin: false });
            }
        } else {
            // Out of order: kept (SHLD-31) and acknowledged at once (RFC 5681, section 4.2). Its FIN waits too.
            self.marks.insert(Marks::ACK_NOW);
            outcome.accept = Some(Accept { offset, len, seq, in_order, fin });
            trimmed.fin = false;
        }
    }

    /// Payload at `rcv_nxt`, all of it within the window.
    #[inline]
    pub(crate) fn take_in_order(&mut self, cx: &Context<'_>, len: u32, held: &Held) {
        self.rcv_nxt += len;
        let whole = u16::try_from(len).unwrap_or(u16::MAX).min(cx.config.mss);
        self.peer_segment = self.peer_segment.max(whole);
        self.owe_acknowledgment(cx, held);
    }

    /// Delayed acknowledgments: at least every second full segment (MUST-40, SHLD-19), at once while the
    /// connection is young or a gap is being filled, otherwise within the configured delay (SHLD-18).
    #[inline]
    fn owe_acknowledgment(&mut self, cx: &Context<'_>, held: &Held) {
        if self.quick_acks > 0 {
            self.quick_acks -= 1;
            self.marks.insert(Marks::ACK_NOW);
            return;
        }
        let unacknowledged = self.rcv_nxt.distance_from(self.last_ack);
        let Some(delay) = cx.config.delayed_ack else {
            self.marks.insert(Marks::ACK_NOW);
            return;
        };
        if held.out_of_order || unacknowledged >= 2 * u32::from(self.peer_segment) {
            self.marks.insert(Marks::ACK_NOW);
        } else if !self.marks.contains(Marks::ACK_ARMED) {
            self.marks.insert(Marks::ACK_ARMED);
            if !self.marks.contains(Marks::PACED) {
                self.ack_at = Tick::after(cx.now, delay);
            }
        }
    }

    /// Eighth, check the FIN bit.
    pub(crate) fn take_fin(&mut self, cx: &Context<'_>, trimmed: &Trimmed, outcome: &mut Outcome) {
        if trimmed.fin && trimmed.seq + trimmed.len == self.rcv_nxt && self.state.can_receive() {
            outcome.events |= self.consume_fin(cx);
        }
    }

    /// The peer's FIN is next: past it, and acknowledged at once, unless that may wait for our own.
    fn consume_fin(&mut self, cx: &Context<'_>) -> Events {
        self.rcv_nxt += 1;
        self.rcv_edge = self.rcv_edge.max(self.rcv_nxt);
        match cx.config.delayed_ack {
            Some(delay) if self.fin_may_wait(cx) => {
                self.marks.insert(Marks::ACK_ARMED);
                self.ack_at = Tick::after(cx.now, delay);
            }
            _ => self.marks.insert(Marks::ACK_NOW),
        }
        match self.state {
            State::Established => self.state = State::CloseWait,
            // Had our FIN been acknowledged, the fifth step would have moved on to FIN-WAIT-2.
            State::FinWait1 => self.state = State::Closing,
            State::FinWait2 => return Events::PEER_FIN | self.enter_time_wait(cx),
            _ => {}
        }
        Events::PEER_FIN
    }

    /// The peer has sent data before, no full segment is unacknowledged, and nothing else waits at `ack_at`.
    fn fin_may_wait(&self, cx: &Context<'_>) -> bool {
        let has_sent_data = self.quick_acks < cx.config.quick_acks;
        let unacknowledged = self.rcv_nxt.distance_from(self.last_ack);
        cx.config.delayed_fin_ack
            && self.state == State::Established
            && has_sent_data
            && unacknowledged <= u32::from(self.peer_segment)
            && !self.marks.intersects(Marks::ACK_NOW.union(Marks::ACK_ARMED).union(Marks::PACED))
    }

    /// Reassembly has become contiguous for `len` more bytes behind `rcv_nxt`, and, if `fin`, a FIN behind them.
    ///
    /// Acknowledged at once, so that the peer learns of the repair (RFC 5681, section 4.2). What lies beyond the
    /// window was never accepted, and is not counted.
    pub fn on_gap_filled(&mut self, cx: &Context<'_>, len: u32, fin: bool) -> Events {
        if !self.state.can_receive() {
            return Events::empty();
        }
        let within = len.min(self.receive_window());
        self.rcv_nxt += within;
        self.marks.insert(Marks::ACK_NOW);
        if fin && within == len { self.consume_fin(cx) } else { Events::empty() }
    }
}
