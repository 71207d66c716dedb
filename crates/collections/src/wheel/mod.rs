//! Timers: one an owner, armed, moved and cancelled in constant time, ten million at once.
//!
//! A hierarchical timing wheel (Varghese and Lauck, 1987). Time is cut into ticks of 2^20 ns (1.05 ms). Each level
//! is a ring of 512 slots, each slot a list of timers linked by their numbers:
//!
//! ```text
//!  level   a slot spans     timers up to this far ahead
//!    0     1 tick  1.05 ms  512 ticks    537 ms     delayed ACK, most retransmissions: never moved
//!    1     2^8     268 ms   2^17 ticks   137 s      TIME-WAIT, time-outs
//!    2     2^16    68.7 s   2^25 ticks   9.8 h      keepalives
//!    3     2^24    4.9 h    2^32 ticks   52 days
//! ```
//!
//! A timer lies at the lowest level that reaches it. As time comes nearer, it *sinks*: a slot of level 1 to 3 is
//! emptied into the levels below **while the slot before it passes**, a few timers each turn. That is why a ring
//! has twice as many slots as the radix: the level below can take a whole slot before that slot begins. A hundred
//! thousand keepalives that share a slot thus cost a few microseconds a turn for a minute, not a stall of
//! milliseconds at its start, and are as punctual as any.
//!
//! A slot is a list of cache lines that hold fourteen timers' numbers each (`chunks`).
//!
//! # Lazy where it pays
//!
//! A connection's soonest deadline changes with almost every segment, mostly to a later one or to none: a
//! retransmission timer is set with each request and taken back by its acknowledgment. So a timer that is moved to a
//! later time, or cancelled, stays in its slot, and only its own 12 bytes change: the slot it lies in, its tick, and
//! whether it is armed. When that slot's time comes, it is put where it belongs by then, or dropped, without a look
//! at its owner. Only a timer moved to an earlier time leaves its slot at once.
//!
//! Ticks are kept in their lower 32 bits. Since no armed timer lies behind the cursor, those bits and the cursor
//! tell the whole tick.
//!
//! # Punctuality
//!
//! A timer is never early, and at most one tick late if the wheel is asked at that time. Only when a time jump
//! makes more timers move at once than one call's share do the rest follow in the calls after it; meanwhile
//! [`next_deadline`](Wheel::next_deadline) lies in the past, so that a loop which sleeps by it does not.

mod chunks;
mod slots;
mod tick;

use freeway_base::Instant;
use freeway_mem::arch::prefetch_index;
use freeway_mem::{Arena, ArenaLayout, Array};

use self::chunks::{Chunk, PLACES, Place, chunk_count};
use self::slots::{LEVELS, NONE, SlotId, Slots, first_tick, position};
use self::tick::{instant_of, tick_at_or_after, tick_at_or_before};
use crate::BuildError;
use crate::header::Header;

/// Timers moved to another slot or dropped in one call of [`Wheel::pop_due`], at most: each is a cache miss, mostly
/// a prefetched one. At ten thousand calls a second this moves 640,000 timers a second.
const MOVES_PER_CALL: u32 = 64;

/// The most timers a wheel can number: what its chunks can be told apart by.
const TIMERS_MAX: u32 = 1 << 30;

/// Timers numbered from 0, each armed for one instant or not at all.
pub struct Wheel {
    timers: Array<Timer>,
    chunks: Array<Chunk>,
    state: Header<State>,
}

/// A timer, wherever it lies.
#[derive(Clone, Copy)]
#[repr(C)]
struct Timer {
    place: Place,
    /// The lower half of the tick it was put into its slot for: not after the one it is due at.
    slot_tick: u32,
    /// The lower half of the tick it is due at.
    tick: u32,
}

const _: () = assert!(size_of::<Timer>() == 12);
const _: () = assert!(chunk_count(TIMERS_MAX) <= Place::CHUNKS);

#[derive(Clone, Copy)]
#[repr(C)]
struct State {
    /// No armed timer is due before this tick; all ticks before it have been delivered.
    cursor: u64,
    armed: u32,
    /// The first vacant chunk.
    vacant: u32,
    slots: Slots,
}

