//! How many accepted connections each remote address has: optional, exact and bounded.
//!
//! One record for each address that has a connection, so never more than there are connections. The addresses of one
//! IPv6 /64 network count as one, since a single host can have them all.

use core::net::IpAddr;

use freeway_base::{FlowHash, HashKey};
use freeway_collections::{BuildError, FlowTable, Slab};
use freeway_mem::{Arena, ArenaLayout};

/// An address, or the network it counts for, and its connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    network: u64,
    open: u32,
}

/// Accepted connections by remote address.
pub(crate) struct Peers {
    table: FlowTable,
    peers: Slab<Peer>,
    key: HashKey,
}

/// What counts as one peer: an IPv4 address, or the upper half of an IPv6 address. The two cannot meet: no IPv6 host
/// lives in `::/64`.
fn network(addr: IpAddr) -> u64 {
    match addr {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
}

impl Peers {
    /// The room that `capacity` addresses take.
    pub(crate) fn plan(layout: ArenaLayout, capacity: u32) -> ArenaLayout {
        Slab::<Peer>::plan(FlowTable::plan(layout, capacity), capacity)
    }

    pub(crate) fn new(arena: &mut Arena, capacity: u32, key: HashKey) -> Result<Self, BuildError> {
        let table = FlowTable::new(arena, capacity)?;
        let peers = Slab::new(arena, "peers", capacity, |_| Peer { network: 0, open: 0 })?;
        Ok(Self { table, peers, key })
    }

    fn find(&self, network: u64) -> (FlowHash, Option<u32>) {
        let hash = FlowHash(self.key.hash(&network.to_be_bytes()));
        let is_it = |index| self.peers.get(index).is_some_and(|peer| peer.network == network);
        (hash, self.table.find(hash, is_it))
    }

    /// Connections that the address has.
    pub(crate) fn open(&self, addr: IpAddr) -> u32 {
        let (_, found) = self.find(network(addr));
        found.and_then(|index| self.peers.get(index)).map_or(0, |peer| peer.open)
    }

    /// One more connection; false if there is no room to count it.
    pub(crate) fn add(&mut self, addr: IpAddr) -> bool {
        let network = network(addr);
        let (hash, found) = self.find(network);
        if let Some(peer) = found.and_then(|index| self.peers.get_mut(index)) {
            peer.open += 1;
            return true;
        }
        let Ok(index) = self.peers.insert(Peer { network, open: 1 }) else { return false };
        if self.table.insert(hash, index).is_err() {
            self.peers.remove(index);
            return false;
        }
        true
    }

    /// One connection less.
    pub(crate) fn remove(&mut self, addr: IpAddr) {
        let (hash, found) = self.find(network(addr));
        let Some(index) = found else { return };
        let Some(peer) = self.peers.get_mut(index) else { return };
        peer.open = peer.open.saturating_sub(1);
        if peer.open == 0 {
            self.table.remove(hash, index);
            self.peers.remove(index);
        }
    }

    /// Addresses that have a connection.
    pub(crate) fn len(&self) -> u32 {
        self.peers.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_are_counted_and_forgotten() {
        let layout = Peers::plan(ArenaLayout::new(), 2);
        let mut arena = Arena::heap(layout.bytes()).unwrap();
        let mut peers = Peers::new(&mut arena, 2, HashKey::new([1, 2])).unwrap();
        let addr = |text: &str| -> IpAddr { text.parse().unwrap() };
        let (a, b) = (addr("198.18.0.1"), addr("2001:db8::1"));
        assert!(peers.add(a) && peers.add(a) && peers.add(b));
        assert!(peers.add(addr("2001:db8::ffff")), "the same network");
        assert_eq!((peers.open(a), peers.open(b), peers.len()), (2, 2, 2));
        assert!(!peers.add(addr("198.18.0.2")), "no room");
        peers.remove(a);
        peers.remove(a);
        assert_eq!((peers.open(a), peers.len()), (0, 1));
        assert!(peers.add(addr("198.18.0.2")));
    }
}
