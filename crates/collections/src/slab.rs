//! Entries of one size, named by index.
//!
//! ```text
//!  entries   │ T 0 │ T 1 │ T 2 │ T 3 │ ...           one array; an entry is its own cache lines
//!  occupied  │ 1 0 1 1 ...                           one bit an entry: 1.25 MB for ten million
//!  vacant    │ 1 │ 4 │ ...                           a stack of free indices, last freed on top
//! ```
//!
//! The bits are what makes a stale index harmless (`get` says `None`) and a double removal visible, without
//! touching the entry or a free list as long as the entries. The index freed last is used first: its lines are
//! the likeliest to be in the cache.

use freeway_mem::arch::prefetch_lines;
use freeway_mem::{Arena, ArenaLayout, Array};

use crate::BuildError;
use crate::header::Header;

const WORD_BITS: usize = u64::BITS as usize;

/// A fixed number of entries of type `T`, each vacant or occupied. `T` must not need dropping (checked when
/// compiled) and must not hold pointers.
pub struct Slab<T: 'static> {
    entries: Array<T>,
    occupied: Array<u64>,
    vacant: Array<u32>,
    header: Header<Vacancy>,
}

#[derive(Clone, Copy)]
struct Vacancy {
    /// Indices on the stack of vacant ones.
    depth: u32,
}

impl<T: 'static> Slab<T> {
    /// Adds a slab for `capacity` entries to what an arena is to hold.
    pub fn plan(layout: ArenaLayout, capacity: u32) -> ArenaLayout {
        let count = capacity as usize;
        layout
            .array::<T>(count)
            .array::<u64>(count.div_ceil(WORD_BITS))
            .array::<u32>(count)
            .array::<Vacancy>(1)
    }

    /// A slab for `capacity` entries; `init` makes what a vacant entry holds, given its index.
    ///
    /// # Errors
    /// [`BuildError::Arena`] if the arena has no room.
    pub fn new(
        arena: &mut Arena,
        tag: &'static str,
        capacity: u32,
        mut init: impl FnMut(u32) -> T,
    ) -> Result<Self, BuildError> {
        let count = capacity as usize;
        Ok(Self {
            entries: arena.array(tag, count, |index| init(index as u32))?,
            occupied: arena.array("slab occupied", count.div_ceil(WORD_BITS), |_| 0)?,
            // The stack's top is its end: the lowest index is used first.
            vacant: arena.array("slab vacant", count, |depth| capacity - 1 - depth as u32)?,
            header: Header::new(arena, "slab counts", Vacancy { depth: capacity })?,
        })
    }

    /// Stores `entry` and names it.
    ///
    /// # Errors
    /// Gives `entry` back if every place is taken.
    #[inline]
    pub fn insert(&mut self, entry: T) -> Result<u32, T> {
        match self.claim() {
            Some((index, place)) => {
                *place = entry;
                Ok(index)
            }
            None => Err(entry),
        }
    }

    /// A place for an entry, with what the last one left there, to be written field by field: an entry that is built
    /// elsewhere and copied waits for its own parts. `None` if every place is taken.
    #[inline]
    pub fn claim(&mut self) -> Option<(u32, &mut T)> {
        let depth = self.header.depth.checked_sub(1)?;
        let index = self.vacant[depth as usize];
        let (word, bit) = place(index);
        self.occupied[word] |= bit;
        self.header.depth = depth;
        Some((index, &mut self.entries[index as usize]))
    }

    /// Vacates `index`; false if it was vacant or never existed, and then nothing changes.
    #[inline]
    pub fn remove(&mut self, index: u32) -> bool {
        if !self.contains(index) {
            return false;
        }
        let (word, bit) = place(index);
        self.occupied[word] &= !bit;
        let depth = self.header.depth;
        self.vacant[depth as usize] = index;
        self.header.depth = depth + 1;
        true
    }

    /// Whether `index` is occupied.
    #[inline]
    pub fn contains(&self, index: u32) -> bool {
        let (word, bit) = place(index);
        // Bits past the last entry are never set.
        self.occupied.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// The entry at `index`, if occupied.
    #[inline]
    pub fn get(&self, index: u32) -> Option<&T> {
        if self.contains(index) { self.entries.get(index as usize) } else { None }
    }

    /// The entry at `index`, if occupied.
    #[inline]
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        if self.contains(index) { self.entries.get_mut(index as usize) } else { None }
    }

    /// The entry at `index`, occupied or not: for those who know that it is, by the index being their own secret. A
    /// vacant entry holds what it held last; an index beyond the end finds nothing. Saves a look at the bits.
    #[inline]
    pub fn slot(&self, index: u32) -> Option<&T> {
        self.entries.get(index as usize)
    }

    /// The same, to be changed.
    #[inline]
    pub fn slot_mut(&mut self, index: u32) -> Option<&mut T> {
        self.entries.get_mut(index as usize)
    }

    /// Asks for the first `lines` cache lines of the entry at `index`; any index is harmless.
    #[inline]
    pub fn prefetch(&self, index: u32, lines: usize) {
        prefetch_lines(&self.entries, index as usize, lines);
    }

    /// The occupied entries with their indices, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.occupied.iter().enumerate().flat_map(move |(word, &bits)| {
            SetBits(bits).map(move |bit| {
                let index = word * WORD_BITS + bit;
                (index as u32, &self.entries[index])
            })
        })
    }

    /// Which of the 64 entries from `64 * word` on are occupied, the lowest in the lowest bit; `None` beyond the last
    /// entry. For those who walk over a slab a few entries at a time.
    #[inline]
    pub fn occupied_bits(&self, word: usize) -> Option<u64> {
        self.occupied.get(word).copied()
    }

    /// Occupied entries.
    #[inline]
    pub fn len(&self) -> u32 {
        self.capacity() - self.header.depth
    }

    /// Whether none is occupied.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries there are, vacant or occupied.
    #[inline]
    pub fn capacity(&self) -> u32 {
        self.entries.len() as u32
    }
}

/// The word and the bit that say whether `index` is occupied.
#[inline]
const fn place(index: u32) -> (usize, u64) {
    (index as usize / WORD_BITS, 1 << (index as usize % WORD_BITS))
}

/// The positions of a word's set bits, lowest first.
struct SetBits(u64);

impl Iterator for SetBits {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let lowest = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(lowest)
    }
}
