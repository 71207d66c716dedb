//! SYN-RECEIVED after a passive open: a small record, so that a flood of SYNs buys no connections (RFC 4987).

use freeway_base::Instant;
use freeway_wire::tcp::{Flags, Options, SeqNumber, Timestamps};

use crate::clock::{Tick, micros, millis};
use crate::config::{Config, Context};
use crate::cookie::{Baked, Cookies};
use crate::ecn;
use crate::negotiate::{self, Agreed};
use crate::outcome::{Accept, DropReason, Outcome};
use crate::rtt::Rtt;
use crate::segment::{Arrival, Outgoing};
use crate::state::State;
use crate::tcb::{Marks, Origin, Scales, Tcb};

/// A half-open connection.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SynReceived {
    iss: SeqNumber,
    irs: SeqNumber,
    ts_offset: u32,
    ts_recent: u32,
    /// When the first SYN-ACK was sent, in microseconds.
    sent_at: u32,
    deadline: Tick,
    window: u16,
    agreed: Agreed,
    retries: u8,
    /// The peer's SYN had a window scale: ours is said, even if both are zero.
    scaled: bool,
}

const _: () = assert!(size_of::<SynReceived>() <= 48);

/// What to do about a segment for a half-open connection.
#[derive(Clone, Copy, Debug)]
pub enum SynVerdict {
    /// Nothing.
    Drop(DropReason),
    /// Send [`syn_ack`](SynReceived::syn_ack) again: the peer repeats its SYN.
    ResendSynAck,
    /// Send this acknowledgment; limit its rate.
    ChallengeAck(Outgoing),
    /// Send this reset; limit its rate. The record stays (reset group 2).
    Reset(Outgoing),
    /// The peer gave up: forget the record, back to LISTEN (RFC 9293, MUST-11).
    Remove,
    /// The connection is open. If the segment carries payload or FIN, hand it to
    /// [`Tcb::on_segment`] next.
    Establish(Tcb),
}

/// What to do when a half-open connection's deadline has passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SynTimeout {
    /// Send [`syn_ack`](SynReceived::syn_ack) again, and look at the next deadline.
    Retransmit,
    /// Forget the record.
    GiveUp,
}

impl SynReceived {
    /// A record of nothing, for a table's empty places.
    pub fn vacant() -> Self {
        Self {
            iss: SeqNumber(0),
            irs: SeqNumber(0),
            ts_offset: 0,
            ts_recent: 0,
            sent_at: 0,
            deadline: Tick::default(),
            window: 0,
            agreed: Agreed::none(&Config::default()),
            retries: 0,
            scaled: false,
        }
    }

    /// A SYN arrived in LISTEN (RFC 9293, section 3.10.7.2, third). Text that came with it is not kept: the peer
    /// sends it again.
    pub fn from_syn(cx: &Context<'_>, arrival: &Arrival<'_>, iss: SeqNumber, timestamp_offset: u32) -> Self {
        let options = &arrival.repr.options;
        let mut record = Self {
            iss,
            irs: arrival.repr.seq,
            ts_offset: timestamp_offset,
            ts_recent: options.timestamps.map_or(0, |stamps| stamps.value),
            sent_at: micros(cx.now),
            deadline: Tick::at(cx.now),
            window: arrival.repr.window,
            agreed: Agreed {
                ecn: ecn::accepts(cx.config, arrival.repr.flags),
                ..Agreed::new(cx.config, options)
            },
            retries: 0,
            scaled: options.window_scale.is_some() && cx.config.window_scale,
        };
        record.arm(cx);
        record
    }

    /// The record of a SYN whose SYN-ACK carries all of it, and which is not kept; `None` where a cookie cannot
    /// hold what the SYN offers.
    pub fn with_cookie(cx: &Context<'_>, arrival: &Arrival<'_>, cookies: &Cookies<'_>) -> Option<Self> {
        let iss = cookies.bake(cx, arrival)?;
        let mut record = Self::from_syn(cx, arrival, iss, cookies.timestamp_offset);
        record.agreed.ecn &= record.agreed.timestamps;
        Some(record)
    }

