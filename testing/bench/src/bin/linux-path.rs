//! Goodput over bad paths: Freeway with Linux, held against Linux with Linux.
//!
//! For each path, congestion control and direction, the same transfer goes over the same impaired bridge, with the same
//! seeds, once to a Linux server and once to Freeway; the client is Linux both times. What is compared is all bytes over
//! all time of the seeds. A ratio of 1 is Linux's own goodput.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::Parser;
use freeway_interop::impair::{Both, Impairment, Rate, Span};
use freeway_interop::privilege;
use freeway_interop::transfer::freeway::Settings;
use freeway_interop::transfer::road::{Arrived, Host, Road, SERVER_V4, Trip};
use freeway_interop::transfer::{Congestion, Request, Sender};
use serde_json::json;

/// Goodput over bad paths, against Linux's. Needs root: it works in network namespaces of its own.
///
/// Example: cargo run --release -p freeway-bench --bin linux-path -- --loss 0.01 --seeds 8
#[derive(Debug, Parser)]
struct Args {
    /// Ratios of frames lost, each way.
    #[arg(long, value_delimiter = ',', default_value = "0,0.001,0.01,0.03")]
    loss: Vec<f64>,
    /// Ratios of frames held back, so that others overtake them.
    #[arg(long, value_delimiter = ',', default_value = "0,0.01")]
    reorder: Vec<f64>,
    /// How long such a frame is held back.
    #[arg(long, default_value = "2ms")]
    reorder_delay: Span,
    /// Congestion control, cubic and reno.
    #[arg(long, value_delimiter = ',', default_value = "cubic,reno")]
    congestion: Vec<Congestion>,
    /// Who sends: freeway, linux (the client), or both.
    #[arg(long, value_delimiter = ',', default_value = "freeway,linux", value_parser = sender)]
    sender: Vec<Sender>,
    /// The path's delay, each way.
    #[arg(long, default_value = "10ms")]
    delay: Span,
    /// The line's rate, each way.
    #[arg(long, default_value = "100M")]
    rate: Rate,
    /// Bytes that may wait for the line.
    #[arg(long, default_value_t = 256 * 1024)]
    queue_bytes: u64,
    /// Transfers of each kind, each with another seed.
    #[arg(long, default_value_t = 4)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Bytes of each transfer [default: what takes a few seconds]
    #[arg(long)]
    length: Option<u64>,
    /// Transfers at the same time, each on a road of its own; the processors have to carry them all.
    #[arg(long, default_value_t = 1)]
    parallel: usize,
    /// Bytes that one of Freeway's connections may have queued [default: the stack's]
    #[arg(long)]
    send_buffer: Option<u32>,
    /// Segments that one of Freeway's connections may hold out of order [default: the stack's]
    #[arg(long)]
    out_of_order: Option<u16>,
    /// Has Freeway's connections leave out HyStart++.
    #[arg(long)]
    no_hystart: bool,
    /// Writes what passes Freeway's device on the first road to this file, as pcap.
    #[arg(long)]
    capture: Option<PathBuf>,
    /// Prints JSON in place of the table.
    #[arg(long)]
    json: bool,
}

fn sender(text: &str) -> Result<Sender, String> {
    match text {
        "freeway" => Ok(Sender::Server),
        "linux" => Ok(Sender::Client),
        _ => Err(format!("`{text}` is neither freeway nor linux")),
    }
}

/// What is compared in one line of the table.
#[derive(Clone, Copy, Debug)]
struct Kind {
    loss: f64,
    reorder: f64,
    congestion: Congestion,
    sender: Sender,
}

/// All transfers of one kind and one host.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    bytes: u64,
    seconds: f64,
    /// Frames that the path lost, and that found its queue full, in the direction of the data.
    lost: u64,
    overflowed: u64,
    /// Segments that Freeway sent again.
    retransmitted: u64,
}

impl Sum {
    fn megabits(self) -> f64 {
        self.bytes as f64 * 8e-6 / self.seconds
    }

