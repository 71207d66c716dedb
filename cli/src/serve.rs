//! `freeway serve`: from flags to running cores.
//!
//! Everything is checked before anything is made; every mistake is said in one go.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail};
use freeway::{
    AcceptLimits, BuildError, CorePanic, HostConfig, Idle, IfaceId, Interface, MailConfig, Running, Runtime,
    RuntimeConfig, Seat, Secrets, TcpConfig, allowed_cpus,
};
use freeway_afxdp::{LinuxRoute, Transport};
use freeway_cache::{CacheConfig, CacheServer, StoreConfig};
use freeway_control::{Server as AdminServer, admin};
use freeway_memcache::Protocol;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cached::Cached;
use crate::device::{Addresses, Cidr, Device, check_gateway};
use crate::http::{self, Helpers, Http};
use crate::open::{MakePort, Opened, SHARED_PORTS, Wish, open};
use crate::services::{Service, Services, State};

/// Connections at once by default, over all cores.
const MAX_CONNECTIONS: u32 = 65_536;
/// Packet buffers of each core by default.
const BUFFERS: u32 = 16_384;

/// Serves echo, discard, chargen, HTTP and a cache on a device, with a TCP/IP stack of its own.
///
/// Example: freeway serve --dev tap:fw0 --addr 198.18.0.2/24 --http 80 --root /srv/www
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The device: auto (a veth pair freeway0 with AF_XDP, else a TAP device), tap:NAME, created or opened,
    /// afxdp:IFACE[,queues=N][,mode=native|generic|auto][,copy=auto|copy|zero], or
    /// memif:SOCKET[,role=server|client][,id=N][,queues=N][,secret=TEXT][,peer=untrusted|trusted][,slots=N].
    #[arg(long, default_value = "auto")]
    dev: Device,
    /// An address of this host with its subnet's prefix, IPv4 or IPv6; repeatable [default: 198.18.0.2/24, fdc1::2/64]
    #[arg(long, value_name = "CIDR")]
    addr: Vec<Cidr>,
    /// An address of the Linux end; repeatable [default: the first of each subnet]
    #[arg(long, value_name = "CIDR")]
    host_addr: Vec<Cidr>,
    /// Serve on the addresses that Linux has on the interface of --dev afxdp, and leave it everything else; --addr
    /// adds addresses of Freeway's own.
    #[arg(long)]
    shared_address: bool,
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
    #[arg(long, default_value_t = MAX_CONNECTIONS, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    max_connections: u32,
    /// Packet buffers of each core, 2 KiB or more each.
    #[arg(long, default_value_t = BUFFERS, value_name = "N", value_parser = clap::value_parser!(u32).range(256..=8_000_000))]
    buffers: u32,
    /// Port of the HTTP server; 0 for none.
    #[arg(long, default_value_t = 80, value_name = "PORT")]
    http: u16,
    /// Port of the echo service (RFC 862), TCP and UDP; 0 for none.
    #[arg(long, default_value_t = 7, value_name = "PORT")]
    echo: u16,
    /// Port of the discard service (RFC 863), TCP and UDP; 0 for none.
    #[arg(long, default_value_t = 9, value_name = "PORT")]
    discard: u16,
    /// Port of the character generator (RFC 864), TCP and UDP; 0 for none.
    #[arg(long, default_value_t = 19, value_name = "PORT")]
    chargen: u16,
    /// Port of the cache, which speaks memcached's protocols; 0 for none. It runs on one core.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    cache: u16,
    /// All memory of the cache, mapped at start: a number of bytes, with K, M or G behind it for powers of 1024.
    #[arg(long, default_value = "64M", value_name = "SIZE", value_parser = size)]
    cache_memory: usize,
    /// The largest item of the cache.
    #[arg(long, default_value = "1M", value_name = "SIZE", value_parser = size)]
    cache_item_max: usize,
    /// Bytes of an item of the cache on average, key included: the index is sized by it.
    #[arg(long, default_value = "96", value_name = "SIZE", value_parser = size)]
    cache_item: usize,
    /// Port of the cache over UDP; 0 for none. Anybody can make it answer to somebody else: open it to trusted networks.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    cache_udp: u16,
    /// Whether a client may end the process by the cache's command shutdown.
    #[arg(long)]
    cache_shutdown: bool,
    /// What `freeway memcached` sets besides.
    #[arg(skip)]
    pub(crate) cache_settings: CacheSettings,
    /// What a core does when there is nothing to do: sleep, adaptive or spin.
    #[arg(long, default_value = "adaptive")]
    idle: Idle,
    /// The Unix socket by which freeway top, stats and cycles ask this server, or none [default: /run/freeway/admin.sock
    /// for root, else in the user's runtime folder]
    #[arg(long, value_name = "SOCKET")]
    admin: Option<PathBuf>,
    /// Seconds that HTTP connections are given to end when the service is asked to.
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    drain: u64,
    #[command(flatten)]
    web: http::Args,
}

