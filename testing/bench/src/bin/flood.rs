//! A flood of SYNs from forged addresses, and what it leaves of the service: over memif, one core each side.
//!
//! Before, during and after it the same client asks on connections that stay, in a closed loop, and opens newcomers at a
//! rate. Its core makes the flood besides, and takes in what the server answers to it.

#![forbid(unsafe_code)]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use freeway::port::mac_of;
use freeway::{
    BuildError, Cidr, CoreStats, HostConfig, Idle, Interface, ListenConfig, Running, Runtime, RuntimeConfig,
    Seat, Secrets, Seed, Stage, SynCookies, TcpConfig,
};
use freeway_bench::EchoServer;
use freeway_bench::flood::{Flood, FloodConfig, FloodCounts, FloodTap};
use freeway_loadgen::{Arrivals, Echo, Gauge, Load, LoadConfig, Rate, Reading, Work};
use freeway_memif::{Config, MemifQueue, Role, SocketName, Trust, open};

const PORT: u16 = 7;
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// The first of the client's addresses, which is the server's router too.
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 16);
/// Client addresses: each has thirty thousand ports for newcomers.
const CLIENTS: u32 = 8;
/// What forged addresses are drawn from.
const FORGED: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 0);
const FORGED_PREFIX: u8 = 16;
/// The server's name, of which its hardware address is made.
const SERVER_NAME: &str = "server";
/// How often everything is read: as often as a core publishes its counters.
const STEP: Duration = Duration::from_millis(100);
const STEPS_PER_S: usize = 10;
/// Newcomers that may be under way: those that are not let in try again for a minute.
const NEWCOMERS: u32 = 32_768;
/// The service is back when it has so much of its rate.
const BACK: f64 = 0.95;

/// A flood of SYNs from forged addresses, and what it leaves of the service: over memif, one core each side.
///
/// Example: cargo run --release -p freeway-bench --bin flood -- --syns 500000
#[derive(Clone, Debug, Parser)]
struct Args {
    /// SYNs a second.
    #[arg(long, default_value_t = 500_000)]
    syns: u64,
    /// Connections that stay, each with a request under way.
    #[arg(long, default_value_t = 1_000)]
    connections: u32,
    /// Connections a second that are opened, carry one request, and are closed.
    #[arg(long, default_value_t = 2_000.0)]
    newcomers: f64,
    /// Bytes of a request.
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Whether the server answers by SYN cookies.
    #[arg(long, value_enum, default_value = "when-needed")]
    cookies: Cookies,
    /// Forged addresses lie in the server's own subnet, so that it looks for each as a neighbour, instead of behind a router.
    #[arg(long)]
    on_link: bool,
    /// Seconds before the flood.
    #[arg(long, default_value_t = 5)]
    before: usize,
    /// Seconds of flood.
    #[arg(long, default_value_t = 10)]
    flood: usize,
    /// Seconds after it.
    #[arg(long, default_value_t = 5)]
    after: usize,
    /// The processors of the server and of the client.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1])]
    cpus: Vec<usize>,
    /// Packet buffers of each side.
    #[arg(long, default_value_t = 32_768)]
    buffers: u32,
    /// Show every tenth of a second, not every second.
    #[arg(long)]
    fine: bool,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    json: bool,
}

/// When the server answers by cookies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Cookies {
    Off,
    WhenNeeded,
    Always,
}

