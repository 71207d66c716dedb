//! The steps of the challenge, in their order.

use std::collections::BTreeMap;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use freeway::Stage;
use freeway_loadgen::{Arrivals, Cause, Percentiles, Rate, Reading, Requests, Work};

use super::baseline::{self, Baseline, KernelMemory, Path};
use super::fit::fit;
use super::plan::Size;
use super::report::{
    AtLoad, Challenge, Cores, Cycles, Level, Machine, Memory, Noise, Ramp, Rates, Report, number,
};
use super::talk::{Ask, ClientSays, Part, ServerSays, resident_bytes};
use super::{done, progress, seconds};

/// How long the steps are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    /// Before a measurement.
    warm: Duration,
    /// One measurement.
    window: Duration,
    /// Measurements of a step, of which the median counts.
    windows: usize,
}

impl Lengths {
    pub(super) const FULL: Self =
        Self { warm: Duration::from_millis(500), window: Duration::from_millis(1_500), windows: 3 };
    pub(super) const QUICK: Self =
        Self { warm: Duration::from_millis(200), window: Duration::from_millis(500), windows: 1 };
}

/// Connections that are hot.
const FEW: u32 = 1_000;
/// Requests under way on random connections.
const IN_FLIGHT: u32 = 1_000;
/// Connections that come and go at once.
const COMING: u32 = 256;
/// Datagrams under way on Freeway's stack, and on Linux's, whose sockets hold fewer: one that is lost is missed for a second.
const DATAGRAMS: [u32; 2] = [1_024, 128];
/// Connections of a bulk transfer.
const STREAMS: u32 = 4;
/// Parts of the peak at which latency is measured.
const PARTS: [f64; 5] = [0.1, 0.25, 0.5, 0.75, 0.9];
/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one window measured.
#[derive(Clone, Debug)]
struct Window {
    seconds: f64,
    client: Reading,
    latencies: Percentiles,
    retransmitted: u64,
    server: ServerSays,
}

/// One run of the challenge.
pub(super) struct Run {
    size: Size,
    servers: Vec<usize>,
    clients: Vec<usize>,
    lengths: Lengths,
    /// Datagrams under way.
    datagrams: u32,
    report: Report,
}

impl Run {
    pub(super) fn new(size: Size, servers: Vec<usize>, clients: Vec<usize>, lengths: Lengths) -> Self {
        let mut report = Report { machine: machine(), ..Report::default() };
        (report.machine.server_cpus, report.machine.client_cpus) = (servers.clone(), clients.clone());
        Self { size, servers, clients, lengths, datagrams: DATAGRAMS[0], report }
    }

    fn pairs(&self) -> u32 {
        self.servers.len() as u32
    }

    /// All connections, over all pairs.
    fn connections(&self) -> u32 {
        self.size.connections * self.pairs()
    }

    /// Every step.
    pub(super) fn whole(mut self) -> Result<Report> {
        let mut hosts = Hosts::start(&self)?;
        self.ramp(&mut hosts)?;
        self.sweep(&mut hosts)?;
        self.flatness(&mut hosts)?;
        let peak = self.requests(&mut hosts)?;
        self.scaling(&mut hosts)?;
        self.churn(&mut hosts)?;
        self.datagrams(&mut hosts)?;
        self.bulk(&mut hosts)?;
        self.latency(&mut hosts, peak)?;
        self.report.server_drops = hosts.server_says()?.drops.into_iter().collect();
        drop(hosts);
        self.controls()?;
        self.judge();
        Ok(self.report)
    }

    /// The same steps against Linux's own stack, over loopback and over a veth pair.
    pub(super) fn baseline(
        size: Size,
        servers: &[usize],
        clients: &[usize],
        lengths: Lengths,
    ) -> Result<Vec<Baseline>> {
        let pairs = servers.len() as u32;
        let (connections, descriptors_max) = baseline::connections(size);
        let size = Size { connections, ..size };
        let mut all = Vec::new();
        for make in [Path::loopback, Path::veth] {
            let path = make(size, pairs)?;
            let mut run = Self::new(size, servers.to_vec(), clients.to_vec(), lengths);
            run.datagrams = DATAGRAMS[1];
            let mut hosts = Hosts::kernel(&run, &path)?;
            let before = KernelMemory::now()?;
            run.ramp(&mut hosts)?;
            let (slab, unavailable) =
                before.each(&KernelMemory::now()?, 2 * u64::from(connections) * u64::from(pairs));
            run.flatness(&mut hosts)?;
            let peak = run.requests(&mut hosts)?;
            run.churn(&mut hosts)?;
            run.datagrams(&mut hosts)?;
            run.bulk(&mut hosts)?;
            run.latency(&mut hosts, peak)?;
            let Report { ramp, flatness, rates, loads, .. } = run.report;
            let found = Baseline {
                path: path.name,
                connections: connections * pairs,
                descriptors_max,
                kernel_bytes_per_connection: slab,
                unavailable_bytes_per_connection: unavailable,
                ramp,
                flatness,
                rates,
                loads,
            };
            found.say();
            all.push(found);
        }
        Ok(all)
    }

