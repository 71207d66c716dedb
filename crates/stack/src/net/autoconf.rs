//! Addresses and routes from routers (RFC 4861, section 6.3; RFC 4862).

use core::net::{IpAddr, Ipv6Addr};

use freeway_base::{Duration, Instant};
use freeway_wire::MacAddr;
use freeway_wire::ndp::{Prefix, Repr, RouterAdvert, RouterSolicit};

use super::address::{Cidr, Use};
use super::arp::Heard;
use super::neighbor::Key;
use super::route::Route;
use super::setup::MTU_MIN_V6;
use super::{IfaceId, Net};

/// How often routers are asked, and how long they are given (RFC 4861, section 10).
const SOLICITATIONS: u8 = 3;
const SOLICITATION_INTERVAL: Duration = Duration::from_secs(4);
/// An unauthenticated message does not shorten an address's life below this (RFC 4862, section 5.5.3 (e)).
const TWO_HOURS: Duration = Duration::from_secs(7_200);
/// A lifetime without end.
const FOREVER: u32 = u32::MAX;

const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// The prefix of link-local addresses, with the 64 bits that autoconfiguration needs.
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);
const PREFIX_LEN: u8 = 64;

/// The search for routers on one interface.
pub(crate) struct Solicitor {
    iface: IfaceId,
    left: u8,
    due: Instant,
}

impl Net {
    /// Gives an interface its link-local address, and starts to look for routers.
    pub(crate) fn start_autoconfiguration(&mut self, iface: IfaceId) {
        if !self.config.autoconfigure {
            return;
        }
        let Some(mac) = self.interface(iface).map(|interface| interface.mac) else { return };
        let cidr = Cidr::new(IpAddr::V6(with_identifier(LINK_LOCAL, mac)), PREFIX_LEN);
        // The tables' room was checked; should another interface have the same MAC address, it keeps the address.
        if self.add_address(iface, cidr).is_ok() {
            let left = if self.config.respond_to_arp { SOLICITATIONS } else { 0 };
            self.solicitors.push(Solicitor { iface, left, due: Instant::ZERO });
        }
    }

    /// Asks for routers, if it is time to; says when it is time again (RFC 4861, section 6.3.7).
    pub(crate) fn solicit_routers(&mut self, now: Instant, at: usize) -> Instant {
        let Some(solicitor) = self.solicitors.get_mut(at) else { return Instant::FAR_FUTURE };
        if solicitor.left == 0 {
            return Instant::FAR_FUTURE;
        }
        if solicitor.due > now {
            return solicitor.due;
        }
        solicitor.left -= 1;
        solicitor.due = now + SOLICITATION_INTERVAL;
        let (iface, due) = (solicitor.iface, solicitor.due);
        let source = match self.addresses.source(iface, IpAddr::V6(ALL_ROUTERS)) {
            Some(IpAddr::V6(own)) => own,
            _ => Ipv6Addr::UNSPECIFIED,
        };
        let mac = self.interface(iface).map(|interface| interface.mac);
        let source_lladdr = mac.filter(|_| !source.is_unspecified());
        self.send_ndp(now, iface, source, ALL_ROUTERS, &Repr::RouterSolicit(RouterSolicit { source_lladdr }));
        due
    }

    /// What a router says of the link. False if the message is invalid (RFC 4861, section 6.1.2).
    pub(crate) fn router_advertised(
        &mut self,
        now: Instant,
        iface: IfaceId,
        src: Ipv6Addr,
        advert: &RouterAdvert,
    ) -> bool {
        if !src.is_unicast_link_local() {
            return false;
        }
        let Some(solicitor) = self.solicitors.iter_mut().find(|solicitor| solicitor.iface == iface) else {
            return true;
        };
        solicitor.left = 0;
        if let Some(mac) = advert.source_lladdr.filter(|mac| mac.is_unicast()) {
            self.hear(now, Key { addr: src.to_bits(), iface }, mac, Heard::Question);
        }
        let network = Cidr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
        let lifetime = u32::from(advert.lifetime);
        self.set_route(now, Route { network, gateway: Some(IpAddr::V6(src)), iface }, lifetime);
        if let Some(mtu) = advert.mtu {
            self.lower_mtu(iface, mtu);
        }
        for prefix in advert.prefixes.as_slice() {
            self.take_prefix(now, iface, prefix);
        }
        self.housekeeping = now;
        true
    }

    /// Adds, renews or removes a route. A full table keeps what it has.
    fn set_route(&mut self, now: Instant, route: Route, lifetime: u32) {
        if lifetime == 0 {
            self.routes.remove(&route);
        } else {
            self.routes.insert(route, until(now, lifetime));
        }
    }

    /// A link's MTU may be said to be smaller than the device's, not larger (RFC 4861, section 6.3.4).
    fn lower_mtu(&mut self, iface: IfaceId, mtu: u32) {
        if let Some(interface) = self.interfaces.get_mut(usize::from(iface.0))
            && let Ok(mtu) = u16::try_from(mtu)
            && mtu >= MTU_MIN_V6
        {
            interface.mtu = interface.mtu.min(mtu);
        }
    }

    /// RFC 4861, section 6.3.4 (on-link), and RFC 4862, section 5.5.3 (addresses).
    fn take_prefix(&mut self, now: Instant, iface: IfaceId, prefix: &Prefix) {
        let valid = prefix.valid_lifetime;
        if prefix.address.is_unicast_link_local() || prefix.address.is_multicast() {
            return;
        }
        if prefix.on_link {
            let network = Cidr::new(IpAddr::V6(prefix.address), prefix.len);
            self.set_route(now, Route { network, gateway: None, iface }, valid);
        }
        if !prefix.autonomous || prefix.len != PREFIX_LEN || prefix.preferred_lifetime > valid {
            return;
        }
        let Some(mac) = self.interface(iface).map(|interface| interface.mac) else { return };
        let cidr = Cidr::new(IpAddr::V6(with_identifier(prefix.address, mac)), PREFIX_LEN);
        let known = self.addresses.lookup(cidr.addr).map(|(index, address)| (index, *address));
        match known {
            Some((index, address)) if address.usable != Use::No => {
                // A manual address has no end, and is not given one.
                let left = address.valid_until.since(now);
                let offered = until(now, valid);
                let floor = now + TWO_HOURS.min(left);
                if address.valid_until < Instant::FAR_FUTURE
                    && let Some(address) = self.addresses.get_mut(index)
                {
                    address.valid_until = offered.max(floor);
                }
            }
            // Without room, the address is not taken; the router will offer it again.
            _ if valid > 0 => drop(self.insert_address(iface, cidr, until(now, valid))),
            _ => {}
        }
    }
}

/// A lifetime's end. The longest finite one is 136 years.
fn until(now: Instant, seconds: u32) -> Instant {
    if seconds == FOREVER { Instant::FAR_FUTURE } else { now + Duration::from_secs(u64::from(seconds)) }
}

/// A prefix of 64 bits with the identifier that a MAC address gives (RFC 4291, appendix A): every core, and the
/// next run, comes to the same address.
fn with_identifier(prefix: Ipv6Addr, mac: MacAddr) -> Ipv6Addr {
    let identifier = u64::from_be_bytes(mac.interface_identifier());
    Ipv6Addr::from_bits(prefix.to_bits() >> 64 << 64 | u128::from(identifier))
}
