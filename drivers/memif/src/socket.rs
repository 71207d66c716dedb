//! The control socket: packets of 128 bytes, some with a file.

use std::io;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::cmsg_space;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect,
    listen, recvmsg, sendmsg, socket_with,
};

use crate::config::SocketName;
use crate::message::{MESSAGE_BYTES, Message};
use crate::reason::Reason;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;
/// Files that a message may bring; all but the first are closed.
const FILES_MAX: usize = 4;

/// A socket that listens, and takes its path away with it.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: OwnedFd,
    path: Option<PathBuf>,
}

impl Listener {
    /// Listens at `name`. A path that a dead server left behind is taken over.
    pub(crate) fn bind(name: &SocketName) -> io::Result<Self> {
        let socket = new_socket()?;
        let address = address(name)?;
        match bind(&socket, &address) {
            Err(Errno::ADDRINUSE) if is_deserted(name) => {
                if let SocketName::Path(path) = name {
                    std::fs::remove_file(path)?;
                }
                bind(&socket, &address)?;
            }
            bound => bound?,
        }
        let path = match name {
            SocketName::Path(path) => Some(path.clone()),
            SocketName::Abstract(_) => None,
        };
        let listener = Self { socket, path };
        listen(&listener.socket, BACKLOG)?;
        Ok(listener)
    }

    /// The next client. `None` if there is none.
    pub(crate) fn accept(&self) -> Option<OwnedFd> {
        accept_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).ok()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Somebody may have removed it already; then there is nothing left to do.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Connects to whoever listens at `name`.
pub(crate) fn dial(name: &SocketName) -> io::Result<OwnedFd> {
    let socket = new_socket()?;
    connect(&socket, &address(name)?)?;
    Ok(socket)
}

/// Whether there is a socket at this path that nobody listens on.
fn is_deserted(name: &SocketName) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let SocketName::Path(path) = name else { return false };
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    is_socket && dial(name).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn new_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

fn address(name: &SocketName) -> io::Result<SocketAddrUnix> {
    Ok(match name {
        SocketName::Path(path) => SocketAddrUnix::new(path.as_path())?,
        SocketName::Abstract(name) => SocketAddrUnix::new_abstract_name(name.as_bytes())?,
    })
}

/// Sends a message. A peer that does not read is no reason to wait: its socket holds far more than a handshake.
pub(crate) fn send(socket: &OwnedFd, message: &Message, file: Option<&OwnedFd>) -> Result<(), Reason> {
    let bytes = message.emit();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = file.map(AsFd::as_fd);
    if files.is_some() && !control.push(SendAncillaryMessage::ScmRights(files.as_slice())) {
        return Err(Reason::SocketFailed);
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    match sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, flags) {
        Ok(_) => Ok(()),
        Err(Errno::PIPE | Errno::CONNRESET) => Err(Reason::PeerGone),
        Err(_) => Err(Reason::SocketFailed),
    }
}

/// Receives a message, and the first file that came with it. `None` if there is none yet.
pub(crate) fn receive(socket: &OwnedFd) -> Result<Option<(Message, Option<OwnedFd>)>, Reason> {
    // One byte more shows a message that is too long.
    let mut bytes = [0; MESSAGE_BYTES + 1];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(FILES_MAX), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let mut received = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags);
    if received.as_ref().is_err_and(|&errno| errno == Errno::CONNRESET) {
        // The peer has closed without hearing us out. What it said before, such as why, is still there.
        received = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags);
    }
    let len = match received {
        Ok(received) => received.bytes,
        Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
        Err(_) => return Err(Reason::PeerGone),
    };
    let file = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut files) => files.next(),
            _ => None,
        })
        .next();
    if len == 0 {
        return Err(Reason::PeerGone);
    }
    let bytes = bytes.first_chunk().filter(|_| len == MESSAGE_BYTES).ok_or(Reason::MessageSize)?;
    let message = Message::parse(bytes).map_err(|_| Reason::MessageType)?;
    Ok(Some((message, file)))
}

