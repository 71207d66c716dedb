//! A cache with memcached's semantics: a store, and a server over Freeway's event interface.
//!
//! ```text
//!   connection, udp ──► engine ──► answer (text, meta, binary) ──► cache ──► store
//!   bytes and TCP       commands   what is said                     what is    where
//!         │                                                         meant      it lies
//!         └───────► glance: the usual get ──────────────────────────────▲
//! ```
//!
//! Nothing is shared between cores: each has a store of its own, and the keys that belong to it (`peers`).

#![forbid(unsafe_code)]

mod answer;
pub mod cache;
pub mod clock;
mod connection;
mod dump;
mod engine;
mod events;
mod glance;
mod out;
mod peers;
mod server;
mod stats;
pub mod store;
mod tasks;
mod udp;

pub use connection::{CacheServer, CacheState};
pub use server::{CacheConfig, ServerCounters};
pub use store::{StoreConfig, StoreError};
