//! An acknowledgment, to a connection with a flight and a peer that knows SACK.
//!
//! The order is that of RFC 6675, section 5, with RACK (RFC 8985, section 6.2) to tell what is lost: what has arrived;
//! whether an earlier judgment was wrong; how the window changes; what is lost by now; how much may be sent.

use freeway_wire::tcp::SeqNumber;

use super::blocks::Blocks;
use super::flight::{Delivery, Evidence, Flight};
use super::new_reno::Phase;
use super::probe::{Answer, Probe};
use super::prr::Prr;
use super::rack::{DUPLICATE_THRESHOLD, Verdict};
use super::undo::{Frto, Report, Undo};
use crate::clock::{Tick, micros};
use crate::config::Context;
use crate::congestion::Ack;
use crate::outcome::{Events, Held, Outcome};
use crate::segment::Arrival;
use crate::sendable::Share;
use crate::tcb::{Marks, Tcb};

impl Tcb {
    /// Whether losses are told by the scoreboard.
    #[inline]
    pub(crate) const fn selects(&self) -> bool {
        self.marks.contains(Marks::SACK)
    }

    /// The ACK field and the SACK option of a segment that is not of the common kind.
    #[cold]
    pub(crate) fn on_selective_ack(
        &mut self,
        cx: &Context<'_>,
        arrival: &Arrival<'_>,
        held: &Held,
        flight: &mut Flight,
        outcome: &mut Outcome,
    ) {
        let ack = arrival.repr.ack;
        let is_bare = self.is_duplicate(arrival) && arrival.repr.options.sack.is_empty();
        let advanced = ack.is_after(self.snd_una);
        let bytes = if advanced { self.advance(ack, outcome) } else { 0 };

        // What has arrived.
        let (evidence, now_us) = (self.evidence(cx, arrival), micros(cx.now));
        let mut delivery = flight.on_acknowledged(self.snd_una, &evidence);
        let window = 1 << self.max_window_bits;
        let blocks = Blocks::new(&arrival.repr.options.sack, ack, self.snd_una, self.snd_nxt, window);
        for block in blocks.iter() {
            flight.on_sacked(block, &evidence, &mut delivery);
        }
        outcome.events.set(Events::SACK_REJECTED, blocks.has_lies);
        flight.settle(&mut delivery, now_us);
        self.measure_delivery(cx, arrival, &delivery, advanced);
        if advanced {
            if self.marks.contains(Marks::PROBED) {
                self.after_probe_alone(cx, arrival);
            }
            self.retries = 0;
            self.marks.remove(Marks::RESEND_NOW);
            self.note_full_segment(bytes);
        }
        self.recovery.count_duplicate(advanced, delivery.bytes > 0);

        // Whether an earlier judgment was wrong.
        let was_in = self.recovery.phase();
        self.on_probe_answer(cx, ack, &blocks, is_bare, flight);
        if self.is_spurious(arrival, held, flight, &blocks, &delivery, (advanced, bytes)) {
            self.undo(flight);
            outcome.events |= Events::SPURIOUS;
        }

        let marked = advanced && self.echoes_mark(arrival);
        if marked {
            self.on_echo(cx, Some(flight), bytes, outcome);
        }

        // How the window changes.
        let is_reached = advanced && self.snd_una.is_at_or_after(self.recovery.point());
        if is_reached && self.recovery.phase() != Phase::Open {
            if was_in == Phase::Fast && self.recovery.phase() == Phase::Fast {
                // RFC 6937, section 3: at the end of the recovery.
                self.congestion.cwnd = self.congestion.ssthresh;
                flight.rack.on_recovered();
            }
            self.recovery.end();
        }
        if advanced && self.recovery.phase() != Phase::Fast {
            // At the end of a recovery most of what is acknowledged was reported before.
            let news = if was_in == Phase::Fast { bytes.min(delivery.bytes) } else { bytes };
            let ack = Ack { marked, ..self.as_ack(cx, news, delivery.rtt_us) };
            self.grow(cx, flight, &ack);
        }

        // What is lost by now, and how much may be sent.
        let wait_us = self.look_for_losses(cx, held, flight, &delivery, advanced, &mut outcome.events);
        self.after_selective(cx, flight, advanced, wait_us);
    }

    /// The age of what is acknowledged, by the echoed timestamp: something to tell originals from repetitions by.
    pub(crate) fn evidence(&self, cx: &Context<'_>, arrival: &Arrival<'_>) -> Evidence {
        let echo_age_us =
            self.echo(arrival).map(|echo| u64::from(self.timestamp(cx).wrapping_sub(echo)) * 1_000);
        Evidence { now_us: micros(cx.now), echo_age_us }
    }

    /// The echoed timestamp, if timestamps were agreed on.
    fn echo(&self, arrival: &Arrival<'_>) -> Option<u32> {
        let stamps = arrival.repr.options.timestamps.filter(|_| self.marks.contains(Marks::TIMESTAMPS));
        stamps.map(|stamps| stamps.echo)
    }

