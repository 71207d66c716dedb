//! What is answered in the binary protocol.

use super::header::{HEADER_LEN, Head, MAGIC_RESPONSE, Status};
use crate::KEY_MAX;
use crate::sink::Sink;

/// Bytes of any answer at most, values and [`stat`] aside.
pub const HEAD_MAX: usize = HEADER_LEN + 4 + KEY_MAX;

fn header(sink: &mut impl Sink, head: Head, status: Status, lens: (usize, usize, usize), cas: u64) {
    // Keys have at most KEY_MAX bytes, extras 4 or 8, values what 32 bits say.
    let (extras_len, key_len, value_len) = lens;
    let body_len = (extras_len + key_len + value_len) as u32;
    sink.put(&[MAGIC_RESPONSE, head.opcode]);
    sink.put(&(key_len as u16).to_be_bytes());
    sink.put(&[extras_len as u8, 0]);
    sink.put(&(status as u16).to_be_bytes());
    sink.put(&body_len.to_be_bytes());
    sink.put(&head.opaque);
    sink.put(&cas.to_be_bytes());
}

/// A status and its words; [`Status::Ok`] has none. `cas` is the item's, or 0.
pub fn status(sink: &mut impl Sink, head: Head, status: Status, cas: u64) {
    header(sink, head, status, (0, 0, status.text().len()), cas);
    sink.put(status.text().as_bytes());
}

/// What GET and GAT answer: header, flags, the key with GETK and GATK. `len` bytes of value follow.
pub fn value_head(sink: &mut impl Sink, head: Head, flags: u32, key: Option<&[u8]>, len: u32, cas: u64) {
    let key = key.unwrap_or(&[]);
    header(sink, head, Status::Ok, (4, key.len(), len as usize), cas);
    sink.put(&flags.to_be_bytes());
    sink.put(key);
}

/// What GETK and GATK answer when the item is not there: the key instead of words.
pub fn miss_with_key(sink: &mut impl Sink, head: Head, key: &[u8]) {
    header(sink, head, Status::NotFound, (0, key.len(), 0), 0);
    sink.put(key);
}

/// What TOUCH answers: the item's flags.
pub fn touched(sink: &mut impl Sink, head: Head, flags: u32, cas: u64) {
    value_head(sink, head, flags, None, 0, cas);
}

/// What INCREMENT and DECREMENT answer.
pub fn number(sink: &mut impl Sink, head: Head, number: u64, cas: u64) {
    header(sink, head, Status::Ok, (0, 0, 8), cas);
    sink.put(&number.to_be_bytes());
}

/// What VERSION answers.
pub fn version(sink: &mut impl Sink, head: Head) {
    header(sink, head, Status::Ok, (0, 0, crate::VERSION.len()), 0);
    sink.put(crate::VERSION.as_bytes());
}

/// One line of what STAT answers; an empty name and value end it.
pub fn stat(sink: &mut impl Sink, head: Head, name: &[u8], value: &[u8]) {
    header(sink, head, Status::Ok, (0, name.len(), value.len()), 0);
    sink.put(name);
    sink.put(value);
}
