//! Days of mixed traffic over a network that keeps failing: nothing may leak, nothing may drift, no error may go untold.
//!
//! ```text
//!   visitors, tasks of freeway-async ──── a cable with weather ──── echo, discard, chargen, daytime; UDP echo
//! ```
//!
//! Visits begin at random, two seconds apart on average, and do what clients do: whole exchanges, long downloads given up
//! half-way, refusals, silence, sudden ends. Some connections last for all the time. The weather changes every half hour:
//! calm, loss, bursts of loss, reordering with duplicates, corruption, distance, and spans in which nothing arrives at all.
//! From time to time there is a calm night without visits: at its end both hosts must hold exactly what the lasting
//! connections need, and the accounts of visits and of the stacks must agree. Time is virtual, and a seed repeats a run.

mod services;
mod visitors;
mod weather;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result, ensure};
use freeway::host::Memory;
use freeway::{Cidr, HostConfig, Interface, Mailboxes, Secrets};
use freeway_async::{Executor, ExecutorConfig};
use freeway_base::{Duration, Instant, Rng, Seed};
use freeway_port::{Fault, FaultConfig, FaultHandle, PipeConfig, SharedClock, pipe};
use freeway_runtime::Core;
use freeway_stack::stack::Occupancy;

use services::Services;
use visitors::{Book, LASTING, Ledger};

/// The services' host.
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// The visitors'.
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 3);
/// How long the weather stays.
const SPELL: Duration = Duration::from_secs(1_800);
/// A night: longer than keepalives take to find a dead peer, and all time-outs of TCP.
const NIGHT: Duration = Duration::from_secs(3_600);
/// Turns without an end of the moment at hand.
const TURNS_MAX: u32 = 1_000_000;

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What repeats it.
    pub seed: Seed,
    /// Hours of visits, nights not counted.
    pub hours: u64,
    /// Hours between two nights.
    pub hours_a_day: u64,
}

/// What a run came to.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// What became of the visits.
    pub ledger: Ledger,
    /// Nights, after each of which nothing was left over.
    pub nights: u64,
    /// Virtual time.
    pub took: Duration,
    /// Turns of both cores together.
    pub turns: u64,
    /// Segments sent again.
    pub retransmitted: u64,
    /// Frames that the path lost.
    pub lost: u64,
    /// Packet buffers that were ever free at the least, on either host.
    pub buffers_free_least: u32,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ledger, nights, took, turns, retransmitted, lost, buffers_free_least } = self;
        write!(
            f,
            "{} visits in {took} of virtual time: {} as they should be, {} cut off ({} timed out, {} reset); {} datagrams of {} \
             answered; the lasting connections talked {} times and were opened anew {} times; {lost} frames lost, \
             {retransmitted} segments sent again, {turns} turns; nothing left over after each of {nights} nights; at least \
             {buffers_free_least} buffers were free",
            ledger.begun,
            ledger.complete,
            ledger.timed_out + ledger.reset,
            ledger.timed_out,
            ledger.reset,
            ledger.datagrams_answered,
            ledger.datagrams,
            ledger.lasting_talks,
            ledger.lasting_reopened,
        )
    }
}

struct World {
    client: Core<Executor>,
    server: Core<Services>,
    faults: FaultHandle,
    clock: SharedClock,
    now: Instant,
    turns: u64,
    book: Book,
}

impl World {
    fn new(seed: Seed) -> Result<Self> {
        let now = Instant::from_secs(1);
        let mut rng = Rng::new(seed);
        let clock = SharedClock::new(now);
        let (near, far) = pipe(&PipeConfig { frames: 1_024, ..PipeConfig::default() })?;
        let calm = FaultConfig::NONE;
        let near = Fault::new(near, clock.clone(), Seed(rng.next_u64()), calm, calm)?;
        let faults = near.handle();
        let cidr = |addr| Cidr::new(IpAddr::V4(addr), 24);
        let mut config = HostConfig::new(Secrets::from_seed(seed))
            .max_connections(1_024)
            .buffers(4_096)
            .memory(Memory::Heap);
        config.stack.large_pool.buffers = 2;
        let book = Book::default();
        let sizes = ExecutorConfig {
            max_tasks: 2_048,
            max_streams: 1_024,
            max_timers: 4_096,
            ..ExecutorConfig::default()
        };
        let mail = Mailboxes::single()?;
        let (own, visits) = (book.clone(), Rng::new(Seed(rng.next_u64())));
        let app = Executor::new(&mail, sizes, move || visitors::run(own, visits));
        let client = config.build(mail, now, app, [Interface::new(near).address(cidr(CLIENT))])?;
        config.seed = Seed(rng.next_u64());
        let interface = Interface::new(far).address(cidr(SERVER));
        let server = config.build(Mailboxes::single()?, now, Services::default(), [interface])?;
        Ok(Self { client, server, faults, clock, now, turns: 0, book })
    }

