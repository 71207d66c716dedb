//! Making room: expiry, flushes and eviction, a few records at a time.
//!
//! One segment is drained at a time, from its first record to its last. Which one is next:
//!
//! 1. one that was flushed;
//! 2. one whose last item has expired (looked for once a second, one class of time to live after the other);
//! 3. while fewer segments are free than there should be: the oldest of the small queue if that has more than its
//!    share, else the oldest of the main queue.
//!
//! A record of 1 and 2, and a dead one, is only let go of. One of 3 is dropped or moved. Draining the main queue moves
//! what was asked for with half of its count, so three rounds end every stay; and while segments are scarce nothing
//! moves at all, so that room is made by every call.

use freeway_base::FlowHash;
use freeway_mem::arch::prefetch_lines;

use super::item::Item;
use super::record::Bits;
use super::segment::{CLASSES, NONE, Queue, SEGMENT};
use super::time::{NEVER, class_of};
use super::{INLINE_MAX, Store};

/// Records looked at together, so that their lines of the index come at once.
const BATCH: usize = 16;
/// Segments that one record may take, and those that moving one may.
const LEAST_FREE: u32 = 4;

freeway_base::counters! {
    /// What a store counted.
    pub struct StoreCounters {
        /// Items dropped for others that came.
        evictions,
        /// Of these, how many nobody had asked for since they were stored.
        evicted_unfetched,
        /// Of these, how many would have expired some day.
        evicted_nonzero,
        /// Items whose time had come, dropped by a request for them or with their segment.
        expired,
        /// Of these, how many nobody had asked for.
        expired_unfetched,
        /// Items dropped by a flush.
        flushed,
        /// Items that went from the small queue to the main queue.
        promoted,
        /// Items that stayed in the main queue for another round.
        kept,
        /// Keys that came back soon after they were dropped.
        returned,
        /// Items dropped because the index, not the memory, was full.
        index_evictions,
        /// Requests that found no room.
        no_room,
        /// Values written over in their place.
        overwritten,
        /// Segments drained.
        drained,
    }
}

/// What is being drained, and what was looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    /// The segment, or [`NONE`].
    segment: u32,
    /// Where in it the next record begins.
    offset: u32,
    /// Its class, when its items have all expired or were flushed.
    over: bool,
    /// The class that is looked at next for segments that have expired; [`CLASSES`] when all have been.
    class: u8,
    /// In which second the classes were looked at.
    looked_at: u32,
}

impl Drain {
    pub(super) const NONE: Self =
        Self { segment: NONE, offset: 0, over: false, class: CLASSES as u8, looked_at: 0 };
}

const _: () = assert!(CLASSES <= u8::MAX as usize);

impl Store {
    /// Does what is due: gives the memory of what expired or was flushed back, and keeps some free. Looks at `budget`
    /// records or a few more. Returns whether there is more to do now.
    pub fn maintain(&mut self, now: u32, budget: usize) -> bool {
        self.drain(now, budget, false)
    }

    /// Whether [`maintain`](Self::maintain) has something to do.
    pub fn has_work(&self, now: u32) -> bool {
        self.drain.segment != NONE || self.drain.looked_at != now || self.is_short()
    }

    /// Makes room for a record of any size, so that storing it evicts nothing. False when there is none, whatever goes.
    #[inline]
    pub fn make_room(&mut self, now: u32) -> bool {
        if self.is_short() {
            self.drain(now, 2 * BATCH, false);
        }
        self.available() >= LEAST_FREE && self.has_index_room() || self.make_room_at_all_costs(now)
    }

    /// Segments that may be taken.
    #[inline]
    pub(super) fn available(&self) -> u32 {
        let withheld = self.segments.count() - self.segments_max;
        self.segments.free().saturating_sub(withheld)
    }

    #[inline]
    fn has_index_room(&self) -> bool {
        self.index.len() < self.index.capacity()
    }

    #[inline]
    fn is_short(&self) -> bool {
        self.available() < self.reserve
            // One in 256 places of the index stays free, too.
            || self.index.len() > self.index.capacity() - (self.index.capacity() >> 8)
    }

    #[cold]
    fn make_room_at_all_costs(&mut self, now: u32) -> bool {
        while self.available() < LEAST_FREE || !self.has_index_room() {
            if !self.drain(now, 4 * BATCH, true) {
                self.counters.no_room += 1;
                return false;
            }
        }
        true
    }

    /// Looks at about `budget` records; false when there was nothing to drain.
    fn drain(&mut self, now: u32, budget: usize, at_all_costs: bool) -> bool {
        let mut looked_at = 0;
        while looked_at < budget {
            if self.drain.segment == NONE && !self.choose(now, at_all_costs) {
                return false;
            }
            looked_at += self.drain_batch(now);
        }
        true
    }

    /// Chooses the segment to be drained next; false when none needs to be.
    fn choose(&mut self, now: u32, at_all_costs: bool) -> bool {
        let flushed = [Queue::Small, Queue::Main].into_iter().find_map(|queue| {
            let oldest = self.segments.oldest(queue);
            (oldest != NONE && self.segments.get(oldest).cas_base < self.flushed).then_some(oldest)
        });
        let over = flushed.or_else(|| self.next_expired(now));
        let victim = match over {
            Some(index) => index,
            None if at_all_costs || self.is_short() => self.victim(),
            None => return false,
        };
        if victim == NONE {
            return false;
        }
        self.segments.begin_drain(victim);
        let first = self.segments.get(victim).first;
        (self.drain.segment, self.drain.offset, self.drain.over) = (victim, first, over.is_some());
        true
    }

