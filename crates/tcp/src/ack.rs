//! Fifth, check the ACK field (RFC 9293, section 3.10.7.4; RFC 5681; RFC 5961, section 5).

use freeway_wire::tcp::{Flags, SeqNumber};

use crate::arrival::Step;
use crate::clock::{Tick, micros};
use crate::config::Context;
use crate::congestion::{Ack, Congestion};
use crate::outcome::{DropReason, Events, Held, Outcome, Reply};
use crate::recovery::{Duplicate, Flight, Progress, Recovery};
use crate::segment::{Arrival, Outgoing};
use crate::state::State;
use crate::tcb::{Marks, Tcb};

impl Tcb {
    /// Fifth, check the ACK field.
    pub(crate) fn check_ack(
        &mut self,
        cx: &Context<'_>,
        arrival: &Arrival<'_>,
        held: &Held,
        flight: Option<&mut Flight>,
        outcome: &mut Outcome,
    ) -> Step {
        // If the ACK bit is off, drop the segment.
        if !arrival.has(Flags::ACK) {
            outcome.dropped = Some(DropReason::NoAck);
            return Step::Break(());
        }
        if self.state == State::SynReceived {
            self.check_ack_of_syn(cx, arrival, outcome)?;
        }
        self.check_ack_range(cx, arrival, held, outcome)?;
        let old_window = self.snd_wnd;
        let is_current = self.snd_wl1.is_at_or_before(arrival.repr.seq);
        if self.selects()
            && let Some(flight) = flight
        {
            self.on_selective_ack(cx, arrival, held, flight, outcome);
        } else if self.snd_una.is_before(arrival.repr.ack) {
            self.on_progress(cx, arrival, flight, outcome);
        } else if self.is_duplicate(arrival) {
            self.on_duplicate(cx, held, flight, outcome);
        }
        // An ACK older than SND.UNA brings an older window, too.
        if is_current && arrival.repr.ack == self.snd_una {
            self.set_window(arrival);
            self.after_window(cx, old_window);
        }
        self.after_ack_of_fin(cx, outcome)
    }

    /// SYN-RECEIVED: the acknowledgment of our SYN opens the connection; any other is answered with a reset.
    fn check_ack_of_syn(&mut self, cx: &Context<'_>, arrival: &Arrival<'_>, outcome: &mut Outcome) -> Step {
        let ack = arrival.repr.ack;
        if ack.is_before(self.snd_una) || ack.is_after(self.snd_nxt) {
            outcome.dropped = Some(DropReason::BadAck);
            outcome.reply = Reply::Reset(Outgoing::control(Flags::RST, ack, SeqNumber(0)));
            return Step::Break(());
        }
        self.establish(cx, arrival, outcome);
        Step::Continue(())
    }

    /// Our SYN was acknowledged, and the peer's is known: ESTABLISHED, or, if the application has closed
    /// meanwhile, FIN-WAIT-1.
    pub(crate) fn establish(&mut self, cx: &Context<'_>, arrival: &Arrival<'_>, outcome: &mut Outcome) {
        let has_closed = self.marks.contains(Marks::FIN_WANTED);
        let text_was_lost = self.state == State::SynSent || self.marks.contains(Marks::SYN_LOST);
        self.state = if has_closed { State::FinWait1 } else { State::Established };
        outcome.events |= Events::ESTABLISHED;
        self.marks.remove(Marks::SYN_NOW | Marks::RESEND_ARMED);
        self.snd_wl1 = arrival.repr.seq;
        self.set_window(arrival);
        self.retries = 0;
        self.backoff = 0;
        self.resend_at = Tick::at(cx.now);
        self.measure(cx, arrival);
        self.marks.remove(Marks::UNEVEN);
        self.congestion = Congestion::new(cx.config, self.full(), self.marks.contains(Marks::SYN_LOST));
        self.recovery = Recovery::new(self.snd_una - 1);
        self.arm_keepalive(cx);
        if self.in_flight() > 0 {
            // Fast Open: text went out before the handshake was over. A peer that did not take what stood in our SYN,
            // or did not get our SYN-ACK, has none of it (RFC 7413, section 4.2.1): no congestion is to blame.
            if text_was_lost && arrival.repr.ack == self.snd_una {
                self.recovery.resend_all(self.snd_una, self.snd_nxt);
                self.marks.insert(Marks::UNEVEN);
            }
            self.arm_resend(cx);
        }
    }

