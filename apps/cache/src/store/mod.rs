//! One core's items: an index, and a log of records in two queues.
//!
//! ```text
//!            index (a flow table)                       data: segments of 64 KiB
//!   key ──► hash ──► tag + position ──────────┐    small  [....][....][..  ]      a tenth
//!                                             └──► main   [....][....][....][. ]  the rest
//! ```
//!
//! **Storing** appends a record to the open segment of its queue and of its class of time to live, or writes over the
//! record that is there when it is of the same size and shape. A record's value may go on in the next segment of its log,
//! and a value longer than a segment begins in whole segments of its own, so that no size wastes memory.
//!
//! **Expiry** frees whole segments: what is in one expires at about the same time, and the segments of a class expire in
//! order. Until then an expired item is not found, to the second.
//!
//! **Eviction** drains the oldest segment of a queue, a few records at a time and a little ahead of need, in the manner
//! of S3-FIFO (Yang et al., SOSP 2023): what was asked for again while it was in the small queue moves to the main
//! queue, what was not goes and leaves a fingerprint; what comes back while its fingerprint is there goes straight to
//! the main queue; and of the main queue what was asked for moves to its end.
//!
//! **Readers** of long values hold the segments ([`Store::pin`]). A held segment is drained like any other, but
//! its memory is not used again, and nothing in it is written over, until its last reader is gone.
//!
//! **Memory** is one arena, mapped at start: what the limit says holds index, fingerprints and segments together.

mod config;
mod evict;
mod ghost;
mod item;
mod large;
mod put;
mod record;
mod segment;
#[cfg(test)]
mod tests;
mod time;

use freeway_base::{FlowHash, HashKey, short};
use freeway_collections::FlowTable;
use freeway_mem::arch::{prefetch_index, prefetch_lines};
use freeway_mem::{Arena, Array};

use crate::events::EventLog;

pub use config::{Place, Policy, StoreConfig, StoreError};
use evict::Drain;
pub use evict::StoreCounters;
use ghost::Ghost;
pub use item::Item;
pub use large::Writer;
pub use put::{NoRoom, Put, Source};
pub use record::KEY_MAX;
use record::{Bits, HEADER, Header};
pub use segment::SEGMENT;
use segment::{NONE, Queue, Segments};
pub use time::NEVER;

/// Positions in a segment: records begin at multiples of 8 bytes.
const POSITIONS: u32 = (SEGMENT / 8) as u32;
/// Bytes of a value that lie in its record, at most: with any head it ends in the segment after the one it begins in.
pub(crate) const INLINE_MAX: usize = SEGMENT - 512;

/// One core's items.
pub struct Store {
    data: Array<u8>,
    segments: Segments,
    index: FlowTable,
    ghost: Ghost,
    key: HashKey,
    /// The CAS unique given out last.
    cas: u64,
    /// What lies in segments opened before this CAS unique was flushed.
    flushed: u64,
    drain: Drain,
    /// Segments that may be in use.
    segments_max: u32,
    /// Records that hold a value in segments of its own.
    larges: u32,
    /// Segments kept free.
    reserve: u32,
    /// What a key that comes back must have been asked for, and how large the small queue is.
    policy: config::Policy,
    /// What watchers are to see.
    pub(crate) log: EventLog,
    /// What was counted since the start.
    pub counters: StoreCounters,
}

impl Store {
    /// Maps a store's memory.
    ///
    /// # Errors
    ///
    /// A size that makes no sense, or not enough memory.
    pub fn new(config: &StoreConfig, key: HashKey) -> Result<Self, StoreError> {
        let shape = config.shape()?;
        let mut arena = config.arena(&shape)?;
        let index = FlowTable::new(&mut arena, shape.items)?;
        let ghost = Ghost::new(&mut arena, shape.ghosts)?;
        let segments = Segments::new(&mut arena, shape.segments)?;
        let data = Self::data(&mut arena, shape.segments)?;
        Ok(Self {
            data,
            segments,
            index,
            ghost,
            key,
            cas: 0,
            flushed: 0,
            drain: Drain::NONE,
            segments_max: shape.segments,
            larges: 0,
            reserve: shape.reserve,
            policy: config.policy,
            log: EventLog::new(),
            counters: StoreCounters::default(),
        })
    }

