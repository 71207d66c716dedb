//! Is the segment acceptable at all? PAWS, sequence numbers, resets and SYNs: steps one to four of RFC 9293,
//! section 3.10.7.4, with RFC 7323, section 5, and RFC 5961, sections 3 and 4.

use freeway_base::Duration;
use freeway_wire::tcp::{Flags, SeqNumber};

use crate::arrival::{Step, Trimmed};
use crate::config::Context;
use crate::outcome::{DropReason, Events, Held, Outcome, Reply};
use crate::segment::Arrival;
use crate::state::State;
use crate::tcb::{Marks, Tcb};

/// How long TS.Recent can be believed when nothing arrives (RFC 7323, section 5.5).
const TIMESTAMP_LIFETIME: Duration = Duration::from_secs(24 * 86_400);

/// How far back a segment that was received twice is reported: no window is longer.
const DUPLICATE_REACH: u32 = 1 << 30;

impl Tcb {
    /// PAWS (RFC 7323, section 5.3, R1). Resets are exempt.
    pub(crate) fn check_timestamp(
        &mut self,
        cx: &Context<'_>,
        arrival: &Arrival<'_>,
        held: &Held,
        outcome: &mut Outcome,
    ) -> Step {
        if !self.marks.contains(Marks::TIMESTAMPS) || arrival.has(Flags::RST) {
            return Step::Continue(());
        }
        let Some(stamps) = arrival.repr.options.timestamps else {
            // Section 3.2: SHOULD be dropped. A SYN is none of this connection's: it is challenged below.
            if arrival.has(Flags::SYN) || !cx.config.require_timestamps {
                return Step::Continue(());
            }
            outcome.dropped = Some(DropReason::MissingTimestamp);
            return Step::Break(());
        };
        let is_old = (stamps.value.wrapping_sub(self.ts_recent) as i32) < 0;
        if is_old && self.last_heard.elapsed(cx.now) < TIMESTAMP_LIFETIME {
            outcome.dropped = Some(DropReason::OldTimestamp);
            // An original that its repetition has overtaken is old, and a duplicate.
            self.note_duplicate(arrival, outcome);
            self.refuse(cx, arrival, held, outcome);
            return Step::Break(());
        }
        if is_old {
            // R2's exception: TS.Recent is too old to compare with; what comes now is the new one.
            self.ts_recent = stamps.value;
        }
        Step::Continue(())
    }

    /// RFC 7323, section 4.3: TS.Recent follows segments that reach back to what was last acknowledged, so that
    /// a delayed acknowledgment echoes the earliest of them.
    #[inline]
    pub(crate) fn remember_timestamp(&mut self, arrival: &Arrival<'_>) {
        if let Some(stamps) = arrival.repr.options.timestamps
            && self.marks.contains(Marks::TIMESTAMPS)
            && stamps.value.wrapping_sub(self.ts_recent) as i32 >= 0
            && arrival.repr.seq.is_at_or_before(self.last_ack)
        {
            self.ts_recent = stamps.value;
        }
    }

    /// First, check sequence number: the table of section 3.4, and the segment cut to the window.
    pub(crate) fn check_sequence(
        &mut self,
        cx: &Context<'_>,
        arrival: &Arrival<'_>,
        held: &Held,
        outcome: &mut Outcome,
    ) -> Step<Trimmed> {
        self.note_duplicate(arrival, outcome);
        let Some(trimmed) = self.trim(arrival) else {
            outcome.dropped = Some(DropReason::OutOfWindow);
            // RFC 5961, section 3: outside of the window a reset is dropped without an answer.
            if !arrival.has(Flags::RST) {
                self.refuse(cx, arrival, held, outcome);
                if let Reply::Challenge(answer) = outcome.reply
                    && self.is_probe(arrival)
                {
                    outcome.reply = Reply::Alive(answer);
                }
            }
            return Step::Break(());
        };
        let taken = trimmed.len + u32::from(trimmed.fin);
        if taken < arrival.sequence_len() && !arrival.has(Flags::RST) {
            // A part of it lies outside: what was lost is the acknowledgment, or the peer must learn the window.
            self.marks.insert(Marks::ACK_NOW);
            if taken == 0 {
                outcome.dropped = Some(DropReason::ZeroWindow);
            }
        }
        Step::Continue(trimmed)
    }

    /// Whether a segment without text asks whether this end is there (RFC 9293, section 3.8.4): its number is the last
    /// that was received, and what it acknowledges is in flight or has just been.
    fn is_probe(&self, arrival: &Arrival<'_>) -> bool {
        let ack = arrival.repr.ack;
        arrival.sequence_len() == 0
            && arrival.has(Flags::ACK)
            && arrival.repr.seq + 1 == self.rcv_nxt
            && ack.is_at_or_after(self.snd_una)
            && ack.is_at_or_before(self.snd_nxt)
    }

