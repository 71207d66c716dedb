//! A descriptor ring in shared memory.
//!
//! ```text
//!   0        4       6      8            64     66           128
//!   │ cookie │ flags │ head │            │ tail │            │ descriptor 0 │ descriptor 1 │ …     16 bytes each
//!   └──── the client's cache line ───────┴─ the server's ────┴─
//!
//!   a descriptor:   0       2        4        8        12
//!                   │ flags │ region │ length │ offset │ metadata │
//! ```
//!
//! The client writes `head`, the server `tail`; both count slots and wrap at 2^16. `flags` belongs to whoever receives:
//! bit 0 says that it polls and wants no interrupts.
//!
//! ```text
//!   client to server:   the client fills slots behind head and moves head;
//!                       the server takes them, and gives them back by moving tail
//!   server to client:   the client lends empty buffers behind head and moves head;
//!                       the server fills them, and moves tail; the client takes them and lends others
//! ```
//!
//! # Memory order
//!
//! Whoever moves an index has finished with the slots it passes: it stores with `Release`, and the other side loads
//! with `Acquire` before it touches them. So descriptors and frames need no order of their own, and are read and written
//! relaxed. One's own index is kept in private memory and never read back.
//!
//! An interrupt is not to be missed: the sender moves its index and then reads `flags`; the receiver clears the bit and
//! then reads the index. A `SeqCst` fence between the two on each side makes one of them see the other's write.
//!
//! Source: VPP's and DPDK's `memif.h`; the fields' widths and places are those of protocol 2.0.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::Arc;

use crate::config::RING_LOG2_MAX;
use crate::reason::Reason;
use crate::region::Regions;

/// `MEMIF_COOKIE`.
const COOKIE: u32 = 0x03e3_1f20;
/// `MEMIF_RING_FLAG_MASK_INT`.
const MASK_INTERRUPT: u16 = 1;
/// `MEMIF_DESC_FLAG_NEXT`.
const NEXT: u16 = 1;

#[repr(C, align(64))]
struct Header {
    cookie: AtomicU32,
    flags: AtomicU16,
    head: AtomicU16,
    unused: [u8; 56],
    tail: AtomicU16,
    unused_too: [u8; 62],
}

/// As two words, so that each field is read once: `flags`, `region`, `length` from the lowest bit up, and `offset` and
/// `metadata`.
#[repr(C)]
struct Slot {
    low: AtomicU64,
    high: AtomicU64,
}

const _: () = assert!(size_of::<Header>() == 128 && size_of::<Slot>() == 16);
const _: () = assert!(core::mem::offset_of!(Header, flags) == 4 && core::mem::offset_of!(Header, head) == 6);
const _: () = assert!(core::mem::offset_of!(Header, tail) == 64);
// The words' halves are named in this order.
const _: () = assert!(cfg!(target_endian = "little"), "memif is laid out for little-endian machines");

/// What a ring of so many slots takes, in bytes.
pub(crate) const fn bytes(log2_size: u8) -> usize {
    size_of::<Header>() + (size_of::<Slot>() << log2_size)
}

/// What a ring must be aligned to: the peer's header has no stricter fields than those of a slot.
const ALIGN: usize = align_of::<Slot>();

/// A descriptor, copied out: nobody changes it any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Descriptor {
    /// Whether the frame goes on in the next slot.
    pub(crate) more: bool,
    pub(crate) region: u16,
    pub(crate) length: u32,
    pub(crate) offset: u32,
}

/// One ring. Indices of slots are masked, so that any index is one.
#[derive(Debug)]
pub(crate) struct Ring {
    /// A header and `mask + 1` slots behind it, inside `regions`.
    header: NonNull<Header>,
    slots: NonNull<Slot>,
    mask: u16,
    /// Keeps the memory mapped.
    regions: Arc<Regions>,
}

// SAFETY: needed to hand a ring to the core that uses it. It is reached by atomics only, and the mapping, which it holds
// a share of, belongs to no thread.
unsafe impl Send for Ring {}

