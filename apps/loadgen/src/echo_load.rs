//! A closed loop of requests to an echo service.

use std::net::{IpAddr, SocketAddr};

use freeway::tcp::Config;
use freeway::{Application, Conn, ConnId, ConnectConfig, Duration, Ended, Instant, Rng, Seed, Stack};

use crate::gauge::{Gauge, Reading};

/// Which connection carries the next request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pick {
    /// The one that has just been answered: a fixed set of connections is busy.
    Same,
    /// Any of all that are idle, at random: every connection is as cold as the number of them makes it.
    Random,
}

/// What a load is to do.
#[derive(Clone, Debug)]
pub struct EchoLoadConfig {
    /// The echo service.
    pub server: SocketAddr,
    /// Addresses of this host to connect from, each good for some thirty thousand connections to one server.
    pub sources: Vec<IpAddr>,
    /// Connections to open and keep.
    pub connections: u32,
    /// Opens under way at once.
    pub opening: u32,
    /// Requests under way at once, each on a connection of its own.
    pub in_flight: u32,
    /// Bytes of a request and of its answer.
    pub size: usize,
    /// Which connection carries the next request.
    pub pick: Pick,
    /// TCP's settings.
    pub tcp: Config,
}

/// A connection's share of the load.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadState {
    /// Its place among the established ones.
    place: u32,
    /// Bytes of the answer still to come; 0 when no request is under way.
    missing: u32,
    /// Filler that makes the state as large as the 16 bytes that the budget of a connection speaks of.
    _reserved: u64,
}

/// Connections drawn ahead.
const DRAWN: usize = 64;

/// How often the gauge is looked at while no answer is awaited.
const GAUGE_INTERVAL: Duration = Duration::from_millis(1);

/// The load of one core.
pub struct EchoLoad {
    config: EchoLoadConfig,
    gauge: Gauge,
    rng: Rng,
    /// Every established connection.
    established: Vec<ConnId>,
    /// Connections drawn for the next requests.
    drawn: Vec<ConnId>,
    /// Opened or being opened, ever.
    started: u32,
    opening: u32,
    in_flight: u32,
    /// When the load had its last turn.
    seen: Instant,
    reading: Reading,
    request: Vec<u8>,
}

impl EchoLoad {
    /// A load that opens its connections at once, and sends requests while the gauge says so.
    pub fn new(config: EchoLoadConfig, gauge: Gauge, seed: Seed) -> Self {
        Self {
            established: Vec::with_capacity(config.connections as usize),
            request: (0..config.size).map(|place| place as u8).collect(),
            config,
            gauge,
            rng: Rng::new(seed),
            drawn: Vec::with_capacity(DRAWN),
            started: 0,
            opening: 0,
            in_flight: 0,
            seen: Instant::ZERO,
            reading: Reading::default(),
        }
    }

    fn open_more(&mut self, stack: &mut Stack<LoadState>) {
        while self.started < self.config.connections && self.opening < self.config.opening {
            let source =
                self.config.sources.get(self.started as usize % self.config.sources.len().max(1)).copied();
            let mut connect = ConnectConfig::new(self.config.server);
            connect.local_addr = source;
            connect.tcp = self.config.tcp;
            self.started += 1;
            match stack.connect(&connect) {
                Ok(_) => self.opening += 1,
                Err(_) => self.reading.failed += 1,
            }
        }
    }

    /// Sends a request on `conn`, which is idle.
    fn request(&mut self, conn: &mut Conn<'_, LoadState>) {
        let sent = match conn.reserve() {
            Some(mut packet) => packet.copy_from_slice(&self.request) && conn.commit(packet),
            None => false,
        };
        if sent {
            conn.state().missing = self.config.size as u32;
            self.in_flight += 1;
        }
    }

    /// Sends requests on connections drawn at random, until as many are under way as there should be. Each turn
    /// uses what the turn before has drawn: meanwhile their memory has come into the cache.
    fn fill(&mut self, stack: &mut Stack<LoadState>) {
        while self.in_flight < self.config.in_flight
            && let Some(id) = self.drawn.pop()
        {
            // Few of many are busy: one that is gives way to another draw.
            if let Some(mut conn) = stack.conn(id)
                && conn.state().missing == 0
            {
                self.request(&mut conn);
            }
        }
        let count = self.established.len() as u32;
        while self.drawn.len() < DRAWN && count > 0 {
            let id = self.established[self.rng.below(count) as usize];
            stack.prefetch(id);
            self.drawn.push(id);
        }
    }
}

impl Application for EchoLoad {
    type Conn = LoadState;

    fn next_deadline(&self) -> Option<Instant> {
        (self.in_flight == 0).then(|| self.seen + GAUGE_INTERVAL)
    }

    fn turn(&mut self, stack: &mut Stack<LoadState>, now: Instant) {
        self.seen = now;
        self.open_more(stack);
        let all_open = self.started == self.config.connections && self.opening == 0;
        if all_open && self.gauge.is_running() {
            self.fill(stack);
        }
        self.reading.open = self.established.len() as u64;
        self.gauge.write(self.reading);
    }

    fn connected(&mut self, mut conn: Conn<'_, LoadState>) {
        self.opening -= 1;
        conn.state().place = self.established.len() as u32;
        self.established.push(conn.id());
    }

    fn readable(&mut self, mut conn: Conn<'_, LoadState>) {
        let arrived = conn.readable_bytes() as u32;
        conn.consume(arrived as usize);
        let missing = conn.state().missing;
        conn.state().missing = missing.saturating_sub(arrived);
        if missing > 0 && arrived >= missing {
            self.reading.answered += 1;
            self.in_flight -= 1;
            if self.config.pick == Pick::Same && self.gauge.is_running() {
                self.request(&mut conn);
            }
        }
        if conn.at_end() {
            conn.close();
        }
    }

    fn closed(&mut self, stack: &mut Stack<LoadState>, ended: Ended<LoadState>) {
        let Ended { id, state, .. } = ended;
        self.reading.failed += 1;
        self.in_flight -= u32::from(state.missing > 0);
        if self.established.get(state.place as usize) == Some(&id) {
            self.established.swap_remove(state.place as usize);
            if let Some(mut moved) = self.established.get(state.place as usize).and_then(|&id| stack.conn(id))
            {
                moved.state().place = state.place;
            }
        } else {
            self.opening -= 1;
        }
    }
}
