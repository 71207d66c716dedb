//! What an idle connection costs the server: resident memory, everything counted.
//!
//! The process holds a server with room for few connections, then one with room for many, both laid out and faulted
//! in; the difference in resident memory, over the difference in connections, is what one costs. Then the
//! connections are opened for real, held, and the memory is read again: it must not have grown.

#![forbid(unsafe_code)]

use std::fs;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::Parser;
use freeway::{Core, Mailboxes, Secrets};
use freeway_bench::EchoServer;
use freeway_loadgen::{Echo, Gauge, Load, LoadConfig, Pair, PairSize};

/// Resident bytes of an idle connection on the server.
///
/// Example: cargo run --release -p freeway-bench --bin memory -- --connections 1000000
#[derive(Debug, Parser)]
struct Args {
    /// Connections to hold.
    #[arg(long, default_value_t = 1_000_000)]
    connections: u32,
}

const FEW: u32 = 1_000;

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.connections > 10 * FEW, "--connections must be more than {}", 10 * FEW);
    let sources = args.connections.div_ceil(30_000);
    let size = |connections| PairSize { connections, buffers: 16_384, sources };

    let few = resident_of(size(FEW))?;
    let many = resident_of(size(args.connections))?;
    let added = u64::from(args.connections - FEW);
    let laid_out = size(args.connections).config(Secrets::random()?).stack.connection_bytes::<[u64; 2]>();
    println!("server with room for {FEW:>9} connections   {few:>12} bytes resident");
    println!("server with room for {:>9} connections   {many:>12} bytes resident", args.connections);
    println!("a connection, everything counted         {:>12.1} bytes", (many - few) as f64 / added as f64);
    println!(
        "  of which its record, table slot, timer {laid_out:>12} bytes; the rest are half-open and TIME-WAIT records"
    );

    let gauge = Gauge::default();
    gauge.hold(args.connections);
    let load = LoadConfig {
        sources: size(args.connections).sources(),
        ..LoadConfig::new(SocketAddr::new(Pair::SERVER, 7), args.connections)
    };
    let server = EchoServer::new(7);
    let plain = |error| anyhow!("{error}");
    let load = Load::new(&load, Echo::new(64), gauge.clone());
    let pair = Pair::start(size(args.connections), server, load).map_err(plain)?;
    sleep(Duration::from_millis(100));
    let before = resident()?;
    let begun = Instant::now();
    while gauge.read().open < u64::from(args.connections) {
        ensure!(gauge.read().failed == 0, "{} connections failed", gauge.read().failed);
        ensure!(begun.elapsed() < Duration::from_secs(300), "only {} connections opened", gauge.read().open);
        sleep(Duration::from_millis(10));
    }
    let after = resident()?;
    println!(
        "{} connections held: client and server together grew by {} bytes, {:.2} a connection",
        args.connections,
        after.saturating_sub(before),
        after.saturating_sub(before) as f64 / f64::from(args.connections)
    );
    pair.stop().map_err(plain)?;
    Ok(())
}

/// What a laid-out server adds to this process's resident memory.
fn resident_of(size: PairSize) -> Result<u64> {
    let before = resident()?;
    let server = EchoServer::new(7);
    let core: Core<EchoServer> =
        size.config(Secrets::random()?).build(Mailboxes::single()?, freeway::Instant::ZERO, server, [])?;
    let after = resident()?;
    drop(core);
    Ok(after.saturating_sub(before))
}

/// Resident memory of this process in bytes, shared memory included.
fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let kilobytes = |key: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    // Huge pages of hugetlbfs are not counted in VmRSS.
    Ok((kilobytes("VmRSS:") + kilobytes("HugetlbPages:")) * 1024)
}
