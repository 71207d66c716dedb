//! A connection's settings change while it lives: what takes effect at once, and what does not need to.
//!
//! Most settings are looked at whenever they matter. Some have left a trace in the connection (a timer that runs, a
//! segment size), and are caught up with here. `window_scale`, `timestamps`, `sack` and `ecn` were settled by the
//! SYNs and stay.

use crate::config::{Config, Context};
use crate::state::State;
use crate::tcb::{Marks, Tcb};

impl Tcb {
    /// The settings are now those of `cx`, and were `old`.
    pub fn on_configured(&mut self, cx: &Context<'_>, old: &Config) {
        let new = cx.config;
        if new.mss < old.mss {
            self.limit_mss(new.mss);
        }
        if new.keepalive != old.keepalive {
            self.restart_keepalive(cx);
        }
        if new.delayed_ack != old.delayed_ack && self.marks.contains(Marks::ACK_ARMED) {
            // It was armed for another delay; once too early does no harm.
            self.marks.insert(Marks::ACK_NOW);
        }
        let is_waiting = self.retries > 0 && self.marks.contains(Marks::RESEND_ARMED);
        if new.user_timeout != old.user_timeout && is_waiting {
            self.arm_resend(cx);
        }
    }

    /// Keepalive was turned on, off, or to other times (MUST-24: for each connection).
    fn restart_keepalive(&mut self, cx: &Context<'_>) {
        if !self.state.is_synchronized() || self.state == State::FinWait2 {
            // FIN-WAIT-2 has the slow timer for itself; other states will arm it when they open.
            return;
        }
        self.probes = 0;
        self.marks.remove(Marks::SLOW_ARMED | Marks::PROBE_NOW);
        self.arm_keepalive(cx);
    }

    /// Acknowledges what was received at once, and the next segments too, instead of waiting for company.
    pub const fn acknowledge_at_once(&mut self, segments: u8) {
        self.quick_acks = segments;
        if self.marks.contains(Marks::ACK_ARMED) {
            self.marks = self.marks.union(Marks::ACK_NOW);
        }
    }
}
