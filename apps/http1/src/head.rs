//! The head of an answer, written field by field.

use arrayvec::ArrayVec;

use crate::decimal::Decimal;
use crate::status::Status;

/// Bytes of an answer's head at most.
pub const HEAD_MAX: usize = 1024;

/// The head of an answer in a buffer of its own. What does not fit is noticed at the end: no part of it is sent then.
#[derive(Clone, Debug)]
pub struct Head {
    bytes: ArrayVec<u8, HEAD_MAX>,
    overflow: bool,
}

/// More fields than [`HEAD_MAX`] holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overflow;

impl Head {
    /// Begins a head with its status line.
    pub fn new(status: Status) -> Self {
        let mut head = Self::fields();
        head.push(b"HTTP/1.1 ");
        head.push(Decimal::new(u64::from(status.code)).as_bytes());
        head.push(b" ");
        head.push(status.reason.as_bytes());
        head.push(b"\r\n");
        head
    }

    /// Begins the part of a head behind its first lines.
    pub fn fields() -> Self {
        Self { bytes: ArrayVec::new(), overflow: false }
    }

    /// Adds a field. A value that would break out of its line is left out, and the head counts as too long.
    pub fn field(&mut self, name: &str, value: &[u8]) -> &mut Self {
        if value.iter().any(|&byte| byte == b'\r' || byte == b'\n' || byte == 0) {
            self.overflow = true;
            return self;
        }
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
        self.push(Decimal::new(value).as_bytes());
        self.push(b"\r\n");
        self
    }

    /// Adds whole lines, each with its line end.
    pub fn lines(&mut self, lines: &[u8]) -> &mut Self {
        self.push(lines);
        self
    }

    /// Ends the head and returns its bytes.
    ///
    /// # Errors
    ///
    /// [`Overflow`] when something did not fit.
    pub fn finish(&mut self) -> Result<&[u8], Overflow> {
        self.push(b"\r\n");
        if self.overflow { Err(Overflow) } else { Ok(&self.bytes) }
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.bytes.try_extend_from_slice(bytes).is_err() {
            self.overflow = true;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_head_reads_as_written() {
        let mut head = Head::new(Status::OK);
        head.field("Content-Type", b"text/plain").number("Content-Length", 0).number("X", u64::MAX);
        let text = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\nX: 18446744073709551615\r\n\r\n";
        assert_eq!(head.finish(), Ok(text.as_bytes()));
    }

    #[test]
    fn what_does_not_fit_is_no_head() {
        let mut head = Head::new(Status::OK);
        head.field("X", &[b'a'; HEAD_MAX]);
        assert_eq!(head.finish(), Err(Overflow));
    }

    #[test]
    fn a_value_cannot_begin_a_line() {
        let mut head = Head::new(Status::OK);
        head.field("Location", b"/\r\nSet-Cookie: a=b");
        assert_eq!(head.finish(), Err(Overflow));
    }
}
