//! The two indices of a ring, and what each end knows of the other.

use super::sync::{Arc, AtomicBool, AtomicUsize, Ordering};

/// On cache lines of its own, in a pair that is nobody else's.
#[derive(Debug)]
#[repr(align(128))]
struct Padded<T>(T);

/// One end's index, and whether the end still exists.
#[derive(Debug)]
struct End {
    index: AtomicUsize,
    gone: AtomicBool,
}

impl End {
    fn new() -> Padded<Self> {
        Padded(Self { index: AtomicUsize::new(0), gone: AtomicBool::new(false) })
    }
}

/// Slots that can be emptied when both ends are gone.
pub(super) trait Storage {
    /// Drops what is in the slots from `head` to `tail`.
    fn clear(&mut self, head: usize, tail: usize);
}

/// A ring's slots between its indices. Slots from `head` to `tail` belong to the reader, the others to the writer.
#[derive(Debug)]
pub(super) struct Indices<S: Storage> {
    reader: Padded<End>,
    writer: Padded<End>,
    slots: Padded<S>,
}

impl<S: Storage> Indices<S> {
    pub(super) const fn slots(&self) -> &S {
        &self.slots.0
    }
}

impl<S: Storage> Drop for Indices<S> {
    fn drop(&mut self) {
        let head = self.reader.0.index.load(Ordering::Relaxed);
        let tail = self.writer.0.index.load(Ordering::Relaxed);
        self.slots.0.clear(head, tail);
    }
}

/// The number of slots for a ring that is to have at least `wanted`. What it promises, a power of two that is not 0, the
/// rings' unchecked indexing relies on.
///
/// # Panics
///
/// If there is no such number.
pub(super) fn capacity(wanted: usize) -> usize {
    let Some(capacity) = wanted.max(1).checked_next_power_of_two() else {
        panic!("a ring of {wanted} slots")
    };
    capacity
}

/// Both ends of a new ring over `slots`, `capacity` (a power of two) of them.
pub(super) fn ends<S: Storage>(slots: S, capacity: usize) -> (Writer<S>, Reader<S>) {
    debug_assert!(capacity.is_power_of_two());
    let ring = Arc::new(Indices { reader: End::new(), writer: End::new(), slots: Padded(slots) });
    let reader = Reader { ring: Arc::clone(&ring), head: 0, released: 0, tail_seen: 0 };
    (Writer { ring, tail: 0, head_seen: 0, capacity }, reader)
}

/// The end that fills slots.
#[derive(Debug)]
pub(super) struct Writer<S: Storage> {
    ring: Arc<Indices<S>>,
    /// The next slot to be filled; behind the published one until [`Writer::publish`].
    tail: usize,
    /// The reader's index when it was last looked at.
    head_seen: usize,
    capacity: usize,
}

impl<S: Storage> Writer<S> {
    #[inline(always)]
    pub(super) fn slots(&self) -> &S {
        self.ring.slots()
    }

    #[inline(always)]
    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// The slot to be filled next; to be masked. It is the writer's if there is [room](Writer::room).
    #[inline(always)]
    pub(super) const fn tail(&self) -> usize {
        self.tail
    }

    /// How many slots can be filled, `wanted` or more if that is so: the reader's index is looked at only when
    /// what is known of it does not suffice.
    #[inline(always)]
    pub(super) fn room(&mut self, wanted: usize) -> usize {
        let room = self.capacity - self.tail.wrapping_sub(self.head_seen);
        if room >= wanted {
            return room;
        }
        // Acquire: what the reader did with the slots it gave up happened before.
        self.head_seen = self.ring.reader.0.index.load(Ordering::Acquire);
        self.capacity - self.tail.wrapping_sub(self.head_seen)
    }

    /// The slot was filled. There must have been room.
    #[inline(always)]
    pub(super) const fn advance(&mut self) {
        self.tail = self.tail.wrapping_add(1);
    }

    /// Makes all filled slots the reader's.
    #[inline(always)]
    pub(super) fn publish(&self) {
        // Release: the slots' contents are there before the index says so.
        self.ring.writer.0.index.store(self.tail, Ordering::Release);
    }

    /// Slots filled and not yet given up by the reader, at most.
    pub(super) fn len(&self) -> usize {
        self.tail.wrapping_sub(self.ring.reader.0.index.load(Ordering::Acquire))
    }

    /// Whether the other end is gone.
    pub(super) fn is_disconnected(&self) -> bool {
        self.ring.reader.0.gone.load(Ordering::Acquire)
    }
}

impl<S: Storage> Drop for Writer<S> {
    fn drop(&mut self) {
        // Release: what was published before is seen by a reader that sees this.
        self.ring.writer.0.gone.store(true, Ordering::Release);
    }
}

/// The end that empties slots.
#[derive(Debug)]
pub(super) struct Reader<S: Storage> {
    ring: Arc<Indices<S>>,
    /// The next slot to be emptied; ahead of the published one until [`Reader::publish`].
    head: usize,
    /// What was last published.
    released: usize,
    /// The writer's index when it was last looked at.
    tail_seen: usize,
}

impl<S: Storage> Reader<S> {
    #[inline(always)]
    pub(super) fn slots(&self) -> &S {
        self.ring.slots()
    }

    /// The slot to be emptied next; to be masked. It is the reader's if there is one [ready](Reader::ready).
    #[inline(always)]
    pub(super) const fn head(&self) -> usize {
        self.head
    }

    /// How many slots can be emptied, `wanted` or more if that is so: the writer's index is looked at only when
    /// what is known of it does not suffice.
    #[inline(always)]
    pub(super) fn ready(&mut self, wanted: usize) -> usize {
        let ready = self.ready_known();
        if ready >= wanted {
            return ready;
        }
        // Acquire: what the writer put into the slots happened before.
        self.tail_seen = self.ring.writer.0.index.load(Ordering::Acquire);
        self.ready_known()
    }

    /// How many slots can be emptied for all that is known.
    #[inline(always)]
    pub(super) const fn ready_known(&self) -> usize {
        self.tail_seen.wrapping_sub(self.head)
    }

    /// The slot was emptied. It must have been ready.
    #[inline(always)]
    pub(super) const fn advance(&mut self) {
        self.head = self.head.wrapping_add(1);
    }

    /// Slots emptied and not yet made the writer's.
    #[inline(always)]
    pub(super) const fn unpublished(&self) -> usize {
        self.head.wrapping_sub(self.released)
    }

    /// Makes all emptied slots the writer's.
    #[inline(always)]
    pub(super) fn publish(&mut self) {
        self.released = self.head;
        // Release: we are done with the slots before the index says so.
        self.ring.reader.0.index.store(self.head, Ordering::Release);
    }

    /// Slots that the writer has published and we have not emptied.
    pub(super) fn len(&self) -> usize {
        self.ring.writer.0.index.load(Ordering::Acquire).wrapping_sub(self.head)
    }

    /// Whether the other end is gone. What it published before may still wait.
    pub(super) fn is_disconnected(&self) -> bool {
        self.ring.writer.0.gone.load(Ordering::Acquire)
    }
}

impl<S: Storage> Drop for Reader<S> {
    fn drop(&mut self) {
        self.ring.reader.0.gone.store(true, Ordering::Release);
    }
}
