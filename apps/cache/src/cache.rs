//! memcached's semantics over a store, without a protocol: what each command does, and what it counts.

use freeway_base::{FlowHash, HashKey};
use freeway_memcache::stored_number;

use crate::clock::Clock;
use crate::store::{Item, NoRoom, Put, Source, Store, StoreConfig, StoreError, Writer};

/// What an item takes beside key and value where limits are checked: what it would at memcached, so that the same sizes
/// are too large.
const ITEM_OVERHEAD: usize = 59;
/// Digits of the largest number, and as many blanks as ever stand behind one.
const NUMBER_MAX: usize = 24;

freeway_base::counters! {
    /// What the commands did.
    pub struct CacheCounters {
        /// Keys looked for.
        cmd_get,
        /// Values brought.
        cmd_set,
        /// Flushes.
        cmd_flush,
        /// Times to live changed, with or without a value fetched.
        cmd_touch,
        /// Commands of the meta protocol.
        cmd_meta,
        /// Keys found.
        get_hits,
        /// Keys not found.
        get_misses,
        /// Deletions of what was there.
        delete_hits,
        /// Deletions of what was not.
        delete_misses,
        /// Numbers raised.
        incr_hits,
        /// Numbers to be raised that were not there.
        incr_misses,
        /// Numbers lowered.
        decr_hits,
        /// Numbers to be lowered that were not there.
        decr_misses,
        /// Values compared and stored.
        cas_hits,
        /// Values to be compared with what was not there.
        cas_misses,
        /// Values compared with another version.
        cas_badval,
        /// Times to live changed.
        touch_hits,
        /// Times to live to be changed of what was not there.
        touch_misses,
        /// Values that were too large.
        store_too_large,
        /// Values that found no memory.
        store_no_memory,
        /// Items stored, ever.
        total_items,
    }
}

/// How a value is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Whatever is there.
    Set,
    /// Only if nothing is there.
    Add,
    /// Only if something is there.
    Replace,
    /// Behind what is there.
    Append,
    /// Before what is there.
    Prepend,
}

/// What to store, but for the key and the value.
#[derive(Clone, Copy, Debug)]
pub struct StoreRequest {
    /// How.
    pub mode: Mode,
    /// Client flags.
    pub flags: u32,
    /// Time to live as the client said it.
    pub exptime: i32,
    /// Only over the item with this CAS unique.
    pub compare: Option<u64>,
    /// The CAS unique that it shall have.
    pub new_cas: Option<u64>,
    /// A value with an older unique than the item's is stored as stale.
    pub invalidate: bool,
    /// Append and prepend make an item that is not there, with this time to live.
    pub vivify: Option<i32>,
}

/// A value to store.
#[derive(Debug)]
pub enum Value<'a> {
    /// Its bytes.
    Bytes(&'a [u8]),
    /// One that arrived piece by piece.
    Written(Writer),
}

impl Value<'_> {
    const fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Written(writer) => writer.written(),
        }
    }
}

impl StoreRequest {
    /// What a watcher reads.
    const fn name(&self) -> &'static str {
        match (self.mode, self.compare) {
            (Mode::Set, None) => "set",
            (Mode::Set | Mode::Replace, Some(_)) => "cas",
            (Mode::Add, _) => "add",
            (Mode::Replace, None) => "replace",
            (Mode::Append, _) => "append",
            (Mode::Prepend, _) => "prepend",
        }
    }
}

impl Stored {
    /// What a watcher reads.
    const fn name(&self) -> &'static str {
        match self {
            Self::Stored(_) => "stored",
            Self::NotStored => "not_stored",
            Self::Exists => "exists",
            Self::NotFound => "not_found",
            Self::TooLarge => "too_large",
            Self::NoMemory => "no_memory",
        }
    }
}

/// How storing went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stored {
    /// It is stored, as this item.
    Stored(Item),
    /// The mode's condition did not hold.
    NotStored,
    /// The item has another CAS unique.
    Exists,
    /// There is nothing to compare with.
    NotFound,
    /// It is larger than an item may be.
    TooLarge,
    /// There is no memory for it.
    NoMemory,
}

/// What to do to a number.
#[derive(Clone, Copy, Debug)]
pub struct Count {
    /// By how much.
    pub delta: u64,
    /// Down rather than up.
    pub decrement: bool,
    /// Only the item with this CAS unique.
    pub compare: Option<u64>,
    /// The CAS unique that it shall have.
    pub new_cas: Option<u64>,
}

