//! A line of the meta protocol as a command.

use super::flags::{Flags, Returns};
use super::key::MetaKey;
use crate::KEY_MAX;
use crate::error::Refusal;
use crate::number::unsigned_32;
use crate::text::Failed;
use crate::token::Tokens;

/// A command of the meta protocol. Times to live are as in [`text::Store`](crate::text::Store::exptime).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command<'a> {
    /// mg
    Get(Get<'a>),
    /// ms: the value follows.
    Set(Set<'a>),
    /// md
    Delete(Delete<'a>),
    /// ma
    Arithmetic(Arithmetic<'a>),
    /// mn: `MN`, and what was held back is sent.
    Noop,
    /// me: what is known about an item.
    Debug {
        /// Which.
        key: MetaKey<'a>,
    },
}

/// mg: fetches an item, or only what is known about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Get<'a> {
    /// Of which item.
    pub key: MetaKey<'a>,
    /// v: with its value.
    pub value: bool,
    /// u: it does not count as an access.
    pub no_bump: bool,
    /// N: an item that is not there is made, empty, with this time to live; who made it has won.
    pub vivify: Option<i32>,
    /// R: whoever is first to see less than this time left to live has won.
    pub recache: Option<i32>,
    /// T: its new time to live.
    pub touch: Option<i32>,
    /// t stood before T, and tells the old one.
    pub ttl_first: bool,
    /// E: the CAS unique of what N makes.
    pub new_cas: Option<u64>,
    /// q: a miss is not answered.
    pub quiet: bool,
    /// What to tell.
    pub returns: Returns,
}

/// The M of ms.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum SetMode {
    /// S
    #[default]
    Set,
    /// E
    Add,
    /// A
    Append,
    /// P
    Prepend,
    /// R
    Replace,
}

/// ms: stores a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Set<'a> {
    /// Under which key.
    pub key: MetaKey<'a>,
    /// Bytes of the value.
    pub len: u32,
    /// How.
    pub mode: SetMode,
    /// F: kept with the value.
    pub flags: u32,
    /// T: its time to live.
    pub exptime: i32,
    /// C: only over the item with this CAS unique; add ignores it.
    pub compare: Option<u64>,
    /// E: its CAS unique.
    pub new_cas: Option<u64>,
    /// I: with C in mode set or replace, a value with a unique below the item's is stored all the same: marked as
    /// stale, with the time to live and the winner (Z) that the item had.
    pub invalidate: bool,
    /// N: append and prepend make an item that is not there, with this time to live.
    pub vivify: Option<i32>,
    /// q: success is not answered.
    pub quiet: bool,
    /// What to tell.
    pub returns: Returns,
}

/// md: deletes an item, or marks it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delete<'a> {
    /// Which item.
    pub key: MetaKey<'a>,
    /// C: only the item with this CAS unique.
    pub compare: Option<u64>,
    /// E: its new CAS unique, if it stays.
    pub new_cas: Option<u64>,
    /// I: it stays, marked as stale; the next to fetch it has won.
    pub invalidate: bool,
    /// T: its new time to live, if it stays.
    pub exptime: Option<i32>,
    /// x: the item stays, its value and flags go.
    pub remove_value: bool,
    /// F: the flags of what x leaves.
    pub flags: u32,
    /// q: success is not answered.
    pub quiet: bool,
    /// What to tell.
    pub returns: Returns,
}

/// ma: counts up or down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arithmetic<'a> {
    /// Of which item.
    pub key: MetaKey<'a>,
    /// M: down rather than up.
    pub decrement: bool,
    /// D: by how much, 1 unless said.
    pub delta: u64,
    /// J: what N begins with, 0 unless said.
    pub initial: u64,
    /// N: an item that is not there is made, with this time to live.
    pub vivify: Option<i32>,
    /// T: its new time to live.
    pub exptime: Option<i32>,
    /// t stood before T, and tells the old one.
    pub ttl_first: bool,
    /// C: only the item with this CAS unique.
    pub compare: Option<u64>,
    /// E: its new CAS unique.
    pub new_cas: Option<u64>,
    /// v: with the new number.
    pub value: bool,
    /// q: success is not answered.
    pub quiet: bool,
    /// What to tell.
    pub returns: Returns,
}

