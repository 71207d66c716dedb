//! Values longer than a segment, and values that arrive piece by piece.
//!
//! A [`Writer`] takes segments as bytes arrive, so a long value makes room step by step and is in nobody's way. When it is
//! whole, the segments it has filled become the value's own, and what is left goes into the record.

use super::item::Item;
use super::put::{NoRoom, Put, Source};
use super::segment::{NONE, Queue, SEGMENT};
use super::{INLINE_MAX, Store};

/// A value that is being written. It must be [committed](Store::commit) or [aborted](Store::abort).
#[derive(Debug)]
#[must_use]
pub struct Writer {
    first: u32,
    last: u32,
    /// Bytes written.
    written: usize,
    /// Bytes there will be.
    total: usize,
}

impl Writer {
    /// How many bytes are still to come.
    pub const fn missing(&self) -> usize {
        self.total - self.written
    }

    /// How many bytes have come.
    pub const fn written(&self) -> usize {
        self.written
    }
}

impl Store {
    /// Begins a value of `total` bytes.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] when it is longer than half of the memory.
    pub fn begin(&mut self, total: usize, now: u32) -> Result<Writer, NoRoom> {
        if total > self.segments_max as usize * SEGMENT / 2 || !self.make_room(now) {
            return Err(NoRoom);
        }
        Ok(Writer { first: NONE, last: NONE, written: 0, total })
    }

    /// Writes the next bytes of a value; those beyond its length are left out.
    ///
    /// # Errors
    ///
    /// [`NoRoom`]: the value must be aborted.
    pub fn append_bytes(&mut self, writer: &mut Writer, mut bytes: &[u8], now: u32) -> Result<(), NoRoom> {
        bytes = bytes.get(..writer.missing()).unwrap_or(bytes);
        while !bytes.is_empty() {
            let (start, room) = self.room_of(writer, now)?;
            let count = room.min(bytes.len());
            if let Some(place) = self.data.get_mut(start..start + count) {
                place.copy_from_slice(&bytes[..count]);
            }
            bytes = &bytes[count..];
            writer.written += count;
        }
        Ok(())
    }

    /// Writes the bytes of a source.
    pub(super) fn append_source(
        &mut self,
        writer: &mut Writer,
        source: Source<'_>,
        now: u32,
    ) -> Result<(), NoRoom> {
        let item = match source {
            Source::Bytes(bytes) => return self.append_bytes(writer, bytes, now),
            Source::Item(item) => item,
        };
        let (mut done, len) = (0, self.value_len(item));
        while done < len {
            let (start, room) = self.room_of(writer, now)?;
            let (from, readable) = self.extent(item, done);
            let count = room.min(readable);
            if count == 0 {
                break;
            }
            self.data.copy_within(from..from + count, start);
            done += count;
            writer.written += count;
        }
        Ok(())
    }

    /// Where the writer's next byte goes and how many have room there; takes another segment when it must.
    fn room_of(&mut self, writer: &mut Writer, now: u32) -> Result<(usize, usize), NoRoom> {
        let at = writer.written % SEGMENT;
        if at == 0 {
            if !self.make_room(now) {
                return Err(NoRoom);
            }
            let index = self.segments.take_own(Queue::Small).ok_or(NoRoom)?;
            if writer.last == NONE {
                writer.first = index;
            } else {
                self.segments.get_mut(writer.last).next = index;
            }
            writer.last = index;
        }
        Ok((writer.last as usize * SEGMENT + at, SEGMENT - at))
    }

    /// Stores a value that is whole.
    ///
    /// # Errors
    ///
    /// [`NoRoom`], and the value is gone.
    pub fn commit(
        &mut self,
        put: &Put<'_>,
        writer: Writer,
        old: Option<Item>,
        now: u32,
    ) -> Result<Item, NoRoom> {
        let total = writer.written;
        let tail = total % SEGMENT;
        let inline = if tail <= INLINE_MAX { tail } else { 0 };
        let own = total - inline;
        if self.available() < 4 {
            self.abort(writer);
            return Err(NoRoom);
        }
        let kept = (own > 0).then_some((writer.first, total));
        let item = match self.append(put, (inline, kept), old, now) {
            Ok(item) => item,
            Err(no_room) => {
                self.abort(writer);
                return Err(no_room);
            }
        };
        if own > 0 {
            self.rehome_own(writer.first, own, item);
        }
        if inline > 0 {
            // The last segment's bytes go into the record.
            let (mut done, from) = (0, writer.last as usize * SEGMENT);
            while done < inline {
                let (to, writable) = self.extent(item, own + done);
                let count = writable.min(inline - done);
                if count == 0 {
                    break;
                }
                self.data.copy_within(from + done..from + done + count, to);
                done += count;
            }
            self.segments.release_own(writer.last);
        }
        Ok(item)
    }

    /// Stores a value that is whole, behind the value of `old` or before it. `old` is pinned.
    ///
    /// # Errors
    ///
    /// [`NoRoom`], or both together are larger than `max`, and the value is gone.
    pub fn join_written(
        &mut self,
        put: &Put<'_>,
        writer: Writer,
        old: Item,
        before: bool,
        max: usize,
        now: u32,
    ) -> Result<Item, NoRoom> {
        let total = self.value_len(old) + writer.written;
        let joined = if total > max { Err(NoRoom) } else { self.begin(total, now) };
        let mut joined = match joined {
            Ok(joined) => joined,
            Err(no_room) => {
                self.abort(writer);
                return Err(no_room);
            }
        };
        let mut copied = Ok(());
        for new in [before, !before] {
            copied = match (copied, new) {
                (Ok(()), true) => self.append_written(&mut joined, &writer, now),
                (Ok(()), false) => self.append_source(&mut joined, Source::Item(old), now),
                (failed, _) => failed,
            };
        }
        self.abort(writer);
        if copied.is_err() || !self.make_room(now) {
            self.abort(joined);
            return Err(NoRoom);
        }
        let old = self.find(put.hash, put.key, now);
        self.commit(put, joined, old, now)
    }

    /// Copies what another writer has written.
    fn append_written(&mut self, writer: &mut Writer, from: &Writer, now: u32) -> Result<(), NoRoom> {
        let (mut index, mut left) = (from.first, from.written);
        while left > 0 {
            let mut at = 0;
            while at < SEGMENT.min(left) {
                let (start, room) = self.room_of(writer, now)?;
                let count = room.min(SEGMENT.min(left) - at);
                let read = index as usize * SEGMENT + at;
                self.data.copy_within(read..read + count, start);
                (at, writer.written) = (at + count, writer.written + count);
            }
            left -= SEGMENT.min(left);
            index = self.segments.get(index).next;
        }
        Ok(())
    }

    /// Gives a value up.
    #[expect(clippy::needless_pass_by_value, reason = "it is over")]
    pub fn abort(&mut self, writer: Writer) {
        let segments = writer.written.div_ceil(SEGMENT);
        self.release_chain(writer.first, segments);
    }

    /// Gives the own segments of a large value back.
    pub(super) fn release_own(&mut self, item: Item) {
        let (_, first, own) = self.own(item);
        self.release_chain(first, own.div_ceil(SEGMENT));
    }

    fn release_chain(&mut self, first: u32, segments: usize) {
        let mut index = first;
        for _ in 0..segments {
            let next = self.segments.get(index).next;
            self.segments.release_own(index);
            index = next;
        }
    }

    /// Charges the queue that the record is in for the value's own segments.
    fn rehome_own(&mut self, first: u32, own: usize, item: Item) {
        let queue = self.segments.get(item.segment()).queue;
        self.rehome(first, own, queue);
    }
}
