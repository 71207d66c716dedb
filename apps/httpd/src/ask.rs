//! From bytes to what is asked.

use freeway_http1::coding::Accepted;
use freeway_http1::conditions::{Verdict, evaluate, if_range};
use freeway_http1::ranges::{self, Ranges};
use freeway_http1::{
    Coding, Form, Framing, Method, Parsed, PathError, Request, Seen, Space, Status, request, space,
};

use crate::io::Io;
use crate::reply::Manner;
use crate::server::{Next, Server};
use crate::state::{HttpState, Phase, Ticks};

/// Body bytes that are skipped without a record, if they are all there.
const SKIP_MAX: u64 = 16 << 10;

/// What of a request matters once it is decided how it is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) head_len: usize,
    pub(crate) framing: Framing,
    pub(crate) manner: Manner,
    /// The client sends its body when it is told to.
    pub(crate) expects: bool,
}

impl Ask {
    /// Of nothing.
    pub(crate) const NONE: Self =
        Self { head_len: 0, framing: Framing::None, manner: Manner::CLOSE, expects: false };
}

/// How a request is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Plan {
    /// By a document.
    Document(u32),
    /// By parts of one: those in [`Server::spans`].
    Parts(u32),
    /// By 304, with a document's tags.
    NotModified(u32),
    /// By 416.
    NoSuchRange(u32),
    /// By the place where the document is: the fields are in [`Server::head`].
    Moved,
    /// By an error.
    Error(Status),
    /// By the methods that there are.
    Options(&'static str),
    /// By 405 and the methods that there are.
    NotAllowed(&'static str),
    /// By a handler.
    Handler(u32),
}

impl Plan {
    /// Of nothing.
    pub(crate) const NONE: Self = Self::Error(Status::NOT_FOUND);
}

/// The methods that documents know.
const READ: &str = "GET, HEAD, OPTIONS";

impl Server {
    /// Reads the next request's head, and answers it.
    pub(crate) fn ask<I: Io>(&mut self, io: &mut I, state: &mut HttpState) -> Next {
        let available = io.available();
        if available == 0 {
            return if io.at_end() { Next::Close } else { Next::Wait };
        }
        if state.phase == Phase::Head && !self.may_be_whole(io, state, available) {
            return if io.at_end() { Next::Close } else { Next::Wait };
        }
        let first = io.peek();
        // What is logged or counted by address is read each time.
        let keeps = self.log.is_none() && self.rates.is_none();
        if keeps && let Some((ask, plan)) = self.memo.find(first, self.shelf.changes()) {
            return self.carry_out(io, state, ask, plan);
        }
        let mut fields = space();
        let limits = self.config.limits;
        // Most heads lie in one frame. One that does not is put together, and read again.
        let parsed = request::parse(first, &mut fields, &limits);
        let decided = match parsed {
            Ok(Parsed::Partial) if first.len() < available => {
                let mut scratch = std::mem::take(&mut self.scratch);
                let len = io.copy(&mut scratch);
                let mut fields: Space<'_> = space();
                let decided =
                    match request::parse(scratch.get(..len).unwrap_or_default(), &mut fields, &limits) {
                        Ok(Parsed::Complete(request)) => Ok(Some(self.decide(&request, io))),
                        Ok(Parsed::Partial) => Ok(None),
                        Err(refusal) => Err(refusal),
                    };
                self.scratch = scratch;
                decided
            }
            Ok(Parsed::Complete(request)) => {
                let (ask, plan) = self.decide(&request, io);
                if keeps
                    && ask.framing == Framing::None
                    && matches!(plan, Plan::Document(_) | Plan::NotModified(_))
                {
                    self.memo.keep(first, self.shelf.changes(), ask, plan);
                }
                Ok(Some((ask, plan)))
            }
            Ok(Parsed::Partial) => Ok(None),
            Err(refusal) => Err(refusal),
        };
        match decided {
            Ok(Some((ask, plan))) => self.carry_out(io, state, ask, plan),
            Ok(None) => self.wait_for_head(io, state, available),
            Err(refusal) => {
                self.counters.malformed += 1;
                self.refuse(io, refusal.0)
            }
        }
    }

    /// Whether a head that was incomplete can be complete now: whether an empty line has come since.
    fn may_be_whole<I: Io>(&mut self, io: &I, state: &mut HttpState, available: usize) -> bool {
        let len = io.copy(&mut self.scratch);
        let from = (state.place as usize).saturating_sub(3).min(len);
        let has_end = memchr::memmem::find(&self.scratch[from..len], b"\r\n\r\n").is_some();
        state.place = len as u32;
        has_end || available >= self.config.limits.head as usize
    }

    fn wait_for_head<I: Io>(&mut self, io: &I, state: &mut HttpState, available: usize) -> Next {
        if io.at_end() {
            return Next::Close;
        }
        let begins = state.phase != Phase::Head;
        let was_fresh = state.phase == Phase::Fresh;
        (state.phase, state.place) = (Phase::Head, available as u32);
        if begins && !was_fresh {
            // The first request's time runs from the opening of the connection.
            state.since = Ticks::of(io.now());
            return Next::WaitFor(self.config.header_timeout);
        }
        Next::Wait
    }

    /// Answers bytes that are no request: nobody knows where the next one begins.
    pub(crate) fn refuse<I: Io>(&mut self, io: &mut I, status: Status) -> Next {
        self.begin_entry(io, None);
        if self.answer_error(io, Manner::CLOSE, status, "") { Next::Drain } else { Next::Abort }
    }

    /// Decides how a request is answered. Nothing has been written, and nothing is taken.
    fn decide<I: Io>(&mut self, request: &Request<'_, '_>, io: &I) -> (Ask, Plan) {
        if self.log.is_some() {
            self.begin_entry(io, Some(request));
        }
        let manner = Manner {
            minor: request.minor,
            head_only: request.method == Method::Head,
            keep_alive: request.keep_alive() && !self.stopping,
            site: self.shelf.tree().site_of(request.host),
        };
        let ask = Ask {
            head_len: request.head_len,
            framing: request.framing,
            manner,
            expects: request.expects_continue(),
        };
        (ask, self.plan(request, io, manner.site))
    }

    fn plan<I: Io>(&mut self, request: &Request<'_, '_>, io: &I, site: u16) -> Plan {
        if let Some(rates) = &mut self.rates
            && !rates.allows(io.peer().ip(), io.now())
        {
            self.counters.refused_rate += 1;
            return Plan::Error(Status::TOO_MANY_REQUESTS);
        }
        match request.target.form {
            Form::Origin | Form::Absolute => {}
            Form::Asterisk => return Plan::Options(READ),
            Form::Authority => return Plan::NotAllowed(READ),
        }
        let Some(site) = self.shelf.tree().site(site) else { return Plan::Error(Status::NOT_FOUND) };
        let found = match site.find(request.target.path) {
            Ok(found) => found,
            Err(PathError::TooLong) => return Plan::Error(Status::URI_TOO_LONG),
            Err(PathError::Malformed) => return Plan::Error(Status::BAD_REQUEST),
        };
        match found {
            Some(crate::tree::Entry::Document(variants)) => match request.method {
                Method::Get | Method::Head => self.plan_document(request, variants),
                Method::Options => Plan::Options(READ),
                Method::Other => Plan::Error(Status::NOT_IMPLEMENTED),
                _ => Plan::NotAllowed(READ),
            },
            None => self.plan_route(request),
            Some(_) if !request.method.is_read() => Plan::NotAllowed(READ),
            Some(crate::tree::Entry::Folder) => self.plan_move(request, io.is_secure()),
            Some(crate::tree::Entry::Forbidden) => Plan::Error(Status::FORBIDDEN),
        }
    }

    fn plan_route(&self, request: &Request<'_, '_>) -> Plan {
        let place = self.routes.iter().position(|route| route.path == request.target.path);
        let Some((place, route)) = place.and_then(|place| Some((place, self.routes.get(place)?))) else {
            return match request.method {
                Method::Get | Method::Head => Plan::Error(Status::NOT_FOUND),
                Method::Options => Plan::Options(READ),
                Method::Other => Plan::Error(Status::NOT_IMPLEMENTED),
                _ => Plan::NotAllowed(READ),
            };
        };
        let allow = route.handler.allow();
        if request.method == Method::Options {
            Plan::Options(allow)
        } else if allow.split(", ").any(|known| known == request.method_name) {
            Plan::Handler(place as u32)
        } else if request.method == Method::Other {
            Plan::Error(Status::NOT_IMPLEMENTED)
        } else {
            Plan::NotAllowed(allow)
        }
    }

    /// A document in the coding that the client likes best, as far as its conditions and ranges ask for it.
    fn plan_document(&mut self, request: &Request<'_, '_>, variants: crate::tree::Variants) -> Plan {
        let coding = if variants.is_single() {
            Some(Coding::Identity)
        } else {
            let accepted = if request.seen.contains(Seen::ACCEPT_ENCODING) {
                Accepted::parse(request.values("accept-encoding"))
            } else {
                Accepted::ANYTHING
            };
            accepted.choose(|coding| variants.get(coding).is_some())
        };
        // RFC 9110, section 12.5.3: who accepts none of them is better served with what there is than not at all.
        let Some(number) = variants.get(coding.unwrap_or(Coding::Identity)) else {
            return Plan::Error(Status::NOT_FOUND);
        };
        if !request.seen.intersects(Seen::CONDITION | Seen::RANGE) {
            return Plan::Document(number);
        }
        let Some(document) = self.shelf.document(number) else { return Plan::Error(Status::NOT_FOUND) };
        let validators = document.validators();
        if request.seen.contains(Seen::CONDITION) {
            match evaluate(request, Some(&validators)) {
                Verdict::Proceed => {}
                Verdict::NotModified => return Plan::NotModified(number),
                Verdict::Failed => return Plan::Error(Status::PRECONDITION_FAILED),
            }
        }
        // Section 14.2: ranges are for GET.
        if !request.seen.contains(Seen::RANGE) || request.method != Method::Get {
            return Plan::Document(number);
        }
        let holds = !request.seen.contains(Seen::IF_RANGE)
            || request.single("if-range").is_some_and(|value| if_range(value, &validators));
        let Some(range) = request.single("range").filter(|_| holds) else { return Plan::Document(number) };
        match ranges::parse(range, document.len) {
            Ranges::Whole => Plan::Document(number),
            Ranges::Unsatisfiable => Plan::NoSuchRange(number),
            Ranges::Parts(parts) => {
                self.spans = parts;
                Plan::Parts(number)
            }
        }
    }

    /// A folder asked for without its slash: relative links in its index would lead astray.
    fn plan_move(&mut self, request: &Request<'_, '_>, secure: bool) -> Plan {
        let mut location = arrayvec::ArrayVec::<u8, 512>::new();
        let scheme: &[u8] = if secure { b"https://" } else { b"http://" };
        // Two slashes at the beginning would name a host.
        let path = request.target.path.trim_start_matches('/');
        let pieces: [&[u8]; 7] = [
            if request.host.is_empty() { b"" } else { scheme },
            request.host.as_bytes(),
            b"/",
            path.as_bytes(),
            b"/",
            if request.target.query.is_some() { b"?" } else { b"" },
            request.target.query.unwrap_or_default().as_bytes(),
        ];
        for piece in pieces {
            if location.try_extend_from_slice(piece).is_err() {
                return Plan::Error(Status::URI_TOO_LONG);
            }
        }
        self.head = freeway_http1::Head::fields();
        self.head.field("Location", &location);
        Plan::Moved
    }

    /// Takes a request and writes its answer; or leaves both when there is no room.
    fn carry_out<I: Io>(&mut self, io: &mut I, state: &mut HttpState, mut ask: Ask, plan: Plan) -> Next {
        let is_last = self.config.requests_per_connection > 0
            && state.requests + 1 >= self.config.requests_per_connection;
        ask.manner.keep_alive &= !is_last;
        if let Plan::Handler(route) = plan {
            return self.call(io, state, ask, route);
        }
        // A body that nobody wants is skipped if that is cheap; else the connection ends with the answer.
        let skip = match ask.framing {
            Framing::None => 0,
            Framing::Length(len)
                if len <= SKIP_MAX && !ask.expects && io.available() as u64 >= ask.head_len as u64 + len =>
            {
                len as usize
            }
            Framing::Length(_) | Framing::Chunked => {
                ask.manner.keep_alive = false;
                0
            }
        };
        let next = self.answer(io, state, ask, plan);
        if matches!(next, Next::Wait | Next::WaitFor(_)) && state.phase != Phase::Exchange {
            // No room: the request stays where it is, whole.
            (state.phase, state.since) = (Phase::Idle, Ticks::of(io.now()));
            return next;
        }
        io.consume(ask.head_len + skip);
        self.counters.requests += 1;
        state.requests = state.requests.saturating_add(1);
        next
    }
}
