//! How large the hosts of the challenge are, and how they reach each other.
//!
//! Server core `k` and client core `k` form a pair: a memif of their own, as a card gives each core a queue of its own,
//! one address on the server's side, and as many on the client's as its connections need.

use std::net::{IpAddr, Ipv4Addr};

use freeway::{Cidr, HostConfig, Interface, Secrets};
use freeway_memif::{Config, MemifQueue, Role, SocketName, Trust, open};

/// Connections for each address of the client: of its 64,512 ports some wait for their end, and the search for a free
/// one is to stay short.
const PER_SOURCE: u32 = 48_000;
/// Connections that come and go beside those that stay, and what is left of them for a moment.
const COMING_AND_GOING: u32 = 16_384;
/// All hosts are in one subnet.
const PREFIX: u8 = 15;

/// One pair of cores.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Size {
    /// Connections held, on each core.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) connections: u32,
    /// Packet buffers of each core.
    #[arg(long, default_value_t = 16_384)]
    pub(crate) buffers: u32,
    /// Slots of a memif ring, as a binary logarithm.
    #[arg(long, default_value_t = 10)]
    pub(crate) ring_log2: u8,
    /// The client lends its packets and the server copies, instead of the other way round.
    #[arg(long)]
    pub(crate) client_lends: bool,
}

/// Which end of a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Server,
    Client,
}

impl Size {
    /// Addresses of a client core.
    pub(crate) fn sources(self) -> u32 {
        self.connections.div_ceil(PER_SOURCE).max(2)
    }

    /// The address of server core `pair`.
    pub(crate) fn server(pair: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 2)) + pair))
    }

    /// The addresses of client core `pair`.
    pub(crate) fn clients(self, pair: u32) -> Vec<IpAddr> {
        let first = u32::from(Ipv4Addr::new(198, 18, 16, 1)) + pair * 1_024;
        (0..self.sources()).map(|number| IpAddr::V4(Ipv4Addr::from(first + number))).collect()
    }

    /// The settings of one core's host.
    pub(crate) fn host(self, secrets: Secrets, side: Side) -> HostConfig {
        let mut host = HostConfig::new(secrets)
            .max_connections(self.connections.saturating_add(COMING_AND_GOING))
            .buffers(self.buffers);
        // Other ends answer at once: a client's closed connections need no long memory.
        host.stack.max_time_wait = 65_536;
        host.stack.ephemeral_ports = 1_024..=65_535;
        host.stack.pool.shared = self.lends(side);
        host.stack.large_pool.buffers = 4;
        let net = &mut host.stack.net;
        let hosts = u16::try_from(self.sources()).unwrap_or(u16::MAX).saturating_add(8);
        net.addresses = net.addresses.max(hosts);
        net.routes = net.routes.max(hosts);
        net.neighbors = net.neighbors.max(hosts.saturating_mul(2));
        host
    }

    const fn lends(self, side: Side) -> bool {
        self.client_lends == matches!(side, Side::Client)
    }

    /// One end of a pair's memif.
    pub(crate) fn memif(self, socket: &str, pair: u32, side: Side) -> Config {
        Config {
            // A port's address is made of its name: the two ends must not have the same.
            name: format!("{side:?}{pair}"),
            socket: SocketName::Abstract(socket.to_owned()),
            role: if self.lends(side) { Role::Client } else { Role::Server },
            id: pair,
            trust: if self.lends(side) { Trust::Full } else { Trust::None },
            ring_log2: self.ring_log2,
            ..Config::default()
        }
    }

    /// The queues of one side, a pair each.
    pub(crate) fn open(self, socket: &str, pairs: u32, side: Side) -> anyhow::Result<Vec<MemifQueue>> {
        let configs: Vec<_> = (0..pairs).map(|pair| self.memif(socket, pair, side)).collect();
        Ok(open(&configs)?.into_iter().flatten().collect())
    }
}

/// An interface with these addresses.
pub(crate) fn interface(queue: MemifQueue, addresses: &[IpAddr]) -> Interface {
    let interface = Interface::new(queue.into_port());
    addresses.iter().fold(interface, |interface, &addr| interface.address(Cidr::new(addr, PREFIX)))
}
