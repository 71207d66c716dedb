//! The send queue: bytes from the oldest unacknowledged one to the last that the application wrote.
//!
//! Positions count bytes of the stream; `tx_base` is the position of the oldest unacknowledged byte, where
//! TCP's offsets begin. An item that goes out whole, and whose buffer nobody else holds, is sent where it lies:
//! the headers go into the room before it, and the queue keeps a second handle on the buffer until the bytes
//! are acknowledged. Anything else (a part of an item, several items in one segment, lent memory, a buffer
//! that a driver still holds) is copied into a frame of its own.

use freeway_mem::{Packet, SharedPacket};

use super::item::{Content, Item, Side, Store};
use super::{ListId, NONE};

/// The payload of a segment about to be sent.
pub(crate) struct Payload {
    /// The bytes, with headroom before them.
    pub(crate) packet: Packet,
    /// The item whose own buffer this is: it gets a handle back by [`Store::tx_restore`].
    pub(crate) owner: Option<u32>,
}

impl Store {
    /// Bytes queued, acknowledged ones not counted.
    #[inline]
    pub(crate) fn tx_bytes(&self, list: ListId) -> u32 {
        self.queues.slot(list).map_or(0, |queues| queues.tx_bytes)
    }

    /// Queues a packet of payload; gives it back when the tables are full.
    pub(crate) fn tx_push(&mut self, list: &mut ListId, packet: SharedPacket) -> Result<(), SharedPacket> {
        let len = packet.data().len() as u32;
        if len == 0 {
            return Ok(());
        }
        if self.items.len() == self.items.capacity() || self.open(list).is_none() {
            return Err(packet);
        }
        self.tx_append(list, Content::Packet(packet.park()), len);
        Ok(())
    }

    /// Queues a range of lent memory.
    pub(crate) fn tx_push_lent(&mut self, list: &mut ListId, lent: u32, offset: u32, len: u32) -> bool {
        len == 0 || self.hold_lent(lent) && self.tx_append(list, Content::Lent { lent, offset }, len)
    }

    #[inline(always)]
    fn tx_append(&mut self, list: &mut ListId, content: Content, len: u32) -> bool {
        let Some(queues) = self.open(list) else {
            self.drop_content(content);
            return false;
        };
        let at = queues.tx_base.wrapping_add(queues.tx_bytes);
        let Some(index) = self.insert_item(content, (at, len), NONE, Side::Sent) else {
            self.close_if_empty(list);
            return false;
        };
        let Some(queues) = self.queues.slot_mut(*list) else { return false };
        let tail = core::mem::replace(&mut queues.tx_tail, index);
        queues.tx_bytes += len;
        match self.items.slot_mut(tail) {
            Some(tail) => tail.next = index,
            None => queues.tx_head = index,
        }
        true
    }

    /// Copies bytes into frames of at most `mss` bytes each, the first behind what the last frame holds if
    /// that was not sent yet. Returns how many there was room for.
    pub(crate) fn tx_write(&mut self, list: &mut ListId, bytes: &[u8], mss: usize) -> usize {
        let mut written = self.tx_extend_tail(*list, bytes, mss);
        while written < bytes.len() && self.admits_sent(*list) {
            let Some(mut packet) = self.pool.alloc() else { break };
            let piece = (bytes.len() - written).min(mss).min(packet.tailroom());
            let Some(room) = packet.append(piece) else { break };
            room.copy_from_slice(&bytes[written..written + piece]);
            if piece == 0 || self.tx_push(list, packet.share()).is_err() {
                break;
            }
            written += piece;
        }
        written
    }

    fn tx_extend_tail(&mut self, list: ListId, bytes: &[u8], mss: usize) -> usize {
        let Some(queues) = self.queues.slot_mut(list) else { return 0 };
        let Some(tail) = self.items.slot_mut(queues.tx_tail) else { return 0 };
        let was_sent = queues.tx_sent.wrapping_sub(tail.at) as i32 > 0;
        let room = mss.saturating_sub(tail.len as usize).min(bytes.len());
        if was_sent || room == 0 {
            return 0;
        }
        let parked = match core::mem::replace(&mut tail.content, Content::TAKEN) {
            Content::Packet(parked) => parked,
            other => {
                tail.content = other;
                return 0;
            }
        };
        let shared = match self.pool.unpark(parked) {
            Ok(shared) => shared,
            Err(parked) => {
                tail.content = Content::Packet(parked);
                return 0;
            }
        };
        let (shared, copied) = match shared.try_unique() {
            Ok(mut packet) => {
                let piece = room.min(packet.tailroom());
                if let Some(space) = packet.append(piece) {
                    space.copy_from_slice(&bytes[..piece]);
                }
                (packet.share(), piece)
            }
            Err(shared) => (shared, 0),
        };
        tail.content = Content::Packet(shared.park());
        tail.len += copied as u32;
        queues.tx_bytes += copied as u32;
        copied
    }

