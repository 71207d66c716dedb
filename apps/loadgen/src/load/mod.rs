//! The load of one core, on Freeway's own stack: an application that asks instead of answering.
//!
//! It holds connections, and does beside them what its [`Gauge`] orders. Each kind of work has connections of its own,
//! told apart by two bits of their state:
//!
//! | lane | connections |
//! |---|---|
//! | [`held`] | those that stay: requests on the same, on random ones, on all in turn, or at a rate |
//! | [`churn`] | opened, one request, closed |
//! | [`stream`] | few that send or receive as fast as they may |
//! | [`datagrams`] | none: requests over UDP |
//!
//! Everything is sized when the load is made; nothing is allocated afterwards.

mod churn;
pub(crate) mod datagrams;
mod held;
mod sockets;
mod stream;

use std::net::{IpAddr, SocketAddr};

use freeway::tcp::Config;
use freeway::{Application, Conn, Datagram, Duration, Ended, Instant, Rng, Seed, Stack};

use crate::gauge::{Gauge, Reading, Work};
use crate::latency::Latencies;
use crate::protocol::Protocol;
use crate::times::Queue;
use churn::Churn;
use datagrams::Datagrams;
use held::Held;
use stream::Stream;

/// Where the load goes. Services that are not asked for need not exist.
#[derive(Clone, Copy, Debug)]
pub struct Targets {
    /// Requests on held connections, and on those that come and go.
    pub requests: SocketAddr,
    /// Uploads.
    pub sink: SocketAddr,
    /// Downloads.
    pub source: SocketAddr,
    /// Datagrams.
    pub datagrams: SocketAddr,
}

impl Targets {
    /// All at one address and port.
    pub const fn all(server: SocketAddr) -> Self {
        Self { requests: server, sink: server, source: server, datagrams: server }
    }
}

/// How large a load may become, and where it goes.
#[derive(Clone, Debug)]
pub struct LoadConfig {
    /// Where to.
    pub targets: Targets,
    /// Addresses of this host to connect from, used in turn, each good for as many connections to one server as it has
    /// ports to give; empty for the one that the route suggests.
    pub sources: Vec<IpAddr>,
    /// Connections that may be held; the gauge says how many are. 8 bytes each, and 8 more for each request under way
    /// beyond the first.
    pub connections: u32,
    /// Opens of held connections under way at once.
    pub opening: u32,
    /// Opens of held connections a second, at most; as fast as they are answered without it.
    pub open_rate: Option<f64>,
    /// Requests under way on one held connection.
    pub depth: u32,
    /// UDP sockets, at most 1,024.
    pub sockets: u32,
    /// TCP's settings.
    pub tcp: Config,
    /// Where the load's random numbers start.
    pub seed: Seed,
}

impl LoadConfig {
    /// A load on one service: `connections` of them, 1,000 opens under way, one request on each.
    pub fn new(server: SocketAddr, connections: u32) -> Self {
        Self {
            targets: Targets::all(server),
            sources: Vec::new(),
            connections,
            opening: 1_000,
            open_rate: None,
            depth: 1,
            sockets: 1,
            tcp: Config::default(),
            seed: Seed(1),
        }
    }
}

/// A connection's share of the load: with the echo protocol the 16 bytes that the budget of a connection speaks of.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadState<Q> {
    /// When its requests under way were meant to be sent.
    queue: Queue,
    /// Its lane and its place there.
    place: Place,
    /// What is to be remembered of the stream of answers.
    progress: Q,
}

const _: () = assert!(size_of::<LoadState<crate::protocol::EchoProgress>>() == 16);

/// Which kind of connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lane {
    Held,
    Churn,
    Upload,
    Download,
}

/// A connection's lane, whether it is established, and its number in its lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Place(u32);

impl Place {
    const LANE_SHIFT: u32 = 30;
    const OPEN: u32 = 1 << 29;
    /// The most connections of a lane.
    const NUMBERS: u32 = 1 << 29;

    const fn new(lane: Lane, number: u32) -> Self {
        Self((lane as u32) << Self::LANE_SHIFT | number & (Self::NUMBERS - 1))
    }

    const fn lane(self) -> Lane {
        match self.0 >> Self::LANE_SHIFT {
            0 => Lane::Held,
            1 => Lane::Churn,
            2 => Lane::Upload,
            _ => Lane::Download,
        }
    }

    const fn number(self) -> u32 {
        self.0 & (Self::NUMBERS - 1)
    }

    const fn is_open(self) -> bool {
        self.0 & Self::OPEN != 0
    }

    const fn open(&mut self) {
        self.0 |= Self::OPEN;
    }
}

/// What all lanes share.
struct Common<P> {
    protocol: P,
    rng: Rng,
    latencies: Latencies,
    reading: Reading,
    /// A request that is longer than a frame is put together here.
    scratch: Box<[u8]>,
    /// The time of the turn at hand.
    now: Instant,
    /// When held connections were told something last, and how many have not heard it, where they are told.
    told: Instant,
    deaf: u64,
}

/// How often the gauge is looked at while nothing else wakes the core.
const GAUGE_INTERVAL: Duration = Duration::from_millis(1);

