//! What is answered in the meta protocol.

use super::flags::{OPAQUE_MAX, Return, Returns};
use super::key::{ENCODED_MAX, encode};
use crate::sink::{Sink, decimal};
use crate::text::reply::CRLF;

/// Bytes of any answer but a value's at most: the code, eight flags, three marks, a number of `ma`.
pub const HEAD_MAX: usize =
    13 + (2 + ENCODED_MAX + 2) + (1 + OPAQUE_MAX) + 2 * (2 + 20) + 4 * (2 + 11) + 3 * 2 + 2 + 22;

/// What mg tells of an item, besides its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item<'a> {
    /// Its key.
    pub key: &'a [u8],
    /// Its key goes out in base64.
    pub base64_key: bool,
    /// Bytes of its value.
    pub len: u32,
    /// Its client's flags.
    pub flags: u32,
    /// Its CAS unique.
    pub cas: u64,
    /// Seconds left to live; `None` for ever.
    pub ttl: Option<u32>,
    /// Seconds since it was last accessed, this access aside.
    pub since_access: u32,
    /// It had been fetched before.
    pub fetched: bool,
}

/// Who is to bring a new value: the marks that make of meta commands what Facebook calls leases.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lease {
    /// W: this client is.
    pub won: bool,
    /// X: the value is stale.
    pub stale: bool,
    /// Z: another client is.
    pub sent: bool,
}

/// The head of what mg answers when the item is there: `VA <bytes>` or `HD`, what was asked, the marks. With
/// `value` the value follows, then [`CRLF`].
pub fn hit(sink: &mut impl Sink, returns: &Returns, item: &Item<'_>, value: bool, lease: Lease) {
    code(sink, value.then_some(item.len));
    for what in returns.iter() {
        match what {
            Return::Key => key(sink, item.key, item.base64_key),
            Return::Opaque => opaque(sink, returns),
            Return::Cas => number(sink, b" c", item.cas),
            Return::ClientFlags => number(sink, b" f", item.flags),
            Return::Size => number(sink, b" s", item.len),
            Return::Ttl => ttl(sink, item.ttl),
            Return::LastAccess => number(sink, b" l", item.since_access),
            Return::Hit => sink.put(if item.fetched { b" h1" } else { b" h0" }),
        }
    }
    for (mark, set) in [(b" Z", lease.sent), (b" X", lease.stale), (b" W", lease.won)] {
        if set {
            sink.put(mark);
        }
    }
    sink.put(CRLF);
}

/// What mg answers when the item is not there.
pub fn miss(sink: &mut impl Sink, returns: &Returns, item_key: &[u8], base64_key: bool) {
    sink.put(b"EN");
    names(sink, returns, item_key, base64_key);
    sink.put(CRLF);
}

/// How a change went.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// It was done.
    Done,
    /// The mode's condition did not hold.
    NotStored,
    /// The item has another CAS unique.
    Exists,
    /// There is no such item.
    NotFound,
}

impl Status {
    const fn code(self) -> &'static [u8; 2] {
        match self {
            Self::Done => b"HD",
            Self::NotStored => b"NS",
            Self::Exists => b"EX",
            Self::NotFound => b"NF",
        }
    }
}

/// What ms answers. `cas` is the item's (0 when nothing was stored), `len` its value's bytes.
pub fn stored(
    sink: &mut impl Sink,
    status: Status,
    returns: &Returns,
    item_key: &[u8],
    base64_key: bool,
    cas: u64,
    len: u32,
) {
    sink.put(status.code());
    for what in returns.iter() {
        match what {
            Return::Key => key(sink, item_key, base64_key),
            Return::Opaque => opaque(sink, returns),
            Return::Cas => number(sink, b" c", cas),
            Return::Size => number(sink, b" s", len),
            Return::ClientFlags | Return::Ttl | Return::LastAccess | Return::Hit => {}
        }
    }
    sink.put(CRLF);
}

/// What md answers, and ma when it did nothing.
pub fn status(sink: &mut impl Sink, status: Status, returns: &Returns, item_key: &[u8], base64_key: bool) {
    sink.put(status.code());
    names(sink, returns, item_key, base64_key);
    sink.put(CRLF);
}

/// What ma answers when it counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted<'a> {
    /// The item's key.
    pub key: &'a [u8],
    /// The key goes out in base64.
    pub base64_key: bool,
    /// The new number.
    pub number: u64,
    /// The item's CAS unique.
    pub cas: u64,
    /// Seconds left to live; `None` for ever.
    pub ttl: Option<u32>,
}

