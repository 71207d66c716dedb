//! What arrived after a gap: runs of segments behind the readable part of the receive queue, until the gaps close.
//!
//! ```text
//!   in order ─► last_in_order ─► [run: first ─► … ─► last] ─► [run: first ─► … ─► last] ─► (end)
//!                                         └─ run_last ─▲        ▲ rx_highest
//! ```
//!
//! The list is the receive queue's, sorted by sequence number. The first item of each run knows the last, so that a search
//! steps from run to run, and the highest run is known, where what arrives mostly belongs. So a hole in a long flight,
//! with thousands of segments behind it, costs no more than one in a short flight; the number of runs is bounded, because
//! a search takes longer the more there are. Where segments overlap, bytes that are in order stay as they first came.

use freeway_mem::Packet;
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

/// A segment counts for so many bytes of the window at least, as a shift: it pins a buffer, however short it is.
const LEAST_SHIFT: u32 = 10;
/// Segments that may be held however small the window.
const SEGMENTS_MIN: u32 = 64;

/// `a - b` of two positions in sequence space, as a signed distance.
const fn distance(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

impl Store {
    /// Holds bytes that arrived after a gap, for a connection whose receive window is `window`.
    pub(crate) fn rx_insert(
        &mut self,
        list: &mut ListId,
        at: u32,
        mut packet: Packet,
        fin: bool,
        window: u32,
    ) -> Inserted {
        let most = ((window >> LEAST_SHIFT) + SEGMENTS_MIN).min(u32::from(u16::MAX) - 1);
        let has_room = self.has_room_to_hold();
        let Some(queues) = self.open(list) else { return Inserted::Full };
        queues.rx_recent.rotate_right(1);
        queues.rx_recent[0] = at;
        if u32::from(queues.rx_out_of_order) >= most || !has_room {
            self.close_if_empty(list);
            return Inserted::Full;
        }
        let (before, mut after) = self.rx_around(*list, at);
        let (mut at, mut fin) = (at, fin);
        let end = at.wrapping_add(packet.data().len() as u32);

        // What the run before it holds already.
        let mut joins_before = false;
        if let Some(held_to) = self.run_end(before) {
            let covered = distance(held_to, at);
            if covered > 0 && distance(held_to, end) >= 0 {
                // All of it. A FIN where more follows is a lie.
                return self.rx_note_fin(before, fin && held_to == end);
            }
            if covered > 0 {
                packet.trim_front(covered as usize);
                at = held_to;
            }
            joins_before = held_to == at;
            if joins_before && at == end {
                // No bytes: a FIN right behind what is held, or nothing.
                return self.rx_note_fin(before, fin);
            }
        }
        // Runs that it covers whole go; one that it covers in part cuts it short.
        let mut len = end.wrapping_sub(at);
        while let Some(run) = self.items.slot(after)
            && distance(run.at, end) < 0
            && let Some(held_to) = self.run_end(after)
        {
            if distance(held_to, end) > 0 {
                len = run.at.wrapping_sub(at);
                packet.truncate(len as usize);
                fin = false;
                break;
            }
            fin |= held_to == end && self.run_has_fin(after);
            after = self.free_run(*list, before, after);
        }
        if len == 0 && !fin {
            self.close_if_empty(list);
            return Inserted::Duplicate;
        }
        let joins_after =
            len > 0 && !fin && self.items.slot(after).is_some_and(|run| run.at == at.wrapping_add(len));
        self.rx_join(list, (before, joins_before), (after, joins_after), (at, len, fin), packet)
    }

    /// Puts a segment between two runs, which it makes one with itself, or not.
    fn rx_join(
        &mut self,
        list: &mut ListId,
        (before, joins_before): (u32, bool),
        (after, joins_after): (u32, bool),
        (at, len, fin): (u32, u32, bool),
        packet: Packet,
    ) -> Inserted {
        let makes_run = !joins_before && !joins_after;
        let has_place = self.queues.slot(*list).is_some_and(|queues| queues.rx_runs < self.max_out_of_order);
        let (last_before, last_after) = (self.run_last(before), self.run_last(after));
        let content = Content::Packet(packet.share().park());
        let inserted = if makes_run && !has_place {
            self.drop_content(content);
            None
        } else {
            self.insert_item(content, (at, len), after, Side::Received)
        };
        let Some(index) = inserted else {
            self.close_if_empty(list);
            return Inserted::Full;
        };
        if let Some(item) = self.items.slot_mut(index) {
            item.fin = fin;
        }
        self.rx_link(*list, last_before, index);
        let first = if joins_before { before } else { index };
        let last = if joins_after { last_after } else { index };
        if let Some(first) = self.items.slot_mut(first) {
            first.run_last = last;
        }
        if let Some(queues) = self.queues.slot_mut(*list) {
            queues.rx_out_of_order += 1;
            queues.rx_runs = queues.rx_runs + 1 - u16::from(joins_before) - u16::from(joins_after);
            if after == NONE || joins_after && queues.rx_highest == after {
                queues.rx_highest = first;
            }
        }
        Inserted::Stored
    }

    /// The last run that begins at or before `at`, or [`NONE`], and the one behind it, or [`NONE`].
    fn rx_around(&self, list: ListId, at: u32) -> (u32, u32) {
        let Some(queues) = self.queues.slot(list) else { return (NONE, NONE) };
        let begins_before = |run| self.items.slot(run).is_some_and(|run: &Item| distance(run.at, at) <= 0);
        if begins_before(queues.rx_highest) {
            return (queues.rx_highest, NONE);
        }
        let (mut before, mut after) = (NONE, self.first_run(queues));
        while begins_before(after) {
            (before, after) = (after, self.run_behind(after));
        }
        (before, after)
    }

    /// The first run, or [`NONE`].
    fn first_run(&self, queues: &Queues) -> u32 {
        match self.items.slot(queues.rx_last_in_order) {
            Some(last) => last.next,
            None => queues.rx_head,
        }
    }

    /// The run behind another.
    fn run_behind(&self, run: u32) -> u32 {
        self.items.slot(self.run_last(run)).map_or(NONE, |last| last.next)
    }

    /// The last item of a run.
    fn run_last(&self, run: u32) -> u32 {
        self.items.slot(run).map_or(NONE, |first| first.run_last)
    }

    /// The sequence number behind a run.
    fn run_end(&self, run: u32) -> Option<u32> {
        self.items.slot(self.run_last(run)).map(|last| last.at.wrapping_add(last.len))
    }

    fn run_has_fin(&self, run: u32) -> bool {
        self.items.slot(self.run_last(run)).is_some_and(|last| last.fin)
    }

    /// A segment brought no bytes that a run does not hold, but a FIN behind it, if `fin`.
    fn rx_note_fin(&mut self, run: u32, fin: bool) -> Inserted {
        let last = self.run_last(run);
        match self.items.slot_mut(last) {
            Some(last) if fin && !last.fin => {
                last.fin = true;
                Inserted::Stored
            }
            _ => Inserted::Duplicate,
        }
    }

    /// Lets go of a run, which stands behind the run `before`, or behind what is in order; returns the one behind it.
    fn free_run(&mut self, list: ListId, before: u32, run: u32) -> u32 {
        let (last, last_before) = (self.run_last(run), self.run_last(before));
        let (mut index, mut count) = (run, 0);
        loop {
            let is_last = index == last;
            index = self.free_item(index);
            count += 1;
            if is_last || index == NONE {
                break;
            }
        }
        self.rx_link(list, last_before, index);
        if let Some(queues) = self.queues.slot_mut(list) {
            queues.rx_out_of_order -= count;
            queues.rx_runs -= 1;
            if queues.rx_highest == run {
                queues.rx_highest = before;
            }
        }
        index
    }

    /// Makes `next` the item behind `before`; behind what is in order where there is none, or the head.
    fn rx_link(&mut self, list: ListId, before: u32, next: u32) {
        let Some(queues) = self.queues.slot_mut(list) else { return };
        let before = if before == NONE { queues.rx_last_in_order } else { before };
        match self.items.slot_mut(before) {
            Some(item) => item.next = next,
            None => queues.rx_head = next,
        }
    }

    /// What is held behind gaps, as SACK blocks: the one that a segment was added to last first, then those before
    /// it, then, if there is room, any others (RFC 2018, section 4).
    pub(crate) fn rx_gaps(&mut self, list: ListId) -> SackBlocks {
        let mut blocks = SackBlocks::NONE;
        let Some(queues) = self.queues.slot(list) else { return blocks };
        let mut found = [None; SackBlocks::MAX];
        let mut missing = found.len();
        let mut note = |block: Block| {
            for (place, &recent) in found.iter_mut().zip(&queues.rx_recent) {
                if place.is_none() && distance(recent, block.0.0) >= 0 && distance(block.1.0, recent) > 0 {
                    *place = Some(block);
                    missing -= 1;
                }
            }
            missing > 0
        };
        // Mostly they are all in the highest.
        if self.run_block(queues.rx_highest).is_some_and(&mut note) {
            self.rx_blocks(queues).all(note);
        }
        for block in found.into_iter().flatten() {
            if !blocks.iter().any(|reported| reported == block) {
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
        let queues = self.queues.slot(list)?;
        let overlaps =
            |&(first, behind): &Block| distance(first.0, to.0) < 0 && distance(behind.0, from.0) > 0;
        let (first, behind) = self.rx_blocks(queues).find(overlaps)?;
        Some((first.max(from), behind.min(to)))
    }

    /// The runs of bytes held behind gaps, in ascending order.
    fn rx_blocks(&self, queues: &Queues) -> impl Iterator<Item = Block> {
        let mut run = self.first_run(queues);
        core::iter::from_fn(move || {
            let block = self.run_block(run)?;
            run = self.run_behind(run);
            Some(block)
        })
        .filter(|(from, to)| from != to)
    }

    fn run_block(&self, run: u32) -> Option<Block> {
        let from = self.items.slot(run)?.at;
        Some((SeqNumber(from), SeqNumber(self.run_end(run)?)))
    }

    /// Moves held items that continue the stream at `rcv_nxt` to the readable part.
    ///
    /// Returns how many bytes further the stream is in order now, and whether a FIN stands behind them.
    #[inline]
    pub(crate) fn rx_fill(&mut self, list: &mut ListId, rcv_nxt: u32) -> (u32, bool) {
        let holds_some = self.queues.slot(*list).is_some_and(|queues| queues.rx_out_of_order > 0);
        if holds_some { self.rx_fill_from_held(list, rcv_nxt) } else { (0, false) }
    }

    fn rx_fill_from_held(&mut self, list: &mut ListId, rcv_nxt: u32) -> (u32, bool) {
        let mut edge = rcv_nxt;
        let mut finished = false;
        while let Some(queues) = self.queues.slot(*list)
            && queues.rx_out_of_order > 0
        {
            let first = self.first_run(queues);
            let Some(item) = self.items.slot(first) else { break };
            let overlap = distance(edge, item.at);
            if overlap < 0 {
                break;
            }
            self.shorten_run(*list, first);
            let (Some(queues), Some(item)) = (self.queues.slot_mut(*list), self.items.slot_mut(first)) else {
                break;
            };
            // A FIN below the edge contradicts bytes that were taken: it is no news.
            finished |= item.fin && overlap as u32 <= item.len;
            item.fin = false;
            if overlap as u32 >= item.len {
                let next = self.free_item(first);
                self.rx_link(*list, NONE, next);
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

    /// The first item of a run leaves it: the next becomes its first, if there is one.
    fn shorten_run(&mut self, list: ListId, first: u32) {
        let Some(&Item { next, run_last, .. }) = self.items.slot(first) else { return };
        let rest = if first == run_last { NONE } else { next };
        if let Some(rest) = self.items.slot_mut(rest) {
            rest.run_last = run_last;
        }
        if let Some(queues) = self.queues.slot_mut(list) {
            queues.rx_out_of_order -= 1;
            queues.rx_runs -= u16::from(rest == NONE);
            if queues.rx_highest == first {
                queues.rx_highest = rest;
            }
        }
    }

    /// Lets go of all that is held behind a gap: the stream has ended before it.
    pub(crate) fn rx_discard_held(&mut self, list: &mut ListId) {
        while let Some(queues) = self.queues.slot(*list)
            && queues.rx_out_of_order > 0
        {
            let run = self.first_run(queues);
            self.free_run(*list, NONE, run);
        }
        self.close_if_empty(list);
    }

    /// What must hold whatever happened, for tests: runs are apart, in order, and counted, and each knows its last.
    #[cfg(test)]
    pub(crate) fn rx_check(&self, list: ListId) {
        let Some(queues) = self.queues.slot(list) else { return };
        let (mut run, mut runs, mut held, mut highest) = (self.first_run(queues), 0, 0, NONE);
        let mut end_before = None;
        while let Some(first) = self.items.slot(run) {
            assert!(end_before.is_none_or(|end| distance(first.at, end) > 0), "two runs that touch");
            let (mut index, mut at) = (run, first.at);
            loop {
                let item = self.items.slot(index).expect("a run ends with its last");
                assert_eq!(item.at, at, "a run has no gap");
                (at, held) = (at.wrapping_add(item.len), held + 1);
                if index == first.run_last {
                    break;
                }
                index = item.next;
            }
            (end_before, highest, runs) = (Some(at), run, runs + 1);
            run = self.run_behind(run);
        }
        assert_eq!((queues.rx_runs, queues.rx_out_of_order, queues.rx_highest), (runs, held, highest));
    }
}
