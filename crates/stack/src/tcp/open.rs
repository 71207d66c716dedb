//! Active opens, and the choice of a source port (RFC 6056).

use core::net::{IpAddr, SocketAddr};

use freeway_base::Instant;
use freeway_tcp::{Context, Tcb};
use thiserror::Error;

use super::conn::ConnId;
use super::key::FlowKey;
use super::listener::Profile;
use super::{NONE, PORT_COUNTERS, TcpHost};
use crate::net::Net;

/// Where to connect, and how.
#[derive(Clone, Debug)]
pub struct ConnectConfig {
    /// One of the host's addresses, or the one that the route suggests.
    pub local_addr: Option<IpAddr>,
    /// The source port, or one of the host's choice.
    pub local_port: Option<u16>,
    /// The peer.
    pub remote: SocketAddr,
    /// A number of the application's own, which the connection carries.
    pub service: u16,
    /// TCP's settings.
    pub tcp: freeway_tcp::Config,
    /// Tries Fast Open (RFC 7413): asks the server for a cookie, and once there is one, what the application writes in
    /// the turn in which it connects travels in the SYN. It may then arrive twice (section 6.1): only for requests to
    /// which that does no harm. Default off.
    pub fast_open: bool,
}

impl ConnectConfig {
    /// From an address and port of the host's choice, service 0, TCP's defaults.
    pub fn new(remote: SocketAddr) -> Self {
        let tcp = freeway_tcp::Config::default();
        Self { local_addr: None, local_port: None, remote, service: 0, tcp, fast_open: false }
    }
}

/// Why a connection cannot be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ConnectError {
    /// The table of connections is full.
    #[error("all connections are in use: raise max_connections or close some")]
    Full,
    /// The source address is not one of the host's.
    #[error("{0} is not an address of this host: add it to an interface first")]
    NotLocal(IpAddr),
    /// No interface leads to the peer.
    #[error("no route to {0}: add an address in its subnet, or a gateway")]
    NoRoute(IpAddr),
    /// Every source port towards this peer is taken.
    #[error("no source port is free for {0}: use more source addresses, or fewer connections to this peer")]
    NoPort(SocketAddr),
    /// The wanted four-tuple exists.
    #[error("a connection from port {0} to this peer exists already")]
    InUse(u16),
    /// Broadcast and multicast cannot be connected to (RFC 9293, MUST-46).
    #[error("{0} is a broadcast or multicast address: TCP connects to one host")]
    NotUnicast(IpAddr),
}

impl<S: Copy + Default + 'static> TcpHost<S> {
    /// Opens a connection: it is in SYN-SENT, and its SYN goes out at the end of the turn.
    pub(crate) fn connect(
        &mut self,
        now: Instant,
        net: &mut Net,
        config: &ConnectConfig,
    ) -> Result<ConnId, ConnectError> {
        let remote = config.remote.ip();
        if net.speaks_to_many(remote) || remote.is_unspecified() {
            return Err(ConnectError::NotUnicast(remote));
        }
        if self.connections.len() == self.connections.capacity() {
            return Err(ConnectError::Full);
        }
        let source = match config.local_addr {
            Some(addr) => addr,
            None => net.source_for(remote).ok_or(ConnectError::NoRoute(remote))?,
        };
        let local = net.is_local(source).ok_or(ConnectError::NotLocal(source))?;
        let hop = net.hop(now, remote).map_err(|_| ConnectError::NoRoute(remote))?;
        let key = match config.local_port {
            Some(port) => {
                let key = FlowKey::new(local, port, remote, config.remote.port());
                let taken = self.find(self.hash(net, &key), &key).is_some();
                if taken { Err(ConnectError::InUse(port)) } else { Ok(key) }
            }
            None => self.choose_port(net, local, config.remote).ok_or_else(|| {
                self.counters.no_source_port += 1;
                ConnectError::NoPort(config.remote)
            }),
        }?;
        let profile = Profile { fast_open: config.fast_open, ..Profile::active(config.tcp, config.service) };
        let profile = self.listeners.profile(&profile).map_err(|_| ConnectError::Full)?;
        let opening = self.opening_config(net, profile, hop, remote).unwrap_or(config.tcp);
        let (iss, timestamp_offset) = self.sequence(now, net, &key);
        let tcb = Tcb::connect(&Context { now, config: &opening }, iss, timestamp_offset);
        let index = self.insert(now, net, tcb, (key, profile, hop)).ok_or(ConnectError::Full)?;
        self.mark_dirty(index);
        Ok(self.id(index).unwrap_or(ConnId { index: NONE, serial: 0 }))
    }

    /// A free source port towards `remote` whose flow belongs to this core.
    ///
    /// RFC 6056, section 3.3.4 (algorithm 4): where the search begins is a keyed hash of both addresses and the peer's
    /// port, so that a stranger cannot guess it; a counter, one of several chosen by the same hash, goes on from the
    /// last port taken, so that none is used again soon, and no peer learns how many connections others get. All ports
    /// are tried once: with none free that is the costliest call there is, a few milliseconds.
    fn choose_port(&mut self, net: &Net, local: u16, remote: SocketAddr) -> Option<FlowKey> {
        let (first, last) = (*self.limits.ports.start(), *self.limits.ports.end());
        let count = u32::from(last.checked_sub(first)?) + 1;
        let secret = self.hash(net, &FlowKey::new(local, 0, remote.ip(), remote.port())).0;
        let offset = (((secret & u64::from(u32::MAX)) * u64::from(count)) >> 32) as u32;
        let counter = (secret >> 32) as usize % PORT_COUNTERS;
        let mut next = u32::from(*self.next_ports.get(counter)?);
        for _ in 0..count {
            next = if next + 1 < count { next + 1 } else { 0 };
            let place = offset + next;
            let place = if place < count { place } else { place - count };
            let key = FlowKey::new(local, first + place as u16, remote.ip(), remote.port());
            let hash = self.hash(net, &key);
            if hash.core(self.limits.cores) == self.limits.core && self.find(hash, &key).is_none() {
                if let Some(counter) = self.next_ports.get_mut(counter) {
                    *counter = next as u16;
                }
                return Some(key);
            }
        }
        None
    }
}
