//! What a handler answers with.

use freeway_http1::chunked::{CHUNK_END, ChunkStart, LAST_CHUNK};
use freeway_http1::{Head, Status};

use crate::io::{Io, PUT_MAX};
use crate::prefix::Prefixes;

/// Bytes of a chunk at most: with what frames it, it fits into a usual segment.
const CHUNK_MAX: usize = 1_400;

/// How an answer's end is told (RFC 9112, section 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// It has not begun.
    None,
    /// By its length: so many bytes are still to come.
    Length(u64),
    /// By the last chunk.
    Chunked,
    /// By the end of the connection.
    UntilClose,
    /// It is over.
    Done,
}

/// What of a request decides how it is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// HTTP/1.0 knows no chunks.
    pub(crate) minor: u8,
    /// Nothing but the head was asked for.
    pub(crate) head_only: bool,
    /// The connection stays open.
    pub(crate) keep_alive: bool,
    /// The site whose error pages go out.
    pub(crate) site: u16,
}

impl Manner {
    /// Of a request that nobody could read.
    pub(crate) const CLOSE: Self = Self { minor: 1, head_only: false, keep_alive: false, site: 0 };

    /// The line that says whether the connection stays open, where that is not understood by itself.
    pub(crate) const fn connection(self) -> &'static [u8] {
        match (self.keep_alive, self.minor) {
            (true, 1) => b"",
            (true, _) => b"Connection: keep-alive\r\n",
            (false, _) => b"Connection: close\r\n",
        }
    }
}

/// The answer to one request, in a handler's hands.
pub struct Reply<'a> {
    pub(crate) io: &'a mut dyn Io,
    pub(crate) prefixes: &'a Prefixes,
    pub(crate) manner: Manner,
    pub(crate) mode: Mode,
    pub(crate) status: u16,
    pub(crate) written: u64,
}

impl Reply<'_> {
    /// Answers with `body` as a whole; false when the answer had begun, or body and `fields` (whole lines, each with its
    /// end) are longer than a kilobyte together, or do not fit now.
    pub fn whole(&mut self, status: Status, media_type: &str, fields: &[u8], body: &[u8]) -> bool {
        let mut head = Head::fields();
        if !media_type.is_empty() {
            head.field("Content-Type", media_type.as_bytes());
        }
        if !status.is_bodiless() {
            head.number("Content-Length", body.len() as u64);
        }
        head.lines(self.manner.connection()).lines(fields);
        let Ok(head) = head.finish() else { return false };
        let body = if self.manner.head_only || status.is_bodiless() { &[][..] } else { body };
        let prefix = self.prefixes.of(status);
        if self.mode != Mode::None
            || prefix.len() + head.len() + body.len() > PUT_MAX
            || !self.io.put(&[prefix, head, body])
        {
            return false;
        }
        (self.mode, self.status, self.written) = (Mode::Done, status.code, body.len() as u64);
        true
    }

    /// Begins an answer whose body is written in parts: of `length` bytes, or of as many as there will be. False when it
    /// had begun, or there is no room.
    pub fn start(&mut self, status: Status, media_type: &str, length: Option<u64>) -> bool {
        let mut head = Head::fields();
        head.field("Content-Type", media_type.as_bytes());
        let mode = match length {
            Some(length) => {
                head.number("Content-Length", length);
                Mode::Length(length)
            }
            None if self.manner.minor == 1 => {
                head.field("Transfer-Encoding", b"chunked");
                Mode::Chunked
            }
            None => {
                self.manner.keep_alive = false;
                Mode::UntilClose
            }
        };
        head.lines(self.manner.connection());
        let Ok(head) = head.finish() else { return false };
        if self.mode != Mode::None || !self.io.put(&[self.prefixes.of(status), head]) {
            return false;
        }
        self.status = status.code;
        self.mode = if self.manner.head_only || mode == Mode::Length(0) { Mode::Done } else { mode };
        true
    }

    /// Whether the answer has begun.
    pub fn has_begun(&self) -> bool {
        self.mode != Mode::None
    }

    /// Whether the answer is over.
    pub fn is_done(&self) -> bool {
        matches!(self.mode, Mode::Done)
    }

    /// Writes as much of `bytes` as there is room for, and asks for room if that is not all. What goes beyond the length
    /// that was announced, or follows the end, is taken and dropped.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let written = match self.mode {
            Mode::Length(left) => {
                let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let written = self.io.write(&bytes[..count]);
                let left = left - written as u64;
                self.mode = if left == 0 { Mode::Done } else { Mode::Length(left) };
                if left == 0 { bytes.len() } else { written }
            }
            Mode::Chunked => self.write_chunks(bytes),
            Mode::UntilClose => self.io.write(bytes),
            Mode::None | Mode::Done => bytes.len(),
        };
        self.written += written as u64;
        written
    }

    fn write_chunks(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        for piece in bytes.chunks(CHUNK_MAX) {
            if !self.io.put(&[ChunkStart::new(piece.len() as u64).as_bytes(), piece, CHUNK_END]) {
                break;
            }
            written += piece.len();
        }
        written
    }

    /// Ends an answer that was started; false when there is no room for its end now.
    pub fn finish(&mut self) -> bool {
        match self.mode {
            Mode::Chunked if !self.io.put(&[LAST_CHUNK]) => return false,
            // Less than was announced: only the end of the connection can tell.
            Mode::Length(1..) => self.manner.keep_alive = false,
            _ => {}
        }
        self.mode = Mode::Done;
        true
    }
}