    /// Lets time pass until `end`, from event to event.
    fn run(&mut self, end: Instant) -> Result<()> {
        while self.now < end {
            let mut turns = 0;
            while self.client.poll(self.now).is_busy() | self.server.poll(self.now).is_busy() {
                turns += 1;
                ensure!(turns < TURNS_MAX, "the moment {:?} does not end", self.now);
            }
            self.turns += 2 * u64::from(turns + 1);
            let next = [self.client.next_deadline(), self.server.next_deadline(), self.faults.next_event()];
            let next = next.into_iter().flatten().min().unwrap_or(end);
            // A frame that is overdue waits for room at the other end: time must pass for both to move on.
            self.now = next.min(end).max(self.now + Duration::from_micros(1));
            self.clock.set(self.now);
        }
        Ok(())
    }

    /// What must hold at the end of a night.
    fn check(&self) -> Result<()> {
        let app = self.client.app();
        ensure!(app.counters().panicked == 0, "a visitor panicked: {:?}", self.book.ledger());
        ensure!(app.tasks() == LASTING as usize + 1, "{} tasks are left over", app.tasks());
        let stats = self.client.stats(self.now);
        for (name, most) in [("streams", u64::from(LASTING)), ("timers", u64::from(LASTING) + 1)] {
            let used = stats.get("async_tables", name).context("the executor counts it")?;
            ensure!(used <= most, "{used} {name} of the executor are left over, {most} are in use");
        }
        empty_but_for_the_lasting("client", &self.client.stack().occupancy())?;
        empty_but_for_the_lasting("server", &self.server.stack().occupancy())?;
        self.accounts()
    }

    /// Every visit came to an end that is known, and every bad one is among what the stacks counted.
    fn accounts(&self) -> Result<()> {
        let ledger = self.book.ledger();
        let Ledger { begun, complete, timed_out, reset, other, wrong_bytes, stuck, .. } = ledger;
        ensure!(wrong_bytes == 0, "{wrong_bytes} bytes came wrong: {ledger:?}");
        ensure!(other == 0 && stuck == 0, "visits ended as none may: {ledger:?}");
        ensure!(begun == complete + timed_out + reset, "visits have no end: {ledger:?}");
        let [client, server] = [self.client.stack().counters().tcp, self.server.stack().counters().tcp];
        ensure!(timed_out <= client.closed_timed_out, "{timed_out} timed out: {client:?}");
        // Who is reset was reset by somebody: by a host that had given up, or whose bound it met.
        ensure!(reset <= client.closed_reset, "{reset} reset: {client:?}");
        ensure!(reset <= server.resets_out, "{reset} reset: {server:?}");
        for (name, tcp) in [("client", client), ("server", server)] {
            let ended = tcp.closed_finished + tcp.closed_reset + tcp.closed_timed_out + tcp.closed_aborted;
            let opened = tcp.accepted + if name == "client" { self.book.ledger().opened } else { 0 };
            let open = u64::from(LASTING);
            ensure!(opened == ended + open, "the {name} opened {opened}, ended {ended}, has {open}: {tcp:?}");
        }
        Ok(())
    }
}

/// Only what the lasting connections need is in use.
fn empty_but_for_the_lasting(name: &str, occupancy: &Occupancy) -> Result<()> {
    let lasting = LASTING;
    let Occupancy { connections, syn_received, time_wait, items, timers, flows, buffers, .. } = *occupancy;
    ensure!(
        connections.0 == lasting && flows == lasting && syn_received.0 == 0 && time_wait == 0,
        "connections are left over on the {name}: {occupancy:?}"
    );
    // A talk may be under way at this very moment.
    ensure!(
        items.0 <= lasting && buffers.0 <= lasting + 2 && timers <= lasting,
        "data is left over on the {name}: {occupancy:?}"
    );
    Ok(())
}

/// Runs days of visits, with a night after each, and looks that all is as it was.
///
/// # Errors
///
/// What was not, with the hour.
pub fn run(plan: &Plan) -> Result<Report> {
    let mut world = World::new(plan.seed)?;
    let mut rng = Rng::new(Seed(!plan.seed.0));
    let (mut nights, mut hours) = (0, 0);
    while hours < plan.hours {
        let day = plan.hours_a_day.min(plan.hours - hours);
        world.book.open();
        for _ in 0..day * 2 {
            let (up, down) = weather::spell(&mut rng);
            world.faults.set(up, down);
            let end = world.now + SPELL;
            world.run(end).with_context(|| format!("hour {hours}, {up:?}"))?;
        }
        hours += day;
        world.faults.set(FaultConfig::NONE, FaultConfig::NONE);
        world.book.close();
        let end = world.now + NIGHT;
        world.run(end)?;
        nights += 1;
        world.check().with_context(|| format!("after hour {hours}, in night {nights}"))?;
    }
    let (tx, rx) = (world.faults.tx_counters(), world.faults.rx_counters());
    let (client, server) = (world.client.stack(), world.server.stack());
    Ok(Report {
        ledger: world.book.ledger(),
        nights,
        took: world.now - Instant::from_secs(1),
        turns: world.turns,
        retransmitted: client.counters().tcp.retransmitted + server.counters().tcp.retransmitted,
        lost: [tx, rx].iter().map(|side| side.lost + side.lost_in_burst + side.dropped_queue_full).sum(),
        buffers_free_least: client.occupancy().buffers_low_water.min(server.occupancy().buffers_low_water),
    })
}
