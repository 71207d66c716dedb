//! Requests in, documents out.
//!
//! ```text
//!   readable ─► parse a head ─► answer's head is written, body is lent ─► next request
//!                   │                             │ no room
//!                   ▼ partial: wait               ▼ wait for writable, then go on with the body
//! ```

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use freeway::{Conn, Duration, Instant, Lent, Stack};
use freeway_http1::head::HEAD_MAX;
use freeway_http1::{
    DecodedPath, Framing, Head, Limits, Method, Parsed, PathError, Request, Status, request, space,
};

use crate::documents::Documents;

/// Bytes of a request's head at most.
const REQUEST_MAX: usize = 16 * 1024;

/// A connection's state: the body that is being sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpState {
    /// Number of the document, plus one; 0 when no body is being sent.
    body: u32,
    /// How many of its bytes have been queued.
    offset: u32,
    /// Bytes of a request's body still to be skipped.
    skip: u16,
    /// The connection ends with this answer.
    closing: bool,
}

/// A document as one core's stack has it.
#[derive(Clone, Copy, Debug)]
struct Body {
    lent: Lent,
    media_type: &'static str,
}

const _: () = assert!(size_of::<HttpState>() <= 12);

/// The server of one core.
pub struct Server {
    by_path: HashMap<Vec<u8>, u32>,
    bodies: Vec<Body>,
    /// A request whose head lies in several frames is put together here.
    scratch: Box<[u8]>,
    date: Date,
}

