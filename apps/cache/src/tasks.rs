//! What a connection has begun and not finished: a value that arrives, a value that is sent, an answer that TCP did not
//! take whole, questions to other cores. A connection between two commands has none of it.

use freeway::{ConnId, ReplyTo};
use freeway_memcache::binary::Head;
use freeway_memcache::meta::Returns;

use crate::cache::StoreRequest;
use crate::out::OUT_MAX;
use crate::peers::parts::Queue;
use crate::store::{Item, KEY_MAX, Store, Writer};

/// No task.
pub(crate) const NONE: u16 = 0;

/// Where the answer to a stored value goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reply {
    Text { noreply: bool },
    Meta { quiet: bool, base64: bool, returns: Returns },
    Binary { head: Head, quiet: bool },
}

/// A value that arrives.
#[derive(Debug)]
pub(crate) struct Receiving {
    pub(crate) key: [u8; KEY_MAX],
    pub(crate) key_len: u8,
    pub(crate) request: StoreRequest,
    pub(crate) reply: Reply,
    pub(crate) writer: Writer,
}

impl Receiving {
    pub(crate) fn key(&self) -> &[u8] {
        self.key.get(..usize::from(self.key_len)).unwrap_or(&[])
    }
}

/// A value that is sent; its item is pinned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sending {
    pub(crate) item: u32,
    pub(crate) offset: u32,
    pub(crate) len: u32,
    /// It ends with a line end.
    pub(crate) line: bool,
}

/// What is listed of all items.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum What {
    /// What is known of each: `lru_crawler metadump`.
    Details,
    /// Each as a command of the meta protocol: `lru_crawler mgdump`.
    Commands,
    /// `stats cachedump`
    Cachedump,
    /// How many there are of each size: `stats sizes`.
    Sizes,
    /// No items, but the connections of this core: `stats conns`.
    Connections,
}

/// A list of all items that is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Dump {
    pub(crate) what: What,
    /// Whose items are listed now.
    pub(crate) core: u32,
    /// Where the list goes on.
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    /// How many items may still be listed.
    pub(crate) left: u32,
}

impl Dump {
    pub(crate) const fn new(what: What, limit: u32) -> Self {
        Self { what, core: 0, segment: 0, offset: 0, left: if limit == 0 { u32::MAX } else { limit } }
    }

    /// The next core's items are next.
    pub(crate) const fn next_core(&mut self) {
        (self.core, self.segment, self.offset) = (self.core + 1, 0, 0);
    }
}

/// Who is to be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asker {
    Conn(ConnId),
    Datagram { reply_to: ReplyTo, request: u16 },
}

/// What one connection has begun.
#[derive(Debug, Default)]
pub(crate) struct Task {
    /// What it is owed in which other cores have a share.
    pub(crate) queue: Queue,
    pub(crate) asker: Option<Asker>,
    /// The part whose value is on its way to another core.
    pub(crate) upload: Option<u16>,
    /// Requests wait for the queue to move.
    pub(crate) waits: bool,
    /// The counters of other cores are asked for, or wait to be shown.
    pub(crate) counts: bool,
    /// The connection ends behind the queue.
    pub(crate) closing: bool,
    pub(crate) receiving: Option<Receiving>,
    pub(crate) sending: Option<Sending>,
    pub(crate) dump: Option<Dump>,
    /// Which spill holds the rest of an answer, and which part of it.
    pub(crate) spill: Option<(u16, u32, u32)>,
    next: u16,
}

impl Sending {
    /// What comes next; empty at the end.
    pub(crate) fn piece<'a>(&self, store: &'a Store, item: Item) -> &'a [u8] {
        match self.offset.checked_sub(self.len) {
            None => store.piece(item, self.offset as usize),
            Some(behind) if self.line => b"\r\n".get(behind as usize..).unwrap_or(&[]),
            Some(_) => &[],
        }
    }
}

impl Task {
    pub(crate) const fn is_over(&self) -> bool {
        self.queue.is_empty()
            && self.receiving.is_none()
            && self.sending.is_none()
            && self.spill.is_none()
            && self.dump.is_none()
            && self.upload.is_none()
            && !self.counts
    }
}