/// Settings of the cache that have no flag here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CacheSettings {
    pub(crate) protocol: Protocol,
    /// Names and passwords, `user:password` each.
    pub(crate) users: Vec<String>,
    /// Whether flush_all is allowed.
    pub(crate) flush: bool,
    /// Whether keys may be listed.
    pub(crate) dump: bool,
    /// Whether clients may watch.
    pub(crate) watch: bool,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { protocol: Protocol::default(), users: Vec::new(), flush: true, dump: true, watch: true }
    }
}

/// What the flags come to, checked.
struct Plan {
    addresses: Addresses,
    ports: Vec<(Service, u16)>,
    cpus: Vec<usize>,
    host: HostConfig,
    cache: Option<CacheConfig>,
    http: Http,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let plan = plan(args)?;
    // Signals are caught before anything is made, so that nothing made is left behind.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("signals cannot be caught")?;
    let opened = open(&Wish {
        device: &args.dev,
        addresses: &plan.addresses,
        shared: args.shared_address,
        services: plan.ports.iter().flat_map(|&(service, port)| transports(service, port)).collect(),
        mtu: args.mtu,
        cores: plan.cpus.len(),
    })?;
    let ready = format!(
        "ready dev={} addr={} cores={} services={}",
        opened.label,
        list(opened.addresses.iter()),
        list(plan.cpus.iter()),
        list(plan.ports.iter().map(|(service, port)| format!("{}:{port}", service.name()))),
    );
    let ending = Arc::new(AtomicBool::new(false));
    let (running, helpers) = start(args, plan, opened, &ending)?;
    let _admin = admin(args, &running, &ready)?;
    let stop = running.stop_handle();
    let stats = running.stats_reader();
    let handle = signals.handle();
    let drain = Duration::from_secs(args.drain);
    let waiter = thread::spawn(move || {
        let mut helpers = helpers;
        for signal in signals.forever() {
            if signal != SIGHUP {
                break;
            }
            helpers.refresh();
        }
        ending.store(true, Ordering::Relaxed);
        let deadline = std::time::Instant::now() + drain;
        let is_open = || stats.read().iter().any(|core| core.get("tables", "connections").unwrap_or(0) > 0);
        while std::time::Instant::now() < deadline && is_open() {
            thread::sleep(Duration::from_millis(50));
        }
        stop.stop();
        helpers
    });
    eprintln!("{ready}");
    let ended = running.join();
    handle.close();
    // The waiter ends with its signals and cannot panic; the log is written to its end.
    drop(waiter.join());
    ended.map(drop).map_err(|panic: CorePanic| anyhow!(panic))
}

