//! One file, fetched over HTTP and compared byte by byte.

use freeway::{Application, CloseReason, Conn, ConnectConfig, Ended, Instant, Stack};

use crate::gauge::{Gauge, Reading};

/// The byte at a place of the file: never periodic in a power of two, so that a byte in the wrong place shows.
pub const fn file_byte(place: u64) -> u8 {
    ((place as u32 ^ (place >> 32) as u32).wrapping_mul(0x85eb_ca6b) >> 21) as u8
}

/// Fetches a file of a known length whose bytes are [`file_byte`]s.
///
/// Its gauge counts bytes that came as they should as answered, and one failure for each that did not, or when
/// the file came short.
pub struct Download {
    connect: ConnectConfig,
    request: Vec<u8>,
    len: u64,
    received: u64,
    head: Vec<u8>,
    in_body: bool,
    reading: Reading,
    gauge: Gauge,
}

impl Download {
    /// Fetches `path`, of `len` bytes, from the HTTP server at the address that `connect` names.
    pub fn new(connect: ConnectConfig, path: &str, len: u64, gauge: Gauge) -> Self {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", connect.remote.ip());
        Self {
            connect,
            request: request.into_bytes(),
            len,
            received: 0,
            head: Vec::with_capacity(1024),
            in_body: false,
            reading: Reading::default(),
            gauge,
        }
    }

    /// Reads the answer's head, up to the empty line; true once the body has begun.
    fn read_head(&mut self, conn: &mut Conn<'_, ()>) -> bool {
        const END: &[u8] = b"\r\n\r\n";
        while !self.in_body {
            let piece = conn.peek();
            if piece.is_empty() {
                return false;
            }
            let before = self.head.len();
            self.head.extend_from_slice(piece);
            let consumed = match self.head.windows(END.len()).position(|window| window == END) {
                Some(end) => {
                    self.in_body = true;
                    end + END.len() - before
                }
                None => piece.len(),
            };
            conn.consume(consumed);
        }
        true
    }
}

impl Application for Download {
    type Conn = ();

    fn start(&mut self, stack: &mut Stack<()>, _now: Instant) {
        if stack.connect(&self.connect).is_err() {
            self.reading.failed += 1;
        }
        self.gauge.write(self.reading);
    }

    fn connected(&mut self, mut conn: Conn<'_, ()>) {
        self.reading.open = 1;
        let written = conn.write(&self.request);
        self.reading.failed += u64::from(written != self.request.len());
    }

    fn readable(&mut self, mut conn: Conn<'_, ()>) {
        if self.read_head(&mut conn) {
            loop {
                let piece = conn.peek();
                let count = piece.len();
                if count == 0 {
                    break;
                }
                let right =
                    piece.iter().zip(self.received..).filter(|&(&byte, place)| byte == file_byte(place));
                let right = right.count() as u64;
                self.reading.answered += right;
                self.reading.failed += count as u64 - right;
                self.received += count as u64;
                conn.consume(count);
            }
        }
        if conn.at_end() {
            conn.close();
        }
    }

    fn turn(&mut self, _: &mut Stack<()>, _: Instant) {
        self.gauge.write(self.reading);
    }

    fn closed(&mut self, _: &mut Stack<()>, ended: Ended<()>) {
        let whole = ended.reason == CloseReason::Finished && self.received == self.len;
        self.reading.failed += u64::from(!whole);
        self.reading.open = 0;
        self.gauge.write(self.reading);
    }
}