impl Ring {
    /// The ring that lies there.
    pub(crate) fn over(
        regions: &Arc<Regions>,
        region: u16,
        offset: u32,
        log2_size: u8,
    ) -> Result<Self, Reason> {
        if log2_size > RING_LOG2_MAX {
            return Err(Reason::RingSize);
        }
        let place = regions.span(region, offset, bytes(log2_size) as u32).ok_or(Reason::RingPlace)?;
        let header = place.start();
        if header.align_offset(ALIGN) != 0 {
            return Err(Reason::RingPlace);
        }
        // SAFETY: needed to address the slots, which begin inside the span just checked.
        let slots = unsafe { header.add(size_of::<Header>()) };
        Ok(Self {
            header: header.cast(),
            slots: slots.cast(),
            mask: (1 << log2_size) - 1,
            regions: Arc::clone(regions),
        })
    }

    /// Makes it an empty ring, with the cookie.
    pub(crate) fn lay_out(&self) {
        self.head_cell().store(0, Ordering::Relaxed);
        self.tail_cell().store(0, Ordering::Relaxed);
        self.flags().store(0, Ordering::Relaxed);
        self.cookie().store(COOKIE, Ordering::Release);
    }

    pub(crate) fn check_cookie(&self) -> Result<(), Reason> {
        if self.cookie().load(Ordering::Acquire) == COOKIE { Ok(()) } else { Err(Reason::RingCookie) }
    }

    /// How many slots.
    #[inline(always)]
    pub(crate) const fn size(&self) -> u16 {
        self.mask + 1
    }

    /// Which slot an index means.
    #[inline(always)]
    pub(crate) const fn slot(&self, index: u16) -> usize {
        (index & self.mask) as usize
    }

    #[inline(always)]
    pub(crate) fn regions(&self) -> &Regions {
        &self.regions
    }

    /// What the client has put in.
    #[inline(always)]
    pub(crate) fn head(&self) -> u16 {
        self.head_cell().load(Ordering::Acquire)
    }

    #[inline(always)]
    pub(crate) fn set_head(&self, head: u16) {
        self.head_cell().store(head, Ordering::Release);
    }

    /// What the server has dealt with.
    #[inline(always)]
    pub(crate) fn tail(&self) -> u16 {
        self.tail_cell().load(Ordering::Acquire)
    }

    #[inline(always)]
    pub(crate) fn set_tail(&self, tail: u16) {
        self.tail_cell().store(tail, Ordering::Release);
    }

    /// Reads a descriptor, each field once.
    #[inline(always)]
    pub(crate) fn descriptor(&self, index: u16) -> Descriptor {
        let slot = self.at(index);
        let low = slot.low.load(Ordering::Relaxed);
        let high = slot.high.load(Ordering::Relaxed);
        Descriptor {
            more: low as u16 & NEXT != 0,
            region: (low >> 16) as u16,
            length: (low >> 32) as u32,
            offset: high as u32,
        }
    }

    /// Writes a descriptor.
    #[inline(always)]
    pub(crate) fn set_descriptor(&self, index: u16, descriptor: &Descriptor) {
        self.set_length(index, descriptor);
        self.at(index).high.store(u64::from(descriptor.offset), Ordering::Relaxed);
    }

    /// Writes all of a descriptor but its offset.
    #[inline(always)]
    pub(crate) fn set_length(&self, index: u16, descriptor: &Descriptor) {
        let Descriptor { more, region, length, offset: _ } = *descriptor;
        let flags = if more { u64::from(NEXT) } else { 0 };
        let low = flags | u64::from(region) << 16 | u64::from(length) << 32;
        self.at(index).low.store(low, Ordering::Relaxed);
    }

    /// The receiver's wish for interrupts. When it begins to wish, it must look at the ring once more.
    pub(crate) fn set_interrupts(&self, wanted: bool) {
        self.flags().store(if wanted { 0 } else { MASK_INTERRUPT }, Ordering::Relaxed);
        if wanted {
            fence(Ordering::SeqCst);
        }
    }

    /// Whether the receiver is to be interrupted, after an index was moved.
    #[inline(always)]
    pub(crate) fn wants_interrupt(&self) -> bool {
        fence(Ordering::SeqCst);
        self.flags().load(Ordering::Relaxed) & MASK_INTERRUPT == 0
    }

