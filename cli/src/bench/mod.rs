//! `freeway bench`: a load on any server, on Freeway's own stack or on Linux's sockets, measured by one tool.

mod client;
mod figures;
mod target;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use freeway::Seed;
use freeway_loadgen::{
    Arrivals, Cache, CacheConfig, Cause, Echo, Form, Gauge, Http, Latencies, LoadConfig, Protocol, Rate,
    Reading, Requests, Subscribe, Work,
};

use crate::c10m::{cpu_seconds, number, progress};
use crate::device::Cidr;
use client::{Client, Plan, Via};
use figures::Figures;
use target::{Proto, Target, span};

/// Loads a server and measures it: an open loop (--rate), in which latency counts from the time a request was meant to be
/// sent, or a closed one.
///
/// Example: freeway bench cache://198.18.0.2:11211 --via memif:/run/fw.sock,role=client --addr 198.18.0.3/24 --rate 500000
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// PROTO://HOST:PORT; PROTO is cache, cacheu (UDP), http (with a path), events or ws (with a path: connections that
    /// hear what is posted to --publish), echo, udp (echo), connect (open, one echoed request, close), bulk (upload) or
    /// source (download).
    target: Target,
    /// What carries the load: kernel for Linux's sockets, or a device for Freeway's stack, as --dev of `freeway serve`.
    #[arg(long, default_value = "kernel", value_name = "DEV")]
    via: Via,
    /// An address to ask from, with its subnet's prefix; repeatable.
    #[arg(long, value_name = "CIDR")]
    addr: Vec<Cidr>,
    /// Consecutive addresses to ask from, from each --addr on [default: as many as the connections need].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    sources: Option<u32>,
    /// A router for all other networks.
    #[arg(long, value_name = "ADDR")]
    gateway: Option<IpAddr>,
    /// The processor to run on.
    #[arg(long, value_name = "CPU")]
    core: Option<usize>,
    /// Connections that are held; UDP sockets with udp and cacheu; under way at once with connect.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    connections: u32,
    /// Opens a second, at most, while connections are opened [default: as fast as they are answered].
    #[arg(long, value_name = "PER_SECOND")]
    open_rate: Option<f64>,
    /// Requests a second, sent whether or not answers come.
    #[arg(long, value_name = "PER_SECOND", conflicts_with = "closed")]
    rate: Option<f64>,
    /// How requests of --rate are spread: poisson or constant.
    #[arg(long, default_value = "poisson", value_name = "KIND")]
    arrivals: Spread,
    /// Sends a request when one is answered: the default without --rate.
    #[arg(long)]
    closed: bool,
    /// Requests under way on a connection [default: 1; an open loop's connections take what it needs].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    depth: Option<u32>,
    /// Requests under way over all connections, each on one drawn at random, instead of one on each; with udp and
    /// cacheu, datagrams under way.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    in_flight: Option<u32>,
    /// How long to measure.
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = span)]
    duration: Duration,
    /// How long to work before measuring.
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = span)]
    warm_up: Duration,
    /// Keys of a cache; all are set before anything is measured, unless only sets are.
    #[arg(long, default_value_t = 100_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=99_999_999))]
    keys: u32,
    /// Bytes of a cache's value [default: 32], of an echoed request [default: 64], or of a message to subscribers
    /// [default: 100].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    value_size: Option<u32>,
    /// Which part of a cache's requests are sets, 0 to 1.
    #[arg(long, default_value_t = 0.0, value_name = "R")]
    set_ratio: f64,
    /// Keys of one get.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    multiget: u32,
    /// Opens connections and holds them; requests trickle over them only with --rate.
    #[arg(long)]
    hold: bool,
    /// A connection for each request of http, --connections under way at once.
    #[arg(long, conflicts_with = "hold")]
    reconnect: bool,
    /// Where messages to subscribers of events and ws are posted: one when all have heard the one before, at most --rate a
    /// second [default: 1]. Latencies are from the one to each of the others.
    #[arg(long, default_value = "/publish", value_name = "PATH")]
    publish: String,
    /// Packet buffers of the client's stack.
    #[arg(long, default_value_t = 16_384, value_name = "N", value_parser = clap::value_parser!(u32).range(256..=8_000_000))]
    buffers: u32,
    /// Write the figures as JSON to this file; - for standard output, instead of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// How requests are spread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Spread {
    Poisson,
    Constant,
}

