//! Two connections over a wire that loses, duplicates, delays and reorders, with a clock of its own.
//!
//! Each end plays its caller's part: it keeps a send queue and a reassembly queue, of lengths only. That every
//! byte arrives once and in order is checked where bytes are accepted: the next accepted sequence number is always
//! the number of bytes delivered so far.

use std::vec::Vec;

use freeway_base::{Duration, Instant, Rng, Seed};
use freeway_wire::Ecn;
use freeway_wire::tcp::{Flags, Repr, SackBlocks, SeqNumber};

use crate::{
    Accept, Arrival, Config, Context, Events, Held, NarrowFlight, Outgoing, Reply, State, SynReceived,
    SynTimeout, SynVerdict, Tcb, TimeWait, TimeWaitVerdict,
};

/// What the wire does to segments; chances in percent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    pub(super) loss: u8,
    /// More of it, in a thousand.
    pub(super) loss_permille: u16,
    pub(super) duplication: u8,
    /// Segments that take up to four times as long.
    pub(super) reordering: u8,
    /// Congestion marks, of what understands them.
    pub(super) marking: u8,
    pub(super) delay: Duration,
}

impl Faults {
    pub(super) const NONE: Self = Self {
        loss: 0,
        loss_permille: 0,
        duplication: 0,
        reordering: 0,
        marking: 0,
        delay: Duration::from_millis(5),
    };
}

/// What the application does at one end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) iss: SeqNumber,
    /// Bytes to send before the FIN.
    pub(super) total: u32,
    /// Bytes written at a time.
    pub(super) write: u32,
    /// Bytes left unread until so many, or half of the window, have come together.
    pub(super) lazy: u32,
    pub(super) opens: bool,
}

enum Half {
    Listen,
    Answered(SynReceived),
    Open(Tcb),
    Waiting(TimeWait, Instant),
    Gone,
}

pub(super) struct End {
    config: Config,
    plan: Plan,
    half: Half,
    written: u32,
    queued: u32,
    unread: u32,
    /// Bytes delivered in order.
    pub(super) received: u32,
    pub(super) events: Events,
    irs: Option<SeqNumber>,
    waiting: Vec<(SeqNumber, u32, bool)>,
    pub(super) retransmitted: u32,
    /// Recoveries and time-outs, and how many of them were taken back.
    pub(super) recoveries: [u32; 3],
    /// Reductions of the window because of marks.
    pub(super) reduced: u32,
    flight: Option<NarrowFlight>,
    /// Whether there are flights to be had.
    pub(super) has_flights: bool,
}

impl End {
    fn new(config: Config, plan: Plan) -> Self {
        Self {
            config,
            plan,
            half: Half::Listen,
            written: 0,
            queued: 0,
            unread: 0,
            received: 0,
            events: Events::empty(),
            irs: None,
            waiting: Vec::new(),
            retransmitted: 0,
            recoveries: [0; 3],
            reduced: 0,
            flight: None,
            has_flights: true,
        }
    }

    fn held(&self) -> Held {
        let pending: u32 = self.waiting.iter().map(|&(_, len, _)| len).sum();
        Held {
            unread: self.unread + pending,
            queued: self.queued,
            out_of_order: !self.waiting.is_empty(),
            closed: true,
            gaps: self.gaps(),
            ..Held::default()
        }
    }

    /// What waits, as SACK blocks, the one that grew last first.
    fn gaps(&self) -> SackBlocks {
        let mut blocks = SackBlocks::NONE;
        for &(seq, len, _) in self.waiting.iter().rev() {
            let (mut from, mut to) = (seq, seq + len);
            while let Some(&(seq, len, _)) = self.waiting.iter().find(|&&(seq, len, _)| {
                seq.is_at_or_before(to)
                    && (seq + len).is_at_or_after(from)
                    && (seq.is_before(from) || (seq + len).is_after(to))
            }) {
                (from, to) = (from.min(seq), to.max(seq + len));
            }
            if from != to && blocks.iter().all(|(first, _)| first != from) {
                blocks.push(from, to);
            }
        }
        blocks
    }

    pub(super) fn state(&self) -> State {
        match &self.half {
            Half::Open(tcb) => tcb.state(),
            Half::Waiting(..) => State::TimeWait,
            Half::Answered(_) => State::SynReceived,
            Half::Listen | Half::Gone => State::Closed,
        }
    }

