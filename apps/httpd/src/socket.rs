//! Connections that stay: Server-Sent Events and WebSockets.
//!
//! What a client sends on a WebSocket is checked as it comes and sent back in pieces (RFC 6455, sections 5 and 8.1); no
//! message is put together, so none is too long for memory. What a subscriber sends is dropped frame by frame.

use arrayvec::ArrayVec;
use freeway_http1::websocket::frame::CONTROL_MAX;
use freeway_http1::websocket::{Close, FrameHead, HandshakeError, Opcode, check, unmask};
use freeway_http1::{Body, Framing, Head, Request, Status};

use crate::ask::Ask;
use crate::exchange::{Exchange, Socket};
use crate::io::Io;
use crate::reply::Manner;
use crate::server::{Next, Server, some};
use crate::state::{HttpState, NONE, Phase, Ticks};

/// The topic of a WebSocket that hears none but itself.
const ECHO: u8 = u8::MAX;

/// Bytes of a message from a client at most. They pass through, so the bound is for the sake of those behind.
const MESSAGE_MAX: u64 = 1 << 30;

/// Payload that is looked at in one go.
const PIECE: usize = 1_024;

impl Server {
    /// Begins a stream of events.
    pub(crate) fn open_events<I: Io>(
        &mut self,
        io: &mut I,
        state: &mut HttpState,
        manner: Manner,
        topic: u8,
    ) -> Next {
        let Some(place) = self.broadcasts.subscribe(topic, io.id()) else {
            self.counters.refused_subscribers += 1;
            let manner = Manner { keep_alive: false, ..manner };
            self.answer_error(io, manner, Status::SERVICE_UNAVAILABLE, "");
            return Next::Drain;
        };
        let mut head = Head::fields();
        head.field("Content-Type", b"text/event-stream").field("Cache-Control", b"no-store");
        head.field("Transfer-Encoding", b"chunked");
        if !io.put(&[self.prefixes.of(Status::OK), head.finish().unwrap_or_default()]) {
            self.broadcasts.unsubscribe(topic, place);
            return Next::Abort;
        }
        self.note(Status::OK, 0);
        self.counters.subscribed += 1;
        *state = HttpState { place, topic, phase: Phase::Events, since: Ticks::of(io.now()), ..*state };
        Next::WaitFor(self.config.subscriber_check)
    }

    /// Turns a connection into a WebSocket.
    pub(crate) fn open_socket<I: Io>(
        &mut self,
        io: &mut I,
        state: &mut HttpState,
        ask: Ask,
        request: &Request<'_, '_>,
        topic: Option<u8>,
    ) -> Next {
        let key = match check(request) {
            Ok(key) if ask.framing == Framing::None => key,
            Ok(_) | Err(HandshakeError::Malformed) => {
                return self.refuse_socket(io, state, ask, Status::BAD_REQUEST);
            }
            Err(HandshakeError::NotAsked | HandshakeError::Version) => {
                return self.refuse_socket(io, state, ask, Status::UPGRADE_REQUIRED);
            }
        };
        let place = match topic {
            None => NONE,
            Some(topic) => match self.broadcasts.subscribe(topic, io.id()) {
                Some(place) => place,
                None => {
                    self.counters.refused_subscribers += 1;
                    return self.refuse_socket(io, state, ask, Status::SERVICE_UNAVAILABLE);
                }
            },
        };
        let mut head = Head::fields();
        head.field("Upgrade", b"websocket")
            .field("Connection", b"Upgrade")
            .field("Sec-WebSocket-Accept", &key);
        let is_written =
            io.put(&[self.prefixes.of(Status::SWITCHING_PROTOCOLS), head.finish().unwrap_or_default()]);
        *state = HttpState {
            place,
            topic: topic.unwrap_or(ECHO),
            phase: Phase::Socket,
            since: Ticks::of(io.now()),
            ..*state
        };
        if !is_written {
            return Next::Abort;
        }
        self.note(Status::SWITCHING_PROTOCOLS, 0);
        self.counters.subscribed += u64::from(topic.is_some());
        match self.hear(io, state) {
            Next::Wait => Next::WaitFor(self.config.subscriber_check),
            next => next,
        }
    }

