//! What `freeway serve` says of HTTP: flags, and from them what each core's server is made of.

use std::path::PathBuf;
use std::time::Duration as Wall;

use anyhow::{Context as _, Result, bail};
use freeway::{Duration, HashKey};
use freeway_httpd::handlers::{Echo, Events, Handler, Health, Info, Publish, Socket};
use freeway_httpd::{
    Certificate, Changes, Config, Disk, Format, Library, LibraryConfig, Log, LogConfig, LogSender, Mesh,
    Parts, Route, SiteConfig, Symlinks, Tls, Watching,
};

/// The flags of the HTTP server.
#[derive(Debug, clap::Args)]
// Its group would have the name of the one that it is flattened into, which clap refuses in debug builds.
#[group(skip)]
pub(crate) struct Args {
    /// Port of the HTTP server with TLS; 0 for none.
    #[arg(long, default_value_t = 0, value_name = "PORT", help_heading = "HTTP")]
    pub(crate) https: u16,
    /// A certificate and its key in PEM, for these host names or for all others; repeatable. SIGHUP reads them anew.
    #[arg(long, value_name = "[NAMES=]CHAIN:KEY", value_parser = certificate, help_heading = "HTTP")]
    certificate: Vec<Certificate>,
    /// Folder that the HTTP server serves [default: a page that says it works]
    #[arg(long, value_name = "DIR", help_heading = "HTTP")]
    root: Option<PathBuf>,
    /// Another folder for requests to these host names, as NAME[,NAME...]=DIR; repeatable
    #[arg(long, value_name = "NAMES=DIR", value_parser = site, help_heading = "HTTP")]
    site: Vec<SiteConfig>,
    /// Symbolic links to follow: never, inside (the folder), always
    #[arg(long, default_value = "never", value_parser = symlinks, help_heading = "HTTP")]
    symlinks: Symlinks,
    /// How changed files are noticed: told (by the kernel), poll (every two seconds), never
    #[arg(long, default_value = "told", value_parser = changes, help_heading = "HTTP")]
    changes: Changes,
    /// Documents larger than this are read from disk each time, in bytes.
    #[arg(long, default_value_t = 16 << 20, value_name = "BYTES", help_heading = "HTTP")]
    document_max: u64,
    /// Memory for all documents, in bytes; what comes after is read from disk each time.
    #[arg(long, default_value_t = 4 << 30, value_name = "BYTES", help_heading = "HTTP")]
    documents_memory: u64,
    /// Handlers besides documents, as NAME or NAME:PATH: healthz, info, echo, events, publish, ws, ws-echo. publish sends
    /// what is posted to it to all who listen to events and ws: keep it from strangers.
    #[arg(
        long,
        default_value = "healthz",
        value_delimiter = ',',
        value_name = "NAME[:PATH],...",
        help_heading = "HTTP"
    )]
    handlers: Vec<String>,
    /// Write an access log to this file; SIGHUP opens it anew.
    #[arg(long, value_name = "FILE", help_heading = "HTTP")]
    access_log: Option<PathBuf>,
    /// The form of its lines: combined or json
    #[arg(long, default_value = "combined", value_parser = format, help_heading = "HTTP")]
    log_format: Format,
    /// Seconds from the first byte of a request to the end of its head; 0 for no bound.
    #[arg(long, default_value_t = 10, value_name = "SECONDS", help_heading = "HTTP")]
    header_timeout: u64,
    /// Seconds between two requests of a connection; 0 for no bound.
    #[arg(long, default_value_t = 75, value_name = "SECONDS", help_heading = "HTTP")]
    keep_alive_timeout: u64,
    /// Bytes a second that a client sends or takes at least, over ten seconds each; 0 for no bound.
    #[arg(long, default_value_t = 256, value_name = "BYTES", help_heading = "HTTP")]
    rate_min: u64,
    /// Requests a second from one address (IPv6: one /64); 0 for no bound.
    #[arg(long, default_value_t = 0, value_name = "N", help_heading = "HTTP")]
    requests_per_second: u32,
    /// Requests of one address at once, before that rate counts.
    #[arg(long, default_value_t = 100, value_name = "N", help_heading = "HTTP")]
    requests_burst: u32,
    /// Connections from one address (IPv6: one /64) at once; 0 for no bound.
    #[arg(long, default_value_t = 0, value_name = "N", help_heading = "HTTP")]
    pub(crate) connections_per_address: u32,
    /// Bytes of a request's body at most.
    #[arg(long, default_value_t = 1 << 20, value_name = "BYTES", help_heading = "HTTP")]
    body_max: u64,
    /// Subscribers to events and ws on each core.
    #[arg(long, default_value_t = 65_536, value_name = "N", help_heading = "HTTP")]
    subscribers: u32,
}

fn site(text: &str) -> Result<SiteConfig, String> {
    let (names, root) = text.split_once('=').ok_or("NAMES=DIR has an equals sign")?;
    let hosts: Vec<String> = names.split(',').map(str::to_owned).collect();
    if hosts.iter().any(String::is_empty) || root.is_empty() {
        return Err("NAMES=DIR has a name and a folder".into());
    }
    Ok(SiteConfig { hosts, root: root.into() })
}

fn certificate(text: &str) -> Result<Certificate, String> {
    let (names, files) = text.split_once('=').unwrap_or(("", text));
    let (chain, key) = files.split_once(':').ok_or("[NAMES=]CHAIN:KEY has a colon between two files")?;
    let names = names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Ok(Certificate { names, chain: chain.into(), key: key.into() })
}

fn symlinks(text: &str) -> Result<Symlinks, String> {
    match text {
        "never" => Ok(Symlinks::Never),
        "inside" => Ok(Symlinks::Inside),
        "always" => Ok(Symlinks::Always),
        _ => Err("never, inside or always".into()),
    }
}

