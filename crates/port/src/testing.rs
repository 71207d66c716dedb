//! What the unit tests of this crate share.
#![allow(clippy::unwrap_used)]

use freeway_mem::{Arena, ArenaLayout, Packet, PacketPool, PoolConfig};

/// A pool of so many buffers of the default size in ordinary memory.
pub(crate) fn pool(buffers: u32) -> PacketPool {
    let config = PoolConfig { buffers, ..PoolConfig::default() };
    let mut arena = Arena::heap(ArenaLayout::new().pool(&config).bytes()).unwrap();
    PacketPool::new(&mut arena, &config).unwrap()
}

/// A frame that holds `bytes`.
pub(crate) fn packet(pool: &PacketPool, bytes: &[u8]) -> Packet {
    let mut packet = pool.alloc().unwrap();
    assert!(packet.copy_from_slice(bytes));
    packet
}

/// What is in each of `packets`.
pub(crate) fn bytes_of(packets: &[Packet]) -> Vec<Vec<u8>> {
    packets.iter().map(|packet| packet.data().to_vec()).collect()
}
