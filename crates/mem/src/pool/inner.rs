//! What all handles and packets of a pool share.
//!
//! ```text
//!   Inner  0 │ buffers │ free │ holders │ free_len │ home │ low_water │ stride │ id │ capacity │ reach │ headroom │ …
//!         64 │ handles │ mapping
//!
//!   arena: free list         │ 7 │ 3 │ 0 │ … │   │   │      u32 each; `free_len` are free, the last goes first
//!   arena: holders           │ others │ parked │ …          a byte each, in one word per buffer
//!   arena: buffers
//! ```

use core::cell::Cell;
use core::num::NonZeroU32;
use core::ptr::NonNull;
use core::slice;
use core::sync::atomic::{AtomicU32, Ordering};
use std::os::fd::BorrowedFd;

use super::PoolConfig;
use super::place::{OFFSET_MAX, Place};
use crate::arena::{Arena, ArenaError, Mapping, SharedMapping};

/// No free list is that long: the value of `home` while handles exist.
const NEVER: u32 = u32::MAX;

/// A buffer's holders beyond the one that every used buffer has.
///
/// Two counts in one word, always read and written as one: they change several times on a packet's way, and a processor
/// that reads back a word of which only a part was written last waits for that part.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct Holders(u16);

impl Holders {
    /// So that all holders could be parked and their count not overflow.
    const OTHERS_MAX: u8 = u8::MAX - 1;
    const ONE_OTHER: u16 = 1;
    const ONE_PARKED: u16 = 1 << 8;

    /// How many hold it besides the first. At most [`Holders::OTHERS_MAX`].
    #[inline(always)]
    const fn others(self) -> u8 {
        self.0 as u8
    }

    /// How many of all its holders are parked: at most one more than the others.
    #[inline(always)]
    const fn parked(self) -> u8 {
        (self.0 >> 8) as u8
    }
}

/// The pool. Cells, because all handles and packets of one thread share it.
#[repr(C, align(64))]
pub(super) struct Inner {
    /// `capacity * stride` bytes.
    buffers: NonNull<u8>,
    /// `capacity` indices, of which the first `free_len` are meaningful, all different.
    free: NonNull<u32>,
    /// `capacity` counts.
    holders: NonNull<Holders>,
    free_len: Cell<u32>,
    /// The length of the free list at which the pool is taken down: [`NEVER`] while handles exist, then `capacity`.
    home: Cell<u32>,
    low_water: Cell<u32>,
    /// From a buffer to the next, in bytes.
    stride: u32,
    id: NonZeroU32,
    capacity: u32,
    /// Where a packet's data must end at the latest.
    reach: u32,
    headroom: u16,
    failures: Cell<u64>,
    handles: Cell<usize>,
    buffer_size: u32,
    /// The buffers' memory, if it is not the arena's.
    own: Option<Mapping>,
    /// Keeps the memory that the pointers lead to.
    mapping: SharedMapping,
}

// What the data path reads and writes is on one cache line.
const _: () = assert!(core::mem::offset_of!(Inner, failures) < 64);

impl Inner {
    /// Carves the sections of a pool that has been checked; one handle exists, the caller's.
    pub(super) fn carve(arena: &mut Arena, config: &PoolConfig) -> Result<NonNull<Self>, ArenaError> {
        let id = next_id().ok_or(ArenaError::BadPool("this process has made 2^32 pools"))?;
        let [free, holders, buffers] = config.sections();
        let free = arena.carve(free.0, free.1)?.cast::<u32>();
        let holders = arena.carve(holders.0, holders.1)?.cast::<Holders>();
        let in_arena = arena.carve(buffers.0, buffers.1)?;
        let bytes = config.buffers as usize * config.stride();
        let own = if config.shared { Some(Mapping::sealed(bytes, "freeway packets")?) } else { None };
        let buffers = own.as_ref().map_or(in_arena, Mapping::base);
        for depth in 0..config.buffers {
            // SAFETY: needed to address the list, which was carved for `buffers` entries.
            let entry = unsafe { free.add(depth as usize) };
            // The lowest index is on top.
            // SAFETY: needed to fill a section, which is aligned and nobody else's.
            unsafe { entry.write(config.buffers - 1 - depth) };
        }
        let inner = Self {
            buffers,
            free,
            // Carved memory is zero, and so are counts of nothing.
            holders,
            free_len: Cell::new(config.buffers),
            home: Cell::new(NEVER),
            low_water: Cell::new(config.buffers),
            stride: config.stride() as u32,
            id,
            capacity: config.buffers,
            reach: config.buffer_size.min(OFFSET_MAX),
            headroom: config.headroom,
            failures: Cell::new(0),
            handles: Cell::new(1),
            buffer_size: config.buffer_size,
            own,
            mapping: arena.mapping().clone(),
        };
        Ok(NonNull::from(Box::leak(Box::new(inner))))
    }

