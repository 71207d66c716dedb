//! Data that a connection holds: queues of items in a side table.
//!
//! An idle connection has no queue. The first byte to be held takes a [`Queues`] record and an [`Item`] from
//! the side tables, the last one gives them back. Items name packet buffers by index (or memory that the
//! application lent, by its number), so the tables can move with the arena.
//!
//! ```text
//!   receive   head ─► [in order] ─► [in order] ─► [after a gap ─► …] ─► [after another ─► …]   by sequence number
//!                                    ▲ last_in_order                     ▲ highest
//!   send      head ─► [acknowledged in part] ─► [sent] ─► [not yet sent] ─► …
//!                                                 ▲ cursor
//! ```

use alloc::rc::Rc;
use alloc::vec::Vec;

use freeway_collections::{BuildError, Slab};
use freeway_mem::{Arena, PacketPool, Parked, SharedPacket};
use freeway_tcp::{Context, Held, NarrowFlight, Pressure, Probe, Tcb};
use freeway_wire::tcp::SackBlocks;

use super::flights::Flights;
use super::{ListId, NONE};
use crate::config::StackConfig;

/// A run of bytes.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) content: Content,
    /// Where the run begins: a sequence number when received, a position in the stream of sent bytes when
    /// sending (which starts at 0 whenever the queue was empty).
    pub(crate) at: u32,
    /// How many bytes.
    pub(crate) len: u32,
    pub(crate) next: u32,
    /// Of a run of items behind a gap the first knows the last.
    pub(crate) run_last: u32,
    /// The peer's FIN stands right behind (received out of order only).
    pub(crate) fin: bool,
    /// Which queue it is in, and whose budget it takes from.
    pub(crate) side: Side,
}

/// Which way an item's bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    /// From the peer to the application.
    Received,
    /// From the application to the peer.
    Sent,
}

impl Item {
    /// What a vacant place of the table holds.
    const VACANT: Self = Self {
        content: Content::TAKEN,
        at: 0,
        len: 0,
        next: NONE,
        run_last: NONE,
        fin: false,
        side: Side::Received,
    };
}

/// Where the bytes of an item are.
#[derive(Debug)]
pub(crate) enum Content {
    /// In a packet buffer; the view covers exactly the item's bytes.
    Packet(Parked),
    /// In memory that the application lent.
    Lent {
        /// Its number.
        lent: u32,
        /// Where in it the item's bytes begin.
        offset: u32,
    },
}

impl Content {
    /// Nothing: it was taken out, for a moment, by the one who will put it back.
    pub(crate) const TAKEN: Self = Self::Lent { lent: NONE, offset: 0 };
}

/// The queues of one connection that holds something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queues {
    /// Received items: in order first, then those after a gap.
    pub(crate) rx_head: u32,
    pub(crate) rx_last_in_order: u32,
    /// Bytes in order and not yet read.
    pub(crate) rx_bytes: u32,
    /// Items in order.
    pub(crate) rx_items: u16,
    /// Items after a gap.
    pub(crate) rx_out_of_order: u16,
    /// Runs of these, each with a gap before it, and the first item of the one that ends last.
    pub(crate) rx_runs: u16,
    pub(crate) rx_highest: u32,
    /// Where the segments began that arrived last after a gap, the latest first.
    pub(crate) rx_recent: [u32; SackBlocks::MAX],
    /// Items sent or to be sent, from the oldest unacknowledged byte on.
    pub(crate) tx_head: u32,
    pub(crate) tx_tail: u32,
    /// The item last transmitted from: where the search for the next begins.
    pub(crate) tx_cursor: u32,
    /// The item last transmitted from again, likewise.
    pub(crate) tx_again: u32,
    /// The position of the oldest unacknowledged byte.
    pub(crate) tx_base: u32,
    /// The position up to which bytes have been transmitted.
    pub(crate) tx_sent: u32,
    /// Bytes from `tx_base` to the end.
    pub(crate) tx_bytes: u32,
    /// What TCP keeps while several segments are in flight, or [`NONE`].
    pub(crate) flight: u32,
    /// The path probe in flight.
    pub(crate) probe: Probe,
}

