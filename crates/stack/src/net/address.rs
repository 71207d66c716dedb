//! The host's own addresses.
//!
//! An address keeps its index for life, because connections name their local address by it: a removed address
//! leaves its place to nobody but itself. Every address is compared as one 128-bit number, IPv4 mapped into
//! `::ffff:0:0/96`; up to eight are compared one by one, which costs less than a hash, more are hashed.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use freeway_base::{HashKey, Instant};
use freeway_wire::ndp::solicited_node;

use super::IfaceId;

/// An address with the length of its network's prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cidr {
    /// The address; the bits behind the prefix are kept.
    pub addr: IpAddr,
    /// Leading bits that all addresses of the network share: at most 32 (IPv4) or 128 (IPv6).
    pub prefix_len: u8,
}

/// Text that is no address with a prefix length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected ADDRESS/LENGTH, such as 198.18.0.1/24 or 2001:db8::1/64")]
pub struct CidrError;

impl Cidr {
    /// `addr` within a network of `prefix_len` bits; longer prefixes count as a whole address.
    pub const fn new(addr: IpAddr, prefix_len: u8) -> Self {
        let most = match addr {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        Self { addr, prefix_len: if prefix_len > most { most } else { prefix_len } }
    }

    /// Whether `addr` is of this network.
    pub const fn contains(&self, addr: IpAddr) -> bool {
        self.addr.is_ipv4() == addr.is_ipv4() && (bits(self.addr) ^ bits(addr)) & self.mask() == 0
    }

    /// The address of all hosts of an IPv4 network; networks of 31 and 32 bits have none (RFC 3021).
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.addr {
            IpAddr::V4(v4) if self.prefix_len < 31 => {
                Some(Ipv4Addr::from_bits(v4.to_bits() | (u32::MAX >> self.prefix_len)))
            }
            _ => None,
        }
    }

    /// The prefix's bits among the 128 of the mapped form.
    pub(crate) const fn mask(&self) -> u128 {
        match self.mapped_len() {
            0 => 0,
            len => u128::MAX << (128 - len),
        }
    }

    /// The prefix's length in the mapped form.
    pub(crate) const fn mapped_len(&self) -> u32 {
        match self.addr {
            IpAddr::V4(_) => self.prefix_len as u32 + 96,
            IpAddr::V6(_) => self.prefix_len as u32,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix_len)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (addr, len) = text.split_once('/').ok_or(CidrError)?;
        let addr: IpAddr = addr.parse().map_err(|_| CidrError)?;
        let prefix_len: u8 = len.parse().map_err(|_| CidrError)?;
        let cidr = Self::new(addr, prefix_len);
        if cidr.prefix_len == prefix_len { Ok(cidr) } else { Err(CidrError) }
    }
}

/// An address of either version as one number, IPv4 in its mapped form: sixteen bytes that a processor copies and compares
/// whole, where an [`IpAddr`] is a tag and bytes at odd places behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addr(pub(crate) u128);

impl Addr {
    /// Whether it is an IPv4 address.
    #[inline]
    pub const fn is_v4(self) -> bool {
        self.0 >> 32 == 0xffff
    }
}

impl From<IpAddr> for Addr {
    #[inline]
    fn from(addr: IpAddr) -> Self {
        Self(bits(addr))
    }
}

impl From<Ipv4Addr> for Addr {
    #[inline]
    fn from(addr: Ipv4Addr) -> Self {
        Self(v4_bits(addr))
    }
}

impl From<Ipv6Addr> for Addr {
    #[inline]
    fn from(addr: Ipv6Addr) -> Self {
        Self(addr.to_bits())
    }
}

impl From<Addr> for IpAddr {
    #[inline]
    fn from(addr: Addr) -> Self {
        let v6 = Ipv6Addr::from_bits(addr.0);
        if addr.is_v4() { Self::V4(Ipv4Addr::from_bits(addr.0 as u32)) } else { Self::V6(v6) }
    }
}

