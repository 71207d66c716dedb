//! One message to all subscribers of a topic.
//!
//! A message is put into the two forms that subscribers hear, once, and lent to the stack; each subscriber's connection
//! refers to it. The subscribers are served a bounded number a turn, in their order, one message after the other. One that
//! is behind is passed over: nobody waits for the slowest.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use freeway::ring::{Consumer, Producer, spsc};
use freeway::{ConnId, Duration, Instant, Lent, Stack};
use freeway_http1::chunked::{CHUNK_END, ChunkStart};
use freeway_http1::websocket::{FrameHead, Opcode};

use crate::state::NONE;

/// Topics of a server at most.
pub const TOPICS_MAX: usize = 16;

/// Messages on their way from one core to another at most.
const MAIL_MAX: usize = 64;

/// A message as it goes from core to core.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) topic: u8,
    pub(crate) bytes: Arc<[u8]>,
}

/// Where handlers leave messages; every core's subscribers hear them.
pub struct Outbox {
    own: VecDeque<Message>,
    others: Vec<Producer<Message>>,
    max: usize,
    /// Messages dropped because too many waited, here or at another core.
    pub(crate) dropped: u64,
}

impl Outbox {
    /// Sends a message to the subscribers of a topic, on all cores; false when too many wait on this one. Allocates what
    /// carries it: publishing is no part of the data path.
    pub fn send(&mut self, topic: u8, bytes: &[u8]) -> bool {
        if self.own.len() >= self.max {
            self.dropped += 1;
            return false;
        }
        let message = Message { topic, bytes: bytes.into() };
        for other in &mut self.others {
            if other.push(message.clone()).is_err() {
                self.dropped += 1;
            }
        }
        self.own.push_back(message);
        true
    }
}

/// How messages get to one core from the others.
pub struct Mesh {
    to: Vec<Producer<Message>>,
    from: Vec<Consumer<Message>>,
}

impl Mesh {
    /// The ends of `cores` cores.
    pub fn new(cores: usize) -> Vec<Self> {
        let mut ends: Vec<Self> = (0..cores).map(|_| Self { to: Vec::new(), from: Vec::new() }).collect();
        for sender in 0..cores {
            for receiver in (0..cores).filter(|receiver| *receiver != sender) {
                let (to, from) = spsc(MAIL_MAX);
                ends[sender].to.push(to);
                ends[receiver].from.push(from);
            }
        }
        ends
    }
}

/// Bytes that both a stack and this core refer to.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A place for a subscriber.
#[derive(Clone, Copy)]
enum Place {
    Used(ConnId),
    Free(u32),
}

/// The subscribers of a topic. Each keeps its place, so that a message that is half way through them meets everyone
/// once.
struct Subscribers {
    places: Vec<Place>,
    free: u32,
    len: u32,
}

impl Subscribers {
    fn new(max: u32) -> Self {
        Self { places: Vec::with_capacity(max as usize), free: NONE, len: 0 }
    }

    fn insert(&mut self, conn: ConnId) -> Option<u32> {
        let place = self.free;
        let place = if let Some(slot) = self.places.get_mut(place as usize) {
            if let Place::Free(next) = *slot {
                self.free = next;
            }
            *slot = Place::Used(conn);
            place
        } else if self.places.len() < self.places.capacity() {
            self.places.push(Place::Used(conn));
            self.places.len() as u32 - 1
        } else {
            return None;
        };
        self.len += 1;
        Some(place)
    }

    fn remove(&mut self, place: u32) {
        if let Some(slot) = self.places.get_mut(place as usize)
            && matches!(slot, Place::Used(_))
        {
            *slot = Place::Free(self.free);
            self.free = place;
            self.len -= 1;
        }
    }
}

/// A message on its way through the subscribers.
struct Round {
    topic: u8,
    events: Lent,
    socket: Lent,
    /// The bytes of both, for connections that cannot refer to them.
    bytes: [Arc<Vec<u8>>; 2],
    next: usize,
}

/// A message in both forms.
#[derive(Clone, Copy)]
pub(crate) struct Forms {
    pub(crate) events: Lent,
    pub(crate) socket: Lent,
}

/// All topics of a core.
pub(crate) struct Broadcasts {
    topics: Vec<Subscribers>,
    rounds: VecDeque<Round>,
    rounds_max: usize,
    from: Vec<Consumer<Message>>,
    /// Since when the core has been short of room to send.
    short_since: Option<Instant>,
    is_waiting: bool,
    pub(crate) outbox: Outbox,
}

impl Broadcasts {
    pub(crate) fn new(topics: usize, subscribers_max: u32, queue: u32, mesh: Mesh) -> Self {
        let max = queue.max(1) as usize;
        Self {
            topics: (0..topics.min(TOPICS_MAX)).map(|_| Subscribers::new(subscribers_max)).collect(),
            rounds: VecDeque::with_capacity(max),
            rounds_max: max,
            from: mesh.from,
            short_since: None,
            is_waiting: false,
            outbox: Outbox { own: VecDeque::with_capacity(max), others: mesh.to, max, dropped: 0 },
        }
    }

