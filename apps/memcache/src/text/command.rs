//! A line of the text protocol as a command.

use memchr::memchr;

use super::admin::{self, Crawler, LruTune, Slabs, Stats, Watch};
use crate::error::Refusal;
use crate::number::{signed_32, unsigned, unsigned_32};
use crate::token::Tokens;
use crate::{KEY_MAX, meta};

/// A command of the classic text protocol.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Command<'a> {
    /// get, gets, gat, gats: `VALUE` for each key that is there, then `END`.
    Get(Get<'a>),
    /// set, add, replace, append, prepend, cas: the value follows.
    Store(Store<'a>),
    /// incr, decr: the new value, or `NOT_FOUND`.
    Arithmetic(Arithmetic<'a>),
    /// delete: `DELETED` or `NOT_FOUND`.
    Delete {
        /// Of which item.
        key: &'a [u8],
        /// Nothing is answered.
        noreply: bool,
    },
    /// touch: `TOUCHED` or `NOT_FOUND`.
    Touch {
        /// Of which item.
        key: &'a [u8],
        /// Its new time to live, see [`Store::exptime`].
        exptime: i32,
        /// Nothing is answered.
        noreply: bool,
    },
    /// flush_all: `OK`.
    FlushAll {
        /// When, in seconds or as a Unix time like [`Store::exptime`]; at once at 0 and below.
        delay: i32,
        /// Nothing is answered.
        noreply: bool,
    },
    /// version: [`VERSION`](crate::VERSION).
    Version,
    /// verbosity: `OK`.
    Verbosity {
        /// 0, 1 or more.
        level: u32,
        /// Nothing is answered.
        noreply: bool,
    },
    /// quit: the connection is closed.
    Quit,
    /// stats, with what stands behind it.
    Stats(Stats),
    /// cache_memlimit: `OK`. Its bounds have been checked.
    CacheMemlimit {
        /// The new limit, in MiB.
        mebibytes: u32,
        /// Nothing is answered.
        noreply: bool,
    },
    /// lru_crawler.
    Crawler(Crawler<'a>),
    /// lru: `OK`.
    Lru(LruTune),
    /// slabs.
    Slabs(Slabs),
    /// watch: the connection becomes a watcher.
    Watch(Watch),
    /// shutdown: the server ends, if that is allowed.
    Shutdown {
        /// Connections are served to their end.
        graceful: bool,
    },
}

/// get, gets, gat and gats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Get<'a> {
    /// Which items, in order. Each key has at most [`KEY_MAX`] bytes.
    pub keys: Keys<'a>,
    /// With the CAS unique (gets, gats).
    pub cas: bool,
    /// The time to live that each gets (gat, gats), see [`Store::exptime`].
    pub touch: Option<i32>,
    /// The line goes on: no `END` yet. Only for lines over [`Limits::line_max`](crate::Limits::line_max).
    pub more: bool,
}

/// The keys of a multi-get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keys<'a>(Tokens<'a>);

impl<'a> Keys<'a> {
    /// The keys in `line`, if none is too long.
    pub(crate) fn new(line: &'a [u8]) -> Option<Self> {
        let keys = Tokens::new(line);
        // The usual single key needs no second look.
        let short = line.len() <= KEY_MAX || keys.clone().all(|key| key.len() <= KEY_MAX);
        short.then_some(Self(keys))
    }
}

impl<'a> Iterator for Keys<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.next()
    }
}

/// How a value is stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verb {
    /// Whatever is there.
    Set,
    /// Only if nothing is there.
    Add,
    /// Only if something is there.
    Replace,
    /// Behind what is there; flags and time to live stay.
    Append,
    /// Before what is there; flags and time to live stay.
    Prepend,
    /// Only over the item with this CAS unique.
    Cas(u64),
}

/// A value to store; its bytes follow as [`Step::Data`](crate::Step::Data).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Store<'a> {
    /// How.
    pub verb: Verb,
    /// Under which key.
    pub key: &'a [u8],
    /// Kept with the value and given back with it.
    pub flags: u32,
    /// Time to live: 0 for none, negative for none at all, up to 30 days in seconds from now, above a Unix time.
    pub exptime: i32,
    /// Bytes of the value.
    pub len: u32,
    /// Nothing is answered.
    pub noreply: bool,
}

