//! Two hosts, a cable, a clock.

use std::fmt;
use std::fs::File;
use std::io::BufWriter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use anyhow::Result;
use freeway::host::Memory;
use freeway::{Cidr, HostConfig, Interface, Mailboxes, Secrets};
use freeway_base::{Duration, Instant, Rng, Seed};
use freeway_port::{Capture, Fault, FaultHandle, PipeConfig, Port, SharedClock, pipe};
use freeway_runtime::Core;
use freeway_stack::{Application, CloseReason};

use crate::plan::Plan;
use crate::traffic::{Client, PORT, Server, Streams};

/// Virtual time that the streams may take: far longer than any time-out that TCP may wait for.
const STREAMS_WITHIN: Duration = Duration::from_secs(48 * 3_600);
/// Virtual time after which nothing is left: TIME-WAIT, FIN-WAIT-2 and reassembly have ended.
const SETTLED_AFTER: Duration = Duration::from_secs(3 * 3_600);
/// Turns of one run at most; a world that needs more runs in circles.
const TURNS_MAX: u64 = 20_000_000;

/// What a run came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// What became of the streams.
    pub streams: Streams,
    /// Virtual time until they were done.
    pub took: Duration,
    /// Turns of both cores together.
    pub turns: u64,
    /// Segments that TCP sent again.
    pub retransmitted: u64,
    /// Frames that the path lost or dropped.
    pub lost: u64,
}

/// What must not be, and was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The seed that shows it.
    pub seed: Seed,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed: Seed(seed), what } = self;
        write!(f, "{what}\n  replay: cargo run --release -p freeway-sim -- --seed {seed}")
    }
}

/// Runs the world of a plan to its end, and checks that nothing is lost, wrong or left over.
///
/// # Errors
///
/// The first check that failed.
pub fn run(plan: &Plan) -> Result<Outcome, Violation> {
    run_and_capture(plan, None)
}

/// The same, with every frame that the client's core sends and receives written to a capture file.
///
/// # Errors
///
/// The first check that failed, or a file that cannot be written.
pub fn run_and_capture(plan: &Plan, capture: Option<&Path>) -> Result<Outcome, Violation> {
    let violation = |what: String| Violation { seed: plan.seed, what };
    let mut world = World::new(plan, capture)
        .map_err(|error| violation(format!("the world cannot be built: {error:#}")))?;
    world.run(plan).map_err(violation)
}

struct World {
    client: Core<Client>,
    server: Core<Server>,
    faults: FaultHandle,
    clock: SharedClock,
    now: Instant,
    turns: u64,
}

