//! The connections that stay, and the requests on them.

use freeway::mem::arch::prefetch_lines;
use freeway::{CloseReason, Conn, ConnId, Ended, Instant, Rng, Stack};

use super::sockets::Opener;
use super::{Common, Lane, LoadConfig, LoadState, Place};
use crate::gauge::{Cause, Reading, Requests, Work};
use crate::pace::Schedule;
use crate::protocol::Protocol;
use crate::times::Times;

/// Connections drawn ahead: meanwhile their memory comes into the cache.
const DRAWN: usize = 64;
/// Requests that one turn begins on its own account, so that no burst of them delays what has arrived.
const REQUESTS_PER_TURN: usize = 128;
/// Opens that one turn begins.
const OPENS_PER_TURN: u32 = 256;
/// Opens under way at once until every address of this host has one connection, at most one from each: it has to become
/// known to the server's neighbour table first, and few packets may wait for that.
const OPENING_FIRST: usize = 32;

/// All held connections.
pub(super) struct Held {
    opener: Opener,
    /// The connections by number; what is over there leads nowhere.
    ids: Vec<ConnId>,
    /// Numbers of those that are over.
    vacant: Vec<u32>,
    times: Times,
    connections: u32,
    opening_max: u32,
    open_rate: Option<f64>,
    /// When the opens of `open_rate` began.
    open_since: Option<Instant>,
    /// Opened or being opened, ever.
    started: u64,
    opening: u32,
    open: u32,
    in_flight: u64,
    work: Work,
    schedule: Option<Schedule>,
    /// Numbers drawn, whose places in `ids` are coming into the cache.
    drawn: Vec<u32>,
    /// The connections that were drawn before them, which are coming into the cache themselves.
    next: Vec<ConnId>,
    /// The next connection of a sweep, or to be set going.
    cursor: u32,
}

impl Held {
    pub(super) fn new(config: &LoadConfig) -> Self {
        let connections = config.connections.min(Place::NUMBERS);
        Self {
            opener: Opener::new(config.targets.requests, &config.sources, config.tcp),
            ids: Vec::with_capacity(connections as usize),
            vacant: Vec::with_capacity(connections as usize),
            times: Times::new(connections, config.depth),
            connections,
            opening_max: config.opening.max(1),
            open_rate: config.open_rate,
            open_since: None,
            started: 0,
            opening: 0,
            open: 0,
            in_flight: 0,
            work: Work::Hold,
            schedule: None,
            drawn: Vec::with_capacity(DRAWN),
            next: Vec::with_capacity(DRAWN),
            cursor: 0,
        }
    }

    pub(super) fn begin(&mut self, work: Work, now: Instant, rng: &mut Rng) {
        self.work = match work {
            // Newcomers are another lane's.
            Work::Mixed { among, .. } => Work::Requests(Requests { among, cause: Cause::SameAnswered }),
            work => work,
        };
        self.drawn.clear();
        self.next.clear();
        self.cursor = 0;
        self.schedule = match self.work {
            Work::Requests(Requests { cause: Cause::Time(rate), .. }) => Some(Schedule::new(rate, now, rng)),
            _ => None,
        };
    }

    pub(super) const fn open(&self) -> u64 {
        self.open as u64
    }

