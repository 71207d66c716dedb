//! What an executor knows of each connection: who waits for what, and how it ended.
//!
//! ```text
//!   stack's record of a connection          executor's record
//!   [ TCB | socket | Place ] ──────────────► { ConnId, wakers, end, handles }
//!                          ◄──────────────── by Stack::conn(ConnId)
//! ```
//!
//! A record lives as long as a handle on the stream does, or as long as the connection waits to be accepted; the
//! connection may end before.

use std::task::Waker;

use freeway::{CloseReason, ConnId};
use slab::Slab;

/// A connection's state in the stack: the number of its record here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place(u32);

impl Place {
    /// No record: nobody waits for this connection any more.
    pub(crate) const NONE: Self = Self(u32::MAX);

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::NONE
    }
}

/// What somebody waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Interest {
    /// Bytes, or their end.
    Read,
    /// Room to write, or the end of opening.
    Write,
    /// The connection's end.
    End,
}

/// What is known of a stream.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// The connection; none while it is being opened.
    pub(crate) id: Option<ConnId>,
    /// It is established.
    pub(crate) open: bool,
    /// How it ended.
    pub(crate) ended: Option<CloseReason>,
    /// Handles on it; none while it waits to be accepted.
    pub(crate) handles: u8,
    read: Option<Waker>,
    write: Option<Waker>,
    end: Option<Waker>,
}

impl Record {
    /// Has `waker` woken instead of whoever waited for the same before.
    pub(crate) fn wait(&mut self, interest: Interest, waker: &Waker) {
        let place = match interest {
            Interest::Read => &mut self.read,
            Interest::Write => &mut self.write,
            Interest::End => &mut self.end,
        };
        match place {
            Some(there) => there.clone_from(waker),
            None => *place = Some(waker.clone()),
        }
    }
}

/// All streams of an executor.
pub(crate) struct Streams {
    records: Slab<Record>,
    most: usize,
}

impl Streams {
    /// Room for so many.
    pub(crate) fn new(most: u32) -> Self {
        Self { records: Slab::with_capacity(most as usize), most: most as usize }
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Adds a record; `None` when all are in use.
    pub(crate) fn add(&mut self, id: Option<ConnId>, handles: u8) -> Option<Place> {
        if self.records.len() == self.most {
            return None;
        }
        let record = Record { id, handles, open: handles == 0, ..Record::default() };
        Some(Place(self.records.insert(record) as u32))
    }

    pub(crate) fn get(&self, place: Place) -> Option<&Record> {
        self.records.get(place.index())
    }

    pub(crate) fn get_mut(&mut self, place: Place) -> Option<&mut Record> {
        self.records.get_mut(place.index())
    }

    pub(crate) fn remove(&mut self, place: Place) -> Option<Record> {
        self.records.try_remove(place.index())
    }

    // ---- events; each returns whom to wake, when nothing is borrowed ----

    pub(crate) fn opened(&mut self, place: Place) -> Option<Waker> {
        let record = self.get_mut(place)?;
        record.open = true;
        record.write.take()
    }

    pub(crate) fn readable(&mut self, place: Place) -> Option<Waker> {
        self.get_mut(place)?.read.take()
    }

    pub(crate) fn writable(&mut self, place: Place) -> Option<Waker> {
        self.get_mut(place)?.write.take()
    }

    pub(crate) fn ended(&mut self, place: Place, reason: CloseReason) -> [Option<Waker>; 3] {
        let Some(record) = self.get_mut(place) else { return [None, None, None] };
        record.ended = Some(reason);
        [record.read.take(), record.write.take(), record.end.take()]
    }
}
