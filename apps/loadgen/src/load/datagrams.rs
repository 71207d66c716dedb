//! Requests over UDP, each in a datagram behind memcached's frame header.
//!
//! ```text
//!  0            2            4            6            8
//!  | request id | number     | datagrams  | reserved   | request or answer
//! ```
//!
//! The id is the request's place in a table of what is under way. An echo service sends the header back as it came; a
//! cache numbers the datagrams of a long answer. What is not answered within a second counts as lost, and so does what
//! is not answered when nearly all ids have gone by since: they are few at millions a second, and one that was lost must
//! not keep the others waiting. Until the first answer has come, while links come up and neighbours are asked for, one
//! request at a time is under way, and the wait is a tenth of a second.
//!
//! Source: memcached's `doc/protocol.txt`, "UDP protocol".

use std::net::{IpAddr, SocketAddr};

use freeway::{Datagram, Duration, Instant, Rng, Stack, UdpId};

use super::{Common, LoadConfig, LoadState};
use crate::gauge::{Reading, Work};
use crate::pace::Schedule;
use crate::protocol::Protocol;

/// The frame header's length, in bytes.
pub(crate) const HEADER: usize = 8;
/// Requests that can be told apart.
const IDS: usize = 1 << 16;
/// Ids that are kept free for the requests of the next turns.
const SPARE: u64 = 1 << 10;
/// How long an answer is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// The same until there was one.
const FIRST_PATIENCE: Duration = Duration::from_millis(100);
/// Requests that one turn sends.
const REQUESTS_PER_TURN: usize = 128;

/// A request under way: when it was meant to be sent, and how many datagrams of its answer have come.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    /// Zero when it was answered.
    at_ns: u64,
    sent_ns: u64,
    arrived: u16,
}

/// What is under way, by id: a window that moves through all ids.
#[derive(Debug)]
pub(crate) struct Window {
    waiting: Box<[Waiting]>,
    /// The next id, and the oldest that may still be under way, counted without end.
    next: u64,
    oldest: u64,
    in_flight: u32,
    patience: Duration,
}

impl Window {
    pub(crate) fn new() -> Self {
        Self {
            waiting: vec![Waiting::default(); IDS].into(),
            next: 0,
            oldest: 0,
            in_flight: 0,
            patience: FIRST_PATIENCE,
        }
    }

    pub(crate) const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Whether there is an id for another request.
    const fn has_room(&self) -> bool {
        self.next - self.oldest < IDS as u64
    }

    /// Whether there is to be another request under way, of `most`.
    pub(crate) fn takes_another(&self, most: u32) -> bool {
        let most = if self.patience == PATIENCE { most } else { most.min(1) };
        self.in_flight < most && self.has_room()
    }

    /// Takes an id for a request that was meant for `at` and is sent `now`.
    pub(crate) fn begin(&mut self, at: Instant, now: Instant) -> u16 {
        let id = self.next as u16;
        if let Some(place) = self.waiting.get_mut(usize::from(id)) {
            *place = Waiting { at_ns: at.as_nanos().max(1), sent_ns: now.as_nanos(), arrived: 0 };
        }
        self.next += 1;
        self.in_flight += 1;
        id
    }

    /// One of the datagrams that answer request `id` has come; when its request was meant, if it was the last.
    pub(crate) fn arrived(&mut self, id: u16, datagrams: u16) -> Option<Instant> {
        let place = self.waiting.get_mut(usize::from(id)).filter(|place| place.at_ns != 0)?;
        place.arrived += 1;
        if place.arrived < datagrams {
            return None;
        }
        self.in_flight -= 1;
        self.patience = PATIENCE;
        Some(Instant::from_nanos(std::mem::take(&mut place.at_ns)))
    }

    /// Lets go of what was answered, and of what is overdue; returns how many were.
    pub(crate) fn expire(&mut self, now: Instant) -> u64 {
        let mut lost = 0;
        while self.oldest < self.next {
            let Some(place) = self.waiting.get_mut(self.oldest as u16 as usize) else { break };
            if place.at_ns != 0 {
                let is_young = now.since(Instant::from_nanos(place.sent_ns)) < self.patience;
                if is_young && self.next - self.oldest <= IDS as u64 - SPARE {
                    break;
                }
                place.at_ns = 0;
                self.in_flight -= 1;
                lost += 1;
            }
            self.oldest += 1;
        }
        lost
    }
}

