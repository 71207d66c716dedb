//! `freeway serve`: from settings to running cores.
//!
//! ```text
//!   flags, file ─► Settings ─► plan: all checks ─► open devices ─► start cores ─► wait for signals
//! ```
//!
//! Everything is checked before anything is made; every mistake is said in one go.

mod args;
mod budget;
mod plan;
mod reload;
mod start;
mod ways;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use freeway::{CorePanic, Running};
use freeway_afxdp::{Following, LinuxRoute, Routes};
use freeway_control::{Actions, Server as AdminServer, admin};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

pub(crate) use args::{Args, CacheSettings};
pub(crate) use plan::{cpus, default_memory, size};

use crate::device::Device;
use crate::http::Http;
use crate::open::{Opened, Wish, open};
use crate::protect::Protection;
use crate::protect::folders::{Folders, admin_socket, parent};
use crate::protect::keeper::Keeper;
use crate::settings::keys::differences;
use crate::settings::value::Auto;
use crate::settings::{Admin, Loaded, Problems, Settings, load};
use budget::Budget;
use plan::Plan;
use reload::{Reloader, Started};
use start::Starter;

/// After so long everything that cores have counted is seen.
const COUNTED_WITHIN: Duration = Duration::from_millis(250);

pub(crate) fn run(args: &Args) -> Result<()> {
    let Loaded { settings, mut problems } = load(args.config.as_deref(), &args.flags());
    let planned = plan::plan(&settings, &mut problems);
    let http = Http::open(&settings.http, &mut problems);
    let (plan, http) = match (planned, http) {
        (Some(plan), Some(http)) if problems.is_empty() => (plan, http),
        _ => return Err(refused(&problems)),
    };
    let budget = Budget::of(&plan, &http);
    if let Some(refusal) = budget.refusal(budget::available()) {
        return Err(anyhow!(refusal));
    }
    if args.check {
        println!("{}", described(&plan, &settings));
        println!("settings that are not the defaults");
        for (key, _, _, value) in differences(&Settings::default(), &settings) {
            let value = if reload::is_secret(&key) { "...".to_owned() } else { value };
            println!("  {key} = {value}{}", problems.told(&key));
        }
        println!("{budget}");
        return Ok(());
    }
    eprintln!("{budget}");
    serve(args, settings, plan, http)
}

/// All that is wrong, a line each.
fn refused(problems: &Problems) -> anyhow::Error {
    anyhow!("{}", problems.lines().join("\nfreeway: "))
}

/// What the settings come to, in a few lines.
fn described(plan: &Plan, settings: &Settings) -> String {
    let mut lines = Vec::new();
    for interface in &plan.interfaces {
        let own = list(interface.addresses.own.iter());
        let own = match (interface.shared, own.is_empty()) {
            (true, true) => "Linux's addresses".to_owned(),
            (true, false) => format!("Linux's addresses and {own}"),
            (false, _) => own,
        };
        lines.push(format!("interface   {} with {own}, MTU {}", interface.device, interface.mtu));
    }
    lines.push(format!("cores       {} ({})", list(plan.cpus.iter()), plan.idle));
    lines.push(format!("services    {}", plan.services()));
    lines.push(format!("connections {} at once", settings.max_connections));
    lines.push(format!("TCP         {}, ECN {}", settings.tcp.congestion, settings.tcp.ecn));
    lines.join("\n")
}

