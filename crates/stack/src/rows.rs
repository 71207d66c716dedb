//! Every socket of a core, a few at a time, for a person who asks.
//!
//! A [`Cursor`] walks over the stack's tables by index. Each call shows a bounded number of rows and looks at a bounded
//! number of places, whatever the tables hold, so ten million connections are shown between the turns of a core that goes
//! on serving. What opens or ends meanwhile is shown or not: the rows are of no single moment.

use core::net::{IpAddr, SocketAddr};

use arrayvec::ArrayVec;
use bitflags::bitflags;
use freeway_base::{Duration, Instant};
use freeway_tcp::{Info, State};

use crate::stack::Stack;
use crate::tcp::key::FlowKey;
use crate::tcp::record::Connection;

/// Rows that one call of [`Stack::rows`] shows at most.
pub const SLICE: usize = 64;

/// Words of 64 places each that one call looks at, most of them vacant: 4,096 places, in half a kilobyte.
const WORDS: usize = 64;

bitflags! {
    /// Tables of sockets.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Tables: u8 {
        /// TCP listeners.
        const LISTENERS = 1 << 0;
        /// UDP sockets.
        const UDP = 1 << 1;
        /// Half-open passive connections.
        const SYN_RECEIVED = 1 << 2;
        /// Connections with a TCB.
        const CONNECTIONS = 1 << 3;
        /// TIME-WAIT records.
        const TIME_WAIT = 1 << 4;
    }
}

/// How far a walk over the tables has come.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    /// Tables still to be shown.
    left: Tables,
    /// The next place of the table at hand.
    place: u32,
    /// Whether rows of connections come with all that TCP knows.
    detail: bool,
}

impl Cursor {
    /// The beginning of a walk over `tables`. With `detail` each connection comes with its [`Info`], which touches its side
    /// records.
    pub const fn new(tables: Tables, detail: bool) -> Self {
        Self { left: tables, place: 0, detail }
    }

    /// Whether all has been shown.
    pub const fn is_at_end(&self) -> bool {
        self.left.is_empty()
    }

    fn next_table(&mut self, done: Tables) {
        self.left.remove(done);
        self.place = 0;
    }

    /// The next occupied places of a slab, at most `limit`, by its words of occupancy; says whether its end was reached.
    fn gather(
        &mut self,
        bits: impl Fn(usize) -> Option<u64>,
        limit: usize,
        into: &mut ArrayVec<u32, SLICE>,
    ) -> bool {
        for _ in 0..WORDS {
            let word = self.place >> 6;
            let Some(bits) = bits(word as usize) else { return true };
            let mut left = bits & (u64::MAX << (self.place & 63));
            while left != 0 {
                if into.len() >= limit {
                    return false;
                }
                let index = word << 6 | left.trailing_zeros();
                left &= left - 1;
                into.push(index);
                self.place = index + 1;
            }
            self.place = (word + 1) << 6;
        }
        false
    }
}

/// What kind of socket a row is of, and where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// A TCP listener: how many connections it has open.
    Listener {
        /// Connections open.
        open: u32,
    },
    /// A UDP socket.
    Udp,
    /// A TCP connection, whatever table it is in.
    Tcp(State),
}

/// One socket.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What it is.
    pub stage: Stage,
    /// This side's address; `None` for all of the host's.
    pub local: Option<IpAddr>,
    /// This side's port.
    pub local_port: u16,
    /// The peer, if there is one.
    pub peer: Option<SocketAddr>,
    /// The number that the listener, the open or the socket was given.
    pub service: u16,
    /// Bytes received and not read; a listener's connections that wait for the application. A UDP socket has none: its
    /// datagrams are handed over in the turn in which they arrive.
    pub receive_queue: u32,
    /// Bytes queued and not acknowledged; the most connections that may wait on a listener.
    pub send_queue: u32,
    /// What is left of TIME-WAIT.
    pub remaining: Option<Duration>,
    /// All that TCP knows of the connection, if it was asked for.
    pub info: Option<Info>,
}

impl Row {
    const fn new(stage: Stage, local: Option<IpAddr>, local_port: u16, service: u16) -> Self {
        Self {
            stage,
            local,
            local_port,
            peer: None,
            service,
            receive_queue: 0,
            send_queue: 0,
            remaining: None,
            info: None,
        }
    }
}

