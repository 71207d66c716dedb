//! Explicit congestion notification: routers mark what they would have dropped (RFC 3168, RFC 8311), and DCTCP's way of
//! telling the sender (RFC 8257, section 3.2).
//!
//! ```text
//!   sender                                        receiver
//!   new data, ECT(0) ──────── a router: CE ─────► echo on
//!   one reduction a window ◄─────────── ACK, ECE ┘  ... until
//!   the next new data, CWR ─────────────────────► echo off
//! ```
//!
//! Only new data is marked as ECN-capable: no SYN, no bare acknowledgment, nothing that is sent again and no probe of
//! a window (sections 6.1.1, 6.1.4 to 6.1.6), for the loss of these would not be noticed or their mark not be echoed.
//!
//! A peer that offers AccECN (RFC 9768) sets a bit beside ECE and CWR in its SYN, which reads as a reserved one here: it
//! is answered as an ECN-setup SYN, and falls back to RFC 3168 as RFC 9768, section 3.1.3, says.

use core::str::FromStr;

use freeway_wire::Ecn;
use freeway_wire::tcp::Flags;

use crate::config::{Config, Context};
use crate::congestion::Algorithm;
use crate::outcome::{Held, Outcome, Reply};
use crate::recovery::{Flight, Phase};
use crate::segment::{Arrival, Outgoing};
use crate::tcb::{Marks, Tcb};

/// Whether connections use explicit congestion notification.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum EcnMode {
    /// Never.
    Off,
    /// Where the peer asks for it.
    Passive,
    /// Where the peer asks for it, and asking for it oneself; a SYN that stays unanswered is repeated without.
    #[default]
    On,
}

impl EcnMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Off, Self::Passive, Self::On];

    /// Its name on command lines and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Passive => "passive",
            Self::On => "on",
        }
    }
}

impl core::fmt::Display for EcnMode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

/// No mode has this name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownEcnMode;

impl core::fmt::Display for UnknownEcnMode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ECN is one of off, passive, on")
    }
}

impl core::error::Error for UnknownEcnMode {}

impl FromStr for EcnMode {
    type Err = UnknownEcnMode;

    fn from_str(name: &str) -> Result<Self, UnknownEcnMode> {
        Self::ALL.into_iter().find(|mode| mode.name() == name).ok_or(UnknownEcnMode)
    }
}

/// Both bits in a SYN: an ECN-setup SYN (section 6.1.1).
const SETUP: Flags = Flags::ECE.union(Flags::CWR);

/// Whether a SYN asks for ECN.
pub(crate) const fn is_setup_syn(flags: Flags) -> bool {
    flags.contains(SETUP)
}

/// Whether a SYN-ACK agrees to ECN. One that has both bits comes from a host that sends back what it does not know.
pub(crate) const fn is_setup_syn_ack(flags: Flags) -> bool {
    flags.contains(Flags::ECE) && !flags.contains(Flags::CWR)
}

/// What a SYN says of ECN. Sent again it says nothing, in case it was lost for what it said (section 6.1.1.1).
pub(crate) fn syn_flags(config: &Config, resent: bool) -> Flags {
    if config.ecn == EcnMode::On && !resent { SETUP } else { Flags::empty() }
}

/// What a SYN-ACK says of it.
pub(crate) const fn syn_ack_flags(agreed: bool) -> Flags {
    if agreed { Flags::ECE } else { Flags::empty() }
}

/// Whether a SYN that arrived in LISTEN is agreed to.
pub(crate) fn accepts(config: &Config, flags: Flags) -> bool {
    config.ecn != EcnMode::Off && is_setup_syn(flags)
}

// ---- the sender ----

impl Tcb {
    /// A SYN or SYN-ACK that arrived in SYN-SENT: ECN it is if every SYN of ours asked for it (section 6.1.1).
    pub(crate) fn agrees_on_ecn(&self, config: &Config, flags: Flags) -> bool {
        let asked = config.ecn == EcnMode::On && !self.marks.contains(Marks::SYN_LOST);
        let answer = if flags.contains(Flags::ACK) { is_setup_syn_ack(flags) } else { is_setup_syn(flags) };
        asked && answer
    }

    /// Makes new data ECN-capable, and tells the peer of a reduction.
    #[inline]
    pub(crate) fn mark_new_data(&mut self, outgoing: &mut Outgoing, is_probe: bool) {
        if !self.marks.contains(Marks::ECN) || outgoing.len == 0 || is_probe {
            return;
        }
        outgoing.ecn = Ecn::Ect0;
        if self.marks.contains(Marks::CWR_NOW) {
            self.marks.remove(Marks::CWR_NOW);
            outgoing.flags |= Flags::CWR;
        }
    }

    /// Whether an acknowledgment echoes a mark.
    #[inline]
    pub(crate) fn echoes_mark(&self, arrival: &Arrival<'_>) -> bool {
        self.marks.contains(Marks::ECN) && arrival.has(Flags::ECE)
    }

    /// An acknowledgment of `bytes`, which SND.UNA is past already, echoes a mark: the window is reduced, once for each
    /// window of data (section 6.1.2). During loss recovery it has been reduced already; that the peer shall know.
    #[cold]
    pub(crate) fn on_echo(
        &mut self,
        cx: &Context<'_>,
        mut flight: Option<&mut Flight>,
        bytes: u32,
        outcome: &mut Outcome,
    ) {
        if !self.begins_marked_window(flight.as_deref()) {
            return;
        }
        self.tell_reduction(flight.as_deref_mut());
        if self.recovery.phase() != Phase::Open {
            return;
        }
        let mss = self.full();
        let out = self.in_flight().saturating_add(bytes).min(self.congestion.cwnd);
        let epoch = flight.map(|flight| &mut flight.epoch);
        self.congestion.on_mark(cx.config, epoch, mss, out);
        outcome.reduced = true;
    }