/// The header of request `id`.
pub(crate) const fn header(id: u16) -> [u8; HEADER] {
    let [high, low] = id.to_be_bytes();
    [high, low, 0, 0, 0, 1, 0, 0]
}

/// The id, how many datagrams the answer has, and what is behind the header.
pub(crate) fn split(datagram: &[u8]) -> Option<(u16, u16, &[u8])> {
    let (&[high, low, _, _, many, few, _, _], rest) = datagram.split_first_chunk::<HEADER>()?;
    Some((u16::from_be_bytes([high, low]), u16::from_be_bytes([many, few]).max(1), rest))
}

/// Takes a datagram into the counts: whether it completed an answer.
pub(crate) fn take<P: Protocol>(
    window: &mut Window,
    protocol: &mut P,
    reading: &mut Reading,
    datagram: &[u8],
) -> Option<Instant> {
    reading.bytes_in += datagram.len() as u64;
    let Some((id, datagrams, body)) = split(datagram) else {
        reading.wrong += 1;
        return None;
    };
    let at = window.arrived(id, datagrams);
    // The parts of a long answer may come in any order: they are counted, not read.
    if datagrams == 1 && at.is_some() {
        let found = protocol.answers(&mut P::Progress::default(), body);
        reading.values += u64::from(found.values);
        reading.wrong += u64::from(if found.whole == 1 { found.wrong } else { 1 });
    }
    reading.answered += u64::from(at.is_some());
    at
}

/// The load's datagrams.
pub(super) struct Datagrams<Q> {
    remote: SocketAddr,
    sources: Box<[IpAddr]>,
    wanted: usize,
    sockets: Vec<UdpId>,
    next_socket: usize,
    window: Window,
    most: u32,
    schedule: Option<Schedule>,
    progress: std::marker::PhantomData<Q>,
}