    fn data(arena: &mut Arena, segments: u32) -> Result<Array<u8>, StoreError> {
        // The arena is faulted in and zero already; `init` writes it once more, at start.
        Ok(arena.array("cache data", segments as usize * SEGMENT, |_| 0_u8)?)
    }

    // ---- finding ----

    /// The hash under which a key lies; its upper half may choose the core.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> FlowHash {
        FlowHash(self.key.hash(key))
    }

    /// Asks for the index's line of a key that will be looked for soon.
    #[inline]
    pub fn prefetch(&self, hash: FlowHash) {
        self.index.prefetch(hash);
    }

    /// Asks for the record that a key probably has, once its line of the index is there.
    #[inline]
    pub fn prefetch_item(&self, hash: FlowHash) {
        if let Some(at) = self.index.first_candidate(hash) {
            prefetch_lines(&self.data, at as usize * 8, 2);
        }
    }

    /// The item under a key, unless it has expired or was flushed. The handle is good until the store changes.
    #[inline]
    pub fn find(&mut self, hash: FlowHash, key: &[u8], now: u32) -> Option<Item> {
        let data = &*self.data;
        let at = self.index.find(hash, |at| is_key(data, at, key))?;
        let item = self.item(at);
        if self.is_over(item, now) {
            self.count_over(item);
            self.remove(hash, item);
            return None;
        }
        Some(item)
    }

    /// Whether an item has expired or was flushed.
    #[inline]
    fn is_over(&self, item: Item, now: u32) -> bool {
        self.expiry(item) <= now || self.segments.get(item.segment()).cas_base < self.flushed
    }

    /// The record at a position.
    #[inline]
    fn item(&self, at: u32) -> Item {
        Item { at, header: self.header(at) }
    }

    #[inline]
    fn header(&self, at: u32) -> Header {
        let bytes = self.data.get(at as usize * 8..).and_then(<[u8]>::first_chunk::<HEADER>);
        Header::from_bytes(*bytes.unwrap_or(&[0; HEADER]))
    }

    #[inline]
    fn set_header(&mut self, at: u32, header: Header) {
        if let Some(place) = self.data.get_mut(at as usize * 8..).and_then(<[u8]>::first_chunk_mut::<HEADER>)
        {
            *place = header.to_bytes();
        }
    }

    /// Notes that an item was asked for.
    #[inline]
    pub fn hit(&mut self, item: Item, now: u32) {
        let mut header = self.header(item.at);
        header = header.with_bits(header.bits().with(Bits::FETCHED));
        if header.frequency() < record::FREQUENCY_MAX {
            header = header.with_frequency(header.frequency() + 1);
        }
        let opened = self.segments.get(item.segment()).opened;
        header = header.with_age(record::Age::from_secs(now.saturating_sub(opened)));
        // A line that is as it was stays clean.
        if header != item.header {
            self.set_header(item.at, header);
        }
    }

    // ---- removing ----

    /// Takes an item out of the store.
    pub fn remove(&mut self, hash: FlowHash, item: Item) {
        self.index.remove(hash, item.at);
        self.bury(item, true);
    }

    /// Makes a record that is out of the index dead space. Its large value's own segments go too, unless another
    /// record has them now.
    fn bury(&mut self, item: Item, with_own: bool) {
        let header = self.header(item.at);
        self.set_header(item.at, header.with_bits(header.bits().with(Bits::DEAD)));
        if header.has(Bits::LARGE) {
            self.larges -= 1;
            if with_own {
                self.release_own(item);
            }
        }
        let (here, there) = item.split();
        let segment = item.segment();
        let part = self.segments.get(segment).part;
        self.segments.get_mut(segment).live -= here as u32;
        if there > 0 {
            self.segments.get_mut(part).live -= there as u32;
            self.free_if_empty(part);
        }
        self.free_if_empty(segment);
    }

    /// Frees a segment in which nothing lives and nothing is written any more.
    fn free_if_empty(&mut self, index: u32) {
        let segment = self.segments.get(index);
        let (queue, class) = (segment.queue, segment.class);
        if segment.live == 0
            && segment.state == segment::State::Listed
            && self.segments.open_of(queue, class) != index
        {
            self.segments.begin_drain(index);
            self.segments.release(index);
        }
    }

    /// Makes everything that is stored now over. What it takes is given back bit by bit.
    pub fn flush(&mut self) {
        self.segments.seal_all();
        self.cas += 1;
        self.flushed = self.cas;
    }

    // ---- readers ----

    /// Holds an item's value for a reader: its memory is not used for anything else until [`unpin`](Self::unpin).
    pub fn pin(&mut self, item: Item) {
        self.for_each_segment(item, Segments::pin);
    }

    /// Gives up a hold. `item` is the handle that was pinned.
    pub fn unpin(&mut self, item: Item) {
        self.for_each_segment(item, Segments::unpin);
    }

    fn for_each_segment(&mut self, item: Item, act: fn(&mut Segments, u32)) {
        let (_, there) = item.split();
        let part = self.segments.get(item.segment()).part;
        let (_, first, mut left) = self.own(item);
        let mut index = first;
        while left > 0 {
            let next = self.segments.get(index).next;
            act(&mut self.segments, index);
            left = left.saturating_sub(SEGMENT);
            index = next;
        }
        if there > 0 {
            act(&mut self.segments, part);
        }
        act(&mut self.segments, item.segment());
    }

    /// Whether readers hold as much as they may, a quarter of the memory.
    pub fn pinned_out(&self) -> bool {
        self.segments.pinned >= self.segments_max / 4
    }

    /// Segments that readers hold.
    pub fn pinned(&self) -> u32 {
        self.segments.pinned
    }

    // ---- how full it is ----

    /// Items in the store, some of which may have expired.
    pub fn len(&self) -> u32 {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Items that there is room for in the index.
    pub fn items_max(&self) -> u32 {
        self.index.capacity()
    }

    /// Bytes of segments in use, and the most that may be.
    pub fn bytes(&self) -> (u64, u64) {
        let used = self.segments.count() - self.segments.free();
        (u64::from(used) * SEGMENT as u64, u64::from(self.segments_max) * SEGMENT as u64)
    }

    /// Bytes of all segments, whatever the limit.
    pub fn bytes_mapped(&self) -> u64 {
        u64::from(self.segments.count()) * SEGMENT as u64
    }

    /// The next item at or behind a place, which moves behind it; `None` at the end. A walk meets every item that stays
    /// where it is, and may meet one twice that moves.
    pub fn walk(&self, segment: &mut u32, offset: &mut u32) -> Option<Item> {
        while *segment < self.segments.count() {
            let at = self.segments.get(*segment);
            let has_items = matches!(at.state, segment::State::Listed | segment::State::Draining);
            *offset = (*offset).max(at.first);
            while has_items && *offset < at.used {
                let item = self.item(*segment * POSITIONS + *offset / 8);
                *offset += item.header.record_len() as u32;
                if !item.header.has(Bits::DEAD) && at.cas_base >= self.flushed {
                    return Some(item);
                }
            }
            (*segment, *offset) = (*segment + 1, 0);
        }
        None
    }

    /// Changes how many bytes of segments may be in use: at most what was mapped, at least what the reserve needs. Returns
    /// what it is now. What is too much goes bit by bit.
    pub fn set_bytes_max(&mut self, bytes: u64) -> u64 {
        let segments = u32::try_from(bytes / SEGMENT as u64).unwrap_or(u32::MAX);
        let least = (4 * self.reserve).min(self.segments.count());
        self.segments_max = segments.clamp(least, self.segments.count());
        u64::from(self.segments_max) * SEGMENT as u64
    }

    /// The CAS unique given out last.
    pub fn last_cas(&self) -> u64 {
        self.cas
    }

    /// Asks for a bucket of fingerprints that a store of a new key will look at.
    #[inline]
    pub fn prefetch_for_put(&self, hash: FlowHash) {
        self.ghost.prefetch(hash);
        // Where the next record will be written.
        let open = self.segments.open_of(Queue::Small, 0);
        if open != NONE {
            prefetch_index(&self.data, open as usize * SEGMENT + self.segments.get(open).used as usize);
        }
    }
}

/// Whether the record at `at` has this key.
#[inline]
fn is_key(data: &[u8], at: u32, key: &[u8]) -> bool {
    let start = at as usize * 8;
    let Some(record) = data.get(start..) else { return false };
    let Some(&bytes) = record.first_chunk::<HEADER>() else { return false };
    let header = Header::from_bytes(bytes);
    header.key_len() == key.len()
        && record.get(header.key_at()..header.value_at()).is_some_and(|own| short::equal(own, key))
}
