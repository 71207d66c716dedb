//! A ring of frames: bytes are copied in at one end and read in place at the other.
//!
//! ```text
//!   descriptors  │ len, flags │ len, flags │ len, flags │ …      8 bytes each, eight to a cache line
//!   bytes        │ slot 0 …   │ slot 1 …   │ slot 2 …   │ …      `slot_size` in cache lines, an odd number
//! ```
//!
//! Packets belong to the pool of one core and never leave it; what goes to another core goes by copy. A frame of 64
//! bytes is one cache line, and its length shares a line with those of its neighbours.
//!
//! The writer's frames are seen after [`FrameProducer::commit`], once a burst. The reader gives slots back by
//! quarters of the ring, and all of them as soon as it finds nothing more to read.

use core::fmt;
use core::ptr::NonNull;
use core::slice;
use std::alloc::{self, Layout, handle_alloc_error};

use super::indices::{self, Reader, Storage, Writer};
use super::sync::UnsafeCell;

/// The longest frame a ring can be made for, in bytes.
pub const FRAME_MAX: usize = 1 << 20;

const LINE: usize = 64;

/// A ring of `slots` (rounded up to a power of two) frames of at most `slot_size` bytes each, which is at most
/// [`FRAME_MAX`].
///
/// # Panics
///
/// If that is more than memory can hold.
pub fn frames(slots: usize, slot_size: usize) -> (FrameProducer, FrameConsumer) {
    let slots = indices::capacity(slots);
    let slot_size = slot_size.min(FRAME_MAX);
    let (writer, reader) = indices::ends(Slots::new(slots, slot_size), slots);
    (FrameProducer { writer }, FrameConsumer { reader, lazy: (slots / 4).max(1) })
}

/// What a slot holds besides the bytes.
#[derive(Clone, Copy)]
struct Descriptor {
    /// At most the slots' size.
    len: u32,
    flags: u8,
}

struct Slots {
    descriptors: Box<[UnsafeCell<Descriptor>]>,
    /// As allocated, with `layout`: `stride` bytes for each descriptor.
    bytes: NonNull<u8>,
    layout: Layout,
    stride: usize,
    slot_size: usize,
}

// SAFETY: needed to share the slots between two threads: the pointer is theirs alone, and each slot is used by one
// end at a time, as the indices say, whose stores release and whose loads acquire.
unsafe impl Sync for Slots {}
// SAFETY: needed as above; the memory belongs to no thread.
unsafe impl Send for Slots {}

impl Slots {
    fn new(slots: usize, slot_size: usize) -> Self {
        // An odd number of lines, so that the first lines of all slots spread over all sets of a cache. At a power of
        // two, those of 2,048-byte slots would share one set in thirty-two.
        let stride = (slot_size.div_ceil(LINE) | 1) * LINE;
        let empty = Descriptor { len: 0, flags: 0 };
        let bytes = slots.saturating_mul(stride);
        let Ok(layout) = Layout::from_size_align(bytes, LINE) else { panic!("a ring of {bytes} bytes") };
        // SAFETY: needed for zeroed and aligned memory. The layout is not empty: there is a slot of a line at least.
        let Some(bytes) = NonNull::new(unsafe { alloc::alloc_zeroed(layout) }) else {
            handle_alloc_error(layout)
        };
        let descriptors = (0..slots).map(|_| UnsafeCell::new(empty)).collect();
        Self { descriptors, bytes, layout, stride, slot_size }
    }

    #[inline(always)]
    fn descriptor(&self, index: usize) -> &UnsafeCell<Descriptor> {
        // SAFETY: needed to save a check for each frame. The length is a power of two, so the mask keeps the index
        // below it.
        unsafe { self.descriptors.get_unchecked(index & (self.descriptors.len() - 1)) }
    }

    #[inline(always)]
    fn at(&self, index: usize) -> NonNull<u8> {
        let offset = (index & (self.descriptors.len() - 1)) * self.stride;
        // SAFETY: needed to address the slot: there is one of `stride` bytes for each descriptor.
        unsafe { self.bytes.add(offset) }
    }

    /// # Safety
    ///
    /// The slot is the writer's, which the caller is, and `frame` is at most `slot_size` long.
    #[inline(always)]
    unsafe fn fill(&self, index: usize, frame: &[u8], flags: u8) {
        // SAFETY: needed for the slot's length; what is asked of the caller is what was asked of ours.
        unsafe { self.describe(index, frame.len(), flags) };
        // SAFETY: needed to copy bytes into the slot, which is long enough, is the caller's, and is no part of
        // `frame`: only a reader's `frame` could be, and it belongs to another slot or another ring.
        unsafe { self.at(index).as_ptr().copy_from_nonoverlapping(frame.as_ptr(), frame.len()) };
    }

    /// # Safety
    ///
    /// The slot is the writer's, which the caller is, and both parts together are at most `slot_size` long.
    #[inline(always)]
    unsafe fn fill_parts(&self, index: usize, head: &[u8], body: &[u8], flags: u8) {
        // SAFETY: needed for the slot's length; what is asked of the caller is what was asked of ours.
        unsafe { self.describe(index, head.len() + body.len(), flags) };
        let slot = self.at(index).as_ptr();
        // SAFETY: needed as in `fill`, for the first part.
        unsafe { slot.copy_from_nonoverlapping(head.as_ptr(), head.len()) };
        // SAFETY: needed to address what follows the first part, which is within the slot or its end.
        let rest = unsafe { slot.add(head.len()) };
        // SAFETY: needed as in `fill`, for the second part: there is room for both.
        unsafe { rest.copy_from_nonoverlapping(body.as_ptr(), body.len()) };
    }

