//! What the unit tests of this crate share.
#![allow(clippy::unwrap_used)]

use freeway_mem::{Arena, Packet, PacketPool, PoolConfig};
use freeway_port::PortInfo;

/// A pool of `buffers` small frames in ordinary memory.
pub(crate) fn pool(buffers: u32) -> PacketPool {
    let mut arena = Arena::heap(1 << 20).unwrap();
    PacketPool::new(&mut arena, &PoolConfig { buffers, ..PoolConfig::default() }).unwrap()
}

/// A frame that holds `bytes`.
pub(crate) fn packet(pool: &PacketPool, bytes: &[u8]) -> Packet {
    let mut packet = pool.alloc().unwrap();
    packet.append(bytes.len()).unwrap().copy_from_slice(bytes);
    packet
}

/// A device that does not exist.
pub(crate) fn port_info() -> PortInfo {
    PortInfo::new("test0")
}
