//! The flight: what a connection must know only while it has more than one segment out.
//!
//! A connection that is idle, or has a single segment in flight, has none: its TCB alone recovers from a loss, as
//! RFC 6582 and RFC 6298 say. Before a second segment goes out the caller gives it a flight, if it has one to spare,
//! and takes it back when everything is acknowledged. So the caller's table of flights is as large as there are
//! connections that send at the same time, not as there are connections.

use core::ops::{Deref, DerefMut};

use freeway_base::Duration;
use freeway_wire::tcp::SeqNumber;

use super::probe::Probe;
use super::prr::Prr;
use super::rack::{Delivered, Rack};
use super::scoreboard::{Board, Fate, Scoreboard, Span, is_later};
use super::undo::{Frto, Undo};
use crate::clock::micros;
use crate::config::Context;
use crate::congestion::Epoch;
use crate::outcome::Held;
use crate::tcb::{Marks, Tcb};

/// The side record of a connection that has several segments in flight, as functions see it: with room for any number of
/// spans. Plain data; [`NarrowFlight`] and [`WideFlight`] are those of a fixed size.
pub type Flight = FlightOf<[Span]>;

/// A flight of the common kind, 1 KiB: enough for a few tens of holes.
pub type NarrowFlight = FlightOf<[Span; NARROW]>;

/// A flight for a connection that has more holes than that, 16 KiB: see [`Flight::fit`].
pub type WideFlight = FlightOf<[Span; WIDE]>;

/// Spans that a narrow flight can tell apart.
const NARROW: usize = 46;
/// A narrow one with less room than for so many more is cramped: an acknowledgment brings four blocks at most.
const HEADROOM: usize = 10;
/// Spans that a wide flight can tell apart.
const WIDE: usize = 1_000;

/// Whether a flight is of the right size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fit {
    /// It is.
    Right,
    /// It is narrow, and there are more holes than it has room for: from here on it would forget.
    Cramped,
    /// It is wide, and there are no holes left.
    Roomy,
}

/// A flight whose spans lie in `S`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct FlightOf<S: ?Sized> {
    /// The least round trip seen in this flight, in microseconds; all ones before the first.
    pub(crate) min_rtt: u32,
    /// Bytes delivered, acknowledged or selectively so, since the flight began; wraps.
    pub(crate) delivered: u32,
    /// The delivery rate as measured last: so many bytes ...
    pub(crate) rate_bytes: u32,
    /// ... in so many microseconds.
    pub(crate) rate_us: u32,
    pub(crate) rack: Rack,
    pub(crate) prr: Prr,
    pub(crate) undo: Undo,
    pub(crate) probe: Probe,
    /// What the congestion controller keeps while data is in flight.
    pub(crate) epoch: Epoch,
    pub(crate) board: Scoreboard<S>,
}

// What tables of them cost: seventeen cache lines each, or 16 KiB.
const _: () = assert!(size_of::<NarrowFlight>() <= 17 * 64);
const _: () = assert!(size_of::<WideFlight>() <= 16 * 1_024);

impl<const N: usize> Deref for FlightOf<[Span; N]> {
    type Target = Flight;

    #[inline]
    fn deref(&self) -> &Flight {
        self
    }
}

impl<const N: usize> DerefMut for FlightOf<[Span; N]> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Flight {
        self
    }
}

/// What an acknowledgment delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Delivery {
    /// Bytes that the peer is known to have for the first time.
    pub(crate) bytes: u32,
    /// The round trip of the newest segment among them, in microseconds, if it can be told.
    pub(crate) rtt_us: Option<u32>,
    /// Of what was sent once: the end of the highest, and the lowest end.
    pub(crate) lowest_original: Option<SeqNumber>,
    /// When the newest that was sent once was sent.
    newest_sent_at: Option<u32>,
    /// What RACK goes by: the newest of all that is not ambiguous.
    newest: Option<Delivered>,
    /// Bytes delivered when that was sent.
    rate_since: u32,
}

/// What tells an original from its repetition when either may have been acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence {
    pub(crate) now_us: u32,
    /// What is acknowledged was sent so long ago at least, by the echoed timestamp, in microseconds.
    pub(crate) echo_age_us: Option<u64>,
}

impl<const N: usize> FlightOf<[Span; N]> {
    /// A flight of nothing, for a table's empty places.
    pub const fn vacant() -> Self {
        Self::of(SeqNumber(0))
    }

