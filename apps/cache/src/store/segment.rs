//! Segments: equal pieces of the store's memory, and the lists they are on.
//!
//! ```text
//!   free ──► open ──► sealed ──► draining ──► free
//!     │   (one for each queue    (its items are dropped     ▲
//!     │    and class of time     or moved, a few at a time) │ the last reader is gone
//!     │    to live)                        └──► limbo ──────┘
//!     └──► own (the beginning of one large value) ──► free
//! ```
//!
//! An open or sealed segment is on two lists: its queue's, in the order in which segments were opened, from which the
//! oldest is evicted; and its class's, in which those that expire first come first.

use freeway_collections::BuildError;
use freeway_mem::{Arena, ArenaLayout, Array};

use super::time::NEVER;

/// Bytes of a segment.
pub const SEGMENT: usize = 1 << 16;
/// No segment.
pub(crate) const NONE: u32 = u32::MAX;
/// Classes of time to live: one for what never expires, and four for each power of two of seconds.
pub(crate) const CLASSES: usize = 1 + 32 * 4;

/// Which of the two queues a segment is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Queue {
    /// What came lately: a tenth of the memory, through which everything passes once.
    Small = 0,
    /// What was asked for again.
    Main = 1,
}

/// Where a segment is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// On the list of the free.
    Free,
    /// On its queue's and its class's lists, and perhaps still being filled.
    Listed,
    /// Off all lists, and its items go one by one.
    Draining,
    /// Holds the beginning of one large value.
    Own,
    /// Without items, but somebody still reads it.
    Limbo,
}

/// What is known of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    /// The neighbours in the queue. A free segment's or a large value's next one, too.
    pub(crate) prev: u32,
    pub(crate) next: u32,
    /// The neighbours in the class.
    class_prev: u32,
    class_next: u32,
    /// Bytes written.
    pub(crate) used: u32,
    /// Where the first record begins: behind the end of one that began in another segment.
    pub(crate) first: u32,
    /// Bytes of items that are in the index.
    pub(crate) live: u32,
    /// How many readers hold it.
    pub(crate) pins: u32,
    /// When its last item will have expired, in seconds.
    pub(crate) expires: u32,
    /// When it was opened, in seconds.
    pub(crate) opened: u32,
    /// The segment in which its last record goes on.
    pub(crate) part: u32,
    pub(crate) queue: Queue,
    pub(crate) state: State,
    /// The class of time to live.
    pub(crate) class: u8,
    /// The CAS unique that was the last when it was opened.
    pub(crate) cas_base: u64,
}

const _: () = assert!(size_of::<Segment>() == 56);

impl Segment {
    const FREE: Self = Self {
        prev: NONE,
        next: NONE,
        class_prev: NONE,
        class_next: NONE,
        used: 0,
        first: 0,
        live: 0,
        pins: 0,
        expires: 0,
        opened: 0,
        part: NONE,
        queue: Queue::Small,
        state: State::Free,
        class: 0,
        cas_base: 0,
    };

    /// Bytes not written yet.
    #[inline]
    pub(crate) const fn rest(&self) -> usize {
        SEGMENT - self.used as usize
    }
}

/// Both ends of a list and its length.
#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
    len: u32,
}

impl List {
    const EMPTY: Self = Self { head: NONE, tail: NONE, len: 0 };
}

/// All segments of a store and their lists.
pub(crate) struct Segments {
    all: Array<Segment>,
    queues: [List; 2],
    classes: [[List; CLASSES]; 2],
    /// Which segment is being filled.
    open: [[u32; CLASSES]; 2],
    /// Segments that large values own, by the queue their records are in.
    pub(crate) own: [u32; 2],
    free: List,
    /// Segments in limbo.
    pub(crate) limbo: u32,
    /// Holds by readers, counted once a segment that is held at all.
    pub(crate) pinned: u32,
}

impl Segments {
    /// Adds the table of `count` segments to what an arena is to hold.
    pub(crate) fn plan(layout: ArenaLayout, count: u32) -> ArenaLayout {
        layout.array::<Segment>(count as usize)
    }

    pub(crate) fn new(arena: &mut Arena, count: u32) -> Result<Self, BuildError> {
        let all = arena.array("cache segments", count as usize, |_| Segment::FREE)?;
        let mut segments = Self {
            all,
            queues: [List::EMPTY; 2],
            classes: [[List::EMPTY; CLASSES]; 2],
            open: [[NONE; CLASSES]; 2],
            own: [0; 2],
            free: List::EMPTY,
            limbo: 0,
            pinned: 0,
        };
        // The lowest number is taken first.
        for index in (0..count).rev() {
            segments.give_back(index);
        }
        Ok(segments)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.all.len() as u32
    }

    /// How many are free.
    #[inline]
    pub(crate) fn free(&self) -> u32 {
        self.free.len
    }

    /// How many a queue holds, those of its large values included.
    #[inline]
    pub(crate) fn held_by(&self, queue: Queue) -> u32 {
        self.queues[queue as usize].len + self.own[queue as usize]
    }

