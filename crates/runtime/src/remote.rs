//! How a core serves a device that has no queue for it.
//!
//! A device may have fewer queues than there are cores. What it receives for such a core arrives through the
//! mailboxes; what the core sends goes, by a ring of its own, to a core that owns a queue and sends it on:
//!
//! ```text
//!   core 1                                    core 0, the owner
//!   stack ──► RemotePort ══ ring of frames ══► Relay ──► Port
//!   stack ◄──────────────── mailbox ◄──────── steering ◄── Port
//! ```
//!
//! [`RemotePort`] is a port like any other: a full ring is back-pressure, and its frames stay with the sender.
//! The price is one copy of each frame sent.

use std::sync::Arc;

use freeway_mem::ring::{self, FrameConsumer, FrameProducer};
use freeway_mem::{Packet, PacketFlags, PacketPool, RxBurst, TxBurst};
use freeway_port::{Armed, Port, PortCounters, PortInfo, RxQueue, TxQueue};

use crate::bell::Bell;
use crate::mailbox::MailConfig;
use crate::stats::MailCounters;

/// The sender's end: the port of a core without a queue. It receives nothing by itself.
pub struct RemotePort {
    info: PortInfo,
    ring: FrameProducer,
    owner: Arc<Bell>,
    counters: PortCounters,
}

/// The owner's end, given to its [`Attachment`](crate::Attachment).
pub struct Relay {
    ring: FrameConsumer,
}

/// Both ends: `info` describes the device, `owner` wakes the core that owns a queue of it.
pub fn remote(info: PortInfo, config: &MailConfig, owner: Arc<Bell>) -> (RemotePort, Relay) {
    let (producer, consumer) = ring::frames(config.slots, config.slot_size);
    let counters = PortCounters::default();
    let port = RemotePort { info, ring: producer, owner, counters };
    (port, Relay { ring: consumer })
}

impl RxQueue for RemotePort {
    fn rx_burst(&mut self, _pool: &PacketPool, _into: &mut RxBurst) -> usize {
        0
    }

    fn arm(&mut self) -> Armed<'_> {
        Armed::Never
    }

    fn disarm(&mut self) {}
}

impl TxQueue for RemotePort {
    fn tx_burst(&mut self, from: &mut TxBurst) -> usize {
        let mut gone = 0;
        for packet in from.iter() {
            let frame = packet.data();
            if frame.len() > self.ring.slot_size() {
                self.counters.tx_dropped_too_long += 1;
            } else if self.ring.push(frame, packet.flags().of_copy().bits()) {
                self.counters.tx_frames += 1;
                self.counters.tx_bytes += frame.len() as u64;
            } else {
                break;
            }
            gone += 1;
        }
        if gone > 0 {
            from.drain(..gone);
            self.ring.commit();
            self.owner.ring();
        }
        gone
    }
}

impl Port for RemotePort {
    fn info(&self) -> &PortInfo {
        &self.info
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn counters(&self) -> PortCounters {
        self.counters
    }
}

impl Relay {
    /// Moves frames into `into` until it is full or nothing is left.
    #[inline]
    pub(crate) fn take(&mut self, pool: &PacketPool, into: &mut TxBurst, counters: &mut MailCounters) {
        while !into.is_full()
            && let Some((frame, flags)) = self.ring.peek()
        {
            match copy(pool, frame, PacketFlags::from_bits_truncate(flags)) {
                Some(packet) => {
                    into.push(packet.share());
                    counters.relayed += 1;
                }
                None => counters.relay_dropped_no_buffer += 1,
            }
            self.ring.release();
        }
    }

    pub(crate) fn has_frames(&mut self) -> bool {
        self.ring.peek().is_some()
    }
}

fn copy(pool: &PacketPool, frame: &[u8], flags: PacketFlags) -> Option<Packet> {
    let mut packet = pool.alloc()?;
    packet.set_flags(flags);
    packet.copy_from_slice(frame).then_some(packet)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{packet, pool, port_info};

    fn pair(slots: usize) -> (RemotePort, Relay) {
        remote(port_info(), &MailConfig { slots, slot_size: 64 }, Bell::new().unwrap())
    }

    #[test]
    fn frames_and_their_flags_reach_the_owner() {
        let pool = pool(16);
        let (mut port, mut relay) = pair(4);
        let mut frame = packet(&pool, b"frame");
        // What was asked for stands before the frame, and stays there.
        frame.set_flags(PacketFlags::CHECKSUM_NEEDED | PacketFlags::CHECKSUM_REQUESTED);
        let mut burst = TxBurst::from_iter([frame.share(), packet(&pool, b"other").share()]);
        assert_eq!((port.tx_burst(&mut burst), burst.len()), (2, 0));

        let mut counters = MailCounters::default();
        relay.take(&pool, &mut burst, &mut counters);
        let sent: Vec<_> = burst.iter().map(|packet| (packet.data().to_vec(), packet.flags())).collect();
        let none = PacketFlags::empty();
        assert_eq!(sent, [(b"frame".to_vec(), PacketFlags::CHECKSUM_NEEDED), (b"other".to_vec(), none)]);
        assert_eq!(counters.relayed, 2);
        assert!(!relay.has_frames());
    }

    #[test]
    fn a_full_ring_leaves_frames_with_the_sender() {
        let pool = pool(16);
        let (mut port, mut relay) = pair(4);
        let mut burst: TxBurst = (0..6u8).map(|n| packet(&pool, &[n]).share()).collect();
        assert_eq!((port.tx_burst(&mut burst), burst.len()), (4, 2));
        assert_eq!(port.tx_burst(&mut burst), 0);
        relay.take(&pool, &mut TxBurst::new(), &mut MailCounters::default());
        assert_eq!(port.tx_burst(&mut burst), 2);
        assert_eq!(port.counters().tx_frames, 6);
    }

    #[test]
    fn a_frame_longer_than_a_slot_is_dropped_and_counted() {
        let pool = pool(16);
        let (mut port, mut relay) = pair(4);
        let mut burst =
            TxBurst::from_iter([packet(&pool, &[0; 65]).share(), packet(&pool, b"frame").share()]);
        port.tx_burst(&mut burst);
        assert!(burst.is_empty());
        assert_eq!((port.counters().tx_frames, port.counters().tx_dropped_too_long), (1, 1));
        assert!(relay.has_frames());
    }
}