    /// Lets go of the first `count` bytes: they are acknowledged. Queues that are empty now are
    /// [closed](Self::close_if_empty) at the end of the turn: the next bytes are often there already.
    pub(crate) fn tx_acked(&mut self, list: ListId, count: u32) {
        let Some(queues) = self.queues.slot_mut(list) else { return };
        let count = count.min(queues.tx_bytes);
        queues.tx_base = queues.tx_base.wrapping_add(count);
        queues.tx_bytes -= count;
        let base = queues.tx_base;
        let mut head = queues.tx_head;
        while let Some(item) = self.items.slot_mut(head) {
            let gone = base.wrapping_sub(item.at) as i32;
            if gone <= 0 {
                break;
            }
            if (gone as u32) < item.len {
                item.at = base;
                item.len -= gone as u32;
                self.trim_item(head, gone as u32);
                break;
            }
            let next = self.free_item(head);
            if let Some(queues) = self.queues.slot_mut(list) {
                for cursor in [&mut queues.tx_cursor, &mut queues.tx_again] {
                    if *cursor == head {
                        *cursor = next;
                    }
                }
            }
            head = next;
        }
        if let Some(queues) = self.queues.slot_mut(list) {
            queues.tx_head = head;
            if head == NONE {
                queues.tx_tail = NONE;
                (queues.tx_cursor, queues.tx_again) = (NONE, NONE);
            }
        }
    }

    /// The `len` bytes at `offset` from the oldest unacknowledged one, as the payload of one segment.
    ///
    /// `None` when the pool is empty or the queue does not hold them.
    pub(crate) fn tx_payload(&mut self, list: ListId, offset: u32, len: u32) -> Option<Payload> {
        let queues = self.queues.slot_mut(list)?;
        let at = queues.tx_base.wrapping_add(offset);
        let end = at.wrapping_add(len);
        let is_new = end.wrapping_sub(queues.tx_sent) as i32 > 0;
        let cursor = if is_new { &mut queues.tx_cursor } else { &mut queues.tx_again };
        let index = Self::tx_find(&self.items, [*cursor, queues.tx_head], at)?;
        *cursor = index;
        if is_new {
            queues.tx_sent = end;
        }
        let item = self.items.slot_mut(index)?;
        if item.at == at && item.len == len {
            match core::mem::replace(&mut item.content, Content::TAKEN) {
                Content::Packet(parked) => match self.unpark(parked)?.try_unique() {
                    Ok(packet) if packet.headroom() >= HEADERS_MAX => {
                        return Some(Payload { packet, owner: Some(index) });
                    }
                    Ok(packet) => self.tx_restore(index, packet.share()),
                    Err(shared) => self.tx_restore(index, shared),
                },
                other => item.content = other,
            }
        }
        self.tx_copy(index, at, len).map(|packet| Payload { packet, owner: None })
    }

    /// The item that holds the byte at position `at`: from the cursor on if it lies there, else from the head.
    fn tx_find(items: &freeway_collections::Slab<Item>, [cursor, head]: [u32; 2], at: u32) -> Option<u32> {
        let reaches = |index: u32| items.slot(index).is_some_and(|item| at.wrapping_sub(item.at) as i32 >= 0);
        let mut index = if reaches(cursor) { cursor } else { head };
        while let Some(item) = items.slot(index) {
            if at.wrapping_sub(item.at) < item.len {
                return Some(index);
            }
            index = item.next;
        }
        None
    }

    /// Copies `len` bytes from position `at` on, which lies in item `index`, into a frame of its own.
    fn tx_copy(&self, mut index: u32, at: u32, len: u32) -> Option<Packet> {
        let mut packet = self.pool.alloc()?;
        let mut room = packet.append(len as usize)?;
        let mut skip = at.wrapping_sub(self.items.slot(index)?.at) as usize;
        while !room.is_empty() {
            let item = self.items.slot(index)?;
            let bytes = match &item.content {
                Content::Packet(parked) => self.parked_bytes(parked),
                Content::Lent { lent, offset } => {
                    self.lent_bytes(*lent).get(*offset as usize..(*offset + item.len) as usize)?
                }
            };
            let bytes = bytes.get(skip..)?;
            let (now, later) = room.split_at_mut(bytes.len().min(room.len()));
            now.copy_from_slice(&bytes[..now.len()]);
            (room, index, skip) = (later, item.next, 0);
        }
        Some(packet)
    }

    /// Gives an item the handle on its own buffer back.
    pub(crate) fn tx_restore(&mut self, index: u32, packet: SharedPacket) {
        if let Some(item) = self.items.slot_mut(index) {
            item.content = Content::Packet(packet.park());
        }
    }
}

/// Ethernet with a tag, IPv6 and the longest TCP header.
const HEADERS_MAX: usize = 18 + 40 + 60;
