//! `freeway serve`: from flags to running cores.
//!
//! Everything is checked before anything is made; every mistake is said in one go.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail};
use freeway::port::Port;
use freeway::{
    BuildError, CorePanic, HostConfig, Idle, Interface, Running, Runtime, RuntimeConfig, Seat, Secrets,
    TcpConfig, allowed_cpus,
};
use freeway_httpd::{Documents, LoadLimits};
use freeway_memif::MemifQueue;
use freeway_tap::{LinuxEnd, Tap, configure};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::device::{AUTO_NAME, Addresses, Cidr, Device, check_gateway};
use crate::services::{Service, Services, State};

/// Serves echo, discard, chargen and HTTP on a device, with a TCP/IP stack of its own.
///
/// Example: freeway serve --dev tap:fw0 --addr 198.18.0.2/24 --http 80 --root /srv/www
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The device: auto (a TAP device freeway0), tap:NAME, created or opened, or
    /// memif:SOCKET[,role=server|client][,id=N][,queues=N][,secret=TEXT][,peer=untrusted|trusted][,slots=N].
    #[arg(long, default_value = "auto")]
    dev: Device,
    /// An address of this host with its subnet's prefix, IPv4 or IPv6; repeatable [default: 198.18.0.2/24, fdc1::2/64]
    #[arg(long, value_name = "CIDR")]
    addr: Vec<Cidr>,
    /// An address of the Linux end; repeatable [default: the first of each subnet]
    #[arg(long, value_name = "CIDR")]
    host_addr: Vec<Cidr>,
    /// A router for all other networks, one of each IP version; repeatable
    #[arg(long, value_name = "ADDR")]
    gateway: Vec<IpAddr>,
    /// The longest IP packet on the device, in bytes.
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u16).range(1280..=9000))]
    mtu: u16,
    /// Processors to run on, one core each [default: all but the first; the only one if there is one]
    #[arg(long, value_delimiter = ',', value_name = "CPU,...")]
    cores: Vec<usize>,
    /// Connections at once, over all cores.
    #[arg(long, default_value_t = 65_536, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    max_connections: u32,
    /// Packet buffers of each core, 2 KiB or more each.
    #[arg(long, default_value_t = 16_384, value_name = "N", value_parser = clap::value_parser!(u32).range(256..=8_000_000))]
    buffers: u32,
    /// Port of the HTTP server; 0 for none.
    #[arg(long, default_value_t = 80, value_name = "PORT")]
    http: u16,
    /// Folder that the HTTP server serves, read into memory at start [default: a page that says it works]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Port of the echo service (RFC 862), TCP and UDP; 0 for none.
    #[arg(long, default_value_t = 7, value_name = "PORT")]
    echo: u16,
    /// Port of the discard service (RFC 863), TCP and UDP; 0 for none.
    #[arg(long, default_value_t = 9, value_name = "PORT")]
    discard: u16,
    /// Port of the character generator (RFC 864), TCP and UDP; 0 for none.
    #[arg(long, default_value_t = 19, value_name = "PORT")]
    chargen: u16,
    /// What a core does when there is nothing to do: sleep, adaptive or spin.
    #[arg(long, default_value = "adaptive")]
    idle: Idle,
}

/// What the flags come to, checked.
struct Plan {
    addresses: Addresses,
    ports: Vec<(Service, u16)>,
    cpus: Vec<usize>,
    host: HostConfig,
    documents: Documents,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let plan = plan(args)?;
    // Signals are caught before anything is made, so that nothing made is left behind.
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals cannot be caught")?;
    let ports = open(args, &plan)?;
    let ready = format!(
        "ready dev={} addr={} cores={} services={}",
        args.dev,
        list(plan.addresses.own.iter()),
        list(plan.cpus.iter()),
        list(plan.ports.iter().map(|(service, port)| format!("{}:{port}", service.name()))),
    );
    let running = start(args, plan, ports)?;
    let stop = running.stop_handle();
    let handle = signals.handle();
    let waiter = thread::spawn(move || {
        if signals.forever().next().is_some() {
            stop.stop();
        }
    });
    eprintln!("{ready}");
    let ended = running.join();
    handle.close();
    // The waiter only waits: it ends with its signals and cannot panic.
    let _ = waiter.join();
    ended.map(drop).map_err(|panic: CorePanic| anyhow!(panic))
}

/// Checks all flags; what is wrong is said in one message, a line each.
fn plan(args: &Args) -> Result<Plan> {
    let mut wrong = Vec::new();
    let mut note = |error: anyhow::Error| wrong.push(format!("{error:#}"));

    let addresses = Addresses::complete(&args.addr, &args.host_addr).map_err(&mut note).ok();
    for &gateway in &args.gateway {
        if let Some(Err(error)) = addresses.as_ref().map(|addresses| check_gateway(gateway, &addresses.own)) {
            note(error);
        }
    }
    let ports = ports(args).map_err(&mut note).ok();
    let cpus = cpus(&args.cores).map_err(&mut note).ok();
    let documents = documents(args).map_err(&mut note).ok();
    let host = host(args, cpus.as_ref().map_or(1, Vec::len)).map_err(&mut note).ok();
    match (addresses, ports, cpus, host, documents) {
        (Some(addresses), Some(ports), Some(cpus), Some(host), Some(documents)) if wrong.is_empty() => {
            Ok(Plan { addresses, ports, cpus, host, documents })
        }
        _ => bail!("{}", wrong.join("\nfreeway: ")),
    }
}

