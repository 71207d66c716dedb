//! Looking at an interface without touching it: what `freeway doctor` judges.

use std::io;

use crate::ethtool::Ethtool;
use crate::netdev;
use crate::netlink::{Link, Netlink};
use crate::sums;

pub use crate::netdev::XdpFeatures;

/// Where an XDP program runs that an interface has already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Attached {
    /// There is none.
    #[default]
    None,
    /// In the driver or on the card.
    Native,
    /// In the network stack.
    Generic,
}

/// What Linux and a driver say of an interface. None is what they do not say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Inspection {
    /// The interface's name.
    pub name: String,
    /// Whether it is up.
    pub is_up: bool,
    /// Whether it carries Ethernet frames.
    pub is_ethernet: bool,
    /// The longest IP packet, in bytes.
    pub mtu: u32,
    /// Whether it is one end of a veth pair.
    pub is_veth: bool,
    /// A veth's other end, if that is in this namespace: its name, and what it leaves to Freeway's end.
    pub peer: Option<(String, Offloads)>,
    /// The XDP program it has.
    pub attached: Attached,
    /// Receive queues in use.
    pub rx_queues: u32,
    /// Receive queues there is room for.
    pub rx_queues_max: u32,
    /// What its driver can do with XDP.
    pub xdp: Option<XdpFeatures>,
    /// Why Freeway fills in the sums of what it sends in software; none where it leaves them to the kernel or the card.
    pub sums_in_software: Option<&'static str>,
    /// What Linux leaves to the device, or does in its place.
    pub offloads: Offloads,
    /// The queues that flows are spread over.
    pub spread: Option<Vec<u32>>,
    /// Whether TCP flows are spread by ports as well as addresses.
    pub hashes_ports: Option<bool>,
}

/// What Linux leaves to a device, or does in its place. None is what the driver does not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offloads {
    /// Filling in sums.
    pub tx_checksum: Option<bool>,
    /// Verifying sums.
    pub rx_checksum: Option<bool>,
    /// Cutting TCP segments longer than the MTU.
    pub tso: Option<bool>,
    /// Cutting them just before the device.
    pub gso: Option<bool>,
    /// Putting received packets together, in Linux.
    pub gro: Option<bool>,
    /// Putting them together in the device.
    pub lro: Option<bool>,
    /// Hashing received packets.
    pub rx_hash: Option<bool>,
}

/// Looks at interface `name` of this thread's network namespace; none if there is no such interface.
///
/// # Errors
///
/// Linux does not answer.
pub fn inspect(name: &str) -> io::Result<Option<Inspection>> {
    let mut netlink = Netlink::open()?;
    let Some(link) = netlink.link(name)? else { return Ok(None) };
    let peer = if link.is_veth { peer_of(&mut netlink, &link)? } else { None };
    let peer = match peer {
        Some(peer) => {
            let offloads = offloads_of(&Ethtool::of(&peer)?);
            Some((peer, offloads))
        }
        None => None,
    };
    let ethtool = Ethtool::of(name)?;
    Ok(Some(Inspection {
        is_up: link.is_up,
        is_ethernet: link.mac.is_some(),
        mtu: link.mtu,
        is_veth: link.is_veth,
        peer,
        attached: link.attached,
        rx_queues: ethtool.rx_queues().unwrap_or(link.rx_queues_max),
        rx_queues_max: link.rx_queues_max,
        xdp: netdev::xdp_features(link.index).unwrap_or(None),
        sums_in_software: sums::in_software(&link),
        offloads: offloads_of(&ethtool),
        spread: ethtool.indirection(),
        hashes_ports: ethtool.hashes_ports(),
        name: link.name,
    }))
}

fn offloads_of(ethtool: &Ethtool) -> Offloads {
    Offloads {
        tx_checksum: ethtool.tx_checksum(),
        rx_checksum: ethtool.rx_checksum(),
        tso: ethtool.tso(),
        gso: ethtool.gso(),
        gro: ethtool.gro(),
        lro: ethtool.lro(),
        rx_hash: ethtool.rx_hash(),
    }
}

/// The names of this thread's namespace's Ethernet interfaces, in the kernel's order.
///
/// # Errors
///
/// Linux does not answer.
pub fn interfaces() -> io::Result<Vec<String>> {
    let links = Netlink::open()?.links()?;
    Ok(links
        .into_iter()
        .filter(|link| link.mac.is_some() && !link.is_loopback)
        .map(|link| link.name)
        .collect())
}

/// A veth's other end, if it is in the same namespace: another has interfaces of the same numbers.
fn peer_of(netlink: &mut Netlink, link: &Link) -> io::Result<Option<String>> {
    let Some(index) = link.peer_here else { return Ok(None) };
    let links = netlink.links()?;
    Ok(links.into_iter().find(|other| other.index == index && other.is_veth).map(|other| other.name))
}
