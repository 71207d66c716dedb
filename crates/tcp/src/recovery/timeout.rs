//! Deadlines of a flight: the retransmission time-out (RFC 6298, RFC 8985 section 6.3), the reordering timer (section
//! 6.2, step 5) and the probe's (section 7.2). One of them is armed at a time, the soonest.

use freeway_base::Duration;

use super::flight::{Delivery, Flight};
use super::new_reno::Phase;
use super::probe::Probe;
use super::undo::{Frto, Undo};
use crate::clock::{Tick, micros};
use crate::config::Context;
use crate::outcome::{Events, Held};
use crate::segment::Arrival;
use crate::tcb::{Marks, Tcb};

impl Tcb {
    /// SRTT in microseconds; 0 before the first measurement.
    #[inline]
    pub(crate) const fn srtt_us(&self) -> u32 {
        self.rtt.smoothed().as_micros() as u32
    }

    /// Arms the probe's timer where a probe is due before the time-out would be, else the time-out's.
    #[inline]
    pub(crate) fn arm_loss_timer(&mut self, cx: &Context<'_>, flight: &Flight) {
        if self.may_probe(cx, flight) {
            self.arm_probe(cx);
        } else {
            self.arm_resend(cx);
        }
    }

    /// RFC 8985, section 7.2: not during a recovery, while nothing is reported missing, and one at a time.
    #[inline]
    pub(crate) fn may_probe(&self, cx: &Context<'_>, flight: &Flight) -> bool {
        cx.config.tail_loss_probe
            && self.selects()
            && self.recovery.phase() == Phase::Open
            && self.retries == 0
            && self.backoff == 0
            && self.snd_wnd > 0
            && flight.board.sacked() == 0
            && flight.probe == Probe::None
    }

    /// RFC 8985, section 7.2, TLP_calc_PTO: two round trips, and time for a delayed acknowledgment if there is one
    /// segment only; never beyond the time-out.
    #[inline]
    fn arm_probe(&mut self, cx: &Context<'_>) {
        let timeout = self.timeout(cx.config);
        let srtt_us = u64::from(self.srtt_us());
        if srtt_us == 0 {
            self.arm_resend(cx);
            return;
        }
        let delay = if self.in_flight() <= self.full() { cx.config.probe_ack_delay } else { PROBE_WAIT_MIN };
        let wait = (Duration::from_micros(2 * srtt_us) + delay).min(timeout);
        self.marks.insert(Marks::RESEND_ARMED | Marks::PROBE_TIMER);
        self.marks.remove(Marks::REORDER_TIMER);
        self.resend_at = Tick::after(cx.now, wait);
    }

    /// RFC 8985, section 7.2, for a connection whose one segment (or FIN) in flight needs no record of flights. What the
    /// peer may take for its acknowledgment is longer than the time-out leaves: the probe goes out then.
    pub(crate) fn may_probe_alone(&self, cx: &Context<'_>) -> bool {
        cx.config.tail_loss_probe
            && self.selects()
            && self.state.is_synchronized()
            && self.rtt.is_known()
            && self.recovery.phase() == Phase::Open
            && self.retries == 0
            && self.backoff == 0
            && self.snd_wnd > 0
            && !self.marks.contains(Marks::PROBED)
    }

    /// The one segment goes out again, and the time-out begins anew, no longer than before.
    pub(crate) fn probe_alone(&mut self, cx: &Context<'_>) -> Events {
        self.marks.insert(Marks::PROBED | Marks::RESEND_NOW | Marks::UNEVEN);
        self.arm_resend(cx);
        Events::PROBED
    }

    /// Something was acknowledged after a probe of the one segment: either it was late, or lost, and the probe repaired
    /// that, of which congestion control must hear (RFC 8985, section 7.4).
    pub(crate) fn after_probe_alone(&mut self, cx: &Context<'_>, arrival: &Arrival<'_>) {
        self.marks.remove(Marks::PROBED);
        let since_probe = u64::from(micros(cx.now).wrapping_sub(self.timed_at));
        let was_late = self.evidence(cx, arrival).echo_age_us.is_some_and(|age| age > since_probe + 1_000);
        if !was_late && self.recovery.phase() == Phase::Open {
            self.tell_reduction(None);
            self.congestion.on_loss(cx.config, None, self.full(), self.full());
            self.congestion.cwnd = self.congestion.cwnd.min(self.congestion.ssthresh);
        }
    }

