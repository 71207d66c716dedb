//! From settings to what a server is made of, checked: the one validation of flags and file.
//!
//! Nothing is opened here but what must be asked: which processors this process may use, and how much memory there is.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use freeway::{AcceptLimits, HostConfig, Idle, MailConfig, Secrets, allowed_cpus};
use freeway_afxdp::{LinuxRoute, Transport};
use freeway_cache::CacheConfig;

use super::list;
use super::ways::{self, Way};
use crate::device::{Addresses, Device, check_gateway};
use crate::http;
use crate::services::{Listen, Service, State};
use crate::settings::{
    BUFFERS, InterfaceSettings, MAX_CONNECTIONS, Origin, Problems, RouteSettings, ServiceSettings, Settings,
};

/// What a server is made of.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(super) interfaces: Vec<PlannedInterface>,
    pub(super) listens: Vec<Listen>,
    pub(super) cpus: Vec<usize>,
    pub(super) host: HostConfig,
    pub(super) cache: Option<CacheConfig>,
    pub(super) idle: Idle,
    pub(super) mail: MailConfig,
}

/// One interface of it.
#[derive(Clone, Debug)]
pub(crate) struct PlannedInterface {
    pub(crate) device: Device,
    pub(crate) addresses: Addresses,
    pub(crate) shared: bool,
    pub(crate) gateways: Vec<IpAddr>,
    pub(crate) routes: Vec<RouteSettings>,
    /// What Linux has, where its addresses are shared: known when the device is open.
    pub(crate) of_linux: Vec<LinuxRoute>,
    pub(crate) mtu: u16,
}

impl PlannedInterface {
    /// The networks behind routers, default routes and Linux's included.
    pub(super) fn ways(&self) -> Vec<Way> {
        let defaults = self.gateways.iter().map(|&via| ways::to_all(via));
        let told = self.routes.iter().map(|route| (route.to, route.via));
        defaults.chain(told).chain(ways::taken_over(&self.of_linux, &self.gateways)).collect()
    }
}

/// Checks all settings; notes everything that is wrong.
pub(super) fn plan(settings: &Settings, problems: &mut Problems) -> Option<Plan> {
    let interfaces = interfaces(settings, problems);
    let cpus = cpus(&settings.cores).map_err(|error| problems.note("cores", error)).ok();
    let cores = cpus.as_ref().map_or(1, Vec::len);
    if let Some(addr) = settings.metrics.and_then(|at| at.addr)
        && !settings.interfaces.iter().any(|interface| interface.shared_address)
        && !interfaces.iter().any(|interface| interface.addresses.own.iter().any(|cidr| cidr.addr == addr))
    {
        problems.note("metrics", format!("{addr} is none of this server's addresses"));
    }
    let listens = listens(settings, cores, problems);
    http::check(&settings.http, problems);
    check_tcp(settings, problems);
    let cache = cache(settings, cores, problems);
    let host = host(settings, cores, problems);
    let mail = MailConfig { slots: settings.mail_slots as usize, ..MailConfig::default() };
    if !mail.slots.is_power_of_two() {
        problems.note("stack.mail_slots", format!("{} is no power of two", mail.slots));
    }
    problems.is_empty().then_some(())?;
    Some(Plan { interfaces, listens, cpus: cpus?, host: host?, cache, idle: settings.idle, mail })
}

impl Plan {
    /// What is served, by service and port.
    pub(super) fn services(&self) -> String {
        list(self.listens.iter().map(|listen| format!("{}:{}", listen.service.name(), listen.port)))
    }

    /// The same by transport, for who steers frames.
    pub(super) fn transports(&self) -> Vec<(Transport, u16)> {
        self.listens.iter().flat_map(|listen| transports(listen.service, listen.port)).collect()
    }
}