    fn selects(&self) -> bool {
        matches!(&self.half, Half::Open(tcb) if tcb.info().sack)
    }

    fn is_done(&self) -> bool {
        matches!(self.half, Half::Waiting(..) | Half::Gone)
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        match &self.half {
            Half::Open(tcb) => tcb.next_deadline(now),
            Half::Answered(record) => record.next_deadline(now),
            Half::Waiting(_, until) => Some(*until),
            Half::Listen | Half::Gone => None,
        }
    }

    fn on_deadline(&mut self, now: Instant) -> Vec<Outgoing> {
        let (config, held) = (self.config, self.held());
        let cx = Context { now, config: &config };
        match &mut self.half {
            Half::Open(tcb) => {
                let events = tcb.on_deadline(&cx, &held, self.flight.as_deref_mut());
                return self.apply(&cx, events);
            }
            Half::Answered(record) => match record.on_deadline(&cx) {
                SynTimeout::Retransmit => return [record.syn_ack(&cx)].into(),
                SynTimeout::GiveUp => self.half = Half::Listen,
            },
            Half::Waiting(..) => self.half = Half::Gone,
            Half::Listen | Half::Gone => {}
        }
        Vec::new()
    }

    fn on_segment(&mut self, now: Instant, repr: &Repr, payload_len: u32, ecn: Ecn) -> Vec<Outgoing> {
        let config = self.config;
        let cx = Context { now, config: &config };
        let arrival = Arrival { repr, payload_len, ecn };
        match &mut self.half {
            Half::Listen if repr.flags.contains(Flags::SYN) && !repr.flags.contains(Flags::ACK) => {
                let record = SynReceived::from_syn(&cx, &arrival, self.plan.iss, 77);
                let syn_ack = record.syn_ack(&cx);
                self.half = Half::Answered(record);
                [syn_ack].into()
            }
            Half::Answered(record) => match record.on_segment(&cx, &arrival) {
                SynVerdict::Drop(_) => Vec::new(),
                SynVerdict::ResendSynAck => [record.syn_ack(&cx)].into(),
                SynVerdict::ChallengeAck(reply) | SynVerdict::Reset(reply) => [reply].into(),
                SynVerdict::Remove => {
                    self.half = Half::Listen;
                    Vec::new()
                }
                SynVerdict::Establish(tcb) => {
                    self.half = Half::Open(tcb);
                    self.events |= Events::ESTABLISHED;
                    self.on_open_segment(&cx, &arrival)
                }
            },
            Half::Open(_) => self.on_open_segment(&cx, &arrival),
            Half::Waiting(record, until) => match record.on_segment(&cx, &arrival) {
                TimeWaitVerdict::Drop | TimeWaitVerdict::Reopen { .. } => Vec::new(),
                TimeWaitVerdict::Ack(reply) => [reply].into(),
                TimeWaitVerdict::Restart(reply) => {
                    *until = now + cx.config.time_wait;
                    [reply].into()
                }
            },
            Half::Listen | Half::Gone => crate::reset_for(repr, payload_len).into_iter().collect(),
        }
    }

    fn on_open_segment(&mut self, cx: &Context<'_>, arrival: &Arrival<'_>) -> Vec<Outgoing> {
        let held = self.held();
        let Half::Open(tcb) = &mut self.half else { return Vec::new() };
        let edge = tcb.rcv_nxt() + tcb.receive_window();
        let before = tcb.rcv_nxt();
        let fresh = matches!(tcb.state(), State::SynSent);
        let outcome = tcb.take_segment(cx, arrival, &held, self.flight.as_deref_mut());
        if self.flight.as_deref().is_some_and(|flight| !tcb.needs_flight(flight)) {
            self.flight = None;
        }
        if !fresh {
            assert!(tcb.rcv_nxt().is_at_or_after(before) && tcb.rcv_nxt().is_at_or_before(edge));
        }
        self.reduced += u32::from(outcome.reduced);
        self.queued = self.queued.checked_sub(outcome.acked).expect("acknowledged what was never queued");
        let mut events = outcome.events;
        let mut duplicate = outcome.duplicate;
        if let Some(accept) = outcome.accept {
            let end = accept.seq + accept.len;
            let is_held = |&(seq, len, _): &(SeqNumber, u32, bool)| {
                seq.is_at_or_before(accept.seq) && (seq + len).is_at_or_after(end)
            };
            if !accept.in_order && accept.len > 0 && self.selects() && self.waiting.iter().any(is_held) {
                duplicate = Some((accept.seq, end));
            }
            events |= self.keep(cx, accept);
        }
        let mut replies = self.apply(cx, events);
        let held = self.held();
        if let (Some(block), Half::Open(tcb)) = (duplicate, &mut self.half) {
            replies.push(tcb.report_duplicate(cx, &held, block));
        }
        if let Reply::Ack(reply) | Reply::Challenge(reply) | Reply::Alive(reply) | Reply::Reset(reply) =
            outcome.reply
        {
            replies.push(reply);
        }
        replies
    }

