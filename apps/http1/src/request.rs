//! The head of a request.
//!
//! httparse splits the head into fields; here stands what RFC 9112 says they must not be, so that two parties
//! never see two different requests in the same bytes.

use httparse::{EMPTY_HEADER, Header, Status as Parse};

use crate::response::Status;

/// Header fields of one request at most.
pub const HEADERS_MAX: usize = 64;

/// A request's method, as far as this server distinguishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// The document.
    Get,
    /// The document's head only.
    Head,
    /// Any other.
    Other,
}

/// The head of a request; `target` lies in the bytes that were parsed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// What is asked.
    pub method: Method,
    /// Of what: the path and query in origin form (an absolute form's authority is cut off).
    pub target: &'a str,
    /// Whether the connection stays open after the answer (RFC 9112, section 9.3).
    pub keep_alive: bool,
    /// How many bytes the head has.
    pub head_len: usize,
    /// How many bytes of body follow it.
    pub body_len: u64,
}

/// What has arrived so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed<'a> {
    /// A whole head.
    Complete(Request<'a>),
    /// The beginning of one.
    Partial,
}

/// Why a request cannot be served, as the status to answer with before closing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadRequest(pub Status);

/// Parses the head at the beginning of `bytes`.
///
/// # Errors
///
/// [`BadRequest`] with 400 for what is no HTTP (a missing or repeated Host, a doubtful length), 431 for too many
/// fields, 501 for a transfer coding, 505 for another major version.
pub fn parse(bytes: &[u8]) -> Result<Parsed<'_>, BadRequest> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let head_len = match request.parse(bytes) {
        Ok(Parse::Complete(len)) => len,
        Ok(Parse::Partial) => return Ok(Parsed::Partial),
        Err(httparse::Error::TooManyHeaders) => return Err(BadRequest(Status::HEADERS_TOO_LARGE)),
        Err(httparse::Error::Version) => return Err(BadRequest(Status::VERSION_NOT_SUPPORTED)),
        Err(_) => return Err(BadRequest(Status::BAD_REQUEST)),
    };
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(BadRequest(Status::BAD_REQUEST));
    };
    let fields = Fields::read(request.headers)?;
    // RFC 9112, section 3.2: exactly one Host in HTTP/1.1, at most one in HTTP/1.0.
    if fields.hosts > 1 || (minor == 1 && fields.hosts == 0) {
        return Err(BadRequest(Status::BAD_REQUEST));
    }
    let method = match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        _ => Method::Other,
    };
    let keep_alive = !fields.close && (minor == 1 || fields.keep_alive);
    let body_len = fields.content_length.unwrap_or(0);
    Ok(Parsed::Complete(Request { method, target: origin_form(target)?, keep_alive, head_len, body_len }))
}

/// The path and query of a target in origin or absolute form (RFC 9112, section 3.2).
fn origin_form(target: &str) -> Result<&str, BadRequest> {
    if target.starts_with('/') {
        return Ok(target);
    }
    let rest = target.split_once("://").map(|(_, rest)| rest).ok_or(BadRequest(Status::BAD_REQUEST))?;
    Ok(rest.find('/').map_or("/", |slash| &rest[slash..]))
}

/// The fields that decide framing and persistence.
#[derive(Default)]
struct Fields {
    hosts: u32,
    close: bool,
    keep_alive: bool,
    content_length: Option<u64>,
}

impl Fields {
    fn read(headers: &[Header<'_>]) -> Result<Self, BadRequest> {
        let mut fields = Self::default();
        for header in headers {
            let name = header.name;
            if name.eq_ignore_ascii_case("host") {
                fields.hosts += 1;
            } else if name.eq_ignore_ascii_case("connection") {
                fields.connection(header.value);
            } else if name.eq_ignore_ascii_case("content-length") {
                fields.length(header.value)?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(BadRequest(Status::NOT_IMPLEMENTED));
            }
        }
        Ok(fields)
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// RFC 9112, section 6.3: digits only, and never two of them.
    fn length(&mut self, value: &[u8]) -> Result<(), BadRequest> {
        let bad = BadRequest(Status::BAD_REQUEST);
        if self.content_length.is_some() || value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(bad);
        }
        let digits = core::str::from_utf8(value).map_err(|_| bad)?;
        self.content_length = Some(digits.parse().map_err(|_| bad)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn complete(text: &str) -> Request<'_> {
        match parse(text.as_bytes()).unwrap() {
            Parsed::Complete(request) => request,
            Parsed::Partial => panic!("partial: {text:?}"),
        }
    }

    fn status(text: &str) -> u16 {
        parse(text.as_bytes()).unwrap_err().0.code
    }

    #[test]
    fn persistence_follows_the_version_and_the_connection_field() {
        assert!(complete("GET / HTTP/1.1\r\nHost: a\r\n\r\n").keep_alive);
        assert!(!complete("GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\n\r\n").keep_alive);
        assert!(!complete("GET / HTTP/1.0\r\n\r\n").keep_alive);
        assert!(complete("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive);
    }

    #[test]
    fn targets_come_in_two_forms() {
        assert_eq!(complete("GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n").target, "/a?b");
        assert_eq!(complete("GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n").target, "/b");
        assert_eq!(complete("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n").target, "/");
        assert_eq!(status("GET b HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    }

    #[test]
    fn doubtful_framing_is_refused() {
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
        for length in ["+1", "-1", "1 ", "0x1", "1, 1", "99999999999999999999", ""] {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}1x\r\n\r\n");
            assert_eq!(status(&text), 400, "{length}");
        }
        assert_eq!(
            status("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"),
            400
        );
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), 501);
        assert_eq!(status("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
    }

    #[test]
    fn every_prefix_of_a_request_is_partial() {
        let text = "GET /index.html HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";
        for len in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..len]), Ok(Parsed::Partial), "{len}");
        }
        assert_eq!(complete(text).head_len, text.len());
    }
}
