//! The slots of all levels: where each list of timers begins, and which are not empty.

/// Levels of the wheel.
pub(super) const LEVELS: usize = 4;
/// Each level's slot is `2^RADIX_BITS` times as wide as the level's below.
pub(super) const RADIX_BITS: u32 = 8;
/// Slots of one level: twice the radix (see the [module](super) on why).
pub(super) const SLOTS: u64 = 2 << RADIX_BITS;

const WORD_BITS: u64 = u64::BITS as u64;
const WORDS: usize = (SLOTS / WORD_BITS) as usize;

/// "No timer": the end of a list.
pub(super) const NONE: u32 = u32::MAX;

/// A slot's number among all levels' slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SlotId(pub(super) u32);

impl SlotId {
    /// The slot of `level` that holds `position`. Positions number a level's slots from the origin of time;
    /// those [`SLOTS`] apart share a slot.
    #[inline]
    pub(super) const fn of(level: usize, position: u64) -> Self {
        Self((level as u64 * SLOTS + position % SLOTS) as u32)
    }
}

/// The position at `level` that `tick` falls into.
#[inline]
pub(super) const fn position(level: usize, tick: u64) -> u64 {
    tick >> (level as u32 * RADIX_BITS)
}

/// The first tick of `position` at `level`.
#[inline]
pub(super) const fn first_tick(level: usize, position: u64) -> u64 {
    position << (level as u32 * RADIX_BITS)
}

/// The heads of all lists, and a bit for each that is not empty.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Slots {
    occupied: [[u64; WORDS]; LEVELS],
    heads: [u32; LEVELS * SLOTS as usize],
}

impl Slots {
    pub(super) const EMPTY: Self =
        Self { occupied: [[0; WORDS]; LEVELS], heads: [NONE; LEVELS * SLOTS as usize] };

    /// The first timer of a slot, or [`NONE`].
    #[inline]
    pub(super) fn head(&self, slot: SlotId) -> u32 {
        self.heads[slot.0 as usize]
    }

    /// Makes `id` (or [`NONE`]) the first timer of a slot.
    #[inline]
    pub(super) fn set_head(&mut self, slot: SlotId, id: u32) {
        self.heads[slot.0 as usize] = id;
        let (level, within) = (slot.0 as usize / SLOTS as usize, u64::from(slot.0) % SLOTS);
        let word = &mut self.occupied[level][(within / WORD_BITS) as usize];
        let bit = 1 << (within % WORD_BITS);
        if id == NONE { *word &= !bit } else { *word |= bit }
    }

    /// The first position of `level`, at or after `from`, whose slot is not empty.
    #[inline]
    pub(super) fn next_occupied(&self, level: usize, from: u64) -> Option<u64> {
        let words = &self.occupied[level];
        let (first_word, first_bit) = ((from % SLOTS / WORD_BITS) as usize, from % WORD_BITS);
        let word_start = from - first_bit;
        let ahead = words[first_word] & (u64::MAX << first_bit);
        if ahead != 0 {
            return Some(word_start + u64::from(ahead.trailing_zeros()));
        }
        // Round the ring and back to the first word, where now only the bits behind `from` are left.
        (1..=WORDS).find_map(|step| {
            let bits = words[(first_word + step) % WORDS];
            (bits != 0).then(|| word_start + step as u64 * WORD_BITS + u64::from(bits.trailing_zeros()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_occupied_slot_is_found_all_round_the_ring() {
        for from in [0, 1, 63, 64, 300, SLOTS - 1, SLOTS, 7 * SLOTS + 77] {
            for ahead in [0, 1, 62, 63, 64, 65, 127, 128, 400, SLOTS - 64, SLOTS - 1] {
                let mut slots = Slots::EMPTY;
                slots.set_head(SlotId::of(1, from + ahead), 5);
                assert_eq!(slots.next_occupied(1, from), Some(from + ahead), "{ahead} ahead of {from}");
                assert_eq!(slots.next_occupied(0, from), None);
                slots.set_head(SlotId::of(1, from + ahead), NONE);
                assert_eq!(slots.next_occupied(1, from), None);
            }
        }
    }

    #[test]
    fn the_nearer_of_two_wins() {
        let mut slots = Slots::EMPTY;
        slots.set_head(SlotId::of(2, 1_000), 1);
        slots.set_head(SlotId::of(2, 1_001), 2);
        assert_eq!(slots.next_occupied(2, 999), Some(1_000));
        assert_eq!(slots.next_occupied(2, 1_001), Some(1_001));
    }
}
