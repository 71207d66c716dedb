//! Linux's sockets as the kernel client and server use them: never waiting, edge-triggered.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use rustix::event::{Timespec, epoll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, listen, socket_with, sockopt};

use freeway::Duration;

/// Events that are taken at once.
const EVENTS: usize = 1_024;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 65_535;

/// Who wants to hear of which socket.
pub(super) struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

/// What happened to a socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Happened {
    /// What the socket was added as.
    pub(super) token: u64,
    pub(super) readable: bool,
    pub(super) writable: bool,
}

impl Poll {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, events: Vec::with_capacity(EVENTS) })
    }

    /// Hears of `socket` from now on, once for each change.
    pub(super) fn add(&self, socket: &OwnedFd, token: u64) -> io::Result<()> {
        let wanted =
            epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        Ok(epoll::add(&self.epoll, socket, epoll::EventData::new_u64(token), wanted)?)
    }

    /// Waits at most `patience`; returns how many things happened.
    pub(super) fn wait(&mut self, patience: Duration) -> io::Result<usize> {
        let nanos = patience.as_nanos();
        let timeout =
            Timespec { tv_sec: (nanos / 1_000_000_000) as i64, tv_nsec: (nanos % 1_000_000_000) as i64 };
        self.events.clear();
        let room = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, room, Some(&timeout)) {
            Ok(count) => Ok(count),
            Err(rustix::io::Errno::INTR) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What happened at `place` of the last wait.
    pub(super) fn happened(&self, place: usize) -> Option<Happened> {
        let &epoll::Event { flags, data } = self.events.get(place)?;
        let ended = epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        Some(Happened {
            token: data.u64(),
            readable: flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::RDHUP | ended),
            writable: flags.intersects(epoll::EventFlags::OUT | ended),
        })
    }
}

const fn family(addr: IpAddr) -> AddressFamily {
    if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

fn socket(addr: IpAddr, kind: SocketType) -> io::Result<OwnedFd> {
    Ok(socket_with(family(addr), kind, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?)
}

/// A connection that is being opened, from `source` if there is one.
pub(super) fn open(remote: SocketAddr, source: Option<IpAddr>) -> io::Result<OwnedFd> {
    let socket = socket(remote.ip(), SocketType::STREAM)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    if let Some(source) = source {
        // The port is chosen with the peer known, so that each address has all ports for each peer.
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        bind(&socket, &SocketAddr::new(source, 0))?;
    }
    match connect(&socket, &remote) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno.into()),
    }
}

/// A UDP socket that speaks to `remote` alone.
pub(super) fn datagrams(remote: SocketAddr, source: Option<IpAddr>) -> io::Result<OwnedFd> {
    let socket = socket(remote.ip(), SocketType::DGRAM)?;
    if let Some(source) = source {
        bind(&socket, &SocketAddr::new(source, 0))?;
    }
    connect(&socket, &remote)?;
    Ok(socket)
}

/// A socket at `at`, beside others there: a listening one, or one for datagrams.
pub(super) fn serve(at: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let socket = socket(at.ip(), kind)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    if at.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &at)?;
    if kind == SocketType::STREAM {
        listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}

/// What a read or a write came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moved {
    /// So many bytes; none at the end of a stream.
    Bytes(usize),
    /// Nothing for now: the next event tells when to try again.
    Later,
    /// The connection is over.
    Over,
}

impl Moved {
    fn of(result: rustix::io::Result<usize>) -> Self {
        match result {
            Ok(count) => Self::Bytes(count),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Self::Later,
            Err(_) => Self::Over,
        }
    }
}

pub(super) fn read(socket: impl AsFd, into: &mut [u8]) -> Moved {
    Moved::of(rustix::io::read(socket, into))
}

pub(super) fn write(socket: impl AsFd, from: &[u8]) -> Moved {
    Moved::of(rustix::net::send(socket, from, rustix::net::SendFlags::NOSIGNAL))
}

/// Whether the opening of a connection that has become writable went well.
pub(super) fn is_open(socket: &OwnedFd) -> bool {
    matches!(sockopt::socket_error(socket), Ok(Ok(())))
}
