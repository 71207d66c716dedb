//! The fields of a request that decide how its bytes are read.
//!
//! Two parties that read one request differently can be played against each other, so what is ambiguous is refused
//! here and the connection closed: RFC 9112, sections 3.2, 5 and 6.

use bitflags::bitflags;
use httparse::Header;

use crate::decimal;
use crate::request::Refusal;
use crate::status::Status;
use crate::target::is_host;

bitflags! {
    /// Fields that are present, so that those which are not need no search.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Seen: u16 {
        /// If-Match, If-None-Match, If-Modified-Since or If-Unmodified-Since.
        const CONDITION = 1 << 0;
        /// Range.
        const RANGE = 1 << 1;
        /// If-Range.
        const IF_RANGE = 1 << 2;
        /// Accept-Encoding.
        const ACCEPT_ENCODING = 1 << 3;
        /// Upgrade.
        const UPGRADE = 1 << 4;
        /// `Connection: upgrade`.
        const CONNECTION_UPGRADE = 1 << 5;
        /// `Connection: close`.
        const CLOSE = 1 << 6;
        /// `Connection: keep-alive`.
        const KEEP_ALIVE = 1 << 7;
        /// `Expect: 100-continue`.
        const EXPECT = 1 << 8;
    }
}

/// Where a request's body ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes follow, at least one.
    Length(u64),
    /// Chunks follow.
    Chunked,
}

/// What a walk over the fields found.
pub(crate) struct Found<'b> {
    pub(crate) seen: Seen,
    pub(crate) framing: Framing,
    pub(crate) host: Option<&'b str>,
}

const BAD: Refusal = Refusal(Status::BAD_REQUEST);

/// Walks over the fields of a request of minor version `minor`.
pub(crate) fn read<'b>(headers: &[Header<'b>], minor: u8) -> Result<Found<'b>, Refusal> {
    let mut found = Found { seen: Seen::empty(), framing: Framing::None, host: None };
    let (mut length, mut chunked) = (None, false);
    for header in headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        match header.name.len() {
            // Section 3.2: more than one Host, or one that is none, is an error whatever the version.
            4 if is("host") => {
                if found.host.is_some() || !is_host(header.value) {
                    return Err(BAD);
                }
                found.host = Some(core::str::from_utf8(header.value).map_err(|_| BAD)?);
            }
            5 if is("range") => found.seen |= Seen::RANGE,
            6 if is("expect") => {
                if !header.value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Refusal(Status::EXPECTATION_FAILED));
                }
                found.seen |= Seen::EXPECT;
            }
            7 if is("upgrade") => found.seen |= Seen::UPGRADE,
            8 if is("if-match") => found.seen |= Seen::CONDITION,
            8 if is("if-range") => found.seen |= Seen::IF_RANGE,
            10 if is("connection") => found.seen |= connection(header.value),
            13 if is("if-none-match") => found.seen |= Seen::CONDITION,
            // Section 6.3, rule 5: a list of equal lengths could be taken for one; here it is an error, too.
            14 if is("content-length") => {
                if length.is_some() {
                    return Err(BAD);
                }
                length = Some(decimal::parse(header.value).ok_or(BAD)?);
            }
            15 if is("accept-encoding") => found.seen |= Seen::ACCEPT_ENCODING,
            17 if is("if-modified-since") => found.seen |= Seen::CONDITION,
            // Section 6.1: any coding but chunked, alone and once, is refused. HTTP/1.0 has none.
            17 if is("transfer-encoding") => {
                if chunked || minor == 0 || !header.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(BAD);
                }
                chunked = true;
            }
            19 if is("if-unmodified-since") => found.seen |= Seen::CONDITION,
            _ => {}
        }
    }
    found.framing = match (length, chunked) {
        // Section 6.3, rule 3: both at once is how requests are smuggled.
        (Some(_), true) => return Err(BAD),
        (None, true) => Framing::Chunked,
        (Some(length @ 1..), false) => Framing::Length(length),
        (_, false) => Framing::None,
    };
    Ok(found)
}

fn connection(value: &[u8]) -> Seen {
    let mut seen = Seen::empty();
    for option in list(value) {
        if option.eq_ignore_ascii_case(b"close") {
            seen |= Seen::CLOSE;
        } else if option.eq_ignore_ascii_case(b"keep-alive") {
            seen |= Seen::KEEP_ALIVE;
        } else if option.eq_ignore_ascii_case(b"upgrade") {
            seen |= Seen::CONNECTION_UPGRADE;
        }
    }
    seen
}

/// The members of a list that holds no quoted strings (RFC 9110, section 5.6.1).
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|member| !member.is_empty())
}

/// `text` without the white space around it.
pub fn trim(text: &[u8]) -> &[u8] {
    let is_space = |&byte: &u8| byte == b' ' || byte == b'\t';
    let Some(first) = text.iter().position(|byte| !is_space(byte)) else { return &[] };
    let last = text.iter().rposition(|byte| !is_space(byte)).unwrap_or(first);
    &text[first..=last]
}
