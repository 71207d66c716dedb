//! A client of HTTP, and of WebSocket.
//!
//! The input is what a connection receives. Requests and their bodies are read from it one after the other, once from all
//! that is there and once as it would be read if the bytes came one by one: both must see the same. What follows the last
//! request is read as a WebSocket's frames.

use freeway_http1::coding::Accepted;
use freeway_http1::conditions::{Validators, evaluate, if_range};
use freeway_http1::ranges::{self, Ranges};
use freeway_http1::websocket::{Assembly, FrameHead, check, unmask};
use freeway_http1::{Body, DecodedPath, Limits, Parsed, request, space};

/// Small, so that inputs reach them.
const LIMITS: Limits = Limits { line: 200, head: 600, fields: 12 };

/// A length that ranges are cut from.
const DOCUMENT: u64 = 1_000;

/// HTTP/1.1 requests with their bodies, and WebSocket frames.
pub fn http(data: &[u8]) {
    let mut rest = data;
    while let Some(used) = exchange(rest) {
        rest = &rest[used..];
    }
    frames(rest);
}

/// Reads a request and its body; returns their length if both are whole.
fn exchange(bytes: &[u8]) -> Option<usize> {
    let mut fields = space();
    let parsed = request::parse(bytes, &mut fields, &LIMITS);
    let Ok(Parsed::Complete(request)) = parsed else {
        // What is refused as a beginning is never accepted later, and what is incomplete is within the limits.
        assert!(parsed.is_err() || bytes.len() < LIMITS.head as usize);
        return None;
    };
    let head = &bytes[..request.head_len];
    assert!(head.len() <= LIMITS.head as usize && head.ends_with(b"\r\n\r\n"));
    for cut in [1, head.len() / 2, head.len() - 1] {
        let mut fields = space();
        let early = request::parse(&head[..cut], &mut fields, &LIMITS);
        assert!(matches!(early, Ok(Parsed::Partial)), "complete at {cut} of {}", head.len());
    }
    if let Ok(path) = DecodedPath::decode(request.target.path) {
        let path = path.as_bytes();
        assert!(path.starts_with(b"/") && !path.contains(&0));
        assert!(path.split(|&byte| byte == b'/').all(|segment| segment != b".." && segment != b"."));
    }
    let document = Validators {
        etag: b"\"a\"",
        modified: Some(784_111_777),
        modified_text: b"Sun, 06 Nov 1994 08:49:37 GMT",
    };
    let _ = evaluate(&request, Some(&document));
    for value in request.headers().iter().map(|header| header.value) {
        let _ = if_range(value, &document);
        let _ = Accepted::parse([value].into_iter()).choose(|_| true);
        if let Ranges::Parts(parts) = ranges::parse(value, DOCUMENT) {
            assert!(parts.iter().all(|span| span.start < span.end && span.end <= DOCUMENT));
            assert!(parts.iter().map(ranges::Span::len).sum::<u64>() <= DOCUMENT);
        }
    }
    let _ = check(&request);
    let body = &bytes[request.head_len..];
    let whole = read(Body::new(request.framing), &mut [body].into_iter());
    let single = read(Body::new(request.framing), &mut body.chunks(1));
    assert_eq!(whole, single, "a body is another one byte by byte");
    match whole {
        Some((used, true, _)) => Some(request.head_len + used),
        _ => None,
    }
}

/// Reads a body in pieces: the bytes it took, whether it is whole, and its data. `None` when it is no body.
fn read(mut body: Body, pieces: &mut dyn Iterator<Item = &[u8]>) -> Option<(usize, bool, Vec<u8>)> {
    let (mut used, mut data) = (0, Vec::new());
    for piece in pieces {
        let mut rest = piece;
        while !rest.is_empty() && !body.is_done() {
            let framing = body.skip_framing(rest).ok()?;
            rest = &rest[framing..];
            let count = rest.len().min(usize::try_from(body.data_left()).unwrap_or(usize::MAX));
            data.extend_from_slice(&rest[..count]);
            body.took(count as u64);
            rest = &rest[count..];
            used += framing + count;
            assert!(framing + count > 0, "no progress");
        }
    }
    Some((used, body.is_done(), data))
}

fn frames(mut rest: &[u8]) {
    let mut assembly = Assembly::default();
    while let Ok(Some((head, len))) = FrameHead::parse(rest) {
        for cut in 0..len {
            assert_eq!(FrameHead::parse(&rest[..cut]), Ok(None));
        }
        let written = FrameHead::write(head.opcode, head.len);
        assert_eq!(written.len() + 4, len, "a head is not the shortest");
        if assembly.begin(&head, 1 << 20).is_err() {
            return;
        }
        let count = (rest.len() - len).min(usize::try_from(head.len).unwrap_or(usize::MAX));
        let mut payload = rest[len..len + count].to_vec();
        unmask(&mut payload, head.mask, 0);
        unmask(&mut payload, head.mask, 0);
        assert_eq!(payload, rest[len..len + count]);
        assembly.end(&head);
        rest = &rest[len + count..];
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    /// Or little of what is checked would be reached.
    #[test]
    fn some_of_the_corpus_are_whole_requests() {
        let inputs = crate::corpus::read("http").unwrap();
        assert!(inputs.iter().filter(|input| super::exchange(input).is_some()).count() > 3);
    }
}
