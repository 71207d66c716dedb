//! Looking at cores that run, from any thread: counters, sockets, frames.
//!
//! An [`Observer`] reads what the cores publish anyway, and gives them tasks (see `look`). Nothing that it does makes a
//! core wait; what it is too slow for is its own loss, and counted.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time;

use freeway_base::Instant;
use freeway_filter::Program;
use freeway_mem::ring::{self, Consumer, FrameConsumer, spsc};
use freeway_stack::net::IfaceId;
use freeway_stack::rows::{Cursor, Row, Tables};
use thiserror::Error;

use crate::bell::Bell;
use crate::clock::{Clock, Monotonic};
use crate::look::{Ends, FrameTask, NOTE, Progress, RowTask, TASKS, Task, WENT_OUT};
use crate::running::StatsReader;

/// Rows that wait for an asker at most: some 400 bytes each.
const ROWS: usize = 4_096;

/// How long an asker sleeps that finds nothing.
const NAP: time::Duration = time::Duration::from_micros(200);

/// How long a core may take to show a row. One that serves does so within a turn.
const PATIENCE: time::Duration = time::Duration::from_secs(5);

/// How long is waited for a core to give a task back. It does so in its next turn; one that takes longer does so later.
const FAREWELL: time::Duration = time::Duration::from_millis(50);

/// Why a core cannot be looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum LookError {
    /// There is no such core.
    #[error("there is no core {0}")]
    NoCore(u32),
    /// Too many look already.
    #[error("{TASKS} others look at core {0} already: try again when one of them has ended")]
    Busy(u32),
    /// It does not turn.
    #[error("core {0} does not answer")]
    Silent(u32),
}

/// An interface, as one core has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkInfo {
    /// Its number.
    pub iface: IfaceId,
    /// What people call the device.
    pub name: String,
    /// The longest frame, in bytes.
    pub frame_max: usize,
}

/// Looks at the cores of one runtime. Clones look at the same ones.
#[derive(Clone)]
pub struct Observer {
    pub(crate) stats: StatsReader,
    pub(crate) desks: Vec<Arc<Desk>>,
    pub(crate) clock: Monotonic,
}

/// Where tasks for one core are left and fetched.
pub(crate) struct Desk {
    core: u32,
    bell: Arc<Bell>,
    interfaces: Vec<LinkInfo>,
    ends: Mutex<(Ends, usize)>,
}

impl Desk {
    pub(crate) fn new(core: u32, bell: Arc<Bell>, interfaces: Vec<LinkInfo>, ends: Ends) -> Self {
        Self { core, bell, interfaces, ends: Mutex::new((ends, 0)) }
    }

    fn order(&self, task: Task) -> Result<(), LookError> {
        self.collect();
        let mut guard = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let (ends, about) = &mut *guard;
        if *about >= TASKS || ends.orders.push(Box::new(task)).is_err() {
            return Err(LookError::Busy(self.core));
        }
        *about += 1;
        self.bell.signal();
        Ok(())
    }

    /// Frees what the core gave back; says whether it has all of its tasks back.
    fn collect(&self) -> bool {
        let mut guard = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let (ends, about) = &mut *guard;
        while ends.done.pop().is_some() {
            *about = about.saturating_sub(1);
        }
        *about == 0 || ends.done.is_disconnected()
    }

    /// Ends a task, whose memory is freed when the core gives it back: now, or when somebody asks the next time.
    fn dismiss(&self, progress: &Progress) {
        progress.unwanted.store(true, Ordering::Relaxed);
        self.bell.signal();
        let begun = time::Instant::now();
        while !progress.over.load(Ordering::Acquire) && begun.elapsed() < FAREWELL {
            thread::sleep(NAP);
        }
        self.collect();
    }
}

impl Observer {
    /// Looks at cores that publish no counters.
    pub(crate) fn of(desks: Vec<Arc<Desk>>) -> Self {
        Self { stats: StatsReader::default(), desks, clock: Monotonic::new() }
    }

    /// How many cores there are.
    pub fn cores(&self) -> u32 {
        self.desks.len() as u32
    }

    /// Their counters.
    pub const fn stats(&self) -> &StatsReader {
        &self.stats
    }

    /// The time, by the clock of all cores.
    pub fn now(&self) -> Instant {
        { self.clock }.now()
    }

    /// The interfaces of a core.
    pub fn interfaces(&self, core: u32) -> &[LinkInfo] {
        self.desks.get(core as usize).map_or(&[], |desk| &desk.interfaces)
    }