fn interfaces(settings: &Settings, problems: &mut Problems) -> Vec<PlannedInterface> {
    let mut all: Vec<PlannedInterface> = Vec::new();
    if settings.interfaces.is_empty() {
        problems.note("interface", "there is no interface: a server needs one, [[interface]]");
    }
    for (place, interface) in settings.interfaces.iter().enumerate() {
        let key = |name: &str| format!("interface[{place}].{name}");
        let device = &interface.device.device;
        let addresses = match addresses(interface) {
            Ok(addresses) => addresses,
            Err((name, error)) => {
                problems.note(&key(name), error);
                continue;
            }
        };
        // With a shared address the subnets are Linux's, and known later.
        if !interface.shared_address {
            let routers = interface.routes.iter().map(|route| ("routes", route.via));
            let routers = interface.gateways.iter().map(|router| ("gateways", *router)).chain(routers);
            for (name, router) in routers {
                if let Err(error) = check_gateway(router, &addresses.own) {
                    problems.note(&key(name), error);
                }
            }
        }
        for version in [IpAddr::is_ipv4, IpAddr::is_ipv6] {
            if interface.gateways.iter().filter(|router| version(router)).count() > 1 {
                problems.note(&key("gateways"), "there are two of one IP version: give one of each at most");
            }
        }
        for earlier in &all {
            let twice =
                |cidr: &&crate::device::Cidr| earlier.addresses.own.iter().any(|own| own.addr == cidr.addr);
            if let Some(cidr) = addresses.own.iter().find(twice) {
                problems.note(&key("addresses"), format!("{} is another interface's already", cidr.addr));
            }
            if earlier.device == *device {
                problems.note(&key("device"), format!("{device} is another interface's already"));
            }
        }
        let (gateways, routes) = (interface.gateways.clone(), interface.routes.clone());
        let (device, shared, mtu) = (device.clone(), interface.shared_address, interface.mtu);
        let of_linux = Vec::new();
        all.push(PlannedInterface { device, addresses, shared, gateways, routes, of_linux, mtu });
    }
    let net = &settings.stack.net;
    // An address brings a route of its own, and IPv6 two for link-local addresses.
    let addresses: usize = all.iter().map(|interface| interface.addresses.own.len() + 1).sum();
    if addresses > usize::from(net.addresses) {
        problems.note("net.addresses", format!("{} are too few: {addresses} are needed", net.addresses));
    }
    let routes = |one: &PlannedInterface| one.addresses.own.len() + one.gateways.len() + one.routes.len() + 2;
    let routes: usize = all.iter().map(routes).sum();
    if routes > usize::from(net.routes) {
        problems.note("net.routes", format!("{} are too few: {routes} are needed", net.routes));
    }
    all
}

/// Both ends' addresses; an error comes with the setting it is of. Defaults are for devices that Freeway makes, and for its
/// end of a memif.
fn addresses(interface: &InterfaceSettings) -> Result<Addresses, (&'static str, anyhow::Error)> {
    let InterfaceSettings { addresses, host_addresses, shared_address, .. } = interface;
    let device = &interface.device.device;
    let wrong = |name, text: String| Err((name, anyhow::Error::msg(text)));
    if *shared_address && !matches!(device, Device::Afxdp(_)) {
        return wrong("shared_address", "it needs an interface that Linux has: --dev afxdp:IFACE".into());
    }
    let of_addresses = |error| ("addresses", error);
    match device {
        Device::Auto | Device::Tap(_) => Addresses::complete(addresses, host_addresses).map_err(of_addresses),
        Device::Memif(_) if host_addresses.is_empty() => {
            let Addresses { own, host: _ } = Addresses::complete(addresses, &[]).map_err(of_addresses)?;
            Ok(Addresses { own, host: Vec::new() })
        }
        Device::Memif(_) => wrong(
            "host_addresses",
            "it is for devices that Freeway makes: the process at the other end of a memif has its own"
                .into(),
        ),
        Device::Afxdp(config) if !host_addresses.is_empty() => wrong(
            "host_addresses",
            format!(
                "it is for devices that Freeway makes: set up {} with `ip address add`",
                config.interface
            ),
        ),
        Device::Afxdp(_) if addresses.is_empty() && !shared_address => wrong(
            "addresses",
            format!("{device} needs --addr for an address of its own, or --shared-address"),
        ),
        Device::Afxdp(_) => Ok(Addresses { own: addresses.clone(), host: Vec::new() }),
    }
}

/// By which protocols a service is reached.
fn transports(service: Service, port: u16) -> impl Iterator<Item = (Transport, u16)> {
    let tcp = service.has_tcp().then_some((Transport::Tcp, port));
    let udp = service.has_udp().then_some((Transport::Udp, port));
    tcp.into_iter().chain(udp)
}

/// A service, the setting of its ports, these, and its bounds.
type Ports<'a> = (Service, &'static str, &'a [u16], &'a ServiceSettings);

