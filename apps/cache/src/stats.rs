//! What `stats` tells, under the names that exporters and people look for.

use crate::cache::Cache;
use crate::peers::Sums;
use freeway_memcache::VERSION;

/// What the server knows beside the cache.
pub(crate) struct Report<'a> {
    pub(crate) cache: &'a Cache,
    /// What all cores counted.
    pub(crate) sums: Sums,
    pub(crate) connections_max: u32,
    pub(crate) threads: u32,
}

/// Shows each name with its value.
type Show<'a> = &'a mut dyn FnMut(&str, &str);

/// The longest line of these tables, and how many bytes all lines of the longest table take.
pub(crate) const TABLE_MAX: usize = 6 * 1024;

fn number(show: Show<'_>, name: &str, value: impl itoa::Integer) {
    show(name, itoa::Buffer::new().format(value));
}

impl Report<'_> {
    /// The general table.
    pub(crate) fn general(&self, show: Show<'_>) {
        let Self { cache, sums, connections_max, threads } = self;
        let Sums { commands: counters, server, store, levels } = sums;
        number(show, "pid", std::process::id());
        number(show, "uptime", cache.clock.uptime());
        number(show, "time", cache.clock.unix_time());
        show("version", VERSION);
        show("libevent", "none");
        number(show, "pointer_size", usize::BITS);
        number(show, "max_connections", *connections_max);
        number(show, "curr_connections", server.accepted - server.closed);
        number(show, "total_connections", server.accepted);
        number(show, "rejected_connections", server.rejected);
        number(show, "connection_structures", *connections_max);
        number(show, "response_obj_oom", server.dropped_no_spill);
        number(show, "read_buf_oom", server.refused_no_task);
        number(show, "reserved_fds", 0);
        number(show, "idle_kicks", server.idle_kicks);
        for (name, value) in [
            ("cmd_get", counters.cmd_get),
            ("cmd_set", counters.cmd_set),
            ("cmd_flush", counters.cmd_flush),
            ("cmd_touch", counters.cmd_touch),
            ("cmd_meta", counters.cmd_meta),
            ("get_hits", counters.get_hits),
            ("get_misses", counters.get_misses),
            ("get_expired", store.expired),
            ("get_flushed", store.flushed),
            ("delete_misses", counters.delete_misses),
            ("delete_hits", counters.delete_hits),
            ("incr_misses", counters.incr_misses),
            ("incr_hits", counters.incr_hits),
            ("decr_misses", counters.decr_misses),
            ("decr_hits", counters.decr_hits),
            ("cas_misses", counters.cas_misses),
            ("cas_hits", counters.cas_hits),
            ("cas_badval", counters.cas_badval),
            ("touch_hits", counters.touch_hits),
            ("touch_misses", counters.touch_misses),
            ("store_too_large", counters.store_too_large),
            ("store_no_memory", counters.store_no_memory),
            ("auth_cmds", server.auth_commands),
            ("auth_errors", server.auth_errors),
            ("bytes_read", server.bytes_read),
            ("bytes_written", server.bytes_written),
        ] {
            number(show, name, value);
        }
        number(show, "limit_maxbytes", levels.limit + levels.overhead);
        number(show, "accepting_conns", 1);
        number(show, "listen_disabled_num", 0);
        number(show, "threads", *threads);
        number(show, "conn_yields", server.yields);
        number(show, "hash_power_level", levels.items_max.max(1).ilog2());
        number(show, "hash_bytes", levels.overhead);
        show("hash_is_expanding", "0");
        show("slab_reassign_running", "0");
        number(show, "slabs_moved", store.drained);
        show("lru_crawler_running", "0");
        number(show, "bytes", levels.used);
        number(show, "curr_items", levels.items);
        number(show, "total_items", counters.total_items);
        number(show, "expired_unfetched", store.expired_unfetched);
        number(show, "evicted_unfetched", store.evicted_unfetched);
        number(show, "evicted_active", store.evictions - store.evicted_unfetched);
        number(show, "evictions", store.evictions);
        number(show, "reclaimed", store.expired);
        number(show, "moves_to_warm", store.promoted);
        number(show, "moves_within_lru", store.kept);
    }

    /// What the server was started with.
    pub(crate) fn settings(&self, show: Show<'_>) {
        let levels = &self.sums.levels;
        number(show, "maxbytes", levels.limit + levels.overhead);
        number(show, "maxconns", self.connections_max);
        number(show, "item_size_max", self.cache.item_max());
        number(show, "num_threads", self.threads);
        for (name, value) in [
            ("evictions", "on"),
            ("cas_enabled", "yes"),
            ("flush_enabled", "yes"),
            ("dump_enabled", "yes"),
            ("binding_protocol", "auto-negotiate"),
            ("hash_algorithm", "siphash13"),
            ("lru_segmented", "no"),
            ("lru_crawler", "yes"),
            ("slab_reassign", "no"),
            ("detail_enabled", "no"),
        ] {
            show(name, value);
        }
    }

    /// Items: there is one class of them.
    pub(crate) fn items(&self, show: Show<'_>) {
        let Sums { store, levels, .. } = &self.sums;
        if levels.items == 0 {
            return;
        }
        number(show, "items:1:number", levels.items);
        for (name, value) in [
            ("items:1:evicted", store.evictions),
            ("items:1:evicted_nonzero", store.evicted_nonzero),
            ("items:1:outofmemory", store.no_room),
            ("items:1:tailrepairs", 0),
            ("items:1:reclaimed", store.expired),
            ("items:1:expired_unfetched", store.expired_unfetched),
            ("items:1:evicted_unfetched", store.evicted_unfetched),
            ("items:1:evicted_active", store.evictions - store.evicted_unfetched),
            ("items:1:moves_to_warm", store.promoted),
            ("items:1:moves_within_lru", store.kept),
        ] {
            number(show, name, value);
        }
    }

    /// Memory: its one class is the segments.
    pub(crate) fn slabs(&self, show: Show<'_>) {
        let crate::peers::Levels { used, limit, .. } = self.sums.levels;
        let segment = crate::store::SEGMENT as u64;
        number(show, "1:chunk_size", 8);
        number(show, "1:chunks_per_page", segment / 8);
        number(show, "1:total_pages", used / segment);
        number(show, "1:total_chunks", used / 8);
        number(show, "1:used_chunks", used / 8);
        number(show, "1:free_chunks", 0);
        let counters = &self.sums.commands;
        for (name, value) in [
            ("1:get_hits", counters.get_hits),
            ("1:cmd_set", counters.cmd_set),
            ("1:delete_hits", counters.delete_hits),
            ("1:incr_hits", counters.incr_hits),
            ("1:decr_hits", counters.decr_hits),
            ("1:cas_hits", counters.cas_hits),
            ("1:cas_badval", counters.cas_badval),
            ("1:touch_hits", counters.touch_hits),
        ] {
            number(show, name, value);
        }
        number(show, "active_slabs", 1);
        number(show, "total_malloced", limit);
    }
}
