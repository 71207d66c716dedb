//! What one core's server knows: its cache, its settings, what it counted.

use freeway_memcache::{Limits, Protocol};

use crate::cache::{Cache, CacheCounters};
use crate::dump::Sizes;
use crate::peers::Sums;
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
    /// Questions to other cores that may be unanswered at once, 16 bytes each here and there; at the bound connections
    /// wait. Default 8,192, at most 65,534. One core alone asks nobody.
    pub asks_max: u16,
    /// Answers at once that may stand behind one that another core owes, 5 KiB each; at the bound what comes behind
    /// waits to be begun. Default 1,024.
    pub held_max: u16,
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
    /// Seconds after which a connection is closed of which nothing was heard; 0 for never. Default 0.
    pub idle_timeout: u32,
    /// Whether `stats sizes` tells the items' sizes from the start; `stats sizes_enable` switches it on. It counts the items
    /// when it is asked, a few thousand at a time. Default false.
    pub track_sizes: bool,
    /// Whether `shutdown` is allowed. Default false.
    pub shutdown: bool,
    /// Datagrams of one answer over UDP at most, 1,400 bytes each; a longer answer is not sent. It bounds what a forged
    /// source address can bring upon somebody. Default 64.
    pub udp_datagrams_max: u16,
    /// The Unix time at the start, in seconds.
    pub unix_time: u64,
    /// Cores that serve, as `stats` tells. [`CacheServer::with_peers`](crate::CacheServer::with_peers) sets it.
    pub threads: u32,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            store: StoreConfig::default(),
            connections_max: 1_024,
            tasks_max: 4_096,
            spills_max: 64,
            asks_max: 8_192,
            held_max: 1_024,
            limits: Limits::default(),
            protocol: Protocol::default(),
            users: Vec::new(),
            watchers_max: 8,
            flush: true,
            dump: true,
            idle_timeout: 0,
            track_sizes: false,
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
        /// Connections closed because nothing was heard of them.
        idle_kicks,
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
        /// Requests over UDP that needed too much of other cores at once.
        datagrams_busy,
        /// Questions to other cores.
        asked,
        /// Other cores' questions that were answered.
        served,
        /// Requests that waited for room in a ring, or for an answer's buffer.
        stalled,
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
    pub(crate) mapped: u64,
    /// What other cores counted, while it is shown.
    pub(crate) others: Sums,
    pub(crate) sizes: Sizes,
}

impl Server {
    pub(crate) fn new(cache: Cache, config: CacheConfig) -> Self {
        let mapped = config.store.mapped_bytes().unwrap_or(0) as u64;
        let sizes = Sizes::new(config.track_sizes);
        let (counters, others) = (ServerCounters::default(), Sums::default());
        Self { cache, config, counters, stop: false, mapped, others, sizes }
    }

    pub(crate) fn report(&self) -> Report<'_> {
        let mut sums = Sums::of(self);
        sums.add(&self.others);
        let threads = self.config.threads;
        Report { cache: &self.cache, sums, connections_max: self.config.connections_max * threads, threads }
    }

    /// Sets the counters that go back to zero on request to zero.
    pub(crate) fn reset_stats(&mut self) {
        let open = self.counters.accepted - self.counters.closed;
        self.counters = ServerCounters { accepted: open, ..ServerCounters::default() };
        self.cache.counters = CacheCounters::default();
        self.cache.store.counters = crate::store::StoreCounters::default();
    }

    /// Sets the limit of all cores' memory, and so of this one's; false when that is more than was mapped.
    pub(crate) fn set_memory(&mut self, mebibytes: u32) -> bool {
        let wanted = (u64::from(mebibytes) << 20) / u64::from(self.config.threads.max(1));
        let overhead = self.mapped.saturating_sub(self.cache.store.bytes_mapped());
        if wanted > self.mapped.next_multiple_of(1 << 20) {
            return false;
        }
        self.cache.store.set_bytes_max(wanted.saturating_sub(overhead));
        true
    }
}