    /// RFC 5961, section 5.2: an acknowledgment of what was never sent, or of more than a window ago.
    fn check_ack_range(
        &mut self,
        cx: &Context<'_>,
        arrival: &Arrival<'_>,
        held: &Held,
        outcome: &mut Outcome,
    ) -> Step {
        let ack = arrival.repr.ack;
        let oldest = self.snd_una - (1 << self.max_window_bits);
        if ack.is_before(oldest) || ack.is_after(self.snd_nxt) {
            outcome.dropped = Some(DropReason::BadAck);
            outcome.reply = Reply::Challenge(self.acknowledgment(cx, held));
            return Step::Break(());
        }
        Step::Continue(())
    }

    /// RFC 5681, section 2: data is in flight, the segment carries neither data nor SYN nor FIN, acknowledges
    /// nothing new, and its window is the same. A closed window's answers to probes look alike, but tell nothing.
    pub(crate) fn is_duplicate(&self, arrival: &Arrival<'_>) -> bool {
        self.in_flight() > 0
            && arrival.sequence_len() == 0
            && arrival.repr.ack == self.snd_una
            && u32::from(arrival.repr.window) << self.scales.theirs() == self.snd_wnd
            && self.snd_wnd > 0
    }

    fn on_duplicate(
        &mut self,
        cx: &Context<'_>,
        held: &Held,
        flight: Option<&mut Flight>,
        outcome: &mut Outcome,
    ) {
        let mss = self.full();
        match self.recovery.on_duplicate(self.snd_nxt) {
            Duplicate::Counted | Duplicate::Ignored => {}
            // RFC 4821, section 7.6.1: it says how large segments may be, and nothing of congestion.
            Duplicate::Loss if held.probe.covers(self.snd_una) => self.on_probe_lost(cx, held.probe),
            Duplicate::Loss => {
                // RFC 5681, section 3.2, steps 2 and 3. What limited transmit sent beyond the window is not counted.
                let mut flight = flight;
                self.tell_reduction(flight.as_deref_mut());
                let out = self.in_flight().min(self.congestion.cwnd);
                let epoch = flight.map(|flight| &mut flight.epoch);
                self.congestion.on_loss(cx.config, epoch, mss, out);
                self.congestion.cwnd = self.congestion.ssthresh + 3 * mss;
                self.marks.insert(Marks::RESEND_NOW);
                outcome.events |= Events::FAST_RECOVERY;
            }
            // Step 4.
            Duplicate::Departed => self.congestion.cwnd = self.congestion.cwnd.saturating_add(mss),
        }
        self.marks.insert(Marks::UNEVEN);
    }

    /// SND.UNA moves forward.
    #[inline]
    pub(crate) fn on_progress(
        &mut self,
        cx: &Context<'_>,
        arrival: &Arrival<'_>,
        flight: Option<&mut Flight>,
        outcome: &mut Outcome,
    ) {
        let bytes = self.advance(arrival.repr.ack, outcome);
        let mut flight = flight;
        let marked = self.echoes_mark(arrival);
        if marked {
            self.on_echo(cx, flight.as_deref_mut(), bytes, outcome);
        }
        if let Some(flight) = flight {
            self.on_flight_progress(cx, arrival, flight, (bytes, marked));
            return;
        }
        if self.marks.contains(Marks::UNEVEN) {
            let ack = Ack { marked, ..self.as_ack(cx, bytes, None) };
            self.on_uneven_progress(cx, arrival, None, &ack);
            return;
        }
        if self.marks.contains(Marks::TIMING) {
            self.measure(cx, arrival);
        }
        if self.marks.contains(Marks::CWND_LIMITED) {
            let ack = Ack { marked, ..self.as_ack(cx, bytes, None) };
            self.congestion.on_ack(cx.config, None, self.full(), &ack);
        }
        self.restart_resend_timer(cx);
    }

