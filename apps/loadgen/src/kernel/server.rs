//! The server that Freeway is measured against: a loop over edge-triggered epoll, as cheap as it can be made.
//!
//! One value serves one thread; several share their ports by SO_REUSEPORT, each with connections of its own. It echoes,
//! discards and generates, as `freeway serve` does.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use freeway::Duration;
use rustix::net::{SocketFlags, SocketType, accept_with};

use super::socket::{Happened, Moved, Poll, read, serve, write};

/// What a port does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KernelService {
    /// Sends back what comes, by TCP and UDP.
    Echo,
    /// Drops what comes.
    Discard,
    /// Sends as fast as it may.
    Source,
}

/// A connection.
struct Peer {
    socket: OwnedFd,
    service: KernelService,
    /// What was read and could not be sent back yet.
    unsent: Vec<u8>,
}

/// Bytes that are read or written at once.
const CHUNK: usize = 256 * 1024;
/// The longest wait for something to happen, after which the order to stop is looked for.
const WAIT: Duration = Duration::from_millis(50);
/// Tokens of listeners and datagram sockets stand above those of connections.
const LISTENER: u64 = 1 << 40;

/// One thread's server.
pub struct KernelServer {
    poll: Poll,
    listeners: Vec<(OwnedFd, KernelService, SocketType)>,
    peers: Vec<Option<Peer>>,
    vacant: Vec<u32>,
    buffer: Box<[u8]>,
    pattern: Box<[u8]>,
    /// Connections that were not accepted, for want of descriptors.
    refused: u64,
}

