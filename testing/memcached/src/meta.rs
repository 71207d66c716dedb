//! Commands of the meta protocol, carried out on the model.

use freeway_memcache::Refusal;
use freeway_memcache::meta::reply::{self, Counted, Lease, Status};
use freeway_memcache::meta::{Arithmetic, Command, Delete, Get, Returns, Set, SetMode};
use freeway_memcache::text::Verb;
use freeway_memcache::text::reply::CRLF;

use crate::item::Item;
use crate::model::{Model, StoreRules, Stored, Uncounted};
use crate::session::{Answer, Pending};
use crate::text::Next;

pub(crate) fn command(model: &mut Model, command: &Command<'_>, out: &mut Vec<u8>) -> Next {
    match command {
        Command::Get(get) => fetch(model, get, out),
        Command::Set(set) => return begin(model, set, out),
        Command::Delete(delete) => remove(model, delete, out),
        Command::Arithmetic(arithmetic) => count(model, arithmetic, out),
        Command::Noop => out.extend_from_slice(reply::NOOP),
        Command::Debug { key } => {
            let mut buffer = [0; freeway_memcache::KEY_MAX];
            let bytes = key.bytes(&mut buffer);
            let now = model.now();
            match model.get(bytes) {
                Some(item) => reply::debug(out, &view(bytes, item, now), 1, item.value.len() as u64),
                None => out.extend_from_slice(reply::DEBUG_MISS),
            }
        }
    }
    Next::Go
}

fn view<'a>(key: &'a [u8], item: &Item, now: u64) -> reply::Item<'a> {
    reply::Item {
        key,
        base64_key: item.base64_key,
        len: item.value.len() as u32,
        flags: item.flags,
        cas: item.cas,
        ttl: item.ttl(now),
        since_access: (now - item.accessed) as u32,
        fetched: item.fetched,
    }
}

fn fetch(model: &mut Model, get: &Get<'_>, out: &mut Vec<u8>) {
    let mut buffer = [0; freeway_memcache::KEY_MAX];
    let key = get.key.bytes(&mut buffer);
    let now = model.now();
    let mut made = false;
    if model.get(key).is_none()
        && let Some(exptime) = get.vivify
    {
        let cas = get.new_cas.unwrap_or_else(|| model.unique());
        let deadline = model.deadline(exptime);
        model.put(key, Item { cas, deadline, base64_key: get.key.is_base64(), ..Item::default() });
        made = true;
    }
    let touch = get.touch.map(|exptime| model.deadline(exptime));
    let recache = get.recache.and_then(|exptime| model.deadline(exptime));
    let Some(item) = model.get(key) else {
        if !get.quiet {
            reply::miss(out, &get.returns, key, get.key.is_base64());
        }
        return;
    };
    let mut view = view(key, item, now);
    let soon = match (item.deadline, recache) {
        (Some(deadline), Some(recache)) => deadline < recache,
        _ => false,
    };
    if let Some(deadline) = touch {
        item.deadline = deadline;
        if !get.ttl_first {
            view.ttl = item.ttl(now);
        }
    }
    let lease = Lease { won: made || (!item.won && (soon || item.stale)), stale: item.stale, sent: item.won };
    item.won |= lease.won;
    if !get.no_bump {
        item.fetched = true;
        item.accessed = now;
    }
    reply::hit(out, &get.returns, &view, get.value, lease);
    if get.value {
        out.extend_from_slice(&item.value);
        out.extend_from_slice(CRLF);
    }
}

fn begin(model: &mut Model, set: &Set<'_>, out: &mut Vec<u8>) -> Next {
    let mut buffer = [0; freeway_memcache::KEY_MAX];
    let key = set.key.bytes(&mut buffer);
    if set.len > model.item_max {
        model.remove(key);
        Refusal::TooLarge.emit(out);
        return Next::Skip;
    }
    let verb = match (set.mode, set.compare) {
        (SetMode::Set | SetMode::Replace, Some(cas)) => Verb::Cas(cas),
        (SetMode::Set, None) => Verb::Set,
        (SetMode::Replace, None) => Verb::Replace,
        (SetMode::Add, _) => Verb::Add,
        (SetMode::Append, _) => Verb::Append,
        (SetMode::Prepend, _) => Verb::Prepend,
    };
    let joins = matches!(verb, Verb::Append | Verb::Prepend);
    let exptime = set.vivify.filter(|_| joins).unwrap_or(set.exptime);
    let deadline = model.deadline(exptime);
    let item = Item { flags: set.flags, deadline, base64_key: set.key.is_base64(), ..Item::default() };
    Next::Value(Pending {
        verb,
        key: key.to_vec(),
        item,
        rules: StoreRules {
            compare: set.compare,
            new_cas: set.new_cas,
            invalidate: set.invalidate,
            vivify: set.vivify.is_some(),
        },
        answer: Answer::Meta { returns: set.returns, quiet: set.quiet },
    })
}