/// An address as one number, IPv4 in its mapped form.
#[inline]
pub(crate) const fn bits(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => v4_bits(v4),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[inline]
pub(crate) const fn v4_bits(v4: Ipv4Addr) -> u128 {
    0xffff_0000_0000 | v4.to_bits() as u128
}

/// `fe80::/10`.
pub(crate) const fn is_link_local(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// What an address may be used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Use {
    /// For everything.
    Yes,
    /// For nothing yet: it is being probed (RFC 4862, section 5.4; RFC 5227, section 2.1).
    Tentative,
    /// For nothing any more: removed, expired, or another host has it.
    No,
}

/// One of the host's own addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(crate) cidr: Cidr,
    pub(crate) iface: IfaceId,
    pub(crate) usable: Use,
    /// When it expires, if it was learned from a router.
    pub(crate) valid_until: Instant,
    /// Probes and announcements still to be sent.
    pub(crate) probes_left: u8,
    pub(crate) announcements_left: u8,
    /// When the next of them is due.
    pub(crate) due: Instant,
    /// When it was last defended.
    pub(crate) defended: Option<Instant>,
}

/// All addresses.
pub(crate) struct Addresses {
    all: Vec<Address>,
    /// All of them as numbers.
    numbers: Vec<u128>,
    /// The addresses in use, as numbers; [`UNUSED`] in the others' places.
    live: Vec<u128>,
    /// By the last six bits of an address: whether any with those was ever in use. Most others are told by it.
    endings: u64,
    /// The broadcast addresses of the networks that addresses in use are of, each once.
    broadcasts: Vec<Ipv4Addr>,
    /// Indices by hash, linear probing, once there are more than [`LINEAR`].
    hashed: Vec<u16>,
    /// A secret odd number.
    factor: u64,
    limit: usize,
}

/// Not an address that a host can have.
const UNUSED: u128 = u128::MAX;
const EMPTY: u16 = u16::MAX;
/// Up to so many addresses are compared one by one.
const LINEAR: usize = 8;

impl Addresses {
    pub(crate) fn new(limit: u16, key: HashKey) -> Self {
        let limit = usize::from(limit).min(usize::from(u16::MAX) / 4);
        Self {
            all: Vec::with_capacity(limit),
            numbers: Vec::with_capacity(limit),
            live: Vec::with_capacity(limit),
            endings: 0,
            broadcasts: Vec::with_capacity(limit),
            hashed: vec![EMPTY; (limit * 2).next_power_of_two()],
            factor: key.hash(b"addresses") | 1,
            limit,
        }
    }

    /// The index of a local address in use.
    #[inline]
    pub(crate) fn find(&self, addr: u128) -> Option<u16> {
        if self.live.len() <= LINEAR {
            return self.live.iter().position(|&own| own == addr && own != UNUSED).map(|at| at as u16);
        }
        self.find_hashed(addr).filter(|&index| self.live[usize::from(index)] == addr)
    }

    /// Whether an address that is hardly one of these is in use: a quick no.
    #[inline]
    pub(crate) fn contains(&self, addr: u128) -> bool {
        self.endings >> (addr & 63) & 1 != 0 && self.find(addr).is_some()
    }

    /// The index of an address in whatever use.
    fn find_hashed(&self, addr: u128) -> Option<u16> {
        let mask = self.hashed.len() - 1;
        let mut slot = self.slot(addr);
        for _ in 0..self.hashed.len() {
            let index = *self.hashed.get(slot)?;
            match self.all.get(usize::from(index)) {
                None => return None,
                Some(address) if bits(address.cidr.addr) == addr => return Some(index),
                Some(_) => slot = (slot + 1) & mask,
            }
        }
        None
    }

    /// Where the search for an address begins. A multiplication by the secret will do: what is in the table is the host's own
    /// choice, so a stranger can make a search no longer than its longest run, and half of the table is empty.
    #[inline]
    fn slot(&self, addr: u128) -> usize {
        let folded = (addr >> 64) as u64 ^ (addr as u64).rotate_left(32);
        (folded.wrapping_mul(self.factor) >> 40) as usize & (self.hashed.len() - 1)
    }

    /// Adds an address, or revives it; `None` when the table is full.
    pub(crate) fn insert(&mut self, address: Address) -> Option<u16> {
        let number = bits(address.cidr.addr);
        let index = match self.find_hashed(number) {
            Some(index) => index,
            None if self.all.len() >= self.limit => return None,
            None => {
                let index = self.all.len() as u16;
                self.all.push(address);
                self.numbers.push(number);
                self.live.push(UNUSED);
                self.index(number, index);
                index
            }
        };
        *self.all.get_mut(usize::from(index))? = address;
        self.set_use(index, address.usable);
        Some(index)
    }

