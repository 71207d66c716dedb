//! A ring of values.

use core::fmt;
use core::mem::MaybeUninit;

use arrayvec::ArrayVec;

use super::indices::{self, Reader, Storage, Writer};
use super::sync::UnsafeCell;

/// A ring that holds up to `capacity` values, rounded up to a power of two.
///
/// # Panics
///
/// If that is more than memory can hold.
pub fn spsc<T: Send>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    let capacity = indices::capacity(capacity);
    let slots = (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
    let (writer, reader) = indices::ends(Slots(slots), capacity);
    (Producer { writer }, Consumer { reader })
}

/// Values between `head` and `tail`, nothing elsewhere.
struct Slots<T>(Box<[UnsafeCell<MaybeUninit<T>>]>);

// SAFETY: needed to share the slots between two threads. Each slot is used by one end at a time: the indices, whose
// stores release and whose loads acquire, say which. Values move from one thread to the other, so they must be `Send`.
unsafe impl<T: Send> Sync for Slots<T> {}

impl<T> Slots<T> {
    #[inline(always)]
    fn slot(&self, index: usize) -> &UnsafeCell<MaybeUninit<T>> {
        // SAFETY: needed to save a check for each value. The length is a power of two, so the mask keeps the index
        // below it.
        unsafe { self.0.get_unchecked(index & (self.0.len() - 1)) }
    }

    /// # Safety
    ///
    /// The slot is empty and the caller's.
    #[inline(always)]
    unsafe fn fill(&self, index: usize, value: T) {
        self.slot(index).with_mut(|slot| {
            // SAFETY: needed to write through a shared reference; the slot is the caller's.
            unsafe { slot.write(MaybeUninit::new(value)) };
        });
    }

    /// # Safety
    ///
    /// The slot is filled and the caller's; it is empty afterwards.
    #[inline(always)]
    unsafe fn take(&self, index: usize) -> T {
        self.slot(index).with(|slot| {
            // SAFETY: needed to move the value out through a shared reference; the slot is the caller's.
            let value = unsafe { slot.read() };
            // SAFETY: needed to say that there is a value; the caller knows.
            unsafe { value.assume_init() }
        })
    }
}

impl<T> Storage for Slots<T> {
    fn clear(&mut self, head: usize, tail: usize) {
        let mut index = head;
        while index != tail {
            // SAFETY: needed to drop what nobody took. Between the indices slots are filled, and both ends are gone.
            drop(unsafe { self.take(index) });
            index = index.wrapping_add(1);
        }
    }
}

/// The end that sends. It may move to another thread.
pub struct Producer<T> {
    writer: Writer<Slots<T>>,
}

impl<T> Producer<T> {
    /// Sends a value.
    ///
    /// # Errors
    ///
    /// The ring is full: here the value is back.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), T> {
        if self.writer.room(1) == 0 {
            return Err(value);
        }
        // SAFETY: needed to fill the slot at the tail, which with room in the ring is empty and the writer's.
        unsafe { self.writer.slots().fill(self.writer.tail(), value) };
        self.writer.advance();
        self.writer.publish();
        Ok(())
    }

    /// Sends values from the front of `from` as far as there is room, all seen at once, and returns how many. The
    /// others stay.
    #[inline]
    pub fn push_burst<const N: usize>(&mut self, from: &mut ArrayVec<T, N>) -> usize {
        let count = self.writer.room(from.len()).min(from.len());
        self.push_iter(&mut from.drain(..count))
    }

    /// Sends what `values` yields as far as there is room, all seen at once, and returns how many. No value is
    /// taken that cannot be sent.
    #[inline]
    pub fn push_iter(&mut self, values: &mut impl Iterator<Item = T>) -> usize {
        let wanted = values.size_hint().0.max(1);
        let room = self.writer.room(wanted);
        let mut sent = 0;
        while sent < room {
            let Some(value) = values.next() else { break };
            // SAFETY: as in `push`: fewer values than there was room for have been sent.
            unsafe { self.writer.slots().fill(self.writer.tail(), value) };
            self.writer.advance();
            sent += 1;
        }
        self.writer.publish();
        sent
    }

    /// How many values the ring holds at most.
    pub fn capacity(&self) -> usize {
        self.writer.capacity()
    }

    /// How many values are in the ring; the other end may have taken some meanwhile.
    pub fn len(&self) -> usize {
        self.writer.len()
    }

    /// Whether the other end has taken everything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the other end is gone: nobody will take what is sent.
    pub fn is_disconnected(&self) -> bool {
        self.writer.is_disconnected()
    }
}

/// The end that receives. It may move to another thread.
pub struct Consumer<T> {
    reader: Reader<Slots<T>>,
}

impl<T> Consumer<T> {
    /// The oldest value in the ring.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.reader.ready(1) == 0 {
            return None;
        }
        let value = self.take();
        self.reader.publish();
        Some(value)
    }

    /// Moves the oldest values to the end of `into`, as many as it has room for, and returns how many.
    #[inline]
    pub fn pop_burst<const N: usize>(&mut self, into: &mut ArrayVec<T, N>) -> usize {
        let wanted = into.remaining_capacity();
        let count = self.reader.ready(wanted).min(wanted);
        if count == 0 {
            return 0;
        }
        into.extend((0..count).map(|_| self.take()));
        self.reader.publish();
        count
    }

    /// How many values wait in the ring.
    pub fn len(&self) -> usize {
        self.reader.len()
    }

    /// Whether none wait.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the other end is gone. What it sent before still waits: after a yes, a `pop` that finds nothing
    /// means that nothing will come.
    pub fn is_disconnected(&self) -> bool {
        self.reader.is_disconnected()
    }

    /// Takes the next value, which must be ready.
    #[inline(always)]
    fn take(&mut self) -> T {
        debug_assert!(self.reader.ready_known() > 0);
        // SAFETY: needed to empty the slot at the head, which is filled and the reader's: both callers have seen
        // that so many values are ready.
        let value = unsafe { self.reader.slots().take(self.reader.head()) };
        self.reader.advance();
        value
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("capacity", &self.capacity()).field("len", &self.len()).finish()
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("len", &self.len()).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
