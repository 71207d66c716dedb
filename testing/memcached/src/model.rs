//! A map and a clock: what memcached does, without memory limits.

use std::collections::HashMap;

use freeway_memcache::stored_number;
use freeway_memcache::text::Verb;

use crate::item::Item;

/// The second the model's clock begins at, as a Unix time.
const START: u64 = 1_700_000_000;

/// A time to live above this is a Unix time.
const RELATIVE_MAX: i32 = 60 * 60 * 24 * 30;

/// All items of a cache.
#[derive(Clone, Debug)]
pub struct Model {
    items: HashMap<Vec<u8>, Item>,
    now: u64,
    unique: u64,
    flush_at: Option<u64>,
    /// Bytes of a value at most.
    pub(crate) item_max: u32,
}

/// How a value was stored, or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stored {
    /// With this CAS unique, and this many bytes in all.
    Done(u64, u32),
    /// The verb's condition did not hold.
    NotStored,
    /// The item has another CAS unique.
    Exists,
    /// cas did not find the item.
    NotFound,
}

/// What an append, prepend or cas may do besides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StoreRules {
    /// Append and prepend: only to the item with this CAS unique.
    pub compare: Option<u64>,
    /// The CAS unique to give.
    pub new_cas: Option<u64>,
    /// cas: a unique below the item's stores a stale value.
    pub invalidate: bool,
    /// Append and prepend: make the item.
    pub vivify: bool,
}

impl Default for Model {
    fn default() -> Self {
        Self { items: HashMap::new(), now: START, unique: 0, flush_at: None, item_max: 1 << 20 }
    }
}

impl Model {
    /// A cache that refuses values over `item_max` bytes.
    pub fn with_item_max(item_max: u32) -> Self {
        Self { item_max, ..Self::default() }
    }

    /// The clock, a Unix time.
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// Time goes by.
    pub fn advance(&mut self, seconds: u64) {
        self.now += seconds;
        if self.flush_at.is_some_and(|at| at <= self.now) {
            self.flush_at = None;
            self.items.clear();
        }
        let now = self.now;
        self.items.retain(|_, item| item.deadline.is_none_or(|deadline| deadline > now));
    }

    /// The next CAS unique.
    pub const fn unique(&mut self) -> u64 {
        self.unique += 1;
        self.unique
    }

    /// When a time to live ends; now for one that has.
    pub fn deadline(&self, exptime: i32) -> Option<u64> {
        match exptime {
            0 => None,
            ..0 => Some(self.now),
            1..=RELATIVE_MAX => Some(self.now + u64::from(exptime.unsigned_abs())),
            _ => Some(u64::from(exptime.unsigned_abs()).max(self.now)),
        }
    }

    /// An item that is there and alive.
    pub fn get(&mut self, key: &[u8]) -> Option<&mut Item> {
        let now = self.now;
        let alive =
            self.items.get(key).is_some_and(|item| item.deadline.is_none_or(|deadline| deadline > now));
        if !alive {
            self.items.remove(key);
        }
        self.items.get_mut(key)
    }

    /// As [`get`](Self::get), and it counts as an access.
    pub fn fetch(&mut self, key: &[u8]) -> Option<Item> {
        let now = self.now;
        let item = self.get(key)?;
        let before = item.clone();
        item.fetched = true;
        item.accessed = now;
        Some(before)
    }

    /// Puts an item, whatever is there.
    pub fn put(&mut self, key: &[u8], item: Item) {
        self.items.insert(key.to_vec(), Item { accessed: self.now, ..item });
    }

    /// Removes an item; whether it was there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.get(key).is_some() && self.items.remove(key).is_some()
    }

    /// All items go: at once, or later.
    pub fn flush(&mut self, delay: i32) {
        match self.deadline(delay) {
            Some(at) if at > self.now => self.flush_at = Some(at),
            _ => self.items.clear(),
        }
    }

    /// Stores a value as `verb` says. `item` has value, flags, deadline and the key's form.
    pub fn store(&mut self, verb: Verb, key: &[u8], item: Item, rules: StoreRules) -> Stored {
        let old = self.get(key).cloned();
        let unique = |model: &mut Self| rules.new_cas.unwrap_or_else(|| model.unique());
        let compared = |old: &Item| rules.compare.is_none_or(|compare| compare == old.cas);
        let new = match (verb, old) {
            (Verb::Set, _) | (Verb::Add, None) | (Verb::Replace, Some(_)) => item,
            (Verb::Add, Some(_)) => {
                // It counts as an access.
                self.fetch(key);
                return Stored::NotStored;
            }
            (Verb::Replace, None) => return Stored::NotStored,
            (Verb::Cas(_), None) => return Stored::NotFound,
            (Verb::Cas(cas), Some(old)) if cas == old.cas => item,
            (Verb::Cas(cas), Some(old)) if rules.invalidate && cas < old.cas => {
                Item { stale: true, won: old.won, deadline: old.deadline, ..item }
            }
            (Verb::Cas(_), Some(_)) => return Stored::Exists,
            (Verb::Append | Verb::Prepend, None) if rules.vivify => item,
            (Verb::Append | Verb::Prepend, None) => return Stored::NotStored,
            (Verb::Append | Verb::Prepend, Some(old)) if !compared(&old) => return Stored::Exists,
            (Verb::Append, Some(old)) => Item { value: [&*old.value, &*item.value].concat(), ..old },
            (Verb::Prepend, Some(old)) => Item { value: [&*item.value, &*old.value].concat(), ..old },
        };
        let cas = unique(self);
        let len = new.value.len() as u32;
        self.put(key, Item { cas, ..new });
        Stored::Done(cas, len)
    }

    /// Counts an item up or down: the new number, or why not.
    pub fn count(
        &mut self,
        key: &[u8],
        delta: u64,
        decrement: bool,
        compare: Option<u64>,
        new_cas: Option<u64>,
    ) -> Result<(u64, Item), Uncounted> {
        let unique = self.unique;
        let item = self.get(key).ok_or(Uncounted::NotFound)?;
        if compare.is_some_and(|compare| compare != item.cas) {
            return Err(Uncounted::Exists);
        }
        let old = stored_number(&item.value).ok_or(Uncounted::NonNumeric)?;
        let new = if decrement { old.saturating_sub(delta) } else { old.wrapping_add(delta) };
        item.value = new.to_string().into_bytes();
        item.cas = new_cas.unwrap_or(unique + 1);
        let item = item.clone();
        self.unique += u64::from(new_cas.is_none());
        Ok((new, item))
    }
}

/// Why an item was not counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Uncounted {
    /// It is not there.
    NotFound,
    /// It has another CAS unique.
    Exists,
    /// It is no number.
    NonNumeric,
}
