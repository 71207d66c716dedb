//! One AF_XDP socket: one queue of an interface, over one core's packet pool.
//!
//! The pool's buffers are the socket's memory (UMEM), so a frame is written once, by the kernel or the card, and read
//! where it lies:
//!
//! ```text
//!   buffer (buffer_size)                        chunk: a buffer, or 4 KiB of a longer one
//!   │ 256 bytes of the kernel's │ frame … │     received: becomes headroom before the frame
//!   │ headroom │ frame … │                      sent: wherever the frame lies
//!
//!   fill ring ──► kernel ──► receive ring ──► Packet ──► stack            a fresh buffer goes into the fill ring for
//!      ▲                                                                  each that is taken out: it never runs low
//!      └──── fresh buffer, or the same one if the pool is dry
//!
//!   stack ──► SharedPacket ──► transmit ring ──► kernel ──► completion ring ──► let go of
//! ```
//!
//! Frames longer than a chunk come in several (XDP_USE_SG). They are copied together into one buffer, and their chunks
//! go straight back; so are frames for another pool. Sent ones are cut at the chunks' borders without a copy.
//!
//! Sources: Documentation/networking/af_xdp.rst and net/xdp of Linux.

use std::io;
use std::os::fd::BorrowedFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use freeway_mem::{BURST, Packet, PacketFlags, PacketPool, RxBurst, SharedPacket, TxBurst};
use freeway_port::PortCounters;
use libc::xdp_desc;
use rustix::io::Errno;
use rustix::net::xdp::SocketAddrXdpFlags;
use rustix::net::{RecvFlags, SendFlags};

use crate::checksum;
use crate::config::{AfxdpConfig, CopyMode};
use crate::device::Shared;
use crate::lent::{Held, Lent};
use crate::request;
use crate::sys;
use crate::xsk::{Sizes, Umem, Xsk};

/// The largest chunk that the kernel takes, in bytes: a page.
const CHUNK_MAX: u32 = 4_096;
/// The smallest, in bytes.
const CHUNK_MIN: u32 = 2_048;
/// What the kernel keeps before a received frame, in bytes: `XDP_PACKET_HEADROOM`.
const KERNEL_HEADROOM: usize = 256;

/// How many transmit calls one burst takes at most. Linux before 6.18 moves 32 frames a call.
const KICKS_MAX: usize = 4;
/// How long a queue may still be taken by a predecessor that was just closed.
const BUSY_FOR: Duration = Duration::from_secs(2);

/// See the [module](self).
pub(crate) struct Queue {
    // Fields are dropped in this order: the kernel lets go of the memory before buffers are taken back.
    socket: Xsk,
    lent: Lent,
    held: Held,
    /// A frame of several chunks of which some have come.
    partial: Partial,
    /// log2 of the size of a buffer, and of a chunk.
    buffer_shift: u32,
    chunk_shift: u32,
    /// Frames may lie in several chunks.
    has_fragments: bool,
    /// Sums are left to the kernel or the card: see [`request`].
    asks: bool,
    tx_limit: u32,
    busy_poll: bool,
    /// The device took nothing, for it has no link.
    is_down: bool,
    /// The interface was deleted.
    is_gone: bool,
}

/// A received frame of several chunks, as far as it has come.
enum Partial {
    None,
    Copied(Packet),
    /// Its rest is thrown away.
    Dropped,
}

impl Queue {
    /// Opens a socket on queue `number` of a device, over `pool`; so many `queues` share the pool.
    pub(crate) fn open(
        device: &Shared,
        number: u32,
        queues: u32,
        frame_max: usize,
        pool: &PacketPool,
    ) -> io::Result<Self> {
        let &Shared { ref config, ref link, has_fragments, sums, .. } = device;
        let chunk = chunk_of(pool, frame_max, has_fragments)?;
        let per_buffer = if has_fragments { pool.buffer_size() / chunk } else { 1 };
        // All queues of this core together leave it three quarters of its pool.
        let quarter = (pool.capacity() / 4 / queues.max(1)).max(1);
        let fill = (config.fill.min(quarter * per_buffer)).max(per_buffer).next_multiple_of(per_buffer);
        let place = Place { index: link.index, number, chunk, fill, has_fragments, asks: sums.are_asked_for };
        let mut queue = bind(config, pool, &place)?;
        if sums.are_asked_for && queue.is_zero_copy() && !sums.by_card {
            return Err(io::Error::other(
                "the card fills in no sums of what it reads by itself: use copy=copy, or tx-checksum=auto",
            ));
        }
        for _ in 0..fill / per_buffer {
            let Some(packet) = pool.alloc() else { break };
            queue.post(packet, per_buffer);
        }
        if let Some(busy_poll) = config.busy_poll {
            sys::set_busy_poll(queue.fd(), busy_poll)?;
        }
        // Only a matter of speed.
        let _ = sys::set_tx_budget(queue.fd(), config.tx);
        Ok(queue)
    }