/// Where to listen.
fn listens(settings: &Settings, cores: usize, problems: &mut Problems) -> Vec<Listen> {
    let Settings { echo, discard, chargen, http, cache, .. } = settings;
    let metrics = ServiceSettings {
        ports: settings.metrics.iter().map(|at| at.port).collect(),
        connections: 0,
        connections_per_address: 0,
    };
    let all: [Ports<'_>; 8] = [
        (Service::Echo, "echo.ports", &echo.ports, echo),
        (Service::Discard, "discard.ports", &discard.ports, discard),
        (Service::Chargen, "chargen.ports", &chargen.ports, chargen),
        (Service::Http, "http.ports", &http.service.ports, &http.service),
        (Service::Https, "http.tls_ports", &http.tls_ports, &http.service),
        (Service::Cache, "cache.ports", &cache.service.ports, &cache.service),
        (Service::CacheUdp, "cache.udp_ports", &cache.udp_ports, &cache.service),
        (Service::Metrics, "metrics", &metrics.ports, &metrics),
    ];
    let share = |whole: u32| if whole == 0 { u32::MAX } else { whole.div_ceil(cores as u32) };
    let tcp = settings.tcp();
    let mut listens: Vec<(Listen, &str)> = Vec::new();
    for (service, key, ports, bounds) in all {
        for &port in ports.iter().filter(|&&port| port != 0) {
            let clash = |(other, _): &&(Listen, &str)| {
                let other_service = other.service;
                other.port == port
                    && (service.has_tcp() && other_service.has_tcp()
                        || service.has_udp() && other_service.has_udp())
            };
            if let Some((_, other)) = listens.iter().find(clash) {
                // A default is nobody's mistake.
                let is_default = problems.origin(key) == Origin::Default;
                let (key, other) = if is_default { (*other, key) } else { (key, *other) };
                let text =
                    format!("{} wants port {port} too: give one of them another", problems.name(other));
                problems.note(key, text);
                continue;
            }
            let limits = AcceptLimits {
                half_open: settings.half_open.unwrap_or(u32::MAX),
                connections: share(bounds.connections),
                connections_per_peer: share(bounds.connections_per_address),
                ..settings.accept
            };
            let addr = settings.metrics.filter(|_| service == Service::Metrics).and_then(|at| at.addr);
            listens.push((Listen { service, addr, port, tcp, limits, cookies: settings.cookies }, key));
        }
    }
    if listens.is_empty() {
        problems.note(
            "http.ports",
            "there is no service to serve: give one of echo, discard, chargen, http and cache a port",
        );
    }
    listens.into_iter().map(|(listen, _)| listen).collect()
}

/// Settings of TCP that do not go together.
fn check_tcp(settings: &Settings, problems: &mut Problems) {
    let tcp = settings.tcp();
    if tcp.receive_window > tcp.receive_window_max {
        problems
            .note("tcp.receive_window", "it is more than tcp.receive_window_max: lower it, or raise that");
    }
    if tcp.rto_min > tcp.rto_max || tcp.rto_initial > tcp.rto_max {
        problems
            .note("tcp.rto_max", "it is less than tcp.rto_min or tcp.rto_initial: raise it, or lower these");
    }
    if tcp.path_floor_mss > tcp.path_base_mss {
        problems.note("tcp.path_floor_mss", "it is more than tcp.path_base_mss, where probing begins");
    }
    if tcp.congestion == freeway::tcp::congestion::Algorithm::Dctcp && tcp.ecn != freeway::tcp::EcnMode::On {
        problems.note("tcp.congestion", "dctcp lives on marks: set tcp.ecn to \"on\"");
    }
    let half_second = freeway::Duration::from_millis(500);
    if tcp.delayed_ack.is_some_and(|delay| delay >= half_second) {
        problems.note("tcp.delayed_ack", "it must be less than half a second (RFC 9293, MUST-40)");
    }
    if settings.stack.send_buffer > settings.stack.send_buffer_max {
        problems.note("stack.send_buffer", "it is more than stack.send_buffer_max: lower it, or raise that");
    }
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
            bail!("processor {cpu} is named twice: each core needs one of its own");
        }
        if !allowed.contains(cpu) {
            bail!("{cpu}: this process may run on {} only", list(allowed.iter()));
        }
    }
    Ok(wanted.to_vec())
}

