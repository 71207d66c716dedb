//! One queue's share of a connection: two rings, their interrupts, and where the buffers are.
//!
//! A client lays its first region out like this; a queue that lends its pool has no buffers here:
//!
//! ```text
//!   │ rings to the server, by queue │ rings to the client │ pad │ buffers to the server, by queue │ … to the client │
//!                                                         └ 4 KiB
//! ```

use std::os::fd::OwnedFd;

use freeway_mem::arch::CACHE_LINE;

use crate::ring::{self, Ring};

/// A ring and the descriptor that wakes its receiver.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) ring: Ring,
    pub(crate) interrupt: OwnedFd,
}

/// Whose buffers the slots name, as seen by this end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Buffers {
    /// This end is the server: the client's, wherever the descriptors say.
    Peer,
    /// This end is the client: one for each slot in the first region, which frames are copied to and from.
    Own {
        /// Where those of the ring to the client begin.
        rx_at: u32,
        /// Where those of the ring to the server begin.
        tx_at: u32,
        /// The size of each, in bytes; it begins a [stride] behind the one before.
        size: u32,
    },
    /// This end is the client: the packet pool's.
    Lent {
        /// The region that the pool is.
        region: u16,
    },
}

/// From one buffer of a copying queue to the next, in bytes: a cache line more than its size, so that the headers of a
/// burst do not compete for two sets of a first-level cache.
pub(crate) const fn stride(size: u32) -> u32 {
    size + CACHE_LINE as u32
}

/// What a port needs to exchange frames. A peer with fewer queues may leave a direction out.
#[derive(Debug)]
pub(crate) struct QueueLink {
    pub(crate) rx: Option<Channel>,
    pub(crate) tx: Option<Channel>,
    pub(crate) buffers: Buffers,
}

/// Where everything is in a client's first region.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    queues: usize,
    log2_size: u8,
    buffer_size: u32,
    /// How many copying queues come before each.
    rank: Vec<Option<u32>>,
    copying: u32,
    buffers_at: u32,
    bytes: u32,
}

impl Layout {
    /// `None` if offsets of 32 bits do not reach its end.
    pub(crate) fn new(
        queues: usize,
        log2_size: u8,
        buffer_size: u32,
        copies: impl Fn(usize) -> bool,
    ) -> Option<Self> {
        const PAGE: u64 = 4_096;
        let mut copying = 0;
        let rank: Vec<_> = (0..queues)
            .map(|queue| {
                copies(queue).then(|| {
                    copying += 1;
                    copying - 1
                })
            })
            .collect();
        let rings = 2 * queues as u64 * ring::bytes(log2_size) as u64;
        let buffers_at = rings.next_multiple_of(PAGE);
        let buffers = 2 * u64::from(copying) * (u64::from(stride(buffer_size)) << log2_size);
        let bytes = u32::try_from(buffers_at + buffers).ok()?;
        let buffers_at = u32::try_from(buffers_at).ok()?;
        Some(Self { queues, log2_size, buffer_size, rank, copying, buffers_at, bytes })
    }

    /// The region's size.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// Where a ring lies.
    pub(crate) const fn ring_at(&self, to_server: bool, queue: usize) -> u32 {
        let number = if to_server { queue } else { self.queues + queue };
        (number * ring::bytes(self.log2_size)) as u32
    }

    /// Where the buffers of a copying queue are.
    pub(crate) fn buffers(&self, queue: usize) -> Option<Buffers> {
        let rank = (*self.rank.get(queue)?)?;
        let each = stride(self.buffer_size) << self.log2_size;
        let tx_at = self.buffers_at + rank * each;
        let rx_at = self.buffers_at + (self.copying + rank) * each;
        Some(Buffers::Own { rx_at, tx_at, size: self.buffer_size })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn nothing_overlaps() {
        let layout = Layout::new(3, 4, 256, |queue| queue != 1).unwrap();
        let ring = ring::bytes(4) as u32;
        let mut places = Vec::new();
        for queue in 0..3 {
            places.extend([true, false].map(|to_server| (layout.ring_at(to_server, queue), ring)));
            if let Some(Buffers::Own { rx_at, tx_at, size }) = layout.buffers(queue) {
                places.extend([(rx_at, stride(size) << 4), (tx_at, stride(size) << 4)]);
            }
        }
        assert_eq!(layout.buffers(1), None);
        assert_eq!(places.len(), 3 * 2 + 2 * 2);
        places.sort_unstable();
        for pair in places.windows(2) {
            assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{places:?}");
        }
        let (last, len) = places[places.len() - 1];
        assert_eq!((last + len) as usize, layout.bytes());
    }

    #[test]
    fn what_cannot_be_addressed_is_refused() {
        assert!(Layout::new(32, 10, 65_536, |_| true).is_none());
        assert!(Layout::new(32, 10, 65_536, |_| false).is_some());
    }
}