    #[inline]
    pub(crate) fn get(&self, index: u32) -> &Segment {
        &self.all[index as usize]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> &mut Segment {
        &mut self.all[index as usize]
    }

    /// The segment being filled, or [`NONE`].
    #[inline]
    pub(crate) fn open_of(&self, queue: Queue, class: u8) -> u32 {
        self.open[queue as usize][usize::from(class)]
    }

    /// The oldest segment of a queue, or [`NONE`].
    #[inline]
    pub(crate) fn oldest(&self, queue: Queue) -> u32 {
        self.queues[queue as usize].head
    }

    /// Takes a free segment and opens it in place of the one that is open.
    pub(crate) fn open(&mut self, queue: Queue, class: u8, now: u32, cas_base: u64) -> Option<u32> {
        let index = self.take()?;
        let tail = self.queues[queue as usize].tail;
        let class_tail = self.classes[queue as usize][usize::from(class)].tail;
        *self.get_mut(index) = Segment {
            prev: tail,
            class_prev: class_tail,
            state: State::Listed,
            opened: now,
            queue,
            class,
            cas_base,
            ..Segment::FREE
        };
        match self.all.get_mut(tail as usize) {
            Some(before) => before.next = index,
            None => self.queues[queue as usize].head = index,
        }
        match self.all.get_mut(class_tail as usize) {
            Some(before) => before.class_next = index,
            None => self.classes[queue as usize][usize::from(class)].head = index,
        }
        let list = &mut self.queues[queue as usize];
        (list.tail, list.len) = (index, list.len + 1);
        let list = &mut self.classes[queue as usize][usize::from(class)];
        (list.tail, list.len) = (index, list.len + 1);
        self.open[queue as usize][usize::from(class)] = index;
        Some(index)
    }

    /// No more is written to a segment.
    pub(crate) fn seal(&mut self, index: u32) {
        let Segment { queue, class, .. } = *self.get(index);
        let open = &mut self.open[queue as usize][usize::from(class)];
        if *open == index {
            *open = NONE;
        }
    }

    /// No more is written to any segment that is open now.
    pub(crate) fn seal_all(&mut self) {
        self.open = [[NONE; CLASSES]; 2];
    }

    /// Takes a segment off its lists, to be drained.
    pub(crate) fn begin_drain(&mut self, index: u32) {
        self.seal(index);
        let Segment { prev, next, class_prev, class_next, queue, class, .. } = *self.get(index);
        let list = &mut self.queues[queue as usize];
        list.len -= 1;
        match self.all.get_mut(prev as usize) {
            Some(before) => before.next = next,
            None => list.head = next,
        }
        match self.all.get_mut(next as usize) {
            Some(behind) => behind.prev = prev,
            None => list.tail = prev,
        }
        let list = &mut self.classes[queue as usize][usize::from(class)];
        list.len -= 1;
        match self.all.get_mut(class_prev as usize) {
            Some(before) => before.class_next = class_next,
            None => list.head = class_next,
        }
        match self.all.get_mut(class_next as usize) {
            Some(behind) => behind.class_prev = class_prev,
            None => list.tail = class_prev,
        }
        self.get_mut(index).state = State::Draining;
    }

    /// A free segment for a large value that its queue is charged for.
    pub(crate) fn take_own(&mut self, queue: Queue) -> Option<u32> {
        let index = self.take()?;
        *self.get_mut(index) = Segment { state: State::Own, queue, expires: NEVER, ..Segment::FREE };
        self.own[queue as usize] += 1;
        Some(index)
    }

    /// A large value's segment is no longer wanted.
    pub(crate) fn release_own(&mut self, index: u32) {
        let queue = self.get(index).queue;
        self.own[queue as usize] -= 1;
        self.release(index);
    }

    /// A segment without items: it is free, or will be when the last reader is gone.
    pub(crate) fn release(&mut self, index: u32) {
        let segment = self.get_mut(index);
        if segment.pins > 0 {
            // Its links stay: readers follow them.
            segment.state = State::Limbo;
            self.limbo += 1;
        } else {
            self.give_back(index);
        }
    }

    #[inline]
    pub(crate) fn pin(&mut self, index: u32) {
        let segment = self.get_mut(index);
        segment.pins += 1;
        let first = segment.pins == 1;
        self.pinned += u32::from(first);
    }

    #[inline]
    pub(crate) fn unpin(&mut self, index: u32) {
        let segment = self.get_mut(index);
        segment.pins -= 1;
        let (last, limbo) = (segment.pins == 0, segment.state == State::Limbo);
        self.pinned -= u32::from(last);
        if last && limbo {
            self.limbo -= 1;
            self.give_back(index);
        }
    }

    /// A segment of `class` whose items have all expired, the oldest of its queue and class.
    pub(crate) fn expired(&self, class: u8, now: u32) -> Option<u32> {
        [Queue::Small, Queue::Main].into_iter().find_map(|queue| {
            let head = self.classes[queue as usize][usize::from(class)].head;
            let segment = self.all.get(head as usize)?;
            // The one that is open has no last item yet; once it has expired it may as well be closed.
            (segment.expires <= now).then_some(head)
        })
    }

    fn take(&mut self) -> Option<u32> {
        let index = self.free.head;
        let segment = self.all.get(index as usize)?;
        self.free.head = segment.next;
        self.free.len -= 1;
        Some(index)
    }

    fn give_back(&mut self, index: u32) {
        *self.get_mut(index) = Segment { next: self.free.head, ..Segment::FREE };
        self.free.head = index;
        self.free.len += 1;
    }
}
