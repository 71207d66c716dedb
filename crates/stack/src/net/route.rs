//! Routes: the longest prefix wins.
//!
//! A route is looked up once for each new neighbour entry a flow needs, not for each packet, so a short table
//! in the order of falling prefix length is searched from the top.

use alloc::vec::Vec;
use core::net::IpAddr;

use freeway_base::Instant;

use super::IfaceId;
use super::address::{Cidr, bits};

/// The way towards a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// The addresses it serves.
    pub network: Cidr,
    /// The router to hand packets to; without one, the network is on the link.
    pub gateway: Option<IpAddr>,
    /// The interface they leave by.
    pub iface: IfaceId,
}

struct Entry {
    network: u128,
    mask: u128,
    route: Route,
    valid_until: Instant,
}

pub(crate) struct Routes {
    /// Longest prefix first.
    entries: Vec<Entry>,
    limit: usize,
}

impl Routes {
    pub(crate) fn new(limit: u16) -> Self {
        Self { entries: Vec::with_capacity(usize::from(limit)), limit: usize::from(limit) }
    }

    /// Adds a route, in place of one for the same network, gateway and interface; false when the table is full.
    pub(crate) fn insert(&mut self, route: Route, valid_until: Instant) -> bool {
        if let Some(known) = self.entries.iter_mut().find(|entry| same(&entry.route, &route)) {
            known.valid_until = valid_until;
            return true;
        }
        if self.entries.len() >= self.limit {
            return false;
        }
        let mask = route.network.mask();
        let entry = Entry { network: bits(route.network.addr) & mask, mask, route, valid_until };
        let len = route.network.mapped_len();
        let at = self.entries.partition_point(|other| other.route.network.mapped_len() >= len);
        self.entries.insert(at, entry);
        true
    }

    /// How many more there can be.
    pub(crate) fn room(&self) -> usize {
        self.limit - self.entries.len()
    }

    /// Removes a route; false when there is none like it.
    pub(crate) fn remove(&mut self, route: &Route) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| !same(&entry.route, route));
        self.entries.len() < before
    }

    /// The route of the longest prefix that contains `dst`.
    pub(crate) fn lookup(&self, dst: IpAddr) -> Option<&Route> {
        let number = bits(dst);
        let found = self.entries.iter().find(|entry| {
            number & entry.mask == entry.network && entry.route.network.addr.is_ipv4() == dst.is_ipv4()
        })?;
        Some(&found.route)
    }

    /// Forgets what a router announced and did not renew.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.entries.retain(|entry| entry.valid_until > now);
    }

    pub(crate) fn next_deadline(&self) -> Instant {
        self.entries.iter().map(|entry| entry.valid_until).min().unwrap_or(Instant::FAR_FUTURE)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.entries.iter().map(|entry| &entry.route)
    }
}

fn same(a: &Route, b: &Route) -> bool {
    let mask = a.network.mask();
    mask == b.network.mask()
        && a.network.addr.is_ipv4() == b.network.addr.is_ipv4()
        && (bits(a.network.addr) ^ bits(b.network.addr)) & mask == 0
        && a.gateway == b.gateway
        && a.iface == b.iface
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn route(network: &str, gateway: Option<&str>, iface: u8) -> Route {
        Route {
            network: network.parse().unwrap(),
            gateway: gateway.map(|text| text.parse().unwrap()),
            iface: IfaceId(iface),
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_prefix_wins_whatever_the_order() {
        let mut routes = Routes::new(8);
        let all = [
            route("0.0.0.0/0", Some("198.18.0.254"), 0),
            route("198.18.0.0/15", None, 0),
            route("198.18.5.0/24", Some("198.18.0.5"), 1),
            route("::/0", Some("fe80::1"), 0),
            route("2001:db8::/32", None, 2),
        ];
        for each in all {
            assert!(routes.insert(each, Instant::FAR_FUTURE));
        }
        assert_eq!(routes.lookup(ip("198.18.5.9")), Some(&all[2]));
        assert_eq!(routes.lookup(ip("198.19.5.9")), Some(&all[1]));
        assert_eq!(routes.lookup(ip("203.0.113.1")), Some(&all[0]));
        assert_eq!(routes.lookup(ip("2001:db8::1")), Some(&all[4]));
        assert_eq!(routes.lookup(ip("2001:db9::1")), Some(&all[3]));
        assert!(routes.remove(&all[2]));
        assert!(!routes.remove(&all[2]));
        assert_eq!(routes.lookup(ip("198.18.5.9")), Some(&all[1]));
    }

    #[test]
    fn a_default_route_of_one_version_does_not_serve_the_other() {
        let mut routes = Routes::new(2);
        routes.insert(route("::/0", None, 0), Instant::FAR_FUTURE);
        assert_eq!(routes.lookup(ip("198.18.0.1")), None);
    }

    #[test]
    fn the_table_is_bounded_and_forgets() {
        let mut routes = Routes::new(1);
        let first = route("2001:db8::/64", None, 0);
        assert!(routes.insert(first, Instant::from_secs(10)));
        assert!(!routes.insert(route("2001:db8:1::/64", None, 0), Instant::FAR_FUTURE));
        // A renewal is no new entry.
        assert!(routes.insert(first, Instant::from_secs(20)));
        assert_eq!(routes.next_deadline(), Instant::from_secs(20));
        routes.expire(Instant::from_secs(19));
        assert_eq!(routes.iter().count(), 1);
        routes.expire(Instant::from_secs(20));
        assert_eq!(routes.iter().count(), 0);
        assert_eq!(routes.next_deadline(), Instant::FAR_FUTURE);
    }
}
