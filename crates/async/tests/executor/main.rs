//! The executor on whole cores: two hosts joined by a pipe, on a clock that the tests move, or on threads.
#![allow(clippy::unwrap_used)]

mod cancel;
mod ending;
#[cfg(feature = "hyper")]
mod hyper;
mod sealed;
mod tasks;
mod tcp;
mod threads;
mod timing;
mod udp;
mod world;
