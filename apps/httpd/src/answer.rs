//! Answers that are known at once: documents, parts of them, errors.

use freeway::ConnId;
use freeway_http1::{Body, Framing, Head, Request, Status};

use crate::ask::{Ask, Plan};
use crate::document::Document;
use crate::exchange::{Exchange, Sending};
use crate::io::Io;
use crate::reply::Manner;
use crate::server::{Next, Server};
use crate::state::{HttpState, Phase, Ticks};

/// What separates the parts of an answer with several. It is random enough not to occur in a document by chance, and
/// a client that finds it goes by the length of each part.
pub(crate) const BOUNDARY: &str = "fwy-7b1e0c5d92a84f63";

/// Bytes of an error page that goes out in one piece with its head.
const PAGE_MAX: u64 = 1_024;

impl Server {
    /// Writes the answer to a request, or as much of it as there is room for; the rest follows as an exchange.
    /// [`Next::Wait`] without an exchange means that nothing was written.
    pub(crate) fn answer<I: Io>(&mut self, io: &mut I, state: &mut HttpState, ask: Ask, plan: Plan) -> Next {
        let manner = ask.manner;
        let is_written = match plan {
            Plan::Document(number) => return self.answer_document(io, state, manner, number),
            Plan::Parts(number) => return self.answer_parts(io, state, manner, number),
            Plan::NotModified(number) => self.answer_unmodified(io, manner, number),
            Plan::NoSuchRange(number) => {
                let len = self.shelf.document(number).map_or(0, |document| document.len);
                let mut field = Head::fields();
                field.lines(format_range(None, len).as_bytes());
                let fields = field.finish().unwrap_or_default();
                self.answer_with(
                    io,
                    manner,
                    Status::RANGE_NOT_SATISFIABLE,
                    fields.strip_suffix(b"\r\n").unwrap_or_default(),
                )
            }
            Plan::Moved => {
                let mut head = std::mem::replace(&mut self.head, Head::fields());
                let fields = head.finish().unwrap_or_default();
                self.answer_with(
                    io,
                    manner,
                    Status::MOVED_PERMANENTLY,
                    fields.strip_suffix(b"\r\n").unwrap_or_default(),
                )
            }
            Plan::Error(status) => {
                if let Some(next) = self.answer_page(io, state, manner, status) {
                    return next;
                }
                self.answer_error(io, manner, status, "")
            }
            Plan::NotAllowed(allow) => self.answer_error(io, manner, Status::METHOD_NOT_ALLOWED, allow),
            Plan::Options(allow) => {
                let mut head = Head::fields();
                head.field("Allow", allow.as_bytes()).number("Content-Length", 0).lines(manner.connection());
                let is_written = io.put(&[self.prefixes.of(Status::OK), head.finish().unwrap_or_default()]);
                if is_written {
                    self.note(Status::OK, 0);
                }
                is_written
            }
            Plan::Handler(_) => false,
        };
        if !is_written {
            return Next::Wait;
        }
        self.after_answer(io, state, manner)
    }

    /// What follows an answer that is all written.
    pub(crate) fn after_answer<I: Io>(&mut self, io: &mut I, state: &mut HttpState, manner: Manner) -> Next {
        state.since = Ticks::of(io.now());
        state.phase = Phase::Idle;
        if manner.keep_alive { Next::Again } else { Next::Drain }
    }

    fn answer_document<I: Io>(
        &mut self,
        io: &mut I,
        state: &mut HttpState,
        manner: Manner,
        number: u32,
    ) -> Next {
        let Some(document) = self.shelf.document(number) else { return Next::Abort };
        let (prefix, connection) = (self.prefixes.of(Status::OK), manner.connection());
        let len = document.len;
        if manner.head_only || len == 0 {
            if !io.put(&[prefix, connection, &document.head]) {
                return Next::Wait;
            }
            self.note(Status::OK, 0);
            return self.after_answer(io, state, manner);
        }
        // A small one goes out in one piece.
        if !document.whole.is_empty() {
            if !io.put(&[prefix, connection, &document.whole]) {
                return Next::Wait;
            }
            self.note(Status::OK, len);
            return self.after_answer(io, state, manner);
        }
        if !self.exchanges.has_room() {
            return self.refuse_exchange(io, state, manner);
        }
        if !io.put(&[prefix, connection, &document.head]) {
            return Next::Wait;
        }
        self.note(Status::OK, len);
        self.send_document(io, state, manner, number)
    }

