//! Writing records.

use freeway_base::FlowHash;

use super::item::Item;
use super::record::{Age, Bits, HEAD_MAX, HEADER, Header, Parts};
use super::segment::{NONE, Queue, SEGMENT};
use super::time::{NEVER, class_of};
use super::{INLINE_MAX, POSITIONS, Store};

/// There is no room: readers hold too much, or the item is larger than what the memory can give.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no room in the cache")]
pub struct NoRoom;

/// Bytes of a value to be stored.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// From outside.
    Bytes(&'a [u8]),
    /// The value of an item that is pinned.
    Item(Item),
}

/// What is to be stored under a key, besides the value.
#[derive(Clone, Copy, Debug)]
pub struct Put<'a> {
    /// The key, at most 250 bytes.
    pub key: &'a [u8],
    /// Its hash.
    pub hash: FlowHash,
    /// Client flags.
    pub flags: u32,
    /// When it expires, in seconds of the store's clock, or [`NEVER`].
    pub expiry: u32,
    /// A CAS unique that the client chose; else the next one.
    pub cas: Option<u64>,
    /// Whether it is stored as invalid already.
    pub stale: bool,
}

/// A record's place and shape, before it is written.
struct Plan {
    key_len: usize,
    inline_len: usize,
    bits: Bits,
    /// The CAS unique.
    cas: u64,
    frequency: u8,
    age: Option<u32>,
}

