//! From a flow's hash to its connection's index.
//!
//! # Layout
//!
//! The table is an array of 64-byte buckets of ten slots. The lower half of a flow's hash chooses its *home*, the
//! 13 bits above are its *tag* (the uppermost bits may have chosen the core). An entry that finds its home full
//! goes to the neighbour `home ^ 1`, then `home ^ 2`, and so on through the block of 64 buckets that its home lies
//! in:
//!
//! ```text
//!   block of 64 buckets = 4 KiB = 640 slots
//!  ┌──────┬──────┬──────┬──────┬─ ─ ─ ─┬──────┐
//!  │  0   │  1   │  2   │  3   │       │  63  │    home 2: probes 2, 3, 0, 1, 6, 7, ...
//!  └──────┴──────┴──────┴──────┴─ ─ ─ ─┴──────┘
//! ```
//!
//! So a displaced entry lies in the same pair of lines in most cases, and within 4 KiB in all. Each bucket that was
//! passed counts it (by three bits of its tag), so a search for an absent flow ends at the first line unless those
//! bits agree: no tombstones, and nothing to rehash. When a slot falls vacant in a bucket that was passed, an
//! entry that lies close by is brought home, so the table does not age.
//!
//! # How full it gets
//!
//! There are three slots for two entries of capacity. A table of up to 426 entries is a single block and always
//! takes its capacity. In a larger one an insertion fails early only if the 640 slots of one block are all taken,
//! where 427 are expected: by Chernoff's bound less than 10^-20 a block, 10^-15 for ten million entries. This
//! holds for keyed hashes; who does not know the key cannot aim at a block.
//!
//! At capacity, and after any number of arrivals and departures, two to three entries in a hundred lie away from
//! their home, and as many searches for absent flows need a second line (measured by a test below).

mod bucket;

use freeway_base::FlowHash;
use freeway_mem::arch::prefetch_index;
use freeway_mem::{Arena, ArenaLayout, Array};

use self::bucket::{Bucket, FAR, SLOTS, Tag};
use crate::BuildError;
use crate::header::Header;

/// Buckets an entry may go to: those whose number differs from its home's in the lowest six bits.
const BLOCK: usize = 64;

/// Entries brought home for one that left, at most: each leaves a vacant slot behind where another may be at home.
const MOVES_PER_REMOVAL: usize = 4;

/// No room for another flow: the table holds its capacity, or (see the [module](self)) a whole block is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the flow table is full")]
pub struct Full;

/// A hash table of 32-bit indices; keys stay with the caller, who confirms a candidate.
pub struct FlowTable {
    buckets: Array<Bucket>,
    header: Header<Counts>,
    /// Buckets an entry may go to from its home: [`BLOCK`], or all there are if they are fewer.
    reach: usize,
}

#[derive(Clone, Copy)]
struct Counts {
    len: u32,
    capacity: u32,
}

impl FlowTable {
    /// Adds a table for `capacity` flows to what an arena is to hold.
    pub fn plan(layout: ArenaLayout, capacity: u32) -> ArenaLayout {
        layout.array::<Bucket>(bucket_count(capacity)).array::<Counts>(1)
    }

    /// A table for `capacity` flows, 9.6 bytes each.
    ///
    /// # Errors
    /// [`BuildError::Arena`] if the arena has no room.
    pub fn new(arena: &mut Arena, capacity: u32) -> Result<Self, BuildError> {
        let count = bucket_count(capacity);
        Ok(Self {
            buckets: arena.array("flow buckets", count, |_| Bucket::EMPTY)?,
            header: Header::new(arena, "flow counts", Counts { len: 0, capacity })?,
            reach: count.min(BLOCK),
        })
    }

    /// Asks for the line that a lookup of `hash` will read.
    #[inline]
    pub fn prefetch(&self, hash: FlowHash) {
        prefetch_index(&self.buckets, self.home(hash));
    }

    /// The index under `hash` that `is_match` accepts: the caller compares the whole key, since one search in a
    /// thousand meets another flow with the same tag.
    #[inline]
    pub fn find(&self, hash: FlowHash, mut is_match: impl FnMut(u32) -> bool) -> Option<u32> {
        let (home, tag) = (self.home(hash), tag(hash));
        let bucket = self.buckets.get(home)?;
        let found = bucket.find(tag, 0, &mut is_match);
        if found.is_some() || !bucket.may_have_passed(tag) {
            return found;
        }
        self.find_away(home, tag, is_match)
    }

