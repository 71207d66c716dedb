//! Reading the settings of a running server anew.
//!
//! ```text
//!   file, flags ─► Settings ─► plan ─► what differs ─┬─ taken: certificates, log, folders; then an order to each core
//!                                                    └─ kept as it is, and said: for the next start
//! ```
//!
//! Everything that can be wrong is found before anything is changed: settings, certificates, folders, the log's file.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use freeway::ring::Producer;
use freeway::{Cidr, IfaceId, StopHandle};
use freeway_afxdp::LinuxRoute;
use freeway_control::Reloaded;

use super::plan::{Plan, PlannedInterface, plan};
use super::ways;
use crate::device::Device;
use crate::http::{self, Helpers};
use crate::orders::{NetChange, Order};
use crate::protect::Protection;
use crate::protect::folders::Folders;
use crate::settings::keys::{When, differences, keep};
use crate::settings::{Flag, Loaded, Problems, Settings, load};

/// How long a core may take to obey. It looks once a turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a running server's settings are changed by. Whoever asks for a reload waits for the one before.
#[derive(Clone)]
pub(super) struct Reloader {
    inner: Arc<Mutex<Inner>>,
}

/// What a server was started with.
pub(super) struct Started {
    /// The file and the flags, to be read again.
    pub(super) config: Option<PathBuf>,
    pub(super) flags: Vec<Flag>,
    pub(super) settings: Settings,
    pub(super) protection: Protection,
    pub(super) interfaces: Vec<PlannedInterface>,
    /// Whether the tables count connections by address.
    pub(super) counts_peers: bool,
    pub(super) has_cache: bool,
    /// Where orders to each core go.
    pub(super) cores: Vec<Producer<Box<Order>>>,
    pub(super) wake: StopHandle,
    pub(super) helpers: Helpers,
    /// Nanoseconds that connections are given at the end.
    pub(super) drain: Arc<AtomicU64>,
}

struct Inner {
    started: Started,
    /// The server has ended.
    over: bool,
}

impl Reloader {
    pub(super) fn new(started: Started) -> Self {
        Self { inner: Arc::new(Mutex::new(Inner { started, over: false })) }
    }

    /// Reads everything anew.
    pub(super) fn reload(&self) -> Reloaded {
        self.lock().reload()
    }

    /// Takes Linux's routes by interface `place`, when they have changed; returns what could not be.
    pub(super) fn follow(&self, place: usize, routes: &[LinuxRoute]) -> Vec<String> {
        self.lock().follow(place, routes)
    }

