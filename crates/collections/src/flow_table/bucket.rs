//! One cache line of the flow table.

/// Entries a bucket holds: as many tags and indices as fill the line beside the four bytes on displacement.
pub(super) const SLOTS: usize = 10;

/// The label of a slot that holds nothing.
const VACANT: u16 = 0;

/// Bits of a label that hold the tag; those above hold the step.
const TAG_BITS: u32 = 13;

/// Bits of a counter of entries that went past.
const COUNTER_BITS: u32 = 4;
const COUNTER_MAX: u32 = (1 << COUNTER_BITS) - 1;

/// The first step that a label does not tell from those beyond: such entries are not brought home.
pub(super) const FAR: usize = (1 << (u16::BITS - TAG_BITS)) - 1;

/// Ten slots, and a summary of the entries that came here and found them taken.
///
/// ```text
///  0                   20                  24                                      64
///  ├───────────────────┼───────────────────┼───────────────────────────────────────┤
///  │ 10 labels, 16 bit │ 8 counters, 4 bit │ 10 indices of 32 bit                  │
///  └───────────────────┴───────────────────┴───────────────────────────────────────┘
///    a label:  │ step: 3 bit │ tag: 13 bit │
/// ```
///
/// The step says how far from its home an entry lies. A search compares it along with the tag, so that it narrows
/// the search too, and it is what lets an entry be brought home later though its hash is not kept.
///
/// The counters number the entries that lie further on because this bucket was full, by the lowest bits of their
/// tags: a search leaves the line only if its tag's counter is not zero. A counter that came to 15 stays there,
/// which costs later searches a line; only a table flooded by who knows its key sees that.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Bucket {
    labels: [u16; SLOTS],
    passed: u32,
    indices: [u32; SLOTS],
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// A short fingerprint of a hash; never zero, so that no label is [`VACANT`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tag(u16);

impl Tag {
    /// The tag of any 16 bits: the lowest 13, zero sharing the tag of one.
    #[inline]
    pub(super) const fn new(bits: u16) -> Self {
        let tag = bits & ((1 << TAG_BITS) - 1);
        Self(if tag == 0 { 1 } else { tag })
    }

    /// The label of an entry with this tag, `step` buckets from its home.
    #[inline]
    const fn label(self, step: usize) -> u16 {
        let step = if step < FAR { step } else { FAR };
        self.0 | (step as u16) << TAG_BITS
    }

    /// Where in a bucket's counters the one for this tag begins.
    #[inline]
    const fn counter_shift(self) -> u32 {
        (self.0 as u32 & 7) * COUNTER_BITS
    }
}

impl Bucket {
    pub(super) const EMPTY: Self = Self { labels: [VACANT; SLOTS], passed: 0, indices: [u32::MAX; SLOTS] };

    /// The first index that `is_match` accepts, of those with `tag` whose home is `step` buckets away.
    #[inline]
    pub(super) fn find(&self, tag: Tag, step: usize, mut is_match: impl FnMut(u32) -> bool) -> Option<u32> {
        self.slots_with(tag.label(step)).map(|slot| self.indices[slot]).find(|&index| is_match(index))
    }

    /// Puts an entry whose home is `step` buckets away into the first vacant slot; false if there is none.
    #[inline]
    pub(super) fn insert(&mut self, tag: Tag, step: usize, index: u32) -> bool {
        let Some(slot) = self.slots_with(VACANT).next() else { return false };
        self.labels[slot] = tag.label(step);
        self.indices[slot] = index;
        true
    }

    /// Takes an entry out; false if it is not here.
    #[inline]
    pub(super) fn remove(&mut self, tag: Tag, step: usize, index: u32) -> bool {
        let found = self.slots_with(tag.label(step)).find(|&slot| self.indices[slot] == index);
        if let Some(slot) = found {
            self.vacate(slot);
        }
        found.is_some()
    }

    /// Puts another index in an entry's place; false if the entry is not here.
    #[inline]
    pub(super) fn replace(&mut self, tag: Tag, step: usize, old: u32, new: u32) -> bool {
        let found = self.slots_with(tag.label(step)).find(|&slot| self.indices[slot] == old);
        if let Some(slot) = found {
            self.indices[slot] = new;
        }
        found.is_some()
    }

    /// Takes out an entry whose home is `step` buckets away, below [`FAR`], if there is one.
    pub(super) fn take_stranger(&mut self, step: usize) -> Option<(Tag, u32)> {
        let slot = self.labels.iter().position(|&label| label >> TAG_BITS == step as u16)?;
        let stranger = (Tag::new(self.labels[slot]), self.indices[slot]);
        self.vacate(slot);
        Some(stranger)
    }

    #[inline]
    fn vacate(&mut self, slot: usize) {
        self.labels[slot] = VACANT;
        self.indices[slot] = u32::MAX;
    }

    /// Whether any entry is noted as having gone past.
    #[inline]
    pub(super) const fn was_passed(&self) -> bool {
        self.passed != 0
    }

    /// Whether an entry with this tag may lie further on.
    #[inline]
    pub(super) const fn may_have_passed(&self, tag: Tag) -> bool {
        self.counter(tag) != 0
    }

    /// Notes an entry that found the bucket full and went on.
    #[inline]
    pub(super) const fn note_passed(&mut self, tag: Tag) {
        if self.counter(tag) != COUNTER_MAX {
            self.passed += 1 << tag.counter_shift();
        }
    }

