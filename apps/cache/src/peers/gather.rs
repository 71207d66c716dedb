//! What `stats` tells of all cores: their counters, added up.

use crate::cache::CacheCounters;
use crate::server::{Server, ServerCounters};
use crate::store::StoreCounters;
use crate::tasks::NONE;

freeway_base::counters! {
    /// What a store has now.
    pub struct Levels {
        /// Items.
        items,
        /// Items that there is room for in the index.
        items_max,
        /// Bytes of segments in use.
        used,
        /// Bytes of segments that may be.
        limit,
        /// Bytes of the index and of tables.
        overhead,
    }
}

/// The counters of some cores.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) commands: CacheCounters,
    pub(crate) server: ServerCounters,
    pub(crate) store: StoreCounters,
    pub(crate) levels: Levels,
}

impl Sums {
    pub(crate) fn of(server: &Server) -> Self {
        let store = &server.cache.store;
        let (used, limit) = store.bytes();
        let levels = Levels {
            items: u64::from(store.len()),
            items_max: u64::from(store.items_max()),
            used,
            limit,
            // Index and tables are part of the limit, and stay what they are.
            overhead: server.mapped.saturating_sub(store.bytes_mapped()),
        };
        Self { commands: server.cache.counters, server: server.counters, store: store.counters, levels }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.commands.add(&other.commands);
        self.server.add(&other.server);
        self.store.add(&other.store);
        self.levels.add(&other.levels);
    }

    /// As the bytes of a letter.
    pub(crate) fn emit(&self, sink: &mut impl freeway_memcache::Sink) {
        let Self { commands, server, store, levels } = self;
        let all = commands.iter().chain(server.iter()).chain(store.iter()).chain(levels.iter());
        all.for_each(|(_, value)| sink.put(&value.to_ne_bytes()));
    }

    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        let mut values = words.iter().map(|word| u64::from_ne_bytes(*word));
        Self {
            commands: CacheCounters::from_values(&mut values),
            server: ServerCounters::from_values(&mut values),
            store: StoreCounters::from_values(&mut values),
            levels: Levels::from_values(&mut values),
        }
    }
}

/// Counters that are being asked for, on behalf of one connection at a time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gather {
    /// Whose.
    pub(crate) task: u16,
    /// Those of other cores, as far as they have come.
    pub(crate) sums: Sums,
    /// All have come.
    pub(crate) is_whole: bool,
}

impl Gather {
    pub(crate) const fn is_free(&self) -> bool {
        self.task == NONE
    }

    /// The connection is gone, or has what it wanted.
    pub(crate) fn end(&mut self, task: u16) {
        if task == self.task {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_as_they_were_written() {
        let mut sums = Sums::default();
        (sums.commands.cmd_get, sums.server.accepted, sums.store.evictions, sums.levels.overhead) =
            (1, 2, 3, 4);
        let mut bytes = Vec::new();
        sums.emit(&mut bytes);
        assert!(bytes.len() < crate::answer::ANSWER_MAX);
        assert_eq!(Sums::parse(&bytes), sums);
        let twice = { sums };
        sums.add(&twice);
        assert_eq!((sums.commands.cmd_get, sums.levels.overhead), (2, 8));
    }
}
