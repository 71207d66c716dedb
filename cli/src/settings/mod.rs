//! Every setting of a server, wherever it was said: the file, and the flags that go before it.
//!
//! ```text
//!   file ──► TOML ──┐
//!                   ├──► Settings ──► Plan (checked) ──► a server
//!   flags ──────────┘        └── Origins: where each one was said, for whoever reads an error
//! ```
//!
//! [`keys`] is the one table of them: what the file may say, what a flag stands for, and what a running server takes
//! at a reload.

pub(crate) mod file;
pub(crate) mod keys;
mod load;
mod structures;
pub(crate) mod value;

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use freeway::tcp::Keepalive;
use freeway::{AcceptLimits, Duration, HashKey, Idle, StackConfig, SynCookies, TcpConfig};
use freeway_cache::CacheConfig;
use freeway_httpd::{Certificate, Config, Format, LibraryConfig, SiteConfig};

use crate::device::Cidr;
use crate::metrics::At;
pub(crate) use load::{Flag, Loaded, Origin, Problems, load};
pub(crate) use structures::{DeviceSpec, RouteSettings};
use value::Auto;

/// Connections at once by default, over all cores.
pub(crate) const MAX_CONNECTIONS: u32 = 65_536;
/// Packet buffers of each core by default.
pub(crate) const BUFFERS: u32 = 16_384;

/// All settings of a server.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) interfaces: Vec<InterfaceSettings>,
    /// Processors to run on; none: all but the first.
    pub(crate) cores: Vec<usize>,
    pub(crate) idle: Idle,
    pub(crate) drain: Duration,
    /// Whether rights are given up once it serves.
    pub(crate) protect: Auto<bool>,
    /// Where the admin socket is; none of its own if `"none"`.
    pub(crate) admin: Auto<Admin>,
    /// Where the server's own figures are served.
    pub(crate) metrics: Option<At>,
    /// Over all cores.
    pub(crate) max_connections: u32,
    /// Of each core.
    pub(crate) buffers: u32,
    pub(crate) mail_slots: u32,
    pub(crate) max_syn_received: Auto<u32>,
    pub(crate) max_time_wait: Auto<u32>,
    pub(crate) receive_budget: Auto<u32>,
    pub(crate) ephemeral_ports: Auto<RangeInclusive<u16>>,
    /// Each core's stack, but for what stands above and its secrets.
    pub(crate) stack: StackConfig,
    pub(crate) tcp: TcpConfig,
    /// As the interface's MTU allows unless set.
    pub(crate) mss: Auto<u16>,
    pub(crate) not_sent_low_water: Option<u32>,
    /// Silence before the first probe.
    pub(crate) keepalive: Option<Duration>,
    pub(crate) keepalive_rest: Keepalive,
    pub(crate) half_open: Option<u32>,
    /// Bounds of every listener.
    pub(crate) accept: AcceptLimits,
    pub(crate) cookies: SynCookies,
    pub(crate) echo: ServiceSettings,
    pub(crate) discard: ServiceSettings,
    pub(crate) chargen: ServiceSettings,
    pub(crate) http: HttpSettings,
    pub(crate) cache: CacheSettings,
}

/// Where the admin socket is.
pub(crate) type Admin = Option<PathBuf>;

/// One interface.
#[derive(Clone, Debug)]
pub(crate) struct InterfaceSettings {
    pub(crate) device: DeviceSpec,
    pub(crate) addresses: Vec<Cidr>,
    pub(crate) host_addresses: Vec<Cidr>,
    pub(crate) shared_address: bool,
    pub(crate) gateways: Vec<IpAddr>,
    pub(crate) routes: Vec<RouteSettings>,
    pub(crate) mtu: u16,
}

/// One service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ServiceSettings {
    pub(crate) ports: Vec<u16>,
    /// Connections at once over all cores; 0 for no bound but the table's.
    pub(crate) connections: u32,
    /// The same from one address; 0 for no bound.
    pub(crate) connections_per_address: u32,
}