    /// RFC 6298, section 3: a round trip by the newest segment that was sent once, or by the echoed timestamp.
    fn measure_delivery(
        &mut self,
        cx: &Context<'_>,
        arrival: &Arrival<'_>,
        delivery: &Delivery,
        advanced: bool,
    ) {
        if let Some(rtt_us) = delivery.rtt_us {
            self.take_sample(rtt_us);
        } else if advanced {
            self.marks.remove(Marks::TIMING);
            self.measure_by_echo(cx, arrival);
        }
    }

    /// RFC 8985, section 7.4: what the acknowledgment says of a probe.
    fn on_probe_answer(
        &mut self,
        cx: &Context<'_>,
        ack: SeqNumber,
        blocks: &Blocks,
        is_bare: bool,
        flight: &mut Flight,
    ) {
        let duplicate = blocks.duplicate.map(|(_, to)| to);
        if flight.probe.on_ack(ack, duplicate, is_bare) == Answer::Repaired {
            self.on_hidden_loss(cx, flight);
        }
    }

    /// A probe has repaired the only loss there was: the window falls as after any other.
    fn on_hidden_loss(&mut self, cx: &Context<'_>, flight: &mut Flight) {
        if self.recovery.phase() == Phase::Open {
            self.tell_reduction(Some(flight));
            let out = self.in_flight().max(self.full()).min(self.congestion.cwnd);
            self.congestion.on_loss(cx.config, Some(&mut flight.epoch), self.full(), out);
            self.congestion.cwnd = self.congestion.cwnd.min(self.congestion.ssthresh);
        }
    }

    /// Whether this acknowledgment shows that nothing was lost when a recovery began (RFC 3522, RFC 3708, RFC 5682).
    fn is_spurious(
        &self,
        arrival: &Arrival<'_>,
        held: &Held,
        flight: &mut Flight,
        blocks: &Blocks,
        delivery: &Delivery,
        (advanced, bytes): (bool, u32),
    ) -> bool {
        let report = blocks.duplicate.map_or(Report::Foreign, |(from, to)| flight.undo.on_dsack(from, to));
        if report != Report::Foreign {
            // RFC 8985, section 6.2, step 4. A probe's repetition, or the network's, is no sign of haste.
            flight.rack.on_dsack(self.snd_una, self.snd_nxt);
        }
        let by_report = report == Report::All;
        let by_echo = advanced && flight.undo.on_progress(self.echo(arrival));
        let by_frto = self.recovery.phase() == Phase::Timeout
            && self.on_frto(held, flight, delivery, (advanced, bytes));
        by_report || by_echo || by_frto
    }

    /// F-RTO (RFC 5682, section 3.1): true when the time-out was spurious.
    fn on_frto(
        &self,
        held: &Held,
        flight: &mut Flight,
        delivery: &Delivery,
        (advanced, bytes): (bool, u32),
    ) -> bool {
        let frto = &mut flight.undo.frto;
        let point = self.recovery.point();
        // Step 3.b: something has arrived that was sent before the time-out, and not again.
        if *frto != Frto::Off && delivery.lowest_original.is_some_and(|end| end.is_at_or_before(point)) {
            return true;
        }
        match frto {
            Frto::Resent if advanced => {
                // Step 2.b: what was sent again is acknowledged, but not everything. New data, if there is some, will
                // show whether the rest is lost; step 2.a: otherwise it counts as lost.
                let out = self.bytes_in_flight();
                let has_new = held.queued > out.saturating_add(bytes) && self.snd_wnd > self.in_flight();
                let is_partial = self.snd_una.is_before(point);
                *frto = if is_partial && has_new { Frto::Probing } else { Frto::Off };
            }
            // Step 3.a: only what was sent after the time-out has arrived.
            Frto::Probing if advanced || delivery.bytes > 0 => *frto = Frto::Off,
            Frto::Off | Frto::Resent | Frto::Probing => {}
        }
        false
    }

    /// Takes a recovery back (RFC 4015).
    fn undo(&mut self, flight: &mut Flight) {
        self.congestion.undo(&mut flight.epoch);
        flight.undo.disarm();
        flight.find_again();
        flight.rack.forget_newest();
        self.recovery.end();
        self.backoff = 0;
    }

    fn grow(&mut self, cx: &Context<'_>, flight: &mut Flight, ack: &Ack) {
        let after_timeout = flight.board.has_lost();
        let limited = self.is_limited(flight) || after_timeout;
        let ack = Ack { limited, after_timeout, ..*ack };
        self.congestion.on_ack(cx.config, Some(&mut flight.epoch), self.full(), &ack);
    }