/// The cache's settings, if there is to be one.
fn cache(settings: &Settings, cores: usize, problems: &mut Problems) -> Option<CacheConfig> {
    let cache = &settings.cache;
    if [&cache.service.ports, &cache.udp_ports].into_iter().flatten().all(|&port| port == 0) {
        return None;
    }
    let mut config = cache.config.clone();
    config.store.memory /= cores.max(1);
    if let Err(error) = config.store.mapped_bytes() {
        problems.note("cache.memory", error);
    }
    if config.store.item_max > config.store.memory {
        problems.note("cache.item_max", "it is more than a core's share of cache.memory");
    }
    let unix_time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let watchers_max = if cache.watch { config.watchers_max } else { 0 };
    Some(CacheConfig {
        watchers_max,
        connections_max: settings.max_connections.div_ceil(cores.max(1) as u32),
        unix_time,
        ..config
    })
}

/// The size of each core's host.
fn host(settings: &Settings, cores: usize, problems: &mut Problems) -> Option<HostConfig> {
    let secrets = match Secrets::random() {
        Ok(secrets) => secrets,
        Err(error) => {
            problems.note("stack", format!("the system gives no random numbers: {error}"));
            return None;
        }
    };
    let cores = u32::try_from(cores.max(1)).unwrap_or(u32::MAX);
    let mut config = HostConfig { stack: settings.stack.clone(), ..HostConfig::new(secrets) };
    (config.stack.flow_key, config.stack.sequence_key) = (secrets.flow_key, secrets.sequence_key);
    config = config.max_connections(settings.max_connections.div_ceil(cores)).buffers(settings.buffers);
    let stack = &mut config.stack;
    stack.max_syn_received = settings.max_syn_received.or(stack.max_syn_received);
    stack.max_time_wait = settings.max_time_wait.or(stack.max_time_wait);
    stack.receive_budget = match settings.receive_budget {
        crate::settings::value::Auto::Set(buffers) => Some(buffers),
        crate::settings::value::Auto::Auto => None,
    };
    let shared = settings.interfaces.iter().any(|interface| interface.shared_address);
    let ports = if shared { crate::open::SHARED_PORTS } else { stack.ephemeral_ports.clone() };
    stack.ephemeral_ports = settings.ephemeral_ports.clone().or(ports);
    let services = [
        &settings.echo,
        &settings.discard,
        &settings.chargen,
        &settings.http.service,
        &settings.cache.service,
    ];
    // Their connections have a timer each, far ahead.
    let http = &settings.http;
    stack.application_timers = !http.service.ports.is_empty()
        || !http.tls_ports.is_empty()
        || settings.cache.config.idle_timeout > 0;
    stack.count_peers = services.iter().any(|service| service.connections_per_address > 0);
    let mtu = settings.interfaces.iter().map(|interface| interface.mtu).max().unwrap_or(1_500);
    let frame = u32::from(mtu) + u32::from(stack.pool.headroom) + 64;
    stack.pool.buffer_size = stack.pool.buffer_size.max(frame.next_power_of_two());
    let any =
        |is: fn(&Device) -> bool| settings.interfaces.iter().any(|interface| is(&interface.device.device));
    stack.pool.shared = any(|device| matches!(device, Device::Memif(spec) if spec.lends()));
    // As the host does it; said here, too, the budget counts the bytes that are mapped.
    stack.pool.spread = !any(|device| matches!(device, Device::Auto | Device::Afxdp(_)));
    if !stack.pool.buffer_size.is_power_of_two() {
        problems.note("stack.buffer_size", format!("{} is no power of two", stack.pool.buffer_size));
        return None;
    }
    if let Err(error) = stack.check() {
        problems.note("stack", error);
        return None;
    }
    Some(config)
}

/// What one core's packets and tables take with the defaults, in bytes.
pub(crate) fn default_memory() -> Result<u64> {
    let secrets = Secrets::random().context("the system gives no random numbers")?;
    let config = HostConfig::new(secrets).max_connections(MAX_CONNECTIONS).buffers(BUFFERS);
    Ok(config.arena_bytes::<State>() as u64)
}

/// A number of bytes as flags have it.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    use crate::settings::value::{Setting as _, Size};
    Size::of_text(text).map(Into::into)
}