/// Opens the admin socket. One that was asked for must be there; without the usual one a server serves all the same.
fn admin(args: &Args, running: &Running, ready: &str) -> Result<Option<AdminServer>> {
    let path = match &args.admin {
        Some(path) if path.as_os_str() == "none" => return Ok(None),
        Some(path) => path.clone(),
        None => admin::default_path(),
    };
    match AdminServer::open(&path, running.stats_reader(), ready) {
        Ok(server) => Ok(Some(server)),
        Err(error) if args.admin.is_some() => Err(error.into()),
        Err(error) => {
            eprintln!("freeway: {error}; nobody can ask this server");
            Ok(None)
        }
    }
}

/// Checks all flags; what is wrong is said in one message, a line each.
fn plan(args: &Args) -> Result<Plan> {
    let mut wrong = Vec::new();
    let mut note = |error: anyhow::Error| wrong.push(format!("{error:#}"));

    let addresses = addresses(args).map_err(&mut note).ok();
    for &gateway in &args.gateway {
        // With a shared address the subnets are Linux's, and known later.
        let own = addresses.as_ref().filter(|_| !args.shared_address);
        if let Some(Err(error)) = own.map(|addresses| check_gateway(gateway, &addresses.own)) {
            note(error);
        }
    }
    let ports = ports(args).map_err(&mut note).ok();
    let cpus = cpus(&args.cores).map_err(&mut note).ok();
    let http = Http::new(&args.web).map_err(&mut note).ok();
    let cache = cache(args, cpus.as_ref().map_or(1, Vec::len)).map_err(&mut note).ok();
    let host = host(args, cpus.as_ref().map_or(1, Vec::len)).map_err(&mut note).ok();
    match (addresses, ports, cpus, host, http, cache) {
        (Some(addresses), Some(ports), Some(cpus), Some(host), Some(http), Some(cache))
            if wrong.is_empty() =>
        {
            Ok(Plan { addresses, ports, cpus, host, http, cache })
        }
        _ => bail!("{}", wrong.join("\nfreeway: ")),
    }
}

/// Both ends' addresses. Defaults are for devices that Freeway makes, and for its end of a memif.
fn addresses(args: &Args) -> Result<Addresses> {
    if args.shared_address && !matches!(args.dev, Device::Afxdp(_)) {
        bail!("--shared-address needs an interface that Linux has: --dev afxdp:IFACE");
    }
    let config = match &args.dev {
        Device::Auto | Device::Tap(_) => return Addresses::complete(&args.addr, &args.host_addr),
        Device::Memif(_) if args.host_addr.is_empty() => {
            let Addresses { own, host: _ } = Addresses::complete(&args.addr, &[])?;
            return Ok(Addresses { own, host: Vec::new() });
        }
        Device::Memif(_) => {
            bail!(
                "--host-addr is for devices that Freeway makes: the process at the other end of a memif has its own"
            );
        }
        Device::Afxdp(config) => config,
    };
    if !args.host_addr.is_empty() {
        bail!(
            "--host-addr is for devices that Freeway makes: set up {} with `ip address add`",
            config.interface
        );
    }
    if args.addr.is_empty() && !args.shared_address {
        bail!("--dev {} needs --addr for an address of its own, or --shared-address", args.dev);
    }
    Ok(Addresses { own: args.addr.clone(), host: Vec::new() })
}

/// By which protocols a service is reached.
fn transports(service: Service, port: u16) -> impl Iterator<Item = (Transport, u16)> {
    let tcp = service.has_tcp().then_some((Transport::Tcp, port));
    let udp = service.has_udp().then_some((Transport::Udp, port));
    tcp.into_iter().chain(udp)
}

fn ports(args: &Args) -> Result<Vec<(Service, u16)>> {
    let ports = [
        (Service::Echo, args.echo),
        (Service::Discard, args.discard),
        (Service::Chargen, args.chargen),
        (Service::Http, args.http),
        (Service::Https, args.web.https),
        (Service::Cache, args.cache),
        (Service::CacheUdp, args.cache_udp),
    ];
    let ports: Vec<_> = ports.into_iter().filter(|&(_, port)| port != 0).collect();
    for (place, (service, port)) in ports.iter().enumerate() {
        let clash =
            |other: Service| service.has_tcp() && other.has_tcp() || service.has_udp() && other.has_udp();
        let mut before = ports[..place].iter();
        if let Some((other, _)) = before.find(|(other, taken)| taken == port && clash(*other)) {
            bail!(
                "--{} and --{} both want port {port}: give one of them another",
                other.name(),
                service.name()
            );
        }
    }
    if ports.is_empty() {
        bail!(
            "there is no service to serve: give one of --echo, --discard, --chargen, --http, --https and --cache a port"
        );
    }
    Ok(ports)
}