    // ---- measuring ----

    /// Has the first `pairs` loads do something, and measures it in several windows.
    fn measure(&self, hosts: &mut Hosts, what: &str, pairs: u32, work: Work) -> Result<Vec<Window>> {
        hosts.work(pairs, work)?;
        sleep(self.lengths.warm);
        let mut windows = Vec::new();
        for window in 0..self.lengths.windows {
            progress(&format!("{what}: measurement {} of {}", window + 1, self.lengths.windows));
            let before = (hosts.mark()?, hosts.server_says()?);
            sleep(self.lengths.window);
            let after = (hosts.mark()?, hosts.server_says()?);
            windows.push(Window {
                seconds: after.0.at_s - before.0.at_s,
                client: after.0.reading.since(before.0.reading),
                latencies: after.0.latencies,
                retransmitted: after.0.retransmitted - before.0.retransmitted,
                server: after.1.since(&before.1),
            });
        }
        hosts.work(self.pairs(), Work::Hold)?;
        hosts.settle()?;
        Ok(windows)
    }

    /// Measures how much of something is done a second, and books it.
    fn rate(
        &mut self,
        hosts: &mut Hosts,
        (what, unit): (&'static str, &'static str),
        work: Work,
        count: impl Fn(&Reading) -> f64,
    ) -> Result<Window> {
        let mut windows = self.measure(hosts, what, self.pairs(), work)?;
        let per_s = |window: &Window| count(&window.client) / window.seconds;
        windows.sort_by(|a, b| per_s(a).total_cmp(&per_s(b)));
        let (low, high) = (windows.first().map_or(0.0, per_s), windows.last().map_or(0.0, per_s));
        let middle = windows.len() / 2;
        let median = windows.into_iter().nth(middle).context("no measurement")?;
        let Window { client, retransmitted, server, .. } = &median;
        ensure!(per_s(&median) > 0.0, "{what}: nothing was done");
        self.report.rates.push(Rates {
            what,
            unit,
            per_s: per_s(&median),
            per_s_min: low,
            per_s_max: high,
            cycles: server.stages.iter().map(|(stage, _)| (stage.clone(), server.cycles(stage))).collect(),
            cycles_total: server.cycles_total(),
            frames_per_burst: server.bursts.1 as f64 / server.bursts.0.max(1) as f64,
            server_busy: server.busy_share(),
            retransmitted: retransmitted + server.retransmitted,
            failed: client.failed + client.wrong + client.timeouts,
        });
        let rate = number(per_s(&median));
        if server.frames > 0 {
            let (cycles, busy) = (server.cycles_total(), server.busy_share() * 100.0);
            done(&format!("{what}: {rate} {unit} ({cycles:.0} cycles a packet, server busy {busy:.0}%)"));
        } else {
            done(&format!("{what}: {rate} {unit}"));
        }
        ensure!(
            client.failed + client.wrong == 0,
            "{what}: {} connections failed, {} answers were wrong",
            client.failed,
            client.wrong
        );
        Ok(median)
    }

    // ---- the steps ----