    fn index(&mut self, addr: u128, index: u16) {
        let mask = self.hashed.len() - 1;
        let mut slot = self.slot(addr);
        while self.hashed[slot] != EMPTY {
            slot = (slot + 1) & mask;
        }
        self.hashed[slot] = index;
    }

    /// Changes what an address may be used for.
    pub(crate) fn set_use(&mut self, index: u16, usable: Use) {
        let at = usize::from(index);
        if let (Some(address), Some(live)) = (self.all.get_mut(at), self.live.get_mut(at)) {
            address.usable = usable;
            *live = UNUSED;
            if usable == Use::Yes {
                *live = bits(address.cidr.addr);
                self.endings |= 1 << (*live & 63);
            }
        }
        self.broadcasts.clear();
        for address in self.all.iter().filter(|address| address.usable == Use::Yes) {
            if let Some(broadcast) = address.cidr.broadcast()
                && !self.broadcasts.contains(&broadcast)
            {
                self.broadcasts.push(broadcast);
            }
        }
    }

    /// Whether `addr` is all hosts of a network that this host is in: nobody's address to send from.
    #[inline]
    pub(crate) fn is_any_broadcast(&self, addr: Ipv4Addr) -> bool {
        self.broadcasts.contains(&addr)
    }

    pub(crate) fn len(&self) -> u16 {
        self.all.len() as u16
    }

    /// How many more there can be.
    pub(crate) fn room(&self) -> usize {
        self.limit - self.all.len()
    }

    /// The address of an index.
    #[inline]
    pub(crate) fn number(&self, index: u16) -> Option<u128> {
        self.numbers.get(usize::from(index)).copied()
    }

    pub(crate) fn get(&self, index: u16) -> Option<&Address> {
        self.all.get(usize::from(index))
    }

    pub(crate) fn get_mut(&mut self, index: u16) -> Option<&mut Address> {
        self.all.get_mut(usize::from(index))
    }

    /// The address in whatever use, with its index.
    pub(crate) fn lookup(&self, addr: IpAddr) -> Option<(u16, &Address)> {
        let index = self.find_hashed(bits(addr))?;
        Some((index, self.get(index)?))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, &Address)> {
        self.all.iter().enumerate().map(|(index, address)| (index as u16, address))
    }

    /// Addresses that may be used, on one interface.
    pub(crate) fn of(&self, iface: IfaceId) -> impl Iterator<Item = &Address> {
        self.all.iter().filter(move |address| address.iface == iface && address.usable == Use::Yes)
    }

    /// Whether `addr` speaks to all hosts of a network of `iface`.
    pub(crate) fn is_broadcast(&self, iface: IfaceId, addr: Ipv4Addr) -> bool {
        addr.is_broadcast() || self.of(iface).any(|own| own.cidr.broadcast() == Some(addr))
    }

    /// Whether `group` is the solicited-node group of an address of `iface`, tentative ones included.
    pub(crate) fn is_solicited(&self, iface: IfaceId, group: Ipv6Addr) -> bool {
        self.all.iter().any(|own| {
            own.iface == iface
                && own.usable != Use::No
                && matches!(own.cidr.addr, IpAddr::V6(v6) if solicited_node(v6) == group)
        })
    }

