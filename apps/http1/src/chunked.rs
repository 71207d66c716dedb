//! The chunked coding (RFC 9112, section 7.1), both ways.
//!
//! ```text
//!   size[;extension]CRLF data CRLF  size CRLF data CRLF  0 CRLF [trailer CRLF]* CRLF
//! ```
//!
//! Every line ends with CR LF: a decoder that takes less can be made to disagree with the one in front of it.

/// Digits of a chunk's size at most: a `u64` has sixteen.
const SIZE_DIGITS_MAX: u8 = 16;

/// Bytes of one body's chunk extensions at most, all together (RFC 9112, section 7.1.1 asks for a bound).
const EXTENSIONS_MAX: u16 = 4_096;

/// Bytes of one body's trailer section at most.
const TRAILER_MAX: u16 = 8_192;

/// What is no chunked body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChunkError {
    /// A byte where it may not stand, such as a line feed without a carriage return.
    Malformed,
    /// A size that no `u64` holds.
    Size,
    /// More chunk extensions, or a longer trailer section, than allowed.
    TooLong,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// A digit of the size; how many there were.
    Size(u8),
    /// White space behind the size, which only an extension may follow.
    Space,
    /// A chunk extension.
    Extension,
    /// The line feed behind a size; the last chunk's if there are no data.
    SizeEnd,
    /// Data.
    Data,
    /// The carriage return behind data.
    DataReturn,
    /// The line feed behind data.
    DataEnd,
    /// The first byte of a trailer field, or the carriage return of the end.
    TrailerStart,
    /// A trailer field's name.
    TrailerName,
    /// A trailer field's value.
    TrailerValue,
    /// The line feed behind a trailer field.
    TrailerEnd,
    /// The last line feed.
    LastEnd,
    /// Nothing: the body is over.
    Done,
}

/// A body being decoded: 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decoder {
    /// The chunk's size as far as it was read, or its bytes that are still to come.
    left: u64,
    extensions: u16,
    trailer: u16,
    state: State,
}

const _: () = assert!(size_of::<Decoder>() == 16);

impl Decoder {
    /// A body of which nothing has been read.
    pub const fn new() -> Self {
        Self { left: 0, extensions: 0, trailer: 0, state: State::Size(0) }
    }

    /// Reads what frames the data, up to the next data or the end; returns how many bytes that was.
    ///
    /// # Errors
    ///
    /// See [`ChunkError`].
    pub fn skip_framing(&mut self, bytes: &[u8]) -> Result<usize, ChunkError> {
        let mut read = 0;
        while read < bytes.len() && !matches!(self.state, State::Data | State::Done) {
            self.byte(bytes[read])?;
            read += 1;
        }
        Ok(read)
    }

    /// Bytes of data that follow at once.
    pub const fn data_left(&self) -> u64 {
        match self.state {
            State::Data => self.left,
            _ => 0,
        }
    }

    /// Notes that `count` bytes of data, at most [`Decoder::data_left`], were taken.
    pub fn took(&mut self, count: u64) {
        self.left = self.left.saturating_sub(count);
        if self.left == 0 && self.state == State::Data {
            self.state = State::DataReturn;
        }
    }

    /// Whether the body is over.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn byte(&mut self, byte: u8) -> Result<(), ChunkError> {
        use State::*;
        self.state = match (self.state, byte) {
            (Size(digits), _) if byte.is_ascii_hexdigit() => {
                if digits == SIZE_DIGITS_MAX {
                    return Err(ChunkError::Size);
                }
                let digit = (byte as char).to_digit(16).unwrap_or(0);
                self.left = self.left << 4 | u64::from(digit);
                Size(digits + 1)
            }
            (Size(1..), b'\r') => SizeEnd,
            (Size(1..) | Space, b';') => Extension,
            (Size(1..) | Space, b' ' | b'\t') => self.extension(Space)?,
            (Extension, b'\r') => SizeEnd,
            (Extension, b'\t' | b' '..=b'~' | 0x80..) => self.extension(Extension)?,
            (SizeEnd, b'\n') if self.left == 0 => TrailerStart,
            (SizeEnd, b'\n') => Data,
            (DataReturn, b'\r') => DataEnd,
            (DataEnd, b'\n') => Size(0),
            (TrailerStart, b'\r') => LastEnd,
            (TrailerStart | TrailerName, _) if is_token(byte) => self.trailer(TrailerName)?,
            (TrailerName, b':') => self.trailer(TrailerValue)?,
            (TrailerValue, b'\r') => TrailerEnd,
            (TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => self.trailer(TrailerValue)?,
            (TrailerEnd, b'\n') => TrailerStart,
            (LastEnd, b'\n') => Done,
            _ => return Err(ChunkError::Malformed),
        };
        Ok(())
    }

    fn extension(&mut self, next: State) -> Result<State, ChunkError> {
        self.extensions += 1;
        if self.extensions > EXTENSIONS_MAX { Err(ChunkError::TooLong) } else { Ok(next) }
    }

