//! A stand-in for the tool: the table's functions as safe calls, and a peer that speaks raw packets.

#![allow(unsafe_code, clippy::unwrap_used, dead_code)]

use std::collections::VecDeque;
use std::ffi::{CString, c_int, c_void};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use freeway_packetdrill::abi::{Interface, packetdrill_interface_init};
use freeway_wire::tcp::{Flags, Options, Repr, Segment, SeqNumber};
use freeway_wire::{Ecn, Protocol, checksum, ipv4, ipv6};

/// Time passes when all other threads of the process are at rest: one script at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The table, for several threads as the tool has them.
#[derive(Clone, Copy)]
pub struct Table(Interface);

// SAFETY: needed to call from a second thread, which is what the object is made for; it locks.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

/// One run of the tool.
pub struct Tool {
    pub table: Arc<Table>,
    _turn: MutexGuard<'static, ()>,
}

pub type Answer = Result<usize, i32>;

/// A control message: level and type, and its bytes.
pub type Control = ((c_int, c_int), Vec<u8>);

fn answer(value: isize) -> Answer {
    usize::try_from(value).map_err(|_| std::io::Error::last_os_error().raw_os_error().unwrap())
}

impl Tool {
    pub fn new(flags: &str) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let flags = CString::new(flags).unwrap();
        let mut interface = std::mem::MaybeUninit::<Interface>::uninit();
        // SAFETY: needed to open the object; the string ends with a zero and the table is valid for writing.
        unsafe { packetdrill_interface_init(flags.as_ptr(), interface.as_mut_ptr()) };
        // SAFETY: needed to use the table, which init has filled in.
        let interface = unsafe { interface.assume_init() };
        Self { table: Arc::new(Table(interface)), _turn: turn }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let interface = self.table.0;
        // SAFETY: needed to end the run; nobody calls afterwards, since tests join their threads first.
        unsafe { (interface.free)(interface.userdata) };
    }
}

impl std::ops::Deref for Tool {
    type Target = Table;

    fn deref(&self) -> &Table {
        &self.table
    }
}

/// The bytes of a socket address.
fn sockaddr(addr: SocketAddr) -> Vec<u8> {
    let mut bytes = match addr.ip() {
        IpAddr::V4(ip) => {
            let mut bytes = vec![0; 16];
            bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
            bytes[4..8].copy_from_slice(&ip.octets());
            bytes
        }
        IpAddr::V6(ip) => {
            let mut bytes = vec![0; 28];
            bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
            bytes[8..24].copy_from_slice(&ip.octets());
            bytes
        }
    };
    bytes[2..4].copy_from_slice(&addr.port().to_be_bytes());
    bytes
}

/// Every function in turn. SAFETY of all calls below: buffers are slices or locals with the lengths given, `userdata`
/// is the table's own, and the table lives as long as the `Tool`.
impl Table {
    pub fn socket(&self, domain: c_int, kind: c_int) -> c_int {
        // SAFETY: see the block.
        let fd = unsafe { (self.0.socket)(self.0.userdata, domain, kind, 0) };
        assert!(fd >= 0, "socket: {}", std::io::Error::last_os_error());
        fd
    }

    pub fn bind(&self, fd: c_int, addr: SocketAddr) -> Answer {
        let name = sockaddr(addr);
        // SAFETY: see the block.
        answer(unsafe { (self.0.bind)(self.0.userdata, fd, name.as_ptr().cast(), name.len() as u32) } as isize)
    }

    pub fn listen(&self, fd: c_int, backlog: c_int) -> Answer {
        // SAFETY: see the block.
        answer(unsafe { (self.0.listen)(self.0.userdata, fd, backlog) } as isize)
    }

    pub fn connect(&self, fd: c_int, addr: SocketAddr) -> Answer {
        let name = sockaddr(addr);
        // SAFETY: see the block.
        answer(unsafe { (self.0.connect)(self.0.userdata, fd, name.as_ptr().cast(), name.len() as u32) }
            as isize)
    }

    /// The descriptor, and the port of the peer.
    pub fn accept(&self, fd: c_int) -> Result<(c_int, u16), i32> {
        let mut name = [0_u8; 28];
        let mut len = 28;
        // SAFETY: see the block.
        let fd =
            unsafe { (self.0.accept)(self.0.userdata, fd, name.as_mut_ptr().cast(), &raw mut len) } as isize;
        answer(fd).map(|fd| (fd as c_int, u16::from_be_bytes([name[2], name[3]])))
    }