    /// Lets go of what runs beside the cores, when these have ended: the log is written to its end.
    pub(super) fn finish(&self) {
        let mut inner = self.lock();
        inner.over = true;
        inner.started.helpers = Helpers::default();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn reload(&mut self) -> Reloaded {
        if self.over {
            return refused(vec!["the server is about to end".to_owned()]);
        }
        let Loaded { settings: new, mut problems } =
            load(self.started.config.as_deref(), &self.started.flags);
        if plan(&new, &mut problems).is_none() {
            return refused(problems.lines());
        }
        let (settings, mut outcome) = self.possible(new);
        // What stays may not go together with what changes.
        let mut problems = Problems::default();
        let Some(mut plan) = plan(&settings, &mut problems) else {
            let beside = |line| format!("{line} (beside what waits for a restart)");
            return refused(problems.lines().into_iter().map(beside).collect());
        };
        for (planned, started) in plan.interfaces.iter_mut().zip(&self.started.interfaces) {
            planned.of_linux.clone_from(&started.of_linux);
        }
        let helpers = match self.started.helpers.prepare(&settings.http) {
            Ok(helpers) => helpers,
            Err(wrong) => return refused(wrong),
        };
        let roots = http::library(&settings.http).map(|library| library.sites).unwrap_or_default();
        let unreadable = roots.iter().filter_map(|site| {
            fs::read_dir(&site.root).err().map(|error| format!("http.root {}: {error}", site.root.display()))
        });
        let unreadable: Vec<String> = unreadable.collect();
        if !unreadable.is_empty() {
            return refused(unreadable);
        }

        outcome.changed = true;
        match self.started.helpers.change(helpers, &settings.http) {
            Ok(lines) => outcome.applied.extend(lines),
            Err(line) => outcome.wrong.push(line),
        }
        outcome.wrong.extend(self.order(&plan, &settings));
        self.started.drain.store(settings.drain.as_nanos(), Ordering::Relaxed);
        self.started.settings = settings;
        self.started.interfaces = plan.interfaces;
        outcome
    }

    fn follow(&mut self, place: usize, routes: &[LinuxRoute]) -> Vec<String> {
        if self.over {
            return Vec::new();
        }
        let mut problems = Problems::default();
        let settings = self.started.settings.clone();
        let Some(mut plan) = plan(&settings, &mut problems) else { return problems.lines() };
        plan.interfaces.clone_from(&self.started.interfaces);
        let Some(planned) = plan.interfaces.get_mut(place) else { return Vec::new() };
        planned.of_linux = routes.to_vec();
        let mut wrong: Vec<String> = ways::complaint(routes).into_iter().collect();
        wrong.extend(self.order(&plan, &settings));
        self.started.interfaces = plan.interfaces;
        wrong
    }

    /// What of `new` a running server can become, with what it takes of it and what waits.
    fn possible(&self, new: Settings) -> (Settings, Reloaded) {
        let old = &self.started.settings;
        let mut settings = new;
        let mut outcome = Reloaded::default();
        let (before, after) = (old.interfaces.len(), settings.interfaces.len());
        if before != after {
            outcome.restart.push(format!("interface: {after} of them instead of {before}"));
            settings.interfaces.clone_from(&old.interfaces);
        }
        for (key, when, before, after) in differences(old, &settings) {
            let change = if is_secret(&key) { key.clone() } else { format!("{key}: {before} -> {after}") };
            let why = match when {
                When::Restart => Some(""),
                When::Reload => self.obstacle(&key, &settings),
            };
            match why {
                None => outcome.applied.push(change),
                Some(why) => {
                    keep(&key, &before, &mut settings);
                    outcome.restart.push(format!("{change}{why}"));
                }
            }
        }
        (settings, outcome)
    }

    /// Why a running server cannot take a setting that others could.
    fn obstacle(&self, key: &str, new: &Settings) -> Option<&'static str> {
        let Started { settings: old, helpers, counts_peers, has_cache, .. } = &self.started;
        match key {
            "http.root" if old.http.root.is_some() != new.http.root.is_some() => {
                Some(" (a folder in place of none, or none in place of one)")
            }
            "http.root" | "http.site" | "http.certificate" | "http.access_log" if self.is_shut(new) => {
                Some(" (its folder was shut at the start; protect = false leaves all open)")
            }
            "http.access_log" if old.http.access_log.is_some() != new.http.access_log.is_some() => {
                Some(" (a log in place of none, or none in place of one)")
            }
            "http.tls_ports" | "http.certificate" if !helpers.has_tls() => {
                Some(" (there was no TLS at the start)")
            }
            "cache.ports" | "cache.udp_ports" if !has_cache => Some(" (there was no cache at the start)"),
            _ if key.ends_with("].addresses") && self.steers_by(key) => {
                Some(" (the XDP program's addresses are set at the start)")
            }
            _ if key.ends_with("ports")
                && old.interfaces.iter().any(|interface| interface.shared_address) =>
            {
                Some(" (ports of a shared address are set at the start)")
            }
            _ if key.ends_with(".connections_per_address") && !counts_peers => {
                Some(" (connections are not counted by address)")
            }
            _ => None,
        }
    }

    /// Whether settings name a folder that a protected server cannot reach.
    fn is_shut(&self, new: &Settings) -> bool {
        let open = self.started.protection.folders();
        open.is_some_and(|open| !open.lacks(&Folders::of(new, None, None)).is_empty())
    }

    /// Whether frames of the interface that a setting is of are told from Linux's by their addresses.
    fn steers_by(&self, key: &str) -> bool {
        let place = key.split(['[', ']']).nth(1).and_then(|place| place.parse::<usize>().ok());
        let interface = place.and_then(|place| self.started.interfaces.get(place));
        interface.is_some_and(|interface| matches!(interface.device, Device::Afxdp(_)))
    }

    /// Has every core become what the plan says; returns what could not be.
    fn order(&mut self, plan: &Plan, settings: &Settings) -> Vec<String> {
        let net = net_changes(&self.started.interfaces, &plan.interfaces);
        let (done, answers) = channel();
        let order = Order { listens: plan.listens.clone(), http: http::config(&settings.http), net, done };
        let cores = self.started.cores.len();
        let mut wrong = Vec::new();
        for (core, ring) in self.started.cores.iter_mut().enumerate() {
            if ring.push(Box::new(order.clone())).is_err() {
                wrong.push(format!("core {core} has not obeyed the order before this"));
            }
        }
        let told = cores - wrong.len();
        drop(order);
        self.started.wake.wake();
        for _ in 0..told {
            match answers.recv_timeout(PATIENCE) {
                Ok(errors) => wrong.extend(errors),
                Err(_) => {
                    wrong.push(format!("a core has not obeyed within {} s", PATIENCE.as_secs()));
                    break;
                }
            }
        }
        // Cores say the same.
        wrong.sort();
        wrong.dedup();
        wrong
    }
}

