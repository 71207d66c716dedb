//! The same load on Linux's own sockets: whatever serves there is measured by the same codecs, schedules and histograms.
//!
//! One thread, one epoll set, every socket edge-triggered and added once. A closed loop sleeps in the kernel until
//! something happens; an open loop polls, as on Freeway's stack.

mod server;
mod socket;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use freeway::{Clock as _, Duration, Instant, Monotonic, Rng};

use crate::gauge::{Cause, Gauge, Reading, Requests, Work};
use crate::latency::Latencies;
use crate::load::LoadConfig;
use crate::load::datagrams::{HEADER, Window, header, take};
use crate::pace::Schedule;
use crate::protocol::Protocol;
use crate::times::{Queue, Times};
pub use server::{KernelServer, KernelService};
use socket::{Happened, Moved, Poll, is_open, read, write};

/// Connections beside the held ones.
const OTHERS: u32 = 4_096;
/// Bytes that are read or written at once.
const CHUNK: usize = 256 * 1024;
/// Requests, or opens, that one turn begins on its own account.
const PER_TURN: usize = 128;
/// The longest wait for something to happen, after which the gauge is looked at.
const WAIT: Duration = Duration::from_millis(5);
/// Tokens of datagram sockets stand above those of connections.
const DATAGRAMS: u64 = 1 << 40;

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lane {
    Held,
    Churn,
    Upload,
    Download,
}

/// A connection.
struct Peer<Q> {
    socket: OwnedFd,
    lane: Lane,
    open: bool,
    queue: Queue,
    progress: Q,
    /// The rest of a request that did not fit into the socket.
    unsent: Vec<u8>,
}

/// A load on Linux's sockets, on the thread that runs it.
pub struct KernelLoad<P: Protocol> {
    config: LoadConfig,
    gauge: Gauge,
    protocol: P,
    work: Work,
    schedule: Option<Schedule>,
    rng: Rng,
    clock: Monotonic,
    latencies: Latencies,
    reading: Reading,
    times: Times,
    churn_times: Times,
    poll: Poll,
    /// Held connections by number, then the others.
    peers: Vec<Option<Peer<P::Progress>>>,
    vacant: Vec<u32>,
    vacant_others: Vec<u32>,
    sockets: Vec<OwnedFd>,
    next_socket: usize,
    window: Window,
    next_source: usize,
    opening: u32,
    held_in_flight: u64,
    churning: u32,
    streams: u32,
    /// The next held connection of a sweep, or to be set going.
    cursor: u32,
    buffer: Box<[u8]>,
    scratch: Vec<u8>,
    pattern: Box<[u8]>,
}

impl<P: Protocol> KernelLoad<P> {
    /// A load that does nothing until its gauge says so. Memory is laid out here.
    ///
    /// # Errors
    ///
    /// No descriptors, or no UDP sockets.
    pub fn new(config: &LoadConfig, protocol: P, gauge: Gauge) -> io::Result<Self> {
        let connections = config.connections;
        let poll = Poll::new()?;
        let mut sockets = Vec::new();
        for number in 0..config.sockets {
            let source = config.sources.get(number as usize % config.sources.len().max(1)).copied();
            let socket = socket::datagrams(config.targets.datagrams, source)?;
            poll.add(&socket, DATAGRAMS + u64::from(number))?;
            sockets.push(socket);
        }
        Ok(Self {
            gauge,
            work: Work::Hold,
            schedule: None,
            rng: Rng::new(config.seed),
            clock: Monotonic::new(),
            latencies: Latencies::new(),
            reading: Reading::default(),
            times: Times::new(connections, config.depth),
            churn_times: Times::new(0, 1),
            poll,
            peers: (0..connections + OTHERS).map(|_| None).collect(),
            vacant: (0..connections).rev().collect(),
            vacant_others: (connections..connections + OTHERS).rev().collect(),
            sockets,
            next_socket: 0,
            window: Window::new(),
            next_source: 0,
            opening: 0,
            held_in_flight: 0,
            churning: 0,
            streams: 0,
            cursor: 0,
            buffer: vec![0; CHUNK].into(),
            scratch: Vec::with_capacity(protocol.request_max() * config.depth.max(1) as usize),
            pattern: (0..CHUNK).map(|place| place as u8).collect(),
            config: config.clone(),
            protocol,
        })
    }

    /// Works until `stop` is set.
    ///
    /// # Errors
    ///
    /// The kernel does not wait.
    pub fn run(&mut self, stop: &AtomicBool) -> io::Result<()> {
        while !stop.load(Ordering::Relaxed) {
            let patience = if self.schedule.is_some() { Duration::ZERO } else { WAIT };
            let count = self.poll.wait(patience)?;
            for place in 0..count {
                if let Some(happened) = self.poll.happened(place) {
                    self.handle(happened);
                }
            }
            self.turn();
        }
        Ok(())
    }

