//! The flight: what a connection must know only while it has more than one segment out.
//!
//! A connection that is idle, or has a single segment in flight, has none: its TCB alone recovers from a loss, as
//! RFC 6582 and RFC 6298 say. Before a second segment goes out the caller gives it a flight, if it has one to spare,
//! and takes it back when everything is acknowledged. So the caller's table of flights is as large as there are
//! connections that send at the same time, not as there are connections.

use freeway_wire::tcp::SeqNumber;

use crate::clock::micros;
use crate::config::Context;
use crate::congestion::Epoch;
use crate::outcome::Held;
use crate::recovery::scoreboard::{Fate, Scoreboard, Span, is_later};
use crate::tcb::{Marks, Tcb};

/// The side record of a connection that has several segments in flight. Plain data of a fixed size.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Flight {
    /// The least round trip seen in this flight, in microseconds; all ones before the first.
    pub(crate) min_rtt: u32,
    /// Bytes delivered, acknowledged or selectively so, since the flight began; wraps.
    pub(crate) delivered: u32,
    /// What the congestion controller keeps while data is in flight.
    pub(crate) epoch: Epoch,
    pub(crate) board: Scoreboard,
}

const _: () = assert!(size_of::<Flight>() <= 1024 + 64);

/// What an acknowledgment delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Delivery {
    /// Bytes that the peer is known to have for the first time.
    pub(crate) bytes: u32,
    /// The round trip of the newest segment among them, in microseconds, if it can be told.
    pub(crate) rtt_us: Option<u32>,
}

impl Flight {
    /// A flight of nothing, for a table's empty places.
    pub const fn vacant() -> Self {
        Self::of(SeqNumber(0))
    }

    const fn of(una: SeqNumber) -> Self {
        Self { min_rtt: u32::MAX, delivered: 0, epoch: Epoch::new(), board: Scoreboard::new(una) }
    }

    /// The flight of a connection that [wants one](Tcb::wants_flight): what is out already is in it.
    pub fn begin(cx: &Context<'_>, tcb: &Tcb) -> Self {
        let mut flight = Self::of(tcb.snd_una);
        if tcb.in_flight() > 0 {
            // The one segment that is out is the one whose round trip is measured. Where that is not so nothing is known
            // of it but that it was sent by now.
            let timed = tcb.marks.contains(Marks::TIMING) && tcb.timed_seq == tcb.snd_nxt;
            let sent_at = if timed { tcb.timed_at } else { micros(cx.now) };
            flight.board.sent(tcb.snd_nxt, sent_at, 0);
            if !timed {
                flight.board.change(tcb.snd_una, tcb.snd_nxt, |_, span| {
                    *span = Span { spread: u16::MAX, fate: Fate::AGAIN, ..*span };
                });
            }
        }
        flight
    }

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
    pub(crate) fn on_acknowledged(&mut self, una: SeqNumber, now_us: u32) -> Delivery {
        let mut delivery = Delivery::default();
        let mut newest = None;
        self.board.acknowledge(una, |start, span| {
            if span.fate.contains(Fate::SACKED) {
                return;
            }
            delivery.bytes += span.end.distance_from(start);
            // Karn (MUST-18): no round trip of what was sent twice.
            if let Some(sent_at) = span.first_sent_at()
                && !span.fate.contains(Fate::AGAIN)
                && newest.is_none_or(|before| is_later(sent_at, before))
            {
                newest = Some(sent_at);
            }
        });
        self.delivered = self.delivered.wrapping_add(delivery.bytes);
        delivery.rtt_us = newest.map(|sent_at| now_us.wrapping_sub(sent_at));
        if let Some(rtt_us) = delivery.rtt_us {
            self.min_rtt = self.min_rtt.min(rtt_us);
        }
        delivery
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

    /// Whether a flight that the connection has is of use still; asked after each segment and each deadline.
    #[inline]
    pub const fn needs_flight(&self) -> bool {
        self.in_flight() > 0
    }
}
