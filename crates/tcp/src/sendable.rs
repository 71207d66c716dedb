//! Is there anything worth sending? Windows, the sender's silly-window rule and Nagle's algorithm (RFC 9293,
//! sections 3.8.6.2.1 and 3.7.4), and what is to be sent again.

use freeway_wire::tcp::SeqNumber;

use crate::config::Config;
use crate::outcome::Held;
use crate::recovery::Flight;
use crate::tcb::{Marks, Tcb};

/// A segment's share of the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Share {
    pub(crate) seq: SeqNumber,
    pub(crate) len: u32,
    pub(crate) fin: bool,
}

impl Share {
    /// The sequence number behind it.
    pub(crate) fn end(&self) -> SeqNumber {
        self.seq + self.len + u32::from(self.fin)
    }
}

/// What a short segment may have to wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Delay {
    /// Nothing.
    None,
    /// The acknowledgment of all that is in flight (Nagle's algorithm).
    Nagle,
    /// More bytes, until it is a full one.
    Cork,
}

impl Delay {
    pub(crate) const fn new(config: &Config) -> Self {
        match (config.cork, config.nagle) {
            (true, _) => Self::Cork,
            (false, true) => Self::Nagle,
            (false, false) => Self::None,
        }
    }
}

impl Tcb {
    /// Whether [`poll_transmit`](Self::poll_transmit) has something to do. It may still find nothing to send:
    /// Nagle's algorithm is decided there.
    #[inline]
    pub fn wants_transmit(&self, held: &Held, flight: Option<&Flight>) -> bool {
        let owed = Marks::ACK_NOW.union(Marks::SYN_NOW).union(Marks::PROBE_NOW);
        self.marks.intersects(owed) || self.transmits() && self.has_share(held, flight)
    }

    /// Whether it is plain that [`poll_transmit`](Self::poll_transmit) has nothing to give: nothing is owed, all that is
    /// queued is out, and nobody doubts that it arrives. For a connection without a [`Flight`].
    #[inline]
    pub const fn is_quiet(&self, held: &Held) -> bool {
        let stirs = Marks::ACK_NOW
            .union(Marks::SYN_NOW)
            .union(Marks::PROBE_NOW)
            .union(Marks::RESEND_NOW)
            .union(Marks::FORCE)
            .union(Marks::UNEVEN)
            .union(Marks::FIN_WANTED);
        !self.marks.intersects(stirs) && held.queued <= self.in_flight()
    }

    /// Whether everything is sent and acknowledged.
    #[inline]
    pub(crate) const fn is_settled(&self, held: &Held) -> bool {
        self.snd_una.0 == self.snd_nxt.0 && held.queued == 0 && !self.marks.contains(Marks::FIN_WANTED)
    }

    fn has_share(&self, held: &Held, flight: Option<&Flight>) -> bool {
        if self.is_settled(held) {
            return false;
        }
        self.share_to_resend(held, flight).is_some()
            || self.new_share(held, flight, Delay::None).is_some()
            || flight.is_some_and(|flight| self.probe_share(held, flight).is_some())
            || self.needs_persist(held, Delay::None)
    }

    /// What was sent before and is to be sent again now.
    pub(crate) fn share_to_resend(&self, held: &Held, flight: Option<&Flight>) -> Option<Share> {
        if self.snd_una == self.snd_nxt {
            return None;
        }
        let (from, to) = if self.marks.contains(Marks::RESEND_NOW) {
            (self.snd_una, self.snd_nxt)
        } else if self.selects()
            && let Some(flight) = flight
            && self.recovery.resend_from().is_none()
        {
            return self.lost_share(held, flight);
        } else {
            let (from, to) = self.recovery.resend_from()?;
            let flight = self.recovery.flight(self.snd_una, self.snd_nxt);
            let fits = flight == 0 || flight.saturating_add(self.full()) <= self.congestion.cwnd;
            if !fits {
                return None;
            }
            (from, to)
        };
        self.sent_share(from, to, held)
    }

    /// The first that the scoreboard calls lost, as the congestion window allows (RFC 6675, section 5, step C).
    #[inline(never)]
    fn lost_share(&self, held: &Held, flight: &Flight) -> Option<Share> {
        if !flight.resends() {
            return None;
        }
        let (from, to) = flight.board.next_lost()?;
        let share = self.sent_share(from, to, held)?;
        let pipe = flight.board.pipe();
        (pipe == 0 || pipe.saturating_add(share.len) <= self.congestion.cwnd).then_some(share)
    }

