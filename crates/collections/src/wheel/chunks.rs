//! The timers of a slot, as a list of cache lines.
//!
//! ```text
//!   slot ──► [ 5 of 14 ] ──► [ 14 of 14 ] ──► [ 14 of 14 ]
//!              ▲ timers come and go here
//! ```
//!
//! Only a slot's first chunk has vacant places: when a timer leaves from elsewhere, the first chunk's last one takes
//! its place. So `n` timers in `s` slots never need more than `n / 14 + s` chunks, and walking a slot reads one line
//! for fourteen timers, whose own lines can then be asked for together.

use super::slots::{LEVELS, NONE, SLOTS, SlotId};

/// Timers of one chunk.
pub(super) const PLACES: usize = 14;

/// Timers of one slot, in a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Chunk {
    /// The next chunk of the slot, or of the vacant ones.
    pub(super) next: u32,
    slot: u16,
    len: u16,
    ids: [u32; PLACES],
}

const _: () = assert!(size_of::<Chunk>() == 64);

impl Chunk {
    /// A chunk of nothing, before `next`.
    pub(super) const fn vacant(next: u32) -> Self {
        Self { next, slot: 0, len: 0, ids: [NONE; PLACES] }
    }

    /// An empty chunk for `slot`, before `next`.
    pub(super) const fn first_of(slot: SlotId, next: u32) -> Self {
        Self { next, slot: slot.0 as u16, ..Self::vacant(NONE) }
    }

    /// The slot it belongs to.
    #[inline]
    pub(super) const fn slot(&self) -> SlotId {
        SlotId(self.slot as u32)
    }

    /// The timers in it.
    #[inline]
    pub(super) fn ids(&self) -> &[u32] {
        &self.ids[..usize::from(self.len).min(PLACES)]
    }

    #[inline]
    pub(super) const fn is_full(&self) -> bool {
        self.len as usize >= PLACES
    }

    /// Adds a timer, for which there is a vacant place; says which.
    #[inline]
    pub(super) fn push(&mut self, id: u32) -> u32 {
        let position = u32::from(self.len);
        self.ids[position as usize % PLACES] = id;
        self.len += 1;
        position
    }

    /// Takes the last timer out, of which there is one.
    #[inline]
    pub(super) fn pop(&mut self) -> u32 {
        self.len -= 1;
        self.ids[usize::from(self.len) % PLACES]
    }

    /// Puts a timer into a taken place.
    #[inline]
    pub(super) fn replace(&mut self, position: u32, id: u32) {
        self.ids[position as usize % PLACES] = id;
    }
}

/// Chunks for `timers` timers, however they are spread over the slots.
pub(super) const fn chunk_count(timers: u32) -> usize {
    let slots = LEVELS * SLOTS as usize;
    let spread = if (timers as usize) < slots { timers as usize } else { slots };
    (timers as usize).div_ceil(PLACES) + spread
}

/// Where a timer lies: which chunk, and which place in it; and whether it was cancelled since it was put there.
///
/// ```text
///   31          30                    4 3        0
///  ┌───────────┬───────────────────────┬──────────┐
///  │ cancelled │ chunk                 │ position │      all ones: nowhere
///  └───────────┴───────────────────────┴──────────┘
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place(u32);

impl Place {
    /// In no slot.
    pub(super) const NOWHERE: Self = Self(u32::MAX);

    const CANCELLED: u32 = 1 << 31;
    const POSITION_BITS: u32 = 4;
    /// The most chunks a place can name; the last one would be mistaken for nowhere.
    pub(super) const CHUNKS: usize = (1 << (31 - Self::POSITION_BITS)) - 1;

    #[inline]
    pub(super) const fn new(chunk: u32, position: u32) -> Self {
        Self(chunk << Self::POSITION_BITS | position)
    }

    #[inline]
    pub(super) const fn chunk(self) -> u32 {
        (self.0 & !Self::CANCELLED) >> Self::POSITION_BITS
    }

    #[inline]
    pub(super) const fn position(self) -> u32 {
        self.0 & ((1 << Self::POSITION_BITS) - 1)
    }

    /// Whether the timer lies in a slot, cancelled or not.
    #[inline]
    pub(super) const fn is_somewhere(self) -> bool {
        self.0 != Self::NOWHERE.0
    }

    /// Whether the timer lies in a slot and is to be delivered.
    #[inline]
    pub(super) const fn is_armed(self) -> bool {
        self.0 & Self::CANCELLED == 0
    }

    #[inline]
    pub(super) const fn cancelled(self) -> Self {
        Self(self.0 | Self::CANCELLED)
    }

    #[inline]
    pub(super) const fn armed(self) -> Self {
        Self(self.0 & !Self::CANCELLED)
    }

    /// The same mark at another place.
    #[inline]
    pub(super) const fn moved_to(self, chunk: u32, position: u32) -> Self {
        Self(self.0 & Self::CANCELLED | Self::new(chunk, position).0)
    }
}

const _: () = assert!(PLACES <= 1 << Place::POSITION_BITS);
const _: () = assert!(LEVELS * SLOTS as usize <= u16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_cancelling_and_moving() {
        let last = Place::CHUNKS as u32 - 1;
        for (chunk, position) in [(0, 0), (0, 13), (7, 3), (last, 13)] {
            let place = Place::new(chunk, position);
            assert!(place.is_somewhere() && place.is_armed());
            let cancelled = place.cancelled();
            assert!(cancelled.is_somewhere() && !cancelled.is_armed());
            assert_eq!((cancelled.chunk(), cancelled.position()), (chunk, position));
            assert_eq!(cancelled.armed(), place);
            assert_eq!(cancelled.moved_to(5, 6), Place::new(5, 6).cancelled());
            assert_eq!(place.moved_to(5, 6), Place::new(5, 6));
        }
        assert!(!Place::NOWHERE.is_somewhere() && !Place::NOWHERE.is_armed());
    }

    #[test]
    fn a_chunk_gives_back_what_it_took() {
        let mut chunk = Chunk::first_of(SlotId(2_047), NONE);
        for id in 0..PLACES as u32 {
            assert!(!chunk.is_full());
            assert_eq!(chunk.push(id), id);
        }
        assert!(chunk.is_full());
        chunk.replace(3, 99);
        assert_eq!(chunk.ids()[3], 99);
        assert_eq!((chunk.pop(), chunk.ids().len(), chunk.slot()), (13, 13, SlotId(2_047)));
    }
}
