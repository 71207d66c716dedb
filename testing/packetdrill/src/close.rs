//! close and shutdown, as politely as the socket's options want it.

use freeway::{ConnId, Duration};

use crate::errno::{Errno, Result, fail};
use crate::socket::{Key, Kind, Socket, State};
use crate::world::{Object, World};

/// What is left to wait for after a close.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lingering {
    pub(crate) conn: ConnId,
    pub(crate) limit: Duration,
}

impl World {
    /// `close(2)`; a connection that is to linger is given back.
    pub(crate) fn close(&mut self, fd: i32) -> Result<Option<Lingering>> {
        let object = self.close_fd(fd)?;
        Ok(self.release(object))
    }

    /// Ends what a descriptor stood for.
    pub(crate) fn release(&mut self, object: Object) -> Option<Lingering> {
        match object {
            Object::Socket(key) => self.close_socket(key),
            Object::Epoll(key) => {
                self.epolls.remove(&key);
                None
            }
            Object::Pipe(key, end) => {
                self.close_pipe(key, end);
                None
            }
        }
    }

    fn close_socket(&mut self, key: Key) -> Option<Lingering> {
        if matches!(self.sockets.get(&key)?.state, State::Listening { .. }) {
            self.stop_listening(key);
        }
        let lingers = self.sockets.get(&key)?.settings.linger;
        if lingers != Some(Duration::ZERO) {
            self.flush_held_back(key);
        }
        let socket = self.sockets.remove(&key)?;
        self.services.retain(|_, owner| *owner != key);
        if let State::Bound(id) = socket.state {
            self.host.stack().udp_unbind(id);
        }
        let id = socket.conn()?;
        self.owners.remove(&id);
        let mut conn = self.host.conn(id)?;
        if lingers == Some(Duration::ZERO) {
            conn.abort();
            return None;
        }
        // What was received and not read is answered with a reset, by the stack's own rule (RFC 1122, 4.2.2.13).
        conn.close();
        lingers.map(|limit| Lingering { conn: id, limit })
    }

    /// Whether something that was written still waits for the peer, or the FIN does.
    pub(crate) fn still_lingers(&mut self, id: ConnId) -> bool {
        use freeway_tcp::State as Tcp;
        let Some(conn) = self.host.conn(id) else { return false };
        let Some(info) = conn.info() else { return false };
        matches!(info.state, Tcp::FinWait1 | Tcp::Closing | Tcp::LastAck)
    }

    /// Ends a listener, and with a reset each connection that nobody has accepted.
    pub(crate) fn stop_listening(&mut self, key: Key) {
        for child in self.take_queue(key) {
            self.abort_socket(child);
        }
        let deferred: Vec<Key> = self
            .sockets
            .iter()
            .filter(|(_, socket)| socket.deferred_for == Some(key))
            .map(|(&child, _)| child)
            .collect();
        for child in deferred {
            self.abort_socket(child);
        }
        if let Some(State::Listening { id, .. }) = self.sockets.get(&key).map(|socket| &socket.state) {
            let id = *id;
            self.host.stack().unlisten(id);
        }
        self.services.retain(|_, owner| *owner != key);
    }

    fn abort_socket(&mut self, key: Key) {
        let Some(id) = self.sockets.remove(&key).and_then(|socket| socket.conn()) else { return };
        self.owners.remove(&id);
        if let Some(mut conn) = self.host.conn(id) {
            conn.abort();
        }
    }

    /// `shutdown(2)`.
    pub(crate) fn shutdown(&mut self, fd: i32, how: i32) -> Result<()> {
        let (read, write) = match how {
            libc::SHUT_RD => (true, false),
            libc::SHUT_WR => (false, true),
            libc::SHUT_RDWR => (true, true),
            _ => return Err(Errno::INVALID),
        };
        let key = self.socket_key(fd)?;
        let socket = self.socket(key)?;
        match socket.state {
            State::Listening { .. } if read => {
                self.disconnect(key);
                return Ok(());
            }
            State::Connecting(_) if socket.kind == Kind::Stream => {
                self.disconnect(key);
                return Ok(());
            }
            State::Listening { .. } => return Ok(()),
            State::Idle | State::Ended => return fail(libc::ENOTCONN),
            State::Bound(_) if socket.peer.is_none() => return fail(libc::ENOTCONN),
            _ => {}
        }
        if write {
            self.flush_held_back(key);
        }
        let socket = self.socket(key)?;
        socket.shut_read |= read;
        socket.shut_write |= write;
        socket.wakes.state += 1;
        let Socket { state: State::Open(id), .. } = *socket else { return Ok(()) };
        let nobody_reads = socket.shut_read && socket.unread.is_empty();
        if let Some(mut conn) = self.host.conn(id)
            && write
        {
            // Closed both ways, what still comes is answered with a reset; but what came is kept to be read.
            if nobody_reads { conn.close() } else { conn.shutdown() }
        }
        Ok(())
    }
}
