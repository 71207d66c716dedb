//! `freeway c10m`: Robert Graham's seven challenges, run and measured on the machine at hand.
//!
//! Server and client are two processes, each core of which is pinned and joined to its counterpart by a memif: nothing
//! between them but shared memory, so the figures are those of the stack. Every figure says how it was measured; controls
//! say how much of it is the machine.

mod baseline;
mod fit;
mod frames;
mod noise;
mod page;
pub(crate) mod part;
mod plan;
mod report;
mod run;
mod talk;

use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use freeway::{Secrets, allowed_cpus};
use freeway_loadgen::{EchoProgress, LoadState};

use crate::services::State;
use plan::{Side, Size};
pub(crate) use report::number;
use run::{Lengths, Run};
pub(crate) use talk::cpu_seconds;

/// Runs the whole challenge on this machine, server and client in processes of their own: connections held, memory, rates,
/// packets, bulk, latency, cores, and the noise of the machine beside them.
///
/// Example: freeway c10m --connections 10000000 --json c10m.json --html c10m.html
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Connections to hold, over all cores; fewer if memory ends before [default: 10000000, with --quick 1000000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1_000..=500_000_000))]
    connections: Option<u32>,
    /// Cores of the server, each on a processor of its own.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    server_cores: u32,
    /// Cores of the client, as many as the server's: each is joined to one of them.
    #[arg(long, value_name = "N", default_value = "1")]
    client_cores: u32,
    /// Under a minute: a million connections unless --connections says more, and short steps.
    #[arg(long)]
    quick: bool,
    /// Also runs the same steps against Linux's own stack, over loopback and a veth pair; takes root.
    #[arg(long)]
    baseline: bool,
    /// Write the figures as JSON to this file; - for standard output, instead of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with the figures and plots to this file; it needs no other file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Packet buffers of each core: a server holds an answer until it is acknowledged, which a client may put off by 40 ms.
    #[arg(long, default_value_t = 65_536, value_name = "N", value_parser = clap::value_parser!(u32).range(4_096..=1_000_000))]
    buffers: u32,
    /// Slots of a memif ring, a power of two.
    #[arg(long, default_value_t = 1_024, value_name = "N", value_parser = clap::value_parser!(u32).range(64..=16_384))]
    slots: u32,
    /// The client lends its packets over the memif and the server copies, instead of the other way round.
    #[arg(long)]
    client_lends: bool,
}

/// Connections if it is not said: of the whole challenge, and of `--quick`.
const CONNECTIONS: [u32; 2] = [10_000_000, 1_000_000];

pub(crate) fn run(args: &Args) -> Result<()> {
    let pairs = args.server_cores;
    ensure!(
        args.client_cores == pairs,
        "--client-cores {}: each of the {pairs} server cores is joined to one client core, so give as many",
        args.client_cores
    );
    ensure!(args.slots.is_power_of_two(), "--slots {}: a memif ring has a power of two of slots", args.slots);
    let cpus = allowed_cpus().context("the processors of this process cannot be asked for")?;
    let wanted = pairs as usize * 2;
    if cpus.len() < wanted {
        bail!("{pairs} server and {pairs} client cores need {wanted} processors, there are {}", cpus.len());
    }
    // Linux's own work is mostly on the first processor: that is a client's.
    let (clients, servers) = cpus[..wanted].split_at(pairs as usize);
    let connections = args.connections.unwrap_or(CONNECTIONS[usize::from(args.quick)]);
    let size = Size {
        connections: connections / pairs,
        buffers: args.buffers,
        ring_log2: args.slots.trailing_zeros() as u8,
        client_lends: args.client_lends,
    };
    let (size, short_of_memory) = fit_into_memory(size, pairs)?;
    if short_of_memory {
        eprintln!(
            "freeway: memory ends at {} connections instead of {connections}",
            u64::from(size.connections) * u64::from(pairs)
        );
    }
    let lengths = if args.quick { Lengths::QUICK } else { Lengths::FULL };
    let mut report = Run::new(size, servers.to_vec(), clients.to_vec(), lengths).whole()?;
    report.short_of_memory = short_of_memory;
    if args.baseline {
        report.baseline = Run::baseline(size, servers, clients, lengths)?;
    }
    let json = serde_json::to_string_pretty(&report)?;
    let to_stdout = args.json.as_deref() == Some(Path::new("-"));
    if to_stdout {
        println!("{json}");
    } else {
        print!("{}", report.table());
        if let Some(path) = &args.json {
            fs::write(path, json + "\n").with_context(|| format!("{} cannot be written", path.display()))?;
        }
    }
    if let Some(path) = &args.html {
        let page = page::page(&report)?;
        fs::write(path, page).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

/// Lowers the number of connections until server and client fit into what is available, and says whether it had to.
fn fit_into_memory(size: Size, pairs: u32) -> Result<(Size, bool)> {
    /// Kept for everything else.
    const SPARE: u64 = 256 << 20;
    let Some(available) = available_memory() else { return Ok((size, false)) };
    let secrets = Secrets::random().context("the system gives no random numbers")?;
    let wanted = |connections| {
        let size = Size { connections, ..size };
        let server = size.host(secrets, Side::Server).arena_bytes::<State>() as u64;
        let client = size.host(secrets, Side::Client).arena_bytes::<LoadState<EchoProgress>>() as u64;
        // The load's own lists of them.
        (server + client + u64::from(connections) * 12) * u64::from(pairs) + SPARE
    };
    let mut connections = size.connections;
    while wanted(connections) > available && connections > 1_000 {
        connections -= (connections / 20).max(1);
    }
    Ok((Size { connections, ..size }, connections < size.connections))
}

/// What Linux says can be allocated without swapping, in bytes.
pub(crate) fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Shows how far long work is: in place where a person looks, nothing elsewhere.
pub(crate) fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}

/// Says what has been done, where a person looks or reads it later.
pub(crate) fn done(text: &str) {
    progress("");
    eprintln!("{text}");
}

/// A span for people.
pub(crate) fn seconds(span: Duration) -> String {
    format!("{:.2} s", span.as_secs_f64())
}
