//! Packets and the buffers they own.
//!
//! A pool cuts a section of the arena into equal buffers:
//!
//! ```text
//!    buffer 0            buffer 1            buffer 2
//!   ├───────────────────┼───────────────────┼──────────── …      each of `buffer_size` bytes, and a line between
//!                       │
//!   ┌───────────────────┴───────────────────────────────┐
//!   │ headroom    │ data                  │ tailroom    │
//!   └─────────────┴───────────────────────┴─────────────┘
//!   0             offset                  offset + len  buffer_size
//!       ◄─ prepend                append ─►
//!        trim_front ─►       ◄─ truncate
//! ```
//!
//! A handle on a packet takes 16 bytes and names its pool, its buffer, and the part of it that is data:
//!
//! ```text
//!   ┌──────────────────────────────┬──────────────────────────────────────────────────┐
//!   │ pool (64)                    │ buffer (23) │ flags (8) │ offset (17) │ len (16) │
//!   └──────────────────────────────┴──────────────────────────────────────────────────┘
//! ```
//!
//! Or, for a device that is another process, the buffers lie in a file of their own ([`PoolConfig::shared`]); free
//! list and counts stay in the arena, which nobody else sees.
//!
//! # Who may touch the bytes
//!
//! ```text
//!             share                 try_clone          ┌────────────┐
//!   Packet ──────────► SharedPacket ─────────► another │SharedPacket│
//!     ▲   ◄──────────    │      ▲                      └────────────┘
//!     │     try_unique   │ park │ unpark
//!   alloc                ▼      │
//!                        Parked ┘
//! ```
//!
//! - A buffer is either free (its index is on the free list, once), or it has one [`Packet`], or it has any number
//!   of [`SharedPacket`] and [`Parked`] and is counted. Only a [`Packet`] writes.
//! - The count is that of holders *besides the first*, so that a packet that is never shared never touches it: to
//!   allocate and to free is to move the free list's top.
//! - [`Parked`] is neither `Clone` nor `Copy`, has no public constructor, and carries its pool's number, which no
//!   other pool of the process ever gets: it stands for exactly one of the counted holders.
//!
//! # Buffers in a device's hands
//!
//! [`Packet::into_raw`] gives a buffer up by number, for a device to write to, and [`PacketPool::from_raw`] makes a
//! packet of what it wrote. Until then nobody in this process reaches the bytes, and the buffer counts as in use.
//! [`PacketPool::memory`] tells the device where buffers lie, and gives the file to one that is another process.
//!
//! # How long a pool lives
//!
//! [`PacketPool`] handles are counted; packets are not, for that would cost each allocation. When the last handle
//! goes, what is parked is given up (nobody can unpark it any more), and the pool waits for the packets still out:
//! the one that completes the free list takes the pool, and its share of the mapping, down.

mod inner;
mod packet;
mod parked;
mod place;
mod raw;
mod shared;

use core::fmt;
use core::ptr::NonNull;

use freeway_base::counters;

use crate::arch::CACHE_LINE;
use crate::arena::{Arena, ArenaError, SectionShape};
use inner::Inner;
pub use packet::Packet;
pub use parked::Parked;
use place::{INDEX_MAX, OFFSET_MAX, Place};
pub use place::{PacketFlags, TxChecksum};
pub use raw::{BufferFile, BufferMemory};
pub use shared::SharedPacket;

/// How large a pool is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolConfig {
    /// How many buffers, at least 1 and at most 2^23. Default 4,096: 8 MiB of buffers.
    pub buffers: u32,
    /// The size of each in bytes, a power of two between 64 and 131,072. Default 2,048. A packet's data is at most
    /// 65,535 bytes long.
    pub buffer_size: u32,
    /// Where a fresh packet's data begins, in bytes: room for headers to be put before it. Default 128.
    pub headroom: u16,
    /// Whether the buffers lie in a file of their own that another process may be given
    /// ([`BufferMemory::file`]), instead of in the arena, whose file nobody else may see. Default false. It
    /// costs one file descriptor, and one more mapping rounded up to whole pages.
    pub shared: bool,
    /// Whether buffers begin a cache line further apart than they are long. Default true. Side by side, at multiples
    /// of 2,048, the headers of all packets would share two sets of a first-level cache's 64, and of a burst of 32
    /// a part would be gone before it is looked at. Only devices that compute a buffer from an address want that
    /// (AF_XDP); a host sees to it.
    pub spread: bool,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self { buffers: 4_096, buffer_size: 2_048, headroom: 128, shared: false, spread: true }
    }
}

impl PoolConfig {
    const BUFFER_SIZE_MAX: u32 = OFFSET_MAX + 1;

    /// From the beginning of a buffer to that of the next, in bytes.
    pub const fn stride(&self) -> usize {
        self.buffer_size as usize + if self.spread { CACHE_LINE } else { 0 }
    }

    fn check(&self) -> Result<(), ArenaError> {
        let wrong = if self.buffers == 0 || self.buffers > INDEX_MAX + 1 {
            "buffers must be between 1 and 8388608"
        } else if !self.buffer_size.is_power_of_two()
            || !(64..=Self::BUFFER_SIZE_MAX).contains(&self.buffer_size)
        {
            "buffer_size must be a power of two between 64 and 131072"
        } else if u32::from(self.headroom) >= self.buffer_size {
            "headroom must be smaller than buffer_size"
        } else {
            return Ok(());
        };
        Err(ArenaError::BadPool(wrong))
    }

