//! One connection in one chunk: [TCB | socket | application].
//!
//! ```text
//!  line 0  ┌──────────────────────────────────────────────┐
//!          │ Tcb: what an in-order segment touches        │
//!  line 1  │ Tcb: the rest                                │
//!          ├──────────────────────────────────────────────┤
//!  line 2  │ Socket: four-tuple, next hop, links, timers  │
//!          │ application state                            │
//!          └──────────────────────────────────────────────┘
//! ```
//!
//! An idle connection owns this record, its entry in the flow table and its place in the timing wheel, and
//! nothing else: queues lie in a side table while they hold something.

use core::net::{IpAddr, Ipv4Addr};

use bitflags::bitflags;
use freeway_base::Instant;
use freeway_collections::Slab;
use freeway_tcp::Tcb;

use super::NONE;
use super::key::FlowKey;
use crate::application::CloseReason;
use crate::net::Hop;

/// A connection: protocol, socket and application state side by side.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Connection<S> {
    pub(crate) tcb: Tcb,
    pub(crate) socket: Socket,
    pub(crate) app: S,
}

impl<S: Default> Connection<S> {
    /// What a vacant place of the table holds.
    pub(crate) fn vacant() -> Self {
        let key = FlowKey::new(0, 0, IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let mut socket = Socket::new(key, 0, Hop::UNRESOLVED, 0);
        socket.flags.insert(Flags::DETACHED);
        Self { tcb: Tcb::vacant(), socket, app: S::default() }
    }
}

/// Which places of the table hold a connection, as the records themselves tell: what was taken out of the table was
/// [`DETACHED`](Flags::DETACHED) before. Only for those the table's own bits are asked, which lie elsewhere, so that of ten
/// million connections one more line would have to come from memory.
pub(crate) trait Live<S> {
    /// The connection at `index`; `None` if the place is vacant.
    fn live(&self, index: u32) -> Option<&Connection<S>>;

    /// The same, to be changed.
    fn live_mut(&mut self, index: u32) -> Option<&mut Connection<S>>;
}

impl<S: Copy + 'static> Live<S> for Slab<Connection<S>> {
    #[inline]
    fn live(&self, index: u32) -> Option<&Connection<S>> {
        let connection = self.slot(index)?;
        let is_live = !connection.socket.flags.contains(Flags::DETACHED) || self.contains(index);
        is_live.then_some(connection)
    }

    #[inline]
    fn live_mut(&mut self, index: u32) -> Option<&mut Connection<S>> {
        if self.live(index).is_some() { self.slot_mut(index) } else { None }
    }
}

/// What the stack keeps of a connection beside its TCB.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Socket {
    pub(crate) key: FlowKey,
    /// Which listener's or open's settings apply: an index into the table of profiles.
    pub(crate) profile: u16,
    /// The way to the peer.
    pub(crate) hop: Hop,
    /// Tells this connection from earlier and later ones in the same place.
    pub(crate) serial: u32,
    /// The side record of queued data, or [`NONE`].
    pub(crate) queues: u32,
    /// The next connection with events for the application.
    pub(crate) next_ready: u32,
    /// The next connection with something to transmit.
    pub(crate) next_dirty: u32,
    /// The next connection that waits for a buffer.
    pub(crate) next_starved: u32,
    /// The application's timer.
    pub(crate) timer: Tick,
    pub(crate) flags: Flags,
    pub(crate) notes: Notes,
    /// The half second in which the last challenge ACK went out, if `CHALLENGED`.
    pub(crate) challenged: u8,
}

bitflags! {
    /// What a connection is counted in, so that each count is taken back once.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct Notes: u8 {
        /// Among its listener's open connections.
        const OPEN = 1 << 0;
        /// Among those that wait for the application.
        const WAITING = 1 << 1;
        /// The application has put it off: it waits until it is handled.
        const DEFERRED = 1 << 2;
        /// Among its remote address's.
        const PEER = 1 << 3;
        /// It has sent a challenge ACK.
        const CHALLENGED = 1 << 4;
        /// Among its listener's Fast Open connections whose handshake is not over.
        const FAST_OPEN = 1 << 5;
    }
}

bitflags! {
    /// Marks on a connection: events that wait for the application, list membership, what the user has done.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct Flags: u16 {
        /// Event: the peer opened it.
        const ACCEPTED = 1 << 0;
        /// Event: our open succeeded.
        const CONNECTED = 1 << 1;
        /// Event: bytes or the peer's FIN.
        const READABLE = 1 << 2;
        /// Event: room after a short write.
        const WRITABLE = 1 << 3;
        /// Event: the application's timer.
        const TIMER = 1 << 4;
        /// Event: it is over; the reason is in the two `REASON` bits and `ABORTED`.
        const CLOSED = 1 << 5;
        /// On the list of connections with events.
        const ON_READY = 1 << 6;
        /// On the list of connections to transmit.
        const ON_DIRTY = 1 << 7;
        /// A write came short: tell the application when there is room.
        const WANTS_ROOM = 1 << 8;
        /// The application will read no more.
        const READ_CLOSED = 1 << 9;
        /// The peer's FIN was received in order.
        const PEER_FINISHED = 1 << 10;
        /// The flow table no longer leads here: only the application still has to hear of the end.
        const DETACHED = 1 << 11;
        /// On the list of connections that want room which the host as a whole has not.
        const ON_STARVED = 1 << 12;
        /// Why it ended, in three bits.
        const REASON = 7 << 13;
        /// Event, before the end: the same data was sent several times in vain. Takes a bit of the reason, of which there
        /// is none yet.
        const STALLED = 1 << 15;
    }
}