impl<Q: Copy + Default + 'static> Datagrams<Q> {
    pub(super) fn new(config: &LoadConfig) -> Self {
        Self {
            remote: config.targets.datagrams,
            sources: config.sources.as_slice().into(),
            wanted: config.sockets as usize,
            sockets: Vec::with_capacity(config.sockets as usize),
            next_socket: 0,
            window: Window::new(),
            most: 0,
            schedule: None,
            progress: std::marker::PhantomData,
        }
    }

    /// Binds the sockets, from one address after another.
    pub(super) fn start(&mut self, stack: &mut Stack<LoadState<Q>>, reading: &mut Reading) {
        const FIRST: u16 = 20_000;
        for (number, port) in (0..self.wanted).zip(FIRST..) {
            let addr = self.sources.get(number % self.sources.len().max(1)).copied();
            match stack.udp_bind(addr, port, 0) {
                Ok(socket) => self.sockets.push(socket),
                Err(_) => reading.failed += 1,
            }
        }
    }

    pub(super) fn begin(&mut self, work: Work, now: Instant, rng: &mut Rng) {
        (self.most, self.schedule) = match work {
            Work::Datagrams { in_flight, rate } => {
                (in_flight, rate.map(|rate| Schedule::new(rate, now, rng)))
            }
            _ => (0, None),
        };
    }

    pub(super) const fn in_flight(&self) -> u64 {
        self.window.in_flight() as u64
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.schedule.as_ref().map(Schedule::next)
    }

    pub(super) fn turn<P: Protocol<Progress = Q>>(
        &mut self,
        stack: &mut Stack<LoadState<Q>>,
        common: &mut Common<P>,
    ) {
        common.reading.timeouts += self.window.expire(common.now);
        for _ in 0..REQUESTS_PER_TURN {
            if !self.window.takes_another(self.most) {
                return;
            }
            let at = match &self.schedule {
                Some(schedule) if schedule.next() > common.now => return,
                Some(schedule) => schedule.next(),
                None => common.now,
            };
            if !self.send(stack, common, at) {
                return;
            }
            if let Some(schedule) = &mut self.schedule {
                schedule.advance(&mut common.rng);
            }
        }
    }

    fn send<P: Protocol<Progress = Q>>(
        &mut self,
        stack: &mut Stack<LoadState<Q>>,
        common: &mut Common<P>,
        at: Instant,
    ) -> bool {
        let Some(&socket) = self.sockets.get(self.next_socket) else { return false };
        self.next_socket = if self.next_socket + 1 < self.sockets.len() { self.next_socket + 1 } else { 0 };
        let most = common.protocol.request_max();
        let Some(mut packet) = stack.pool().alloc() else { return false };
        let Some((head, body)) = packet.append(HEADER + most).and_then(<[u8]>::split_first_chunk_mut) else {
            return false;
        };
        *head = header(self.window.begin(at, common.now));
        let len = HEADER + common.protocol.request(body);
        packet.truncate(len);
        common.reading.bytes_out += len as u64;
        stack.udp_send(socket, None, self.remote, packet);
        true
    }

    pub(super) fn arrived<P: Protocol<Progress = Q>>(
        &mut self,
        stack: &mut Stack<LoadState<Q>>,
        common: &mut Common<P>,
        datagram: &Datagram,
    ) {
        let now = stack.now();
        let Common { protocol, reading, latencies, .. } = common;
        if let Some(at) = take(&mut self.window, protocol, reading, datagram.packet.data()) {
            latencies.record(now.since(at).as_nanos());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Echo;

    #[test]
    fn answers_are_known_by_their_ids() {
        let at = Instant::from_micros;
        let (mut window, mut echo, mut reading) = (Window::new(), Echo::new(4), Reading::default());
        for number in 0..70_000u64 {
            let id = window.begin(at(number), at(number));
            let mut datagram = header(id).to_vec();
            datagram.resize(HEADER + 4, 0);
            echo.request(&mut datagram[HEADER..]);
            assert_eq!(
                take(&mut window, &mut echo, &mut reading, &datagram),
                Some(at(number).max(Instant::from_nanos(1)))
            );
            assert_eq!(take(&mut window, &mut echo, &mut reading, &datagram), None, "the same again");
            assert_eq!(window.expire(at(number)), 0);
        }
        assert_eq!((reading.answered, reading.wrong, window.in_flight()), (70_000, 0, 0));
        assert_eq!(take(&mut window, &mut echo, &mut reading, &[0; 3]), None);
        assert_eq!(reading.wrong, 1);
    }

    #[test]
    fn an_answer_in_parts_is_whole_with_the_last() {
        let mut window = Window::new();
        let id = window.begin(Instant::from_secs(1), Instant::from_secs(1));
        assert_eq!(window.arrived(id, 3), None);
        assert_eq!(window.arrived(id, 3), None);
        assert_eq!(window.arrived(id, 3), Some(Instant::from_secs(1)));
    }

    #[test]
    fn what_is_not_answered_is_lost_after_a_second() {
        let at = Instant::from_millis;
        let mut window = Window::new();
        let ids = [10, 20, 30].map(|time| window.begin(at(time), at(time)));
        assert!(window.arrived(ids[1], 1).is_some());
        assert_eq!((window.expire(at(1_009)), window.in_flight()), (0, 2));
        assert_eq!((window.expire(at(1_010)), window.in_flight()), (1, 1));
        assert_eq!((window.expire(at(1_030)), window.in_flight()), (1, 0));
        assert_eq!(window.oldest, window.next);
        for _ in 0..IDS {
            assert!(window.has_room());
            window.begin(at(2_000), at(2_000));
        }
        assert!(!window.has_room());
    }

    #[test]
    fn one_is_under_way_until_an_answer_has_come() {
        let at = Instant::from_millis;
        let mut window = Window::new();
        assert!(window.takes_another(8) && !window.takes_another(0));
        window.begin(at(1), at(1));
        assert!(!window.takes_another(8));
        assert_eq!(window.expire(at(101)), 1);
        assert!(window.takes_another(8));
        let id = window.begin(at(102), at(102));
        assert!(window.arrived(id, 1).is_some());
        for _ in 0..8 {
            assert!(window.takes_another(8));
            window.begin(at(103), at(103));
        }
        assert!(!window.takes_another(8));
    }

    #[test]
    fn one_that_was_lost_does_not_hold_the_others_back() {
        let now = Instant::from_secs(1);
        let mut window = Window::new();
        let (_lost, first) = (window.begin(now, now), window.begin(now, now));
        assert!(window.arrived(first, 1).is_some());
        let mut timeouts = 0;
        for _ in 0..3 * IDS {
            timeouts += window.expire(now);
            assert!(window.has_room());
            let id = window.begin(now, now);
            assert!(window.arrived(id, 1).is_some());
        }
        assert_eq!((timeouts, window.in_flight()), (1, 0));
    }
}
