//! A packet with any number of holders.

use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use super::inner::Inner;
use super::packet::Packet;
use super::parked::Parked;
use super::place::{PacketFlags, Place};

/// A buffer that several may hold, each with a view of its own on the data, none of them writing. The last one to
/// be dropped puts the buffer back into its pool.
pub struct SharedPacket {
    /// Alive while `self` is.
    pool: NonNull<Inner>,
    /// Valid for the pool; `self` is one of the buffer's counted holders.
    place: Place,
}

const _: () = assert!(size_of::<SharedPacket>() == 16);
const _: () = assert!(size_of::<Option<SharedPacket>>() == 16);

impl SharedPacket {
    /// # Safety
    ///
    /// `pool` is alive, `place` is valid for it, and the caller is a holder of its buffer and not the owner of a
    /// [`Packet`]; the result takes the caller's place.
    #[inline(always)]
    pub(super) unsafe fn from_parts(pool: NonNull<Inner>, place: Place) -> Self {
        Self { pool, place }
    }

    #[inline(always)]
    fn pool(&self) -> &Inner {
        // SAFETY: needed because a packet does not count as a handle of its pool. The pool waits for all packets.
        unsafe { self.pool.as_ref() }
    }

    #[inline(always)]
    pub(super) fn is_in(&self, pool: NonNull<Inner>) -> bool {
        self.pool == pool
    }

    /// The bytes.
    #[inline(always)]
    pub fn data(&self) -> &[u8] {
        // SAFETY: needed to reach the buffer. The place is valid, and nobody writes while `self` is a holder: a
        // `Packet` is made of the only holder, which would be `self`, and it is borrowed.
        unsafe { self.pool().data(self.place) }
    }

    /// The `count` bytes of the buffer right before the data: headroom, in which the packet's one owner may have left word
    /// for a port. `None` when there are fewer.
    #[inline(always)]
    pub fn before(&self, count: usize) -> Option<&[u8]> {
        let place = self.place.truncated(0).prepended(count)?;
        // SAFETY: needed to reach the buffer. The place begins in the headroom and ends where the data begins, so that it
        // is valid; nobody writes to the buffer while `self` is a holder, see `data`.
        Some(unsafe { self.pool().data(place) })
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

    /// Cuts `count` bytes off the front of this view, or all if there are fewer.
    #[inline(always)]
    pub const fn trim_front(&mut self, count: usize) {
        self.place = self.place.trimmed(count);
    }

    /// Keeps the first `len` bytes of this view, or all if there are fewer.
    #[inline(always)]
    pub const fn truncate(&mut self, len: usize) {
        self.place = self.place.truncated(len);
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

    /// Replaces what is known of the packet, for this view.
    #[inline(always)]
    pub const fn set_flags(&mut self, flags: PacketFlags) {
        self.place = self.place.with_flags(flags);
    }

    /// Another holder of the same bytes. `None` when there are 255 already.
    #[inline]
    pub fn try_clone(&self) -> Option<Self> {
        // SAFETY: needed to make a holder, which has just been counted; pool and place are those of `self`.
        self.pool().add_holder(self.place.index()).then(|| unsafe { Self::from_parts(self.pool, self.place) })
    }

    /// Whether nobody else holds the buffer.
    #[inline]
    pub fn is_unique(&self) -> bool {
        self.pool().is_unique(self.place.index())
    }

    /// Ownership of the buffer, with this view's data: what lies before it is headroom (again).
    ///
    /// # Errors
    ///
    /// Somebody else holds it too: here the view is back.
    #[inline]
    pub fn try_unique(self) -> Result<Packet, Self> {
        if !self.is_unique() {
            return Err(self);
        }
        let packet = ManuallyDrop::new(self);
        // SAFETY: needed to make an owner. `packet` was the only holder, and is not dropped.
        Ok(unsafe { Packet::from_parts(packet.pool, packet.place) })
    }

    /// The form in which a table of the arena holds a packet: without pointers.
    #[inline]
    pub fn park(self) -> Parked {
        let packet = ManuallyDrop::new(self);
        packet.pool().park(packet.place.index());
        Parked::new(packet.pool().id(), packet.place)
    }
}

impl Drop for SharedPacket {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: needed to give up a holder. `self` is one; the pool is alive, as this packet is.
        unsafe { Inner::drop_holder(self.pool, self.place.index()) };
    }
}

impl From<Packet> for SharedPacket {
    #[inline]
    fn from(packet: Packet) -> Self {
        packet.share()
    }
}

impl AsRef<[u8]> for SharedPacket {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.data()
    }
}

impl fmt::Debug for SharedPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.describe("SharedPacket", f)
    }
}
