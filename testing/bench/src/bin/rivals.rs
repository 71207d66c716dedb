//! The cache beside memcached and the web server beside nginx: the same Linux client, the same veth pair, the same run.
//!
//! The figure is requests a second of the server's processor: answers, by the time that it did anything at all. Where
//! packets are received decides how much of the other side's work is in it (see `freeway_bench::placing`).

#![forbid(unsafe_code)]

use std::fs;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use freeway_bench::CoreTime;
use freeway_bench::placing::{Place, own_thread, steer};
use freeway_interop::pair::{CLIENT, Pair, SERVER};
use freeway_interop::server::{Server, binary};
use tempfile::TempDir;

/// The cache beside memcached, the web server beside nginx, over a veth pair. Needs root: it works in namespaces of its own,
/// and both programs.
///
/// Example: cargo run --release -p freeway-bench --bin rivals -- --rounds 5
#[derive(Debug, Parser)]
struct Args {
    /// The processors of the server and of the client.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1])]
    cpus: Vec<usize>,
    /// Connections, a measurement for each number.
    #[arg(long, value_delimiter = ',', default_value = "100,1000")]
    connections: Vec<u32>,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Rounds of all servers in turn, of which the medians count.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Where packets are received.
    #[arg(long, value_delimiter = ',', default_value = "client,apart")]
    place: Vec<Place>,
}

/// Who answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Contender {
    Memcached,
    FreewayCache,
    Nginx,
    FreewayHttp,
}

impl Contender {
    /// Each behind the one that it is held against.
    const ALL: [Self; 4] = [Self::Memcached, Self::FreewayCache, Self::Nginx, Self::FreewayHttp];

    const fn name(self) -> &'static str {
        match self {
            Self::Memcached => "memcached",
            Self::Nginx => "nginx",
            Self::FreewayCache => "freeway, cache",
            Self::FreewayHttp => "freeway, http",
        }
    }

    const fn is_freeway(self) -> bool {
        matches!(self, Self::FreewayCache | Self::FreewayHttp)
    }

    /// What the client asks, and how.
    const fn load(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Memcached | Self::FreewayCache => ("cache://198.18.0.2:11211", &["--keys", "10000"]),
            Self::Nginx | Self::FreewayHttp => ("http://198.18.0.2:80/", &[]),
        }
    }
}

/// A server that runs, and ends with this.
enum Running {
    Rival(Rival),
    Freeway(Server),
}

impl Running {
    fn stop(self) -> Result<()> {
        match self {
            Self::Rival(rival) => {
                drop(rival);
                Ok(())
            }
            Self::Freeway(server) => server.stop(),
        }
    }
}

struct Rival(Child);

impl Drop for Rival {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Answers a second.
    rate: f64,
    /// What part of the time the server's processor was busy.
    busy: f64,
    p50_us: f64,
    p99_us: f64,
}

impl Sample {
    fn per_cpu_second(&self) -> f64 {
        self.rate / self.busy.max(0.01)
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.cpus.len() == 2, "--cpus takes two processors");
    ensure!(args.rounds > 0 && args.seconds > 0, "nothing to measure");
    for &place in &args.place {
        println!("{}; medians of {} rounds", place.meaning(), args.rounds);
        println!(
            "{:<16} {:>11} {:>11} {:>6} {:>12} {:>7} {:>9} {:>9}",
            "", "connections", "requests/s", "busy", "per cpu s", "ratio", "p50 us", "p99 us"
        );
        for &connections in &args.connections {
            let mut samples = vec![Vec::new(); Contender::ALL.len()];
            for _ in 0..args.rounds {
                for (contender, samples) in Contender::ALL.iter().zip(&mut samples) {
                    let sample = one(&args, *contender, place, connections).context(contender.name())?;
                    samples.push(sample);
                }
            }
            for (index, contender) in Contender::ALL.into_iter().enumerate() {
                let rival = &samples[index & !1];
                print(contender, connections, &samples[index], rival);
            }
        }
    }
    Ok(())
}

fn one(args: &Args, contender: Contender, place: Place, connections: u32) -> Result<Sample> {
    let Some(pair) = Pair::lay("the benchmark of rivals", 1, 1_500)? else {
        bail!("this benchmark cannot run here")
    };
    let folder = TempDir::new()?;
    fs::write(folder.path().join("index.html"), "Hello, world!")?;
    let running = start(args, contender, &pair, &folder)?;
    if place != Place::Linux {
        steer(&pair.client, CLIENT, args.cpus[1])?;
    }
    if place == Place::Apart {
        // Where a program runs in the driver, RPS comes too late: the interface gets a thread.
        match contender.is_freeway() {
            true => own_thread(&pair.host, SERVER, args.cpus[0])?,
            false => steer(&pair.host, SERVER, args.cpus[0])?,
        }
    }
    sleep(Duration::from_secs(1));
    let sample = load(args, contender, &pair, connections);
    running.stop()?;
    sample
}

