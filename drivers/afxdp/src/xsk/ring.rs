//! The rings that a socket shares with the kernel: one side writes entries, the other reads them, neither waits.
//!
//! ```text
//!            consumer           producer                 both count up for ever and wrap at 2^32;
//!               ▼                  ▼                     the entry of index n lies at n & (size - 1)
//!   │     │     │ e0 │ e1 │ … │ en │     │     │
//!               └── with the ─────┘└─ with the ┘
//!                   consumer          producer
//! ```
//!
//! Each side stores its own index and loads the other's. The producer's store (release) makes entries visible to whoever
//! loads it (acquire); the consumer's store gives their places back in the same way. Either index is loaded once a
//! batch, not once an entry: what was seen of it last is kept.
//!
//! An index of the kernel's is believed no more than it must be: it is masked wherever it leads to an entry, and what it
//! says of a count is at most the ring's size.
//!
//! Source: net/xdp/xsk_queue.h of Linux.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::xdp_desc;

use super::mapping::Mapping;

/// What lies in a ring: any bits are a value, and copying is all there is to it.
///
/// # Safety
///
/// The type is valid for any bits.
pub(crate) unsafe trait Entry: Copy {}

// SAFETY: needed for rings of addresses. Any bits are a number.
unsafe impl Entry for u64 {}
// SAFETY: needed for rings of descriptors. It holds numbers alone, without padding.
unsafe impl Entry for xdp_desc {}

/// Where the kernel has put a ring's parts, in bytes from the mapping's begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) producer: u64,
    pub(super) consumer: u64,
    pub(super) flags: u64,
    pub(super) entries: u64,
}

/// A ring's memory.
struct Shared<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    /// Entries, a power of two.
    size: u32,
    /// What all of them point into.
    _memory: Mapping,
}

// SAFETY: needed to move a ring to its core's thread. The memory is the ring's own (and the kernel's), of no thread.
unsafe impl<T: Entry> Send for Shared<T> {}

impl<T: Entry> Shared<T> {
    /// A ring of `size` entries in `memory`; `None` if it does not lie there as a whole, aligned, or the size is no power
    /// of two.
    fn new(memory: Mapping, layout: Layout, size: u32) -> Option<Self> {
        if !size.is_power_of_two() {
            return None;
        }
        let index = |offset| memory.at::<AtomicU32>(offset, 1);
        Some(Self {
            producer: index(layout.producer)?,
            consumer: index(layout.consumer)?,
            flags: index(layout.flags)?,
            entries: memory.at(layout.entries, size as usize)?,
            size,
            _memory: memory,
        })
    }

    #[inline(always)]
    fn producer(&self) -> &AtomicU32 {
        // SAFETY: needed to reach shared memory. It is mapped as long as `self` and aligned (see `new`), and touched by
        // atomic operations alone.
        unsafe { self.producer.as_ref() }
    }

    #[inline(always)]
    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as in `producer`.
        unsafe { self.consumer.as_ref() }
    }

    /// Whether the kernel wants to be told of new entries.
    #[inline(always)]
    fn needs_wakeup(&self) -> bool {
        // SAFETY: as in `producer`.
        unsafe { self.flags.as_ref() }.load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }

    #[inline(always)]
    fn entry(&self, index: u32) -> *mut T {
        // SAFETY: needed to reach an entry. The mask keeps it among the `size` entries, all of which are mapped.
        unsafe { self.entries.as_ptr().add((index & (self.size - 1)) as usize) }
    }
}

/// The side that writes: of the fill ring and of the transmit ring.
pub(crate) struct Producer<T> {
    shared: Shared<T>,
    /// Where the next entry goes.
    head: u32,
    /// Up to where there is room, by what was seen of the consumer last.
    limit: u32,
}

impl<T: Entry> Producer<T> {
    /// The writing side of a fresh ring.
    pub(super) fn new(memory: Mapping, layout: Layout, size: u32) -> Option<Self> {
        let shared = Shared::new(memory, layout, size)?;
        let head = shared.producer().load(Ordering::Relaxed);
        Some(Self { shared, head, limit: head })
    }

    /// Whether there is room for `count` entries more.
    #[inline]
    pub(crate) fn reserve(&mut self, count: u32) -> bool {
        if self.limit.wrapping_sub(self.head) < count {
            // Acquire: the consumer has read the entries before it gave their places back.
            let consumer = self.shared.consumer().load(Ordering::Acquire);
            let used = self.head.wrapping_sub(consumer).min(self.shared.size);
            self.limit = self.head.wrapping_add(self.shared.size - used);
        }
        self.limit.wrapping_sub(self.head) >= count
    }

