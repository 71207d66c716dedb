//! How one core wakes another that may be asleep.
//!
//! A core owns one [`Bell`]; whoever leaves something for it (a frame in a mailbox, a frame to relay, the order
//! to stop) rings. Ringing costs one load while the core is awake, and a system call only when it sleeps.
//!
//! No wake-up is lost, because each side writes before it reads, with a full fence between:
//!
//! ```text
//!   sleeper                         ringer
//!   armed = true                    publish the frame
//!   ---- SeqCst fence ----          ---- SeqCst fence ----
//!   is a frame there? then stay     armed? then write to the eventfd
//!   ppoll(eventfd)
//! ```
//!
//! One of the two must see the other's write: either the sleeper finds the frame, or the ringer finds the bell
//! armed. Both at once costs one idle wake-up.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use freeway_base::Instant;
use rustix::event::{EventfdFlags, eventfd};

use crate::clock::uptime;

/// What wakes one core: silent while the core is awake, an eventfd to sleep on while it is not. No wake-up is lost.
#[derive(Debug)]
pub struct Bell {
    fd: OwnedFd,
    armed: AtomicBool,
    /// When it was rung last, in nanoseconds of [`uptime`]; 0 before the first time. Only a ring that wakes writes it.
    rung_at: AtomicU64,
}

impl Bell {
    /// A bell that nobody listens to yet.
    ///
    /// # Errors
    ///
    /// No file descriptor to be had.
    pub fn new() -> io::Result<Arc<Self>> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Arc::new(Self { fd, armed: AtomicBool::new(false), rung_at: AtomicU64::new(0) }))
    }

    /// Wakes the owner if it sleeps or is about to. What it is to find must have been published before.
    ///
    /// Returns whether that took a system call.
    #[inline]
    pub fn ring(&self) -> bool {
        fence(Ordering::SeqCst);
        // The load alone keeps a busy owner's line shared; only one of several ringers then swaps and writes.
        if !self.armed.load(Ordering::Relaxed) || !self.armed.swap(false, Ordering::Relaxed) {
            return false;
        }
        self.signal();
        true
    }

    /// Makes the eventfd readable, armed or not: the next sleep ends at once.
    pub fn signal(&self) {
        // Written before the descriptor becomes readable, which orders it before the sleeper's look.
        self.rung_at.store(uptime().as_nanos(), Ordering::Release);
        // The only failure is a counter that is full, and then the descriptor is readable already.
        let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
    }

    /// When somebody last woke the owner by it, by [`uptime`].
    pub(crate) fn rung_at(&self) -> Instant {
        Instant::from_nanos(self.rung_at.load(Ordering::Acquire))
    }

    /// Asks to be rung. The owner must look for work once more after this and before it sleeps.
    pub fn arm(&self) {
        self.armed.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Ends [`Bell::arm`]. `rung` says that the descriptor was found readable; a ring that comes late stays in
    /// it and ends the next sleep.
    pub fn disarm(&self, rung: bool) {
        self.armed.store(false, Ordering::Relaxed);
        if rung {
            let _ = rustix::io::read(&self.fd, &mut [0u8; 8]);
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::AtomicU64;
    use std::time::{Duration, Instant};

    use super::*;
    use freeway_base::{Rng, Seed};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn is_readable(bell: &Bell) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(bell, PollFlags::IN)], Some(&now)).unwrap() == 1
    }

    #[test]
    fn a_bell_that_nobody_armed_stays_silent() {
        let bell = Bell::new().unwrap();
        assert!(!bell.ring());
        assert!(!is_readable(&bell));
    }

    #[test]
    fn an_armed_bell_rings_once() {
        let bell = Bell::new().unwrap();
        bell.arm();
        assert!(bell.ring());
        assert!(!bell.ring());
        assert!(is_readable(&bell));
        bell.disarm(true);
        assert!(!is_readable(&bell));
    }

    #[test]
    fn a_ring_that_comes_late_ends_the_next_sleep_and_no_other() {
        let bell = Bell::new().unwrap();
        bell.arm();
        bell.ring();
        bell.disarm(false);
        bell.arm();
        assert!(is_readable(&bell));
        bell.disarm(true);
        bell.arm();
        assert!(!is_readable(&bell));
    }

    #[test]
    fn a_signal_needs_no_arming() {
        let bell = Bell::new().unwrap();
        bell.signal();
        assert!(is_readable(&bell));
    }

    /// Marks a round's number: the ringer rang.
    const RANG: u64 = 1 << 63;

    /// Waits for the other thread's `round` without a system call, so that both go on at nearly the same moment.
    fn meet(at: &AtomicU64, round: u64) {
        for spins in 0u32.. {
            if at.load(Ordering::Acquire) & !RANG >= round {
                return;
            }
            // Alone on one CPU, spinning would wait for a whole time slice.
            if spins % 4_096 == 4_095 { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
    }

    /// The heart of it, some hundred thousand times: a sleeper arms and looks, a ringer publishes and rings, both
    /// at once. Without the fences they miss each other about once in two thousand rounds.
    #[test]
    fn the_sleeper_sees_the_work_or_the_ringer_sees_the_sleeper() {
        const ROUNDS: u64 = 300_000;
        const OVER: u64 = RANG - 1;
        let bell = Bell::new().unwrap();
        let (start, work, end) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let (mut rng, mut missed) = (Rng::new(Seed(1)), 0);
        // On a machine with other things to do, fewer rounds have to do.
        let deadline = Instant::now() + Duration::from_secs(1);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1.. {
                    meet(&start, round);
                    if start.load(Ordering::Relaxed) == OVER {
                        return;
                    }
                    work.store(round, Ordering::Release);
                    let rang = bell.ring();
                    end.store(round | if rang { RANG } else { 0 }, Ordering::Release);
                }
            });
            for round in (1..=ROUNDS).take_while(|_| Instant::now() < deadline) {
                start.store(round, Ordering::Release);
                for _ in 0..rng.below(16) {
                    std::hint::spin_loop();
                }
                bell.arm();
                let seen = work.load(Ordering::Acquire) == round;
                meet(&end, round);
                let rang = end.load(Ordering::Acquire) & RANG != 0;
                missed += u64::from(!seen && !rang);
                bell.disarm(rang);
            }
            start.store(OVER, Ordering::Release);
        });
        assert_eq!(missed, 0, "rounds in which both missed each other");
    }
}
