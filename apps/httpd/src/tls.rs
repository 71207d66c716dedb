//! TLS 1.2 and 1.3 between HTTP and TCP (RFC 8446, RFC 5246), by rustls's interface without buffers of its own.
//!
//! ```text
//!   TCP ─► cipher_in ─► rustls ─► plain_in ─► requests
//!   TCP ◄─ cipher_out ◄─ rustls ◄─ plain_out ◄─ answers
//! ```
//!
//! The four buffers are of a core's own, and a connection has them only while bytes are in them. What rustls keeps of a
//! session, and what a handshake works with, it allocates.

use std::net::SocketAddr;
use std::sync::Arc;

use freeway::{Conn, ConnId, Instant, Lent};
use rustls::HandshakeKind;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};

use crate::certificates::TlsFeed;
use crate::io::Io;

/// Plain bytes of a record at most (RFC 8446, section 5.1).
const RECORD_MAX: usize = 16 << 10;

/// What a record adds at most, and some for those that rustls sends by itself.
const OVERHEAD: usize = 512;

/// Bytes of a buffer: two records, so that a head that begins at the end of one is whole with the next.
const BUFFER: usize = 2 * (RECORD_MAX + OVERHEAD);

/// Bytes on their way between two stages; empty, it has no memory.
#[derive(Default)]
struct Buffer {
    bytes: Option<Box<[u8]>>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn data(&self) -> &[u8] {
        self.bytes.as_ref().and_then(|bytes| bytes.get(self.start..self.end)).unwrap_or_default()
    }

    fn data_mut(&mut self) -> &mut [u8] {
        self.bytes.as_mut().and_then(|bytes| bytes.get_mut(self.start..self.end)).unwrap_or_default()
    }

    const fn len(&self) -> usize {
        self.end - self.start
    }

    /// The room behind the data, all there is; `None` when the core has no buffer left.
    fn room(&mut self, spare: &mut Vec<Box<[u8]>>) -> Option<&mut [u8]> {
        if self.bytes.is_none() {
            self.bytes = spare.pop();
        }
        let bytes = self.bytes.as_mut()?;
        if self.start > 0 {
            bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        bytes.get_mut(self.end..)
    }

    fn wrote(&mut self, count: usize) {
        self.end += count;
    }

    /// Lets go of the first bytes, and of the memory with the last.
    fn took(&mut self, count: usize, spare: &mut Vec<Box<[u8]>>) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            spare.extend(self.bytes.take());
        }
    }
}

/// A connection's TLS.
pub(crate) struct Session {
    tls: UnbufferedServerConnection,
    cipher_in: Buffer,
    plain_in: Buffer,
    plain_out: Buffer,
    cipher_out: Buffer,
    /// The handshake is over.
    is_open: bool,
    /// The client has said that it is over, or the connection has failed.
    is_over: bool,
    /// What is to happen when the last bytes have gone.
    pub(crate) ending: Option<crate::server::Next>,
}

/// The TLS of all of a core's connections.
pub(crate) struct Sessions {
    feed: TlsFeed,
    places: Vec<Option<Box<Session>>>,
    free: Vec<u32>,
    spare: Vec<Box<[u8]>>,
}

impl Sessions {
    pub(crate) fn new(feed: TlsFeed, max: u32, buffers: u32) -> Self {
        Self {
            feed,
            places: (0..max).map(|_| None).collect(),
            free: (0..max).rev().collect(),
            spare: (0..buffers.max(8)).map(|_| vec![0; BUFFER].into()).collect(),
        }
    }

    /// Takes what is new of certificates and keys, for connections from now on.
    #[inline]
    pub(crate) fn turn(&mut self) {
        self.feed.turn();
    }

    /// A session for a new connection; `None` when there are too many.
    pub(crate) fn open(&mut self) -> Option<u32> {
        let place = self.free.pop()?;
        let Ok(tls) = UnbufferedServerConnection::new(Arc::clone(self.feed.config())) else {
            self.free.push(place);
            return None;
        };
        let session = Session {
            tls,
            cipher_in: Buffer::default(),
            plain_in: Buffer::default(),
            plain_out: Buffer::default(),
            cipher_out: Buffer::default(),
            is_open: false,
            is_over: false,
            ending: None,
        };
        *self.places.get_mut(place as usize)? = Some(Box::new(session));
        Some(place)
    }

    pub(crate) fn take(&mut self, place: u32) -> Option<Box<Session>> {
        self.places.get_mut(place as usize)?.take()
    }

