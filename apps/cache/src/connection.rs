//! The server of one core as an application: connections, datagrams, turns.
//!
//! ```text
//!   readable ─► the key's memory is asked for ─┐        (one connection after the other)
//!   turn     ─► commands ─► answers ─► TCP  ◄──┘        (all of them, when it has come)
//!                  │ a long value: straight from the store, as TCP takes it
//! ```

use std::collections::VecDeque;

use arrayvec::ArrayVec;
use freeway::{Conn, ConnId, Datagram, Duration, Instant, Post, PostCounters, Stack};
use freeway_base::{FlowHash, HashKey};
use freeway_memcache::text::Watch;
use freeway_memcache::text::reply::Outcome;
use freeway_memcache::{Decoder, Refusal};

use crate::cache::{Cache, CacheCounters};
use crate::clock::Clock;
use crate::dump::LINE_MAX;
use crate::engine::{Engine, Next, RESERVE, WAIT_MAX};
use crate::glance::first_key;
use crate::out::{OUT_MAX, Out};
use crate::peers::parts::Parts;
use crate::peers::{Gather, Owed, Peers};
use crate::server::{CacheConfig, Server, ServerCounters};
use crate::store::{StoreCounters, StoreError};
use crate::tasks::{Asker, Dump, NONE, Task, Tasks, What};

/// Connections whose requests wait for their memory together, and datagrams.
pub(crate) const BATCH: usize = 32;
/// Connections that waited for another turn and are tried again in one.
const RETRIES: usize = 64;
/// Connections that may watch.
const WATCHERS: usize = 8;
/// Records that expired, were flushed or must go, looked at in one turn.
const RECORDS_PER_TURN: usize = 64;

/// A connection's state: 12 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CacheState {
    pub(crate) decoder: Decoder,
    /// What it has begun, or none.
    pub(crate) task: u16,
    /// How many keys of the multi-get that it reads are answered; the highest bit says that it is on the list of those
    /// that wait for room in a ring.
    pub(crate) done: u16,
}

const _: () = assert!(size_of::<CacheState>() <= 12);

const STALLED: u16 = 1 << 15;

impl CacheState {
    pub(crate) const fn done_keys(&self) -> u16 {
        self.done & !STALLED
    }

    pub(crate) const fn set_done_keys(&mut self, keys: u16) {
        self.done = keys | self.done & STALLED;
    }

    pub(crate) const fn add_done_key(&mut self) {
        self.done += 1;
    }

    pub(crate) const fn clear_done_keys(&mut self) {
        self.done &= STALLED;
    }

    pub(crate) const fn set_stalled(&mut self, stalled: bool) {
        self.done = self.done_keys() | if stalled { STALLED } else { 0 };
    }

    const fn is_stalled(&self) -> bool {
        self.done & STALLED != 0
    }
}

/// Why a connection's requests are not gone on with.
enum Stopped {
    /// TCP takes no more answers now.
    Blocked,
    /// There is no whole request.
    Hungry,
    /// It is to end.
    Over,
}

/// How far what was left of a connection's answers could be sent.
enum Rest {
    /// What comes next may be begun.
    Sent,
    /// TCP takes no more now, or another core's answer comes first.
    Blocked,
    /// It is another turn's: a ring is full, or much has been done.
    Later,
    /// All is sent, and the connection is to end.
    Over,
}

/// The cache server of one core.
pub struct CacheServer {
    pub(crate) engine: Engine,
    /// A request that lies in several frames is put together here.
    scratch: Box<[u8]>,
    /// Answers to a datagram.
    pub(crate) answer: Box<[u8]>,
    /// Connections with requests whose memory has been asked for.
    waiting: Vec<(ConnId, FlowHash)>,
    /// Datagrams, the same.
    pub(crate) datagrams: Vec<(Datagram, FlowHash)>,
    /// Connections that watch, and what.
    pub(crate) watchers: ArrayVec<(ConnId, Watch), WATCHERS>,
    /// Connections that wait for another turn: for room in a ring or an answer's buffer, or because they did much. Each once.
    pub(crate) stalled: VecDeque<ConnId>,
    /// When the clock was last looked at.
    seen: Instant,
}

