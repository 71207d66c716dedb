//! A peer without manners: it speaks the protocol by hand, and writes to the shared memory through its file, so that it
//! can say and write anything.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use freeway_memif::message::{AddRing, Init, MESSAGE_BYTES, Message, Text, VERSION};
use rustix::cmsg_space;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketType, connect, recvmsg, sendmsg, socket,
};

/// The slots of a lying client's rings, as a binary logarithm, and as such.
pub(crate) const LOG2: u8 = 3;
pub(crate) const SLOTS: u16 = 1 << LOG2;
/// Where its rings and its buffers are, in its one region.
pub(crate) const TO_SERVER: u64 = 0;
pub(crate) const TO_CLIENT: u64 = 4_096;
pub(crate) const BUFFERS: u32 = 8_192;
pub(crate) const BYTES: u64 = 16_384;

const COOKIE: u32 = 0x03e3_1f20;

/// A descriptor, with flags that need not make sense.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Desc {
    pub(crate) flags: u16,
    pub(crate) region: u16,
    pub(crate) length: u32,
    pub(crate) offset: u32,
}

/// A descriptor that is in order.
pub(crate) const fn desc(length: u32) -> Desc {
    Desc { flags: 0, region: 0, length, offset: BUFFERS }
}

/// Shared memory, as its file.
pub(crate) struct Memory(pub(crate) File);

impl Memory {
    pub(crate) fn new(bytes: u64, seals: SealFlags) -> Self {
        let file = memfd_create("liar", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&file, bytes).unwrap();
        fcntl_add_seals(&file, seals).unwrap();
        Self(file.into())
    }

    /// With empty rings and the cookies.
    pub(crate) fn with_rings() -> Self {
        let memory = Self::new(BYTES, SealFlags::SHRINK);
        for ring in [TO_SERVER, TO_CLIENT] {
            memory.0.write_all_at(&COOKIE.to_le_bytes(), ring).unwrap();
        }
        memory
    }

    pub(crate) fn set_head(&self, ring: u64, head: u16) {
        self.0.write_all_at(&head.to_le_bytes(), ring + 6).unwrap();
    }

    pub(crate) fn set_tail(&self, ring: u64, tail: u16) {
        self.0.write_all_at(&tail.to_le_bytes(), ring + 64).unwrap();
    }

    pub(crate) fn u16_at(&self, at: u64) -> u16 {
        let mut bytes = [0; 2];
        self.0.read_exact_at(&mut bytes, at).unwrap();
        u16::from_le_bytes(bytes)
    }

    pub(crate) fn tail(&self, ring: u64) -> u16 {
        self.u16_at(ring + 64)
    }

    pub(crate) fn head(&self, ring: u64) -> u16 {
        self.u16_at(ring + 6)
    }

    pub(crate) fn set_desc(&self, ring: u64, slot: u16, desc: Desc) {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&desc.flags.to_le_bytes());
        bytes[2..4].copy_from_slice(&desc.region.to_le_bytes());
        bytes[4..8].copy_from_slice(&desc.length.to_le_bytes());
        bytes[8..12].copy_from_slice(&desc.offset.to_le_bytes());
        self.0.write_all_at(&bytes, ring + 128 + 16 * u64::from(slot)).unwrap();
    }
}

pub(crate) fn send(socket: &OwnedFd, bytes: &[u8], file: Option<BorrowedFd<'_>>) {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(file.is_none() || control.push(SendAncillaryMessage::ScmRights(file.as_slice())));
    // The other side may have hung up already.
    let _ = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL);
}

/// The next message; `None` when the other side has hung up.
pub(crate) fn receive(socket: &OwnedFd) -> Option<(Message, Option<OwnedFd>)> {
    let at_most = Timespec { tv_sec: 10, tv_nsec: 0 };
    assert!(poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&at_most)).unwrap() > 0, "nothing is said");
    let mut bytes = [0; MESSAGE_BYTES];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut received =
        recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC);
    if received.as_ref().is_err_and(|errno| *errno == rustix::io::Errno::CONNRESET) {
        // The other side did not hear us out. What it has said is still there.
        received = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC);
    }
    if !received.is_ok_and(|received| received.bytes > 0) {
        return None;
    }
    let file = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    Some((Message::parse(&bytes).unwrap(), file))
}