    // ---- a turn ----

    fn turn(&mut self) {
        let now = self.clock.now();
        if let Some(work) = self.gauge.new_order() {
            self.follow(work, now);
        }
        self.open_more();
        match self.work {
            Work::Hold => {}
            Work::Requests(Requests { among, cause }) => self.requests(now, among, cause),
            Work::Sweep { in_flight } => self.sweep(now, in_flight),
            Work::Churn { under_way, .. } => self.churn(now, under_way),
            Work::Mixed { among, under_way, .. } => {
                self.requests(now, among, Cause::SameAnswered);
                self.churn(now, under_way);
            }
            Work::Upload { connections } => self.open_streams(Lane::Upload, connections),
            Work::Download { connections } => self.open_streams(Lane::Download, connections),
            Work::Datagrams { in_flight, .. } => self.send_datagrams(now, in_flight),
        }
        self.reading.timeouts += self.window.expire(now);
        self.gauge.hand_over(&mut self.latencies);
        self.reading.in_flight =
            self.held_in_flight + u64::from(self.churning) + u64::from(self.window.in_flight());
        self.gauge.write(self.reading);
    }

    fn follow(&mut self, work: Work, now: Instant) {
        self.work = work;
        self.cursor = 0;
        let rate = match work {
            Work::Requests(Requests { cause: Cause::Time(rate), .. }) => Some(rate),
            Work::Churn { rate, .. } | Work::Datagrams { rate, .. } => rate,
            Work::Mixed { rate, .. } => Some(rate),
            _ => None,
        };
        self.schedule = rate.map(|rate| Schedule::new(rate, now, &mut self.rng));
        // What flows ends with the order it flowed for.
        for place in self.config.connections as usize..self.peers.len() {
            if let Some(Some(peer)) = self.peers.get(place)
                && matches!(peer.lane, Lane::Upload | Lane::Download)
            {
                self.close(place);
            }
        }
    }

    /// When the next request is due, if it is; `None` otherwise.
    fn due(&self, now: Instant) -> Option<Instant> {
        match &self.schedule {
            Some(schedule) if schedule.next() > now => None,
            Some(schedule) => Some(schedule.next()),
            None => Some(now),
        }
    }

    fn advance(&mut self) {
        if let Some(schedule) = &mut self.schedule {
            schedule.advance(&mut self.rng);
        }
    }

    // ---- opening and closing ----

    fn open_more(&mut self) {
        let wanted = u64::from(self.gauge.wanted().min(self.config.connections));
        for _ in 0..PER_TURN {
            if self.reading.open + u64::from(self.opening) >= wanted || self.opening >= self.config.opening {
                return;
            }
            if self.open(Lane::Held).is_none() {
                return;
            }
            self.opening += 1;
        }
    }

    fn open(&mut self, lane: Lane) -> Option<usize> {
        let targets = &self.config.targets;
        let (remote, vacant) = match lane {
            Lane::Held => (targets.requests, &mut self.vacant),
            Lane::Churn => (targets.requests, &mut self.vacant_others),
            Lane::Upload => (targets.sink, &mut self.vacant_others),
            Lane::Download => (targets.source, &mut self.vacant_others),
        };
        let place = vacant.pop()?;
        let source = self.config.sources.get(self.next_source).copied();
        self.next_source += 1;
        if self.next_source >= self.config.sources.len() {
            self.next_source = 0;
        }
        let opened = socket::open(remote, source)
            .and_then(|socket| self.poll.add(&socket, place.into()).map(|()| socket));
        let Ok(socket) = opened else {
            self.reading.failed += 1;
            vacant.push(place);
            return None;
        };
        let (queue, progress) = (Queue::default(), P::Progress::default());
        let peer = Peer { socket, lane, open: false, queue, progress, unsent: Vec::new() };
        *self.peers.get_mut(place as usize)? = Some(peer);
        Some(place as usize)
    }

    /// Ends a connection, by this side's wish or the other's.
    fn close(&mut self, place: usize) {
        let Some(peer) = self.peers.get_mut(place).and_then(Option::take) else { return };
        match peer.lane {
            Lane::Held => {
                self.reading.failed += 1;
                self.held_in_flight -= u64::from(peer.queue.len(&self.times));
                if peer.open {
                    self.reading.open -= 1;
                } else {
                    self.opening -= 1;
                }
                self.vacant.push(place as u32);
                return;
            }
            Lane::Churn => {
                self.churning -= 1;
                if peer.open && peer.queue.is_empty(&self.churn_times) {
                    self.reading.cycles += 1;
                } else {
                    self.reading.failed += 1;
                }
            }
            Lane::Upload | Lane::Download => self.streams -= 1,
        }
        self.vacant_others.push(place as u32);
    }