    /// Sends a document whose head has been written.
    fn send_document<I: Io>(
        &mut self,
        io: &mut I,
        state: &mut HttpState,
        manner: Manner,
        number: u32,
    ) -> Next {
        let len = self.shelf.document(number).map_or(0, |document| document.len);
        // One that is in memory often has room at once.
        let mut from = 0;
        if let (Some(lent), Some(bytes)) = (self.shelf.lent(number), document_bytes(&self.shelf, number)) {
            from = io.lend(lent, bytes, 0, lent.len()) as u64;
            if from == len {
                return self.after_answer(io, state, manner);
            }
        }
        self.spans.clear();
        self.spans.push(freeway_http1::ranges::Span { start: from, end: len });
        self.begin_download(io, state, manner, number, from, false)
    }

    /// The document that goes with a status on a site.
    fn page(&self, manner: Manner, status: Status) -> Option<&Document> {
        self.shelf.document(self.shelf.tree().site(manner.site)?.error(status.code)?)
    }

    /// Answers with an error page that does not go out in one piece; `None` when there is none.
    fn answer_page<I: Io>(
        &mut self,
        io: &mut I,
        state: &mut HttpState,
        manner: Manner,
        status: Status,
    ) -> Option<Next> {
        let document = self.page(manner, status).filter(|document| document.len > PAGE_MAX)?;
        // For want of a record the reason in a line has to do.
        if !self.exchanges.has_room() {
            return None;
        }
        let (number, len) = (document.number, document.len);
        let mut head = Head::fields();
        head.field("Content-Type", document.media_type.as_bytes());
        head.number("Content-Length", len).lines(manner.connection());
        if !io.put(&[self.prefixes.of(status), head.finish().unwrap_or_default()]) {
            return Some(Next::Wait);
        }
        self.note(status, if manner.head_only { 0 } else { len });
        Some(if manner.head_only {
            self.after_answer(io, state, manner)
        } else {
            self.send_document(io, state, manner, number)
        })
    }

    fn answer_parts<I: Io>(
        &mut self,
        io: &mut I,
        state: &mut HttpState,
        manner: Manner,
        number: u32,
    ) -> Next {
        if !self.exchanges.has_room() {
            return self.refuse_exchange(io, state, manner);
        }
        let Some(document) = self.shelf.document(number) else { return Next::Abort };
        let mut head = Head::fields();
        let is_multipart = self.spans.len() > 1;
        let content = match self.spans.as_slice() {
            [span] => {
                head.field("Content-Type", document.media_type.as_bytes());
                head.lines(format_range(Some((span.start, span.end)), document.len).as_bytes());
                span.len()
            }
            spans => {
                head.lines(b"Content-Type: multipart/byteranges; boundary=")
                    .lines(BOUNDARY.as_bytes())
                    .lines(b"\r\n");
                let parts: u64 = spans
                    .iter()
                    .map(|span| span.len() + part_head(document, span.start, span.end).len() as u64)
                    .sum();
                parts + part_end().len() as u64
            }
        };
        head.number("Content-Length", content).lines(manner.connection()).lines(&document.common);
        if !io.put(&[self.prefixes.of(Status::PARTIAL_CONTENT), head.finish().unwrap_or_default()]) {
            return Next::Wait;
        }
        self.note(Status::PARTIAL_CONTENT, content);
        self.begin_download(io, state, manner, number, 0, is_multipart)
    }

    fn answer_unmodified<I: Io>(&mut self, io: &mut I, manner: Manner, number: u32) -> bool {
        let Some(document) = self.shelf.document(number) else { return false };
        let prefix = self.prefixes.of(Status::NOT_MODIFIED);
        let is_written = io.put(&[prefix, manner.connection(), &document.common, b"\r\n"]);
        if is_written {
            self.note(Status::NOT_MODIFIED, 0);
        }
        is_written
    }

    /// An error with its page: the site's own, or its reason in a line.
    pub(crate) fn answer_error<I: Io>(
        &mut self,
        io: &mut I,
        manner: Manner,
        status: Status,
        allow: &str,
    ) -> bool {
        let mut head = Head::fields();
        if !allow.is_empty() {
            head.field("Allow", allow.as_bytes());
        }
        if status == Status::UNAUTHORIZED {
            // RFC 9110, section 11.6.1: it says how.
            head.field("WWW-Authenticate", b"Bearer");
        }
        if matches!(status, Status::TOO_MANY_REQUESTS | Status::SERVICE_UNAVAILABLE) {
            head.field("Retry-After", b"1");
        }
        let fields = head.finish().unwrap_or_default();
        self.answer_with(io, manner, status, fields.strip_suffix(b"\r\n").unwrap_or_default())
    }

