//! Buffers that a device writes to: their memory, and packets given up and made again by number.

use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use std::os::fd::BorrowedFd;

use super::PacketPool;
use super::packet::Packet;
use super::place::{LEN_MAX, OFFSET_MAX, Place};

/// Where a pool's buffers lie: buffer `n` begins `n` [strides](PacketPool::stride) from the base.
#[derive(Clone, Copy, Debug)]
pub struct BufferMemory<'a> {
    /// The first byte of buffer 0, on a 4 KiB page. It is there as long as the pool is.
    pub base: NonNull<u8>,
    /// The length of all buffers together, in bytes.
    pub bytes: usize,
    file: Option<BufferFile<'a>>,
}

/// The memory file of a pool's buffers, as another process maps it. It holds nothing else: buffer 0 begins at its first
/// byte, and a packet's data lies at [`Packet::region_offset`]. Its size is sealed.
#[derive(Clone, Copy, Debug)]
pub struct BufferFile<'a> {
    /// The file.
    pub file: BorrowedFd<'a>,
    /// Its size in bytes: whole pages.
    pub bytes: usize,
}

impl<'a> BufferMemory<'a> {
    /// Whether there is a file of the buffers alone ([`PoolConfig::shared`](super::PoolConfig::shared)).
    pub const fn is_shared(&self) -> bool {
        self.file.is_some()
    }

    /// The file of the buffers, to be given to another process. `None` unless
    /// [`PoolConfig::shared`](super::PoolConfig::shared).
    ///
    /// # Safety
    ///
    /// Whoever has the file can read and write every packet at any time, also while this process looks at it. Only
    /// a process that is trusted like a card with access to memory may have it: one that writes to no buffer but
    /// those it was given, and to those only until it gives them back.
    pub const unsafe fn file(&self) -> Option<BufferFile<'a>> {
        self.file
    }
}

impl Packet {
    /// Gives the packet up and returns its buffer's number, for a device to write to. The buffer stays in use until
    /// [`PacketPool::from_raw`] makes a packet of it again.
    #[inline(always)]
    pub fn into_raw(self) -> u32 {
        ManuallyDrop::new(self).buffer()
    }
}

impl PacketPool {
    /// Whether this is a handle on the same pool.
    #[inline(always)]
    pub fn is_same(&self, other: &Self) -> bool {
        self.inner == other.inner
    }

    /// Where the buffers lie.
    #[inline]
    pub fn memory(&self) -> BufferMemory<'_> {
        let bytes = self.capacity() as usize * self.stride() as usize;
        let file = self.inner().buffer_file().map(|(file, bytes)| BufferFile { file, bytes });
        BufferMemory { base: self.inner().buffers(), bytes, file }
    }

    /// A packet of what a device wrote: `len` bytes that begin `offset` bytes into `buffer`. `None` if they do not lie
    /// within a buffer of this pool; then the buffer stays given up.
    ///
    /// # Safety
    ///
    /// [`Packet::into_raw`] of a packet of this pool returned `buffer`, and no packet has been made of it since. As
    /// long as the packet lives, the device does not write to these bytes.
    #[inline(always)]
    pub unsafe fn from_raw(&self, buffer: u32, offset: usize, len: usize) -> Option<Packet> {
        let inner = self.inner();
        let fits = buffer < inner.capacity()
            && offset <= OFFSET_MAX as usize
            && len <= LEN_MAX
            && offset + len <= inner.reach();
        // SAFETY: needed to make an owner. The buffer was one packet's and is nobody's now (the caller's promise), and
        // the bytes lie within it.
        fits.then(|| unsafe { Packet::from_parts(self.inner, Place::spanning(buffer, offset, len)) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{Arena, ArenaLayout, PoolConfig};

    fn pool() -> PacketPool {
        let config = PoolConfig { buffers: 4, ..PoolConfig::default() };
        let mut arena = Arena::heap(ArenaLayout::new().pool(&config).bytes()).unwrap();
        PacketPool::new(&mut arena, &config).unwrap()
    }

    #[test]
    fn a_packet_comes_back_with_what_was_written() {
        let pool = pool();
        let mut packet = pool.alloc().unwrap();
        packet.append(100).unwrap().fill(7);
        let buffer = packet.into_raw();
        assert_eq!(pool.in_use(), 1);
        // SAFETY: given up just now; no device writes.
        let packet = unsafe { pool.from_raw(buffer, 130, 20) }.unwrap();
        assert_eq!((packet.data(), packet.headroom()), (&[7; 20][..], 130));
        drop(packet);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn what_lies_outside_a_buffer_is_refused() {
        let pool = pool();
        let buffer = pool.alloc().unwrap().into_raw();
        for (buffer, offset, len) in
            [(4, 0, 1), (buffer, 2_048, 1), (buffer, 0, 2_049), (buffer, usize::MAX, 1)]
        {
            // SAFETY: given up, or no buffer at all; no device writes.
            assert!(unsafe { pool.from_raw(buffer, offset, len) }.is_none(), "{buffer} {offset} {len}");
        }
        // SAFETY: as above.
        assert_eq!(unsafe { pool.from_raw(buffer, 0, 2_048) }.unwrap().len(), 2_048);
    }

    #[test]
    fn a_pool_knows_its_packets_and_where_they_lie() {
        let (pool, other) = (pool(), pool());
        let (_first, mut second) = (pool.alloc().unwrap(), pool.alloc().unwrap());
        second.append(10).unwrap();
        let second = second.share();
        assert!(pool.is_same(&pool.clone()) && !pool.is_same(&other));
        assert!(pool.owns(&second) && !other.owns(&second));
        assert_eq!(second.region_offset(), 2_048 + 64 + 128);
        let memory = pool.memory();
        assert_eq!(memory.bytes, 4 * (2_048 + 64));
        assert_eq!(second.data().as_ptr().addr() - memory.base.as_ptr().addr(), second.region_offset());
    }
}