    const fn of(una: SeqNumber) -> Self {
        Self {
            min_rtt: u32::MAX,
            delivered: 0,
            rate_bytes: 0,
            rate_us: 0,
            rack: Rack::new(una),
            prr: Prr::begin(0),
            undo: Undo::new(),
            probe: Probe::None,
            epoch: Epoch::new(),
            board: Board::new(una),
        }
    }

    /// The flight of a connection that [wants one](Tcb::wants_flight): what is out already is in it.
    pub fn begin(cx: &Context<'_>, tcb: &Tcb) -> Self {
        let mut flight = Self::of(tcb.snd_una);
        if tcb.marks.contains(Marks::REORDERING) {
            flight.rack.expect_reordering();
        }
        if tcb.in_flight() > 0 {
            // The one segment that is out is the one whose round trip is measured. Where that is not so nothing is known
            // of it but that it was sent by now.
            let timed = tcb.marks.contains(Marks::TIMING) && tcb.timed_seq == tcb.snd_nxt;
            let sent_at = if timed { tcb.timed_at } else { micros(cx.now) };
            flight.board.sent(tcb.snd_nxt, sent_at, 0);
            if !timed {
                flight.board.change_all(|_, span| {
                    *span = Span { spread: u16::MAX, fate: Fate::AGAIN, ..*span };
                });
            }
        }
        flight
    }

    /// What `other` knows, in a flight of this size.
    pub fn adopting(other: &Flight) -> Self {
        let &FlightOf { min_rtt, delivered, rate_bytes, rate_us, rack, prr, undo, probe, epoch, ref board } =
            other;
        let mut flight = Self {
            min_rtt,
            delivered,
            rate_bytes,
            rate_us,
            rack,
            prr,
            undo,
            probe,
            epoch,
            board: Board::new(SeqNumber(0)),
        };
        flight.board.adopt(board);
        flight
    }
}

impl Flight {
    /// Whether the flight is of the right size; asked after each segment.
    #[inline]
    pub fn fit(&self) -> Fit {
        let (spans, room) = (self.board.spans().len(), self.board.room());
        if room == NARROW && spans + HEADROOM > NARROW && self.has_holes() {
            Fit::Cramped
        } else if room > NARROW && !self.has_holes() {
            Fit::Roomy
        } else {
            Fit::Right
        }
    }

    /// Whether something behind SND.UNA has arrived, or is lost.
    #[inline]
    const fn has_holes(&self) -> bool {
        self.board.sacked() > 0 || self.board.lost() > 0
    }

    // ---- getters ----

    /// The least round trip seen in this flight, in microseconds.
    pub const fn min_rtt_us(&self) -> Option<u32> {
        if self.min_rtt == u32::MAX { None } else { Some(self.min_rtt) }
    }

    /// The delivery rate as measured last, in bytes a second. Divides: for reports.
    pub const fn delivery_rate(&self) -> Option<u64> {
        (self.rate_bytes as u64 * 1_000_000).checked_div(self.rate_us as u64)
    }

    /// Bytes selectively acknowledged, and bytes lost and not yet delivered.
    pub const fn sacked_and_lost(&self) -> (u32, u32) {
        (self.board.sacked(), self.board.lost())
    }

    /// How long ago something was sent, for the first time or again.
    pub fn since_sent(&self, cx: &Context<'_>) -> Option<Duration> {
        let age = |span: &Span| micros(cx.now).wrapping_sub(span.sent_at);
        let youngest = self.board.spans().iter().map(age).min()?;
        Some(Duration::from_micros(u64::from(youngest)))
    }

    /// Whether segments were seen to overtake each other.
    pub const fn has_seen_reordering(&self) -> bool {
        self.rack.has_seen_reordering()
    }

    // ---- what happens ----

    /// New data was sent, up to `end`.
    #[inline]
    pub(crate) fn on_sent(&mut self, end: SeqNumber, now_us: u32) {
        self.board.sent(end, now_us, self.delivered);
    }

    /// What lies in `from..to` was sent again.
    pub(crate) fn on_resent(&mut self, from: SeqNumber, to: SeqNumber, now_us: u32) {
        self.board.resent(from, to, now_us, self.delivered);
    }

    /// SND.UNA moved to `una`.
    #[inline]
    pub(crate) fn on_acknowledged(&mut self, una: SeqNumber, evidence: &Evidence) -> Delivery {
        let mut delivery = Delivery::default();
        let (rack, min_rtt) = (&mut self.rack, self.min_rtt);
        self.board.acknowledge(una, |start, span| {
            if !span.fate.contains(Fate::SACKED) {
                delivery.add(start, span, evidence, min_rtt);
                rack.note_order(span.end, span.fate.contains(Fate::AGAIN));
            }
        });
        delivery
    }

