//! The suite that every port passes.
//!
//! A driver's test lays a cable between its port and a [`Peer`], whatever is at the other end (another port, a raw
//! socket), and calls [`run`], which lays one for each check:
//!
//! ```
//! use freeway_port::conformance::{PortPeer, run};
//! use freeway_port::{PipeConfig, pipe};
//!
//! run(|| {
//!     let (near, far) = pipe(&PipeConfig::default()).expect("two descriptors");
//!     (near, PortPeer::new(far))
//! });
//! ```
//!
//! The suite's frames are broadcasts of EtherType 0x88B5, which is free for experiments (IEEE 802, section 9.2.3), so
//! that a kernel at the other end ignores them; all other frames are ignored by the suite. It needs room for 256
//! frames towards the port and 1,024 from it, unless the device pushes back.

mod bench;
mod checks;
mod wakes;

use freeway_mem::{PacketPool, RxBurst, TxBurst};

use crate::queue::Port;
use bench::Bench;
pub use bench::pool_for;
pub use wakes::no_wake_up_is_lost;

/// The other end of the cable. Neither method waits.
pub trait Peer {
    /// Sends a frame. False if there is no room for it now.
    fn send(&mut self, frame: &[u8]) -> bool;

    /// The next frame that has arrived.
    fn receive(&mut self) -> Option<Vec<u8>>;
}

/// Runs every check on a cable of its own.
///
/// # Panics
///
/// A check failed. Its name was printed just before.
pub fn run<P: Port, Q: Peer>(mut lay: impl FnMut() -> (P, Q)) {
    for (name, check) in checks::all() {
        println!("conformance: {name}");
        let (port, peer) = lay();
        check(Bench::new(port, peer));
    }
}

/// The same on pools of the driver's own making: `lay` gives a port, its peer, and the pool that the port has been
/// attached to, with at least 2,048 free buffers that are longer than any frame.
///
/// # Panics
///
/// A check failed. Its name was printed just before.
pub fn run_attached<P: Port, Q: Peer>(mut lay: impl FnMut() -> (P, Q, PacketPool)) {
    for (name, check) in checks::all() {
        println!("conformance: {name}");
        let (port, peer, pool) = lay();
        check(Bench { port, peer, pool });
    }
}

/// A port that plays the peer of another.
#[derive(Debug)]
pub struct PortPeer<P> {
    port: P,
    pool: PacketPool,
    /// Frames that arrived in the last burst, the oldest last.
    arrived: RxBurst,
}

impl<P: Port> PortPeer<P> {
    /// Plays the peer with `port`.
    ///
    /// # Panics
    ///
    /// It does not take a pool.
    pub fn new(mut port: P) -> Self {
        let pool = pool_for(port.info(), 1_024);
        port.attach(&pool).expect("the port takes the pool");
        Self { port, pool, arrived: RxBurst::new() }
    }
}

impl<P: Port> Peer for PortPeer<P> {
    fn send(&mut self, frame: &[u8]) -> bool {
        let Some(mut packet) = self.pool.alloc() else { return false };
        packet.copy_from_slice(frame) && self.port.tx_burst(&mut TxBurst::from_iter([packet.share()])) == 1
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        if self.arrived.is_empty() {
            self.port.rx_burst(&self.pool, &mut self.arrived);
            self.arrived.reverse();
        }
        self.arrived.pop().map(|packet| packet.data().to_vec())
    }
}
