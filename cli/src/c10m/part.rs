//! The processes of a benchmark: each does one thing and answers questions about it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Subcommand;
use freeway::{
    BuildError, CoreStats, Idle, Running, Runtime, RuntimeConfig, Seat, Secrets, Seed, Stage, TcpConfig,
};
use freeway_loadgen::{
    Echo, Gauge, KernelLoad, KernelServer, KernelService, Latencies, Load, LoadConfig, Percentiles, Reading,
    Targets, Work,
};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::frames::Bare;
use super::noise;
use super::plan::{Side, Size, interface};
use super::talk::{Ask, ClientSays, ServerSays, answer_all, cpu_seconds, resident_bytes};
use crate::services::{Service, Services};

/// One of the processes that a benchmark starts.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The server under test.
    Server(Pairs),
    /// The load.
    Client(Pairs),
    /// Linux's server, over its own stack.
    KernelServer(Pairs),
    /// The load on Linux's sockets.
    KernelClient(Pairs),
    /// Bare frames come back from here.
    Mirror(Pairs),
    /// Bare frames go out from here.
    Frames(Pairs),
}

/// The pairs that a process has an end of.
#[derive(Clone, Debug, clap::Args)]
struct Pairs {
    /// The memif socket's abstract name.
    #[arg(long, default_value = "")]
    socket: String,
    /// The processor of each core.
    #[arg(long, value_delimiter = ',')]
    cpus: Vec<usize>,
    #[command(flatten)]
    size: Size,
    /// Requests under way on a connection.
    #[arg(long, default_value_t = 1)]
    depth: u32,
    /// Bytes of a request.
    #[arg(long, default_value_t = 64)]
    request: usize,
}

/// The ports of the services.
const ECHO: u16 = 7;
const DISCARD: u16 = 9;
const CHARGEN: u16 = 19;

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.what {
        What::Server(pairs) => server(pairs),
        What::Client(pairs) => client(pairs),
        What::KernelServer(pairs) => kernel_server(pairs),
        What::KernelClient(pairs) => kernel_client(pairs),
        What::Mirror(pairs) => mirror(pairs),
        What::Frames(pairs) => frames(pairs),
    }
}

/// Binds the calling thread to a processor.
pub(crate) fn pin(cpu: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).with_context(|| format!("processor {cpu}"))
}

/// A runtime of one core, which spins.
fn one_core(cpu: usize) -> Result<Runtime> {
    Ok(Runtime::new(RuntimeConfig { idle: Idle::Spin, ..RuntimeConfig::pinned([cpu]) })?)
}

fn server(pairs: &Pairs) -> Result<()> {
    let Pairs { socket, cpus, size, .. } = pairs;
    let secrets = Secrets::random()?;
    let queues = size.open(socket, cpus.len() as u32, Side::Server)?;
    let mut cores = Vec::new();
    for ((&cpu, queue), pair) in cpus.iter().zip(queues).zip(0..) {
        let host = size.host(secrets, Side::Server);
        let build = move |seat: Seat| -> Result<_, BuildError> {
            let interface = interface(queue, &[Size::server(pair)]);
            let ports = vec![(Service::Echo, ECHO), (Service::Discard, DISCARD), (Service::Chargen, CHARGEN)];
            let services = Services::new(ports, None, TcpConfig::default());
            let now = seat.now();
            Ok(host.build(seat.mailboxes, now, services, [interface])?)
        };
        cores.push(one_core(cpu)?.start([build])?);
    }
    answer_all(|ask| match ask {
        Ask::Server => Ok(server_says(&cores)),
        other => bail!("a server does not know {other:?}"),
    })
}

fn server_says(cores: &[Running]) -> ServerSays {
    let mut says = ServerSays { resident_bytes: resident_bytes("self"), ..ServerSays::default() };
    says.stages = Stage::ALL.iter().map(|stage| (stage.name().to_owned(), 0)).collect();
    for stats in cores.iter().flat_map(Running::stats) {
        for (sum, stage) in says.stages.iter_mut().zip(Stage::ALL) {
            sum.1 += stats.stages.of(stage);
        }
        let count = |group, name| stats.get(group, name).unwrap_or(0);
        says.idle_cycles += stats.stages.idle;
        says.frames += count("turns", "rx_frames") + count("turns", "tx_frames");
        says.bursts.0 += stats.bursts.total();
        says.bursts.1 += stats.bursts.frames();
        says.retransmitted += count("tcp", "retransmitted");
        for (group, name, value) in stats.drops() {
            let key = format!("{group} {name}");
            match says.drops.iter_mut().find(|(known, _)| *known == key) {
                Some((_, sum)) => *sum += value,
                None => says.drops.push((key, value)),
            }
        }
    }
    says
}

/// The loads of a process, one a core.
struct Loads {
    begun: Instant,
    gauges: Vec<Gauge>,
    /// The cores of Freeway's stack, if the loads are on it.
    cores: Vec<Running>,
}

