//! What a device looks like to a core: receive and transmit queues.
//!
//! ```text
//!              rx_burst: Packets of the core's pool                      Fault   a bad network, from one seed
//!   device ──────────────────────────────────────► core        Port ◄──  Capture every frame in a pcap file
//!          ◄──────────────────────────────────────                       (wrappers: a port in, a port out)
//!              tx_burst: SharedPackets; leftovers stay
//! ```
//!
//! - [`Port`] is the contract: one device as one core sees it. Drivers implement it in crates of their own.
//! - [`pipe()`] is a cable inside the process: tests, simulation, and the benchmark without a kernel.
//! - [`Fault`] and [`Capture`] wrap any port.
//! - [`conformance`] is the suite that every implementation passes.
//!
//! A frame begins with its Ethernet header and has no frame check sequence.

#![forbid(unsafe_code)]

mod bell;
mod capture;
mod clock;
pub mod conformance;
pub mod fault;
mod info;
mod pipe;
mod queue;
#[cfg(test)]
mod testing;

pub use capture::Capture;
pub use clock::{Clock, SharedClock};
pub use fault::{Fault, FaultConfig, FaultCounters, FaultHandle};
pub use freeway_mem::TxChecksum;
pub use info::{Capabilities, PortInfo, RxChecksum, Steering, mac_of};
pub use pipe::{Pipe, PipeConfig, pipe};
pub use queue::{Armed, CounterVisit, Port, PortCounters, RxQueue, TxQueue};