    /// The caller's part: deliver what is in order, keep what is not, and close gaps.
    fn keep(&mut self, cx: &Context<'_>, accept: Accept) -> Events {
        let Half::Open(tcb) = &mut self.half else { return Events::empty() };
        if !accept.in_order {
            self.waiting.push((accept.seq, accept.len, accept.fin));
            return Events::empty();
        }
        // Bytes begin behind the peer's SYN.
        let first = *self.irs.get_or_insert(accept.seq - self.received);
        assert_eq!(accept.seq, first + self.received, "every byte once, and in order");
        self.received += accept.len;
        self.unread += accept.len;
        let (mut next, start, mut fin) = (accept.seq + accept.len, accept.seq + accept.len, false);
        loop {
            self.waiting.retain(|&(seq, len, fin)| (seq + len + u32::from(fin)).is_after(next));
            let Some(&(seq, len, ends)) = self.waiting.iter().find(|(seq, ..)| seq.is_at_or_before(next))
            else {
                break;
            };
            next = seq + len;
            fin |= ends;
            if fin {
                self.waiting.clear();
                break;
            }
        }
        let filled = next.distance_from(start);
        self.received += filled;
        self.unread += filled;
        if filled > 0 || fin { tcb.on_gap_filled(cx, filled, fin) } else { Events::empty() }
    }

    fn apply(&mut self, cx: &Context<'_>, events: Events) -> Vec<Outgoing> {
        self.events |= events;
        let kinds = [Events::FAST_RECOVERY, Events::TIMED_RESEND, Events::SPURIOUS];
        for (count, kind) in self.recoveries.iter_mut().zip(kinds) {
            *count += u32::from(events.contains(kind));
        }
        if events.contains(Events::TIME_WAIT)
            && let Half::Open(tcb) = &self.half
        {
            let record = TimeWait::from_tcb(cx, tcb);
            let reply = record.ack(cx);
            self.half = Half::Waiting(record, cx.now + cx.config.time_wait);
            return [reply].into();
        }
        if events.intersects(Events::ENDED) {
            self.half = Half::Gone;
        }
        Vec::new()
    }

    /// The application's turn, then everything that is to be sent.
    fn turn(&mut self, now: Instant) -> Vec<Outgoing> {
        let config = self.config;
        let cx = Context { now, config: &config };
        self.run_application(&cx);
        let mut sent = Vec::new();
        let held = self.held();
        let Half::Open(tcb) = &mut self.half else { return sent };
        while tcb.wants_transmit(&held, self.flight.as_deref()) {
            if self.has_flights && self.flight.is_none() && tcb.wants_flight(&held) {
                self.flight = Some(NarrowFlight::begin(&cx, tcb));
            }
            let Some(outgoing) = tcb.poll_transmit(&cx, &held, self.flight.as_deref_mut()) else { break };
            assert!(sent.len() < 10_000, "it never stops");
            assert!(outgoing.offset + outgoing.len <= held.queued, "bytes that nobody wrote");
            if outgoing.len > 0 {
                assert_eq!(outgoing.seq, tcb.snd_una() + outgoing.offset);
                assert!(outgoing.len <= u32::from(tcb.mss()));
            }
            self.retransmitted += u32::from(outgoing.retransmission);
            sent.push(outgoing);
        }
        sent
    }