    /// Forgets an entry that had gone past, and has left the table or come home.
    #[inline]
    pub(super) const fn forget_passed(&mut self, tag: Tag) {
        if self.counter(tag) != COUNTER_MAX {
            self.passed -= 1 << tag.counter_shift();
        }
    }

    #[inline]
    const fn counter(&self, tag: Tag) -> u32 {
        self.passed >> tag.counter_shift() & COUNTER_MAX
    }

    /// The slots with this label, as the set bits of a mask. Ten comparisons without a branch: at a few
    /// nanoseconds they vanish beside the line's arrival, and wider ones gained nothing that could be told from
    /// noise.
    #[inline]
    fn slots_with(&self, label: u16) -> Matches {
        let mut mask = 0u32;
        for (slot, &held) in self.labels.iter().enumerate() {
            mask |= u32::from(held == label) << slot;
        }
        Matches(mask)
    }
}

/// Slots, as the set bits of a mask.
struct Matches(u32);

impl Iterator for Matches {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let slot = self.0.trailing_zeros() as usize;
        self.0 &= self.0.wrapping_sub(1);
        // True of every mask that is not empty. Comparing with SLOTS spares the bounds checks of what follows.
        (slot < SLOTS).then_some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_ten_and_no_more() {
        let mut bucket = Bucket::EMPTY;
        for index in 0..SLOTS as u32 {
            assert!(bucket.insert(Tag::new(7), 0, index));
        }
        assert!(!bucket.insert(Tag::new(8), 0, 99));
        assert!(bucket.remove(Tag::new(7), 0, 4));
        assert!(!bucket.remove(Tag::new(7), 0, 4));
        assert!(bucket.insert(Tag::new(8), 0, 99));
        assert_eq!(bucket.find(Tag::new(8), 0, |_| true), Some(99));
    }

    #[test]
    fn every_slot_is_found_by_its_label_alone() {
        let mut bucket = Bucket::EMPTY;
        let label = |slot: usize| [1, 2, 0x7fff, 0x8000, 0x8001, 0xffff, 0x0100, 3, 4, 0xfffe][slot];
        for slot in 0..SLOTS {
            bucket.labels[slot] = label(slot);
        }
        for slot in 0..SLOTS {
            assert_eq!(bucket.slots_with(label(slot)).collect::<Vec<_>>(), [slot]);
        }
        assert_eq!(bucket.slots_with(VACANT).count(), 0);
        assert_eq!(Bucket::EMPTY.slots_with(VACANT).count(), SLOTS);
    }

    #[test]
    fn entries_of_one_tag_are_told_apart_by_the_caller() {
        let mut bucket = Bucket::EMPTY;
        for index in [5, 6, 7] {
            assert!(bucket.insert(Tag::new(1), 0, index));
        }
        assert_eq!(bucket.find(Tag::new(1), 0, |index| index == 6), Some(6));
        assert_eq!(bucket.find(Tag::new(1), 0, |_| false), None);
        assert_eq!(bucket.find(Tag::new(2), 0, |_| true), None);
    }

    #[test]
    fn a_tag_of_zero_bits_is_not_vacancy() {
        let mut bucket = Bucket::EMPTY;
        assert_eq!(bucket.find(Tag::new(0), 0, |_| true), None);
        assert!(bucket.insert(Tag::new(0), 0, 3));
        assert_eq!(bucket.find(Tag::new(0), 0, |_| true), Some(3));
    }

    #[test]
    fn entries_from_different_homes_are_told_apart() {
        let (mut bucket, tag) = (Bucket::EMPTY, Tag::new(1));
        for (step, index) in [(0, 10), (1, 11), (6, 16), (7, 17), (63, 73)] {
            assert!(bucket.insert(tag, step, index));
        }
        assert_eq!(bucket.find(tag, 1, |_| true), Some(11));
        assert_eq!(bucket.find(tag, 2, |_| true), None);
        assert_eq!(bucket.find(tag, 20, |_| true), Some(17), "far is far");
        assert!(!bucket.remove(tag, 0, 11));
        assert_eq!(bucket.take_stranger(6), Some((tag, 16)));
        assert_eq!(bucket.take_stranger(6), None);
    }

    #[test]
    fn entries_that_went_past_are_counted_by_tag() {
        let (mut bucket, tag, alike, other) = (Bucket::EMPTY, Tag::new(3), Tag::new(11), Tag::new(4));
        bucket.note_passed(tag);
        bucket.note_passed(alike);
        assert!(bucket.may_have_passed(tag) && !bucket.may_have_passed(other));
        bucket.forget_passed(alike);
        assert!(bucket.may_have_passed(tag) && bucket.was_passed());
        bucket.forget_passed(tag);
        assert!(!bucket.was_passed());
    }

    #[test]
    fn a_counter_at_its_end_forgets_no_entry() {
        let (mut bucket, tag) = (Bucket::EMPTY, Tag::new(7));
        for _ in 0..640 {
            bucket.note_passed(tag);
        }
        for _ in 0..639 {
            bucket.forget_passed(tag);
        }
        assert!(bucket.may_have_passed(tag) && !bucket.may_have_passed(Tag::new(0)));
    }
}