fn refused(wrong: Vec<String>) -> Reloaded {
    Reloaded { wrong, ..Reloaded::default() }
}

/// Whether a setting's value is nobody's to read in a log.
pub(super) fn is_secret(key: &str) -> bool {
    key == "cache.users" || key.ends_with("].device")
}

/// From the addresses and routes of a running server to those of a plan. What goes, goes first.
fn net_changes(old: &[PlannedInterface], new: &[PlannedInterface]) -> Vec<NetChange> {
    let mut changes = Vec::new();
    for (number, (old, new)) in old.iter().zip(new).enumerate() {
        let iface = IfaceId(number as u8);
        let addresses = |one: &PlannedInterface| -> Vec<Cidr> {
            one.addresses.own.iter().map(|cidr| Cidr::new(cidr.addr, cidr.prefix_len)).collect()
        };
        let (had, has) = (addresses(old), addresses(new));
        let (ways_had, ways) = (old.ways(), new.ways());
        let gone = had.iter().filter(|cidr| !has.contains(cidr));
        changes.extend(gone.map(|cidr| NetChange::RemoveAddress(cidr.addr)));
        let gone = ways_had.iter().filter(|way| !ways.contains(way));
        changes.extend(gone.map(|&(network, via)| NetChange::RemoveRoute(iface, network, via)));
        let come = has.iter().filter(|cidr| !had.contains(cidr));
        changes.extend(come.map(|&cidr| NetChange::AddAddress(iface, cidr)));
        let come = ways.iter().filter(|way| !ways_had.contains(way));
        changes.extend(come.map(|&(network, via)| NetChange::AddRoute(iface, network, via)));
    }
    changes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::device::Addresses;
    use crate::settings::RouteSettings;
    use crate::settings::keys::{INTERFACE_KEYS, KEYS, find};
    use crate::settings::value::Setting as _;

    fn interface(addresses: &[&str], gateways: &[&str], routes: &[&str]) -> PlannedInterface {
        PlannedInterface {
            device: crate::device::Device::Auto,
            addresses: Addresses {
                own: addresses.iter().map(|text| text.parse().unwrap()).collect(),
                host: Vec::new(),
            },
            shared: false,
            gateways: gateways.iter().map(|text| text.parse().unwrap()).collect(),
            routes: routes.iter().map(|text| RouteSettings::of_text(text).unwrap()).collect(),
            of_linux: Vec::new(),
            mtu: 1_500,
        }
    }

    #[test]
    fn addresses_and_routes_change_by_their_difference() {
        let old =
            interface(&["198.18.0.2/24", "198.18.1.2/24"], &["198.18.0.1"], &["203.0.113.0/24=198.18.0.9"]);
        let new =
            interface(&["198.18.1.2/25", "198.18.0.2/24"], &["198.18.0.3"], &["203.0.113.0/24=198.18.0.9"]);
        assert!(net_changes(std::slice::from_ref(&old), std::slice::from_ref(&old)).is_empty());
        let iface = IfaceId(0);
        let all: Cidr = "0.0.0.0/0".parse().unwrap();
        assert_eq!(
            net_changes(&[old], &[new]),
            [
                NetChange::RemoveAddress("198.18.1.2".parse().unwrap()),
                NetChange::RemoveRoute(iface, all, "198.18.0.1".parse().unwrap()),
                NetChange::AddAddress(iface, "198.18.1.2/25".parse().unwrap()),
                NetChange::AddRoute(iface, all, "198.18.0.3".parse().unwrap()),
            ]
        );
    }

    #[test]
    fn every_setting_can_be_kept_as_it_was() {
        let old = Settings::default();
        let of_interface = INTERFACE_KEYS.iter().map(|key| format!("interface[0].{}", key.path));
        for key in KEYS.iter().map(|key| key.path.to_owned()).chain(of_interface) {
            let mut settings = old.clone();
            let value = match key.strip_prefix("interface[0].") {
                Some(inner) => (find(INTERFACE_KEYS, inner).unwrap().get)(&old.interfaces[0]),
                None => (find(KEYS, &key).unwrap().get)(&old),
            };
            assert!(keep(&key, &value, &mut settings), "{key} = {value}");
            assert!(differences(&old, &settings).is_empty(), "{key}");
        }
    }
}