    /// An answer of `status` with more fields, whole lines each.
    fn answer_with<I: Io>(&mut self, io: &mut I, manner: Manner, status: Status, fields: &[u8]) -> bool {
        let page = self.page(manner, status);
        let page = page.and_then(|document| Some((document.media_type.as_bytes(), document.bytes()?)));
        let (media_type, body) = match &page {
            Some((media_type, bytes)) if bytes.len() as u64 <= PAGE_MAX => (*media_type, &bytes[..]),
            _ => (&b"text/plain; charset=utf-8"[..], status.reason.as_bytes()),
        };
        let mut head = Head::fields();
        head.field("Content-Type", media_type);
        head.number("Content-Length", body.len() as u64).lines(manner.connection()).lines(fields);
        let Ok(head) = head.finish() else { return false };
        let body = if manner.head_only { &[][..] } else { body };
        let (prefix, len) = (self.prefixes.of(status), body.len() as u64);
        let is_written = io.put(&[prefix, head, body]);
        if is_written {
            self.note(status, len);
        }
        is_written
    }

    /// 503, for want of a record.
    pub(crate) fn refuse_exchange<I: Io>(
        &mut self,
        io: &mut I,
        state: &mut HttpState,
        mut manner: Manner,
    ) -> Next {
        self.counters.refused_exchanges += 1;
        manner.keep_alive = false;
        if self.answer_error(io, manner, Status::SERVICE_UNAVAILABLE, "") {
            self.after_answer(io, state, manner)
        } else {
            Next::Wait
        }
    }

    /// Counts an answer that begins, and finishes the log's entry unless an exchange takes it over.
    pub(crate) fn note(&mut self, status: Status, bytes: u64) {
        self.counters.answered(status.code);
        if let Some(mut entry) = self.entry.take() {
            (entry.status, entry.bytes) = (status.code, bytes);
            self.log_entry(entry);
        }
    }

    /// Takes an entry for the log and notes who asks what.
    pub(crate) fn begin_entry<I: Io>(&mut self, io: &I, request: Option<&Request<'_, '_>>) {
        let Some(log) = &mut self.log else { return };
        // One that was taken for a request whose answer had no room is used again.
        let Some(mut entry) = self.entry.take().or_else(|| log.take()) else {
            self.counters.log_dropped += 1;
            return;
        };
        entry.begin(io.peer(), io.is_secure(), io.now());
        if let Some(request) = request {
            entry.request(request);
        }
        self.entry = Some(entry);
    }

    /// Makes an exchange of a connection.
    pub(crate) fn begin_exchange(&mut self, state: &mut HttpState, exchange: Exchange) -> bool {
        match self.exchanges.insert(exchange) {
            Ok(place) => {
                (state.phase, state.place) = (Phase::Exchange, place);
                true
            }
            Err(_) => false,
        }
    }

    /// A download's exchange.
    pub(crate) fn download_exchange(conn: ConnId, sending: Sending, close: bool) -> Exchange {
        Exchange { sending, ..Exchange::new(conn, Body::new(Framing::None), close) }
    }
}

/// The bytes of a document in memory.
pub(crate) fn document_bytes(shelf: &crate::shelf::Shelf, number: u32) -> Option<&[u8]> {
    shelf.document(number)?.bytes().map(|bytes| &bytes[..])
}

/// A text without allocation.
pub(crate) type Line = arrayvec::ArrayString<384>;

/// `Content-Range: bytes 0-9/10` as a line.
pub(crate) fn format_range(part: Option<(u64, u64)>, len: u64) -> Line {
    use std::fmt::Write as _;
    let mut line = Line::new();
    // Three numbers fit.
    let _ = match part {
        Some((start, end)) => {
            write!(line, "Content-Range: bytes {start}-{}/{len}\r\n", end.saturating_sub(1))
        }
        None => write!(line, "Content-Range: bytes */{len}\r\n"),
    };
    line
}

/// What stands before a part of several.
pub(crate) fn part_head(document: &Document, start: u64, end: u64) -> Line {
    use std::fmt::Write as _;
    let mut line = Line::new();
    let media_type = document.media_type.get(..128).unwrap_or(&document.media_type);
    let range = format_range(Some((start, end)), document.len);
    let _ = write!(line, "\r\n--{BOUNDARY}\r\nContent-Type: {media_type}\r\n{range}\r\n");
    line
}

/// What stands behind the last.
pub(crate) fn part_end() -> Line {
    use std::fmt::Write as _;
    let mut line = Line::new();
    let _ = write!(line, "\r\n--{BOUNDARY}--\r\n");
    line
}