    pub fn read(&self, fd: c_int, len: usize) -> Result<Vec<u8>, i32> {
        self.recv(fd, len, 0)
    }

    pub fn recv(&self, fd: c_int, len: usize, flags: c_int) -> Result<Vec<u8>, i32> {
        let mut buffer = vec![0_u8; len];
        // SAFETY: see the block.
        let count = unsafe { (self.0.recv)(self.0.userdata, fd, buffer.as_mut_ptr().cast(), len, flags) };
        answer(count).map(|count| {
            buffer.truncate(count);
            buffer
        })
    }

    pub fn write(&self, fd: c_int, bytes: &[u8]) -> Answer {
        self.send(fd, bytes, 0)
    }

    pub fn send(&self, fd: c_int, bytes: &[u8], flags: c_int) -> Answer {
        // SAFETY: see the block.
        answer(unsafe { (self.0.send)(self.0.userdata, fd, bytes.as_ptr().cast(), bytes.len(), flags) })
    }

    pub fn send_null(&self, fd: c_int, len: usize) -> Answer {
        // SAFETY: see the block; null is what is tried out.
        answer(unsafe { (self.0.send)(self.0.userdata, fd, std::ptr::null(), len, 0) })
    }

    pub fn read_null(&self, fd: c_int, len: usize) -> Answer {
        // SAFETY: see the block; null is what is tried out.
        answer(unsafe { (self.0.read)(self.0.userdata, fd, std::ptr::null_mut(), len) })
    }

    pub fn sendto(&self, fd: c_int, bytes: &[u8], to: SocketAddr) -> Answer {
        self.send_to(fd, bytes, 0, to)
    }

    pub fn send_to(&self, fd: c_int, bytes: &[u8], flags: c_int, to: SocketAddr) -> Answer {
        let name = sockaddr(to);
        // SAFETY: see the block.
        answer(unsafe {
            (self.0.sendto)(
                self.0.userdata,
                fd,
                bytes.as_ptr().cast(),
                bytes.len(),
                flags,
                name.as_ptr().cast(),
                name.len() as u32,
            )
        })
    }

    /// Reads with two pieces, and the number in the one control message, if there is one.
    pub fn recvmsg(&self, fd: c_int, sizes: [usize; 2]) -> Result<(Vec<u8>, Option<i32>, i32), i32> {
        let mut pieces = sizes.map(|size| vec![0_u8; size]);
        let mut iov = [0, 1].map(|piece: usize| libc::iovec {
            iov_base: pieces[piece].as_mut_ptr().cast(),
            iov_len: sizes[piece],
        });
        let mut control = [0_u64; 8];
        // SAFETY: a message of zeros is one without anything.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = iov.as_mut_ptr();
        message.msg_iovlen = 2;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: see the block.
        let count = unsafe { (self.0.recvmsg)(self.0.userdata, fd, &raw mut message, 0) };
        let told = (message.msg_controllen > 0).then_some((control[2] & 0xffff_ffff) as i32);
        answer(count).map(|count| {
            let mut bytes = pieces.concat();
            bytes.truncate(count);
            (bytes, told, message.msg_flags)
        })
    }

    /// The oldest report of the error queue: the message's flags, and its control messages by level and type.
    pub fn report(&self, fd: c_int) -> Result<(c_int, Vec<Control>), i32> {
        let mut control = [0_u8; 512];
        // SAFETY: a message of zeros is one without anything.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = control.len();
        let flags = libc::MSG_ERRQUEUE;
        // SAFETY: see the block.
        answer(unsafe { (self.0.recvmsg)(self.0.userdata, fd, &raw mut message, flags) })?;
        let mut rest = &control[..message.msg_controllen];
        let mut controls = Vec::new();
        let word = |bytes: &[u8], at: usize| i32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        while rest.len() >= 16 {
            let length = u64::from_ne_bytes(rest[..8].try_into().unwrap()) as usize;
            controls.push(((word(rest, 8), word(rest, 12)), rest[16..length].to_vec()));
            rest = &rest[length.next_multiple_of(8).min(rest.len())..];
        }
        Ok((message.msg_flags, controls))
    }