/// What the load of one pair asks, and from where.
fn load(pairs: &Pairs, pair: u32) -> LoadConfig {
    let Pairs { size, depth, .. } = pairs;
    let to = |port| SocketAddr::new(Size::server(pair), port);
    LoadConfig {
        targets: Targets { requests: to(ECHO), sink: to(DISCARD), source: to(CHARGEN), datagrams: to(ECHO) },
        sources: size.clients(pair),
        depth: *depth,
        // The other end is known to be there and to remember nothing of a closed connection.
        tcp: TcpConfig { time_wait: freeway::Duration::from_millis(100), ..TcpConfig::default() },
        seed: Seed(1 + u64::from(pair)),
        ..LoadConfig::new(to(ECHO), size.connections)
    }
}

fn client(pairs: &Pairs) -> Result<()> {
    let Pairs { socket, cpus, size, depth: _, request } = pairs;
    let secrets = Secrets::random()?;
    let queues = size.open(socket, cpus.len() as u32, Side::Client)?;
    let links: Vec<_> = queues.iter().map(freeway_memif::MemifQueue::status).collect();
    let (mut cores, mut gauges) = (Vec::new(), Vec::new());
    for ((&cpu, queue), pair) in cpus.iter().zip(queues).zip(0..) {
        let host = size.host(secrets, Side::Client);
        let (gauge, addresses) = (Gauge::default(), size.clients(pair));
        let (config, load_gauge, request) = (load(pairs, pair), gauge.clone(), *request);
        let build = move |seat: Seat| -> Result<_, BuildError> {
            let load = Load::new(&config, Echo::new(request), load_gauge);
            let interface = interface(queue, &addresses);
            let now = seat.now();
            Ok(host.build(seat.mailboxes, now, load, [interface])?)
        };
        cores.push(one_core(cpu)?.start([build])?);
        gauges.push(gauge);
    }
    for link in links {
        if !link.wait_for(true, Duration::from_secs(60)) {
            bail!("the server is not there: {:?}", link.last_reason());
        }
    }
    let loads = Loads { begun: Instant::now(), gauges, cores };
    answer_all(|ask| loads.answer(ask))
}

impl Loads {
    fn answer(&self, ask: &Ask) -> Result<ClientSays> {
        let latencies = match ask {
            Ask::Hold { cores, connections } => {
                self.for_each(*cores, |gauge, used| gauge.hold(if used { *connections } else { 0 }));
                Percentiles::default()
            }
            Ask::Work { cores, work } => {
                self.for_each(*cores, |gauge, used| gauge.order(if used { *work } else { Work::Hold }));
                Percentiles::default()
            }
            Ask::Read => Percentiles::default(),
            Ask::Mark => return self.mark(),
            other => bail!("a client does not know {other:?}"),
        };
        Ok(self.says(latencies))
    }

    fn for_each(&self, cores: u32, tell: impl Fn(&Gauge, bool)) {
        for (gauge, number) in self.gauges.iter().zip(0..) {
            tell(gauge, number < cores);
        }
    }

    fn says(&self, latencies: Percentiles) -> ClientSays {
        let readings = self.gauges.iter().map(Gauge::read);
        let stats: Vec<CoreStats> = self.cores.iter().flat_map(Running::stats).collect();
        ClientSays {
            at_s: self.begun.elapsed().as_secs_f64(),
            reading: readings.fold(Reading::default(), Reading::plus),
            latencies,
            cpu_s: cpu_seconds(),
            resident_bytes: resident_bytes("self"),
            retransmitted: stats.iter().filter_map(|stats| stats.get("tcp", "retransmitted")).sum(),
        }
    }

    /// Counts and latencies of the same moment, as nearly as a turn.
    fn mark(&self) -> Result<ClientSays> {
        for gauge in &self.gauges {
            gauge.ask_latencies();
        }
        let says = self.says(Percentiles::default());
        let mut all = Latencies::new();
        let begun = Instant::now();
        for gauge in &self.gauges {
            loop {
                if let Some(latencies) = gauge.latencies() {
                    all.add(&latencies);
                    break;
                }
                if begun.elapsed() > Duration::from_secs(10) {
                    bail!("a load does not answer");
                }
                thread::sleep(Duration::from_micros(200));
            }
        }
        Ok(ClientSays { latencies: all.percentiles(), ..says })
    }
}

/// Threads that end with the process's questions.
struct Threads {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<Result<()>>>,
}

