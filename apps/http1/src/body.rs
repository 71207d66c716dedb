//! A request's body as it arrives, however it is framed.
//!
//! The reader asks in turn: [`Body::skip_framing`] of what lies before the data, [`Body::data_left`] for how many bytes
//! of data stand next, [`Body::took`] for those it has dealt with.

use crate::chunked::{ChunkError, Decoder};
use crate::fields::Framing;

/// A body of which a part is still to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Decoder),
}

/// Bytes that are no body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BodyError(pub ChunkError);

impl Body {
    /// The body that `framing` announces.
    pub const fn new(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::Length(0),
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Decoder::new()),
        }
    }

    /// Reads what stands before the next data; returns how many bytes that was.
    ///
    /// # Errors
    ///
    /// Bytes that are no chunked body.
    pub fn skip_framing(&mut self, bytes: &[u8]) -> Result<usize, BodyError> {
        match self {
            Self::Length(_) => Ok(0),
            Self::Chunked(decoder) => decoder.skip_framing(bytes).map_err(BodyError),
        }
    }

    /// Bytes of data that follow at once.
    pub const fn data_left(&self) -> u64 {
        match self {
            Self::Length(left) => *left,
            Self::Chunked(decoder) => decoder.data_left(),
        }
    }

    /// Notes that `count` bytes of data, at most [`Body::data_left`], were taken.
    pub fn took(&mut self, count: u64) {
        match self {
            Self::Length(left) => *left = left.saturating_sub(count),
            Self::Chunked(decoder) => decoder.took(count),
        }
    }

    /// Whether all of it was read.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(decoder) => decoder.is_done(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_counts_down() {
        let mut body = Body::new(Framing::Length(5));
        assert_eq!((body.skip_framing(b"hello"), body.data_left(), body.is_done()), (Ok(0), 5, false));
        body.took(3);
        assert_eq!((body.data_left(), body.is_done()), (2, false));
        body.took(2);
        assert!(body.is_done());
        assert!(Body::new(Framing::None).is_done());
    }

    #[test]
    fn chunks_are_walked_data_by_data() {
        let mut body = Body::new(Framing::Chunked);
        assert_eq!((body.skip_framing(b"3\r\nabc\r\n0\r\n\r\n"), body.data_left()), (Ok(3), 3));
        body.took(3);
        assert_eq!((body.skip_framing(b"\r\n0\r\n\r\n"), body.is_done()), (Ok(7), true));
        assert!(Body::new(Framing::Chunked).skip_framing(b"x").is_err());
    }
}