    /// Arms the reordering timer.
    pub(crate) fn arm_reordering(&mut self, cx: &Context<'_>, wait_us: u32) {
        let wait = Duration::from_micros(u64::from(wait_us)).min(self.timeout(cx.config));
        self.marks.insert(Marks::RESEND_ARMED | Marks::REORDER_TIMER);
        self.marks.remove(Marks::PROBE_TIMER);
        self.resend_at = Tick::after(cx.now, wait);
    }

    /// The timer of a flight has expired, and it was not the time-out's: `None` if it was.
    pub(crate) fn on_early_timer(
        &mut self,
        cx: &Context<'_>,
        held: &Held,
        flight: &mut Flight,
    ) -> Option<Events> {
        let which = self.marks.intersection(Marks::REORDER_TIMER.union(Marks::PROBE_TIMER));
        self.marks.remove(which);
        if which.contains(Marks::PROBE_TIMER) && self.may_probe(cx, flight) {
            flight.probe = Probe::Due;
            self.marks.insert(Marks::UNEVEN);
            self.arm_resend(cx);
            return Some(Events::PROBED);
        }
        if which.contains(Marks::REORDER_TIMER) {
            let mut events = Events::empty();
            let wait_us = self.look_for_losses(cx, held, flight, &Delivery::default(), false, &mut events);
            if wait_us > 0 {
                self.arm_reordering(cx, wait_us);
            } else {
                self.arm_resend(cx);
            }
            return Some(events);
        }
        None
    }

    /// RFC 6675, section 5.1, and RFC 8985, section 6.3: after a time-out what is overdue counts as lost.
    ///
    /// What the peer has reported to have stays, for it is rarely thrown away, unless there is a sign that it was: the
    /// first segment is reported but not acknowledged, or not even a second time-out has brought anything.
    pub(crate) fn on_selective_timeout(&mut self, cx: &Context<'_>, flight: &mut Flight) -> Events {
        let is_first = self.retries == 0;
        let has_reneged = flight.is_reneged();
        if self.recovery.phase() == Phase::Open {
            flight.undo = Undo::begin(is_first && !has_reneged);
        } else {
            flight.undo.frto = Frto::Off;
        }
        self.tell_reduction(Some(flight));
        let (mss, out) = (self.full(), self.in_flight().min(self.congestion.cwnd));
        self.congestion.on_timeout(cx.config, Some(&mut flight.epoch), mss, out, is_first);
        let overdue_us = self.srtt_us().saturating_add(self.srtt_us() >> 2);
        flight.lose(micros(cx.now), overdue_us, has_reneged || !is_first);
        flight.probe = Probe::None;
        self.recovery.begin(Phase::Timeout, self.snd_nxt);
        // One segment more than what is under way for less than a round trip, which mostly is nothing.
        self.congestion.cwnd = flight.board.pipe().saturating_add(mss);
        if has_reneged { Events::TIMED_RESEND | Events::RENEGED } else { Events::TIMED_RESEND }
    }

    /// Something in flight was declared lost by an event that knows of no flight: a narrower path, a path's probe that did
    /// not get through, or a window that had closed over all of it.
    pub(crate) fn adopt_losses(&mut self, flight: &mut Flight) {
        if let Some((from, to)) = self.recovery.resend_from()
            && self.selects()
        {
            flight.lose_run(from, to);
            flight.undo = Undo::new();
            flight.probe = Probe::None;
            self.recovery.begin(Phase::Timeout, to);
            self.congestion.cwnd = self.congestion.cwnd.max(self.full());
        }
    }
}

/// However short the path is, a probe waits at least so long: two ticks of the timing wheel.
const PROBE_WAIT_MIN: Duration = Duration::from_millis(2);