/// Reads what stands behind `name`, one of mg, ms, md, ma, mn and me.
pub(crate) fn parse<'a>(name: &[u8], rest: &'a [u8]) -> Result<Command<'a>, Failed> {
    let mut tokens = Tokens::new(rest);
    if name == b"mn" {
        return Ok(Command::Noop);
    }
    let key = tokens.next().ok_or(Refusal::BadFormat)?;
    match name {
        b"mg" => get(key, tokens),
        b"ms" => {
            let len = tokens.next().and_then(unsigned_32).filter(|&len| len <= i32::MAX as u32 - 2);
            let len = len.ok_or(Refusal::BadFormat)?;
            // From here the value can be skipped.
            set(key, len, tokens).map_err(|refusal| Failed::Refused {
                refusal,
                quiet: false,
                value: Some(len),
            })
        }
        b"md" => delete(key, tokens),
        b"ma" => arithmetic(key, tokens),
        b"me" => {
            let base64 = tokens.next() == Some(b"b");
            let key = short(key).and_then(|key| MetaKey::new(key, base64)).map_err(|_| Refusal::BadFormat)?;
            Ok(Command::Debug { key })
        }
        _ => Err(Refusal::Unknown.into()),
    }
}

fn short(key: &[u8]) -> Result<&[u8], Refusal> {
    Some(key).filter(|key| key.len() <= KEY_MAX).ok_or(Refusal::BadFormat)
}

fn get<'a>(key: &'a [u8], tokens: Tokens<'a>) -> Result<Command<'a>, Failed> {
    let key = short(key)?;
    let flags = Flags::parse(tokens, 2)?;
    Ok(Command::Get(Get {
        key: MetaKey::new(key, flags.base64_key)?,
        value: flags.value,
        no_bump: flags.no_bump,
        vivify: flags.vivify,
        recache: flags.recache,
        touch: flags.exptime,
        ttl_first: flags.ttl_first,
        new_cas: flags.new_cas,
        quiet: flags.quiet,
        returns: flags.returns,
    }))
}

fn set<'a>(key: &'a [u8], len: u32, tokens: Tokens<'a>) -> Result<Command<'a>, Refusal> {
    let key = short(key)?;
    let flags = Flags::parse(tokens, 3)?;
    let mode = match flags.mode {
        None | Some(b'S') => SetMode::Set,
        Some(b'E') => SetMode::Add,
        Some(b'A') => SetMode::Append,
        Some(b'P') => SetMode::Prepend,
        Some(b'R') => SetMode::Replace,
        Some(_) => return Err(Refusal::BadSetMode),
    };
    Ok(Command::Set(Set {
        key: MetaKey::new(key, flags.base64_key)?,
        len,
        mode,
        flags: flags.client_flags,
        exptime: flags.exptime.unwrap_or(0),
        compare: flags.compare,
        new_cas: flags.new_cas,
        invalidate: flags.invalidate,
        vivify: flags.vivify,
        quiet: flags.quiet,
        returns: flags.returns,
    }))
}

fn delete<'a>(key: &'a [u8], tokens: Tokens<'a>) -> Result<Command<'a>, Failed> {
    let key = short(key)?;
    let flags = Flags::parse(tokens, 2)?;
    Ok(Command::Delete(Delete {
        key: MetaKey::new(key, flags.base64_key)?,
        compare: flags.compare,
        new_cas: flags.new_cas,
        invalidate: flags.invalidate,
        exptime: flags.exptime,
        remove_value: flags.remove_value,
        flags: flags.client_flags,
        quiet: flags.quiet,
        returns: flags.returns,
    }))
}

fn arithmetic<'a>(key: &'a [u8], tokens: Tokens<'a>) -> Result<Command<'a>, Failed> {
    // Whatever is wrong with key or flags has one name here.
    let flags = short(key).and_then(|_| Flags::parse(tokens, 2));
    let key = flags.and_then(|flags| MetaKey::new(key, flags.base64_key));
    let (Ok(flags), Ok(key)) = (flags, key) else {
        // An opaque too long is found later there, with its own.
        return Err(match flags {
            Err(Refusal::OpaqueTooLong) => Refusal::OpaqueTooLong.into(),
            _ => Refusal::InvalidOrDuplicateFlag.into(),
        });
    };
    let decrement = match flags.mode {
        None | Some(b'I' | b'+') => false,
        Some(b'D' | b'-') => true,
        Some(_) => return Err(Refusal::BadArithmeticMode.into()),
    };
    Ok(Command::Arithmetic(Arithmetic {
        key,
        decrement,
        delta: flags.delta.unwrap_or(1),
        initial: flags.initial,
        vivify: flags.vivify,
        exptime: flags.exptime,
        ttl_first: flags.ttl_first,
        compare: flags.compare,
        new_cas: flags.new_cas,
        value: flags.value,
        quiet: flags.quiet,
        returns: flags.returns,
    }))
}
