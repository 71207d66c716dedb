//! Opening the device: from what `--dev` says to a port for each core.

use std::net::IpAddr;

use anyhow::{Context as _, Result, bail};
use freeway::port::{Port, PortInfo};
use freeway_afxdp::{
    AfxdpConfig, AfxdpError, LinuxSide, Mode, Routes, Steering, Transport, VethConfig, VethPair,
};
use freeway_memif::MemifQueue;
use freeway_tap::{LinuxEnd, Tap, configure};

use crate::device::{AUTO_NAME, Addresses, Cidr, Device};
use crate::memif::MemifSpec;

/// Makes a port on its core's own thread.
pub(crate) type MakePort = Box<dyn FnOnce() -> Box<dyn Port> + Send>;

/// The ports from which Freeway would open connections on an address that it shares: Linux takes none of them by
/// itself (`net.ipv4.ip_local_port_range` ends at 60999).
pub(crate) const SHARED_PORTS: std::ops::RangeInclusive<u16> = 61_000..=65_535;

/// What is to be opened.
pub(crate) struct Wish<'a> {
    pub(crate) device: &'a Device,
    /// Both ends' addresses; with `--shared-address` the own ones are those besides Linux's.
    pub(crate) addresses: &'a Addresses,
    /// Serve on the addresses that Linux has.
    pub(crate) shared: bool,
    /// What is served there.
    pub(crate) services: Vec<(Transport, u16)>,
    pub(crate) mtu: u16,
    pub(crate) cores: usize,
}

/// An open device.
pub(crate) struct Opened {
    /// What it is, for the `ready` line.
    pub(crate) label: String,
    /// A port for each core, or for the first ones if it has fewer queues.
    pub(crate) ports: Vec<MakePort>,
    pub(crate) info: PortInfo,
    /// All addresses that are served.
    pub(crate) addresses: Vec<Cidr>,
    /// Linux's routes through routers, with `--shared-address`.
    pub(crate) routes: Option<Routes>,
    /// The VLAN all this is in.
    pub(crate) vlan: Option<u16>,
    /// An interface that was made and goes with the device: its name and number.
    pub(crate) made: Option<(String, u32)>,
}

pub(crate) fn open(wish: &Wish<'_>) -> Result<Opened> {
    match wish.device {
        Device::Auto => auto(wish),
        Device::Tap(name) => tap(wish, name).with_context(|| format!("device {}", wish.device)),
        Device::Afxdp(config) => afxdp(wish, config).with_context(|| format!("device {}", wish.device)),
        Device::Memif(spec) => memif(wish, spec).with_context(|| format!("device {}", wish.device)),
    }
}

/// A veth pair with AF_XDP; where the rights or the kernel are not up to that, TAP.
fn auto(wish: &Wish<'_>) -> Result<Opened> {
    let without = match pair(wish) {
        Ok(opened) => return Ok(opened),
        // TAP would not find the name free either.
        Err(error @ AfxdpError::Busy(_)) => return Err(error).context("device auto"),
        Err(error) => error,
    };
    let opened = tap(wish, AUTO_NAME).with_context(|| {
        format!("neither AF_XDP ({without}) nor TAP can be had; `freeway demo` needs no rights")
    })?;
    eprintln!("no AF_XDP, so a TAP device: {without}");
    Ok(opened)
}

fn pair(wish: &Wish<'_>) -> Result<Opened, AfxdpError> {
    let veth = VethConfig {
        name: AUTO_NAME.to_owned(),
        addresses: linux_addresses(wish),
        mtu: wish.mtu,
        queues: wish.cores as u32,
    };
    let pair = VethPair::create(&veth)?;
    let steering = Steering { whole_interface: true, ..Steering::default() };
    let config = AfxdpConfig { steering, ..AfxdpConfig::new(pair.far()) };
    let made = Some((pair.near().to_owned(), pair.index()));
    let device = freeway_afxdp::Device::open_pair(config, pair)?;
    Ok(Opened { made, ..with_queues(wish, &device, wish.addresses.own.clone(), None) })
}

