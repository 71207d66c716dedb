//! What was dropped lately: fingerprints of keys that left the small queue, so that a key that comes back soon is
//! known to be worth more than one that comes once.
//!
//! Buckets of a cache line, 32 fingerprints of 16 bits each; the newest takes the place of one of the oldest. A stranger
//! is mistaken for an acquaintance once in two thousand times.

use freeway_base::FlowHash;
use freeway_collections::BuildError;
use freeway_mem::arch::prefetch_index;
use freeway_mem::{Arena, ArenaLayout, Array};

const PLACES: usize = 32;

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Bucket([u16; PLACES]);

/// Fingerprints of keys.
pub(crate) struct Ghost {
    buckets: Array<Bucket>,
    /// Which place of its bucket the next one takes: each bucket sees every place in turn, more or less.
    cursor: u32,
}

impl Ghost {
    /// Adds room for `keys` to what an arena is to hold.
    pub(crate) fn plan(layout: ArenaLayout, keys: u32) -> ArenaLayout {
        layout.array::<Bucket>(Self::bucket_count(keys))
    }

    pub(crate) fn new(arena: &mut Arena, keys: u32) -> Result<Self, BuildError> {
        let buckets = arena.array("cache ghosts", Self::bucket_count(keys), |_| Bucket([0; PLACES]))?;
        Ok(Self { buckets, cursor: 0 })
    }

    fn bucket_count(keys: u32) -> usize {
        (keys as usize).div_ceil(PLACES)
    }

    /// The bucket of a key and its fingerprint, which is not 0.
    #[inline]
    fn place(&self, hash: FlowHash) -> (usize, u16) {
        let bucket = (u64::from((hash.0 >> 8) as u32) * self.buckets.len() as u64) >> 32;
        (bucket as usize, ((hash.0 >> 48) as u16).max(1))
    }

    #[inline]
    pub(crate) fn prefetch(&self, hash: FlowHash) {
        prefetch_index(&self.buckets, self.place(hash).0);
    }

    /// Remembers a key that is dropped.
    #[inline]
    pub(crate) fn remember(&mut self, hash: FlowHash) {
        let (bucket, print) = self.place(hash);
        self.cursor = self.cursor.wrapping_add(1);
        let place = self.cursor as usize % PLACES;
        if let Some(Bucket(prints)) = self.buckets.get_mut(bucket) {
            prints[place] = print;
        }
    }

    /// Whether a key was dropped lately; it is forgotten.
    #[inline]
    pub(crate) fn recall(&mut self, hash: FlowHash) -> bool {
        let (bucket, print) = self.place(hash);
        let Some(Bucket(prints)) = self.buckets.get_mut(bucket) else { return false };
        // The whole line is looked at, without a branch for each place.
        let found = prints.iter().fold(false, |found, &other| found | (other == print));
        if found && let Some(place) = prints.iter_mut().find(|other| **other == print) {
            *place = 0;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use freeway_base::{Rng, Seed};

    use super::*;

    #[test]
    fn what_left_lately_is_known_once_and_strangers_seldom() {
        let mut arena = Arena::heap(Ghost::plan(ArenaLayout::new(), 3_200).bytes()).unwrap();
        let mut ghost = Ghost::new(&mut arena, 3_200).unwrap();
        let mut rng = Rng::new(Seed(1));
        let hashes: Vec<_> = (0..1_000).map(|_| FlowHash(rng.next_u64())).collect();
        hashes.iter().for_each(|&hash| ghost.remember(hash));
        let known = hashes.iter().filter(|&&hash| ghost.recall(hash)).count();
        assert!(known > 800, "{known} of 1000 are remembered");
        let again = hashes.iter().filter(|&&hash| ghost.recall(hash)).count();
        assert!(again < 5, "{again} are remembered twice");
        let strangers = (0..10_000).filter(|_| ghost.recall(FlowHash(rng.next_u64()))).count();
        assert!(strangers < 20, "{strangers} strangers of 10000");
    }
}