    // ---- events ----

    fn handle(&mut self, happened: Happened) {
        let Happened { token, readable, writable } = happened;
        if let Some(number) = token.checked_sub(DATAGRAMS) {
            self.receive_datagrams(number as usize);
            return;
        }
        let place = token as usize;
        let Some(Some(peer)) = self.peers.get_mut(place) else { return };
        if !peer.open && writable {
            if !is_open(&peer.socket) {
                self.close(place);
                return;
            }
            peer.open = true;
            self.reading.opened += 1;
            self.connected(place);
        } else if writable {
            self.writable(place);
        }
        if readable {
            self.readable(place);
        }
    }

    fn connected(&mut self, place: usize) {
        let Some(Some(peer)) = self.peers.get(place) else { return };
        match peer.lane {
            Lane::Held => {
                self.opening -= 1;
                self.reading.open += 1;
                self.keep_going(place);
            }
            Lane::Churn => {
                self.send(place, 1);
            }
            Lane::Upload => self.pump(place),
            Lane::Download => {}
        }
    }

    fn writable(&mut self, place: usize) {
        let Some(Some(peer)) = self.peers.get_mut(place) else { return };
        if !peer.unsent.is_empty() {
            match write(&peer.socket, &peer.unsent) {
                Moved::Bytes(count) => drop(peer.unsent.drain(..count)),
                Moved::Later => {}
                Moved::Over => {
                    self.close(place);
                    return;
                }
            }
        }
        if peer.lane == Lane::Upload {
            self.pump(place);
        }
    }

    /// Sends as much as there is room for.
    fn pump(&mut self, place: usize) {
        loop {
            let Some(Some(peer)) = self.peers.get(place) else { return };
            match write(&peer.socket, &self.pattern) {
                Moved::Bytes(count) => self.reading.bytes_out += count as u64,
                Moved::Later => return,
                Moved::Over => {
                    self.reading.failed += 1;
                    self.close(place);
                    return;
                }
            }
        }
    }

    fn readable(&mut self, place: usize) {
        let mut answered = false;
        loop {
            let Some(Some(peer)) = self.peers.get_mut(place) else { return };
            let count = match read(&peer.socket, &mut self.buffer) {
                Moved::Bytes(0) | Moved::Over => {
                    self.close(place);
                    return;
                }
                Moved::Later => break,
                Moved::Bytes(count) => count,
            };
            self.reading.bytes_in += count as u64;
            if matches!(peer.lane, Lane::Held | Lane::Churn) {
                answered |= self.answers(place, count);
            }
            // A read that does not fill the buffer has emptied the socket: the next bytes bring an event.
            if count < CHUNK {
                break;
            }
        }
        let Some(Some(peer)) = self.peers.get(place) else { return };
        match peer.lane {
            // This side ends it: the other has answered all there was.
            Lane::Churn if answered => self.close(place),
            Lane::Held if answered => self.keep_going(place),
            _ => {}
        }
    }

    /// Counts the answers in the first `count` bytes of the buffer; whether there was one.
    fn answers(&mut self, place: usize, count: usize) -> bool {
        let now = self.clock.now();
        let Some(Some(peer)) = self.peers.get_mut(place) else { return false };
        let bytes = self.buffer.get(..count).unwrap_or_default();
        let found = self.protocol.answers(&mut peer.progress, bytes);
        self.reading.values += u64::from(found.values);
        self.reading.wrong += u64::from(found.wrong);
        let times = if peer.lane == Lane::Held { &mut self.times } else { &mut self.churn_times };
        let row = if peer.lane == Lane::Held { place as u32 } else { 0 };
        for _ in 0..found.whole {
            match times.pop(row, &mut peer.queue) {
                Some(at) => {
                    self.held_in_flight -= u64::from(peer.lane == Lane::Held);
                    self.reading.answered += 1;
                    self.latencies.record(now.since(at).as_nanos());
                }
                None => self.reading.wrong += 1,
            }
        }
        found.whole > 0
    }

    // ---- asking ----

    /// Writes so many requests to a connection at once; false when it is over.
    fn send(&mut self, place: usize, requests: u32) -> bool {
        let Some(Some(peer)) = self.peers.get_mut(place) else { return false };
        self.scratch.clear();
        for _ in 0..requests {
            let (begin, most) = (self.scratch.len(), self.protocol.request_max());
            self.scratch.resize(begin + most, 0);
            let is_alone = peer.lane == Lane::Churn;
            let protocol = &mut self.protocol;
            let write = |room| if is_alone { protocol.request_apart(room) } else { protocol.request(room) };
            let len = self.scratch.get_mut(begin..).map_or(0, write);
            self.scratch.truncate(begin + len);
        }
        self.reading.bytes_out += self.scratch.len() as u64;
        let sent = if peer.unsent.is_empty() { write(&peer.socket, &self.scratch) } else { Moved::Later };
        let sent = match sent {
            Moved::Bytes(count) => count,
            Moved::Later => 0,
            Moved::Over => {
                self.close(place);
                return false;
            }
        };
        peer.unsent.extend_from_slice(self.scratch.get(sent..).unwrap_or_default());
        true
    }