    /// The part of a segment's text that was received before, in order (RFC 2883, section 4).
    fn note_duplicate(&self, arrival: &Arrival<'_>, outcome: &mut Outcome) {
        let (seq, len) = (arrival.repr.seq, arrival.payload_len);
        let is_recent = seq.is_before(self.rcv_nxt)
            && self.rcv_nxt.distance_from(seq) <= DUPLICATE_REACH
            && len <= DUPLICATE_REACH;
        let is_text = len > 0 && !arrival.has(Flags::SYN) && !arrival.has(Flags::RST);
        if is_text && is_recent && self.selects() {
            outcome.duplicate = Some((seq, (seq + len).min(self.rcv_nxt)));
        }
    }

    /// The part of a segment that lies in the window; `None` if there is none.
    ///
    /// A segment that begins at `rcv_nxt` is let through even where the window is closed, without its payload:
    /// its acknowledgment, or reset, counts (MUST-66).
    fn trim(&self, arrival: &Arrival<'_>) -> Option<Trimmed> {
        let window = self.receive_window();
        let len = arrival.sequence_len();
        let seq = arrival.repr.seq;
        let fin = arrival.has(Flags::FIN);
        // A SYN takes the first number: the payload begins behind it. It is not let through, but challenged.
        let text = seq + u32::from(arrival.has(Flags::SYN));
        if len == 0 {
            let acceptable = seq == self.rcv_nxt || seq.in_window(self.rcv_nxt, window);
            return acceptable.then_some(Trimmed { seq, offset: 0, len: 0, fin: false });
        }
        if window == 0 {
            return (seq == self.rcv_nxt).then_some(Trimmed { seq, offset: 0, len: 0, fin: false });
        }
        let first_in = seq.in_window(self.rcv_nxt, window);
        let last_in = (seq + (len - 1)).in_window(self.rcv_nxt, window);
        // A segment longer than the window may reach beyond it on both sides.
        let spans = seq.is_before(self.rcv_nxt) && (seq + len).is_after(self.rcv_nxt);
        (first_in || last_in || spans).then(|| self.cut(text, arrival.payload_len, fin))
    }

    /// Cuts text to the window.
    fn cut(&self, text: SeqNumber, len: u32, fin: bool) -> Trimmed {
        let edge = self.rcv_edge;
        let left = if text.is_before(self.rcv_nxt) { self.rcv_nxt.distance_from(text).min(len) } else { 0 };
        let seq = text + left;
        let room = if seq.is_before(edge) { edge.distance_from(seq) } else { 0 };
        let rest = len - left;
        let kept = rest.min(room);
        // The FIN's own number must lie in the window too, and not behind it.
        let fin_seq = text + len;
        let fin = fin && kept == rest && fin_seq.is_at_or_after(self.rcv_nxt) && fin_seq.is_before(edge);
        Trimmed { seq, offset: left, len: kept, fin }
    }

    /// Second, check the RST bit (RFC 5961, section 3.2).
    pub(crate) fn check_reset(
        &mut self,
        cx: &Context<'_>,
        arrival: &Arrival<'_>,
        held: &Held,
        outcome: &mut Outcome,
    ) -> Step {
        if !arrival.has(Flags::RST) {
            return Step::Continue(());
        }
        if arrival.repr.seq == self.rcv_nxt {
            let refused = self.state == State::SynReceived;
            self.end();
            outcome.events |= if refused { Events::REFUSED } else { Events::RESET };
        } else {
            outcome.dropped = Some(DropReason::BlindReset);
            outcome.reply = Reply::Challenge(self.acknowledgment(cx, held));
        }
        Step::Break(())
    }

    /// Fourth, check the SYN bit (RFC 5961, section 4.2): challenged, in or out of the window.
    pub(crate) fn check_syn(
        &mut self,
        cx: &Context<'_>,
        arrival: &Arrival<'_>,
        held: &Held,
        outcome: &mut Outcome,
    ) -> Step {
        if !arrival.has(Flags::SYN) {
            return Step::Continue(());
        }
        outcome.dropped = Some(DropReason::BlindSyn);
        outcome.reply = Reply::Challenge(self.acknowledgment(cx, held));
        Step::Break(())
    }

    /// Answers a segment that is not acceptable with an acknowledgment (reset group 3).
    ///
    /// Where it takes sequence space it is a retransmission or a window probe of the peer, and the answer is an
    /// ordinary acknowledgment. A bare ACK, or a SYN, might be answered by a bare ACK in turn, for ever: that is
    /// for the caller to limit.
    fn refuse(&mut self, cx: &Context<'_>, arrival: &Arrival<'_>, held: &Held, outcome: &mut Outcome) {
        if arrival.sequence_len() > 0 && !arrival.has(Flags::SYN) {
            self.marks.insert(Marks::ACK_NOW);
        } else {
            outcome.reply = Reply::Challenge(self.acknowledgment(cx, held));
        }
    }
}
