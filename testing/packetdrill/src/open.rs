//! socket, bind, listen, accept, connect.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use freeway::{AcceptLimits, BindError, ConnectConfig, ConnectError, FastOpen, ListenConfig};

use crate::address::{self, Family, Named};
use crate::errno::{Errno, Result, fail};
use crate::socket::{Key, Kind, Socket, State};
use crate::world::{Object, World};

/// Ports that are chosen for sockets that name none (RFC 6335, dynamic ports).
const EPHEMERAL: std::ops::RangeInclusive<u16> = 49_152..=65_535;
/// The service number of connections that this side opens: no listener has it.
const CLIENT: u16 = u16::MAX;

impl World {
    /// `socket(2)`.
    pub(crate) fn open_socket(&mut self, domain: i32, kind: i32, protocol: i32) -> Result<i32> {
        let family = match domain {
            libc::AF_INET => Family::V4,
            libc::AF_INET6 => Family::V6,
            _ => return fail(libc::EAFNOSUPPORT),
        };
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let kind_only = kind & !flags;
        let kind_of = match (kind_only, protocol) {
            (libc::SOCK_STREAM, 0 | libc::IPPROTO_TCP) => Kind::Stream,
            (libc::SOCK_DGRAM, 0 | libc::IPPROTO_UDP) => Kind::Datagram,
            (libc::SOCK_STREAM | libc::SOCK_DGRAM, _) => return fail(libc::EPROTONOSUPPORT),
            _ => return fail(libc::ESOCKTNOSUPPORT),
        };
        let mut socket = Socket::new(family, kind_of, &self.flags);
        socket.nonblocking = kind & libc::SOCK_NONBLOCK != 0;
        let key = self.new_key();
        self.sockets.insert(key, socket);
        self.open_fd(Object::Socket(key))
    }

    /// `bind(2)`.
    pub(crate) fn bind(&mut self, fd: i32, name: &[u8]) -> Result<()> {
        let key = self.socket_key(fd)?;
        let socket = self.socket(key)?;
        let Named::Addr(mut addr) = address::parse(socket.family, name)? else {
            return fail(libc::EAFNOSUPPORT);
        };
        if socket.local.is_some() || !matches!(socket.state, State::Idle) {
            return Err(Errno::INVALID);
        }
        if !addr.ip().is_unspecified() && !self.host.is_local(addr.ip()) && !self.host.adopt(addr.ip()) {
            return fail(libc::EADDRNOTAVAIL);
        }
        if addr.port() == 0 {
            addr.set_port(self.free_port(key, addr.ip())?);
        } else if self.conflicts(key, addr) {
            return fail(libc::EADDRINUSE);
        }
        self.socket(key)?.local = Some(addr);
        if self.socket(key)?.kind == Kind::Datagram {
            self.bind_datagram(key)?;
        }
        Ok(())
    }

    /// Whether another socket stands in the way of this one's binding.
    fn conflicts(&self, key: Key, addr: SocketAddr) -> bool {
        let Some(own) = self.sockets.get(&key) else { return false };
        self.sockets.iter().filter(|&(&other, _)| other != key).any(|(_, other)| {
            let Some(taken) = other.local.filter(|_| other.kind == own.kind && other.peer.is_none()) else {
                return false;
            };
            let overlaps = taken.ip() == addr.ip()
                || taken.ip().is_unspecified() && other.speaks(addr.ip())
                || addr.ip().is_unspecified() && own.speaks(taken.ip());
            let (mine, theirs) = (&own.settings, &other.settings);
            let listens = matches!(other.state, State::Listening { .. });
            let shared =
                mine.reuse_addr && theirs.reuse_addr && !listens || mine.reuse_port && theirs.reuse_port;
            taken.port() == addr.port() && overlaps && !shared
        })
    }

    fn free_port(&mut self, key: Key, ip: IpAddr) -> Result<u16> {
        let (first, last) = (*EPHEMERAL.start(), *EPHEMERAL.end());
        for _ in EPHEMERAL {
            self.next_port = if (first..last).contains(&self.next_port) { self.next_port + 1 } else { first };
            let taken = self
                .sockets
                .values()
                .any(|socket| socket.local.is_some_and(|local| local.port() == self.next_port));
            if !taken && !self.conflicts(key, SocketAddr::new(ip, self.next_port)) {
                return Ok(self.next_port);
            }
        }
        fail(libc::EADDRINUSE)
    }