impl Store {
    /// Stores a value under a key, in place of `old` if there is one. Room has been made
    /// ([`make_room`](Self::make_room)) before `old` was looked for.
    ///
    /// # Errors
    ///
    /// [`NoRoom`], and nothing has changed.
    pub fn put(
        &mut self,
        put: &Put<'_>,
        value: [Source<'_>; 2],
        old: Option<Item>,
        now: u32,
    ) -> Result<Item, NoRoom> {
        let len = value.iter().map(|source| self.source_len(source)).sum();
        if len > INLINE_MAX {
            let mut writer = self.begin(len, now)?;
            for source in value {
                if self.append_source(&mut writer, source, now).is_err() {
                    self.abort(writer);
                    return Err(NoRoom);
                }
            }
            // Room was made while the value was written, and `old` may be gone.
            if !self.make_room(now) {
                self.abort(writer);
                return Err(NoRoom);
            }
            let old = self.find(put.hash, put.key, now);
            return self.commit(put, writer, old, now);
        }
        if let (Some(old), [Source::Bytes(one), Source::Bytes(two)]) = (old, value)
            && let Some(item) = self.overwrite(put, len, old, now)
        {
            self.write_inline(item, 0, one);
            self.write_inline(item, one.len(), two);
            return Ok(item);
        }
        let item = self.append(put, (len, None), old, now)?;
        let mut at = 0;
        for source in value {
            match source {
                Source::Bytes(bytes) => self.write_inline(item, at, bytes),
                Source::Item(from) => self.copy_value(from, 0, item, at, self.value_len(from)),
            }
            at += self.source_len(&source);
        }
        Ok(item)
    }

    pub(super) fn source_len(&self, source: &Source<'_>) -> usize {
        match source {
            Source::Bytes(bytes) => bytes.len(),
            Source::Item(item) => self.value_len(*item),
        }
    }

    /// The header of a value of the same shape as `old`, written over it; `None` when it has another shape, or may not
    /// be written over.
    fn overwrite(&mut self, put: &Put<'_>, len: usize, old: Item, now: u32) -> Option<Item> {
        let bits = Bits::FLAGS
            .when(put.flags != 0)
            .with(Bits::EXPIRY.when(put.expiry != NEVER))
            .with(Bits::CAS.when(old.header.has(Bits::CAS)));
        let parts = Parts {
            key_len: put.key.len() as u8,
            inline_len: len as u16,
            frequency: old.header.frequency(),
            ..Parts::default()
        };
        let header = Header::new(parts, bits);
        let segment = self.segments.get(old.segment());
        let same = !old.header.has(Bits::LARGE)
            && header.record_len() == old.header.record_len()
            && header.key_at() == old.header.key_at()
            && old.split().1 == 0;
        let free = segment.pins == 0
            && segment.state == super::segment::State::Listed
            && segment.class == class_of(put.expiry, now)
            && (put.cas.is_none() || bits.has(Bits::CAS));
        let delta = u16::try_from(self.cas + 1 - segment.cas_base).ok();
        if !same || !free || (delta.is_none() && !bits.has(Bits::CAS)) {
            return None;
        }
        let age = Age::from_secs(now.saturating_sub(segment.opened));
        let header = header
            .with_age(age)
            .with_cas_delta(delta.unwrap_or(0))
            .with_bits(bits.with(Bits::STALE.when(put.stale)));
        let expires = segment.expires.max(put.expiry);
        let cas = put.cas.unwrap_or_else(|| self.next_cas());
        self.segments.get_mut(old.segment()).expires = expires;
        let item = Item { at: old.at, header };
        self.set_header(item.at, header);
        self.set_fields(item, put.expiry, put.flags, cas);
        self.counters.overwritten += 1;
        Some(item)
    }

    fn next_cas(&mut self) -> u64 {
        self.cas += 1;
        self.cas
    }

    /// Writes the optional fields but the one of large values.
    fn set_fields(&mut self, item: Item, expiry: u32, flags: u32, cas: u64) {
        self.set_word(item, item.header.expiry_at(), expiry);
        self.set_word(item, item.header.flags_at(), flags);
        self.set_cas_field(item, cas);
    }

    /// Appends a record without its value, and puts it into the index in the place of `old`. `own` is what a large value
    /// has in segments of its own: the first of them, and the length of the whole.
    pub(super) fn append(
        &mut self,
        put: &Put<'_>,
        (inline_len, own): (usize, Option<(u32, usize)>),
        old: Option<Item>,
        now: u32,
    ) -> Result<Item, NoRoom> {
        let (queue, frequency) = match old {
            Some(old) => (self.segments.get(old.segment()).queue, old.header.frequency()),
            None if self.policy.clock => (Queue::Main, 0),
            None if self.policy.ghosts && self.ghost.recall(put.hash) => {
                self.counters.returned += 1;
                (Queue::Main, 0)
            }
            None => (Queue::Small, 0),
        };
        let cas = put.cas.unwrap_or(self.cas + 1);
        let bits = Bits::FLAGS
            .when(put.flags != 0)
            .with(Bits::EXPIRY.when(put.expiry != NEVER))
            .with(Bits::CAS.when(put.cas.is_some()))
            .with(Bits::LARGE.when(own.is_some()))
            .with(Bits::STALE.when(put.stale));
        let plan = Plan { key_len: put.key.len(), inline_len, bits, cas, frequency, age: None };
        let class = class_of(put.expiry, now);
        let item = self.place(&plan, queue, class, put.expiry, now).ok_or(NoRoom)?;
        if put.cas.is_none() {
            self.next_cas();
        }
        self.set_fields(item, put.expiry, put.flags, cas);
        if let Some((first, total)) = own {
            self.set_word(item, item.header.large_at(), total as u32);
            self.set_word(item, item.header.large_at().map(|at| at + 4), first);
        }
        let key_at = item.at as usize * 8 + item.header.key_at();
        if let Some(place) = self.data.get_mut(key_at..key_at + put.key.len()) {
            place.copy_from_slice(put.key);
        }
        let indexed = match old {
            Some(old) => self.index.replace(put.hash, old.at, item.at),
            None => self.index.insert(put.hash, item.at).is_ok(),
        };
        self.larges += u32::from(own.is_some());
        if !indexed {
            // Room was made in the index; a block of it is full all the same.
            self.bury(item, false);
            return Err(NoRoom);
        }
        if let Some(old) = old {
            self.bury(old, true);
        }
        Ok(item)
    }

    /// Writes a record anew, with its value and with what it has in segments of its own.
    #[expect(clippy::too_many_arguments, reason = "each is another part of the record")]
    pub(super) fn copy_record(
        &mut self,
        from: Item,
        queue: Queue,
        class: u8,
        expiry: u32,
        cas: Option<u64>,
        frequency: u8,
        now: u32,
    ) -> Option<Item> {
        let old = from.header;
        let keep = Bits::STALE.with(Bits::WON).with(Bits::FETCHED).with(Bits::CAS_SHOWN);
        let bits = Bits::FLAGS
            .with(Bits::LARGE)
            .with(keep)
            .and(old.bits())
            .with(Bits::EXPIRY.when(expiry != NEVER))
            .with(Bits::CAS.when(cas.is_some()));
        let seen = self.last_access(from);
        let plan = Plan {
            key_len: old.key_len(),
            inline_len: old.inline_len(),
            bits,
            cas: cas.unwrap_or(self.cas + 1),
            frequency,
            age: Some(seen),
        };
        let flags = self.flags(from);
        let item = self.place(&plan, queue, class, expiry, now)?;
        if cas.is_none() {
            self.next_cas();
        }
        self.set_fields(item, expiry, flags, plan.cas);
        self.larges += u32::from(old.has(Bits::LARGE));
        if let (Some(source), Some(target)) = (old.large_at(), item.header.large_at()) {
            let source = from.at as usize * 8 + source;
            self.data.copy_within(source..source + 8, item.at as usize * 8 + target);
        }
        let key = from.at as usize * 8 + old.key_at();
        self.data.copy_within(key..key + old.key_len(), item.at as usize * 8 + item.header.key_at());
        let own = self.value_len(from) - old.inline_len();
        self.copy_value(from, own, item, own, old.inline_len());
        Some(item)
    }

    /// Takes the room for a record at the end of a log, and writes its header. `None` when there is none; nothing is
    /// evicted for it.
    fn place(&mut self, plan: &Plan, queue: Queue, class: u8, expiry: u32, now: u32) -> Option<Item> {
        if self.available() < 2 {
            return None;
        }
        let mut bits = plan.bits;
        let open = self.segments.open_of(queue, class);
        let base = if open == NONE { plan.cas } else { self.segments.get(open).cas_base };
        if plan.cas < base || plan.cas - base > u64::from(u16::MAX) {
            bits = bits.with(Bits::CAS);
        }
        let parts = Parts {
            key_len: plan.key_len as u8,
            inline_len: plan.inline_len as u16,
            frequency: plan.frequency,
            ..Parts::default()
        };
        let header = Header::new(parts, bits);
        let len = header.record_len();
        let index = match open {
            NONE => self.segments.open(queue, class, now, self.cas)?,
            open if self.segments.get(open).rest() < header.value_at().min(len) => {
                self.segments.seal(open);
                let next = self.segments.open(queue, class, now, self.cas)?;
                self.free_if_empty(open);
                next
            }
            open => open,
        };
        let segment = self.segments.get_mut(index);
        let (start, here) = (segment.used, len.min(segment.rest()));
        segment.used += here as u32;
        segment.live += here as u32;
        segment.expires = segment.expires.max(expiry);
        let delta = if bits.has(Bits::CAS) { 0 } else { (plan.cas - segment.cas_base) as u16 };
        let age = plan.age.unwrap_or(now).saturating_sub(segment.opened);
        if here < len {
            let there = (len - here) as u32;
            let part = self.segments.open(queue, class, now, self.cas)?;
            self.segments.get_mut(index).part = part;
            let segment = self.segments.get_mut(part);
            (segment.used, segment.first, segment.live, segment.expires) = (there, there, there, expiry);
        }
        let header = header.with_age(Age::from_secs(age)).with_cas_delta(delta);
        let item = Item { at: index * POSITIONS + start / 8, header };
        self.set_header(item.at, header);
        Some(item)
    }

    /// Writes bytes into the part of a value that lies in its record, which has no other part.
    fn write_inline(&mut self, item: Item, mut from: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (start, len) = self.extent(item, from);
            let count = len.min(bytes.len());
            if count == 0 {
                return;
            }
            if let Some(place) = self.data.get_mut(start..start + count) {
                place.copy_from_slice(&bytes[..count]);
            }
            bytes = &bytes[count..];
            from += count;
        }
    }