impl From<Cookies> for SynCookies {
    fn from(cookies: Cookies) -> Self {
        match cookies {
            Cookies::Off => Self::Off,
            Cookies::WhenNeeded => Self::WhenNeeded,
            Cookies::Always => Self::Always,
        }
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.cpus.len() == 2, "--cpus takes two processors");
    ensure!(args.before > 0 && args.flood > 0 && args.after > 0, "each part takes a second at least");
    ensure!(args.newcomers > 0.0 && args.connections > 0, "there is nobody to be served");
    let folder = tempfile::tempdir()?;
    let hosts = Hosts::start(&args, &SocketName::Path(folder.path().join("memif")))?;
    hosts.open(&args)?;
    let rate = Rate { per_second: args.newcomers, arrivals: Arrivals::Poisson };
    hosts.gauge.order(Work::Mixed { among: args.connections, under_way: NEWCOMERS, rate });
    // Caches fill, windows open, a first generation of newcomers goes.
    sleep(Duration::from_secs(1));
    let before = hosts.watch(args.before, 0)?;
    let during = hosts.watch(args.flood, args.syns)?;
    let after = hosts.watch(args.after, 0)?;
    let run = Run { args, parts: [before, during, after], resident: hosts.resident, rest: hosts.rest()? };
    match run.args.json {
        true => println!("{}", run.json()),
        false => run.print(),
    }
    run.check()
}

/// Both hosts at work.
struct Hosts {
    server: Running,
    client: Running,
    gauge: Gauge,
    tap: FloodTap,
    /// Resident memory of the process, both hosts in it, before anything was opened.
    resident: u64,
}

impl Hosts {
    fn start(args: &Args, socket: &SocketName) -> Result<Self> {
        let secrets = Secrets::random()?;
        let end = |name: &str, role, trust| {
            let config =
                Config { name: name.into(), socket: socket.clone(), role, trust, ..Config::default() };
            open(&[config])?.pop().and_then(|mut queues| queues.pop()).context("one queue")
        };
        // The client is the one that copies.
        let client_queue = end("client", Role::Server, Trust::None)?;
        let server_queue = end(SERVER_NAME, Role::Client, Trust::Full)?;
        let links = [client_queue.status(), server_queue.status()];
        let server = start_server(args, secrets, server_queue)?;
        let (gauge, tap) = (Gauge::default(), FloodTap::default());
        let client = start_client(args, secrets, client_queue, gauge.clone(), tap.clone())?;
        for link in links {
            ensure!(link.wait_for(true, Duration::from_secs(20)), "no link: {:?}", link.last_reason());
        }
        Ok(Self { server, client, gauge, tap, resident: resident()? })
    }

