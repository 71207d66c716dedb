//! A request of the binary protocol as a command.

use super::header::{HEADER_LEN, Head, MAGIC_REQUEST, RequestHeader, Status};
use crate::KEY_MAX;
use crate::text::Verb;

/// A request: a command, what its answer repeats, and whether success goes without one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// For the answer.
    pub head: Head,
    /// A quiet form: of those that fetch, a miss is not answered; of the others, success is not.
    pub quiet: bool,
    /// What is asked.
    pub command: Command<'a>,
}

/// A command of the binary protocol. Times to live are as in [`text::Store`](crate::text::Store::exptime), none of
/// them negative.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command<'a> {
    /// GET, GETK and their quiet forms; with a time to live GAT and GATK.
    Get {
        /// Of which item.
        key: &'a [u8],
        /// The answer has the key too, even that of a miss.
        with_key: bool,
        /// Its new time to live.
        touch: Option<i32>,
    },
    /// TOUCH
    Touch {
        /// Of which item.
        key: &'a [u8],
        /// Its new time to live.
        exptime: i32,
    },
    /// SET, ADD, REPLACE, APPEND, PREPEND: the value follows.
    Store(Store<'a>),
    /// DELETE
    Delete {
        /// Of which item.
        key: &'a [u8],
        /// Only the item with this CAS unique; 0 for any.
        cas: u64,
    },
    /// INCREMENT, DECREMENT
    Arithmetic {
        /// Of which item.
        key: &'a [u8],
        /// By how much.
        delta: u64,
        /// Down rather than up.
        decrement: bool,
        /// An item that is not there is made with this number and time to live.
        initial: Option<(u64, i32)>,
        /// Only the item with this CAS unique; 0 for any.
        cas: u64,
    },
    /// FLUSH
    Flush {
        /// When, like [`text::Command::FlushAll`](crate::text::Command::FlushAll).
        delay: i32,
    },
    /// NOOP: an answer, behind those of all quiet ones before.
    Noop,
    /// VERSION
    Version,
    /// STAT
    Stat {
        /// What stands behind `stats` in text; empty for the general table.
        name: &'a [u8],
    },
    /// QUIT: the connection is closed behind the answer.
    Quit,
}

/// A value to store; its bytes follow as [`Step::Data`](crate::Step::Data).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Store<'a> {
    /// How. A CAS unique turns set, add and replace into [`Verb::Cas`].
    pub verb: Verb,
    /// Under which key.
    pub key: &'a [u8],
    /// Kept with the value; 0 for append and prepend.
    pub flags: u32,
    /// Time to live; 0 for append and prepend.
    pub exptime: i32,
    /// Bytes of the value.
    pub len: u32,
    /// Append and prepend: only to the item with this CAS unique; 0 for any.
    pub cas: u64,
}

/// What stands at the beginning of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found<'a> {
    /// Not enough to say.
    Nothing,
    /// No request at all.
    Foreign,
    /// A request, its bytes up to the value's, and the value's length: to be skipped, or of a [`Command::Store`].
    Request { request: Request<'a>, consumed: usize, value: u32 },
    /// One that is answered with an error; what follows is skipped, or the connection is over.
    Refused { head: Head, status: Status, consumed: usize, value: u32, close: bool },
}

/// A command's shape, by its opcode.
enum Shape {
    Get { with_key: bool, touch: bool },
    Touch,
    Store(Verb),
    Delete,
    Arithmetic { decrement: bool },
    Flush,
    Noop,
    Version,
    Stat,
    Quit,
}

/// The opcode's shape, and whether it is the quiet form.
const fn shape(opcode: u8) -> Option<(Shape, bool)> {
    Some(match opcode {
        0x00 => (Shape::Get { with_key: false, touch: false }, false),
        0x01 => (Shape::Store(Verb::Set), false),
        0x02 => (Shape::Store(Verb::Add), false),
        0x03 => (Shape::Store(Verb::Replace), false),
        0x04 => (Shape::Delete, false),
        0x05 => (Shape::Arithmetic { decrement: false }, false),
        0x06 => (Shape::Arithmetic { decrement: true }, false),
        0x07 => (Shape::Quit, false),
        0x08 => (Shape::Flush, false),
        0x09 => (Shape::Get { with_key: false, touch: false }, true),
        0x0a => (Shape::Noop, false),
        0x0b => (Shape::Version, false),
        0x0c => (Shape::Get { with_key: true, touch: false }, false),
        0x0d => (Shape::Get { with_key: true, touch: false }, true),
        0x0e => (Shape::Store(Verb::Append), false),
        0x0f => (Shape::Store(Verb::Prepend), false),
        0x10 => (Shape::Stat, false),
        0x11 => (Shape::Store(Verb::Set), true),
        0x12 => (Shape::Store(Verb::Add), true),
        0x13 => (Shape::Store(Verb::Replace), true),
        0x14 => (Shape::Delete, true),
        0x15 => (Shape::Arithmetic { decrement: false }, true),
        0x16 => (Shape::Arithmetic { decrement: true }, true),
        0x17 => (Shape::Quit, true),
        0x18 => (Shape::Flush, true),
        0x19 => (Shape::Store(Verb::Append), true),
        0x1a => (Shape::Store(Verb::Prepend), true),
        0x1c => (Shape::Touch, false),
        0x1d => (Shape::Get { with_key: false, touch: true }, false),
        0x1e => (Shape::Get { with_key: false, touch: true }, true),
        0x23 => (Shape::Get { with_key: true, touch: true }, false),
        0x24 => (Shape::Get { with_key: true, touch: true }, true),
        // 0x20 to 0x22 are SASL's, which a server without it does not know; nor does memcached 0x1b, verbosity.
        _ => return None,
    })
}