fn serve(args: &Args, settings: Settings, mut plan: Plan, http: Http) -> Result<()> {
    // Signals are caught before anything is made, so that nothing made is left behind.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("signals cannot be caught")?;
    let mut opened: Vec<Option<Opened>> = plan.interfaces.iter().map(|_| None).collect();
    open_some(&plan, &mut opened, needs_rights)?;
    let protection = protection(&settings, args)?;
    let starter = Starter::new()?;
    let made: Vec<_> = opened.iter().flatten().filter_map(|opened| opened.made.clone()).collect();
    // Whoever keeps its rights removes what it made by itself.
    let keeper = if made.is_empty() || !protection.is_on() { None } else { Some(Keeper::start(&made)?) };
    protection.of_helpers()?;
    open_some(&plan, &mut opened, |_| true)?;
    let mut opened: Vec<Opened> = opened.into_iter().flatten().collect();
    let routes: Vec<Option<Routes>> = opened.iter_mut().map(|opened| opened.routes.take()).collect();
    for (planned, routes) in plan.interfaces.iter_mut().zip(&routes) {
        planned.of_linux = routes.as_ref().map_or_else(Vec::new, |routes| routes.now().to_vec());
        ways::complaint(&planned.of_linux).into_iter().for_each(|line| eprintln!("freeway: {line}"));
    }
    let ready = format!(
        "ready dev={} addr={} cores={} services={}",
        list(opened.iter().map(|opened| &opened.label)),
        list(opened.iter().flat_map(|opened| &opened.addresses)),
        list(plan.cpus.iter()),
        plan.services(),
    );
    let ending = Arc::new(AtomicBool::new(false));
    let drain = Arc::new(AtomicU64::new(settings.drain.as_nanos()));
    let admin_path = settings.admin.clone();
    let (interfaces, counts_peers, has_cache) =
        (plan.interfaces.clone(), plan.host.stack.count_peers, plan.cache.is_some());
    let (running, helpers, cores, metrics) = start::start(plan, http, opened, &ending, &protection, starter)?;
    let metrics = metrics.map(|metrics| metrics.watch(running.stats_reader(), ready.clone())).transpose()?;
    let reloader = Reloader::new(Started {
        config: args.config.clone(),
        flags: args.flags(),
        settings,
        protection: protection.clone(),
        interfaces,
        counts_peers,
        has_cache,
        cores,
        wake: running.stop_handle(),
        helpers,
        drain: Arc::clone(&drain),
    });
    let following = follow(routes, &reloader)?;
    let admin = admin(&admin_path, &running, &ready, &reloader)?;
    let handle = signals.handle();
    let waiter = thread::spawn({
        let (reloader, stop, stats) = (reloader.clone(), running.stop_handle(), running.stats_reader());
        move || {
            for signal in signals.forever() {
                if signal != SIGHUP {
                    break;
                }
                for line in reloader.reload().lines() {
                    eprintln!("freeway: reload: {line}");
                }
            }
            ending.store(true, Ordering::Relaxed);
            stop.wake();
            let drain = Duration::from_nanos(drain.load(Ordering::Relaxed));
            let deadline = Instant::now() + drain;
            // What cores count is seen a tenth of a second later.
            thread::sleep(drain.min(COUNTED_WITHIN));
            let is_open =
                || stats.read().iter().any(|core| core.get("tables", "connections").unwrap_or(0) > 0);
            while Instant::now() < deadline && is_open() {
                thread::sleep(Duration::from_millis(50));
            }
            stop.stop();
        }
    });
    protection.of_process()?;
    eprintln!("{ready}");
    let ended = running.join();
    handle.close();
    // The waiter ends with its signals and cannot panic.
    drop(waiter.join());
    drop((admin, metrics, following));
    reloader.finish();
    drop(keeper);
    ended.map(drop).map_err(|panic: CorePanic| anyhow!(panic))
}

/// Has the cores take Linux's routes as they change.
fn follow(routes: Vec<Option<Routes>>, reloader: &Reloader) -> Result<Vec<Following>> {
    let places = routes.into_iter().enumerate().filter_map(|(place, routes)| Some((place, routes?)));
    places
        .map(|(place, routes)| {
            let reloader = reloader.clone();
            let changed = move |routes: &[LinuxRoute]| {
                reloader.follow(place, routes).into_iter().for_each(|line| eprintln!("freeway: {line}"));
            };
            routes.follow(changed).context("nobody follows Linux's routes")
        })
        .collect()
}

/// Whether it takes rights to open a device: those to the network.
fn needs_rights(device: &Device) -> bool {
    !matches!(device, Device::Memif(_))
}

/// Opens the devices that are not open yet and of which `which` is true.
fn open_some(plan: &Plan, opened: &mut [Option<Opened>], which: impl Fn(&Device) -> bool) -> Result<()> {
    for (interface, opened) in plan.interfaces.iter().zip(opened) {
        if opened.is_none() && which(&interface.device) {
            *opened = Some(open(&Wish {
                device: &interface.device,
                addresses: &interface.addresses,
                shared: interface.shared,
                services: plan.transports(),
                mtu: interface.mtu,
                cores: plan.cpus.len(),
            })?);
        }
    }
    Ok(())
}

/// What rights are given up, when it has been tried whether the kernel lets them be.
fn protection(settings: &Settings, args: &Args) -> Result<Protection> {
    if settings.protect == Auto::Set(false) {
        return Ok(Protection::default());
    }
    let admin = admin_socket(settings);
    if let Some(folder) =
        admin.as_deref().and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty())
    {
        // The admin socket says so when there is none.
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    }
    let mut folders = Folders::of(settings, args.config.as_deref(), admin.as_deref());
    folders.remove.extend(args.removed.as_deref().map(parent));
    let protection = Protection::new(Some(folders));
    match protection.try_on_a_thread() {
        Ok(()) => Ok(protection),
        Err(error) if settings.protect == Auto::Auto => {
            eprintln!("freeway: no protection: {error:#}");
            Ok(Protection::default())
        }
        Err(error) => Err(error.context("protect = true (--protect)")),
    }
}

/// Opens the admin socket. One that was asked for must be there; without the usual one a server serves all the same.
fn admin(
    path: &Auto<Admin>,
    running: &Running,
    ready: &str,
    reloader: &Reloader,
) -> Result<Option<AdminServer>> {
    let (path, asked) = match path {
        Auto::Set(None) => return Ok(None),
        Auto::Set(Some(path)) => (path.clone(), true),
        Auto::Auto => (admin::default_path(), false),
    };
    let reloader = reloader.clone();
    let actions = Actions { reload: Some(Box::new(move || reloader.reload())) };
    match AdminServer::open_with(&path, running.observer(), ready, actions) {
        Ok(server) => Ok(Some(server)),
        Err(error) if asked => Err(error.into()),
        Err(error) => {
            eprintln!("freeway: {error}; nobody can ask this server");
            Ok(None)
        }
    }
}

fn list(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}