    fn trailer(&mut self, next: State) -> Result<State, ChunkError> {
        self.trailer += 1;
        if self.trailer > TRAILER_MAX { Err(ChunkError::TooLong) } else { Ok(next) }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

/// Bytes that a field's name may hold (RFC 9110, section 5.6.2).
pub const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// What stands behind a chunk's data.
pub const CHUNK_END: &[u8] = b"\r\n";

/// What ends a body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What stands before a chunk's data: its size and a line end.
#[derive(Clone, Copy, Debug)]
pub struct ChunkStart {
    bytes: [u8; 18],
    first: usize,
}

impl ChunkStart {
    /// Before a chunk of `len` bytes, at least one: an empty chunk would end the body.
    pub fn new(mut len: u64) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut bytes = [0; 18];
        bytes[16..].copy_from_slice(CHUNK_END);
        let mut first = 16;
        while first == 16 || len > 0 {
            first -= 1;
            bytes[first] = DIGITS[(len & 15) as usize];
            len >>= 4;
        }
        Self { bytes, first }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.first..]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// Decodes what arrives in `pieces`: the data, and how many bytes the body took.
    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, Option<usize>), ChunkError> {
        let (mut decoder, mut data, mut read) = (Decoder::new(), Vec::new(), 0);
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() && !decoder.is_done() {
                let framing = decoder.skip_framing(rest)?;
                rest = &rest[framing..];
                let count = decoder.data_left().min(rest.len() as u64) as usize;
                data.extend_from_slice(&rest[..count]);
                decoder.took(count as u64);
                rest = &rest[count..];
                read += framing + count;
            }
        }
        Ok((data, decoder.is_done().then_some(read)))
    }

    #[test]
    fn chunks_extensions_and_trailers_are_read() {
        for (body, data) in [
            ("0\r\n\r\n", ""),
            ("3\r\nabc\r\n0\r\n\r\n", "abc"),
            ("3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", "abc0123456789"),
            ("0003\r\nabc\r\n00\r\n\r\n", "abc"),
            ("3;a=b;c=\"d;e\"\r\nabc\r\n0;x\r\n\r\n", "abc"),
            ("3 ;a\r\nabc\r\n0\r\n\r\n", "abc"),
            ("1\r\na\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n", "a"),
        ] {
            assert_eq!(decode(&[body.as_bytes()]), Ok((data.into(), Some(body.len()))), "{body:?}");
        }
    }

    #[test]
    fn what_follows_the_body_is_left() {
        assert_eq!(decode(&[b"1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n"]), Ok((b"a".to_vec(), Some(11))));
    }

    #[test]
    fn doubtful_chunks_are_refused() {
        for body in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            " 1\r\n",
            "1 \r\n",
            "1\n",
            "1\ra",
            "1\r\nab",
            "1\r\na\n",
            "1\r\na\r\r",
            "1;a\nb",
            "1;a\0",
            "0\r\n\n",
            "0\n\r\n",
            "0\r\n X: y",
            "0\r\nX : y",
            "0\r\n: y",
            "0\r\nX: y\n",
            "0\r\nX\r\n",
        ] {
            assert_eq!(decode(&[body.as_bytes()]), Err(ChunkError::Malformed), "{body:?}");
        }
        assert_eq!(decode(&[b"11111111111111111\r\n"]), Err(ChunkError::Size));
        assert_eq!(decode(&[b"00000000000000000\r\n"]), Err(ChunkError::Size));
        assert_eq!(decode(&[&[b"1;".to_vec(), vec![b'a'; 5_000]].concat()]), Err(ChunkError::TooLong));
        assert_eq!(decode(&[&[b"0\r\nX:".to_vec(), vec![b'a'; 9_000]].concat()]), Err(ChunkError::TooLong));
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded_however_it_is_split(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..5),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(ChunkStart::new(chunk.len() as u64).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(CHUNK_END);
            }
            body.extend_from_slice(LAST_CHUNK);
            let whole = (chunks.concat(), Some(body.len()));
            // At every byte once, and anywhere a few times.
            for cut in 0..=body.len() {
                prop_assert_eq!(decode(&[&body[..cut], &body[cut..]]), Ok(whole.clone()));
            }
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).collect();
            places.sort_unstable();
            let (mut pieces, mut from) = (Vec::new(), 0);
            for place in places {
                pieces.push(&body[from..place]);
                from = place;
            }
            pieces.push(&body[from..]);
            prop_assert_eq!(decode(&pieces), Ok(whole));
        }

        #[test]
        fn any_bytes_are_data_or_an_error_whichever_way_they_arrive(
            body in proptest::collection::vec(prop::sample::select(b"01aF;\r\n \tX:\0\"".to_vec()), 0..40),
        ) {
            let single: Vec<&[u8]> = body.chunks(1).collect();
            prop_assert_eq!(decode(&single), decode(&[&body]));
        }
    }
}
