//! What an executor knows of its listeners: connections that wait to be accepted, and who waits for them.

use std::collections::VecDeque;
use std::task::Waker;

use freeway::{Conn, ListenerId, Stack};

use crate::executor::{Shared, wake};
use crate::streams::{Place, Streams};

/// A listener.
pub(crate) struct Listening {
    pub(crate) id: Option<ListenerId>,
    /// Connections to accept. Some may be over already; at most as many again as may live.
    queue: VecDeque<Place>,
    waker: Option<Waker>,
}

/// All listeners of an executor; the place of each is the service number of its connections.
pub(crate) struct Listeners {
    listeners: Vec<Option<Listening>>,
    most: usize,
}

impl Listeners {
    /// Room for so many.
    pub(crate) fn new(most: u16) -> Self {
        Self { listeners: Vec::with_capacity(usize::from(most)), most: usize::from(most) }
    }

    /// A place for a listener with that backlog; `None` when all are in use.
    pub(crate) fn add(&mut self, backlog: u32) -> Option<u16> {
        let place = match self.listeners.iter().position(Option::is_none) {
            Some(free) => free,
            None if self.listeners.len() < self.most => {
                self.listeners.push(None);
                self.listeners.len() - 1
            }
            None => return None,
        };
        // The stack lets in no more than the backlog; as many may have ended since.
        let queue = VecDeque::with_capacity((backlog as usize).saturating_mul(2).clamp(2, 1 << 20));
        *self.listeners.get_mut(place)? = Some(Listening { id: None, queue, waker: None });
        Some(place as u16)
    }

    pub(crate) fn get_mut(&mut self, service: u16) -> Option<&mut Listening> {
        self.listeners.get_mut(usize::from(service))?.as_mut()
    }

    pub(crate) fn remove(&mut self, service: u16) -> Option<Listening> {
        self.listeners.get_mut(usize::from(service))?.take()
    }
}

impl Listening {
    /// Puts a connection into the queue; false when there is no room. Returns whom to wake, too.
    fn push(&mut self, place: Place, streams: &mut Streams) -> (bool, Option<Waker>) {
        if self.queue.len() == self.queue.capacity() {
            // Those that are over go, which are at least half.
            self.queue.retain(|&waiting| {
                let lives = streams.get(waiting).is_some_and(|record| record.ended.is_none());
                if !lives {
                    streams.remove(waiting);
                }
                lives
            });
        }
        if self.queue.len() == self.queue.capacity() {
            return (false, None);
        }
        self.queue.push_back(place);
        (true, self.waker.take())
    }

    /// The next connection to accept.
    pub(crate) fn pop(&mut self) -> Option<Place> {
        self.queue.pop_front()
    }

    /// Has `waker` woken when one comes.
    pub(crate) fn wait(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(there) => there.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }
}

impl Shared {
    /// Stops listening, and resets what waits to be accepted.
    pub(crate) fn unlisten(&self, stack: &mut Stack<Place>, service: u16) {
        let Some(mut listening) = self.listeners.borrow_mut().remove(service) else { return };
        if let Some(id) = listening.id {
            stack.unlisten(id);
        }
        while let Some(place) = listening.pop() {
            let record = self.streams.borrow_mut().remove(place);
            if let Some(mut conn) = record.and_then(|record| record.id).and_then(|id| stack.conn(id)) {
                *conn.state() = Place::NONE;
                conn.abort();
            }
        }
    }

    /// A peer has opened a connection.
    pub(crate) fn accepted(&self, mut conn: Conn<'_, Place>) {
        let (id, service) = (conn.id(), conn.service());
        let mut streams = self.streams.borrow_mut();
        let mut listeners = self.listeners.borrow_mut();
        let Some(listening) = listeners.get_mut(service) else {
            // Its listener went while the handshake was under way.
            conn.abort();
            return;
        };
        let Some(place) = streams.add(Some(id), 0) else {
            self.count(|counters| counters.refused_streams_full += 1);
            conn.abort();
            return;
        };
        let (taken, waker) = listening.push(place, &mut streams);
        if taken {
            *conn.state() = place;
            // It counts towards the backlog until a task accepts it.
            conn.defer();
        } else {
            streams.remove(place);
            self.count(|counters| counters.refused_streams_full += 1);
            conn.abort();
        }
        drop((streams, listeners));
        wake(waker);
    }
}