/// A client of a Freeway server.
pub(crate) struct Liar {
    pub(crate) socket: OwnedFd,
    pub(crate) memory: Memory,
    pub(crate) interrupt: OwnedFd,
}

impl Liar {
    /// Connected, and greeted.
    pub(crate) fn dial(path: &Path) -> Self {
        let socket = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
        connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
        let liar = Self {
            socket,
            memory: Memory::with_rings(),
            interrupt: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap(),
        };
        assert!(matches!(receive(&liar.socket), Some((Message::Hello(_), None))));
        liar
    }

    pub(crate) fn say(&self, message: &Message, file: Option<BorrowedFd<'_>>) {
        send(&self.socket, &message.emit(), file);
    }

    /// All that is to be said, in order, for memory that holds the rings.
    pub(crate) fn script(&self) -> Vec<(Message, Option<BorrowedFd<'_>>)> {
        let interrupt = Some(self.interrupt.as_fd());
        let ring = |to_server, offset| {
            let place =
                AddRing { to_server, index: 0, region: 0, offset, log2_size: LOG2, private_header: 0 };
            (Message::AddRing(place), interrupt)
        };
        vec![
            (init(), None),
            (Message::AddRegion { index: 0, size: BYTES }, Some(self.memory.0.as_fd())),
            ring(true, TO_SERVER as u32),
            ring(false, TO_CLIENT as u32),
            (Message::Connect { name: Text::new("liar") }, None),
        ]
    }

    /// A client that has been let in.
    pub(crate) fn connected(path: &Path) -> Self {
        let liar = Self::dial(path);
        for (message, file) in liar.script() {
            liar.say(&message, file);
            match receive(&liar.socket) {
                Some((Message::Ack | Message::Connected { .. }, None)) => {}
                other => panic!("{message:?} was answered by {other:?}"),
            }
        }
        liar
    }

    /// The goodbye that follows, in words; what is said before is ignored.
    pub(crate) fn goodbye(&self) -> String {
        goodbye(&self.socket)
    }
}

pub(crate) fn init() -> Message {
    Message::Init(Init { version: VERSION, id: 0, mode: 0, secret: Text::default(), name: Text::new("liar") })
}

/// A server for one client: greets it, acknowledges all it says, and keeps its first region.
pub(crate) fn serve(path: &Path) -> (OwnedFd, Memory) {
    let listener = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    rustix::net::bind(&listener, &SocketAddrUnix::new(path).unwrap()).unwrap();
    rustix::net::listen(&listener, 1).unwrap();
    let socket = rustix::net::accept(&listener).unwrap();
    let hello = Message::Hello(freeway_memif::message::Hello {
        name: Text::new("liar"),
        version_min: VERSION,
        version_max: VERSION,
        region_max: 255,
        to_client_max: 0,
        to_server_max: 0,
        ring_log2_max: 14,
    });
    send(&socket, &hello.emit(), None);
    let mut memory = None;
    loop {
        let (message, file) = receive(&socket).unwrap();
        let answer = match message {
            Message::AddRegion { index: 0, .. } => {
                memory = file.map(|file| Memory(file.into()));
                Message::Ack
            }
            Message::Connect { .. } => Message::Connected { name: Text::new("liar") },
            _ => Message::Ack,
        };
        send(&socket, &answer.emit(), None);
        if matches!(answer, Message::Connected { .. }) {
            return (socket, memory.unwrap());
        }
    }
}

/// The goodbye on a socket, in words.
pub(crate) fn goodbye(socket: &OwnedFd) -> String {
    while let Some((message, _)) = receive(socket) {
        if let Message::Disconnect { reason, .. } = message {
            return reason.to_string();
        }
    }
    String::new()
}