impl Wheel {
    /// Adds a wheel of `timers` timers to what an arena is to hold.
    pub fn plan(layout: ArenaLayout, timers: u32) -> ArenaLayout {
        layout.array::<Timer>(timers as usize).array::<Chunk>(chunk_count(timers)).array::<State>(1)
    }

    /// A wheel of `timers` timers, none armed, that begins at `now`. 16.6 bytes a timer and up to 140 KB.
    ///
    /// # Errors
    /// [`BuildError::Capacity`] past 2^30 timers, [`BuildError::Arena`] if the arena has no room.
    pub fn new(arena: &mut Arena, timers: u32, now: Instant) -> Result<Self, BuildError> {
        if timers > TIMERS_MAX {
            return Err(BuildError::Capacity { asked: timers, most: TIMERS_MAX });
        }
        let chunks = chunk_count(timers);
        let vacant_behind = |index: usize| if index + 1 < chunks { index as u32 + 1 } else { NONE };
        let vacant = if chunks > 0 { 0 } else { NONE };
        let state = State { cursor: tick_at_or_before(now), armed: 0, vacant, slots: Slots::EMPTY };
        Ok(Self {
            timers: arena.array("wheel timers", timers as usize, |_| Timer {
                place: Place::NOWHERE,
                slot_tick: 0,
                tick: 0,
            })?,
            chunks: arena.array("wheel chunks", chunks, |index| Chunk::vacant(vacant_behind(index)))?,
            state: Header::new(arena, "wheel slots", state)?,
        })
    }

    /// Arms timer `id` for `at`, in place of what it was armed for before.
    ///
    /// A time in the past is due at once. One more than 52 days ahead is due in 52 days: its owner then sees that
    /// its time has not come, and arms it again. There is no timer `id` at or past the capacity; arming one is a
    /// bug, which debug builds report and others ignore.
    #[inline]
    pub fn arm(&mut self, id: u32, at: Instant) {
        debug_assert!((id as usize) < self.timers.len(), "there is no timer {id}");
        let cursor = self.state.cursor;
        let tick = tick_at_or_after(at).clamp(cursor, cursor + u64::from(u32::MAX));
        let Some(timer) = self.timers.get_mut(id as usize) else { return };
        let Timer { place, slot_tick, .. } = *timer;
        self.state.armed += u32::from(!place.is_armed());
        if !place.is_somewhere() {
            self.link(id, tick);
        } else if (tick - cursor) as u32 >= slot_tick.wrapping_sub(cursor as u32) {
            timer.place = place.armed();
            timer.tick = tick as u32;
        } else {
            self.unlink(id, place);
            self.link(id, tick);
        }
    }

    /// Disarms timer `id`; false if it was not armed.
    #[inline]
    pub fn cancel(&mut self, id: u32) -> bool {
        let Some(timer) = self.timers.get_mut(id as usize) else { return false };
        let was_armed = timer.place.is_armed();
        if was_armed {
            timer.place = timer.place.cancelled();
            self.state.armed -= 1;
        }
        was_armed
    }

    /// Whether timer `id` is armed.
    #[inline]
    pub fn is_armed(&self, id: u32) -> bool {
        self.timers.get(id as usize).is_some_and(|timer| timer.place.is_armed())
    }

    /// When timer `id` will be due, if armed: what it was armed for, rounded up to a tick.
    #[inline]
    pub fn deadline(&self, id: u32) -> Option<Instant> {
        let timer = self.timers.get(id as usize).filter(|timer| timer.place.is_armed())?;
        Some(instant_of(self.whole(timer.tick)))
    }

    /// Asks for the line of timer `id`, ahead of arming or cancelling it; any number is harmless.
    #[inline]
    pub fn prefetch(&self, id: u32) {
        prefetch_index(&self.timers, id as usize);
    }