    pub(super) const fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.schedule.as_ref().map(Schedule::next)
    }

    // ---- opening ----

    /// Opens what is missing of `wanted` connections.
    pub(super) fn open_more<P: Protocol>(
        &mut self,
        stack: &mut Stack<LoadState<P::Progress>>,
        common: &mut Common<P>,
        wanted: u32,
    ) {
        let wanted = wanted.min(self.connections);
        if self.open + self.opening >= wanted {
            return;
        }
        let bound = match self.open {
            0 => 1,
            open if (open as usize) < self.opener.sources() => {
                self.opening_max.min(OPENING_FIRST.min(self.opener.sources()) as u32)
            }
            _ => self.opening_max,
        };
        let mut budget = OPENS_PER_TURN.min(bound.saturating_sub(self.opening)).min(self.by_rate(common.now));
        while budget > 0 && self.open + self.opening < wanted {
            budget -= 1;
            self.started += 1;
            let number = self.vacant.pop().unwrap_or(self.ids.len() as u32);
            match self.opener.open(stack, Place::new(Lane::Held, number)) {
                Ok(id) => {
                    self.opening += 1;
                    match self.ids.get_mut(number as usize) {
                        Some(place) => *place = id,
                        None => self.ids.push(id),
                    }
                }
                Err(_) => {
                    common.reading.failed += 1;
                    if (number as usize) < self.ids.len() {
                        self.vacant.push(number);
                    }
                    // What is short now is short for the rest of the turn.
                    return;
                }
            }
        }
    }

    /// How many opens the rate allows by now.
    fn by_rate(&mut self, now: Instant) -> u32 {
        let Some(rate) = self.open_rate else { return u32::MAX };
        let since = *self.open_since.get_or_insert(now);
        let due = now.since(since).as_secs_f64() * rate;
        (due as u64).saturating_sub(self.started).min(u32::MAX.into()) as u32
    }

    pub(super) fn connected<P: Protocol>(
        &mut self,
        conn: &mut Conn<'_, LoadState<P::Progress>>,
        common: &mut Common<P>,
    ) {
        self.opening -= 1;
        self.open += 1;
        self.keep_going(conn, common);
    }

    pub(super) fn closed<Q>(&mut self, ended: &Ended<LoadState<Q>>, reading: &mut Reading) {
        let LoadState { queue, place, .. } = &ended.state;
        reading.failed += 1;
        let waiting = u64::from(queue.len(&self.times));
        self.in_flight -= waiting;
        if ended.reason == CloseReason::TimedOut {
            reading.timeouts += waiting;
        }
        if place.is_open() {
            self.open -= 1;
        } else {
            self.opening -= 1;
        }
        // There are as many places as there are numbers.
        self.vacant.push(place.number());
    }

    // ---- asking ----

    pub(super) fn turn<P: Protocol>(
        &mut self,
        stack: &mut Stack<LoadState<P::Progress>>,
        common: &mut Common<P>,
    ) {
        match self.work {
            Work::Requests(Requests { among, cause }) => match cause {
                Cause::SameAnswered => self.set_going(stack, common, among),
                Cause::AnyAnswered(in_flight) => {
                    let missing = u64::from(in_flight).saturating_sub(self.in_flight) as usize;
                    self.ask_drawn(stack, common, among, missing.min(REQUESTS_PER_TURN));
                }
                Cause::Time(_) => self.ask_drawn(stack, common, among, REQUESTS_PER_TURN),
            },
            Work::Sweep { in_flight } => self.sweep(stack, common, in_flight),
            _ => {}
        }
    }

    /// Sends at most `count` requests on connections drawn at random. Each turn uses what the two before it have drawn:
    /// meanwhile first the connections' names, then their memory has come into the cache.
    fn ask_drawn<P: Protocol>(
        &mut self,
        stack: &mut Stack<LoadState<P::Progress>>,
        common: &mut Common<P>,
        among: u32,
        count: usize,
    ) {
        let (now, mut sent) = (common.now, 0);
        while sent < count {
            let at = match &self.schedule {
                Some(schedule) if schedule.next() > now => break,
                Some(schedule) => schedule.next(),
                None => now,
            };
            let Some(id) = self.next.pop() else { break };
            // Few of many are busy: one that is gives way to another draw.
            if let Some(mut conn) = stack.conn(id)
                && self.ask(&mut conn, common, at)
            {
                sent += 1;
                if let Some(schedule) = &mut self.schedule {
                    schedule.advance(&mut common.rng);
                }
            }
        }
        while self.next.len() < DRAWN
            && let Some(number) = self.drawn.pop()
        {
            if let Some(&id) = self.ids.get(number as usize) {
                stack.prefetch(id);
                self.next.push(id);
            }
        }
        let among = among.min(self.ids.len() as u32);
        while self.drawn.len() < DRAWN && among > 0 {
            let number = common.rng.below(among);
            prefetch_lines(&self.ids, number as usize, 1);
            self.drawn.push(number);
        }
    }

    /// Fills the first `among` connections up to their depth; from then on answers keep them so.
    fn set_going<P: Protocol>(
        &mut self,
        stack: &mut Stack<LoadState<P::Progress>>,
        common: &mut Common<P>,
        among: u32,
    ) {
        let among = among.min(self.ids.len() as u32);
        for _ in 0..REQUESTS_PER_TURN {
            if self.cursor >= among {
                return;
            }
            if let Some(&id) = self.ids.get(self.cursor as usize)
                && let Some(mut conn) = stack.conn(id)
            {
                self.keep_going(&mut conn, common);
            }
            self.cursor += 1;
        }
    }

    /// One request on each connection, once.
    fn sweep<P: Protocol>(
        &mut self,
        stack: &mut Stack<LoadState<P::Progress>>,
        common: &mut Common<P>,
        in_flight: u32,
    ) {
        for _ in 0..REQUESTS_PER_TURN {
            let Some(&id) = self.ids.get(self.cursor as usize) else { return };
            if self.in_flight >= u64::from(in_flight) {
                return;
            }
            if let Some(&ahead) = self.ids.get(self.cursor as usize + DRAWN) {
                stack.prefetch(ahead);
            }
            if let Some(mut conn) = stack.conn(id)
                && conn.state().place.is_open()
                && !self.ask(&mut conn, common, common.now)
            {
                // It has no room yet: the sweep waits for it.
                return;
            }
            self.cursor += 1;
        }
    }

    /// Whether answers on connection `number` bring about requests there.
    const fn repeats(&self, number: u32) -> bool {
        match self.work {
            Work::Requests(Requests { among, cause: Cause::SameAnswered }) => number < among,
            _ => false,
        }
    }

    /// Sends as many requests as the depth allows, where answers keep a connection busy.
    fn keep_going<P: Protocol>(
        &mut self,
        conn: &mut Conn<'_, LoadState<P::Progress>>,
        common: &mut Common<P>,
    ) {
        if self.repeats(conn.state().place.number()) {
            loop {
                let LoadState { place, queue, .. } = *conn.state();
                let missing = self.times.depth().saturating_sub(queue.len(&self.times));
                if missing == 0 || !place.is_open() {
                    return;
                }
                let sent = common.send_requests(conn, missing);
                if sent == 0 {
                    return;
                }
                for _ in 0..sent {
                    self.in_flight += 1;
                    // There is room for as many as were missing.
                    self.times.push(place.number(), &mut conn.state().queue, common.now);
                }
            }
        }
    }

    /// Sends one request that was meant for `at`. False when the connection has as many under way as it may, or no room.
    fn ask<P: Protocol>(
        &mut self,
        conn: &mut Conn<'_, LoadState<P::Progress>>,
        common: &mut Common<P>,
        at: Instant,
    ) -> bool {
        let LoadState { place, queue, .. } = *conn.state();
        if !place.is_open() || queue.len(&self.times) >= self.times.depth() || !common.send_request(conn) {
            return false;
        }
        self.in_flight += 1;
        self.times.push(place.number(), &mut conn.state().queue, at)
    }

    pub(super) fn readable<P: Protocol>(
        &mut self,
        conn: &mut Conn<'_, LoadState<P::Progress>>,
        common: &mut Common<P>,
    ) {
        let mut answered = false;
        loop {
            let LoadState { mut queue, place, mut progress } = *conn.state();
            let piece = conn.peek();
            let count = piece.len();
            if count == 0 {
                break;
            }
            let found = common.protocol.answers(&mut progress, piece);
            conn.consume(count);
            common.reading.bytes_in += count as u64;
            common.reading.values += u64::from(found.values);
            common.reading.wrong += u64::from(found.wrong);
            if P::TELLS {
                common.deaf = common.deaf.saturating_sub(found.values.into());
                for _ in 0..found.values {
                    common.latencies.record(common.now.since(common.told).as_nanos());
                }
            }
            for _ in 0..found.whole {
                match self.times.pop(place.number(), &mut queue) {
                    Some(at) => {
                        self.in_flight -= 1;
                        common.reading.answered += 1;
                        common.latencies.record(common.now.since(at).as_nanos());
                    }
                    // Nobody asked.
                    None => common.reading.wrong += 1,
                }
            }
            let state = conn.state();
            (state.queue, state.progress) = (queue, progress);
            answered |= found.whole > 0;
        }
        if conn.at_end() {
            conn.close();
        } else if answered {
            self.keep_going(conn, common);
        }
    }

    pub(super) fn writable<P: Protocol>(
        &mut self,
        conn: &mut Conn<'_, LoadState<P::Progress>>,
        common: &mut Common<P>,
    ) {
        self.keep_going(conn, common);
    }
}