    pub(crate) fn put_back(&mut self, place: u32, session: Box<Session>) {
        if let Some(slot) = self.places.get_mut(place as usize) {
            *slot = Some(session);
        }
    }

    pub(crate) const fn spare(&mut self) -> &mut Vec<Box<[u8]>> {
        &mut self.spare
    }

    /// Gives a session's place back.
    pub(crate) fn close(&mut self, place: u32) {
        let Some(session) = self.take(place) else { return };
        let Session { cipher_in, plain_in, plain_out, cipher_out, .. } = *session;
        for buffer in [cipher_in, plain_in, plain_out, cipher_out] {
            self.spare.extend(buffer.bytes);
        }
        self.free.push(place);
    }
}

/// A connection with TLS.
pub(crate) struct Secure<'a, 's, S: Copy + Default + 'static> {
    pub(crate) conn: &'a mut Conn<'s, S>,
    pub(crate) session: &'a mut Session,
    spare: &'a mut Vec<Box<[u8]>>,
    now: Instant,
    /// Handshakes completed by this handle.
    pub(crate) opened: bool,
    /// Records could not be read or written: there is nothing more to say.
    pub(crate) failed: bool,
}

impl<'a, 's, S: Copy + Default + 'static> Secure<'a, 's, S> {
    pub(crate) fn new(
        conn: &'a mut Conn<'s, S>,
        session: &'a mut Session,
        spare: &'a mut Vec<Box<[u8]>>,
    ) -> Self {
        let now = conn.stack().now();
        Self { conn, session, spare, now, opened: false, failed: false }
    }

    /// Whether the handshake is over.
    pub(crate) fn is_open(&self) -> bool {
        self.session.is_open
    }

    /// Whether the session was one that the client had before.
    pub(crate) fn is_resumed(&self) -> bool {
        self.session.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Whether the connection has ended below HTTP.
    pub(crate) fn is_over(&self) -> bool {
        self.session.is_over
    }

    /// Takes what has arrived through TLS; true when something came of it.
    pub(crate) fn receive(&mut self) -> bool {
        let mut moved = false;
        while !self.failed && self.step() {
            moved = true;
        }
        self.send();
        moved
    }

    /// Takes some bytes from TCP and has rustls look at them.
    fn step(&mut self) -> bool {
        // A record's worth of plain bytes must have room.
        if self.session.plain_in.len() > RECORD_MAX || self.session.is_over {
            return false;
        }
        let mut taken = 0;
        if self.conn.readable_bytes() > 0 {
            let Some(room) = self.session.cipher_in.room(self.spare) else { return self.fail() };
            taken = self.conn.copy_readable(room);
            self.session.cipher_in.wrote(taken);
            self.conn.consume(taken);
        }
        let moved = self.process();
        taken > 0 || moved
    }

    fn fail(&mut self) -> bool {
        self.failed = true;
        false
    }

    /// Has rustls look at what is there until it wants more; true when it moved on.
    fn process(&mut self) -> bool {
        let mut moved = false;
        loop {
            let Session { tls, cipher_in, plain_in, cipher_out, is_open, is_over, .. } = &mut *self.session;
            let UnbufferedStatus { mut discard, state } = tls.process_tls_records(cipher_in.data_mut());
            let mut again = true;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let Ok(record) = record else {
                            self.failed = true;
                            return false;
                        };
                        discard += record.discard;
                        let room = plain_in.room(self.spare);
                        let Some(room) = room.and_then(|room| room.get_mut(..record.payload.len())) else {
                            self.failed = true;
                            return false;
                        };
                        room.copy_from_slice(record.payload);
                        plain_in.wrote(record.payload.len());
                    }
                    moved = true;
                    again = plain_in.len() <= RECORD_MAX;
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    let written = cipher_out.room(self.spare).and_then(|room| data.encode(room).ok());
                    let Some(written) = written else {
                        self.failed = true;
                        return false;
                    };
                    cipher_out.wrote(written);
                    moved = true;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    // The bytes lie in our buffer, and go to TCP in their order.
                    data.done();
                    moved = true;
                }
                Ok(ConnectionState::WriteTraffic(_)) => {
                    if !*is_open {
                        *is_open = true;
                        self.opened = true;
                        moved = true;
                    }
                    again = false;
                }
                Ok(ConnectionState::BlockedHandshake) => again = false,
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    *is_over = true;
                    again = false;
                }
                // Early data is not asked for; whatever rustls may say one day is not understood.
                Ok(_) => {
                    self.failed = true;
                    again = false;
                }
                Err(_) => {
                    // An alert says why, if there is room for it.
                    self.failed = true;
                    again = false;
                }
            }
            if discard > 0 {
                self.session.cipher_in.took(discard, self.spare);
            }
            if !again {
                return moved;
            }
        }
    }

    /// Gives TCP what has been encrypted.
    fn send(&mut self) {
        let out = &mut self.session.cipher_out;
        if out.len() > 0 {
            let written = self.conn.write(out.data());
            out.took(written, self.spare);
        }
    }

    /// Encrypts what has been written.
    fn encrypt(&mut self, close: bool) {
        if self.failed || !self.session.is_open {
            return;
        }
        let Session { tls, plain_out, cipher_out, .. } = &mut *self.session;
        if plain_out.len() == 0 && !close {
            return;
        }
        let UnbufferedStatus { state, .. } = tls.process_tls_records(&mut []);
        let Ok(ConnectionState::WriteTraffic(mut traffic)) = state else {
            // After the client's last word there may be no more of ours.
            plain_out.took(usize::MAX, self.spare);
            return;
        };
        let mut is_written = true;
        if plain_out.len() > 0 {
            let room = cipher_out.room(self.spare);
            let written = room.and_then(|room| traffic.encrypt(plain_out.data(), room).ok());
            is_written = written.is_some();
            cipher_out.wrote(written.unwrap_or(0));
            plain_out.took(usize::MAX, self.spare);
        }
        if close
            && let Some(written) =
                cipher_out.room(self.spare).and_then(|room| traffic.queue_close_notify(room).ok())
        {
            cipher_out.wrote(written);
        }
        self.failed |= !is_written;
    }

    /// Says that nothing more will come; true when all has gone to TCP.
    pub(crate) fn finish(&mut self, say: bool) -> bool {
        if say {
            self.encrypt(true);
        }
        self.send();
        self.session.cipher_out.len() == 0
    }
}

