//! Frames echoed between two processes over memif: Freeway's, and DPDK's in the same run.
//!
//! Both do the same: a client that lends its packets and a server that copies, one processor each, send back every
//! frame to where it came from; a handful of frames goes round and round. The figure is what the client receives.
//! DPDK without huge pages is much slower than with them, so the two are a fair pair only where it has its own.

#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use freeway_mem::{
    Arena, ArenaConfig, ArenaLayout, BURST, HugePages, PacketPool, PoolConfig, RxBurst, SharedPacket, TxBurst,
};
use freeway_memif::{Config, Memif, Role, SocketName, Trust, open};
use freeway_port::{Port, RxQueue, TxQueue};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Frames echoed over memif, by two Freeway processes and by two of DPDK's testpmd.
///
/// Example: cargo run --release -p freeway-bench --bin memif -- --cpus 0,1
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    end: Option<End>,
    #[command(flatten)]
    plan: Plan,
}

/// How both are measured.
#[derive(Clone, Debug, clap::Args)]
struct Plan {
    /// The processors of the server and of the client.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1])]
    cpus: Vec<usize>,
    /// Bytes of a frame.
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Frames that go round.
    #[arg(long, default_value_t = 512)]
    frames: usize,
    /// Seconds a run.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Runs of each, taken in turn, of which the medians count.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Copy on the client's side too, as with a peer that is not trusted.
    #[arg(long)]
    copy: bool,
    /// Leave DPDK out.
    #[arg(long)]
    alone: bool,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// One process of the two: what the benchmark starts itself as.
#[derive(Clone, Debug, Subcommand)]
enum End {
    /// Echoes until its standard input ends; a client counts and prints what it receives a second.
    #[command(hide = true)]
    End {
        /// server or client.
        side: Side,
        /// The socket.
        socket: PathBuf,
        /// The processor.
        cpu: usize,
        #[command(flatten)]
        plan: Plan,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Side {
    Server,
    Client,
}

fn main() -> Result<()> {
    let Args { end, plan } = Args::parse();
    match end {
        Some(End::End { side, socket, cpu, plan }) => be_an_end(side, socket, cpu, &plan),
        None => measure(&plan),
    }
}

/// Runs both in turn, so that a noisy neighbour disturbs both alike.
fn measure(plan: &Plan) -> Result<()> {
    ensure!(plan.cpus.len() == 2, "--cpus takes two processors");
    ensure!(plan.runs > 0 && plan.frames > 0, "nothing to measure");
    let folder = tempfile::tempdir()?;
    let huge_pages = has_huge_pages();
    let has_dpdk = !plan.alone && Command::new("dpdk-testpmd").arg("-v").output().is_ok();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for run in 0..plan.runs {
        ours.push(freeway(plan, &folder.path().join(format!("freeway{run}.sock")))?);
        if has_dpdk {
            let socket = folder.path().join(format!("dpdk{run}.sock"));
            theirs.push(testpmd(plan, &socket, run, huge_pages)?);
        }
    }
    let freeway = median(&mut ours);
    let dpdk = (!theirs.is_empty()).then(|| median(&mut theirs));
    let ratio = dpdk.map(|dpdk| freeway / dpdk);
    if plan.json {
        println!(
            "{}",
            serde_json::json!({
                "size_bytes": plan.size, "frames_under_way": plan.frames, "client_copies": plan.copy,
                "dpdk_huge_pages": huge_pages,
                "freeway_frames_per_s": freeway, "freeway_frames_per_s_all": ours,
                "dpdk_frames_per_s": dpdk, "dpdk_frames_per_s_all": theirs, "ratio": ratio,
            })
        );
        return Ok(());
    }
    let millions =
        |runs: &[f64]| runs.iter().map(|run| format!("{:.2}", run / 1e6)).collect::<Vec<_>>().join(" ");
    println!("{}-byte frames each way, {} under way, millions a second", plan.size, plan.frames);
    println!("freeway  {:.2} (median of {})", freeway / 1e6, millions(&ours));
    match (dpdk, ratio) {
        (Some(dpdk), Some(ratio)) => {
            println!("testpmd  {:.2} (median of {})", dpdk / 1e6, millions(&theirs));
            println!("ratio    {ratio:.2}");
            if !huge_pages {
                println!("testpmd ran without huge pages, much slower than with them; for a fair run:");
                println!("  sysctl vm.nr_hugepages=800 && mount -t hugetlbfs none /dev/hugepages");
            }
        }
        _ => println!("testpmd  not measured: apt-get install dpdk-dev"),
    }
    Ok(())
}

fn median(runs: &mut [f64]) -> f64 {
    runs.sort_by(f64::total_cmp);
    runs.get(runs.len() / 2).copied().unwrap_or_default()
}

/// Two processes of this program. What the client received a second.
fn freeway(plan: &Plan, socket: &Path) -> Result<f64> {
    let start = |side: &str, cpu: usize, output| {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["end", side]).arg(socket).arg(cpu.to_string());
        command.args(["--size", &plan.size.to_string(), "--frames", &plan.frames.to_string()]);
        command.args(["--seconds", &plan.seconds.to_string()]);
        command.args(plan.copy.then_some("--copy"));
        let child = command.stdin(Stdio::piped()).stdout(output).spawn().context("this program again")?;
        anyhow::Ok(Process(child))
    };
    let _server = start("server", plan.cpus[0], Stdio::null())?;
    let client = start("client", plan.cpus[1], Stdio::piped())?;
    let mut said = String::new();
    let mut client = client;
    let output = client.0.stdout.take().context("the client's output")?;
    BufReader::new(output).read_line(&mut said)?;
    said.trim().parse().context("the client ended without a figure")
}

/// A process that does not outlive the benchmark.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One of the two processes.
fn be_an_end(side: Side, socket: PathBuf, cpu: usize, plan: &Plan) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    let config = Config {
        name: "bench".into(),
        socket: SocketName::Path(socket),
        role: if side == Side::Server { Role::Server } else { Role::Client },
        trust: if plan.copy { Trust::None } else { Trust::Full },
        ..Config::default()
    };
    let shared = side == Side::Client && !plan.copy;
    let size = PoolConfig { buffers: 8_192, shared, ..PoolConfig::default() };
    let bytes = ArenaLayout::new().pool(&size).bytes();
    let mut arena = Arena::map(&ArenaConfig { bytes, name: "bench", huge_pages: HugePages::Auto })?;
    let pool = PacketPool::new(&mut arena, &size)?;
    // The thread that keeps the connection is on the same processor, and asleep.
    sched_setaffinity(None, &cpus)?;
    let queue = open(&[config])?.pop().and_then(|mut queues| queues.pop()).context("one queue")?;
    let mut port = queue.into_port();
    port.attach(&pool)?;
    wait_for_link(&mut port, &pool)?;
    if side == Side::Server {
        loop {
            echo(&mut port, &pool, Duration::from_millis(100));
            if !port.status().is_up() {
                return Ok(());
            }
        }
    }
    let mut sent = 0;
    while sent < plan.frames {
        let mut burst: TxBurst =
            (sent..plan.frames).take(BURST).filter_map(|number| frame(&pool, plan.size, number)).collect();
        sent += port.tx_burst(&mut burst);
    }
    echo(&mut port, &pool, Duration::from_millis(300));
    let (before, begun) = (port.counters().rx_frames, Instant::now());
    echo(&mut port, &pool, Duration::from_secs_f64(plan.seconds));
    let received = port.counters().rx_frames - before;
    ensure!(received > 0, "no frame came back");
    println!("{}", received as f64 / begun.elapsed().as_secs_f64());
    Ok(())
}

fn wait_for_link(port: &mut Memif, pool: &PacketPool) -> Result<()> {
    let begun = Instant::now();
    while port.counters().link_ups == 0 || !port.status().is_up() {
        port.rx_burst(pool, &mut RxBurst::new());
        ensure!(begun.elapsed() < Duration::from_secs(10), "no link: {:?}", port.status().last_reason());
    }
    Ok(())
}

fn frame(pool: &PacketPool, size: usize, number: usize) -> Option<SharedPacket> {
    let mut packet = pool.alloc()?;
    let bytes = packet.append(size)?;
    bytes.fill(number as u8);
    Some(packet.share())
}

/// Sends back what comes, for a while.
fn echo(port: &mut Memif, pool: &PacketPool, span: Duration) {
    /// Turns between looks at the clock.
    const TURNS: usize = 1_000;
    let over = Instant::now() + span;
    let mut received = RxBurst::new();
    let mut to_send = TxBurst::new();
    while Instant::now() < over {
        for _ in 0..TURNS {
            port.rx_burst(pool, &mut received);
            to_send.extend(received.drain(..).map(freeway_mem::Packet::share));
            while !to_send.is_empty() {
                port.tx_burst(&mut to_send);
            }
        }
    }
}

/// Two testpmd processes, the client with zero copy. What the client received a second.
fn testpmd(plan: &Plan, socket: &Path, run: usize, huge_pages: bool) -> Result<f64> {
    let start = |role: &str, cpu: usize| {
        let zero_copy = if role == "client" && !plan.copy { ",zero-copy=yes" } else { "" };
        // Line by line: it would keep what it says until it ends.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "dpdk-testpmd"]);
        // The main thread sleeps on the processor of the one that forwards.
        command.arg("--lcores").arg(format!("0@{cpu},1@{cpu}"));
        command.args(["--no-pci", "--single-file-segments", "--no-telemetry"]);
        if huge_pages {
            // Nothing is left behind of them, however it ends.
            command.arg("--in-memory");
        } else {
            command
                .arg("--no-huge")
                .arg(format!("--file-prefix=freeway-{role}-{}-{run}", std::process::id()));
        }
        command.args(["-m", "256"]);
        let device = format!(
            "--vdev=net_memif0,role={role},socket={},socket-abstract=no,id=0{zero_copy}",
            socket.display()
        );
        command.arg(device).args(["--", "-i", "--forward-mode=io", "--no-mlockall"]);
        command.args(["--total-num-mbufs=8192", &format!("--txpkts={}", plan.size)]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        child.map(Process).context("dpdk-testpmd")
    };
    let mut server = start("server", plan.cpus[0])?;
    say(&mut server, "start")?;
    let begun = Instant::now();
    while !socket.exists() {
        ensure!(begun.elapsed() < Duration::from_secs(20), "dpdk-testpmd does not start");
        sleep(Duration::from_millis(50));
    }
    sleep(Duration::from_millis(500));
    let mut client = start("client", plan.cpus[1])?;
    let output = client.0.stdout.take().context("testpmd's output")?;
    let mut lines = BufReader::new(output).lines();
    say(&mut client, "show port info 0")?;
    // It says this when it is ready, and its link comes up meanwhile.
    let mut next = |wanted: &str| -> Result<String> {
        for line in lines.by_ref() {
            let line = line?;
            if line.contains(wanted) {
                return Ok(line);
            }
        }
        bail!("dpdk-testpmd ended without '{wanted}'")
    };
    next("Link speed")?;
    sleep(Duration::from_millis(500));
    say(&mut client, &format!("start tx_first {}", plan.frames.div_ceil(32)))?;
    sleep(Duration::from_millis(500));
    say(&mut client, "show port stats 0")?;
    let before = packets(&next("RX-packets:")?)?;
    let begun = Instant::now();
    sleep(Duration::from_secs_f64(plan.seconds));
    say(&mut client, "show port stats 0")?;
    let received = packets(&next("RX-packets:")?)? - before;
    let elapsed = begun.elapsed().as_secs_f64();
    ensure!(received > 0.0, "testpmd's frames do not come back");
    Ok(received / elapsed)
}

fn say(process: &mut Process, line: &str) -> Result<()> {
    let input = process.0.stdin.as_mut().context("testpmd's input")?;
    writeln!(input, "{line}")?;
    Ok(input.flush()?)
}

/// The number behind `RX-packets:`.
fn packets(line: &str) -> Result<f64> {
    let rest = line.split("RX-packets:").nth(1).context("RX-packets")?;
    rest.split_whitespace().next().and_then(|number| number.parse().ok()).context("a number of packets")
}

/// Whether DPDK can have its own huge pages: enough are free, and it finds where to map them.
fn has_huge_pages() -> bool {
    /// 2 MiB pages of two testpmd processes, and some.
    const ENOUGH: u64 = 300;
    let free = std::fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    free.ok().and_then(|text| text.trim().parse::<u64>().ok()).is_some_and(|free| free >= ENOUGH)
        && mounts.lines().any(|mount| mount.split(' ').nth(2) == Some("hugetlbfs"))
}
