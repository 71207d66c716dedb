//! The five messages of neighbour discovery, RFC 4861 section 4.

use core::net::Ipv6Addr;

use super::options::{self, OptionKind, Prefixes};
use super::{Writer, options_behind};
use crate::bytes::{Octets, U32};
use crate::icmpv6::{Packet, Type};
use crate::{Error, MacAddr, Result};

/// Where fields lie in a message's data, which begins eight bytes into the ICMPv6 message.
mod field {
    use super::{Octets, U32};

    pub const REACHABLE_TIME: U32 = U32(0);
    pub const RETRANS_TIMER: U32 = U32(4);
    pub const TARGET: Octets<16> = Octets(0);
    pub const DESTINATION: Octets<16> = Octets(16);

    pub const MANAGED: u8 = 0x80;
    pub const OTHER_CONFIG: u8 = 0x40;
}

/// Bytes of fixed data before the options.
mod fixed {
    pub const ROUTER_SOLICIT: usize = 0;
    pub const ROUTER_ADVERT: usize = 8;
    pub const NEIGHBOR: usize = 16;
    pub const REDIRECT: usize = 32;
}

/// Routers, show yourselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouterSolicit {
    /// The sender's Ethernet address; absent while it has no IPv6 address.
    pub source_lladdr: Option<MacAddr>,
}

impl RouterSolicit {
    pub(super) fn parse<T: AsRef<[u8]>>(packet: &Packet<T>) -> Result<Self> {
        let source_lladdr = find_lladdr(packet.payload(), fixed::ROUTER_SOLICIT, OptionKind::SOURCE_LLADDR)?;
        Ok(Self { source_lladdr })
    }

    pub(super) fn data_len(&self) -> usize {
        fixed::ROUTER_SOLICIT + options::lladdr_len(self.source_lladdr)
    }

    pub(super) fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, packet: &mut Packet<T>) {
        let Self { source_lladdr } = *self;
        packet.set_kind(Type::ROUTER_SOLICIT);
        packet.set_rest([0; 4]);
        let mut options = Writer::new(packet.payload_mut(), fixed::ROUTER_SOLICIT);
        options.lladdr(OptionKind::SOURCE_LLADDR, source_lladdr);
    }
}

/// Here is a router.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouterAdvert {
    /// The hop limit that hosts are to use; 0 for no word.
    pub hop_limit: u8,
    /// Addresses come from DHCPv6.
    pub managed: bool,
    /// Other configuration comes from DHCPv6.
    pub other_config: bool,
    /// Seconds for which the sender is a default router; 0 if it is none.
    pub lifetime: u16,
    /// Milliseconds for which a neighbour counts as reachable after it was; 0 for no word.
    pub reachable_time_ms: u32,
    /// Milliseconds between neighbour solicitations; 0 for no word.
    pub retrans_timer_ms: u32,
    /// The sender's Ethernet address.
    pub source_lladdr: Option<MacAddr>,
    /// The link's MTU.
    pub mtu: Option<u32>,
    /// The link's prefixes.
    pub prefixes: Prefixes,
}

impl RouterAdvert {
    pub(super) fn parse<T: AsRef<[u8]>>(packet: &Packet<T>) -> Result<Self> {
        let [hop_limit, flags, high, low] = packet.rest();
        let data = packet.payload();
        let mut advert = Self {
            hop_limit,
            managed: flags & field::MANAGED != 0,
            other_config: flags & field::OTHER_CONFIG != 0,
            lifetime: u16::from_be_bytes([high, low]),
            reachable_time_ms: field::REACHABLE_TIME.get(data),
            retrans_timer_ms: field::RETRANS_TIMER.get(data),
            source_lladdr: None,
            mtu: None,
            prefixes: Prefixes::NONE,
        };
        for option in options_behind(data, fixed::ROUTER_ADVERT)? {
            let option = option?;
            match option.kind {
                OptionKind::SOURCE_LLADDR => advert.source_lladdr = option.lladdr().or(advert.source_lladdr),
                OptionKind::MTU => advert.mtu = option.mtu().or(advert.mtu),
                OptionKind::PREFIX => {
                    // A ninth prefix is left out: the first eight are enough for any host.
                    if let Some(prefix) = option.prefix() {
                        advert.prefixes.push(prefix);
                    }
                }
                _ => {}
            }
        }
        Ok(advert)
    }

    pub(super) fn data_len(&self) -> usize {
        fixed::ROUTER_ADVERT
            + options::lladdr_len(self.source_lladdr)
            + self.mtu.map_or(0, |_| options::MTU_LEN)
            + self.prefixes.options_len()
    }

    pub(super) fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, packet: &mut Packet<T>) {
        let Self {
            hop_limit,
            managed,
            other_config,
            lifetime,
            reachable_time_ms,
            retrans_timer_ms,
            source_lladdr,
            mtu,
            prefixes,
        } = self;
        let flags =
            if *managed { field::MANAGED } else { 0 } | if *other_config { field::OTHER_CONFIG } else { 0 };
        let [high, low] = lifetime.to_be_bytes();
        packet.set_kind(Type::ROUTER_ADVERT);
        packet.set_rest([*hop_limit, flags, high, low]);
        let data = packet.payload_mut();
        field::REACHABLE_TIME.set(data, *reachable_time_ms);
        field::RETRANS_TIMER.set(data, *retrans_timer_ms);
        let mut options = Writer::new(data, fixed::ROUTER_ADVERT);
        options.lladdr(OptionKind::SOURCE_LLADDR, *source_lladdr);
        options.mtu(*mtu);
        options.prefixes(prefixes);
    }
}

