//! Interfaces, addresses and routes: what is set up before packets flow, and looked up while they do.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use freeway_base::Instant;
use freeway_wire::MacAddr;

use super::address::{Addr, Address, Cidr, Use, bits};
use super::config::NetError;
use super::interface::{Interface, InterfaceConfig};
use super::route::Route;
use super::{IfaceId, Net};

/// The least MTU that IPv4 hosts must take (RFC 791, section 3.2), and IPv6's (RFC 8200, section 5).
const MTU_MIN_V4: u16 = 576;
pub(crate) const MTU_MIN_V6: u16 = 1_280;
/// How often a new address is announced (RFC 5227, section 1.1, ANNOUNCE_NUM).
pub(crate) const ANNOUNCEMENTS: u8 = 2;
/// How often it is probed for first (PROBE_NUM).
const PROBES: u8 = 3;
/// Interfaces have numbers of 7 bits, since cores hand frames on with a flag beside the number.
const INTERFACES_MAX: usize = 127;

impl Net {
    /// Adds an interface with its addresses, its networks' routes and its default routes.
    ///
    /// # Errors
    ///
    /// The first thing that cannot be; nothing is added then.
    pub fn add_interface(&mut self, config: InterfaceConfig) -> Result<IfaceId, NetError> {
        self.check_interface(&config)?;
        let iface = IfaceId(self.interfaces.len() as u8);
        let (addresses, gateways) = (
            config.addresses.clone(),
            [
                config
                    .gateway_v4
                    .map(|gateway| (Cidr::new(Ipv4Addr::UNSPECIFIED.into(), 0), IpAddr::V4(gateway))),
                config
                    .gateway_v6
                    .map(|gateway| (Cidr::new(Ipv6Addr::UNSPECIFIED.into(), 0), IpAddr::V6(gateway))),
            ],
        );
        self.interfaces.push(Interface::new(config));
        self.start_autoconfiguration(iface);
        for cidr in addresses {
            self.add_address(iface, cidr)?;
        }
        for (network, gateway) in gateways.into_iter().flatten() {
            self.add_route(network, Some(gateway), iface)?;
        }
        Ok(iface)
    }

    fn check_interface(&self, config: &InterfaceConfig) -> Result<(), NetError> {
        if self.interfaces.len() >= INTERFACES_MAX {
            return Err(NetError::TooManyInterfaces(self.interfaces.len()));
        }
        if let Some(vlan) = config.vlan
            && !(1..=4_094).contains(&vlan)
        {
            return Err(NetError::BadVlan(vlan));
        }
        let has_v6 = config.gateway_v6.is_some() || config.addresses.iter().any(|cidr| cidr.addr.is_ipv6());
        let least = if has_v6 { MTU_MIN_V6 } else { MTU_MIN_V4 };
        if config.mtu < least {
            return Err(NetError::MtuTooSmall(config.mtu, least));
        }
        let gateways = usize::from(config.gateway_v4.is_some()) + usize::from(config.gateway_v6.is_some());
        // An address brings a route of its own, and IPv6 two for link-local addresses.
        if self.routes.room() < config.addresses.len() + gateways + 2 {
            return Err(NetError::TooManyRoutes);
        }
        if self.addresses.room() < config.addresses.len() + 1 {
            return Err(NetError::TooManyAddresses);
        }
        config.addresses.iter().try_for_each(|&cidr| self.check_address(None, cidr))
    }

    fn check_address(&self, iface: Option<IfaceId>, cidr: Cidr) -> Result<(), NetError> {
        if !is_host(cidr.addr) || matches!(cidr.addr, IpAddr::V4(v4) if cidr.broadcast() == Some(v4)) {
            return Err(NetError::NotUnicast(cidr));
        }
        match self.addresses.lookup(cidr.addr) {
            Some((_, known)) if known.usable != Use::No && Some(known.iface) != iface => {
                Err(NetError::AddressTaken(cidr, known.iface.0))
            }
            _ => Ok(()),
        }
    }

    /// Gives an interface one more address, with the route to its network. The address is announced, or probed
    /// for and then announced, as the configuration says.
    ///
    /// # Errors
    ///
    /// No such interface, an address that cannot be, or no place.
    pub fn add_address(&mut self, iface: IfaceId, cidr: Cidr) -> Result<(), NetError> {
        self.insert_address(iface, cidr, Instant::FAR_FUTURE)?;
        self.insert_route(Route { network: cidr, gateway: None, iface }, Instant::FAR_FUTURE)?;
        if cidr.addr.is_ipv6() {
            let link_local = Cidr::new(IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10);
            self.insert_route(Route { network: link_local, gateway: None, iface }, Instant::FAR_FUTURE)?;
        }
        Ok(())
    }

    /// An address without a route, valid until `valid_until`.
    pub(crate) fn insert_address(
        &mut self,
        iface: IfaceId,
        cidr: Cidr,
        valid_until: Instant,
    ) -> Result<(), NetError> {
        self.interface(iface).ok_or(NetError::NoSuchInterface(iface.0))?;
        self.check_address(Some(iface), cidr)?;
        let responds = self.config.respond_to_arp;
        let probed = responds && self.config.probe;
        let announced = responds && (self.config.announce || probed);
        let address = Address {
            cidr,
            iface,
            usable: if probed { Use::Tentative } else { Use::Yes },
            valid_until,
            probes_left: if probed { PROBES } else { 0 },
            announcements_left: if announced { ANNOUNCEMENTS } else { 0 },
            due: if announced { Instant::ZERO } else { Instant::FAR_FUTURE },
            defended: None,
        };
        self.addresses.insert(address).ok_or(NetError::TooManyAddresses)?;
        self.housekeeping = Instant::ZERO;
        Ok(())
    }

