//! A whole network in one process, on a virtual clock, from one seed.
//!
//! Two hosts, each the real [`Core`](freeway_runtime::Core), are joined by a pipe that loses, repeats, flips, delays
//! and reorders frames as the [`Plan`] of a seed says. A client sends streams whose every byte is known, a server
//! sends them back. When the streams are done and the last timer has run, everything must have come home.
//!
//! A run is its seed: `cargo run --release -p freeway-sim -- --seed N` repeats it exactly.

#![forbid(unsafe_code)]

#[cfg(test)]
mod abuse;
pub mod bottleneck;
pub mod idle;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod path;
mod plan;
#[cfg(test)]
mod settings;
pub mod soak;
pub mod tables;
pub mod trace;
mod traffic;
#[cfg(test)]
mod windows;
mod world;

pub use plan::Plan;
pub use traffic::Streams;
pub use world::{Outcome, Violation, run, run_and_capture};
