//! The `freeway` command.
//!
//! Results go to standard output, everything else to standard error; a failure is one line that says what is
//! wrong and what to do, and a non-zero exit.

#![forbid(unsafe_code)]

mod demo;
mod device;
mod doctor;
mod http;
mod memif;
mod open;
mod serve;
mod services;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// A small tour without any privilege: two hosts in one process.
    Demo(demo::Args),
    /// Says what this machine lacks to serve well, and the command that mends it.
    Doctor(doctor::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Doctor(args) => doctor(&args),
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