    /// SND.UNA has moved forward by `bytes`, several segments being in flight.
    #[inline(never)]
    fn on_flight_progress(
        &mut self,
        cx: &Context<'_>,
        arrival: &Arrival<'_>,
        flight: &mut Flight,
        (bytes, marked): (u32, bool),
    ) {
        self.note_full_segment(bytes);
        let rtt_us = self.measure_by_flight(cx, arrival, flight);
        let limited = self.is_limited(flight);
        let ack = Ack { marked, limited, ..self.as_ack(cx, bytes, rtt_us) };
        if self.marks.contains(Marks::UNEVEN) {
            self.on_uneven_progress(cx, arrival, Some(flight), &ack);
            return;
        }
        if self.marks.contains(Marks::TIMING) {
            self.measure(cx, arrival);
        }
        self.congestion.on_ack(cx.config, Some(&mut flight.epoch), self.full(), &ack);
        if self.in_flight() > 0 {
            self.arm_loss_timer(cx, flight);
        } else {
            self.restart_resend_timer(cx);
        }
    }

    /// Whether the congestion window is what holds the sender back, so that it may grow.
    pub(crate) fn is_limited(&self, flight: &Flight) -> bool {
        let doubles = self.congestion.in_slow_start() && flight.epoch.may_double(self.congestion.cwnd);
        self.marks.contains(Marks::CWND_LIMITED) || doubles
    }

    /// SND.UNA becomes `ack`; returns the bytes that were acknowledged.
    #[inline]
    pub(crate) fn advance(&mut self, ack: SeqNumber, outcome: &mut Outcome) -> u32 {
        let acked = ack.distance_from(self.snd_una);
        self.snd_una = ack;
        let bytes = acked - u32::from(self.fin_is_acked());
        outcome.acked = bytes;
        if bytes > 0 {
            outcome.events |= Events::WRITABLE;
        }
        bytes
    }

    /// Progress as congestion control wants to know it.
    #[inline]
    pub(crate) fn as_ack(&self, cx: &Context<'_>, bytes: u32, rtt_us: Option<u32>) -> Ack {
        Ack {
            now_us: micros(cx.now),
            bytes,
            una: self.snd_una,
            nxt: self.snd_nxt,
            rtt_us,
            srtt_us: self.rtt.smoothed().as_micros() as u32,
            marked: false,
            limited: self.marks.contains(Marks::CWND_LIMITED),
            after_timeout: false,
        }
    }

    /// Progress while losses are about.
    #[cold]
    fn on_uneven_progress(
        &mut self,
        cx: &Context<'_>,
        arrival: &Arrival<'_>,
        flight: Option<&mut Flight>,
        ack: &Ack,
    ) {
        let (mss, bytes) = (self.full(), ack.bytes);
        if self.marks.contains(Marks::PROBED) {
            self.after_probe_alone(cx, arrival);
        }
        self.measure(cx, arrival);
        self.retries = 0;
        // Whatever was to be sent again at the old SND.UNA has arrived.
        self.marks.remove(Marks::RESEND_NOW);
        match self.recovery.on_progress(self.snd_una) {
            Progress::Growth => {
                let after_timeout = self.recovery.resend_from().is_some();
                let ack = Ack { limited: ack.limited || after_timeout, after_timeout, ..*ack };
                self.congestion.on_ack(cx.config, flight.map(|flight| &mut flight.epoch), mss, &ack);
                self.restart_resend_timer(cx);
            }
            Progress::Recovered => {
                // RFC 6582, section 3.2, step 3, option 1: no burst.
                let room = self.in_flight().max(mss) + mss;
                self.congestion.cwnd = self.congestion.ssthresh.min(room);
                self.restart_resend_timer(cx);
            }
            Progress::Partial { restart_timer } => {
                // Deflate by what left the network, add back the segment to be sent again.
                let deflated = self.congestion.cwnd.saturating_sub(bytes);
                let resent = if bytes >= mss { mss } else { 0 };
                self.congestion.cwnd = (deflated + resent).max(mss);
                self.marks.insert(Marks::RESEND_NOW);
                if restart_timer {
                    self.restart_resend_timer(cx);
                }
            }
        }
        let is_uneven = self.recovery.is_active() || self.backoff > 0;
        self.marks.set(Marks::UNEVEN, is_uneven);
    }