/// How counting went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// The new number and its item.
    Number(u64, Item),
    /// There is no such item.
    NotFound,
    /// It is no number.
    NonNumeric,
    /// The item has another CAS unique.
    Exists,
    /// There is no memory for the new number.
    NoMemory,
}

/// How a deletion went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deleted {
    /// It is gone, or marked.
    Done,
    /// There is no such item.
    NotFound,
    /// The item has another CAS unique.
    Exists,
    /// There is no memory for what is to stay of it.
    NoMemory,
}

/// Who is to bring a new value of an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lease {
    /// Who asks now.
    pub won: bool,
    /// The value is stale.
    pub stale: bool,
    /// Somebody else.
    pub sent: bool,
}

/// One core's cache.
pub struct Cache {
    /// The items.
    pub store: Store,
    /// What time it is.
    pub clock: Clock,
    /// What was counted.
    pub counters: CacheCounters,
    item_max: usize,
    /// When everything is to be flushed.
    flush_at: Option<u32>,
}

impl Cache {
    /// A cache whose store is mapped now.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn new(config: &StoreConfig, key: HashKey, clock: Clock) -> Result<Self, StoreError> {
        let store = Store::new(config, key)?;
        Ok(Self {
            store,
            clock,
            counters: CacheCounters::default(),
            item_max: config.item_max,
            flush_at: None,
        })
    }

    /// The largest item in bytes, its overhead included.
    pub const fn item_max(&self) -> usize {
        self.item_max
    }

    /// Whether an item with a key and a value of these lengths is too large.
    #[inline]
    pub const fn is_too_large(&self, key: usize, value: usize) -> bool {
        ITEM_OVERHEAD + key + value > self.item_max
    }

    /// Does what is due by the clock, and looks at `budget` records that have expired, were flushed or must go.
    pub fn maintain(&mut self, budget: usize) {
        let now = self.clock.now();
        if self.flush_at.is_some_and(|at| at <= now) {
            self.flush_at = None;
            self.store.flush();
        }
        if self.store.has_work(now) {
            self.store.maintain(now, budget);
        }
    }

    /// Flushes now, or later.
    pub fn flush(&mut self, delay: i32) {
        self.counters.cmd_flush += 1;
        match delay {
            ..=0 => {
                self.flush_at = None;
                self.store.flush();
            }
            delay => self.flush_at = Some(self.clock.expiry(delay)),
        }
    }

    // ---- fetching ----

    /// Looks for an item on behalf of a client who wants its value.
    #[inline]
    pub fn fetch(&mut self, hash: FlowHash, key: &[u8]) -> Option<Item> {
        let found = self.look(hash, key);
        match found {
            Some(item) => self.hit(item),
            None => {
                self.counters.cmd_get += 1;
                self.counters.get_misses += 1;
            }
        }
        if self.store.log.is_on() {
            let size = found.map(|item| self.store.value_len(item));
            self.store.log.fetched(key, size);
        }
        found
    }

    /// Notes that a client gets the value of an item.
    #[inline]
    pub fn hit(&mut self, item: Item) {
        self.counters.cmd_get += 1;
        self.counters.get_hits += 1;
        self.store.hit(item, self.clock.now());
    }

    /// Looks for an item and counts nothing.
    #[inline]
    pub fn look(&mut self, hash: FlowHash, key: &[u8]) -> Option<Item> {
        self.store.find(hash, key, self.clock.now())
    }

    /// Gives an item another time to live; returns it as it is now.
    pub fn touch(&mut self, hash: FlowHash, key: &[u8], exptime: i32) -> Option<Item> {
        let now = self.clock.now();
        self.counters.cmd_touch += 1;
        let room = self.store.make_room(now);
        let Some(item) = self.store.find(hash, key, now) else {
            self.counters.touch_misses += 1;
            return None;
        };
        self.counters.touch_hits += 1;
        let expiry = self.clock.expiry(exptime);
        if !room {
            return Some(item);
        }
        Some(self.store.set_expiry(hash, item, expiry, now).unwrap_or(item))
    }

    /// Makes an empty item for the one who has won the right to fill it.
    pub fn vivify(
        &mut self,
        hash: FlowHash,
        key: &[u8],
        exptime: i32,
        cas: Option<u64>,
    ) -> Result<Item, NoRoom> {
        let now = self.clock.now();
        if !self.store.make_room(now) {
            return Err(NoRoom);
        }
        let put = Put { key, hash, flags: 0, expiry: self.clock.expiry(exptime), cas, stale: false };
        let item = self.store.put(&put, [Source::Bytes(b""), Source::Bytes(b"")], None, now)?;
        self.counters.total_items += 1;
        Ok(item)
    }

    /// Who is to bring a new value of this item, whose asker has `won` already if it has just made it: the first to see
    /// it stale, or with less than `recache` seconds to live.
    pub fn lease(&mut self, item: Item, recache: Option<i32>, mut won: bool) -> Lease {
        let (stale, sent) = (item.is_stale(), item.is_won());
        let left = self.clock.left(self.store.expiry(item));
        if let (Some(recache), Some(left)) = (recache, left) {
            won |= !sent && i64::from(left) < i64::from(recache);
        }
        won |= stale && !sent;
        if won && !sent {
            self.store.mark_won(item);
        }
        Lease { won, stale, sent }
    }

    // ---- storing ----

    /// Begins a value that arrives piece by piece.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn begin(&mut self, len: usize) -> Result<Writer, NoRoom> {
        self.store.begin(len, self.clock.now())
    }

    /// Stores a value, if the request's conditions hold.
    pub fn store(&mut self, hash: FlowHash, key: &[u8], request: &StoreRequest, value: Value<'_>) -> Stored {
        let len = value.len();
        let stored = self.store_checked(hash, key, request, value);
        if self.store.log.is_on() {
            let ttl = self.clock.left(self.clock.expiry(request.exptime));
            self.store.log.stored(key, stored.name(), request.name(), ttl, len);
        }
        stored
    }

    fn store_checked(
        &mut self,
        hash: FlowHash,
        key: &[u8],
        request: &StoreRequest,
        value: Value<'_>,
    ) -> Stored {
        self.counters.cmd_set += 1;
        let now = self.clock.now();
        let len = value.len();
        if self.is_too_large(key.len(), len) {
            self.give_up(value);
            return self.too_large(hash, key, request.mode);
        }
        // Before anything is looked for: making room may take it away.
        let room = self.store.make_room(now);
        let old = self.store.find(hash, key, now);
        let stale = match self.check(request, old) {
            Ok(stale) => stale,
            Err(why) => {
                self.give_up(value);
                return why;
            }
        };
        if !room {
            self.give_up(value);
            return self.no_memory(hash, old, request.mode);
        }
        let joins = old.filter(|_| matches!(request.mode, Mode::Append | Mode::Prepend));
        let stored = match joins {
            Some(old) => self.join(hash, key, request, value, old),
            None => self.put(hash, key, request, value, old, stale),
        };
        match stored {
            Ok(item) => {
                self.counters.total_items += 1;
                Stored::Stored(item)
            }
            Err(NoRoom) => self.no_memory(hash, None, request.mode),
        }
    }

    /// Whether the conditions hold: then whether the value is stored as stale.
    fn check(&mut self, request: &StoreRequest, old: Option<Item>) -> Result<bool, Stored> {
        let Some(old) = old else {
            return match (request.mode, request.compare) {
                (Mode::Set | Mode::Replace, Some(_)) => {
                    self.counters.cas_misses += 1;
                    Err(Stored::NotFound)
                }
                (Mode::Set | Mode::Add, _) => Ok(false),
                (Mode::Append | Mode::Prepend, _) if request.vivify.is_some() => Ok(false),
                _ => Err(Stored::NotStored),
            };
        };
        if request.mode == Mode::Add {
            // Who adds what is there has at least shown that it is in use.
            self.store.hit(old, self.clock.now());
            return Err(Stored::NotStored);
        }
        let Some(unique) = request.compare else { return Ok(false) };
        let own = self.store.cas(old);
        let replaces = matches!(request.mode, Mode::Set | Mode::Replace);
        if unique == own {
            self.counters.cas_hits += u64::from(replaces);
            Ok(false)
        } else if replaces && request.invalidate && unique < own {
            Ok(true)
        } else {
            self.counters.cas_badval += u64::from(replaces);
            Err(Stored::Exists)
        }
    }

    fn put(
        &mut self,
        hash: FlowHash,
        key: &[u8],
        request: &StoreRequest,
        value: Value<'_>,
        old: Option<Item>,
        stale: bool,
    ) -> Result<Item, NoRoom> {
        let now = self.clock.now();
        let won = stale && old.is_some_and(Item::is_won);
        let expiry = match old {
            // A stale value lives as long as what it replaces.
            Some(old) if stale => self.store.expiry(old),
            None if matches!(request.mode, Mode::Append | Mode::Prepend) => {
                self.clock.expiry(request.vivify.unwrap_or(0))
            }
            _ => self.clock.expiry(request.exptime),
        };
        let put = Put { key, hash, flags: request.flags, expiry, cas: request.new_cas, stale };
        let item = match value {
            Value::Bytes(bytes) => {
                self.store.put(&put, [Source::Bytes(bytes), Source::Bytes(b"")], old, now)?
            }
            Value::Written(writer) => self.store.commit(&put, writer, old, now)?,
        };
        if won {
            self.store.mark_won(item);
        }
        Ok(item)
    }

    /// Appends to `old` or prepends.
    fn join(
        &mut self,
        hash: FlowHash,
        key: &[u8],
        request: &StoreRequest,
        value: Value<'_>,
        old: Item,
    ) -> Result<Item, NoRoom> {
        let now = self.clock.now();
        let (flags, expiry) = (self.store.flags(old), self.store.expiry(old));
        let put = Put { key, hash, flags, expiry, cas: request.new_cas, stale: false };
        self.store.pin(old);
        let before = request.mode == Mode::Prepend;
        let result = match value {
            Value::Bytes(bytes) => {
                let (own, new) = (Source::Item(old), Source::Bytes(bytes));
                let parts = if before { [new, own] } else { [own, new] };
                if self.is_too_large(key.len(), bytes.len() + self.store.value_len(old)) {
                    Err(NoRoom)
                } else {
                    self.store.put(&put, parts, Some(old), now)
                }
            }
            Value::Written(writer) => self.store.join_written(&put, writer, old, before, self.item_max, now),
        };
        self.store.unpin(self.store.pinned_item(old.number()));
        result
    }

    fn give_up(&mut self, value: Value<'_>) {
        if let Value::Written(writer) = value {
            self.store.abort(writer);
        }
    }

    /// A value that is too large. What it was to replace is gone: it would be out of date.
    pub fn too_large(&mut self, hash: FlowHash, key: &[u8], mode: Mode) -> Stored {
        self.counters.store_too_large += 1;
        let old = self.store.find(hash, key, self.clock.now());
        self.forget(hash, old, mode);
        Stored::TooLarge
    }

    /// A value that cannot be taken.
    pub fn refuse(&mut self, hash: FlowHash, key: &[u8], mode: Mode) -> Stored {
        let old = self.store.find(hash, key, self.clock.now());
        self.no_memory(hash, old, mode)
    }

    /// Whether time brings nothing: there is no item, and nothing is to be flushed or given back.
    pub fn is_idle(&self) -> bool {
        self.store.is_empty() && self.flush_at.is_none() && self.store.bytes().0 == 0
    }

    fn no_memory(&mut self, hash: FlowHash, old: Option<Item>, mode: Mode) -> Stored {
        self.counters.store_no_memory += 1;
        self.forget(hash, old, mode);
        match mode {
            Mode::Append | Mode::Prepend => Stored::NotStored,
            _ => Stored::NoMemory,
        }
    }

    fn forget(&mut self, hash: FlowHash, old: Option<Item>, mode: Mode) {
        if let (Some(old), Mode::Set) = (old, mode) {
            self.store.remove(hash, old);
        }
    }

    // ---- numbers ----

    /// Counts up, wrapping at 64 bits, or down to 0.
    pub fn count(&mut self, hash: FlowHash, key: &[u8], count: &Count) -> Counted {
        let now = self.clock.now();
        let room = self.store.make_room(now);
        let Some(item) = self.store.find(hash, key, now) else {
            let misses =
                if count.decrement { &mut self.counters.decr_misses } else { &mut self.counters.incr_misses };
            *misses += 1;
            return Counted::NotFound;
        };
        let mut text = [b' '; NUMBER_MAX];
        let len = self.store.value_len(item);
        let Some(digits) = text.get_mut(..len).filter(|digits| !digits.is_empty()) else {
            return Counted::NonNumeric;
        };
        self.store.read(item, 0, digits);
        let Some(number) = stored_number(digits) else { return Counted::NonNumeric };
        if count.compare.is_some_and(|unique| unique != self.store.cas(item)) {
            return Counted::Exists;
        }
        let hits = if count.decrement { &mut self.counters.decr_hits } else { &mut self.counters.incr_hits };
        *hits += 1;
        let number = match count.decrement {
            true => number.saturating_sub(count.delta),
            false => number.wrapping_add(count.delta),
        };
        self.store.hit(item, now);
        text = [b' '; NUMBER_MAX];
        let written = write_number(&mut text, number);
        // A shorter number is followed by blanks, as it always was.
        let len = len.max(written);
        let Some(digits) = text.get(..len) else { return Counted::NonNumeric };
        if let Some(item) = self.store.set_number(item, digits, count.new_cas) {
            return Counted::Number(number, item);
        }
        if !room {
            return Counted::NoMemory;
        }
        let (flags, expiry) = (self.store.flags(item), self.store.expiry(item));
        let put = Put { key, hash, flags, expiry, cas: count.new_cas, stale: false };
        match self.store.put(&put, [Source::Bytes(digits), Source::Bytes(b"")], Some(item), now) {
            Ok(item) => Counted::Number(number, item),
            Err(NoRoom) => Counted::NoMemory,
        }
    }

    /// Makes an item of a number for who counts what is not there.
    pub fn begin_count(
        &mut self,
        hash: FlowHash,
        key: &[u8],
        number: u64,
        exptime: i32,
        cas: Option<u64>,
    ) -> Stored {
        let mut text = [b' '; NUMBER_MAX];
        let len = write_number(&mut text, number);
        let request = StoreRequest {
            mode: Mode::Add,
            flags: 0,
            exptime,
            compare: None,
            new_cas: cas,
            invalidate: false,
            vivify: None,
        };
        let stored = self.store(hash, key, &request, Value::Bytes(text.get(..len).unwrap_or(b"0")));
        // It was no client's value.
        self.counters.cmd_set -= 1;
        stored
    }

    // ---- deleting ----

    /// Deletes an item, if it has the CAS unique asked for.
    pub fn delete(&mut self, hash: FlowHash, key: &[u8], compare: Option<u64>) -> Deleted {
        let Some(item) = self.look(hash, key) else {
            self.counters.delete_misses += 1;
            return Deleted::NotFound;
        };
        if compare.is_some_and(|unique| unique != self.store.cas(item)) {
            return Deleted::Exists;
        }
        self.counters.delete_hits += 1;
        if self.store.log.is_on() {
            let size = self.store.value_len(item);
            self.store.log.deleted(key, size);
        }
        self.store.remove(hash, item);
        Deleted::Done
    }

    /// Marks an item as stale, or takes its value, or both; it stays.
    pub fn tombstone(&mut self, hash: FlowHash, key: &[u8], tombstone: &Tombstone) -> Deleted {
        let now = self.clock.now();
        let room = self.store.make_room(now);
        let Some(mut item) = self.store.find(hash, key, now) else {
            self.counters.delete_misses += 1;
            return Deleted::NotFound;
        };
        if tombstone.compare.is_some_and(|unique| unique != self.store.cas(item)) {
            return Deleted::Exists;
        }
        if !room {
            return Deleted::NoMemory;
        }
        self.counters.delete_hits += 1;
        let expiry = match tombstone.exptime {
            Some(exptime) => self.clock.expiry(exptime),
            // What is left without its value is an item of its own, and lives for ever unless said.
            None if tombstone.remove_value => self.clock.expiry(0),
            None => self.store.expiry(item),
        };
        if tombstone.remove_value {
            let flags = tombstone.flags;
            let kept = (!tombstone.stale).then(|| self.store.cas(item));
            let cas = tombstone.new_cas.or(kept);
            let put = Put { key, hash, flags, expiry, cas, stale: tombstone.stale };
            let empty = [Source::Bytes(b""), Source::Bytes(b"")];
            return match self.store.put(&put, empty, Some(item), now) {
                Ok(_) => Deleted::Done,
                Err(NoRoom) => Deleted::NoMemory,
            };
        }
        if tombstone.exptime.is_some() {
            item = self.store.set_expiry(hash, item, expiry, now).unwrap_or(item);
        }
        match self.store.renew_cas(hash, item, tombstone.new_cas, now) {
            Ok(item) => {
                self.store.mark_stale(item);
                Deleted::Done
            }
            Err(NoRoom) => Deleted::NoMemory,
        }
    }
}

/// What is to stay of an item that is deleted.
#[derive(Clone, Copy, Debug)]
pub struct Tombstone {
    /// Only the item with this CAS unique.
    pub compare: Option<u64>,
    /// The CAS unique that it shall have.
    pub new_cas: Option<u64>,
    /// It is marked as stale.
    pub stale: bool,
    /// Its time to live.
    pub exptime: Option<i32>,
    /// Its value and flags go.
    pub remove_value: bool,
    /// Its flags, when its value goes.
    pub flags: u32,
}

/// Writes a number in decimal at the beginning; returns its length.
fn write_number(text: &mut [u8; NUMBER_MAX], number: u64) -> usize {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(number).as_bytes();
    if let Some(place) = text.get_mut(..digits.len()) {
        place.copy_from_slice(digits);
    }
    digits.len()
}
