//! The flags of `freeway serve`. Each stands for a setting of the file, and goes before it.

use std::path::PathBuf;

use freeway_memcache::Protocol;

use crate::settings::Flag;
use crate::settings::value::Setting as _;

/// What stands behind a flag, as texts.
trait Texts {
    /// None when the flag was not given.
    fn texts(&self) -> Vec<String>;
}

impl Texts for Option<String> {
    fn texts(&self) -> Vec<String> {
        self.iter().cloned().collect()
    }
}

impl Texts for Vec<String> {
    fn texts(&self) -> Vec<String> {
        self.clone()
    }
}

impl Texts for bool {
    fn texts(&self) -> Vec<String> {
        if *self { vec!["true".to_owned()] } else { Vec::new() }
    }
}

/// Flags, each with the setting that it stands for.
macro_rules! flags {
    ($(#[$of:meta])* $who:ident; $($(#[$meta:meta])* $name:ident: $kind:ty => $key:literal)*) => {
        $(#[$of])*
        pub(crate) struct $who {
            $( $(#[$meta])* $name: $kind, )*
        }

        impl $who {
            fn flags(&self) -> impl Iterator<Item = Flag> {
                let all = [$((stringify!($name), $key, Texts::texts(&self.$name))),*];
                all.into_iter().filter(|(_, _, texts)| !texts.is_empty()).map(|(name, key, texts)| Flag {
                    name: format!("--{}", name.replace('_', "-")),
                    key: key.to_owned(),
                    texts,
                })
            }

            /// Every flag's name and setting.
            #[cfg(test)]
            pub(crate) const KEYS: &[(&str, &str)] = &[$((stringify!($name), $key)),*];
        }
    };
}

/// Serves echo, discard, chargen, HTTP and a cache on a device, with a TCP/IP stack of its own.
///
/// Example: freeway serve --dev tap:fw0 --addr 198.18.0.2/24 --http 80 --root /srv/www
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A file of settings: examples/freeway.toml has all of them, with their defaults. Flags go before it.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Only say what is wrong with the settings, or what they come to; start nothing.
    #[arg(long)]
    pub(crate) check: bool,
    #[command(flatten)]
    basic: Basic,
    #[command(flatten)]
    web: Web,
    /// Any setting of the file, such as tcp.congestion=newreno; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// What `freeway memcached` sets besides.
    #[arg(skip)]
    pub(crate) cache_settings: Option<CacheSettings>,
    /// A file that whoever calls this removes when the server has ended.
    #[arg(skip)]
    pub(crate) removed: Option<PathBuf>,
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
    /// Seconds after which a silent connection is closed; 0 for never.
    pub(crate) idle_timeout: u32,
    /// Whether `stats sizes` is on from the start.
    pub(crate) track_sizes: bool,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            protocol: Protocol::default(),
            users: Vec::new(),
            flush: true,
            dump: true,
            watch: true,
            idle_timeout: 0,
            track_sizes: false,
        }
    }
}

impl CacheSettings {
    fn flags(&self) -> Vec<Flag> {
        let Self { protocol, users, flush, dump, watch, idle_timeout, track_sizes } = self;
        let one = |text: String| vec![text];
        let all = [
            ("-B", "cache.protocol", one(protocol.to_toml().replace('"', ""))),
            ("-Y", "cache.users", users.clone()),
            ("-F", "cache.flush", one(flush.to_string())),
            ("-X", "cache.dump", one(dump.to_string())),
            ("-W", "cache.watch", one(watch.to_string())),
            ("-o idle_timeout", "cache.idle_timeout", one(idle_timeout.to_string())),
            ("-o track_sizes", "cache.track_sizes", one(track_sizes.to_string())),
        ];
        let flag = |(name, key, texts): (&str, &str, _)| Flag { name: name.into(), key: key.into(), texts };
        all.into_iter().map(flag).collect()
    }
}

impl Args {
    /// The flags that were given.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        let any = Flag { name: "--set".to_owned(), key: String::new(), texts: self.set.clone() };
        let besides = self.cache_settings.iter().flat_map(CacheSettings::flags);
        self.basic.flags().chain(self.web.flags()).chain(besides).chain([any]).collect()
    }
}