    /// Opens the connections that stay.
    fn open(&self, args: &Args) -> Result<()> {
        let begun = Instant::now();
        self.gauge.hold(args.connections);
        while self.gauge.read().open < u64::from(args.connections) {
            ensure!(begun.elapsed() < Duration::from_secs(60), "only {} opened", self.gauge.read().open);
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn look(&self) -> Result<Look> {
        let first = |running: &Running| running.stats().into_iter().next().context("a host without a core");
        let (at, reading, flood) = (Instant::now(), self.gauge.read(), self.tap.counts());
        Ok(Look { at, reading, flood, server: first(&self.server)?, client: first(&self.client)? })
    }

    /// Watches for so many seconds, while the tap is open for `syns` a second.
    fn watch(&self, seconds: usize, syns: u64) -> Result<Part> {
        self.tap.open(syns);
        let begun = Instant::now();
        let mut looks = vec![self.look()?];
        for step in 1..=(seconds * STEPS_PER_S) as u32 {
            sleep((begun + STEP * step).saturating_duration_since(Instant::now()));
            looks.push(self.look()?);
        }
        Ok(Part { looks, resident: resident()? })
    }

    /// Lets the newcomers under way come to their end, as far as they do so soon.
    fn rest(self) -> Result<Reading> {
        self.gauge.order(Work::Hold);
        let begun = Instant::now();
        while self.gauge.read().in_flight > 0 && begun.elapsed() < Duration::from_secs(2) {
            sleep(Duration::from_millis(5));
        }
        let rest = self.gauge.read();
        self.client.stop()?;
        self.server.stop()?;
        Ok(rest)
    }
}

/// The settings of either host; who `lends` has its packets in a file of their own.
fn host(args: &Args, secrets: Secrets, lends: bool) -> HostConfig {
    let mut host = HostConfig::new(secrets).buffers(args.buffers);
    host.stack.pool.shared = lends;
    host.stack.large_pool.buffers = 4;
    host.stack.ephemeral_ports = 1_024..=65_535;
    host
}

/// A runtime of one core, which spins.
fn one_core(cpu: usize) -> Result<Runtime> {
    Ok(Runtime::new(RuntimeConfig { idle: Idle::Spin, ..RuntimeConfig::pinned([cpu]) })?)
}

/// Both hosts' subnet, and that of the forged addresses with it where they are neighbours.
const fn prefix(args: &Args) -> u8 {
    if args.on_link { 15 } else { 24 }
}

fn start_server(args: &Args, secrets: Secrets, queue: MemifQueue) -> Result<Running> {
    let (host, prefix) = (host(args, secrets, true), prefix(args));
    let listen = ListenConfig { cookies: args.cookies.into(), ..ListenConfig::new(PORT) };
    let build = move |seat: Seat| -> Result<_, BuildError> {
        let interface =
            Interface::new(queue.into_port()).address(Cidr::new(SERVER.into(), prefix)).gateway_v4(CLIENT);
        let now = seat.now();
        Ok(host.build(seat.mailboxes, now, EchoServer { listen }, [interface])?)
    };
    Ok(one_core(args.cpus[0])?.start([build])?)
}

fn start_client(
    args: &Args,
    secrets: Secrets,
    queue: MemifQueue,
    gauge: Gauge,
    tap: FloodTap,
) -> Result<Running> {
    let host = host(args, secrets, false);
    let sources: Vec<_> =
        (0..CLIENTS).map(|number| IpAddr::V4(Ipv4Addr::from(CLIENT.to_bits() + number))).collect();
    let load = LoadConfig {
        sources: sources.clone(),
        // The other end is known to remember nothing of a closed connection.
        tcp: TcpConfig { time_wait: freeway::Duration::from_millis(100), ..TcpConfig::default() },
        ..LoadConfig::new((SERVER, PORT).into(), args.connections)
    };
    let flood = FloodConfig {
        server: SocketAddrV4::new(SERVER, PORT),
        server_mac: mac_of(SERVER_NAME),
        forged: FORGED,
        forged_prefix: FORGED_PREFIX,
        seed: Seed(1),
    };
    let (size, prefix) = (args.size, prefix(args));
    let build = move |seat: Seat| -> Result<_, BuildError> {
        let begun = Instant::now();
        let clock = move || freeway::Instant::from_nanos(begun.elapsed().as_nanos() as u64);
        let port = Flood::new(queue.into_port(), clock, &flood, tap);
        let interface = sources
            .into_iter()
            .fold(Interface::new(port), |interface, addr| interface.address(Cidr::new(addr, prefix)));
        let now = seat.now();
        Ok(host.build(seat.mailboxes, now, Load::new(&load, Echo::new(size), gauge), [interface])?)
    };
    Ok(one_core(args.cpus[1])?.start([build])?)
}

/// Resident memory of this process in bytes, huge pages included.
fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let kilobytes = |key: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    Ok((kilobytes("VmRSS:") + kilobytes("HugetlbPages:")) * 1024)
}

/// Everything at one moment; what the cores count is as much as a step old.
struct Look {
    at: Instant,
    reading: Reading,
    flood: FloodCounts,
    server: CoreStats,
    client: CoreStats,
}

/// Before, during, or after: a look at its beginning and one after each step.
struct Part {
    looks: Vec<Look>,
    /// Resident memory at its end.
    resident: u64,
}

/// What happened between two looks.
#[derive(Clone, Copy, Debug)]
struct Span {
    seconds: f64,
    /// Requests answered on connections that stay.
    requests: u64,
    /// What else the client counted.
    reading: Reading,
    flood: FloodCounts,
}

impl Span {
    fn between(from: &Look, to: &Look) -> Self {
        let reading = to.reading.since(from.reading);
        Self {
            seconds: (to.at - from.at).as_secs_f64(),
            // A newcomer is answered once, and gone some microseconds later.
            requests: reading.answered.saturating_sub(reading.cycles),
            reading,
            flood: to.flood.since(from.flood),
        }
    }

    fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

impl Part {
    fn first(&self) -> &Look {
        &self.looks[0]
    }

