//! The IP host below the transports: interfaces, addresses, routes, neighbours, ICMP, fragments.
//!
//! Frames come in by [`Net::classify`], which answers what belongs to the link and to IP and hands segments and
//! datagrams up; packets go out by [`Net::send`] into the queue of an interface, from which
//! [`Net::tx_burst`] serves the port. Nothing is allocated once the interfaces are there, every table has a
//! bound, and every drop a counter.
//!
//! ```text
//!   frame ──► link ──┬─► arp ──────────────┐
//!                    ├─► ipv4 ─┬─► icmpv4 ─┤   transport ◄── Ingress::Transport
//!                    └─► ipv6 ─┼─► icmpv6 ─┤   transport ◄── Ingress::Error
//!                              │    └► ndp ┤
//!                     reassembly           ▼
//!                                   neighbor cache, addresses, routes
//!                                          ▲
//!   queue ◄── link header ◄── IP header ◄──┴── send ◄── transport
//! ```
//!
//! | file | idea | source |
//! |---|---|---|
//! | `setup` | what is configured and looked up | RFC 1122, 3.3.1 |
//! | `address`, `route` | own addresses, ways to others | RFC 6724, RFC 4291 |
//! | `path`, `too_big` | how large a packet gets through | RFC 1191, RFC 8201, RFC 4821 |
//! | `interface`, `link` | frames and who they are for | IEEE 802.3, 802.1Q |
//! | `neighbor`, `pending` | who has which MAC address | RFC 4861, 7.3 |
//! | `arp`, `ndp` | asking and answering for it | RFC 826, RFC 5227, RFC 4861 |
//! | `autoconf` | addresses from routers | RFC 4862 |
//! | `ipv4`, `ipv6` | which packets are for this host | RFC 791, RFC 1122, RFC 8200 |
//! | `reassembly`, `fragment` | datagrams in pieces | RFC 5722, RFC 6946, RFC 8200, 4.5 |
//! | `icmp`, `icmpv4`, `icmpv6`, `quote` | echo, errors sent and received | RFC 792, RFC 4443, RFC 5927 |
//! | `output`, `header` | the way out | |
//! | `upkeep` | what time brings | |

mod address;
mod arp;
mod autoconf;
mod config;
mod counters;
mod fragment;
mod header;
mod icmp;
mod icmpv4;
mod icmpv6;
mod inbound;
mod interface;
mod ipv4;
mod ipv6;
pub(crate) mod limit;
mod link;
mod ndp;
mod neighbor;
mod offload;
mod output;
mod path;
mod pending;
pub(crate) mod plain;
mod quote;
mod reassembly;
mod route;
mod setup;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod too_big;
mod upkeep;

use alloc::vec::Vec;

use freeway_base::{HashKey, Instant, Rng};
use freeway_mem::PacketPool;

pub use address::{Addr, Cidr, CidrError};
pub use config::{NetConfig, NetError};
pub use counters::NetCounters;
pub use freeway_mem::TxChecksum;
pub use header::IpHeader;
pub use inbound::{IcmpKind, IcmpNotice, Inbound, Ingress, Unreachable};
pub use interface::{InterfaceConfig, RxChecksum};
pub use neighbor::Hop;
pub use output::RouteError;
pub use path::Path;
pub use route::Route;

pub(crate) use address::bits;

use address::Addresses;
use autoconf::Solicitor;
use interface::Interface;
use limit::TokenBucket;
use neighbor::Neighbors;
use path::Paths;
use pending::PendingPool;
use reassembly::Reassembly;
use route::Routes;

/// Which interface: they are numbered in the order in which they were added.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IfaceId(pub u8);

/// One core's IP host.
pub struct Net {
    config: NetConfig,
    interfaces: Vec<Interface>,
    addresses: Addresses,
    routes: Routes,
    neighbors: Neighbors,
    paths: Paths,
    reassembly: Reassembly,
    solicitors: Vec<Solicitor>,
    errors: TokenBucket,
    echoes: TokenBucket,
    /// Buffers of a frame's size: what the host itself has to say.
    pool: PacketPool,
    /// Buffers of a whole datagram's size, for reassembly.
    large: PacketPool,
    key: HashKey,
    rng: Rng,
    /// The last identification of a datagram.
    ident: u32,
    /// When addresses and routes need attention next.
    housekeeping: Instant,
    /// What was counted since the start.
    pub counters: NetCounters,
}

impl Net {
    /// An IP host without interfaces. `pool` holds frames, `large` whole datagrams of up to 64 KiB, of which
    /// reassembly takes one for each; `key` keeps strangers from choosing where their addresses land in tables.
    pub fn new(config: NetConfig, pool: PacketPool, large: PacketPool, key: HashKey, mut rng: Rng) -> Self {
        let pending = PendingPool::new(config.pending, config.pending_per_neighbor);
        Self {
            interfaces: Vec::new(),
            addresses: Addresses::new(config.addresses, key),
            routes: Routes::new(config.routes),
            neighbors: Neighbors::new(config.neighbors, pending, key),
            paths: Paths::new(config.paths, config.path_expiry, key),
            reassembly: Reassembly::new(
                config.reassemblies,
                config.reassemblies_per_source,
                config.reassembly_timeout,
            ),
            solicitors: Vec::new(),
            errors: TokenBucket::new(config.errors_per_second, config.error_burst),
            echoes: TokenBucket::new(config.echoes_per_second, config.echo_burst),
            pool,
            large,
            key,
            ident: rng.next_u32(),
            rng,
            housekeeping: Instant::FAR_FUTURE,
            config,
            counters: NetCounters::default(),
        }
    }
}
