//! What a core does for whoever looks at it: rows of its sockets, copies of its frames.
//!
//! Whoever asks brings all the memory along, in a [`Task`]: a ring that the core fills and the asker empties. Tasks come
//! and go by rings, too, so a core neither allocates nor frees for them, and never waits:
//!
//! ```text
//!   Observer (any thread)                          Look (the core)
//!   orders ══ ring of tasks ══════════════════════► at hand: 8 at most
//!   rows, frames ◄══ the task's own ring ═════════  a slice of rows a turn, each frame that a filter takes
//!   done   ◄══ ring of tasks ═════════════════════  the task goes home when it is over, or nobody wants it any more
//! ```
//!
//! A full ring costs the asker: rows wait, frames are dropped and counted. With nobody looking a turn pays one load of a
//! word that nobody writes, and a burst one branch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrayvec::ArrayVec;
use freeway_base::Instant;
use freeway_filter::Program;
use freeway_mem::ring::{Consumer, FrameProducer, Producer, spsc};
use freeway_stack::Stack;
use freeway_stack::net::IfaceId;
use freeway_stack::rows::{Cursor, Row, SLICE};

/// Tasks that a core has at hand or on their way, at most.
pub(crate) const TASKS: usize = 8;

/// Bytes before each captured frame: when it passed, in nanoseconds of the runtime's clock, and its length.
pub(crate) const NOTE: usize = 12;

/// In a captured frame's flags: it went out. The other bits are its interface's number.
pub(crate) const WENT_OUT: u8 = 1 << 7;

/// Something that a core does for an asker.
pub(crate) enum Task {
    /// Showing sockets.
    Rows(RowTask),
    /// Copying frames.
    Frames(FrameTask),
}

/// Sockets, a slice a turn.
pub(crate) struct RowTask {
    pub(crate) cursor: Cursor,
    pub(crate) rows: Producer<Row>,
    pub(crate) shared: Arc<Progress>,
}

/// Frames that a filter takes.
pub(crate) struct FrameTask {
    pub(crate) filter: Program,
    /// Bytes of a frame that are copied at most.
    pub(crate) snap_len: u32,
    pub(crate) frames: FrameProducer,
    pub(crate) shared: Arc<Progress>,
}

/// What both ends know of a task.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The asker has gone, or has enough.
    pub(crate) unwanted: AtomicBool,
    /// The core will put nothing more into the ring.
    pub(crate) over: AtomicBool,
    /// Frames that the filter took.
    pub(crate) taken: AtomicU64,
    /// Of these, frames dropped because the ring was full.
    pub(crate) dropped: AtomicU64,
}

impl Task {
    fn shared(&self) -> &Progress {
        match self {
            Self::Rows(task) => &task.shared,
            Self::Frames(task) => &task.shared,
        }
    }
}

/// The core's end.
pub(crate) struct Look {
    orders: Consumer<Box<Task>>,
    done: Producer<Box<Task>>,
    tasks: ArrayVec<Box<Task>, TASKS>,
    /// Whether a task wants frames.
    capturing: bool,
}

/// The asker's end of [`Look`].
pub(crate) struct Ends {
    pub(crate) orders: Producer<Box<Task>>,
    pub(crate) done: Consumer<Box<Task>>,
}

/// Which way a frame goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    In,
    Out,
}

impl Look {
    pub(crate) fn new() -> (Self, Ends) {
        let (orders, taken) = spsc(TASKS);
        let (given_back, done) = spsc(TASKS);
        let look = Self { orders: taken, done: given_back, tasks: ArrayVec::new(), capturing: false };
        (look, Ends { orders, done })
    }

