//! Reading from and writing to a connection, with Linux's answers to everything that is not plain success.

use freeway::{ConnId, Duration};

use crate::errno::{Errno, Result, fail};
use crate::socket::{Key, Socket, State};
use crate::world::World;

/// How long a short segment waits for more that was promised (`TCP_CORK`, `MSG_MORE`).
const CORK: Duration = Duration::from_millis(200);

/// What a receiving call gives.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Received {
    /// The bytes for the caller's buffers.
    pub(crate) bytes: Vec<u8>,
    /// What the call returns; more than there are bytes where the rest was thrown away.
    pub(crate) len: usize,
    /// Who sent it, as the bytes of an address: datagrams only.
    pub(crate) from: Vec<u8>,
    /// `msg_flags`.
    pub(crate) flags: i32,
    /// `TCP_INQ`'s message: how much is left to read.
    pub(crate) unread: Option<i32>,
}

impl World {
    /// Reads at most `len` bytes.
    ///
    /// # Errors
    ///
    /// `EAGAIN` while nothing is there, what ended the connection, `ENOTCONN` where there never was one.
    pub(crate) fn receive_stream(&mut self, key: Key, len: usize, flags: i32) -> Result<Received> {
        if flags & libc::MSG_ERRQUEUE != 0 {
            return Err(Errno::AGAIN);
        }
        if flags & libc::MSG_OOB != 0 {
            // There is no urgent data apart from the stream (RFC 6093).
            return Err(Errno::INVALID);
        }
        let socket = self.socket(key)?;
        if matches!(socket.state, State::Listening { .. }) {
            return fail(libc::ENOTCONN);
        }
        let wanted = len.min(socket.unread.len());
        let enough = match flags & libc::MSG_WAITALL != 0 {
            true => len,
            false => len.min(socket.settings.receive_low as usize),
        };
        let no_more = socket.is_read_over() || socket.error.is_some();
        if len > 0 && (wanted == 0 || wanted < enough && !no_more) {
            return self.nothing_to_read(key);
        }
        let peek = flags & libc::MSG_PEEK != 0;
        let bytes: Vec<u8> = socket.unread.iter().take(wanted).copied().collect();
        if !peek {
            socket.unread.drain(..wanted);
            if let Some(id) = socket.conn() {
                self.consume(id, wanted);
            }
        }
        let socket = self.socket(key)?;
        let left = match socket.unread.len() {
            0 => i32::from(socket.peer_finished),
            some => i32::try_from(some).unwrap_or(i32::MAX),
        };
        let unread = socket.settings.tell_unread.then_some(left);
        let discard = flags & libc::MSG_TRUNC != 0;
        Ok(Received {
            len: wanted,
            bytes: if discard { Vec::new() } else { bytes },
            unread,
            ..Received::default()
        })
    }

    fn nothing_to_read(&mut self, key: Key) -> Result<Received> {
        let socket = self.socket(key)?;
        let tells = socket.settings.tell_unread;
        if !socket.peer_finished
            && let Some(error) = socket.take_error()
        {
            return Err(error);
        }
        if socket.is_read_over() {
            return Ok(Received { unread: tells.then_some(1), ..Received::default() });
        }
        match socket.state {
            State::Idle => fail(libc::ENOTCONN),
            _ => Err(Errno::AGAIN),
        }
    }

    /// Lets the stack go of bytes that were read from the copy.
    fn consume(&mut self, id: ConnId, count: usize) {
        if let Some(mut conn) = self.host.conn(id) {
            *conn.state() = conn.state().saturating_sub(count as u64);
            conn.consume(count);
        }
    }

    /// Queues as many of `bytes` as there is room for, at least one.
    ///
    /// # Errors
    ///
    /// `EAGAIN` without room, or before the connection is open; what ended the connection, once, and `EPIPE` after.
    pub(crate) fn send_stream(&mut self, key: Key, bytes: &[u8], flags: i32) -> Result<usize> {
        if flags & libc::MSG_FASTOPEN != 0 {
            return fail(libc::EOPNOTSUPP);
        }
        if flags & libc::MSG_OOB != 0 {
            return fail(libc::EOPNOTSUPP);
        }
        let socket = self.socket(key)?;
        let id = match socket.state {
            State::Open(id) if socket.error.is_none() && !socket.shut_write => id,
            State::Connecting(_) if socket.error.is_none() && !socket.shut_write => return Err(Errno::AGAIN),
            _ => return Err(socket.take_error().unwrap_or(Errno::PIPE)),
        };
        if bytes.is_empty() {
            return Ok(0);
        }
        let room = self.room(key)?;
        if room == 0 {
            self.want_room(key);
            return Err(Errno::AGAIN);
        }
        let taken = &bytes[..room.min(bytes.len())];
        let more = flags & libc::MSG_MORE != 0 && taken.len() == bytes.len();
        let socket = self.socket(key)?;
        let corked = socket.settings.cork;
        if more || corked || !socket.held_back.is_empty() {
            socket.held_back.extend_from_slice(taken);
            self.hold_back(key, more || corked);
        } else if let Some(mut conn) = self.host.conn(id) {
            // The stack's own bound is out of reach: the socket's is what there was room in.
            conn.write(taken);
        }
        Ok(taken.len())
    }

