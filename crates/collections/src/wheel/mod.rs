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
//! A timer takes 12 bytes: the numbers of the next and the previous timer in its slot, and the lower 32 bits of
//! its tick. Since no armed timer lies behind the cursor, those bits and the cursor tell the whole tick.
//!
//! # Punctuality
//!
//! A timer is never early, and at most one tick late if the wheel is asked at that time. Only when a time jump
//! makes more timers sink at once than one call's share do the rest follow in the calls after it; meanwhile
//! [`next_deadline`](Wheel::next_deadline) lies in the past, so that a loop which sleeps by it does not.

mod slots;
mod tick;

use freeway_base::Instant;
use freeway_mem::arch::prefetch_index;
use freeway_mem::{Arena, ArenaLayout, Array};

use self::slots::{LEVELS, NONE, SlotId, Slots, first_tick, position};
use self::tick::{instant_of, tick_at_or_after, tick_at_or_before};
use crate::BuildError;
use crate::header::Header;

/// Timers moved to a lower level in one call of [`Wheel::pop_due`], at most: each is a cache miss or two. At ten
/// thousand calls a second this moves 160,000 timers a second.
const SINKS_PER_CALL: u32 = 16;

/// `prev` of a timer that is not armed.
const UNARMED: u32 = u32::MAX;
/// Set in `prev` of a slot's first timer; the other bits are then the slot's number.
const IN_HEAD: u32 = 1 << 31;

/// Timers numbered from 0, each armed for one instant or not at all.
pub struct Wheel {
    timers: Array<Timer>,
    state: Header<State>,
}

/// A timer in its slot's list.
#[derive(Clone, Copy)]
#[repr(C)]
struct Timer {
    next: u32,
    /// The timer before, or the slot if there is none ([`IN_HEAD`]), or [`UNARMED`].
    prev: u32,
    /// The lower half of the tick it is due at.
    tick: u32,
}

const _: () = assert!(size_of::<Timer>() == 12);

#[derive(Clone, Copy)]
#[repr(C)]
struct State {
    /// No armed timer is due before this tick; all ticks before it have been delivered.
    cursor: u64,
    armed: u32,
    slots: Slots,
}

impl Wheel {
    /// Adds a wheel of `timers` timers to what an arena is to hold.
    pub fn plan(layout: ArenaLayout, timers: u32) -> ArenaLayout {
        layout.array::<Timer>(timers as usize).array::<State>(1)
    }