    /// Opens all connections.
    fn ramp(&mut self, hosts: &mut Hosts) -> Result<()> {
        let target = u64::from(self.connections());
        let begun = Instant::now();
        hosts
            .client
            .ask::<ClientSays>(&Ask::Hold { cores: self.pairs(), connections: self.size.connections })?;
        let (mut last, mut moved) = (0, begun);
        let mut samples = Vec::new();
        loop {
            let ClientSays { reading, .. } = hosts.client.ask(&Ask::Read)?;
            let resident = resident_bytes(&hosts.server.id().to_string());
            samples.push((begun.elapsed().as_secs_f64(), reading.open, resident));
            progress(&format!(
                "connections: {} of {}, {} a second, server {} MiB",
                number(reading.open as f64),
                number(target as f64),
                number(reading.open as f64 / begun.elapsed().as_secs_f64()),
                resident >> 20
            ));
            ensure!(reading.failed == 0, "{} connections failed", reading.failed);
            if reading.open >= target {
                break;
            }
            if reading.open > last {
                (last, moved) = (reading.open, Instant::now());
            }
            ensure!(moved.elapsed() < PATIENCE, "only {} connections opened in {PATIENCE:?}", reading.open);
            sleep(Duration::from_millis(if target > 1_000_000 { 100 } else { 10 }));
        }
        let taken = begun.elapsed();
        let rate = target as f64 / taken.as_secs_f64();
        done(&format!(
            "connections: {} opened in {}, {} a second",
            number(target as f64),
            seconds(taken),
            number(rate)
        ));
        self.report.ramp =
            Ramp { seconds: taken.as_secs_f64(), connects_per_s: rate, samples, ..Ramp::default() };
        Ok(())
    }

    /// One request on each connection; then all memory is counted.
    fn sweep(&mut self, hosts: &mut Hosts) -> Result<()> {
        let before: ClientSays = hosts.client.ask(&Ask::Read)?;
        let begun = Instant::now();
        hosts.work(self.pairs(), Work::Sweep { in_flight: IN_FLIGHT })?;
        let target = u64::from(self.connections());
        let (mut last, mut moved) = (0, begun);
        let answered = loop {
            sleep(Duration::from_millis(20));
            let now: ClientSays = hosts.client.ask(&Ask::Read)?;
            let answered = now.reading.since(before.reading).answered;
            progress(&format!(
                "a request on each: {} of {} answered",
                number(answered as f64),
                number(target as f64)
            ));
            if answered >= target {
                break answered;
            }
            if answered > last {
                (last, moved) = (answered, Instant::now());
            }
            ensure!(moved.elapsed() < PATIENCE, "only {answered} connections answered");
        };
        let rate = answered as f64 / begun.elapsed().as_secs_f64();
        hosts.work(self.pairs(), Work::Hold)?;
        hosts.settle()?;
        let (client, server): (ClientSays, _) = (hosts.client.ask(&Ask::Read)?, hosts.server_says()?);
        let each = |bytes: u64| bytes as f64 / target as f64;
        self.report.ramp.swept = answered;
        self.report.ramp.sweep_requests_per_s = rate;
        self.report.memory = Memory {
            server_bytes_per_connection: each(server.resident_bytes),
            client_bytes_per_connection: each(client.resident_bytes),
            server_resident_bytes: server.resident_bytes,
            tcb_bytes: size_of::<freeway::tcp::Tcb>(),
            how: "resident memory of the whole process (VmRSS and huge pages) over the connections it holds, each of which \
                  has just answered a request",
        };
        done(&format!(
            "a request on each: all {} answered, {} a second; server {:.1} bytes a connection, everything counted",
            number(answered as f64),
            number(rate),
            each(server.resident_bytes)
        ));
        Ok(())
    }

    /// Requests on connections drawn at random from more and more of them.
    fn flatness(&mut self, hosts: &mut Hosts) -> Result<()> {
        let most = self.size.connections;
        let mut levels: Vec<u32> =
            [1_000, 10_000, 100_000, 1_000_000].into_iter().filter(|&level| level < most).collect();
        levels.push(most);
        for among in levels {
            let work = Work::Requests(Requests { among, cause: Cause::AnyAnswered(IN_FLIGHT.min(among)) });
            let last = among == most;
            let what = if last { "requests at random from all" } else { "requests at random from some" };
            let window = self.rate(hosts, (what, "requests/s"), work, |reading| reading.answered as f64)?;
            self.report.flatness.push(Level {
                connections: among * self.pairs(),
                requests_per_s: window.client.answered as f64 / window.seconds,
                cycles_per_packet: window.server.cycles_total(),
                latency_us: window.latencies,
            });
            if !last {
                self.report.rates.pop();
            }
        }
        Ok(())
    }

