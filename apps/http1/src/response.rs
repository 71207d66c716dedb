//! The head of an answer.

/// A status: its code and its reason phrase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// Three digits (RFC 9110, section 15).
    pub code: u16,
    /// What a person reads.
    pub reason: &'static str,
}

macro_rules! statuses {
    ($($(#[$meta:meta])* $name:ident = $code:literal $reason:literal;)*) => {
        impl Status {
            $($(#[$meta])* pub const $name: Self = Self { code: $code, reason: $reason };)*
        }
    };
}

statuses! {
    /// The document follows.
    OK = 200 "OK";
    /// The request is malformed; the connection is closed, for nobody knows where the next one begins.
    BAD_REQUEST = 400 "Bad Request";
    /// No such document.
    NOT_FOUND = 404 "Not Found";
    /// Only GET and HEAD.
    METHOD_NOT_ALLOWED = 405 "Method Not Allowed";
    /// The target is longer than a path may be.
    URI_TOO_LONG = 414 "URI Too Long";
    /// Too many fields, or too long.
    HEADERS_TOO_LARGE = 431 "Request Header Fields Too Large";
    /// A transfer coding that this server does not know.
    NOT_IMPLEMENTED = 501 "Not Implemented";
    /// Not HTTP/1.
    VERSION_NOT_SUPPORTED = 505 "HTTP Version Not Supported";
}

/// Bytes of an answer's head at most.
pub const HEAD_MAX: usize = 512;

/// The head of an answer, written field by field into a buffer of its own.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    bytes: [u8; HEAD_MAX],
    len: usize,
}

impl Head {
    /// Begins a head with its status line.
    pub fn new(status: Status) -> Self {
        let mut head = Self { bytes: [0; HEAD_MAX], len: 0 };
        head.push(b"HTTP/1.1 ");
        head.push_number(u64::from(status.code));
        head.push(b" ");
        head.push(status.reason.as_bytes());
        head.push(b"\r\n");
        head
    }

    /// Adds a field.
    pub fn field(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.push(name.as_bytes());
        self.push(b": ");
        self.push(value);
        self.push(b"\r\n");
        self
    }

    /// Adds a field whose value is a number.
    pub fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.push(name.as_bytes());
        self.push(b": ");
        self.push_number(value);
        self.push(b"\r\n");
        self
    }

    /// Ends the head and returns its bytes.
    pub fn finish(&mut self) -> &[u8] {
        self.push(b"\r\n");
        &self.bytes[..self.len]
    }

    /// Appends bytes; the fields of this server fit by far, and what does not is cut.
    fn push(&mut self, bytes: &[u8]) {
        let room = &mut self.bytes[self.len..];
        let count = bytes.len().min(room.len());
        room[..count].copy_from_slice(&bytes[..count]);
        self.len += count;
    }

    fn push_number(&mut self, mut value: u64) {
        let mut digits = [0; 20];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.push(&digits[first..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_reads_as_written() {
        let mut head = Head::new(Status::OK);
        head.field("Content-Type", b"text/plain").number("Content-Length", 0).number("X", u64::MAX);
        assert_eq!(
            core::str::from_utf8(head.finish()),
            Ok(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\nX: 18446744073709551615\r\n\r\n"
            )
        );
    }
}