impl Queues {
    const EMPTY: Self = Self {
        rx_head: NONE,
        rx_last_in_order: NONE,
        rx_bytes: 0,
        rx_items: 0,
        rx_out_of_order: 0,
        rx_runs: 0,
        rx_highest: NONE,
        rx_recent: [0; SackBlocks::MAX],
        tx_head: NONE,
        tx_tail: NONE,
        tx_cursor: NONE,
        tx_again: NONE,
        tx_base: 0,
        tx_sent: 0,
        tx_bytes: 0,
        flight: NONE,
        probe: Probe::NONE,
    };

    pub(crate) const fn is_empty(&self) -> bool {
        self.rx_head == NONE && self.tx_head == NONE && self.flight == NONE
    }
}

/// Memory that the application lent: what is still referenced from send queues.
struct LentBytes {
    bytes: Rc<dyn AsRef<[u8]>>,
    /// Items that refer to it.
    items: u32,
    /// The application took it back; it goes with the last item.
    taken_back: bool,
}

/// A place for lent memory; the free ones are a list, so that finding one takes no search.
enum Place {
    Used(LentBytes),
    Free { next: u32 },
}

/// Memory that an application lent to a stack for sending without a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lent {
    pub(crate) index: u32,
    pub(crate) len: u32,
}

impl Lent {
    /// How many bytes were lent.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether nothing was lent.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The side tables of all connections' queued data.
pub(crate) struct Store {
    pub(crate) items: Slab<Item>,
    pub(crate) queues: Slab<Queues>,
    pub(crate) flights: Flights,
    pub(crate) pool: PacketPool,
    large: PacketPool,
    lent: Vec<Place>,
    /// The first free place, or [`NONE`].
    lent_free: u32,
    /// Runs of items behind gaps that one connection may hold.
    pub(crate) max_out_of_order: u16,
    /// Items by the side they are for.
    held: Sides,
    /// An eighth of the buffers, or of the items if there are fewer.
    eighth: u32,
    /// Items that may hold what was received.
    budget: u32,
    /// Half of the budget, and three quarters: where memory for what peers send gets short.
    short: u32,
    very_short: u32,
}

/// What a connection may hold of either side, in bytes, though that side's budget is used up: a request, or an answer. The
/// last segment may exceed it.
const LITTLE: u32 = 4_096;

/// Items held, by side.
///
/// Each side has a budget of its own, three eighths of all buffers, and an eighth that only those may use who hold
/// less than [`LITTLE`]; the rest carries what holds nothing: handshakes, acknowledgments, frames on their way. So a host whose receive queues are full can still send, one whose send
/// queues are full can still receive, and two hosts that both wait to send before they read on do not wait for each
/// other for ever.
#[derive(Clone, Copy, Default)]
struct Sides {
    received: u32,
    sent: u32,
}

impl Store {
    pub(crate) fn new(
        arena: &mut Arena,
        config: &StackConfig,
        pool: PacketPool,
        large: PacketPool,
    ) -> Result<Self, BuildError> {
        let eighth = (pool.capacity().min(config.max_items) / 8).max(1);
        let budget = config.receive_budget.unwrap_or(3 * eighth).max(1);
        Ok(Self {
            items: Slab::new(arena, "items", config.max_items, |_| Item::VACANT)?,
            queues: Slab::new(arena, "queues", config.max_items, |_| Queues::EMPTY)?,
            flights: Flights::new(arena, config)?,
            pool,
            large,
            lent: Vec::new(),
            lent_free: NONE,
            max_out_of_order: config.max_out_of_order,
            held: Sides::default(),
            eighth,
            budget,
            short: budget / 2,
            very_short: budget - budget / 4,
        })
    }

