//! What is answered in the text protocol.

use crate::KEY_MAX;
use crate::sink::{Sink, decimal};

/// The end of a multi-get's answer.
pub const END: &[u8] = b"END\r\n";
/// The end of a line and of a value.
pub const CRLF: &[u8] = b"\r\n";

/// Bytes of a value's head at most.
pub const HEAD_MAX: usize = 6 + KEY_MAX + 1 + 10 + 1 + 10 + 1 + 20 + 2;

/// The line before a value: `VALUE key flags bytes [cas]`. The value follows, then [`CRLF`].
pub fn value_head(sink: &mut impl Sink, key: &[u8], flags: u32, len: u32, cas: Option<u64>) {
    sink.put(b"VALUE ");
    sink.put(key);
    sink.put(b" ");
    decimal(sink, flags);
    sink.put(b" ");
    decimal(sink, len);
    if let Some(cas) = cas {
        sink.put(b" ");
        decimal(sink, cas);
    }
    sink.put(CRLF);
}

macro_rules! outcomes {
    ($($(#[$meta:meta])* $name:ident = $line:literal;)*) => {
        /// A line that says how it went.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Outcome {
            $($(#[$meta])* $name,)*
        }

        impl Outcome {
            /// The line with its end.
            pub const fn bytes(self) -> &'static [u8] {
                match self {
                    $(Self::$name => concat!($line, "\r\n").as_bytes(),)*
                }
            }
        }
    };
}

outcomes! {
    /// The value was stored.
    Stored = "STORED";
    /// An add, replace, append or prepend did not find what it needs.
    NotStored = "NOT_STORED";
    /// A cas found another CAS unique.
    Exists = "EXISTS";
    /// There is no such item.
    NotFound = "NOT_FOUND";
    /// The item is gone.
    Deleted = "DELETED";
    /// The item has its new time to live.
    Touched = "TOUCHED";
    /// It was done.
    Ok = "OK";
    /// The counters are zero.
    Reset = "RESET";
    /// A list is over.
    End = "END";
}

impl Outcome {
    /// Writes the line.
    pub fn emit(self, sink: &mut impl Sink) {
        sink.put(self.bytes());
    }
}

/// What incr and decr answer.
pub fn number(sink: &mut impl Sink, value: u64) {
    decimal(sink, value);
    sink.put(CRLF);
}

/// What version answers.
pub fn version(sink: &mut impl Sink) {
    sink.put(b"VERSION ");
    sink.put(crate::VERSION.as_bytes());
    sink.put(CRLF);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_at_most_its_bound() {
        let mut head = Vec::new();
        value_head(&mut head, &[b'k'; KEY_MAX], u32::MAX, u32::MAX, Some(u64::MAX));
        assert_eq!(head.len(), HEAD_MAX);
    }
}
