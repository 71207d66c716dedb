//! Requests and answers that take more than one turn, in a table of fixed size.

use std::sync::Arc;

use freeway::ConnId;
use freeway_http1::Body;
use freeway_http1::ranges::{RANGES_MAX, Span};
use freeway_http1::websocket::{Assembly, FrameHead, utf8};

use arrayvec::ArrayVec;

use crate::document::Document;
use crate::log::Entry;
use crate::reply::{Manner, Mode};
use crate::state::NONE;

/// A part of a document, read from disk.
pub(crate) struct Chunk {
    pub(crate) buffer: Box<[u8]>,
    pub(crate) len: usize,
}

/// What is being sent.
// It lies in a table that is laid out at start; a box would be an allocation for each download.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Sending {
    /// Nothing: the request is still being read, or its handler writes.
    Nothing,
    /// Parts of a document.
    Document(Download),
}

/// A document, or parts of it, on its way.
pub(crate) struct Download {
    /// Its number on the shelf, which holds it.
    pub(crate) number: u32,
    /// What is left: the first span as far as it is not written, then the others.
    pub(crate) spans: ArrayVec<Span, RANGES_MAX>,
    /// How many of the spans are done.
    pub(crate) done: usize,
    /// Several spans: each has a head, and the last is followed by an end.
    pub(crate) is_multipart: bool,
    /// The head of the span at hand has been written.
    pub(crate) head_written: bool,
    /// What was read from disk and not written yet, and how much of it was.
    pub(crate) chunk: Option<(Chunk, usize)>,
    /// The part that comes after it.
    pub(crate) next: Option<Chunk>,
    /// Where the next read begins, in the span at hand.
    pub(crate) read_to: u64,
    /// A read is under way.
    pub(crate) reading: bool,
    /// The document, for reads from disk.
    pub(crate) document: Option<Arc<Document>>,
}

/// A WebSocket's frame that has arrived in part, and its message.
#[derive(Clone, Copy, Default)]
pub(crate) struct Socket {
    pub(crate) frame: Option<(FrameHead, u64)>,
    pub(crate) assembly: Assembly,
    pub(crate) text: utf8::Checker,
}

/// One exchange.
pub(crate) struct Exchange {
    pub(crate) conn: ConnId,
    /// Tells it from others that had its place.
    pub(crate) serial: u32,
    /// The request's body as far as it has not been read.
    pub(crate) body: Body,
    /// Bytes of it that were read.
    pub(crate) body_read: u64,
    /// How many there may be; more are refused.
    pub(crate) body_max: u64,
    /// The handler that reads it, or [`NONE`]: it is skipped.
    pub(crate) handler: u32,
    /// What the handler keeps.
    pub(crate) handler_state: u64,
    /// The handler has more to write, and waits for room.
    pub(crate) more: bool,
    /// What of the request decides how it is answered.
    pub(crate) manner: Manner,
    /// How the handler's answer is framed.
    pub(crate) mode: Mode,
    pub(crate) sending: Sending,
    /// The connection closes after the answer.
    pub(crate) close: bool,
    /// Bytes of body read and of answer acknowledged when the rates were looked at last.
    pub(crate) seen: (u64, u64),
    /// Bytes of the answer written so far.
    pub(crate) written: u64,
    /// What the log will say.
    pub(crate) entry: Option<Box<Entry>>,
    pub(crate) socket: Socket,
}

impl Exchange {
    pub(crate) fn new(conn: ConnId, body: Body, close: bool) -> Self {
        Self {
            conn,
            serial: 0,
            body,
            body_read: 0,
            body_max: u64::MAX,
            handler: NONE,
            handler_state: 0,
            more: false,
            manner: Manner { keep_alive: !close, ..Manner::CLOSE },
            mode: Mode::None,
            sending: Sending::Nothing,
            close,
            seen: (0, 0),
            written: 0,
            entry: None,
            socket: Socket::default(),
        }
    }
}

/// All exchanges of a core.
pub(crate) struct Exchanges {
    places: Vec<Place>,
    free: u32,
    serial: u32,
}

// A place is as large as what it is for.
#[allow(clippy::large_enum_variant)]
enum Place {
    Used(Exchange),
    Free(u32),
}

impl Exchanges {
    pub(crate) fn new(max: u32) -> Self {
        let next = |place: u32| if place + 1 < max { place + 1 } else { NONE };
        let places = (0..max).map(|place| Place::Free(next(place))).collect();
        Self { places, free: if max > 0 { 0 } else { NONE }, serial: 0 }
    }

    /// Takes a place.
    ///
    /// # Errors
    ///
    /// There is none: here the exchange is back.
    // The exchange comes back by value: a box would be an allocation.
    #[allow(clippy::result_large_err)]
    pub(crate) fn insert(&mut self, mut exchange: Exchange) -> Result<u32, Exchange> {
        let place = self.free;
        let Some(slot) = self.places.get_mut(place as usize) else { return Err(exchange) };
        let Place::Free(next) = *slot else { return Err(exchange) };
        self.serial = self.serial.wrapping_add(1);
        exchange.serial = self.serial;
        *slot = Place::Used(exchange);
        self.free = next;
        Ok(place)
    }

    pub(crate) fn has_room(&self) -> bool {
        self.free != NONE
    }

    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut Exchange> {
        match self.places.get_mut(place as usize) {
            Some(Place::Used(exchange)) => Some(exchange),
            _ => None,
        }
    }

    /// Gives a place back.
    pub(crate) fn remove(&mut self, place: u32) -> Option<Exchange> {
        let slot = self.places.get_mut(place as usize)?;
        if matches!(slot, Place::Free(_)) {
            return None;
        }
        match std::mem::replace(slot, Place::Free(self.free)) {
            Place::Used(exchange) => {
                self.free = place;
                Some(exchange)
            }
            Place::Free(_) => None,
        }
    }
}