/// The load of one core.
pub struct Load<P: Protocol> {
    gauge: Gauge,
    work: Work,
    common: Common<P>,
    held: Held,
    churn: Churn,
    stream: Stream,
    datagrams: Datagrams<P::Progress>,
}

impl<P: Protocol> Load<P> {
    /// A load that does nothing until its gauge says so.
    pub fn new(config: &LoadConfig, protocol: P, gauge: Gauge) -> Self {
        let scratch = vec![0; protocol.request_max()].into();
        let common = Common {
            protocol,
            rng: Rng::new(config.seed),
            latencies: Latencies::new(),
            reading: Reading::default(),
            scratch,
            now: Instant::ZERO,
            told: Instant::ZERO,
            deaf: 0,
        };
        Self {
            gauge,
            work: Work::Hold,
            common,
            held: Held::new(config),
            churn: Churn::new(config),
            stream: Stream::new(config),
            datagrams: Datagrams::new(config),
        }
    }

    fn follow(&mut self, stack: &mut Stack<LoadState<P::Progress>>, work: Work) {
        self.work = work;
        let (now, rng) = (self.common.now, &mut self.common.rng);
        self.held.begin(work, now, rng);
        self.churn.begin(work, now, rng);
        self.datagrams.begin(work, now, rng);
        self.stream.begin(stack, work);
    }
}

impl<P: Protocol> Application for Load<P> {
    type Conn = LoadState<P::Progress>;

    fn start(&mut self, stack: &mut Stack<Self::Conn>, _now: Instant) {
        self.stream.start(stack);
        self.datagrams.start(stack, &mut self.common.reading);
    }

    fn next_deadline(&self) -> Option<Instant> {
        let due = [self.held.due(), self.churn.due(), self.datagrams.due()];
        let gauge = Some(self.common.now + GAUGE_INTERVAL);
        due.into_iter().chain([gauge]).flatten().min()
    }

    fn turn(&mut self, stack: &mut Stack<Self::Conn>, now: Instant) {
        self.common.now = now;
        if let Some(work) = self.gauge.new_order() {
            self.follow(stack, work);
        }
        self.held.open_more(stack, &mut self.common, self.gauge.wanted());
        match self.work {
            Work::Hold => {}
            Work::Requests(_) | Work::Sweep { .. } => self.held.turn(stack, &mut self.common),
            Work::Churn { .. } => self.churn.turn(stack, &mut self.common),
            Work::Mixed { .. } => {
                self.held.turn(stack, &mut self.common);
                self.churn.turn(stack, &mut self.common);
            }
            Work::Upload { .. } | Work::Download { .. } => self.stream.turn(stack, &mut self.common),
            Work::Datagrams { .. } => {}
        }
        self.datagrams.turn(stack, &mut self.common);
        self.gauge.hand_over(&mut self.common.latencies);
        self.common.reading.open = self.held.open();
        self.common.reading.in_flight =
            self.held.in_flight() + self.churn.under_way() + self.datagrams.in_flight();
        self.gauge.write(self.common.reading);
    }

    fn connected(&mut self, mut conn: Conn<'_, Self::Conn>) {
        // The turn's own hook runs after the events.
        self.common.now = conn.stack().now();
        self.common.reading.opened += 1;
        conn.state().place.open();
        match conn.state().place.lane() {
            Lane::Held => self.held.connected(&mut conn, &mut self.common),
            Lane::Churn => self.churn.connected(&mut conn, &mut self.common),
            Lane::Upload => self.stream.pump(&mut conn, &mut self.common),
            Lane::Download => {}
        }
    }

    fn readable(&mut self, mut conn: Conn<'_, Self::Conn>) {
        self.common.now = conn.stack().now();
        match conn.state().place.lane() {
            Lane::Held => self.held.readable(&mut conn, &mut self.common),
            Lane::Churn => self.churn.readable(&mut conn, &mut self.common),
            Lane::Upload | Lane::Download => self.stream.readable(&mut conn, &mut self.common),
        }
    }

    fn writable(&mut self, mut conn: Conn<'_, Self::Conn>) {
        self.common.now = conn.stack().now();
        match conn.state().place.lane() {
            Lane::Held => self.held.writable(&mut conn, &mut self.common),
            Lane::Churn => self.churn.connected(&mut conn, &mut self.common),
            Lane::Upload => self.stream.pump(&mut conn, &mut self.common),
            Lane::Download => {}
        }
    }

    fn closed(&mut self, _stack: &mut Stack<Self::Conn>, ended: Ended<Self::Conn>) {
        match ended.state.place.lane() {
            Lane::Held => self.held.closed(&ended, &mut self.common.reading),
            Lane::Churn => self.churn.closed(&ended, &mut self.common.reading),
            Lane::Upload | Lane::Download => self.stream.closed(&ended, &mut self.common.reading),
        }
    }

    fn datagram(&mut self, stack: &mut Stack<Self::Conn>, datagram: Datagram) {
        self.common.now = stack.now();
        self.datagrams.arrived(stack, &mut self.common, &datagram);
    }
}
