//! Requests in datagrams.
//!
//! A request is one datagram, its answer several. So that a forged source address brings little upon anybody: it is off
//! unless asked for, an answer has a bound, and nothing is answered to a port that no client has.

use freeway::{Datagram, Post, Stack};
use freeway_base::FlowHash;
use freeway_memcache::text::reply::END;
use freeway_memcache::udp::{DATAGRAM_MAX, FRAME_LEN, Frame, datagrams};
use freeway_memcache::{Decoder, Refusal, Sink};

use crate::connection::{BATCH, CacheServer, CacheState};
use crate::engine::{Engine, Next, RESERVE};
use crate::glance::first_key;
use crate::out::OUT_MAX;
use crate::peers::parts::Is;
use crate::peers::{AskHead, Kind};
use crate::server::Server;
use crate::tasks::Asker;

/// Ports below are services', not clients'.
const CLIENT_PORTS: u16 = 1_024;
/// Bytes of another core's long value that come at once: they fit into a part's buffer, with the end of a get.
const PIECE: usize = RESERVE - END.len();

/// Where an answer is.
enum Answered {
    /// Whole, in the server's buffer: so many bytes.
    Now(usize),
    /// In parts, some of which may still be awaited.
    InParts(CacheState),
}

/// Why nothing was answered.
enum Unsent {
    TooLong,
    /// Other cores cannot be asked now.
    Busy,
}

