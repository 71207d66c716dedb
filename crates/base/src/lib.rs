//! Time, keyed hashing, counters and random numbers for every other crate.
//!
//! Nothing here knows of packets or of an operating system: the clock is read by the runtime (or moved by the
//! simulator) and handed down as an [`Instant`]; randomness is drawn once at start and handed down as a
//! [`Seed`].

#![no_std]
#![forbid(unsafe_code)]

pub mod counters;
pub mod hash;
pub mod rng;
pub mod short;
pub mod time;

pub use hash::{FlowHash, HashKey, shared_hash};
pub use rng::{Rng, Seed};
pub use time::{Duration, Instant};