    fn add(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            seconds: self.seconds + other.seconds,
            lost: self.lost + other.lost,
            overflowed: self.overflowed + other.overflowed,
            retransmitted: self.retransmitted + other.retransmitted,
        }
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.parallel > 0 && args.seeds > 0, "--parallel and --seeds must be at least 1");
    if !privilege::granted("linux-path") {
        return Err(anyhow!("this benchmark cannot run here"));
    }
    // A signal ends the work between two transfers, so that nothing made is left behind.
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("catching signals")?;
    }
    let roads = (0..args.parallel).map(|number| lay(&args, number)).collect::<Result<Vec<_>>>()?;
    if !args.json {
        println!(
            "{:>6} {:>7} {:>6} {:>8} {:>8} {:>8} {:>6} {:>13} {:>13} {:>6}",
            "loss",
            "reorder",
            "cc",
            "sender",
            "linux",
            "freeway",
            "ratio",
            "l: lost/full",
            "f: lost/full",
            "again"
        );
    }
    let mut lines = Vec::new();
    for kind in kinds(&args) {
        ensure!(!stop.load(Ordering::Relaxed), "stopped by a signal");
        let [linux, freeway] = compare(&args, &roads, kind)?;
        let ratio = freeway.megabits() / linux.megabits();
        let sender = if kind.sender == Sender::Server { "freeway" } else { "linux" };
        if !args.json {
            println!(
                "{:>6} {:>7} {:>6} {sender:>8} {:>8.2} {:>8.2} {ratio:>6.2} {:>13} {:>13} {:>6}",
                kind.loss,
                kind.reorder,
                kind.congestion.to_string(),
                linux.megabits(),
                freeway.megabits(),
                format!("{}/{}", linux.lost, linux.overflowed),
                format!("{}/{}", freeway.lost, freeway.overflowed),
                freeway.retransmitted,
            );
        }
        lines.push(json!({
            "loss": kind.loss,
            "reorder": kind.reorder,
            "congestion": kind.congestion.to_string(),
            "sender": sender,
            "linux_mbit_s": linux.megabits(),
            "freeway_mbit_s": freeway.megabits(),
            "ratio": ratio,
            "linux_frames_lost": linux.lost,
            "linux_frames_overflowed": linux.overflowed,
            "freeway_frames_lost": freeway.lost,
            "freeway_frames_overflowed": freeway.overflowed,
            "freeway_segments_retransmitted": freeway.retransmitted,
        }));
    }
    for [linux, freeway] in roads {
        linux.close()?;
        freeway.close()?;
    }
    if args.json {
        let path = json!({
            "delay_us": args.delay.0.as_micros(),
            "rate_bit_s": args.rate.bits_per_second,
            "queue_bytes": args.queue_bytes,
            "seeds": args.seeds,
            "parallel": args.parallel,
        });
        println!("{:#}", json!({ "path": path, "transfers": lines }));
    }
    Ok(())
}

/// A road to Linux and one to Freeway.
fn lay(args: &Args, number: usize) -> Result<[Road; 2]> {
    let mut settings = Settings {
        send_buffer: args.send_buffer,
        out_of_order: args.out_of_order,
        capture: args.capture.clone().filter(|_| number == 0),
        ..Settings::default()
    };
    settings.tcp.hystart = !args.no_hystart;
    Ok([Road::lay(&Host::Linux)?, Road::lay(&Host::Freeway(Box::new(settings)))?])
}

fn kinds(args: &Args) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for &loss in &args.loss {
        for &reorder in &args.reorder {
            for &congestion in &args.congestion {
                let kind = |&sender| Kind { loss, reorder, congestion, sender };
                kinds.extend(args.sender.iter().map(kind));
            }
        }
    }
    kinds
}

/// Sends the transfers of one kind over all roads; the sums of Linux and of Freeway.
fn compare(args: &Args, roads: &[[Road; 2]], kind: Kind) -> Result<[Sum; 2]> {
    let carry = |lane: usize, pair: &[Road; 2]| -> Result<[Sum; 2]> {
        let mut sums = [Sum::default(); 2];
        for seed in (0..args.seeds).skip(lane).step_by(roads.len()) {
            let trip = trip(args, kind, args.seed + seed);
            for (road, sum) in pair.iter().zip(&mut sums) {
                let arrived = road.send(&trip, false).with_context(|| format!("{kind:?}, seed {seed}"))?;
                *sum = sum.add(summed(&trip, &arrived));
            }
        }
        Ok(sums)
    };
    let sums = std::thread::scope(|scope| {
        let lanes: Vec<_> =
            roads.iter().enumerate().map(|(lane, pair)| scope.spawn(move || carry(lane, pair))).collect();
        let joined = lanes.into_iter().map(|lane| lane.join().map_err(|_| anyhow!("a lane panicked"))?);
        joined.collect::<Result<Vec<_>>>()
    })?;
    let sum = |host: usize| sums.iter().map(|pair| pair[host]).fold(Sum::default(), Sum::add);
    Ok([sum(0), sum(1)])
}

fn trip(args: &Args, kind: Kind, seed: u64) -> Trip {
    let way = Impairment {
        loss: kind.loss,
        reorder: kind.reorder,
        reorder_delay: args.reorder_delay.0,
        delay: args.delay.0,
        rate: Some(args.rate),
        queue_bytes: args.queue_bytes,
        ..Impairment::default()
    };
    // Some fifty losses or more, so that the beginning, before the first of them, does not decide.
    let length = args.length.unwrap_or(match kind.loss {
        0.0 => 25_000_000,
        loss if loss < 0.005 => 16_000_000,
        loss if loss < 0.02 => 6_000_000,
        _ => 3_000_000,
    });
    Trip {
        server: SERVER_V4,
        congestion: kind.congestion,
        path: Both { forward: way.clone(), backward: way },
        seed,
        request: Request { sender: kind.sender, seed, length },
    }
}

fn summed(trip: &Trip, arrived: &Arrived) -> Sum {
    let counts = match trip.request.sender {
        Sender::Client => arrived.path.path.forward,
        Sender::Server => arrived.path.path.backward,
    };
    let info = arrived.ending.and_then(|ending| ending.info);
    Sum {
        bytes: trip.request.length,
        seconds: arrived.elapsed.as_secs_f64(),
        lost: counts.lost,
        overflowed: counts.dropped_queue_full,
        retransmitted: info.map_or(0, |info| u64::from(info.retransmitted)),
    }
}
