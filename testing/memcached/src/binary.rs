//! Requests of the binary protocol, carried out on the model.

use freeway_memcache::binary::reply;
use freeway_memcache::binary::{Command, Head, Request, Status, Store};
use freeway_memcache::text::Verb;

use crate::item::Item;
use crate::model::{Model, StoreRules, Stored, Uncounted};
use crate::session::{Answer, Pending};
use crate::text::Next;

pub(crate) fn request(model: &mut Model, request: &Request<'_>, out: &mut Vec<u8>) -> Next {
    let Request { head, quiet, command } = *request;
    let mut done = |cas| {
        if !quiet {
            reply::status(out, head, Status::Ok, cas);
        }
    };
    match command {
        Command::Get { key, with_key, touch } => {
            let touch = touch.map(|exptime| model.deadline(exptime));
            match model.fetch(key) {
                Some(item) => {
                    if let (Some(deadline), Some(item)) = (touch, model.get(key)) {
                        item.deadline = deadline;
                    }
                    let key = with_key.then_some(key);
                    reply::value_head(out, head, item.flags, key, item.value.len() as u32, item.cas);
                    out.extend_from_slice(&item.value);
                }
                None if quiet => {}
                None if with_key => reply::miss_with_key(out, head, key),
                None => reply::status(out, head, Status::NotFound, 0),
            }
        }
        Command::Touch { key, exptime } => {
            let deadline = model.deadline(exptime);
            match model.get(key) {
                Some(item) => {
                    item.deadline = deadline;
                    reply::touched(out, head, item.flags, item.cas);
                }
                None => reply::status(out, head, Status::NotFound, 0),
            }
        }
        Command::Store(store) => return begin(model, head, quiet, &store, out),
        Command::Delete { key, cas } => match model.get(key).map(|item| item.cas) {
            None => reply::status(out, head, Status::NotFound, 0),
            Some(found) if cas != 0 && cas != found => reply::status(out, head, Status::Exists, 0),
            Some(_) => {
                model.remove(key);
                done(0);
            }
        },
        Command::Arithmetic { key, delta, decrement, initial, cas } => {
            let compare = Some(cas).filter(|&cas| cas != 0);
            let counted = match (model.count(key, delta, decrement, compare, None), initial) {
                (Err(Uncounted::NotFound), Some((initial, exptime))) => {
                    let (cas, deadline) = (model.unique(), model.deadline(exptime));
                    let value = initial.to_string().into_bytes();
                    model.put(key, Item { value, cas, deadline, ..Item::default() });
                    Ok((initial, cas))
                }
                (counted, _) => counted.map(|(number, item)| (number, item.cas)),
            };
            match counted {
                Ok(_) if quiet => {}
                Ok((number, cas)) => reply::number(out, head, number, cas),
                Err(Uncounted::NotFound) => reply::status(out, head, Status::NotFound, 0),
                Err(Uncounted::Exists) => reply::status(out, head, Status::Exists, 0),
                Err(Uncounted::NonNumeric) => reply::status(out, head, Status::NonNumeric, 0),
            }
        }
        Command::Flush { delay } => {
            model.flush(delay);
            done(0);
        }
        Command::Noop => done(0),
        Command::Version => reply::version(out, head),
        Command::Stat { name: b"" | b"settings" | b"items" | b"slabs" | b"sizes" | b"conns" | b"reset" } => {
            reply::stat(out, head, b"", b"");
        }
        Command::Stat { .. } => reply::status(out, head, Status::NotFound, 0),
        Command::Quit => {
            done(0);
            return Next::Close;
        }
    }
    Next::Go
}

fn begin(model: &mut Model, head: Head, quiet: bool, store: &Store<'_>, out: &mut Vec<u8>) -> Next {
    if store.len > model.item_max {
        if store.verb == Verb::Set {
            model.remove(store.key);
        }
        reply::status(out, head, Status::TooLarge, 0);
        return Next::Skip;
    }
    Next::Value(Pending {
        verb: store.verb,
        key: store.key.to_vec(),
        item: Item { flags: store.flags, deadline: model.deadline(store.exptime), ..Item::default() },
        rules: StoreRules { compare: Some(store.cas).filter(|&cas| cas != 0), ..StoreRules::default() },
        answer: Answer::Binary { head, quiet },
    })
}

pub(crate) fn stored(verb: Verb, stored: Stored, head: Head, quiet: bool, out: &mut Vec<u8>) {
    let (status, cas) = match (stored, verb) {
        (Stored::Done(..), _) if quiet => return,
        (Stored::Done(cas, _), _) => (Status::Ok, cas),
        (Stored::Exists, _) | (Stored::NotStored, Verb::Add) => (Status::Exists, 0),
        (Stored::NotFound, _) | (Stored::NotStored, Verb::Replace) => (Status::NotFound, 0),
        (Stored::NotStored, _) => (Status::NotStored, 0),
    };
    reply::status(out, head, status, cas);
}
