//! Opening connections from many addresses, and writing requests into frames.

use std::net::{IpAddr, SocketAddr};

use freeway::{Conn, ConnId, ConnectConfig, ConnectError, Stack};

use super::{Common, LoadState, Place};
use crate::protocol::Protocol;

/// Opens connections to one service, from one of this host's addresses after another.
pub(super) struct Opener {
    connect: ConnectConfig,
    sources: Box<[IpAddr]>,
    next: usize,
}

impl Opener {
    pub(super) fn new(remote: SocketAddr, sources: &[IpAddr], tcp: freeway::tcp::Config) -> Self {
        let connect = ConnectConfig { tcp, ..ConnectConfig::new(remote) };
        Self { connect, sources: sources.into(), next: 0 }
    }

    /// How many addresses there are to connect from.
    pub(super) fn sources(&self) -> usize {
        self.sources.len().max(1)
    }

    /// Opens one, which gets `place`.
    pub(super) fn open<Q: Copy + Default + 'static>(
        &mut self,
        stack: &mut Stack<LoadState<Q>>,
        place: Place,
    ) -> Result<ConnId, ConnectError> {
        if let Some(&source) = self.sources.get(self.next) {
            self.connect.local_addr = Some(source);
            self.next = if self.next + 1 < self.sources.len() { self.next + 1 } else { 0 };
        }
        let id = stack.connect(&self.connect)?;
        if let Some(mut conn) = stack.conn(id) {
            *conn.state() = LoadState { place, ..LoadState::default() };
        }
        Ok(id)
    }
}

impl<P: Protocol> Common<P> {
    /// Writes the next request to `conn`; false, and nothing has happened, when there is no room for the whole of it.
    pub(super) fn send_request(&mut self, conn: &mut Conn<'_, LoadState<P::Progress>>) -> bool {
        self.send(conn, P::request)
    }

    /// Writes up to `count` requests to `conn`, as many as fit into a frame; returns how many.
    pub(super) fn send_requests(&mut self, conn: &mut Conn<'_, LoadState<P::Progress>>, count: u32) -> u32 {
        let most = self.protocol.request_max();
        if count == 1 || 2 * most > conn.mss() {
            return u32::from(self.send_request(conn));
        }
        let room = conn.send_room().min(conn.mss());
        if room < most {
            conn.want_room();
            return 0;
        }
        let Some(mut packet) = conn.reserve() else { return 0 };
        let mut written = 0;
        while written < count && packet.len() + most <= room {
            let before = packet.len();
            let Some(room) = packet.append(most) else { break };
            let len = self.protocol.request(room);
            packet.truncate(before + len);
            written += 1;
        }
        let len = packet.len();
        if !conn.commit(packet) {
            return 0;
        }
        self.reading.bytes_out += len as u64;
        written
    }

    /// Writes the only request of a connection that is opened for it.
    pub(super) fn send_request_apart(&mut self, conn: &mut Conn<'_, LoadState<P::Progress>>) -> bool {
        self.send(conn, P::request_apart)
    }

    #[inline]
    fn send(
        &mut self,
        conn: &mut Conn<'_, LoadState<P::Progress>>,
        write: impl Fn(&mut P, &mut [u8]) -> usize,
    ) -> bool {
        let most = self.protocol.request_max();
        let len = if most <= conn.mss() {
            let Some(mut packet) = conn.reserve_for(most) else { return false };
            let Some(room) = packet.append(most) else { return false };
            let len = write(&mut self.protocol, room);
            packet.truncate(len);
            if !conn.commit(packet) {
                return false;
            }
            len
        } else if conn.send_room() < most {
            conn.want_room();
            return false;
        } else {
            let len = write(&mut self.protocol, &mut self.scratch);
            // What there is room for and no buffer breaks the request off; the connection is of no more use.
            let written = conn.write(self.scratch.get(..len).unwrap_or_default());
            if written < len {
                conn.abort();
                return false;
            }
            len
        };
        self.reading.bytes_out += len as u64;
        true
    }
}
