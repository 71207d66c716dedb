//! The load at work: on a core of Freeway's own stack, or on a thread with Linux's sockets.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use freeway::{BuildError, CoreStats, HostConfig, Idle, Running, Runtime, RuntimeConfig, Seat, Secrets};
use freeway_loadgen::{Gauge, KernelLoad, Load, LoadConfig, Protocol};

use crate::c10m::part::pin;
use crate::device::{Addresses, Cidr, Device};
use crate::open::{Opened, Wish, open};

/// What carries the load.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Via {
    /// Linux's sockets.
    Kernel,
    /// Freeway's stack on a device.
    Device(Device),
}

impl FromStr for Via {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "kernel" { Ok(Self::Kernel) } else { text.parse().map(Self::Device) }
    }
}

/// How large the client is, and from where it asks.
pub(super) struct Plan<'a> {
    pub(super) via: &'a Via,
    /// The first of the addresses to ask from, each with its subnet.
    pub(super) addresses: &'a [Cidr],
    /// How many consecutive addresses there are from each of them on.
    pub(super) sources: u32,
    pub(super) core: Option<usize>,
    pub(super) buffers: u32,
    /// Connections beside those that are held.
    pub(super) others: u32,
    pub(super) gateway: Option<IpAddr>,
}

/// A client at work. Dropping it ends it.
pub(super) enum Client {
    Stack(Running),
    Kernel { stop: Arc<AtomicBool>, thread: Option<JoinHandle<std::io::Result<()>>> },
}

impl Client {
    /// Starts a load that waits for its gauge.
    pub(super) fn start<P: Protocol + Send + 'static>(
        plan: &Plan<'_>,
        config: LoadConfig,
        protocol: P,
        gauge: Gauge,
    ) -> Result<Self> {
        match plan.via {
            Via::Kernel => on_kernel(plan, config, protocol, gauge),
            Via::Device(device) => on_stack(plan, device, config, protocol, gauge),
        }
    }

    /// Whether it still works.
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Kernel { thread: Some(thread), .. } if thread.is_finished() => {
                bail!("the client's thread has ended")
            }
            _ => Ok(()),
        }
    }

    /// Segments sent again: by the stack's own count, or by Linux's for this network namespace.
    pub(super) fn retransmitted(&self) -> u64 {
        match self {
            Self::Stack(running) => {
                running.stats().iter().filter_map(|stats| stats.get("tcp", "retransmitted")).sum()
            }
            Self::Kernel { .. } => linux_retransmitted().unwrap_or(0),
        }
    }

    /// Frames dropped by the client's own stack, by counter: a load that loses its own frames measures itself.
    pub(super) fn drops(&self) -> Vec<(String, u64)> {
        match self {
            Self::Stack(running) => running
                .stats()
                .iter()
                .flat_map(|stats| {
                    let drops = stats.drops().map(|(group, name, value)| (format!("{group} {name}"), value));
                    drops.collect::<Vec<_>>()
                })
                .collect(),
            Self::Kernel { .. } => Vec::new(),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Self::Kernel { stop, thread } = self {
            stop.store(true, Ordering::Relaxed);
            if let Some(Ok(Err(error))) = thread.take().map(JoinHandle::join) {
                eprintln!("freeway: the client's thread: {error}");
            }
        }
    }
}

/// `RetransSegs` of /proc/net/snmp.
fn linux_retransmitted() -> Option<u64> {
    let text = fs::read_to_string("/proc/net/snmp").ok()?;
    let mut lines = text.lines().filter(|line| line.starts_with("Tcp:"));
    let place = lines.next()?.split_whitespace().position(|name| name == "RetransSegs")?;
    lines.next()?.split_whitespace().nth(place)?.parse().ok()
}

/// `count` consecutive addresses from `first` on.
fn consecutive(first: IpAddr, count: u32) -> impl Iterator<Item = IpAddr> {
    (0..count).map(move |number| match first {
        IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from(u32::from(first).wrapping_add(number))),
        IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from(u128::from(first).wrapping_add(number.into()))),
    })
}

/// All addresses to ask from, with their subnets.
fn all_addresses(plan: &Plan<'_>) -> Vec<Cidr> {
    let each = |cidr: &Cidr| {
        let prefix_len = cidr.prefix_len;
        consecutive(cidr.addr, plan.sources).map(move |addr| Cidr { addr, prefix_len })
    };
    plan.addresses.iter().flat_map(each).collect()
}