flags! {
    /// Flags of everything but HTTP.
    #[derive(Debug, clap::Args)]
    // Its group would have the name of the one that it is flattened into, which clap refuses in debug builds.
    #[group(skip)]
    Basic;
    /// The device: auto (a veth pair freeway0 with AF_XDP, else a TAP device), tap:NAME, created or opened,
    /// afxdp:IFACE[,queues=N][,mode=native|generic|auto][,copy=auto|copy|zero][,tx-checksum=auto|on|off], or
    /// memif:SOCKET[,role=server|client][,id=N][,queues=N][,secret=TEXT][,peer=untrusted|trusted][,slots=N]
    /// [default: auto]
    #[arg(long)]
    dev: Option<String> => "interface.device"
    /// An address of this host with its subnet's prefix, IPv4 or IPv6; repeatable [default: 198.18.0.2/24, fdc1::2/64]
    #[arg(long, value_name = "CIDR")]
    addr: Vec<String> => "interface.addresses"
    /// An address of the Linux end; repeatable [default: the first of each subnet]
    #[arg(long, value_name = "CIDR")]
    host_addr: Vec<String> => "interface.host_addresses"
    /// Serve on the addresses that Linux has on the interface of --dev afxdp, and leave it everything else; --addr
    /// adds addresses of Freeway's own.
    #[arg(long)]
    shared_address: bool => "interface.shared_address"
    /// A router for all other networks, one of each IP version; repeatable
    #[arg(long, value_name = "ADDR")]
    gateway: Vec<String> => "interface.gateways"
    /// The longest IP packet on the device, in bytes [default: 1500]
    #[arg(long, value_name = "BYTES")]
    mtu: Option<String> => "interface.mtu"
    /// Processors to run on, one core each [default: all but the first; the only one if there is one]
    #[arg(long, value_delimiter = ',', value_name = "CPU,...")]
    cores: Vec<String> => "cores"
    /// Connections at once, over all cores [default: 65536]
    #[arg(long, value_name = "N")]
    max_connections: Option<String> => "stack.max_connections"
    /// Packet buffers of each core, 2 KiB or more each [default: 16384]
    #[arg(long, value_name = "N")]
    buffers: Option<String> => "stack.buffers"
    /// Congestion control: cubic, newreno or dctcp [default: cubic]
    #[arg(long, value_name = "NAME")]
    cc: Option<String> => "tcp.congestion"
    /// Ports of the HTTP server; 0 for none [default: 80]
    #[arg(long, value_name = "PORT,...", value_delimiter = ',')]
    http: Vec<String> => "http.ports"
    /// Ports of the echo service (RFC 862), TCP and UDP; 0 for none [default: 7]
    #[arg(long, value_name = "PORT,...", value_delimiter = ',')]
    echo: Vec<String> => "echo.ports"
    /// Ports of the discard service (RFC 863), TCP and UDP; 0 for none [default: 9]
    #[arg(long, value_name = "PORT,...", value_delimiter = ',')]
    discard: Vec<String> => "discard.ports"
    /// Ports of the character generator (RFC 864), TCP and UDP; 0 for none [default: 19]
    #[arg(long, value_name = "PORT,...", value_delimiter = ',')]
    chargen: Vec<String> => "chargen.ports"
    /// Ports of the cache, which speaks memcached's protocols. Each core has a share of the keys. [default: none]
    #[arg(long, value_name = "PORT,...", value_delimiter = ',')]
    cache: Vec<String> => "cache.ports"
    /// All memory of the cache, mapped at start: a number of bytes, with K, M or G behind it for powers of 1024
    /// [default: 64M]
    #[arg(long, value_name = "SIZE")]
    cache_memory: Option<String> => "cache.memory"
    /// The largest item of the cache [default: 1M]
    #[arg(long, value_name = "SIZE")]
    cache_item_max: Option<String> => "cache.item_max"
    /// Bytes of an item of the cache on average, key included: the index is sized by it [default: 96]
    #[arg(long, value_name = "SIZE")]
    cache_item: Option<String> => "cache.item"
    /// Ports of the cache over UDP. Anybody can make it answer to somebody else: open it to trusted networks.
    /// [default: none]
    #[arg(long, value_name = "PORT,...", value_delimiter = ',')]
    cache_udp: Vec<String> => "cache.udp_ports"
    /// Whether a client may end the process by the cache's command shutdown.
    #[arg(long)]
    cache_shutdown: bool => "cache.shutdown"
    /// What a core does when there is nothing to do: sleep, adaptive or spin [default: adaptive]
    #[arg(long, value_name = "POLICY")]
    idle: Option<String> => "idle"
    /// The Unix socket by which freeway top, stats and cycles ask this server, or none [default: /run/freeway/admin.sock
    /// for root, else in the user's runtime folder]
    #[arg(long, value_name = "SOCKET")]
    admin: Option<String> => "admin"
    /// Serve the server's own figures on one of its addresses, or on all: a live page at /, /metrics for Prometheus,
    /// /stats.json [default: none]
    #[arg(long, value_name = "[ADDR]:PORT")]
    metrics: Option<String> => "metrics"
    /// Whether the server gives its rights up once it serves: true, false, or auto (as far as the kernel lets it)
    /// [default: auto]
    #[arg(long, value_name = "WHETHER")]
    protect: Option<String> => "protect"
    /// Seconds that connections are given to end when the service is asked to [default: 5]
    #[arg(long, value_name = "SECONDS")]
    drain: Option<String> => "drain"
}

