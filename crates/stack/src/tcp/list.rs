//! Lists of connections that run through the connections themselves.

use freeway_collections::Slab;

use super::NONE;
use super::record::{Connection, Flags};

/// A queue of connections, linked by index: each connection is on it at most once, so it needs no memory of
/// its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    head: u32,
    tail: u32,
    len: u32,
}

/// Which list: what marks membership, and which link is its.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Connections with events for the application.
    Ready,
    /// Connections with something to transmit.
    Dirty,
    /// Connections that want to write and found too few buffers free.
    Starved,
}

impl Which {
    const fn mark(self) -> Flags {
        match self {
            Self::Ready => Flags::ON_READY,
            Self::Dirty => Flags::ON_DIRTY,
            Self::Starved => Flags::ON_STARVED,
        }
    }

    fn link<S>(self, connection: &mut Connection<S>) -> &mut u32 {
        match self {
            Self::Ready => &mut connection.socket.next_ready,
            Self::Dirty => &mut connection.socket.next_dirty,
            Self::Starved => &mut connection.socket.next_starved,
        }
    }
}

impl List {
    pub(crate) const EMPTY: Self = Self { head: NONE, tail: NONE, len: 0 };

    #[inline]
    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    /// Appends a connection, unless it is on the list already.
    #[inline]
    pub(crate) fn push<S>(&mut self, which: Which, connections: &mut Slab<Connection<S>>, index: u32)
    where
        S: Copy + 'static,
    {
        let Some(connection) = connections.slot_mut(index) else { return };
        if connection.socket.flags.contains(which.mark()) {
            return;
        }
        connection.socket.flags.insert(which.mark());
        *which.link(connection) = NONE;
        match connections.slot_mut(self.tail) {
            Some(tail) => *which.link(tail) = index,
            None => self.head = index,
        }
        self.tail = index;
        self.len += 1;
    }

    /// Takes the first connection.
    #[inline]
    pub(crate) fn pop<S>(&mut self, which: Which, connections: &mut Slab<Connection<S>>) -> Option<u32>
    where
        S: Copy + 'static,
    {
        let index = self.head;
        let connection = connections.slot_mut(index)?;
        connection.socket.flags.remove(which.mark());
        self.head = core::mem::replace(which.link(connection), NONE);
        if self.head == NONE {
            self.tail = NONE;
        }
        self.len -= 1;
        Some(index)
    }
}