    /// The connection that an acknowledgment opens in which [`Cookies::read`] has found a cookie. If the segment
    /// carries payload or FIN, hand it to [`Tcb::on_segment`] next.
    pub fn redeem(cx: &Context<'_>, arrival: &Arrival<'_>, cookies: &Cookies<'_>, baked: &Baked) -> Tcb {
        let record = Self {
            iss: arrival.repr.ack - 1,
            irs: arrival.repr.seq - 1,
            ts_offset: cookies.timestamp_offset,
            ts_recent: baked.offer.timestamps.map_or(0, |stamps| stamps.value),
            sent_at: micros(cx.now),
            deadline: Tick::at(cx.now),
            window: 0,
            agreed: Agreed { ecn: baked.ecn, ..Agreed::new(cx.config, &baked.offer) },
            retries: 0,
            scaled: baked.offer.window_scale.is_some(),
        };
        let mut tcb = record.opened(cx);
        // The echo, which was checked, measures the round trip: `timed_at` says since when it counts.
        tcb.timed_at = micros(cx.now).wrapping_sub(baked.age_ms.unwrap_or(0).wrapping_mul(1_000));
        tcb.establish(cx, arrival, &mut Outcome::default());
        tcb
    }

    /// The connection of a SYN with a good Fast Open cookie (RFC 7413, section 4.2.2): in SYN-RECEIVED, but with text
    /// going both ways. Returns what of the SYN's text is to be kept, too; its FIN is not, the peer sends it again.
    pub fn fast_open(&self, cx: &Context<'_>, arrival: &Arrival<'_>) -> (Tcb, Option<Accept>) {
        let mut tcb = self.opened(cx);
        tcb.set_window(arrival);
        tcb.marks.insert(Marks::FAST_OPEN | Marks::SYN_NOW);
        let len = arrival.payload_len.min(self.promised(cx));
        let seq = tcb.rcv_nxt;
        tcb.rcv_nxt += len;
        (tcb, (len > 0).then_some(Accept { offset: 0, len, seq, in_order: true, fin: false }))
    }

    fn arm(&mut self, cx: &Context<'_>) {
        self.deadline = Tick::after(cx.now, Rtt::default().timeout(cx.config, false, self.retries));
    }

    /// The SYN-ACK.
    pub fn syn_ack(&self, cx: &Context<'_>) -> Outgoing {
        let agreed = Some(&self.agreed);
        let flags = Flags::SYN | Flags::ACK | ecn::syn_ack_flags(self.agreed.ecn);
        Outgoing {
            window: cx.config.receive_window.min(u32::from(u16::MAX)) as u16,
            options: negotiate::syn_options(cx.config, agreed, self.scaled, self.stamps(cx)),
            retransmission: self.retries > 0,
            ..Outgoing::control(flags, self.iss, self.rcv_nxt())
        }
    }

    fn stamps(&self, cx: &Context<'_>) -> Timestamps {
        Timestamps { value: millis(cx.now).wrapping_add(self.ts_offset), echo: self.ts_recent }
    }

    fn rcv_nxt(&self) -> SeqNumber {
        self.irs + 1
    }

    /// What the SYN-ACK promised, which was not scaled.
    fn promised(&self, cx: &Context<'_>) -> u32 {
        cx.config.receive_window.min(u32::from(u16::MAX))
    }