    /// Requests on few connections, as fast as they are answered.
    fn requests(&mut self, hosts: &mut Hosts) -> Result<f64> {
        let among = FEW.min(self.size.connections);
        let work = Work::Requests(Requests { among, cause: Cause::SameAnswered });
        let window = self.rate(hosts, ("requests on 1,000 connections", "requests/s"), work, |reading| {
            reading.answered as f64
        })?;
        let cycles = |stage: Stage| window.server.cycles(stage.name());
        self.report.cycles = Cycles {
            rx: cycles(Stage::Rx),
            input: cycles(Stage::Input),
            tcp: None,
            timers: cycles(Stage::Timers),
            app: cycles(Stage::App),
            output: cycles(Stage::Output),
            tx: cycles(Stage::Tx),
            total: window.server.cycles_total(),
            how: "time-stamp counter, on the server's cores, requests of 64 bytes on 1,000 connections",
        };
        Ok(window.client.answered as f64 / window.seconds)
    }

    /// The same on one core, on two, and so on.
    fn scaling(&mut self, hosts: &mut Hosts) -> Result<()> {
        let among = FEW.min(self.size.connections);
        let work = Work::Requests(Requests { among, cause: Cause::SameAnswered });
        for pairs in 1..=self.pairs() {
            let mut rates: Vec<f64> = if pairs == self.pairs() {
                // It was measured just now.
                self.report.rates.last().map(|rates| rates.per_s).into_iter().collect()
            } else {
                let windows = self.measure(hosts, &format!("{pairs} cores"), pairs, work)?;
                windows.iter().map(|window| window.client.answered as f64 / window.seconds).collect()
            };
            rates.sort_by(f64::total_cmp);
            let requests_per_s = rates.get(rates.len() / 2).copied().unwrap_or_default();
            self.report.cores.push(Cores { cores: pairs, requests_per_s });
        }
        let points: Vec<_> = self
            .report
            .cores
            .iter()
            .map(|&Cores { cores, requests_per_s }| (f64::from(cores), requests_per_s))
            .collect();
        self.report.scaling = fit(&points);
        Ok(())
    }

    /// Connections that come and go while all others stay.
    fn churn(&mut self, hosts: &mut Hosts) -> Result<()> {
        let work = Work::Churn { under_way: COMING, rate: None };
        let what = ("connect, request, close, others open", "connections/s");
        self.rate(hosts, what, work, |reading| reading.cycles as f64)?;
        Ok(())
    }

    /// Datagrams of 64 bytes, there and back.
    fn datagrams(&mut self, hosts: &mut Hosts) -> Result<()> {
        let work = Work::Datagrams { in_flight: self.datagrams, rate: None };
        self.rate(hosts, ("UDP echo, received and sent", "packets/s"), work, |reading| {
            2.0 * reading.answered as f64
        })?;
        Ok(())
    }

    /// Bulk, each way.
    fn bulk(&mut self, hosts: &mut Hosts) -> Result<()> {
        let upload = Work::Upload { connections: STREAMS };
        let bits = |bytes: u64| bytes as f64 * 8.0 / 1e9;
        self.rate(hosts, ("bulk to the server", "Gbit/s"), upload, |reading| bits(reading.bytes_out))?;
        let download = Work::Download { connections: STREAMS };
        self.rate(hosts, ("bulk from the server", "Gbit/s"), download, |reading| bits(reading.bytes_in))?;
        Ok(())
    }

    /// An open loop at parts of the peak; at half of it on all connections, too.
    fn latency(&mut self, hosts: &mut Hosts, peak: f64) -> Result<()> {
        let few = FEW.min(self.size.connections);
        let mut steps: Vec<(f64, u32)> = PARTS.into_iter().map(|part| (part, few)).collect();
        if self.size.connections > few {
            // Of what is reached on all of them.
            steps.push((0.5, self.size.connections));
        }
        for (part, among) in steps {
            let full = if among == few {
                peak
            } else {
                self.report.flatness.last().map_or(peak, |level| level.requests_per_s)
            };
            let offered = full * part;
            let rate = Rate { per_second: offered / f64::from(self.pairs()), arrivals: Arrivals::Poisson };
            let work = Work::Requests(Requests { among, cause: Cause::Time(rate) });
            let what = format!("latency at {:.0}% of the peak", part * 100.0);
            let mut windows = self.measure(hosts, &what, self.pairs(), work)?;
            windows.sort_by(|a, b| a.latencies.p99.total_cmp(&b.latencies.p99));
            let window = windows.get(windows.len() / 2).context("no measurement")?;
            let Percentiles { p50, p99, p999, .. } = window.latencies;
            done(&format!(
                "{what}, {} connections: p50 {p50:.1}, p99 {p99:.1}, p99.9 {p999:.1} µs",
                number(f64::from(among * self.pairs()))
            ));
            self.report.loads.push(AtLoad {
                part_of_peak: part,
                connections: among * self.pairs(),
                offered_per_s: offered,
                requests_per_s: window.client.answered as f64 / window.seconds,
                latency_us: window.latencies,
                bare_frames_us: Percentiles::default(),
            });
        }
        Ok(())
    }