impl Flags {
    /// Everything that the application is to hear.
    pub(crate) const EVENTS: Self = Self::ACCEPTED
        .union(Self::CONNECTED)
        .union(Self::READABLE)
        .union(Self::WRITABLE)
        .union(Self::TIMER)
        .union(Self::CLOSED);
    /// The lists that run through the record.
    pub(crate) const LISTS: Self = Self::ON_READY.union(Self::ON_DIRTY).union(Self::ON_STARVED);

    const REASON_SHIFT: u32 = 13;

    pub(crate) const fn set_reason(&mut self, reason: CloseReason) {
        let bits = self.bits() & !Self::REASON.bits() | (reason as u16) << Self::REASON_SHIFT;
        *self = Self::from_bits_retain(bits);
    }

    pub(crate) const fn reason(self) -> CloseReason {
        match self.bits() >> Self::REASON_SHIFT {
            0 => CloseReason::Finished,
            1 => CloseReason::Reset,
            2 => CloseReason::Refused,
            3 => CloseReason::TimedOut,
            _ => CloseReason::Aborted,
        }
    }
}

impl Socket {
    pub(crate) const fn new(key: FlowKey, profile: u16, hop: Hop, serial: u32) -> Self {
        Self {
            key,
            profile,
            hop,
            serial,
            queues: NONE,
            next_ready: NONE,
            next_dirty: NONE,
            next_starved: NONE,
            timer: Tick::NEVER,
            flags: Flags::empty(),
            notes: Notes::empty(),
            challenged: 0,
        }
    }
}

/// An instant in the wheel's unit of 2^20 ns (1.05 ms), in 32 bits: 52 days before it wraps, and no wait is
/// half as long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tick(u32);

impl Tick {
    /// No deadline.
    pub(crate) const NEVER: Self = Self(u32::MAX);

    const SHIFT: u32 = 20;

    /// The first tick at or after `instant`.
    #[inline]
    pub(crate) const fn at_or_after(instant: Instant) -> Self {
        let ticks = (instant.as_nanos().saturating_add((1 << Self::SHIFT) - 1) >> Self::SHIFT) as u32;
        // The mark of "never" is taken: one tick of 2^32 is rounded up.
        Self(if ticks == u32::MAX { 0 } else { ticks })
    }

    /// The instant of this tick, for a tick that lies within 26 days of `now`.
    #[inline]
    pub(crate) const fn instant(self, now: Instant) -> Instant {
        let now_ticks = now.as_nanos() >> Self::SHIFT;
        let ahead = self.0.wrapping_sub(now_ticks as u32) as i32;
        Instant::from_nanos(now_ticks.saturating_add_signed(ahead as i64) << Self::SHIFT)
    }

    /// Whether this tick has come at `now`.
    #[inline]
    pub(crate) const fn is_due(self, now: Instant) -> bool {
        let now = Self((now.as_nanos() >> Self::SHIFT) as u32);
        match self {
            Self::NEVER => false,
            Self(mine) => now.0.wrapping_sub(mine) as i32 >= 0,
        }
    }
}

// What 16 bytes of application state make of a connection: three cache lines.
const _: () = assert!(size_of::<Connection<[u64; 2]>>() <= 192);
const _: () = assert!(size_of::<Socket>() <= 56);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use freeway_base::Duration;
    use freeway_mem::{Arena, ArenaLayout};

    #[test]
    fn a_record_says_whether_its_place_is_taken() {
        let capacity = 2;
        let layout = Slab::<Connection<u64>>::plan(ArenaLayout::new(), capacity);
        let mut arena = Arena::heap(layout.bytes()).unwrap();
        let mut table = Slab::new(&mut arena, "connections", capacity, |_| Connection::vacant()).unwrap();
        assert!((0..=capacity).all(|index| table.live(index).is_none()), "never taken");
        let mut taken = Connection { app: 7, ..Connection::vacant() };
        taken.socket.flags = Flags::empty();
        let index = table.insert(taken).ok().unwrap();
        assert_eq!(table.live_mut(index).unwrap().app, 7);
        // It is over, and the application has not heard of it yet.
        table.live_mut(index).unwrap().socket.flags.insert(Flags::DETACHED);
        assert_eq!(table.live(index).unwrap().app, 7);
        assert!(table.remove(index));
        assert!(table.live(index).is_none() && table.live_mut(index).is_none());
        assert_eq!(table.slot(index).unwrap().app, 7, "what it held lies there still");
    }

    #[test]
    fn reasons_survive_among_the_flags() {
        use CloseReason::*;
        for reason in [Finished, Reset, Refused, TimedOut, Aborted] {
            let mut flags = Flags::READABLE | Flags::ON_STARVED;
            flags.set_reason(reason);
            assert_eq!(flags.reason(), reason);
            assert!(flags.contains(Flags::READABLE | Flags::ON_STARVED));
        }
    }

    #[test]
    fn ticks_never_come_early_and_survive_the_wrap() {
        let wrap = Instant::from_nanos(u64::from(u32::MAX) << 20);
        for base in [Instant::ZERO, Instant::from_secs(100), wrap - Duration::from_secs(1), wrap] {
            for ahead in [0, 1, 999_999, 1_048_576, 7_200_000_000_000] {
                let deadline = base + Duration::from_nanos(ahead);
                let tick = Tick::at_or_after(deadline);
                let back = tick.instant(base);
                assert!(
                    back >= deadline && back - deadline <= Duration::from_millis(3),
                    "{deadline:?} {back:?}"
                );
                assert!(tick.is_due(back));
                assert!(ahead < 2_000_000 || !tick.is_due(base));
            }
        }
        assert!(!Tick::NEVER.is_due(Instant::FAR_FUTURE));
    }
}