fn ports(args: &Args) -> Result<Vec<(Service, u16)>> {
    let ports = [
        (Service::Echo, args.echo),
        (Service::Discard, args.discard),
        (Service::Chargen, args.chargen),
        (Service::Http, args.http),
    ];
    let ports: Vec<_> = ports.into_iter().filter(|&(_, port)| port != 0).collect();
    for (place, (service, port)) in ports.iter().enumerate() {
        if let Some((other, _)) = ports[..place].iter().find(|(_, taken)| taken == port) {
            bail!(
                "--{} and --{} both want port {port}: give one of them another",
                other.name(),
                service.name()
            );
        }
    }
    if ports.is_empty() {
        bail!("there is no service to serve: give one of --echo, --discard, --chargen and --http a port");
    }
    Ok(ports)
}

/// The processors to run on. Linux keeps the first one, when there is another.
fn cpus(wanted: &[usize]) -> Result<Vec<usize>> {
    let allowed = allowed_cpus().context("the processors of this process cannot be asked for")?;
    if wanted.is_empty() {
        let others = allowed.get(1..).filter(|others| !others.is_empty());
        return Ok(others.unwrap_or(&allowed).to_vec());
    }
    for (place, cpu) in wanted.iter().enumerate() {
        if wanted[..place].contains(cpu) {
            bail!("--cores names processor {cpu} twice: each core needs one of its own");
        }
        if !allowed.contains(cpu) {
            bail!("--cores {cpu}: this process may run on {} only", list(allowed.iter()));
        }
    }
    Ok(wanted.to_vec())
}

fn documents(args: &Args) -> Result<Documents> {
    match &args.root {
        Some(root) => {
            let documents = Documents::load(root, LoadLimits::default()).context("--root")?;
            eprintln!("{} documents, {} bytes, from {}", documents.len(), documents.bytes(), root.display());
            Ok(documents)
        }
        None => Ok(Documents::welcome()),
    }
}

/// The size of each core's host; refused with the sum when it does not fit into memory.
fn host(args: &Args, cores: usize) -> Result<HostConfig> {
    let secrets = Secrets::random().context("the system gives no random numbers")?;
    let cores = u32::try_from(cores.max(1)).unwrap_or(u32::MAX);
    let mut config =
        HostConfig::new(secrets).max_connections(args.max_connections.div_ceil(cores)).buffers(args.buffers);
    let frame = u32::from(args.mtu) + u32::from(config.stack.pool.headroom) + 64;
    config.stack.pool.buffer_size = config.stack.pool.buffer_size.max(frame.next_power_of_two());
    config.stack.pool.shared = matches!(&args.dev, Device::Memif(spec) if spec.lends());
    let wanted = config.arena_bytes::<State>() as u64 * u64::from(cores);
    if let Some(available) = available_memory()
        && wanted > available
    {
        bail!(
            "{} connections and {} buffers on each of {cores} cores take {} MiB, {} MiB are available: \
             lower --max-connections or --buffers",
            args.max_connections,
            args.buffers,
            wanted >> 20,
            available >> 20
        );
    }
    Ok(config)
}

/// What Linux says can be allocated without swapping, in bytes.
fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Makes a port on the thread of its core.
type MakePort = Box<dyn FnOnce() -> Box<dyn Port> + Send>;

/// The device, with a queue for each core, and its Linux end if it has one.
fn open(args: &Args, plan: &Plan) -> Result<Vec<MakePort>> {
    let (name, advice) = match &args.dev {
        Device::Auto => {
            (AUTO_NAME, "without the rights for a TAP device: `freeway demo` needs none".to_owned())
        }
        Device::Tap(name) => (name.as_str(), format!("device {}", args.dev)),
        Device::Memif(spec) => {
            let queues =
                spec.open(plan.cpus.len(), args.mtu).with_context(|| format!("device {}", args.dev))?;
            return Ok(queues.into_iter().map(make_memif).collect());
        }
    };
    let mut taps = Tap::open(name, plan.cpus.len()).context(advice.clone())?;
    let addresses = plan.addresses.host.iter().map(|cidr| (cidr.addr, cidr.prefix_len)).collect();
    configure(&mut taps, &LinuxEnd { addresses, mtu: args.mtu }).context(advice)?;
    Ok(taps.into_iter().map(make_tap).collect())
}

fn make_tap(tap: Tap) -> MakePort {
    Box::new(|| Box::new(tap))
}

fn make_memif(queue: MemifQueue) -> MakePort {
    Box::new(|| Box::new(queue.into_port()))
}

fn start(args: &Args, plan: Plan, makers: Vec<MakePort>) -> Result<Running> {
    let Plan { addresses, ports, cpus, host, documents } = plan;
    let runtime = RuntimeConfig { idle: args.idle, ..RuntimeConfig::pinned(cpus) };
    let runtime = Runtime::new(runtime)?;
    let builders = makers.into_iter().map(|make| {
        let (host, ports, documents) = (host.clone(), ports.clone(), documents.clone());
        let (own, gateways) = (addresses.own.clone(), args.gateway.clone());
        move |seat: Seat| -> Result<_, BuildError> {
            let mut interface = Interface::boxed(make());
            for cidr in own {
                interface = interface.address(freeway::Cidr::new(cidr.addr, cidr.prefix_len));
            }
            for gateway in gateways {
                interface = match gateway {
                    IpAddr::V4(router) => interface.gateway_v4(router),
                    IpAddr::V6(router) => interface.gateway_v6(router),
                };
            }
            let services =
                Services::new(ports, documents, TcpConfig { mss: u16::MAX, ..TcpConfig::default() });
            let now = seat.now();
            Ok(host.build(seat.mailboxes, now, services, [interface])?)
        }
    });
    Ok(runtime.start(builders)?)
}

fn list(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}