/// What ma answers when it counted: all of it, with the number when `value` was asked.
pub fn counted(sink: &mut impl Sink, returns: &Returns, counted: &Counted<'_>, value: bool) {
    let mut text = itoa::Buffer::new();
    let text = text.format(counted.number).as_bytes();
    code(sink, value.then_some(text.len() as u32));
    for what in returns.iter() {
        match what {
            Return::Key => key(sink, counted.key, counted.base64_key),
            Return::Opaque => opaque(sink, returns),
            Return::Cas => number(sink, b" c", counted.cas),
            Return::Ttl => ttl(sink, counted.ttl),
            Return::ClientFlags | Return::Size | Return::LastAccess | Return::Hit => {}
        }
    }
    sink.put(CRLF);
    if value {
        sink.put(text);
        sink.put(CRLF);
    }
}

/// What mn answers.
pub const NOOP: &[u8] = b"MN\r\n";
/// What me answers when the item is not there.
pub const DEBUG_MISS: &[u8] = b"EN\r\n";

/// What me answers: an item, its slab class and the bytes it takes in all.
pub fn debug(sink: &mut impl Sink, item: &Item<'_>, class: u32, total: u64) {
    sink.put(b"ME ");
    if item.base64_key {
        encode(sink, item.key);
    } else {
        sink.put(item.key);
    }
    sink.put(b" exp=");
    match item.ttl {
        Some(ttl) => decimal(sink, ttl),
        None => sink.put(b"-1"),
    }
    number(sink, b" la=", item.since_access);
    number(sink, b" cas=", item.cas);
    sink.put(if item.fetched { b" fetch=yes" } else { b" fetch=no" });
    number(sink, b" cls=", class);
    number(sink, b" size=", total);
    sink.put(CRLF);
}

fn code(sink: &mut impl Sink, value: Option<u32>) {
    match value {
        Some(len) => number(sink, b"VA ", len),
        None => sink.put(b"HD"),
    }
}

/// Key and opaque, which even an answer about nothing has.
fn names(sink: &mut impl Sink, returns: &Returns, item_key: &[u8], base64_key: bool) {
    for what in returns.iter() {
        match what {
            Return::Key => key(sink, item_key, base64_key),
            Return::Opaque => opaque(sink, returns),
            _ => {}
        }
    }
}

fn key(sink: &mut impl Sink, key: &[u8], base64: bool) {
    sink.put(b" k");
    if base64 {
        encode(sink, key);
        sink.put(b" b");
    } else {
        sink.put(key);
    }
}

fn opaque(sink: &mut impl Sink, returns: &Returns) {
    sink.put(b" ");
    sink.put(returns.opaque());
}

fn number(sink: &mut impl Sink, name: &[u8], number: impl Into<u64>) {
    sink.put(name);
    decimal(sink, number);
}

fn ttl(sink: &mut impl Sink, left: Option<u32>) {
    match left {
        Some(left) => number(sink, b" t", left),
        None => sink.put(b" t-1"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::KEY_MAX;
    use crate::meta::Command;

    #[test]
    fn an_answer_has_at_most_its_bound() {
        let line = format!("x s t c f l h k O{}", "o".repeat(OPAQUE_MAX - 1));
        let Ok(Command::Get(get)) = crate::meta::parse(b"mg", line.as_bytes()) else { panic!() };
        let key = [0xff; KEY_MAX];
        let item = Item {
            key: &key,
            base64_key: true,
            len: u32::MAX,
            flags: u32::MAX,
            cas: u64::MAX,
            ttl: Some(u32::MAX),
            since_access: u32::MAX,
            fetched: true,
        };
        let mut answer = Vec::new();
        hit(&mut answer, &get.returns, &item, true, Lease { won: true, stale: true, sent: true });
        assert!(answer.len() <= HEAD_MAX, "{}", answer.len());
        answer.clear();
        debug(&mut answer, &item, u32::MAX, u64::MAX);
        assert!(answer.len() <= HEAD_MAX, "{}", answer.len());
        answer.clear();
        let counted_all =
            Counted { key: &key, base64_key: true, number: u64::MAX, cas: u64::MAX, ttl: item.ttl };
        counted(&mut answer, &get.returns, &counted_all, true);
        assert!(answer.len() <= HEAD_MAX, "{}", answer.len());
        answer.clear();
        stored(&mut answer, Status::Done, &get.returns, &key, true, u64::MAX, u32::MAX);
        assert!(answer.len() <= HEAD_MAX, "{}", answer.len());
    }
}