/// incr and decr.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arithmetic<'a> {
    /// Of which item.
    pub key: &'a [u8],
    /// By how much. incr wraps at 64 bits, decr stops at 0.
    pub delta: u64,
    /// Down rather than up.
    pub decrement: bool,
    /// Nothing is answered.
    pub noreply: bool,
}

/// A line that could be read, of either text protocol.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Line<'a> {
    Text(Command<'a>),
    Meta(meta::Command<'a>),
}

/// A line that could not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failed {
    /// It is answered so; `value` bytes and their end that follow are skipped.
    Refused { refusal: Refusal, quiet: bool, value: Option<u32> },
    /// It speaks HTTP.
    Foreign,
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { refusal, quiet: false, value: None }
    }
}

/// Bytes of a value at most: what a 32-bit length with its line end can say.
const LEN_MAX: u32 = i32::MAX as u32 - 2;

/// Reads a line, given without its end.
pub(crate) fn parse(line: &[u8]) -> Result<Line<'_>, Failed> {
    let (name, rest) = match memchr(b' ', line) {
        Some(blank) => line.split_at_checked(blank).unwrap_or((line, b"")),
        None => (line, b"".as_slice()),
    };
    // The commonest first.
    let command = match name {
        b"get" => get(rest, false, false)?,
        b"set" => store(Verb::Set, rest)?,
        b"mg" | b"ms" | b"md" | b"ma" | b"mn" | b"me" => return Ok(Line::Meta(meta::parse(name, rest)?)),
        b"gets" => get(rest, true, false)?,
        b"gat" => get(rest, false, true)?,
        b"gats" => get(rest, true, true)?,
        b"add" => store(Verb::Add, rest)?,
        b"replace" => store(Verb::Replace, rest)?,
        b"append" => store(Verb::Append, rest)?,
        b"prepend" => store(Verb::Prepend, rest)?,
        b"cas" => store(Verb::Cas(0), rest)?,
        b"incr" => arithmetic(rest, false)?,
        b"decr" => arithmetic(rest, true)?,
        b"delete" => delete(rest)?,
        b"touch" => touch(rest)?,
        b"version" => Command::Version,
        b"quit" => Command::Quit,
        b"verbosity" => {
            let noreply = noreply(rest);
            let level = Tokens::new(rest).next().and_then(unsigned_32);
            let level =
                level.ok_or(Failed::Refused { refusal: Refusal::BadFormat, quiet: noreply, value: None })?;
            Command::Verbosity { level, noreply }
        }
        b"flush_all" => flush_all(rest)?,
        b"stats" => Command::Stats(admin::stats(rest)?),
        b"cache_memlimit" => memlimit(rest)?,
        b"lru_crawler" => Command::Crawler(admin::crawler(rest)?),
        b"lru" => Command::Lru(admin::lru(rest)?),
        b"slabs" => Command::Slabs(admin::slabs(rest)?),
        b"watch" => Command::Watch(admin::watch(rest)?),
        b"shutdown" => Command::Shutdown { graceful: admin::shutdown(rest)? },
        _ if Tokens::new(rest).last().is_some_and(|last| last.starts_with(b"HTTP/")) => {
            return Err(Failed::Foreign);
        }
        _ => return Err(Refusal::Unknown.into()),
    };
    Ok(Line::Text(command))
}

fn noreply(rest: &[u8]) -> bool {
    Tokens::new(rest).last() == Some(b"noreply")
}

/// The key behind a command's name.
fn key<'a>(tokens: &mut Tokens<'a>) -> Result<&'a [u8], Refusal> {
    tokens.next().ok_or(Refusal::BadFormat)
}

fn get(rest: &[u8], cas: bool, touch: bool) -> Result<Command<'_>, Failed> {
    let mut tokens = Tokens::new(rest);
    let exptime = if touch { Some(key(&mut tokens)?) } else { None };
    if tokens.clone().next().is_none() {
        return Err(Refusal::BadFormat.into());
    }
    let touch = match exptime {
        Some(exptime) => Some(signed_32(exptime).ok_or(Refusal::BadExptime)?),
        None => None,
    };
    let keys = Keys::new(tokens.rest()).ok_or(Refusal::BadFormat)?;
    Ok(Command::Get(Get { keys, cas, touch, more: false }))
}