    /// Writes an entry behind the others; false if there is no room. The consumer sees it after [`commit`](Self::commit).
    #[inline]
    pub(crate) fn insert(&mut self, entry: T) -> bool {
        if !self.reserve(1) {
            return false;
        }
        // SAFETY: needed to write shared memory. The place is the producer's, as the consumer has said, until `commit`.
        unsafe { self.shared.entry(self.head).write(entry) };
        self.head = self.head.wrapping_add(1);
        true
    }

    /// Shows the consumer what was written.
    #[inline]
    pub(crate) fn commit(&mut self) {
        // Release: whoever sees the index sees the entries.
        self.shared.producer().store(self.head, Ordering::Release);
    }

    /// How many entries the consumer has still to take.
    #[inline]
    pub(crate) fn pending(&self) -> u32 {
        let consumer = self.shared.consumer().load(Ordering::Relaxed);
        self.head.wrapping_sub(consumer).min(self.shared.size)
    }

    /// Whether the kernel wants to be told of new entries.
    #[inline]
    pub(crate) fn needs_wakeup(&self) -> bool {
        self.shared.needs_wakeup()
    }
}

/// The side that reads: of the receive ring and of the completion ring.
pub(crate) struct Consumer<T> {
    shared: Shared<T>,
    /// Where the next entry is.
    tail: u32,
    /// Up to where there are entries, by what was seen of the producer last.
    limit: u32,
}

impl<T: Entry> Consumer<T> {
    /// The reading side of a fresh ring.
    pub(super) fn new(memory: Mapping, layout: Layout, size: u32) -> Option<Self> {
        let shared = Shared::new(memory, layout, size)?;
        let tail = shared.consumer().load(Ordering::Relaxed);
        Some(Self { shared, tail, limit: tail })
    }

    /// How many entries may be read now, at most `wanted`.
    #[inline]
    pub(crate) fn available(&mut self, wanted: u32) -> u32 {
        if self.limit.wrapping_sub(self.tail) < wanted {
            // Acquire: the producer has written the entries before it showed them.
            let producer = self.shared.producer().load(Ordering::Acquire);
            self.limit = self.tail.wrapping_add(producer.wrapping_sub(self.tail).min(self.shared.size));
        }
        self.limit.wrapping_sub(self.tail).min(wanted)
    }

    /// Takes an entry of those that are [available](Self::available).
    #[inline]
    pub(crate) fn read(&mut self) -> Option<T> {
        if self.tail == self.limit {
            return None;
        }
        // SAFETY: needed to read shared memory. The entry is the consumer's, as the producer has said, until `release`,
        // and any bits are a value.
        let entry = unsafe { self.shared.entry(self.tail).read() };
        self.tail = self.tail.wrapping_add(1);
        Some(entry)
    }

