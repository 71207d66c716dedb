//! A cache with memcached's semantics, one store a core.
//!
//! | module | idea |
//! |---|---|
//! | [`store`] | items in memory: index, log, expiry, eviction |

#![forbid(unsafe_code)]

pub mod store;

pub use store::{Item, NEVER, Store, StoreConfig};
