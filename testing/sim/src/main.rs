//! Runs the worlds of seeds, and says how to replay one that fails; makes the snapshot tables.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use freeway_base::Seed;
use freeway_sim::{Plan, idle, run_and_capture, soak, tables, trace};

/// Simulates networks, each from one seed; a failing seed repeats exactly.
///
/// Example: freeway-sim --seed 1 --count 10000
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    other: Option<Other>,
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

/// What else there is to simulate.
#[derive(Debug, Subcommand)]
enum Other {
    /// Makes the snapshot tables and prints how they differ from those that are kept.
    Tables {
        /// Keep them as they are now.
        #[arg(long)]
        write: bool,
        /// Only those whose names begin so.
        #[arg(default_value = "")]
        name: String,
    },
    /// Holds silent connections for hours of virtual time, and looks that nothing leaks or drifts.
    Idle {
        /// How many.
        #[arg(long, default_value_t = 1_000_000)]
        connections: u32,
        /// For how many hours.
        #[arg(long, default_value_t = 4)]
        hours: u64,
    },
    /// Lives through days of mixed traffic in all weathers, and looks every night that nothing leaks or drifts.
    Soak {
        /// For how many hours, nights not counted.
        #[arg(long, default_value_t = 168)]
        hours: u64,
        /// Hours from night to night.
        #[arg(long, default_value_t = 12)]
        hours_a_day: u64,
        /// What repeats it.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Sends one flow over one narrow link, and prints what its sender knows as time goes on.
    Flow(trace::Args),
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    match &args.other {
        Some(Other::Tables { write, name }) => make_tables(*write, name).map(|()| ExitCode::SUCCESS),
        Some(Other::Idle { connections, hours }) => hold(*connections, *hours).map(|()| ExitCode::SUCCESS),
        Some(Other::Soak { hours, hours_a_day, seed }) => {
            let plan = soak::Plan { seed: Seed(*seed), hours: *hours, hours_a_day: *hours_a_day };
            live(&plan).map(|()| ExitCode::SUCCESS)
        }
        Some(Other::Flow(flow)) => trace::run(flow).map(|()| ExitCode::SUCCESS),
        None => Ok(run_seeds(&args)),
    }
}

fn make_tables(write: bool, name: &str) -> Result<()> {
    for table in tables::ALL.iter().filter(|table| table.name.starts_with(name)) {
        let path = table.path();
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        let made = (table.make)();
        match tables::diff(&kept, &made) {
            None => println!("{}: as it was", table.name),
            Some(diff) => println!("{}:\n{diff}", table.name),
        }
        if write {
            std::fs::write(&path, made).with_context(|| format!("{} cannot be written", path.display()))?;
        }
    }
    Ok(())
}

fn hold(connections: u32, hours: u64) -> Result<()> {
    let begun = std::time::Instant::now();
    println!("{}", idle::run(connections, hours)?);
    print_cost(begun);
    Ok(())
}

fn live(plan: &soak::Plan) -> Result<()> {
    let begun = std::time::Instant::now();
    println!("{}", soak::run(plan)?);
    print_cost(begun);
    Ok(())
}

fn print_cost(begun: std::time::Instant) {
    println!("in {:.1} s", begun.elapsed().as_secs_f64());
    // Linux says what was resident at most; elsewhere that is not told.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().filter(|line| line.starts_with("VmHWM")).for_each(|line| println!("{line}"));
}

fn run_seeds(args: &Args) -> ExitCode {
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
