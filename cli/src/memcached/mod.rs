//! `freeway memcached`: the cache for those who type memcached's flags.
//!
//! Every flag of memcached 1.6.45 is known. What it sets there it sets here; what has no meaning here is taken with a
//! note that says why, or refused where to go on would deceive. Devices and addresses are given as to `freeway serve`.

mod auth_file;
mod extended;
mod listen;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{ArgAction, Parser as _};
use freeway_memcache::Protocol;

use crate::serve;

/// The cache with memcached's flags.
///
/// Example: freeway memcached -p 11211 -m 1024 -I 4m --dev tap:fw0 --addr 198.18.0.2/24
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(crate) struct Args {
    /// TCP port; 0 for none
    #[arg(short = 'p', long, value_name = "PORT", default_value_t = 11211)]
    port: u16,
    /// UDP port; 0 for none
    #[arg(short = 'U', long, value_name = "PORT", default_value_t = 0)]
    udp_port: u16,
    /// Addresses to listen on: taken as --addr, with a prefix of 24 or 64 bits unless said; repeatable
    #[arg(short = 'l', long, value_name = "ADDR,...", value_delimiter = ',')]
    listen: Vec<String>,
    /// Memory of the cache in MiB, mapped at start
    #[arg(short = 'm', long, value_name = "MIB", default_value_t = 64)]
    memory_limit: u32,
    /// Connections at once
    #[arg(short = 'c', long, value_name = "N", default_value_t = 1024)]
    conn_limit: u32,
    /// Threads, each on a processor of its own [default: 1]
    #[arg(short = 't', long, value_name = "N")]
    threads: Option<usize>,
    /// The largest item: bytes, or with k or m
    #[arg(short = 'I', long, value_name = "SIZE", default_value = "1m", value_parser = serve::size)]
    max_item_size: usize,
    /// Protocol: ascii, binary or auto
    #[arg(short = 'B', long, value_name = "NAME", default_value = "auto", value_parser = protocol)]
    protocol: Protocol,
    /// Let clients end the server by the command shutdown
    #[arg(short = 'A', long)]
    enable_shutdown: bool,
    /// Refuse flush_all
    #[arg(short = 'F', long)]
    disable_flush_all: bool,
    /// Refuse to list keys: stats cachedump, lru_crawler metadump
    #[arg(short = 'X', long)]
    disable_dumping: bool,
    /// Refuse watch
    #[arg(short = 'W', long)]
    disable_watch: bool,
    /// A file of names and passwords, user:password a line, one of which clients have to say first
    #[arg(short = 'Y', long, value_name = "FILE")]
    auth_file: Option<PathBuf>,
    /// A file for the process's number
    #[arg(short = 'P', long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// Say more
    #[arg(short = 'v', long, action = ArgAction::Count)]
    verbose: u8,
    /// Further options with commas, name or name=value
    #[arg(short = 'o', long, value_name = "OPTION,...", value_delimiter = ',')]
    extended: Vec<String>,
    /// Print the version and end
    #[arg(short = 'V', long)]
    version: bool,
    /// Print the licence and end
    #[arg(short = 'i', long)]
    license: bool,

    #[command(flatten, next_help_heading = "Without meaning here, taken with a note")]
    idle: Idle,
    #[command(flatten, next_help_heading = "Refused, with the reason")]
    refused: Unserved,
    #[command(flatten, next_help_heading = "As of freeway serve")]
    device: DeviceArgs,
}

/// Flags that set what is not here.
#[derive(Debug, Default, clap::Args)]
struct Idle {
    /// A user to run as
    #[arg(short = 'u', long, value_name = "USER")]
    user: Option<String>,
    /// Lock memory
    #[arg(short = 'k', long)]
    lock_memory: bool,
    /// Core files
    #[arg(short = 'r', long)]
    enable_coredumps: bool,
    /// Growth of slab classes
    #[arg(short = 'f', long, value_name = "FACTOR")]
    slab_growth_factor: Option<f64>,
    /// The least item
    #[arg(short = 'n', long, value_name = "BYTES")]
    slab_min_size: Option<u32>,
    /// Large pages
    #[arg(short = 'L', long)]
    enable_largepages: bool,
    /// Delimiter of stats by prefix
    #[arg(short = 'D', long, value_name = "CHAR")]
    stat_delimiter: Option<char>,
    /// Requests of a connection in a row
    #[arg(short = 'R', long, value_name = "N")]
    max_reqs_per_event: Option<u32>,
    /// CAS uniques off
    #[arg(short = 'C', long)]
    disable_cas: bool,
    /// Backlog of the listener
    #[arg(short = 'b', long, value_name = "N")]
    listen_backlog: Option<u32>,
    /// Access to the Unix socket
    #[arg(short = 'a', long, value_name = "MASK")]
    unix_mask: Option<String>,
    /// Queues of a card by their number
    #[arg(short = 'N', long, value_name = "N")]
    napi_ids: Option<u32>,
}

