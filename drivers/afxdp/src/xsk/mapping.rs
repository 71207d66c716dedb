//! Memory that is shared with the kernel, and given back when it is dropped.

use std::ffi::c_void;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// One ring's memory.
pub(super) struct Mapping {
    base: NonNull<u8>,
    len: usize,
    kind: Kind,
}

/// How it goes back.
enum Kind {
    Mapped,
    /// Ordinary memory with two ends, to test rings without a kernel.
    #[cfg(test)]
    Tested {
        _words: std::sync::Arc<[std::sync::atomic::AtomicU64]>,
    },
}

impl Mapping {
    /// Maps `len` bytes of a socket at `offset`.
    pub(super) fn new(socket: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<Self> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::POPULATE);
        // SAFETY: needed because rings are shared by mapping them. The kernel chooses a place that is free, so that nothing
        // else is there.
        let base = unsafe { mmap(null_mut(), len, protection, flags, socket, offset) }?;
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { base, len, kind: Kind::Mapped })
    }

    /// Where `count` values of `T` begin, if they all lie in the memory and are aligned.
    pub(super) fn at<T>(&self, offset: u64, count: usize) -> Option<NonNull<T>> {
        let offset = usize::try_from(offset).ok()?;
        let end = size_of::<T>().checked_mul(count)?.checked_add(offset)?;
        if end > self.len {
            return None;
        }
        // SAFETY: needed to point into the memory. `offset` is within its `len` bytes.
        let place = unsafe { self.base.add(offset) }.cast::<T>();
        place.is_aligned().then_some(place)
    }

    /// Two ends of `len` bytes of ordinary memory, all zero.
    #[cfg(test)]
    pub(super) fn pair(len: usize) -> (Self, Self) {
        let words: std::sync::Arc<[_]> =
            (0..len.div_ceil(8)).map(|_| std::sync::atomic::AtomicU64::new(0)).collect();
        let end = || Self {
            base: NonNull::new(words.as_ptr().cast_mut().cast()).unwrap_or(NonNull::dangling()),
            len,
            kind: Kind::Tested { _words: std::sync::Arc::clone(&words) },
        };
        (end(), end())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        match self.kind {
            Kind::Mapped => {
                // SAFETY: needed to give the memory back. `new` mapped just this, and whoever points into it holds `self`.
                let unmapped = unsafe { munmap(self.base.as_ptr().cast::<c_void>(), self.len) };
                debug_assert!(unmapped.is_ok(), "a whole mapping can be unmapped");
            }
            #[cfg(test)]
            Kind::Tested { .. } => {}
        }
    }
}
