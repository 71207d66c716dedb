//! A raw socket on Linux's end of the device.
#![allow(clippy::unwrap_used)]

use std::os::fd::{AsRawFd, OwnedFd};

use freeway_port::conformance::Peer;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket, sockopt,
};

/// The Linux end of a device: sends and receives whole frames.
pub struct RawSocket {
    fd: OwnedFd,
}

impl RawSocket {
    /// On the interface `name`, which must be up to send.
    pub fn open(name: &str) -> Self {
        let fd = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )
        .unwrap();
        setsockopt(&fd, sockopt::RcvBufForce, &(8 << 20)).unwrap();
        // The link address of an interface names it by index.
        let of_interface = getifaddrs()
            .unwrap()
            .find_map(|interface| {
                let address = interface.address.filter(|_| interface.interface_name == name)?;
                address.as_link_addr().copied()
            })
            .unwrap();
        bind(fd.as_raw_fd(), &of_interface).unwrap();
        Self { fd }
    }
}

impl Peer for RawSocket {
    fn send(&mut self, frame: &[u8]) -> bool {
        match send(self.fd.as_raw_fd(), frame, MsgFlags::empty()) {
            Ok(_) => true,
            Err(Errno::EAGAIN | Errno::ENOBUFS) => false,
            Err(errno) => panic!("sending {} bytes: {errno}", frame.len()),
        }
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 1 << 16];
        match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(len) => {
                buffer.truncate(len);
                Some(buffer)
            }
            Err(Errno::EAGAIN | Errno::ENETDOWN) => None,
            Err(errno) => panic!("receiving: {errno}"),
        }
    }
}