impl CacheServer {
    /// A server that starts at `now`; its store's memory is mapped. `key` is the secret that spreads keys.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn new(config: CacheConfig, key: HashKey, now: Instant) -> Result<Self, StoreError> {
        let cache = Cache::new(&config.store, key, Clock::new(now, config.unix_time))?;
        let scratch = WAIT_MAX + config.limits.line_max;
        let answer = usize::from(config.udp_datagrams_max) * freeway_memcache::udp::DATAGRAM_MAX;
        let tasks = Tasks::new(config.tasks_max.min(u16::MAX - 1), config.spills_max);
        let stalled = VecDeque::with_capacity(config.connections_max as usize + 1);
        let engine = Engine {
            server: Server::new(cache, config),
            out: Out::new(),
            tasks,
            peers: None,
            parts: Parts::new(0, 0),
            gather: Gather::default(),
            asker: None,
            direct: 0,
            watched: Watch::empty(),
            core: 0,
            cores: 1,
        };
        Ok(Self {
            engine,
            scratch: vec![0; scratch].into_boxed_slice(),
            answer: vec![0; answer].into_boxed_slice(),
            waiting: Vec::with_capacity(BATCH),
            datagrams: Vec::with_capacity(BATCH),
            watchers: ArrayVec::new(),
            stalled,
            seen: now,
        })
    }

    /// The same as one of several cores, each of which has a share of the keys: `asks` and `answers` are this core's ends of
    /// two meshes (see [`Post`](freeway::Post)). All cores must be given the same key.
    #[must_use]
    pub fn with_peers(mut self, asks: Post, answers: Post) -> Self {
        let CacheConfig { asks_max, held_max, .. } = self.engine.server.config;
        (self.engine.core, self.engine.cores) = (asks.core(), asks.cores());
        self.engine.server.config.threads = asks.cores();
        if asks.cores() > 1 {
            self.engine.parts = Parts::new(asks_max, held_max);
            self.engine.peers = Some(Box::new(Peers::new(asks, answers, asks_max)));
        }
        self
    }

    /// What the server counted.
    pub fn counters(&self) -> &ServerCounters {
        &self.engine.server.counters
    }

    /// What the commands did.
    pub fn commands(&self) -> &CacheCounters {
        &self.engine.server.cache.counters
    }

    /// What its store counted.
    pub fn store_counters(&self) -> &StoreCounters {
        &self.engine.server.cache.store.counters
    }

    /// What passed between this core and the others: questions, and answers.
    pub fn post_counters(&self) -> [PostCounters; 2] {
        let peers = self.engine.peers.as_ref();
        peers.map(|peers| [*peers.asks.counters(), *peers.answers.counters()]).unwrap_or_default()
    }

    /// The cache.
    pub fn cache(&mut self) -> &mut Cache {
        &mut self.engine.server.cache
    }

    /// Whether a client that may has asked for the server's end.
    pub fn wants_stop(&self) -> bool {
        self.engine.server.stop
    }

    /// Values on their way in or out, and connections that other cores owe something.
    pub fn tasks(&self) -> u16 {
        self.engine.tasks.in_use()
    }

    /// Answers that other cores owe, or that stand behind one.
    pub fn parts(&self) -> u16 {
        self.engine.parts.len()
    }

    // ---- events ----

    /// A connection was accepted.
    pub fn accepted<S: Copy + Default + 'static>(
        &mut self,
        conn: &mut Conn<'_, S>,
        state: impl Fn(&mut S) -> &mut CacheState,
    ) {
        let Server { counters, config, .. } = &mut self.engine.server;
        counters.accepted += 1;
        let decoder = match config.users.is_empty() {
            true => Decoder::new(config.protocol),
            false => Decoder::locked(),
        };
        let idle_timeout = config.idle_timeout;
        *state(conn.state()) = CacheState { decoder, ..CacheState::default() };
        if counters.accepted - counters.closed > u64::from(config.connections_max) {
            counters.rejected += 1;
            conn.write(b"ERROR Too many open connections\r\n");
            conn.close();
            return;
        }
        if idle_timeout > 0 {
            conn.set_timer(Some(Duration::from_secs(u64::from(idle_timeout))));
        }
        let log = &mut self.engine.server.cache.store.log;
        if log.is_on() {
            log.opened(conn.peer());
        }
    }

    /// A connection is over.
    pub fn closed(&mut self, state: CacheState) {
        let mut state = state;
        self.engine.server.counters.closed += 1;
        let rest = self.engine.tasks.spilled(state.task).len();
        self.engine.tasks.unspill(state.task, rest);
        self.drop_owed(state.task);
        self.engine.drop_begun(&mut state);
    }

    /// A connection has something to read: its requests are answered now, or with others in this turn, once what they
    /// need has come from memory. `state` finds the server's state in the application's.
    pub fn readable<S: Copy + Default + 'static>(
        &mut self,
        conn: &mut Conn<'_, S>,
        state: impl Fn(&mut S) -> &mut CacheState,
    ) {
        let Some(hash) = first_key(conn.peek()).map(|key| self.engine.server.hash(key)) else {
            self.pump(conn, state);
            return;
        };
        self.engine.server.cache.store.prefetch(hash);
        self.waiting.push((conn.id(), hash));
        if self.waiting.len() == BATCH {
            self.answer_waiting(conn.stack(), state);
        }
    }

    /// A turn ends: what waits is answered, and the store does what is due.
    pub fn turn<S: Copy + Default + 'static>(
        &mut self,
        stack: &mut Stack<S>,
        now: Instant,
        state: impl Fn(&mut S) -> &mut CacheState,
    ) {
        self.tick(now);
        self.answer_datagrams(stack);
        self.answer_waiting(stack, &state);
        self.retry(stack, &state);
        self.engine.server.cache.maintain(RECORDS_PER_TURN);
        if self.engine.server.cache.store.log.is_on() {
            self.tell_watchers(stack);
        }
        if self.engine.peers.is_some() {
            self.send_letters();
        }
    }

    /// Another core's watchers may want to see something else.
    pub(crate) fn update_if_watched(&mut self) {
        if self.engine.peers.as_mut().is_some_and(|peers| core::mem::take(&mut peers.watches_changed)) {
            self.update_watch();
        }
    }

    /// Shows a line to those who want to see it.
    pub(crate) fn show<S: Copy + Default + 'static>(&self, stack: &mut Stack<S>, what: Watch, line: &[u8]) {
        for (id, _) in self.watchers.iter().filter(|(_, watch)| watch.intersects(what)) {
            if let Some(mut conn) = stack.conn(*id)
                && conn.send_room() >= line.len()
            {
                conn.write(line);
            }
        }
    }

    /// Lets a connection watch.
    fn watch<S: Copy + Default + 'static>(&mut self, conn: &mut Conn<'_, S>, watch: Watch) {
        if self.watchers.len() >= self.engine.server.config.watchers_max.min(WATCHERS) {
            conn.write(Refusal::TooManyWatchers.line().as_bytes());
            conn.write(b"\r\n");
            return;
        }
        conn.write(Outcome::Ok.bytes());
        self.watchers.push((conn.id(), watch));
        self.update_watch();
    }

    fn update_watch(&mut self) {
        let mut wanted = self.watchers.iter().fold(Watch::empty(), |all, (_, watch)| all | *watch);
        if let Some(peers) = &mut self.engine.peers {
            if wanted != self.engine.watched {
                peers.untold.fill(true);
            }
            self.engine.watched = wanted;
            wanted = peers.watches.iter().fold(wanted, |all, watch| all | *watch);
        }
        self.engine.server.cache.store.log.watch(wanted);
    }

    /// Sends the turn's lines to who watches, as far as their connections have room, and begins another turn.
    #[cold]
    fn tell_watchers<S: Copy + Default + 'static>(&mut self, stack: &mut Stack<S>) {
        let before = self.watchers.len();
        let cache = &mut self.engine.server.cache;
        let log = &cache.store.log;
        self.watchers.retain(|(id, watch)| {
            let Some(mut conn) = stack.conn(*id) else { return false };
            let mut skipped = log.skipped();
            for (what, line) in log.lines().filter(|(what, _)| watch.intersects(*what)) {
                debug_assert!(!what.is_empty());
                let sent = conn.send_room() >= line.len() && conn.write(line) == line.len();
                skipped += u64::from(!sent);
            }
            if skipped > 0 {
                let mut number = itoa::Buffer::new();
                let parts = [b"skipped=".as_slice(), number.format(skipped).as_bytes(), b"\n"];
                if conn.send_room() >= 64 {
                    parts.iter().for_each(|part| {
                        conn.write(part);
                    });
                }
            }
            true
        });
        if let Some(peers) = &mut self.engine.peers {
            peers.tell_watchers(log);
        }
        let now = cache.clock.unix_us();
        cache.store.log.begin(now);
        if self.watchers.len() < before {
            self.update_watch();
        }
    }

    /// When the next turn must be, though nothing arrives.
    pub fn next_deadline(&self) -> Option<Instant> {
        let cache = &self.engine.server.cache;
        if !self.stalled.is_empty() {
            return Some(self.seen);
        }
        let wait = if cache.store.has_work(cache.clock.now()) { 100_000 } else { 250_000_000 };
        (!cache.is_idle()).then(|| self.seen + Duration::from_nanos(wait))
    }

    fn answer_waiting<S: Copy + Default + 'static>(
        &mut self,
        stack: &mut Stack<S>,
        state: impl Fn(&mut S) -> &mut CacheState,
    ) {
        if self.waiting.is_empty() {
            return;
        }
        self.tick(stack.now());
        let mut waiting = core::mem::take(&mut self.waiting);
        for (_, hash) in &waiting {
            self.engine.server.cache.store.prefetch_item(*hash);
        }
        for (id, hash) in waiting.drain(..) {
            let Some(mut conn) = stack.conn(id) else { continue };
            let own = *state(conn.state());
            if self.glance(&mut conn, hash, own).is_none() {
                self.pump(&mut conn, &state);
            } else if is_finished(&conn) {
                self.end(&mut conn);
            }
        }
        self.waiting = waiting;
    }

    /// Goes on with connections that waited for another turn.
    fn retry<S: Copy + Default + 'static>(
        &mut self,
        stack: &mut Stack<S>,
        state: impl Fn(&mut S) -> &mut CacheState,
    ) {
        for _ in 0..self.stalled.len().min(RETRIES) {
            let Some(id) = self.stalled.pop_front() else { break };
            if let Some(mut conn) = stack.conn(id) {
                state(conn.state()).set_stalled(false);
                self.pump(&mut conn, &state);
            }
        }
    }

    /// The time that [`CacheServer::accepted`] asked for has come: a connection of which nothing was heard is closed.
    pub fn timer<S: Copy + Default + 'static>(&mut self, conn: &mut Conn<'_, S>) {
        let limit = Duration::from_secs(u64::from(self.engine.server.config.idle_timeout));
        let since = conn.info().map_or(Duration::ZERO, |info| info.since_received);
        if limit == Duration::ZERO {
            return;
        }
        if since < limit {
            conn.set_timer(Some(limit - since));
            return;
        }
        self.engine.server.counters.idle_kicks += 1;
        let log = &mut self.engine.server.cache.store.log;
        if log.is_on() {
            log.closed(conn.peer(), "idle_timeout");
        }
        conn.consume(usize::MAX);
        conn.close();
    }

    /// Goes on with a connection: what is being sent first, then the requests that have arrived. Call it when the
    /// connection is writable.
    pub fn pump<S: Copy + Default + 'static>(
        &mut self,
        conn: &mut Conn<'_, S>,
        state: impl Fn(&mut S) -> &mut CacheState,
    ) {
        self.tick(conn.stack().now());
        let mut own = *state(conn.state());
        let stopped = self.drive(conn, &mut own);
        *state(conn.state()) = own;
        let over = match stopped {
            Stopped::Blocked => false,
            // What is left is no whole request, and without the peer never will be. What is owed comes first.
            Stopped::Hungry => is_finished(conn) && !self.awaits(own.task),
            Stopped::Over => true,
        };
        if over {
            self.end(conn);
        }
    }

    /// Ends a connection that is over in good order.
    fn end<S: Copy + Default + 'static>(&mut self, conn: &mut Conn<'_, S>) {
        let log = &mut self.engine.server.cache.store.log;
        if log.is_on() {
            log.closed(conn.peer(), "normal");
        }
        conn.consume(usize::MAX);
        conn.close();
    }

    /// Looks at the clock, once for all events of a turn.
    #[inline]
    pub(crate) fn tick(&mut self, now: Instant) {
        if now != self.seen {
            self.seen = now;
            self.engine.server.cache.clock.set(now);
        }
    }

    fn drive<S: Copy + Default + 'static>(
        &mut self,
        conn: &mut Conn<'_, S>,
        state: &mut CacheState,
    ) -> Stopped {
        loop {
            match self.send_rest(conn, state) {
                Rest::Sent => {}
                Rest::Blocked => {
                    self.engine.server.counters.yields += 1;
                    return Stopped::Blocked;
                }
                Rest::Later => return self.wait(conn, state),
                Rest::Over => return Stopped::Over,
            }
            let room = conn.send_room();
            if room < RESERVE && conn.unacknowledged_bytes() > 0 {
                conn.want_room();
                self.engine.server.counters.yields += 1;
                return Stopped::Blocked;
            }
            let available = conn.readable_bytes();
            if available == 0 {
                return Stopped::Hungry;
            }
            self.engine.out.begin(room);
            self.engine.asker = Some(Asker::Conn(conn.id()));
            let first = conn.peek();
            let whole = first.len() == available;
            let (mut used, mut next) = self.engine.run(first, state);
            if used == 0 && next == Next::More && !whole && self.engine.out.len() == 0 {
                let len = conn.copy_readable(&mut self.scratch);
                (used, next) = self.engine.run(self.scratch.get(..len).unwrap_or(&[]), state);
            }
            conn.consume(used);
            self.engine.server.counters.bytes_read += used as u64;
            if !self.write(conn, state) {
                return Stopped::Over;
            }
            match next {
                Next::More if used == 0 => return Stopped::Hungry,
                // The usual end: nothing is left to read or to send.
                Next::More if used == available && state.task == NONE => return Stopped::Hungry,
                Next::More | Next::Full => {}
                Next::Wait => return self.wait(conn, state),
                Next::Close if self.is_owed(state) => {
                    if let Some(task) = self.engine.tasks.get(state.task) {
                        task.closing = true;
                    }
                    return Stopped::Blocked;
                }
                Next::Close => return Stopped::Over,
                Next::Watch(watch) => self.watch(conn, watch),
            }
        }
    }

    /// Whether something comes that was begun before what the connection has sent next.
    fn is_owed(&self, state: &CacheState) -> bool {
        state.task != NONE && !self.engine.tasks.queue(state.task).is_empty()
    }

    /// Whether an answer comes for which nothing more has to be sent.
    #[inline]
    fn awaits(&mut self, task: u16) -> bool {
        if task == NONE {
            return false;
        }
        let queue = self.engine.tasks.queue(task);
        self.engine.parts.get(queue.first).is_some_and(|part| part.is_awaited())
    }

    /// The connection goes on when an answer has come, or else when there is room again.
    fn wait<S: Copy + Default + 'static>(&mut self, conn: &Conn<'_, S>, state: &mut CacheState) -> Stopped {
        self.engine.server.counters.stalled += 1;
        let awaits = self.awaits(state.task);
        match self.engine.tasks.get(state.task).filter(|_| awaits) {
            Some(task) => task.waits = true,
            None if state.is_stalled() => {}
            None => {
                state.set_stalled(true);
                self.stalled.push_back(conn.id());
            }
        }
        Stopped::Blocked
    }

    /// Gives the answers to TCP; false when the connection is lost over it.
    fn write<S: Copy + Default + 'static>(&mut self, conn: &mut Conn<'_, S>, state: &mut CacheState) -> bool {
        let Engine { out, tasks, server, .. } = &mut self.engine;
        write(conn, &mut state.task, tasks, server, out.data())
    }

    /// The same with bytes that are no answer of this core.
    pub(crate) fn write_bytes<S: Copy + Default + 'static>(
        &mut self,
        conn: &mut Conn<'_, S>,
        state: &mut CacheState,
        bytes: &[u8],
    ) -> bool {
        let Engine { tasks, server, .. } = &mut self.engine;
        write(conn, &mut state.task, tasks, server, bytes)
    }

    /// Sends what is left of the answers before.
    fn send_rest<S: Copy + Default + 'static>(
        &mut self,
        conn: &mut Conn<'_, S>,
        state: &mut CacheState,
    ) -> Rest {
        if state.task == NONE {
            return Rest::Sent;
        }
        let Engine { tasks, server, .. } = &mut self.engine;
        let spilled = tasks.spilled(state.task);
        if !spilled.is_empty() {
            let (len, written) = (spilled.len(), conn.write(spilled));
            server.counters.bytes_written += written as u64;
            tasks.unspill(state.task, written);
            if written < len {
                return Rest::Blocked;
            }
        }
        let behind = |task: &Task| task.sending.is_some() || task.dump.is_some() || task.closing;
        if self.is_owed(state) {
            match self.send_owed(conn, state) {
                Owed::Nothing => {}
                Owed::NoRoom => return Rest::Blocked,
                Owed::RingFull => return Rest::Later,
                // What comes next may be begun, unless it goes out straight away.
                Owed::Awaited if self.engine.tasks.get(state.task).is_some_and(|task| behind(task)) => {
                    return Rest::Blocked;
                }
                Owed::Awaited => return Rest::Sent,
            }
        }
        let closes = self.engine.tasks.get(state.task).is_some_and(|task| task.closing);
        let sent = match self.send_value(conn, state.task) {
            true => self.send_dump(conn, state),
            false => Rest::Blocked,
        };
        self.engine.tasks.close_if_over(&mut state.task);
        if closes { Rest::Over } else { sent }
    }

    fn send_value<S: Copy + Default + 'static>(&mut self, conn: &mut Conn<'_, S>, task: u16) -> bool {
        let Engine { tasks, server, .. } = &mut self.engine;
        let Some(task) = tasks.get(task) else { return true };
        let Some(sending) = &mut task.sending else { return true };
        let store = &mut server.cache.store;
        let item = store.pinned_item(sending.item);
        loop {
            let piece = sending.piece(store, item);
            if piece.is_empty() {
                break;
            }
            let written = conn.write(piece);
            server.counters.bytes_written += written as u64;
            sending.offset += written as u32;
            if written < piece.len() {
                return false;
            }
        }
        task.sending = None;
        store.unpin(item);
        true
    }

    fn send_dump<S: Copy + Default + 'static>(
        &mut self,
        conn: &mut Conn<'_, S>,
        state: &mut CacheState,
    ) -> Rest {
        while let Some(mut dump) = self.engine.tasks.get(state.task).and_then(|task| task.dump) {
            if conn.send_room() < OUT_MAX && conn.unacknowledged_bytes() > 0 {
                conn.want_room();
                return Rest::Blocked;
            }
            let Engine { server, out, tasks, core, cores, .. } = &mut self.engine;
            out.begin(OUT_MAX);
            if dump.what == What::Connections {
                let service = conn.service();
                list_connections(conn.stack(), service, out, &mut dump);
            }
            let listed = dump.core >= *cores || dump.left == 0;
            let over = listed && server.end_list(out, &mut dump);
            if !listed && dump.what != What::Connections && dump.core != *core {
                let asked = self.engine.ask_list(state, conn.id());
                return if asked { Rest::Blocked } else { Rest::Later };
            } else if !listed && dump.what != What::Connections && !server.list(out, &mut dump) {
                dump.next_core();
            }
            // What is counted is not sent: the turn must not go on with it to the end.
            let later = !listed && dump.what == What::Sizes;
            if let Some(task) = tasks.get(state.task) {
                task.dump = (!over).then_some(dump);
            }
            if !self.write(conn, state) {
                return Rest::Blocked;
            }
            if self.engine.tasks.get(state.task).is_some_and(|task| task.spill.is_some()) {
                return Rest::Blocked;
            }
            if later {
                return Rest::Later;
            }
        }
        Rest::Sent
    }
}

