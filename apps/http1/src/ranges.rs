//! Byte ranges (RFC 9110, section 14).

use arrayvec::ArrayVec;

use crate::decimal;
use crate::fields::list;

/// Ranges that one request may ask for; with more it gets the whole (section 14.2 allows to ignore them).
pub const RANGES_MAX: usize = 16;

/// A part of a document: its first byte, and the one behind its last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The first byte.
    pub start: u64,
    /// The byte behind the last.
    pub end: u64,
}

impl Span {
    /// How many bytes, at least one in a request's range.
    pub const fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What of a document is to be sent.
// It lives on the stack for a moment; a box would be an allocation for each request.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ranges {
    /// All of it: no range, or none that is understood.
    Whole,
    /// These parts, in the order asked for; at least one.
    Parts(ArrayVec<Span, RANGES_MAX>),
    /// Nothing: no range lies within the document.
    Unsatisfiable,
}

/// Reads the value of a Range field for a document of `len` bytes.
///
/// Ranges that together ask for more than the whole overlap, which nobody needs and which multiplies the work of a
/// server: they get the whole.
pub fn parse(value: &[u8], len: u64) -> Ranges {
    let Some((unit, set)) = split_once(value, b'=') else { return Ranges::Whole };
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return Ranges::Whole;
    }
    let mut parts = ArrayVec::new();
    let (mut specs, mut total) = (0, 0u64);
    for spec in list(set) {
        specs += 1;
        if specs > RANGES_MAX {
            return Ranges::Whole;
        }
        match span(spec, len) {
            Some(Some(span)) => {
                total = total.saturating_add(span.len());
                parts.push(span);
            }
            Some(None) => {}
            None => return Ranges::Whole,
        }
    }
    match (specs, parts.len()) {
        (0, _) => Ranges::Whole,
        (_, 0) => Ranges::Unsatisfiable,
        (_, 1) => Ranges::Parts(parts),
        _ if total > len => Ranges::Whole,
        _ => Ranges::Parts(parts),
    }
}

/// One range: `None` when it is malformed, `Some(None)` when it lies outside of the document.
fn span(spec: &[u8], len: u64) -> Option<Option<Span>> {
    let (first, last) = split_once(spec, b'-')?;
    if first.is_empty() {
        let suffix = decimal::parse(last)?;
        let start = len.saturating_sub(suffix);
        return Some((start < len).then_some(Span { start, end: len }));
    }
    let start = decimal::parse(first)?;
    let end = match last {
        [] => len,
        digits => {
            let last = decimal::parse(digits)?;
            if last < start {
                return None;
            }
            last.saturating_add(1).min(len)
        }
    };
    Some((start < len).then_some(Span { start, end }))
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = bytes.iter().position(|&byte| byte == at)?;
    Some((&bytes[..place], &bytes[place + 1..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(value: &str, len: u64) -> Option<Vec<(u64, u64)>> {
        match parse(value.as_bytes(), len) {
            Ranges::Parts(parts) => Some(parts.iter().map(|span| (span.start, span.end)).collect()),
            Ranges::Whole => None,
            Ranges::Unsatisfiable => Some(vec![]),
        }
    }

    #[test]
    fn ranges_are_read_as_the_standard_has_them() {
        for (value, expected) in [
            ("bytes=0-499", Some(vec![(0, 500)])),
            ("bytes=500-999", Some(vec![(500, 1_000)])),
            ("bytes=-500", Some(vec![(9_500, 10_000)])),
            ("bytes=9500-", Some(vec![(9_500, 10_000)])),
            ("bytes=0-0,-1", Some(vec![(0, 1), (9_999, 10_000)])),
            ("bytes= 0-0, 4999-5000 ,, -1", Some(vec![(0, 1), (4_999, 5_001), (9_999, 10_000)])),
            ("BYTES=0-99999", Some(vec![(0, 10_000)])),
            ("bytes=-99999", Some(vec![(0, 10_000)])),
            ("bytes=0-18446744073709551615", Some(vec![(0, 10_000)])),
            // Outside: left out, or 416 when all are.
            ("bytes=10000-", Some(vec![])),
            ("bytes=-0", Some(vec![])),
            ("bytes=10000-,0-0", Some(vec![(0, 1)])),
            // Not understood: ignored.
            ("bytes=", None),
            ("bytes=a-b", None),
            ("bytes=5-4", None),
            ("bytes=-", None),
            ("bytes=1", None),
            ("bytes=1--2", None),
            ("bytes 0-1", None),
            ("lines=0-1", None),
            ("bytes=0-18446744073709551616", None),
            // More than the whole.
            ("bytes=0-,0-", None),
            ("bytes=0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0", None),
        ] {
            assert_eq!(parts(value, 10_000), expected, "{value}");
        }
        assert_eq!(parts("bytes=0-", 0), Some(vec![]));
    }

    proptest! {
        #[test]
        fn parts_lie_in_the_document_and_are_no_more_than_it(value in "bytes=[0-9,-]{0,30}", len in 0..200u64) {
            if let Ranges::Parts(parts) = parse(value.as_bytes(), len) {
                prop_assert!(!parts.is_empty());
                prop_assert!(parts.iter().all(|span| span.start < span.end && span.end <= len));
                prop_assert!(parts.iter().map(Span::len).sum::<u64>() <= len);
            }
        }
    }
}