    /// Copies `len` bytes of one value, from byte `from` on, into another at byte `to`.
    pub(super) fn copy_value(&mut self, source: Item, from: usize, target: Item, to: usize, len: usize) {
        let mut done = 0;
        while done < len {
            let (read, readable) = self.extent(source, from + done);
            let (write, writable) = self.extent(target, to + done);
            let count = readable.min(writable).min(len - done);
            if count == 0 {
                return;
            }
            self.data.copy_within(read..read + count, write);
            done += count;
        }
    }

    // ---- changes in place ----

    /// Changes when an item expires. It may have to move for it, within its queue; returns it as it is now.
    ///
    /// # Errors
    ///
    /// [`NoRoom`]: it expires when it did.
    pub fn set_expiry(&mut self, hash: FlowHash, item: Item, expiry: u32, now: u32) -> Result<Item, NoRoom> {
        let segment = self.segments.get(item.segment());
        let class = class_of(expiry, now);
        let stays = match item.header.expiry_at() {
            // It may wait for its segment a little longer than it must, not much longer.
            Some(_) => expiry != NEVER && (class <= segment.class && class > 0 || expiry <= segment.expires),
            None => expiry == NEVER,
        };
        if stays {
            self.set_word(item, item.header.expiry_at(), expiry);
            let (segment, part) = (item.segment(), self.segments.get(item.segment()).part);
            let expires = &mut self.segments.get_mut(segment).expires;
            *expires = (*expires).max(expiry);
            if item.split().1 > 0 {
                let expires = &mut self.segments.get_mut(part).expires;
                *expires = (*expires).max(expiry);
            }
            return Ok(item);
        }
        let queue = self.segments.get(item.segment()).queue;
        let keep_cas = item.header.has(Bits::CAS_SHOWN) || item.header.has(Bits::CAS);
        let cas = keep_cas.then(|| self.cas(item));
        let frequency = item.header.frequency();
        let new = self.copy_record(item, queue, class, expiry, cas, frequency, now).ok_or(NoRoom)?;
        let moved = self.index.replace(hash, item.at, new.at);
        debug_assert!(moved, "a live record is in the index");
        self.bury(item, false);
        Ok(new)
    }