    pub fn writev(&self, fd: c_int, pieces: &[&[u8]]) -> Answer {
        let iov: Vec<_> = pieces
            .iter()
            .map(|piece| libc::iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() })
            .collect();
        // SAFETY: see the block.
        answer(unsafe { (self.0.writev)(self.0.userdata, fd, iov.as_ptr(), iov.len() as c_int) })
    }

    pub fn close(&self, fd: c_int) -> Answer {
        // SAFETY: see the block.
        answer(unsafe { (self.0.close)(self.0.userdata, fd) } as isize)
    }

    pub fn shutdown(&self, fd: c_int, how: c_int) -> Answer {
        // SAFETY: see the block.
        answer(unsafe { (self.0.shutdown)(self.0.userdata, fd, how) } as isize)
    }

    pub fn fcntl(&self, fd: c_int, command: c_int, argument: c_int) -> Answer {
        // SAFETY: see the block.
        answer(unsafe { (self.0.fcntl)(self.0.userdata, fd, command, argument) } as isize)
    }

    pub fn ioctl(&self, fd: c_int, request: libc::c_ulong) -> Result<i32, i32> {
        let mut value = -1;
        // SAFETY: see the block.
        let result = unsafe { (self.0.ioctl)(self.0.userdata, fd, request, &raw mut value) };
        answer(result as isize).map(|_| value)
    }

    pub fn set(&self, fd: c_int, level: c_int, name: c_int, value: &[u8]) -> Answer {
        // SAFETY: see the block.
        let result = unsafe {
            (self.0.setsockopt)(self.0.userdata, fd, level, name, value.as_ptr().cast(), value.len() as u32)
        };
        answer(result as isize)
    }

    pub fn set_int(&self, fd: c_int, level: c_int, name: c_int, value: i32) -> Answer {
        self.set(fd, level, name, &value.to_ne_bytes())
    }

    pub fn get(&self, fd: c_int, level: c_int, name: c_int) -> Result<Vec<u8>, i32> {
        let mut value = vec![0_u8; 512];
        let mut len = 512;
        // SAFETY: see the block.
        let result = unsafe {
            (self.0.getsockopt)(self.0.userdata, fd, level, name, value.as_mut_ptr().cast(), &raw mut len)
        };
        answer(result as isize).map(|_| {
            value.truncate(len as usize);
            value
        })
    }

    pub fn get_int(&self, fd: c_int, level: c_int, name: c_int) -> Result<i32, i32> {
        self.get(fd, level, name).map(|value| i32::from_ne_bytes(value[..4].try_into().unwrap()))
    }

    pub fn poll(&self, fd: c_int, events: i16, timeout: c_int) -> i16 {
        let mut entry = libc::pollfd { fd, events, revents: -1 };
        // SAFETY: see the block.
        let count = unsafe { (self.0.poll)(self.0.userdata, &raw mut entry, 1, timeout) };
        assert_eq!(count, c_int::from(entry.revents != 0));
        entry.revents
    }

    pub fn epoll_create(&self) -> c_int {
        // SAFETY: see the block.
        unsafe { (self.0.epoll_create)(self.0.userdata, 1) }
    }

    pub fn epoll_ctl(&self, epfd: c_int, op: c_int, fd: c_int, events: c_int) -> Answer {
        let mut event = libc::epoll_event { events: events as u32, u64: fd as u64 };
        // SAFETY: see the block.
        answer(unsafe { (self.0.epoll_ctl)(self.0.userdata, epfd, op, fd, &raw mut event) } as isize)
    }

    /// The events of the one descriptor that is ready, or 0.
    pub fn epoll_wait(&self, epfd: c_int, timeout: c_int) -> c_int {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 4];
        // SAFETY: see the block.
        let count = unsafe { (self.0.epoll_wait)(self.0.userdata, epfd, events.as_mut_ptr(), 4, timeout) };
        assert!(count <= 1, "{count} descriptors are ready");
        if count == 1 { events[0].events as c_int } else { 0 }
    }

    pub fn pipe(&self) -> [c_int; 2] {
        let mut ends = [-1; 2];
        // SAFETY: see the block.
        let result = unsafe { (self.0.pipe)(self.0.userdata, ends.as_mut_ptr()) };
        assert_eq!(result, 0);
        ends
    }

    pub fn splice(&self, from: c_int, to: c_int, len: usize) -> Answer {
        let none = std::ptr::null_mut();
        // SAFETY: see the block.
        answer(unsafe { (self.0.splice)(self.0.userdata, from, none, to, none, len, 0) })
    }

    // ---- time and packets ----

    /// The clock, in microseconds; looking at it moves it.
    pub fn now(&self) -> i64 {
        let mut time = libc::timeval { tv_sec: 0, tv_usec: 0 };
        // SAFETY: see the block.
        unsafe { (self.0.gettimeofday)(self.0.userdata, &raw mut time, std::ptr::null_mut()) };
        time.tv_sec * 1_000_000 + time.tv_usec
    }

    pub fn sleep(&self, span: Duration) {
        // SAFETY: see the block.
        let result = unsafe { (self.0.usleep)(self.0.userdata, u32::try_from(span.as_micros()).unwrap()) };
        assert_eq!(result, 0);
    }

    pub fn inject(&self, packet: &[u8]) {
        // SAFETY: see the block.
        let result =
            unsafe { (self.0.netdev_send)(self.0.userdata, packet.as_ptr().cast::<c_void>(), packet.len()) };
        assert_eq!(result, 0);
    }

    /// The next packet and its time; none if there will not be one.
    pub fn next_packet(&self) -> Option<(Vec<u8>, i64)> {
        let mut buffer = vec![0_u8; 1 << 16];
        let (mut len, mut at) = (buffer.len(), 0);
        // SAFETY: see the block.
        let result = unsafe {
            (self.0.netdev_receive)(self.0.userdata, buffer.as_mut_ptr().cast(), &raw mut len, &raw mut at)
        };
        assert_eq!(result, 0);
        buffer.truncate(len);
        (len > 0).then_some((buffer, at))
    }
}

