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

impl RawSocket {
    /// Has [`receive_with_status`](Self::receive_with_status) know what Linux knows of a frame.
    pub fn want_status(&self) {
        let (fd, yes) = (self.fd.as_raw_fd(), 1_i32);
        let len = size_of::<i32>() as libc::socklen_t;
        let value = (&raw const yes).cast();
        // SAFETY: needed for an option that nix does not know. The kernel reads four bytes of `yes`, which lives on.
        let result = unsafe { libc::setsockopt(fd, libc::SOL_PACKET, libc::PACKET_AUXDATA, value, len) };
        assert_eq!(result, 0);
    }

    /// A frame, and whether its sum is left to a device.
    pub fn receive_with_status(&mut self) -> Option<(Vec<u8>, bool)> {
        let (mut frame, mut control) = (vec![0_u8; 1 << 16], [0_u32; 32]);
        let mut part = libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() };
        // SAFETY: needed to begin with. Zeros are an empty message.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        // SAFETY: needed for what comes beside a frame, which nix does not know. The kernel writes into `frame` and
        // `control`, not beyond the lengths that stand with them; both live on.
        let len = unsafe { libc::recvmsg(self.fd.as_raw_fd(), &raw mut message, 0) };
        if len < 0 {
            assert_eq!(Errno::last(), Errno::EAGAIN);
            return None;
        }
        frame.truncate(len as usize);
        // `struct cmsghdr` on a 64-bit machine (length, level, type), then `struct tpacket_auxdata`, whose status is first.
        let [_, _, level, kind, status, ..] = control;
        assert_eq!(
            (level, kind),
            (libc::SOL_PACKET as u32, libc::PACKET_AUXDATA as u32),
            "nothing is said of the frame"
        );
        Some((frame, status & libc::TP_STATUS_CSUMNOTREADY != 0))
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
