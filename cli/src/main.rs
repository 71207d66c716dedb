//! The `freeway` command.
//!
//! Results go to standard output, everything else to standard error; a failure is one line that says what is
//! wrong and what to do, and a non-zero exit.

#![forbid(unsafe_code)]

mod ask;
mod bench;
mod c10m;
mod cached;
mod demo;
mod device;
mod doctor;
mod http;
mod manual;
mod memcached;
mod memif;
mod metrics;
mod open;
mod orders;
mod protect;
mod serve;
mod services;
mod settings;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// A user-space network data plane: packets past the kernel, a TCP/IP stack of its own, servers on top.
#[derive(Debug, Parser)]
#[command(name = "freeway", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves echo, discard, chargen and HTTP on a device.
    Serve(Box<serve::Args>),
    /// The cache with memcached's flags.
    Memcached(Box<memcached::Args>),
    /// Loads a server, on Freeway's own stack or on Linux's sockets, and measures it.
    Bench(Box<bench::Args>),
    /// The whole challenge on this machine: ten million connections, and what they can do.
    C10m(c10m::Args),
    /// One of the processes that a benchmark starts.
    #[command(hide = true)]
    Part(c10m::part::Args),
    /// Removes what a server made, when it is gone; started by it.
    #[command(hide = true)]
    Keep(protect::keeper::Args),
    /// A small tour without any privilege: two hosts in one process.
    Demo(demo::Args),
    /// Shows a running server: its cores' traffic, load, cycles, drops and tables.
    Top(ask::TopArgs),
    /// Shows the sockets of a running server: connections, listeners, UDP.
    Ss(ask::SsArgs),
    /// Captures the frames of a running server into a file that Wireshark opens.
    Pcap(ask::PcapArgs),
    /// Prints all counters of a running server.
    Stats(ask::StatsArgs),
    /// Prints the cycles that each frame costs a running server, by stage.
    Cycles(ask::CyclesArgs),
    /// Has a running server read its settings, certificates and log anew, and says what it took.
    Reload(ask::ReloadArgs),
    /// Says what this machine lacks to serve well, and the command that mends it.
    Doctor(doctor::Args),
    /// Writes the manual pages and shell completions of a package.
    #[command(hide = true)]
    Manual(manual::Args),
}

/// What happens beside the data path is told on standard error, from the level that `FREEWAY_LOG` names: `warn` unless it
/// says, `debug`, `freeway_control=debug` and the like.
fn log() {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_env_var("FREEWAY_LOG")
        .with_default_directive(tracing::Level::WARN.into())
        .from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

fn main() -> ExitCode {
    log();
    let result = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::C10m(args) => c10m::run(&args),
        Command::Part(args) => c10m::part::run(&args),
        Command::Keep(args) => protect::keeper::run(&args),
        Command::Memcached(args) => memcached::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Top(args) => ask::top(&args),
        Command::Ss(args) => ask::ss(&args),
        Command::Pcap(args) => ask::pcap(&args),
        Command::Stats(args) => ask::stats(&args),
        Command::Cycles(args) => ask::cycles(&args),
        Command::Reload(args) => ask::reload(&args),
        Command::Doctor(args) => doctor(&args),
        Command::Manual(args) => manual::run(&args, Cli::command()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("freeway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn doctor(args: &doctor::Args) -> anyhow::Result<()> {
    doctor::run(args, &serve::cpus(args.cores())?, serve::default_memory()?)
}