/// Flags that ask for what is not here.
#[derive(Debug, Default, clap::Args)]
struct Unserved {
    /// A Unix socket
    #[arg(short = 's', long, value_name = "FILE")]
    unix_socket: Option<PathBuf>,
    /// Run in the background
    #[arg(short = 'd', long)]
    daemon: bool,
    /// No evictions
    #[arg(short = 'M', long)]
    disable_evictions: bool,
    /// SASL
    #[arg(short = 'S', long)]
    enable_sasl: bool,
    /// A file that keeps the memory
    #[arg(short = 'e', long, value_name = "FILE")]
    memory_file: Option<PathBuf>,
    /// TLS
    #[arg(short = 'Z', long)]
    enable_ssl: bool,
}

/// Flags that `freeway serve` has too, handed to it as they are.
#[derive(Debug, Default, clap::Args)]
struct DeviceArgs {
    /// The device
    #[arg(long, value_name = "DEV")]
    dev: Option<String>,
    /// An address of this host with its prefix; repeatable
    #[arg(long, value_name = "CIDR")]
    addr: Vec<String>,
    /// An address of the Linux end; repeatable
    #[arg(long, value_name = "CIDR")]
    host_addr: Vec<String>,
    /// Serve on the addresses Linux has
    #[arg(long)]
    shared_address: bool,
    /// A router; repeatable
    #[arg(long, value_name = "ADDR")]
    gateway: Vec<String>,
    /// The longest IP packet
    #[arg(long, value_name = "BYTES")]
    mtu: Option<String>,
    /// Processors to run on
    #[arg(long, value_name = "CPU,...")]
    cores: Option<String>,
    /// Packet buffers of each core
    #[arg(long, value_name = "N")]
    buffers: Option<String>,
    /// What an idle core does
    #[arg(long, value_name = "POLICY")]
    idle: Option<String>,
}

/// What the flags come to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    /// Flags of `freeway serve`.
    serve: Vec<OsString>,
    /// What has no flag there.
    settings: serve::CacheSettings,
    /// What has no effect, and why.
    notes: Vec<String>,
}

/// The parser of `freeway serve` by itself.
#[derive(Debug, clap::Parser)]
#[command(name = "freeway memcached", no_binary_name = true)]
struct Serve {
    #[command(flatten)]
    args: serve::Args,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.version {
        println!("memcached {}", freeway_memcache::VERSION);
        return Ok(());
    }
    if args.license {
        println!("Freeway is licensed under Apache-2.0 or MIT, at your choice.");
        return Ok(());
    }
    let Plan { serve, settings, notes } = plan(args)?;
    let mut serve = Serve::try_parse_from(serve)?.args;
    serve.cache_settings = Some(settings);
    serve.removed.clone_from(&args.pidfile);
    for note in notes {
        eprintln!("freeway memcached: {note}");
    }
    let pidfile = args.pidfile.as_ref().map(PidFile::write).transpose()?;
    let served = serve::run(&serve);
    drop(pidfile);
    served
}

/// A file with the process's number, gone when the server is.
struct PidFile<'a>(&'a PathBuf);

