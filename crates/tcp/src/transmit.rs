//! What to send next.
//!
//! The order: a SYN that is owed; what was lost; what is new; and, if none of these carried it, a bare
//! acknowledgment or a probe.

use freeway_wire::Ecn;
use freeway_wire::tcp::{Flags, Options, SackBlocks, SeqNumber, Timestamps};

use crate::clock::{Tick, micros};
use crate::config::Context;
use crate::ecn;
use crate::negotiate::{self, Agreed};
use crate::outcome::Held;
use crate::recovery::Flight;
use crate::rtt::Rtt;
use crate::segment::Outgoing;
use crate::sendable::{Delay, Share};
use crate::state::State;
use crate::tcb::{Marks, Tcb};

impl Tcb {
    /// The next segment to send, or `None`: call it until then, and look at
    /// [`next_deadline`](Self::next_deadline) afterwards.
    ///
    /// What it returns counts as sent. A caller that cannot send it after all loses it as the network might.
    pub fn poll_transmit(
        &mut self,
        cx: &Context<'_>,
        held: &Held,
        flight: Option<&mut Flight>,
    ) -> Option<Outgoing> {
        let mut outgoing = Outgoing::default();
        self.transmit_into(cx, held, flight, &mut outgoing).then_some(outgoing)
    }

    /// The same into a place that has held another segment, or false: large as a segment is, the hot path would feel
    /// each copy.
    pub fn transmit_into(
        &mut self,
        cx: &Context<'_>,
        held: &Held,
        mut flight: Option<&mut Flight>,
        outgoing: &mut Outgoing,
    ) -> bool {
        if self.marks.contains(Marks::SYN_NOW) {
            *outgoing = self.emit_syn(cx, held);
            return true;
        }
        if self.owes_blocks(held) && !held.gaps.is_empty() {
            // The blocks take a segment of their own, rather than room from one full of data.
            *outgoing = self.acknowledgment(cx, held);
            return true;
        }
        if self.transmits() && !self.is_settled(held) {
            if let Some(flight) = flight.as_deref_mut() {
                self.adopt_losses(flight);
            }
            let share = self.share_to_resend(held, flight.as_deref());
            if let Some(share) = share
                && !self.waits_for_release(cx, flight.as_deref())
            {
                self.emit_again(cx, held, flight, &share, outgoing);
                return true;
            }
            let delay = Delay::new(cx.config);
            if share.is_none()
                && let Some(share) = self.new_share(held, flight.as_deref(), delay)
                && !self.waits_for_release(cx, flight.as_deref())
            {
                self.emit_new(cx, held, flight, &share, outgoing);
                return true;
            }
            if let Some(share) = flight.as_deref().and_then(|flight| self.probe_share(held, flight)) {
                self.emit_again(cx, held, flight, &share, outgoing);
                return true;
            }
            if self.needs_persist(held, delay) {
                self.arm_persist(cx);
            }
        }
        if self.marks.contains(Marks::ACK_NOW) {
            *outgoing = self.acknowledgment(cx, held);
            return true;
        }
        if self.marks.contains(Marks::PROBE_NOW) {
            *outgoing = self.emit_keepalive(cx, held);
            return true;
        }
        false
    }

    /// SYN in SYN-SENT, SYN-ACK in SYN-RECEIVED after a simultaneous open or with Fast Open.
    fn emit_syn(&mut self, cx: &Context<'_>, held: &Held) -> Outgoing {
        self.marks.remove(Marks::SYN_NOW);
        let resent = self.marks.intersects(Marks::RESEND_ARMED | Marks::SYN_LOST);
        self.time(cx, self.snd_una, resent);
        self.timed_at = micros(cx.now);
        self.arm_resend(cx);
        let answers = self.state == State::SynReceived;
        // RFC 7413, section 4.2.1: text in the first SYN, and not in those sent again.
        let len = if answers || resent { 0 } else { held.queued.min(u32::from(cx.config.syn_payload)) };
        if len > 0 {
            self.snd_nxt = self.snd_una + len;
        }
        let agreed = answers.then(|| Agreed {
            mss: self.mss,
            timestamps: self.marks.contains(Marks::TIMESTAMPS),
            sack: self.marks.contains(Marks::SACK),
            ecn: self.marks.contains(Marks::ECN),
            scales: self.scales,
        });
        let flags = match &agreed {
            Some(agreed) => Flags::SYN | Flags::ACK | ecn::syn_ack_flags(agreed.ecn),
            None => Flags::SYN | ecn::syn_flags(cx.config, resent),
        };
        let echo = if answers { self.ts_recent } else { 0 };
        let stamps = Timestamps { value: self.timestamp(cx), echo };
        let window = cx.config.receive_window.saturating_sub(held.unread).min(u32::from(u16::MAX)) as u16;
        if answers {
            self.rcv_edge = self.rcv_edge.max(self.rcv_nxt + u32::from(window));
            self.last_ack = self.rcv_nxt;
        }
        // The SYN-ACK of a simultaneous open repeats the SYN, whose options the peer has seen or will see here.
        let scaled = self.scales.ours() > 0 || self.scales.theirs() > 0;
        Outgoing {
            window,
            options: negotiate::syn_options(cx.config, agreed.as_ref(), scaled, stamps),
            retransmission: resent,
            len,
            ..Outgoing::control(flags, self.syn_seq(), if answers { self.rcv_nxt } else { SeqNumber(0) })
        }
    }

