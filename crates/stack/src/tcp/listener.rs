//! Listeners, and the settings that connections share.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use thiserror::Error;

use super::NONE;
use super::class::Classes;
use super::fast_open::FastOpen;
use super::gate::{AcceptLimits, Gate, ListenerReport, SynCookies};

/// What to listen on, and how its connections behave.
#[derive(Clone, Debug)]
pub struct ListenConfig {
    /// One of the host's addresses, or all of them.
    pub addr: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// A number of the application's own, which every accepted connection carries.
    pub service: u16,
    /// TCP's settings for accepted connections.
    pub tcp: freeway_tcp::Config,
    /// How many connections there may be in each stage of life.
    pub limits: AcceptLimits,
    /// When SYNs are answered by cookies.
    pub cookies: SynCookies,
    /// Takes text in SYNs (RFC 7413). Default off.
    pub fast_open: Option<FastOpen>,
}

impl ListenConfig {
    /// All of the host's addresses, service 0, TCP's defaults, the limits' defaults, cookies when needed.
    pub fn new(port: u16) -> Self {
        Self {
            addr: None,
            port,
            service: 0,
            tcp: freeway_tcp::Config::default(),
            limits: AcceptLimits::default(),
            cookies: SynCookies::default(),
            fast_open: None,
        }
    }
}

/// A listener's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListenerId(pub(crate) u16);

/// Why a port cannot be listened on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ListenError {
    /// Another listener has it.
    #[error("TCP port {0} is listened on already: stop that listener or choose another port")]
    InUse(u16),
    /// Port 0 cannot be addressed.
    #[error("port 0 cannot be listened on: choose one from 1 to 65535")]
    PortZero,
    /// The table of listeners and profiles is full.
    #[error("65535 listeners and connection profiles exist already: remove one first")]
    Full,
}

/// The settings that a class of connections shares: those of one listener, or of one kind of active open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Profile {
    pub(crate) tcp: freeway_tcp::Config,
    pub(crate) service: u16,
    /// The listener whose connections these are; a listener's profile is nobody else's. `None` for active opens.
    pub(crate) gate: Option<(Place, Gate)>,
    /// An active open tries Fast Open.
    pub(crate) fast_open: bool,
}

impl Profile {
    /// The profile of an active open.
    pub(crate) const fn active(tcp: freeway_tcp::Config, service: u16) -> Self {
        Self { tcp, service, gate: None, fast_open: false }
    }

    fn place(&self) -> Option<Place> {
        self.gate.map(|(place, _)| place)
    }
}

/// Where a listener listens.
type Place = (Option<IpAddr>, u16);

#[derive(Clone, Copy, Debug)]
struct Listener {
    addr: Option<IpAddr>,
    port: u16,
    profile: u16,
    /// The next listener on the same port.
    next: u32,
}

/// All listeners of a core. A look-up is one load by port, and a step for each address on that port.
pub(crate) struct Listeners {
    listeners: Vec<Option<Listener>>,
    pub(crate) profiles: Vec<Profile>,
    pub(crate) classes: Classes,
    by_port: Box<[u32]>,
}