impl CacheServer {
    /// A datagram has arrived: it is answered now, or with others in this turn, once what it needs has come from memory.
    pub fn datagram<S: Copy + Default + 'static>(&mut self, stack: &mut Stack<S>, datagram: Datagram) {
        self.tick(stack.now());
        let request = datagram.packet.data().get(FRAME_LEN..).unwrap_or(&[]);
        let Some(hash) = first_key(request).map(|key| self.engine.server.hash(key)) else {
            self.answer_datagram(stack, &datagram, None);
            return;
        };
        self.engine.server.cache.store.prefetch(hash);
        self.datagrams.push((datagram, hash));
        if self.datagrams.len() == BATCH {
            self.answer_datagrams(stack);
        }
    }

    /// Answers the datagrams that wait for their memory.
    pub(crate) fn answer_datagrams<S: Copy + Default + 'static>(&mut self, stack: &mut Stack<S>) {
        for (_, hash) in &self.datagrams {
            self.engine.server.cache.store.prefetch_item(*hash);
        }
        let mut datagrams = core::mem::take(&mut self.datagrams);
        for (datagram, hash) in datagrams.drain(..) {
            self.answer_datagram(stack, &datagram, Some(hash));
        }
        self.datagrams = datagrams;
    }

    fn answer_datagram<S: Copy + Default + 'static>(
        &mut self,
        stack: &mut Stack<S>,
        datagram: &Datagram,
        hash: Option<FlowHash>,
    ) {
        let Server { counters, config, .. } = &mut self.engine.server;
        counters.datagrams += 1;
        // Nobody logs in by datagram.
        let from_client = config.users.is_empty()
            && datagram.reply_to.remote_port() >= CLIENT_PORTS
            && datagram.reply_to.remote_port() != datagram.reply_to.local_port();
        let Some((frame, request)) = Frame::parse(datagram.packet.data()).filter(|_| from_client) else {
            counters.datagrams_foreign += 1;
            return;
        };
        if hash.and_then(|hash| self.glance_datagram(stack, datagram, (frame, request), hash)).is_some() {
            return;
        }
        self.engine.server.counters.bytes_read += request.len() as u64;
        self.engine.asker = Some(Asker::Datagram { reply_to: datagram.reply_to, request: frame.request });
        match self.answer_request(frame, request) {
            Ok(Answered::Now(len)) => self.send(stack, self.engine.asker, len),
            Ok(Answered::InParts(state)) => {
                if self.engine.parts.has_all(self.engine.tasks.queue(state.task)) {
                    self.send_parts(stack, state);
                }
            }
            Err(Unsent::TooLong) => self.engine.server.counters.datagrams_too_long += 1,
            Err(Unsent::Busy) => self.engine.server.counters.datagrams_busy += 1,
        }
    }

    /// Puts the answer together, as far as it does not wait for other cores.
    fn answer_request(&mut self, frame: Frame, request: &[u8]) -> Result<Answered, Unsent> {
        let mut state =
            CacheState { decoder: Decoder::new(self.engine.server.config.protocol), ..CacheState::default() };
        let (mut from, mut len) = (0, 0);
        loop {
            self.engine.out.begin(OUT_MAX);
            let (used, next) = if frame.is_whole() {
                self.engine.run(request.get(from..).unwrap_or(&[]), &mut state)
            } else {
                Refusal::MultiPacket.emit(&mut self.engine.out);
                (request.len(), Next::Close)
            };
            from += used;
            if next == Next::Wait {
                self.abandon(state);
                return Err(Unsent::Busy);
            }
            if self.engine.peers.is_some() && self.is_to_be_parked(&state, next) {
                let whole = self.park_all(&mut state, next == Next::Full);
                match (whole, next) {
                    (None, _) => {
                        self.abandon(state);
                        return Err(Unsent::Busy);
                    }
                    (_, Next::Full) => continue,
                    _ => return Ok(Answered::InParts(state)),
                }
            }
            let data = self.engine.out.data();
            let place = self.answer.get_mut(len..len + data.len());
            let fits = place.map(|place| place.copy_from_slice(data)).is_some();
            len += data.len();
            let value = self.take_value(&mut state, len);
            match (fits, value) {
                (true, Some(written)) => len += written,
                _ => {
                    self.abandon(state);
                    return Err(Unsent::TooLong);
                }
            }
            if next != Next::Full {
                // What arrives in one datagram only is not waited for.
                self.abandon(state);
                return Ok(Answered::Now(len));
            }
        }
    }

    /// Copies the value that follows the answers; `None` when it does not fit.
    fn take_value(&mut self, state: &mut CacheState, at: usize) -> Option<usize> {
        let Some(sending) = self.engine.tasks.get(state.task).and_then(|task| task.sending) else {
            return Some(0);
        };
        let store = &self.engine.server.cache.store;
        let item = store.pinned_item(sending.item);
        let (len, end) = (sending.len as usize, if sending.line { 2 } else { 0 });
        let place = self.answer.get_mut(at..at + len + end)?;
        let (value, line) = place.split_at_mut(len);
        store.read(item, 0, value);
        line.copy_from_slice(b"\r\n".get(..end)?);
        self.release(state);
        Some(len + end)
    }

    fn release(&mut self, state: &mut CacheState) {
        self.engine.drop_begun(state);
    }

    fn abandon(&mut self, mut state: CacheState) {
        self.drop_owed(state.task);
        self.release(&mut state);
    }

    // ---- with other cores ----

    /// Whether the answer waits for other cores, or may have to.
    fn is_to_be_parked(&self, state: &CacheState, next: Next) -> bool {
        next == Next::Full || !self.engine.tasks.queue(state.task).is_empty()
    }

    /// Puts all that was answered so far behind what is owed; with `value` a long value of this core too.
    fn park_all(&mut self, state: &mut CacheState, value: bool) -> Option<()> {
        self.engine.park(state, 0)?;
        while let Some(sending) =
            self.engine.tasks.get(state.task).and_then(|task| task.sending.as_mut()).filter(|_| value)
        {
            let store = &self.engine.server.cache.store;
            let item = store.pinned_item(sending.item);
            let piece = sending.piece(store, item);
            let piece = piece.get(..RESERVE).unwrap_or(piece);
            if piece.is_empty() {
                self.release(state);
                break;
            }
            sending.offset += piece.len() as u32;
            self.engine.out.begin(OUT_MAX);
            self.engine.out.put(piece);
            self.engine.park(state, 0)?;
        }
        Some(())
    }

    /// An answer of another core that is part of a datagram's.
    pub(crate) fn datagram_part<S: Copy + Default + 'static>(
        &mut self,
        stack: &mut Stack<S>,
        asks: &mut Post,
        task: u16,
        ticket: u16,
        bytes: &[u8],
    ) {
        let state = CacheState { task, ..CacheState::default() };
        if self.keep_part(asks, task, ticket, bytes).is_none() {
            self.engine.server.counters.datagrams_busy += 1;
            self.abandon(state);
        } else if self.engine.parts.has_all(self.engine.tasks.queue(task)) {
            self.send_parts(stack, state);
        }
    }

    /// Keeps an answer, and asks for the rest of a long value; `None` when that cannot be.
    fn keep_part(&mut self, asks: &mut Post, task: u16, ticket: u16, bytes: &[u8]) -> Option<()> {
        let Engine { parts, tasks, .. } = &mut self.engine;
        let kept = parts.give_buffer(ticket) && parts.hold(ticket, bytes);
        let part = parts.get(ticket).filter(|_| kept)?;
        let (is, core) = (part.is, u32::from(part.core));
        if is.contains(Is::MORE) {
            parts.set_aside(&mut tasks.get(task)?.queue, ticket)?;
            let head = AskHead { number: PIECE as u32, ..AskHead::new(Kind::Pull, ticket) };
            let asked = asks.put(core, &[&head.bytes()]);
            parts.get(ticket).filter(|_| asked)?.awaited = 1;
        } else if is.contains(Is::END) {
            parts.hold(ticket, END);
        }
        Some(())
    }

    /// Sends an answer whose parts are all there.
    fn send_parts<S: Copy + Default + 'static>(&mut self, stack: &mut Stack<S>, mut state: CacheState) {
        let asker = self.engine.tasks.get(state.task).and_then(|task| task.asker);
        let (mut len, mut fits) = (0, true);
        let Engine { parts, tasks, .. } = &mut self.engine;
        while let Some(number) = tasks.get(state.task).and_then(|task| parts.pop(&mut task.queue)) {
            let held = parts.held(number);
            let place = self.answer.get_mut(len..len + held.len());
            fits &= place.map(|place| place.copy_from_slice(held)).is_some();
            len += held.len();
            parts.release(number);
        }
        self.release(&mut state);
        if fits {
            self.send(stack, asker, len);
        } else {
            self.engine.server.counters.datagrams_too_long += 1;
        }
    }

    /// Sends the answer's `len` bytes.
    fn send<S: Copy + Default + 'static>(&mut self, stack: &mut Stack<S>, asker: Option<Asker>, len: usize) {
        let Some(Asker::Datagram { reply_to, request }) = asker else { return };
        if len == 0 {
            return;
        }
        let Some(total) =
            datagrams(len).filter(|&total| total <= self.engine.server.config.udp_datagrams_max)
        else {
            self.engine.server.counters.datagrams_too_long += 1;
            return;
        };
        let data = self.answer.get(..len).unwrap_or(&[]);
        for (sequence, part) in (0..total).zip(data.chunks(DATAGRAM_MAX - FRAME_LEN)) {
            let Some(mut packet) = stack.pool().alloc() else {
                self.engine.server.counters.datagrams_no_buffer += 1;
                return;
            };
            let Some(room) = packet.append(FRAME_LEN + part.len()) else { return };
            let (head, body) = room.split_at_mut(FRAME_LEN);
            head.copy_from_slice(&Frame { request, sequence, total }.to_bytes());
            body.copy_from_slice(part);
            self.engine.server.counters.bytes_written += part.len() as u64;
            stack.udp_reply(reply_to, packet);
        }
    }
}
