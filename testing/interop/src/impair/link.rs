//! An interface by a packet socket: every frame that arrives on it, and any frame out of it (packet(7)).
//!
//! Frames arrive as the interface delivers them, whoever they are addressed to; a veth or a TAP filters nothing. A VLAN
//! tag that the kernel has taken out of the frame is lost, so tagged traffic cannot be bridged.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, send, setsockopt,
    socket, sockopt,
};

/// `PACKET_OUTGOING` of packet(7): a frame that this machine sent, our own among them.
const OUTGOING: u8 = 4;

/// Room for frames that arrive while the bridge is busy, in bytes as the kernel counts them.
const RECEIVE_BUFFER: usize = 16 << 20;

/// One interface, open for whole frames.
pub struct Link {
    socket: OwnedFd,
    index: usize,
}

impl Link {
    /// Opens `interface` of the caller's namespace.
    ///
    /// # Errors
    ///
    /// When there is no such interface, or without CAP_NET_RAW.
    pub fn open(interface: &str) -> Result<Self> {
        // The kernel describes each interface by the very address that binds a packet socket to it; the protocol it
        // leaves at 0 means the socket's own.
        let address = getifaddrs()?
            .filter(|entry| entry.interface_name == interface)
            .find_map(|entry| entry.address?.as_link_addr().copied())
            .with_context(|| format!("there is no interface {interface}"))?;
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )
        .context("a packet socket needs CAP_NET_RAW")?;
        bind(socket.as_raw_fd(), &address).with_context(|| format!("binding to {interface}"))?;
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)
            .context("a receive buffer needs CAP_NET_ADMIN")?;
        Ok(Self { socket, index: address.ifindex() })
    }

    /// Copies the next frame that arrived to the front of `buffer` and returns its length; none when none waits.
    ///
    /// # Errors
    ///
    /// When the interface is down or gone.
    pub fn receive(&self, buffer: &mut [u8]) -> Result<Option<usize>, Errno> {
        loop {
            let (length, address) = match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), buffer) {
                Ok(received) => received,
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error),
            };
            // Before it was bound, the socket heard every interface.
            let is_from_outside = address
                .is_some_and(|address| address.pkttype() != OUTGOING && address.ifindex() == self.index);
            if is_from_outside {
                return Ok(Some(length));
            }
        }
    }

    /// Sends `frame` out of the interface.
    ///
    /// # Errors
    ///
    /// When the interface does not take it: it is down, or the frame is longer than its MTU.
    pub fn send(&self, frame: &[u8]) -> Result<(), Errno> {
        send(self.socket.as_raw_fd(), frame, MsgFlags::MSG_DONTWAIT).map(drop)
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