    /// Gives the stack what is held back: full segments, or, when no more is promised, all of it.
    fn hold_back(&mut self, key: Key, more: bool) {
        if !more {
            self.flush_held_back(key);
            return;
        }
        let now = self.host.now();
        let Some(socket) = self.sockets.get_mut(&key) else { return };
        let Some(mut conn) = socket.conn().and_then(|id| self.host.conn(id)) else { return };
        let mss = conn.mss().max(1);
        let whole = socket.held_back.len() / mss * mss;
        if whole > 0 {
            conn.write(&socket.held_back[..whole]);
            socket.held_back.drain(..whole);
            socket.held_until = None;
        }
        if !socket.settings.cork && conn.unacknowledged_bytes() > 0 {
            conn.want_room();
        }
        let until = socket.held_until.unwrap_or(now + CORK);
        socket.held_until = (!socket.held_back.is_empty()).then_some(until);
    }

    /// Gives the stack all that is held back.
    pub(crate) fn flush_held_back(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(&key) else { return };
        socket.held_until = None;
        let held = std::mem::take(&mut socket.held_back);
        if let Some(mut conn) = socket.conn().and_then(|id| self.host.conn(id))
            && !held.is_empty()
        {
            conn.write(&held);
        }
    }

    /// Bytes that may be queued now.
    pub(crate) fn room(&mut self, key: Key) -> Result<usize> {
        let socket = self.sockets.get(&key).ok_or(Errno(libc::EBADF))?;
        let Some(conn) = socket.conn().and_then(|id| self.host.conn(id)) else { return Ok(0) };
        let queued = conn.unacknowledged_bytes() + socket.held_back.len();
        let own = (socket.settings.send_buffer as usize).saturating_sub(queued);
        Ok(own.min(conn.send_room()))
    }

    /// Bytes queued and not acknowledged, and those of them that were not sent yet.
    pub(crate) fn queued(&mut self, key: Key) -> (usize, usize) {
        let Some(socket) = self.sockets.get(&key) else { return (0, 0) };
        let held = socket.held_back.len();
        let Some(conn) = socket.conn().and_then(|id| self.host.conn(id)) else { return (held, held) };
        let queued = conn.unacknowledged_bytes();
        let in_flight = conn.info().map_or(0, |info| info.in_flight as usize);
        (queued + held, queued.saturating_sub(in_flight) + held)
    }

    /// Whether a write finds room worth waking for: a third of the buffer, as Linux has it, and not too much unsent.
    pub(crate) fn is_writable(&mut self, key: Key) -> bool {
        let Ok(room) = self.room(key) else { return false };
        let (queued, unsent) = self.queued(key);
        let Some(socket) = self.sockets.get(&key) else { return false };
        room > 0 && room >= queued / 2 && (unsent as u64) < u64::from(socket.settings.not_sent_low)
    }

    /// Whether a write that found no room sleeps on: an acknowledgment wakes it when there is room worth it, while a new
    /// write takes what there is.
    pub(crate) fn sleeps_for_room(&self, key: Key) -> bool {
        let Some(socket) = self.sockets.get(&key) else { return false };
        matches!(socket.state, State::Open(_)) && socket.wants_room && socket.error.is_none()
    }

    /// Has the next acknowledgment wake those who wait for room.
    pub(crate) fn want_room(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(&key) else { return };
        socket.wants_room = true;
        if let Some(mut conn) = socket.conn().and_then(|id| self.host.conn(id)) {
            conn.want_room();
        }
    }
}

impl Socket {
    /// Whether nothing can be read any more beyond what is there: the peer finished, this side shut reading, or the
    /// connection is gone.
    pub(crate) const fn is_read_over(&self) -> bool {
        self.peer_finished || self.shut_read || matches!(self.state, State::Ended)
    }
}
