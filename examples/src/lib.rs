//! What the examples share: a device, one core, an orderly end; and two hosts on a cable for their tests.

#![forbid(unsafe_code)]

/// The Rust blocks of the book, compiled and run as tests of this crate.
#[cfg(doctest)]
mod book {
    #[doc = include_str!("../../book/src/events.md")]
    struct Events;
    #[doc = include_str!("../../book/src/tasks.md")]
    struct Tasks;
    #[doc = include_str!("../../book/src/testing.md")]
    struct Testing;
}

pub mod lab;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use clap::Parser;
use freeway::port::Port;
use freeway::{
    Application, BuildError, Cidr, Duration, HostConfig, Interface, Runtime, RuntimeConfig, Seat, Secrets,
};
use freeway_afxdp::{AfxdpConfig, AfxdpError, Device, Steering, VethConfig, VethPair};
use freeway_async::{Executor, ExecutorConfig, quiesce};
use freeway_tap::{LinuxEnd, Tap, configure};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How long an example waits for what is under way when it is asked to end.
const GRACE: Duration = Duration::from_secs(2);
/// Linux's end of the cable.
const LINUX: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1));
/// The length of both ends' prefix.
const PREFIX: u8 = 24;
/// The longest IP packet.
const MTU: u16 = 1_500;

/// Flags of every example.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// The device: auto (a veth pair freeway0 with AF_XDP, else a TAP device), or tap:NAME. Linux's end is 198.18.0.1.
    #[arg(long, default_value = "auto")]
    pub dev: String,
    /// Freeway's address, with its subnet's prefix.
    #[arg(long, default_value = "198.18.0.2/24", value_name = "CIDR")]
    pub addr: String,
}

/// Runs an application of events on one core until SIGINT or SIGTERM.
///
/// # Errors
///
/// No rights to a device, or an address that is none.
pub fn run<A: Application>(options: &Options, app: impl FnOnce() -> A + Send + 'static) -> Result<()> {
    run_with(options, |_| app(), |_| ())
}

/// Runs the tasks of `main` on one core until it returns. SIGINT or SIGTERM asks it to
/// ([`shutdown`](freeway_async::shutdown())); what is under way then has two seconds.
///
/// # Errors
///
/// No rights to a device, or an address that is none.
pub fn run_async<M, F>(options: &Options, main: M) -> Result<()>
where
    M: FnOnce() -> F + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let app = |seat: &Seat| {
        let stop = seat.stop.clone();
        Executor::new(&seat.mailboxes, ExecutorConfig::default(), move || async move {
            main().await;
            quiesce(GRACE).await;
            stop.stop();
        })
    };
    run_with(options, app, |app| Some(app.shutdown_handle()))
}

/// What ends an application in order, if it has such a thing.
trait End: Send + Sync + 'static {
    fn ask(&self) -> bool;
}

impl End for () {
    fn ask(&self) -> bool {
        false
    }
}

impl End for Option<freeway_async::ShutdownHandle> {
    fn ask(&self) -> bool {
        if let Some(handle) = self {
            handle.shut_down();
        }
        self.is_some()
    }
}

fn run_with<A: Application, E: End>(
    options: &Options,
    app: impl FnOnce(&Seat) -> A + Send + 'static,
    end: impl FnOnce(&A) -> E + Send + 'static,
) -> Result<()> {
    let address: Cidr = options.addr.parse().map_err(|error| anyhow!("--addr {}: {error}", options.addr))?;
    // Signals are caught before anything is made, so that nothing made is left behind.
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals cannot be caught")?;
    let port = open(&options.dev)?;
    let config = HostConfig::new(Secrets::random()?);
    let (tell, told) = mpsc::channel();
    let running =
        Runtime::new(RuntimeConfig::default())?.start([move |seat: Seat| -> Result<_, BuildError> {
            let (app, now) = (app(&seat), seat.now());
            tell.send(end(&app))?;
            let interface = Interface::boxed(port()).address(address);
            Ok(config.build(seat.mailboxes, now, app, [interface])?)
        }])?;
    let (end, stop, handle) = (told.recv()?, running.stop_handle(), signals.handle());
    let waiter = thread::spawn(move || {
        for (count, _) in signals.forever().enumerate() {
            // The second time there is no asking.
            if count > 0 || !end.ask() {
                stop.stop();
            }
        }
    });
    eprintln!("ready dev={} addr={}", options.dev, options.addr);
    let ended = running.join();
    handle.close();
    drop(waiter.join());
    ended.map(drop).map_err(|panic| anyhow!(panic))
}

/// Makes a port on its core's own thread.
type MakePort = Box<dyn FnOnce() -> Box<dyn Port> + Send>;

fn open(dev: &str) -> Result<MakePort> {
    match dev.split_once(':') {
        Some(("tap", name)) => tap(name),
        None if dev == "auto" => pair().or_else(|without| {
            let make = tap("freeway0").with_context(|| format!("neither AF_XDP ({without}) nor TAP"))?;
            eprintln!("no AF_XDP, so a TAP device: {without}");
            Ok(make)
        }),
        _ => Err(anyhow!("--dev {dev}: the examples know auto and tap:NAME")),
    }
}

/// A veth pair with AF_XDP at Freeway's end.
fn pair() -> Result<MakePort, AfxdpError> {
    let pair = VethPair::create(&VethConfig {
        name: "freeway0".into(),
        addresses: vec![(LINUX, PREFIX)],
        mtu: MTU,
        queues: 1,
    })?;
    let steering = Steering { whole_interface: true, ..Steering::default() };
    let config = AfxdpConfig { steering, ..AfxdpConfig::new(pair.far()) };
    let device = Device::open_pair(config, pair)?;
    let mut shares = device.divide(1);
    let share = shares.remove(0);
    Ok(Box::new(|| Box::new(share.into_port())))
}

fn tap(name: &str) -> Result<MakePort> {
    let mut taps = Tap::open(name, 1)?;
    configure(&mut taps, &LinuxEnd { addresses: vec![(LINUX, PREFIX)], mtu: MTU })?;
    let tap = taps.pop().context("no queue was opened")?;
    Ok(Box::new(|| Box::new(tap)))
}
