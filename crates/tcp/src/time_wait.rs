//! TIME-WAIT without a TCB: what it takes to recognise old segments, and a new connection of the same flow.

use freeway_base::{Duration, Instant};
use freeway_wire::tcp::{Flags, Options, SeqNumber, Timestamps};

use crate::clock::{Tick, millis};
use crate::config::Context;
use crate::segment::{Arrival, Outgoing};
use crate::tcb::{Marks, Tcb};

/// What remains of a connection for twice the maximum segment lifetime. The caller keeps the time.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct TimeWait {
    snd_nxt: SeqNumber,
    rcv_nxt: SeqNumber,
    ts_recent: u32,
    ts_offset: u32,
    last_heard: Tick,
    window: u16,
    timestamps: bool,
}

const _: () = assert!(size_of::<TimeWait>() <= 24);

/// What to do about a segment in TIME-WAIT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeWaitVerdict {
    /// Nothing.
    Drop,
    /// Send an acknowledgment; limit its rate.
    Ack(Outgoing),
    /// Send an acknowledgment, and begin the wait anew: the peer has not seen the acknowledgment of its FIN.
    Restart(Outgoing),
    /// The segment is the SYN of a new connection that cannot be mixed up with the old one: forget the record and
    /// treat it as in LISTEN (RFC 6191).
    Reopen {
        /// The new connection's initial sequence number must not lie before this.
        iss_floor: SeqNumber,
    },
}

/// The room between the old connection's sequence numbers and a successor's: more than any unscaled window.
const REOPEN_GAP: u32 = u16::MAX as u32 + 2;

/// RFC 7323, section 5.5.
const TIMESTAMP_LIFETIME: Duration = Duration::from_secs(24 * 86_400);

impl Tcb {
    /// Whether something was received that is not acknowledged, and is to be at once: on entering TIME-WAIT, whether
    /// the peer's FIN still is.
    pub fn owes_acknowledgment(&self) -> bool {
        self.marks.contains(Marks::ACK_NOW)
    }
}

impl TimeWait {
    /// A record of nothing, for a table's empty places.
    pub fn vacant() -> Self {
        Self {
            snd_nxt: SeqNumber(0),
            rcv_nxt: SeqNumber(0),
            ts_recent: 0,
            ts_offset: 0,
            last_heard: Tick::default(),
            window: 0,
            timestamps: false,
        }
    }

    /// The record of a connection that has reported [`TIME_WAIT`](crate::Events::TIME_WAIT).
    pub fn from_tcb(cx: &Context<'_>, tcb: &Tcb) -> Self {
        let window = tcb.receive_window() >> tcb.scales.ours();
        Self {
            snd_nxt: tcb.snd_nxt,
            rcv_nxt: tcb.rcv_nxt,
            ts_recent: tcb.ts_recent,
            ts_offset: tcb.ts_offset,
            last_heard: Tick::at(cx.now),
            window: u16::try_from(window).unwrap_or(u16::MAX),
            timestamps: tcb.marks.contains(Marks::TIMESTAMPS),
        }
    }

    /// The acknowledgment of everything, the peer's FIN included: to be sent when TIME-WAIT is entered.
    pub fn ack(&self, cx: &Context<'_>) -> Outgoing {
        let value = millis(cx.now).wrapping_add(self.ts_offset);
        let stamps = Timestamps { value, echo: self.ts_recent };
        Outgoing {
            window: self.window,
            options: Options { timestamps: self.timestamps.then_some(stamps), ..Options::default() },
            ..Outgoing::control(Flags::ACK, self.snd_nxt, self.rcv_nxt)
        }
    }

    /// A segment of the flow has arrived (RFC 9293, section 3.10.7.4, TIME-WAIT; RFC 1337; RFC 6191).
    pub fn on_segment(&mut self, cx: &Context<'_>, arrival: &Arrival<'_>) -> TimeWaitVerdict {
        // RFC 1337: a reset, which might be old, does not end TIME-WAIT.
        if arrival.has(Flags::RST) {
            return TimeWaitVerdict::Drop;
        }
        if arrival.has(Flags::SYN) {
            return self.on_syn(cx, arrival);
        }
        let is_old = self.has_old_timestamp(cx.now, arrival);
        let end = arrival.repr.seq + arrival.sequence_len();
        if arrival.has(Flags::FIN) && end == self.rcv_nxt && !is_old {
            // The retransmission of the peer's FIN: acknowledge it, and restart the wait.
            self.last_heard = Tick::at(cx.now);
            return TimeWaitVerdict::Restart(self.ack(cx));
        }
        if arrival.sequence_len() > 0 || is_old {
            return TimeWaitVerdict::Ack(self.ack(cx));
        }
        // A bare ACK needs no answer, and an answer might be answered.
        TimeWaitVerdict::Drop
    }

    /// RFC 6191, section 2: a greater timestamp, or, where one side has none, a greater sequence number.
    fn on_syn(&self, cx: &Context<'_>, arrival: &Arrival<'_>) -> TimeWaitVerdict {
        let opens = !arrival.has(Flags::ACK) && !arrival.has(Flags::FIN);
        let is_newer_seq = arrival.repr.seq.is_after(self.rcv_nxt);
        let is_new = match arrival.repr.options.timestamps.filter(|_| self.timestamps) {
            Some(stamps) if stamps.value == self.ts_recent => is_newer_seq,
            Some(_) => !self.has_old_timestamp(cx.now, arrival),
            None => is_newer_seq,
        };
        if opens && is_new {
            TimeWaitVerdict::Reopen { iss_floor: self.snd_nxt + REOPEN_GAP }
        } else {
            TimeWaitVerdict::Ack(self.ack(cx))
        }
    }

    fn has_old_timestamp(&self, now: Instant, arrival: &Arrival<'_>) -> bool {
        match arrival.repr.options.timestamps {
            Some(stamps) if self.timestamps => {
                (stamps.value.wrapping_sub(self.ts_recent) as i32) < 0
                    && self.last_heard.elapsed(now) < TIMESTAMP_LIFETIME
            }
            _ => false,
        }
    }
}
