//! Exchanges: bodies on their way in, and what handlers write on its way out.

use freeway_http1::{Body, Framing, Parsed, Request, Status, request, space};

use crate::ask::Ask;
use crate::download::Progress;
use crate::exchange::{Exchange, Sending};
use crate::handlers::{Context, Step};
use crate::io::{Io, PUT_MAX};
use crate::reply::{Manner, Mode, Reply};
use crate::server::{Next, Route, Server};
use crate::state::{HttpState, NONE, Phase, Ticks};

impl Server {
    /// Calls a handler with a request that has not been taken yet.
    pub(crate) fn call<I: Io>(&mut self, io: &mut I, state: &mut HttpState, ask: Ask, route: u32) -> Next {
        if io.room() < PUT_MAX {
            io.want_room();
            return Next::Wait;
        }
        if !self.exchanges.has_room() {
            io.consume(ask.head_len);
            return self.refuse_exchange(io, state, ask.manner);
        }
        if let Framing::Length(len) = ask.framing
            && len > self.config.body_max
        {
            self.counters.refused_body += 1;
            io.consume(ask.head_len);
            return self.refuse_within(io, state, ask, Status::CONTENT_TOO_LARGE);
        }
        // The handler writes to the connection while it reads the request, so the request is put aside.
        let mut scratch = std::mem::take(&mut self.scratch);
        io.copy(&mut scratch);
        let mut fields = space();
        let head = scratch.get(..ask.head_len).unwrap_or_default();
        let next = match request::parse(head, &mut fields, &self.config.limits) {
            Ok(Parsed::Complete(request)) => self.call_with(io, state, ask, route, &request),
            // It was read a moment ago.
            Ok(Parsed::Partial) | Err(_) => Next::Abort,
        };
        self.scratch = scratch;
        if next != Next::Again || state.phase != Phase::Exchange {
            return next;
        }
        match self.exchange(io, state) {
            Next::Wait if state.phase == Phase::Exchange => Next::WaitFor(self.config.rate_interval),
            next => next,
        }
    }

    fn call_with<I: Io>(
        &mut self,
        io: &mut I,
        state: &mut HttpState,
        ask: Ask,
        route: u32,
        request: &Request<'_, '_>,
    ) -> Next {
        self.counters.requests += 1;
        state.requests = state.requests.saturating_add(1);
        let mut handler_state = 0;
        let Some(Route { handler, .. }) = self.routes.get_mut(route as usize) else { return Next::Abort };
        let peer = io.peer();
        let mut reply = Reply {
            io,
            prefixes: &self.prefixes,
            manner: ask.manner,
            mode: Mode::None,
            status: 0,
            written: 0,
        };
        let mut context = Context { peer, counters: &self.counters, outbox: &mut self.broadcasts.outbox };
        let step = handler.request(request, &mut handler_state, &mut reply, &mut context);
        // What was begun and is not to go on ends here.
        let is_over = step == Step::Done && reply.mode != Mode::None && reply.finish();
        let Reply { manner, mode, status, written, .. } = reply;
        io.consume(ask.head_len);
        match step {
            Step::Events(topic) => return self.open_events(io, state, manner, topic),
            Step::Subscribe(topic) => return self.open_socket(io, state, ask, request, Some(topic)),
            Step::EchoSocket => return self.open_socket(io, state, ask, request, None),
            Step::Refuse(refused) => return self.refuse_within(io, state, ask, refused),
            // It said nothing, or more than fits.
            Step::Done if !is_over => {
                return self.refuse_within(io, state, ask, Status::INTERNAL_SERVER_ERROR);
            }
            Step::Done | Step::More | Step::Body(_) => {}
        }
        let body_max = match step {
            Step::Body(max) => max.min(self.config.body_max),
            _ => 0,
        };
        let wants_body = matches!(step, Step::Body(_));
        if wants_body
            && let Framing::Length(len) = ask.framing
            && len > body_max
            && mode == Mode::None
        {
            self.counters.refused_body += 1;
            return self.refuse_within(io, state, ask, Status::CONTENT_TOO_LARGE);
        }
        // RFC 9110, section 10.1.1: the client waits to be told. Not when its body is on the way already.
        if wants_body && ask.expects && io.available() == 0 && mode == Mode::None {
            if !io.put(&[b"HTTP/1.1 100 Continue\r\n\r\n"]) {
                return Next::Abort;
            }
            self.counters.answered(100);
        }
        if status != 0 {
            self.counters.answered(status);
        }
        let mut entry = self.entry.take();
        if let Some(entry) = &mut entry {
            entry.status = status;
        }
        let exchange = Exchange {
            body_max: if wants_body { body_max } else { self.config.body_max },
            handler: if wants_body || step == Step::More { route } else { NONE },
            handler_state,
            more: step == Step::More,
            manner,
            mode,
            written,
            entry,
            // A body that the client was not asked for, and waits to be asked for, will never come.
            close: !manner.keep_alive || (ask.expects && !wants_body),
            ..Exchange::new(io.id(), Body::new(ask.framing), false)
        };
        if !self.begin_exchange(state, exchange) {
            return Next::Abort;
        }
        state.since = Ticks::of(io.now());
        Next::Again
    }