    /// Whether there is something to do in this turn.
    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        !self.tasks.is_empty() || !self.orders.is_empty()
    }

    /// Whether the core must not sleep: rows can be shown at once.
    pub(crate) fn has_work(&self) -> bool {
        let mut tasks = self.tasks.iter();
        let has_room = tasks.any(|task| match &**task {
            Task::Rows(task) => task.rows.len() < task.rows.capacity(),
            Task::Frames(_) => false,
        });
        has_room || !self.orders.is_empty()
    }

    /// Whether an asker has yet to make room for rows.
    pub(crate) fn is_waiting(&self) -> bool {
        self.tasks.iter().any(|task| matches!(**task, Task::Rows(_)))
    }

    /// Whether frames are to be shown to [`Look::frames`].
    #[inline]
    pub(crate) const fn is_capturing(&self) -> bool {
        self.capturing
    }

    /// Takes orders, shows a slice of rows, sends home what is over. Returns whether capturing has just begun.
    pub(crate) fn turn<S: Copy + Default + 'static>(&mut self, now: Instant, stack: &Stack<S>) -> bool {
        while !self.tasks.is_full()
            && let Some(task) = self.orders.pop()
        {
            self.tasks.push(task);
        }
        let mut place = 0;
        while let Some(task) = self.tasks.get_mut(place) {
            let is_over = task.shared().unwanted.load(Ordering::Relaxed)
                || match &mut **task {
                    Task::Rows(task) => show(now, stack, task),
                    Task::Frames(_) => false,
                };
            if is_over {
                task.shared().over.store(true, Ordering::Release);
                let task = self.tasks.swap_remove(place);
                // There is room: no more tasks are about than the ring holds. Were there none, the task would end here.
                let _ = self.done.push(task);
            } else {
                place += 1;
            }
        }
        let before = self.capturing;
        self.capturing = self.tasks.iter().any(|task| matches!(**task, Task::Frames(_)));
        self.capturing && !before
    }

    /// Copies those of a burst's frames that somebody wants.
    #[cold]
    pub(crate) fn frames<'a>(
        &mut self,
        now: Instant,
        iface: IfaceId,
        way: Way,
        frames: &(impl Iterator<Item = &'a [u8]> + Clone),
    ) {
        let flags = iface.0 & !WENT_OUT | if way == Way::Out { WENT_OUT } else { 0 };
        for task in &mut self.tasks {
            if let Task::Frames(task) = &mut **task {
                copy(task, now, flags, frames.clone());
            }
        }
    }
}

/// Shows the next slice of sockets, as far as there is room; says whether that was the last.
fn show<S: Copy + Default + 'static>(now: Instant, stack: &Stack<S>, task: &mut RowTask) -> bool {
    let RowTask { cursor, rows, shared: _ } = task;
    let room = rows.capacity().saturating_sub(rows.len()).min(SLICE);
    if room > 0 {
        stack.rows(now, cursor, room, &mut |row| {
            // There is room, which only the other end can make more of.
            let _ = rows.push(*row);
        });
    }
    cursor.is_at_end()
}

fn copy<'a>(task: &mut FrameTask, now: Instant, flags: u8, frames: impl Iterator<Item = &'a [u8]>) {
    let FrameTask { filter, snap_len, frames: ring, shared } = task;
    let (mut taken, mut dropped) = (0, 0);
    for frame in frames.filter(|frame| filter.takes(frame)) {
        let mut note = [0; NOTE];
        let (at, len) = note.split_at_mut(size_of::<u64>());
        at.copy_from_slice(&now.as_nanos().to_ne_bytes());
        len.copy_from_slice(&(frame.len() as u32).to_ne_bytes());
        let kept = frame.get(..*snap_len as usize).unwrap_or(frame);
        taken += 1;
        dropped += u64::from(!ring.push_parts(&note, kept, flags));
    }
    if taken > 0 {
        ring.commit();
        // This core alone writes them.
        shared.taken.store(shared.taken.load(Ordering::Relaxed) + taken, Ordering::Relaxed);
        shared.dropped.store(shared.dropped.load(Ordering::Relaxed) + dropped, Ordering::Relaxed);
    }
}
