//! `freeway demo`: two hosts in one process, joined by an in-process cable; no device, no privilege.

use std::fs;
use std::io::{Write, sink, stdout};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use freeway::{ConnectConfig, CoreStats, Secrets, Stage, TcpConfig};
use freeway_httpd::Library;
use freeway_loadgen::{
    Cause, Download, Echo, EchoProgress, Gauge, Load, LoadConfig, LoadState, Pair, PairError, PairSize,
    Requests, Work, file_byte,
};

use crate::http::Http;
use crate::services::{Service, Services, State};

/// A small tour without any privilege: two hosts in one process, joined by an in-process cable.
///
/// Example: freeway demo --connections 200000
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Connections to open.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    connections: u32,
    /// Size of the file to transfer, in MiB.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=2048))]
    file_mib: u32,
    /// How long to send requests, in seconds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Write the figures as JSON to this file; - for standard output, instead of the text.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

const BUFFERS: u32 = 16_384;
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(args: &Args) -> Result<()> {
    let to_stdout = args.json.as_deref() == Some(Path::new("-"));
    // Text goes to standard output, unless the figures do.
    let mut out: Box<dyn Write> = if to_stdout { Box::new(sink()) } else { Box::new(stdout().lock()) };
    writeln!(out, "Two hosts in this process, one thread each, joined by a cable of shared memory.\n")?;
    let mut figures = Figures::new();
    transfer(&mut out, &mut figures, u64::from(args.file_mib) << 20)?;
    connections(&mut out, &mut figures, args)?;
    match &args.json {
        Some(_) if to_stdout => println!("{}", serde_json::Value::Object(figures)),
        Some(path) => fs::write(path, format!("{}\n", serde_json::Value::Object(figures)))
            .with_context(|| format!("{} cannot be written", path.display()))?,
        None => {}
    }
    Ok(())
}

/// Figures by name; a name ends in its unit.
type Figures = serde_json::Map<String, serde_json::Value>;

/// The server's file goes to the client, which compares every byte.
fn transfer(out: &mut impl Write, figures: &mut Figures, len: u64) -> Result<()> {
    let body: Arc<[u8]> = (0..len).map(file_byte).collect();
    let library = Library::of([("/file".to_owned(), body)]);
    let gauge = Gauge::default();
    let connect = ConnectConfig::new(SocketAddr::new(Pair::SERVER, 80));
    let download = Download::new(connect, "/file", len, gauge.clone());

    let begun = Instant::now();
    let size = PairSize { connections: 64, buffers: BUFFERS, sources: 1 };
    let pair = Pair::start(size, services(library)?, download).map_err(plain)?;
    while gauge.read().answered < len {
        let reading = gauge.read();
        ensure!(reading.failed == 0, "{} bytes came wrong", reading.failed);
        ensure!(begun.elapsed() < PATIENCE, "the file did not arrive in {PATIENCE:?}");
        progress(&format!("  file: {} of {} MiB", reading.answered >> 20, len >> 20));
        sleep(Duration::from_millis(20));
    }
    let seconds = begun.elapsed().as_secs_f64();
    progress("");
    pair.stop().map_err(plain)?;
    let gbits = len as f64 * 8.0 / seconds / 1e9;
    figures.insert("transfer_bits_per_s".into(), (gbits * 1e9).into());
    writeln!(
        out,
        "HTTP transfer   {} MiB in {seconds:.2} s, {gbits:.1} Gbit/s, every byte compared",
        len >> 20
    )?;
    Ok(())
}

/// Connections by the hundred thousand, then requests on all of them at random.
fn connections(out: &mut impl Write, figures: &mut Figures, args: &Args) -> Result<()> {
    let sources = args.connections.div_ceil(30_000);
    let size = PairSize { connections: args.connections, buffers: BUFFERS, sources };
    let config = LoadConfig {
        sources: size.sources(),
        ..LoadConfig::new(SocketAddr::new(Pair::SERVER, 7), args.connections)
    };
    let bytes = size.config(Secrets::random()?).stack.connection_bytes::<State>();
    let gauge = Gauge::default();
    let load = Load::new(&config, Echo::new(64), gauge.clone());
    gauge.hold(args.connections);

    let pair = Pair::start(size, services(Library::of([]))?, load).map_err(plain)?;
    let begun = Instant::now();
    let target = u64::from(args.connections);
    while gauge.read().open < target {
        let reading = gauge.read();
        ensure!(reading.failed == 0, "{} connections failed", reading.failed);
        ensure!(begun.elapsed() < PATIENCE, "only {} connections opened in {PATIENCE:?}", reading.open);
        progress(&format!("  connections: {} of {target}", reading.open));
        sleep(Duration::from_millis(20));
    }
    let seconds = begun.elapsed().as_secs_f64();
    progress("");
    figures.insert("connections".into(), target.into());
    figures.insert("connects_per_s".into(), (target as f64 / seconds).into());
    figures.insert("server_bytes_per_connection".into(), bytes.into());
    writeln!(
        out,
        "Connections     {target} opened in {seconds:.2} s, {:.0} a second; {bytes} bytes each on the server",
        target as f64 / seconds,
    )?;

    let cause = Cause::AnyAnswered(1_000.min(args.connections));
    gauge.order(Work::Requests(Requests { among: args.connections, cause }));
    sleep(Duration::from_millis(500));
    let (first, begun) = (gauge.read().answered, Instant::now());
    for second in 0..args.seconds {
        progress(&format!("  requests: {} of {} s", second, args.seconds));
        sleep(Duration::from_secs(1));
    }
    let answered = gauge.read().answered - first;
    let seconds = begun.elapsed().as_secs_f64();
    progress("");
    ensure!(gauge.read().failed == 0, "{} connections failed", gauge.read().failed);
    figures.insert("requests_per_s".into(), (answered as f64 / seconds).into());
    writeln!(
        out,
        "Requests        {:.0} a second of 64 bytes, on connections drawn at random from all {target}",
        answered as f64 / seconds,
    )?;
    let (server, _) = pair.stop().map_err(plain)?;
    cycles(out, figures, &server)
}

fn services(library: Library) -> Result<Services> {
    let (mut parts, _helpers) = Http::of(library).start(1, Secrets::random()?.flow_key)?;
    Ok(Services::new(vec![(Service::Echo, 7), (Service::Http, 80)], parts.pop(), TcpConfig::default()))
}

fn plain(error: PairError) -> anyhow::Error {
    anyhow!(error)
}

/// Where the server's core spent its cycles.
fn cycles(out: &mut impl Write, figures: &mut Figures, stats: &CoreStats) -> Result<()> {
    let frames = stats.get("turns", "rx_frames").unwrap_or(0) + stats.get("turns", "tx_frames").unwrap_or(0);
    if frames == 0 {
        return Ok(());
    }
    write!(out, "Cycles a frame ")?;
    for stage in Stage::ALL {
        let cycles = stats.stages.of(stage) / frames;
        figures.insert(format!("{}_cycles_per_frame", stage.name()), cycles.into());
        write!(out, " {} {cycles}", stage.name())?;
    }
    writeln!(out, "  (the server's core, over {frames} frames in and out)")?;
    Ok(())
}

/// Shows how far long work is, in place, where a person looks.
fn progress(text: &str) {
    use std::io::IsTerminal as _;
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}

/// So that the state of a load and that of the services cost the same.
const _: () = assert!(size_of::<LoadState<EchoProgress>>() == size_of::<State>());