    /// Takes an address away, with the route to its network if no other address is in it; false when there was
    /// none.
    pub fn remove_address(&mut self, addr: IpAddr) -> bool {
        let Some((index, &address)) = self.addresses.lookup(addr) else { return false };
        if address.usable == Use::No {
            return false;
        }
        self.addresses.set_use(index, Use::No);
        let (cidr, iface) = (address.cidr, address.iface);
        let shares = |own: &Address| own.cidr.prefix_len == cidr.prefix_len && own.cidr.contains(cidr.addr);
        let shared = self.addresses.of(iface).any(shares);
        if !shared {
            self.routes.remove(&Route { network: cidr, gateway: None, iface });
        }
        true
    }

    /// Sends what goes to `network` by `iface`, through `gateway` or, without one, directly.
    ///
    /// # Errors
    ///
    /// No such interface, a gateway of the wrong version, or no place.
    pub fn add_route(
        &mut self,
        network: Cidr,
        gateway: Option<IpAddr>,
        iface: IfaceId,
    ) -> Result<(), NetError> {
        self.insert_route(Route { network, gateway, iface }, Instant::FAR_FUTURE)
    }

    pub(crate) fn insert_route(&mut self, route: Route, valid_until: Instant) -> Result<(), NetError> {
        self.interface(route.iface).ok_or(NetError::NoSuchInterface(route.iface.0))?;
        if route.gateway.is_some_and(|gateway| gateway.is_ipv4() != route.network.addr.is_ipv4()) {
            return Err(NetError::MixedVersions(route.network));
        }
        if self.routes.insert(route, valid_until) { Ok(()) } else { Err(NetError::TooManyRoutes) }
    }

    /// Takes a route away; false when there was none.
    pub fn remove_route(&mut self, route: &Route) -> bool {
        self.routes.remove(route)
    }

    // ---- what there is ----

    pub(crate) fn interface(&self, iface: IfaceId) -> Option<&Interface> {
        self.interfaces.get(usize::from(iface.0))
    }

    /// The names, MAC addresses and MTUs of all interfaces.
    pub fn interfaces(&self) -> impl Iterator<Item = (IfaceId, &str, MacAddr, u16)> {
        let all = self.interfaces.iter().enumerate();
        all.map(|(index, interface)| (IfaceId(index as u8), &*interface.name, interface.mac, interface.mtu))
    }

    /// The addresses in use, with their interfaces.
    pub fn addresses(&self) -> impl Iterator<Item = (IfaceId, Cidr)> {
        let used = self.addresses.iter().filter(|(_, address)| address.usable == Use::Yes);
        used.map(|(_, address)| (address.iface, address.cidr))
    }

    /// All routes, longest prefix first.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// The address to send from towards `dst`, if a route leads there.
    pub fn source_for(&self, dst: IpAddr) -> Option<IpAddr> {
        let key = self.next_hop(dst).ok()?;
        self.addresses.source(key.iface, dst)
    }

    /// The index of one of the host's own addresses, if `addr` is one and in use.
    #[inline]
    pub fn is_local(&self, addr: IpAddr) -> Option<u16> {
        // An IPv4 address mapped into IPv6 never is on a wire (RFC 4038, section 4.2), whatever a packet says.
        let mapped = matches!(addr, IpAddr::V6(v6) if v6.to_bits() >> 32 == 0xffff);
        if mapped { None } else { self.addresses.find(bits(addr)) }
    }

    /// Whether `addr` speaks to more than one host: a group, all hosts of a network that this host is in, or all of a link.
    pub(crate) fn speaks_to_many(&self, addr: IpAddr) -> bool {
        let is_broadcast = |v4: Ipv4Addr| v4.is_broadcast() || self.addresses.is_any_broadcast(v4);
        addr.is_multicast() || matches!(addr, IpAddr::V4(v4) if is_broadcast(v4))
    }

    /// The address of an index that [`Net::is_local`] gave; `0.0.0.0` for any other.
    #[inline]
    pub fn address(&self, index: u16) -> IpAddr {
        self.addresses.get(index).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.cidr.addr)
    }

    /// The same as a number.
    #[inline]
    pub(crate) fn addr(&self, index: u16) -> Addr {
        self.addresses.number(index).map_or(Addr::from(Ipv4Addr::UNSPECIFIED), Addr)
    }

    /// The hop limit, or time to live, of what this host sends.
    #[inline]
    pub const fn hop_limit(&self) -> u8 {
        self.config.hop_limit
    }
}

/// Whether a host may have this address.
pub(crate) fn is_host(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => is_host_v4(v4),
        IpAddr::V6(v6) => is_host_v6(v6),
    }
}

/// Neither loopback nor a group nor reserved nor of "this network" (RFC 1122, section 3.2.1.3).
#[inline]
pub(crate) const fn is_host_v4(v4: Ipv4Addr) -> bool {
    let first = v4.octets()[0];
    first != 0 && first != 127 && first < 224
}

/// Neither `::` nor loopback nor a group nor an IPv4 address in disguise (RFC 4291, section 2.5).
#[inline]
pub(crate) const fn is_host_v6(v6: Ipv6Addr) -> bool {
    let number = v6.to_bits();
    // ::/96 holds the unspecified and the loopback address, and the deprecated IPv4-compatible ones.
    number >> 120 != 0xff && number >> 32 != 0 && number >> 32 != 0xffff
}