    /// A segment has arrived (RFC 9293, section 3.10.7.4, SYN-RECEIVED).
    pub fn on_segment(&mut self, cx: &Context<'_>, arrival: &Arrival<'_>) -> SynVerdict {
        let repr = arrival.repr;
        // The peer's SYN once more: our SYN-ACK was lost, or is late.
        if repr.flags.intersection(Flags::SYN | Flags::ACK | Flags::RST) == Flags::SYN && repr.seq == self.irs
        {
            // RFC 3168, section 6.1.1.1: a peer that repeats its SYN without ECN has given up asking for it.
            self.agreed.ecn &= ecn::is_setup_syn(repr.flags);
            return SynVerdict::ResendSynAck;
        }
        // RFC 7323, section 5.3, R1.
        if let Some(reason) = self.timestamp_fault(cx, arrival) {
            return SynVerdict::Drop(reason);
        }
        // First, check sequence number; second, the RST bit (RFC 5961, section 3.2).
        let acceptable = repr.seq == self.rcv_nxt() || repr.seq.in_window(self.rcv_nxt(), self.promised(cx));
        if arrival.has(Flags::RST) {
            return match (repr.seq == self.rcv_nxt(), acceptable) {
                (true, _) => SynVerdict::Remove,
                (false, true) => SynVerdict::ChallengeAck(self.acknowledgment(cx)),
                (false, false) => SynVerdict::Drop(DropReason::BlindReset),
            };
        }
        // Fourth, check the SYN bit (RFC 5961, section 4.2).
        if !acceptable || arrival.has(Flags::SYN) {
            return SynVerdict::ChallengeAck(self.acknowledgment(cx));
        }
        // Fifth, check the ACK field.
        if !arrival.has(Flags::ACK) {
            return SynVerdict::Drop(DropReason::NoAck);
        }
        if repr.ack != self.iss + 1 {
            return SynVerdict::Reset(Outgoing::control(Flags::RST, repr.ack, SeqNumber(0)));
        }
        SynVerdict::Establish(self.established(cx, arrival))
    }

    fn timestamp_fault(&self, cx: &Context<'_>, arrival: &Arrival<'_>) -> Option<DropReason> {
        if !self.agreed.timestamps || arrival.has(Flags::RST) || arrival.has(Flags::SYN) {
            return None;
        }
        match arrival.repr.options.timestamps {
            None => cx.config.require_timestamps.then_some(DropReason::MissingTimestamp),
            Some(stamps) if (stamps.value.wrapping_sub(self.ts_recent) as i32) < 0 => {
                Some(DropReason::OldTimestamp)
            }
            Some(_) => None,
        }
    }

    fn acknowledgment(&self, cx: &Context<'_>) -> Outgoing {
        let stamps = self.agreed.timestamps.then(|| self.stamps(cx));
        let shift = self.agreed.scales.ours();
        Outgoing {
            window: (self.promised(cx) >> shift) as u16,
            options: Options { timestamps: stamps, ..Options::default() },
            ..Outgoing::control(Flags::ACK, self.iss + 1, self.rcv_nxt())
        }
    }

    /// A connection in SYN-RECEIVED with what this record knows.
    fn opened(&self, cx: &Context<'_>) -> Tcb {
        let origin = Origin {
            state: State::SynReceived,
            iss: self.iss,
            rcv_nxt: self.rcv_nxt(),
            ts_offset: self.ts_offset,
            ts_recent: self.ts_recent,
        };
        let mut tcb = Tcb::new(cx, &origin, &self.agreed);
        tcb.rcv_edge = tcb.rcv_nxt + self.promised(cx);
        tcb.max_window_bits = (u16::BITS - self.window.leading_zeros()) as u8;
        tcb
    }

    /// The connection that the handshake's last acknowledgment opens.
    fn established(&self, cx: &Context<'_>, arrival: &Arrival<'_>) -> Tcb {
        let mut tcb = self.opened(cx);
        if self.retries == 0 {
            tcb.marks.insert(Marks::TIMING);
            tcb.timed_seq = tcb.snd_nxt;
            tcb.timed_at = self.sent_at;
        } else {
            tcb.marks.insert(Marks::SYN_LOST);
        }
        // What the step says of a connection that reaches ESTABLISHED, the caller knows by the verdict.
        tcb.establish(cx, arrival, &mut Outcome::default());
        tcb.remember_timestamp(arrival);
        tcb
    }

    /// When [`on_deadline`](Self::on_deadline) is to be called.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        Some(self.deadline.instant(now))
    }

    /// The deadline has passed.
    pub fn on_deadline(&mut self, cx: &Context<'_>) -> SynTimeout {
        if self.retries >= cx.config.syn_ack_retries {
            return SynTimeout::GiveUp;
        }
        self.retries += 1;
        self.arm(cx);
        SynTimeout::Retransmit
    }

    /// The shifts that were agreed on, for reports: the peer's and ours.
    pub fn window_scales(&self) -> (u8, u8) {
        let scales: Scales = self.agreed.scales;
        (scales.theirs() as u8, scales.ours() as u8)
    }
}