// ---- the peer ----

/// A segment as the peer sees it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub repr: Repr,
    pub payload: Vec<u8>,
    pub at: i64,
    pub packet: Vec<u8>,
}

/// The other end of a connection.
pub struct Peer {
    pub local: IpAddr,
    pub local_port: u16,
    pub remote: IpAddr,
    pub port: u16,
    /// What the peer sends next.
    pub seq: SeqNumber,
    /// What it has received.
    pub ack: SeqNumber,
    pub window: u16,
    pub seen: VecDeque<Seen>,
}

pub const V4: (&str, &str) = ("192.168.0.1", "192.0.2.1");
pub const V6: (&str, &str) = ("fd3d:a0b:17d6::1", "2001:db8::1");

impl Peer {
    pub fn new((local, remote): (&str, &str), local_port: u16) -> Self {
        Self {
            local: local.parse().unwrap(),
            local_port,
            remote: remote.parse().unwrap(),
            port: 40_000,
            seq: SeqNumber(0),
            ack: SeqNumber(0),
            window: 65_535,
            seen: VecDeque::new(),
        }
    }

    pub fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.remote, self.port)
    }

    pub fn local_addr(&self) -> SocketAddr {
        SocketAddr::new(self.local, self.local_port)
    }

    /// Sends a segment, and moves on by what it holds.
    pub fn say(&mut self, tool: &Table, flags: Flags, payload: &[u8]) {
        let mss = flags.contains(Flags::SYN).then_some(1_000);
        let packet = self.packet(flags, payload, Options { mss, ..Options::default() });
        tool.inject(&packet);
        let marks = u32::from(flags.contains(Flags::SYN)) + u32::from(flags.contains(Flags::FIN));
        self.seq += payload.len() as u32 + marks;
    }

    pub fn packet(&self, flags: Flags, payload: &[u8], options: Options) -> Vec<u8> {
        let repr = Repr {
            src_port: self.port,
            dst_port: self.local_port,
            seq: self.seq,
            ack: if flags.contains(Flags::ACK) { self.ack } else { SeqNumber(0) },
            flags,
            window: self.window,
            urgent: 0,
            options,
        };
        let mut segment = vec![0; repr.header_len()];
        repr.emit(&mut segment);
        segment.extend_from_slice(payload);
        checksum::fill_transport(self.remote, self.local, Protocol::TCP, &mut segment);
        ip_packet(self.remote, self.local, Protocol::TCP, &segment)
    }

    /// The next segment of the stack's, and what it acknowledges and says is taken note of.
    pub fn hear(&mut self, tool: &Table) -> Seen {
        let (packet, at) = tool.next_packet().expect("no packet comes");
        let segment = transport(&packet);
        let view = Segment::new_checked(&segment[..]).unwrap();
        assert!(checksum::verify_transport(self.local, self.remote, Protocol::TCP, &segment));
        let seen =
            Seen { repr: Repr::read(&view), payload: segment[view.header_len()..].to_vec(), at, packet };
        self.local_port = seen.repr.src_port;
        self.ack = seen.repr.seq
            + seen.payload.len() as u32
            + u32::from(seen.repr.flags.intersects(Flags::SYN))
            + u32::from(seen.repr.flags.intersects(Flags::FIN));
        seen
    }

    /// Opens a connection to a listener, up to the last acknowledgment.
    pub fn open(&mut self, tool: &Table) {
        self.say(tool, Flags::SYN, &[]);
        let syn_ack = self.hear(tool);
        assert!(syn_ack.repr.flags.contains(Flags::SYN | Flags::ACK), "{syn_ack:?}");
        self.say(tool, Flags::ACK, &[]);
    }
}