fn store(verb: Verb, rest: &[u8]) -> Result<Command<'_>, Failed> {
    let mut tokens = Tokens::new(rest);
    let mut next = || tokens.next().ok_or(Refusal::BadFormat);
    let (key, flags, exptime, len) = (next()?, next()?, next()?, next()?);
    let unique = tokens.next();
    let len = unsigned_32(len).filter(|&len| len <= LEN_MAX).ok_or(Refusal::BadFormat)?;
    // From here the value's length is known, so it can be skipped.
    let noreply = noreply(tokens.rest()) || (tokens.rest().is_empty() && unique == Some(b"noreply"));
    let bad = Failed::Refused { refusal: Refusal::BadFormat, quiet: noreply, value: Some(len) };
    if key.len() > KEY_MAX {
        return Err(bad);
    }
    let flags = unsigned_32(flags).ok_or(bad)?;
    let exptime = signed_32(exptime).ok_or(bad)?;
    let verb = match verb {
        Verb::Cas(_) => Verb::Cas(unique.and_then(unsigned).ok_or(bad)?),
        verb => verb,
    };
    Ok(Command::Store(Store { verb, key, flags, exptime, len, noreply }))
}

fn arithmetic(rest: &[u8], decrement: bool) -> Result<Command<'_>, Failed> {
    let mut tokens = Tokens::new(rest);
    let (key, delta) = (key(&mut tokens)?, tokens.next().ok_or(Refusal::BadFormat)?);
    let noreply = noreply(rest);
    let refused = |refusal| Failed::Refused { refusal, quiet: noreply, value: None };
    if key.len() > KEY_MAX {
        return Err(refused(Refusal::BadFormat));
    }
    let delta = unsigned(delta).ok_or(refused(Refusal::BadDelta))?;
    Ok(Command::Arithmetic(Arithmetic { key, delta, decrement, noreply }))
}

fn delete(rest: &[u8]) -> Result<Command<'_>, Failed> {
    let mut tokens = Tokens::new(rest);
    let key = key(&mut tokens)?;
    let noreply = noreply(rest);
    if key.len() > KEY_MAX {
        return Err(Failed::Refused { refusal: Refusal::BadFormat, quiet: noreply, value: None });
    }
    let rest = [tokens.next(), tokens.next(), tokens.next()];
    let is_fine = matches!(
        rest,
        [None, ..] | [Some(b"0" | b"noreply"), None, _] | [Some(b"0"), Some(b"noreply"), None]
    );
    if !is_fine {
        return Err(Failed::Refused { refusal: Refusal::BadDelete, quiet: noreply, value: None });
    }
    Ok(Command::Delete { key, noreply })
}

fn touch(rest: &[u8]) -> Result<Command<'_>, Failed> {
    let mut tokens = Tokens::new(rest);
    let (key, exptime) = (key(&mut tokens)?, tokens.next().ok_or(Refusal::BadFormat)?);
    let noreply = noreply(rest);
    let refused = |refusal| Failed::Refused { refusal, quiet: noreply, value: None };
    if key.len() > KEY_MAX {
        return Err(refused(Refusal::BadFormat));
    }
    let exptime = signed_32(exptime).ok_or(refused(Refusal::BadExptime))?;
    Ok(Command::Touch { key, exptime, noreply })
}

fn flush_all(rest: &[u8]) -> Result<Command<'_>, Failed> {
    let noreply = noreply(rest);
    let mut tokens = Tokens::new(rest);
    let first = tokens.next();
    let alone = noreply && tokens.next().is_none();
    let delay = match first.filter(|_| !alone) {
        Some(delay) => signed_32(delay).ok_or(Failed::Refused {
            refusal: Refusal::BadExptime,
            quiet: noreply,
            value: None,
        })?,
        None => 0,
    };
    Ok(Command::FlushAll { delay, noreply })
}

fn memlimit(rest: &[u8]) -> Result<Command<'_>, Failed> {
    let noreply = noreply(rest);
    let refused = |refusal| Failed::Refused { refusal, quiet: noreply, value: None };
    let mebibytes = Tokens::new(rest).next().and_then(unsigned_32).ok_or(refused(Refusal::Unknown))?;
    match mebibytes {
        ..8 => Err(refused(Refusal::MemlimitTooSmall)),
        8..=1_000_000_000 => Ok(Command::CacheMemlimit { mebibytes, noreply }),
        _ => Err(refused(Refusal::MemlimitUnit)),
    }
}