    fn last(&self) -> &Look {
        &self.looks[self.looks.len() - 1]
    }

    fn all(&self) -> Span {
        Span::between(self.first(), self.last())
    }

    /// Requests a second, step by step.
    fn rates(&self) -> Vec<f64> {
        self.looks.windows(2).map(|pair| Span::between(&pair[0], &pair[1]).rate()).collect()
    }

    /// In the middle of all steps: what others do to the machine now and then is not in it.
    fn median(&self) -> f64 {
        let mut rates = self.rates();
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    }

    fn server_count(&self, group: &str, name: &str) -> u64 {
        let of = |look: &Look| look.server.get(group, name).unwrap_or(0);
        of(self.last()).saturating_sub(of(self.first()))
    }

    /// The highest level of one of the server's tables.
    fn peak(&self, name: &str) -> u64 {
        self.looks.iter().filter_map(|look| look.server.get("tables", name)).max().unwrap_or(0)
    }

    /// Cycles a second of a core by stage, and the part of its time in which it did anything.
    fn cycles(&self, of: impl Fn(&Look) -> &CoreStats) -> ([f64; Stage::COUNT], f64) {
        let (before, after) = (of(self.first()), of(self.last()));
        let mut cycles = [0.0; Stage::COUNT];
        for stage in Stage::ALL {
            cycles[stage as usize] = (after.stages.of(stage) - before.stages.of(stage)) as f64;
        }
        let (busy, idle) = (cycles.iter().sum::<f64>(), (after.stages.idle - before.stages.idle) as f64);
        let seconds = after.at.since(before.at).as_secs_f64().max(1e-3);
        (cycles.map(|sum| sum / seconds), busy / (busy + idle).max(1.0))
    }
}

/// The whole of it.
struct Run {
    args: Args,
    parts: [Part; 3],
    resident: u64,
    /// The client's counts when newcomers had time to end.
    rest: Reading,
}

const NAMES: [&str; 3] = ["before", "flood", "after"];
/// What is shown of the server's tables: the level's name and its bound's.
const TABLES: [(&str, &str); 4] = [
    ("connections", "connections_max"),
    ("syn_received", "syn_received_max"),
    ("items", "items_max"),
    ("buffers", "buffers_max"),
];
/// Counters of the server that tell of a flood.
const COUNTERS: [(&str, &str); 9] = [
    ("tcp", "syn_cookies_sent"),
    ("tcp", "syn_cookies_accepted"),
    ("tcp", "accepted"),
    ("tcp", "dropped_syn_table_full"),
    ("tcp", "dropped_bad_cookie"),
    ("tcp", "retransmitted"),
    ("net", "dropped_tx_full"),
    ("net", "dropped_unresolved"),
    ("turns", "tx_blocked"),
];

impl Run {
    /// What part of its rate the service kept.
    fn kept(&self) -> f64 {
        self.parts[1].median() / self.parts[0].median()
    }

    /// Seconds after the flood until a step had the rate of before, if one had.
    fn back_after(&self) -> Option<f64> {
        let wanted = BACK * self.parts[0].median();
        let place = self.parts[2].rates().iter().position(|&rate| rate >= wanted)?;
        Some((place + 1) as f64 * STEP.as_secs_f64())
    }

    fn bound(&self, name: &str) -> u64 {
        self.parts[0].first().server.get("tables", name).unwrap_or(0)
    }

    /// Whether the server did what it promises, whatever the rates.
    fn check(&self) -> Result<()> {
        let open = self.parts[2].last().reading.open;
        ensure!(open == u64::from(self.args.connections), "only {open} of the connections are left");
        ensure!(self.rest.wrong == 0, "{} answers were wrong", self.rest.wrong);
        let flood = self.parts[1].all();
        ensure!(flood.flood.syns > 0 || self.args.syns == 0, "there was no flood");
        let answered = flood.reading.cycles as f64 / flood.reading.begun.max(1) as f64;
        ensure!(
            self.args.cookies == Cookies::Off || self.args.on_link || answered > 0.9,
            "only {:.1}% of the newcomers were served",
            answered * 100.0
        );
        for (level, bound) in TABLES {
            let (peak, bound) = (self.parts[1].peak(level), self.bound(bound));
            ensure!(peak <= bound, "{level}: {peak} of {bound}");
        }
        Ok(())
    }