fn start(args: &Args, contender: Contender, pair: &Pair, folder: &TempDir) -> Result<Running> {
    let cpu = args.cpus[0].to_string();
    let root = folder.path().display().to_string();
    if contender.is_freeway() {
        let more = [
            "--cores",
            &cpu,
            "--idle",
            "sleep",
            "--max-connections",
            "8192",
            "--http",
            "80",
            "--root",
            &root,
            "--cache",
            "11211",
            "--cache-memory",
            "512M",
            "--cache-item",
            "56",
        ];
        return Ok(Running::Freeway(pair.serve(&format!("afxdp:{SERVER}"), &more)?));
    }
    pair.share()?;
    let mut command = pair.host.command("taskset");
    command.args(["-c", &cpu]);
    if contender == Contender::Memcached {
        command.args(["memcached", "-u", "nobody", "-t", "1", "-m", "512", "-c", "8192", "-l", "198.18.0.2"]);
    } else {
        let config = folder.path().join("nginx.conf");
        fs::write(&config, nginx(&root))?;
        command.arg("nginx").arg("-e").arg("/dev/null").arg("-c").arg(config);
    }
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Ok(Running::Rival(Rival(child.context("apt-get install memcached nginx-light util-linux")?)))
}

/// One worker without a log, files kept open, connections that stay.
fn nginx(root: &str) -> String {
    format!(
        "daemon off; master_process off; worker_processes 1; pid {root}/pid; error_log /dev/null;\n\
         events {{ worker_connections 8192; }}\n\
         http {{ access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_timeout 600;\n\
         keepalive_requests 1000000000; open_file_cache max=1000 inactive=600s;\n\
         client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;\n\
         uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;\n\
         server {{ listen 198.18.0.2:80 reuseport backlog=8192; root {root}; }} }}\n"
    )
}

/// The load, and what the server's processor did in the middle of it.
fn load(args: &Args, contender: Contender, pair: &Pair, connections: u32) -> Result<Sample> {
    let (target, more) = contender.load();
    let client = pair
        .client
        .command(binary()?)
        .args(["bench", target, "--via", "kernel", "--warm-up", "1s", "--json", "-"])
        .args(["--core", &args.cpus[1].to_string(), "--connections", &connections.to_string()])
        .args(["--duration", &format!("{}s", args.seconds + 1)])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("freeway bench")?;
    // Behind the warm-up, before the end.
    sleep(Duration::from_millis(1_700));
    let before = CoreTime::of(args.cpus[0])?;
    sleep(Duration::from_secs(args.seconds) - Duration::from_millis(300));
    let spent = CoreTime::of(args.cpus[0])?.since(before);
    let output = client.wait_with_output()?;
    let figures: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("freeway bench told nothing")?;
    let figure = |value: &serde_json::Value| value.as_f64().context("freeway bench lacks a figure");
    Ok(Sample {
        rate: figure(&figures["requests_per_s"])?,
        busy: spent.busy() / (args.seconds as f64 - 0.3),
        p50_us: figure(&figures["latency_us"]["p50"])?,
        p99_us: figure(&figures["latency_us"]["p99"])?,
    })
}

/// The median of what `of` says of each.
fn median<T>(samples: &[T], of: impl Fn(&T) -> f64) -> f64 {
    let mut all: Vec<f64> = samples.iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

fn print(contender: Contender, connections: u32, samples: &[Sample], rival: &[Sample]) {
    let pairs: Vec<_> = samples.iter().zip(rival).collect();
    println!(
        "{:<16} {connections:>11} {:>11.0} {:>5.0}% {:>12.0} {:>7.2} {:>9.0} {:>9.0}",
        contender.name(),
        median(samples, |sample| sample.rate),
        100.0 * median(samples, |sample| sample.busy),
        median(samples, Sample::per_cpu_second),
        median(&pairs, |(own, rival)| own.per_cpu_second() / rival.per_cpu_second()),
        median(samples, |sample| sample.p50_us),
        median(samples, |sample| sample.p99_us),
    );
}
