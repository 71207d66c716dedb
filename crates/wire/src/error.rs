//! Why bytes are not the packet they were taken for.

use core::fmt;

/// Why bytes are not the packet they were taken for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Error {
    /// The bytes end before the header does.
    Truncated,
    /// A length field contradicts the format, another length field or the bytes there are.
    BadLength,
    /// The version is another protocol's.
    BadVersion,
    /// A field holds a value that the format does not know or does not allow.
    BadValue,
}

/// What parsing gives.
pub type Result<T> = core::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the bytes end before the header does",
            Self::BadLength => "a length field is wrong",
            Self::BadVersion => "the version is another protocol's",
            Self::BadValue => "a field holds a value that is not allowed",
        })
    }
}

impl core::error::Error for Error {}
