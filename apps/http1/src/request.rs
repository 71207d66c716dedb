//! The head of a request.
//!
//! httparse splits the head into fields; here and in [`fields`] stands what RFC 9112 says they must not
//! be, so that two parties never see two different requests in the same bytes.

use core::mem::MaybeUninit;

use httparse::{Header, Status as Parse};

use crate::fields::{self, Framing, Seen};
use crate::method::Method;
use crate::status::Status;
use crate::target::{Form, Target};

/// Header fields of one request at most, whatever [`Limits`] say.
pub const FIELDS_MAX: usize = 128;

/// Room for the fields of a request, not filled before they are there.
pub type Space<'b> = [MaybeUninit<Header<'b>>; FIELDS_MAX];

/// Empty room for fields.
pub const fn space<'b>() -> Space<'b> {
    [const { MaybeUninit::uninit() }; FIELDS_MAX]
}

/// How large a head may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of the request line. Default 8,190; more costs nothing but what `head` allows.
    pub line: u32,
    /// Bytes of the whole head. Default 16,384; a core keeps one buffer of this size.
    pub head: u32,
    /// Fields, at most [`FIELDS_MAX`]. Default 100; costs nothing.
    pub fields: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { line: 8_190, head: 16_384, fields: 100 }
    }
}

/// The head of a request. Everything lies in the bytes that were parsed.
#[derive(Clone, Copy, Debug)]
pub struct Request<'b, 'h> {
    /// What is asked.
    pub method: Method,
    /// The method's name as sent.
    pub method_name: &'b str,
    /// Of what.
    pub target: Target<'b>,
    /// The target as sent.
    pub target_text: &'b str,
    /// The minor version: 0 or 1.
    pub minor: u8,
    /// Host, or the authority of an absolute target; empty when an HTTP/1.0 request names none.
    pub host: &'b str,
    /// Where the body ends.
    pub framing: Framing,
    /// Which of the common fields are there.
    pub seen: Seen,
    /// How many bytes the head has.
    pub head_len: usize,
    headers: &'h [Header<'b>],
}

impl<'b, 'h> Request<'b, 'h> {
    /// Whether the connection stays open after the answer (RFC 9112, section 9.3).
    pub const fn keep_alive(&self) -> bool {
        !self.seen.contains(Seen::CLOSE) && (self.minor == 1 || self.seen.contains(Seen::KEEP_ALIVE))
    }

    /// Whether the client waits for a 100 before it sends the body; HTTP/1.0 knows none (RFC 9110, section 10.1.1).
    pub fn expects_continue(&self) -> bool {
        self.seen.contains(Seen::EXPECT) && self.minor == 1 && self.framing != Framing::None
    }

    /// The values of all fields called `name`, in order. The name's case does not matter.
    pub fn values<'n>(&self, name: &'n str) -> impl Iterator<Item = &'b [u8]> + use<'b, 'h, 'n> {
        let name_len = name.len();
        self.headers
            .iter()
            .filter(move |header| header.name.len() == name_len && header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    /// The value of the first field called `name`.
    pub fn value(&self, name: &str) -> Option<&'b [u8]> {
        self.values(name).next()
    }

    /// The value of the only field called `name`; `None` when there are several.
    pub fn single(&self, name: &str) -> Option<&'b [u8]> {
        let mut values = self.values(name);
        let first = values.next();
        if values.next().is_none() { first } else { None }
    }

    /// Every field, in order.
    pub const fn headers(&self) -> &'h [Header<'b>] {
        self.headers
    }
}

/// What has arrived so far.
#[derive(Clone, Copy, Debug)]
pub enum Parsed<'b, 'h> {
    /// A whole head.
    Complete(Request<'b, 'h>),
    /// The beginning of one.
    Partial,
}

/// Why a request cannot be served, as the status to answer with before closing: nobody knows where the next request
/// would begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal(pub Status);

const BAD: Refusal = Refusal(Status::BAD_REQUEST);