    /// Gives the places of what was read back to the producer.
    #[inline]
    pub(crate) fn release(&mut self) {
        // Release: the entries have been read when the producer sees the index.
        self.shared.consumer().store(self.tail, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const LAYOUT: Layout = Layout { producer: 0, consumer: 64, flags: 128, entries: 192 };
    const SIZE: u32 = 8;

    /// Both ends of one ring, whose indices stand at `start`.
    fn ends(start: u32) -> (Producer<u64>, Consumer<u64>) {
        let (ours, theirs) = Mapping::pair(192 + 8 * SIZE as usize);
        for offset in [0, 64] {
            // SAFETY: needed to set up a ring in ordinary memory, which nobody else reaches yet.
            unsafe { ours.at::<AtomicU32>(offset, 1).unwrap().as_ref() }.store(start, Ordering::Relaxed);
        }
        (Producer::new(ours, LAYOUT, SIZE).unwrap(), Consumer::new(theirs, LAYOUT, SIZE).unwrap())
    }

    fn take(consumer: &mut Consumer<u64>, wanted: u32) -> Vec<u64> {
        let count = consumer.available(wanted);
        let taken = (0..count).map_while(|_| consumer.read()).collect();
        consumer.release();
        taken
    }

    #[test]
    fn entries_cross_in_order_also_where_the_indices_wrap() {
        for start in [0, 5, u32::MAX - 3, u32::MAX] {
            let (mut producer, mut consumer) = ends(start);
            let (mut written, mut read) = (0, 0);
            for batch in [3, 8, 1, 5, 8, 7, 2] {
                assert!(producer.reserve(batch), "{batch} from {start}");
                for _ in 0..batch {
                    assert!(producer.insert(written));
                    written += 1;
                }
                assert_eq!(consumer.available(SIZE), 0, "nothing is seen before it is committed");
                producer.commit();
                assert_eq!(producer.pending(), batch);
                for entry in take(&mut consumer, SIZE) {
                    assert_eq!(entry, read);
                    read += 1;
                }
                assert_eq!((read, producer.pending()), (written, 0));
            }
        }
    }

    #[test]
    fn a_full_ring_takes_no_more_until_places_are_given_back() {
        for start in [0, u32::MAX - 3] {
            let (mut producer, mut consumer) = ends(start);
            assert!(!producer.reserve(SIZE + 1));
            assert!((0..u64::from(SIZE)).all(|entry| producer.insert(entry)));
            assert!(!producer.insert(99) && !producer.reserve(1));
            producer.commit();
            assert_eq!(producer.pending(), SIZE);
            assert_eq!(consumer.available(3), 3);
            assert_eq!((consumer.read(), consumer.read(), consumer.read()), (Some(0), Some(1), Some(2)));
            assert!(!producer.reserve(1), "what was read is not given back yet");
            consumer.release();
            assert!(producer.reserve(3) && !producer.reserve(4));
            assert!(producer.insert(8));
            producer.commit();
            assert_eq!(take(&mut consumer, 100), [3, 4, 5, 6, 7, 8]);
            assert_eq!(consumer.read(), None);
        }
    }

    #[test]
    fn no_more_is_read_than_was_asked_for_or_is_there() {
        let (mut producer, mut consumer) = ends(u32::MAX - 1);
        assert_eq!((consumer.available(4), consumer.read()), (0, None));
        (0..5).for_each(|entry| assert!(producer.insert(entry)));
        producer.commit();
        assert_eq!(take(&mut consumer, 2), [0, 1]);
        assert_eq!(take(&mut consumer, 2), [2, 3]);
        assert_eq!(take(&mut consumer, 2), [4]);
    }

    #[test]
    fn an_index_that_cannot_be_leads_nowhere_else() {
        let (mut producer, mut consumer) = ends(0);
        // A producer far ahead: there are no more entries than the ring has places, all of them inside.
        producer.shared.producer().store(1_000_000, Ordering::Release);
        assert_eq!(consumer.available(u32::MAX), SIZE);
        assert_eq!(take(&mut consumer, u32::MAX).len(), SIZE as usize);
        // A consumer ahead of the producer: no room.
        producer.shared.consumer().store(500, Ordering::Release);
        assert!(!producer.reserve(1) && !producer.insert(1));
        assert_eq!(producer.pending(), SIZE);
    }

    #[test]
    fn a_ring_that_does_not_lie_in_its_memory_is_refused() {
        let made = |layout, size| Producer::<u64>::new(Mapping::pair(256).0, layout, size).is_some();
        assert!(made(LAYOUT, 8));
        assert!(!made(LAYOUT, 16), "its entries reach out");
        assert!(!made(LAYOUT, 7), "no power of two");
        assert!(!made(LAYOUT, 0));
        assert!(!made(Layout { consumer: 253, ..LAYOUT }, 8));
        assert!(!made(Layout { flags: 130, ..LAYOUT }, 8), "not aligned");
        assert!(!made(Layout { entries: u64::MAX - 7, ..LAYOUT }, 8));
        assert!(!made(Layout { producer: u64::MAX, ..LAYOUT }, 8));
    }

    #[test]
    fn the_kernel_says_when_it_wants_to_be_told() {
        let (producer, _consumer) = ends(0);
        assert!(!producer.needs_wakeup());
        // SAFETY: needed to be the kernel. The word is mapped and aligned, and atomic.
        unsafe { producer.shared.flags.as_ref() }.store(libc::XDP_RING_NEED_WAKEUP, Ordering::Relaxed);
        assert!(producer.needs_wakeup());
    }

    /// Two threads, as the kernel and we are: every entry crosses whole and in order.
    #[test]
    fn entries_cross_between_threads() {
        const COUNT: u64 = if cfg!(miri) { 200 } else { 20_000 };
        let (mut producer, mut consumer) = ends(u32::MAX - 50);
        let writer = std::thread::spawn(move || {
            let mut next = 0;
            while next < COUNT {
                if producer.insert(next) {
                    next += 1;
                } else {
                    std::thread::yield_now();
                }
                producer.commit();
            }
        });
        let mut next = 0;
        while next < COUNT {
            for entry in take(&mut consumer, 3) {
                assert_eq!(entry, next);
                next += 1;
            }
            std::thread::yield_now();
        }
        writer.join().unwrap();
    }
}
