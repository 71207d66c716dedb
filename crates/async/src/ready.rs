//! Which tasks are to be polled, and how a waker says so from any thread.
//!
//! Every place for a task has one waker, made at start. A task stands in the queue at most once (its waker's
//! `scheduled`), and the queue has room for every task, so it is never full and waking allocates nothing:
//!
//! ```text
//!   waker, any thread                        executor, its own thread
//!   scheduled was true? then done            signalled = false
//!   place = head++                           place = tail++
//!   ring[place] = task + 1                   task = ring[place], ring[place] = 0
//!   other thread and signalled was false?    scheduled = false
//!   then ring the core's bell                poll the task
//! ```
//!
//! A wake-up from another thread costs a system call, the first of a turn only. It is not lost: who finds `signalled` set
//! wrote before the executor clears it, and the executor looks at the queue after that.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use freeway::Bell;

thread_local! {
    /// This thread's number.
    static THREAD: u64 = {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    };
}

/// The part of an executor that other threads reach.
#[derive(Debug)]
pub(crate) struct Remote {
    /// The executor's thread. It never changes: an executor is neither `Send` nor `Sync`.
    home: u64,
    bell: Arc<Bell>,
    /// Somebody has rung the bell since the executor last looked.
    signalled: AtomicBool,
    /// Task numbers plus one; 0 where none has been written.
    ring: Box<[AtomicU32]>,
    /// Places handed out to wakers.
    head: AtomicUsize,
    /// The application was asked to end.
    shutdown: AtomicBool,
}

/// Wakes the task in one place.
struct TaskWaker {
    remote: Arc<Remote>,
    task: u32,
    scheduled: AtomicBool,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.scheduled.swap(true, Ordering::AcqRel) {
            return;
        }
        self.remote.push(self.task);
        // A thread that ends has no number left; it is not the executor's then, or the executor will not run again.
        if THREAD.try_with(|thread| *thread) != Ok(self.remote.home) {
            self.remote.signal();
        }
    }
}

impl Remote {
    fn new(tasks: u32, bell: Arc<Bell>) -> Self {
        let places = (tasks as usize).next_power_of_two();
        Self {
            home: THREAD.with(|thread| *thread),
            bell,
            signalled: AtomicBool::new(false),
            ring: std::iter::repeat_with(|| AtomicU32::new(0)).take(places).collect(),
            head: AtomicUsize::new(0),
            shutdown: AtomicBool::new(false),
        }
    }

    fn place(&self, count: usize) -> Option<&AtomicU32> {
        self.ring.get(count & (self.ring.len() - 1))
    }

    fn push(&self, task: u32) {
        let count = self.head.fetch_add(1, Ordering::AcqRel);
        if let Some(place) = self.place(count) {
            place.store(task + 1, Ordering::Release);
        }
    }

    fn signal(&self) {
        if !self.signalled.swap(true, Ordering::AcqRel) {
            self.bell.signal();
        }
    }

    /// Asks the application to end.
    pub(crate) fn shut_down(&self) {
        self.shutdown.store(true, Ordering::Release);
        self.signal();
    }

    /// Whether it was asked to.
    pub(crate) fn is_shutting_down(&self) -> bool {
        self.shutdown.load(Ordering::Acquire)
    }
}

/// The executor's end of the queue.
pub(crate) struct Ready {
    remote: Arc<Remote>,
    /// Places emptied.
    tail: Cell<usize>,
    flags: Box<[Arc<TaskWaker>]>,
    wakers: Box<[Waker]>,
}

impl Ready {
    /// A queue for so many tasks, on the thread that will poll them.
    pub(crate) fn new(tasks: u32, bell: Arc<Bell>) -> Self {
        let remote = Arc::new(Remote::new(tasks, bell));
        let flag = |task| TaskWaker { remote: Arc::clone(&remote), task, scheduled: AtomicBool::new(false) };
        let flags: Box<[_]> = (0..tasks).map(|task| Arc::new(flag(task))).collect();
        let wakers = flags.iter().map(|flag| Waker::from(Arc::clone(flag))).collect();
        Self { remote, tail: Cell::new(0), flags, wakers }
    }

