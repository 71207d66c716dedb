//! A segment arrives.
//!
//! First the common case, decided by comparisons within the TCB's first cache line (Jacobson's header
//! prediction); then the steps of RFC 9293, section 3.10.7, in their order.

use core::ops::ControlFlow;

use freeway_wire::tcp::{Flags, SeqNumber};

use crate::clock::Tick;
use crate::config::Context;
use crate::outcome::{Accept, DropReason, Held, Outcome, Reply};
use crate::recovery::Flight;
use crate::reset::reset_for;
use crate::segment::Arrival;
use crate::state::State;
use crate::tcb::{Marks, Tcb};

/// A segment as the steps see it: cut to the window on the way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trimmed {
    /// The first byte that is kept.
    pub(crate) seq: SeqNumber,
    /// Bytes of payload before it.
    pub(crate) offset: u32,
    /// Bytes kept.
    pub(crate) len: u32,
    /// A FIN stands behind them.
    pub(crate) fin: bool,
}

/// Whether the steps go on to the next one.
pub(crate) type Step<T = ()> = ControlFlow<(), T>;

/// Control bits that decide what a segment is. PSH is of no consequence here, ECN's bits neither.
const DECISIVE: Flags = Flags::FIN.union(Flags::SYN).union(Flags::RST).union(Flags::URG).union(Flags::ACK);

impl Tcb {
    /// A segment for this connection has arrived (RFC 9293, section 3.10.7).
    ///
    /// Payload that the outcome accepts in order counts as received: the caller has made sure that it can keep
    /// it. What comes of it goes into `outcome`, a fresh one: large as that is, the hot path would feel each copy.
    /// Never panics, whatever the segment says.
    #[inline]
    pub fn on_segment(
        &mut self,
        cx: &Context<'_>,
        arrival: &Arrival<'_>,
        held: &Held,
        flight: Option<&mut Flight>,
        outcome: &mut Outcome,
    ) {
        if self.is_predicted(arrival, held) {
            self.take_predicted(cx, arrival, held, flight, outcome);
        } else {
            self.take_any(cx, arrival, held, flight, outcome);
        }
    }

    /// The next segment in order, or an acknowledgment of new data, while nothing else is going on.
    #[inline]
    fn is_predicted(&self, arrival: &Arrival<'_>, held: &Held) -> bool {
        let repr = arrival.repr;
        let special = Marks::UNEVEN.union(Marks::PERSIST).union(Marks::FORCE);
        let acked = repr.ack.distance_from(self.snd_una);
        self.state == State::Established
            && repr.flags.intersection(DECISIVE) == Flags::ACK
            && repr.seq == self.rcv_nxt
            && !self.marks.intersects(special)
            && acked <= self.in_flight()
            && (acked > 0 || arrival.payload_len > 0)
            && arrival.payload_len <= self.receive_window()
            && !held.out_of_order
            && self.snd_wnd != 0
            && repr.window != 0
            && repr.options.sack.is_empty()
            && self.timestamp_is_newer(arrival)
    }

    /// The timestamp agrees with what was negotiated, and is not old (no doubt about `ts_recent` itself).
    #[inline]
    fn timestamp_is_newer(&self, arrival: &Arrival<'_>) -> bool {
        match arrival.repr.options.timestamps {
            Some(stamps) => {
                self.marks.contains(Marks::TIMESTAMPS)
                    && stamps.value.wrapping_sub(self.ts_recent) as i32 >= 0
            }
            None => !self.marks.contains(Marks::TIMESTAMPS),
        }
    }