    /// Gives the stack's socket to a datagram socket that has an address.
    pub(crate) fn bind_datagram(&mut self, key: Key) -> Result<()> {
        let socket = self.socket(key)?;
        if matches!(socket.state, State::Bound(_)) {
            return Ok(());
        }
        if socket.local.is_none() {
            let any = socket.any();
            let port = self.free_port(key, any)?;
            self.socket(key)?.local = Some(SocketAddr::new(any, port));
        }
        let socket = self.socket(key)?;
        let (ip, port) = (socket.bound_ip(), socket.local.map_or(0, |local| local.port()));
        let service = self.service(key)?;
        let bound = self.host.stack().udp_bind(ip, port, service).map_err(|error| match error {
            BindError::InUse(_) => Errno(libc::EADDRINUSE),
            BindError::NoPort => Errno::INVALID,
            BindError::Full(_) => Errno(libc::ENOBUFS),
        })?;
        self.socket(key)?.state = State::Bound(bound);
        Ok(())
    }

    /// A service number for a listener or a datagram socket.
    fn service(&mut self, key: Key) -> Result<u16> {
        let free = (0..CLIENT).find(|service| !self.services.contains_key(service));
        let service = free.ok_or(Errno(libc::ENOBUFS))?;
        self.services.insert(service, key);
        Ok(service)
    }

    /// `listen(2)`.
    pub(crate) fn listen(&mut self, fd: i32, backlog: i32) -> Result<()> {
        let key = self.socket_key(fd)?;
        let backlog_wanted = usize::try_from(backlog).unwrap_or(usize::MAX);
        let socket = self.socket(key)?;
        if socket.kind != Kind::Stream {
            return fail(libc::EOPNOTSUPP);
        }
        match &mut socket.state {
            State::Listening { backlog, .. } => {
                *backlog = backlog_wanted;
                return self.listen_anew(key);
            }
            State::Idle => {}
            _ => return Err(Errno::INVALID),
        }
        if socket.local.is_none() {
            let any = socket.any();
            let port = self.free_port(key, any)?;
            self.socket(key)?.local = Some(SocketAddr::new(any, port));
        }
        let service = self.service(key)?;
        let listened = self.listen_as(key, service, backlog_wanted);
        if listened.is_err() {
            self.services.remove(&service);
        }
        listened
    }

    fn listen_as(&mut self, key: Key, service: u16, backlog: usize) -> Result<()> {
        let socket = self.socket(key)?;
        let port = socket.local.map_or(0, |local| local.port());
        // Linux lets one more wait than it is told.
        let waiting = u32::try_from(backlog).unwrap_or(u32::MAX).saturating_add(1);
        let limits = AcceptLimits { backlog: waiting, ..AcceptLimits::default() };
        let addr = socket.bound_ip();
        let max_pending = socket.settings.fast_open;
        let fast_open = (max_pending > 0).then_some(FastOpen { max_pending });
        let config =
            ListenConfig { addr, service, tcp: socket.tcp, limits, fast_open, ..ListenConfig::new(port) };
        let id = self.host.stack().listen(&config).map_err(|_| Errno(libc::EADDRINUSE))?;
        self.socket(key)?.state = State::Listening { id, backlog, queue: VecDeque::new() };
        Ok(())
    }

    /// Has a listener use its socket's settings as they are now; they are the settings of what it accepts.
    pub(crate) fn listen_anew(&mut self, key: Key) -> Result<()> {
        let Some((&service, _)) = self.services.iter().find(|&(_, &owner)| owner == key) else {
            return Ok(());
        };
        let State::Listening { id, backlog, .. } = self.socket(key)?.state else { return Ok(()) };
        let queue = self.take_queue(key);
        self.host.stack().unlisten(id);
        self.listen_as(key, service, backlog)?;
        if let State::Listening { queue: new, .. } = &mut self.socket(key)?.state {
            *new = queue;
        }
        Ok(())
    }

    /// `accept(2)`: the descriptor and the peer's address.
    pub(crate) fn accept(&mut self, fd: i32) -> Result<(i32, Vec<u8>)> {
        let key = self.socket_key(fd)?;
        let socket = self.socket(key)?;
        let family = socket.family;
        let next = match &mut socket.state {
            State::Listening { queue, .. } => queue.pop_front().ok_or(Errno::AGAIN)?,
            _ if socket.kind == Kind::Datagram => return fail(libc::EOPNOTSUPP),
            _ => return Err(Errno::INVALID),
        };
        let peer = self.socket(next)?.peer.ok_or(Errno(libc::ECONNABORTED))?;
        if let Some(mut conn) = self.socket(next)?.conn().and_then(|id| self.host.conn(id)) {
            conn.handled();
        }
        let accepted = self.open_fd(Object::Socket(next))?;
        Ok((accepted, address::bytes(family, peer)))
    }

