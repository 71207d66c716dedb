//! The control plane: how a person asks a running server what it does.
//!
//! ```text
//!   cores ──► boards (shared memory, one writer each) ──► Snapshot ──► admin socket ──► stats, cycles, top
//! ```
//!
//! Nothing here runs on a core: the cores publish their counters whether anybody looks or not, and a thread of its own
//! copies them out when somebody asks.
//!
//! | module | what it is |
//! |---|---|
//! | [`snapshot`] | all counters of a server at one moment, as JSON has them |
//! | [`rates`] | what happened between two of them |
//! | [`admin`] | the Unix socket by which they are asked for: its server and its client |

#![forbid(unsafe_code)]

pub mod admin;
pub mod rates;
pub mod snapshot;

pub use admin::{Actions, Ask, Client, Reloaded, Server};
pub use rates::Rates;
pub use snapshot::{CoreSnapshot, Snapshot};