/// Parses the head at the beginning of `bytes`; `space` holds its fields.
///
/// # Errors
///
/// [`Refusal`] with 400 for what is no HTTP, or could be read in two ways; 414 and 431 for what is over a limit; 417 for an
/// unknown expectation; 505 for another major version.
pub fn parse<'b, 'h>(
    bytes: &'b [u8],
    space: &'h mut Space<'b>,
    limits: &Limits,
) -> Result<Parsed<'b, 'h>, Refusal> {
    let mut request = httparse::Request::new(&mut []);
    let fields_max = FIELDS_MAX.min(limits.fields as usize);
    let head_len = match request.parse_with_uninit_headers(bytes, &mut space[..fields_max]) {
        Ok(Parse::Complete(len)) => len,
        Ok(Parse::Partial) => return partial(bytes, limits),
        Err(error) => return Err(refusal(error, bytes)),
    };
    let (Some(method_name), Some(target_text), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(BAD);
    };
    let headers: &'h [Header<'b>] = request.headers;
    let line = method_name.len() + target_text.len() + " HTTP/1.1 ".len();
    if line > limits.line as usize {
        return Err(Refusal(Status::URI_TOO_LONG));
    }
    if head_len > limits.head as usize {
        return Err(Refusal(Status::HEADERS_TOO_LARGE));
    }
    // RFC 9112, section 2.2: a line ends with CR LF. One that ends with LF alone is where parties disagree.
    if has_bare_line_feed(&bytes[..head_len]) {
        return Err(BAD);
    }
    let found = fields::read(headers, minor)?;
    // Section 3.2: HTTP/1.1 requests have a Host, even those whose target names one.
    if minor == 1 && found.host.is_none() {
        return Err(BAD);
    }
    let method = Method::of(method_name);
    let target = Target::parse(target_text).ok_or(BAD)?;
    // Sections 3.2.3 and 3.2.4: these forms belong to their methods.
    let form_fits = match target.form {
        Form::Origin | Form::Absolute => method != Method::Connect,
        Form::Authority => method == Method::Connect,
        Form::Asterisk => method == Method::Options,
    };
    if !form_fits {
        return Err(BAD);
    }
    let host = target.authority.or(found.host).unwrap_or("");
    Ok(Parsed::Complete(Request {
        method,
        method_name,
        target,
        target_text,
        minor,
        host,
        framing: found.framing,
        seen: found.seen,
        head_len,
        headers,
    }))
}

/// A head that is not whole yet, unless it is over a limit already.
fn partial<'b, 'h>(bytes: &[u8], limits: &Limits) -> Result<Parsed<'b, 'h>, Refusal> {
    let line = limits.line as usize;
    if bytes.len() > line {
        let start = bytes.iter().take_while(|&&byte| byte == b'\r' || byte == b'\n').count();
        if memchr::memchr(b'\n', &bytes[start..]).unwrap_or(bytes.len() - start) > line {
            return Err(Refusal(Status::URI_TOO_LONG));
        }
    }
    if bytes.len() >= limits.head as usize {
        return Err(Refusal(Status::HEADERS_TOO_LARGE));
    }
    Ok(Parsed::Partial)
}

fn has_bare_line_feed(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r')
}

fn refusal(error: httparse::Error, bytes: &[u8]) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal(Status::HEADERS_TOO_LARGE),
        httparse::Error::Version if names_http(bytes) => Refusal(Status::VERSION_NOT_SUPPORTED),
        _ => BAD,
    }
}

