//! The bounds of the IP host, and why a part of it cannot be set up.

use freeway_base::Duration;
use thiserror::Error;

use super::address::Cidr;

/// How much the IP host of one core holds, and how much it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetConfig {
    /// Neighbours known at once. At the bound one that never answered goes first, then the stale, oldest first.
    /// Default 1,024; about 112 bytes each.
    pub neighbors: u16,
    /// Packets that may wait for one neighbour's answer; at the bound the oldest goes. Default 4.
    pub pending_per_neighbor: u16,
    /// Packets that may wait for all neighbours together; at the bound the newest goes. Default 256, 24 bytes
    /// and a packet buffer each.
    pub pending: u16,
    /// Destinations whose paths are known to carry less than their links; at the bound the one that would be forgotten
    /// next goes. Default 1,024, 48 bytes each.
    pub paths: u16,
    /// How long a path's MTU is believed, before the link's is tried again (RFC 1191, section 6.3; RFC 8201, section 4).
    /// Default 10 minutes.
    pub path_expiry: Duration,
    /// The least path MTU that a message over IPv4 can bring about: reports of less are not believed, for only an attacker
    /// gains by segments so short (RFC 5927, section 7.2). Default 552. Over IPv6 it is 1,280, always (RFC 8201, section 4).
    pub path_mtu_min_v4: u16,
    /// Routes, those of the interfaces' own networks included. Default 64.
    pub routes: u16,
    /// The host's own addresses, on all interfaces. Default 64, about 100 bytes each.
    pub addresses: u16,
    /// Datagrams being put together from fragments; at the bound the oldest goes. Default 64, a buffer of the
    /// large pool each.
    pub reassemblies: u16,
    /// The same from one source address, so that one peer cannot displace all others' fragments. Default 16.
    pub reassemblies_per_source: u16,
    /// How long a datagram's fragments may take (RFC 1122, section 3.3.2; RFC 8200, section 4.5). Default 60 s.
    pub reassembly_timeout: Duration,
    /// ICMP errors sent, per second. Default 1,000.
    pub errors_per_second: u32,
    /// ICMP errors sent at once after silence. Default 50.
    pub error_burst: u32,
    /// Echo requests answered, per second. Default 10,000.
    pub echoes_per_second: u32,
    /// Echo requests answered at once after silence. Default 1,000.
    pub echo_burst: u32,
    /// Time to live, or hop limit, of what this host sends (RFC 1122, section 3.2.1.7). Default 64.
    pub hop_limit: u8,
    /// Whether this core answers for the host's addresses: ARP and neighbour solicitations, probes and
    /// announcements. Of several cores with one address exactly one does; all of them learn. Default true.
    pub respond_to_arp: bool,
    /// Whether a new address is announced, so that neighbours forget who had it before. Default true.
    pub announce: bool,
    /// Whether a new address is probed for before use (RFC 5227, section 2.1; RFC 4862, section 5.4), which
    /// takes some seconds. Default false.
    pub probe: bool,
    /// Whether routers' advertisements set addresses, routes and the MTU (RFC 4862). Default false.
    pub autoconfigure: bool,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            neighbors: 1_024,
            pending_per_neighbor: 4,
            pending: 256,
            paths: 1_024,
            path_expiry: Duration::from_secs(600),
            path_mtu_min_v4: 552,
            routes: 64,
            addresses: 64,
            reassemblies: 64,
            reassemblies_per_source: 16,
            reassembly_timeout: Duration::from_secs(60),
            errors_per_second: 1_000,
            error_burst: 50,
            echoes_per_second: 10_000,
            echo_burst: 1_000,
            hop_limit: 64,
            respond_to_arp: true,
            announce: true,
            probe: false,
            autoconfigure: false,
        }
    }
}

/// Why an interface, an address or a route cannot be added.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum NetError {
    /// More interfaces than can be numbered.
    #[error("there are {0} interfaces already, which is the most: remove one")]
    TooManyInterfaces(usize),
    /// No such interface.
    #[error("there is no interface number {0}")]
    NoSuchInterface(u8),
    /// An MTU that IP cannot live with.
    #[error("the MTU {0} is below {1}, the least that IP can live with: raise it")]
    MtuTooSmall(u16, u16),
    /// A VLAN number out of range.
    #[error("VLAN {0} is out of range: 1 to 4094 are VLANs")]
    BadVlan(u16),
    /// An address that no host can have.
    #[error("{0} is not a host's address: multicast, loopback, broadcast and 0.0.0.0 are not")]
    NotUnicast(Cidr),
    /// The address belongs to another interface.
    #[error("{0} belongs to interface {1} already: an address has one interface")]
    AddressTaken(Cidr, u8),
    /// No place for another address.
    #[error("the table of addresses is full: raise `addresses`")]
    TooManyAddresses,
    /// No place for another route.
    #[error("the table of routes is full: raise `routes`")]
    TooManyRoutes,
    /// A gateway of the other IP version than the network.
    #[error("the network {0} and its gateway are of different IP versions")]
    MixedVersions(Cidr),
}
