//! Commands of the text protocol, carried out on the model.

use freeway_memcache::Refusal;
use freeway_memcache::text::reply::{CRLF, END, Outcome, number, value_head, version};
use freeway_memcache::text::{Arithmetic, Command, Crawler, Get, Slabs, Stats, Store, Verb};

use crate::item::Item;
use crate::model::{Model, StoreRules, Stored, Uncounted};
use crate::session::{Answer, Pending, outcome};

/// What a command leaves to do.
pub(crate) enum Next {
    Go,
    Value(Pending),
    Skip,
    Close,
}

pub(crate) fn command(model: &mut Model, command: &Command<'_>, out: &mut Vec<u8>) -> Next {
    let mut say = |noreply: bool, outcome: Outcome| {
        if !noreply {
            outcome.emit(out);
        }
    };
    match *command {
        Command::Get(get) => fetch(model, get, out),
        Command::Store(store) => return begin(model, &store, out),
        Command::Arithmetic(arithmetic) => count(model, arithmetic, out),
        Command::Delete { key, noreply } => {
            say(noreply, if model.remove(key) { Outcome::Deleted } else { Outcome::NotFound });
        }
        Command::Touch { key, exptime, noreply } => {
            let deadline = model.deadline(exptime);
            let item = model.get(key);
            say(noreply, if item.is_some() { Outcome::Touched } else { Outcome::NotFound });
            if let Some(item) = item {
                item.deadline = deadline;
            }
        }
        Command::FlushAll { delay, noreply } => {
            model.flush(delay);
            say(noreply, Outcome::Ok);
        }
        Command::Verbosity { noreply, .. } | Command::CacheMemlimit { noreply, .. } => {
            say(noreply, Outcome::Ok);
        }
        Command::Version => version(out),
        Command::Quit => return Next::Close,
        Command::Stats(Stats::Reset) => say(false, Outcome::Reset),
        Command::Stats(Stats::DetailOn | Stats::DetailOff) => say(false, Outcome::Ok),
        Command::Stats(Stats::Sizes) => out.extend_from_slice(b"STAT sizes_status disabled\r\nEND\r\n"),
        Command::Stats(Stats::SizesEnable) => out.extend_from_slice(b"STAT sizes_status enabled\r\n"),
        Command::Stats(Stats::SizesDisable) => out.extend_from_slice(b"STAT sizes_status disabled\r\n"),
        // The model counts nothing.
        Command::Stats(_) => say(false, Outcome::End),
        Command::Crawler(Crawler::Metadump(_) | Crawler::Mgdump(_)) => say(false, Outcome::End),
        Command::Crawler(_) | Command::Lru(_) | Command::Slabs(Slabs::Automove(_)) | Command::Watch(_) => {
            say(false, Outcome::Ok);
        }
        Command::Slabs(Slabs::Reassign { .. }) => Refusal::SlabsBadClass.emit(out),
        Command::Shutdown { .. } => Refusal::ShutdownDisabled.emit(out),
    }
    Next::Go
}

fn fetch(model: &mut Model, get: Get<'_>, out: &mut Vec<u8>) {
    let deadline = get.touch.map(|exptime| model.deadline(exptime));
    for key in get.keys {
        let Some(item) = model.fetch(key) else { continue };
        if let (Some(deadline), Some(item)) = (deadline, model.get(key)) {
            item.deadline = deadline;
        }
        let cas = get.cas.then_some(item.cas);
        value_head(out, key, item.flags, item.value.len() as u32, cas);
        out.extend_from_slice(&item.value);
        out.extend_from_slice(CRLF);
    }
    if !get.more {
        out.extend_from_slice(END);
    }
}

fn begin(model: &mut Model, store: &Store<'_>, out: &mut Vec<u8>) -> Next {
    let Store { verb, key, flags, exptime, len, noreply } = *store;
    if len > model.item_max {
        if verb == Verb::Set {
            model.remove(key);
        }
        if !noreply {
            Refusal::TooLarge.emit(out);
        }
        return Next::Skip;
    }
    Next::Value(Pending {
        verb,
        key: key.to_vec(),
        item: Item { flags, deadline: model.deadline(exptime), ..Item::default() },
        rules: StoreRules::default(),
        answer: Answer::Text { noreply },
    })
}

pub(crate) fn stored(stored: Stored, noreply: bool, out: &mut Vec<u8>) {
    if !noreply {
        outcome(stored).emit(out);
    }
}

fn count(model: &mut Model, arithmetic: Arithmetic<'_>, out: &mut Vec<u8>) {
    let Arithmetic { key, delta, decrement, noreply } = arithmetic;
    let counted = model.count(key, delta, decrement, None, None);
    if noreply {
        return;
    }
    match counted {
        Ok((new, _)) => number(out, new),
        Err(Uncounted::NotFound | Uncounted::Exists) => Outcome::NotFound.emit(out),
        Err(Uncounted::NonNumeric) => Refusal::NonNumeric.emit(out),
    }
}