/// Reads the request at the beginning of `input`: header, extras and key, which have to be there in one piece.
pub(crate) fn parse(input: &[u8]) -> Found<'_> {
    let Some((header, rest)) = input.split_first_chunk::<HEADER_LEN>() else {
        return match input.first() {
            Some(&first) if first != MAGIC_REQUEST => Found::Foreign,
            _ => Found::Nothing,
        };
    };
    let [MAGIC_REQUEST, ..] = header else { return Found::Foreign };
    let RequestHeader { head, key_len, extras_len, body_len, cas } = RequestHeader::parse(header);
    let refused = |status| Found::Refused { head, status, consumed: HEADER_LEN, value: 0, close: true };
    let (key_len, extras_len) = (usize::from(key_len), usize::from(extras_len));
    let names_len = key_len + extras_len;
    let Some(value) = (body_len as usize).checked_sub(names_len) else {
        return refused(Status::Unknown);
    };
    if key_len > KEY_MAX {
        return refused(Status::Invalid);
    }
    let Some((shape, quiet)) = shape(head.opcode) else {
        return Found::Refused {
            head,
            status: Status::Unknown,
            consumed: HEADER_LEN,
            value: body_len,
            close: false,
        };
    };
    let Some((names, _)) = rest.split_at_checked(names_len) else { return Found::Nothing };
    let Some((extras, key)) = names.split_at_checked(extras_len) else { return Found::Nothing };
    let command = command(&shape, extras, key, value as u32, cas);
    match command {
        Some(command) => Found::Request {
            request: Request { head, quiet, command },
            consumed: HEADER_LEN + names_len,
            value: value as u32,
        },
        None => refused(Status::Invalid),
    }
}

/// A shape filled in; `None` if lengths do not fit it.
fn command<'a>(shape: &Shape, extras: &[u8], key: &'a [u8], value: u32, cas: u64) -> Option<Command<'a>> {
    let named = !key.is_empty();
    let bare = extras.is_empty() && value == 0;
    Some(match *shape {
        Shape::Get { with_key, touch: false } if named && bare => Command::Get { key, with_key, touch: None },
        Shape::Get { with_key, touch: true } if named => {
            Command::Get { key, with_key, touch: Some(time(extras)?) }
        }
        Shape::Touch if named => Command::Touch { key, exptime: time(extras)? },
        Shape::Store(verb @ (Verb::Append | Verb::Prepend)) if named && extras.is_empty() => {
            Command::Store(Store { verb, key, flags: 0, exptime: 0, len: value, cas })
        }
        Shape::Store(verb @ (Verb::Set | Verb::Add | Verb::Replace)) if named => {
            let &[f0, f1, f2, f3, ref exptime @ ..] = extras else { return None };
            let flags = u32::from_be_bytes([f0, f1, f2, f3]);
            let verb = if cas == 0 { verb } else { Verb::Cas(cas) };
            Command::Store(Store { verb, key, flags, exptime: time(exptime)?, len: value, cas: 0 })
        }
        Shape::Delete if named && bare => Command::Delete { key, cas },
        Shape::Arithmetic { decrement } if named && value == 0 => {
            let (delta, rest) = extras.split_first_chunk::<8>()?;
            let (initial, exptime) = rest.split_first_chunk::<8>()?;
            let exptime_given = time(exptime)?;
            // All ones: nothing is made.
            let exptime = Some(exptime_given).filter(|_| exptime != [0xff; 4].as_slice());
            let initial = exptime.map(|exptime| (u64::from_be_bytes(*initial), exptime));
            Command::Arithmetic { key, delta: u64::from_be_bytes(*delta), decrement, initial, cas }
        }
        Shape::Flush if !named && value == 0 => {
            Command::Flush { delay: if extras.is_empty() { 0 } else { time(extras)? } }
        }
        Shape::Noop if !named && bare => Command::Noop,
        Shape::Version if !named && bare => Command::Version,
        Shape::Stat if extras.is_empty() => Command::Stat { name: key },
        Shape::Quit if !named && bare => Command::Quit,
        _ => return None,
    })
}

/// Four bytes of time; what 31 bits cannot hold is the last second that they can.
fn time(extras: &[u8]) -> Option<i32> {
    let seconds = u32::from_be_bytes(extras.try_into().ok()?);
    Some(i32::try_from(seconds).unwrap_or(i32::MAX))
}
