//! The control plane: how a person asks a running server what it does.
//!
//! ```text
//!   cores ──► boards (shared memory, one writer each) ──► Snapshot ──► admin socket ──► stats, cycles, top
//!     └─────► rings of whoever asks (rows, frames) ──────► Socket, pcapng ───┘────────► ss, pcap
//! ```
//!
//! Nothing here runs on a core: the cores publish their counters whether anybody looks or not, and a thread of its own
//! copies them out when somebody asks. What needs a core's hand, such as its sockets, it shows a little of in each turn.
//!
//! | module | what it is |
//! |---|---|
//! | [`snapshot`] | all counters of a server at one moment, as JSON has them |
//! | [`rates`] | what happened between two of them |
//! | [`sockets`] | which sockets are wanted, and what is said of each |
//! | [`capture`] | frames as they pass, as a pcapng file |
//! | [`metrics`] | the same for Prometheus and for browsers |
//! | [`admin`] | the Unix socket by which they are asked for: its server and its client |

#![forbid(unsafe_code)]

pub mod admin;
pub mod capture;
pub mod metrics;
pub mod rates;
pub mod snapshot;
pub mod sockets;

pub use admin::{Actions, Ask, Client, Reloaded, Server};
pub use rates::Rates;
pub use snapshot::{CoreSnapshot, Snapshot};
