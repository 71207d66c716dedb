//! Answers of the meta protocol.

use freeway_memcache::meta::reply::{self, Status};
use freeway_memcache::meta::{Arithmetic, Command, Delete, Get, KeyBuffer, Return, Returns, Set, SetMode};
use freeway_memcache::{KEY_MAX, Refusal, Sink};

use super::{Done, value};
use crate::cache::{Count, Counted, Deleted, Mode, StoreRequest, Stored, Tombstone};
use crate::out::Out;
use crate::server::Server;
use crate::store::Item;

/// What a stored value's line asks for.
pub(crate) fn request(set: &Set<'_>) -> StoreRequest {
    let mode = match set.mode {
        SetMode::Set => Mode::Set,
        SetMode::Add => Mode::Add,
        SetMode::Append => Mode::Append,
        SetMode::Prepend => Mode::Prepend,
        SetMode::Replace => Mode::Replace,
    };
    StoreRequest {
        mode,
        flags: set.flags,
        exptime: set.exptime,
        compare: set.compare,
        new_cas: set.new_cas,
        invalidate: set.invalidate,
        vivify: set.vivify,
    }
}

pub(super) fn stored(
    server: &mut Server,
    out: &mut Out,
    key: &[u8],
    (quiet, base64, returns): (bool, bool, &Returns),
    len: usize,
    stored: Stored,
) {
    let mut len = len as u32;
    let (status, cas) = match stored {
        Stored::Stored(_) if quiet => return,
        Stored::Stored(item) => {
            // With append and prepend more than has come.
            len = server.cache.store.value_len(item) as u32;
            let shows = returns.iter().any(|what| what == Return::Cas);
            (Status::Done, if shows { server.cache.store.show_cas(item) } else { 0 })
        }
        Stored::NotStored => (Status::NotStored, 0),
        Stored::Exists => (Status::Exists, 0),
        Stored::NotFound => (Status::NotFound, 0),
        Stored::TooLarge => return Refusal::TooLarge.emit(out),
        Stored::NoMemory => return Refusal::OutOfMemory.emit(out),
    };
    reply::stored(out, status, returns, key, base64, cas, len);
}

impl Server {
    /// Answers a command without a value.
    pub(crate) fn meta(&mut self, out: &mut Out, command: &Command<'_>) -> Done {
        let mut buffer = [0; KEY_MAX];
        match command {
            Command::Get(get) => return self.meta_get(out, get, &mut buffer),
            Command::Set(_) => {}
            Command::Delete(delete) => self.meta_delete(out, delete, &mut buffer),
            Command::Arithmetic(arithmetic) => self.meta_arithmetic(out, arithmetic, &mut buffer),
            Command::Noop => out.put(reply::NOOP),
            Command::Debug { key } => {
                let base64 = key.is_base64();
                let key = key.bytes(&mut buffer);
                match self.cache.look(self.hash(key), key) {
                    Some(item) => {
                        let shown = self.describe(item, key, base64, true);
                        let total = item.record_len() as u64;
                        reply::debug(out, &shown, 1, total);
                    }
                    None => out.put(reply::DEBUG_MISS),
                }
            }
        }
        Done::Answered
    }