    /// The window is reduced, for a mark or a loss: the peer shall know, and echoes of the same window do not reduce it
    /// once more (section 6.1.2).
    pub(crate) fn tell_reduction(&mut self, flight: Option<&mut Flight>) {
        if !self.marks.contains(Marks::ECN) {
            return;
        }
        self.marks.insert(Marks::CWR_NOW);
        if let Some(flight) = flight {
            flight.epoch.set_reduced_at(self.snd_nxt);
            return;
        }
        // Without a flight the place of the segment that is timed remembers it: until then nothing is.
        let is_held = self.in_flight() > 0;
        self.marks.set(Marks::ECN_HOLD, is_held);
        if is_held {
            self.marks.remove(Marks::TIMING);
            self.timed_seq = self.snd_nxt;
        }
    }

    /// Whether this echo is the first of its window: what was in flight at the last reduction, and one more segment,
    /// which carried CWR, has been acknowledged since.
    fn begins_marked_window(&self, flight: Option<&Flight>) -> bool {
        let reduced_at = match flight {
            Some(flight) => flight.epoch.reduced_at(),
            None => self.marks.contains(Marks::ECN_HOLD).then_some(self.timed_seq),
        };
        reduced_at.is_none_or(|reduced_at| self.snd_una.is_after(reduced_at))
    }

    /// Whether `timed_seq` is taken by `tell_reduction`.
    #[inline]
    pub(crate) fn is_timing_held(&mut self) -> bool {
        if !self.marks.contains(Marks::ECN_HOLD) {
            return false;
        }
        let is_held = !self.snd_una.is_after(self.timed_seq);
        self.marks.set(Marks::ECN_HOLD, is_held);
        is_held
    }
}

// ---- the receiver ----

impl Tcb {
    /// What a segment's mark, or its word that the window was reduced, does to our echo. To be called before its payload
    /// is taken.
    #[inline]
    pub(crate) fn take_mark(
        &mut self,
        cx: &Context<'_>,
        arrival: &Arrival<'_>,
        held: &Held,
        outcome: &mut Outcome,
    ) {
        let is_told = arrival.ecn == Ecn::Ce || arrival.has(Flags::CWR);
        if self.marks.contains(Marks::ECN) && (is_told || self.marks.contains(Marks::ECHO)) {
            self.change_echo(cx, arrival, held, outcome);
        }
    }

    #[cold]
    fn change_echo(&mut self, cx: &Context<'_>, arrival: &Arrival<'_>, held: &Held, outcome: &mut Outcome) {
        if arrival.payload_len == 0 {
            // Nothing but data is ECN-capable; a mark on anything else is an error, or an attack (section 6.1.5).
            return;
        }
        let is_marked = arrival.ecn == Ecn::Ce;
        let was_on = self.marks.contains(Marks::ECHO);
        if cx.config.congestion == Algorithm::Dctcp {
            if is_marked != was_on {
                // RFC 8257, figure 1: what is unacknowledged is acknowledged with the echo as it was for that.
                if self.rcv_nxt != self.last_ack && outcome.reply == Reply::None {
                    outcome.reply = Reply::Ack(self.acknowledgment(cx, held));
                }
                self.marks.set(Marks::ECHO, is_marked);
                self.marks.insert(Marks::ACK_NOW);
            }
            return;
        }
        // Section 6.1.3: CWR ends the echo; if the segment that says so is marked again, the next one begins.
        if arrival.has(Flags::CWR) {
            self.marks.remove(Marks::ECHO);
            // The sender may have room for a single segment: its acknowledgment is not delayed.
            self.marks.insert(Marks::ACK_NOW);
        }
        if is_marked && !self.marks.contains(Marks::ECHO) {
            self.marks.insert(Marks::ECHO | Marks::ACK_NOW);
        }
    }

    /// What every acknowledgment says of marks.
    #[inline]
    pub(crate) fn echo_flags(&self) -> Flags {
        if self.marks.contains(Marks::ECHO) { Flags::ECE } else { Flags::empty() }
    }
}

#[cfg(test)]
mod tests {
    use freeway_wire::tcp::{Repr, Segment};

    use super::*;

    #[test]
    fn names_are_understood_and_given_back() {
        for mode in EcnMode::ALL {
            assert_eq!(mode.name().parse(), Ok(mode));
        }
        assert_eq!("yes".parse::<EcnMode>(), Err(UnknownEcnMode));
    }

    #[test]
    fn setup_is_told_from_reflection() {
        let (ece, cwr) = (Flags::ECE, Flags::CWR);
        assert!(is_setup_syn(Flags::SYN | ece | cwr));
        assert!(!is_setup_syn(Flags::SYN | ece) && !is_setup_syn(Flags::SYN | cwr));
        assert!(is_setup_syn_ack(Flags::SYN | Flags::ACK | ece));
        assert!(!is_setup_syn_ack(Flags::SYN | Flags::ACK | ece | cwr));
        assert!(!is_setup_syn_ack(Flags::SYN | Flags::ACK));
    }

    #[test]
    fn an_offer_of_accurate_feedback_is_taken_for_the_classic_one() {
        let mut bytes = [0; 20];
        // Five words, the AE bit; CWR, ECE, SYN.
        bytes[12] = 0x51;
        bytes[13] = 0xc2;
        let repr = Repr::read(&Segment::new_unchecked(&bytes[..]));
        assert!(accepts(&Config::default(), repr.flags));
        assert!(!accepts(&Config { ecn: EcnMode::Off, ..Config::default() }, repr.flags));
        assert_eq!(syn_ack_flags(true), Flags::ECE);
    }
}