    /// # Safety
    ///
    /// The slot is the writer's, which the caller is, and `len` is at most `slot_size`.
    #[inline(always)]
    unsafe fn describe(&self, index: usize, len: usize, flags: u8) {
        self.descriptor(index).with_mut(|descriptor| {
            // SAFETY: needed to write through a shared reference; the slot is the caller's.
            unsafe { descriptor.write(Descriptor { len: len as u32, flags }) };
        });
    }

    /// # Safety
    ///
    /// The slot is filled and the reader's, which the caller is, for as long as the slice is used.
    #[inline(always)]
    unsafe fn frame<'a>(&self, index: usize) -> (&'a [u8], u8) {
        let Descriptor { len, flags } = self.descriptor(index).with(|descriptor| {
            // SAFETY: needed to read what the other end wrote; the slot is the caller's.
            unsafe { descriptor.read() }
        });
        // SAFETY: needed to read in place. So many bytes were copied there, and the slot is not written meanwhile.
        (unsafe { slice::from_raw_parts(self.at(index).as_ptr(), len as usize) }, flags)
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: needed to free what `new` allocated, with the same layout.
        unsafe { alloc::dealloc(self.bytes.as_ptr(), self.layout) };
    }
}

impl Storage for Slots {
    fn clear(&mut self, _head: usize, _tail: usize) {}
}

/// The end that sends frames. It may move to another thread.
pub struct FrameProducer {
    writer: Writer<Slots>,
}

impl FrameProducer {
    /// Copies a frame and its flags into the next slot; the other end sees it after [`FrameProducer::commit`]. False,
    /// and nothing done, when the ring is full or the frame is longer than [`FrameProducer::slot_size`].
    #[inline]
    pub fn push(&mut self, frame: &[u8], flags: u8) -> bool {
        if frame.len() > self.slot_size() || self.writer.room(1) == 0 {
            return false;
        }
        // SAFETY: needed to fill the slot at the tail, which with room in the ring is the writer's; the length is
        // checked.
        unsafe { self.writer.slots().fill(self.writer.tail(), frame, flags) };
        self.writer.advance();
        true
    }

    /// The same for a frame in two parts, such as what is said of it and what there is of it.
    #[inline]
    pub fn push_parts(&mut self, head: &[u8], body: &[u8], flags: u8) -> bool {
        if head.len() + body.len() > self.slot_size() || self.writer.room(1) == 0 {
            return false;
        }
        // SAFETY: needed to fill the slot at the tail, which with room in the ring is the writer's; the length is
        // checked.
        unsafe { self.writer.slots().fill_parts(self.writer.tail(), head, body, flags) };
        self.writer.advance();
        true
    }

    /// Lets the other end see everything pushed so far.
    #[inline]
    pub fn commit(&mut self) {
        self.writer.publish();
    }

    /// The longest frame, in bytes.
    #[inline]
    pub fn slot_size(&self) -> usize {
        self.writer.slots().slot_size
    }

    /// How many frames the ring holds at most.
    pub fn capacity(&self) -> usize {
        self.writer.capacity()
    }

    /// How many more frames can be pushed: at least that many, and exactly if there are none.
    #[inline]
    pub fn room(&mut self) -> usize {
        self.writer.room(1)
    }

    /// Frames in the ring, those not committed included; the other end may have read some meanwhile.
    pub fn len(&self) -> usize {
        self.writer.len()
    }

    /// Whether the ring is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the other end is gone.
    pub fn is_disconnected(&self) -> bool {
        self.writer.is_disconnected()
    }
}

/// The end that receives frames. It may move to another thread.
pub struct FrameConsumer {
    reader: Reader<Slots>,
    /// Slots that may be kept back before the other end is told.
    lazy: usize,
}

impl FrameConsumer {
    /// The oldest frame and its flags, where they lie. It stays the oldest until [`FrameConsumer::release`].
    #[inline]
    pub fn peek(&mut self) -> Option<(&[u8], u8)> {
        if self.reader.ready(1) == 0 {
            self.commit();
            return None;
        }
        // SAFETY: needed to read the slot at the head, which is ready. It stays ours until it is released, which
        // takes `self`, borrowed by the slice.
        Some(unsafe { self.reader.slots().frame(self.reader.head()) })
    }

    /// Lets go of the oldest frame. The other end gets its slot when a quarter of the ring has been released, when
    /// [`FrameConsumer::peek`] finds nothing, or by [`FrameConsumer::commit`]. Nothing happens if there is no frame.
    #[inline]
    pub fn release(&mut self) {
        if self.reader.ready(1) == 0 {
            return;
        }
        self.reader.advance();
        if self.reader.unpublished() >= self.lazy {
            self.reader.publish();
        }
    }

    /// Gives all released slots to the other end now.
    #[inline]
    pub fn commit(&mut self) {
        if self.reader.unpublished() > 0 {
            self.reader.publish();
        }
    }

    /// The longest frame, in bytes.
    pub fn slot_size(&self) -> usize {
        self.reader.slots().slot_size
    }

    /// Frames that wait, the one peeked at included.
    pub fn len(&self) -> usize {
        self.reader.len()
    }

    /// Whether none wait.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the other end is gone. What it committed before still waits: after a yes, a `peek` that finds
    /// nothing means that nothing will come.
    pub fn is_disconnected(&self) -> bool {
        self.reader.is_disconnected()
    }
}

impl fmt::Debug for FrameProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameProducer")
            .field("slot_size", &self.slot_size())
            .field("len", &self.len())
            .finish()
    }
}

impl fmt::Debug for FrameConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameConsumer")
            .field("slot_size", &self.slot_size())
            .field("len", &self.len())
            .finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