    /// An error in place of a handler's answer, to a request whose head is taken.
    fn refuse_within<I: Io>(&mut self, io: &mut I, state: &mut HttpState, ask: Ask, status: Status) -> Next {
        let manner =
            Manner { keep_alive: ask.manner.keep_alive && ask.framing == Framing::None, ..ask.manner };
        if self.answer_error(io, manner, status, "") {
            self.after_answer(io, state, manner)
        } else {
            Next::Abort
        }
    }

    /// Goes on with an exchange.
    pub(crate) fn exchange<I: Io>(&mut self, io: &mut I, state: &mut HttpState) -> Next {
        let place = state.place;
        let Some(exchange) = self.exchanges.get_mut(place) else { return Next::Abort };
        if let Sending::Document(mut download) = std::mem::replace(&mut exchange.sending, Sending::Nothing) {
            let (serial, mut written) = (exchange.serial, exchange.written);
            let progress = self.download(io, place, serial, &mut download, &mut written);
            if let Some(exchange) = self.exchanges.get_mut(place) {
                exchange.written = written;
            }
            match progress {
                Progress::Done => self.end_download(download),
                Progress::Waits => {
                    self.yield_buffers(&mut download);
                    if let Some(exchange) = self.exchanges.get_mut(place) {
                        exchange.sending = Sending::Document(download);
                    }
                    return Next::Wait;
                }
                Progress::Failed => {
                    self.counters.aborted_file += 1;
                    self.end_download(download);
                    return Next::Abort;
                }
            }
        }
        if let Err(next) = self.read_body(io, state) {
            return next;
        }
        if let Err(next) = self.write_more(io, state) {
            return next;
        }
        let Some(exchange) = self.exchanges.get_mut(place) else { return Next::Abort };
        let manner = Manner { keep_alive: !exchange.close && !self.stopping, ..exchange.manner };
        self.end_exchange(place);
        state.place = NONE;
        self.after_answer(io, state, manner)
    }

    /// Reads the request's body as far as it is there; an error is what happens next instead of going on.
    fn read_body<I: Io>(&mut self, io: &mut I, state: &mut HttpState) -> Result<(), Next> {
        loop {
            let place = state.place;
            let Some(exchange) = self.exchanges.get_mut(place) else { return Err(Next::Abort) };
            if exchange.body.is_done() {
                return if exchange.handler != NONE && !exchange.more && exchange.mode != Mode::Done {
                    self.end_body(io, state)
                } else {
                    Ok(())
                };
            }
            if io.available() == 0 {
                return Err(if io.at_end() { Next::Close } else { Next::Wait });
            }
            let Ok(framing) = exchange.body.skip_framing(io.peek()) else {
                self.counters.malformed += 1;
                return Err(self.fail_body(io, state, Status::BAD_REQUEST));
            };
            io.consume(framing);
            let left = exchange.body.data_left();
            if exchange.body_read.saturating_add(left) > exchange.body_max {
                self.counters.refused_body += 1;
                return Err(self.fail_body(io, state, Status::CONTENT_TOO_LARGE));
            }
            let here = io.peek().len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if here == 0 {
                if framing == 0 {
                    return Err(if io.at_end() { Next::Close } else { Next::Wait });
                }
                continue;
            }
            let taken = if exchange.handler == NONE || exchange.mode == Mode::Done {
                here
            } else {
                self.feed(io, place, here)
            };
            io.consume(taken);
            let Some(exchange) = self.exchanges.get_mut(place) else { return Err(Next::Abort) };
            exchange.body.took(taken as u64);
            exchange.body_read += taken as u64;
            if taken < here {
                // The answer has no room; it has asked for some.
                io.want_room();
                return Err(Next::Wait);
            }
        }
    }