/// Whether the first line ends with a version of HTTP, though not with one of ours.
fn names_http(bytes: &[u8]) -> bool {
    let start = bytes.iter().take_while(|&&byte| byte == b'\r' || byte == b'\n').count();
    let line = bytes[start..].split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or(&[]);
    let mut words = line.split(|&byte| byte == b' ');
    let (Some([_, ..]), Some([_, ..]), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return false;
    };
    matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// The parts of a request that matter to tests.
    #[derive(PartialEq, Eq, Debug)]
    struct Read {
        path: String,
        host: String,
        framing: Framing,
        keep_alive: bool,
        expects: bool,
        head_len: usize,
    }

    fn read(bytes: &[u8], limits: &Limits) -> Result<Option<Read>, u16> {
        let mut space = space();
        match parse(bytes, &mut space, limits) {
            Ok(Parsed::Complete(request)) => Ok(Some(Read {
                path: request.target.path.to_owned(),
                host: request.host.to_owned(),
                framing: request.framing,
                keep_alive: request.keep_alive(),
                expects: request.expects_continue(),
                head_len: request.head_len,
            })),
            Ok(Parsed::Partial) => Ok(None),
            Err(refusal) => Err(refusal.0.code),
        }
    }

    fn complete(text: &str) -> Read {
        read(text.as_bytes(), &Limits::default()).unwrap().unwrap()
    }

    /// The status for a request with these lines after its first.
    fn with_fields(fields: &str) -> Result<Framing, u16> {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        read(text.as_bytes(), &Limits::default()).map(|read| read.unwrap().framing)
    }

    #[test]
    fn persistence_follows_the_version_and_the_connection_field() {
        assert!(complete("GET / HTTP/1.1\r\nHost: a\r\n\r\n").keep_alive);
        assert!(!complete("GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\n\r\n").keep_alive);
        assert!(
            !complete("GET / HTTP/1.1\r\nHost: a\r\nConnection: foo\r\nConnection: close\r\n\r\n").keep_alive
        );
        assert!(!complete("GET / HTTP/1.0\r\n\r\n").keep_alive);
        assert!(complete("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive);
        assert!(!complete("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n").keep_alive);
    }

    #[test]
    fn the_authority_of_a_target_goes_before_host() {
        let read = complete("GET http://b:8/x HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((read.path.as_str(), read.host.as_str()), ("/x", "b:8"));
        assert_eq!(complete("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").path, "*");
        assert_eq!(complete("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n").path, "a:443");
        assert_eq!(complete("GET / HTTP/1.0\r\n\r\n").host, "");
    }

    #[test]
    fn bodies_are_framed_in_one_way_only() {
        assert_eq!(with_fields("X: y"), Ok(Framing::None));
        assert_eq!(with_fields("Content-Length: 0"), Ok(Framing::None));
        assert_eq!(with_fields("Content-Length: 007"), Ok(Framing::Length(7)));
        assert_eq!(with_fields("content-length:\t 5 \t"), Ok(Framing::Length(5)));
        assert_eq!(with_fields("Transfer-Encoding: Chunked"), Ok(Framing::Chunked));
        assert!(
            complete("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n")
                .expects
        );
        assert!(!complete("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n").expects);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for fields in [
            // Lengths: repeated, equal or not, in one field or two, or none at all.
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 1, 1",
            "Content-Length: +1",
            "Content-Length: -1",
            "Content-Length: 0x1",
            "Content-Length: 1 1",
            "Content-Length: ",
            "Content-Length: 1;",
            "Content-Length: 99999999999999999999",
            // Both framings, in either order.
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 1",
            "Transfer-Encoding: chunked\r\nContent-Length: 0",
            // Codings that are not chunked, or not last, or twice, or disguised.
            "Transfer-Encoding: gzip",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked, gzip",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: \"chunked\"",
            "Transfer-Encoding: \x0bchunked",
            "Transfer-Encoding: ",
            // Names and lines.
            "Transfer-Encoding : chunked",
            "Content-Length : 1",
            "X: y\r\n folded",
            "X: y\r\n\tfolded",
            " X: y",
            "X",
            ": y",
            "X\0: y",
            "X: y\0",
            "X: y\rZ: w",
            "X: y\nZ: w",
            "X(y): z",
            // Hosts.
            "Host: b",
            "Host: a",
        ] {
            assert_eq!(with_fields(fields), Err(400), "{fields:?}");
        }
        for text in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
            " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / HTTX/1.1\r\nHost: a\r\n\r\n",
            "GET b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert_eq!(read(text.as_bytes(), &Limits::default()), Err(400), "{text:?}");
        }
        for text in ["GET / HTTP/2.0\r\nHost: a\r\n\r\n", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"] {
            assert_eq!(read(text.as_bytes(), &Limits::default()), Err(505), "{text:?}");
        }
        assert_eq!(with_fields("Expect: 200-ok"), Err(417));
    }

    #[test]
    fn limits_hold_for_whole_and_partial_heads() {
        let limits = Limits { line: 100, head: 200, fields: 3 };
        let line = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(100));
        assert_eq!(read(line.as_bytes(), &limits), Err(414));
        assert_eq!(read(&line.as_bytes()[..110], &limits), Err(414));
        let field = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(200));
        assert_eq!(read(field.as_bytes(), &limits), Err(431));
        assert_eq!(read(&field.as_bytes()[..200], &limits), Err(431));
        assert_eq!(read(&field.as_bytes()[..199], &limits), Ok(None));
        let many = "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\nX: a\r\nX: a\r\n\r\n";
        assert_eq!(read(many.as_bytes(), &limits), Err(431));
        assert_eq!(read("\r\n".repeat(200).as_bytes(), &limits), Err(431));
    }

    #[test]
    fn every_prefix_of_a_request_is_partial() {
        let text = "\r\nGET /index.html HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";
        for len in 0..text.len() {
            assert_eq!(read(&text.as_bytes()[..len], &Limits::default()), Ok(None), "{len}");
        }
        assert_eq!(complete(text).head_len, text.len());
    }

    proptest! {
        /// What arrives later cannot change how a head is read, and a head that arrives in parts is never refused
        /// unless it is refused whole.
        #[test]
        fn a_prefix_never_contradicts_the_whole(
            fields in proptest::collection::vec("[A-Za-z-]{1,18}(: |:|)[ -~]{0,12}", 0..6),
            known in proptest::sample::subsequence(
                vec!["Content-Length: 3", "Transfer-Encoding: chunked", "Connection: close", "Expect: 100-continue"], 0..3),
            tail in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut text = String::from("POST /a HTTP/1.1\r\nHost: a\r\n");
            for field in fields.iter().map(String::as_str).chain(known) {
                text.push_str(field);
                text.push_str("\r\n");
            }
            text.push_str("\r\n");
            let limits = Limits::default();
            let whole = read(text.as_bytes(), &limits);
            let longer = [text.as_bytes(), &tail].concat();
            prop_assert_eq!(&read(&longer, &limits), &whole);
            for len in 0..text.len() {
                match read(&text.as_bytes()[..len], &limits) {
                    Ok(None) => {}
                    Ok(Some(early)) => prop_assert!(false, "{len}: complete before its end: {early:?}"),
                    Err(status) => prop_assert_eq!(&whole, &Err(status)),
                }
            }
        }
    }
}