    /// Bare frames over the same memif at the same rates, and a bare loop.
    fn controls(&mut self) -> Result<()> {
        let socket = format!("freeway-c10m-bare-{}", std::process::id());
        let size = Size { connections: 1_000, ..self.size };
        let arguments = |cpus: &[usize]| arguments(&socket, cpus.get(..1).unwrap_or(cpus), size);
        let mut mirror = Part::start(&[], "mirror", &arguments(&self.servers))?;
        let mut frames = Part::start(&[], "frames", &arguments(&self.clients))?;
        mirror.ready()?;
        frames.ready()?;
        let span = self.lengths.window.as_secs_f64();
        for load in &mut self.report.loads {
            progress(&format!("bare frames, {} a second", number(load.offered_per_s)));
            let mut found = Vec::new();
            for _ in 0..self.lengths.windows {
                let rate = load.offered_per_s / self.servers.len() as f64;
                found.push(frames.ask::<Percentiles>(&Ask::Frames { rate, seconds: span })?);
            }
            found.sort_by(|a, b| a.p99.total_cmp(&b.p99));
            load.bare_frames_us = found.get(found.len() / 2).copied().unwrap_or_default();
        }
        progress("a bare loop");
        let pauses: Percentiles =
            frames.ask(&Ask::Frames { rate: 0.0, seconds: span * self.lengths.windows as f64 })?;
        self.report.noise = Noise {
            stall_us_p99: pauses.p99,
            stall_us_p999: pauses.p999,
            stall_us_max: pauses.max,
            how: "a loop that reads the clock on the client's processor, in the same run: how long an event at a random \
                  instant waits for it",
        };
        done(&format!("a bare loop: p99.9 {:.1}, at most {:.0} µs", pauses.p999, pauses.max));
        Ok(())
    }

    /// Holds what was measured against what it must be.
    fn judge(&mut self) {
        let rate = |report: &Report, what: &str| {
            report.rates.iter().find(|rates| rates.what.starts_with(what)).map_or(0.0, |rates| rates.per_s)
        };
        let pairs = f64::from(self.pairs());
        let report = &mut self.report;
        let half = report.loads.iter().find(|load| (load.part_of_peak - 0.5).abs() < 1e-9).cloned();
        let AtLoad { latency_us: own, bare_frames_us: bare, .. } = half.unwrap_or_default();
        let all = rate(report, "requests at random from all");
        let few = rate(report, "requests on 1,000 connections");
        let held = report.flatness.last().map_or(0, |level| level.connections);
        report.connections = Challenge::at_least(
            f64::from(held),
            "connections",
            (10e6, 30e6),
            "opened, held through all steps, and each answered a request",
        );
        report.connection_rate = Challenge::at_least(
            rate(report, "connect, request, close") / pairs,
            "per s and core",
            (500e3, 1e6),
            "connect, one request of 64 bytes and its answer, close by both sides, while all others stay open",
        );
        let bulk = rate(report, "bulk to the server").min(rate(report, "bulk from the server")) / pairs;
        report.bandwidth = Challenge::at_least(
            bulk,
            "Gbit/s a core",
            (20.0, 40.0),
            "payload over 4 connections in segments of at most 1,460 bytes, the slower direction",
        );
        report.packets = Challenge::at_least(
            rate(report, "UDP echo") / pairs,
            "per s and core",
            (10e6, 20e6),
            "UDP echo of 64 bytes and memcached's frame header, received and sent",
        );
        report.latency = Challenge::at_most(
            own.p50,
            "µs",
            (10.0, 5.0),
            "median of an open loop (Poisson) of 64-byte requests at half of the peak, from the time a request was meant to \
             be sent to the turn that found its answer, there and back",
        );
        report.jitter = Challenge::at_most(
            own.p99 - bare.p99,
            "µs",
            (10.0, 5.0),
            "99th percentile of the same, less that of bare frames over the same memif at the same rate in the same run",
        );
        let first = report.cores.first().map_or(0.0, |cores| cores.requests_per_s);
        let last = report.cores.last().map_or(0.0, |cores| cores.requests_per_s);
        report.cores_used = Challenge::at_least(
            pairs,
            "cores",
            (10.0, 10.0),
            format!(
                "requests a second on all of them: {:.2} of so many times one",
                last / (first * pairs).max(1.0)
            ),
        );
        let others: BTreeMap<&str, Challenge> = [
            (
                "p99.9 above bare frames",
                Challenge::at_most(own.p999 - bare.p999, "µs", (20.0, 10.0), "as jitter, at 99.9%"),
            ),
            (
                "memory per connection",
                Challenge::at_most(
                    report.memory.server_bytes_per_connection,
                    "bytes",
                    (256.0, 160.0),
                    report.memory.how,
                ),
            ),
            (
                "ramp",
                Challenge::at_most(report.ramp.seconds, "s", (30.0, 15.0), "from the first SYN to the last"),
            ),
            (
                "requests, 1,000 connections",
                Challenge::at_least(
                    few / pairs,
                    "per s and core",
                    (3e6, 5e6),
                    "closed loop, 64 bytes, one under way on each",
                ),
            ),
            (
                "requests, at random from all",
                Challenge::at_least(
                    all / few.max(1.0) * 100.0,
                    "% of 1,000's",
                    (60.0, 80.0),
                    "closed loop, 1,000 under way",
                ),
            ),
            (
                "cycles a packet, rx+stack+tx",
                Challenge::at_most(
                    report.cycles.total - report.cycles.app,
                    "cycles",
                    (400.0, 200.0),
                    report.cycles.how,
                ),
            ),
        ]
        .into();
        report.others = others.into_iter().map(|(name, challenge)| (name.to_owned(), challenge)).collect();
    }
}

