//! Reading from and writing to a connection, with Linux's answers to everything that is not plain success.

use freeway::ConnId;

use crate::address::Family;
use crate::errno::{Errno, Result, fail};
use crate::socket::{Key, Socket, State};
use crate::world::World;

/// `TCP_CM_INQ`: the message of `TCP_INQ`.
const TCP_CM_INQ: i32 = 36;
/// `MSG_ZEROCOPY`, which the C library does not name.
const MSG_ZEROCOPY: i32 = 0x0400_0000;

/// A control message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Control {
    pub(crate) level: i32,
    pub(crate) kind: i32,
    pub(crate) bytes: Vec<u8>,
}

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
    /// Control messages.
    pub(crate) controls: Vec<Control>,
}

/// `TCP_INQ`'s message: how much is left to read.
fn unread_message(left: i32) -> Control {
    Control { level: libc::IPPROTO_TCP, kind: TCP_CM_INQ, bytes: left.to_ne_bytes().to_vec() }
}

impl World {
    /// Reads at most `len` bytes.
    ///
    /// # Errors
    ///
    /// `EAGAIN` while nothing is there, what ended the connection, `ENOTCONN` where there never was one.
    pub(crate) fn receive_stream(&mut self, key: Key, len: usize, flags: i32) -> Result<Received> {
        if flags & libc::MSG_ERRQUEUE != 0 {
            return self.take_report(key);
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
        let controls = Vec::from_iter(socket.settings.tell_unread.then(|| unread_message(left)));
        let discard = flags & libc::MSG_TRUNC != 0;
        Ok(Received {
            len: wanted,
            bytes: if discard { Vec::new() } else { bytes },
            controls,
            ..Received::default()
        })
    }

    /// What the error queue has, without the bytes that it is about.
    fn take_report(&mut self, key: Key) -> Result<Received> {
        let socket = self.socket(key)?;
        let v6 = socket.family == Family::V6;
        let (controls, is_cut) = socket.reports.take(v6).ok_or(Errno::AGAIN)?;
        let flags = libc::MSG_ERRQUEUE | if is_cut { libc::MSG_TRUNC } else { 0 };
        Ok(Received { flags, controls, ..Received::default() })
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
            let controls = Vec::from_iter(tells.then(|| unread_message(1)));
            return Ok(Received { controls, ..Received::default() });
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
    pub(crate) fn send_stream(
        &mut self,
        key: Key,
        bytes: &[u8],
        to: Option<&[u8]>,
        flags: i32,
    ) -> Result<usize> {
        let socket = self.socket(key)?;
        if flags & libc::MSG_FASTOPEN != 0 || socket.lazy_peer.is_some() {
            return self.open_with(key, to, bytes);
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
        let whole = taken.len() == bytes.len();
        let more = flags & libc::MSG_MORE != 0 && whole;
        let socket = self.socket(key)?;
        socket.written += taken.len() as u64;
        let ends = flags & libc::MSG_EOR != 0 && whole;
        if ends || !socket.records.is_empty() {
            self.hold_back(key, false);
            self.append_record(key, taken, ends);
        } else if more || !self.socket(key)?.held_back.is_empty() {
            self.socket(key)?.held_back.extend_from_slice(taken);
            self.hold_back(key, more);
        } else if let Some(mut conn) = self.host.conn(id) {
            // The stack's own bound is out of reach: the socket's is what there was room in.
            conn.write(taken);
        }
        Ok(taken.len())
    }

    /// Notes that a call has written, for those who want to hear what became of it.
    pub(crate) fn note_write(&mut self, key: Key, flags: i32) {
        if let Some(socket) = self.sockets.get_mut(&key) {
            socket.watch_write(flags & MSG_ZEROCOPY != 0);
        }
    }

    // ---- promises of more (MSG_MORE) ----

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
        if conn.unacknowledged_bytes() > 0 {
            conn.want_room();
        }
        // As the persist timer has it, which is what ends the wait.
        let patience = conn.info().map_or(freeway::Duration::ZERO, |info| info.rto);
        let until = socket.held_until.unwrap_or(now + patience);
        socket.held_until = (!socket.held_back.is_empty()).then_some(until);
        if let (Some(local), Some(peer)) = (socket.local, socket.peer) {
            self.shaper.promise((local, peer), socket.written - socket.held_back.len() as u64);
            self.shaper.promise((local, peer), socket.written);
        }
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

    /// The same because the wait is over: nobody need think that more follows.
    pub(crate) fn give_up_holding(&mut self, key: Key) {
        if let Some(socket) = self.sockets.get(&key)
            && let (Some(local), Some(peer)) = (socket.local, socket.peer)
        {
            self.shaper.forget_promise((local, peer), socket.written);
        }
        self.flush_held_back(key);
    }

    // ---- ends of records (MSG_EOR) ----

    /// Puts bytes behind the records that wait; no segment has bytes of two.
    fn append_record(&mut self, key: Key, bytes: &[u8], ends: bool) {
        let Some(socket) = self.sockets.get_mut(&key) else { return };
        match socket.records.back_mut() {
            Some(record) if !record.is_whole => record.bytes.extend_from_slice(bytes),
            _ => socket.records.push_back(Record { bytes: bytes.to_vec(), is_whole: false, is_given: false }),
        }
        if let Some(record) = socket.records.back_mut() {
            record.is_whole = ends;
        }
        self.advance_records();
    }

    /// Gives the stack the record that is next, when all of the one before has been sent.
    pub(crate) fn advance_records(&mut self) -> bool {
        let waiting = |socket: &Socket| !socket.records.is_empty();
        let keys: Vec<Key> =
            self.sockets.iter().filter(|(_, socket)| waiting(socket)).map(|(&key, _)| key).collect();
        let mut moved = false;
        for key in keys {
            let Some(socket) = self.sockets.get_mut(&key) else { continue };
            let Some(mut conn) = socket.conn().and_then(|id| self.host.conn(id)) else { continue };
            let in_flight = conn.info().map_or(0, |info| info.in_flight as usize);
            let all_sent = conn.unacknowledged_bytes() <= in_flight;
            let Some(record) = socket.records.front_mut() else { continue };
            if record.is_given && all_sent {
                socket.records.pop_front();
                moved = true;
            } else if !record.is_given {
                // Nagle's algorithm is about the last segment only, which this is not while others follow.
                let nagle = socket.tcp.nagle && !record.is_whole;
                let _ = conn.configure(|config| config.nagle = nagle);
                conn.write(&record.bytes);
                record.bytes.clear();
                record.is_given = true;
                moved = true;
                // One that is still open is the stack's like any other write.
                if !record.is_whole {
                    socket.records.pop_front();
                }
            }
        }
        moved
    }

    /// Bytes that may be queued now.
    pub(crate) fn room(&mut self, key: Key) -> Result<usize> {
        let socket = self.sockets.get(&key).ok_or(Errno(libc::EBADF))?;
        let Some(conn) = socket.conn().and_then(|id| self.host.conn(id)) else { return Ok(0) };
        let queued = conn.unacknowledged_bytes() + socket.waiting();
        let own = (socket.settings.send_buffer as usize).saturating_sub(queued);
        Ok(own.min(conn.send_room()))
    }

    /// Bytes queued and not acknowledged, and those of them that were not sent yet.
    pub(crate) fn queued(&mut self, key: Key) -> (usize, usize) {
        let Some(socket) = self.sockets.get(&key) else { return (0, 0) };
        let held = socket.waiting();
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

/// Bytes that share no segment with what follows them.
#[derive(Debug)]
pub(crate) struct Record {
    bytes: Vec<u8>,
    /// Its end is known.
    is_whole: bool,
    /// The stack has it.
    is_given: bool,
}

impl Socket {
    /// Bytes written that the stack has not been given.
    fn waiting(&self) -> usize {
        self.held_back.len() + self.records.iter().map(|record| record.bytes.len()).sum::<usize>()
    }

    /// Whether nothing can be read any more beyond what is there: the peer finished, this side shut reading, or the
    /// connection is gone.
    pub(crate) const fn is_read_over(&self) -> bool {
        self.peer_finished || self.shut_read || matches!(self.state, State::Ended)
    }
}
