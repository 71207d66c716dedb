//! What the thread that keeps connections and the ports on their cores have in common.
//!
//! ```text
//!   control thread                                port on its core
//!   offers a link, or none:  slot, generation ──►  looks at the generation once a burst
//!                                     bell ──►  wakes it, if it sleeps
//!   closes what comes back       ◄── slot, fault   hands links back, says what the peer did wrong
//!                           ◄── wake
//! ```
//!
//! A port never waits for the lock: it tries again with the next burst.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use crate::link::QueueLink;
use crate::reason::Reason;

/// An eventfd that only this process has.
#[derive(Debug)]
pub(crate) struct Bell(OwnedFd);

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(crate) fn ring(&self) {
        // It fails only when the counter is full, and then the descriptor is readable already.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Whoever was woken has looked.
    pub(crate) fn hush(&self) {
        // It fails only when nobody rang.
        let _ = rustix::io::read(&self.0, &mut [0_u8; 8]);
    }

    pub(crate) const fn fd(&self) -> &OwnedFd {
        &self.0
    }
}

/// What a port has told about its packet pool.
#[derive(Debug)]
pub(crate) enum PoolOffer {
    /// The port has not been attached to it yet.
    Unknown,
    /// The pool is nobody else's.
    Private,
    /// The pool lies in this file of its own, of so many bytes.
    Shared(OwnedFd, usize),
}

/// What changes hands.
#[derive(Debug)]
pub(crate) struct Slot {
    /// The link of the present generation, until the port takes it.
    pub(crate) offered: Option<QueueLink>,
    /// What the port has done with, to be closed.
    pub(crate) returned: Vec<QueueLink>,
    pub(crate) pool: PoolOffer,
}

/// One queue.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Changes whenever the connection comes or goes.
    generation: AtomicU64,
    /// What the port found wrong with the peer: a [`Reason`]'s number and one, or 0.
    fault: AtomicU8,
    slot: Mutex<Slot>,
    pub(crate) bell: Bell,
}

/// Links that a port can hand back before the control thread looks.
const RETURNED_MAX: usize = 4;

impl Queue {
    pub(crate) fn new() -> io::Result<Self> {
        let slot =
            Slot { offered: None, returned: Vec::with_capacity(RETURNED_MAX), pool: PoolOffer::Unknown };
        Ok(Self {
            generation: AtomicU64::new(0),
            fault: AtomicU8::new(0),
            slot: Mutex::new(slot),
            bell: Bell::new()?,
        })
    }

    #[inline(always)]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// For the control thread, and for a port before its first burst.
    pub(crate) fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the port, which does not wait.
    pub(crate) fn try_slot(&self) -> Option<MutexGuard<'_, Slot>> {
        self.slot.try_lock().ok()
    }

    /// The connection has come (with a link, or none if the peer has too few queues), or gone.
    pub(crate) fn change(&self, link: Option<QueueLink>) {
        let mut slot = self.slot();
        slot.offered = link;
        self.generation.fetch_add(1, Ordering::AcqRel);
        // Before the port can take the link, so that its bell is never rung for what it has seen already.
        self.bell.ring();
    }

    /// The peer broke the rules. The first fault counts.
    pub(crate) fn report(&self, reason: Reason) {
        let _ = self.fault.compare_exchange(0, reason as u8 + 1, Ordering::AcqRel, Ordering::Relaxed);
    }

    pub(crate) fn take_fault(&self) -> Option<Reason> {
        let number = self.fault.swap(0, Ordering::AcqRel).checked_sub(1)?;
        Reason::ALL.get(usize::from(number)).copied()
    }
}

impl Slot {
    /// Keeps a link for the control thread to close, or closes it here if too many are waiting.
    pub(crate) fn give_back(&mut self, link: QueueLink) {
        if self.returned.len() < RETURNED_MAX {
            self.returned.push(link);
        }
    }
}

/// How an interface's connection is doing. Kept by the control thread, read by anyone.
#[derive(Debug)]
pub struct LinkStatus {
    is_up: AtomicBool,
    ups: AtomicU64,
    ended: Box<[AtomicU64]>,
    last: AtomicU8,
    peer: Mutex<String>,
}

impl LinkStatus {
    pub(crate) fn new() -> Self {
        Self {
            is_up: AtomicBool::new(false),
            ups: AtomicU64::new(0),
            ended: Reason::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            last: AtomicU8::new(0),
            peer: Mutex::new(String::new()),
        }
    }

    /// Whether there is a peer.
    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Acquire)
    }

    /// How often a connection came to be.
    pub fn ups(&self) -> u64 {
        self.ups.load(Ordering::Relaxed)
    }

    /// How often a connection, or an attempt at one, ended for this reason. What strangers did who never named an
    /// interface is counted for the first interface of their socket.
    pub fn ended(&self, reason: Reason) -> u64 {
        self.ended.get(reason as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Why the last connection or attempt ended.
    pub fn last_reason(&self) -> Option<Reason> {
        let number = self.last.load(Ordering::Relaxed).checked_sub(1)?;
        Reason::ALL.get(usize::from(number)).copied()
    }

    /// Who the peer is, or was last: what it calls itself and its interface, with anything unprintable escaped.
    pub fn peer(&self) -> String {
        self.peer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until there is a peer, or not any more. False if `at_most` has passed before. For programs that start
    /// or end something, not for a core.
    pub fn wait_for(&self, is_up: bool, at_most: Duration) -> bool {
        let over = Instant::now() + at_most;
        while self.is_up() != is_up {
            if Instant::now() > over {
                return false;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        true
    }

    pub(crate) fn set_up(&self, peer: String) {
        *self.peer.lock().unwrap_or_else(PoisonError::into_inner) = peer;
        self.ups.fetch_add(1, Ordering::Relaxed);
        self.is_up.store(true, Ordering::Release);
    }

    pub(crate) fn note_end(&self, reason: Reason) {
        if let Some(count) = self.ended.get(reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.last.store(reason as u8 + 1, Ordering::Relaxed);
    }

    pub(crate) fn set_down(&self) {
        self.is_up.store(false, Ordering::Release);
    }
}