    fn next_expired(&mut self, now: u32) -> Option<u32> {
        if self.drain.looked_at != now {
            (self.drain.looked_at, self.drain.class) = (now, 1);
        }
        while usize::from(self.drain.class) < CLASSES {
            if let Some(index) = self.segments.expired(self.drain.class, now) {
                return Some(index);
            }
            self.drain.class += 1;
        }
        None
    }

    /// The segment whose items are worth the least.
    fn victim(&self) -> u32 {
        let small = self.segments.held_by(Queue::Small);
        let in_use = self.segments.count() - self.segments.free();
        // A product of a count of segments and a share in 256ths.
        let share = (u64::from(in_use) * u64::from(self.policy.small_share)) >> 8;
        let from_small = u64::from(small) > share;
        let (first, second) =
            if from_small { (Queue::Small, Queue::Main) } else { (Queue::Main, Queue::Small) };
        match self.segments.oldest(first) {
            NONE => self.segments.oldest(second),
            index => index,
        }
    }

    /// Deals with the next records of the segment that is being drained; returns how many.
    fn drain_batch(&mut self, now: u32) -> usize {
        let mut batch = [(0_u32, FlowHash(0)); BATCH];
        let (mut count, mut walked) = (0, 0);
        let Drain { segment, mut offset, over, .. } = self.drain;
        let used = self.segments.get(segment).used;
        while offset < used && count < BATCH && walked < 4 * BATCH {
            let at = segment * super::POSITIONS + offset / 8;
            prefetch_lines(&self.data, at as usize * 8 + 512, 1);
            let item = self.item(at);
            walked += 1;
            offset += item.header.record_len() as u32;
            if !item.header.has(Bits::DEAD) {
                let hash = self.hash(self.key(item));
                self.index.prefetch(hash);
                batch[count] = (at, hash);
                count += 1;
            }
        }
        self.drain.offset = offset;
        for &(at, hash) in &batch[..count] {
            self.deal_with(self.item(at), hash, now, over);
        }
        if offset >= used {
            self.drain.segment = NONE;
            self.counters.drained += 1;
            self.segments.release(segment);
        }
        walked.max(1)
    }

    /// Drops a record or moves it.
    fn deal_with(&mut self, item: Item, hash: FlowHash, now: u32, over: bool) {
        if over || self.is_over(item, now) {
            self.count_over(item);
            self.remove(hash, item);
            return;
        }
        let queue = self.segments.get(item.segment()).queue;
        let frequency = item.header.frequency();
        let (stays, rest) = match queue {
            Queue::Small => (frequency >= self.policy.promote_at, 0),
            Queue::Main => (frequency > 0, frequency >> 1),
        };
        if stays && self.available() >= LEAST_FREE && self.relocate(item, hash, Queue::Main, rest, now) {
            match queue {
                Queue::Small => self.counters.promoted += 1,
                Queue::Main => self.counters.kept += 1,
            }
            return;
        }
        self.counters.evictions += 1;
        self.counters.evicted_unfetched += u64::from(!item.is_fetched());
        self.counters.evicted_nonzero += u64::from(self.expiry(item) != NEVER);
        self.counters.index_evictions += u64::from(self.available() >= self.reserve);
        if self.log.is_on() {
            self.log_eviction(item, now);
        }
        if queue == Queue::Small && self.policy.ghosts {
            self.ghost.remember(hash);
        }
        self.remove(hash, item);
    }

    #[cold]
    fn log_eviction(&mut self, item: Item, now: u32) {
        let expiry = self.expiry(item);
        let ttl = (expiry != NEVER).then(|| expiry.saturating_sub(now));
        let idle = now.saturating_sub(self.last_access(item));
        let start = item.at as usize * 8;
        let key = start + item.header.key_at()..start + item.header.value_at();
        let key = self.data.get(key).unwrap_or(&[]);
        self.log.evicted(key, item.is_fetched(), ttl, idle, item.record_len());
    }

    /// Counts an item that has expired or was flushed.
    pub(super) fn count_over(&mut self, item: Item) {
        if self.segments.get(item.segment()).cas_base < self.flushed {
            self.counters.flushed += 1;
        } else {
            self.counters.expired += 1;
            self.counters.expired_unfetched += u64::from(!item.is_fetched());
        }
    }

    /// Writes a record anew at the end of `queue`, with another count; false when there is no room.
    pub(super) fn relocate(
        &mut self,
        item: Item,
        hash: FlowHash,
        queue: Queue,
        frequency: u8,
        now: u32,
    ) -> bool {
        let expiry = self.expiry(item);
        let header = item.header;
        // A CAS unique that nobody has seen may change.
        let keep_cas = header.has(Bits::CAS_SHOWN) || header.has(Bits::CAS);
        let cas = keep_cas.then(|| self.cas(item));
        let class = class_of(expiry, now);
        let Some(new) = self.copy_record(item, queue, class, expiry, cas, frequency, now) else {
            return false;
        };
        let moved = self.index.replace(hash, item.at, new.at);
        debug_assert!(moved, "a live record is in the index");
        let (_, first, left) = self.own(item);
        self.rehome(first, left, queue);
        self.bury(item, false);
        true
    }

    /// Charges another queue for a large value's own segments.
    pub(super) fn rehome(&mut self, first: u32, own: usize, queue: Queue) {
        let mut index = first;
        for _ in 0..own.div_ceil(SEGMENT) {
            let segment = self.segments.get_mut(index);
            let (old, next) = (core::mem::replace(&mut segment.queue, queue), segment.next);
            self.segments.own[old as usize] -= 1;
            self.segments.own[queue as usize] += 1;
            index = next;
        }
    }
}

const _: () = assert!(INLINE_MAX < SEGMENT);