    /// Adds a subscriber; `None` when the topic is full, or there is none of that number.
    pub(crate) fn subscribe(&mut self, topic: u8, conn: ConnId) -> Option<u32> {
        self.topics.get_mut(usize::from(topic))?.insert(conn)
    }

    pub(crate) fn unsubscribe(&mut self, topic: u8, place: u32) {
        if let Some(topic) = self.topics.get_mut(usize::from(topic)) {
            topic.remove(place);
        }
    }

    /// Whether messages wait to be sent.
    pub(crate) fn is_busy(&self) -> bool {
        !self.rounds.is_empty() || !self.outbox.own.is_empty()
    }

    /// Whether a message waits for room that its core does not have.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Notes whether the core is short of room now; whether the message at hand waits for some, which it does for so long
    /// and then no more.
    #[inline]
    pub(crate) fn waits(&mut self, is_short: bool, now: Instant, patience: Duration) -> bool {
        self.is_waiting = is_short && {
            let since = *self.short_since.get_or_insert(now);
            now - since < patience
        };
        if !is_short {
            self.short_since = None;
        }
        self.is_waiting
    }

    /// Takes messages from this core's handlers and from other cores.
    pub(crate) fn collect<S: Copy + Default + 'static>(&mut self, stack: &mut Stack<S>) {
        while self.rounds.len() < self.rounds_max {
            let message =
                self.outbox.own.pop_front().or_else(|| self.from.iter_mut().find_map(Consumer::pop));
            let Some(message) = message else { break };
            self.begin(&message, stack);
        }
    }

    fn begin<S: Copy + Default + 'static>(&mut self, message: &Message, stack: &mut Stack<S>) {
        if self.topics.get(usize::from(message.topic)).is_none_or(|topic| topic.len == 0) {
            return;
        }
        let bytes = [Arc::new(event(&message.bytes)), Arc::new(frame(&message.bytes))];
        let [events, socket] = bytes.clone();
        let Some(events) = stack.lend(Rc::new(Shared(events))) else { return };
        let Some(socket) = stack.lend(Rc::new(Shared(socket))) else {
            stack.take_back(events);
            return;
        };
        self.rounds.push_back(Round { topic: message.topic, events, socket, bytes, next: 0 });
    }

    /// The bytes of the message at hand, in the form of events or of a WebSocket.
    pub(crate) fn bytes(&self, is_socket: bool) -> Option<Arc<Vec<u8>>> {
        self.rounds.front().map(|round| Arc::clone(&round.bytes[usize::from(is_socket)]))
    }

    /// The next subscriber of the message at hand, and who will come `ahead` places later; `None` when all have been
    /// served, and then the message is done with.
    pub(crate) fn next<S: Copy + Default + 'static>(
        &mut self,
        ahead: usize,
        stack: &mut Stack<S>,
    ) -> Option<(ConnId, Forms)> {
        let round = self.rounds.front_mut()?;
        let places = self.topics.get(usize::from(round.topic)).map_or(&[][..], |topic| &topic.places);
        while let Some(&place) = places.get(round.next) {
            round.next += 1;
            if let Place::Used(conn) = place {
                if let Some(&Place::Used(later)) = places.get(round.next + ahead) {
                    stack.prefetch(later);
                }
                return Some((conn, Forms { events: round.events, socket: round.socket }));
            }
        }
        if let Some(round) = self.rounds.pop_front() {
            stack.take_back(round.events);
            stack.take_back(round.socket);
        }
        None
    }
}

/// A message as an event in a chunk (WHATWG HTML, section 9.2.5): every line of it is a line of data.
pub(crate) fn event(bytes: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(bytes.len() + 32);
    for line in bytes.split(|&byte| byte == b'\n') {
        lines.extend_from_slice(b"data: ");
        lines.extend(line.iter().copied().filter(|&byte| byte != b'\r'));
        lines.push(b'\n');
    }
    lines.push(b'\n');
    [ChunkStart::new(lines.len() as u64).as_bytes(), &lines, CHUNK_END].concat()
}

/// A message as a WebSocket's frame: text if it is.
pub(crate) fn frame(bytes: &[u8]) -> Vec<u8> {
    let opcode = if core::str::from_utf8(bytes).is_ok() { Opcode::Text } else { Opcode::Binary };
    [&FrameHead::write(opcode, bytes.len() as u64), bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_take_both_forms() {
        assert_eq!(event(b"one\r\ntwo"), b"15\r\ndata: one\ndata: two\n\n\r\n");
        assert_eq!(event(b"x"), b"9\r\ndata: x\n\n\r\n");
        assert_eq!(frame(b"x"), b"\x81\x01x");
        assert_eq!(frame(b"\xff"), b"\x82\x01\xff");
    }
}
