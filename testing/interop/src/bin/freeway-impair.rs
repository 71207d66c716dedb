//! `freeway-impair`: a bridge between two interfaces that loses, delays, reorders, doubles and corrupts frames.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use freeway_base::Seed;
use freeway_interop::impair::{Both, Bridge, Impairment, Link, Rate, Span, Way};
use freeway_interop::netns::offloads_off;

/// Joins two interfaces by a path that loses, delays, reorders, doubles and corrupts frames.
///
/// Every value is for both directions, or `FORWARD/BACKWARD` for each, where forward leads from the first interface to
/// the second. Ends on SIGINT or SIGTERM and prints what happened.
#[derive(Parser)]
#[command(
    name = "freeway-impair",
    after_help = "Example: freeway-impair fw0 veth0 --loss 0.01 --delay 20ms --rate 100M/10M --seed 7"
)]
struct Arguments {
    /// The first interface
    left: String,
    /// The second interface
    right: String,
    /// Where chance starts; the same seed and traffic give the same faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ratio of frames lost, 0.0 to 1.0
    #[arg(long, default_value = "0")]
    loss: Both<f64>,
    /// Ratio of frames at which a burst of losses begins
    #[arg(long, default_value = "0")]
    burst: Both<f64>,
    /// Mean length of a burst, in frames
    #[arg(long, default_value = "4")]
    burst_length: Both<f64>,
    /// Ratio of frames that arrive twice
    #[arg(long, default_value = "0")]
    duplicate: Both<f64>,
    /// Ratio of frames with a flipped bit
    #[arg(long, default_value = "0")]
    corrupt: Both<f64>,
    /// Ratio of frames held back, so that later ones overtake them
    #[arg(long, default_value = "0")]
    reorder: Both<f64>,
    /// How long a reordered frame is held back
    #[arg(long, default_value = "2ms")]
    reorder_delay: Both<Span>,
    /// How long every frame is under way, such as 20ms
    #[arg(long, default_value = "0")]
    delay: Both<Span>,
    /// Up to this much more, at random
    #[arg(long, default_value = "0")]
    jitter: Both<Span>,
    /// The line's rate in bits a second, such as 100M
    #[arg(long)]
    rate: Option<Both<Rate>>,
    /// Bytes that may wait for the line
    #[arg(long, default_value = "262144")]
    queue_bytes: Both<u64>,
    /// Drop the frame of this number (the first is 1, 0 is none); repeatable
    #[arg(long)]
    drop_nth: Vec<Both<u64>>,
    /// Leave the interfaces' checksum and segmentation offloads as they are
    #[arg(long)]
    keep_offloads: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("catching signals")?;
    }
    let impairment = impairment(arguments)?;
    if !arguments.keep_offloads {
        offloads_off(&arguments.left)?;
        offloads_off(&arguments.right)?;
    }
    let (left, right) = (Link::open(&arguments.left)?, Link::open(&arguments.right)?);
    let mut bridge = Bridge::new(left, right, impairment, Seed(arguments.seed));
    eprintln!("ready left={} right={} seed={}", arguments.left, arguments.right, arguments.seed);
    bridge.run(&stop)?;
    print!("{}", bridge.report());
    Ok(())
}

fn impairment(arguments: &Arguments) -> Result<Both<Impairment>> {
    let ratios = [
        ("loss", arguments.loss),
        ("burst", arguments.burst),
        ("duplicate", arguments.duplicate),
        ("corrupt", arguments.corrupt),
        ("reorder", arguments.reorder),
    ];
    for (name, ratio) in ratios {
        let is_ratio = |value: f64| (0.0..=1.0).contains(&value);
        ensure!(is_ratio(ratio.forward) && is_ratio(ratio.backward), "--{name} must lie between 0 and 1");
    }
    Ok(Both { forward: direction(arguments, Way::Forward), backward: direction(arguments, Way::Backward) })
}

fn direction(arguments: &Arguments, way: Way) -> Impairment {
    Impairment {
        loss: arguments.loss.of(way),
        burst: arguments.burst.of(way),
        burst_length: arguments.burst_length.of(way),
        duplicate: arguments.duplicate.of(way),
        corrupt: arguments.corrupt.of(way),
        reorder: arguments.reorder.of(way),
        reorder_delay: arguments.reorder_delay.of(way).0,
        delay: arguments.delay.of(way).0,
        jitter: arguments.jitter.of(way).0,
        rate: arguments.rate.map(|rate| rate.of(way)),
        queue_bytes: arguments.queue_bytes.of(way),
        drop_nth: arguments.drop_nth.iter().map(|number| number.of(way)).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn parse(line: &str) -> Result<Both<Impairment>> {
        impairment(&Arguments::try_parse_from(line.split(' ')).unwrap())
    }

    #[test]
    fn values_reach_their_direction() {
        let path =
            parse("x a b --loss 0.1/0.2 --delay 20ms --rate 1M/2M --drop-nth 5/0 --drop-nth 7").unwrap();
        assert_eq!((path.forward.loss, path.backward.loss), (0.1, 0.2));
        assert_eq!(path.forward.delay, path.backward.delay);
        assert_eq!(path.backward.rate, Some(Rate { bits_per_second: 2_000_000 }));
        assert_eq!((path.forward.drop_nth, path.backward.drop_nth), (vec![5, 7], vec![0, 7]));
    }

    #[test]
    fn no_option_is_no_impairment() {
        assert_eq!(parse("x a b").unwrap().forward, Impairment::default());
    }

    #[test]
    fn ratios_are_ratios() {
        assert!(parse("x a b --loss 1.5").is_err());
        assert!(parse("x a b --reorder 0/-1").is_err());
    }
}