    /// Gives a whole buffer to the device, chunk by chunk.
    fn post(&mut self, packet: Packet, chunks: u32) {
        let base = u64::from(self.lent.lend(packet)) << self.buffer_shift;
        for chunk in 0..u64::from(chunks) {
            let fits = self.socket.fill.insert(base + (chunk << self.chunk_shift));
            debug_assert!(fits, "the fill ring is full");
        }
        self.socket.fill.commit();
    }

    /// The socket's descriptor, for tables and for sleeping.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.fd()
    }

    /// Buffers that lie with the device, to be filled.
    pub(crate) const fn lent(&self) -> u32 {
        self.lent.count()
    }

    pub(crate) const fn is_zero_copy(&self) -> bool {
        self.lent.is_zero_copy
    }

    /// Whether frames have arrived.
    pub(crate) fn has_frames(&mut self) -> bool {
        self.socket.rx.available(1) > 0
    }

    /// Adds what the kernel counts.
    pub(crate) fn add_statistics(&self, counters: &mut PortCounters) {
        if let Ok(statistics) = self.socket.statistics() {
            let starved = statistics.rx_fill_ring_empty_descs.unwrap_or(0);
            counters.rx_dropped_queue_full += statistics.rx_ring_full.unwrap_or(0);
            counters.rx_dropped_starved += starved;
            // A frame that found no buffer is among the dropped ones too.
            counters.rx_dropped_device += statistics.rx_dropped.saturating_sub(starved);
            counters.rx_errors += statistics.rx_invalid_descs;
            counters.tx_errors += statistics.tx_invalid_descs;
        }
    }

    /// Takes frames into the room of `into`. Returns how many bytes they have.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        pool: &PacketPool,
        into: &mut RxBurst,
        counters: &mut PortCounters,
    ) -> u64 {
        self.reap();
        if self.busy_poll && !self.has_frames() {
            let _ = rustix::net::recv(self.fd(), &mut [0_u8; 0], RecvFlags::DONTWAIT);
        }
        let mut refill = ArrayVec::new();
        let bytes = if !self.has_fragments && self.lent.pool().is_same(pool) {
            self.swap(into, &mut refill, counters)
        } else {
            self.copy(pool, into, &mut refill, counters)
        };
        if !refill.is_empty() {
            self.refill(&refill);
        }
        bytes
    }

    /// Frames are handed over where they lie; a fresh buffer takes the place of each.
    fn swap(
        &mut self,
        into: &mut RxBurst,
        refill: &mut ArrayVec<u64, BURST>,
        counters: &mut PortCounters,
    ) -> u64 {
        let (shift, mut bytes) = (self.buffer_shift, 0);
        let count = self.socket.rx.available(into.remaining_capacity() as u32);
        for _ in 0..count {
            let Some(descriptor) = self.socket.rx.read() else { break };
            let (buffer, offset, len) = split(&descriptor, shift);
            let Some(packet) = self.lent.take_back(buffer, offset, len) else {
                counters.rx_errors += 1;
                continue;
            };
            let next = match self.lent.pool().alloc() {
                Some(fresh) => {
                    bytes += len as u64;
                    into.push(packet);
                    fresh
                }
                // Without another one for the fill ring the buffer goes back, and the frame with it.
                None => {
                    counters.rx_dropped_no_buffer += 1;
                    packet
                }
            };
            refill.push(u64::from(self.lent.lend(next)) << shift);
        }
        if count > 0 {
            self.socket.rx.release();
        }
        bytes
    }

    /// Frames are copied, of one chunk or of several; the chunks go back.
    fn copy(
        &mut self,
        pool: &PacketPool,
        into: &mut RxBurst,
        refill: &mut ArrayVec<u64, BURST>,
        counters: &mut PortCounters,
    ) -> u64 {
        let mut bytes = 0;
        let chunk_mask = !((1_u64 << self.chunk_shift) - 1);
        let count = self.socket.rx.available(into.remaining_capacity() as u32);
        for _ in 0..count {
            let Some(descriptor) = self.socket.rx.read() else { break };
            let (buffer, offset, len) = split(&descriptor, self.buffer_shift);
            let Some(chunk) = self.lent.take_back(buffer, offset, len) else {
                counters.rx_errors += 1;
                continue;
            };
            self.partial.add(chunk.data(), pool, counters);
            self.lent.lend(chunk);
            refill.push(descriptor.addr & chunk_mask);
            if descriptor.options & libc::XDP_PKT_CONTD == 0
                && let Some(packet) = self.partial.finish()
            {
                bytes += packet.len() as u64;
                into.push(packet);
            }
        }
        if count > 0 {
            self.socket.rx.release();
        }
        bytes
    }

    fn refill(&mut self, chunks: &[u64]) {
        // The ring has room for twice of what is lent, for the kernel may be late to say what it took.
        for &chunk in chunks {
            let fits = self.socket.fill.insert(chunk);
            debug_assert!(fits, "the fill ring is full");
        }
        self.socket.fill.commit();
        if self.socket.fill.needs_wakeup() {
            let _ = rustix::net::recv(self.fd(), &mut [0_u8; 0], RecvFlags::DONTWAIT);
        }
    }

    /// Sends frames from the front of `from` as far as there is room. Returns how many were taken.
    #[inline]
    pub(crate) fn transmit(
        &mut self,
        from: &mut TxBurst,
        frame_max: usize,
        counters: &mut PortCounters,
    ) -> usize {
        self.reap();
        let taken = self.fitting(from, frame_max);
        if taken < from.len() {
            counters.tx_full += 1;
        }
        if taken > 0 {
            self.enqueue(from, taken, frame_max, counters);
        }
        if self.socket.tx.pending() > 0 {
            self.kick();
            // A copying socket has done it all by now.
            self.reap();
        }
        if self.is_down && !from.is_empty() {
            // Nothing moves, and nobody waits for a link: what does not fit is lost, as on a cable that was pulled.
            counters.tx_dropped_no_link += from.len() as u64;
            let lost = from.len();
            from.clear();
            return taken + lost;
        }
        taken
    }

    /// How many frames from the front fit.
    fn fitting(&self, from: &TxBurst, frame_max: usize) -> usize {
        let room = self.tx_limit.saturating_sub(self.held.count());
        let (mut taken, mut used, mut copies) = (0, 0, 0);
        for packet in from {
            let pieces = if packet.is_empty() || packet.len() > frame_max {
                0
            } else if self.takes_buffer(packet) {
                copies += 1;
                packet.len().div_ceil(1 << self.chunk_shift) as u32 + 1
            } else {
                self.pieces(packet)
            };
            if used + pieces > room || copies > self.lent.pool().available() {
                break;
            }
            used += pieces;
            taken += 1;
        }
        taken
    }

    /// Whether a frame has to be copied into a buffer of the pool.
    #[inline(always)]
    fn takes_buffer(&self, packet: &SharedPacket) -> bool {
        let pool = self.lent.pool();
        if self.asks { request::takes_buffer(pool, packet, self.chunk_shift) } else { !pool.owns(packet) }
    }

    /// The frame as it can be sent: itself, or its copy in the pool.
    #[inline(always)]
    fn ready(&self, packet: SharedPacket) -> Option<SharedPacket> {
        let pool = self.lent.pool();
        match self.asks {
            true if pool.owns(&packet) && request::is_ready(&packet, self.chunk_shift) => Some(packet),
            true => request::prepare(pool, packet, self.chunk_shift),
            false => own(pool, packet),
        }
    }

    /// How many chunks a frame of this pool lies in.
    #[inline(always)]
    fn pieces(&self, packet: &SharedPacket) -> u32 {
        let first = packet.region_offset() >> self.chunk_shift;
        let last = (packet.region_offset() + packet.len() - 1) >> self.chunk_shift;
        (last - first) as u32 + 1
    }

    fn enqueue(&mut self, from: &mut TxBurst, taken: usize, frame_max: usize, counters: &mut PortCounters) {
        let chunk_len = 1_usize << self.chunk_shift;
        for packet in from.drain(..taken) {
            let len = packet.len();
            if len > frame_max {
                counters.tx_dropped_too_long += 1;
                continue;
            }
            let packet = match self.ready(packet) {
                Some(packet) if !packet.is_empty() => packet,
                _ => {
                    counters.tx_errors += 1;
                    continue;
                }
            };
            let (mut at, end) = (packet.region_offset(), packet.region_offset() + len);
            let asks = self.asks && packet.flags().contains(PacketFlags::CHECKSUM_REQUESTED);
            debug_assert!(!asks || request::is_right(&packet), "the request before a frame is not its own");
            let request = if asks { libc::XDP_TX_METADATA } else { 0 };
            // One holder for each descriptor: any of them may be done first.
            let more = (end - 1) / chunk_len - at / chunk_len;
            let mut holders: ArrayVec<SharedPacket, 32> =
                (0..more).map_while(|_| packet.try_clone()).collect();
            // Fewer frames are under way than the ring has room for, if the kernel counts as we do.
            if holders.len() < more || !self.socket.tx.reserve(more as u32 + 1) {
                counters.tx_errors += 1;
                continue;
            }
            holders.push(packet);
            for holder in holders {
                let chunk = at >> self.chunk_shift;
                let part = end.min((chunk + 1) << self.chunk_shift) - at;
                let options = request | if at + part < end { libc::XDP_PKT_CONTD } else { 0 };
                self.socket.tx.insert(xdp_desc { addr: at as u64, len: part as u32, options });
                self.held.hold(chunk, holder);
                at += part;
            }
            counters.tx_frames += 1;
            counters.tx_checksum_requests += u64::from(asks);
            counters.tx_bytes += len as u64;
        }
        self.socket.tx.commit();
    }

    /// Lets go of packets that were sent.
    #[inline]
    pub(crate) fn reap(&mut self) {
        if self.held.count() == 0 {
            return;
        }
        let count = self.socket.completion.available(2 * BURST as u32);
        for _ in 0..count {
            let Some(addr) = self.socket.completion.read() else { break };
            self.held.release((addr >> self.chunk_shift) as usize);
        }
        if count > 0 {
            self.socket.completion.release();
        }
    }

    /// Tells the kernel to send, if it wants to be told. In copying mode the call itself does the work, up to the
    /// receiving end of a veth.
    pub(crate) fn kick(&mut self) {
        if !self.socket.tx.needs_wakeup() {
            return;
        }
        let mut before = self.socket.tx.pending();
        for _ in 0..KICKS_MAX {
            let result = rustix::net::send(self.fd(), &[], SendFlags::DONTWAIT);
            self.is_down = matches!(result, Err(Errno::NETDOWN | Errno::NXIO | Errno::NODEV));
            let left = self.socket.tx.pending();
            // There is more than one call moves, or the completion ring is to be emptied first.
            if left == 0 || left == before || !matches!(result, Err(Errno::AGAIN)) {
                break;
            }
            before = left;
            self.reap();
        }
    }

    /// Whether the interface still exists. Asks the kernel.
    pub(crate) fn is_gone(&mut self) -> bool {
        if !self.is_gone {
            self.is_gone = matches!(rustix::net::sockopt::socket_error(self.fd()), Ok(Err(_)) | Err(_));
        }
        self.is_gone
    }
}