impl KernelServer {
    /// Listens on each port of `addr`, or of all addresses of both IP versions that there are. A datagram's answer comes from
    /// the address that Linux finds best, which is the one that was asked if that is the only one.
    ///
    /// # Errors
    ///
    /// A port is taken, or this process may not have it.
    pub fn new(ports: &[(u16, KernelService)], addr: Option<IpAddr>) -> io::Result<Self> {
        let mut server = Self {
            poll: Poll::new()?,
            listeners: Vec::new(),
            peers: Vec::new(),
            vacant: Vec::new(),
            buffer: vec![0; CHUNK].into(),
            pattern: (0..CHUNK).map(|place| place as u8).collect(),
            refused: 0,
        };
        for &(port, service) in ports {
            for kind in [SocketType::STREAM, SocketType::DGRAM] {
                if kind == SocketType::DGRAM && service != KernelService::Echo {
                    continue;
                }
                let all = (Ipv4Addr::UNSPECIFIED.into(), Some(Ipv6Addr::UNSPECIFIED.into()));
                let (first, second) = addr.map_or(all, |addr| (addr, None));
                server.listen(SocketAddr::new(first, port), service, kind)?;
                // There may be no IPv6 at all.
                match second.map(|second| server.listen(SocketAddr::new(second, port), service, kind)) {
                    Some(Err(error)) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(server)
    }

    fn listen(&mut self, at: SocketAddr, service: KernelService, kind: SocketType) -> io::Result<()> {
        let socket = serve(at, kind)?;
        self.poll.add(&socket, LISTENER + self.listeners.len() as u64)?;
        self.listeners.push((socket, service, kind));
        Ok(())
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.peers.len() - self.vacant.len()
    }

    /// Connections that could not be accepted, because the process may have no more descriptors.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Serves until `stop` is set.
    ///
    /// # Errors
    ///
    /// The kernel does not wait.
    pub fn run(&mut self, stop: &AtomicBool) -> io::Result<()> {
        while !stop.load(Ordering::Relaxed) {
            let count = self.poll.wait(WAIT)?;
            for place in 0..count {
                if let Some(happened) = self.poll.happened(place) {
                    self.handle(happened);
                }
            }
        }
        Ok(())
    }

    fn handle(&mut self, happened: Happened) {
        let Happened { token, writable, .. } = happened;
        if let Some(number) = token.checked_sub(LISTENER) {
            match self.listeners.get(number as usize) {
                Some((_, _, SocketType::DGRAM)) => self.datagrams(number as usize),
                _ => self.accept(number as usize),
            }
            return;
        }
        let place = token as usize;
        let Some(Some(peer)) = self.peers.get_mut(place) else { return };
        let lives = match peer.service {
            KernelService::Echo => echo(peer, &mut self.buffer),
            KernelService::Discard => drain(peer, &mut self.buffer),
            KernelService::Source => {
                drain(peer, &mut self.buffer) && (!writable || generate(peer, &self.pattern))
            }
        };
        if !lives {
            self.close(place);
        }
    }

    fn close(&mut self, place: usize) {
        if let Some(peer) = self.peers.get_mut(place)
            && peer.take().is_some()
        {
            self.vacant.push(place as u32);
        }
    }

    fn accept(&mut self, number: usize) {
        loop {
            let Some((listener, service, _)) = self.listeners.get(number) else { return };
            let service = *service;
            let socket = match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => socket,
                Err(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => {
                    self.refused += 1;
                    return;
                }
                Err(rustix::io::Errno::CONNABORTED | rustix::io::Errno::INTR) => continue,
                Err(_) => return,
            };
            // It is there to be fast: small answers are not held back.
            if rustix::net::sockopt::set_tcp_nodelay(&socket, true).is_err() {
                continue;
            }
            let place = self.vacant.pop().unwrap_or(self.peers.len() as u32);
            if self.poll.add(&socket, place.into()).is_err() {
                self.vacant.push(place);
                continue;
            }
            let peer = Some(Peer { socket, service, unsent: Vec::new() });
            match self.peers.get_mut(place as usize) {
                Some(vacant) => *vacant = peer,
                None => self.peers.push(peer),
            }
        }
    }

    fn datagrams(&mut self, number: usize) {
        let Some((socket, ..)) = self.listeners.get(number) else { return };
        loop {
            let room = &mut *self.buffer;
            let received = rustix::net::recvfrom(socket, room, rustix::net::RecvFlags::empty());
            let Ok((_, count, Some(from))) = received else { return };
            // What finds no room is dropped, as on any path.
            let bytes = self.buffer.get(..count).unwrap_or_default();
            let _ = rustix::net::sendto(socket, bytes, rustix::net::SendFlags::empty(), &from);
        }
    }
}

/// Sends back what has come; false when the connection is over.
fn echo(peer: &mut Peer, buffer: &mut [u8]) -> bool {
    loop {
        while !peer.unsent.is_empty() {
            match write(&peer.socket, &peer.unsent) {
                Moved::Bytes(count) => drop(peer.unsent.drain(..count)),
                Moved::Later => return true,
                Moved::Over => return false,
            }
        }
        let count = match read(&peer.socket, buffer) {
            Moved::Bytes(0) | Moved::Over => return false,
            Moved::Later => return true,
            Moved::Bytes(count) => count,
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        let sent = match write(&peer.socket, bytes) {
            Moved::Bytes(sent) => sent,
            Moved::Later => 0,
            Moved::Over => return false,
        };
        peer.unsent.extend_from_slice(bytes.get(sent..).unwrap_or_default());
        // A read that does not fill the buffer has emptied the socket: the next bytes bring an event.
        if sent == count && count < buffer.len() {
            return true;
        }
    }
}

/// Drops what has come; false when the connection is over.
fn drain(peer: &Peer, buffer: &mut [u8]) -> bool {
    loop {
        match read(&peer.socket, buffer) {
            Moved::Bytes(0) | Moved::Over => return false,
            Moved::Later => return true,
            Moved::Bytes(count) if count < buffer.len() => return true,
            Moved::Bytes(_) => {}
        }
    }
}

/// Sends as much as there is room for; false when the connection is over.
fn generate(peer: &Peer, pattern: &[u8]) -> bool {
    loop {
        match write(&peer.socket, pattern) {
            Moved::Bytes(_) => {}
            Moved::Later => return true,
            Moved::Over => return false,
        }
    }
}
