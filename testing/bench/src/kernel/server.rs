//! An echo server on epoll: what a careful programmer writes on Linux's sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_reuseaddr, set_tcp_nodelay};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, bind, getsockname, listen,
    recv, send, socket_with,
};

/// Events of one wait.
const EVENTS: usize = 512;
/// Bytes of one read.
const CHUNK: usize = 16 * 1024;
/// The listener's mark among the events.
const LISTENER: u64 = u64::MAX;

/// A listening socket.
#[derive(Debug)]
pub struct EchoListener(OwnedFd);

impl EchoListener {
    /// Listens on `address`, in this thread's network namespace.
    ///
    /// # Errors
    ///
    /// The address is not there, or taken.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &address)?;
        listen(&socket, 4_096)?;
        Ok(Self(socket))
    }

    /// Where it listens; of interest if it was any free port.
    ///
    /// # Errors
    ///
    /// The kernel does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        Ok(getsockname(&self.0)?.try_into()?)
    }
}

/// Sends back whatever comes on whatever connection, until `is_over`, which is asked whenever nothing came for 100 ms.
///
/// With `spins` it asks for events again and again in place of sleeping until there are some.
///
/// # Errors
///
/// The listener or epoll fails; a connection that does is closed.
pub fn serve_echo(listener: &EchoListener, spins: bool, mut is_over: impl FnMut() -> bool) -> io::Result<()> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &listener.0, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let mut conns: Vec<Option<OwnedFd>> = Vec::new();
    let mut events = Vec::with_capacity(EVENTS);
    let mut buffer = vec![0; CHUNK];
    let patience = rustix::event::Timespec { tv_sec: 0, tv_nsec: if spins { 0 } else { 100_000_000 } };
    loop {
        events.clear();
        match epoll::wait(&poll, spare_capacity(&mut events), Some(&patience)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if events.is_empty() && is_over() {
            return Ok(());
        }
        for event in &events {
            let number = event.data.u64();
            if number == LISTENER {
                accept_all(listener, &poll, &mut conns)?;
            } else if let Some(place) = conns.get_mut(number as usize)
                && place.as_ref().is_some_and(|conn| !echo(conn, &mut buffer))
            {
                *place = None;
            }
        }
    }
}

fn accept_all(listener: &EchoListener, poll: &OwnedFd, conns: &mut Vec<Option<OwnedFd>>) -> io::Result<()> {
    loop {
        let conn = match accept_with(&listener.0, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(conn) => conn,
            Err(Errno::AGAIN) => return Ok(()),
            // The peer has gone already.
            Err(Errno::CONNABORTED | Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        set_tcp_nodelay(&conn, true)?;
        let place = conns.iter().position(Option::is_none).unwrap_or(conns.len());
        epoll::add(poll, conn.as_fd(), epoll::EventData::new_u64(place as u64), epoll::EventFlags::IN)?;
        if place == conns.len() {
            conns.push(Some(conn));
        } else {
            conns[place] = Some(conn);
        }
    }
}

/// False when the connection is over. Level-triggered: what is left after one read comes with the next wait.
fn echo(conn: &OwnedFd, buffer: &mut [u8]) -> bool {
    let (bytes, _) = match recv(conn, &mut *buffer, RecvFlags::empty()) {
        Ok((0, _)) => return false,
        Ok(received) => received,
        Err(Errno::AGAIN | Errno::INTR) => return true,
        Err(_) => return false,
    };
    // A benchmark's peer reads all it asked for, so the send buffer never fills.
    matches!(send(conn, &buffer[..bytes], SendFlags::NOSIGNAL), Ok(sent) if sent == bytes)
}
