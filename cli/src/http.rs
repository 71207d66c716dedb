//! What `freeway serve` says of HTTP: from its settings, what each core's server is made of.

use std::fs;

use anyhow::{Context as _, Result};
use freeway::{Duration, HashKey};
use freeway_httpd::handlers::{Named, Rights};
use freeway_httpd::{
    Config, Destination, Disk, Library, LibraryConfig, Log, LogConfig, LogSender, Mesh, Parts, SiteConfig,
    Tls, TlsChange, Watching,
};

use crate::settings::{HttpSettings, Problems};

/// A buffer on its way through TLS, a subscriber's place, and a line of the log, in bytes (see
/// [`freeway_httpd::Config`] and [`LogConfig`]).
const TLS_BUFFER: u64 = 33 << 10;
const SUBSCRIBER: u64 = 12;
const LOG_ENTRY: u64 = 1 << 10;

/// Notes what is wrong with the settings, without a look at any file.
pub(crate) fn check(settings: &HttpSettings, problems: &mut Problems) {
    if let Err(error) = Named::parse(&settings.handlers) {
        problems.note("http.handlers", error);
    }
    if settings.root.is_none() && !settings.sites.is_empty() {
        problems.note("http.site", "a site adds to http.root: give one for all other names");
    }
    match (settings.tls_ports.is_empty(), settings.certificates.is_empty()) {
        (true, false) => problems
            .note("http.certificate", "a certificate is for TLS: give http.tls_ports (--https) a port"),
        (false, true) => {
            problems.note("http.tls_ports", "TLS needs a certificate: http.certificate, or --certificate");
        }
        _ => {}
    }
}

/// The handlers, with who may publish.
fn handlers(settings: &HttpSettings, problems: &mut Problems) -> Option<Named> {
    let named =
        Named::parse(&settings.handlers).map_err(|error| problems.note("http.handlers", error)).ok()?;
    let token = match &settings.publish_token {
        Some(path) => match fs::read_to_string(path) {
            Ok(text) if !text.trim().is_empty() => Some(text.trim().as_bytes().into()),
            Ok(_) => {
                problems.note("http.publish_token", format!("{}: the file is empty", path.display()));
                return None;
            }
            Err(error) => {
                problems.note("http.publish_token", format!("{}: {error}", path.display()));
                return None;
            }
        },
        None => None,
    };
    let from = settings.publish_from.iter().map(|cidr| (cidr.addr, cidr.prefix_len)).collect();
    Some(named.rights(Rights { from, token }))
}

/// What is served, unless it is the page that says it works.
pub(crate) fn library(settings: &HttpSettings) -> Option<LibraryConfig> {
    let root = settings.root.clone()?;
    let mut config = settings.library.clone();
    config.sites = vec![SiteConfig { hosts: Vec::new(), root }];
    config.sites.extend(settings.sites.iter().cloned());
    Some(config)
}

/// Where answers are logged, if they are.
pub(crate) fn log(settings: &HttpSettings) -> Option<LogConfig> {
    let path = settings.access_log.clone()?;
    Some(LogConfig { path, format: settings.log_format, waiting_max: settings.log_waiting })
}

/// How each core's server behaves.
pub(crate) fn config(settings: &HttpSettings) -> Config {
    let rate_min = settings.rate_min;
    let config = settings.config.clone();
    let rate_interval = if rate_min == 0 { Duration::ZERO } else { config.rate_interval };
    Config { body_rate_min: rate_min, send_rate_min: rate_min, rate_interval, ..config }
}

/// What is shared by the servers of all cores, while they are being made.
pub(crate) struct Http {
    library: Library,
    config: Config,
    handlers: Named,
    log: Option<LogConfig>,
    tls: Option<Tls>,
}

/// What runs beside the cores.
#[derive(Default)]
pub(crate) struct Helpers {
    watching: Option<Watching>,
    log: Option<Log>,
    tls: Option<Tls>,
}

/// What a reload has read and not used yet.
pub(crate) struct Prepared {
    log: Option<Destination>,
    tls: Option<TlsChange>,
}

