//! The server of one core: what happens to a connection on each event.
//!
//! ```text
//!  readable, writable ─► run: by phase ─┬─ ask      a request's head: what is asked
//!                                       ├─ answer   written whole, or begun
//!                                       ├─ exchange bodies in, documents and handlers' answers out
//!                                       └─ socket   WebSocket frames
//!  timer ─► patience: is the peer still in time
//!  turn  ─► documents that changed, parts read from disk, messages to subscribers
//! ```

use freeway::{Conn, ConnId, Duration, Ended, HashKey, Instant, Stack};
use freeway_http1::Head;
use freeway_http1::ranges::{RANGES_MAX, Span};

use arrayvec::ArrayVec;

use crate::broadcast::{Broadcasts, Mesh};
use crate::certificates::TlsFeed;
use crate::config::Config;
use crate::counters::HttpCounters;
use crate::disk::Disk;
use crate::exchange::{Exchanges, Sending};
use crate::handlers::Handler;
use crate::io::{Io, Plain};
use crate::library::Feed;
use crate::log::{Entry, LogSender};
use crate::memo::Memo;
use crate::prefix::Prefixes;
use crate::rates::Rates;
use crate::shelf::Shelf;
use crate::state::{HoldsHttp, HttpState, NONE, Phase, Ticks};
use crate::tls::{Secure, Sessions};

/// How often a core looks for parts from disk while it waits for some.
const DISK_LOOK: Duration = Duration::from_micros(100);

/// How often a core looks for room while a message waits for some.
const SHORT_LOOK: Duration = Duration::from_micros(50);

/// How often a sleeping core looks for new documents and messages from other cores.
const LOOK: Duration = Duration::from_millis(100);

/// How far ahead of the subscriber being served memory is asked for.
const AHEAD: usize = 8;

/// A path and what answers to it.
pub struct Route {
    /// The path, as it is sent, without a query.
    pub path: String,
    /// Its handler on this core.
    pub handler: Box<dyn Handler>,
}

/// What one core's server is made of.
pub struct Parts {
    /// Its settings.
    pub config: Config,
    /// Its documents.
    pub feed: Feed,
    /// The thread that reads those that are not in memory.
    pub disk: Disk,
    /// Its handlers. A document of the same path goes first.
    pub routes: Vec<Route>,
    /// How many topics its handlers name.
    pub topics: usize,
    /// Its connection to the other cores' subscribers.
    pub mesh: Mesh,
    /// Where it logs.
    pub log: Option<LogSender>,
    /// Its certificates, if it has TLS.
    pub tls: Option<TlsFeed>,
    /// What spreads addresses over the table of rates.
    pub key: HashKey,
}

/// The server of one core.
pub struct Server {
    pub(crate) config: Config,
    pub(crate) shelf: Shelf,
    pub(crate) routes: Vec<Route>,
    pub(crate) prefixes: Prefixes,
    pub(crate) memo: Memo,
    pub(crate) exchanges: Exchanges,
    pub(crate) broadcasts: Broadcasts,
    pub(crate) disk: Disk,
    pub(crate) rates: Option<Rates>,
    /// What spreads addresses over the table of rates, whenever there is one.
    key: HashKey,
    pub(crate) log: Option<LogSender>,
    pub(crate) counters: HttpCounters,
    tls: Option<Sessions>,
    /// The log's entry of the request at hand.
    pub(crate) entry: Option<Box<Entry>>,
    /// A request whose head lies in several frames is put together here.
    pub(crate) scratch: Box<[u8]>,
    /// The ranges that the request at hand asks for.
    pub(crate) spans: ArrayVec<Span, RANGES_MAX>,
    /// A head that is written for the request at hand.
    pub(crate) head: Head,
    /// No more requests are taken.
    pub(crate) stopping: bool,
    now: Instant,
}

/// What happens next on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// There may be more to do at once.
    Again,
    /// Something must arrive, or go out.
    Wait,
    /// The same, and somebody looks after so long.
    WaitFor(Duration),
    /// It is over, and the peer knows or sees.
    Close,
    /// It is over; what the peer still sends is read for a while, so that it can read the answer.
    Drain,
    /// It is over at once.
    Abort,
}