/// Server and client.
struct Hosts {
    server: Part,
    client: Part,
}

impl Hosts {
    fn start(run: &Run) -> Result<Self> {
        let socket = format!("freeway-c10m-{}", std::process::id());
        progress("memory for server and client");
        let begun = Instant::now();
        let mut server = Part::start(&[], "server", &arguments(&socket, &run.servers, run.size))?;
        let mut client = Part::start(&[], "client", &arguments(&socket, &run.clients, run.size))?;
        server.ready()?;
        client.ready()?;
        done(&format!("server and client are ready after {}", seconds(begun.elapsed())));
        Ok(Self { server, client })
    }

    /// Linux's server, and the load on Linux's sockets.
    fn kernel(run: &Run, path: &Path) -> Result<Self> {
        let of = |cpus| arguments("", cpus, run.size);
        let mut server = Part::start(&path.at_server(), "kernel-server", &of(&run.servers))?;
        server.ready()?;
        let mut client = Part::start(&path.at_client(), "kernel-client", &of(&run.clients))?;
        client.ready()?;
        done(&format!("Linux's server over {}", path.name));
        Ok(Self { server, client })
    }

    fn work(&mut self, pairs: u32, work: Work) -> Result<()> {
        self.client.ask::<ClientSays>(&Ask::Work { cores: pairs, work }).map(drop)
    }

    fn mark(&mut self) -> Result<ClientSays> {
        self.client.ask(&Ask::Mark)
    }

    fn server_says(&mut self) -> Result<ServerSays> {
        self.server.ask(&Ask::Server)
    }

    /// Waits until nothing is under way.
    fn settle(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let says: ClientSays = self.client.ask(&Ask::Read)?;
            if says.reading.in_flight == 0 {
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "{} requests are never answered", says.reading.in_flight);
            sleep(Duration::from_millis(10));
        }
    }
}

/// What a part is told on its command line.
fn arguments(socket: &str, cpus: &[usize], size: Size) -> Vec<String> {
    let Size { connections, buffers, ring_log2, client_lends } = size;
    let cpus: Vec<String> = cpus.iter().map(ToString::to_string).collect();
    let mut arguments: Vec<String> = [
        ("--socket", socket.to_owned()),
        ("--cpus", cpus.join(",")),
        ("--connections", connections.to_string()),
        ("--buffers", buffers.to_string()),
        ("--ring-log2", ring_log2.to_string()),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value])
    .collect();
    if client_lends {
        arguments.push("--client-lends".to_owned());
    }
    arguments
}

/// This machine, as far as it says what it is.
fn machine() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let kilobytes: u64 = memory.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0);
    Machine {
        processor: field(&read("/proc/cpuinfo"), "model name"),
        processors: freeway::allowed_cpus().map_or(0, |cpus| cpus.len()),
        memory_bytes: kilobytes * 1024,
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        ..Machine::default()
    }
}