    fn refuse_socket<I: Io>(&mut self, io: &mut I, state: &mut HttpState, ask: Ask, status: Status) -> Next {
        let manner =
            Manner { keep_alive: ask.manner.keep_alive && ask.framing == Framing::None, ..ask.manner };
        let is_written = if status == Status::UPGRADE_REQUIRED {
            // RFC 9110, section 15.5.22, and RFC 6455, section 4.4: it says what to upgrade to.
            let mut head = Head::fields();
            head.field("Upgrade", b"websocket")
                .field("Sec-WebSocket-Version", b"13")
                .number("Content-Length", 0);
            let connection: &[u8] = if manner.keep_alive {
                b"Connection: Upgrade\r\n"
            } else {
                b"Connection: Upgrade, close\r\n"
            };
            head.lines(connection);
            let is_written = io.put(&[self.prefixes.of(status), head.finish().unwrap_or_default()]);
            self.note(status, 0);
            is_written
        } else {
            self.answer_error(io, manner, status, "")
        };
        if is_written { self.after_answer(io, state, manner) } else { Next::Abort }
    }

    /// A subscriber is gone.
    pub(crate) fn unsubscribe(&mut self, state: HttpState) {
        if state.topic != ECHO {
            self.broadcasts.unsubscribe(state.topic, state.place);
        } else if state.place != NONE {
            self.end_exchange(state.place);
        }
    }

    /// Reads what a WebSocket's client sends.
    pub(crate) fn hear<I: Io>(&mut self, io: &mut I, state: &mut HttpState) -> Next {
        let mut socket = self.take_socket(state);
        loop {
            let result = match socket.frame {
                None => self.hear_head(io, state, &mut socket),
                Some((head, done)) => self.hear_payload(io, state, &mut socket, head, done),
            };
            match result {
                Ok(true) => {}
                Ok(false) => {
                    if io.at_end() {
                        return Next::Close;
                    }
                    return if self.keep_socket(io, state, socket) { Next::Wait } else { Next::Abort };
                }
                Err(close) => return self.close_socket(io, close),
            }
        }
    }

    /// The frame and message at hand, if one has begun. A subscriber's place is taken, so it has an exchange only while a
    /// frame is incomplete, which what it sends seldom is; then it is unsubscribed.
    fn take_socket(&mut self, state: &mut HttpState) -> Socket {
        if state.topic != ECHO || state.place == NONE {
            return Socket::default();
        }
        self.exchanges.get_mut(state.place).map_or_else(Socket::default, |exchange| exchange.socket)
    }

    fn keep_socket<I: Io>(&mut self, io: &I, state: &mut HttpState, socket: Socket) -> bool {
        if socket.is_idle() {
            if state.topic == ECHO && state.place != NONE {
                self.end_exchange(state.place);
                state.place = NONE;
            }
            return true;
        }
        if state.topic != ECHO {
            // A subscriber's frames are taken whole.
            return false;
        }
        if let Some(exchange) = self.exchanges.get_mut(state.place) {
            exchange.socket = socket;
            return true;
        }
        let exchange = Exchange { socket, ..Exchange::new(io.id(), Body::new(Framing::None), false) };
        match self.exchanges.insert(exchange) {
            Ok(place) => {
                state.place = place;
                true
            }
            Err(_) => {
                self.counters.refused_exchanges += 1;
                false
            }
        }
    }

    /// Reads a frame's head; true when there is more to do at once.
    fn hear_head<I: Io>(
        &mut self,
        io: &mut I,
        state: &HttpState,
        socket: &mut Socket,
    ) -> Result<bool, Close> {
        let mut bytes = [0; 14];
        let len = io.copy(&mut bytes);
        let Some((head, head_len)) = FrameHead::parse(bytes.get(..len).unwrap_or_default())? else {
            return Ok(false);
        };
        if state.topic == ECHO {
            socket.assembly.begin(&head, MESSAGE_MAX)?;
        }
        if head.opcode.is_control() {
            return self.hear_control(io, head, head_len);
        }
        if state.topic != ECHO {
            // Nobody listens: whole frames are dropped. One that does not fit the window would never be whole.
            if head.len > PIECE as u64 * 16 {
                return Err(Close::TOO_LARGE);
            }
            if (io.available() as u64) < head_len as u64 + head.len {
                // It is read again when it is whole.
                return Ok(false);
            }
        }
        io.consume(head_len);
        socket.frame = Some((head, 0));
        Ok(true)
    }