    /// Disarms and returns a timer that is due at `now`; `None` when there is none, or when this call's share of
    /// moving is used up (then [`next_deadline`](Self::next_deadline) is not after `now`: come back next turn).
    ///
    /// Call it until `None` or until the turn's own limit. A call moves or drops at most 64 timers on top of what it
    /// returns. Timers come in the order of their ticks, within a tick in any order.
    #[inline]
    pub fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let target = tick_at_or_before(now);
        let mut moves_left = MOVES_PER_CALL;
        while self.state.cursor <= target {
            let slot = SlotId::of(0, self.state.cursor);
            if let Some(id) = self.deliver(slot, &mut moves_left) {
                return Some(id);
            }
            if self.state.slots.head(slot) != NONE {
                return None;
            }
            let end = self.sink_ahead(&mut moves_left).min(target);
            if self.state.cursor == end {
                return None;
            }
            self.state.cursor = self.next_stop().min(end);
            self.prefetch_slot(SlotId::of(0, self.state.cursor));
        }
        None
    }

    /// A time at or before the soonest deadline: sleep until then, at most. `None` if nothing is armed.
    ///
    /// It is the deadline itself (as a tick) for what is due within half a second; otherwise it may be the time
    /// at which a far slot begins to sink, and [`pop_due`](Self::pop_due) then has work though nothing is due.
    #[inline]
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.state.armed == 0 {
            return None;
        }
        let State { cursor, slots, .. } = &*self.state;
        let due = slots.next_occupied(0, *cursor);
        let sinking = (1..LEVELS).filter_map(|level| self.sinks_from(level));
        due.into_iter().chain(sinking).min().map(|tick| instant_of(tick.max(*cursor)))
    }

    /// Timers armed.
    #[inline]
    pub fn armed(&self) -> u32 {
        self.state.armed
    }

    /// Timers there are.
    #[inline]
    pub fn capacity(&self) -> u32 {
        self.timers.len() as u32
    }

    /// The next timer of the cursor's own slot that is due, past those which were moved to later or cancelled.
    #[inline]
    fn deliver(&mut self, slot: SlotId, moves_left: &mut u32) -> Option<u32> {
        let due = self.state.cursor as u32;
        loop {
            let id = self.last_of(slot)?;
            let is_due =
                self.timers.get(id as usize).is_some_and(|timer| timer.place.is_armed() && timer.tick == due);
            if is_due {
                self.take_last(slot);
                self.state.armed -= 1;
                return Some(id);
            }
            if *moves_left == 0 {
                return None;
            }
            *moves_left -= 1;
            self.move_last(slot);
        }
    }

    /// Sinks what lies in the slot after the cursor's, at every level, as far as `moves_left` goes, and returns
    /// the last tick that the cursor may move to: the one before a slot that still holds timers.
    #[inline]
    fn sink_ahead(&mut self, moves_left: &mut u32) -> u64 {
        let mut end = u64::MAX;
        for level in 1..LEVELS {
            let ahead = position(level, self.state.cursor) + 1;
            let slot = SlotId::of(level, ahead);
            while self.state.slots.head(slot) != NONE {
                if *moves_left == 0 {
                    end = end.min(first_tick(level, ahead) - 1);
                    break;
                }
                *moves_left -= 1;
                self.move_last(slot);
            }
        }
        end
    }

    /// Puts the last timer of `slot` where it belongs by now: into another slot, or, cancelled, nowhere.
    #[inline]
    fn move_last(&mut self, slot: SlotId) {
        let Some((id, Timer { place, tick, .. })) = self.take_last(slot) else { return };
        if place.is_armed() {
            self.link(id, self.whole(tick));
        }
    }

    /// The next tick, after the cursor, at which there is something to deliver or to sink.
    #[inline]
    fn next_stop(&self) -> u64 {
        let State { cursor, slots, .. } = &*self.state;
        let due = slots.next_occupied(0, cursor + 1);
        let sinking = (1..LEVELS).filter_map(|level| self.sinks_from(level)).filter(|tick| tick > cursor);
        due.into_iter().chain(sinking).min().unwrap_or(u64::MAX)
    }

    /// The tick from which the first occupied slot of `level` may sink: when the slot before it begins.
    #[inline]
    fn sinks_from(&self, level: usize) -> Option<u64> {
        let ahead = position(level, self.state.cursor) + 1;
        let occupied = self.state.slots.next_occupied(level, ahead)?;
        Some(first_tick(level, occupied - 1))
    }

    /// The whole of an armed timer's tick: the only one with these lower bits that is not behind the cursor.
    #[inline]
    fn whole(&self, tick: u32) -> u64 {
        let cursor = self.state.cursor;
        cursor + u64::from(tick.wrapping_sub(cursor as u32))
    }

    /// Puts a timer that lies nowhere into the slot for `tick`.
    #[inline]
    fn link(&mut self, id: u32, tick: u64) {
        let slot = slot_for(self.state.cursor, tick);
        let mut head = self.state.slots.head(slot);
        if self.chunks.get(head as usize).is_none_or(Chunk::is_full) {
            // There are chunks enough for any spread of all timers: see `chunks`.
            let vacant = self.state.vacant;
            let Some(chunk) = self.chunks.get_mut(vacant as usize) else { return };
            self.state.vacant = chunk.next;
            *chunk = Chunk::first_of(slot, head);
            self.state.slots.set_head(slot, vacant);
            head = vacant;
        }
        let position = self.chunks[head as usize].push(id);
        let tick = tick as u32;
        self.timers[id as usize] = Timer { place: Place::new(head, position), slot_tick: tick, tick };
    }

    /// Takes a timer out of the middle of its slot.
    #[inline]
    fn unlink(&mut self, id: u32, place: Place) {
        let slot = self.chunks[place.chunk() as usize].slot();
        let Some((last, Timer { place: last_place, .. })) = self.take_last(slot) else { return };
        if last != id {
            self.chunks[place.chunk() as usize].replace(place.position(), last);
            self.timers[last as usize].place = last_place.moved_to(place.chunk(), place.position());
            self.timers[id as usize].place = Place::NOWHERE;
        }
    }

    /// The last timer of a slot's first chunk.
    #[inline]
    fn last_of(&self, slot: SlotId) -> Option<u32> {
        self.chunks.get(self.state.slots.head(slot) as usize)?.ids().last().copied()
    }

    /// Takes the last timer out of a slot; returns it as it was.
    #[inline]
    fn take_last(&mut self, slot: SlotId) -> Option<(u32, Timer)> {
        let head = self.state.slots.head(slot);
        let chunk = self.chunks.get_mut(head as usize)?;
        let id = chunk.pop();
        let (left, next) = (chunk.ids().len(), chunk.next);
        if left == 0 {
            chunk.next = self.state.vacant;
            self.state.vacant = head;
            self.state.slots.set_head(slot, next);
        } else if left == PLACES / 2 {
            self.prefetch_chunk(next);
        }
        let timer = self.timers.get_mut(id as usize)?;
        let was = *timer;
        timer.place = Place::NOWHERE;
        Some((id, was))
    }

    /// Asks for the timers of a chunk, and for the chunk behind it.
    #[inline]
    fn prefetch_chunk(&self, chunk: u32) {
        let Some(chunk) = self.chunks.get(chunk as usize) else { return };
        for &id in chunk.ids() {
            prefetch_index(&self.timers, id as usize);
        }
        prefetch_index(&self.chunks, chunk.next as usize);
    }

    /// Asks for the first timers of a slot.
    #[inline]
    fn prefetch_slot(&self, slot: SlotId) {
        let head = self.state.slots.head(slot);
        self.prefetch_chunk(head);
        if let Some(chunk) = self.chunks.get(head as usize).filter(|chunk| chunk.ids().len() <= PLACES / 2) {
            self.prefetch_chunk(chunk.next);
        }
    }
}

/// The slot for a timer due at `tick`: at the lowest level whose ring reaches it.
///
/// A timer at a level above 0 is at least two slots ahead there (it was out of reach 512 slots ahead one level
/// below, and 256 of those make one), so it never lies in the cursor's own slot, nor at once in the one that
/// sinks.
#[inline]
fn slot_for(cursor: u64, tick: u64) -> SlotId {
    let in_reach = |&level: &usize| position(level, tick) - position(level, cursor) < slots::SLOTS;
    // The top level reaches every tick that 32 bits can tell from the cursor.
    let level = (0..LEVELS - 1).find(in_reach).unwrap_or(LEVELS - 1);
    SlotId::of(level, position(level, tick))
}
