//! One flow over one narrow link, looked at from time to time: where its goodput goes.

use anyhow::{Result, ensure};
use clap::Parser;
use freeway_base::{Duration, Seed};
use freeway_tcp::Config;
use freeway_tcp::congestion::Algorithm;

use crate::bottleneck::{Flow, Road, World};

/// Virtual time that no flow needs.
const LIMIT: Duration = Duration::from_secs(3_600);

/// The link and the flow.
#[derive(Clone, Debug, Parser)]
pub struct Args {
    /// The link's rate, in Mbit/s.
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// The round trip without queues, in milliseconds.
    #[arg(long, default_value_t = 40)]
    rtt: u64,
    /// The queue before the link, in bytes.
    #[arg(long, default_value_t = 256 * 1024)]
    queue: u64,
    /// The ratio of frames lost.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// The ratio of frames that others overtake.
    #[arg(long, default_value_t = 0.0)]
    reorder: f64,
    /// By how much, in milliseconds.
    #[arg(long, default_value_t = 2)]
    reorder_by: u64,
    /// What the flow carries, in bytes.
    #[arg(long, default_value_t = 25_000_000)]
    bytes: u64,
    /// Congestion control: cubic, newreno, dctcp.
    #[arg(long, default_value_t = Algorithm::Cubic)]
    congestion: Algorithm,
    /// Leaves HyStart++ out.
    #[arg(long)]
    no_hystart: bool,
    /// Paces segments.
    #[arg(long)]
    pacing: bool,
    /// The world's first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Worlds, each with the next seed: prints the mean, and no trace.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Between two lines, in milliseconds; 0 prints the end alone.
    #[arg(long, default_value_t = 40)]
    every: u64,
}

/// Sends the flow, and prints.
///
/// # Errors
///
/// When it does not arrive.
pub fn run(args: &Args) -> Result<()> {
    ensure!(args.rate > 0.0 && args.seeds > 0, "--rate and --seeds must be more than 0");
    let every = if args.seeds > 1 { 0 } else { args.every };
    let mut micros = 0;
    for seed in args.seed..args.seed.saturating_add(args.seeds) {
        micros += one(args, seed, every)?;
    }
    if args.seeds > 1 {
        println!("{:.2} Mbit/s", (args.bytes * args.seeds * 8) as f64 / micros.max(1) as f64);
    }
    Ok(())
}

/// How many microseconds it took.
fn one(args: &Args, seed: u64, every_ms: u64) -> Result<u64> {
    let mut road = Road::new((args.rate * 1e6) as u64, args.queue);
    road.loss_ratio = args.loss;
    road.reorder_ratio = args.reorder;
    road.reorder_delay = Duration::from_millis(args.reorder_by);
    let tcp = Config {
        congestion: args.congestion,
        hystart: !args.no_hystart,
        pacing: args.pacing,
        user_timeout: LIMIT,
        ..Config::default()
    };
    let round_trip = Duration::from_millis(args.rtt);
    let flow = Flow { tcp, round_trip, starts: Duration::ZERO, bytes: args.bytes };
    let mut world = World::new(road, &[flow], Seed(seed));
    let step = if every_ms == 0 { LIMIT } else { Duration::from_millis(every_ms) };
    if every_ms > 0 {
        println!(
            "{:>8} {:>8} {:>7} {:>7} {:>7} {:>6} {:>6} {:>7} {:>7} {:>6} {:>5} {:>5} {:>4}",
            "ms",
            "Mbit/s",
            "cwnd",
            "ssthr",
            "flight",
            "sacked",
            "lost",
            "window",
            "queued",
            "srtt",
            "again",
            "full",
            "rto"
        );
    }
    let mut before = 0;
    loop {
        let done = world.run_until(step, |world| world.delivered(0) >= args.bytes);
        let (sent, delivered) = (world.sent(), world.delivered(0));
        if let Some(info) = world.info(0).filter(|_| every_ms > 0) {
            let segments = |bytes: u32| bytes / u32::from(info.mss.max(1));
            println!(
                "{:>8.1} {:>8.2} {:>7} {:>7} {:>7} {:>6} {:>6} {:>7} {:>7} {:>6.1} {:>5} {:>5} {:>4}",
                world.age().as_micros() as f64 / 1e3,
                (delivered - before) as f64 * 8e-3 / every_ms as f64,
                segments(info.cwnd),
                segments(info.ssthresh),
                segments(info.in_flight),
                segments(info.sacked.unwrap_or(0)),
                segments(info.lost.unwrap_or(0)),
                segments(info.snd_wnd),
                segments(info.queued),
                info.srtt.unwrap_or(Duration::ZERO).as_micros() as f64 / 1e3,
                sent.retransmitted,
                world.overflowed(),
                sent.timeouts,
            );
        }
        before = delivered;
        if done {
            let micros = world.age().as_micros();
            println!(
                "seed {seed}: {:.2} Mbit/s in {:.3} s; {} of {} segments sent again, {} time-outs, {} found the queue full",
                (args.bytes * 8) as f64 / micros.max(1) as f64,
                micros as f64 / 1e6,
                sent.retransmitted,
                sent.segments,
                sent.timeouts,
                world.overflowed(),
            );
            return Ok(micros);
        }
        ensure!(world.age() < LIMIT, "{delivered} of {} bytes after {LIMIT}", args.bytes);
    }
}
