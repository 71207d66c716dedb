//! The cache.

use anyhow::Result;
use freeway::{Application, Conn, Datagram, Ended, HashKey, Instant, ListenConfig, Stack};
use freeway_cache::{CacheConfig, CacheState, StoreConfig};

/// A cache over TCP and UDP.
pub struct CacheServer {
    port: u16,
    cache: freeway_cache::CacheServer,
}

impl CacheServer {
    /// A cache of `memory` bytes, laid out for small items, for as many connections.
    ///
    /// # Errors
    ///
    /// When the memory cannot be had.
    pub fn new(port: u16, memory: usize, connections: u32, now: Instant) -> Result<Self> {
        let store = StoreConfig { memory, item_bytes: 56, ..StoreConfig::default() };
        let config = CacheConfig { store, connections_max: connections, ..CacheConfig::default() };
        let cache = freeway_cache::CacheServer::new(config, HashKey::new([1, 2]), now)?;
        Ok(Self { port, cache })
    }
}

impl Application for CacheServer {
    type Conn = CacheState;

    fn start(&mut self, stack: &mut Stack<CacheState>, _now: Instant) {
        // A benchmark without its server measures nothing: its connections would all fail.
        let listening = stack.listen(&ListenConfig::new(self.port));
        debug_assert!(listening.is_ok());
        let bound = stack.udp_bind(None, self.port, 0);
        debug_assert!(bound.is_ok());
    }

    fn turn(&mut self, stack: &mut Stack<CacheState>, now: Instant) {
        self.cache.turn(stack, now, |state| state);
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.cache.next_deadline()
    }

    fn accepted(&mut self, mut conn: Conn<'_, CacheState>) {
        self.cache.accepted(&mut conn, |state| state);
    }

    fn readable(&mut self, mut conn: Conn<'_, CacheState>) {
        self.cache.readable(&mut conn, |state| state);
    }

    fn writable(&mut self, mut conn: Conn<'_, CacheState>) {
        self.cache.pump(&mut conn, |state| state);
    }

    fn closed(&mut self, _stack: &mut Stack<CacheState>, ended: Ended<CacheState>) {
        self.cache.closed(ended.state);
    }

    fn datagram(&mut self, stack: &mut Stack<CacheState>, datagram: Datagram) {
        self.cache.datagram(stack, datagram);
    }
}
