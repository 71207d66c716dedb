//! Asking Linux about interfaces, addresses, routes and neighbours, and making veth pairs.
//!
//! Sources: netlink(7), rtnetlink(7).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp, XdpAttached,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use crate::inspect::Attached;
use crate::linux::LinuxRoute;

/// An interface as the kernel describes it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) index: u32,
    pub(crate) mac: Option<[u8; 6]>,
    pub(crate) mtu: u32,
    pub(crate) is_up: bool,
    pub(crate) is_veth: bool,
    /// The receive queues there is room for.
    pub(crate) rx_queues_max: u32,
    pub(crate) attached: Attached,
    pub(crate) is_loopback: bool,
    /// The interface of this namespace that it is tied to: a veth's other end.
    pub(crate) peer_here: Option<u32>,
}

/// A conversation with the kernel about this thread's network namespace.
pub(crate) struct Netlink {
    socket: Socket,
    next: u32,
}

impl Netlink {
    pub(crate) fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, next: 1 })
    }

    /// The interface `name`; none if there is no such interface.
    pub(crate) fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.ask(RouteNetlinkMessage::GetLink(message), 0) {
            Ok(answers) => Ok(answers.into_iter().find_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(link) => Some(link_of(&link)),
                _ => None,
            })),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All interfaces.
    pub(crate) fn links(&mut self) -> io::Result<Vec<Link>> {
        let answers = self.ask(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP)?;
        let link = |answer| match answer {
            RouteNetlinkMessage::NewLink(link) => Some(link_of(&link)),
            _ => None,
        };
        Ok(answers.into_iter().filter_map(link).collect())
    }

    /// The addresses of interface `index`, each with the length of its prefix in bits. IPv6 ones of the link alone are
    /// left out.
    pub(crate) fn addresses(&mut self, index: u32) -> io::Result<Vec<(IpAddr, u8)>> {
        let answers = self.ask(RouteNetlinkMessage::GetAddress(AddressMessage::default()), NLM_F_DUMP)?;
        let of_interface = answers.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(message) if message.header.index == index => Some(message),
            _ => None,
        });
        let address = |message: AddressMessage| {
            let mut found = None;
            for attribute in message.attributes {
                match attribute {
                    // Of a point-to-point link this is the own end, and the other attribute the far one.
                    AddressAttribute::Local(addr) => found = Some(addr),
                    AddressAttribute::Address(addr) => found = found.or(Some(addr)),
                    _ => {}
                }
            }
            found.map(|addr| (addr, message.header.prefix_len))
        };
        let is_of_link = |addr: IpAddr| matches!(addr, IpAddr::V6(v6) if v6.is_unicast_link_local());
        Ok(of_interface.filter_map(address).filter(|&(addr, _)| !is_of_link(addr)).collect())
    }

    /// The routes of the main table that leave by interface `index` through a router.
    pub(crate) fn routes(&mut self, index: u32) -> io::Result<Vec<LinuxRoute>> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            for answer in self.ask(RouteNetlinkMessage::GetRoute(message), NLM_F_DUMP)? {
                if let RouteNetlinkMessage::NewRoute(route) = answer {
                    routes.extend(route_of(&route, index));
                }
            }
        }
        Ok(routes)
    }

    /// Asks Linux to find a neighbour's MAC address, as if it had something to send to it.
    pub(crate) fn probe_neighbour(&mut self, index: u32, addr: IpAddr) -> io::Result<()> {
        let mut message = NeighbourMessage::default();
        message.header.family = family_of(addr);
        message.header.ifindex = index;
        message.header.state = NeighbourState::None;
        message.header.flags = NeighbourFlags::Use;
        message.header.kind = RouteType::Unspec;
        message.attributes.push(NeighbourAttribute::Destination(addr.into()));
        self.ask(RouteNetlinkMessage::NewNeighbour(message), NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE)
            .map(drop)
    }

    /// What Linux knows of the neighbours of interface `index`.
    pub(crate) fn neighbours(&mut self, index: u32) -> io::Result<Vec<(IpAddr, [u8; 6])>> {
        let answers = self.ask(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()), NLM_F_DUMP)?;
        Ok(answers.iter().filter_map(|answer| neighbour_of(answer, index)).collect())
    }

    /// Makes a veth pair of `name` and `peer`, each with so many queues both ways.
    pub(crate) fn add_veth(&mut self, name: &str, peer: &str, queues: u32) -> io::Result<()> {
        let end = |name: &str| {
            let mut message = LinkMessage::default();
            message.attributes.push(LinkAttribute::IfName(name.to_owned()));
            message.attributes.push(LinkAttribute::NumTxQueues(queues));
            message.attributes.push(LinkAttribute::NumRxQueues(queues));
            message
        };
        let mut message = end(name);
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(end(peer)))),
        ]));
        self.ask(RouteNetlinkMessage::NewLink(message), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL).map(drop)
    }

    /// Removes an interface.
    pub(crate) fn delete(&mut self, index: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.ask(RouteNetlinkMessage::DelLink(message), NLM_F_ACK).map(drop)
    }

    /// Sets an interface's MTU, in bytes, and brings it up.
    pub(crate) fn bring_up(&mut self, index: u32, mtu: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        message.attributes.push(LinkAttribute::Mtu(mtu));
        self.ask(RouteNetlinkMessage::NewLink(message), NLM_F_ACK).map(drop)
    }

    /// Gives an interface an address, at once and without asking whether somebody else has it.
    pub(crate) fn add_address(&mut self, index: u32, addr: IpAddr, prefix_len: u8) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family_of(addr);
        message.header.prefix_len = prefix_len;
        message.header.index = index;
        message.attributes.push(AddressAttribute::Local(addr));
        message.attributes.push(AddressAttribute::Address(addr));
        if addr.is_ipv6() {
            message.header.flags = netlink_packet_route::address::AddressHeaderFlags::Nodad;
        }
        self.ask(RouteNetlinkMessage::NewAddress(message), NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE).map(drop)
    }

    /// Sends a request and gathers the answers up to the last.
    fn ask(&mut self, request: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut message = NetlinkMessage::from(request);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.next;
        self.next = self.next.wrapping_add(1);
        let sequence = message.header.sequence_number;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let is_dump = flags & NLM_F_DUMP == NLM_F_DUMP;
        let mut answers = Vec::new();
        loop {
            for answer in receive(&self.socket)? {
                if answer.header.sequence_number != sequence {
                    continue;
                }
                match answer.payload {
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) => match error.code {
                        None => return Ok(answers),
                        Some(code) => return Err(io::Error::from_raw_os_error(-code.get())),
                    },
                    NetlinkPayload::InnerMessage(inner) => {
                        answers.push(inner);
                        if !is_dump && flags & NLM_F_ACK == 0 {
                            return Ok(answers);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

/// What Linux tells as it changes.
pub(crate) struct Watch {
    socket: Socket,
}

/// `RTNLGRP_NEIGH`.
const NEIGHBOURS: u32 = 3;
/// `RTNLGRP_IPV4_ROUTE`, `RTNLGRP_IPV6_ROUTE`.
const ROUTES: [u32; 2] = [7, 11];

impl Watch {
    /// Hears of neighbours.
    pub(crate) fn neighbours() -> io::Result<Self> {
        Self::open(&[NEIGHBOURS])
    }

    /// Hears of routes.
    pub(crate) fn routes() -> io::Result<Self> {
        Self::open(&ROUTES)
    }

    fn open(groups: &[u32]) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        for &group in groups {
            socket.add_membership(group)?;
        }
        socket.set_non_blocking(true)?;
        Ok(Self { socket })
    }

    /// The neighbours of interface `index` that were told of since the last call.
    pub(crate) fn heard_neighbours(&self, index: u32) -> Vec<(IpAddr, [u8; 6])> {
        let mut heard = Vec::new();
        // An error other than "nothing more" is an overflow; then the stack asks again.
        while let Ok(messages) = receive(&self.socket) {
            heard.extend(messages.iter().filter_map(|message| match &message.payload {
                NetlinkPayload::InnerMessage(inner) => neighbour_of(inner, index),
                _ => None,
            }));
        }
        heard
    }

    /// Lets go of what was told: whoever wants to know asks for all of it.
    pub(crate) fn skip(&self) {
        loop {
            match self.socket.recv_from_full() {
                Ok(_) => {}
                // Something was lost, and more may follow.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(_) => return,
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The next datagram's messages.
fn receive(socket: &Socket) -> io::Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
    let (bytes, _) = socket.recv_from_full()?;
    let (mut rest, mut messages) = (bytes.as_slice(), Vec::new());
    while !rest.is_empty() {
        let message = NetlinkMessage::deserialize(rest)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        // Messages are filled up to four bytes.
        let len = (message.header.length as usize).next_multiple_of(4).clamp(1, rest.len());
        rest = rest.get(len..).unwrap_or_default();
        messages.push(message);
    }
    Ok(messages)
}

fn link_of(message: &LinkMessage) -> Link {
    let mut is_elsewhere = false;
    let mut link = Link {
        index: message.header.index,
        is_loopback: message.header.flags.contains(LinkFlags::Loopback),
        is_up: message.header.flags.contains(LinkFlags::Up),
        rx_queues_max: 1,
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(mac) => link.mac = mac.as_slice().try_into().ok(),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::NumRxQueues(queues) => link.rx_queues_max = *queues,
            LinkAttribute::LinkInfo(infos) => {
                link.is_veth = infos.iter().any(|info| matches!(info, LinkInfo::Kind(InfoKind::Veth)));
            }
            LinkAttribute::Xdp(xdp) => {
                let how = xdp.iter().find_map(|part| match part {
                    LinkXdp::Attached(how) => Some(how),
                    _ => None,
                });
                link.attached = match how {
                    None | Some(XdpAttached::None) => Attached::None,
                    Some(XdpAttached::SocketBuffer) => Attached::Generic,
                    Some(_) => Attached::Native,
                };
            }
            LinkAttribute::Link(index) => link.peer_here = Some(*index),
            LinkAttribute::LinkNetNsId(_) => is_elsewhere = true,
            _ => {}
        }
    }
    link.peer_here = link.peer_here.filter(|_| !is_elsewhere);
    link
}

/// A route of the main table that leaves by interface `index` through one router. Networks on the link come with the
/// interface's addresses, and of several next hops none is chosen.
fn route_of(route: &RouteMessage, index: u32) -> Option<LinuxRoute> {
    let (mut gateway, mut is_behind, mut network) = (None, false, None);
    let mut table = u32::from(route.header.table);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(oif) => is_behind = *oif == index,
            RouteAttribute::Gateway(addr) => gateway = ip_of(addr),
            RouteAttribute::Destination(addr) => network = ip_of(addr),
            RouteAttribute::Table(number) => table = *number,
            _ => {}
        }
    }
    let prefix_len = route.header.destination_prefix_length;
    let gateway = gateway.filter(|_| is_behind)?;
    let is_main = table == u32::from(RouteHeader::RT_TABLE_MAIN) && route.header.kind == RouteType::Unicast;
    // A default route names no destination.
    let any = match gateway {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let network = network.or_else(|| (prefix_len == 0).then_some(any))?;
    // IPv4 behind an IPv6 router is beyond the stack.
    (is_main && network.is_ipv4() == gateway.is_ipv4()).then_some(LinuxRoute { network, prefix_len, gateway })
}

fn ip_of(addr: &RouteAddress) -> Option<IpAddr> {
    match addr {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

/// A neighbour of interface `index` whose MAC address is known.
fn neighbour_of(message: &RouteNetlinkMessage, index: u32) -> Option<(IpAddr, [u8; 6])> {
    let RouteNetlinkMessage::NewNeighbour(message) = message else { return None };
    let is_known = matches!(
        message.header.state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
    );
    if message.header.ifindex != index || !is_known {
        return None;
    }
    let (mut found, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(addr)) => found = Some(IpAddr::V4(*addr)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(addr)) => found = Some(IpAddr::V6(*addr)),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok(),
            _ => {}
        }
    }
    found.zip(mac)
}

fn family_of(addr: IpAddr) -> AddressFamily {
    match addr {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
