//! How large a store is, and why one cannot be made.

use freeway_collections::{BuildError, FlowTable};
use freeway_mem::{Arena, ArenaConfig, ArenaError, ArenaLayout, HugePages};
use thiserror::Error;

use super::ghost::Ghost;
use super::segment::{SEGMENT, Segments};

/// Where a store's memory lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Memory of its own, faulted in at start.
    Mapped(HugePages),
    /// Ordinary memory: for tests.
    Heap,
}

/// A store's settings.
#[derive(Clone, Copy, Debug)]
pub struct StoreConfig {
    /// All memory of one core's store in bytes: index, fingerprints, segments. At least 4 MiB. Default 64 MiB, as
    /// memcached's `-m`. It is mapped and faulted in at start.
    pub memory: usize,
    /// Bytes that an item takes on average with its key and 8 bytes of header, at the least: the index has room for as
    /// many. Default 96. Fewer cost 12 bytes of index each; when items are smaller than this, the index fills before the
    /// memory does, and items are evicted for it.
    pub item_bytes: usize,
    /// The largest item, its key, fields and header included, in bytes. Default 1 MiB, as memcached's `-I`; at most
    /// 1 GiB. It costs nothing.
    pub item_max: usize,
    /// How items are chosen for eviction.
    pub policy: Policy,
    /// Where the memory lies.
    pub place: Place,
}

/// What decides on eviction. The defaults were chosen by measurement, see `docs/cache.md`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// The small queue's share of the segments in use, in 256ths. Default 26, a tenth.
    pub small_share: u32,
    /// An item leaves the small queue for the main queue if it was asked for this often there. Default 1.
    pub promote_at: u8,
    /// Whether keys that left the small queue are remembered; 2 bytes for each item that the index has room for.
    /// Default true.
    pub ghosts: bool,
    /// Whether everything goes to the main queue at once: a clock with a count of two bits. Default false.
    pub clock: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { small_share: 26, promote_at: 1, ghosts: true, clock: false }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            item_bytes: 96,
            item_max: 1 << 20,
            policy: Policy::default(),
            place: Place::Mapped(HugePages::Auto),
        }
    }
}

/// Why a store cannot be made.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Less memory than a store needs.
    #[error("a cache of {0} bytes a core is too small: give it at least 4 MiB for each")]
    TooSmall(usize),
    /// More than positions of 32 bits reach.
    #[error("a cache of {0} bytes a core is too large: a core has at most 32 GiB")]
    TooLarge(usize),
    /// An average size of items that makes no sense.
    #[error("items of {0} bytes on average: between 16 and 1,048,576 make sense")]
    ItemBytes(usize),
    /// An item size out of bounds.
    #[error(
        "items of up to {0} bytes: between 1 KiB and 1 GiB make sense, and no more than half of the memory"
    )]
    ItemMax(usize),
    /// The memory.
    #[error(transparent)]
    Memory(#[from] ArenaError),
    /// The index.
    #[error(transparent)]
    Index(#[from] BuildError),
}

/// What the settings come to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) segments: u32,
    pub(crate) items: u32,
    pub(crate) ghosts: u32,
    pub(crate) reserve: u32,
}

impl StoreConfig {
    pub(crate) fn shape(&self) -> Result<Shape, StoreError> {
        if self.memory < 4 << 20 {
            return Err(StoreError::TooSmall(self.memory));
        }
        if !(16..=1 << 20).contains(&self.item_bytes) {
            return Err(StoreError::ItemBytes(self.item_bytes));
        }
        if !(1 << 10..=1 << 30).contains(&self.item_max) || self.item_max > self.memory / 2 {
            return Err(StoreError::ItemMax(self.item_max));
        }
        // One more segment costs its bytes, its line in the table, and the index of what it may hold.
        let fits = |segments: usize| self.layout(self.sized(segments as u32)).bytes() <= self.memory;
        let (mut low, mut high) = (1, self.memory / SEGMENT);
        while low < high {
            let middle = (low + high).div_ceil(2);
            if fits(middle) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        // A position has 32 bits and counts in units of 8 bytes.
        let segments = u32::try_from(low).ok().filter(|&count| u64::from(count) * SEGMENT as u64 <= 32 << 30);
        Ok(self.sized(segments.ok_or(StoreError::TooLarge(self.memory))?))
    }

    fn sized(&self, segments: u32) -> Shape {
        let bytes = u64::from(segments) * SEGMENT as u64;
        let items = u32::try_from(bytes / self.item_bytes as u64).unwrap_or(u32::MAX);
        let ghosts = if self.policy.ghosts { items } else { 0 };
        // Free segments for what arrives while the next are drained: one in 128, and what one step may need.
        let reserve = (segments / 128).clamp(6, 1_024);
        Shape { segments, items, ghosts, reserve }
    }

    fn layout(&self, shape: Shape) -> ArenaLayout {
        let Shape { segments, items, ghosts, reserve: _ } = shape;
        let layout = FlowTable::plan(ArenaLayout::new(), items);
        let layout = Segments::plan(Ghost::plan(layout, ghosts), segments);
        layout.array::<u8>(segments as usize * SEGMENT)
    }

    pub(crate) fn arena(&self, shape: &Shape) -> Result<Arena, StoreError> {
        let bytes = self.layout(*shape).bytes();
        Ok(match self.place {
            Place::Mapped(huge_pages) => {
                Arena::map(&ArenaConfig { bytes, name: "freeway-cache", huge_pages })?
            }
            Place::Heap => Arena::heap(bytes)?,
        })
    }

    /// What is mapped, in bytes: at most [`memory`](Self::memory), less by no more than a segment and what is rounded.
    ///
    /// # Errors
    ///
    /// A size that makes no sense.
    pub fn mapped_bytes(&self) -> Result<usize, StoreError> {
        Ok(self.layout(self.shape()?).bytes())
    }

    /// Items that the index has room for.
    ///
    /// # Errors
    ///
    /// A size that makes no sense.
    pub fn items(&self) -> Result<u32, StoreError> {
        Ok(self.shape()?.items)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_mapped_is_the_limit_to_a_fiftieth() {
        for memory in [4 << 20, 64 << 20, 1 << 30, 32 << 30_usize] {
            for item_bytes in [32, 96, 4_096] {
                let config = StoreConfig { memory, item_bytes, ..StoreConfig::default() };
                let mapped = config.mapped_bytes().unwrap();
                assert!(mapped <= memory && mapped >= memory - memory / 50, "{mapped} of {memory}");
            }
        }
    }

    #[test]
    fn sizes_that_make_no_sense_are_refused() {
        let shape = |change: fn(&mut StoreConfig)| {
            let mut config = StoreConfig::default();
            change(&mut config);
            config.shape()
        };
        assert!(matches!(shape(|c| c.memory = 1 << 20), Err(StoreError::TooSmall(_))));
        assert!(matches!(shape(|c| c.memory = 64 << 30), Err(StoreError::TooLarge(_))));
        assert!(matches!(shape(|c| c.item_bytes = 8), Err(StoreError::ItemBytes(8))));
        assert!(matches!(shape(|c| c.item_max = 33 << 20), Err(StoreError::ItemMax(_))));
        assert!(shape(|c| c.memory = 32 << 30).is_ok());
    }
}