    fn hear_control<I: Io>(&mut self, io: &mut I, head: FrameHead, head_len: usize) -> Result<bool, Close> {
        let whole = head_len + head.len as usize;
        if io.available() < whole {
            return Ok(false);
        }
        let mut bytes = [0; 14 + CONTROL_MAX as usize];
        let len = io.copy(&mut bytes).min(whole);
        let payload = bytes.get_mut(head_len..len).unwrap_or_default();
        unmask(payload, head.mask, 0);
        match head.opcode {
            Opcode::Ping if !io.put(&[&FrameHead::write(Opcode::Pong, head.len), payload]) => {
                return Ok(false);
            }
            Opcode::Close => return Err(Close::parse(payload)?.unwrap_or(Close::NORMAL)),
            _ => {}
        }
        io.consume(whole);
        Ok(true)
    }

    /// Reads the next piece of a frame's payload. What is sent back is a fragment for each piece, checked before it goes,
    /// so that between two of them everything can be said.
    fn hear_payload<I: Io>(
        &mut self,
        io: &mut I,
        state: &HttpState,
        socket: &mut Socket,
        head: FrameHead,
        done: u64,
    ) -> Result<bool, Close> {
        let left = head.len - done;
        let mut bytes = [0; PIECE];
        let count = io.copy(&mut bytes).min(usize::try_from(left).unwrap_or(PIECE));
        if (count as u64) < left.min(PIECE as u64) {
            return Ok(false);
        }
        let is_last = count as u64 == left;
        let piece = bytes.get_mut(..count).unwrap_or_default();
        unmask(piece, head.mask, done);
        if state.topic == ECHO {
            let is_end = is_last && head.fin;
            let mut text = socket.text;
            if socket.assembly.is_text() {
                text.read(piece).map_err(|_| Close::NOT_TEXT)?;
                if is_end {
                    text.end().map_err(|_| Close::NOT_TEXT)?;
                }
            }
            let opcode = if done == 0 { head.opcode } else { Opcode::Continuation };
            let mut fragment = FrameHead::write(opcode, count as u64);
            if let Some(first) = fragment.first_mut()
                && !is_end
            {
                *first &= 0x7f;
            }
            if !io.put(&[&fragment, piece]) {
                return Ok(false);
            }
            socket.text = text;
        }
        io.consume(count);
        socket.frame = (!is_last).then_some((head, done + count as u64));
        if is_last && state.topic == ECHO {
            socket.assembly.end(&head);
        }
        Ok(true)
    }

    /// Says why, and closes.
    fn close_socket<I: Io>(&mut self, io: &mut I, close: Close) -> Next {
        if !matches!(close, Close(1000 | 1001 | 3000..)) {
            self.counters.websocket_failed += 1;
        }
        let code = close.0.to_be_bytes();
        let frame: ArrayVec<u8, 14> =
            FrameHead::write(Opcode::Close, 2).iter().copied().chain(code).collect();
        io.put(&[&frame]);
        Next::Drain
    }

    /// Whether a subscriber still takes what it is sent.
    pub(crate) fn check_subscriber<I: Io>(&mut self, io: &I, state: &mut HttpState) -> Next {
        // What lies unacknowledged for a whole interval, lies.
        let unacknowledged = io.unacknowledged() > 0;
        if unacknowledged && state.requests == u16::MAX {
            self.counters.timed_out_send += 1;
            return Next::Abort;
        }
        state.requests = if unacknowledged { u16::MAX } else { 0 };
        some(self.config.subscriber_check).map_or(Next::Wait, Next::WaitFor)
    }
}

impl Socket {
    /// Nothing has begun that is not over.
    fn is_idle(&self) -> bool {
        self.frame.is_none() && !self.assembly.is_open()
    }
}