fn on_kernel<P: Protocol + Send + 'static>(
    plan: &Plan<'_>,
    mut config: LoadConfig,
    protocol: P,
    gauge: Gauge,
) -> Result<Client> {
    let v4 = config.targets.requests.is_ipv4();
    config.sources =
        all_addresses(plan).iter().map(|cidr| cidr.addr).filter(|addr| addr.is_ipv4() == v4).collect();
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let wanted = u64::from(config.connections) + u64::from(plan.others) + 64;
    if let Some(most) = descriptors.maximum {
        ensure!(
            wanted <= most,
            "{wanted} sockets are more than the {most} descriptors that Linux allows this process: fewer --connections, or \
             --via a device"
        );
        let limit = rustix::process::Rlimit { current: Some(most), maximum: Some(most) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)
            .context("the limit of descriptors")?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (told, core) = (Arc::clone(&stop), plan.core);
    let (built, is_built) = std::sync::mpsc::channel();
    let thread = thread::Builder::new().name("load".into()).spawn(move || {
        let load = core.map_or(Ok(()), pin).and_then(|()| Ok(KernelLoad::new(&config, protocol, gauge)?));
        match load {
            Ok(mut load) => {
                // Whoever started it waits for this.
                let _ = built.send(Ok(()));
                load.run(&told)
            }
            Err(error) => {
                let _ = built.send(Err(error));
                Ok(())
            }
        }
    })?;
    is_built.recv().context("the client's thread")??;
    Ok(Client::Kernel { stop, thread: Some(thread) })
}

/// How long the other end of a memif is waited for.
const LINK_PATIENCE: Duration = Duration::from_secs(10);
/// Linux's half of a frame's buffer on AF_XDP, in bytes: what the kernel keeps before a received frame.
const RX_HEADROOM: usize = 256;

fn on_stack<P: Protocol + Send + 'static>(
    plan: &Plan<'_>,
    device: &Device,
    mut config: LoadConfig,
    protocol: P,
    gauge: Gauge,
) -> Result<Client> {
    let own = all_addresses(plan);
    let v4 = config.targets.requests.is_ipv4();
    let addresses = match device {
        Device::Auto | Device::Tap(_) => Addresses::complete(&own, &[])?,
        _ => {
            ensure!(
                !own.is_empty(),
                "--via {device} needs --addr, an address to ask from in the server's subnet"
            );
            Addresses { own: own.clone(), host: Vec::new() }
        }
    };
    let opened = open(&Wish {
        device,
        addresses: &addresses,
        shared: false,
        services: Vec::new(),
        mtu: 1_500,
        cores: 1,
    })?;
    let Opened { ports, info, addresses, vlan, .. } = opened;
    config.sources = addresses.iter().map(|cidr| cidr.addr).filter(|addr| addr.is_ipv4() == v4).collect();
    ensure!(!config.sources.is_empty(), "no --addr is of the IP version of {}", config.targets.requests);
    let make = ports.into_iter().next().context("a device without a queue")?;

    let secrets = Secrets::random().context("the system gives no random numbers")?;
    let mut host = HostConfig::new(secrets)
        .max_connections(config.connections.saturating_add(plan.others))
        .buffers(plan.buffers);
    let frame = (info.frame_max() + RX_HEADROOM).next_power_of_two() as u32;
    host.stack.pool.buffer_size = host.stack.pool.buffer_size.max(frame);
    host.stack.pool.shared = matches!(device, Device::Memif(spec) if spec.lends());
    host.stack.ephemeral_ports = 1_024..=65_535;
    let net = &mut host.stack.net;
    let hosts = u16::try_from(addresses.len()).unwrap_or(u16::MAX).saturating_add(8);
    (net.addresses, net.routes) = (net.addresses.max(hosts), net.routes.max(hosts));

    let runtime = match plan.core {
        Some(core) => RuntimeConfig::pinned([core]),
        None => RuntimeConfig::default(),
    };
    let gateway = plan.gateway;
    let build = move |seat: Seat| -> Result<_, BuildError> {
        let mut interface = freeway::Interface::boxed(make());
        if let Some(vlan) = vlan {
            interface = interface.vlan(vlan);
        }
        for cidr in addresses {
            interface = interface.address(freeway::Cidr::new(cidr.addr, cidr.prefix_len));
        }
        interface = match gateway {
            Some(IpAddr::V4(router)) => interface.gateway_v4(router),
            Some(IpAddr::V6(router)) => interface.gateway_v6(router),
            None => interface,
        };
        let load = Load::new(&config, protocol, gauge);
        let now = seat.now();
        Ok(host.build(seat.mailboxes, now, load, [interface])?)
    };
    let runtime = Runtime::new(RuntimeConfig { idle: Idle::Spin, ..runtime })?;
    let running = runtime.start([build]).map_err(|error| anyhow!(error))?;
    if matches!(device, Device::Memif(_)) {
        wait_for_link(&running, device)?;
    }
    Ok(Client::Stack(running))
}

/// Waits until the other end of a memif is there: what is sent before is lost, and a lost SYN costs a second.
fn wait_for_link(running: &Running, device: &Device) -> Result<()> {
    let begun = Instant::now();
    let is_up = |stats: &CoreStats| {
        let ports = stats.groups.iter().filter(|group| group.name.starts_with("port"));
        let count = |wanted| -> u64 {
            let counters = ports.clone().flat_map(|group| &group.counters);
            counters.filter(|(name, _)| *name == wanted).map(|&(_, value)| value).sum()
        };
        count("link_ups") > count("link_downs")
    };
    while !running.stats().iter().any(is_up) {
        ensure!(begun.elapsed() < LINK_PATIENCE, "nobody is at the other end of {device}");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_follow_each_other() {
        let of = |text: &str, count| -> Vec<String> {
            consecutive(text.parse().unwrap(), count).map(|addr| addr.to_string()).collect()
        };
        assert_eq!(of("198.18.0.255", 3), ["198.18.0.255", "198.18.1.0", "198.18.1.1"]);
        assert_eq!(of("2001:db8::ffff", 2), ["2001:db8::ffff", "2001:db8::1:0"]);
    }

    #[test]
    fn a_load_goes_by_the_kernel_or_by_a_device() {
        assert_eq!("kernel".parse(), Ok(Via::Kernel));
        assert_eq!("tap:fw0".parse(), Ok(Via::Device(Device::Tap("fw0".into()))));
        assert!("nothing".parse::<Via>().is_err());
    }
}