impl Partial {
    /// Adds the next part of a frame.
    fn add(&mut self, part: &[u8], pool: &PacketPool, counters: &mut PortCounters) {
        if matches!(self, Self::None) {
            *self = match pool.alloc() {
                Some(packet) => Self::Copied(packet),
                None => {
                    counters.rx_dropped_no_buffer += 1;
                    Self::Dropped
                }
            };
        }
        if let Self::Copied(packet) = self {
            match packet.append(part.len()) {
                Some(room) => room.copy_from_slice(part),
                None => {
                    counters.rx_dropped_too_long += 1;
                    *self = Self::Dropped;
                }
            }
        }
    }

    /// The frame, which is whole now, unless it was dropped.
    fn finish(&mut self) -> Option<Packet> {
        match std::mem::replace(self, Self::None) {
            Self::Copied(packet) => Some(packet),
            Self::None | Self::Dropped => None,
        }
    }
}

/// Marks the frames behind the first `from` whose sums Linux left unfilled.
pub(crate) fn mark_unfilled(burst: &mut RxBurst, from: usize) {
    for packet in burst.iter_mut().skip(from) {
        if checksum::is_unfilled(packet.data()) {
            packet.set_flags(PacketFlags::CHECKSUM_GOOD);
        }
    }
}

/// The packet, or its copy in `pool`.
#[inline(always)]
fn own(pool: &PacketPool, packet: SharedPacket) -> Option<SharedPacket> {
    if pool.owns(&packet) {
        return Some(packet);
    }
    let mut copy = pool.alloc()?;
    copy.copy_from_slice(packet.data()).then(|| copy.share())
}