    /// A probe that repeats the last segment (RFC 8985, section 7.3): where there is nothing new to probe with.
    pub(crate) fn probe_share(&self, held: &Held, flight: &Flight) -> Option<Share> {
        if !flight.probe_is_due() || self.snd_una == self.snd_nxt {
            return None;
        }
        let fin = u32::from(self.marks.contains(Marks::FIN_SENT));
        let len = self.full().saturating_add(fin).min(self.in_flight());
        self.sent_share(self.snd_nxt - len, self.snd_nxt, held)
    }

    /// A segment's worth of what was sent, from `from`, not beyond `to`.
    fn sent_share(&self, from: SeqNumber, to: SeqNumber, held: &Held) -> Option<Share> {
        let offset = from.distance_from(self.snd_una);
        let bytes = self.bytes_in_flight().min(held.queued);
        let len = bytes.saturating_sub(offset).min(to.distance_from(from)).min(self.full());
        let fin = self.marks.contains(Marks::FIN_SENT) && from + len + 1 == self.snd_nxt;
        (len > 0 || fin).then_some(Share { seq: from, len, fin })
    }

    /// What was never sent and may be sent now.
    #[inline(always)]
    pub(crate) fn new_share(&self, held: &Held, flight: Option<&Flight>, delay: Delay) -> Option<Share> {
        let resends = match flight {
            Some(flight) => flight.board.has_lost() && flight.resends(),
            None => false,
        };
        if self.marks.contains(Marks::FIN_SENT) || resends || self.recovery.resend_from().is_some() {
            return None;
        }
        let sent = self.in_flight();
        let unsent = held.queued.saturating_sub(sent);
        let wants_fin = self.marks.contains(Marks::FIN_WANTED);
        if unsent == 0 && !wants_fin {
            return None;
        }
        let window = self.usable_window(sent);
        let len = unsent.min(window).min(self.congestion_room(flight)).min(self.full());
        let is_last = len == unsent;
        let fin = wants_fin && is_last && window > len;
        let share = Share { seq: self.snd_nxt, len, fin };
        let delay = match delay {
            Delay::Nagle if flight.is_some_and(Flight::probe_is_due) => Delay::None,
            other => other,
        };
        self.is_worthwhile(&share, unsent, sent, delay).then_some(share)
    }

    /// What the peer's window has room for. A forced probe always finds room for one number (MUST-36).
    fn usable_window(&self, sent: u32) -> u32 {
        let window = self.snd_wnd.saturating_sub(sent);
        if self.marks.contains(Marks::FORCE) { window.max(1) } else { window }
    }

    /// What the congestion window has room for.
    fn congestion_room(&self, flight: Option<&Flight>) -> u32 {
        if self.selects()
            && let Some(flight) = flight
        {
            // RFC 6675, section 5, step C: with what the peer has reported out of the way, limited transmit (RFC 3042)
            // follows by itself. A probe goes out whatever the window says.
            let least = if flight.probe_is_due() { self.full() } else { 0 };
            return self.congestion.cwnd.saturating_sub(flight.board.pipe()).max(least);
        }
        let extra = self.recovery.extra_segments() * self.full();
        let flight = self.recovery.flight(self.snd_una, self.snd_nxt);
        self.congestion.cwnd.saturating_add(extra).saturating_sub(flight)
    }

    /// Section 3.8.6.2.1: a full segment; all there is (and Nagle and the cork agree); a good part of the peer's buffer while
    /// nothing is in flight; or anything at all once the override timer, here the persist timer, has expired.
    fn is_worthwhile(&self, share: &Share, unsent: u32, sent: u32, delay: Delay) -> bool {
        if share.len == 0 {
            return share.fin;
        }
        if share.len >= self.full() || self.marks.contains(Marks::FORCE) {
            return true;
        }
        if share.len == unsent {
            return match delay {
                Delay::None => true,
                // With Minshall's modification: only a small segment in flight holds back another one, so that the end of
                // a long write does not wait for its beginning.
                Delay::Nagle => sent == 0 || share.fin || !self.marks.contains(Marks::SMALL_SENT),
                Delay::Cork => share.fin,
            };
        }
        // Fs of the RFC, 1/2, of a maximum that is known as a power of two: between a quarter and a half of it.
        let good_part = (1u32 << self.max_window_bits) >> 2;
        sent == 0 && share.len >= good_part.max(1)
    }

    /// Nothing is in flight, something waits, and the window (or the cork) does not let it out: only the persist timer
    /// will.
    pub(crate) fn needs_persist(&self, held: &Held, delay: Delay) -> bool {
        self.snd_una == self.snd_nxt
            && (held.queued > 0 || self.marks.contains(Marks::FIN_WANTED))
            && !self.marks.contains(Marks::FIN_SENT)
            && !self.marks.contains(Marks::RESEND_ARMED | Marks::PERSIST)
            && self.new_share(held, None, delay).is_none()
    }
}
