//! Answers of the binary protocol.

use freeway_memcache::binary::reply;
use freeway_memcache::binary::{Command, Head, Request, Status, Store};
use freeway_memcache::text::{Stats, Verb};

use super::{Done, value};
use crate::cache::{Count, Counted, Deleted, Mode, StoreRequest, Stored};
use crate::out::Out;
use crate::server::Server;
use crate::stats::TABLE_MAX;

/// What a stored value's header asks for.
pub(crate) fn request(store: &Store<'_>) -> StoreRequest {
    let any = Some(store.cas).filter(|&cas| cas != 0);
    let (mode, compare) = match store.verb {
        Verb::Set => (Mode::Set, None),
        Verb::Add => (Mode::Add, None),
        Verb::Replace => (Mode::Replace, None),
        Verb::Append => (Mode::Append, any),
        Verb::Prepend => (Mode::Prepend, any),
        Verb::Cas(unique) => (Mode::Set, Some(unique)),
    };
    StoreRequest {
        mode,
        flags: store.flags,
        exptime: store.exptime,
        compare,
        new_cas: None,
        invalidate: false,
        vivify: None,
    }
}

pub(super) fn stored(
    server: &mut Server,
    out: &mut Out,
    head: Head,
    quiet: bool,
    request: &StoreRequest,
    stored: Stored,
) {
    let status = match stored {
        Stored::Stored(_) if quiet => return,
        Stored::Stored(item) => {
            let cas = server.cache.store.show_cas(item);
            return reply::status(out, head, Status::Ok, cas);
        }
        Stored::NotStored => match request.mode {
            Mode::Add => Status::Exists,
            Mode::Replace => Status::NotFound,
            _ => Status::NotStored,
        },
        Stored::Exists => Status::Exists,
        Stored::NotFound => Status::NotFound,
        Stored::TooLarge => Status::TooLarge,
        Stored::NoMemory => Status::NoMemory,
    };
    reply::status(out, head, status, 0);
}

impl Server {
    /// Answers a request without a value.
    pub(crate) fn binary(&mut self, out: &mut Out, request: &Request<'_>) -> Done {
        let Request { head, quiet, command } = *request;
        match command {
            Command::Get { key, with_key, touch } => {
                return self.binary_get(out, head, quiet, (key, with_key, touch));
            }
            Command::Touch { key, exptime } => match self.cache.touch(self.hash(key), key, exptime) {
                Some(item) => {
                    let (flags, cas) = (self.cache.store.flags(item), self.cache.store.show_cas(item));
                    reply::touched(out, head, flags, cas);
                }
                None => reply::status(out, head, Status::NotFound, 0),
            },
            Command::Store(_) => {}
            Command::Delete { key, cas } => {
                let compare = Some(cas).filter(|&cas| cas != 0);
                let status = match self.cache.delete(self.hash(key), key, compare) {
                    Deleted::Done if quiet => return Done::Answered,
                    Deleted::Done => Status::Ok,
                    Deleted::NotFound => Status::NotFound,
                    Deleted::Exists => Status::Exists,
                    Deleted::NoMemory => Status::NoMemory,
                };
                reply::status(out, head, status, 0);
            }
            Command::Arithmetic { key, delta, decrement, initial, cas } => {
                let compare = Some(cas).filter(|&cas| cas != 0);
                let count = Count { delta, decrement, compare, new_cas: None };
                self.binary_count(out, head, quiet, key, &count, initial);
            }
            Command::Flush { delay } => {
                let status = if self.config.flush {
                    self.cache.flush(delay);
                    Status::Ok
                } else {
                    Status::AuthError
                };
                if !(quiet && status == Status::Ok) {
                    reply::status(out, head, status, 0);
                }
            }
            Command::Noop => reply::status(out, head, Status::Ok, 0),
            Command::Version => reply::version(out, head),
            Command::Stat { name } => return self.binary_stat(out, head, name),
            Command::Quit => {
                if !quiet {
                    reply::status(out, head, Status::Ok, 0);
                }
                return Done::Close;
            }
        }
        Done::Answered
    }

    fn binary_get(
        &mut self,
        out: &mut Out,
        head: Head,
        quiet: bool,
        (key, with_key, touch): (&[u8], bool, Option<i32>),
    ) -> Done {
        let hash = self.hash(key);
        let found = match (self.cache.fetch(hash, key), touch) {
            (Some(_), Some(exptime)) => self.cache.touch(hash, key, exptime),
            (found, _) => found,
        };
        let Some(item) = found else {
            match (quiet, with_key) {
                (true, _) => {}
                (false, true) => reply::miss_with_key(out, head, key),
                (false, false) => reply::status(out, head, Status::NotFound, 0),
            }
            return Done::Answered;
        };
        let store = &mut self.cache.store;
        let (cas, len) = (store.show_cas(item), store.value_len(item) as u32);
        let start = out.len();
        reply::value_head(out, head, store.flags(item), with_key.then_some(key), len, cas);
        value(self, out, item, start, false)
    }

    fn binary_count(
        &mut self,
        out: &mut Out,
        head: Head,
        quiet: bool,
        key: &[u8],
        count: &Count,
        initial: Option<(u64, i32)>,
    ) {
        let hash = self.hash(key);
        let counted = match self.cache.count(hash, key, count) {
            Counted::NotFound => match initial {
                Some((number, exptime)) => match self.cache.begin_count(hash, key, number, exptime, None) {
                    Stored::Stored(item) => Counted::Number(number, item),
                    _ => Counted::NoMemory,
                },
                None => Counted::NotFound,
            },
            counted => counted,
        };
        let status = match counted {
            Counted::Number(..) if quiet => return,
            Counted::Number(number, item) => {
                let cas = self.cache.store.show_cas(item);
                return reply::number(out, head, number, cas);
            }
            Counted::NotFound => Status::NotFound,
            Counted::NonNumeric => Status::NonNumeric,
            Counted::Exists => Status::Exists,
            Counted::NoMemory => Status::NoMemory,
        };
        reply::status(out, head, status, 0);
    }

    fn binary_stat(&mut self, out: &mut Out, head: Head, name: &[u8]) -> Done {
        // A line has a header of 24 bytes here.
        if !out.has_room(2 * TABLE_MAX) {
            return Done::Full;
        }
        let table = match name {
            b"" => Some(Stats::General),
            b"settings" => Some(Stats::Settings),
            b"items" => Some(Stats::Items),
            b"slabs" => Some(Stats::Slabs),
            b"reset" => {
                self.reset_stats();
                None
            }
            b"sizes" | b"conns" | b"detail" | b"cachedump" => None,
            _ => {
                reply::status(out, head, Status::NotFound, 0);
                return Done::Answered;
            }
        };
        if let Some(table) = table {
            self.table(table, &mut |name, value| reply::stat(out, head, name.as_bytes(), value.as_bytes()));
        }
        reply::stat(out, head, b"", b"");
        Done::Answered
    }
}
