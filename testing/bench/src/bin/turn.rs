//! Echo between two hosts on one thread, turn by turn: what a request costs without a second core.
//!
//! The virtual clock and the fixed count of turns make runs comparable to the instruction, so that it can run under
//! `valgrind --tool=callgrind`; the cycles it prints are the server's, as its stages book them.

#![forbid(unsafe_code)]

use std::net::SocketAddr;

use anyhow::{Result, anyhow, ensure};
use clap::Parser;
use freeway::host::Memory;
use freeway::port::{PipeConfig, pipe};
use freeway::tcp::Config;
use freeway::{
    Application, Cidr, Core, Duration, HostConfig, Instant, Interface, Mailboxes, Secrets, Seed, Stage,
};
use freeway_bench::EchoServer;
use freeway_loadgen::{Cause, Echo, Gauge, Load, LoadConfig, Requests, Work};

/// Echo over TCP or UDP between two hosts on one thread, turn by turn.
///
/// Example: valgrind --tool=callgrind target/release/turn --turns 20000
#[derive(Debug, Parser)]
struct Args {
    /// Connections, with a request under way on each.
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Bytes of a request.
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Datagrams instead of requests over connections.
    #[arg(long)]
    udp: bool,
    /// Turns of each host that are measured.
    #[arg(long, default_value_t = 50_000)]
    turns: u64,
    /// Measured runs; the one with the fewest cycles is told, for whatever else runs here only adds some.
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let (left, right) = pipe(&PipeConfig::default())?;
    let config = HostConfig::new(Secrets::from_seed(Seed(1)))
        .max_connections(args.connections.max(64))
        .buffers(16_384)
        .memory(Memory::Heap);
    let mut now = Instant::from_secs(1);
    let gauge = Gauge::default();
    let load = LoadConfig {
        seed: Seed(2),
        ..LoadConfig::new(SocketAddr::from(([198, 18, 0, 2], 7)), args.connections)
    };
    let load = Load::new(&load, Echo::new(args.size), gauge.clone());
    let server = EchoServer { port: 7, tcp: Config::default() };
    let at = |port, last| Interface::new(port).address(Cidr::new([198, 18, 0, last].into(), 24));
    let mut pair = Pair {
        server: config.build(Mailboxes::single()?, now, server, [at(left, 2)])?,
        client: config.build(Mailboxes::single()?, now, load, [at(right, 3)])?,
    };
    gauge.hold(args.connections);
    pair.turns(&mut now, 2_000);
    let open = gauge.read().open;
    ensure!(open == u64::from(args.connections), "only {open} connections opened");
    gauge.order(if args.udp {
        Work::Datagrams { in_flight: args.connections, rate: None }
    } else {
        Work::Requests(Requests { among: args.connections, cause: Cause::SameAnswered })
    });
    pair.turns(&mut now, 1_000);

    let mut best = None::<(f64, [f64; Stage::COUNT])>;
    for _ in 0..args.runs.max(1) {
        let (before, answered) = (*pair.server.stages(), gauge.read().answered);
        pair.turns(&mut now, args.turns);
        let requests = gauge.read().answered - answered;
        ensure!(requests > 0, "no request was answered");
        let after = *pair.server.stages();
        let cycles = Stage::ALL.map(|stage| (after.of(stage) - before.of(stage)) as f64 / requests as f64);
        let total = cycles.iter().sum();
        if best.is_none_or(|(least, _)| total < least) {
            best = Some((total, cycles));
        }
    }
    let (total, cycles) = best.ok_or_else(|| anyhow!("no run"))?;
    print!("cycles a request  {total:.0}:");
    for stage in Stage::ALL {
        print!("  {} {:.0}", stage.name(), cycles[stage as usize]);
    }
    println!();
    Ok(())
}

/// Both hosts.
struct Pair<A: Application, B: Application> {
    server: Core<A>,
    client: Core<B>,
}

impl<A: Application, B: Application> Pair<A, B> {
    /// `count` turns of each, 20 virtual microseconds apart.
    fn turns(&mut self, now: &mut Instant, count: u64) {
        for _ in 0..count {
            self.client.poll(*now);
            self.server.poll(*now);
            *now += Duration::from_micros(20);
        }
    }
}