    /// Gives a handler the next `here` bytes of its request's body; returns how many it dealt with.
    fn feed<I: Io>(&mut self, io: &mut I, place: u32, here: usize) -> usize {
        // It writes to the connection while it reads, so the piece is put aside.
        let mut scratch = std::mem::take(&mut self.scratch);
        let here = io.copy(&mut scratch).min(here);
        let piece = scratch.get(..here).unwrap_or_default();
        let taken =
            self.with_handler(io, place, |handler, state, reply, _| handler.body(state, piece, reply));
        self.scratch = scratch;
        taken.unwrap_or(here).min(here)
    }

    /// The body is whole: the handler's last word, or more to come.
    fn end_body<I: Io>(&mut self, io: &mut I, state: &mut HttpState) -> Result<(), Next> {
        if io.room() < PUT_MAX {
            io.want_room();
            return Err(Next::Wait);
        }
        let step = self.with_handler(io, state.place, |handler, state, reply, context| {
            handler.end(state, reply, context)
        });
        match step {
            Some(Step::More) => {
                if let Some(exchange) = self.exchanges.get_mut(state.place) {
                    exchange.more = true;
                }
                Ok(())
            }
            Some(Step::Refuse(status)) => Err(self.fail_body(io, state, status)),
            _ => self.finish_reply(io, state),
        }
    }

    /// Has the handler write what it has more.
    fn write_more<I: Io>(&mut self, io: &mut I, state: &mut HttpState) -> Result<(), Next> {
        loop {
            let Some(exchange) = self.exchanges.get_mut(state.place) else { return Err(Next::Abort) };
            if exchange.mode == Mode::Done || exchange.handler == NONE {
                return Ok(());
            }
            if !exchange.more {
                return self.finish_reply(io, state);
            }
            if io.room() < PUT_MAX {
                io.want_room();
                return Err(Next::Wait);
            }
            let step =
                self.with_handler(io, state.place, |handler, state, reply, _| handler.more(state, reply));
            if step != Some(Step::More)
                && let Some(exchange) = self.exchanges.get_mut(state.place)
            {
                exchange.more = false;
            }
        }
    }

    /// Ends a handler's answer.
    fn finish_reply<I: Io>(&mut self, io: &mut I, state: &mut HttpState) -> Result<(), Next> {
        let is_finished = self.with_handler(io, state.place, |_, _, reply, _| {
            // A handler that said nothing has nothing to say.
            if reply.mode == Mode::None {
                reply.whole(Status::NO_CONTENT, "", b"", b"")
            } else {
                reply.finish()
            }
        });
        if is_finished != Some(true) {
            io.want_room();
            return Err(Next::Wait);
        }
        // Its request is over, so it need not hear of the end.
        if let Some(exchange) = self.exchanges.get_mut(state.place) {
            exchange.handler = NONE;
        }
        Ok(())
    }

    /// Calls an exchange's handler, and keeps what it did to the answer.
    fn with_handler<I: Io, R>(
        &mut self,
        io: &mut I,
        place: u32,
        call: impl FnOnce(&mut dyn crate::handlers::Handler, &mut u64, &mut Reply<'_>, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let exchange = self.exchanges.get_mut(place)?;
        let route = self.routes.get_mut(exchange.handler as usize)?;
        let manner = Manner { keep_alive: !exchange.close, ..exchange.manner };
        let peer = io.peer();
        let mut reply =
            Reply { io, prefixes: &self.prefixes, manner, mode: exchange.mode, status: 0, written: 0 };
        let mut context = Context { peer, counters: &self.counters, outbox: &mut self.broadcasts.outbox };
        let result = call(&mut *route.handler, &mut exchange.handler_state, &mut reply, &mut context);
        let Reply { manner, mode, status, written, .. } = reply;
        exchange.mode = mode;
        exchange.written += written;
        exchange.close |= !manner.keep_alive;
        if status != 0 {
            if let Some(entry) = &mut exchange.entry {
                entry.status = status;
            }
            self.counters.answered(status);
        }
        Some(result)
    }

    /// Ends an exchange whose body cannot be read on. An answer that has begun cannot be taken back: the connection ends
    /// in the middle of it.
    fn fail_body<I: Io>(&mut self, io: &mut I, state: &mut HttpState, status: Status) -> Next {
        let manner = self.exchanges.get_mut(state.place).filter(|exchange| exchange.mode == Mode::None);
        let manner = manner.map(|exchange| Manner { keep_alive: false, ..exchange.manner });
        if let Some(exchange) = self.exchanges.get_mut(state.place) {
            self.entry = exchange.entry.take();
        }
        self.end_exchange(state.place);
        (state.place, state.phase) = (NONE, Phase::Idle);
        let Some(manner) = manner else { return Next::Abort };
        if self.answer_error(io, manner, status, "") { Next::Drain } else { Next::Abort }
    }
}