    /// Data (or a FIN) for the first time.
    #[inline]
    pub(crate) fn emit_new(
        &mut self,
        cx: &Context<'_>,
        held: &Held,
        mut flight: Option<&mut Flight>,
        share: &Share,
        outgoing: &mut Outgoing,
    ) {
        if self.snd_una == self.snd_nxt {
            self.begin_flight(cx, flight.as_deref_mut());
            self.marks.remove(Marks::SMALL_SENT | Marks::PROBED);
        }
        if share.len < self.full() {
            self.marks.insert(Marks::SMALL_SENT);
        }
        let out = share.end().distance_from(self.snd_una);
        self.snd_nxt = share.end();
        self.marks.set(Marks::FIN_SENT, share.fin);
        let is_probe = self.marks.contains(Marks::FORCE);
        self.marks.remove(Marks::FORCE);
        self.time(cx, share.end(), false);
        // RFC 5681 lets the window grow only while it is what limits the sender (RFC 7661 says how much harm the
        // opposite does); in slow start it also grows to twice what was out, of which the flight keeps account.
        self.marks.set(Marks::CWND_LIMITED, out.saturating_add(self.full()) > self.congestion.cwnd);
        match flight {
            Some(flight) => {
                flight.epoch.note_out(out);
                self.after_sent(cx, flight, share);
            }
            // RFC 6298, 5.1.
            None if !self.marks.contains(Marks::RESEND_ARMED) => self.arm_resend(cx),
            None => {}
        }
        self.carry(cx, held, share, outgoing);
        self.mark_new_data(outgoing, is_probe);
    }

    /// The first data after nothing was in flight.
    fn begin_flight(&mut self, cx: &Context<'_>, flight: Option<&mut Flight>) {
        if self.marks.intersects(Marks::RESEND_ARMED | Marks::PERSIST) {
            // The persist timer: what is sent now is guarded by the retransmission timer instead, which goes on
            // doubling while the window stays closed. Or what was sent again was still on somebody's mind; what is sent
            // now has a time-out of its own.
            self.marks.remove(Marks::PERSIST | Marks::RESEND_ARMED);
            return;
        }
        // Most pauses are shorter than any time-out.
        let pause = self.resend_at.elapsed(cx.now);
        if pause > Rtt::timeout_min(cx.config) && pause > self.timeout(cx.config) {
            let mss = self.full();
            self.congestion.after_idle(cx.config, flight.map(|flight| &mut flight.epoch), mss);
        }
    }

    /// Data (or a FIN) once more.
    fn emit_again(
        &mut self,
        cx: &Context<'_>,
        held: &Held,
        flight: Option<&mut Flight>,
        share: &Share,
        outgoing: &mut Outgoing,
    ) {
        let is_head = share.seq == self.snd_una;
        self.marks.remove(Marks::RESEND_NOW);
        self.recovery.on_resent(share.end());
        self.time(cx, share.end(), true);
        if is_head {
            self.timed_at = micros(cx.now);
        }
        self.retransmitted = self.retransmitted.saturating_add(1);
        if is_head || !self.marks.contains(Marks::RESEND_ARMED) {
            self.arm_resend(cx);
        }
        if let Some(flight) = flight {
            self.after_resent(cx, flight, share);
        }
        self.carry(cx, held, share, outgoing);
        outgoing.retransmission = true;
    }

    /// One segment at a time has its round trip measured; none that was sent twice (Karn, MUST-18), and none behind
    /// a hole, whose acknowledgment would measure the repair.
    fn time(&mut self, cx: &Context<'_>, end: SeqNumber, resent: bool) {
        if resent {
            self.marks.remove(Marks::TIMING);
        } else if !self.marks.contains(Marks::TIMING) && !self.recovery.is_active() && !self.is_timing_held()
        {
            self.marks.insert(Marks::TIMING);
            self.timed_seq = end;
            self.timed_at = micros(cx.now);
        }
    }

