//! Small handlers: whether the server lives, what it has done, what it is sent; subscriptions.

use std::fmt::Write as _;

use arrayvec::ArrayString;
use freeway_http1::{Framing, Request, Status};

use super::{Context, Handler, Reply, Step};

/// `ok`, for whoever asks whether the server lives.
#[derive(Clone, Copy, Debug, Default)]
pub struct Health;

impl Handler for Health {
    fn request(
        &mut self,
        _request: &Request<'_, '_>,
        _state: &mut u64,
        reply: &mut Reply<'_>,
        _context: &mut Context<'_>,
    ) -> Step {
        reply.whole(Status::OK, "text/plain; charset=utf-8", b"Cache-Control: no-store\r\n", b"ok\n");
        Step::Done
    }
}

/// What the core's server has counted, as JSON.
#[derive(Clone, Copy, Debug, Default)]
pub struct Info;

impl Handler for Info {
    fn request(
        &mut self,
        _request: &Request<'_, '_>,
        _state: &mut u64,
        reply: &mut Reply<'_>,
        context: &mut Context<'_>,
    ) -> Step {
        let mut text = ArrayString::<512>::new();
        let counters = context.counters;
        let written = writeln!(
            text,
            "{{\"server\":\"freeway\",\"connections\":{},\"requests\":{},\"status\":{{\"2xx\":{},\"3xx\":{},\"4xx\":{},\
             \"5xx\":{}}}}}",
            counters.connections,
            counters.requests,
            counters.status_2xx,
            counters.status_3xx,
            counters.status_4xx,
            counters.status_5xx
        );
        // Six numbers of at most twenty digits fit.
        debug_assert!(written.is_ok());
        reply.whole(Status::OK, "application/json", b"Cache-Control: no-store\r\n", text.as_bytes());
        Step::Done
    }
}

/// The body that it is sent, as it comes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Handler for Echo {
    fn allow(&self) -> &'static str {
        "POST, PUT, OPTIONS"
    }

    fn request(
        &mut self,
        request: &Request<'_, '_>,
        state: &mut u64,
        _reply: &mut Reply<'_>,
        _context: &mut Context<'_>,
    ) -> Step {
        *state = match request.framing {
            Framing::None => 0,
            Framing::Length(length) => length,
            Framing::Chunked => Self::UNKNOWN,
        };
        Step::Body(u64::MAX)
    }

    fn body(&mut self, state: &mut u64, piece: &[u8], reply: &mut Reply<'_>) -> usize {
        if self.begin(*state, reply) { reply.write(piece) } else { 0 }
    }

    fn end(&mut self, state: &mut u64, reply: &mut Reply<'_>, _context: &mut Context<'_>) -> Step {
        self.begin(*state, reply);
        Step::Done
    }
}

impl Echo {
    /// A length that is told by the end.
    const UNKNOWN: u64 = u64::MAX;

    /// Begins the answer, if it has not begun; false when there is no room.
    fn begin(self, length: u64, reply: &mut Reply<'_>) -> bool {
        let length = Some(length).filter(|length| *length != Self::UNKNOWN);
        reply.has_begun() || reply.start(Status::OK, "application/octet-stream", length)
    }
}

/// Events of a topic for browsers (Server-Sent Events).
#[derive(Clone, Copy, Debug)]
pub struct Events(
    /// The topic.
    pub u8,
);

impl Handler for Events {
    fn allow(&self) -> &'static str {
        "GET, OPTIONS"
    }

    fn request(
        &mut self,
        request: &Request<'_, '_>,
        _state: &mut u64,
        _reply: &mut Reply<'_>,
        _context: &mut Context<'_>,
    ) -> Step {
        if request.minor == 1 { Step::Events(self.0) } else { Step::Refuse(Status::VERSION_NOT_SUPPORTED) }
    }
}

/// A WebSocket: to hear a topic, or, without one, its own words.
#[derive(Clone, Copy, Debug)]
pub struct Socket(
    /// The topic.
    pub Option<u8>,
);

impl Handler for Socket {
    fn allow(&self) -> &'static str {
        "GET, OPTIONS"
    }

    fn request(
        &mut self,
        _request: &Request<'_, '_>,
        _state: &mut u64,
        _reply: &mut Reply<'_>,
        _context: &mut Context<'_>,
    ) -> Step {
        self.0.map_or(Step::EchoSocket, Step::Subscribe)
    }
}