    /// Takes an index off the free list.
    #[inline(always)]
    pub(super) fn take(&self) -> Option<u32> {
        let Some(len) = self.free_len.get().checked_sub(1) else {
            self.failed();
            return None;
        };
        self.free_len.set(len);
        if len < self.low_water.get() {
            self.low_water.set(len);
        }
        // SAFETY: needed to address the list's top; `free_len` is at most `capacity`, as each index is there once.
        let top = unsafe { self.free.add(len as usize) };
        // SAFETY: needed to read the arena; entries below `free_len` are meaningful.
        Some(unsafe { top.read() })
    }

    #[cold]
    fn failed(&self) {
        self.failures.set(self.failures.get() + 1);
    }

    /// Puts an index back on the free list, and takes the pool down if it is the last one an orphaned pool waits for.
    ///
    /// # Safety
    ///
    /// The pool is alive, the buffer has no holder any more, and its index is not on the list.
    #[inline(always)]
    pub(super) unsafe fn put(inner: NonNull<Self>, index: u32) {
        // SAFETY: needed to reach the pool, which the caller says is alive.
        let this = unsafe { inner.as_ref() };
        let len = this.free_len.get();
        // SAFETY: needed to address the place above the list's top: there is one, as this index is not on it.
        let top = unsafe { this.free.add(len as usize) };
        // SAFETY: needed to write to the arena, in a section that only the pool reaches.
        unsafe { top.write(index) };
        this.free_len.set(len + 1);
        if len + 1 == this.home.get() {
            // SAFETY: needed to free it. No handle exists, and with all buffers free no packet does.
            unsafe { Self::take_down(inner) };
        }
    }

    /// # Safety
    ///
    /// Neither a handle nor a packet exists.
    #[cold]
    unsafe fn take_down(inner: NonNull<Self>) {
        // SAFETY: needed to free what `carve` leaked; by the contract nobody can reach it any more.
        drop(unsafe { Box::from_raw(inner.as_ptr()) });
    }

    pub(super) fn add_handle(&self) {
        // As with `Rc`: so many handles can only have been forgotten, and a count that wrapped would be unsound.
        let Some(handles) = self.handles.get().checked_add(1) else { std::process::abort() };
        self.handles.set(handles);
    }

    /// One handle less. With the last one the pool becomes an orphan: it gives up what is parked, and lives until
    /// its packets are home.
    ///
    /// # Safety
    ///
    /// The caller owns a handle, and does not use it any more.
    pub(super) unsafe fn drop_handle(inner: NonNull<Self>) {
        // SAFETY: needed to reach the pool, which lives while there is a handle.
        let this = unsafe { inner.as_ref() };
        let handles = this.handles.get() - 1;
        this.handles.set(handles);
        if handles > 0 {
            return;
        }
        // SAFETY: needed as nobody can unpark any more. The pool is alive, and this was the last handle.
        unsafe { Self::give_up_parked(inner) };
        if this.free_len.get() == this.capacity {
            // SAFETY: needed to free it. This was the last handle, and with all buffers free there is no packet.
            unsafe { Self::take_down(inner) };
        } else {
            this.home.set(this.capacity);
        }
    }

    /// Takes the parked holders out of the counts, and frees what nobody else holds. It leaves the pool standing:
    /// `home` is not set yet.
    ///
    /// # Safety
    ///
    /// The pool is alive and its last handle is gone.
    unsafe fn give_up_parked(inner: NonNull<Self>) {
        // SAFETY: needed to reach the pool, which the caller says is alive.
        let this = unsafe { inner.as_ref() };
        for index in 0..this.capacity {
            let (others, parked) = (this.holders(index).others(), this.holders(index).parked());
            if parked == 0 {
                continue;
            }
            if parked <= others {
                this.set_holders(index, Holders(u16::from(others - parked)));
            } else {
                this.set_holders(index, Holders::default());
                // SAFETY: needed to free the buffer. All its holders were parked, none of which can be unparked
                // without a handle; what is held is not on the free list.
                unsafe { Self::put(inner, index) };
            }
        }
    }

    /// One holder more. False if they cannot be counted.
    #[inline]
    pub(super) fn add_holder(&self, index: u32) -> bool {
        let holders = self.holders(index);
        let counted = holders.others() < Holders::OTHERS_MAX;
        if counted {
            self.set_holders(index, Holders(holders.0 + Holders::ONE_OTHER));
        }
        counted
    }

    /// One holder less; the last frees the buffer.
    ///
    /// # Safety
    ///
    /// The pool is alive, and the caller is one of the buffer's holders and does not use it any more.
    #[inline]
    pub(super) unsafe fn drop_holder(inner: NonNull<Self>, index: u32) {
        // SAFETY: needed to reach the pool, which the caller says is alive.
        let this = unsafe { inner.as_ref() };
        let holders = this.holders(index);
        if holders.others() == 0 {
            // SAFETY: needed to free the buffer, whose only holder the caller was.
            unsafe { Self::put(inner, index) };
        } else {
            this.set_holders(index, Holders(holders.0 - Holders::ONE_OTHER));
        }
    }

    /// Whether the buffer has one holder only.
    #[inline]
    pub(super) fn is_unique(&self, index: u32) -> bool {
        self.holders(index).others() == 0
    }