    fn print(&self) {
        let Args { syns, connections, newcomers, size, cookies, on_link, .. } = &self.args;
        println!(
            "{connections} connections with a {size}-byte request under way on each, {newcomers:.0} newcomers a second; \
             then {syns} SYNs a second from forged {}, cookies {cookies:?}",
            if *on_link { "neighbours" } else { "addresses behind a router" },
        );
        self.print_course();
        println!();
        println!(
            "{:<8} {:>11} {:>8} {:>8} {:>9} {:>9} {:>8} {:>9} {:>9}",
            "", "requests/s", "lowest", "asked", "answered", "failed", "waiting", "SYNs/s", "SYN-ACK/s"
        );
        for (part, name) in self.parts.iter().zip(NAMES) {
            let Span { seconds, reading, flood, .. } = part.all();
            let lowest = part.rates().into_iter().fold(f64::INFINITY, f64::min);
            let Reading { begun, cycles, failed, .. } = part.last().reading;
            println!(
                "{name:<8} {:>11.0} {lowest:>8.0} {:>8} {:>9} {:>9} {:>8} {:>9.0} {:>9.0}",
                part.median(),
                reading.begun,
                reading.cycles,
                reading.failed,
                begun - cycles - failed,
                flood.syns as f64 / seconds,
                flood.syn_acks as f64 / seconds,
            );
        }
        println!("kept             {:.1}% of the requests", self.kept() * 100.0);
        match self.back_after() {
            Some(seconds) => println!("back             {seconds:.1} s after the flood"),
            None => println!("back             not within {} s", self.args.after),
        }
        let Reading { begun, cycles, failed, .. } = self.rest;
        println!(
            "newcomers        {begun} in all: {cycles} answered, {failed} failed, {} still trying",
            begun - cycles - failed
        );
        let counts = self.parts[1].all().flood;
        println!(
            "flood            {} SYNs given up, {} answers but SYN-ACKs",
            counts.given_up, counts.others
        );
        self.print_inside();
    }

    /// The rates, step by step.
    fn print_course(&self) {
        println!(
            "{:>6} {:<8} {:>11} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "s", "", "requests/s", "newcomers", "SYNs/s", "SYN-ACK/s", "half-open", "buffers"
        );
        let stride = if self.args.fine { 1 } else { STEPS_PER_S };
        let begun = self.parts[0].first().at;
        for (part, name) in self.parts.iter().zip(NAMES) {
            let ends = part.looks.iter().step_by(stride);
            for (from, to) in ends.clone().zip(ends.skip(1)) {
                let span = Span::between(from, to);
                let level = |name| to.server.get("tables", name).unwrap_or(0);
                let per_s = |count: u64| count as f64 / span.seconds;
                println!(
                    "{:>6.1} {name:<8} {:>11.0} {:>9.0} {:>9.0} {:>9.0} {:>9} {:>9}",
                    (to.at - begun).as_secs_f64(),
                    span.rate(),
                    per_s(span.reading.cycles),
                    per_s(span.flood.syns),
                    per_s(span.flood.syn_acks),
                    level("syn_received"),
                    level("buffers"),
                );
            }
        }
    }