    /// Begins to show the sockets of `core` that are in `tables`; with `detail`, all that TCP knows of them.
    ///
    /// # Errors
    ///
    /// See [`LookError`].
    pub fn rows(&self, core: u32, tables: Tables, detail: bool) -> Result<Rows, LookError> {
        let desk = self.desks.get(core as usize).ok_or(LookError::NoCore(core))?;
        let (producer, rows) = spsc(ROWS);
        let shared = Arc::new(Progress::default());
        let cursor = Cursor::new(tables, detail);
        desk.order(Task::Rows(RowTask { cursor, rows: producer, shared: Arc::clone(&shared) }))?;
        Ok(Rows { desk: Arc::clone(desk), rows, shared })
    }

    /// Begins to copy the frames of `core` that `filter` takes: at most `snap_len` bytes of each, with room for `slots` of
    /// them to wait.
    ///
    /// # Errors
    ///
    /// See [`LookError`].
    pub fn frames(
        &self,
        core: u32,
        filter: Program,
        snap_len: u32,
        slots: usize,
    ) -> Result<Frames, LookError> {
        let desk = self.desks.get(core as usize).ok_or(LookError::NoCore(core))?;
        let (producer, frames) = ring::frames(slots, NOTE + snap_len as usize);
        let shared = Arc::new(Progress::default());
        let task = FrameTask { filter, snap_len, frames: producer, shared: Arc::clone(&shared) };
        desk.order(Task::Frames(task))?;
        Ok(Frames { desk: Arc::clone(desk), frames, shared })
    }
}

/// The sockets of a core, as they come. Dropping it ends the walk.
pub struct Rows {
    desk: Arc<Desk>,
    rows: Consumer<Row>,
    shared: Arc<Progress>,
}

impl Rows {
    /// The next one; `None` after the last. Waits for it.
    ///
    /// # Errors
    ///
    /// [`LookError::Silent`] when the core shows nothing for long.
    pub fn next_row(&mut self) -> Result<Option<Row>, LookError> {
        let begun = time::Instant::now();
        loop {
            // What was put in before the walk was over is seen after it is.
            let over = self.shared.over.load(Ordering::Acquire);
            if let Some(row) = self.rows.pop() {
                return Ok(Some(row));
            }
            if over {
                return Ok(None);
            }
            if begun.elapsed() > PATIENCE || self.rows.is_disconnected() {
                return Err(LookError::Silent(self.desk.core));
            }
            thread::sleep(NAP);
        }
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.desk.dismiss(&self.shared);
    }
}

/// A frame that was captured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Captured<'a> {
    /// When it passed: the time of its turn.
    pub at: Instant,
    /// The interface it passed.
    pub iface: IfaceId,
    /// Whether it went out, or came in.
    pub went_out: bool,
    /// Bytes that it had.
    pub len: u32,
    /// The first of these.
    pub bytes: &'a [u8],
}

/// The frames that a filter takes of a core's, as they come. Dropping it ends the capture.
pub struct Frames {
    desk: Arc<Desk>,
    frames: FrameConsumer,
    shared: Arc<Progress>,
}

impl Frames {
    /// The oldest frame that waits; it stays the oldest until [`release`](Self::release).
    pub fn peek(&mut self) -> Option<Captured<'_>> {
        let (bytes, flags) = self.frames.peek()?;
        let (at, rest) = bytes.split_first_chunk()?;
        let (len, bytes) = rest.split_first_chunk()?;
        Some(Captured {
            at: Instant::from_nanos(u64::from_ne_bytes(*at)),
            iface: IfaceId(flags & !WENT_OUT),
            went_out: flags & WENT_OUT != 0,
            len: u32::from_ne_bytes(*len),
            bytes,
        })
    }

    /// Lets go of the oldest frame.
    pub fn release(&mut self) {
        self.frames.release();
    }

    /// Frames that the filter took so far, and those of them dropped because too many waited.
    pub fn counts(&self) -> (u64, u64) {
        (self.shared.taken.load(Ordering::Relaxed), self.shared.dropped.load(Ordering::Relaxed))
    }

    /// Asks for no more frames, and waits a moment for the core to know. Those that wait still come.
    pub fn stop(&self) {
        self.desk.dismiss(&self.shared);
    }

    /// Whether the core is gone.
    pub fn is_disconnected(&self) -> bool {
        !self.shared.over.load(Ordering::Acquire) && self.frames.is_disconnected()
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.stop();
    }
}