    /// Goes on where the bucket that the flow belongs to was full.
    #[cold]
    fn find_away(&self, home: usize, tag: Tag, mut is_match: impl FnMut(u32) -> bool) -> Option<u32> {
        for step in 1..self.reach {
            let bucket = &self.buckets[home ^ step];
            if let Some(index) = bucket.find(tag, step, &mut is_match) {
                return Some(index);
            }
            if !bucket.may_have_passed(tag) {
                return None;
            }
        }
        None
    }

    /// The index that [`find`](Self::find) would offer first, unconfirmed: worth prefetching its connection.
    #[inline]
    pub fn first_candidate(&self, hash: FlowHash) -> Option<u32> {
        self.find(hash, |_| true)
    }

    /// Adds `index` under `hash`. Whether the flow is new is for the caller to know; a flow inserted twice must be
    /// removed twice.
    ///
    /// # Errors
    /// [`Full`], and nothing has changed. At most 64 neighbouring lines are searched.
    #[inline]
    pub fn insert(&mut self, hash: FlowHash, index: u32) -> Result<(), Full> {
        if self.header.len == self.header.capacity {
            return Err(Full);
        }
        let (home, tag) = (self.home(hash), tag(hash));
        let steps_past = self.place(home, tag, index).ok_or(Full)?;
        for step in 0..steps_past {
            self.buckets[home ^ step].note_passed(tag);
        }
        self.header.len += 1;
        Ok(())
    }

    /// Takes `index` out from under `hash`; false if it was not there.
    #[inline]
    pub fn remove(&mut self, hash: FlowHash, index: u32) -> bool {
        let (home, tag) = (self.home(hash), tag(hash));
        let Some(step) = self.take_out(home, tag, index) else { return false };
        self.forget_path(home, tag, step);
        self.fill_vacancy(home ^ step);
        self.header.len -= 1;
        true
    }

    /// Puts `new` in the place of `old` under `hash`; false if `old` was not there.
    #[inline]
    pub fn replace(&mut self, hash: FlowHash, old: u32, new: u32) -> bool {
        let (home, tag) = (self.home(hash), tag(hash));
        for step in 0..self.reach {
            let bucket = &mut self.buckets[home ^ step];
            if bucket.replace(tag, step, old, new) {
                return true;
            }
            if !bucket.may_have_passed(tag) {
                return false;
            }
        }
        false
    }

    /// Flows in the table.
    #[inline]
    pub fn len(&self) -> u32 {
        self.header.len
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Flows the table has room for.
    #[inline]
    pub fn capacity(&self) -> u32 {
        self.header.capacity
    }

    /// Memory of the table's buckets, in bytes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.buckets)
    }

    /// Puts the entry into the first bucket with room, and says how many full ones it went past.
    #[inline]
    fn place(&mut self, home: usize, tag: Tag, index: u32) -> Option<usize> {
        (0..self.reach).find(|&step| self.buckets[home ^ step].insert(tag, step, index))
    }

    /// Takes the entry out of its bucket, and says how many it had gone past.
    #[inline]
    fn take_out(&mut self, home: usize, tag: Tag, index: u32) -> Option<usize> {
        for step in 0..self.reach {
            let bucket = &mut self.buckets[home ^ step];
            if bucket.remove(tag, step, index) {
                return Some(step);
            }
            if !bucket.may_have_passed(tag) {
                return None;
            }
        }
        None
    }

    /// Lets the buckets that an entry had gone past forget it.
    #[inline]
    fn forget_path(&mut self, home: usize, tag: Tag, steps_past: usize) {
        for step in 0..steps_past {
            self.buckets[home ^ step].forget_passed(tag);
        }
    }

    /// Gives a vacant slot to an entry that found this bucket full, and the slot it leaves to the next such.
    #[inline]
    fn fill_vacancy(&mut self, mut vacant: usize) {
        for _ in 0..MOVES_PER_REMOVAL {
            if !self.buckets[vacant].was_passed() {
                return;
            }
            let Some(left) = self.bring_home(vacant) else { return };
            vacant = left;
        }
    }

    /// Moves an entry that belongs to the bucket `home`, and lies near it, into it. Says where it had lain.
    fn bring_home(&mut self, home: usize) -> Option<usize> {
        for step in 1..self.reach.min(FAR) {
            if let Some((tag, index)) = self.buckets[home ^ step].take_stranger(step) {
                self.buckets[home].insert(tag, 0, index);
                self.forget_path(home, tag, step);
                return Some(home ^ step);
            }
        }
        None
    }

