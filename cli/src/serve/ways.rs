//! Networks behind routers: those of the settings, and those that Linux has where its addresses are shared.

use std::net::IpAddr;

use freeway::Cidr;
use freeway_afxdp::LinuxRoute;

/// A network, and the router to it.
pub(super) type Way = (Cidr, IpAddr);

/// A table that is searched from the top is no place for the whole Internet.
const MOST: usize = 1_000;

/// The default route by `via`.
pub(super) fn to_all(via: IpAddr) -> Way {
    let any = if via.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    (Cidr::new(any, 0), via)
}

/// Linux's routes, but for default ones of an IP version for which there is a router in `gateways`; of too many the default
/// ones alone.
pub(super) fn taken_over(routes: &[LinuxRoute], gateways: &[IpAddr]) -> Vec<Way> {
    let is_replaced = |route: &LinuxRoute| {
        route.prefix_len == 0 && gateways.iter().any(|gateway| gateway.is_ipv4() == route.gateway.is_ipv4())
    };
    let defaults_only = routes.len() > MOST;
    let kept = routes.iter().filter(|route| !is_replaced(route) && (route.prefix_len == 0 || !defaults_only));
    kept.map(|route| (Cidr::new(route.network, route.prefix_len), route.gateway)).collect()
}

/// What is to be said when Linux's routes are too many.
pub(super) fn complaint(routes: &[LinuxRoute]) -> Option<String> {
    let count = routes.len();
    (count > MOST).then(|| {
        format!(
            "Linux has {count} routes here, more than the {MOST} that are taken over: default routes only"
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn route(network: &str, prefix_len: u8, gateway: &str) -> LinuxRoute {
        LinuxRoute { network: network.parse().unwrap(), prefix_len, gateway: gateway.parse().unwrap() }
    }

    #[test]
    fn linuxs_routes_are_taken_over_unless_a_router_is_given() {
        let all = [
            route("0.0.0.0", 0, "198.18.0.1"),
            route("::", 0, "2001:db8::1"),
            route("198.19.0.0", 16, "198.18.0.9"),
        ];
        let way = |network: &str, via: &str| -> Way { (network.parse().unwrap(), via.parse().unwrap()) };
        let ways =
            [way("0.0.0.0/0", "198.18.0.1"), way("::/0", "2001:db8::1"), way("198.19.0.0/16", "198.18.0.9")];
        assert_eq!(taken_over(&all, &[]), ways);
        assert_eq!(ways[0], to_all("198.18.0.1".parse().unwrap()));
        assert_eq!(taken_over(&all, &["198.18.0.3".parse().unwrap()]), ways[1..]);
        assert_eq!(complaint(&all), None);
    }

    #[test]
    fn of_too_many_the_default_ones_alone() {
        let few = [route("0.0.0.0", 0, "198.18.0.1"), route("::", 0, "2001:db8::1")];
        let many = (0..2_000).map(|n| route(&format!("198.19.{}.0", n % 256), 24, "198.18.0.9"));
        let all: Vec<_> = few.into_iter().chain(many).collect();
        assert_eq!(taken_over(&all, &[]), taken_over(&few, &[]));
        assert!(complaint(&all).unwrap().contains("2002 routes"));
    }
}
