//! Requests of Linux clients over a veth pair: answered by Freeway over AF_XDP, and by Linux's own TCP in the same run.
//!
//! ```text
//!   ┌─ client, one processor ─┐        ┌─ server, another processor ──────────────────┐
//!   │ epoll load ── c0 ═════════ veth ═══ s0 ──┬─ XDP ── freeway serve                │
//!   │                         │        │       └─ Linux's TCP ── an echo server on epoll
//!   └─────────────────────────┘        └──────────────────────────────────────────────┘
//! ```
//!
//! The figure is requests a second of the server's processor: answers, by the time that it did anything at all.
//!
//! A veth runs the receiving end on the sender's processor, so the server pays for the client's reception and the
//! client for the server's. `--place client` moves the client's reception to the client's processor, by RPS; `apart` moves
//! the server's too (RPS, or a thread for NAPI where a program runs in the driver), as it would be on two machines.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{Parser, Subcommand};
use freeway_bench::CoreTime;
use freeway_bench::placing::{Place, own_thread, pin, steer, write};
use freeway_interop::pair::{CLIENT, Pair, SERVER};
use freeway_interop::server::Server;
use freeway_loadgen::{
    Arrivals, Cause, Echo, Gauge, KernelLoad, KernelServer, KernelService, LoadConfig, Percentiles, Rate,
    Requests, Work,
};
use serde_json::json;

/// Requests of Linux clients over a veth pair, to Freeway and to Linux. Needs root: it works in namespaces of its own.
///
/// Example: cargo run --release -p freeway-bench --bin veth -- --runs 3
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    end: Option<End>,
    #[command(flatten)]
    plan: Plan,
}

#[derive(Clone, Debug, clap::Args)]
struct Plan {
    /// The processors of the server and of the client.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 0])]
    cpus: Vec<usize>,
    /// Connections.
    #[arg(long, default_value_t = 100)]
    connections: u32,
    /// Bytes of a request.
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Runs of all servers in turn, of which the medians count.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// How Freeway rests, one server for each.
    #[arg(long, value_delimiter = ',', default_value = "sleep,spin")]
    idle: Vec<String>,
    /// Settings of Freeway's device, one server for each: such as busy-poll=20; - for none.
    #[arg(long, value_delimiter = ' ', default_value = "-")]
    settings: Vec<String>,
    /// Where packets are received.
    #[arg(long, value_delimiter = ',', default_value = "linux,client,apart")]
    place: Vec<Place>,
    /// The open loop's rate [default: half of what Linux answers in the closed one]
    #[arg(long)]
    rate: Option<f64>,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// What the benchmark starts itself as.
#[derive(Clone, Debug, Subcommand)]
enum End {
    /// Linux's echo server, until its standard input ends.
    #[command(hide = true)]
    Serve { address: SocketAddr, cpu: usize },
}

/// Who answers.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Contender {
    Linux,
    Freeway { idle: String, settings: String },
}

impl Contender {
    fn name(&self) -> String {
        match self {
            Self::Linux => "linux".to_owned(),
            Self::Freeway { idle, settings } if settings == "-" => format!("freeway {idle}"),
            Self::Freeway { idle, settings } => format!("freeway {idle} {settings}"),
        }
    }
}

/// A server that runs, whichever.
enum Running {
    Linux(Child),
    Freeway(Server),
}

/// One measurement.
#[derive(Clone, Debug)]
struct Sample {
    answered: u64,
    /// For how long, in seconds.
    seconds: f64,
    latency_us: Percentiles,
    /// Of the server's processor, and of the client's.
    server: CoreTime,
    client: CoreTime,
}

impl Sample {
    fn per_cpu_second(&self) -> f64 {
        self.answered as f64 / self.server.busy().max(0.01)
    }

    /// Answers a second.
    fn rate(&self) -> f64 {
        self.answered as f64 / self.seconds
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "requests_per_s": self.rate(),
            "requests_per_server_cpu_s": self.per_cpu_second(),
            "server_busy": self.server.busy() / self.seconds,
            "server_user_s": self.server.user, "server_system_s": self.server.system,
            "server_interrupts_s": self.server.interrupts, "server_niced_s": self.server.nice,
            "client_busy": self.client.busy() / self.seconds,
            "latency_us": {
                "p50": self.latency_us.p50, "p99": self.latency_us.p99,
                "p999": self.latency_us.p999, "max": self.latency_us.max,
            },
        })
    }
}

fn main() -> Result<()> {
    let Args { end, plan } = Args::parse();
    match end {
        Some(End::Serve { address, cpu }) => be_linux(address, cpu),
        None => measure(&plan),
    }
}

