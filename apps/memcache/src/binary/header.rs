//! The 24 bytes before every request and every answer.
//!
//! ```text
//!   0 magic | 1 opcode | 2-3 key length | 4 extras length | 5 data type | 6-7 status (of an answer)
//!   8-11 body length: extras, key and value | 12-15 opaque | 16-23 CAS unique
//! ```

/// Bytes of a header.
pub const HEADER_LEN: usize = 24;
/// The first byte of a request.
pub const MAGIC_REQUEST: u8 = 0x80;
/// The first byte of an answer.
pub const MAGIC_RESPONSE: u8 = 0x81;

/// What an answer repeats of its request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Head {
    /// The command's number.
    pub opcode: u8,
    /// The client's own mark, as it came.
    pub opaque: [u8; 4],
}

/// How it went.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u16)]
pub enum Status {
    /// It was done.
    Ok = 0,
    /// There is no such item.
    NotFound = 1,
    /// The item is there, or has another CAS unique.
    Exists = 2,
    /// The value is over the limit.
    TooLarge = 3,
    /// The request contradicts itself.
    Invalid = 4,
    /// Append and prepend did not find what they need.
    NotStored = 5,
    /// The item is no number.
    NonNumeric = 6,
    /// It is not allowed.
    AuthError = 0x20,
    /// There is no such command.
    Unknown = 0x81,
    /// There is no memory.
    NoMemory = 0x82,
}

impl Status {
    /// The words that go with it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Ok => "",
            Self::NotFound => "Not found",
            Self::Exists => "Data exists for key.",
            Self::TooLarge => "Too large.",
            Self::Invalid => "Invalid arguments",
            Self::NotStored => "Not stored.",
            Self::NonNumeric => "Non-numeric server-side value for incr or decr",
            Self::AuthError => "Auth failure.",
            Self::Unknown => "Unknown command",
            Self::NoMemory => "Out of memory",
        }
    }
}

/// A request's header, its numbers in this machine's order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RequestHeader {
    pub(super) head: Head,
    pub(super) key_len: u16,
    pub(super) extras_len: u8,
    pub(super) body_len: u32,
    pub(super) cas: u64,
}

impl RequestHeader {
    pub(super) const fn parse(bytes: &[u8; HEADER_LEN]) -> Self {
        let [_, opcode, key_high, key_low, extras_len, _, _, _, b0, b1, b2, b3, o0, o1, o2, o3, cas @ ..] =
            *bytes;
        Self {
            head: Head { opcode, opaque: [o0, o1, o2, o3] },
            key_len: u16::from_be_bytes([key_high, key_low]),
            extras_len,
            body_len: u32::from_be_bytes([b0, b1, b2, b3]),
            cas: u64::from_be_bytes(cas),
        }
    }
}