/// Connections for each address to ask from, if it is not said.
const PER_SOURCE: u32 = 48_000;
/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// Datagrams under way if it is not said.
const DATAGRAMS: u32 = 256;
/// Connections that come and go, at most, beside those that are held.
const OTHERS: u32 = 16_384;
/// Requests under way on a connection of an open loop, if it is not said and there are few connections.
const OPEN_DEPTH: u32 = 64;

pub(crate) fn run(args: &Args) -> Result<()> {
    let Target { proto, server, host, path } = &args.target;
    ensure!((0.0..=1.0).contains(&args.set_ratio), "--set-ratio is a part of all requests: 0 to 1");
    ensure!(args.rate.is_none_or(|rate| rate > 0.0), "--rate 0 asks nothing: leave it out");
    ensure!(!args.hold || proto.holds(), "--hold is for cache, http and echo, whose connections stay");
    ensure!(!args.reconnect || *proto == Proto::Http, "--reconnect is for http");
    ensure!(
        !proto.hears() || args.via != Via::Kernel,
        "{} needs --via with a device: Linux's sockets do not tell who has heard",
        proto.name()
    );
    ensure!(
        !proto.is_udp() || args.connections <= 1_024,
        "--connections {}: at most 1,024 UDP sockets",
        args.connections
    );
    // TCP answers in order, so an open loop on few connections needs room for several on each.
    let depth = args.depth.unwrap_or_else(|| match args.rate {
        Some(_) if proto.holds() && args.connections <= 100_000 => OPEN_DEPTH,
        _ => 1,
    });
    let config = LoadConfig {
        depth,
        open_rate: args.open_rate,
        connections: if proto.holds() && !args.reconnect { args.connections } else { 0 },
        sockets: if proto.is_udp() { args.connections } else { 0 },
        ..LoadConfig::new(*server, 0)
    };
    let gauge = Gauge::default();
    let seed = Seed(1);
    let cache = CacheConfig {
        keys: args.keys,
        value_size: args.value_size.unwrap_or(32),
        set_ratio: args.set_ratio,
        multiget: args.multiget,
    };
    let figures = match proto {
        Proto::Cache | Proto::CacheUdp if args.set_ratio < 1.0 && !args.hold => {
            measure(args, config, Cache::new(cache, seed), &gauge, u64::from(args.keys))
        }
        Proto::Cache | Proto::CacheUdp => measure(args, config, Cache::filled(cache, seed), &gauge, 0),
        Proto::Http => measure(args, config, Http::new(path, host), &gauge, 0),
        Proto::Events | Proto::Socket => {
            let form = if *proto == Proto::Events { Form::Events } else { Form::Socket };
            let size = args.value_size.unwrap_or(100) as usize;
            measure(args, config, Subscribe::new(form, path, &args.publish, host, size), &gauge, 0)
        }
        Proto::Echo | Proto::Udp | Proto::Connect | Proto::Bulk | Proto::Source => {
            let size = args.value_size.unwrap_or(64) as usize;
            measure(args, config, Echo::new(size), &gauge, 0)
        }
    }?;
    let json = serde_json::to_string_pretty(&figures)?;
    match &args.json {
        Some(path) if path == Path::new("-") => println!("{json}"),
        Some(path) => {
            print!("{}", figures.table());
            fs::write(path, json + "\n").with_context(|| format!("{} cannot be written", path.display()))?;
        }
        None => print!("{}", figures.table()),
    }
    Ok(())
}

