//! The bytes of a connection, whatever lies between them and TCP.
//!
//! An answer is written whole or not at all ([`Io::put`]), so that a request is taken only when its answer has room; long
//! bodies follow in parts.

use std::net::SocketAddr;

use freeway::{Conn, ConnId, Instant, Lent, Packet};
use freeway_base::short;

/// The most that [`Io::put`] takes at once: a head, or a small answer.
pub(crate) const PUT_MAX: usize = 2_048;

/// A connection that requests are read from and answers written to.
pub(crate) trait Io {
    /// The time of this turn.
    fn now(&self) -> Instant;
    /// The connection's name.
    fn id(&self) -> ConnId;
    /// The client's address.
    fn peer(&self) -> SocketAddr;
    /// Whether the bytes go over TLS.
    fn is_secure(&self) -> bool;
    /// Bytes to be read.
    fn available(&self) -> usize;
    /// The first of them, as far as they lie in one piece.
    fn peek(&self) -> &[u8];
    /// Copies the first of them and leaves them there.
    fn copy(&self, into: &mut [u8]) -> usize;
    /// Lets go of the first `count`.
    fn consume(&mut self, count: usize);
    /// Whether nothing more will come.
    fn at_end(&self) -> bool;
    /// Bytes that can be written now.
    fn room(&mut self) -> usize;
    /// Writes all of `pieces`, together at most [`PUT_MAX`] bytes, or nothing; nothing asks for room.
    fn put(&mut self, pieces: &[&[u8]]) -> bool;
    /// Writes as much of `bytes` as there is room for, and asks for room if that is not all.
    fn write(&mut self, bytes: &[u8]) -> usize;
    /// The same with bytes that the stack was lent: those of `lent` from `from` to `to`, which `bytes` are, too.
    fn lend(&mut self, lent: Lent, bytes: &[u8], from: usize, to: usize) -> usize;
    /// Asks to be called when there is more room than now.
    fn want_room(&mut self);
    /// Hands over what was written.
    fn flush(&mut self);
    /// Bytes that were written and the peer has not acknowledged.
    fn unacknowledged(&self) -> usize;
}

/// A connection without anything between: answers are written into frames.
pub(crate) struct Plain<'a, 's, S: Copy + Default + 'static> {
    conn: &'a mut Conn<'s, S>,
    now: Instant,
    /// A frame that is being filled, and how many bytes it may have.
    frame: Option<(Packet, usize)>,
    /// Something that had room was not taken after all: the stream has a hole.
    pub(crate) broken: bool,
}

impl<'a, 's, S: Copy + Default + 'static> Plain<'a, 's, S> {
    pub(crate) fn new(conn: &'a mut Conn<'s, S>) -> Self {
        let now = conn.stack().now();
        Self { conn, now, frame: None, broken: false }
    }

    fn frame_len(&self) -> usize {
        self.frame.as_ref().map_or(0, |(frame, _)| frame.len())
    }

    /// A frame with room for `len` bytes, if the connection has room for them.
    fn frame_for(&mut self, len: usize) -> Option<&mut Packet> {
        let fits = self.frame.as_ref().is_some_and(|(frame, max)| frame.len() + len <= *max);
        if !fits {
            self.flush();
            let room = self.conn.send_room();
            let packet = if room < len { None } else { self.conn.stack().pool().alloc() };
            let Some(packet) = packet else {
                self.conn.want_room();
                return None;
            };
            // One segment, unless segments are tiny; and never more than there is room for.
            let max = self.conn.mss().max(1_024).min(packet.tailroom()).min(room);
            self.frame = Some((packet, max));
        }
        self.frame.as_mut().map(|(frame, _)| frame)
    }
}

impl<S: Copy + Default + 'static> Io for Plain<'_, '_, S> {
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
        false
    }

    #[inline]
    fn available(&self) -> usize {
        self.conn.readable_bytes()
    }

    #[inline]
    fn peek(&self) -> &[u8] {
        self.conn.peek()
    }

    fn copy(&self, into: &mut [u8]) -> usize {
        self.conn.copy_readable(into)
    }

    #[inline]
    fn consume(&mut self, count: usize) {
        self.conn.consume(count);
    }

    fn at_end(&self) -> bool {
        self.conn.at_end()
    }

    fn room(&mut self) -> usize {
        self.conn.send_room().saturating_sub(self.frame_len())
    }

    fn put(&mut self, pieces: &[&[u8]]) -> bool {
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        let Some(frame) = self.frame_for(total) else { return false };
        if total <= frame.tailroom() {
            for piece in pieces {
                if let Some(room) = frame.append(piece.len()) {
                    short::copy(room, piece);
                }
            }
            return true;
        }
        // Longer than a frame: several, which all had room a moment ago.
        self.flush();
        for piece in pieces {
            if self.conn.write(piece) < piece.len() {
                self.broken = true;
            }
        }
        true
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        self.flush();
        self.conn.write(bytes)
    }

    fn lend(&mut self, lent: Lent, _bytes: &[u8], from: usize, to: usize) -> usize {
        self.flush();
        self.conn.lend(lent, from..to)
    }

    fn want_room(&mut self) {
        self.conn.want_room();
    }

    #[inline]
    fn flush(&mut self) {
        if let Some((frame, _)) = self.frame.take()
            && !frame.is_empty()
            && !self.conn.commit(frame)
        {
            self.broken = true;
        }
    }

    fn unacknowledged(&self) -> usize {
        self.conn.unacknowledged_bytes() + self.frame_len()
    }
}