    #[inline]
    fn take_predicted(
        &mut self,
        cx: &Context<'_>,
        arrival: &Arrival<'_>,
        held: &Held,
        flight: Option<&mut Flight>,
        outcome: &mut Outcome,
    ) {
        self.last_heard = Tick::at(cx.now);
        self.remember_timestamp(arrival);
        self.set_window(arrival);
        self.take_mark(cx, arrival, held, outcome);
        if self.snd_una != arrival.repr.ack {
            self.on_progress(cx, arrival, flight, outcome);
        }
        if arrival.payload_len > 0 {
            let seq = self.rcv_nxt;
            self.take_in_order(cx, arrival.payload_len, held);
            let len = arrival.payload_len;
            outcome.accept = Some(Accept { offset: 0, len, seq, in_order: true, fin: false });
        }
    }

    #[cold]
    #[inline(never)]
    fn take_any(
        &mut self,
        cx: &Context<'_>,
        arrival: &Arrival<'_>,
        held: &Held,
        flight: Option<&mut Flight>,
        outcome: &mut Outcome,
    ) {
        let _ = match self.state {
            State::Closed => self.in_closed(arrival, outcome),
            State::SynSent => self.in_syn_sent(cx, arrival, held, outcome),
            State::TimeWait => self.in_time_wait(arrival, outcome),
            _ => self.in_order_of_the_rfc(cx, arrival, held, flight, outcome),
        };
    }

    /// Section 3.10.7.4: otherwise (SYN-RECEIVED and the synchronized states).
    fn in_order_of_the_rfc(
        &mut self,
        cx: &Context<'_>,
        arrival: &Arrival<'_>,
        held: &Held,
        flight: Option<&mut Flight>,
        outcome: &mut Outcome,
    ) -> Step {
        // Fast Open: the peer's SYN once more; our SYN-ACK was lost, or is late. Its number set the window.
        let controls = Flags::SYN.union(Flags::ACK).union(Flags::RST);
        if self.state == State::SynReceived
            && self.marks.contains(Marks::FAST_OPEN)
            && arrival.repr.flags.intersection(controls) == Flags::SYN
            && arrival.repr.seq == self.snd_wl1
        {
            self.marks.insert(Marks::SYN_NOW);
            return Step::Break(());
        }
        // RFC 7323, section 5.3, R1 comes before everything else.
        self.check_timestamp(cx, arrival, held, outcome)?;
        // First, check sequence number. A reset is looked at against the sequence numbers by a rule of its own.
        let mut trimmed = self.check_sequence(cx, arrival, held, outcome)?;
        // Second, check the RST bit.
        self.check_reset(cx, arrival, held, outcome)?;
        // Third, check security: historic.
        // Fourth, check the SYN bit.
        self.check_syn(cx, arrival, held, outcome)?;
        // Fifth, check the ACK field.
        self.last_heard = Tick::at(cx.now);
        self.check_ack(cx, arrival, held, flight, outcome)?;
        self.remember_timestamp(arrival);
        // Sixth, check the URG bit: urgent data is delivered in line.
        self.take_mark(cx, arrival, held, outcome);
        // Seventh, process the segment text.
        self.take_text(cx, &mut trimmed, held, outcome);
        // Eighth, check the FIN bit.
        self.take_fin(cx, &trimmed, outcome);
        Step::Continue(())
    }

    /// Section 3.10.7.1.
    fn in_closed(&self, arrival: &Arrival<'_>, outcome: &mut Outcome) -> Step {
        outcome.dropped = Some(DropReason::Closed);
        if let Some(reset) = reset_for(arrival.repr, arrival.payload_len) {
            outcome.reply = Reply::Reset(reset);
        }
        Step::Break(())
    }

    /// A caller that keeps the TCB in TIME-WAIT, instead of a [`TimeWait`](crate::TimeWait) record: old segments
    /// are acknowledged, resets ignored (RFC 1337).
    fn in_time_wait(&mut self, arrival: &Arrival<'_>, outcome: &mut Outcome) -> Step {
        outcome.dropped = Some(DropReason::Closed);
        if !arrival.has(Flags::RST) && arrival.sequence_len() > 0 {
            self.marks.insert(Marks::ACK_NOW);
        }
        Step::Break(())
    }
}