    /// The best source towards `dst` on `iface`: of the same scope, then of the longest prefix in common
    /// (RFC 6724, rules 2 and 8).
    pub(crate) fn source(&self, iface: IfaceId, dst: IpAddr) -> Option<IpAddr> {
        let rank = |own: &&Address| {
            let scope = is_link_local(own.cidr.addr) == is_link_local(dst);
            (scope, (bits(own.cidr.addr) ^ bits(dst)).leading_zeros().min(own.cidr.mapped_len()))
        };
        let same_version = self.of(iface).filter(|own| own.cidr.addr.is_ipv4() == dst.is_ipv4());
        // Of equals, the first that was added.
        let best = same_version.reduce(|best, own| if rank(&own) > rank(&best) { own } else { best })?;
        Some(best.cidr.addr)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    pub(crate) fn address(text: &str) -> Address {
        Address {
            cidr: text.parse().unwrap(),
            iface: IfaceId(0),
            usable: Use::Yes,
            valid_until: Instant::FAR_FUTURE,
            probes_left: 0,
            announcements_left: 0,
            due: Instant::FAR_FUTURE,
            defended: None,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_contain_their_own_version_only() {
        let v4: Cidr = "198.18.0.1/15".parse().unwrap();
        assert!(v4.contains(ip("198.19.255.255")));
        assert!(!v4.contains(ip("198.20.0.0")));
        let all_v6: Cidr = "::/0".parse().unwrap();
        assert!(all_v6.contains(ip("2001:db8::1")));
        assert!(!all_v6.contains(ip("198.18.0.1")));
        let all_v4: Cidr = "0.0.0.0/0".parse().unwrap();
        assert!(all_v4.contains(ip("255.255.255.255")));
        assert!(!all_v4.contains(ip("::1")));
    }

    #[test]
    fn broadcast_has_all_host_bits_set() {
        let broadcast = |text: &str| text.parse::<Cidr>().unwrap().broadcast().map(IpAddr::V4);
        assert_eq!(broadcast("198.18.0.1/24"), Some(ip("198.18.0.255")));
        assert_eq!(broadcast("198.18.0.1/31"), None);
        assert_eq!(broadcast("2001:db8::1/64"), None);
    }

    #[test]
    fn text_comes_back_and_nonsense_does_not_parse() {
        for text in ["198.18.0.1/24", "2001:db8::1/64", "0.0.0.0/0"] {
            assert_eq!(alloc::format!("{}", text.parse::<Cidr>().unwrap()), text);
        }
        for text in ["198.18.0.1", "198.18.0.1/33", "::/129", "x/8", "1.2.3.4/"] {
            assert_eq!(text.parse::<Cidr>(), Err(CidrError), "{text}");
        }
    }

    #[test]
    fn few_and_many_addresses_are_found() {
        let mut addresses = Addresses::new(64, HashKey::new([1, 2]));
        for host in 1..=64u8 {
            let text = alloc::format!("198.18.0.{host}/24");
            assert_eq!(addresses.insert(address(&text)), Some(u16::from(host) - 1));
            for known in 1..=host {
                let addr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, known));
                assert_eq!(addresses.find(bits(addr)), Some(u16::from(known) - 1));
                assert!(addresses.contains(bits(addr)));
            }
            for other in [bits(ip("198.18.1.1")), UNUSED] {
                assert!(addresses.find(other).is_none() && !addresses.contains(other));
            }
        }
        assert_eq!(addresses.insert(address("198.18.9.9/24")), None);
    }

    #[test]
    fn a_removed_address_keeps_its_index_to_itself() {
        let mut addresses = Addresses::new(4, HashKey::new([1, 2]));
        let first = addresses.insert(address("198.18.0.1/24")).unwrap();
        addresses.set_use(first, Use::No);
        assert_eq!(addresses.find(bits(ip("198.18.0.1"))), None);
        assert!(!addresses.contains(bits(ip("198.18.0.1"))));
        assert_eq!(addresses.insert(address("198.18.0.2/24")), Some(1));
        assert_eq!(addresses.insert(address("198.18.0.1/24")), Some(first));
        assert_eq!(addresses.find(bits(ip("198.18.0.1"))), Some(first));
    }

    #[test]
    fn the_source_has_the_scope_then_the_prefix() {
        let mut addresses = Addresses::new(8, HashKey::new([1, 2]));
        for text in ["198.18.0.1/24", "198.19.0.1/24", "fe80::1/64", "2001:db8:1::1/64", "2001:db8:2::1/64"] {
            addresses.insert(address(text)).unwrap();
        }
        let source = |dst: &str| addresses.source(IfaceId(0), ip(dst)).unwrap();
        assert_eq!(source("198.19.0.77"), ip("198.19.0.1"));
        assert_eq!(source("203.0.113.1"), ip("198.18.0.1"));
        assert_eq!(source("fe80::2"), ip("fe80::1"));
        assert_eq!(source("2001:db8:2::7"), ip("2001:db8:2::1"));
        assert_eq!(source("2001:db8:1::7"), ip("2001:db8:1::1"));
        assert_eq!(addresses.source(IfaceId(1), ip("198.18.0.2")), None);
    }
}
