//! What one core's server knows: its cache, its settings, what it counted.

use freeway_memcache::{Limits, Protocol};

use crate::cache::{Cache, CacheCounters};
use crate::stats::Report;
use crate::store::StoreConfig;

/// A server's settings. They hold for each core.
#[derive(Clone, Debug)]
pub struct CacheConfig {
    /// The store.
    pub store: StoreConfig,
    /// Connections at once; one more is closed at once. Default 1,024, as memcached's `-c`. Each takes its record in the
    /// stack, whether or not it is allowed.
    pub connections_max: u32,
    /// Values that arrive or leave piece by piece at once, 500 bytes each: those over 4 KiB. At the
    /// bound they are refused. Default 4,096, at most 65,534.
    pub tasks_max: u16,
    /// Answers at once that TCP did not take whole though it had room, 16 KiB each; at the bound the connection is reset.
    /// Default 64.
    pub spills_max: u16,
    /// Bounds of what a connection may send.
    pub limits: Limits,
    /// Which protocols are spoken. Default: the first byte decides.
    pub protocol: Protocol,
    /// Names and passwords, each `name:password`; with any, a text connection must say one first (memcached's `-Y`).
    pub users: Vec<String>,
    /// Connections that may `watch`, at most 8; 0 forbids it. Default 8. While there is one, what it wants to see is
    /// written down, 64 KiB a turn at most.
    pub watchers_max: usize,
    /// Whether `flush_all` is allowed. Default true.
    pub flush: bool,
    /// Whether all keys may be listed. Default true.
    pub dump: bool,
    /// Whether `shutdown` is allowed. Default false.
    pub shutdown: bool,
    /// Datagrams of one answer over UDP at most, 1,400 bytes each; a longer answer is not sent. It bounds what a forged
    /// source address can bring upon somebody. Default 64.
    pub udp_datagrams_max: u16,
    /// The Unix time at the start, in seconds.
    pub unix_time: u64,
    /// Cores that serve, as `stats` tells.
    pub threads: u32,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            store: StoreConfig::default(),
            connections_max: 1_024,
            tasks_max: 4_096,
            spills_max: 64,
            limits: Limits::default(),
            protocol: Protocol::default(),
            users: Vec::new(),
            watchers_max: 8,
            flush: true,
            dump: true,
            shutdown: false,
            udp_datagrams_max: 64,
            unix_time: 0,
            threads: 1,
        }
    }
}

freeway_base::counters! {
    /// What a server counted.
    pub struct ServerCounters {
        /// Connections that were accepted.
        accepted,
        /// Connections that are over.
        closed,
        /// Connections that were one too many.
        rejected,
        /// Bytes of requests.
        bytes_read,
        /// Bytes of answers.
        bytes_written,
        /// Connections that waited for room to answer.
        yields,
        /// Attempts to log in.
        auth_commands,
        /// Attempts that failed.
        auth_errors,
        /// Values refused because as many arrive or leave as may.
        refused_no_task,
        /// Connections reset because the rest of an answer found no place.
        dropped_no_spill,
        /// Requests over UDP.
        datagrams,
        /// Datagrams without a frame, or from a port that no client has.
        datagrams_foreign,
        /// Answers over UDP that were too long.
        datagrams_too_long,
        /// Datagrams of answers that found no buffer.
        datagrams_no_buffer,
    }
}

/// One core's server, without its connections.
pub(crate) struct Server {
    pub(crate) cache: Cache,
    pub(crate) config: CacheConfig,
    pub(crate) counters: ServerCounters,
    /// Somebody who may has asked for the end.
    pub(crate) stop: bool,
    /// What the store takes, in bytes.
    mapped: u64,
}

impl Server {
    pub(crate) fn new(cache: Cache, config: CacheConfig) -> Self {
        let mapped = config.store.mapped_bytes().unwrap_or(0) as u64;
        Self { cache, config, counters: ServerCounters::default(), stop: false, mapped }
    }

    pub(crate) fn report(&self) -> Report<'_> {
        Report {
            cache: &self.cache,
            server: &self.counters,
            connections_max: self.config.connections_max,
            mapped: self.mapped,
            threads: self.config.threads,
        }
    }

    /// Sets the counters that go back to zero on request to zero.
    pub(crate) fn reset_stats(&mut self) {
        let open = self.counters.accepted - self.counters.closed;
        self.counters = ServerCounters { accepted: open, ..ServerCounters::default() };
        self.cache.counters = CacheCounters::default();
        self.cache.store.counters = crate::store::StoreCounters::default();
    }

    /// Sets the limit of the memory; false when that is more than was mapped.
    pub(crate) fn set_memory(&mut self, mebibytes: u32) -> bool {
        let wanted = u64::from(mebibytes) << 20;
        let overhead = self.mapped.saturating_sub(self.cache.store.bytes_mapped());
        if wanted > self.mapped.next_multiple_of(1 << 20) {
            return false;
        }
        self.cache.store.set_bytes_max(wanted.saturating_sub(overhead));
        true
    }
}