    /// The peer has got `from..to` out of order.
    pub(crate) fn on_sacked(
        &mut self,
        (from, to): (SeqNumber, SeqNumber),
        evidence: &Evidence,
        delivery: &mut Delivery,
    ) {
        let (rack, min_rtt) = (&mut self.rack, self.min_rtt);
        self.board.change(from, to, |start, span| {
            if !span.fate.contains(Fate::SACKED) {
                delivery.add(start, span, evidence, min_rtt);
                rack.note_order(span.end, span.fate.contains(Fate::AGAIN));
                span.fate = Fate::SACKED;
            }
        });
    }

    /// All that an acknowledgment delivered is known: what follows for round trip, rate and RACK.
    #[inline]
    pub(crate) fn settle(&mut self, delivery: &mut Delivery, now_us: u32) {
        self.delivered = self.delivered.wrapping_add(delivery.bytes);
        delivery.rtt_us = delivery.newest_sent_at.map(|sent_at| now_us.wrapping_sub(sent_at));
        if let Some(rtt_us) = delivery.rtt_us {
            self.min_rtt = self.min_rtt.min(rtt_us);
        }
        if let Some(newest) = delivery.newest {
            self.rack.on_delivered(newest, now_us);
            self.rate_bytes = self.delivered.wrapping_sub(delivery.rate_since);
            self.rate_us = now_us.wrapping_sub(newest.sent_at);
        }
    }

    /// After a time-out: declares lost what was sent a round trip and the reordering window ago, and the first in any
    /// case (RFC 8985, section 6.3). With `forget` what was selectively acknowledged does not count any more: the peer
    /// may have thrown it away (RFC 2018, section 8).
    pub(crate) fn lose(&mut self, now_us: u32, overdue_us: u32, forget: bool) {
        let mut is_first = true;
        self.board.change_all(|_, span| {
            let counts = span.fate.contains(Fate::SACKED) && !forget;
            let is_overdue = now_us.wrapping_sub(span.sent_at) >= overdue_us;
            if !counts && (is_overdue || is_first || span.fate.contains(Fate::SACKED)) {
                span.fate = span.fate.difference(Fate::RESENT | Fate::SACKED) | Fate::LOST;
            }
            is_first = false;
        });
    }

    /// What lies in `from..to` counts as lost, unless the peer has it.
    pub(crate) fn lose_run(&mut self, from: SeqNumber, to: SeqNumber) {
        self.board.change(from, to, |_, span| {
            if !span.fate.contains(Fate::SACKED) {
                span.fate = span.fate.difference(Fate::RESENT) | Fate::LOST;
            }
        });
    }

    /// Segments behind the first have arrived, and RACK does not know of any when it was sent: the first `mss` bytes count
    /// as lost, unless they were sent again. Whether they do.
    pub(crate) fn lose_head(&mut self, mss: u32) -> bool {
        let Some(first) = self.board.spans().first() else { return false };
        let una = self.board.una();
        if self.rack.is_known() || self.board.sacked() == 0 || !first.fate.is_empty() {
            return false;
        }
        self.lose_run(una, una + mss);
        true
    }

    /// Whether the peer acknowledges selectively what it does not acknowledge: it has thrown it away.
    pub(crate) fn is_reneged(&self) -> bool {
        self.board.spans().first().is_some_and(|span| span.fate.contains(Fate::SACKED))
    }

    /// Nothing was lost after all: what was not sent again is under way as before.
    pub(crate) fn find_again(&mut self) {
        self.board.change_all(|_, span| span.fate = span.fate.difference(Fate::LOST | Fate::RESENT));
    }

    /// Whether all goes smoothly: no hole, no doubt.
    #[inline]
    pub(crate) fn is_even(&self) -> bool {
        self.board.sacked() == 0
            && self.board.lost() == 0
            && self.probe == Probe::None
            && !self.undo.is_pending()
    }

    /// Whether a probe is to be sent now.
    #[inline]
    pub(crate) fn probe_is_due(&self) -> bool {
        self.probe == Probe::Due
    }

    /// Whether what is lost is sent again: not while F-RTO looks whether it is lost at all.
    #[inline]
    pub(crate) fn resends(&self) -> bool {
        self.undo.frto != Frto::Probing
    }

    /// Whether reports that are still to come, after everything is acknowledged, would change something.
    pub(crate) const fn lingers(&self) -> bool {
        self.undo.is_pending() || self.probe.is_pending()
    }
}