/// What the load does while it is measured.
fn work(args: &Args) -> Work {
    let proto = args.target.proto;
    let arrivals = if args.arrivals == Spread::Poisson { Arrivals::Poisson } else { Arrivals::Constant };
    let rate = args.rate.map(|per_second| Rate { per_second, arrivals });
    let among = args.connections;
    match proto {
        Proto::Http if args.reconnect => Work::Churn { under_way: args.connections.min(OTHERS), rate },
        Proto::Events | Proto::Socket => {
            let slow = Rate { per_second: 1.0, arrivals: Arrivals::Constant };
            Work::Churn { under_way: 1, rate: Some(rate.unwrap_or(slow)) }
        }
        Proto::Connect => Work::Churn { under_way: args.connections.min(OTHERS), rate },
        Proto::Bulk => Work::Upload { connections: args.connections },
        Proto::Source => Work::Download { connections: args.connections },
        // An open loop may have as many under way as there are ids.
        Proto::Udp | Proto::CacheUdp => Work::Datagrams {
            in_flight: args.in_flight.unwrap_or(if rate.is_some() { 65_536 } else { DATAGRAMS }),
            rate,
        },
        Proto::Cache | Proto::Http | Proto::Echo => match (rate, args.hold, args.in_flight) {
            (Some(rate), ..) => Work::Requests(Requests { among, cause: Cause::Time(rate) }),
            (None, true, _) => Work::Hold,
            (None, false, Some(in_flight)) => {
                Work::Requests(Requests { among, cause: Cause::AnyAnswered(in_flight.min(among)) })
            }
            (None, false, None) => Work::Requests(Requests { among, cause: Cause::SameAnswered }),
        },
    }
}

/// One moment of a run.
struct Mark {
    at: Instant,
    reading: Reading,
    cpu_s: f64,
    retransmitted: u64,
}

impl Mark {
    fn take(client: &Client, gauge: &Gauge) -> Self {
        Self {
            at: Instant::now(),
            reading: gauge.read(),
            cpu_s: cpu_seconds(),
            retransmitted: client.retransmitted(),
        }
    }
}

fn measure<P: Protocol + Send + 'static>(
    args: &Args,
    config: LoadConfig,
    protocol: P,
    gauge: &Gauge,
    to_fill: u64,
) -> Result<Figures> {
    let proto = args.target.proto;
    let plan = Plan {
        via: &args.via,
        addresses: &args.addr,
        sources: args.sources.unwrap_or_else(|| config.connections.div_ceil(PER_SOURCE).max(1)),
        core: args.core,
        buffers: args.buffers,
        others: if config.connections > 0 || proto.is_udp() { 64 } else { OTHERS + args.connections },
        gateway: args.gateway,
    };
    let connections = config.connections;
    let client = Client::start(&plan, config, protocol, gauge.clone())?;
    let is_held = connections > 0;
    let opened_per_s = if is_held { ramp(args, &client, gauge)? } else { 0.0 };
    if proto.hears() {
        subscribe(&client, gauge, connections)?;
    }
    if to_fill > 0 {
        fill(args, &client, gauge, to_fill)?;
    }
    gauge.order(work(args));
    sleep(args.warm_up);
    client.check()?;
    latencies(gauge)?;
    let dropped_before = client.drops();
    let before = Mark::take(&client, gauge);
    let mut last = (before.at, before.reading);
    while before.at.elapsed() < args.duration {
        sleep((args.duration - before.at.elapsed().min(args.duration)).min(Duration::from_secs(1)));
        client.check()?;
        let now = (Instant::now(), gauge.read());
        let done = now.1.since(last.1);
        let seconds = now.0.duration_since(last.0).as_secs_f64();
        progress(&format!(
            "{:.0} of {:.0} s: {} requests/s, {} Gbit/s in, {} out, {} errors",
            before.at.elapsed().as_secs_f64(),
            args.duration.as_secs_f64(),
            number(done.answered as f64 / seconds),
            number(done.bytes_in as f64 * 8e-9 / seconds),
            number(done.bytes_out as f64 * 8e-9 / seconds),
            now.1.since(before.reading).failed
        ));
        last = now;
    }
    let after = Mark::take(&client, gauge);
    let found = latencies(gauge)?.percentiles();
    progress("");
    let of =
        |name: &str| dropped_before.iter().find(|(known, _)| known == name).map_or(0, |&(_, count)| count);
    let drops = client.drops().into_iter().map(|(name, count)| (of(&name), name, count));
    let drops: Vec<_> = drops
        .filter(|(before, _, count)| count > before)
        .map(|(before, name, count)| (name, count - before))
        .collect();
    if !drops.is_empty() {
        eprintln!("freeway: the client's own stack dropped: {drops:?}");
    }
    let seconds = after.at.duration_since(before.at).as_secs_f64();
    let done = after.reading.since(before.reading);
    let per_s = |count: u64| count as f64 / seconds;
    Ok(Figures {
        target: format!("{}://{}", proto.name(), args.target.server),
        via: match &args.via {
            Via::Kernel => "kernel".to_owned(),
            Via::Device(device) => device.to_string(),
        },
        connections: if is_held { after.reading.open } else { u64::from(args.connections) },
        connects_per_s: if is_held { opened_per_s } else { per_s(done.cycles) },
        requests_per_s: per_s(done.answered),
        values_per_s: per_s(done.values),
        bytes_in_per_s: per_s(done.bytes_in),
        bytes_out_per_s: per_s(done.bytes_out),
        latency_us: found.into(),
        errors: done.failed + done.wrong,
        timeouts: done.timeouts,
        retransmits: after.retransmitted - before.retransmitted,
        duration_s: seconds,
        client_cpu_s: after.cpu_s - before.cpu_s,
        open_loop: args.rate.is_some(),
        offered_per_s: args.rate.unwrap_or_default(),
    })
}

