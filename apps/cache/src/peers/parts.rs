//! What connections are owed while other cores are asked: queues of parts.
//!
//! A part is an answer of another core, awaited or arrived, or bytes of this core's that stand behind one. Its number is
//! the ticket under which the other core is asked. Parts and the buffers of those that need one are pools of this core.

use bitflags::bitflags;

use crate::engine::RESERVE;
use crate::tasks::NONE;

/// Bytes of a buffer: any answer but a long value.
const HELD: usize = RESERVE;
/// No buffer.
const NO_BUFFER: u16 = u16::MAX;

bitflags! {
    /// What a part is.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub(crate) struct Is: u8 {
        /// In use.
        const TAKEN = 1;
        /// The rest of a long value is to be pulled.
        const MORE = 1 << 1;
        /// The end of a get stands behind the value that is pulled.
        const END = 1 << 2;
        /// The value is still on its way to the other core.
        const SENDING = 1 << 3;
        /// Its answers are numbers, to be added up.
        const COUNTS = 1 << 4;
        /// Its answer is a piece of a list.
        const LIST = 1 << 5;
    }
}

/// A part. Queues and the list of those that are free run through `next`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Whose; none where the connection is gone.
    pub(crate) task: u16,
    next: u16,
    /// Answers that are awaited.
    pub(crate) awaited: u16,
    /// Which core is asked.
    pub(crate) core: u16,
    buffer: u16,
    from: u16,
    to: u16,
    pub(crate) is: Is,
}

impl Part {
    /// Whether it is another core's turn, and not the connection's own.
    pub(crate) fn is_awaited(&self) -> bool {
        self.awaited > 0 && !self.is.contains(Is::SENDING)
    }
}

/// A connection's parts, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Queue {
    pub(crate) first: u16,
    last: u16,
}

impl Default for Queue {
    fn default() -> Self {
        Self { first: NO_BUFFER, last: NO_BUFFER }
    }
}

impl Queue {
    pub(crate) const fn is_empty(self) -> bool {
        self.first == NO_BUFFER
    }
}

/// The parts of one core.
pub(crate) struct Parts {
    all: Box<[Part]>,
    free: u16,
    in_use: u16,
    buffers: Box<[u8]>,
    free_buffers: Vec<u16>,
    /// The first of those that other cores must be told of, since their connections are gone.
    to_abort: u16,
}

const _: () = assert!(size_of::<Part>() <= 16 && HELD <= u16::MAX as usize);

impl Parts {
    /// `parts` parts, `buffers` of which may stand behind others at once.
    pub(crate) fn new(parts: u16, buffers: u16) -> Self {
        let part = |next| Part {
            task: NONE,
            next,
            awaited: 0,
            core: 0,
            buffer: NO_BUFFER,
            from: 0,
            to: 0,
            is: Is::empty(),
        };
        let parts = parts.min(u16::MAX - 1);
        Self {
            all: (0..parts).map(|n| part(if n + 1 < parts { n + 1 } else { NO_BUFFER })).collect(),
            free: if parts > 0 { 0 } else { NO_BUFFER },
            in_use: 0,
            buffers: vec![0; usize::from(buffers) * HELD].into_boxed_slice(),
            free_buffers: (0..buffers).rev().collect(),
            to_abort: NO_BUFFER,
        }
    }

    pub(crate) fn len(&self) -> u16 {
        self.in_use
    }

    #[inline]
    pub(crate) fn get(&mut self, number: u16) -> Option<&mut Part> {
        self.all.get_mut(usize::from(number)).filter(|part| part.is.contains(Is::TAKEN))
    }

    /// Whether one more can be had for this queue.
    #[inline]
    pub(crate) fn has_room(&self, queue: Queue) -> bool {
        self.free != NO_BUFFER && (queue.is_empty() || !self.free_buffers.is_empty())
    }

    /// A new last part of a queue; it has a buffer unless it is the first.
    pub(crate) fn push(&mut self, queue: &mut Queue, task: u16, core: u32, awaited: u16) -> Option<u16> {
        if !self.has_room(*queue) {
            return None;
        }
        let buffer = if queue.is_empty() { NO_BUFFER } else { self.free_buffers.pop()? };
        let number = self.free;
        let part = self.all.get_mut(usize::from(number))?;
        self.free = part.next;
        *part =
            Part { task, next: NO_BUFFER, awaited, core: core as u16, buffer, from: 0, to: 0, is: Is::TAKEN };
        self.in_use += 1;
        let last = core::mem::replace(&mut queue.last, number);
        match self.all.get_mut(usize::from(last)) {
            Some(last) if !queue.is_empty() => last.next = number,
            _ => queue.first = number,
        }
        Some(number)
    }