    /// A segment with a share of the stream, for the first time. PSH marks the end of what is queued (MUST-61).
    #[inline(always)]
    fn carry(&mut self, cx: &Context<'_>, held: &Held, share: &Share, outgoing: &mut Outgoing) {
        let offset = share.seq.distance_from(self.snd_una);
        let mut flags = Flags::empty();
        flags.set(Flags::FIN, share.fin);
        flags.set(Flags::PSH, share.len > 0 && offset.saturating_add(share.len) >= held.queued);
        (outgoing.window, outgoing.flags) = self.account(cx, held, flags);
        (outgoing.seq, outgoing.ack) = (share.seq, self.rcv_nxt);
        (outgoing.offset, outgoing.len) = (offset, share.len);
        (outgoing.retransmission, outgoing.ecn) = (false, Ecn::NotEct);
        outgoing.options = Options::NONE;
        outgoing.options.timestamps = self.stamps(cx);
    }

    /// A bare acknowledgment of everything received; nothing more is owed after it.
    pub(crate) fn acknowledgment(&mut self, cx: &Context<'_>, held: &Held) -> Outgoing {
        let sack = if held.out_of_order && self.selects() { held.gaps } else { SackBlocks::NONE };
        self.acknowledge(cx, held, sack)
    }

    fn acknowledge(&mut self, cx: &Context<'_>, held: &Held, sack: SackBlocks) -> Outgoing {
        let (window, flags) = self.account(cx, held, Flags::empty());
        Outgoing {
            window,
            options: self.options(cx, sack),
            ..Outgoing::control(flags, self.snd_nxt, self.rcv_nxt)
        }
    }

    /// A segment acknowledges what was received: nothing more is owed. Returns its window field and, with what every
    /// segment says, its flags.
    #[inline]
    fn account(&mut self, cx: &Context<'_>, held: &Held, flags: Flags) -> (u16, Flags) {
        let window = self.advertise(cx.config, held);
        self.marks.remove(Marks::ACK_NOW | Marks::ACK_ARMED);
        self.last_ack = self.rcv_nxt;
        (window, flags | Flags::ACK | self.echo_flags())
    }

    /// Whether an acknowledgment is owed now, that [`Held::gaps`] is to be filled in for.
    #[inline]
    pub const fn owes_blocks(&self, held: &Held) -> bool {
        held.out_of_order && self.marks.contains(Marks::ACK_NOW) && self.marks.contains(Marks::SACK)
    }

    /// An acknowledgment, to be sent at once, that reports a segment received twice (RFC 2883): `first..behind_last` are
    /// its sequence numbers. `held.gaps` is filled in.
    pub fn report_duplicate(
        &mut self,
        cx: &Context<'_>,
        held: &Held,
        (first, behind_last): (SeqNumber, SeqNumber),
    ) -> Outgoing {
        // Section 4.2, 1: the report comes first; the block that contains it, if there is one, next.
        let mut gaps = SackBlocks::NONE;
        gaps.push(first, behind_last);
        for (from, to) in held.gaps.iter() {
            gaps.push(from, to);
        }
        self.acknowledge(cx, held, gaps)
    }

    /// RFC 9293, section 3.8.4: no data, and a sequence number the peer has acknowledged already, so that it
    /// must answer.
    fn emit_keepalive(&mut self, cx: &Context<'_>, held: &Held) -> Outgoing {
        self.marks.remove(Marks::PROBE_NOW);
        let base = self.acknowledgment(cx, held);
        Outgoing { seq: self.snd_nxt - 1, ..base }
    }

    /// The options of every segment but a SYN.
    #[inline]
    pub(crate) fn options(&self, cx: &Context<'_>, sack: SackBlocks) -> Options {
        Options { timestamps: self.stamps(cx), sack, ..Options::default() }
    }

    /// The timestamps of every segment, if both sides agreed on them.
    #[inline]
    fn stamps(&self, cx: &Context<'_>) -> Option<Timestamps> {
        let stamps = Timestamps { value: self.timestamp(cx), echo: self.ts_recent };
        self.marks.contains(Marks::TIMESTAMPS).then_some(stamps)
    }

    fn arm_persist(&mut self, cx: &Context<'_>) {
        self.marks.insert(Marks::PERSIST);
        self.stalled_since = Tick::at(cx.now);
        self.retries = 0;
        self.arm_resend(cx);
    }
}
