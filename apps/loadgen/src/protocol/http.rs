//! HTTP/1.1 (RFC 9112), as far as a load needs it: GET, and answers with a Content-Length or without a body.

use super::{Answers, Protocol};

/// GETs of one target on connections that stay open.
#[derive(Clone, Debug)]
pub struct Http {
    request: Box<[u8]>,
    /// The only request of a connection, which the server closes.
    last: Box<[u8]>,
    /// The last whole head, its body's length, and whether its status was good: the next one is nearly always the same.
    head: Box<[u8]>,
    head_len: usize,
    body: u32,
    wrong: bool,
}

/// Where in an answer the stream is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HttpProgress {
    state: At,
    /// Matched bytes of what is looked for in this line.
    matched: u8,
    wrong: bool,
    /// The body's length, while its head is read; then the bytes of it that are to come.
    left: u32,
}

/// What the next byte is part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum At {
    /// The status line before its code.
    #[default]
    Status,
    /// The status line from the code's first digit on.
    Code,
    /// The start of a header line, as far as it is the one that is looked for.
    Name,
    /// The value of that header.
    Value,
    /// Any other header line.
    Line,
    /// The body.
    Body,
}

const LENGTH: &[u8] = b"content-length:";
/// The longest head that is compared with the one before.
const HEAD_MAX: usize = 1024;
/// A body whose length has more digits is cut short; none this long is a fair load.
const BODY_MAX: u32 = u32::MAX / 10 - 1;

impl Http {
    /// GETs of `target`, with `host` as the Host header.
    pub fn new(target: &str, host: &str) -> Self {
        let begin = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n");
        Self {
            request: format!("{begin}\r\n").into_bytes().into(),
            last: format!("{begin}Connection: close\r\n\r\n").into_bytes().into(),
            head: vec![0; HEAD_MAX].into(),
            head_len: 0,
            body: 0,
            wrong: false,
        }
    }

    /// Reads the head byte by byte; returns what is left of `bytes` once it has ended, if it has.
    fn head<'a>(&self, progress: &mut HttpProgress, bytes: &'a [u8]) -> Option<&'a [u8]> {
        for (place, &byte) in bytes.iter().enumerate() {
            progress.state = match (progress.state, byte) {
                (At::Name, b'\r') => At::Name,
                // The empty line: the name of the next header has not begun.
                (At::Name, b'\n') if progress.matched == 0 => {
                    progress.state = At::Body;
                    return bytes.get(place + 1..);
                }
                (_, b'\n') => {
                    progress.matched = 0;
                    At::Name
                }
                (At::Status, b' ') => At::Code,
                (At::Code, code) => {
                    // 1xx has no place in a load; 2xx and 3xx are good.
                    progress.wrong |= progress.matched == 0 && !matches!(code, b'2' | b'3');
                    progress.matched = 1;
                    At::Code
                }
                (At::Name, byte)
                    if LENGTH.get(usize::from(progress.matched)) == Some(&byte.to_ascii_lowercase()) =>
                {
                    progress.matched += 1;
                    if usize::from(progress.matched) == LENGTH.len() { At::Value } else { At::Name }
                }
                (At::Name, _) => At::Line,
                (At::Value, digit @ b'0'..=b'9') => {
                    progress.left = progress.left.min(BODY_MAX) * 10 + u32::from(digit - b'0');
                    At::Value
                }
                (state, _) => state,
            };
        }
        None
    }

    /// Remembers a head that lay in one piece.
    fn remember(&mut self, head: &[u8], progress: &HttpProgress) {
        if let Some(room) = self.head.get_mut(..head.len()) {
            room.copy_from_slice(head);
            (self.head_len, self.body, self.wrong) = (head.len(), progress.left, progress.wrong);
        }
    }
}

impl Protocol for Http {
    type Progress = HttpProgress;

    fn request_max(&self) -> usize {
        self.last.len()
    }

    fn request_apart(&mut self, into: &mut [u8]) -> usize {
        if let Some(into) = into.get_mut(..self.last.len()) {
            into.copy_from_slice(&self.last);
        }
        self.last.len()
    }

    #[inline]
    fn request(&mut self, into: &mut [u8]) -> usize {
        if let Some(into) = into.get_mut(..self.request.len()) {
            into.copy_from_slice(&self.request);
        }
        self.request.len()
    }

    #[inline]
    fn answers(&mut self, progress: &mut HttpProgress, mut bytes: &[u8]) -> Answers {
        let mut found = Answers::default();
        while !bytes.is_empty() {
            if *progress == HttpProgress::default() {
                let known = self.head.get(..self.head_len).unwrap_or_default();
                if !known.is_empty() && bytes.starts_with(known) {
                    (progress.state, progress.left, progress.wrong) = (At::Body, self.body, self.wrong);
                    bytes = bytes.get(known.len()..).unwrap_or_default();
                } else {
                    let all = bytes;
                    let Some(rest) = self.head(progress, all) else { return found };
                    self.remember(all.get(..all.len() - rest.len()).unwrap_or_default(), progress);
                    bytes = rest;
                }
            } else if progress.state != At::Body {
                let Some(rest) = self.head(progress, bytes) else { return found };
                bytes = rest;
            }
            let count = bytes.len().min(progress.left as usize);
            bytes = bytes.get(count..).unwrap_or_default();
            progress.left -= count as u32;
            if progress.left == 0 {
                found.whole += 1;
                found.wrong += u32::from(progress.wrong);
                *progress = HttpProgress::default();
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::however_cut;
    use super::*;

    const OK: &str =
        "HTTP/1.1 200 OK\r\nServer: x\r\ncontent-LENGTH: 12\r\nContent-Type: a/b\r\n\r\nhello, world";
    const EMPTY: &str = "HTTP/1.1 304 Not Modified\r\nContent: none\r\n\r\n";
    const GONE: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno!";

    #[test]
    fn answers_are_found_however_they_are_cut() {
        for (stream, whole, wrong) in [
            (OK.to_owned(), 1, 0),
            (OK.repeat(3), 3, 0),
            (format!("{OK}{EMPTY}{GONE}{OK}"), 4, 1),
            (format!("{GONE}{GONE}{EMPTY}"), 3, 2),
            (OK[..OK.len() - 1].to_owned(), 0, 0),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".repeat(2), 2, 0),
        ] {
            let mut http = Http::new("/", "x");
            let found = however_cut(&mut http, stream.as_bytes());
            assert_eq!(found, Answers { whole, values: 0, wrong }, "{stream}");
        }
    }

    #[test]
    fn a_body_of_any_length_is_skipped() {
        let mut http = Http::new("/", "x");
        let body = "x".repeat(100_000);
        let stream = format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{body}{OK}");
        let mut progress = HttpProgress::default();
        let found: u32 =
            stream.as_bytes().chunks(1_448).map(|piece| http.answers(&mut progress, piece).whole).sum();
        assert_eq!(found, 2);
    }

    #[test]
    fn a_request_is_one() {
        let mut http = Http::new("/index.html", "198.18.0.2");
        let mut buffer = vec![0; http.request_max()];
        let len = http.request(&mut buffer);
        assert_eq!(&buffer[..len], b"GET /index.html HTTP/1.1\r\nHost: 198.18.0.2\r\n\r\n");
        assert_eq!(http.request_apart(&mut buffer), buffer.len());
        assert_eq!(buffer, b"GET /index.html HTTP/1.1\r\nHost: 198.18.0.2\r\nConnection: close\r\n\r\n");
    }
}