flags! {
    /// Flags of the HTTP server.
    #[derive(Debug, clap::Args)]
    #[group(skip)]
    #[command(next_help_heading = "HTTP")]
    Web;
    /// Ports of the HTTP server with TLS [default: none]
    #[arg(long, value_name = "PORT,...", value_delimiter = ',')]
    https: Vec<String> => "http.tls_ports"
    /// A certificate and its key in PEM, for these host names or for all others; repeatable. A reload reads them anew.
    #[arg(long, value_name = "[NAMES=]CHAIN:KEY")]
    certificate: Vec<String> => "http.certificate"
    /// Folder that the HTTP server serves [default: a page that says it works]
    #[arg(long, value_name = "DIR")]
    root: Option<String> => "http.root"
    /// Another folder for requests to these host names, as NAME[,NAME...]=DIR; repeatable
    #[arg(long, value_name = "NAMES=DIR")]
    site: Vec<String> => "http.site"
    /// Symbolic links to follow: never, inside (the folder), always [default: never]
    #[arg(long, value_name = "WHICH")]
    symlinks: Option<String> => "http.symlinks"
    /// How changed files are noticed: told (by the kernel), poll (every two seconds), never [default: told]
    #[arg(long, value_name = "HOW")]
    changes: Option<String> => "http.changes"
    /// Documents larger than this are read from disk each time [default: 16M]
    #[arg(long, value_name = "SIZE")]
    document_max: Option<String> => "http.document_max"
    /// Memory for all documents; what comes after is read from disk each time [default: 4G]
    #[arg(long, value_name = "SIZE")]
    documents_memory: Option<String> => "http.documents_memory"
    /// Handlers besides documents, as NAME, or with a path NAME:/PATH: healthz, info, echo, events, publish, ws, ws-echo.
    /// publish sends what is posted to it to all who listen to events and ws of its topic, which @TOPIC behind each says;
    /// keep it from strangers by the next two. [default: healthz]
    #[arg(long, value_delimiter = ',', value_name = "NAME[:PATH][@TOPIC],...")]
    handlers: Vec<String> => "http.handlers"
    /// Networks that may publish; repeatable
    #[arg(long, value_name = "CIDR")]
    publish_from: Vec<String> => "http.publish_from"
    /// A file with the token that publishers send as `Authorization: Bearer TOKEN` [default: none]
    #[arg(long, value_name = "FILE")]
    publish_token: Option<String> => "http.publish_token"
    /// Write an access log to this file; a reload opens it anew [default: none]
    #[arg(long, value_name = "FILE")]
    access_log: Option<String> => "http.access_log"
    /// The form of its lines: combined or json [default: combined]
    #[arg(long, value_name = "FORM")]
    log_format: Option<String> => "http.log_format"
    /// Seconds from the first byte of a request to the end of its head; 0 for no bound [default: 10]
    #[arg(long, value_name = "SECONDS")]
    header_timeout: Option<String> => "http.header_timeout"
    /// Seconds between two requests of a connection; 0 for no bound [default: 75]
    #[arg(long, value_name = "SECONDS")]
    keep_alive_timeout: Option<String> => "http.keep_alive_timeout"
    /// Bytes a second that a client sends or takes at least, over ten seconds each; 0 for no bound [default: 256]
    #[arg(long, value_name = "BYTES")]
    rate_min: Option<String> => "http.rate_min"
    /// Requests a second from one address (IPv6: one /64); 0 for no bound [default: 0]
    #[arg(long, value_name = "N")]
    requests_per_second: Option<String> => "http.requests_per_second"
    /// Requests of one address at once, before that rate counts [default: 100]
    #[arg(long, value_name = "N")]
    requests_burst: Option<String> => "http.requests_burst"
    /// Connections from one address (IPv6: one /64) at once; 0 for no bound [default: 0]
    #[arg(long, value_name = "N")]
    connections_per_address: Option<String> => "http.connections_per_address"
    /// Bytes of a request's body at most [default: 1M]
    #[arg(long, value_name = "SIZE")]
    body_max: Option<String> => "http.body_max"
    /// Subscribers to events and ws on each core [default: 65536]
    #[arg(long, value_name = "N")]
    subscribers: Option<String> => "http.subscribers"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::{Args as _, Command};

    use super::*;
    use crate::settings::keys::{INTERFACE_KEYS, KEYS, find};
    use crate::settings::{InterfaceSettings, Settings};

    fn default_of(key: &str) -> String {
        match key.strip_prefix("interface.") {
            Some(inner) => (find(INTERFACE_KEYS, inner).unwrap().get)(&InterfaceSettings::default()),
            None => (find(KEYS, key).unwrap().get)(&Settings::default()),
        }
    }

    /// What the help says a flag's default is, if it is a value.
    fn said(help: &str) -> Option<String> {
        let (_, said) = help.split_once("[default: ")?;
        let said = said.strip_suffix(']')?;
        (!said.contains(' ') && said != "none").then(|| said.to_owned())
    }

    #[test]
    fn the_help_says_the_settings_defaults() {
        let command = Args::augment_args(Command::new("serve"));
        let mut compared = 0;
        for (name, key) in Basic::KEYS.iter().chain(Web::KEYS) {
            let default = default_of(key);
            let argument = command.get_arguments().find(|argument| argument.get_id() == *name).unwrap();
            if let Some(said) = said(&argument.get_help().unwrap().to_string()) {
                let bare = default.trim_matches(['"', '[', ']']).trim_matches('"').trim_end_matches('s');
                assert_eq!(said, bare, "{name}, {key}");
                compared += 1;
            }
        }
        assert!(compared > 20, "{compared}");
    }
}