/// The HTTP server.
#[derive(Clone, Debug)]
pub(crate) struct HttpSettings {
    pub(crate) service: ServiceSettings,
    pub(crate) tls_ports: Vec<u16>,
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) root: Option<PathBuf>,
    pub(crate) sites: Vec<SiteConfig>,
    /// But for its sites.
    pub(crate) library: LibraryConfig,
    pub(crate) handlers: Vec<String>,
    /// Networks that may publish; empty for all.
    pub(crate) publish_from: Vec<Cidr>,
    /// The file with the token of those who publish.
    pub(crate) publish_token: Option<PathBuf>,
    pub(crate) access_log: Option<PathBuf>,
    pub(crate) log_format: Format,
    pub(crate) log_waiting: u32,
    /// Bytes a second that a client sends or takes at least.
    pub(crate) rate_min: u64,
    pub(crate) config: Config,
}

/// The cache.
#[derive(Clone, Debug)]
pub(crate) struct CacheSettings {
    pub(crate) service: ServiceSettings,
    pub(crate) udp_ports: Vec<u16>,
    pub(crate) watch: bool,
    pub(crate) config: CacheConfig,
}

impl ServiceSettings {
    fn on(ports: &[u16]) -> Self {
        Self { ports: ports.to_vec(), connections: 0, connections_per_address: 0 }
    }
}

impl Default for InterfaceSettings {
    fn default() -> Self {
        Self {
            device: DeviceSpec::default(),
            addresses: Vec::new(),
            host_addresses: Vec::new(),
            shared_address: false,
            gateways: Vec::new(),
            routes: Vec::new(),
            mtu: 1_500,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        // Secrets are drawn when a host is made.
        let stack = StackConfig::new(HashKey::new([0; 2]), HashKey::new([0; 2]));
        Self {
            interfaces: vec![InterfaceSettings::default()],
            cores: Vec::new(),
            idle: Idle::default(),
            drain: Duration::from_secs(5),
            protect: Auto::Auto,
            admin: Auto::Auto,
            metrics: None,
            max_connections: MAX_CONNECTIONS,
            buffers: BUFFERS,
            mail_slots: 512,
            max_syn_received: Auto::Auto,
            max_time_wait: Auto::Auto,
            receive_budget: Auto::Auto,
            ephemeral_ports: Auto::Auto,
            stack,
            tcp: TcpConfig::default(),
            mss: Auto::Auto,
            not_sent_low_water: None,
            keepalive: None,
            keepalive_rest: Keepalive::default(),
            half_open: None,
            accept: AcceptLimits::default(),
            cookies: SynCookies::default(),
            echo: ServiceSettings::on(&[7]),
            discard: ServiceSettings::on(&[9]),
            chargen: ServiceSettings::on(&[19]),
            http: HttpSettings {
                service: ServiceSettings::on(&[80]),
                tls_ports: Vec::new(),
                certificates: Vec::new(),
                root: None,
                sites: Vec::new(),
                library: LibraryConfig { sites: Vec::new(), ..LibraryConfig::new("") },
                handlers: vec!["healthz".to_owned()],
                publish_from: Vec::new(),
                publish_token: None,
                access_log: None,
                log_format: Format::default(),
                log_waiting: 4_096,
                rate_min: 256,
                config: Config::default(),
            },
            cache: CacheSettings {
                service: ServiceSettings::on(&[]),
                udp_ports: Vec::new(),
                watch: true,
                config: CacheConfig::default(),
            },
        }
    }
}

impl Settings {
    /// TCP's settings, whole.
    pub(crate) fn tcp(&self) -> TcpConfig {
        TcpConfig {
            keepalive: self.keepalive.map(|idle| Keepalive { idle, ..self.keepalive_rest }),
            mss: self.mss.or(u16::MAX),
            not_sent_low_water: self.not_sent_low_water.unwrap_or(u32::MAX),
            ..self.tcp
        }
    }
}

#[cfg(test)]
mod tests;