/// Takes a peer's file for an interrupt: an eventfd that does not make its writer wait.
pub(crate) fn check_eventfd(file: &OwnedFd) -> Result<(), Reason> {
    use std::os::fd::AsRawFd;
    let link = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    if link.is_ok_and(|target| target.as_os_str() != "anon_inode:[eventfd]") {
        return Err(Reason::Interrupt);
    }
    let flags = fcntl_getfl(file).map_err(|_| Reason::Interrupt)?;
    fcntl_setfl(file, flags | OFlags::NONBLOCK).map_err(|_| Reason::Interrupt)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rustix::event::{EventfdFlags, eventfd};
    use rustix::net::socketpair;

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn a_message_takes_its_file_along() {
        let (near, far) = pair();
        assert!(receive(&far).unwrap().is_none());
        let event = eventfd(7, EventfdFlags::CLOEXEC).unwrap();
        send(&near, &Message::Ack, Some(&event)).unwrap();
        send(&near, &Message::Ack, None).unwrap();
        let (message, file) = receive(&far).unwrap().unwrap();
        assert_eq!(message, Message::Ack);
        let mut count = [0; 8];
        rustix::io::read(file.unwrap(), &mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 7);
        assert!(receive(&far).unwrap().unwrap().1.is_none());
        drop(near);
        assert_eq!(receive(&far).unwrap_err(), Reason::PeerGone);
    }

    #[test]
    fn messages_of_wrong_sizes_and_types_are_told_apart() {
        let (near, far) = pair();
        for (bytes, reason) in [
            (vec![1; 127], Reason::MessageSize),
            (vec![1; 129], Reason::MessageSize),
            (vec![1; 4_096], Reason::MessageSize),
            (vec![0; 128], Reason::MessageType),
            (vec![9; 128], Reason::MessageType),
        ] {
            rustix::io::write(&near, &bytes).unwrap();
            assert_eq!(receive(&far).unwrap_err(), reason, "{} bytes", bytes.len());
        }
    }

    #[test]
    fn files_beyond_the_first_are_closed() {
        let (near, far) = pair();
        let (watch, given) = std::io::pipe().unwrap();
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = [given.as_fd(), given.as_fd(), given.as_fd()];
        assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
        let bytes = Message::Ack.emit();
        sendmsg(&near, &[IoSlice::new(&bytes)], &mut control, SendFlags::empty()).unwrap();
        drop(given);
        let (_, file) = receive(&far).unwrap().unwrap();
        drop(file);
        // The end of the file: nobody holds the other end of the pipe any more.
        assert_eq!(rustix::io::read(watch, &mut [0_u8; 1]), Ok(0));
    }

    #[test]
    fn only_an_eventfd_is_an_interrupt_and_it_never_blocks() {
        let event = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        assert_eq!(check_eventfd(&event), Ok(()));
        assert!(fcntl_getfl(&event).unwrap().contains(OFlags::NONBLOCK));
        let (read, _write) = std::io::pipe().unwrap();
        assert_eq!(check_eventfd(&read.into()), Err(Reason::Interrupt));
        assert_eq!(check_eventfd(&pair().0), Err(Reason::Interrupt));
    }

    #[test]
    fn a_deserted_path_is_taken_over_and_a_living_one_is_not() {
        let path = std::env::temp_dir().join(format!("freeway-memif-socket-{}", std::process::id()));
        let name = SocketName::Path(path.clone());
        let first = Listener::bind(&name).unwrap();
        assert_eq!(Listener::bind(&name).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        // As a server that was killed leaves it.
        let Listener { socket, path: kept } = &first;
        assert!(kept.is_some() && socket.as_fd().try_clone_to_owned().is_ok());
        let deserted = new_socket().unwrap();
        drop(first);
        assert!(!path.exists());
        bind(&deserted, &address(&name).unwrap()).unwrap();
        drop(deserted);
        drop(Listener::bind(&name).unwrap());
        std::fs::write(&path, "not a socket").unwrap();
        assert_eq!(Listener::bind(&name).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        std::fs::remove_file(&path).unwrap();
    }
}
