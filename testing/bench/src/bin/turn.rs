//! A server and its client on one thread, turn by turn: what a request costs without a second core.
//!
//! The virtual clock and the fixed count of turns make runs comparable to the instruction, so that it can run under
//! `valgrind --tool=callgrind`; the cycles it prints are the server's, as its stages book them.

#![forbid(unsafe_code)]

use std::net::SocketAddr;

use anyhow::{Result, anyhow, ensure};
use clap::{Parser, ValueEnum};
use freeway::host::Memory;
use freeway::port::{PipeConfig, pipe};
use freeway::{
    Application, Cidr, Core, Duration, HostConfig, Instant, Interface, Mailboxes, Secrets, Seed, Stage,
};
use freeway_bench::{CacheServer, EchoServer, HttpServer};
use freeway_loadgen::{
    Cache, CacheConfig, Cause, Echo, Gauge, Http, Load, LoadConfig, Protocol, Requests, Work,
};

/// The port of whatever is served.
const PORT: u16 = 7;

/// A server and its client on one thread, turn by turn.
///
/// Example: valgrind --tool=callgrind target/release/turn --turns 20000
#[derive(Debug, Parser)]
struct Args {
    /// What is served.
    #[arg(long, value_enum, default_value_t = Service::Echo)]
    service: Service,
    /// Connections, with a request under way on each.
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Bytes of a request to the echo service, of a value of the cache, of the document.
    #[arg(long, default_value_t = 64)]
    size: u32,
    /// Keys of the cache.
    #[arg(long, default_value_t = 10_000)]
    keys: u32,
    /// Which part of the cache's requests are sets, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    set_ratio: f64,
    /// Keys of one get.
    #[arg(long, default_value_t = 1)]
    multiget: u32,
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

/// What is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Service {
    /// What comes goes back.
    Echo,
    /// Gets and sets of a cache.
    Cache,
    /// One small document.
    Http,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let now = Instant::from_secs(1);
    match args.service {
        Service::Echo => {
            let server = EchoServer::new(PORT);
            measure(&args, now, server, Echo::new(args.size as usize))
        }
        Service::Cache => {
            let memory = (args.keys as usize * (args.size as usize + 64) * 2).max(64 << 20);
            let server = CacheServer::new(PORT, memory, args.connections, now)?;
            let config = CacheConfig {
                keys: args.keys,
                value_size: args.size,
                set_ratio: args.set_ratio,
                multiget: args.multiget,
            };
            measure(&args, now, server, Cache::new(config, Seed(3)))
        }
        Service::Http => {
            ensure!(!args.udp, "--udp: HTTP has no datagrams");
            let server = HttpServer::new(PORT, "/", &vec![b'x'; args.size as usize])?;
            measure(&args, now, server, Http::new("/", "198.18.0.2"))
        }
    }
}

fn measure<A: Application, P: Protocol + 'static>(
    args: &Args,
    mut now: Instant,
    server: A,
    protocol: P,
) -> Result<()> {
    let (left, right) = pipe(&PipeConfig::default())?;
    let config = HostConfig::new(Secrets::from_seed(Seed(1)))
        .max_connections(args.connections.max(64))
        .buffers(16_384)
        .memory(Memory::Heap);
    let gauge = Gauge::default();
    let load = LoadConfig {
        seed: Seed(2),
        ..LoadConfig::new(SocketAddr::from(([198, 18, 0, 2], PORT)), args.connections)
    };
    let load = Load::new(&load, protocol, gauge.clone());
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
    // The cache's keys are set first.
    let is_filled = |answered: u64| args.service != Service::Cache || answered > u64::from(args.keys);
    pair.turns(&mut now, 1_000);
    let mut answered = 0;
    while !is_filled(gauge.read().answered) {
        ensure!(gauge.read().answered > answered, "the cache stopped answering after {answered} sets");
        answered = gauge.read().answered;
        pair.turns(&mut now, 1_000);
    }

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
    let counts = gauge.read();
    ensure!(counts.wrong == 0, "{} answers were wrong", counts.wrong);
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
    #[inline(never)]
    fn turns(&mut self, now: &mut Instant, count: u64) {
        for _ in 0..count {
            self.client.poll(*now);
            self.server.poll(*now);
            *now += Duration::from_micros(20);
        }
    }
}