    /// Whether payload that continues a stream can be held.
    #[inline]
    pub(crate) fn has_room_to_receive(&self) -> bool {
        self.held.received < self.budget && self.items.len() < self.items.capacity()
    }

    /// Whether payload that arrived after a gap can be held: what fills the gap must still find room.
    #[inline]
    pub(crate) fn has_room_to_hold(&self) -> bool {
        self.held.received < self.budget - self.budget / 3 && self.items.len() < self.items.capacity()
    }

    /// Whether one more item can be queued for sending.
    #[inline]
    pub(crate) fn has_room_to_send(&self) -> bool {
        self.held.sent < 3 * self.eighth
            && self.items.len() < self.items.capacity()
            && self.pool.available() > self.eighth
    }

    /// Whether a connection with these queues may hold payload that continues its stream: while the host has room, and
    /// beyond that a little, if it holds less. So who reads at once is served beside those who do not read.
    #[inline]
    pub(crate) fn admits_received(&self, list: ListId) -> bool {
        self.has_room_to_receive()
            || self.held.received < self.budget + self.budget / 3
                && self.items.len() < self.items.capacity()
                && self.rx_bytes(list) < LITTLE
    }

    /// Whether a connection with these queues may queue one more item for sending: while the host has room, and beyond that a
    /// little, if it has less queued. So whose peer listens is served beside those whose peers do not.
    #[inline]
    pub(crate) fn admits_sent(&self, list: ListId) -> bool {
        self.has_room_to_send()
            || self.held.sent < 4 * self.eighth
                && self.items.len() < self.items.capacity()
                && self.pool.available() > self.eighth
                && self.tx_bytes(list) < LITTLE
    }

    /// How short of buffers this host is for what peers send: receive windows grow while half of the budget is free, and
    /// shrink when three quarters of it are in use.
    #[inline]
    pub(crate) const fn pressure(&self) -> Pressure {
        if self.held.received >= self.very_short {
            Pressure::High
        } else if self.held.received >= self.short {
            Pressure::Some
        } else {
            Pressure::None
        }
    }

    /// The path probe that the connection has in flight.
    #[inline]
    pub(crate) fn probe(&self, list: ListId) -> Probe {
        self.queues.slot(list).map_or(Probe::NONE, |queues| queues.probe)
    }

    /// Remembers the path probe in flight, or that there is none any more.
    pub(crate) fn set_probe(&mut self, list: ListId, probe: Probe) {
        if let Some(queues) = self.queues.slot_mut(list) {
            queues.probe = probe;
        }
    }

    /// What the TCB must know of the connection's queues.
    #[inline]
    pub(crate) fn held(&self, queues: u32) -> Held {
        match self.queues.slot(queues) {
            Some(queues) => {
                // A small segment pins a whole buffer: each counts for half a buffer at least.
                let pinned = u32::from(queues.rx_items) * (self.pool.buffer_size() >> 1);
                Held {
                    unread: queues.rx_bytes.max(pinned),
                    queued: queues.tx_bytes,
                    closed: false,
                    out_of_order: queues.rx_out_of_order > 0,
                    pressure: self.pressure(),
                    probe: queues.probe,
                    gaps: SackBlocks::NONE,
                }
            }
            None => Held { pressure: self.pressure(), ..Held::default() },
        }
    }

    /// The connection's queues, taken from the side table when it has none yet.
    #[inline(always)]
    pub(crate) fn open(&mut self, list: &mut ListId) -> Option<&mut Queues> {
        if *list == NONE {
            self.open_new(list)?;
        }
        self.queues.slot_mut(*list)
    }

    fn open_new(&mut self, list: &mut ListId) -> Option<()> {
        *list = self.queues.insert(Queues::EMPTY).ok()?;
        Some(())
    }

