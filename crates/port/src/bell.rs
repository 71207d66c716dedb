//! How one end of a pipe wakes the other.
//!
//! Each side writes before it reads, with a full fence between, so that one of the two sees the other's write:
//!
//! ```text
//!   sleeper                          sender
//!   armed = true                     commit the frames
//!   ------- SeqCst fence -------     ------- SeqCst fence -------
//!   frames there? do not sleep       armed? write to the eventfd
//!   sleep on the eventfd
//! ```

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rustix::event::{EventfdFlags, eventfd};

/// One end's bell: the other end rings it. On a cache line of its own, which stays shared by both cores while nobody
/// sleeps.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Bell {
    armed: AtomicBool,
    fd: OwnedFd,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { armed: AtomicBool::new(false), fd })
    }

    /// Wakes the owner if it sleeps or is about to. What it is to find must have been published.
    #[inline]
    pub(crate) fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.armed.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        if self.armed.swap(false, Ordering::AcqRel) {
            // It fails only when the counter is full, and then the descriptor is readable already.
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
    }

    /// Asks to be rung. The owner must look for frames once more before it sleeps.
    pub(crate) fn arm(&self) {
        self.armed.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Ends [`Bell::arm`]. If the ring is under way at this moment, the next sleep ends at once, for nothing.
    pub(crate) fn disarm(&self) {
        if !self.armed.swap(false, Ordering::AcqRel) {
            let _ = rustix::io::read(&self.fd, &mut [0_u8; 8]);
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