impl Server {
    /// Lends all documents to `stack`.
    pub fn new<S: HoldsHttp>(parts: Parts, stack: &mut Stack<S>) -> Self {
        let Parts { config, feed, disk, routes, topics, mesh, log, tls, key } = parts;
        let scratch = (config.limits.head as usize).max(1_024);
        Self {
            shelf: Shelf::new(feed, stack),
            routes,
            prefixes: Prefixes::new(stack.now()),
            memo: Memo::new(config.heads_kept),
            exchanges: Exchanges::new(config.exchanges_max),
            broadcasts: Broadcasts::new(topics, config.subscribers_max, config.broadcast_queue, mesh),
            disk,
            rates: Rates::new(config.requests_per_second, config.requests_burst, config.addresses_max, key),
            key,
            log,
            counters: HttpCounters::default(),
            tls: tls.map(|feed| Sessions::new(feed, config.tls_max, config.tls_buffers)),
            entry: None,
            scratch: vec![0; scratch].into(),
            spans: ArrayVec::new(),
            head: Head::fields(),
            stopping: false,
            now: stack.now(),
            config,
        }
    }

    /// What was counted since the start.
    pub const fn counters(&self) -> &HttpCounters {
        &self.counters
    }

    /// Takes other settings for what comes: times, rates and bounds. The sizes of tables and buffers stay as they were at the
    /// start. It is no part of the data path: a first bound of rates allocates its table.
    pub fn configure(&mut self, config: &Config) {
        let old = &self.config;
        let mut new = Config {
            heads_kept: old.heads_kept,
            exchanges_max: old.exchanges_max,
            addresses_max: old.addresses_max,
            disk_buffers: old.disk_buffers,
            disk_buffer: old.disk_buffer,
            tls_max: old.tls_max,
            tls_buffers: old.tls_buffers,
            subscribers_max: old.subscribers_max,
            broadcast_queue: old.broadcast_queue,
            ..config.clone()
        };
        new.limits.head = old.limits.head;
        let Config { requests_per_second: rate, requests_burst: burst, addresses_max, .. } = new;
        self.rates = match self.rates.take() {
            Some(rates) if rate > 0 => Some(rates.bounded(rate, burst)),
            _ => Rates::new(rate, burst, addresses_max, self.key),
        };
        self.config = new;
        // What was within the bounds may be outside now.
        self.memo.forget();
    }

    /// Takes no more requests: connections end with the answer that is under way. Idle ones end when they are looked at.
    pub fn stop(&mut self) {
        self.stopping = true;
        self.memo.end();
    }

    /// Ends a connection that has nothing under way, after [`Server::stop`].
    pub fn end<S: HoldsHttp>(&mut self, conn: &mut Conn<'_, S>) {
        let state = *conn.state().http();
        if !matches!(state.phase, Phase::Exchange | Phase::Draining) {
            self.settle(conn, state, Next::Drain);
        }
    }

    // ---- events ----

    /// A peer has opened a connection, which begins with TLS or not.
    pub fn accepted<S: HoldsHttp>(&mut self, conn: &mut Conn<'_, S>, secure: bool) {
        self.counters.connections += 1;
        let now = conn.stack().now();
        let mut state = HttpState { since: Ticks::of(now), ..HttpState::default() };
        if secure {
            let Some(place) = self.tls.as_mut().and_then(Sessions::open) else {
                self.counters.refused_tls += 1;
                *conn.state().http() = HttpState { phase: Phase::Draining, ..state };
                conn.abort();
                return;
            };
            state.tls = place;
        }
        *conn.state().http() = state;
        conn.set_timer(some(self.config.header_timeout));
    }

    /// Something has arrived, or there is room again.
    pub fn pump<S: HoldsHttp>(&mut self, conn: &mut Conn<'_, S>) {
        let mut state = *conn.state().http();
        if state.tls != NONE && state.phase != Phase::Draining {
            self.secure(conn, state, Self::drive);
            return;
        }
        let mut io = Plain::new(conn);
        let mut next = self.run(&mut io, &mut state);
        io.flush();
        if io.broken {
            self.counters.aborted_no_room += 1;
            next = Next::Abort;
        }
        self.settle(conn, state, next);
    }

    /// The time of a connection has come.
    pub fn timer<S: HoldsHttp>(&mut self, conn: &mut Conn<'_, S>) {
        let mut state = *conn.state().http();
        if state.tls != NONE && state.phase != Phase::Draining {
            self.secure(conn, state, |server, io, state| server.patience(io, state));
            return;
        }
        let mut io = Plain::new(conn);
        let next = self.patience(&mut io, &mut state);
        io.flush();
        self.settle(conn, state, next);
    }

    /// A connection is over.
    pub fn closed<S: HoldsHttp>(&mut self, stack: &mut Stack<S>, ended: &Ended<S>) {
        let _ = stack;
        let mut state = ended.state;
        let state = *state.http();
        self.forget(state);
        if let Some(sessions) = &mut self.tls {
            sessions.close(state.tls);
        }
    }

