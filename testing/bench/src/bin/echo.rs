//! TCP echo over the pipe: requests a second on the server's core, and where its cycles go.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use clap::Parser;
use freeway::tcp::Config;
use freeway::{CoreStats, Stage};
use freeway_bench::{EchoServer, Watching};
use freeway_loadgen::{Cause, Echo, Gauge, Load, LoadConfig, Pair, PairError, PairSize, Requests, Work};

/// TCP echo over the in-process pipe, one core each side.
///
/// Example: cargo run --release -p freeway-bench --bin echo -- --connections 1000000 --random
#[derive(Debug, Parser)]
struct Args {
    /// Connections to hold.
    #[arg(long, default_value_t = 1_000)]
    connections: u32,
    /// Requests under way at once, on the first connections unless they are drawn at random.
    #[arg(long, default_value_t = 1_000)]
    in_flight: u32,
    /// Bytes of a request.
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Draw the connection of each request at random from all.
    #[arg(long)]
    random: bool,
    /// The client acknowledges every segment at once, instead of waiting for its own next request.
    #[arg(long)]
    ack_at_once: bool,
    /// Measured runs, of which the median counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Seconds a run.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// After each run, another with everything looking at the server: figures every second, a capture that takes no frame.
    /// The ratio of the medians is what observation costs.
    #[arg(long)]
    watched: bool,
    /// The same, and every socket shown over and over.
    #[arg(long)]
    listed: bool,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// What one run measured on the server's core.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    requests_per_s: f64,
    /// Cycles a frame, in or out, by stage.
    cycles: [f64; Stage::COUNT],
    /// Frames a burst.
    burst: f64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let size = PairSize {
        connections: args.connections,
        buffers: 32_768,
        sources: args.connections.div_ceil(30_000),
    };
    let load = LoadConfig {
        sources: size.sources(),
        tcp: Config {
            delayed_ack: if args.ack_at_once { None } else { Config::default().delayed_ack },
            ..Config::default()
        },
        ..LoadConfig::new(SocketAddr::new(Pair::SERVER, 7), args.connections)
    };
    let in_flight = args.in_flight.min(args.connections);
    let requests = if args.random {
        Requests { among: args.connections, cause: Cause::AnyAnswered(in_flight) }
    } else {
        Requests { among: in_flight, cause: Cause::SameAnswered }
    };
    let gauge = Gauge::default();
    gauge.hold(args.connections);
    let server = EchoServer::new(7);
    let begun = Instant::now();
    let load = Load::new(&load, Echo::new(args.size), gauge.clone());
    let pair = Pair::start(size, server, load).map_err(plain)?;
    let laid_out = begun.elapsed();
    while gauge.read().open < u64::from(args.connections) {
        ensure!(gauge.read().failed == 0, "{} connections failed", gauge.read().failed);
        ensure!(begun.elapsed() < Duration::from_secs(120), "only {} connections opened", gauge.read().open);
        sleep(Duration::from_millis(5));
    }
    let ramp = (begun.elapsed() - laid_out).as_secs_f64();
    gauge.order(Work::Requests(requests));
    sleep(Duration::from_millis(500));
    let (mut runs, mut watched, mut rows) = (Vec::new(), Vec::new(), 0);
    for _ in 0..args.runs.max(1) {
        runs.push(measure(&pair, &gauge, args.seconds)?);
        if args.watched || args.listed {
            let watching = Watching::start(pair.server_observer(), args.listed)?;
            watched.push(measure(&pair, &gauge, args.seconds)?);
            rows += watching.rows();
        }
    }
    let failed = gauge.read().failed;
    ensure!(failed == 0, "{failed} connections failed");
    let alone = median(&mut runs).requests_per_s;
    report(&args, ramp, runs);
    if !watched.is_empty() {
        let seen = median(&mut watched).requests_per_s;
        let rates =
            |runs: &[Run]| runs.iter().map(|run| format!("{:.0}", run.requests_per_s)).collect::<Vec<_>>();
        eprintln!(
            "watched         {seen:.0} requests/s: {:.4} of the rate alone ({})",
            seen / alone,
            rates(&watched).join(" ")
        );
        if args.listed {
            eprintln!("sockets shown   {:.0} a second", rows as f64 / (args.seconds * watched.len() as f64));
        }
    }
    pair.stop().map_err(plain)?;
    Ok(())
}

fn plain(error: PairError) -> anyhow::Error {
    anyhow!(error)
}

fn measure(pair: &Pair, gauge: &Gauge, seconds: f64) -> Result<Run> {
    let (before, answered) = (server(pair)?, gauge.read().answered);
    let begun = Instant::now();
    sleep(Duration::from_secs_f64(seconds));
    let requests = gauge.read().answered - answered;
    let elapsed = begun.elapsed().as_secs_f64();
    let after = server(pair)?;
    let count = |name| after.get("turns", name).unwrap_or(0) - before.get("turns", name).unwrap_or(0);
    let frames = (count("rx_frames") + count("tx_frames")).max(1) as f64;
    let mut run = Run { requests_per_s: requests as f64 / elapsed, ..Run::default() };
    for stage in Stage::ALL {
        run.cycles[stage as usize] = (after.stages.of(stage) - before.stages.of(stage)) as f64 / frames;
    }
    let bursts = (after.bursts.total() - before.bursts.total()).max(1) as f64;
    run.burst = (after.bursts.frames() - before.bursts.frames()) as f64 / bursts;
    Ok(run)
}

fn server(pair: &Pair) -> Result<CoreStats> {
    pair.stats().map(|(server, _)| server).map_err(plain)
}

/// The run in the middle; they are put in order.
fn median(runs: &mut [Run]) -> Run {
    runs.sort_by(|a, b| a.requests_per_s.total_cmp(&b.requests_per_s));
    runs.get(runs.len() / 2).copied().unwrap_or_default()
}

fn report(args: &Args, ramp: f64, mut runs: Vec<Run>) {
    let median = median(&mut runs);
    let (low, high) = (runs[0].requests_per_s, runs[runs.len() - 1].requests_per_s);
    let total: f64 = median.cycles.iter().sum();
    if args.json {
        let cycles: serde_json::Map<_, _> = Stage::ALL
            .iter()
            .map(|&stage| (format!("{}_cycles", stage.name()), median.cycles[stage as usize].into()))
            .collect();
        let report = serde_json::json!({
            "connections": args.connections, "random": args.random, "size_bytes": args.size,
            "ramp_s": ramp, "requests_per_s": median.requests_per_s,
            "requests_per_s_min": low, "requests_per_s_max": high,
            "frames_per_burst": median.burst, "cycles_per_frame": cycles, "total_cycles": total,
        });
        println!("{report}");
        return;
    }
    let order = if args.random { "drawn at random" } else { "in turn" };
    println!(
        "{} connections opened in {ramp:.2} s; {}-byte requests on them {order}",
        args.connections, args.size
    );
    println!(
        "requests/s      {:.0} (median of {}; {low:.0} to {high:.0})",
        median.requests_per_s,
        runs.len()
    );
    println!("frames a burst  {:.1}", median.burst);
    print!("cycles a frame  {total:.0}:");
    for stage in Stage::ALL {
        print!("  {} {:.0}", stage.name(), median.cycles[stage as usize]);
    }
    println!();
}