impl Listeners {
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self::with_classes(16)
    }

    /// No listeners yet, and room for so many classes of connections with settings of their own.
    pub(crate) fn with_classes(classes: u16) -> Self {
        Self {
            listeners: Vec::new(),
            profiles: Vec::new(),
            classes: Classes::new(classes),
            by_port: vec![NONE; usize::from(u16::MAX) + 1].into_boxed_slice(),
        }
    }

    /// Adds a listener. An address's own listener goes before one for all addresses.
    pub(crate) fn add(&mut self, config: &ListenConfig) -> Result<ListenerId, ListenError> {
        if config.port == 0 {
            return Err(ListenError::PortZero);
        }
        if self.chain(config.port).any(|listener| listener.addr == config.addr) {
            return Err(ListenError::InUse(config.port));
        }
        let gate = Gate::new(config.limits, config.cookies, config.fast_open);
        let place = (config.addr, config.port);
        let profile = self
            .profile(&Profile { gate: Some((place, gate)), ..Profile::active(config.tcp, config.service) })?;
        if let Some(gate) = self.gate_mut(profile) {
            // Connections of an earlier listener in this place still count; its bounds do not.
            (gate.limits, gate.cookies, gate.fast_open) = (config.limits, config.cookies, config.fast_open);
        }
        let index = match self.listeners.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                self.listeners.push(None);
                self.listeners.len() - 1
            }
        };
        let id = u16::try_from(index).map_err(|_| ListenError::Full)?;
        let listener = Listener { addr: config.addr, port: config.port, profile, next: NONE };
        self.listeners[index] = Some(listener);
        self.link(u32::from(id), listener);
        Ok(ListenerId(id))
    }

    /// Puts a listener into its port's chain, exact addresses first.
    fn link(&mut self, index: u32, listener: Listener) {
        let port = usize::from(listener.port);
        let exact = listener.addr.is_some();
        let mut before = NONE;
        let mut after = self.by_port[port];
        while !exact && after != NONE {
            before = after;
            after = self.next_of(after);
        }
        self.set_next(index, after);
        if before == NONE { self.by_port[port] = index } else { self.set_next(before, index) }
    }

    fn next_of(&self, index: u32) -> u32 {
        self.listeners.get(index as usize).copied().flatten().map_or(NONE, |listener| listener.next)
    }

    fn set_next(&mut self, index: u32, next: u32) {
        if let Some(Some(listener)) = self.listeners.get_mut(index as usize) {
            listener.next = next;
        }
    }

    /// Removes a listener; its connections live on.
    pub(crate) fn remove(&mut self, id: ListenerId) {
        let index = u32::from(id.0);
        let Some(Some(gone)) = self.listeners.get(usize::from(id.0)).copied() else { return };
        let port = usize::from(gone.port);
        if self.by_port[port] == index {
            self.by_port[port] = gone.next;
        } else {
            let mut before = self.by_port[port];
            while before != NONE && self.next_of(before) != index {
                before = self.next_of(before);
            }
            self.set_next(before, gone.next);
        }
        self.listeners[usize::from(id.0)] = None;
    }

    /// The number of a profile, which equal settings share.
    pub(crate) fn profile(&mut self, wanted: &Profile) -> Result<u16, ListenError> {
        let same = |profile: &Profile| {
            profile.service == wanted.service
                && profile.tcp == wanted.tcp
                && profile.fast_open == wanted.fast_open
                && profile.place() == wanted.place()
        };
        // A class ends with its connections: it is nobody else's.
        let own = (0..self.profiles.len()).find(|&index| {
            self.profiles.get(index).is_some_and(same) && self.base(index as u16) == index as u16
        });
        let index = own.unwrap_or(self.profiles.len());
        if index == self.profiles.len() {
            self.profiles.push(*wanted);
            self.reserve_classes();
        }
        u16::try_from(index).map_err(|_| ListenError::Full)
    }

    /// The bounds of the listener that a profile belongs to.
    #[inline]
    pub(crate) fn gate_mut(&mut self, profile: u16) -> Option<&mut Gate> {
        let base = self.base(profile);
        self.profiles.get_mut(usize::from(base))?.gate.as_mut().map(|(_, gate)| gate)
    }

    /// The same, to look at.
    #[inline]
    pub(crate) fn gate(&self, profile: u16) -> Option<&Gate> {
        self.profiles.get(usize::from(self.base(profile)))?.gate.as_ref().map(|(_, gate)| gate)
    }

    /// How a listener does.
    pub(crate) fn report(&self, id: ListenerId) -> Option<ListenerReport> {
        let listener = self.listeners.get(usize::from(id.0)).copied().flatten()?;
        let gate = self.gate(listener.profile)?;
        Some(ListenerReport {
            half_open: gate.half_open,
            backlog: gate.waiting,
            open: gate.open,
            fast_open_pending: gate.pending.open,
            counters: gate.counters,
        })
    }

    /// The listener at `place` of the table: where it listens, and its profile. `Err` beyond the last.
    pub(crate) fn at(&self, place: usize) -> Result<Option<(Option<IpAddr>, u16, u16)>, ()> {
        let listener = self.listeners.get(place).ok_or(())?;
        Ok(listener.map(|listener| (listener.addr, listener.port, listener.profile)))
    }

    fn chain(&self, port: u16) -> impl Iterator<Item = Listener> + '_ {
        let mut index = self.by_port[usize::from(port)];
        core::iter::from_fn(move || {
            let listener = self.listeners.get(index as usize).copied().flatten()?;
            index = listener.next;
            Some(listener)
        })
    }

    /// The profile of the listener for a segment to `addr`:`port`.
    #[inline]
    pub(crate) fn find(&self, addr: IpAddr, port: u16) -> Option<u16> {
        self.chain(port)
            .find(|listener| listener.addr.is_none_or(|own| own == addr))
            .map(|listener| listener.profile)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config(addr: Option<&str>, port: u16, service: u16) -> ListenConfig {
        let tcp = freeway_tcp::Config::default();
        ListenConfig { addr: addr.map(|text| text.parse().unwrap()), service, tcp, ..ListenConfig::new(port) }
    }

    #[test]
    fn an_exact_address_goes_before_all_addresses() {
        let mut table = Listeners::new();
        table.add(&config(None, 80, 1)).unwrap();
        let exact = table.add(&config(Some("198.18.0.2"), 80, 2)).unwrap();
        let service = |table: &Listeners, addr: &str| {
            table.find(addr.parse().unwrap(), 80).map(|profile| table.profiles[usize::from(profile)].service)
        };
        assert_eq!(service(&table, "198.18.0.2"), Some(2));
        assert_eq!(service(&table, "198.18.0.3"), Some(1));
        table.remove(exact);
        assert_eq!(service(&table, "198.18.0.2"), Some(1));
        assert_eq!(table.find("198.18.0.2".parse().unwrap(), 81), None);
    }

    #[test]
    fn a_port_is_listened_on_once() {
        let mut table = Listeners::new();
        table.add(&config(None, 80, 1)).unwrap();
        assert_eq!(table.add(&config(None, 80, 2)), Err(ListenError::InUse(80)));
        assert_eq!(table.add(&config(None, 0, 2)), Err(ListenError::PortZero));
    }

    #[test]
    fn listeners_share_no_counts_and_a_place_that_is_used_again_keeps_them() {
        let mut table = Listeners::new();
        let (a, b) = (config(None, 80, 1), config(None, 81, 1));
        let first = table.add(&a).unwrap();
        let second = table.add(&b).unwrap();
        let profile = table.find("198.18.0.2".parse().unwrap(), 80).unwrap();
        table.gate_mut(profile).unwrap().open = 3;
        assert_eq!((table.report(first).unwrap().open, table.report(second).unwrap().open), (3, 0));
        table.remove(first);
        let limits = AcceptLimits { connections: 4, ..AcceptLimits::default() };
        let again = table.add(&ListenConfig { limits, ..a }).unwrap();
        assert_eq!(table.report(again).unwrap().open, 3);
        assert_eq!(table.gate(profile).unwrap().limits, limits);
        assert_eq!(table.profiles.len(), 2);
    }
}