fn tap(wish: &Wish<'_>, name: &str) -> Result<Opened> {
    if wish.shared {
        bail!("--shared-address needs an interface that Linux has: --dev afxdp:IFACE");
    }
    let mut taps = Tap::open(name, wish.cores)?;
    configure(&mut taps, &LinuxEnd { addresses: linux_addresses(wish), mtu: wish.mtu })?;
    let Some(info) = taps.first().map(|tap| tap.info().clone()) else { bail!("no queue was opened") };
    let make = |tap: Tap| Box::new(move || Box::new(tap) as Box<dyn Port>) as MakePort;
    Ok(Opened {
        label: format!("tap:{name}"),
        ports: taps.into_iter().map(make).collect(),
        info,
        addresses: wish.addresses.own.clone(),
        routes: None,
        vlan: None,
        made: None,
    })
}

fn afxdp(wish: &Wish<'_>, config: &AfxdpConfig) -> Result<Opened> {
    let own: Vec<Cidr> = wish.addresses.own.clone();
    let mut config = config.clone();
    let mut addresses = own.clone();
    let mut routes = None;
    if wish.shared {
        let LinuxSide { addresses: linux, routes: of_linux } = freeway_afxdp::linux_side(&config.interface)?;
        if linux.is_empty() {
            bail!("{} has no address to share: give it one, or --addr to Freeway", config.interface);
        }
        if let Some(cidr) = own.iter().find(|cidr| linux.iter().any(|(addr, _)| *addr == cidr.addr)) {
            bail!("{} is Linux's already: --shared-address alone serves it", cidr.addr);
        }
        config.steering.shared = linux.iter().map(|(addr, _)| *addr).collect();
        config.steering.services.clone_from(&wish.services);
        config.steering.opens = Some(SHARED_PORTS);
        addresses.extend(linux.into_iter().map(|(addr, prefix_len)| Cidr { addr, prefix_len }));
        routes = Some(of_linux);
    }
    config.steering.own = own.iter().map(|cidr| cidr.addr).collect();
    let vlan = Some(config.steering.vlan).filter(|&vlan| vlan != 0);
    let device = freeway_afxdp::Device::open(config)?;
    Ok(Opened { vlan, ..with_queues(wish, &device, addresses, routes) })
}

fn memif(wish: &Wish<'_>, spec: &MemifSpec) -> Result<Opened> {
    let queues = spec.open(wish.cores, wish.mtu)?;
    let Some(info) = queues.first().map(|queue| queue.info().clone()) else { bail!("no queue was opened") };
    let make = |queue: MemifQueue| Box::new(|| Box::new(queue.into_port()) as Box<dyn Port>) as MakePort;
    Ok(Opened {
        label: format!("{},queues={}", wish.device, queues.len()),
        ports: queues.into_iter().map(make).collect(),
        info,
        addresses: wish.addresses.own.clone(),
        routes: None,
        vlan: None,
        made: None,
    })
}

/// The Linux end's addresses of a device that Freeway makes.
fn linux_addresses(wish: &Wish<'_>) -> Vec<(IpAddr, u8)> {
    wish.addresses.host.iter().map(|cidr| (cidr.addr, cidr.prefix_len)).collect()
}

fn with_queues(
    wish: &Wish<'_>,
    device: &freeway_afxdp::Device,
    addresses: Vec<Cidr>,
    routes: Option<Routes>,
) -> Opened {
    let shares = device.divide(wish.cores).into_iter();
    let mode = if device.mode() == Mode::Native { "native" } else { "generic" };
    Opened {
        label: format!("afxdp:{},queues={},mode={mode}", device.name(), device.queues()),
        ports: shares
            .map(|share| Box::new(|| Box::new(share.into_port()) as Box<dyn Port>) as MakePort)
            .collect(),
        info: device.info(),
        addresses,
        routes,
        vlan: None,
        made: None,
    }
}
