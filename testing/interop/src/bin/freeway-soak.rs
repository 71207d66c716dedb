//! `freeway-soak`: a server that is visited for as long as you like, and must hold nothing afterwards.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;
use freeway_base::Seed;
use freeway_interop::impair::Span;
use freeway_interop::soak::{Plan, run};

/// Soaks a server in mixed services, bad weather, reloads and killed peers, in network namespaces of its own.
///
/// Needs root. After each day of visits comes a night without any, in which the server must come to hold exactly what it
/// held before.
#[derive(Parser)]
#[command(name = "freeway-soak", after_help = "Example: freeway-soak --duration 3600s --seed 7")]
struct Arguments {
    /// How long there are visits, nights not counted
    #[arg(long, default_value = "600s")]
    duration: Span,
    /// How much of that lies between two nights
    #[arg(long, default_value = "300s")]
    day: Span,
    /// Where chance starts
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    match soak(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn soak(arguments: &Arguments) -> Result<()> {
    let real = |span: Span| Duration::from_nanos(span.0.as_nanos());
    let plan =
        Plan { seed: Seed(arguments.seed), visits: real(arguments.duration), day: real(arguments.day) };
    ensure!(
        !plan.visits.is_zero() && !plan.day.is_zero(),
        "--duration and --day must be longer than nothing"
    );
    let report = run("freeway-soak", &plan, &mut |line| eprintln!("{line}"))?;
    let Some(report) = report else { anyhow::bail!("nothing was run") };
    println!("{report}");
    Ok(())
}