impl Delivery {
    /// A span that the peer has got.
    #[inline]
    fn add(&mut self, start: SeqNumber, span: &Span, evidence: &Evidence, min_rtt: u32) {
        self.bytes += span.end.distance_from(start);
        let is_repeated = span.fate.contains(Fate::AGAIN);
        if !is_repeated {
            self.lowest_original = Some(self.lowest_original.map_or(span.end, |end| end.min(span.end)));
        }
        // Of what was sent at some time between two, the first counts: it is older than it is, and proves less.
        let known_at = span.last_sent_at();
        let Some(sent_at) = known_at.or_else(|| span.first_sent_at()) else { return };
        let age = evidence.now_us.wrapping_sub(sent_at);
        // Karn (MUST-18): no round trip of what was sent twice, and none of what was sent nobody knows when.
        if known_at.is_some()
            && !is_repeated
            && self.newest_sent_at.is_none_or(|before| is_later(sent_at, before))
        {
            self.newest_sent_at = Some(sent_at);
        }
        // RFC 8985, section 6.2, step 2: an answer that came too soon, or echoes an older timestamp, was the original's.
        let is_of_original = is_repeated
            && (age < min_rtt && min_rtt != u32::MAX
                || evidence.echo_age_us.is_some_and(|echo_age| echo_age > u64::from(age) + 1_000));
        if !is_of_original && self.newest.is_none_or(|newest| !newest.is_sent_after(sent_at, span.end)) {
            self.newest = Some(Delivered { sent_at, end: span.end });
            self.rate_since = span.delivered;
        }
    }
}

impl Tcb {
    /// Whether the connection is about to have more than one segment in flight, and would be served better with a
    /// [`Flight`]. To be asked when it has none.
    #[inline]
    pub fn wants_flight(&self, held: &Held) -> bool {
        self.in_flight() > 0
            && held.queued > self.in_flight()
            && self.state.transmits()
            && !self.marks.intersects(Marks::UNEVEN.union(Marks::FIN_SENT).union(Marks::PERSIST))
    }

    /// Whether the flight that the connection has is of use still; asked after each segment and each deadline. For a
    /// while after the last acknowledgment it may be, when more is to be learned of what was sent again.
    #[inline]
    pub const fn needs_flight(&self, flight: &Flight) -> bool {
        self.in_flight() > 0
            || flight.lingers()
                && self.marks.contains(Marks::RESEND_ARMED)
                && !self.marks.contains(Marks::PERSIST)
                && self.state.is_synchronized()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNA: SeqNumber = SeqNumber(u32::MAX - 70_000);

    #[test]
    fn a_long_flight_measures_round_trips_exactly_or_not_at_all() {
        let mut flight = NarrowFlight::of(UNA);
        let mut samples = 0;
        for turn in 0..3_000u32 {
            let now_us = turn * 100;
            flight.on_sent(UNA + (turn + 1) * 100, now_us);
            if turn >= 600 {
                let evidence = Evidence { now_us, echo_age_us: None };
                let mut delivery = flight.on_acknowledged(UNA + (turn - 599) * 100, &evidence);
                flight.settle(&mut delivery, now_us);
                assert!(delivery.rtt_us.is_none_or(|rtt_us| rtt_us == 60_000), "{delivery:?}");
                samples += u32::from(delivery.rtt_us.is_some());
            }
        }
        // Four round trips, and some in each.
        assert!(samples > 40, "{samples}");
        assert_eq!(flight.min_rtt_us(), Some(60_000));
    }

    #[test]
    fn a_flight_is_cramped_by_holes_alone_and_roomy_without_any() {
        let mut narrow = NarrowFlight::of(UNA);
        for turn in 0..200u32 {
            narrow.on_sent(UNA + (turn + 1) * 100, turn * 1_000);
        }
        assert_eq!(narrow.fit(), Fit::Right, "when it was sent is forgotten instead");
        let evidence = Evidence { now_us: 300_000, echo_age_us: None };
        let mut hole = 0;
        while narrow.fit() == Fit::Right {
            let run = (UNA + (2 * hole + 1) * 100, UNA + (2 * hole + 2) * 100);
            narrow.on_sacked(run, &evidence, &mut Delivery::default());
            hole += 1;
            assert!(hole < 30);
        }
        assert_eq!(narrow.fit(), Fit::Cramped);
        let mut wide = WideFlight::adopting(&narrow);
        assert_eq!((wide.fit(), wide.sacked_and_lost()), (Fit::Right, narrow.sacked_and_lost()));
        wide.on_acknowledged(UNA + 2 * hole * 100, &evidence);
        assert_eq!(wide.fit(), Fit::Roomy);
        assert_eq!(NarrowFlight::adopting(&wide).fit(), Fit::Right);
    }
}