/// Who has this address?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeighborSolicit {
    /// The address.
    pub target: Ipv6Addr,
    /// The asker's Ethernet address; absent while it has no IPv6 address (duplicate address detection).
    pub source_lladdr: Option<MacAddr>,
}

impl NeighborSolicit {
    pub(super) fn parse<T: AsRef<[u8]>>(packet: &Packet<T>) -> Result<Self> {
        let source_lladdr = find_lladdr(packet.payload(), fixed::NEIGHBOR, OptionKind::SOURCE_LLADDR)?;
        Ok(Self { target: unicast(field::TARGET, packet.payload())?, source_lladdr })
    }

    pub(super) fn data_len(&self) -> usize {
        fixed::NEIGHBOR + options::lladdr_len(self.source_lladdr)
    }

    pub(super) fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, packet: &mut Packet<T>) {
        let Self { target, source_lladdr } = *self;
        packet.set_kind(Type::NEIGHBOR_SOLICIT);
        packet.set_rest([0; 4]);
        let data = packet.payload_mut();
        field::TARGET.set(data, target.octets());
        let mut options = Writer::new(data, fixed::NEIGHBOR);
        options.lladdr(OptionKind::SOURCE_LLADDR, source_lladdr);
    }
}

bitflags::bitflags! {
    /// What a neighbour advertisement says of itself, RFC 4861 section 4.4.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct NeighborFlags: u8 {
        /// The sender is a router.
        const ROUTER = 0x80;
        /// An answer to a solicitation.
        const SOLICITED = 0x40;
        /// It replaces what was known.
        const OVERRIDE = 0x20;
    }
}

/// I have this address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeighborAdvert {
    /// What it says of itself.
    pub flags: NeighborFlags,
    /// The address.
    pub target: Ipv6Addr,
    /// The target's Ethernet address.
    pub target_lladdr: Option<MacAddr>,
}

impl NeighborAdvert {
    pub(super) fn parse<T: AsRef<[u8]>>(packet: &Packet<T>) -> Result<Self> {
        let [flags, ..] = packet.rest();
        let target_lladdr = find_lladdr(packet.payload(), fixed::NEIGHBOR, OptionKind::TARGET_LLADDR)?;
        Ok(Self {
            flags: NeighborFlags::from_bits_truncate(flags),
            target: unicast(field::TARGET, packet.payload())?,
            target_lladdr,
        })
    }

    pub(super) fn data_len(&self) -> usize {
        fixed::NEIGHBOR + options::lladdr_len(self.target_lladdr)
    }

    pub(super) fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, packet: &mut Packet<T>) {
        let Self { flags, target, target_lladdr } = *self;
        packet.set_kind(Type::NEIGHBOR_ADVERT);
        packet.set_rest([flags.bits(), 0, 0, 0]);
        let data = packet.payload_mut();
        field::TARGET.set(data, target.octets());
        let mut options = Writer::new(data, fixed::NEIGHBOR);
        options.lladdr(OptionKind::TARGET_LLADDR, target_lladdr);
    }
}

/// There is a better next hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Redirect<'a> {
    /// The better next hop; the destination itself if it is a neighbour.
    pub target: Ipv6Addr,
    /// For what destination.
    pub destination: Ipv6Addr,
    /// The target's Ethernet address.
    pub target_lladdr: Option<MacAddr>,
    /// The beginning of the packet that led to this, with up to seven bytes of padding; empty if it was not quoted. At
    /// most 2,032 bytes.
    pub invoking: &'a [u8],
}

impl<'a> Redirect<'a> {
    pub(super) fn parse<T: AsRef<[u8]>>(packet: &'a Packet<T>) -> Result<Self> {
        let data = packet.payload();
        let mut redirect = Self {
            target: unicast(field::TARGET, data)?,
            destination: unicast(field::DESTINATION, data)?,
            target_lladdr: None,
            invoking: &[],
        };
        for option in options_behind(data, fixed::REDIRECT)? {
            let option = option?;
            match option.kind {
                OptionKind::TARGET_LLADDR => {
                    redirect.target_lladdr = option.lladdr().or(redirect.target_lladdr);
                }
                OptionKind::REDIRECTED_HEADER => redirect.invoking = option.redirected(),
                _ => {}
            }
        }
        Ok(redirect)
    }

    pub(super) fn data_len(&self) -> usize {
        let invoking =
            if self.invoking.is_empty() { 0 } else { options::redirected_len(self.invoking.len()) };
        fixed::REDIRECT + options::lladdr_len(self.target_lladdr) + invoking
    }

    pub(super) fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, packet: &mut Packet<T>) {
        let Self { target, destination, target_lladdr, invoking } = *self;
        packet.set_kind(Type::REDIRECT);
        packet.set_rest([0; 4]);
        let data = packet.payload_mut();
        field::TARGET.set(data, target.octets());
        field::DESTINATION.set(data, destination.octets());
        let mut options = Writer::new(data, fixed::REDIRECT);
        options.lladdr(OptionKind::TARGET_LLADDR, target_lladdr);
        options.redirected(invoking);
    }
}

/// An address that must not be a group's.
fn unicast(field: Octets<16>, data: &[u8]) -> Result<Ipv6Addr> {
    if data.len() < field.0 + 16 {
        return Err(Error::Truncated);
    }
    let address = Ipv6Addr::from(field.get(data));
    if address.is_multicast() { Err(Error::BadValue) } else { Ok(address) }
}

/// The Ethernet address in the last option of this kind, every option's length being checked on the way.
fn find_lladdr(data: &[u8], fixed: usize, kind: OptionKind) -> Result<Option<MacAddr>> {
    let mut found = None;
    for option in options_behind(data, fixed)? {
        let option = option?;
        if option.kind == kind {
            found = option.lladdr().or(found);
        }
    }
    Ok(found)
}
