//! Conditional requests (RFC 9110, section 13).

use std::time::{SystemTime, UNIX_EPOCH};

use crate::fields::trim;
use crate::method::Method;
use crate::request::Request;

/// What a document is known by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validators<'a> {
    /// Its entity tag, with quotes and, if it is weak, `W/`.
    pub etag: &'a [u8],
    /// When it changed last, in seconds since 1970.
    pub modified: Option<u64>,
    /// The same as text, as it is sent.
    pub modified_text: &'a [u8],
}

/// What is to be done with a request that has conditions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// What it asks.
    Proceed,
    /// 304: the client has it.
    NotModified,
    /// 412: the client expects another state.
    Failed,
}

/// Weighs a request's conditions in the order of section 13.2.2. `document` is `None` when there is none.
pub fn evaluate(request: &Request<'_, '_>, document: Option<&Validators<'_>>) -> Verdict {
    // Step 1, else step 2.
    if request.value("if-match").is_some() {
        if !matches(request, "if-match", document, strong) {
            return Verdict::Failed;
        }
    } else if let Some(since) = request.single("if-unmodified-since").and_then(http_date)
        && document.and_then(|document| document.modified).is_some_and(|modified| modified > since)
    {
        return Verdict::Failed;
    }
    // Step 3, else step 4.
    if request.value("if-none-match").is_some() {
        if matches(request, "if-none-match", document, weak) {
            return if request.method.is_read() { Verdict::NotModified } else { Verdict::Failed };
        }
    } else if matches!(request.method, Method::Get | Method::Head)
        && let Some(text) = request.single("if-modified-since")
        && let Some(document) = document
        && (text == document.modified_text
            || http_date(text).zip(document.modified).is_some_and(|(since, modified)| modified <= since))
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Whether the ranges of a request with `If-Range: value` hold: the client has parts of this very document (section
/// 13.1.5).
pub fn if_range(value: &[u8], document: &Validators<'_>) -> bool {
    let value = trim(value);
    if value.ends_with(b"\"") {
        return strong(value, document.etag);
    }
    // A date must be the same one.
    value == document.modified_text || http_date(value).is_some_and(|date| Some(date) == document.modified)
}

/// A date in one of HTTP's three forms, in seconds since 1970; `None` is no date (section 13.1.3: ignored).
pub fn http_date(text: &[u8]) -> Option<u64> {
    let text = core::str::from_utf8(text).ok()?;
    let date: SystemTime = httpdate::parse_http_date(text).ok()?;
    date.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// Whether one of the field's tags is the document's.
fn matches(
    request: &Request<'_, '_>,
    name: &str,
    document: Option<&Validators<'_>>,
    same: fn(&[u8], &[u8]) -> bool,
) -> bool {
    let Some(document) = document else { return false };
    request.values(name).any(|value| trim(value) == b"*" || tags(value).any(|tag| same(tag, document.etag)))
}

/// The entity tags of a list, each with its quotes; what is none ends the list.
fn tags(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        while let [b' ' | b'\t' | b',', after @ ..] = rest {
            rest = after;
        }
        let prefix = if rest.starts_with(b"W/") { 2 } else { 0 };
        if rest.get(prefix) != Some(&b'"') {
            return None;
        }
        let end = prefix + 2 + rest[prefix + 1..].iter().position(|&byte| byte == b'"')?;
        let (tag, after) = rest.split_at(end);
        rest = after;
        Some(tag)
    })
}

/// Strong comparison (section 8.8.3.2).
fn strong(left: &[u8], right: &[u8]) -> bool {
    left == right && !left.starts_with(b"W/")
}

/// Weak comparison.
fn weak(left: &[u8], right: &[u8]) -> bool {
    left.strip_prefix(b"W/").unwrap_or(left) == right.strip_prefix(b"W/").unwrap_or(right)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::request::{Limits, Parsed, parse, space};

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Mon, 07 Nov 1994 08:49:37 GMT";
    const EARLIER: &str = "Sat, 05 Nov 1994 08:49:37 GMT";

    fn document() -> Validators<'static> {
        Validators { etag: b"\"abc\"", modified: http_date(DATE.as_bytes()), modified_text: DATE.as_bytes() }
    }

    fn verdict(method: &str, fields: &str, document: Option<&Validators<'_>>) -> Verdict {
        let text = format!("{method} / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        let mut space = space();
        match parse(text.as_bytes(), &mut space, &Limits::default()).unwrap() {
            Parsed::Complete(request) => evaluate(&request, document),
            Parsed::Partial => panic!("partial"),
        }
    }

    #[test]
    fn conditions_are_weighed_in_their_order() {
        use Verdict::*;
        for (fields, expected) in [
            ("X: y".to_owned(), Proceed),
            ("If-None-Match: \"abc\"".to_owned(), NotModified),
            ("If-None-Match: W/\"abc\"".to_owned(), NotModified),
            ("If-None-Match: \"x\", \"a,b\", \"abc\"".to_owned(), NotModified),
            ("If-None-Match: \"x\"\r\nIf-None-Match: \"abc\"".to_owned(), NotModified),
            ("If-None-Match: *".to_owned(), NotModified),
            ("If-None-Match: \"x\"".to_owned(), Proceed),
            ("If-None-Match: abc".to_owned(), Proceed),
            (format!("If-Modified-Since: {DATE}"), NotModified),
            (format!("If-Modified-Since: {LATER}"), NotModified),
            (format!("If-Modified-Since: {EARLIER}"), Proceed),
            ("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT".to_owned(), NotModified),
            ("If-Modified-Since: Sun Nov  6 08:49:37 1994".to_owned(), NotModified),
            ("If-Modified-Since: yesterday".to_owned(), Proceed),
            // A tag goes before a date.
            (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {LATER}"), Proceed),
            ("If-Match: \"abc\"".to_owned(), Proceed),
            ("If-Match: *".to_owned(), Proceed),
            ("If-Match: W/\"abc\"".to_owned(), Failed),
            ("If-Match: \"x\"".to_owned(), Failed),
            (format!("If-Unmodified-Since: {DATE}"), Proceed),
            (format!("If-Unmodified-Since: {EARLIER}"), Failed),
            (format!("If-Match: \"abc\"\r\nIf-Unmodified-Since: {EARLIER}"), Proceed),
            ("If-Match: \"abc\"\r\nIf-None-Match: \"abc\"".to_owned(), NotModified),
        ] {
            assert_eq!(verdict("GET", &fields, Some(&document())), expected, "{fields}");
        }
        assert_eq!(verdict("PUT", "If-None-Match: *", Some(&document())), Failed);
        assert_eq!(verdict("PUT", "If-None-Match: *", None), Proceed);
        assert_eq!(verdict("PUT", "If-Match: *", None), Failed);
        assert_eq!(verdict("POST", &format!("If-Modified-Since: {LATER}"), Some(&document())), Proceed);
    }

    #[test]
    fn ranges_hold_for_the_same_document_only() {
        for (value, holds) in [
            ("\"abc\"", true),
            ("W/\"abc\"", false),
            ("\"x\"", false),
            (DATE, true),
            ("Sun Nov  6 08:49:37 1994", true),
            (LATER, false),
            ("", false),
        ] {
            assert_eq!(if_range(value.as_bytes(), &document()), holds, "{value}");
        }
    }
}