/// Lists the connections of a service on this core as long as there is room.
fn list_connections<S: Copy + Default + 'static>(
    stack: &mut Stack<S>,
    service: u16,
    out: &mut Out,
    dump: &mut Dump,
) {
    let behind = dump.segment as usize;
    let ids: ArrayVec<ConnId, BATCH> =
        stack.connections().skip(behind).take(BATCH).map(|(id, _)| id).collect();
    if ids.is_empty() {
        dump.left = 0;
    }
    for id in ids {
        if !out.has_room(LINE_MAX) {
            return;
        }
        dump.segment += 1;
        let Some(conn) = stack.conn(id).filter(|conn| conn.service() == service) else { continue };
        let since = conn.info().map_or(0, |info| info.since_received.to_std().as_secs());
        let (number, peer, local) = (dump.segment, conn.peer(), conn.local());
        out.line(format_args!("STAT {number}:addr tcp:{peer}\r\nSTAT {number}:listen_addr tcp:{local}\r\n"));
        out.line(format_args!(
            "STAT {number}:state conn_read\r\nSTAT {number}:secs_since_last_cmd {since}\r\n"
        ));
    }
}

/// Gives bytes to TCP, and keeps what it does not take; false when the connection is lost over it.
fn write<S: Copy + Default + 'static>(
    conn: &mut Conn<'_, S>,
    task: &mut u16,
    tasks: &mut Tasks,
    server: &mut Server,
    bytes: &[u8],
) -> bool {
    if bytes.is_empty() {
        return true;
    }
    // What is kept goes first.
    let written = if tasks.spilled(*task).is_empty() { conn.write(bytes) } else { 0 };
    server.counters.bytes_written += written as u64;
    let rest = bytes.get(written..).unwrap_or(&[]);
    if rest.is_empty() || tasks.spill(task, rest) {
        return true;
    }
    server.counters.dropped_no_spill += 1;
    conn.abort();
    false
}

/// Whether the peer sends nothing more.
#[inline]
fn is_finished<S: Copy + Default + 'static>(conn: &Conn<'_, S>) -> bool {
    // Between two requests nothing is left unread: the usual case takes one look.
    conn.at_end() || conn.readable_bytes() > 0 && conn.info().is_some_and(|info| !info.state.can_receive())
}
