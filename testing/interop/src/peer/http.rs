//! An HTTP/1.1 client: one GET over a connection that stays open (RFC 9112).

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, bail, ensure};

use super::pattern::{Proof, Prover};
use super::tcp::receive_exactly;

/// The longest head of an answer.
const HEAD_MAX: usize = 16 * 1024;

/// What came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Proof,
}

/// Fetches `path`; the connection can be used again.
///
/// # Errors
///
/// When the answer is not HTTP, has no `Content-Length`, or ends early.
pub fn get(stream: &mut TcpStream, host: &str, path: &str) -> Result<Answer> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").context("sending the request")?;
    let head = read_head(stream)?;
    let (status, length) = parse_head(&head)?;
    let mut prover = Prover::default();
    receive_exactly(stream, length, |bytes| {
        prover.add(bytes);
        Ok(())
    })?;
    Ok(Answer { status, body: prover.finish() })
}

/// Reads up to the empty line and no byte further.
fn read_head(stream: &mut impl Read) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < HEAD_MAX, "the answer's head does not end");
        let mut byte = [0];
        stream.read_exact(&mut byte).context("reading the answer's head")?;
        head.push(byte[0]);
    }
    String::from_utf8(head).context("the answer's head is not text")
}

/// The status and the body's length.
fn parse_head(head: &str) -> Result<(u16, u64)> {
    let mut lines = head.lines();
    let status_line = lines.next().unwrap_or_default();
    let Some(("HTTP/1.1", rest)) = status_line.split_once(' ') else {
        bail!("no HTTP/1.1 answer: {status_line}")
    };
    let status = rest.get(..3).and_then(|code| code.parse().ok()).with_context(|| status_line.to_string())?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .context("the answer has no Content-Length")?
        .1
        .trim()
        .parse()
        .context("Content-Length is no number")?;
    Ok((status, length))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_head_is_read_to_its_end_and_no_further() {
        let mut bytes: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody";
        let head = read_head(&mut bytes).unwrap();
        assert_eq!(parse_head(&head).unwrap(), (200, 4));
        assert_eq!(bytes, b"body");
    }

    #[test]
    fn heads_that_lack_something_are_errors() {
        for head in [
            "",
            "HTTP/1.0 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 2\r\nContent-Length: 1\r\n\r\n",
        ] {
            assert!(parse_head(head).is_err(), "{head}");
        }
        assert!(read_head(&mut &b"HTTP/1.1 200 OK\r\n"[..]).is_err());
    }
}