/// A descriptor's buffer, where in it the bytes begin, and how many they are.
#[inline(always)]
const fn split(descriptor: &xdp_desc, shift: u32) -> (u32, usize, usize) {
    let offset = descriptor.addr & ((1 << shift) - 1);
    ((descriptor.addr >> shift) as u32, offset as usize, descriptor.len as usize)
}

/// The size of the chunks that a pool is cut into, in bytes, if it is fit for frames so long.
fn chunk_of(pool: &PacketPool, frame_max: usize, has_fragments: bool) -> io::Result<u32> {
    let buffer = pool.buffer_size();
    if pool.stride() != buffer {
        return Err(io::Error::other(
            "AF_XDP needs packet buffers side by side: make the pool with `spread: false`",
        ));
    }
    let chunk = buffer.min(CHUNK_MAX);
    let room = if has_fragments {
        buffer as usize - usize::from(pool.headroom()).min(buffer as usize)
    } else {
        chunk as usize - KERNEL_HEADROOM.min(chunk as usize)
    };
    if chunk < CHUNK_MIN || room < frame_max {
        let needed = (frame_max + KERNEL_HEADROOM).next_power_of_two().max(CHUNK_MIN as usize);
        return Err(io::Error::other(format!(
            "frames of {frame_max} bytes do not fit into packet buffers of {buffer}: they must have {needed} at least"
        )));
    }
    Ok(chunk)
}