pub(crate) fn stored(
    stored: Stored,
    returns: &Returns,
    quiet: bool,
    key: &[u8],
    base64_key: bool,
    len: u32,
    out: &mut Vec<u8>,
) {
    let (status, cas, len) = match stored {
        Stored::Done(..) if quiet => return,
        Stored::Done(cas, len) => (Status::Done, cas, len),
        Stored::NotStored => (Status::NotStored, 0, len),
        Stored::Exists => (Status::Exists, 0, len),
        Stored::NotFound => (Status::NotFound, 0, len),
    };
    reply::stored(out, status, returns, key, base64_key, cas, len);
}

fn remove(model: &mut Model, delete: &Delete<'_>, out: &mut Vec<u8>) {
    let mut buffer = [0; freeway_memcache::KEY_MAX];
    let key = delete.key.bytes(&mut buffer);
    let unique = delete.new_cas.unwrap_or(model.unique() + 1);
    let deadline = delete.exptime.map(|exptime| model.deadline(exptime));
    let status = match model.get(key) {
        None => Status::NotFound,
        Some(item) if delete.compare.is_some_and(|compare| compare != item.cas) => Status::Exists,
        Some(item) => {
            if delete.remove_value {
                let cas = delete.new_cas.unwrap_or(item.cas);
                let deadline = deadline.flatten();
                *item = Item {
                    flags: delete.flags,
                    cas,
                    deadline,
                    base64_key: item.base64_key,
                    ..Item::default()
                };
            }
            if delete.invalidate {
                if let Some(deadline) = deadline {
                    item.deadline = deadline;
                }
                item.stale = true;
                item.won = false;
                item.cas = unique;
            } else if !delete.remove_value {
                model.remove(key);
            }
            Status::Done
        }
    };
    model.unique();
    if !(delete.quiet && status == Status::Done) {
        reply::status(out, status, &delete.returns, key, delete.key.is_base64());
    }
}

fn count(model: &mut Model, arithmetic: &Arithmetic<'_>, out: &mut Vec<u8>) {
    let mut buffer = [0; freeway_memcache::KEY_MAX];
    let key = arithmetic.key.bytes(&mut buffer);
    let base64_key = arithmetic.key.is_base64();
    let Arithmetic { delta, decrement, compare, new_cas, .. } = *arithmetic;
    let touch = arithmetic.exptime.map(|exptime| model.deadline(exptime));
    let mut counted = model.count(key, delta, decrement, compare, new_cas);
    if let (Err(Uncounted::NotFound), Some(exptime)) = (&counted, arithmetic.vivify) {
        let item = Item {
            value: arithmetic.initial.to_string().into_bytes(),
            cas: new_cas.unwrap_or_else(|| model.unique()),
            deadline: model.deadline(exptime),
            base64_key,
            ..Item::default()
        };
        model.put(key, item.clone());
        counted = Ok((arithmetic.initial, item));
    }
    let refuse = |status, out: &mut Vec<u8>| reply::status(out, status, &arithmetic.returns, key, base64_key);
    match counted {
        Ok((number, mut item)) => {
            let before = item.ttl(model.now());
            if let Some(deadline) = touch {
                item.deadline = deadline;
                if let Some(kept) = model.get(key) {
                    kept.deadline = deadline;
                }
            }
            let ttl = if arithmetic.ttl_first { before } else { item.ttl(model.now()) };
            let counted = Counted { key, base64_key, number, cas: item.cas, ttl };
            if !arithmetic.quiet {
                reply::counted(out, &arithmetic.returns, &counted, arithmetic.value);
            }
        }
        Err(Uncounted::NonNumeric) => Refusal::NonNumeric.emit(out),
        Err(Uncounted::NotFound) => refuse(Status::NotFound, out),
        Err(Uncounted::Exists) => refuse(Status::Exists, out),
    }
}