/// The tasks of one core, numbered from 1.
pub(crate) struct Tasks {
    all: Box<[Task]>,
    free: u16,
    in_use: u16,
    spills: Box<[u8]>,
    free_spills: Vec<u16>,
}

impl Tasks {
    pub(crate) fn new(tasks: u16, spills: u16) -> Self {
        let all: Box<[Task]> = (0..tasks)
            .map(|index| Task { next: if index + 1 < tasks { index + 2 } else { NONE }, ..Task::default() })
            .collect();
        Self {
            free: if tasks > 0 { 1 } else { NONE },
            all,
            in_use: 0,
            spills: vec![0; usize::from(spills) * OUT_MAX].into_boxed_slice(),
            free_spills: (0..spills).rev().collect(),
        }
    }

    /// How many there are.
    pub(crate) const fn in_use(&self) -> u16 {
        self.in_use
    }

    #[inline]
    pub(crate) fn get(&mut self, number: u16) -> Option<&mut Task> {
        self.all.get_mut(usize::from(number.checked_sub(1)?))
    }

    /// The connection's task, a new one if it has none; `None` when there are as many as there may be.
    pub(crate) fn open(&mut self, number: &mut u16) -> Option<&mut Task> {
        if *number == NONE {
            let free = self.free;
            let task = self.get(free)?;
            let next = core::mem::replace(&mut task.next, NONE);
            (self.free, *number) = (next, free);
            self.in_use += 1;
        }
        self.get(*number)
    }

    /// What the connection is owed by other cores, if anything.
    #[inline]
    pub(crate) fn queue(&self, number: u16) -> Queue {
        let task = number.checked_sub(1).and_then(|place| self.all.get(usize::from(place)));
        task.map_or_else(Queue::default, |task| task.queue)
    }

    /// Gives the connection's task back if there is nothing in it.
    pub(crate) fn close_if_over(&mut self, number: &mut u16) {
        let free = self.free;
        if let Some(task) = self.get(*number)
            && task.is_over()
        {
            (task.asker, task.waits, task.closing) = (None, false, false);
            task.next = free;
            self.free = *number;
            self.in_use -= 1;
            *number = NONE;
        }
    }

    /// Keeps the rest of an answer, behind what is kept; false when there is no room for it.
    pub(crate) fn spill(&mut self, number: &mut u16, bytes: &[u8]) -> bool {
        if let Some(task) = self.all.get_mut(usize::from(number.wrapping_sub(1)))
            && let Some((spill, _, to)) = &mut task.spill
        {
            let start = usize::from(*spill) * OUT_MAX + *to as usize;
            let fits = *to as usize + bytes.len() <= OUT_MAX;
            let place = self.spills.get_mut(start..start + bytes.len()).filter(|_| fits);
            *to += if fits { bytes.len() as u32 } else { 0 };
            return place.map(|place| place.copy_from_slice(bytes)).is_some();
        }
        let Some(spill) = self.free_spills.pop() else { return false };
        let start = usize::from(spill) * OUT_MAX;
        let place = self.spills.get_mut(start..start + bytes.len());
        let len = bytes.len() as u32;
        match (place, number) {
            (Some(place), number) => {
                place.copy_from_slice(bytes);
                match self.open(number) {
                    Some(task) => {
                        task.spill = Some((spill, 0, len));
                        true
                    }
                    None => {
                        self.free_spills.push(spill);
                        false
                    }
                }
            }
            (None, _) => false,
        }
    }

    /// The rest of the connection's answer; empty when there is none.
    pub(crate) fn spilled(&mut self, number: u16) -> &[u8] {
        let Some((spill, from, to)) = self.get(number).and_then(|task| task.spill) else { return &[] };
        let start = usize::from(spill) * OUT_MAX;
        self.spills.get(start + from as usize..start + to as usize).unwrap_or(&[])
    }

    /// TCP took `count` bytes of it.
    pub(crate) fn unspill(&mut self, number: u16, count: usize) {
        let Some(task) = self.get(number) else { return };
        let Some((spill, from, to)) = task.spill else { return };
        let from = from + count as u32;
        if from < to {
            task.spill = Some((spill, from, to));
        } else {
            task.spill = None;
            // There is room: it was taken from there.
            self.free_spills.push(spill);
        }
    }
}
