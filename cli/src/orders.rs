//! What a running core is told to change, and how it does.
//!
//! ```text
//!   reload ──Box<Order>──► ring of each core ──► its next turn ──► what could not be, back by a channel
//! ```
//!
//! A core looks at its ring once a turn. Obeying may allocate: it is no part of the data path.

use std::net::IpAddr;
use std::sync::mpsc::Sender;

use freeway::{Cidr, IfaceId, Route, Stack};
use freeway_httpd::Config;

use crate::services::Listen;

/// What one core is to be from now on.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// Where to listen, and nowhere else.
    pub(crate) listens: Vec<Listen>,
    pub(crate) http: Config,
    /// In this order.
    pub(crate) net: Vec<NetChange>,
    /// Hears what could not be; nothing when all could.
    pub(crate) done: Sender<Vec<String>>,
}

/// One change of addresses and routes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NetChange {
    AddAddress(IfaceId, Cidr),
    RemoveAddress(IpAddr),
    AddRoute(IfaceId, Cidr, IpAddr),
    RemoveRoute(IfaceId, Cidr, IpAddr),
}

impl NetChange {
    /// Does it; says why it could not be.
    pub(crate) fn apply<S: Copy + Default + 'static>(self, stack: &mut Stack<S>) -> Result<(), String> {
        let refused = |what: String, error: &dyn std::fmt::Display| format!("{what}: {error}");
        match self {
            Self::AddAddress(iface, cidr) => {
                stack.net.add_address(iface, cidr).map_err(|error| refused(format!("address {cidr}"), &error))
            }
            Self::RemoveAddress(addr) => {
                stack.net.remove_address(addr);
                Ok(())
            }
            Self::AddRoute(iface, network, via) => stack
                .net
                .add_route(network, Some(via), iface)
                .map_err(|error| refused(format!("route to {network}"), &error)),
            Self::RemoveRoute(iface, network, via) => {
                stack.net.remove_route(&Route { network, gateway: Some(via), iface });
                Ok(())
            }
        }
    }
}