    /// A turn goes by.
    #[inline]
    pub fn turn<S: HoldsHttp>(&mut self, stack: &mut Stack<S>, now: Instant) {
        self.now = now;
        self.prefixes.turn(now);
        self.shelf.turn(stack);
        if let Some(sessions) = &mut self.tls {
            sessions.turn();
        }
        if self.disk.is_busy() {
            self.take_from_disk(stack);
        }
        self.broadcasts.collect(stack);
        if self.broadcasts.is_busy() {
            self.broadcast(stack);
        }
    }

    /// When [`Server::turn`] must run next, though nothing arrives.
    pub fn next_deadline(&self) -> Option<Instant> {
        let wait = if self.broadcasts.is_waiting() {
            SHORT_LOOK
        } else if self.broadcasts.is_busy() || self.shelf.is_busy() {
            Duration::ZERO
        } else if self.disk.is_busy() {
            DISK_LOOK
        } else {
            LOOK
        };
        Some(self.now + wait)
    }

    // ---- within an event ----

    pub(crate) fn run<I: Io>(&mut self, io: &mut I, state: &mut HttpState) -> Next {
        loop {
            let next = match state.phase {
                Phase::Fresh | Phase::Head | Phase::Idle => self.ask(io, state),
                Phase::Exchange => self.exchange(io, state),
                Phase::Socket => self.hear(io, state),
                Phase::Events | Phase::Draining => {
                    io.consume(usize::MAX);
                    if io.at_end() { Next::Close } else { Next::Wait }
                }
            };
            if next != Next::Again {
                return next;
            }
        }
    }

    /// Does something on a connection with TLS, and what follows from it.
    fn secure<S: HoldsHttp>(
        &mut self,
        conn: &mut Conn<'_, S>,
        mut state: HttpState,
        work: impl FnOnce(&mut Self, &mut Secure<'_, '_, S>, &mut HttpState) -> Next,
    ) {
        let Some(sessions) = &mut self.tls else { return conn.abort() };
        let Some(mut session) = sessions.take(state.tls) else { return conn.abort() };
        let mut spare = std::mem::take(sessions.spare());
        let mut io = Secure::new(conn, &mut session, &mut spare);
        let ending = io.session.ending;
        let mut next = match ending {
            // Only the last bytes are still to go.
            Some(ending) if io.finish(false) => ending,
            Some(_) => Next::Wait,
            None => work(self, &mut io, &mut state),
        };
        if io.session.ending.is_none() && matches!(next, Next::Close | Next::Drain) && !io.finish(true) {
            io.session.ending = Some(next);
            next = Next::WaitFor(self.config.rate_interval);
        }
        io.flush();
        self.counters.tls_handshakes += u64::from(io.opened);
        self.counters.tls_resumed += u64::from(io.opened && io.is_resumed());
        if io.failed && next != Next::Abort {
            self.counters.tls_failed += 1;
            next = Next::Abort;
        }
        if let Some(sessions) = &mut self.tls {
            *sessions.spare() = spare;
            sessions.put_back(state.tls, session);
        }
        self.settle(conn, state, next);
    }

    /// Takes what has arrived through TLS, and runs on it.
    fn drive<S: HoldsHttp>(&mut self, io: &mut Secure<'_, '_, S>, state: &mut HttpState) -> Next {
        let mut timer = None;
        loop {
            let moved = io.receive();
            if io.failed {
                return Next::Wait;
            }
            if !io.is_open() {
                return if io.is_over() || io.conn.at_end() { Next::Close } else { Next::Wait };
            }
            let next = self.run(io, state);
            io.flush();
            match next {
                Next::Wait => {}
                Next::WaitFor(time) => timer = Some(time),
                over => return over,
            }
            // There may be more where it came from, now that there is room.
            if !moved {
                return timer.map_or(Next::Wait, Next::WaitFor);
            }
        }
    }

    pub(crate) fn settle<S: HoldsHttp>(&mut self, conn: &mut Conn<'_, S>, mut state: HttpState, next: Next) {
        match next {
            Next::Again | Next::Wait => {}
            Next::WaitFor(time) => conn.set_timer(some(time)),
            Next::Close => {
                self.forget(state);
                state = HttpState { phase: Phase::Draining, tls: state.tls, ..HttpState::default() };
                conn.consume(usize::MAX);
                conn.close();
            }
            Next::Drain => {
                self.forget(state);
                let now = conn.stack().now();
                state = HttpState {
                    phase: Phase::Draining,
                    tls: state.tls,
                    since: Ticks::of(now),
                    ..HttpState::default()
                };
                conn.shutdown();
                conn.consume(usize::MAX);
                conn.set_timer(Some(self.config.linger_timeout));
            }
            Next::Abort => {
                self.forget(state);
                state = HttpState { phase: Phase::Draining, tls: state.tls, ..HttpState::default() };
                conn.abort();
            }
        }
        *conn.state().http() = state;
    }