fn measure(plan: &Plan) -> Result<()> {
    ensure!(plan.cpus.len() == 2, "--cpus takes two processors");
    ensure!(plan.runs > 0 && plan.connections > 0 && plan.size > 0, "nothing to measure");
    let mut contenders = vec![Contender::Linux];
    for settings in &plan.settings {
        let freeway = |idle: &String| Contender::Freeway { idle: idle.clone(), settings: settings.clone() };
        contenders.extend(plan.idle.iter().map(freeway));
    }
    let mut report = Vec::new();
    for &place in &plan.place {
        let mut samples: Vec<Vec<[Sample; 2]>> = vec![Vec::new(); contenders.len()];
        let mut rate = plan.rate;
        for _ in 0..plan.runs {
            for (contender, samples) in contenders.iter().zip(&mut samples) {
                let both = one(plan, contender, place, rate)
                    .with_context(|| format!("{}, {place:?}", contender.name()))?;
                // Linux comes first, and half of its rate is everybody's.
                rate = rate.or(Some(both[0].rate() / 2.0));
                samples.push(both);
            }
        }
        report.push((place, samples));
    }
    if plan.json {
        println!("{:#}", as_json(plan, &contenders, &report));
    } else {
        print(plan, &contenders, &report);
    }
    Ok(())
}

/// Closed loop, then open loop.
fn one(plan: &Plan, contender: &Contender, place: Place, rate: Option<f64>) -> Result<[Sample; 2]> {
    let Some(pair) = Pair::lay("veth benchmark", 1, 1_500)? else { bail!("this benchmark cannot run here") };
    let running = start(plan, contender, &pair)?;
    match place {
        Place::Linux => {}
        Place::Client => steer(&pair.client, CLIENT, plan.cpus[1])?,
        Place::Apart => {
            steer(&pair.client, CLIENT, plan.cpus[1])?;
            apart(plan, contender, &pair)?;
        }
    }
    let config = LoadConfig::new("198.18.0.2:7".parse()?, plan.connections);
    let cpu = plan.cpus[1];
    let samples = pair.client.enter(|| -> Result<[Sample; 2]> {
        pin(cpu)?;
        let (gauge, over) = (Gauge::default(), AtomicBool::new(false));
        let mut load = KernelLoad::new(&config, Echo::new(plan.size), gauge.clone())?;
        thread::scope(|scope| {
            let samples = scope.spawn(|| {
                let samples = conduct(plan, rate, &gauge);
                over.store(true, Ordering::Relaxed);
                samples
            });
            load.run(&over)?;
            samples.join().map_err(|_| anyhow!("whoever conducts the load panicked"))?
        })
    })??;
    match running {
        Running::Freeway(server) => server.stop()?,
        Running::Linux(mut child) => {
            // Its standard input ends with this.
            drop(child.stdin.take());
            ensure!(child.wait()?.success(), "Linux's echo server failed");
        }
    }
    Ok(samples)
}

/// Has the load connect, and do its two rounds.
fn conduct(plan: &Plan, rate: Option<f64>, gauge: &Gauge) -> Result<[Sample; 2]> {
    gauge.hold(plan.connections);
    // The server may not listen yet.
    let begun = Instant::now();
    while gauge.read().open < u64::from(plan.connections) {
        ensure!(begun.elapsed() < Duration::from_secs(5), "only {} connections opened", gauge.read().open);
        sleep(Duration::from_millis(5));
    }
    let closed = sample(plan, gauge, Cause::SameAnswered)?;
    let rate = Rate { per_second: rate.unwrap_or(closed.rate() / 2.0), arrivals: Arrivals::Constant };
    let open = sample(plan, gauge, Cause::Time(rate))?;
    Ok([closed, open])
}

fn sample(plan: &Plan, gauge: &Gauge, cause: Cause) -> Result<Sample> {
    let times =
        || -> Result<[CoreTime; 2]> { Ok([CoreTime::of(plan.cpus[0])?, CoreTime::of(plan.cpus[1])?]) };
    gauge.order(Work::Requests(Requests { among: plan.connections, cause }));
    sleep(Duration::from_millis(300));
    latencies(gauge)?;
    let (begun, before, answered) = (Instant::now(), times()?, gauge.read().answered);
    sleep(Duration::from_secs_f64(plan.seconds));
    let answered = gauge.read().answered - answered;
    let (seconds, after) = (begun.elapsed().as_secs_f64(), times()?);
    Ok(Sample {
        answered,
        seconds,
        latency_us: latencies(gauge)?,
        server: after[0].since(before[0]),
        client: after[1].since(before[1]),
    })
}

/// The latencies since they were last asked for.
fn latencies(gauge: &Gauge) -> Result<Percentiles> {
    gauge.ask_latencies();
    let begun = Instant::now();
    loop {
        if let Some(latencies) = gauge.latencies() {
            return Ok(latencies.percentiles());
        }
        ensure!(begun.elapsed() < Duration::from_secs(5), "the load stands still");
        sleep(Duration::from_millis(1));
    }
}

