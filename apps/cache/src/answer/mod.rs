//! A command in, its answer out: what each protocol makes of the cache.

mod binary;
mod meta;
mod text;

use freeway_base::FlowHash;

pub(crate) use binary::request as binary_request;
pub(crate) use meta::request as meta_request;
pub(crate) use text::request as text_request;

use crate::cache::{StoreRequest, Stored};
use crate::out::{OUT_MAX, Out};
use crate::server::Server;
use crate::store::Item;
use crate::tasks::{Dump, Reply};

/// Bytes of any answer but values and tables, at most.
pub(crate) const ANSWER_MAX: usize = 1024;
/// A value of more bytes goes to TCP straight from the store.
pub(crate) const COPY_MAX: usize = 4 * 1024;

/// A value that is too long to be copied into the answers: it follows them, before anything else does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Long {
    pub(crate) item: Item,
    pub(crate) line: bool,
}

/// What became of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Done {
    /// It is answered.
    Answered,
    /// Its answer did not fit behind the others: it must be read again when they are gone.
    Full,
    /// It cannot be begun before something else has come.
    Wait,
    /// This value follows.
    Value(Long),
    /// The connection ends behind the answers.
    Close,
    /// The connection watches from now on.
    Watch(freeway_memcache::text::Watch),
    /// A list of all items follows.
    Dump(Dump),
}

/// Puts a value behind its head, which is in `out` from `start` on; what is too long follows later.
#[inline]
pub(crate) fn value(server: &mut Server, out: &mut Out, item: Item, start: usize, line: bool) -> Done {
    let len = server.cache.store.value_len(item);
    let end = if line { 2 } else { 0 };
    if len > COPY_MAX {
        return Done::Value(Long { item, line });
    }
    // An END or a reserve for the next answer's head is asked for separately.
    if !out.has_room(len + end) {
        out.truncate(start);
        return Done::Full;
    }
    if let Some(place) = out.place(len) {
        server.cache.store.read(item, 0, place);
    }
    if line {
        freeway_memcache::Sink::put(out, b"\r\n");
    }
    Done::Answered
}

impl Server {
    /// Answers who stored a value.
    pub(crate) fn answer_stored(
        &mut self,
        out: &mut Out,
        key: &[u8],
        reply: &Reply,
        request: &StoreRequest,
        len: usize,
        stored: Stored,
    ) {
        match reply {
            Reply::Text { noreply } => {
                if !noreply {
                    text::stored(out, stored);
                }
            }
            Reply::Meta { quiet, base64, returns } => {
                meta::stored(self, out, key, (*quiet, *base64, returns), len, stored);
            }
            Reply::Binary { head, quiet } => binary::stored(self, out, *head, *quiet, request, stored),
        }
    }

    #[inline]
    pub(crate) fn hash(&self, key: &[u8]) -> FlowHash {
        self.cache.store.hash(key)
    }
}

const _: () = assert!(ANSWER_MAX + COPY_MAX + 2 <= OUT_MAX);
const _: () = assert!(freeway_memcache::text::reply::HEAD_MAX <= ANSWER_MAX);
const _: () = assert!(freeway_memcache::meta::reply::HEAD_MAX <= ANSWER_MAX);
const _: () = assert!(freeway_memcache::binary::reply::HEAD_MAX <= ANSWER_MAX);
