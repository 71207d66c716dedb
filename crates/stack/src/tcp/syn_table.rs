//! SYN-RECEIVED: passive opens that wait for the third segment of the handshake.
//!
//! A record of its own, a third of a connection's size, so that a flood of SYNs takes nothing from the
//! connections. At the bound SYN cookies take over, or the newest SYN is dropped and counted.

use core::net::{IpAddr, Ipv4Addr};

use freeway_collections::{BuildError, Slab};
use freeway_mem::Arena;
use freeway_tcp::SynReceived;

use super::key::FlowKey;
use crate::net::Hop;

/// One half-open connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) key: FlowKey,
    /// The settings of the listener it came to.
    pub(crate) profile: u16,
    pub(crate) hop: Hop,
    pub(crate) syn: SynReceived,
}

impl Entry {
    /// What a vacant place of the table holds.
    fn vacant() -> Self {
        let key = FlowKey::new(0, 0, IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Self { key, profile: 0, hop: Hop::UNRESOLVED, syn: SynReceived::vacant() }
    }
}

/// All half-open connections.
pub(crate) struct SynTable {
    pub(crate) entries: Slab<Entry>,
}

impl SynTable {
    pub(crate) fn new(arena: &mut Arena, capacity: u32) -> Result<Self, BuildError> {
        Ok(Self { entries: Slab::new(arena, "syn-received", capacity, |_| Entry::vacant())? })
    }

    #[inline]
    pub(crate) fn key(&self, index: u32) -> Option<&FlowKey> {
        self.entries.get(index).map(|entry| &entry.key)
    }
}