/// The processors to run on. Linux keeps the first one, when there is another.
pub(crate) fn cpus(wanted: &[usize]) -> Result<Vec<usize>> {
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

/// The cache's settings, if there is to be one.
fn cache(args: &Args, cores: usize) -> Result<Option<CacheConfig>> {
    if args.cache == 0 && args.cache_udp == 0 {
        return Ok(None);
    }
    if cores > 1 {
        bail!("--cache runs on one core, and there are {cores}: name one by --cores");
    }
    let store = StoreConfig {
        memory: args.cache_memory,
        item_bytes: args.cache_item,
        item_max: args.cache_item_max,
        ..StoreConfig::default()
    };
    store.mapped_bytes().context("--cache")?;
    let unix_time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let CacheSettings { protocol, users, flush, dump, watch } = args.cache_settings.clone();
    let watchers_max = if watch { CacheConfig::default().watchers_max } else { 0 };
    Ok(Some(CacheConfig {
        watchers_max,
        protocol,
        users,
        flush,
        dump,
        store,
        connections_max: args.max_connections,
        shutdown: args.cache_shutdown,
        unix_time,
        ..CacheConfig::default()
    }))
}

/// A number of bytes as flags have it.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let wrong = || format!("{text:?} is no size: give a number of bytes, with K, M or G behind it");
    let (digits, shift) = match text.as_bytes() {
        [digits @ .., b'k' | b'K'] => (digits.len(), 10),
        [digits @ .., b'm' | b'M'] => (digits.len(), 20),
        [digits @ .., b'g' | b'G'] => (digits.len(), 30),
        all => (all.len(), 0),
    };
    let number: usize = text.get(..digits).ok_or_else(wrong)?.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
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

/// What one core's packets and tables take with the defaults, in bytes.
pub(crate) fn default_memory() -> Result<u64> {
    let secrets = Secrets::random().context("the system gives no random numbers")?;
    let config = HostConfig::new(secrets).max_connections(MAX_CONNECTIONS).buffers(BUFFERS);
    Ok(config.arena_bytes::<State>() as u64)
}

/// What Linux says can be allocated without swapping, in bytes.
fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Linux's half of a frame's buffer on AF_XDP, in bytes: what the kernel keeps before a received frame.
const RX_HEADROOM: usize = 256;

fn start(args: &Args, plan: Plan, opened: Opened, ending: &Arc<AtomicBool>) -> Result<(Running, Helpers)> {
    let Plan { addresses: _, ports, cpus, mut host, http, cache } = plan;
    let Opened { label: _, ports: makers, info, addresses, routes, vlan } = opened;
    // The device may have another MTU than was asked for.
    let room = (info.frame_max() + RX_HEADROOM).next_power_of_two() as u32;
    host.stack.pool.buffer_size = host.stack.pool.buffer_size.max(room);
    if args.shared_address {
        host.stack.ephemeral_ports = SHARED_PORTS;
    }
    let routes = taken_over(routes, &args.gateway);
    // As many more as Linux has.
    host.stack.net.routes = host.stack.net.routes.saturating_add(routes.len() as u16);
    let mail = MailConfig::default();
    let mail = MailConfig { slot_size: mail.slot_size.max(info.frame_max().next_multiple_of(64)), ..mail };
    let cores = cpus.len();
    let (parts, helpers) = http.start(cores, host.stack.flow_key)?;
    let mut limits = AcceptLimits::default();
    if args.web.connections_per_address > 0 {
        limits.connections_per_peer = args.web.connections_per_address.div_ceil(cores as u32);
        host.stack.count_peers = true;
    }
    let runtime = Runtime::new(RuntimeConfig { idle: args.idle, mail, ..RuntimeConfig::pinned(cpus) })?;

    // Cores without a queue send by those that have one.
    let queues = makers.len();
    let mut relays: Vec<Vec<_>> = (0..cores).map(|_| Vec::new()).collect();
    let mut makers: Vec<MakePort> = makers;
    for core in queues..cores {
        let owner = core % queues.max(1);
        let (remote, relay) =
            runtime.remote_port(owner as u32, info.clone()).context("a device without a queue")?;
        makers.push(Box::new(|| Box::new(remote)));
        relays[owner].push(relay);
    }
    let builders = makers.into_iter().zip(relays).zip(parts).map(|((make, relays), parts)| {
        let (host, ports, ending) = (host.clone(), ports.clone(), Arc::clone(ending));
        let cache = cache.clone();
        let (own, gateways, routes) = (addresses.clone(), args.gateway.clone(), routes.clone());
        move |seat: Seat| -> Result<_, BuildError> {
            let mut interface = relays.into_iter().fold(Interface::boxed(make()), Interface::relay);
            if let Some(vlan) = vlan {
                interface = interface.vlan(vlan);
            }
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
                Services::new(ports, Some(parts), TcpConfig { mss: u16::MAX, ..TcpConfig::default() });
            let services = services.http_limits(limits).ending(ending);
            let now = seat.now();
            let cache = match cache {
                Some(cache) => Some(CacheServer::new(cache, Secrets::random()?.flow_key, now)?),
                None => None,
            };
            let services = Cached::new(services, cache, seat.stop.clone());
            let mut core = host.build(seat.mailboxes, now, services, [interface])?;
            for LinuxRoute { network, prefix_len, gateway } in routes {
                let network = freeway::Cidr::new(network, prefix_len);
                core.stack_mut().net.add_route(network, Some(gateway), IfaceId(0))?;
            }
            Ok(core)
        }
    });
    Ok((runtime.start(builders)?, helpers))
}

/// Linux's routes, but for default ones of an IP version for which there is a router in `gateways`.
fn taken_over(routes: Vec<LinuxRoute>, gateways: &[IpAddr]) -> Vec<LinuxRoute> {
    /// A table that is searched from the top is no place for the whole Internet.
    const MOST: usize = 1_000;
    let is_replaced = |route: &LinuxRoute| {
        route.prefix_len == 0 && gateways.iter().any(|gateway| gateway.is_ipv4() == route.gateway.is_ipv4())
    };
    let count = routes.len();
    let mut kept: Vec<LinuxRoute> = routes.into_iter().filter(|route| !is_replaced(route)).collect();
    if count > MOST {
        eprintln!(
            "Linux has {count} routes here, more than the {MOST} that are taken over: default routes only"
        );
        kept.retain(|route| route.prefix_len == 0);
    }
    kept
}

fn list(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn linuxs_routes_are_taken_over_unless_a_router_is_given() {
        let route = |network: &str, prefix_len, gateway: &str| LinuxRoute {
            network: network.parse().unwrap(),
            prefix_len,
            gateway: gateway.parse().unwrap(),
        };
        let all = vec![
            route("0.0.0.0", 0, "198.18.0.1"),
            route("::", 0, "2001:db8::1"),
            route("198.19.0.0", 16, "198.18.0.9"),
        ];
        assert_eq!(taken_over(all.clone(), &[]), all);
        assert_eq!(taken_over(all.clone(), &["198.18.0.3".parse().unwrap()]), all[1..]);
        let many: Vec<_> =
            (0..2_000).map(|n| route(&format!("198.19.{}.0", n % 256), 24, "198.18.0.9")).collect();
        assert_eq!(taken_over([all[..2].to_vec(), many].concat(), &[]), all[..2]);
    }
}