    /// Memory, counters and cycles.
    fn print_inside(&self) {
        let [before, during, after] = &self.parts;
        println!();
        println!(
            "{:<24} {:>10} {:>10} {:>10} {:>10}",
            "server, highest", "before", "flood", "after", "bound"
        );
        for (level, bound) in TABLES {
            let peaks = [before, during, after].map(|part| part.peak(level));
            let [a, b, c] = peaks;
            println!("{level:<24} {a:>10} {b:>10} {c:>10} {:>10}", self.bound(bound));
        }
        let [a, b, c] = [before, during, after].map(|part| part.peak("time_wait"));
        println!("{:<24} {a:>10} {b:>10} {c:>10}", "time_wait");
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        println!(
            "resident, both hosts     {:.1} MiB at the start, {:.1} before, {:.1} after the flood, {:.1} at the end",
            mib(self.resident),
            mib(before.resident),
            mib(during.resident),
            mib(after.resident)
        );
        println!();
        for (group, name) in COUNTERS {
            let [a, b, c] = [before, during, after].map(|part| part.server_count(group, name));
            println!("{:<32} {a:>10} {b:>10} {c:>10}", format!("{group} {name}"));
        }
        for (side, of) in [("server", Self::server as fn(&Look) -> &CoreStats), ("client", Self::client)] {
            println!();
            print!("{:<24}", format!("{side}, Mcycles/s"));
            for stage in Stage::ALL {
                print!(" {:>8}", stage.name());
            }
            println!(" {:>8} {:>6} {:>9} {:>8}", "sum", "busy", "frames/s", "a frame");
            for (part, name) in self.parts.iter().zip(NAMES) {
                let (cycles, busy) = part.cycles(of);
                let (from, to) = (of(part.first()), of(part.last()));
                let count = |name| to.get("turns", name).unwrap_or(0) - from.get("turns", name).unwrap_or(0);
                let seconds = to.at.since(from.at).as_secs_f64().max(1e-3);
                let frames = (count("rx_frames") + count("tx_frames")) as f64 / seconds;
                print!("{name:<24}");
                cycles.iter().for_each(|sum| print!(" {:>8.1}", sum / 1e6));
                let sum: f64 = cycles.iter().sum();
                println!(
                    " {:>8.1} {:>5.1}% {frames:>9.0} {:>8.0}",
                    sum / 1e6,
                    busy * 100.0,
                    sum / frames.max(1.0)
                );
            }
        }
    }

    const fn server(look: &Look) -> &CoreStats {
        &look.server
    }

    const fn client(look: &Look) -> &CoreStats {
        &look.client
    }

    fn json(&self) -> serde_json::Value {
        let parts: serde_json::Map<_, _> = self
            .parts
            .iter()
            .zip(NAMES)
            .map(|(part, name)| {
                let Span { seconds, reading, flood, .. } = part.all();
                let counters: serde_json::Map<_, _> = COUNTERS
                    .iter()
                    .map(|(group, name)| ((*name).to_owned(), part.server_count(group, name).into()))
                    .collect();
                let levels: serde_json::Map<_, _> =
                    TABLES.iter().map(|(level, _)| ((*level).to_owned(), part.peak(level).into())).collect();
                let (cycles, busy) = part.cycles(Self::server);
                let cycles: serde_json::Map<_, _> = Stage::ALL
                    .iter()
                    .map(|&stage| (stage.name().to_owned(), cycles[stage as usize].into()))
                    .collect();
                let part = serde_json::json!({
                    "requests_per_s": part.median(), "requests_per_s_by_step": part.rates(),
                    "newcomers_asked": reading.begun, "newcomers_answered": reading.cycles,
                    "newcomers_failed": reading.failed, "syns_per_s": flood.syns as f64 / seconds,
                    "syn_acks_per_s": flood.syn_acks as f64 / seconds, "syns_given_up": flood.given_up,
                    "server_counters": counters, "server_levels_max": levels, "server_busy": busy,
                    "server_cycles_per_s": cycles, "client_busy": part.cycles(Self::client).1,
                    "resident_bytes": part.resident,
                });
                (name.to_owned(), part)
            })
            .collect();
        serde_json::json!({
            "syns_per_s": self.args.syns, "connections": self.args.connections,
            "size_bytes": self.args.size, "newcomers_per_s": self.args.newcomers,
            "cookies": format!("{:?}", self.args.cookies), "on_link": self.args.on_link,
            "kept": self.kept(), "back_after_s": self.back_after(), "parts": parts,
            "newcomers_in_all": self.rest.begun, "newcomers_answered": self.rest.cycles,
            "newcomers_failed": self.rest.failed,
        })
    }
}
