//! The receive queue: what arrived in order and waits to be read.
//!
//! One list, sorted by sequence number; `rx_last_in_order` marks where the readable part ends, and what arrived after a gap
//! follows (`gaps`). Bytes are never moved: an item is a view into the buffer in which its segment arrived.

use freeway_mem::{Packet, SharedPacket};

use super::item::{Content, Item, Queues, Side, Store};
use super::{ListId, NONE};

impl Store {
    /// Appends bytes that continue the stream; `at` is the sequence number of the first.
    ///
    /// Fails, and drops the packet, when the tables are full; the caller asked [`Store::has_room_to_receive`] before it
    /// let TCP take the segment.
    pub(crate) fn rx_append(&mut self, list: &mut ListId, at: u32, packet: Packet) -> bool {
        let len = packet.data().len() as u32;
        if self.open(list).is_none() {
            return false;
        }
        if self.rx_coalesce(*list, packet.data()) {
            return true;
        }
        let content = Content::Packet(packet.share().park());
        let Some(index) = self.insert_item(content, (at, len), NONE, Side::Received) else {
            self.close_if_empty(list);
            return false;
        };
        let Some(queues) = self.queues.slot_mut(*list) else { return false };
        let last = queues.rx_last_in_order;
        let behind = if last == NONE { core::mem::replace(&mut queues.rx_head, index) } else { NONE };
        queues.rx_last_in_order = index;
        queues.rx_bytes += len;
        queues.rx_items += 1;
        let behind = match self.items.slot_mut(last) {
            Some(last) => core::mem::replace(&mut last.next, index),
            None => behind,
        };
        if let Some(item) = self.items.slot_mut(index) {
            item.next = behind;
        }
        true
    }

    /// Copies a small segment behind the last unread one, where there is room in that one's buffer: so that
    /// a slow reader of small segments pins no buffer for each.
    fn rx_coalesce(&mut self, list: ListId, bytes: &[u8]) -> bool {
        const SMALL: usize = 512;
        if bytes.len() > SMALL {
            return false;
        }
        let Some(queues) = self.queues.slot_mut(list) else { return false };
        let Some(last) = self.items.slot_mut(queues.rx_last_in_order) else { return false };
        let Content::Packet(parked) = core::mem::replace(&mut last.content, Content::TAKEN) else {
            return false;
        };
        let Ok(shared) = self.pool.unpark(parked).map_err(|parked| last.content = Content::Packet(parked))
        else {
            return false;
        };
        let (packet, copied) = match shared.try_unique() {
            Ok(mut packet) => {
                let room = packet.append(bytes.len());
                let copied = room.is_some();
                if let Some(room) = room {
                    room.copy_from_slice(bytes);
                }
                (packet.share(), copied)
            }
            Err(shared) => (shared, false),
        };
        last.content = Content::Packet(packet.park());
        if copied {
            last.len += bytes.len() as u32;
            queues.rx_bytes += bytes.len() as u32;
        }
        copied
    }

    /// Cuts `count` bytes off the front of an item's content; its numbers are the caller's.
    pub(crate) fn trim_item(&mut self, index: u32, count: u32) {
        if count == 0 {
            return;
        }
        let Some(item) = self.items.slot_mut(index) else { return };
        match core::mem::replace(&mut item.content, Content::TAKEN) {
            Content::Packet(parked) => {
                let trimmed = self.unpark(parked).map(|mut packet| {
                    packet.trim_front(count as usize);
                    packet.park()
                });
                if let (Some(item), Some(parked)) = (self.items.slot_mut(index), trimmed) {
                    item.content = Content::Packet(parked);
                }
            }
            Content::Lent { lent, offset } => item.content = Content::Lent { lent, offset: offset + count },
        }
    }

    /// The first readable bytes, as far as they lie in one piece.
    #[inline]
    pub(crate) fn rx_peek(&self, list: ListId) -> &[u8] {
        match self.rx_front(list).map(|item| &item.content) {
            Some(Content::Packet(parked)) => self.parked_bytes(parked),
            _ => &[],
        }
    }

    fn rx_front(&self, list: ListId) -> Option<&Item> {
        let queues = self.queues.slot(list)?;
        if queues.rx_items == 0 { None } else { self.items.slot(queues.rx_head) }
    }

    /// Copies readable bytes, as many as `into` takes; returns how many.
    pub(crate) fn rx_copy(&self, list: ListId, into: &mut [u8]) -> usize {
        let Some(queues) = self.queues.slot(list) else { return 0 };
        let (mut copied, mut index) = (0, queues.rx_head);
        for _ in 0..queues.rx_items {
            let Some(item) = self.items.slot(index) else { break };
            if let Content::Packet(parked) = &item.content {
                let bytes = self.parked_bytes(parked);
                let count = bytes.len().min(into.len() - copied);
                into[copied..copied + count].copy_from_slice(&bytes[..count]);
                copied += count;
            }
            index = item.next;
        }
        copied
    }

    /// How many bytes are readable.
    #[inline]
    pub(crate) fn rx_bytes(&self, list: ListId) -> u32 {
        self.queues.slot(list).map_or(0, |queues| queues.rx_bytes)
    }

    /// Lets go of the first `count` readable bytes; returns how many there were.
    pub(crate) fn rx_consume(&mut self, list: ListId, count: u32) -> u32 {
        let mut left = count;
        while left > 0
            && let Some(front) = self.rx_front(list)
        {
            let len = front.len;
            if len <= left {
                drop(self.rx_take(list));
                left -= len;
                continue;
            }
            let Some(queues) = self.queues.slot_mut(list) else { break };
            queues.rx_bytes -= left;
            let head = queues.rx_head;
            if let Some(item) = self.items.slot_mut(head) {
                item.at = item.at.wrapping_add(left);
                item.len -= left;
            }
            self.trim_item(head, left);
            left = 0;
        }
        count - left
    }

    /// Takes the first readable piece out of the queue. Queues that are empty now are closed at the end of the turn.
    pub(crate) fn rx_take(&mut self, list: ListId) -> Option<SharedPacket> {
        let &Queues { rx_head, rx_items, .. } = self.queues.slot(list)?;
        if rx_items == 0 {
            return None;
        }
        let (content, len, next) = self.take_item(rx_head)?;
        let queues = self.queues.slot_mut(list)?;
        if queues.rx_last_in_order == queues.rx_head {
            queues.rx_last_in_order = NONE;
        }
        queues.rx_head = next;
        queues.rx_items -= 1;
        queues.rx_bytes -= len;
        match content {
            Content::Packet(parked) => self.unpark(parked),
            Content::Lent { .. } => None,
        }
    }

    /// Puts a piece (or what is left of it) back to the front; `rcv_nxt` is the end of the readable bytes.
    pub(crate) fn rx_put_back(&mut self, list: &mut ListId, packet: SharedPacket, rcv_nxt: u32) {
        let len = packet.data().len() as u32;
        if len == 0 {
            return;
        }
        let Some(Queues { rx_head, rx_bytes, .. }) = self.open(list) else { return };
        let (next, at) = (*rx_head, rcv_nxt.wrapping_sub(*rx_bytes).wrapping_sub(len));
        let content = Content::Packet(packet.park());
        if let Some(index) = self.insert_item(content, (at, len), next, Side::Received)
            && let Some(queues) = self.queues.slot_mut(*list)
        {
            queues.rx_head = index;
            if queues.rx_last_in_order == NONE {
                queues.rx_last_in_order = index;
            }
            queues.rx_items += 1;
            queues.rx_bytes += len;
        }
    }
}