/// The latencies since they were last taken.
fn latencies(gauge: &Gauge) -> Result<Latencies> {
    gauge.ask_latencies();
    let begun = Instant::now();
    loop {
        if let Some(latencies) = gauge.latencies() {
            return Ok(latencies);
        }
        ensure!(begun.elapsed() < PATIENCE, "the load does not answer");
        sleep(Duration::from_millis(1));
    }
}

/// Opens the connections; returns how many a second.
fn ramp(args: &Args, client: &Client, gauge: &Gauge) -> Result<f64> {
    let wanted = u64::from(args.connections);
    gauge.hold(args.connections);
    let begun = Instant::now();
    let (mut last, mut moved) = (0, begun);
    loop {
        let Reading { open, failed, .. } = gauge.read();
        if open >= wanted {
            break;
        }
        if open > last {
            (last, moved) = (open, Instant::now());
        }
        if moved.elapsed() > PATIENCE || (open == 0 && failed > 1_000) {
            bail!(
                "only {open} of {wanted} connections opened, {failed} failed: is {} served?",
                args.target.server
            );
        }
        client.check()?;
        progress(&format!("connections: {} of {}", number(open as f64), number(wanted as f64)));
        sleep(Duration::from_millis(5));
    }
    progress("");
    Ok(wanted as f64 / begun.elapsed().as_secs_f64())
}

/// Asks on every connection once, and waits for the answers.
fn subscribe(client: &Client, gauge: &Gauge, connections: u32) -> Result<()> {
    /// Subscriptions under way at once.
    const IN_FLIGHT: u32 = 1_024;
    let first = gauge.read();
    gauge.order(Work::Sweep { in_flight: IN_FLIGHT });
    let (mut last, mut moved) = (0, Instant::now());
    loop {
        let Reading { answered, wrong, .. } = gauge.read().since(first);
        ensure!(wrong == 0, "{wrong} subscriptions were refused");
        if answered >= u64::from(connections) {
            progress("");
            return Ok(());
        }
        if answered > last {
            (last, moved) = (answered, Instant::now());
        }
        ensure!(moved.elapsed() < PATIENCE, "only {answered} of {connections} subscriptions were answered");
        client.check()?;
        progress(&format!("subscriptions: {} of {}", number(answered as f64), number(connections.into())));
        sleep(Duration::from_millis(20));
    }
}

/// Sets every key of a cache.
fn fill(args: &Args, client: &Client, gauge: &Gauge, keys: u64) -> Result<()> {
    let work = if args.target.proto.is_udp() {
        Work::Datagrams { in_flight: args.in_flight.unwrap_or(DATAGRAMS), rate: None }
    } else {
        Work::Requests(Requests { among: args.connections, cause: Cause::SameAnswered })
    };
    let first = gauge.read();
    gauge.order(work);
    let (mut last, mut moved) = (0, Instant::now());
    loop {
        let done = gauge.read().since(first);
        // A set that got lost leaves its key out: the share of values found shows it.
        let set = done.answered + done.timeouts;
        if set >= keys {
            progress("");
            return Ok(());
        }
        if set > last {
            (last, moved) = (set, Instant::now());
        }
        ensure!(moved.elapsed() < PATIENCE, "only {set} of {keys} keys could be set");
        client.check()?;
        progress(&format!("keys: {} of {}", number(set as f64), number(keys as f64)));
        sleep(Duration::from_millis(20));
    }
}