    /// Where the connection's flight lies, or [`NONE`].
    #[inline]
    pub(crate) fn flight_of(&self, list: ListId) -> u32 {
        self.queues.slot(list).map_or(NONE, |queues| queues.flight)
    }

    /// Gives the connection a flight if its TCP wants one and has none; false when there is none left. Returns where
    /// the flight lies.
    #[inline(always)]
    pub(crate) fn want_flight(
        &mut self,
        list: ListId,
        cx: &Context<'_>,
        tcb: &Tcb,
        held: &Held,
    ) -> Result<u32, ()> {
        let Some(queues) = self.queues.slot_mut(list) else { return Ok(NONE) };
        if queues.flight == NONE && tcb.wants_flight(held) {
            queues.flight = Self::begin_flight(&mut self.flights, cx, tcb)?;
        }
        Ok(queues.flight)
    }

    #[inline(never)]
    fn begin_flight(flights: &mut Flights, cx: &Context<'_>, tcb: &Tcb) -> Result<u32, ()> {
        flights.insert(NarrowFlight::begin(cx, tcb)).ok_or(())
    }

    /// Exchanges the connection's flight for one of the right size; false when there is none.
    #[cold]
    pub(crate) fn exchange_flight(&mut self, list: ListId) -> bool {
        let Some(queues) = self.queues.get_mut(list) else { return false };
        let exchanged = self.flights.exchange(queues.flight);
        queues.flight = exchanged.unwrap_or(queues.flight);
        exchanged.is_some()
    }

    /// Takes the connection's flight back.
    pub(crate) fn end_flight(&mut self, list: &mut ListId) {
        if let Some(queues) = self.queues.slot_mut(*list) {
            let flight = core::mem::replace(&mut queues.flight, NONE);
            self.flights.remove(flight);
            self.close_if_empty(list);
        }
    }

    /// Whether the connection has a queues' record that holds nothing.
    #[inline]
    pub(crate) fn is_empty(&self, list: ListId) -> bool {
        self.queues.slot(list).is_some_and(Queues::is_empty)
    }

    /// Gives the queues' record back when nothing is held any more.
    #[inline]
    pub(crate) fn close_if_empty(&mut self, list: &mut ListId) {
        if self.queues.slot(*list).is_some_and(Queues::is_empty) {
            self.queues.remove(*list);
            *list = NONE;
        }
    }

    /// Lets go of all that a connection holds.
    pub(crate) fn clear(&mut self, list: &mut ListId) {
        if let Some(&Queues { rx_head, tx_head, flight, .. }) = self.queues.slot(*list) {
            self.queues.remove(*list);
            self.flights.remove(flight);
            for mut index in [rx_head, tx_head] {
                while index != NONE {
                    index = self.free_item(index);
                }
            }
        }
        *list = NONE;
    }

    /// Frees an item with what it holds; returns the item behind it.
    pub(crate) fn free_item(&mut self, index: u32) -> u32 {
        match self.take_item(index) {
            Some((content, _, next)) => {
                self.drop_content(content);
                next
            }
            None => NONE,
        }
    }

    /// Puts an item of `len` bytes from `at` on into the table, before `next`; lets go of what it holds when there is no
    /// place.
    #[inline(always)]
    pub(crate) fn insert_item(
        &mut self,
        content: Content,
        (at, len): (u32, u32),
        next: u32,
        side: Side,
    ) -> Option<u32> {
        let Some((index, item)) = self.items.claim() else {
            self.drop_content(content);
            return None;
        };
        item.content = content;
        (item.at, item.len, item.next, item.run_last) = (at, len, next, NONE);
        (item.fin, item.side) = (false, side);
        *self.held_on(side) += 1;
        Some(index)
    }

