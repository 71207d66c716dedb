//! A cable between two ports of one process.
//!
//! ```text
//!   Pipe a                                             Pipe b
//!   tx_burst ──copy──► ring of frames ──copy──► rx_burst         into a buffer of b's pool
//!   rx_burst ◄──copy── ring of frames ◄──copy── tx_burst
//!       bell ◄── rung by b ┄┄┄┄┄┄┄┄ rung by a ──► bell           only while armed
//! ```
//!
//! Each end may live on a thread of its own, with a pool of its own: frames cross by copy, never by handle. A burst
//! costs one write of the ring's shared index; while both ends are awake nothing enters the kernel. Both ends on one
//! thread work as well, and then the order of everything is the order of the calls.

use std::io;
use std::sync::Arc;

use freeway_mem::ring::{self, FrameConsumer, FrameProducer};
use freeway_mem::{PacketFlags, PacketPool, RxBurst, TxBurst};

use crate::bell::Bell;
use crate::info::{Capabilities, PortInfo};
use crate::queue::{Armed, Port, PortCounters, RxQueue, TxQueue};

/// How a pipe is made; both ends are alike.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PipeConfig {
    /// What the cable is called; its ends are `NAME.0` and `NAME.1`. Default `pipe`.
    pub name: String,
    /// Frames under way in each direction, rounded up to a power of two. Default 512; memory is twice this many
    /// times the longest frame, 1.5 MiB by default.
    pub frames: usize,
    /// The longest IP packet, in bytes. Default 1500.
    pub mtu: u16,
    /// What the ends claim. With `tx_checksum` a frame flagged `CHECKSUM_NEEDED` arrives as `CHECKSUM_GOOD`: memory
    /// flips no bits. Default none, so that sums are filled in and verified as on a wire.
    pub capabilities: Capabilities,
}

impl Default for PipeConfig {
    fn default() -> Self {
        Self { name: "pipe".into(), frames: 512, mtu: 1_500, capabilities: Capabilities::default() }
    }
}

/// One end of a cable. See the [crate's](crate) picture and [`pipe()`].
#[derive(Debug)]
pub struct Pipe {
    info: PortInfo,
    frame_max: usize,
    tx: FrameProducer,
    rx: FrameConsumer,
    own_bell: Arc<Bell>,
    peer_bell: Arc<Bell>,
    counters: PortCounters,
}

/// Lays a cable and returns its ends.
///
/// # Errors
///
/// No file descriptor to be had (each end takes one).
pub fn pipe(config: &PipeConfig) -> io::Result<(Pipe, Pipe)> {
    let info = |end: u8| PortInfo {
        mtu: config.mtu,
        capabilities: config.capabilities,
        ..PortInfo::new(format!("{}.{end}", config.name))
    };
    let (info_a, info_b) = (info(0), info(1));
    let frame_max = info_a.frame_max();
    let (tx_a, rx_b) = ring::frames(config.frames, frame_max);
    let (tx_b, rx_a) = ring::frames(config.frames, frame_max);
    let (bell_a, bell_b) = (Arc::new(Bell::new()?), Arc::new(Bell::new()?));
    let end = |info, tx, rx, own: &Arc<Bell>, peer: &Arc<Bell>| Pipe {
        info,
        frame_max,
        tx,
        rx,
        own_bell: Arc::clone(own),
        peer_bell: Arc::clone(peer),
        counters: PortCounters::default(),
    };
    Ok((end(info_a, tx_a, rx_a, &bell_a, &bell_b), end(info_b, tx_b, rx_b, &bell_b, &bell_a)))
}

impl Pipe {
    /// Whether the other end is gone. What it sent before may still wait.
    pub fn is_disconnected(&self) -> bool {
        self.rx.is_disconnected()
    }

    /// Frames that wait to be received.
    pub fn rx_waiting(&self) -> usize {
        self.rx.len()
    }

    /// The ring is full. True if nobody will ever empty it: then the frame is lost like on a cable without a plug.
    #[cold]
    fn is_full_for_good(&mut self) -> bool {
        let gone = self.tx.is_disconnected();
        self.counters.tx_full += u64::from(!gone);
        gone
    }
}

/// A frame leaves the ring with what may be said of it at the far end.
#[inline(always)]
fn flags_on_arrival(bits: u8) -> PacketFlags {
    let sent = PacketFlags::from_bits_truncate(bits);
    if sent.contains(PacketFlags::CHECKSUM_NEEDED) {
        PacketFlags::CHECKSUM_GOOD
    } else {
        PacketFlags::empty()
    }
}

impl RxQueue for Pipe {
    #[inline]
    fn rx_burst(&mut self, pool: &PacketPool, into: &mut RxBurst) -> usize {
        let before = into.len();
        for _ in 0..into.remaining_capacity() {
            let Some((frame, flags)) = self.rx.peek() else { break };
            match pool.alloc() {
                None => self.counters.rx_dropped_no_buffer += 1,
                Some(mut packet) => match packet.append(frame.len()) {
                    None => self.counters.rx_dropped_too_long += 1,
                    Some(room) => {
                        room.copy_from_slice(frame);
                        packet.set_flags(flags_on_arrival(flags));
                        self.counters.rx_bytes += frame.len() as u64;
                        into.push(packet);
                    }
                },
            }
            self.rx.release();
        }
        self.rx.commit();
        let received = into.len() - before;
        self.counters.rx_frames += received as u64;
        received
    }

    fn arm(&mut self) -> Armed<'_> {
        self.own_bell.arm();
        if self.rx.peek().is_some() {
            Armed::Ready
        } else {
            Armed::Fd(std::os::fd::AsFd::as_fd(&*self.own_bell))
        }
    }

    fn disarm(&mut self) {
        self.own_bell.disarm();
    }
}

impl TxQueue for Pipe {
    #[inline]
    fn tx_burst(&mut self, from: &mut TxBurst) -> usize {
        let mut taken = 0;
        let mut sent = 0;
        for packet in from.iter() {
            let frame = packet.data();
            if frame.len() > self.frame_max {
                self.counters.tx_dropped_too_long += 1;
            } else if self.tx.push(frame, packet.flags().bits()) {
                sent += 1;
                self.counters.tx_bytes += frame.len() as u64;
            } else if self.is_full_for_good() {
                self.counters.tx_dropped_no_link += 1;
            } else {
                break;
            }
            taken += 1;
        }
        if sent > 0 {
            self.tx.commit();
            self.peer_bell.ring();
            self.counters.tx_frames += sent;
        }
        from.drain(..taken);
        taken
    }
}

impl Port for Pipe {
    fn info(&self) -> &PortInfo {
        &self.info
    }

    fn counters(&self) -> PortCounters {
        self.counters
    }
}
