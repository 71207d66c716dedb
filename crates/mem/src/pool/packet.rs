//! A packet with one owner.

use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use super::inner::Inner;
use super::place::{PacketFlags, Place};
use super::shared::SharedPacket;

/// A buffer and the part of it that is data, with one owner, who reads, writes and moves both edges. Dropping it
/// puts the buffer back into its pool.
///
/// ```
/// # use freeway_mem::{Arena, ArenaLayout, PacketPool, PoolConfig};
/// # let config = PoolConfig { buffers: 4, ..PoolConfig::default() };
/// # let mut arena = Arena::heap(ArenaLayout::new().pool(&config).bytes())?;
/// let pool = PacketPool::new(&mut arena, &config)?;
/// let mut packet = pool.alloc().expect("four are free");
/// packet.append(7).expect("there is room").copy_from_slice(b"payload");
/// packet.prepend(7).expect("there is headroom").copy_from_slice(b"header ");
/// assert_eq!(packet.data(), b"header payload");
/// # Ok::<(), freeway_mem::ArenaError>(())
/// ```
pub struct Packet {
    /// Alive while `self` is.
    pool: NonNull<Inner>,
    /// Valid for the pool; the buffer has no other holder.
    place: Place,
}

const _: () = assert!(size_of::<Packet>() == 16);
const _: () = assert!(size_of::<Option<Packet>>() == 16);

impl Packet {
    /// # Safety
    ///
    /// `pool` is alive, `place` is valid for it, and the caller is the only holder of its buffer, as which the
    /// packet takes its place.
    #[inline(always)]
    pub(super) unsafe fn from_parts(pool: NonNull<Inner>, place: Place) -> Self {
        Self { pool, place }
    }

    #[inline(always)]
    fn pool(&self) -> &Inner {
        // SAFETY: needed because a packet does not count as a handle of its pool. The pool waits for all packets.
        unsafe { self.pool.as_ref() }
    }

    /// The bytes.
    #[inline(always)]
    pub fn data(&self) -> &[u8] {
        // SAFETY: needed to reach the buffer. The place is valid, and who would write must borrow `self` for it.
        unsafe { self.pool().data(self.place) }
    }

    /// The bytes, to be changed.
    #[inline(always)]
    pub fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: needed to reach the buffer. The place is valid, and `self`, which is borrowed, its only holder.
        unsafe { self.pool().data_mut(self.place) }
    }

    /// How many bytes.
    #[inline(always)]
    pub const fn len(&self) -> usize {
        self.place.len()
    }

    /// Whether there are none.
    #[inline(always)]
    pub const fn is_empty(&self) -> bool {
        self.place.len() == 0
    }

    /// How many bytes of the buffer lie before the data.
    #[inline(always)]
    pub const fn headroom(&self) -> usize {
        self.place.offset()
    }

    /// The `count` bytes of the buffer right before the data, which stay headroom; they hold whatever was there. `None`
    /// when there are fewer.
    #[inline(always)]
    pub fn headroom_mut(&mut self, count: usize) -> Option<&mut [u8]> {
        let place = self.place.truncated(0).prepended(count)?;
        // SAFETY: needed to reach the buffer. The place begins in the headroom and ends where the data begins, so that it
        // is valid, and `self`, which is borrowed, is the buffer's only holder.
        Some(unsafe { self.pool().data_mut(place) })
    }

    /// How many bytes of the buffer lie behind the data.
    #[inline(always)]
    pub fn tailroom(&self) -> usize {
        self.pool().reach() - self.place.end()
    }

    /// Puts `count` bytes before the data and returns them; they hold whatever was there. `None`, and no change,
    /// when the headroom is smaller.
    #[inline(always)]
    pub fn prepend(&mut self, count: usize) -> Option<&mut [u8]> {
        self.place = self.place.prepended(count)?;
        self.data_mut().get_mut(..count)
    }

    /// Puts `count` bytes behind the data and returns them; they hold whatever was there. `None`, and no change,
    /// when the tailroom is smaller, or there would be more than 65,535 bytes.
    #[inline(always)]
    pub fn append(&mut self, count: usize) -> Option<&mut [u8]> {
        let len = self.len();
        self.place = self.place.appended(count, self.pool().reach())?;
        self.data_mut().get_mut(len..)
    }

    /// Cuts `count` bytes off the front, or all if there are fewer. They become headroom.
    #[inline(always)]
    pub const fn trim_front(&mut self, count: usize) {
        self.place = self.place.trimmed(count);
    }

    /// Keeps the first `len` bytes, or all if there are fewer.
    #[inline(always)]
    pub const fn truncate(&mut self, len: usize) {
        self.place = self.place.truncated(len);
    }

    /// As it was when allocated: no data, no flags, the pool's headroom.
    #[inline]
    pub fn reset(&mut self) {
        self.place = Place::new(self.place.index(), self.pool().headroom());
    }

    /// Makes `bytes` the data, at the pool's headroom. False, and no change, when they do not fit.
    #[inline]
    pub fn copy_from_slice(&mut self, bytes: &[u8]) -> bool {
        let empty = Place::new(self.place.index(), self.pool().headroom()).with_flags(self.flags());
        let Some(place) = empty.appended(bytes.len(), self.pool().reach()) else { return false };
        self.place = place;
        self.data_mut().copy_from_slice(bytes);
        true
    }

    /// The number of its buffer in the pool: what a device's descriptor rings call it by.
    #[inline(always)]
    pub const fn buffer(&self) -> u32 {
        self.place.index()
    }

    /// Where its data begins, in bytes behind the pool's first buffer: what a process that shares the pool's buffers
    /// calls it by.
    #[inline(always)]
    pub fn region_offset(&self) -> usize {
        self.pool().region_offset(self.place)
    }

    /// What is known of the packet.
    #[inline(always)]
    pub const fn flags(&self) -> PacketFlags {
        self.place.flags()
    }

    /// Replaces what is known of the packet.
    #[inline(always)]
    pub const fn set_flags(&mut self, flags: PacketFlags) {
        self.place = self.place.with_flags(flags);
    }

    /// Gives up writing, for being held more than once.
    #[inline(always)]
    pub fn share(self) -> SharedPacket {
        let packet = ManuallyDrop::new(self);
        // SAFETY: needed to make a holder. The packet was the only one, and is not dropped.
        unsafe { SharedPacket::from_parts(packet.pool, packet.place) }
    }
}

impl Drop for Packet {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: needed to free the buffer. `self` was its only holder; the pool is alive, as this packet is.
        unsafe { Inner::put(self.pool, self.place.index()) };
    }
}

impl AsRef<[u8]> for Packet {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.data()
    }
}

impl AsMut<[u8]> for Packet {
    #[inline]
    fn as_mut(&mut self) -> &mut [u8] {
        self.data_mut()
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.describe("Packet", f)
    }
}