    fn run_application(&mut self, cx: &Context<'_>) {
        let peer_is_done = self.events.contains(Events::PEER_FIN);
        let enough = self.plan.lazy.min(self.config.receive_window.min(60_000) / 2);
        let reads = self.unread > enough || peer_is_done;
        if reads && self.unread > 0 {
            self.unread = 0;
            let held = self.held();
            if let Half::Open(tcb) = &mut self.half {
                tcb.on_read(cx, &held);
            }
        }
        let Half::Open(tcb) = &mut self.half else { return };
        if !tcb.can_send() {
            return;
        }
        let room = (64 << 10) - self.queued.min(64 << 10);
        let piece = (self.plan.total - self.written).min(self.plan.write).min(room);
        self.written += piece;
        self.queued += piece;
        if self.written == self.plan.total && tcb.state() != State::SynSent {
            tcb.close();
        }
    }
}

/// Two ends and the wire between them.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) ends: [End; 2],
    in_flight: Vec<(Instant, u64, usize, Repr, u32, Ecn)>,
    sent: u64,
    faults: Faults,
    rng: Rng,
}

impl World {
    pub(super) fn new(configs: [Config; 2], plans: [Plan; 2], faults: Faults, seed: u64) -> Self {
        let now = Instant::from_secs(1_000);
        let mut ends = [End::new(configs[0], plans[0]), End::new(configs[1], plans[1])];
        for end in &mut ends {
            if end.plan.opens {
                let config = end.config;
                end.half = Half::Open(Tcb::connect(&Context { now, config: &config }, end.plan.iss, 33));
            }
        }
        Self { now, ends, in_flight: Vec::new(), sent: 0, faults, rng: Rng::new(Seed(seed)) }
    }

    /// Runs until both ends have finished; panics when nothing would ever happen again, or when it takes longer
    /// than `limit` of virtual time.
    pub(super) fn run(&mut self, limit: Duration) {
        let end = self.now + limit;
        while !self.ends.iter().all(End::is_done) {
            for from in 0..2 {
                let sent = self.ends[from].turn(self.now);
                self.transmit(from, &sent);
            }
            let arrival = self.in_flight.iter().map(|&(at, ..)| at).min();
            let deadline = self.ends.iter().filter_map(|end| end.deadline(self.now)).min();
            let next = arrival.into_iter().chain(deadline).min();
            assert!(next.is_some(), "deadlock: {:?}", self.ends.each_ref().map(End::state));
            self.now = self.now.max(next.unwrap());
            assert!(self.now < end, "too slow: {:?}", self.ends.each_ref().map(|e| (e.state(), e.received)));
            self.deliver();
            for at in 0..2 {
                if self.ends[at].deadline(self.now).is_some_and(|deadline| deadline <= self.now) {
                    let replies = self.ends[at].on_deadline(self.now);
                    self.transmit(at, &replies);
                }
            }
        }
    }

    fn transmit(&mut self, from: usize, sent: &[Outgoing]) {
        for outgoing in sent {
            let copies = if self.percent(self.faults.duplication) { 2 } else { 1 };
            for _ in 0..copies {
                let permille = self.faults.loss_permille;
                let is_lost = permille > 0 && self.rng.below(1_000) < u32::from(permille);
                if is_lost || self.percent(self.faults.loss) {
                    continue;
                }
                let mut delay = self.faults.delay;
                if self.percent(self.faults.reordering) {
                    let factor = 1 + u64::from(self.rng.below(4));
                    delay = delay.saturating_mul(factor);
                }
                self.sent += 1;
                let repr = outgoing.repr(1, 2);
                let is_marked = outgoing.ecn != Ecn::NotEct && self.percent(self.faults.marking);
                let ecn = if is_marked { Ecn::Ce } else { outgoing.ecn };
                self.in_flight.push((self.now + delay, self.sent, 1 - from, repr, outgoing.len, ecn));
            }
        }
    }

    fn percent(&mut self, chance: u8) -> bool {
        self.rng.below(100) < u32::from(chance)
    }

    fn deliver(&mut self) {
        loop {
            let due = self.in_flight.iter().enumerate().filter(|(_, segment)| segment.0 <= self.now);
            let Some(index) = due.min_by_key(|(_, segment)| (segment.0, segment.1)).map(|(index, _)| index)
            else {
                return;
            };
            let (_, _, to, repr, len, ecn) = self.in_flight.swap_remove(index);
            let replies = self.ends[to].on_segment(self.now, &repr, len, ecn);
            self.transmit(to, &replies);
        }
    }
}