    /// Sends one request that was meant for `at` on a held connection, if it is open and has room for one.
    fn ask(&mut self, number: u32, at: Instant) -> bool {
        let Some(Some(peer)) = self.peers.get_mut(number as usize) else { return false };
        if !peer.open || !self.times.push(number, &mut peer.queue, at) {
            return false;
        }
        self.held_in_flight += 1;
        self.send(number as usize, 1)
    }

    /// Fills a connection up to its depth, where answers keep it busy.
    fn keep_going(&mut self, place: usize) {
        let (Work::Requests(Requests { among, cause: Cause::SameAnswered }) | Work::Mixed { among, .. }) =
            self.work
        else {
            return;
        };
        let number = place as u32;
        let Some(Some(peer)) = self.peers.get_mut(place) else { return };
        if number >= among || !peer.open {
            return;
        }
        let (now, mut count) = (self.clock.now(), 0);
        while self.times.push(number, &mut peer.queue, now) {
            count += 1;
        }
        self.held_in_flight += u64::from(count);
        if count > 0 {
            self.send(place, count);
        }
    }

    fn requests(&mut self, now: Instant, among: u32, cause: Cause) {
        let among = among.min(self.config.connections);
        if cause == Cause::SameAnswered {
            for _ in 0..PER_TURN {
                if self.cursor >= among {
                    return;
                }
                self.keep_going(self.cursor as usize);
                self.cursor += 1;
            }
            return;
        }
        let most = match cause {
            Cause::AnyAnswered(in_flight) => u64::from(in_flight),
            _ => u64::MAX,
        };
        // Draws that meet a busy connection give way to others, a bounded number.
        for _ in 0..PER_TURN {
            if self.held_in_flight >= most || among == 0 {
                return;
            }
            let Some(at) = self.due(now) else { return };
            let number = self.rng.below(among);
            if self.ask(number, at) {
                self.advance();
            }
        }
    }

    fn sweep(&mut self, now: Instant, in_flight: u32) {
        for _ in 0..PER_TURN {
            if self.held_in_flight >= u64::from(in_flight) || self.cursor >= self.config.connections {
                return;
            }
            self.ask(self.cursor, now);
            self.cursor += 1;
        }
    }

    fn churn(&mut self, now: Instant, under_way: u32) {
        for _ in 0..PER_TURN {
            if self.churning >= under_way.min(OTHERS) {
                return;
            }
            let Some(at) = self.due(now) else { return };
            let Some(place) = self.open(Lane::Churn) else { return };
            self.churning += 1;
            self.reading.begun += 1;
            if let Some(Some(peer)) = self.peers.get_mut(place) {
                self.churn_times.push(0, &mut peer.queue, at);
            }
            self.advance();
        }
    }

    fn open_streams(&mut self, lane: Lane, wanted: u32) {
        while self.streams < wanted.min(OTHERS) {
            if self.open(lane).is_none() {
                return;
            }
            self.streams += 1;
        }
    }

    // ---- datagrams ----

    fn send_datagrams(&mut self, now: Instant, in_flight: u32) {
        for _ in 0..PER_TURN {
            if !self.window.takes_another(in_flight) {
                return;
            }
            let Some(at) = self.due(now) else { return };
            let Some(socket) = self.sockets.get(self.next_socket) else { return };
            self.scratch.clear();
            self.scratch.extend_from_slice(&header(self.window.begin(at, now)));
            self.scratch.resize(HEADER + self.protocol.request_max(), 0);
            let len = self.scratch.get_mut(HEADER..).map_or(0, |room| self.protocol.request(room));
            self.scratch.truncate(HEADER + len);
            // What finds no room is lost, and counted when it is not answered.
            if let Moved::Bytes(count) = write(socket, &self.scratch) {
                self.reading.bytes_out += count as u64;
            }
            self.next_socket =
                if self.next_socket + 1 < self.sockets.len() { self.next_socket + 1 } else { 0 };
            self.advance();
        }
    }

    fn receive_datagrams(&mut self, number: usize) {
        let Some(socket) = self.sockets.get(number) else { return };
        while let Moved::Bytes(count) = read(socket, &mut self.buffer) {
            let bytes = self.buffer.get(..count).unwrap_or_default();
            let now = self.clock.now();
            if let Some(at) = take(&mut self.window, &mut self.protocol, &mut self.reading, bytes) {
                self.latencies.record(now.since(at).as_nanos());
            }
        }
    }
}