/// An IP packet around `payload`.
pub fn ip_packet(src: IpAddr, dst: IpAddr, protocol: Protocol, payload: &[u8]) -> Vec<u8> {
    let mut packet;
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            packet = vec![0; 20 + payload.len()];
            let mut view = ipv4::Packet::new_unchecked(&mut packet[..]);
            view.set_version_and_header_len(20);
            view.set_total_len(20 + payload.len() as u16);
            view.set_ttl(64);
            view.set_protocol(protocol);
            view.set_src(src);
            view.set_dst(dst);
            view.fill_checksum();
            packet[20..].copy_from_slice(payload);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            packet = vec![0; 40 + payload.len()];
            let header = ipv6::Repr {
                src,
                dst,
                next_header: protocol,
                hop_limit: 64,
                dscp: 0,
                ecn: Ecn::NotEct,
                flow_label: 0,
                payload_len: payload.len() as u16,
            };
            header.emit(&mut packet);
            packet[40..].copy_from_slice(payload);
        }
        _ => panic!("{src} and {dst} are of different versions"),
    }
    packet
}

/// What an IP packet holds.
pub fn transport(packet: &[u8]) -> Vec<u8> {
    match packet[0] >> 4 {
        4 => ipv4::Packet::new_checked(packet).unwrap().payload().to_vec(),
        _ => ipv6::Packet::new_checked(packet).unwrap().payload().to_vec(),
    }
}

pub fn domain(peer: &Peer) -> c_int {
    if peer.remote.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }
}

/// A listening socket at the peer's idea of this host's address.
pub fn listener(tool: &Table, peer: &Peer) -> c_int {
    let fd = tool.socket(domain(peer), libc::SOCK_STREAM);
    tool.bind(fd, peer.local_addr()).unwrap();
    tool.listen(fd, 5).unwrap();
    fd
}

/// A connection that the peer opened: its descriptor.
pub fn accepted(tool: &Table, peer: &mut Peer) -> c_int {
    let listening = listener(tool, peer);
    peer.open(tool);
    let (fd, port) = tool.accept(listening).unwrap();
    assert_eq!(port, peer.port);
    fd
}

/// An ICMP error that quotes `packet`.
pub fn icmp_error(from: IpAddr, to: IpAddr, kind: u8, code: u8, packet: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(packet);
    match (from, to) {
        (IpAddr::V4(_), IpAddr::V4(_)) => {
            let sum = checksum::sum(&message).finish();
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            ip_packet(from, to, Protocol::ICMP, &message)
        }
        _ => {
            let sum = checksum::pseudo_header(from, to, Protocol::ICMPV6, message.len() as u32).add(&message);
            message[2..4].copy_from_slice(&sum.finish().to_be_bytes());
            ip_packet(from, to, Protocol::ICMPV6, &message)
        }
    }
}

pub const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
pub const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// `getsockopt` as the tool's own code calls it: this program is linked with the object's.
pub fn library_getsockopt(fd: c_int, level: c_int, name: c_int) -> Result<Vec<u8>, i32> {
    let mut value = vec![0_u8; 512];
    let mut len = 512;
    // SAFETY: needed to call it; the buffer has the length that is given.
    let result = unsafe {
        freeway_packetdrill::abi::preloaded_getsockopt(
            fd,
            level,
            name,
            value.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    answer(result as isize).map(|_| {
        value.truncate(len as usize);
        value
    })
}