impl Helpers {
    /// Whether there is TLS.
    pub(crate) const fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads certificates and opens the log for other settings, or for the same ones anew.
    ///
    /// # Errors
    ///
    /// What cannot be, each a line.
    pub(crate) fn prepare(&self, settings: &HttpSettings) -> Result<Prepared, Vec<String>> {
        let mut wrong = Vec::new();
        // Without a port for it, TLS stays as it was.
        let certificates = &settings.certificates;
        let tls = self.tls.as_ref().filter(|_| !certificates.is_empty()).and_then(|_| {
            Tls::prepare(certificates).map_err(|error| wrong.push(format!("http.certificate: {error}"))).ok()
        });
        let log = self.log.as_ref().and(log(settings)).and_then(|config| {
            let path = config.path.display().to_string();
            let opened = Destination::open(config.path, config.format);
            opened.map_err(|error| wrong.push(format!("http.access_log {path}: {error}"))).ok()
        });
        if wrong.is_empty() { Ok(Prepared { log, tls }) } else { Err(wrong) }
    }

    /// Uses what was prepared, and reads documents as `settings` say; returns what was done.
    ///
    /// # Errors
    ///
    /// The documents cannot be read, and stay as they were.
    pub(crate) fn change(
        &mut self,
        prepared: Prepared,
        settings: &HttpSettings,
    ) -> Result<Vec<String>, String> {
        let mut done = Vec::new();
        if let (Some(tls), Some(change)) = (&mut self.tls, prepared.tls) {
            tls.change(change);
            done.push("certificates were read".to_owned());
        }
        if let (Some(log), Some(destination)) = (&self.log, prepared.log) {
            log.redirect(destination);
            done.push("the access log was opened".to_owned());
        }
        if let (Some(watching), Some(config)) = (&self.watching, library(settings)) {
            watching
                .configure(config)
                .map_err(|error| format!("the documents stay as they were: {error}"))?;
            done.push("documents were read".to_owned());
        }
        Ok(done)
    }
}

impl Http {
    /// Reads documents and certificates; notes what is wrong with them.
    pub(crate) fn open(settings: &HttpSettings, problems: &mut Problems) -> Option<Self> {
        let before = problems.count();
        let library = match library(settings).map(Library::open) {
            Some(Ok(library)) => {
                let tree = library.tree();
                let (documents, bytes) = (tree.len(), tree.bytes_in_memory());
                let root = settings.root.as_deref().unwrap_or(std::path::Path::new("")).display();
                eprintln!("{documents} documents, {bytes} bytes in memory, from {root}");
                Some(library)
            }
            Some(Err(error)) => {
                problems.note("http.root", error);
                None
            }
            None => Some(Library::welcome()),
        };
        let tls = match settings.tls_ports.is_empty() {
            true => None,
            false => Tls::open(&settings.certificates)
                .map_err(|error| problems.note("http.certificate", error))
                .ok(),
        };
        let handlers = handlers(settings, problems);
        (problems.count() == before).then_some(())?;
        Some(Self {
            library: library?,
            config: config(settings),
            handlers: handlers?,
            log: log(settings),
            tls,
        })
    }

    /// What each core's server takes of memory, by holder, in bytes.
    pub(crate) fn bytes_by_core(&self) -> [(String, u64); 4] {
        let Config { disk_buffers, disk_buffer, tls_buffers, subscribers_max, .. } = self.config;
        let tls = if self.tls.is_some() { u64::from(tls_buffers) * TLS_BUFFER } else { 0 };
        let log = self.log.as_ref().map_or(0, |log| u64::from(log.waiting_max) * LOG_ENTRY);
        [
            ("HTTP downloads from disk".to_owned(), u64::from(disk_buffers) * u64::from(disk_buffer)),
            ("TLS".to_owned(), tls),
            ("HTTP subscribers".to_owned(), u64::from(subscribers_max) * SUBSCRIBER),
            ("access log".to_owned(), log),
        ]
    }

    /// What the documents take in memory now, in bytes.
    pub(crate) fn document_bytes(&self) -> u64 {
        self.library.tree().bytes_in_memory()
    }

    /// One file under one path, and nothing else.
    pub(crate) fn of(library: Library) -> Self {
        Self { library, config: Config::default(), handlers: Named::default(), log: None, tls: None }
    }

    /// A server's parts for each of `cores`, and what runs beside them.
    pub(crate) fn start(self, cores: usize, key: HashKey) -> Result<(Vec<Parts>, Helpers)> {
        let Self { mut library, config, handlers, log, mut tls } = self;
        let mut senders: Vec<Option<LogSender>> = (0..cores).map(|_| None).collect();
        let log = match log {
            Some(config) => {
                let path = config.path.clone();
                let (log, made) = Log::start(config, cores)
                    .with_context(|| format!("the access log {}", path.display()))?;
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
                routes: handlers.routes(),
                topics: handlers.topics(),
                mesh,
                log,
                tls: tls.as_mut().map(Tls::feed),
                key,
            });
        }
        Ok((parts, Helpers { watching: Some(library.watch()?), log, tls }))
    }
}
