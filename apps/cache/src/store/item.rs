//! What can be asked of an item.

use freeway_base::short;

use super::record::{Bits, Header};
use super::segment::SEGMENT;
use super::time::NEVER;
use super::{POSITIONS, Store};

/// An item, by the place of its record; good until the store changes, or for as long as it is pinned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item {
    /// In units of 8 bytes.
    pub(super) at: u32,
    /// As it was when the handle was made.
    pub(super) header: Header,
}

impl Item {
    /// The number that stands for it while it is pinned; [`Store::pinned_item`] turns it back.
    pub const fn number(self) -> u32 {
        self.at
    }

    /// Whether it was invalidated.
    pub const fn is_stale(self) -> bool {
        self.header.has(Bits::STALE)
    }

    /// Whether somebody was told to recache it.
    pub const fn is_won(self) -> bool {
        self.header.has(Bits::WON)
    }

    /// Whether it was asked for since it was stored.
    pub const fn is_fetched(self) -> bool {
        self.header.has(Bits::FETCHED)
    }

    /// Bytes of its record.
    pub const fn record_len(self) -> usize {
        self.header.record_len()
    }

    #[inline]
    pub(super) const fn segment(self) -> u32 {
        self.at / POSITIONS
    }

    /// Where in its segment it begins, in bytes.
    #[inline]
    pub(super) const fn offset(self) -> usize {
        (self.at % POSITIONS) as usize * 8
    }

    /// How many bytes of the record lie in its segment, and how many in the next.
    #[inline]
    pub(super) const fn split(self) -> (usize, usize) {
        let (len, rest) = (self.header.record_len(), SEGMENT - self.offset());
        if len <= rest { (len, 0) } else { (rest, len - rest) }
    }
}

impl Store {
    /// The item that a number stands for, which is pinned.
    pub fn pinned_item(&self, number: u32) -> Item {
        self.item(number)
    }

    /// Its key.
    #[inline]
    pub fn key(&self, item: Item) -> &[u8] {
        let start = item.at as usize * 8;
        self.data.get(start + item.header.key_at()..start + item.header.value_at()).unwrap_or(&[])
    }

    #[inline]
    fn word(&self, item: Item, at: Option<usize>) -> Option<u32> {
        let start = item.at as usize * 8 + at?;
        self.data.get(start..)?.first_chunk().map(|&bytes| u32::from_le_bytes(bytes))
    }

    pub(super) fn set_word(&mut self, item: Item, at: Option<usize>, value: u32) {
        let Some(at) = at else { return };
        if let Some(place) = self.data.get_mut(item.at as usize * 8 + at..).and_then(<[u8]>::first_chunk_mut)
        {
            *place = value.to_le_bytes();
        }
    }

    pub(super) fn set_cas_field(&mut self, item: Item, cas: u64) {
        let Some(at) = item.header.cas_at() else { return };
        if let Some(place) = self.data.get_mut(item.at as usize * 8 + at..).and_then(<[u8]>::first_chunk_mut)
        {
            *place = cas.to_le_bytes();
        }
    }

    /// When it expires, in seconds of the store's clock; [`NEVER`] for one that does not.
    #[inline]
    pub fn expiry(&self, item: Item) -> u32 {
        self.word(item, item.header.expiry_at()).unwrap_or(NEVER)
    }

    /// Its client flags.
    #[inline]
    pub fn flags(&self, item: Item) -> u32 {
        self.word(item, item.header.flags_at()).unwrap_or(0)
    }

    /// Its CAS unique, which nobody is shown: it may change without the item.
    #[inline]
    pub fn cas(&self, item: Item) -> u64 {
        match item.header.cas_at() {
            Some(at) => {
                let bytes = self.data.get(item.at as usize * 8 + at..).and_then(<[u8]>::first_chunk);
                bytes.map_or(0, |&bytes| u64::from_le_bytes(bytes))
            }
            None => self.segments.get(item.segment()).cas_base + u64::from(item.header.cas_delta()),
        }
    }

    /// Its CAS unique for a client: from now on it stays what it is for as long as the item does.
    #[inline]
    pub fn show_cas(&mut self, item: Item) -> u64 {
        self.add_bits(item, Bits::CAS_SHOWN);
        self.cas(item)
    }

    /// Marks it as invalidated.
    pub fn mark_stale(&mut self, item: Item) {
        let header = self.header(item.at);
        self.set_header(item.at, header.with_bits(header.bits().with(Bits::STALE).without(Bits::WON)));
    }

    /// Notes that somebody was told to recache it.
    pub fn mark_won(&mut self, item: Item) {
        self.add_bits(item, Bits::WON);
    }

    fn add_bits(&mut self, item: Item, bits: Bits) {
        let header = self.header(item.at);
        if !header.has(bits) {
            self.set_header(item.at, header.with_bits(header.bits().with(bits)));
        }
    }

    /// When it was last asked for or else stored, in seconds of the store's clock: exact for seventeen minutes after its
    /// segment was opened, then to one part in 512 of the segment's age.
    pub fn last_access(&self, item: Item) -> u32 {
        self.segments.get(item.segment()).opened.saturating_add(item.header.age().secs())
    }

    /// The length of its value in bytes.
    #[inline]
    pub fn value_len(&self, item: Item) -> usize {
        let (total, ..) = self.own(item);
        total
    }

    /// A large value's total length, the first of its own segments, and how many bytes lie in them; any other's
    /// length, none and 0.
    #[inline]
    pub(super) fn own(&self, item: Item) -> (usize, u32, usize) {
        let inline = item.header.inline_len();
        let Some(at) = item.header.large_at() else { return (inline, super::NONE, 0) };
        let total = self.word(item, Some(at)).unwrap_or(0) as usize;
        let first = self.word(item, Some(at + 4)).unwrap_or(super::NONE);
        (total, first, total.saturating_sub(inline))
    }

    /// A piece of its value: what lies in one piece from byte `from` on; empty at the end.
    #[inline]
    pub fn piece(&self, item: Item, from: usize) -> &[u8] {
        let (start, len) = self.extent(item, from);
        self.data.get(start..start + len).unwrap_or(&[])
    }

    /// Where in the data the value's byte `from` lies, and how many of its bytes follow there.
    #[inline]
    pub(super) fn extent(&self, item: Item, from: usize) -> (usize, usize) {
        let (total, first, own) = self.own(item);
        if from < own {
            let mut index = first;
            for _ in 0..from / SEGMENT {
                index = self.segments.get(index).next;
            }
            let at = from % SEGMENT;
            return (index as usize * SEGMENT + at, (SEGMENT - at).min(own - from));
        }
        let left = total.saturating_sub(from);
        let at = item.offset() + item.header.value_at() + (from - own);
        let segment = item.segment();
        if at < SEGMENT {
            (segment as usize * SEGMENT + at, left.min(SEGMENT - at))
        } else {
            let part = self.segments.get(segment).part;
            (part as usize * SEGMENT + (at - SEGMENT), left)
        }
    }

    /// Copies its value from byte `from` on, as much as `into` takes; returns how much.
    pub fn read(&self, item: Item, from: usize, into: &mut [u8]) -> usize {
        let mut done = 0;
        while done < into.len() {
            let piece = self.piece(item, from + done);
            let count = piece.len().min(into.len() - done);
            if count == 0 {
                break;
            }
            short::copy(&mut into[done..], &piece[..count]);
            done += count;
        }
        done
    }
}