/// `Arc`-shared bytes as memory that a stack can be lent.
struct Shared(Arc<[u8]>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Server {
    /// Lends all documents to `stack`.
    pub fn new<S: Copy + Default + 'static>(documents: &Documents, stack: &mut Stack<S>) -> Self {
        let mut server = Self {
            by_path: HashMap::with_capacity(documents.len()),
            bodies: Vec::with_capacity(documents.len()),
            scratch: vec![0; REQUEST_MAX].into_boxed_slice(),
            date: Date::new(stack.now()),
        };
        for (path, document) in documents.iter() {
            let Some(lent) = stack.lend(Rc::new(Shared(Arc::clone(&document.body)))) else { continue };
            server.by_path.insert(path.to_vec(), server.bodies.len() as u32);
            server.bodies.push(Body { lent, media_type: document.media_type });
        }
        server
    }

    /// Goes on with a connection: the body that is being sent first, then the requests that have arrived. Call
    /// it when the connection is readable or writable; `state` finds the server's state in the application's.
    pub fn pump<S: Copy + Default + 'static>(
        &mut self,
        conn: &mut Conn<'_, S>,
        state: impl Fn(&mut S) -> &mut HttpState,
    ) {
        loop {
            if !self.send_body(conn, &state) {
                return;
            }
            if state(conn.state()).closing {
                conn.consume(usize::MAX);
                conn.close();
                return;
            }
            // An answer's head is written whole or not at all.
            if conn.send_room() < HEAD_MAX {
                conn.want_room();
                return;
            }
            if !self.skip_request_body(conn, &state) || !self.next_request(conn, &state) {
                break;
            }
        }
        if conn.at_end() {
            conn.close();
        }
    }

    /// Queues what is left of the body; false when there is more than there is room for.
    fn send_body<S: Copy + Default + 'static>(
        &self,
        conn: &mut Conn<'_, S>,
        state: &impl Fn(&mut S) -> &mut HttpState,
    ) -> bool {
        let HttpState { body, offset, .. } = *state(conn.state());
        let Some(&Body { lent, .. }) = body.checked_sub(1).and_then(|index| self.bodies.get(index as usize))
        else {
            return true;
        };
        let queued = conn.lend(lent, offset as usize..lent.len());
        let done = offset as usize + queued == lent.len();
        let state = state(conn.state());
        state.offset += queued as u32;
        if done {
            (state.body, state.offset) = (0, 0);
        }
        done
    }

    /// Drops the body of a request that has one; false when it has not arrived whole.
    fn skip_request_body<S: Copy + Default + 'static>(
        &self,
        conn: &mut Conn<'_, S>,
        state: &impl Fn(&mut S) -> &mut HttpState,
    ) -> bool {
        let skip = state(conn.state()).skip as usize;
        let here = skip.min(conn.readable_bytes());
        if here > 0 {
            conn.consume(here);
            state(conn.state()).skip -= here as u16;
        }
        here == skip
    }

    /// Answers the next request; false when none has arrived whole.
    fn next_request<S: Copy + Default + 'static>(
        &mut self,
        conn: &mut Conn<'_, S>,
        state: &impl Fn(&mut S) -> &mut HttpState,
    ) -> bool {
        let available = conn.readable_bytes();
        if available == 0 {
            return false;
        }
        let first = conn.peek();
        let bytes = if first.len() == available {
            first
        } else {
            let len = conn.copy_readable(&mut self.scratch);
            &self.scratch[..len]
        };
        let mut fields = space();
        let (answer, consumed) = match request::parse(bytes, &mut fields, &Limits::default()) {
            Ok(Parsed::Complete(request)) => (self.choose(&request), request.head_len),
            Ok(Parsed::Partial) if bytes.len() < REQUEST_MAX => return false,
            Ok(Parsed::Partial) => (Answer::error(Status::HEADERS_TOO_LARGE), 0),
            Err(bad) => (Answer::error(bad.0), 0),
        };
        conn.consume(consumed);
        self.answer(conn, state, &answer);
        true
    }

    /// What a request is answered with.
    fn choose(&self, request: &Request<'_, '_>) -> Answer {
        let found = match DecodedPath::decode(request.target.path) {
            Ok(path) => self.by_path.get(path.as_bytes()).copied().ok_or(Status::NOT_FOUND),
            Err(PathError::TooLong) => Err(Status::URI_TOO_LONG),
            Err(PathError::Malformed) => Err(Status::BAD_REQUEST),
        };
        let (status, document) = match (request.method, found) {
            (method, _) if !method.is_read() => (Status::METHOD_NOT_ALLOWED, None),
            (_, Ok(document)) => (Status::OK, Some(document)),
            (_, Err(status)) => (status, None),
        };
        // A body too long to skip ends the connection instead.
        let skip = match request.framing {
            Framing::None => Some(0),
            Framing::Length(len) => u16::try_from(len).ok(),
            Framing::Chunked => None,
        };
        Answer {
            status,
            document,
            head_only: request.method == Method::Head,
            close: !request.keep_alive() || skip.is_none(),
            skip: skip.unwrap_or(0),
        }
    }

    /// Writes the head, and lends the body.
    fn answer<S: Copy + Default + 'static>(
        &mut self,
        conn: &mut Conn<'_, S>,
        state: &impl Fn(&mut S) -> &mut HttpState,
        answer: &Answer,
    ) {
        let body = answer.document.and_then(|index| self.bodies.get(index as usize));
        let now = conn.stack().now();
        let mut head = Head::new(answer.status);
        head.field("Server", b"freeway").field("Date", self.date.at(now));
        if answer.status == Status::METHOD_NOT_ALLOWED {
            head.field("Allow", b"GET, HEAD");
        }
        match body {
            Some(body) => {
                head.field("Content-Type", body.media_type.as_bytes());
                head.number("Content-Length", body.lent.len() as u64);
            }
            None => {
                head.field("Content-Type", b"text/plain").number("Content-Length", answer.reason_len());
            }
        }
        if answer.close {
            head.field("Connection", b"close");
        }
        // The few fields above fit by far.
        conn.write(head.finish().unwrap_or_default());
        if body.is_none() && !answer.head_only {
            conn.write(answer.status.reason.as_bytes());
            conn.write(b"\n");
        }
        let state = state(conn.state());
        state.closing = answer.close;
        state.skip = answer.skip;
        state.offset = 0;
        state.body = match answer.document {
            Some(document) if !answer.head_only => document + 1,
            _ => 0,
        };
    }
}

/// The answer to one request.
struct Answer {
    status: Status,
    document: Option<u32>,
    head_only: bool,
    close: bool,
    /// Bytes of the request's body to skip before the next request.
    skip: u16,
}

impl Answer {
    /// The answer to bytes that are no request: nobody knows where the next one would begin.
    const fn error(status: Status) -> Self {
        Self { status, document: None, head_only: false, close: true, skip: 0 }
    }

    /// The length of the text that goes with a status.
    const fn reason_len(&self) -> u64 {
        self.status.reason.len() as u64 + 1
    }
}

/// The date of an answer, written anew once a second.
struct Date {
    text: String,
    written: Instant,
    started: (Instant, SystemTime),
}

impl Date {
    fn new(now: Instant) -> Self {
        let wall = SystemTime::now();
        Self { text: httpdate::fmt_http_date(wall), written: now, started: (now, wall) }
    }

    fn at(&mut self, now: Instant) -> &[u8] {
        if now - self.written >= Duration::from_secs(1) {
            use std::fmt::Write as _;
            let (started, wall) = self.started;
            // The text is always 29 bytes long: writing it anew allocates nothing.
            self.text.clear();
            let date = httpdate::HttpDate::from(wall + (now - started).to_std());
            let written = write!(self.text, "{date}");
            debug_assert!(written.is_ok(), "a string takes what is written");
            self.written = now;
        }
        self.text.as_bytes()
    }
}