impl World {
    fn new(plan: &Plan, capture: Option<&Path>) -> Result<Self> {
        let now = Instant::from_secs(1);
        let mut rng = Rng::new(Seed(!plan.seed.0));
        let clock = SharedClock::new(now);
        let (near, far) = pipe(&PipeConfig { frames: 256, ..PipeConfig::default() })?;
        let near = Fault::new(near, clock.clone(), Seed(rng.next_u64()), plan.upward, plan.downward)?;
        let faults = near.handle();
        let addresses = |last: u8| {
            let v4 = Cidr::new(IpAddr::V4(Ipv4Addr::new(198, 18, 0, last)), 24);
            let v6 = Cidr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last))), 64);
            [v4, v6]
        };
        let [v4, v6] = addresses(2);
        let server_addr = SocketAddr::new(if plan.ipv6 { v6.addr } else { v4.addr }, PORT);
        let mut config = HostConfig::new(Secrets::from_seed(plan.seed))
            .max_connections(plan.connections)
            .buffers(plan.buffers)
            .memory(Memory::Heap);
        config.stack.large_pool.buffers = 2;
        config.stack.max_syn_received = plan.half_open;
        config.stack.max_flights = plan.flights;
        config.stack.send_buffer = plan.send_buffer;

        let client = Client::new(server_addr, plan, rng.fork());
        let near: Box<dyn Port> = match capture {
            Some(path) => Box::new(Capture::new(near, clock.clone(), BufWriter::new(File::create(path)?))?),
            None => Box::new(near),
        };
        let interface = addresses(1).into_iter().fold(Interface::boxed(near), Interface::address);
        let client = config.build(Mailboxes::single()?, now, client, [interface])?;
        config.seed = Seed(rng.next_u64());
        let interface = addresses(2).into_iter().fold(Interface::new(far), Interface::address);
        let server = config.build(Mailboxes::single()?, now, Server::new(plan), [interface])?;
        Ok(Self { client, server, faults, clock, now, turns: 0 })
    }

    fn run(&mut self, plan: &Plan) -> Result<Outcome, String> {
        let begun = self.now;
        let give_up = begun + STREAMS_WITHIN;
        while !self.client.app().is_done() {
            self.step(give_up)?;
            if self.now >= give_up {
                return Err(format!("the streams are not done after {STREAMS_WITHIN}: {}", self.describe()));
            }
        }
        let took = self.now - begun;
        let settled = self.now + SETTLED_AFTER;
        while self.now < settled {
            self.step(settled)?;
        }
        let streams = self.client.app().outcome;
        self.check(plan, &streams)?;
        let retransmitted = |counters: freeway_stack::StackCounters| counters.tcp.retransmitted;
        let (tx, rx) = (self.faults.tx_counters(), self.faults.rx_counters());
        Ok(Outcome {
            streams,
            took,
            turns: self.turns,
            retransmitted: retransmitted(self.client.stack().counters())
                + retransmitted(self.server.stack().counters()),
            lost: [tx, rx].iter().map(|side| side.lost + side.lost_in_burst + side.dropped_queue_full).sum(),
        })
    }

    /// Lets both cores run until neither has anything to do, then moves the clock to the next moment at which one
    /// has, at most to `end`.
    fn step(&mut self, end: Instant) -> Result<(), String> {
        loop {
            self.turns += 2;
            if self.turns > TURNS_MAX {
                return Err(format!("no end after {TURNS_MAX} turns: {}", self.describe()));
            }
            let busy = self.client.poll(self.now).is_busy() | self.server.poll(self.now).is_busy();
            if !busy {
                break;
            }
        }
        let next = [self.client.next_deadline(), self.server.next_deadline(), self.faults.next_event()];
        let next = next.into_iter().flatten().min().unwrap_or(end);
        // A frame that is overdue waits for room at the other end: time must pass for both to move on.
        self.now =
            next.max(self.now + Duration::from_micros(1)).min(end.max(self.now + Duration::from_micros(1)));
        self.clock.set(self.now);
        Ok(())
    }

    /// Everything arrived once and in order, every buffer came home, every table is empty.
    fn check(&self, plan: &Plan, streams: &Streams) -> Result<(), String> {
        let Streams { complete, broken, broken_by, wrong_bytes, .. } = *streams;
        if wrong_bytes > 0 {
            return Err(format!("{wrong_bytes} bytes came wrong"));
        }
        // What may befall a stream: a cookie that cannot be made out, because its acknowledgment and the first text were both
        // lost, so that the client, which believes to be connected, is reset; and a shut window while others starve.
        let [client, server] = [self.client.stack().counters().tcp, self.server.stack().counters().tcp];
        let let_go = server.dropped_bad_cookie + server.shed_shut_out + client.shed_shut_out;
        let excused = matches!(broken_by, Some(CloseReason::Reset | CloseReason::Aborted))
            && u64::from(broken) <= let_go;
        if (broken > 0 && !excused) || complete + broken != plan.streams {
            return Err(format!(
                "{complete} of {} streams are complete, {broken} broken by {broken_by:?}: {}",
                plan.streams,
                self.describe()
            ));
        }
        left_over("client", &self.client)?;
        left_over("server", &self.server)
    }

    fn describe(&self) -> String {
        format!(
            "client {:?} {:?} {:?}, server {:?} {:?} {:?}, {} frames under way",
            self.client.stack().occupancy(),
            self.client.stack().counters().tcp,
            self.client.stack().connections().collect::<Vec<_>>(),
            self.server.stack().occupancy(),
            self.server.stack().counters().tcp,
            self.server.stack().connections().collect::<Vec<_>>(),
            self.faults.under_way()
        )
    }
}

fn left_over<A: Application>(name: &str, core: &Core<A>) -> Result<(), String> {
    let occupancy = core.stack().occupancy();
    let used = [
        ("connections", occupancy.connections.0),
        ("half-open connections", occupancy.syn_received.0),
        ("TIME-WAIT records", occupancy.time_wait),
        ("items", occupancy.items.0),
        ("timers", occupancy.timers),
        ("flow-table entries", occupancy.flows),
        ("buffers", occupancy.buffers.0),
    ];
    match used.iter().find(|(_, count)| *count > 0) {
        Some((what, count)) => Err(format!("{count} {what} are left over on the {name}: {occupancy:?}")),
        None => Ok(()),
    }
}