impl<'a> PidFile<'a> {
    fn write(path: &'a PathBuf) -> Result<Self> {
        fs::write(path, format!("{}\n", process::id())).with_context(|| format!("-P {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for PidFile<'_> {
    fn drop(&mut self) {
        // Nobody waits for its going.
        let _ = fs::remove_file(self.0);
    }
}

fn plan(args: &Args) -> Result<Plan> {
    refuse(&args.refused)?;
    ensure!(args.port != 0 || args.udp_port != 0, "-p 0 and -U 0 leave no port to serve");
    ensure!(args.conn_limit > 0, "-c must be over 0");
    ensure!(args.memory_limit > 0, "-m must be over 0: memory is mapped at start");
    ensure!(args.max_item_size >= 1024, "-I cannot be less than 1024 bytes");
    ensure!(args.max_item_size <= 1 << 30, "-I cannot be over 1024m");
    let memory = u64::from(args.memory_limit) << 20;
    ensure!(
        args.max_item_size as u64 <= memory / 2,
        "-I {} is over half of the memory: raise -m",
        args.max_item_size
    );
    let listen = listen::parse(&args.listen)?;
    let port = listen.port.unwrap_or(args.port);
    if args.auth_file.is_some() {
        ensure!(args.udp_port == 0, "-Y needs connections: it cannot go with -U");
        ensure!(args.protocol != Protocol::Binary, "-Y is of the text protocol: it cannot go with -B binary");
    }
    let users = args.auth_file.as_deref().map(auth_file::read).transpose()?.unwrap_or_default();
    let mut notes = args.idle.notes();
    let extended = extended::read(&args.extended)?;
    notes.extend(extended.notes);

    let device = &args.device;
    if !listen.addresses.is_empty() && (!device.addr.is_empty() || device.shared_address) {
        bail!("-l and {} both name the addresses to serve on: give one of them", {
            if device.shared_address { "--shared-address" } else { "--addr" }
        });
    }
    let mut serve = Vec::new();
    let mut flag = |name: &str, value: &str| serve.extend([name.into(), value.into()]);
    for (name, value) in [("--http", "0"), ("--echo", "0"), ("--discard", "0"), ("--chargen", "0")] {
        flag(name, value);
    }
    flag("--cache", &port.to_string());
    flag("--cache-udp", &args.udp_port.to_string());
    flag("--cache-memory", &format!("{}M", args.memory_limit));
    flag("--cache-item-max", &args.max_item_size.to_string());
    flag("--max-connections", &args.conn_limit.to_string());
    let (own, threads) = (&device.addr, args.threads);
    let cores = match (&device.cores, threads) {
        (Some(cores), Some(threads)) => {
            ensure!(cores.split(',').count() == threads, "-t {threads} and --cores {cores} differ");
            Some(cores.clone())
        }
        (Some(cores), None) => Some(cores.clone()),
        (None, Some(0)) => bail!("-t must be over 0"),
        (None, threads) => Some(first_cores(threads.unwrap_or(1))?),
    };
    let several = [
        ("--addr", own),
        ("--addr", &listen.addresses),
        ("--host-addr", &device.host_addr),
        ("--gateway", &device.gateway),
    ];
    for (name, values) in several {
        values.iter().for_each(|value| flag(name, value));
    }
    for (name, value) in [
        ("--dev", &device.dev),
        ("--mtu", &device.mtu),
        ("--cores", &cores),
        ("--buffers", &device.buffers),
        ("--idle", &device.idle),
    ] {
        if let Some(value) = value {
            flag(name, value);
        }
    }
    if device.shared_address {
        serve.push("--shared-address".into());
    }
    if args.enable_shutdown {
        serve.push("--cache-shutdown".into());
    }
    let settings = serve::CacheSettings {
        protocol: args.protocol,
        users,
        flush: !args.disable_flush_all,
        dump: !args.disable_dumping,
        watch: !args.disable_watch,
        idle_timeout: extended.idle_timeout,
        track_sizes: extended.track_sizes,
    };
    Ok(Plan { serve, settings, notes })
}

/// The first processors of those that `freeway serve` would take.
fn first_cores(count: usize) -> Result<String> {
    let cpus = serve::cpus(&[])?;
    let taken = cpus.get(..count);
    let taken = taken.with_context(|| {
        format!("-t {count}: there are {} processors for it; --cores names others", cpus.len())
    })?;
    Ok(taken.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}

fn refuse(unserved: &Unserved) -> Result<()> {
    let Unserved { unix_socket, daemon, disable_evictions, enable_sasl, memory_file, enable_ssl } = unserved;
    for (set, flag, why) in [
        (unix_socket.is_some(), "-s", "there is no Unix socket: this server's network is its own"),
        (*daemon, "-d", "the server stays in the foreground: start it by systemd, or with & and -P FILE"),
        (*disable_evictions, "-M", "a full cache always evicts"),
        (*enable_sasl, "-S", "there is no SASL: -Y FILE asks for a password in the text protocol"),
        (memory_file.is_some(), "-e", "items do not outlive the process"),
        (*enable_ssl, "-Z", "there is no TLS"),
    ] {
        ensure!(!set, "{flag} is refused: {why}");
    }
    Ok(())
}

impl Idle {
    fn notes(&self) -> Vec<String> {
        let Self {
            user,
            lock_memory,
            enable_coredumps,
            slab_growth_factor,
            slab_min_size,
            enable_largepages,
            stat_delimiter,
            max_reqs_per_event,
            disable_cas,
            listen_backlog,
            unix_mask,
            napi_ids,
        } = self;
        [
            (user.is_some(), "-u: the process stays the user who started it"),
            (*lock_memory, "-k: all memory is mapped and touched at start, and not locked"),
            (*enable_coredumps, "-r: core files are as the shell's limits say"),
            (slab_growth_factor.is_some(), "-f: there are no slab classes"),
            (slab_min_size.is_some(), "-n: there are no slab classes"),
            (*enable_largepages, "-L: large pages are used whenever there are any"),
            (stat_delimiter.is_some(), "-D: nothing is counted by prefix"),
            (max_reqs_per_event.is_some(), "-R: each connection has its turn, by bytes of its answers"),
            (*disable_cas, "-C: every item has a CAS unique"),
            (listen_backlog.is_some(), "-b: a connection is accepted when its handshake is over"),
            (unix_mask.is_some(), "-a: there is no Unix socket"),
            (napi_ids.is_some(), "-N: queues are the device's, see --dev"),
        ]
        .into_iter()
        .filter(|&(set, _)| set)
        .map(|(_, note)| format!("{note} (it has no effect)"))
        .collect()
    }
}

fn protocol(name: &str) -> Result<Protocol, String> {
    match name {
        "auto" => Ok(Protocol::Auto),
        "ascii" => Ok(Protocol::Text),
        "binary" => Ok(Protocol::Binary),
        _ => Err(format!("there is no protocol {name}: ascii, binary and auto are")),
    }
}

#[cfg(test)]
mod tests;
