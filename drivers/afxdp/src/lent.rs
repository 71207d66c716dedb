//! Buffers that lie with the device: those to be filled, and those under way.

use freeway_mem::{Packet, PacketPool, SharedPacket};

/// Which buffers of a pool the device may write to.
///
/// Dropping it takes them back, which is sound when the device has let go of the pool before. A card that reads and
/// writes the pool itself lets go some time after its socket is closed: from such a one nothing is taken back, and the
/// pool's memory stays mapped.
pub(crate) struct Lent {
    pool: PacketPool,
    /// By buffer.
    is_lent: Box<[bool]>,
    count: u32,
    /// Nothing is taken back at the end.
    pub(crate) is_zero_copy: bool,
}

impl Lent {
    pub(crate) fn new(pool: &PacketPool) -> Self {
        let is_lent = vec![false; pool.capacity() as usize].into();
        Self { pool: pool.clone(), is_lent, count: 0, is_zero_copy: false }
    }

    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    pub(crate) const fn pool(&self) -> &PacketPool {
        &self.pool
    }

    /// Gives a buffer to the device. Returns its number. The packet must be of this pool.
    #[inline(always)]
    pub(crate) fn lend(&mut self, packet: Packet) -> u32 {
        let buffer = packet.into_raw();
        if let Some(is_lent) = self.is_lent.get_mut(buffer as usize) {
            *is_lent = true;
            self.count += 1;
        }
        buffer
    }

    /// A packet of the `len` bytes that the device has written `offset` bytes into a buffer that lay with it. `None`
    /// if it did not, or has not that many.
    #[inline(always)]
    pub(crate) fn take_back(&mut self, buffer: u32, offset: usize, len: usize) -> Option<Packet> {
        let is_lent = self.is_lent.get_mut(buffer as usize).filter(|is_lent| **is_lent)?;
        // SAFETY: needed to make an owner. `lend` gave the buffer up (the mark says so, and only a packet of this pool
        // is ever lent), and no packet was made of it since, for that takes the mark away. The device has returned
        // these bytes, or let go of the pool altogether.
        let packet = unsafe { self.pool.from_raw(buffer, offset, len) }?;
        *is_lent = false;
        self.count -= 1;
        Some(packet)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.is_zero_copy {
            return;
        }
        for buffer in 0..self.is_lent.len() as u32 {
            drop(self.take_back(buffer, 0, 0));
        }
    }
}

/// Packets that the device has been given to send, by the chunk of the pool that they begin in.
pub(crate) struct Held {
    first: Box<[Option<SharedPacket>]>,
    /// Packets of chunks that have one under way already: a retransmission that overtakes the first transmission.
    again: Vec<(usize, SharedPacket)>,
    count: u32,
}

impl Held {
    /// For a pool of so many chunks, and at most `limit` packets at once.
    pub(crate) fn new(chunks: usize, limit: u32) -> Self {
        let first = (0..chunks).map(|_| None).collect();
        Self { first, again: Vec::with_capacity(limit as usize), count: 0 }
    }

    /// Keeps `packet`, which begins in `chunk`. The caller stays within the limit.
    #[inline(always)]
    pub(crate) fn hold(&mut self, chunk: usize, packet: SharedPacket) {
        match self.first.get_mut(chunk) {
            Some(place @ None) => *place = Some(packet),
            _ => self.again.push((chunk, packet)),
        }
        self.count += 1;
    }

    /// Lets go of a packet that begins in `chunk`: which one does not matter, for all keep the same buffer.
    #[inline(always)]
    pub(crate) fn release(&mut self, chunk: usize) {
        let again = self.again.iter().position(|(other, _)| *other == chunk);
        let released = match again {
            Some(at) => Some(self.again.swap_remove(at).1),
            None => self.first.get_mut(chunk).and_then(Option::take),
        };
        self.count -= u32::from(released.is_some());
    }

    pub(crate) const fn count(&self) -> u32 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use freeway_mem::{Arena, ArenaLayout, PoolConfig};

    use super::*;

    fn pool() -> PacketPool {
        let config = PoolConfig { buffers: 4, ..PoolConfig::default() };
        let mut arena = Arena::heap(ArenaLayout::new().pool(&config).bytes()).unwrap();
        PacketPool::new(&mut arena, &config).unwrap()
    }

    #[test]
    fn only_what_was_lent_is_taken_back_and_only_once() {
        let pool = pool();
        let mut lent = Lent::new(&pool);
        let buffer = lent.lend(pool.alloc().unwrap());
        assert!(lent.take_back(buffer + 1, 0, 1).is_none());
        assert!(lent.take_back(99, 0, 1).is_none());
        assert!(lent.take_back(buffer, 2_000, 100).is_none(), "past the buffer's end");
        assert_eq!(lent.take_back(buffer, 256, 60).unwrap().len(), 60);
        assert!(lent.take_back(buffer, 256, 60).is_none());
        assert_eq!((lent.count(), pool.in_use()), (0, 0));
    }

    #[test]
    fn what_lies_with_the_device_comes_home_unless_the_card_may_still_write() {
        let pool = pool();
        let mut lent = Lent::new(&pool);
        lent.lend(pool.alloc().unwrap());
        lent.lend(pool.alloc().unwrap());
        drop(lent);
        assert_eq!(pool.in_use(), 0);
        let mut lent = Lent::new(&pool);
        lent.is_zero_copy = true;
        lent.lend(pool.alloc().unwrap());
        drop(lent);
        assert_eq!(pool.in_use(), 1);
    }

    #[test]
    fn a_packet_under_way_twice_is_held_twice() {
        let pool = pool();
        let mut held = Held::new(4, 4);
        let packet = pool.alloc().unwrap().share();
        held.hold(0, packet.try_clone().unwrap());
        held.hold(0, packet.try_clone().unwrap());
        assert_eq!(held.count(), 2);
        held.release(0);
        assert!(!packet.is_unique());
        held.release(0);
        assert!(packet.is_unique());
        held.release(0);
        held.release(9);
        assert_eq!(held.count(), 0);
    }
}