fn changes(text: &str) -> Result<Changes, String> {
    match text {
        "told" => Ok(Changes::Told),
        "poll" => Ok(Changes::Poll(Wall::from_secs(2))),
        "never" => Ok(Changes::Never),
        _ => Err("told, poll or never".into()),
    }
}

fn format(text: &str) -> Result<Format, String> {
    match text {
        "combined" => Ok(Format::Combined),
        "json" => Ok(Format::Json),
        _ => Err("combined or json".into()),
    }
}

/// The one topic that events, ws and publish share.
const TOPIC: u8 = 0;

/// A handler by its name; its path is the name's unless it is given one.
fn route(text: &str) -> Result<Route> {
    let (name, path) = text.split_once(':').map_or((text, None), |(name, path)| (name, Some(path)));
    let handler: Box<dyn Handler> = match name {
        "healthz" => Box::new(Health),
        "info" => Box::new(Info),
        "echo" => Box::new(Echo),
        "events" => Box::new(Events(TOPIC)),
        "publish" => Box::new(Publish::new(TOPIC)),
        "ws" => Box::new(Socket(Some(TOPIC))),
        "ws-echo" => Box::new(Socket(None)),
        _ => bail!("--handlers knows no {name}: healthz, info, echo, events, publish, ws, ws-echo"),
    };
    let path = path.map_or_else(|| format!("/{name}"), str::to_owned);
    if !path.starts_with('/') {
        bail!("--handlers {text}: a path begins with a slash");
    }
    Ok(Route { path, handler })
}

/// What is shared by the servers of all cores, while they are being made.
pub(crate) struct Http {
    library: Library,
    config: Config,
    handlers: Vec<String>,
    log: Option<LogConfig>,
    tls: Option<Tls>,
}

/// What runs beside the cores.
pub(crate) struct Helpers {
    _watching: Option<Watching>,
    log: Option<Log>,
    tls: Option<Tls>,
}

impl Helpers {
    /// Opens the log anew and reads the certificates again.
    pub(crate) fn refresh(&mut self) {
        if let Some(log) = &self.log {
            log.reopen();
        }
        if let Some(Err(error)) = self.tls.as_mut().map(Tls::reload) {
            eprintln!("freeway: the certificates stay as they were: {error}");
        }
    }
}

impl Http {
    /// Reads documents and checks flags.
    pub(crate) fn new(args: &Args) -> Result<Self> {
        let handlers: Vec<String> = args.handlers.iter().filter(|name| !name.is_empty()).cloned().collect();
        for handler in &handlers {
            route(handler)?;
        }
        let library = match &args.root {
            Some(root) => {
                let mut config = LibraryConfig {
                    symlinks: args.symlinks,
                    changes: args.changes,
                    document_max: args.document_max,
                    memory_max: args.documents_memory,
                    ..LibraryConfig::new(root)
                };
                config.sites.extend(args.site.iter().cloned());
                let library = Library::open(config).context("--root")?;
                let tree = library.tree();
                eprintln!(
                    "{} documents, {} bytes in memory, from {}",
                    tree.len(),
                    tree.bytes_in_memory(),
                    root.display()
                );
                library
            }
            None if args.site.is_empty() => Library::welcome(),
            None => bail!("--site adds to --root: give one for all other names"),
        };
        let config = Config {
            header_timeout: Duration::from_secs(args.header_timeout),
            keep_alive_timeout: Duration::from_secs(args.keep_alive_timeout),
            body_rate_min: args.rate_min,
            send_rate_min: args.rate_min,
            rate_interval: Duration::from_secs(if args.rate_min == 0 { 0 } else { 10 }),
            requests_per_second: args.requests_per_second,
            requests_burst: args.requests_burst,
            body_max: args.body_max,
            subscribers_max: args.subscribers,
            ..Config::default()
        };
        let log = args.access_log.clone();
        let log = log.map(|path| LogConfig { path, format: args.log_format, waiting_max: 4_096 });
        let tls = match (args.https, args.certificate.is_empty()) {
            (0, true) => None,
            (0, false) => bail!("--certificate needs --https with a port"),
            (_, true) => bail!("--https needs a --certificate"),
            (_, false) => Some(Tls::open(args.certificate.clone()).context("--certificate")?),
        };
        Ok(Self { library, config, handlers, log, tls })
    }

    /// One file under one path, and nothing else.
    pub(crate) fn of(library: Library) -> Self {
        Self { library, config: Config::default(), handlers: Vec::new(), log: None, tls: None }
    }

    /// A server's parts for each of `cores`, and what runs beside them.
    pub(crate) fn start(self, cores: usize, key: HashKey) -> Result<(Vec<Parts>, Helpers)> {
        let Self { mut library, config, handlers, log, mut tls } = self;
        let mut senders: Vec<Option<LogSender>> = (0..cores).map(|_| None).collect();
        let log = match log {
            Some(config) => {
                let path = config.path.clone();
                let (log, made) =
                    Log::start(config, cores).with_context(|| format!("--access-log {}", path.display()))?;
                senders = made.into_iter().map(Some).collect();
                Some(log)
            }
            None => None,
        };
        let mut parts = Vec::new();
        for (mesh, log) in Mesh::new(cores).into_iter().zip(senders) {
            parts.push(Parts {
                config: config.clone(),
                feed: library.feed(),
                disk: Disk::start(&config).context("no thread to read documents")?,
                routes: handlers.iter().map(|handler| route(handler)).collect::<Result<_>>()?,
                topics: 1,
                mesh,
                log,
                tls: tls.as_mut().map(Tls::feed),
                key,
            });
        }
        Ok((parts, Helpers { _watching: Some(library.watch()?), log, tls }))
    }
}
