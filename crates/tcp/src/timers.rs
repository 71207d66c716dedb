//! Deadlines: retransmission and persist, delayed acknowledgment, keepalive and FIN-WAIT-2.

use freeway_base::{Duration, Instant};

use crate::clock::Tick;
use crate::config::{Context, Keepalive};
use crate::outcome::{Events, Held};
use crate::recovery::Flight;
use crate::state::State;
use crate::tcb::{Marks, Tcb};

impl Tcb {
    /// When [`on_deadline`](Self::on_deadline) is to be called; it may turn out that nothing was due.
    #[inline]
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let armed = |marks, at: Tick| self.marks.intersects(marks).then(|| at.instant(now));
        let busy = earlier(
            armed(Marks::RESEND_ARMED, self.resend_at),
            armed(Marks::ACK_ARMED.union(Marks::PACED), self.ack_at),
        );
        if self.marks.contains(Marks::SLOW_ARMED) {
            return earlier(busy, Some(self.slow_at.instant(now)));
        }
        busy
    }

    /// The time has come (or passed) that `next_deadline` named: what is due becomes something that
    /// [`poll_transmit`](Self::poll_transmit) sends, or the end of the connection.
    pub fn on_deadline(&mut self, cx: &Context<'_>, held: &Held, flight: Option<&mut Flight>) -> Events {
        let is_due = |tcb: &Self, marks, at: Tick| tcb.marks.intersects(marks) && at.is_reached(cx.now);
        let mut events = Events::empty();
        if is_due(self, Marks::ACK_ARMED.union(Marks::PACED), self.ack_at) {
            if self.marks.contains(Marks::ACK_ARMED) {
                self.marks.insert(Marks::ACK_NOW);
            }
            self.marks.remove(Marks::ACK_ARMED | Marks::PACED);
        }
        if is_due(self, Marks::RESEND_ARMED, self.resend_at) {
            self.marks.remove(Marks::RESEND_ARMED);
            events |= self.on_resend_timer(cx, held, flight);
        }
        if is_due(self, Marks::SLOW_ARMED, self.slow_at) {
            self.marks.remove(Marks::SLOW_ARMED);
            events |= self.on_slow_timer(cx, held);
        }
        events
    }

    /// RFC 6298, 5.1 and 5.3: the retransmission timer, from now; cut short where the user's time-out comes
    /// earlier.
    pub(crate) fn arm_resend(&mut self, cx: &Context<'_>) {
        let mut wait = self.timeout(cx.config);
        if self.retries > 0 && self.state.is_synchronized() {
            let left = cx.config.user_timeout - self.stalled_since.elapsed(cx.now);
            wait = wait.min(left.max(Duration::from_millis(1)));
        }
        self.marks.insert(Marks::RESEND_ARMED);
        self.marks.remove(Marks::PROBE_TIMER | Marks::REORDER_TIMER);
        self.resend_at = Tick::after(cx.now, wait);
    }

    fn on_resend_timer(&mut self, cx: &Context<'_>, held: &Held, mut flight: Option<&mut Flight>) -> Events {
        if let Some(flight) = flight.as_deref_mut()
            && self.state.is_synchronized()
            && self.in_flight() > 0
            && let Some(events) = self.on_early_timer(cx, held, flight)
        {
            return events;
        }
        match self.state {
            State::SynSent | State::SynReceived => self.on_syn_timeout(cx),
            _ if self.marks.contains(Marks::PERSIST) => self.on_persist_timeout(cx),
            _ if self.in_flight() > 0 => self.on_timeout(cx, flight),
            _ => {
                // Nothing more was heard of what had been sent again.
                self.marks.set(Marks::UNEVEN, self.recovery.is_active() || self.backoff > 0);
                Events::empty()
            }
        }
    }

    /// MUST-22: the same mechanism for SYNs.
    fn on_syn_timeout(&mut self, cx: &Context<'_>) -> Events {
        let passive = self.marks.contains(Marks::FAST_OPEN);
        let most = if passive { cx.config.syn_ack_retries } else { cx.config.syn_retries };
        if self.retries >= most {
            return self.time_out();
        }
        self.retries += 1;
        self.backoff = self.backoff.saturating_add(1);
        self.marks.insert(Marks::SYN_NOW | Marks::SYN_LOST);
        Events::empty()
    }

    /// The window is still closed, or too small to be worthwhile (RFC 9293, section 3.8.6.1, MUST-36).
    fn on_persist_timeout(&mut self, cx: &Context<'_>) -> Events {
        if self.stalled_since.elapsed(cx.now) >= cx.config.user_timeout {
            return self.time_out();
        }
        if self.snd_wnd < self.full() {
            self.backoff = self.backoff.saturating_add(1);
        } // Otherwise it was the cork that held the bytes back, and no fault of the peer's.
        self.marks.insert(Marks::FORCE | Marks::UNEVEN);
        self.arm_resend(cx);
        Events::empty()
    }

    /// RFC 6298, 5.4 to 5.6, and RFC 5681, section 3.1.
    fn on_timeout(&mut self, cx: &Context<'_>, flight: Option<&mut Flight>) -> Events {
        if flight.is_none() && self.may_probe_alone(cx) {
            return self.probe_alone(cx);
        }
        if self.retries == 0 && self.snd_wnd > 0 {
            let waited = self.timeout(cx.config);
            self.stalled_since = Tick::at(cx.now - waited);
        }
        // R2 (SHLD-11): the peer is gone, or the user does not want to wait any longer.
        if self.stalled_since.elapsed(cx.now) >= cx.config.user_timeout {
            return self.time_out();
        }
        let mut events = Events::empty();
        if self.snd_wnd == 0 {
            // The peer closed its window over what is in flight: a probe, not a loss (SHLD-16, SHLD-17).
            self.marks.insert(Marks::RESEND_NOW);
        } else if self.selects()
            && let Some(flight) = flight
        {
            events |= self.on_selective_timeout(cx, flight);
            self.marks.remove(Marks::RESEND_NOW);
        } else {
            events |= Events::TIMED_RESEND;
            let out = self.recovery.flight(self.snd_una, self.snd_nxt);
            let (mss, first) = (self.full(), self.retries == 0);
            let mut flight = flight;
            self.tell_reduction(flight.as_deref_mut());
            let epoch = flight.map(|flight| &mut flight.epoch);
            self.congestion.on_timeout(cx.config, epoch, mss, out, first);
            self.recovery.resend_all(self.snd_una, self.snd_nxt);
            self.marks.remove(Marks::RESEND_NOW);
        }
        self.retries = self.retries.saturating_add(1);
        self.backoff = self.backoff.saturating_add(1);
        self.suspect_black_hole(cx);
        self.marks.insert(Marks::UNEVEN);
        self.arm_resend(cx);
        // R1 (MUST-20).
        events.set(Events::STALLED, self.retries == cx.config.stall_retries);
        events
    }

    /// Whether the peer's window has been shut over what waits to be sent for at least `expiries` of the persist timer. For
    /// a caller that is short of memory and looks for whom to let go (RFC 6429, section 3).
    pub const fn is_shut_out(&self, expiries: u8) -> bool {
        self.snd_wnd == 0 && self.backoff >= expiries && self.state.is_synchronized()
    }

    fn time_out(&mut self) -> Events {
        self.end();
        Events::TIMED_OUT
    }

    // ---- the slow timer ----

    /// A connection that is open is watched, if the configuration says so (MUST-24, MUST-25).
    pub(crate) fn arm_keepalive(&mut self, cx: &Context<'_>) {
        if let Some(keepalive) = cx.config.keepalive {
            self.arm_slow(cx.now, self.spread_out(&keepalive, keepalive.idle));
        }
    }

    /// `wait`, and what this connection waits longer than others. Sequence numbers begin at random and rest while the
    /// connection does: a multiplication spreads them.
    fn spread_out(&self, keepalive: &Keepalive, wait: Duration) -> Duration {
        let numbers = self.snd_nxt.0.rotate_left(16) ^ self.rcv_nxt.0;
        let part = numbers.wrapping_mul(0x9e37_79b1) >> 16;
        let most_ns = (u128::from(keepalive.idle.as_nanos()) * u128::from(keepalive.spread)) >> 8;
        let later_ns = (most_ns * u128::from(part)) >> 16;
        wait + Duration::from_nanos(u64::try_from(later_ns).unwrap_or(0))
    }

    /// In FIN-WAIT-2 the peer's silence is bounded.
    pub(crate) fn arm_fin_wait_2(&mut self, cx: &Context<'_>) {
        if let Some(patience) = cx.config.fin_wait_2 {
            self.arm_slow(cx.now, patience);
        }
    }

    fn arm_slow(&mut self, now: Instant, wait: Duration) {
        self.marks.insert(Marks::SLOW_ARMED);
        self.slow_at = Tick::after(now, wait);
    }

    /// Traffic does not touch the slow timer: when it expires, it looks at when the peer was last heard, and
    /// mostly goes back to sleep.
    fn on_slow_timer(&mut self, cx: &Context<'_>, held: &Held) -> Events {
        if self.state == State::FinWait2
            && let Some(patience) = cx.config.fin_wait_2
        {
            return self.on_silence_in_fin_wait_2(cx, held, patience);
        }
        self.on_keepalive(cx)
    }

    fn on_silence_in_fin_wait_2(&mut self, cx: &Context<'_>, held: &Held, patience: Duration) -> Events {
        let silence = self.last_heard.elapsed(cx.now);
        if silence < patience {
            self.arm_slow(cx.now, patience - silence);
            return Events::empty();
        }
        if !held.closed || held.unread > 0 {
            // A half-closed connection may wait for its peer as long as it likes (RFC 9293, section 3.6); and the
            // peer may be waiting for our application to read.
            self.arm_slow(cx.now, patience);
            return Events::empty();
        }
        self.end();
        Events::CLOSED
    }

    /// RFC 9293, section 3.8.4. Only an idle connection is probed (MUST-26); data in flight has its own timer.
    fn on_keepalive(&mut self, cx: &Context<'_>) -> Events {
        let Some(keepalive) = cx.config.keepalive else { return Events::empty() };
        let silence = self.last_heard.elapsed(cx.now);
        // Unanswered, the first probe leaves a silence of `idle` and an interval behind it.
        if self.probes > 0 && silence < keepalive.idle + keepalive.interval {
            self.probes = 0;
        }
        if self.in_flight() > 0 {
            self.arm_slow(cx.now, self.spread_out(&keepalive, keepalive.idle));
        } else if self.probes == 0 && silence < keepalive.idle {
            self.arm_slow(cx.now, self.spread_out(&keepalive, keepalive.idle - silence));
        } else if self.probes >= keepalive.probes {
            return self.time_out();
        } else {
            self.probes += 1;
            self.marks.insert(Marks::PROBE_NOW);
            self.arm_slow(cx.now, keepalive.interval);
        }
        Events::empty()
    }
}

#[inline]
fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}
