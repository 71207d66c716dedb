//! UDP sockets: whole datagrams, and what a connected one refuses.

use std::net::SocketAddr;

use crate::address::{self, Named};
use crate::errno::{Errno, Result, fail};
use crate::socket::Key;
use crate::socket::State;
use crate::stream::Received;
use crate::world::World;

/// The longest payload of a datagram over IPv4.
const PAYLOAD_MAX: usize = 65_507;

impl World {
    pub(crate) fn connect_datagram(&mut self, key: Key, to: Named) -> Result<()> {
        let Named::Addr(peer) = to else {
            self.socket(key)?.peer = None;
            return Ok(());
        };
        if !self.socket(key)?.speaks(peer.ip()) {
            return fail(libc::ENETUNREACH);
        }
        self.host.ensure_source_for(peer.ip());
        self.bind_datagram(key)?;
        self.socket(key)?.peer = Some(peer);
        Ok(())
    }

    pub(crate) fn receive_datagram(&mut self, key: Key, len: usize, flags: i32) -> Result<Received> {
        let socket = self.socket(key)?;
        if let Some(error) = socket.take_error() {
            return Err(error);
        }
        let family = socket.family;
        let Some(datagram) = socket.datagrams.front().cloned() else {
            return if socket.shut_read { Ok(Received::default()) } else { Err(Errno::AGAIN) };
        };
        if flags & libc::MSG_PEEK == 0 {
            socket.datagrams.pop_front();
        }
        let whole = datagram.bytes.len();
        let mut bytes = datagram.bytes;
        bytes.truncate(len);
        let cut = bytes.len() < whole;
        Ok(Received {
            len: if flags & libc::MSG_TRUNC != 0 { whole } else { bytes.len() },
            bytes,
            from: address::bytes(family, datagram.from),
            flags: if cut { libc::MSG_TRUNC } else { 0 },
            controls: Vec::new(),
        })
    }

    pub(crate) fn send_datagram(&mut self, key: Key, bytes: &[u8], to: Option<&[u8]>) -> Result<usize> {
        let socket = self.socket(key)?;
        if let Some(error) = socket.take_error() {
            return Err(error);
        }
        if socket.shut_write {
            return Err(Errno::PIPE);
        }
        let named = to.map(|name| address::parse(socket.family, name)).transpose()?;
        let remote = match named {
            Some(Named::Addr(addr)) => addr,
            _ => socket.peer.ok_or(Errno(libc::EDESTADDRREQ))?,
        };
        if bytes.len() > PAYLOAD_MAX {
            return fail(libc::EMSGSIZE);
        }
        if remote.port() == 0 {
            return Err(Errno::INVALID);
        }
        if !socket.speaks(remote.ip()) {
            return fail(libc::ENETUNREACH);
        }
        self.may_send_to(key, remote)?;
        self.host.ensure_source_for(remote.ip());
        self.bind_datagram(key)?;
        let socket = self.socket(key)?;
        let (local, State::Bound(id)) = (socket.bound_ip(), &socket.state) else {
            return Err(Errno::INVALID);
        };
        let id = *id;
        let stack = self.host.stack();
        let mut packet = stack.pool().alloc().ok_or(Errno(libc::ENOBUFS))?;
        if !packet.copy_from_slice(bytes) {
            return fail(libc::EMSGSIZE);
        }
        stack.udp_send(id, local, remote, packet);
        Ok(bytes.len())
    }

    /// Sending to everybody must be asked for.
    fn may_send_to(&mut self, key: Key, remote: SocketAddr) -> Result<()> {
        let everybody = matches!(remote, SocketAddr::V4(v4) if v4.ip().is_broadcast());
        if everybody && !self.socket(key)?.settings.broadcast { fail(libc::EACCES) } else { Ok(()) }
    }
}