    /// Takes the first part off a queue.
    pub(crate) fn pop(&mut self, queue: &mut Queue) -> Option<u16> {
        let number = queue.first;
        let part = self.get(number)?;
        queue.first = part.next;
        if queue.first == NO_BUFFER {
            *queue = Queue::default();
        }
        Some(number)
    }

    /// Gives a part back that is in no queue.
    pub(crate) fn release(&mut self, number: u16) {
        let free = self.free;
        let Some(part) = self.get(number) else { return };
        let buffer = part.buffer;
        (part.is, part.next, part.buffer) = (Is::empty(), free, NO_BUFFER);
        self.free = number;
        self.in_use -= 1;
        if buffer != NO_BUFFER {
            self.free_buffers.push(buffer);
        }
    }

    /// Gives a part a buffer if it has none; false when there is none left.
    pub(crate) fn give_buffer(&mut self, number: u16) -> bool {
        let Some(part) = self.all.get_mut(usize::from(number)) else { return false };
        if part.buffer == NO_BUFFER {
            let Some(buffer) = self.free_buffers.pop() else { return false };
            part.buffer = buffer;
        }
        true
    }

    /// Moves what a part holds into a new one before it, so that there is room for more; `None` when none can be had.
    pub(crate) fn set_aside(&mut self, queue: &mut Queue, number: u16) -> Option<()> {
        if !self.has_room(*queue) {
            return None;
        }
        let free = self.free;
        let mut before = queue.first;
        while before != number && self.get(before)?.next != number {
            before = self.get(before)?.next;
        }
        let part = self.all.get_mut(usize::from(number))?;
        let held = Part { next: number, awaited: 0, is: Is::TAKEN, ..*part };
        (part.buffer, part.from, part.to) = (self.free_buffers.pop()?, 0, 0);
        let new = self.all.get_mut(usize::from(free))?;
        self.free = core::mem::replace(new, held).next;
        self.in_use += 1;
        if before == number {
            queue.first = free;
        } else {
            self.all.get_mut(usize::from(before))?.next = free;
        }
        Some(())
    }

    /// Whether nothing of a queue is awaited.
    pub(crate) fn has_all(&self, queue: Queue) -> bool {
        let mut next = queue.first;
        while let Some(part) = self.all.get(usize::from(next)) {
            if part.awaited > 0 {
                return false;
            }
            next = part.next;
        }
        true
    }

    /// Bytes behind a queue's last part: into that part, if it is bytes only and has room, or into a new one.
    pub(crate) fn hold_behind(&mut self, queue: &mut Queue, task: u16, bytes: &[u8]) -> bool {
        let awaits =
            self.get(queue.last).is_none_or(|last| last.awaited > 0 || !(last.is - Is::TAKEN).is_empty());
        if !awaits && self.hold(queue.last, bytes) {
            return true;
        }
        match self.push(queue, task, 0, 0) {
            Some(number) => self.give_buffer(number) && self.hold(number, bytes),
            None => false,
        }
    }

    /// Puts bytes behind those that a part holds; false when it has no buffer or too little of it.
    pub(crate) fn hold(&mut self, number: u16, bytes: &[u8]) -> bool {
        let Some(part) = self.all.get_mut(usize::from(number)) else { return false };
        let to = usize::from(part.to);
        if part.buffer == NO_BUFFER || to + bytes.len() > HELD {
            return bytes.is_empty();
        }
        let start = usize::from(part.buffer) * HELD + to;
        if let Some(place) = self.buffers.get_mut(start..start + bytes.len()) {
            place.copy_from_slice(bytes);
            part.to += bytes.len() as u16;
        }
        true
    }

    /// The bytes that a part holds.
    pub(crate) fn held(&self, number: u16) -> &[u8] {
        let Some(part) = self.all.get(usize::from(number)) else { return &[] };
        let start = usize::from(part.buffer) * HELD;
        let (from, to) = (start + usize::from(part.from), start + usize::from(part.to));
        self.buffers.get(from..to).unwrap_or(&[])
    }

    /// The first `count` of them are gone.
    pub(crate) fn drop_held(&mut self, number: u16, count: usize) {
        if let Some(part) = self.get(number) {
            part.from += count as u16;
            if part.from >= part.to {
                (part.from, part.to) = (0, 0);
            }
        }
    }