/// Where a socket is to be bound, and how its memory is cut.
struct Place {
    /// The interface.
    index: u32,
    /// Its receive queue.
    number: u32,
    /// The size of a chunk, in bytes.
    chunk: u32,
    /// Chunks that lie with the device.
    fill: u32,
    has_fragments: bool,
    asks: bool,
}

/// Opens the socket and binds it, as soon as a predecessor has let go of the queue.
fn bind(config: &AfxdpConfig, pool: &PacketPool, place: &Place) -> io::Result<Queue> {
    let give_up = Instant::now() + BUSY_FOR;
    loop {
        match try_bind(config, pool, place) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < give_up => {
                sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(advise(error, place.number)),
            Ok(queue) => return Ok(queue),
        }
    }
}

fn try_bind(config: &AfxdpConfig, pool: &PacketPool, place: &Place) -> io::Result<Queue> {
    let &Place { index, number, chunk, fill, has_fragments, asks } = place;
    let memory = pool.memory();
    let umem = Umem { base: memory.base.as_ptr().cast(), len: memory.bytes, chunk, has_requests: asks };
    let sizes = Sizes {
        fill: (2 * fill).next_power_of_two(),
        completion: config.tx,
        // The receive ring has room for every buffer that lies with the device.
        rx: fill.next_power_of_two(),
        tx: config.tx,
    };
    // SAFETY: needed to give the pool's memory to the kernel. It is mapped, and stays as long as the pool, on which
    // `Lent` holds a handle that goes after the socket. The kernel writes only to chunks in the fill ring, whose buffers
    // are given up by then, and reads chunks in the transmit ring, which `Held` keeps from being written.
    let socket = unsafe { Xsk::open(umem, sizes) }?;
    let copy = match config.copy {
        CopyMode::Auto => SocketAddrXdpFlags::empty(),
        CopyMode::Copy => SocketAddrXdpFlags::XDP_COPY,
        CopyMode::Zero => SocketAddrXdpFlags::XDP_ZEROCOPY,
    };
    // Linux 6.6: frames may lie in several chunks.
    let fragments = if has_fragments { SocketAddrXdpFlags::XDP_USE_SG } else { SocketAddrXdpFlags::empty() };
    socket.bind(index, number, SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP | copy | fragments)?;
    let chunks = memory.bytes / chunk as usize;
    let mut queue = Queue {
        socket,
        lent: Lent::new(pool),
        held: Held::new(chunks, config.tx),
        partial: Partial::None,
        buffer_shift: pool.buffer_size().trailing_zeros(),
        chunk_shift: chunk.trailing_zeros(),
        has_fragments,
        asks,
        tx_limit: config.tx,
        busy_poll: config.busy_poll.is_some(),
        is_down: false,
        is_gone: false,
    };
    queue.lent.is_zero_copy = queue.socket.is_zero_copy()?;
    Ok(queue)
}

/// What may help, with what the kernel said.
fn advise(error: io::Error, number: u32) -> io::Error {
    let advice = match error.raw_os_error() {
        Some(libc::EBUSY) => "another AF_XDP socket has this queue: end its process",
        Some(libc::ENOBUFS) => "too little memory may be locked: raise `ulimit -l`, or give CAP_IPC_LOCK",
        Some(libc::EOPNOTSUPP) => "the driver cannot do without copying: use copy=auto",
        Some(libc::EPERM) => "it takes CAP_NET_RAW",
        Some(libc::EINVAL) => "the driver refuses the queue or its settings: try mode=generic, copy=copy",
        _ => return error,
    };
    io::Error::new(error.kind(), format!("AF_XDP socket on queue {number}: {error}: {advice}"))
}