    fn describe<'a>(&mut self, item: Item, key: &'a [u8], base64_key: bool, cas: bool) -> reply::Item<'a> {
        let (store, clock) = (&mut self.cache.store, &self.cache.clock);
        reply::Item {
            key,
            base64_key,
            len: store.value_len(item) as u32,
            flags: store.flags(item),
            cas: if cas { store.show_cas(item) } else { 0 },
            ttl: clock.left(store.expiry(item)),
            since_access: clock.now().saturating_sub(store.last_access(item)),
            fetched: item.is_fetched(),
        }
    }

    fn meta_get(&mut self, out: &mut Out, get: &Get<'_>, buffer: &mut KeyBuffer) -> Done {
        let base64 = get.key.is_base64();
        let key = get.key.bytes(buffer);
        let hash = self.hash(key);
        let found = if get.no_bump { self.cache.look(hash, key) } else { self.cache.fetch(hash, key) };
        let made = match (found, get.vivify) {
            (None, Some(exptime)) => match self.cache.vivify(hash, key, exptime, get.new_cas) {
                Ok(item) => Some(item),
                Err(_) => {
                    Refusal::OutOfMemoryGet.emit(out);
                    return Done::Answered;
                }
            },
            _ => None,
        };
        let Some(item) = found.or(made) else {
            if !get.quiet {
                reply::miss(out, &get.returns, key, base64);
            }
            return Done::Answered;
        };
        let lease = self.cache.lease(item, get.recache.filter(|_| made.is_none()), made.is_some());
        // What is told of the item is as it was before this access.
        let shows_cas = get.returns.iter().any(|what| what == Return::Cas);
        let mut shown = self.describe(item, key, base64, shows_cas);
        let item = match get.touch.filter(|_| made.is_none()) {
            Some(exptime) => {
                let touched = self.cache.touch(hash, key, exptime).unwrap_or(item);
                if !get.ttl_first {
                    shown.ttl = self.cache.clock.left(self.cache.store.expiry(touched));
                }
                touched
            }
            None => item,
        };
        let start = out.len();
        let lease = reply::Lease { won: lease.won, stale: lease.stale, sent: lease.sent };
        reply::hit(out, &get.returns, &shown, get.value, lease);
        if get.value { value(self, out, item, start, true) } else { Done::Answered }
    }

    fn meta_delete(&mut self, out: &mut Out, delete: &Delete<'_>, buffer: &mut KeyBuffer) {
        let base64 = delete.key.is_base64();
        let key = delete.key.bytes(buffer);
        let hash = self.hash(key);
        let deleted = if delete.invalidate || delete.remove_value {
            let tombstone = Tombstone {
                compare: delete.compare,
                new_cas: delete.new_cas,
                stale: delete.invalidate,
                exptime: delete.exptime,
                remove_value: delete.remove_value,
                flags: delete.flags,
            };
            self.cache.tombstone(hash, key, &tombstone)
        } else {
            self.cache.delete(hash, key, delete.compare)
        };
        let status = match deleted {
            Deleted::Done if delete.quiet => return,
            Deleted::Done => Status::Done,
            Deleted::NotFound => Status::NotFound,
            Deleted::Exists => Status::Exists,
            Deleted::NoMemory => return Refusal::OutOfMemoryShort.emit(out),
        };
        reply::status(out, status, &delete.returns, key, base64);
    }

    fn meta_arithmetic(&mut self, out: &mut Out, count: &Arithmetic<'_>, buffer: &mut KeyBuffer) {
        let base64 = count.key.is_base64();
        let key = count.key.bytes(buffer);
        let hash = self.hash(key);
        let wanted = Count {
            delta: count.delta,
            decrement: count.decrement,
            compare: count.compare,
            new_cas: count.new_cas,
        };
        let (status, counted) = match self.cache.count(hash, key, &wanted) {
            Counted::Number(number, item) => (Status::Done, Some((number, item))),
            Counted::NotFound => match count.vivify {
                Some(exptime) => {
                    match self.cache.begin_count(hash, key, count.initial, exptime, count.new_cas) {
                        Stored::Stored(item) => (Status::Done, Some((count.initial, item))),
                        _ => return Refusal::OutOfMemoryNew.emit(out),
                    }
                }
                None => (Status::NotFound, None),
            },
            Counted::NonNumeric => return Refusal::NonNumeric.emit(out),
            Counted::Exists => (Status::Exists, None),
            Counted::NoMemory => return Refusal::OutOfMemoryShort.emit(out),
        };
        let Some((number, mut item)) = counted else {
            reply::status(out, status, &count.returns, key, base64);
            return;
        };
        let old_ttl = self.cache.clock.left(self.cache.store.expiry(item));
        if let Some(exptime) = count.exptime {
            item = self.cache.touch(hash, key, exptime).unwrap_or(item);
        }
        if count.quiet {
            return;
        }
        let new_ttl = self.cache.clock.left(self.cache.store.expiry(item));
        let shows_cas = count.returns.iter().any(|what| what == Return::Cas);
        let counted = reply::Counted {
            key,
            base64_key: base64,
            number,
            cas: if shows_cas { self.cache.store.show_cas(item) } else { 0 },
            ttl: if count.ttl_first { old_ttl } else { new_ttl },
        };
        reply::counted(out, &count.returns, &counted, count.value);
    }
}