    /// A part whose connection is gone: it stays until all that is awaited has come.
    pub(crate) fn orphan(&mut self, number: u16) {
        let aborts = self.to_abort;
        let Some(part) = self.get(number) else { return };
        part.task = NONE;
        // Another core holds what is pulled, or expects more bytes.
        if part.is.contains(Is::SENDING) || part.is.contains(Is::MORE) && part.awaited == 0 {
            part.next = aborts;
            self.to_abort = number;
        } else if part.awaited == 0 {
            self.release(number);
        }
    }

    /// The number and the core of a part of which that core must be told.
    pub(crate) fn to_abort(&self) -> Option<(u16, u32)> {
        let part = self.all.get(usize::from(self.to_abort))?;
        Some((self.to_abort, u32::from(part.core)))
    }

    /// It was told, and will answer.
    pub(crate) fn told(&mut self) {
        let Some(part) = self.all.get_mut(usize::from(self.to_abort)) else { return };
        self.to_abort = part.next;
        part.is = Is::TAKEN;
        part.awaited += 1;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_queue_keeps_its_order_and_gives_everything_back() {
        let mut parts = Parts::new(4, 3);
        let mut queue = Queue::default();
        let first = parts.push(&mut queue, 7, 1, 1).unwrap();
        assert!(!parts.hold(first, b"the first has no buffer"));
        assert!(parts.hold_behind(&mut queue, 7, b"behind"));
        assert!(parts.hold_behind(&mut queue, 7, b" it"));
        let third = parts.push(&mut queue, 7, 1, 1).unwrap();
        assert!(parts.hold(third, b"answer"));
        assert!(parts.hold_behind(&mut queue, 7, b"last"));
        assert!(parts.push(&mut queue, 7, 1, 1).is_none(), "there are four");
        let mut seen = Vec::new();
        while let Some(number) = parts.pop(&mut queue) {
            seen.push(String::from_utf8(parts.held(number).to_vec()).unwrap());
            parts.release(number);
        }
        assert_eq!(seen, ["", "behind it", "answer", "last"]);
        assert_eq!((queue, parts.len(), parts.free_buffers.len()), (Queue::default(), 0, 3));
    }

    #[test]
    fn what_is_set_aside_stands_before_what_comes() {
        let mut parts = Parts::new(8, 8);
        let mut queue = Queue::default();
        let first = parts.push(&mut queue, 1, 1, 1).unwrap();
        let second = parts.push(&mut queue, 1, 1, 1).unwrap();
        assert!(parts.give_buffer(first));
        for number in [first, second] {
            for piece in [b"1", b"2", b"3"] {
                assert!(parts.hold(number, piece));
                parts.set_aside(&mut queue, number).unwrap();
            }
            assert!(parts.hold(number, b"."));
        }
        let mut seen = Vec::new();
        while let Some(number) = parts.pop(&mut queue) {
            seen.extend_from_slice(parts.held(number));
            parts.release(number);
        }
        assert_eq!((seen.as_slice(), parts.len(), parts.free_buffers.len()), (b"123.123.".as_slice(), 0, 8));
    }

    #[test]
    fn without_a_buffer_only_a_first_part_can_be_had() {
        let mut parts = Parts::new(8, 1);
        let (mut one, mut other) = (Queue::default(), Queue::default());
        parts.push(&mut one, 1, 1, 1).unwrap();
        parts.push(&mut one, 1, 1, 1).unwrap();
        assert!(parts.push(&mut one, 1, 1, 1).is_none());
        assert!(parts.push(&mut other, 2, 1, 1).is_some());
        assert!(!parts.hold_behind(&mut other, 2, b"no place"));
    }

    #[test]
    fn what_another_core_works_on_outlives_its_connection() {
        let mut parts = Parts::new(8, 4);
        let mut queue = Queue::default();
        let [awaited, pulled, arrived] =
            [1, 0, 0].map(|awaited| parts.push(&mut queue, 1, 1, awaited).unwrap());
        parts.get(pulled).unwrap().is |= Is::MORE;
        for number in [awaited, pulled, arrived] {
            assert_eq!(parts.pop(&mut queue), Some(number));
            parts.orphan(number);
        }
        assert_eq!((parts.len(), parts.to_abort()), (2, Some((pulled, 1))));
        parts.told();
        assert_eq!((parts.get(pulled).unwrap().awaited, parts.to_abort()), (1, None));
    }
}