impl<S: Copy + Default + 'static> Stack<S> {
    /// Shows the next sockets, at most `limit` and no more than [`SLICE`] of them; fewer, or none, do not mean the end,
    /// which [`Cursor::is_at_end`] tells.
    pub fn rows(&self, now: Instant, cursor: &mut Cursor, limit: usize, put: &mut dyn FnMut(&Row)) {
        let limit = limit.min(SLICE);
        if cursor.left.contains(Tables::LISTENERS) {
            self.listener_rows(cursor, limit, put);
        } else if cursor.left.contains(Tables::UDP) {
            self.udp_rows(cursor, limit, put);
        } else if cursor.left.contains(Tables::SYN_RECEIVED) {
            self.syn_received_rows(cursor, limit, put);
        } else if cursor.left.contains(Tables::CONNECTIONS) {
            self.connection_rows(now, cursor, limit, put);
        } else if cursor.left.contains(Tables::TIME_WAIT) {
            self.time_wait_rows(now, cursor, limit, put);
        } else {
            cursor.left = Tables::empty();
        }
    }

    fn listener_rows(&self, cursor: &mut Cursor, limit: usize, put: &mut dyn FnMut(&Row)) {
        let listeners = &self.tcp.listeners;
        for _ in 0..limit {
            let Ok(listener) = listeners.at(cursor.place as usize) else {
                return cursor.next_table(Tables::LISTENERS);
            };
            cursor.place += 1;
            let Some((addr, port, profile)) = listener else { continue };
            let service = listeners.profiles.get(usize::from(profile)).map_or(0, |profile| profile.service);
            let (waiting, backlog, open) = listeners
                .gate(profile)
                .map_or((0, 0, 0), |gate| (gate.waiting, gate.limits.backlog, gate.open));
            let row = Row::new(Stage::Listener { open }, addr, port, service);
            put(&Row { receive_queue: waiting, send_queue: backlog, ..row });
        }
    }

    fn udp_rows(&self, cursor: &mut Cursor, limit: usize, put: &mut dyn FnMut(&Row)) {
        for _ in 0..limit {
            let Ok(socket) = self.udp.at(cursor.place as usize) else {
                return cursor.next_table(Tables::UDP);
            };
            cursor.place += 1;
            let Some((addr, port, service)) = socket else { continue };
            put(&Row::new(Stage::Udp, addr, port, service));
        }
    }

    fn syn_received_rows(&self, cursor: &mut Cursor, limit: usize, put: &mut dyn FnMut(&Row)) {
        let entries = &self.tcp.half_open.entries;
        let mut places = ArrayVec::new();
        let at_end = cursor.gather(|word| entries.occupied_bits(word), limit, &mut places);
        for entry in places.into_iter().filter_map(|place| entries.get(place)) {
            put(&self.flow_row(State::SynReceived, &entry.key, entry.profile));
        }
        if at_end {
            cursor.next_table(Tables::SYN_RECEIVED);
        }
    }

    fn connection_rows(&self, now: Instant, cursor: &mut Cursor, limit: usize, put: &mut dyn FnMut(&Row)) {
        let tcp = &self.tcp;
        let mut places = ArrayVec::new();
        let at_end = cursor.gather(|word| tcp.connections.occupied_bits(word), limit, &mut places);
        places.iter().for_each(|&place| tcp.connections.prefetch(place, 3));
        for place in places {
            let Some(Connection { tcb, socket, .. }) = tcp.connections.get(place) else { continue };
            put(&Row {
                receive_queue: tcp.store.rx_bytes(socket.queues),
                send_queue: tcp.store.tx_bytes(socket.queues),
                info: if cursor.detail { tcp.info(now, &self.net, place) } else { None },
                ..self.flow_row(tcb.state(), &socket.key, socket.profile)
            });
        }
        if at_end {
            cursor.next_table(Tables::CONNECTIONS);
        }
    }

    fn time_wait_rows(&self, now: Instant, cursor: &mut Cursor, limit: usize, put: &mut dyn FnMut(&Row)) {
        let table = &self.tcp.time_wait;
        let mut places = ArrayVec::new();
        let at_end = cursor.gather(|word| table.occupied_bits(word), limit, &mut places);
        for entry in places.into_iter().filter_map(|place| table.get(place)) {
            let remaining = Some(entry.until.since(now));
            put(&Row { remaining, ..self.flow_row(State::TimeWait, &entry.key, entry.profile) });
        }
        if at_end {
            cursor.next_table(Tables::TIME_WAIT);
        }
    }

    fn flow_row(&self, state: State, key: &FlowKey, profile: u16) -> Row {
        let service = self.tcp.listeners.profiles.get(usize::from(profile)).map_or(0, |found| found.service);
        let local = Some(self.net.address(key.local));
        Row {
            peer: Some(SocketAddr::new(key.remote(), key.remote_port)),
            ..Row::new(Stage::Tcp(state), local, key.local_port, service)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// All places that a walk finds in these words of occupancy, in slices of `limit`, and how many calls it took.
    fn walk(words: &[u64], limit: usize) -> (Vec<u32>, usize) {
        let mut cursor = Cursor::new(Tables::CONNECTIONS, false);
        let (mut all, mut calls) = (Vec::new(), 0);
        loop {
            let mut places = ArrayVec::new();
            let at_end = cursor.gather(|word| words.get(word).copied(), limit, &mut places);
            assert!(places.len() <= limit);
            all.extend(places);
            calls += 1;
            if at_end {
                return (all, calls);
            }
        }
    }

    #[test]
    fn every_place_is_shown_once_in_order_whatever_the_slice() {
        let mut words = [0; 200];
        for (index, word) in words.iter_mut().enumerate() {
            *word = match index % 5 {
                0 => u64::MAX,
                1 => 1 << 63,
                2 => 0,
                3 => 1 | 1 << 40,
                _ => 0xaaaa_aaaa_aaaa_aaaa,
            };
        }
        let expected: Vec<u32> =
            (0..200 * 64).filter(|n| words[*n as usize / 64] >> (n % 64) & 1 == 1).collect();
        for limit in [1, 7, 63, 64] {
            assert_eq!(walk(&words, limit).0, expected, "slices of {limit}");
        }
    }

    #[test]
    fn vacant_places_cost_a_bounded_look() {
        let (all, calls) = walk(&[0; 1_000], SLICE);
        assert!(all.is_empty());
        assert_eq!(calls, 1_000usize.div_ceil(WORDS));
        assert_eq!(walk(&[], SLICE), (Vec::new(), 1));
    }
}