    /// `connect(2)`: `EINPROGRESS` once the SYN is under way.
    pub(crate) fn connect(&mut self, fd: i32, name: &[u8]) -> Result<()> {
        let key = self.socket_key(fd)?;
        let socket = self.socket(key)?;
        let named = address::parse(socket.family, name)?;
        if socket.kind == Kind::Datagram {
            return self.connect_datagram(key, named);
        }
        let Named::Addr(remote) = named else {
            self.disconnect(key);
            return Ok(());
        };
        match socket.state {
            State::Idle if socket.lazy_peer.is_some() => return fail(libc::EALREADY),
            State::Idle => {}
            State::Connecting(_) => return fail(libc::EALREADY),
            State::Open(_) if !socket.open_told => {
                socket.open_told = true;
                return Ok(());
            }
            State::Ended if !socket.open_told => {
                let error = socket.take_error().unwrap_or(Errno(libc::ECONNABORTED));
                socket.disconnect();
                return Err(error);
            }
            State::Open(_) | State::Listening { .. } | State::Ended | State::Bound(_) => {
                return fail(libc::EISCONN);
            }
        }
        let (tries, tcp) = (socket.settings.fast_open_connect, socket.tcp);
        if tries && self.host.stack().fast_open_room(remote.ip(), &tcp) > 0 {
            self.socket(key)?.lazy_peer = Some(remote);
            return Ok(());
        }
        self.start_open(key, remote, tries, &[])?;
        fail(libc::EINPROGRESS)
    }

    /// Opens a connection by its first bytes (`MSG_FASTOPEN`), if the server takes them in a SYN: how many it has got.
    ///
    /// # Errors
    ///
    /// `EINPROGRESS` once a SYN is under way without any.
    pub(crate) fn open_with(&mut self, key: Key, name: Option<&[u8]>, bytes: &[u8]) -> Result<usize> {
        let socket = self.socket(key)?;
        let remote = match (socket.lazy_peer, name) {
            (Some(peer), _) => peer,
            (None, Some(name)) => match address::parse(socket.family, name)? {
                Named::Addr(addr) => addr,
                Named::Unspecified => return fail(libc::EAFNOSUPPORT),
            },
            (None, None) => return fail(libc::EDESTADDRREQ),
        };
        match socket.state {
            State::Idle => {}
            State::Connecting(_) => return fail(libc::EALREADY),
            _ => return fail(libc::EISCONN),
        }
        let tcp = socket.tcp;
        let room = usize::from(self.host.stack().fast_open_room(remote.ip(), &tcp));
        let text = &bytes[..bytes.len().min(room)];
        self.start_open(key, remote, true, text)?;
        if text.is_empty() { fail(libc::EINPROGRESS) } else { Ok(text.len()) }
    }

    fn start_open(&mut self, key: Key, remote: SocketAddr, fast_open: bool, text: &[u8]) -> Result<()> {
        let socket = self.socket(key)?;
        if !socket.speaks(remote.ip()) {
            return fail(libc::ENETUNREACH);
        }
        let (local_addr, port) = (socket.bound_ip(), socket.local.map(|local| local.port()));
        let config = ConnectConfig {
            local_addr,
            local_port: port,
            remote,
            service: CLIENT,
            fast_open,
            tcp: socket.tcp,
        };
        self.host.ensure_source_for(remote.ip());
        let id = self.host.stack().connect(&config).map_err(|error| {
            Errno(match error {
                ConnectError::Full => libc::ENOBUFS,
                ConnectError::NotLocal(_) | ConnectError::NoPort(_) | ConnectError::InUse(_) => {
                    libc::EADDRNOTAVAIL
                }
                ConnectError::NoRoute(_) | ConnectError::NotUnicast(_) => libc::ENETUNREACH,
            })
        })?;
        let local = self.host.conn(id).map(|mut conn| {
            conn.write(text);
            conn.local()
        });
        self.owners.insert(id, key);
        let socket = self.socket(key)?;
        socket.state = State::Connecting(id);
        socket.local = local.or(socket.local);
        socket.peer = Some(remote);
        socket.error = None;
        socket.soft_error = None;
        socket.open_told = false;
        socket.lazy_peer = None;
        socket.written = text.len() as u64;
        Ok(())
    }

    /// What became of an open: `EINPROGRESS` while nothing did.
    pub(crate) fn open_result(&mut self, fd: i32) -> Result<()> {
        let key = self.socket_key(fd)?;
        let socket = self.socket(key)?;
        match socket.state {
            State::Connecting(_) => Err(Errno::AGAIN),
            State::Open(_) => {
                socket.open_told = true;
                Ok(())
            }
            _ => {
                let error = socket.take_error().unwrap_or(Errno(libc::ECONNABORTED));
                socket.disconnect();
                Err(error)
            }
        }
    }

    /// Leaves a connection by a reset (`connect` to no address).
    pub(crate) fn disconnect(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(&key) else { return };
        if let Some(id) = socket.conn() {
            self.owners.remove(&id);
            if let Some(mut conn) = self.host.conn(id) {
                conn.abort();
            }
        } else if matches!(socket.state, State::Listening { .. }) {
            self.stop_listening(key);
        }
        if let Some(socket) = self.sockets.get_mut(&key) {
            socket.disconnect();
            socket.wakes.state += 1;
        }
    }
}