    #[inline(always)]
    fn at(&self, index: u16) -> &Slot {
        // SAFETY: needed to address the slot: a masked index is that of one of the ring's.
        let slot = unsafe { self.slots.add(self.slot(index)) };
        // SAFETY: needed to reach it. It is mapped while `self` holds the regions, aligned as `over` has checked, and
        // holds atomics, which may change at any time.
        unsafe { slot.as_ref() }
    }

    #[inline(always)]
    fn head_cell(&self) -> &AtomicU16 {
        // SAFETY: needed to address the field, which lies inside the header.
        let field = unsafe { &raw const (*self.header.as_ptr()).head };
        // SAFETY: as in `at`.
        unsafe { &*field }
    }

    #[inline(always)]
    fn tail_cell(&self) -> &AtomicU16 {
        // SAFETY: as in `head_cell`.
        let field = unsafe { &raw const (*self.header.as_ptr()).tail };
        // SAFETY: as in `at`.
        unsafe { &*field }
    }

    #[inline(always)]
    fn flags(&self) -> &AtomicU16 {
        // SAFETY: as in `head_cell`.
        let field = unsafe { &raw const (*self.header.as_ptr()).flags };
        // SAFETY: as in `at`.
        unsafe { &*field }
    }

    fn cookie(&self) -> &AtomicU32 {
        // SAFETY: as in `head_cell`.
        let field = unsafe { &raw const (*self.header.as_ptr()).cookie };
        // SAFETY: as in `at`.
        unsafe { &*field }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn regions(bytes: usize) -> Arc<Regions> {
        Arc::new(Regions::create(bytes).unwrap().0)
    }

    #[test]
    fn a_ring_lies_in_its_region_or_is_refused() {
        let regions = regions(4_096);
        let refused = |region, offset, log2| Ring::over(&regions, region, offset, log2).err();
        assert_eq!(refused(0, 0, 3), None);
        assert_eq!(refused(0, 4_096 - 256, 3), None);
        assert_eq!(refused(0, 4_096 - 248, 3), Some(Reason::RingPlace));
        assert_eq!(refused(0, 4, 3), Some(Reason::RingPlace));
        assert_eq!(refused(1, 0, 3), Some(Reason::RingPlace));
        assert_eq!(refused(0, u32::MAX - 7, 3), Some(Reason::RingPlace));
        assert_eq!(refused(0, 0, 14), Some(Reason::RingPlace));
        for log2 in [15, 16, 63, 64, u8::MAX] {
            assert_eq!(refused(0, 0, log2), Some(Reason::RingSize));
        }
    }

    #[test]
    fn a_ring_is_laid_out_as_the_protocol_says() {
        let regions = regions(4_096);
        let ring = Ring::over(&regions, 0, 0, 3).unwrap();
        assert_eq!(ring.check_cookie(), Err(Reason::RingCookie));
        ring.lay_out();
        assert_eq!(ring.check_cookie(), Ok(()));
        ring.set_interrupts(false);
        ring.set_head(0x0102);
        ring.set_tail(0x0304);
        let written = Descriptor { more: true, region: 0x0506, length: 0x0708_090a, offset: 0x0b0c_0d0e };
        ring.set_descriptor(9, &written);
        let mut bytes = [0; 160];
        regions.span(0, 0, 160).unwrap().copy_to(&mut bytes);
        assert_eq!(bytes[..8], [0x20, 0x1f, 0xe3, 0x03, 1, 0, 0x02, 0x01]);
        assert_eq!(bytes[64..66], [0x04, 0x03]);
        // Index 9 of 8 slots is slot 1.
        assert_eq!(bytes[144..156], [1, 0, 0x06, 0x05, 0x0a, 0x09, 0x08, 0x07, 0x0e, 0x0d, 0x0c, 0x0b]);
        assert_eq!(ring.descriptor(1), written);
        assert!(!ring.wants_interrupt());
        ring.set_interrupts(true);
        assert!(ring.wants_interrupt());
    }
}