    /// What a pool carves, with the tags: free list, counts, buffers. Shared buffers leave their section empty.
    pub(crate) const fn sections(&self) -> [(&'static str, SectionShape); 3] {
        /// The first buffer begins on a small page, for devices that transfer by pages.
        const PAGE: usize = 4096;
        let count = self.buffers as usize;
        let in_arena = if self.shared { 0 } else { count };
        let buffers = SectionShape { element: self.stride(), count: in_arena, align: PAGE };
        [
            ("packet free list", SectionShape::of::<u32>(count)),
            ("packet holders", SectionShape::of::<inner::Holders>(count)),
            ("packet buffers", buffers),
        ]
    }
}

counters! {
    /// How a pool is doing.
    pub struct PoolStats {
        /// Buffers in all.
        capacity,
        /// Buffers free now.
        available,
        /// The fewest that were ever free.
        low_water,
        /// Allocations that found no free buffer.
        failures,
    }
}

/// A handle on a pool of packet buffers. Cloning makes another handle on the same pool.
pub struct PacketPool {
    /// Alive while `self` is: it counts as one handle.
    inner: NonNull<Inner>,
}

impl PacketPool {
    /// Carves a pool.
    ///
    /// # Errors
    ///
    /// [`ArenaError::BadPool`] if the sizes make no sense, [`ArenaError::Full`] if they do not fit.
    pub fn new(arena: &mut Arena, config: &PoolConfig) -> Result<Self, ArenaError> {
        config.check()?;
        Ok(Self { inner: Inner::carve(arena, config)? })
    }

    /// A packet without data, [`PoolConfig::headroom`] bytes into its buffer, whose bytes are whatever the last
    /// owner left there. `None`, and counted, when all buffers are taken.
    #[inline(always)]
    pub fn alloc(&self) -> Option<Packet> {
        let index = self.inner().take()?;
        let place = Place::new(index, self.inner().headroom());
        // SAFETY: needed to make an owner. The index was on the free list and is no longer: the buffer has no
        // other holder; the offset is within the buffer.
        Some(unsafe { Packet::from_parts(self.inner, place) })
    }

    /// A parked packet as a shared one again.
    ///
    /// # Errors
    ///
    /// It comes from another pool: here it is back.
    #[inline]
    pub fn unpark(&self, parked: Parked) -> Result<SharedPacket, Parked> {
        if parked.pool() != self.inner().id() {
            return Err(parked);
        }
        let place = parked.place();
        self.inner().unpark(place.index());
        // SAFETY: needed to make a holder. `parked` was one of those that the buffer's count numbers, in this pool,
        // and is gone; its place was valid when it was parked.
        Ok(unsafe { SharedPacket::from_parts(self.inner, place) })
    }

    /// The bytes of a parked packet, where they lie. `None` if it comes from another pool.
    #[inline]
    pub fn view<'a>(&'a self, parked: &'a Parked) -> Option<&'a [u8]> {
        if parked.pool() != self.inner().id() {
            return None;
        }
        // SAFETY: needed to read the buffer. `parked` holds it while it is borrowed, so that nobody becomes its
        // only owner, and `self` keeps the pool; the place was valid when it was parked.
        Some(unsafe { self.inner().data(parked.place()) })
    }

    /// Buffers in all.
    #[inline]
    pub fn capacity(&self) -> u32 {
        self.inner().capacity()
    }

    /// Buffers free now.
    #[inline]
    pub fn available(&self) -> u32 {
        self.inner().available()
    }

    /// Buffers held by packets, shared or parked ones included.
    #[inline]
    pub fn in_use(&self) -> u32 {
        self.capacity() - self.available()
    }

    /// The fewest buffers that were ever free.
    pub fn low_water(&self) -> u32 {
        self.inner().low_water()
    }

    /// All of a pool's figures.
    pub fn stats(&self) -> PoolStats {
        PoolStats {
            capacity: self.capacity().into(),
            available: self.available().into(),
            low_water: self.low_water().into(),
            failures: self.inner().failures(),
        }
    }

    /// Whether `packet` lies in this pool.
    #[inline(always)]
    pub fn owns(&self, packet: &SharedPacket) -> bool {
        packet.is_in(self.inner)
    }

    /// The size of a buffer in bytes.
    #[inline]
    pub fn buffer_size(&self) -> u32 {
        self.inner().buffer_size()
    }

    /// From the beginning of a buffer to that of the next, in bytes.
    #[inline]
    pub fn stride(&self) -> u32 {
        self.inner().stride()
    }

    /// Where a fresh packet's data begins, in bytes.
    #[inline]
    pub fn headroom(&self) -> u16 {
        self.inner().headroom()
    }

    #[inline(always)]
    fn inner(&self) -> &Inner {
        // SAFETY: needed because packets, which do not count as handles, point there too. `self` is a handle, so
        // the pool is alive; it is never borrowed for writing before it is taken down.
        unsafe { self.inner.as_ref() }
    }
}

impl Clone for PacketPool {
    fn clone(&self) -> Self {
        self.inner().add_handle();
        Self { inner: self.inner }
    }
}

impl Drop for PacketPool {
    fn drop(&mut self) {
        // SAFETY: needed because the last handle may take the pool down. `self` is a handle and is not used again.
        unsafe { Inner::drop_handle(self.inner) };
    }
}

impl fmt::Debug for PacketPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PacketPool").field(&self.stats()).finish()
    }
}

#[cfg(test)]
mod tests;
