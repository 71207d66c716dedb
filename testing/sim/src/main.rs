//! Runs the worlds of seeds, and says how to replay one that fails.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use clap::Parser;
use freeway_base::Seed;
use freeway_sim::{Plan, run_and_capture};

/// Simulates networks, each from one seed; a failing seed repeats exactly.
///
/// Example: freeway-sim --seed 1 --count 10000
#[derive(Debug, Parser)]
struct Args {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Write the frames of the client's core to this file, for Wireshark; one seed only.
    #[arg(long, conflicts_with = "count")]
    pcap: Option<PathBuf>,
    /// Print each plan and outcome.
    #[arg(long)]
    verbose: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let verbose = args.verbose || args.count == 1;
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= args.count || failed.load(Ordering::Relaxed) {
                        return;
                    }
                    let plan = Plan::new(Seed(args.seed.wrapping_add(index)));
                    if verbose {
                        eprintln!("{plan:#?}");
                    }
                    match run_and_capture(&plan, args.pcap.as_deref()) {
                        Ok(outcome) if verbose => println!("{outcome:#?}"),
                        Ok(_) => {}
                        Err(violation) => {
                            failed.store(true, Ordering::Relaxed);
                            eprintln!("seed {}: {violation}", plan.seed.0);
                        }
                    }
                    if index > 0 && index.is_multiple_of(1_000) {
                        eprintln!("{index} of {} seeds", args.count);
                    }
                }
            });
        }
    });
    if failed.into_inner() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
