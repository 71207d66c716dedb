//! Answers of the classic text protocol.

use arrayvec::ArrayVec;
use freeway_base::FlowHash;
use freeway_memcache::text::reply::{self, Outcome};
use freeway_memcache::text::{Arithmetic, Command, Crawler, Get, Slabs, Stats, Store, Verb};
use freeway_memcache::{Refusal, Sink};

use super::{ANSWER_MAX, Done, value};
use crate::cache::{Count, Counted, Deleted, Mode, StoreRequest, Stored};
use crate::out::Out;
use crate::server::Server;
use crate::stats::TABLE_MAX;
use crate::tasks::{Dump, What};

/// Keys of a multi-get whose memory is asked for together.
const BATCH: usize = 32;

/// What a stored value's line asks for.
pub(crate) fn request(store: &Store<'_>) -> StoreRequest {
    let (mode, compare) = match store.verb {
        Verb::Set => (Mode::Set, None),
        Verb::Add => (Mode::Add, None),
        Verb::Replace => (Mode::Replace, None),
        Verb::Append => (Mode::Append, None),
        Verb::Prepend => (Mode::Prepend, None),
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

pub(super) fn stored(out: &mut Out, stored: Stored) {
    match stored {
        Stored::Stored(_) => Outcome::Stored.emit(out),
        Stored::NotStored => Outcome::NotStored.emit(out),
        Stored::Exists => Outcome::Exists.emit(out),
        Stored::NotFound => Outcome::NotFound.emit(out),
        Stored::TooLarge => Refusal::TooLarge.emit(out),
        Stored::NoMemory => Refusal::OutOfMemory.emit(out),
    }
}

impl Server {
    /// Answers a command without a value. `done` is how many keys of a multi-get were answered before.
    pub(crate) fn text(&mut self, out: &mut Out, command: &Command<'_>, done: &mut u16) -> Done {
        match *command {
            Command::Get(ref get) => return self.get(out, get, done),
            Command::Store(_) => {}
            Command::Arithmetic(ref arithmetic) => self.arithmetic(out, arithmetic),
            Command::Delete { key, noreply } => {
                let outcome = match self.cache.delete(self.hash(key), key, None) {
                    Deleted::Done => Outcome::Deleted,
                    _ => Outcome::NotFound,
                };
                say(out, noreply, outcome);
            }
            Command::Touch { key, exptime, noreply } => {
                let found = self.cache.touch(self.hash(key), key, exptime).is_some();
                say(out, noreply, if found { Outcome::Touched } else { Outcome::NotFound });
            }
            Command::FlushAll { delay, noreply } if self.config.flush => {
                self.cache.flush(delay);
                say(out, noreply, Outcome::Ok);
            }
            Command::FlushAll { noreply, .. } => refuse(out, noreply, Refusal::FlushNotAllowed),
            Command::Version => reply::version(out),
            Command::Verbosity { noreply, .. } => say(out, noreply, Outcome::Ok),
            Command::Quit => return Done::Close,
            Command::Stats(stats) => return self.stats(out, stats),
            Command::CacheMemlimit { mebibytes, noreply } => {
                if self.set_memory(mebibytes) {
                    say(out, noreply, Outcome::Ok);
                } else {
                    refuse(out, noreply, Refusal::MemlimitFailed);
                }
            }
            Command::Crawler(crawler) => return self.crawler(out, crawler),
            Command::Lru(_) => Outcome::Ok.emit(out),
            Command::Slabs(Slabs::Automove(_)) => Outcome::Ok.emit(out),
            Command::Slabs(Slabs::Reassign { .. }) => Refusal::SlabsDisabled.emit(out),
            Command::Watch(watch) if self.config.watchers_max > 0 => return Done::Watch(watch),
            Command::Watch(_) => Refusal::WatchNotAllowed.emit(out),
            Command::Shutdown { graceful: _ } if self.config.shutdown => {
                self.stop = true;
                return Done::Close;
            }
            Command::Shutdown { .. } => Refusal::ShutdownDisabled.emit(out),
        }
        Done::Answered
    }

    /// Answers a multi-get from key number `done` on, in batches whose misses overlap.
    fn get(&mut self, out: &mut Out, get: &Get<'_>, done: &mut u16) -> Done {
        let mut keys = get.keys.skip(usize::from(*done));
        loop {
            let batch: ArrayVec<(&[u8], FlowHash), BATCH> =
                keys.by_ref().take(BATCH).map(|key| (key, self.hash(key))).collect();
            if batch.is_empty() {
                break;
            }
            if batch.len() > 1 {
                batch.iter().for_each(|(_, hash)| self.cache.store.prefetch(*hash));
                batch.iter().for_each(|(_, hash)| self.cache.store.prefetch_item(*hash));
            }
            for &(key, hash) in &batch {
                if !out.has_room(ANSWER_MAX) {
                    return Done::Full;
                }
                match self.get_one(out, (get.cas, get.touch), key, hash) {
                    Done::Answered => *done += 1,
                    Done::Value(long) => {
                        *done += 1;
                        return Done::Value(long);
                    }
                    other => return other,
                }
            }
        }
        if !get.more {
            if !out.has_room(reply::END.len()) {
                return Done::Full;
            }
            out.put(reply::END);
        }
        *done = 0;
        Done::Answered
    }

    /// Puts an item behind the answers; `cas` with its unique, `touch` with another time to live.
    #[inline]
    pub(crate) fn get_one(
        &mut self,
        out: &mut Out,
        (cas, touch): (bool, Option<i32>),
        key: &[u8],
        hash: FlowHash,
    ) -> Done {
        let found = self.cache.fetch(hash, key);
        let found = match (found, touch) {
            (Some(_), Some(exptime)) => self.cache.touch(hash, key, exptime),
            (found, _) => found,
        };
        let Some(item) = found else { return Done::Answered };
        let store = &mut self.cache.store;
        let cas = cas.then(|| store.show_cas(item));
        let start = out.len();
        reply::value_head(out, key, store.flags(item), store.value_len(item) as u32, cas);
        value(self, out, item, start, true)
    }

    fn arithmetic(&mut self, out: &mut Out, arithmetic: &Arithmetic<'_>) {
        let &Arithmetic { key, delta, decrement, noreply } = arithmetic;
        let count = Count { delta, decrement, compare: None, new_cas: None };
        match self.cache.count(self.hash(key), key, &count) {
            _ if noreply => {}
            Counted::Number(number, _) => reply::number(out, number),
            Counted::NotFound => Outcome::NotFound.emit(out),
            Counted::NonNumeric => Refusal::NonNumeric.emit(out),
            Counted::Exists => Outcome::Exists.emit(out),
            Counted::NoMemory => Refusal::OutOfMemoryShort.emit(out),
        }
    }

    fn stats(&mut self, out: &mut Out, stats: Stats) -> Done {
        if !out.has_room(TABLE_MAX) {
            return Done::Full;
        }
        match stats {
            Stats::Reset => {
                self.reset_stats();
                Outcome::Reset.emit(out);
                return Done::Answered;
            }
            Stats::DetailOn | Stats::DetailOff => {
                Outcome::Ok.emit(out);
                return Done::Answered;
            }
            Stats::Cachedump { .. } if !self.config.dump => {
                out.put(b"CLIENT_ERROR stats cachedump not allowed\r\n");
                return Done::Answered;
            }
            Stats::Cachedump { class: 1, limit } => return Done::Dump(Dump::new(What::Cachedump, limit)),
            Stats::Cachedump { .. } | Stats::DetailDump => {}
            Stats::Conns => return Done::Dump(Dump::new(What::Connections, 0)),
            Stats::Sizes if self.sizes.is_on => return Done::Dump(Dump::new(What::Sizes, 0)),
            Stats::Sizes => line(out, "sizes_status", "disabled"),
            Stats::SizesEnable | Stats::SizesDisable => {
                self.sizes.is_on = stats == Stats::SizesEnable;
                line(out, "sizes_status", if self.sizes.is_on { "enabled" } else { "disabled" });
                return Done::Answered;
            }
            Stats::General | Stats::Settings | Stats::Items | Stats::Slabs => {
                self.table(stats, &mut |name, value| line(out, name, value));
            }
        }
        out.put(reply::END);
        Done::Answered
    }

    /// Shows one of the tables.
    pub(super) fn table(&self, stats: Stats, show: &mut dyn FnMut(&str, &str)) {
        let report = self.report();
        match stats {
            Stats::Settings => report.settings(show),
            Stats::Items => report.items(show),
            Stats::Slabs => report.slabs(show),
            _ => report.general(show),
        }
    }

    fn crawler(&mut self, out: &mut Out, crawler: Crawler<'_>) -> Done {
        match crawler {
            Crawler::Metadump(_) => return Done::Dump(Dump::new(What::Details, 0)),
            Crawler::Mgdump(_) => return Done::Dump(Dump::new(What::Commands, 0)),
            // What has expired is given back without a crawler.
            Crawler::Enable
            | Crawler::Disable
            | Crawler::Sleep(_)
            | Crawler::Tocrawl(_)
            | Crawler::Crawl(_) => Outcome::Ok.emit(out),
        }
        Done::Answered
    }
}

fn line(out: &mut Out, name: &str, value: &str) {
    out.put(b"STAT ");
    out.put(name.as_bytes());
    out.put(b" ");
    out.put(value.as_bytes());
    out.put(b"\r\n");
}

fn say(out: &mut Out, noreply: bool, outcome: Outcome) {
    if !noreply {
        outcome.emit(out);
    }
}

fn refuse(out: &mut Out, noreply: bool, refusal: Refusal) {
    if !noreply {
        refusal.emit(out);
    }
}