impl Threads {
    /// One thread on each processor, which runs until told to stop.
    fn start(
        cpus: &[usize],
        work: impl Fn(u32, &AtomicBool, &dyn Fn()) -> Result<()> + Clone + Send + 'static,
    ) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = mpsc::channel();
        let mut threads = Vec::new();
        for (&cpu, number) in cpus.iter().zip(0..) {
            let (work, stop, ready) = (work.clone(), Arc::clone(&stop), ready.clone());
            threads.push(thread::Builder::new().name("kernel".into()).spawn(move || {
                // Whoever started it waits for one word, or is gone.
                let say = |is_well| {
                    let _ = ready.send(is_well);
                };
                let done = pin(cpu).and_then(|()| work(number, &stop, &|| say(true)));
                if done.is_err() {
                    say(false);
                }
                done
            })?);
        }
        drop(ready);
        let well = is_ready.iter().take(cpus.len()).filter(|&is_well| is_well).count();
        let all = Self { stop, threads };
        if well < cpus.len() {
            all.end()?;
            bail!("a thread ended before it began");
        }
        Ok(all)
    }

    fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow!("a thread panicked"))??;
        }
        Ok(())
    }
}

/// Lets this process have as many descriptors as Linux allows it.
fn all_descriptors() -> Result<()> {
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let limit = rustix::process::Rlimit { current: most, maximum: most };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).context("the limit of descriptors")
}

fn kernel_server(pairs: &Pairs) -> Result<()> {
    all_descriptors()?;
    let threads = Threads::start(&pairs.cpus, |number, stop, ready| {
        let ports = [
            (ECHO, KernelService::Echo),
            (DISCARD, KernelService::Discard),
            (CHARGEN, KernelService::Source),
        ];
        let mut server = KernelServer::new(&ports, Some(Size::server(number)))?;
        ready();
        Ok(server.run(stop)?)
    })?;
    answer_all(|ask| match ask {
        Ask::Server => Ok(ServerSays { resident_bytes: resident_bytes("self"), ..ServerSays::default() }),
        other => bail!("a server does not know {other:?}"),
    })?;
    threads.end()
}

fn kernel_client(pairs: &Pairs) -> Result<()> {
    all_descriptors()?;
    let gauges: Vec<Gauge> = pairs.cpus.iter().map(|_| Gauge::default()).collect();
    let (own, of_threads) = (pairs.clone(), gauges.clone());
    let threads = Threads::start(&pairs.cpus, move |number, stop, ready| {
        let gauge = of_threads.get(number as usize).cloned().unwrap_or_default();
        let mut load = KernelLoad::new(&load(&own, number), Echo::new(own.request), gauge)?;
        ready();
        Ok(load.run(stop)?)
    })?;
    let loads = Loads { begun: Instant::now(), gauges, cores: Vec::new() };
    answer_all(|ask| loads.answer(ask))?;
    threads.end()
}

/// A queue, bare, on a thread of its own.
fn bare(
    pairs: &Pairs,
    side: Side,
    work: impl FnOnce(Bare) -> Result<()> + Send + 'static,
) -> Result<thread::JoinHandle<()>> {
    let Pairs { socket, cpus, size, .. } = pairs;
    let cpu = *cpus.first().context("a processor")?;
    let queue = size.open(socket, 1, side)?.pop().context("a queue")?;
    let size = *size;
    Ok(thread::Builder::new().name("bare".into()).spawn(move || {
        let done = pin(cpu).and_then(|()| Bare::new(queue, size, side)).and_then(work);
        if let Err(error) = done {
            eprintln!("freeway: bare frames: {error:#}");
        }
    })?)
}

fn mirror(pairs: &Pairs) -> Result<()> {
    let (stop, stopped) = mpsc::channel::<()>();
    let thread = bare(pairs, Side::Server, move |mut bare| {
        bare.echo(|| stopped.try_recv() == Err(mpsc::TryRecvError::Disconnected));
        Ok(())
    })?;
    answer_all(|ask| -> Result<()> { bail!("a mirror does not know {ask:?}") })?;
    drop(stop);
    thread.join().map_err(|_| anyhow!("the mirror panicked"))
}

fn frames(pairs: &Pairs) -> Result<()> {
    let (ask, asked) = mpsc::channel::<(f64, f64)>();
    let (answer, answered) = mpsc::channel::<Result<Percentiles>>();
    let cpu = *pairs.cpus.first().context("a processor")?;
    let thread = bare(pairs, Side::Client, move |mut bare| {
        bare.wait_for_link()?;
        for (rate, seconds) in asked {
            // No rate at all: the loop alone.
            let found = if rate > 0.0 {
                bare.ask(rate, seconds)
            } else {
                pin(cpu)?;
                Ok(noise::spin(Duration::from_secs_f64(seconds)))
            };
            if answer.send(found).is_err() {
                break;
            }
        }
        Ok(())
    })?;
    answer_all(|question| match question {
        Ask::Frames { rate, seconds } => {
            ask.send((*rate, *seconds)).context("the sender is gone")?;
            answered.recv().context("the sender is gone")?
        }
        other => bail!("a sender of frames does not know {other:?}"),
    })?;
    drop(ask);
    thread.join().map_err(|_| anyhow!("the sender panicked"))
}