    /// Takes an item out of the table; returns what it held, how many bytes that is, and the item behind it.
    #[inline(always)]
    pub(crate) fn take_item(&mut self, index: u32) -> Option<(Content, u32, u32)> {
        let item = self.items.slot_mut(index)?;
        let content = core::mem::replace(&mut item.content, Content::TAKEN);
        let (len, next, side) = (item.len, item.next, item.side);
        self.items.remove(index);
        *self.held_on(side) -= 1;
        Some((content, len, next))
    }

    #[inline]
    const fn held_on(&mut self, side: Side) -> &mut u32 {
        match side {
            Side::Received => &mut self.held.received,
            Side::Sent => &mut self.held.sent,
        }
    }

    /// Lets go of an item's bytes.
    #[inline(always)]
    pub(crate) fn drop_content(&mut self, content: Content) {
        match content {
            Content::Packet(parked) => drop(self.unpark(parked)),
            Content::Lent { lent, .. } => self.release_lent(lent),
        }
    }

    /// A parked packet as a packet again, from whichever pool it came.
    #[inline]
    pub(crate) fn unpark(&self, parked: Parked) -> Option<SharedPacket> {
        match self.pool.unpark(parked) {
            Ok(packet) => Some(packet),
            Err(parked) => self.large.unpark(parked).ok(),
        }
    }

    /// The bytes of a parked packet where they lie.
    #[inline]
    pub(crate) fn parked_bytes<'a>(&'a self, parked: &'a Parked) -> &'a [u8] {
        self.pool.view(parked).or_else(|| self.large.view(parked)).unwrap_or(&[])
    }

    /// Takes memory for sending; the number of places grows only here, never on the data path.
    pub(crate) fn lend(&mut self, bytes: Rc<dyn AsRef<[u8]>>) -> Option<Lent> {
        let len = u32::try_from((*bytes).as_ref().len()).ok()?;
        let entry = Place::Used(LentBytes { bytes, items: 0, taken_back: false });
        let index = self.lent_free;
        match self.lent.get_mut(index as usize) {
            Some(place) => {
                if let Place::Free { next } = core::mem::replace(place, entry) {
                    self.lent_free = next;
                }
                Some(Lent { index, len })
            }
            None => {
                let index = u32::try_from(self.lent.len()).ok().filter(|&index| index != NONE)?;
                self.lent.push(entry);
                Some(Lent { index, len })
            }
        }
    }

    /// The application wants its memory back: at once, or when the last byte is acknowledged.
    pub(crate) fn take_back(&mut self, lent: Lent) {
        if let Some(Place::Used(entry)) = self.lent.get_mut(lent.index as usize) {
            entry.taken_back = true;
            if entry.items == 0 {
                self.free_lent(lent.index);
            }
        }
    }

    /// The lent bytes.
    #[inline]
    pub(crate) fn lent_bytes(&self, lent: u32) -> &[u8] {
        match self.lent.get(lent as usize) {
            Some(Place::Used(entry)) => (*entry.bytes).as_ref(),
            _ => &[],
        }
    }

    /// One more item refers to the lent memory; false when it is not lent (any more).
    pub(crate) fn hold_lent(&mut self, lent: u32) -> bool {
        match self.lent.get_mut(lent as usize) {
            Some(Place::Used(entry)) if !entry.taken_back => {
                entry.items += 1;
                true
            }
            _ => false,
        }
    }

    fn release_lent(&mut self, lent: u32) {
        if let Some(Place::Used(entry)) = self.lent.get_mut(lent as usize) {
            entry.items -= 1;
            if entry.items == 0 && entry.taken_back {
                self.free_lent(lent);
            }
        }
    }

    /// Gives the memory back to whoever else holds it, and the place to the list of free ones.
    fn free_lent(&mut self, lent: u32) {
        if let Some(place) = self.lent.get_mut(lent as usize) {
            *place = Place::Free { next: self.lent_free };
            self.lent_free = lent;
        }
    }
}

const _: () = assert!(size_of::<Item>() <= 32);
const _: () = assert!(size_of::<Queues>() <= 80);