    /// Gives an item another CAS unique. It may have to move for it, within its queue; returns it as it is now.
    ///
    /// # Errors
    ///
    /// [`NoRoom`]: it has the one it had.
    pub fn renew_cas(
        &mut self,
        hash: FlowHash,
        item: Item,
        cas: Option<u64>,
        now: u32,
    ) -> Result<Item, NoRoom> {
        let base = self.segments.get(item.segment()).cas_base;
        let delta = (self.cas + 1).checked_sub(base).and_then(|delta| u16::try_from(delta).ok());
        if item.header.has(Bits::CAS) {
            let cas = cas.unwrap_or_else(|| self.next_cas());
            self.set_cas_field(item, cas);
            return Ok(item);
        }
        if let (None, Some(delta)) = (cas, delta) {
            self.next_cas();
            let header = self.header(item.at).with_cas_delta(delta);
            self.set_header(item.at, header);
            return Ok(Item { at: item.at, header });
        }
        let segment = self.segments.get(item.segment());
        let (queue, class, frequency) = (segment.queue, segment.class, item.header.frequency());
        let cas = cas.unwrap_or_else(|| self.next_cas());
        let expiry = self.expiry(item);
        let new = self.copy_record(item, queue, class, expiry, Some(cas), frequency, now).ok_or(NoRoom)?;
        let moved = self.index.replace(hash, item.at, new.at);
        debug_assert!(moved, "a live record is in the index");
        self.bury(item, false);
        Ok(new)
    }

    /// Writes other digits over a short value of the same length, in place, with another CAS unique; `None` when that
    /// cannot be, and the value must be stored anew: once for every 65,536 uniques that are given out.
    pub fn set_number(&mut self, item: Item, digits: &[u8], cas: Option<u64>) -> Option<Item> {
        let segment = self.segments.get(item.segment());
        let fits = item.header.inline_len() == digits.len()
            && !item.header.has(Bits::LARGE)
            && segment.pins == 0
            && segment.state == super::segment::State::Listed
            && segment.cas_base >= self.flushed;
        let delta = (self.cas + 1).checked_sub(segment.cas_base).and_then(|delta| u16::try_from(delta).ok());
        let has_field = item.header.has(Bits::CAS);
        if !fits || !has_field && (delta.is_none() || cas.is_some()) {
            return None;
        }
        let cas = cas.unwrap_or_else(|| self.next_cas());
        let mut header = self.header(item.at);
        header = header.with_bits(header.bits().without(Bits::STALE.with(Bits::WON)));
        if !has_field {
            header = header.with_cas_delta(delta.unwrap_or(0));
        }
        self.set_header(item.at, header);
        self.set_cas_field(item, cas);
        let item = Item { at: item.at, header };
        self.write_inline(item, 0, digits);
        Some(item)
    }
}

const _: () = assert!(HEAD_MAX <= 512 && HEADER == 8);
// A record's value ends in the segment after the one it begins in.
const _: () = assert!(INLINE_MAX + HEAD_MAX <= SEGMENT);