fn start(plan: &Plan, contender: &Contender, pair: &Pair) -> Result<Running> {
    let cpu = plan.cpus[0].to_string();
    match contender {
        Contender::Linux => {
            pair.share()?;
            let mut command = pair.host.command(std::env::current_exe()?);
            command.args(["serve", "198.18.0.2:7", &cpu]);
            Ok(Running::Linux(command.stdin(Stdio::piped()).spawn().context("this program again")?))
        }
        Contender::Freeway { idle, settings } => {
            let settings = if settings == "-" { String::new() } else { format!(",{settings}") };
            let device = format!("afxdp:{SERVER}{settings}");
            let more = ["--cores", &cpu, "--idle", idle, "--http", "0", "--discard", "0", "--chargen", "0"];
            if settings.contains("busy-poll") {
                // Interrupts stay off while the core polls, and for so long after.
                let folder = format!("/sys/class/net/{SERVER}");
                write(&pair.host, &format!("{folder}/napi_defer_hard_irqs"), "2")?;
                write(&pair.host, &format!("{folder}/gro_flush_timeout"), "200000")?;
            }
            Ok(Running::Freeway(pair.serve(&device, &more)?))
        }
    }
}

/// Moves the server's reception to its own processor.
fn apart(plan: &Plan, contender: &Contender, pair: &Pair) -> Result<()> {
    match contender {
        Contender::Linux => steer(&pair.host, SERVER, plan.cpus[0]),
        // The core itself receives.
        Contender::Freeway { settings, .. } if settings.contains("busy-poll") => Ok(()),
        Contender::Freeway { .. } => own_thread(&pair.host, SERVER, plan.cpus[0]),
    }
}

/// Linux's server, in a process of its own.
fn be_linux(address: SocketAddr, cpu: usize) -> Result<()> {
    let mut server = KernelServer::new(&[(address.port(), KernelService::Echo)], Some(address.ip()))?;
    let over = std::sync::Arc::new(AtomicBool::new(false));
    let told = std::sync::Arc::clone(&over);
    thread::spawn(move || {
        // Whatever ends it.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        told.store(true, Ordering::Relaxed);
    });
    pin(cpu)?;
    Ok(server.run(&over)?)
}

type Report = Vec<(Place, Vec<Vec<[Sample; 2]>>)>;

/// The middle one of the runs by what counts: requests by the server's processor time.
fn median(samples: &[[Sample; 2]], which: usize) -> &Sample {
    let mut order: Vec<&Sample> = samples.iter().map(|both| &both[which]).collect();
    order.sort_by(|a, b| a.per_cpu_second().total_cmp(&b.per_cpu_second()));
    order[order.len() / 2]
}

/// The median of each run's ratio to Linux's in the same run.
fn ratio(samples: &[[Sample; 2]], linux: &[[Sample; 2]], which: usize) -> f64 {
    let of = |(ours, theirs): (&[Sample; 2], &[Sample; 2])| {
        ours[which].per_cpu_second() / theirs[which].per_cpu_second()
    };
    let mut ratios: Vec<f64> = samples.iter().zip(linux).map(of).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

fn print(plan: &Plan, contenders: &[Contender], report: &Report) {
    println!(
        "{}-byte requests on {} connections, server on processor {}, client on {}; medians of {} runs",
        plan.size, plan.connections, plan.cpus[0], plan.cpus[1], plan.runs
    );
    for (place, samples) in report {
        println!("\n{}", place.meaning());
        println!(
            "{:<28} {:>9} {:>6} {:>6} {:>10} {:>6} | {:>9} {:>6} {:>10} {:>6} {:>7} {:>8} {:>8}",
            "",
            "closed/s",
            "server",
            "client",
            "per cpu s",
            "ratio",
            "open/s",
            "server",
            "per cpu s",
            "ratio",
            "p50 us",
            "p99 us",
            "p99.9 us"
        );
        let linux = &samples[0];
        for (contender, samples) in contenders.iter().zip(samples) {
            let [closed, open] = [0, 1].map(|which| median(samples, which));
            let busy =
                |time: CoreTime, sample: &Sample| format!("{:.0}%", 100.0 * time.busy() / sample.seconds);
            println!(
                "{:<28} {:>9.0} {:>6} {:>6} {:>10.0} {:>6.2} | {:>9.0} {:>6} {:>10.0} {:>6.2} {:>7.1} {:>8.1} {:>8.1}",
                contender.name(),
                closed.rate(),
                busy(closed.server, closed),
                busy(closed.client, closed),
                closed.per_cpu_second(),
                ratio(samples, linux, 0),
                open.rate(),
                busy(open.server, open),
                open.per_cpu_second(),
                ratio(samples, linux, 1),
                open.latency_us.p50,
                open.latency_us.p99,
                open.latency_us.p999,
            );
        }
    }
}

fn as_json(plan: &Plan, contenders: &[Contender], report: &Report) -> serde_json::Value {
    let places: Vec<_> = report
        .iter()
        .map(|(place, samples)| {
            let linux = &samples[0];
            let servers: Vec<_> = contenders
                .iter()
                .zip(samples)
                .map(|(contender, runs)| {
                    let all = |which: usize| runs.iter().map(|both| both[which].json()).collect::<Vec<_>>();
                    json!({
                        "server": contender.name(), "closed": all(0), "open": all(1),
                        "ratio_closed": ratio(runs, linux, 0), "ratio_open": ratio(runs, linux, 1),
                    })
                })
                .collect();
            json!({ "place": format!("{place:?}").to_lowercase(), "servers": servers })
        })
        .collect();
    json!({ "connections": plan.connections, "size_bytes": plan.size, "places": places })
}
