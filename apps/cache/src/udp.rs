//! Requests in datagrams.
//!
//! A request is one datagram, its answer several. So that a forged source address brings little upon anybody: it is off
//! unless asked for, an answer has a bound, and nothing is answered to a port that no client has.

use freeway::{Datagram, Stack};
use freeway_memcache::udp::{DATAGRAM_MAX, FRAME_LEN, Frame, datagrams};
use freeway_memcache::{Decoder, Refusal};

use crate::connection::{CacheServer, CacheState};
use crate::engine::Next;
use crate::out::OUT_MAX;
use crate::server::Server;

/// Ports below are services', not clients'.
const CLIENT_PORTS: u16 = 1_024;

impl CacheServer {
    /// Answers a datagram.
    pub fn datagram<S: Copy + Default + 'static>(&mut self, stack: &mut Stack<S>, datagram: &Datagram) {
        self.tick(stack.now());
        let Server { counters, config, .. } = &mut self.engine.server;
        counters.datagrams += 1;
        // Nobody logs in by datagram.
        let from_client = config.users.is_empty()
            && datagram.remote.port() >= CLIENT_PORTS
            && datagram.remote.port() != datagram.local.port();
        let Some((frame, request)) = Frame::parse(datagram.packet.data()).filter(|_| from_client) else {
            counters.datagrams_foreign += 1;
            return;
        };
        counters.bytes_read += request.len() as u64;
        let Some(len) = self.answer_request(frame, request) else {
            self.engine.server.counters.datagrams_too_long += 1;
            return;
        };
        if len > 0 {
            self.send(stack, datagram, frame.request, len);
        }
    }

    /// Puts the answer together; `None` when it is too long.
    fn answer_request(&mut self, frame: Frame, request: &[u8]) -> Option<usize> {
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
            let data = self.engine.out.data();
            let place = self.answer.get_mut(len..len + data.len());
            let fits = place.map(|place| place.copy_from_slice(data)).is_some();
            len += data.len();
            let value = self.take_value(&mut state, len);
            match (fits, value) {
                (true, Some(written)) => len += written,
                _ => {
                    self.abandon(state);
                    return None;
                }
            }
            if next != Next::Full {
                // What arrives in one datagram only is not waited for.
                self.abandon(state);
                return Some(len);
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
        if let Some(task) = self.engine.tasks.get(state.task) {
            if let Some(sending) = task.sending.take() {
                let store = &mut self.engine.server.cache.store;
                store.unpin(store.pinned_item(sending.item));
            }
            task.dump = None;
            if let Some(receiving) = task.receiving.take() {
                self.engine.server.cache.store.abort(receiving.writer);
            }
        }
        self.engine.tasks.close_if_over(&mut state.task);
    }

    fn abandon(&mut self, mut state: CacheState) {
        self.release(&mut state);
    }

    /// Sends the answer's `len` bytes.
    fn send<S: Copy + Default + 'static>(
        &mut self,
        stack: &mut Stack<S>,
        datagram: &Datagram,
        request: u16,
        len: usize,
    ) {
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
            let mut frame = arrayvec::ArrayVec::<u8, FRAME_LEN>::new();
            Frame { request, sequence, total }.emit(&mut frame);
            let Some(room) = packet.append(FRAME_LEN + part.len()) else { return };
            let (head, body) = room.split_at_mut(FRAME_LEN);
            head.copy_from_slice(&frame);
            body.copy_from_slice(part);
            self.engine.server.counters.bytes_written += part.len() as u64;
            stack.udp_send(datagram.socket, Some(datagram.local.ip()), datagram.remote, packet);
        }
    }
}