    /// The bucket a flow belongs to: the lower half of its hash scaled to the number of buckets, without a
    /// division (Lemire, 2016), so that the number need not be a power of two.
    #[inline]
    fn home(&self, hash: FlowHash) -> usize {
        ((u64::from(hash.0 as u32) * self.buckets.len() as u64) >> 32) as usize
    }
}

#[inline]
fn tag(hash: FlowHash) -> Tag {
    Tag::new((hash.0 >> 32) as u16)
}

/// Buckets for `capacity` flows at three slots for two: a power of two up to one block, whole blocks above, so
/// that `home ^ step` never leaves the table.
const fn bucket_count(capacity: u32) -> usize {
    let slots = (capacity as usize * 3).div_ceil(2);
    let buckets = slots.div_ceil(SLOTS);
    if buckets <= BLOCK { buckets.next_power_of_two() } else { buckets.next_multiple_of(BLOCK) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use freeway_base::{Rng, Seed};

    use super::*;

    impl FlowTable {
        /// Lines a search for `hash` reads until it comes to `index` or gives up.
        fn lines_read(&self, hash: FlowHash, index: u32) -> usize {
            let (home, tag) = (self.home(hash), tag(hash));
            let last = (0..self.reach).find(|&step| {
                let bucket = &self.buckets[home ^ step];
                bucket.find(tag, step, |found| found == index).is_some() || !bucket.may_have_passed(tag)
            });
            last.map_or(self.reach, |step| step + 1)
        }
    }

    /// A table at capacity in which `rounds` times as many flows as it holds have come and gone, and its hashes.
    fn seasoned(capacity: u32, rounds: u32) -> (FlowTable, Vec<FlowHash>) {
        let mut arena = Arena::heap(FlowTable::plan(ArenaLayout::new(), capacity).bytes()).unwrap();
        let mut table = FlowTable::new(&mut arena, capacity).unwrap();
        let mut rng = Rng::new(Seed(5));
        let mut hashes: Vec<_> = (0..capacity).map(|_| FlowHash(rng.next_u64())).collect();
        for (index, &hash) in hashes.iter().enumerate() {
            table.insert(hash, index as u32).unwrap();
        }
        for _ in 0..capacity * rounds {
            let index = rng.below(capacity);
            let hash = &mut hashes[index as usize];
            assert!(table.remove(*hash, index));
            *hash = FlowHash(rng.next_u64());
            table.insert(*hash, index).unwrap();
        }
        (table, hashes)
    }

    #[test]
    fn nearly_all_lookups_read_one_line_after_long_service_at_capacity() {
        let capacity = if cfg!(miri) { 700 } else { 100_000 };
        let (table, hashes) = seasoned(capacity, 5);
        let mut rng = Rng::new(Seed(6));
        let (mut displaced, mut strayed, mut lines) = (0, 0, 0);
        for (index, &hash) in hashes.iter().enumerate() {
            let read = table.lines_read(hash, index as u32);
            displaced += u32::from(read > 1);
            lines += read;
            strayed += u32::from(table.lines_read(FlowHash(rng.next_u64()), u32::MAX) > 1);
        }
        println!("{displaced} displaced, {strayed} strayed, {lines} lines of {capacity}");
        assert!(displaced < capacity / 25, "{displaced} of {capacity} present flows away from home");
        assert!(strayed < capacity / 30, "{strayed} of {capacity} absent flows needed a second line");
        assert!(lines < capacity as usize * 21 / 20, "{lines} lines for {capacity} lookups");
    }

    #[test]
    fn an_emptied_table_remembers_nothing() {
        let (mut table, hashes) = seasoned(if cfg!(miri) { 90 } else { 2_000 }, 2);
        for (index, &hash) in hashes.iter().enumerate() {
            assert!(table.remove(hash, index as u32));
        }
        for &hash in &hashes {
            assert_eq!(table.lines_read(hash, 0), 1);
        }
    }

    #[test]
    fn memory_is_what_is_said() {
        for (capacity, bytes) in [(1_000_000, 9.61), (10_000_000, 9.61)] {
            let each = (bucket_count(capacity) * size_of::<Bucket>()) as f64 / f64::from(capacity);
            assert!(each <= bytes, "{each} bytes a flow at {capacity}");
        }
    }

    #[test]
    fn every_table_has_room_for_its_capacity_and_a_block_never_leaves_it() {
        for capacity in [0, 1, 6, 7, 13, 426, 427, 1_000, 65_537, 10_000_000, u32::MAX] {
            let count = bucket_count(capacity);
            assert!(count * SLOTS >= capacity as usize);
            assert!(if count <= BLOCK { count.is_power_of_two() } else { count.is_multiple_of(BLOCK) });
        }
    }
}