    pub(crate) fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// The waker of the task in a place.
    pub(crate) fn waker(&self, task: usize) -> Option<&Waker> {
        self.wakers.get(task)
    }

    /// Begins a turn: who wakes from now on rings again.
    pub(crate) fn begin(&self) {
        self.remote.signalled.swap(false, Ordering::AcqRel);
    }

    /// Whether no task waits to be polled.
    pub(crate) fn is_empty(&self) -> bool {
        self.remote.head.load(Ordering::Acquire) == self.tail.get()
    }

    /// The next task to poll. From now on it can be woken again.
    pub(crate) fn pop(&self) -> Option<usize> {
        let task = self.remote.place(self.tail.get())?.swap(0, Ordering::Acquire);
        // A place handed out and not written yet is written by the next turn; the queue is not empty until then.
        let task = task.checked_sub(1)? as usize;
        self.tail.set(self.tail.get().wrapping_add(1));
        // Sees what was written before any wake-up that found the task scheduled.
        self.flags.get(task)?.scheduled.swap(false, Ordering::AcqRel);
        Some(task)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::AtomicU64;

    use super::*;

    fn ready(tasks: u32) -> Ready {
        Ready::new(tasks, Bell::new().unwrap())
    }

    #[test]
    fn a_task_stands_in_the_queue_once() {
        let ready = ready(3);
        for task in [2, 0, 2, 2] {
            ready.waker(task).unwrap().wake_by_ref();
        }
        assert_eq!((ready.pop(), ready.pop(), ready.pop()), (Some(2), Some(0), None));
        assert!(ready.is_empty());
        ready.waker(2).unwrap().wake_by_ref();
        assert_eq!(ready.pop(), Some(2));
    }

    #[test]
    fn the_queue_goes_round() {
        let ready = ready(4);
        for round in 0..1_000 {
            for task in 0..4 {
                ready.waker((task + round) % 4).unwrap().wake_by_ref();
            }
            for task in 0..4 {
                assert_eq!(ready.pop(), Some((task + round) % 4));
            }
        }
    }

    /// Each thread writes a number and wakes; whoever polls sees at least the number that was written before the wake-up
    /// that brought it here, and in the end the last of every thread.
    #[test]
    fn nothing_written_before_a_wake_up_is_missed() {
        const THREADS: usize = 3;
        const ROUNDS: u64 = 20_000;
        let ready = ready(THREADS as u32);
        let numbers: Vec<AtomicU64> = (0..THREADS).map(|_| AtomicU64::new(0)).collect();
        let mut seen = [0; THREADS];
        std::thread::scope(|scope| {
            for (task, number) in numbers.iter().enumerate() {
                let waker = ready.waker(task).unwrap().clone();
                scope.spawn(move || {
                    for round in 1..=ROUNDS {
                        number.store(round, Ordering::Relaxed);
                        waker.wake_by_ref();
                    }
                });
            }
            while seen.iter().any(|&number| number < ROUNDS) {
                ready.begin();
                while let Some(task) = ready.pop() {
                    let number = numbers[task].load(Ordering::Relaxed);
                    assert!(number >= seen[task]);
                    seen[task] = number;
                }
                std::thread::yield_now();
            }
        });
        while let Some(task) = ready.pop() {
            assert_eq!(numbers[task].load(Ordering::Relaxed), ROUNDS);
        }
        assert!(ready.is_empty());
    }

    #[test]
    fn only_another_thread_rings_and_once_a_turn() {
        let ready = ready(2);
        ready.waker(0).unwrap().wake_by_ref();
        assert!(!ready.remote.signalled.load(Ordering::Relaxed));
        let waker = ready.waker(1).unwrap().clone();
        std::thread::spawn(move || waker.wake()).join().unwrap();
        assert!(ready.remote.signalled.load(Ordering::Relaxed));
        ready.begin();
        assert!(!ready.remote.signalled.load(Ordering::Relaxed));
    }
}