    /// Gives back what a connection has in tables.
    pub(crate) fn forget(&mut self, state: HttpState) {
        match state.phase {
            Phase::Exchange => self.end_exchange(state.place),
            Phase::Events | Phase::Socket => self.unsubscribe(state),
            Phase::Fresh | Phase::Head | Phase::Idle | Phase::Draining => {}
        }
    }

    /// Gives an exchange's place back, with what it holds.
    pub(crate) fn end_exchange(&mut self, place: u32) {
        let Some(mut exchange) = self.exchanges.remove(place) else { return };
        if let Sending::Document(download) = std::mem::replace(&mut exchange.sending, Sending::Nothing) {
            self.end_download(download);
        }
        if exchange.handler != NONE
            && let Some(route) = self.routes.get_mut(exchange.handler as usize)
        {
            route.handler.abandoned(exchange.handler_state);
        }
        if let Some(mut entry) = exchange.entry.take() {
            entry.bytes = exchange.written;
            self.log_entry(entry);
        }
    }

    pub(crate) fn log_entry(&mut self, entry: Box<Entry>) {
        let now = self.now;
        let wall = self.prefixes.wall(now);
        if let Some(log) = &mut self.log {
            log.send(entry, now, wall);
        }
    }

    // ---- once a turn ----

    fn take_from_disk<S: HoldsHttp>(&mut self, stack: &mut Stack<S>) {
        while let Some(answer) = self.disk.answer() {
            if let Some(conn) = self.put_part(answer) {
                self.wake(stack, conn);
            }
        }
        while let Some((place, serial)) = self.disk.next_waiting() {
            if let Some(exchange) = self.exchanges.get_mut(place)
                && exchange.serial == serial
            {
                let conn = exchange.conn;
                self.wake(stack, conn);
            }
        }
    }

    fn wake<S: HoldsHttp>(&mut self, stack: &mut Stack<S>, conn: ConnId) {
        if let Some(mut conn) = stack.conn(conn) {
            self.pump(&mut conn);
        }
    }

    /// Sends the message at hand to the next subscribers.
    fn broadcast<S: HoldsHttp>(&mut self, stack: &mut Stack<S>) {
        self.counters.broadcast_dropped = self.broadcasts.outbox.dropped;
        // What the interface has not taken is looked at in every turn: more of it would only be more to look at.
        if stack.waiting_to_transmit() >= self.config.broadcast_step as usize {
            return;
        }
        for _ in 0..self.config.broadcast_step {
            // Whoever acknowledges makes room; it is nobody's fault that there is none.
            if self.broadcasts.waits(!stack.has_room_to_send(), self.now, self.config.broadcast_patience) {
                return;
            }
            let Some((id, forms)) = self.broadcasts.next(AHEAD, stack) else {
                if self.broadcasts.is_busy() { continue } else { break }
            };
            let Some(mut conn) = stack.conn(id) else { continue };
            let state = *conn.state().http();
            let lent = if state.phase == Phase::Socket { forms.socket } else { forms.events };
            let is_behind = conn.unacknowledged_bytes() + lent.len()
                > self.config.subscriber_backlog as usize
                || conn.send_room() < lent.len();
            if is_behind {
                self.counters.broadcast_skipped += 1;
                continue;
            }
            if state.tls != NONE {
                if let Some(bytes) = self.broadcasts.bytes(state.phase == Phase::Socket) {
                    self.secure(&mut conn, state, |server, io, _| {
                        if io.put(&[&bytes]) {
                            server.counters.broadcast += 1;
                        } else {
                            server.counters.broadcast_skipped += 1;
                        }
                        Next::Wait
                    });
                }
                continue;
            }
            if conn.lend(lent, 0..lent.len()) < lent.len() {
                self.counters.aborted_no_room += 1;
                conn.abort();
                continue;
            }
            self.counters.broadcast += 1;
        }
    }
}

/// A time, unless it is no bound.
pub(crate) fn some(time: Duration) -> Option<Duration> {
    Some(time).filter(|time| *time > Duration::ZERO)
}