    /// A round trip by when the flight's newest segment was sent: one for each acknowledgment.
    #[inline]
    fn measure_by_flight(
        &mut self,
        cx: &Context<'_>,
        arrival: &Arrival<'_>,
        flight: &mut Flight,
    ) -> Option<u32> {
        let evidence = self.evidence(cx, arrival);
        let mut delivery = flight.on_acknowledged(self.snd_una, &evidence);
        flight.settle(&mut delivery, evidence.now_us);
        if let Some(rtt_us) = delivery.rtt_us {
            self.take_sample(rtt_us);
        }
        delivery.rtt_us
    }

    /// A round trip was measured by a segment that was sent once.
    #[inline]
    pub(crate) fn take_sample(&mut self, rtt_us: u32) {
        self.rtt.sample(rtt_us);
        self.backoff = 0;
        if self.snd_una.is_at_or_after(self.timed_seq) {
            self.marks.remove(Marks::TIMING);
        }
    }

    /// A round trip, by the segment that is timed, or, where retransmissions spoil that (Karn, MUST-18), by the
    /// echoed timestamp (RFC 7323, section 4.1).
    fn measure(&mut self, cx: &Context<'_>, arrival: &Arrival<'_>) {
        if !self.marks.contains(Marks::TIMING) {
            self.measure_by_echo(cx, arrival);
        } else if self.snd_una.is_at_or_after(self.timed_seq) {
            self.marks.remove(Marks::TIMING);
            self.rtt.sample(micros(cx.now).wrapping_sub(self.timed_at));
            self.backoff = 0;
        }
    }

    /// An echo from before the last retransmission is ambiguous: the original may have been slow, or only its
    /// acknowledgment was lost, and then the peer, which does not take timestamps from duplicates, echoes the past.
    pub(crate) fn measure_by_echo(&mut self, cx: &Context<'_>, arrival: &Arrival<'_>) {
        let Some(stamps) = arrival.repr.options.timestamps else { return };
        if !self.marks.contains(Marks::TIMESTAMPS) {
            return;
        }
        let us = u64::from(self.timestamp(cx).wrapping_sub(stamps.echo)) * 1_000;
        let since_resent = u64::from(micros(cx.now).wrapping_sub(self.timed_at));
        if us <= since_resent + 1_000 {
            self.rtt.sample((us as u32).max(500));
            self.backoff = 0;
        }
    }

    /// RFC 6298, 5.2 and 5.3.
    #[inline]
    fn restart_resend_timer(&mut self, cx: &Context<'_>) {
        if self.in_flight() == 0 {
            self.marks.remove(Marks::RESEND_ARMED);
            self.resend_at = Tick::at(cx.now);
        } else {
            self.arm_resend(cx);
        }
    }

    /// SND.WND and SND.WL1 from a segment that is not older than the last.
    #[inline]
    pub(crate) fn set_window(&mut self, arrival: &Arrival<'_>) {
        // RFC 7323, section 2.2: the window of a SYN is not scaled.
        let shift = if arrival.has(Flags::SYN) { 0 } else { self.scales.theirs() };
        self.snd_wnd = u32::from(arrival.repr.window) << shift;
        self.snd_wl1 = arrival.repr.seq;
        let bits = (u32::BITS - self.snd_wnd.leading_zeros()) as u8;
        self.max_window_bits = self.max_window_bits.max(bits);
    }

    /// The window was set in the slow path: it may have closed or opened.
    fn after_window(&mut self, cx: &Context<'_>, old: u32) {
        if self.snd_wnd == 0 {
            // MUST-37: while the peer answers, a closed window lasts as long as it likes.
            self.retries = 0;
            self.stalled_since = Tick::at(cx.now);
            return;
        }
        if old > 0 {
            return;
        }
        self.retries = 0;
        self.backoff = 0;
        if self.in_flight() > 0 {
            // What was sent into the closed window was not kept: send it again, without blaming the network.
            self.recovery.resend_all(self.snd_una, self.snd_nxt);
            self.marks.insert(Marks::UNEVEN);
            self.arm_resend(cx);
        } else if self.marks.contains(Marks::PERSIST) {
            self.marks.remove(Marks::PERSIST | Marks::FORCE | Marks::RESEND_ARMED);
            self.resend_at = Tick::at(cx.now);
        }
    }
}
