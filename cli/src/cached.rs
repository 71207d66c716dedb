//! The services of `freeway serve` with a cache beside them.
//!
//! The cache's memory stays with the thread that mapped it, so it is no part of [`Services`], which may move.

use freeway::{Application, Conn, CounterVisit, Datagram, Ended, IcmpKind, Instant, Stack, StopHandle};
use freeway_cache::CacheServer;

use crate::services::{Service, Services, State};

/// All services of one core, and its cache if it has one.
pub(crate) struct Cached {
    services: Services,
    cache: Option<CacheServer>,
    /// Ends the process when a client of the cache may and does ask for it.
    stop: StopHandle,
}

impl Cached {
    pub(crate) const fn new(services: Services, cache: Option<CacheServer>, stop: StopHandle) -> Self {
        Self { services, cache, stop }
    }

    /// The cache, if it is its connection.
    fn cache_of(&mut self, conn: &Conn<'_, State>) -> Option<&mut CacheServer> {
        self.cache.as_mut().filter(|_| Service::of(conn.service()) == Some(Service::Cache))
    }
}

impl Application for Cached {
    type Conn = State;

    fn start(&mut self, stack: &mut Stack<State>, now: Instant) {
        self.services.start(stack, now);
    }

    fn turn(&mut self, stack: &mut Stack<State>, now: Instant) {
        self.services.turn(stack, now);
        if let Some(cache) = &mut self.cache {
            cache.turn(stack, now, State::cache);
            if cache.wants_stop() {
                self.stop.stop();
            }
        }
    }

    fn mail(&mut self, stack: &mut Stack<State>, now: Instant) -> usize {
        self.cache.as_mut().map_or(0, |cache| cache.mail(stack, now, State::cache))
    }

    fn has_mail(&mut self) -> bool {
        self.cache.as_mut().is_some_and(CacheServer::has_mail)
    }

    fn next_deadline(&self) -> Option<Instant> {
        let cache = self.cache.as_ref().and_then(CacheServer::next_deadline);
        self.services.next_deadline().into_iter().chain(cache).min()
    }

    fn accepted(&mut self, mut conn: Conn<'_, State>) {
        match self.cache_of(&conn) {
            Some(cache) => cache.accepted(&mut conn, State::cache),
            None => self.services.accepted(conn),
        }
    }

    fn connected(&mut self, conn: Conn<'_, State>) {
        self.services.connected(conn);
    }

    fn readable(&mut self, mut conn: Conn<'_, State>) {
        match self.cache_of(&conn) {
            Some(cache) => cache.readable(&mut conn, State::cache),
            None => self.services.readable(conn),
        }
    }

    fn writable(&mut self, mut conn: Conn<'_, State>) {
        match self.cache_of(&conn) {
            Some(cache) => cache.pump(&mut conn, State::cache),
            None => self.services.writable(conn),
        }
    }

    fn stalled(&mut self, conn: Conn<'_, State>) {
        self.services.stalled(conn);
    }

    fn path_error(&mut self, conn: Conn<'_, State>, kind: IcmpKind) {
        self.services.path_error(conn, kind);
    }

    fn timer(&mut self, mut conn: Conn<'_, State>) {
        match self.cache_of(&conn) {
            Some(cache) => cache.timer(&mut conn),
            None => self.services.timer(conn),
        }
    }

    fn closed(&mut self, stack: &mut Stack<State>, ended: Ended<State>) {
        match (&mut self.cache, ended.state) {
            (Some(cache), State::Cache(state)) => cache.closed(state),
            _ => self.services.closed(stack, ended),
        }
    }

    fn datagram(&mut self, stack: &mut Stack<State>, datagram: Datagram) {
        match &mut self.cache {
            Some(cache) if Service::of(datagram.service) == Some(Service::CacheUdp) => {
                cache.datagram(stack, datagram);
            }
            _ => self.services.datagram(stack, datagram),
        }
    }

    fn counters(&self, visit: &mut CounterVisit<'_>) {
        self.services.counters(visit);
        let cache = self.cache.as_ref();
        let (commands, server, store) = match cache {
            Some(cache) => (*cache.commands(), *cache.counters(), *cache.store_counters()),
            None => Default::default(),
        };
        visit("cache commands", &mut commands.iter());
        visit("cache server", &mut server.iter());
        visit("cache store", &mut store.iter());
        let [asks, answers] = cache.map(CacheServer::post_counters).unwrap_or_default();
        visit("cache questions", &mut asks.iter());
        visit("cache answers", &mut answers.iter());
    }
}
