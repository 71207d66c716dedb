//! The receive queue: what arrived in order and waits to be read, and what arrived after a gap.
//!
//! One list, sorted by sequence number; `rx_last_in_order` marks where the readable part ends. Bytes are never
//! moved: an item is a view into the buffer in which its segment arrived. Where segments overlap, bytes that
//! are in order stay as they first came.

use freeway_mem::{Packet, SharedPacket};
use freeway_wire::tcp::{SackBlocks, SeqNumber};

use super::item::{Content, Item, Queues, Side, Store};
use super::{ListId, NONE};

/// A run of sequence numbers, to the one behind its last.
type Block = (SeqNumber, SeqNumber);

/// What became of a segment that arrived after a gap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Inserted {
    /// It is held.
    Stored,
    /// All of it was held already.
    Duplicate,
    /// The connection holds as many as it may, or the tables are full.
    Full,
}

/// `a - b` of two positions in sequence space, as a signed distance.
const fn distance(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

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
        let item = Item {
            content: Content::Packet(packet.share().park()),
            at,
            len,
            next: NONE,
            fin: false,
            side: Side::Received,
        };
        let Some(index) = self.insert_item(item) else {
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
        let Content::Packet(parked) = core::mem::replace(&mut last.content, Content::Taken) else {
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

    /// Holds bytes that arrived after a gap.
    pub(crate) fn rx_insert(
        &mut self,
        list: &mut ListId,
        at: u32,
        mut packet: Packet,
        fin: bool,
    ) -> Inserted {
        let max_out_of_order = self.max_out_of_order;
        let has_room = self.has_room_to_hold();
        let Some(queues) = self.open(list) else { return Inserted::Full };
        queues.rx_recent.rotate_right(1);
        queues.rx_recent[0] = at;
        if queues.rx_out_of_order >= max_out_of_order || !has_room {
            self.close_if_empty(list);
            return Inserted::Full;
        }
        let (mut at, mut fin) = (at, fin);
        let end = at.wrapping_add(packet.data().len() as u32);

        // The held item before which the new one belongs, and the one behind which.
        let mut before = queues.rx_last_in_order;
        let mut after = match self.items.slot(before) {
            Some(item) => item.next,
            None => self.queues.slot(*list).map_or(NONE, |queues| queues.rx_head),
        };
        while let Some(item) = self.items.slot(after)
            && distance(item.at, at) <= 0
        {
            let item_end = item.at.wrapping_add(item.len);
            let covered = distance(item_end, at);
            fin &= !(item.fin && item_end == end);
            if covered > 0 {
                let covered = (covered as u32).min(end.wrapping_sub(at));
                packet.trim_front(covered as usize);
                at = at.wrapping_add(covered);
            }
            (before, after) = (after, item.next);
        }
        // Held items that the new one covers whole go; one that it covers in part cuts the new one short.
        let mut len = end.wrapping_sub(at);
        while let Some(item) = self.items.slot(after)
            && distance(item.at, end) < 0
        {
            let item_end = item.at.wrapping_add(item.len);
            if distance(item_end, end) > 0 {
                len = item.at.wrapping_sub(at);
                packet.truncate(len as usize);
                fin = false;
                break;
            }
            fin |= item.fin && item_end == end;
            after = self.free_item(after);
            if let Some(queues) = self.queues.slot_mut(*list) {
                queues.rx_out_of_order -= 1;
            }
        }
        if len == 0 && !fin {
            self.rx_link(*list, before, after);
            self.close_if_empty(list);
            return Inserted::Duplicate;
        }
        let item = Item {
            content: Content::Packet(packet.share().park()),
            at,
            len,
            next: after,
            fin,
            side: Side::Received,
        };
        let inserted = self.insert_item(item);
        self.rx_link(*list, before, inserted.unwrap_or(after));
        match (inserted, self.queues.slot_mut(*list)) {
            (Some(_), Some(queues)) => {
                queues.rx_out_of_order += 1;
                Inserted::Stored
            }
            _ => {
                self.close_if_empty(list);
                Inserted::Full
            }
        }
    }

    /// What is held behind gaps, as SACK blocks: the one that a segment was added to last first, then those before
    /// it, then, if there is room, any others (RFC 2018, section 4).
    pub(crate) fn rx_gaps(&mut self, list: ListId) -> SackBlocks {
        let mut blocks = SackBlocks::NONE;
        let Some(queues) = self.queues.slot(list) else { return blocks };
        for recent in queues.rx_recent {
            let within = |(from, to): Block| distance(recent, from.0) >= 0 && distance(to.0, recent) > 0;
            if let Some(block) = self.rx_blocks(queues).find(|&block| within(block))
                && !blocks.iter().any(|reported| reported == block)
            {
                blocks.push(block.0, block.1);
            }
        }
        for block in self.rx_blocks(queues) {
            if blocks.len() == SackBlocks::MAX {
                break;
            }
            if !blocks.iter().any(|reported| reported == block) {
                blocks.push(block.0, block.1);
            }
        }
        // One place for each block, so that many segments of one do not push the others out.
        if let Some(queues) = self.queues.slot_mut(list) {
            for (recent, (from, _)) in queues.rx_recent.iter_mut().zip(blocks.iter()) {
                *recent = from.0;
            }
        }
        blocks
    }

    /// The first run of bytes in `from..to` that is held behind a gap already.
    pub(crate) fn rx_overlap(&self, list: ListId, (from, to): Block) -> Option<Block> {
        let queues = self.queues.get(list)?;
        let overlaps =
            |&(first, behind): &Block| distance(first.0, to.0) < 0 && distance(behind.0, from.0) > 0;
        let (first, behind) = self.rx_blocks(queues).find(overlaps)?;
        Some((first.max(from), behind.min(to)))
    }

    /// The runs of bytes held behind gaps, in ascending order.
    fn rx_blocks(&self, queues: &Queues) -> impl Iterator<Item = Block> {
        let mut index = match self.items.slot(queues.rx_last_in_order) {
            Some(last) => last.next,
            None => queues.rx_head,
        };
        core::iter::from_fn(move || {
            let mut item = self.items.slot(index)?;
            let from = item.at;
            loop {
                let end = item.at.wrapping_add(item.len);
                index = item.next;
                match self.items.slot(index) {
                    Some(next) if next.at == end => item = next,
                    _ => return Some((SeqNumber(from), SeqNumber(end))),
                }
            }
        })
        .filter(|(from, to)| from != to)
    }

    /// Makes `next` the item behind `before`, or the head.
    fn rx_link(&mut self, list: ListId, before: u32, next: u32) {
        match (self.items.slot_mut(before), self.queues.slot_mut(list)) {
            (Some(item), _) => item.next = next,
            (None, Some(queues)) => queues.rx_head = next,
            (None, None) => {}
        }
    }

    /// Moves held items that continue the stream at `rcv_nxt` to the readable part.
    ///
    /// Returns how many bytes further the stream is in order now, and whether a FIN stands behind them.
    pub(crate) fn rx_fill(&mut self, list: &mut ListId, rcv_nxt: u32) -> (u32, bool) {
        let mut edge = rcv_nxt;
        let mut finished = false;
        while let Some(queues) = self.queues.slot_mut(*list)
            && queues.rx_out_of_order > 0
        {
            let last = queues.rx_last_in_order;
            let first = match self.items.slot(last) {
                Some(item) => item.next,
                None => queues.rx_head,
            };
            let Some(item) = self.items.slot_mut(first) else { break };
            let overlap = distance(edge, item.at);
            if overlap < 0 {
                break;
            }
            queues.rx_out_of_order -= 1;
            // A FIN below the edge contradicts bytes that were taken: it is no news.
            finished |= item.fin && overlap as u32 <= item.len;
            item.fin = false;
            if overlap as u32 >= item.len {
                let next = self.free_item(first);
                self.rx_link(*list, last, next);
                if finished {
                    break;
                }
                continue;
            }
            let fresh = item.len - overlap as u32;
            item.at = edge;
            item.len = fresh;
            queues.rx_last_in_order = first;
            queues.rx_bytes += fresh;
            queues.rx_items += 1;
            edge = edge.wrapping_add(fresh);
            self.trim_item(first, overlap as u32);
            if finished {
                break;
            }
        }
        if finished {
            self.rx_discard_held(list);
        }
        self.close_if_empty(list);
        (edge.wrapping_sub(rcv_nxt), finished)
    }

    /// Lets go of all that is held behind a gap: the stream has ended before it.
    pub(crate) fn rx_discard_held(&mut self, list: &mut ListId) {
        while let Some(queues) = self.queues.slot_mut(*list)
            && queues.rx_out_of_order > 0
        {
            queues.rx_out_of_order -= 1;
            let last = queues.rx_last_in_order;
            let first = match self.items.slot(last) {
                Some(item) => item.next,
                None => queues.rx_head,
            };
            let next = self.free_item(first);
            self.rx_link(*list, last, next);
        }
        self.close_if_empty(list);
    }

    /// Cuts `count` bytes off the front of an item's content; its numbers are the caller's.
    pub(crate) fn trim_item(&mut self, index: u32, count: u32) {
        if count == 0 {
            return;
        }
        let Some(item) = self.items.slot_mut(index) else { return };
        match core::mem::replace(&mut item.content, Content::Taken) {
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
            Content::Taken => {}
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
    pub(crate) fn rx_consume(&mut self, list: &mut ListId, count: u32) -> u32 {
        let mut left = count;
        while left > 0
            && let Some(front) = self.rx_front(*list)
        {
            let len = front.len;
            if len <= left {
                drop(self.rx_take(list));
                left -= len;
                continue;
            }
            let Some(queues) = self.queues.slot_mut(*list) else { break };
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

    /// Takes the first readable piece out of the queue.
    pub(crate) fn rx_take(&mut self, list: &mut ListId) -> Option<SharedPacket> {
        let &Queues { rx_head, rx_items, .. } = self.queues.slot(*list)?;
        if rx_items == 0 {
            return None;
        }
        let Item { content, len, next, .. } = self.take_item(rx_head)?;
        let queues = self.queues.slot_mut(*list)?;
        if queues.rx_last_in_order == queues.rx_head {
            queues.rx_last_in_order = NONE;
        }
        queues.rx_head = next;
        queues.rx_items -= 1;
        queues.rx_bytes -= len;
        if queues.is_empty() {
            self.close_if_empty(list);
        }
        match content {
            Content::Packet(parked) => self.unpark(parked),
            Content::Lent { .. } | Content::Taken => None,
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
        let item =
            Item { content: Content::Packet(packet.park()), at, len, next, fin: false, side: Side::Received };
        if let Some(index) = self.insert_item(item)
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