    /// RFC 8985, section 6.2, step 5, and what follows from it: fast recovery begins, or goes on (RFC 6937). Returns
    /// in how many microseconds to look again, or 0.
    pub(crate) fn look_for_losses(
        &mut self,
        cx: &Context<'_>,
        held: &Held,
        flight: &mut Flight,
        delivery: &Delivery,
        advanced: bool,
        events: &mut Events,
    ) -> u32 {
        let (now_us, srtt_us, mss) = (micros(cx.now), self.srtt_us(), self.full());
        if flight.rack.has_seen_reordering() {
            self.marks.insert(Marks::REORDERING);
        }
        let proven = self.recovery.phase() != Phase::Open
            || u32::from(self.recovery.duplicates()) >= DUPLICATE_THRESHOLD
            || flight.board.sacked() > (DUPLICATE_THRESHOLD - 1) * mss;
        let window = flight.rack.window(proven, flight.min_rtt.min(srtt_us), srtt_us);
        let mut verdict = flight.rack.detect(&mut flight.board, now_us, window);
        if proven && verdict == Verdict::default() && self.recovery.phase() == Phase::Open {
            // RFC 6675, section 5, step 4: where it is not known any more when what has arrived was sent, its number tells.
            verdict.lost = flight.lose_head(mss);
        }
        events.set(Events::LOST_AGAIN, verdict.lost_again);
        let is_first = verdict.lost && self.recovery.phase() == Phase::Open;
        if is_first && self.is_probe_loss(held, flight.board.lost()) {
            // RFC 4821, section 7.6.1: it says how large segments may be, and nothing of congestion.
            self.recovery.begin(Phase::Timeout, held.probe.end());
        } else if is_first {
            *events |= Events::FAST_RECOVERY;
            self.begin_recovery(cx, flight);
        }
        if self.recovery.phase() == Phase::Fast {
            let (pipe, ssthresh) = (flight.board.pipe(), self.congestion.ssthresh);
            let is_safe = advanced && !verdict.lost;
            let allowed = flight.prr.on_ack(delivery.bytes, pipe, ssthresh, mss, is_safe);
            self.congestion.cwnd = pipe.saturating_add(allowed).max(mss);
        }
        verdict.wait_us
    }

    /// Fast recovery begins (RFC 6675, section 5, step 4; RFC 6937, section 3).
    fn begin_recovery(&mut self, cx: &Context<'_>, flight: &mut Flight) {
        // What was sent beyond the window on the first signs of a loss is not counted.
        self.tell_reduction(Some(flight));
        let out = self.in_flight().min(self.congestion.cwnd);
        self.congestion.on_loss(cx.config, Some(&mut flight.epoch), self.full(), out);
        flight.undo = Undo::begin(false);
        flight.prr = Prr::begin(out);
        self.recovery.begin(Phase::Fast, self.snd_nxt);
    }

    /// The timer, and whether the next acknowledgment is one of the common kind again.
    fn after_selective(&mut self, cx: &Context<'_>, flight: &mut Flight, advanced: bool, wait_us: u32) {
        let is_uneven = self.recovery.is_active() || self.backoff > 0 || !flight.is_even();
        self.marks.set(Marks::UNEVEN, is_uneven);
        if self.in_flight() == 0 && self.marks.contains(Marks::PERSIST) {
            // A late report: the persist timer goes on.
        } else if self.in_flight() == 0 {
            self.marks.remove(Marks::RESEND_ARMED);
            self.resend_at = Tick::at(cx.now);
            if flight.lingers() {
                // What is still to be learned comes within a time-out, or not at all.
                self.arm_resend(cx);
            }
        } else if wait_us > 0 {
            self.arm_reordering(cx, wait_us);
        } else if advanced || self.marks.intersects(Marks::REORDER_TIMER.union(Marks::PROBE_TIMER)) {
            self.arm_loss_timer(cx, flight);
        }
    }

    /// New data went out (RFC 8985, sections 6.1 and 7.2).
    #[inline(never)]
    pub(crate) fn after_sent(&mut self, cx: &Context<'_>, flight: &mut Flight, share: &Share) {
        flight.on_sent(share.end(), micros(cx.now));
        flight.prr.on_sent(share.len);
        self.note_release(cx, flight, share.len);
        if flight.probe_is_due() {
            flight.probe = Probe::sent(self.snd_nxt, false);
            self.arm_resend(cx);
        } else if self.may_probe(cx, flight) {
            // Two round trips from the last segment on.
            self.arm_loss_timer(cx, flight);
        } else if !self.marks.contains(Marks::RESEND_ARMED) {
            // RFC 6298, 5.1.
            self.arm_resend(cx);
        }
    }

    /// Something went out again.
    #[inline(never)]
    pub(crate) fn after_resent(&mut self, cx: &Context<'_>, flight: &mut Flight, share: &Share) {
        flight.on_resent(share.seq, share.end(), micros(cx.now));
        flight.prr.on_sent(share.len);
        self.note_release(cx, flight, share.len);
        if flight.probe_is_due() {
            flight.probe = Probe::sent(self.snd_nxt, true);
            self.arm_resend(cx);
        } else {
            let stamp = self.marks.contains(Marks::TIMESTAMPS).then(|| self.timestamp(cx));
            flight.undo.on_resent(share.seq, share.end(), stamp);
        }
    }
}