    /// One of the holders is parked from now on.
    #[inline]
    pub(super) fn park(&self, index: u32) {
        let holders = self.holders(index);
        debug_assert!(holders.parked() <= holders.others(), "somebody parks who is no holder");
        self.set_holders(index, Holders(holders.0 + Holders::ONE_PARKED));
    }

    /// One of the parked holders is no longer.
    #[inline]
    pub(super) fn unpark(&self, index: u32) {
        let holders = self.holders(index);
        debug_assert!(holders.parked() > 0, "somebody unparks who was not parked");
        self.set_holders(index, Holders(holders.0 - Holders::ONE_PARKED));
    }

    /// A packet's bytes.
    ///
    /// # Safety
    ///
    /// `place` is valid for this pool, and for as long as the slice is used its buffer is held and not written.
    #[inline(always)]
    pub(super) unsafe fn data<'a>(&self, place: Place) -> &'a [u8] {
        // SAFETY: needed to address the buffer; the place is valid.
        let first = unsafe { self.at(place) };
        // SAFETY: needed to see part of a buffer as a slice. It is within the buffer (a valid place), initialised
        // (carved memory is), and by the contract unchanging.
        unsafe { slice::from_raw_parts(first.as_ptr(), place.len()) }
    }

    /// A packet's bytes, for writing.
    ///
    /// # Safety
    ///
    /// `place` is valid for this pool, and for as long as the slice is used its buffer has one holder, whose only
    /// way to the bytes this is.
    #[inline(always)]
    pub(super) unsafe fn data_mut<'a>(&self, place: Place) -> &'a mut [u8] {
        // SAFETY: needed to address the buffer; the place is valid.
        let first = unsafe { self.at(place) };
        // SAFETY: needed to see part of a buffer as a slice; as in `data`, and by the contract it is the only one.
        unsafe { slice::from_raw_parts_mut(first.as_ptr(), place.len()) }
    }

    /// The first byte of a valid place.
    ///
    /// # Safety
    ///
    /// `place` is valid for this pool.
    #[inline(always)]
    unsafe fn at(&self, place: Place) -> NonNull<u8> {
        let offset = self.region_offset(place);
        // SAFETY: needed to address the arena. The buffer is one of the pool's and the offset is inside it, or at
        // its end when there are no data.
        unsafe { self.buffers.add(offset) }
    }

    #[inline(always)]
    fn holders(&self, index: u32) -> Holders {
        // SAFETY: needed to address the counts: indices come from the free list, which holds those below `capacity`.
        let at = unsafe { self.holders.add(index as usize) };
        // SAFETY: needed to read the arena, in a section that only the pool reaches; it was carved as zeros.
        unsafe { at.read() }
    }

    #[inline(always)]
    fn set_holders(&self, index: u32, holders: Holders) {
        // SAFETY: as in `holders`.
        let at = unsafe { self.holders.add(index as usize) };
        // SAFETY: as in `holders`; the pool stays with one thread.
        unsafe { at.write(holders) };
    }

    #[inline(always)]
    pub(super) const fn id(&self) -> NonZeroU32 {
        self.id
    }

    #[inline(always)]
    pub(super) const fn headroom(&self) -> u16 {
        self.headroom
    }

    /// Where a packet's data must end at the latest: a buffer's end, as far as an offset can name it.
    #[inline(always)]
    pub(super) const fn reach(&self) -> usize {
        self.reach as usize
    }

    pub(super) const fn buffer_size(&self) -> u32 {
        self.buffer_size
    }

    pub(super) const fn stride(&self) -> u32 {
        self.stride
    }

    pub(super) const fn capacity(&self) -> u32 {
        self.capacity
    }

    #[inline(always)]
    pub(super) const fn available(&self) -> u32 {
        self.free_len.get()
    }

    pub(super) const fn low_water(&self) -> u32 {
        self.low_water.get()
    }

    /// The file of buffers that do not lie in the arena, and its size in bytes.
    pub(super) fn buffer_file(&self) -> Option<(BorrowedFd<'_>, usize)> {
        let own = self.own.as_ref()?;
        Some((own.file()?, own.bytes()))
    }

    /// Where a place's data begins, in bytes behind the first buffer.
    #[inline(always)]
    pub(super) const fn region_offset(&self, place: Place) -> usize {
        place.index() as usize * self.stride as usize + place.offset()
    }

    /// The first byte of the first buffer.
    pub(super) const fn buffers(&self) -> NonNull<u8> {
        self.buffers
    }

    #[cfg(test)]
    pub(super) const fn mapping(&self) -> &SharedMapping {
        &self.mapping
    }

    pub(super) const fn failures(&self) -> u64 {
        self.failures.get()
    }
}

/// A number that no other pool of this process has, had or will have.
fn next_id() -> Option<NonZeroU32> {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let id = NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| match next {
        0 => None,
        next => Some(next.wrapping_add(1)),
    });
    NonZeroU32::new(id.ok()?)
}
