//! What an executor knows of its UDP sockets: datagrams that wait, and who waits for them.

use std::collections::VecDeque;
use std::task::Waker;

use freeway::{Datagram, Stack, UdpId};

use crate::executor::Shared;
use crate::streams::Place;

/// A bound socket.
pub(crate) struct Bound {
    pub(crate) id: Option<UdpId>,
    queue: VecDeque<Datagram>,
    waker: Option<Waker>,
}

/// All sockets of an executor; the place of each is the service number of its datagrams.
pub(crate) struct Sockets {
    sockets: Vec<Option<Bound>>,
    most: usize,
    queue: usize,
}

impl Sockets {
    /// Room for `most` sockets, with `queue` datagrams each.
    pub(crate) fn new(most: u16, queue: u32) -> Self {
        let most = usize::from(most);
        Self { sockets: Vec::with_capacity(most), most, queue: queue as usize }
    }

    /// A place for a socket; `None` when all are in use.
    pub(crate) fn add(&mut self) -> Option<u16> {
        let place = match self.sockets.iter().position(Option::is_none) {
            Some(free) => free,
            None if self.sockets.len() < self.most => {
                self.sockets.push(None);
                self.sockets.len() - 1
            }
            None => return None,
        };
        let queue = VecDeque::with_capacity(self.queue);
        *self.sockets.get_mut(place)? = Some(Bound { id: None, queue, waker: None });
        Some(place as u16)
    }

    pub(crate) fn get_mut(&mut self, service: u16) -> Option<&mut Bound> {
        self.sockets.get_mut(usize::from(service))?.as_mut()
    }

    pub(crate) fn remove(&mut self, service: u16) -> Option<Bound> {
        self.sockets.get_mut(usize::from(service))?.take()
    }

    /// Puts a datagram into its socket's queue and says whom to wake; gives it back when there is no room.
    pub(crate) fn arrived(&mut self, datagram: Datagram) -> Result<Option<Waker>, Datagram> {
        let most = self.queue;
        match self.get_mut(datagram.service) {
            Some(bound) if bound.id == Some(datagram.reply_to.socket()) && bound.queue.len() < most => {
                bound.queue.push_back(datagram);
                Ok(bound.waker.take())
            }
            _ => Err(datagram),
        }
    }
}

impl Bound {
    /// The next datagram.
    pub(crate) fn pop(&mut self) -> Option<Datagram> {
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
    /// Gives a socket's port back.
    pub(crate) fn unbind(&self, stack: &mut Stack<Place>, service: u16) {
        if let Some(id) = self.sockets.borrow_mut().remove(service).and_then(|bound| bound.id) {
            stack.udp_unbind(id);
        }
    }
}