impl<S: Copy + Default + 'static> Io for Secure<'_, '_, S> {
    fn now(&self) -> Instant {
        self.now
    }

    fn id(&self) -> ConnId {
        self.conn.id()
    }

    fn peer(&self) -> SocketAddr {
        self.conn.peer()
    }

    fn is_secure(&self) -> bool {
        true
    }

    fn available(&self) -> usize {
        self.session.plain_in.len()
    }

    fn peek(&self) -> &[u8] {
        self.session.plain_in.data()
    }

    fn copy(&self, into: &mut [u8]) -> usize {
        let data = self.session.plain_in.data();
        let count = data.len().min(into.len());
        into[..count].copy_from_slice(&data[..count]);
        count
    }

    fn consume(&mut self, count: usize) {
        let count = count.min(self.session.plain_in.len());
        if count > 0 {
            self.session.plain_in.took(count, self.spare);
        }
    }

    fn at_end(&self) -> bool {
        let no_more = self.session.is_over || self.conn.at_end();
        no_more && self.session.plain_in.len() == 0
    }

    fn room(&mut self) -> usize {
        if self.session.cipher_out.len() > 0 {
            return 0;
        }
        let written = self.session.plain_out.len();
        let below = self.conn.send_room().saturating_sub(OVERHEAD + written);
        below.min(RECORD_MAX - written)
    }

    fn put(&mut self, pieces: &[&[u8]]) -> bool {
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        if self.room() < total {
            self.flush();
        }
        if self.room() < total {
            self.want_room();
            return false;
        }
        let Some(room) = self.session.plain_out.room(self.spare).filter(|room| room.len() >= total) else {
            self.failed = true;
            return false;
        };
        let mut at = 0;
        for piece in pieces {
            room[at..at + piece.len()].copy_from_slice(piece);
            at += piece.len();
        }
        self.session.plain_out.wrote(total);
        true
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() && !self.failed {
            let count = self.room().min(bytes.len() - written);
            if count == 0 {
                self.flush();
                if self.room() == 0 {
                    break;
                }
                continue;
            }
            if !self.put(&[&bytes[written..written + count]]) {
                break;
            }
            written += count;
        }
        if written < bytes.len() {
            self.want_room();
        }
        written
    }

    fn lend(&mut self, _lent: Lent, bytes: &[u8], from: usize, to: usize) -> usize {
        self.write(bytes.get(from..to).unwrap_or_default())
    }

    fn want_room(&mut self) {
        self.conn.want_room();
    }

    fn flush(&mut self) {
        if self.session.cipher_out.len() == 0 {
            self.encrypt(false);
        }
        self.send();
    }

    fn unacknowledged(&self) -> usize {
        self.conn.unacknowledged_bytes() + self.session.cipher_out.len() + self.session.plain_out.len()
    }
}