    /// A wheel of `timers` timers, none armed, that begins at `now`. 12 bytes a timer and 8.5 KB.
    ///
    /// # Errors
    /// [`BuildError::Capacity`] past 2^31 timers, [`BuildError::Arena`] if the arena has no room.
    pub fn new(arena: &mut Arena, timers: u32, now: Instant) -> Result<Self, BuildError> {
        if timers > IN_HEAD {
            return Err(BuildError::Capacity { asked: timers, most: IN_HEAD });
        }
        let state = State { cursor: tick_at_or_before(now), armed: 0, slots: Slots::EMPTY };
        Ok(Self {
            timers: arena.array("wheel timers", timers as usize, |_| Timer {
                next: NONE,
                prev: UNARMED,
                tick: 0,
            })?,
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
        let Some(timer) = self.timers.get(id as usize) else { return };
        let cursor = self.state.cursor;
        let tick = tick_at_or_after(at).clamp(cursor, cursor + u64::from(u32::MAX));
        if timer.prev != UNARMED {
            if timer.tick == tick as u32 {
                return;
            }
            self.unlink(id);
        }
        self.link(id, tick);
    }

    /// Disarms timer `id`; false if it was not armed.
    #[inline]
    pub fn cancel(&mut self, id: u32) -> bool {
        let armed = self.is_armed(id);
        if armed {
            self.unlink(id);
        }
        armed
    }

    /// Whether timer `id` is armed.
    #[inline]
    pub fn is_armed(&self, id: u32) -> bool {
        self.timers.get(id as usize).is_some_and(|timer| timer.prev != UNARMED)
    }

    /// When timer `id` will be due, if armed: what it was armed for, rounded up to a tick.
    #[inline]
    pub fn deadline(&self, id: u32) -> Option<Instant> {
        let timer = self.timers.get(id as usize).filter(|timer| timer.prev != UNARMED)?;
        Some(instant_of(self.tick_of(timer)))
    }

    /// Asks for the line of timer `id`, ahead of arming or cancelling it; any number is harmless.
    #[inline]
    pub fn prefetch(&self, id: u32) {
        prefetch_index(&self.timers, id as usize);
    }

    /// Disarms and returns a timer that is due at `now`; `None` when there is none, or when this call's share of
    /// sinking is used up (then [`next_deadline`](Self::next_deadline) is not after `now`: come back next turn).
    ///
    /// Call it until `None` or until the turn's own limit. A call sinks at most 16 timers on top of what it
    /// returns. Timers come in the order of their ticks, within a tick in any order.
    #[inline]
    pub fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let target = tick_at_or_before(now);
        let mut sinks_left = SINKS_PER_CALL;
        while self.state.cursor <= target {
            if let Some(id) = self.pop_slot(SlotId::of(0, self.state.cursor)) {
                return Some(id);
            }
            let end = self.sink_ahead(&mut sinks_left).min(target);
            if self.state.cursor == end {
                return None;
            }
            self.state.cursor = self.next_stop().min(end);
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

    /// Sinks what lies in the slot after the cursor's, at every level, as far as `sinks_left` goes, and returns
    /// the last tick that the cursor may move to: the one before a slot that still holds timers.
    #[inline]
    fn sink_ahead(&mut self, sinks_left: &mut u32) -> u64 {
        let mut end = u64::MAX;
        for level in 1..LEVELS {
            let ahead = position(level, self.state.cursor) + 1;
            let slot = SlotId::of(level, ahead);
            while self.state.slots.head(slot) != NONE {
                if *sinks_left == 0 {
                    end = end.min(first_tick(level, ahead) - 1);
                    break;
                }
                *sinks_left -= 1;
                self.sink_one(slot);
            }
        }
        end
    }

    /// Moves the first timer of `slot` to a lower level.
    #[inline]
    fn sink_one(&mut self, slot: SlotId) {
        if let Some(id) = self.pop_slot(slot) {
            let tick = self.tick_of(&self.timers[id as usize]);
            self.link(id, tick);
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

    /// The whole tick of an armed timer: the only one with these lower bits that is not behind the cursor.
    #[inline]
    fn tick_of(&self, timer: &Timer) -> u64 {
        let cursor = self.state.cursor;
        cursor + u64::from(timer.tick.wrapping_sub(cursor as u32))
    }

    /// Puts an unarmed timer at the head of the slot it belongs to.
    #[inline]
    fn link(&mut self, id: u32, tick: u64) {
        let slot = slot_for(self.state.cursor, tick);
        let next = self.state.slots.head(slot);
        if next != NONE {
            self.timers[next as usize].prev = id;
        }
        self.timers[id as usize] = Timer { next, prev: IN_HEAD | slot.0, tick: tick as u32 };
        self.state.slots.set_head(slot, id);
        self.state.armed += 1;
    }

    /// Takes an armed timer out of its slot.
    #[inline]
    fn unlink(&mut self, id: u32) {
        let timer = &mut self.timers[id as usize];
        let Timer { next, prev, .. } = *timer;
        timer.prev = UNARMED;
        if next != NONE {
            self.timers[next as usize].prev = prev;
        }
        if prev & IN_HEAD == 0 {
            self.timers[prev as usize].next = next;
        } else {
            self.state.slots.set_head(SlotId(prev & !IN_HEAD), next);
        }
        self.state.armed -= 1;
    }

    /// Disarms the first timer of a slot. Writing to the one behind it brings that one's line in, ahead of the
    /// next call; the line of the one after that is asked for, so that the next call finds it.
    #[inline]
    fn pop_slot(&mut self, slot: SlotId) -> Option<u32> {
        let id = self.state.slots.head(slot);
        if id == NONE {
            return None;
        }
        let behind = self.timers[id as usize].next;
        self.unlink(id);
        if behind != NONE {
            prefetch_index(&self.timers, self.timers[behind as usize].next as usize);
        }
        Some(id)
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
