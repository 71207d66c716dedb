//! Packets that wait for a neighbour's MAC address.
//!
//! All queues share one pool of nodes; a queue is two indices. At a queue's bound its oldest packet goes, since
//! the newest is the one most likely still wanted (RFC 1122, section 2.3.2.2; RFC 4861, section 7.2.2). At the
//! pool's bound the newest goes, so that one neighbour cannot empty the queues of the others.

use alloc::vec::Vec;

use freeway_mem::Packet;

const NONE: u16 = u16::MAX;

/// The packets that wait for one neighbour, oldest first.
#[derive(Debug)]
pub(crate) struct Queue {
    head: u16,
    tail: u16,
    len: u16,
}

impl Queue {
    pub(crate) const EMPTY: Self = Self { head: NONE, tail: NONE, len: 0 };
}

struct Node {
    packet: Option<Packet>,
    next: u16,
}

pub(crate) struct PendingPool {
    nodes: Vec<Node>,
    free: u16,
    per_queue: u16,
}

impl PendingPool {
    /// Room for `total` packets, of which one queue may hold `per_queue`.
    pub(crate) fn new(total: u16, per_queue: u16) -> Self {
        let total = total.min(NONE - 1);
        let nodes = (1..=total)
            .map(|next| Node { packet: None, next: if next == total { NONE } else { next } })
            .collect();
        Self { nodes, free: if total == 0 { NONE } else { 0 }, per_queue }
    }

    /// Whether another packet would displace one.
    pub(crate) const fn is_full(&self, queue: &Queue) -> bool {
        queue.len >= self.per_queue || self.free == NONE
    }

    /// Queues a packet; gives back the one that had to go, if one had to.
    pub(crate) fn push(&mut self, queue: &mut Queue, packet: Packet) -> Option<Packet> {
        let dropped = if queue.len >= self.per_queue { self.pop(queue) } else { None };
        let index = self.free;
        let Some(node) = self.nodes.get_mut(usize::from(index)) else { return Some(packet) };
        self.free = node.next;
        *node = Node { packet: Some(packet), next: NONE };
        match self.nodes.get_mut(usize::from(queue.tail)) {
            Some(tail) => tail.next = index,
            None => queue.head = index,
        }
        queue.tail = index;
        queue.len += 1;
        dropped
    }

    /// Takes the oldest packet of a queue.
    pub(crate) fn pop(&mut self, queue: &mut Queue) -> Option<Packet> {
        let index = queue.head;
        let node = self.nodes.get_mut(usize::from(index))?;
        let packet = node.packet.take();
        queue.head = node.next;
        node.next = self.free;
        self.free = index;
        queue.len -= 1;
        if queue.head == NONE {
            queue.tail = NONE;
        }
        packet
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::net::testing::pool;

    fn packet(pool: &freeway_mem::PacketPool, byte: u8) -> Packet {
        let mut packet = pool.alloc().unwrap();
        packet.append(1).unwrap()[0] = byte;
        packet
    }

    #[test]
    fn queues_are_first_in_first_out_and_separate() {
        let buffers = pool();
        let mut pool = PendingPool::new(8, 4);
        let (mut a, mut b) = (Queue::EMPTY, Queue::EMPTY);
        for byte in 0..3 {
            assert!(pool.push(&mut a, packet(&buffers, byte)).is_none());
            assert!(pool.push(&mut b, packet(&buffers, byte + 10)).is_none());
        }
        for byte in 0..3 {
            assert_eq!(pool.pop(&mut b).unwrap().data(), [byte + 10]);
            assert_eq!(pool.pop(&mut a).unwrap().data(), [byte]);
        }
        assert!(pool.pop(&mut a).is_none());
        assert_eq!(buffers.in_use(), 0);
    }

    #[test]
    fn the_oldest_goes_at_a_queues_bound_and_the_newest_at_the_pools() {
        let buffers = pool();
        let mut pool = PendingPool::new(3, 2);
        let (mut a, mut b) = (Queue::EMPTY, Queue::EMPTY);
        assert!(pool.push(&mut a, packet(&buffers, 0)).is_none());
        assert!(pool.push(&mut a, packet(&buffers, 1)).is_none());
        assert_eq!(pool.push(&mut a, packet(&buffers, 2)).unwrap().data(), [0]);
        assert!(pool.push(&mut b, packet(&buffers, 3)).is_none());
        assert_eq!(pool.push(&mut b, packet(&buffers, 4)).unwrap().data(), [4]);
        assert_eq!(pool.pop(&mut a).unwrap().data(), [1]);
        assert_eq!(pool.pop(&mut b).unwrap().data(), [3]);
        assert_eq!(pool.pop(&mut a).unwrap().data(), [2]);
    }

    #[test]
    fn a_pool_of_nothing_holds_nothing() {
        let buffers = pool();
        let mut pool = PendingPool::new(0, 4);
        assert!(pool.push(&mut Queue { ..Queue::EMPTY }, packet(&buffers, 0)).is_some());
    }
}
