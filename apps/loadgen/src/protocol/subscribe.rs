//! Subscribers to a server's messages: Server-Sent Events (WHATWG HTML, section 9.2) or WebSockets (RFC 6455), and who
//! publishes to them by POST.
//!
//! The message is always the same, so what a subscriber hears is known byte for byte.

use super::{Answers, Protocol};

/// By which of the two ways messages come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Server-Sent Events, in chunks.
    Events,
    /// WebSocket frames.
    Socket,
}

/// Subscriptions on connections that stay, and publications on connections that come and go.
#[derive(Clone, Debug)]
pub struct Subscribe {
    subscription: Box<[u8]>,
    publication: Box<[u8]>,
    /// A message as subscribers hear it.
    message: Box<[u8]>,
}

/// Where in an answer the stream is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SubscribeProgress {
    /// Bytes of the head, as far as they are counted, or of the message at hand.
    at: u32,
    /// Bytes of the head's end that have been seen; all of them behind the head.
    matched: u8,
    wrong: bool,
}

const HEAD_END: &[u8] = b"\r\n\r\n";

/// The place of a status in a head, `HTTP/1.1 2`.
const STATUS: u32 = 9;

impl Subscribe {
    /// Subscriptions to `path` and publications to `publish` of messages of `size` bytes, at most 64 KiB.
    pub fn new(form: Form, path: &str, publish: &str, host: &str, size: usize) -> Self {
        let text = "m".repeat(size.clamp(1, 0xffff));
        let upgrade = match form {
            Form::Events => "Accept: text/event-stream\r\n",
            Form::Socket => {
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            }
        };
        let message = match form {
            Form::Events => {
                let event = format!("data: {text}\n\n");
                format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
            }
            Form::Socket => {
                let len = text.len() as u16;
                let head = match len {
                    0..126 => vec![0x81, len as u8],
                    _ => [&[0x81, 126][..], &len.to_be_bytes()].concat(),
                };
                [&head[..], text.as_bytes()].concat()
            }
        };
        Self {
            subscription: format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{upgrade}\r\n").into_bytes().into(),
            publication: format!(
                "POST {publish} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            )
            .into_bytes()
            .into(),
            message: message.into(),
        }
    }
}

impl Protocol for Subscribe {
    type Progress = SubscribeProgress;

    const TELLS: bool = true;

    fn request_max(&self) -> usize {
        self.subscription.len().max(self.publication.len())
    }

    fn request(&mut self, into: &mut [u8]) -> usize {
        if let Some(into) = into.get_mut(..self.subscription.len()) {
            into.copy_from_slice(&self.subscription);
        }
        self.subscription.len()
    }

    fn request_apart(&mut self, into: &mut [u8]) -> usize {
        if let Some(into) = into.get_mut(..self.publication.len()) {
            into.copy_from_slice(&self.publication);
        }
        self.publication.len()
    }

    #[inline]
    fn answers(&mut self, progress: &mut SubscribeProgress, mut bytes: &[u8]) -> Answers {
        let mut found = Answers::default();
        while usize::from(progress.matched) < HEAD_END.len() {
            let Some((&byte, rest)) = bytes.split_first() else { return found };
            bytes = rest;
            // 101 and 2xx are what was asked for.
            progress.wrong |= progress.at == STATUS && !matches!(byte, b'1' | b'2');
            progress.at = progress.at.saturating_add(1);
            progress.matched = match HEAD_END.get(usize::from(progress.matched)) {
                Some(&wanted) if wanted == byte => progress.matched + 1,
                _ => u8::from(byte == b'\r'),
            };
            if usize::from(progress.matched) == HEAD_END.len() {
                (found.whole, found.wrong) = (1, u32::from(progress.wrong));
                (progress.at, progress.wrong) = (0, false);
            }
        }
        while !bytes.is_empty() {
            let wanted = self.message.get(progress.at as usize..).unwrap_or_default();
            let count = wanted.len().min(bytes.len());
            let (piece, rest) = bytes.split_at(count);
            progress.wrong |= !wanted.starts_with(piece);
            bytes = rest;
            progress.at += count as u32;
            if progress.at as usize >= self.message.len() {
                found.values += 1;
                found.wrong += u32::from(progress.wrong);
                (progress.at, progress.wrong) = (0, false);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::however_cut;
    use super::*;

    #[test]
    fn messages_are_found_however_they_are_cut() {
        for (form, head, message) in [
            (Form::Events, "HTTP/1.1 200 OK\r\nA: b\r\n\r\n", "d\r\ndata: mmmmm\n\n\r\n"),
            (Form::Socket, "HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n", "\u{81}\u{5}mmmmm"),
        ] {
            let bytes = |text: &str| -> Vec<u8> { text.chars().map(|letter| letter as u32 as u8).collect() };
            let mut protocol = Subscribe::new(form, "/events", "/publish", "x", 5);
            let good = [bytes(head), bytes(message).repeat(3)].concat();
            let found = however_cut(&mut protocol, &good);
            assert_eq!(found, Answers { whole: 1, values: 3, wrong: 0 }, "{form:?}");
            let bad = bytes(&format!("{head}{}", message.replacen('m', "n", 1)));
            assert_eq!(however_cut(&mut protocol, &bad).wrong, 1, "{form:?}");
        }
        let mut protocol = Subscribe::new(Form::Events, "/events", "/publish", "x", 5);
        let refused = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(however_cut(&mut protocol, refused), Answers { whole: 1, values: 0, wrong: 1 });
    }

    #[test]
    fn both_requests_have_room() {
        let mut protocol = Subscribe::new(Form::Socket, "/ws", "/publish", "x", 300);
        let mut room = vec![0; protocol.request_max()];
        let len = protocol.request_apart(&mut room);
        assert!(room[..len].ends_with(b"m") && room.starts_with(b"POST /publish HTTP/1.1\r\n"));
        let len = protocol.request(&mut room);
        assert!(room[..len].ends_with(b"\r\n\r\n") && room.starts_with(b"GET /ws HTTP/1.1\r\n"));
        assert!(protocol.message.starts_with(&[0x81, 126, 1, 44, b'm']));
    }
}
