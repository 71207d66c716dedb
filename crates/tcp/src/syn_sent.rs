//! A segment in SYN-SENT (RFC 9293, section 3.10.7.3).

use freeway_wire::tcp::{Flags, SeqNumber};

use crate::arrival::{Step, Trimmed};
use crate::clock::Tick;
use crate::config::Context;
use crate::negotiate::Agreed;
use crate::outcome::{DropReason, Events, Held, Outcome, Reply};
use crate::segment::{Arrival, Outgoing};
use crate::state::State;
use crate::tcb::{Marks, Tcb};

impl Tcb {
    pub(crate) fn in_syn_sent(
        &mut self,
        cx: &Context<'_>,
        arrival: &Arrival<'_>,
        held: &Held,
        outcome: &mut Outcome,
    ) -> Step {
        // First, check the ACK bit.
        self.check_ack_in_syn_sent(arrival, outcome)?;
        // Second, check the RST bit.
        self.check_reset_in_syn_sent(arrival, outcome)?;
        // Third, check security: historic.
        // Fourth, check the SYN bit.
        if !arrival.has(Flags::SYN) {
            // Fifth, if neither of the SYN or RST bits is set, drop the segment.
            outcome.dropped = Some(DropReason::NoAck);
            return Step::Break(());
        }
        self.take_syn(cx, arrival, held);
        if arrival.has(Flags::ACK) {
            self.establish(cx, arrival, outcome);
            if self.snd_una.is_before(arrival.repr.ack) {
                // Text of our SYN was taken.
                self.on_progress(cx, arrival, None, outcome);
            }
            self.marks.insert(Marks::ACK_NOW);
            self.take_rest(cx, arrival, held, outcome);
        } else {
            // Simultaneous open: the SYNs have crossed. Say SYN again, with an acknowledgment.
            self.state = State::SynReceived;
            self.set_window(arrival);
            self.marks.insert(Marks::SYN_NOW);
        }
        Step::Continue(())
    }

    /// First, check the ACK bit: it must acknowledge our SYN, and nothing else.
    fn check_ack_in_syn_sent(&self, arrival: &Arrival<'_>, outcome: &mut Outcome) -> Step {
        let ack = arrival.repr.ack;
        let is_ours = ack.is_at_or_after(self.snd_una) && ack.is_at_or_before(self.snd_nxt);
        if !arrival.has(Flags::ACK) || is_ours {
            return Step::Continue(());
        }
        outcome.dropped = Some(DropReason::BadAck);
        if !arrival.has(Flags::RST) {
            outcome.reply = Reply::Reset(Outgoing::control(Flags::RST, ack, SeqNumber(0)));
        }
        Step::Break(())
    }

    /// Second, check the RST bit: it counts only with an acceptable ACK.
    fn check_reset_in_syn_sent(&mut self, arrival: &Arrival<'_>, outcome: &mut Outcome) -> Step {
        if !arrival.has(Flags::RST) {
            return Step::Continue(());
        }
        if arrival.has(Flags::ACK) {
            self.end();
            outcome.events |= Events::REFUSED;
        } else {
            outcome.dropped = Some(DropReason::BlindReset);
        }
        Step::Break(())
    }

    /// The peer's SYN: its sequence number, its options, our window.
    fn take_syn(&mut self, cx: &Context<'_>, arrival: &Arrival<'_>, held: &Held) {
        self.last_heard = Tick::at(cx.now);
        self.rcv_nxt = arrival.repr.seq + 1;
        self.rcv_edge = self.rcv_nxt;
        self.last_ack = self.rcv_nxt;
        let ecn = self.agrees_on_ecn(cx.config, arrival.repr.flags);
        self.agree(&Agreed { ecn, ..Agreed::new(cx.config, &arrival.repr.options) });
        if let Some(stamps) = arrival.repr.options.timestamps {
            self.ts_recent = stamps.value;
        }
        // The SYN that we sent promised this much, unscaled.
        let promised = cx.config.receive_window.saturating_sub(held.unread).min(u32::from(u16::MAX));
        self.rcv_edge = self.rcv_nxt + promised;
    }

    /// Text and FIN that came with the SYN-ACK: the sixth step and those after it.
    fn take_rest(&mut self, cx: &Context<'_>, arrival: &Arrival<'_>, held: &Held, outcome: &mut Outcome) {
        let window = self.receive_window();
        let len = arrival.payload_len.min(window);
        let fin = arrival.has(Flags::FIN) && len == arrival.payload_len && len < window;
        let mut trimmed = Trimmed { seq: self.rcv_nxt, offset: 0, len, fin };
        self.take_text(cx, &mut trimmed, held, outcome);
        self.take_fin(cx, &trimmed, outcome);
    }
}
