//! The other side of a server under test: connections and requests on Freeway's own stack.
//!
//! [`EchoLoad`] opens connections by the hundred thousand and keeps a number of requests under way on them, each
//! answered before the next is sent on the same connection (a closed loop). Whoever controls it reads and sets a
//! [`Gauge`], which is a handful of atomics that the load writes once a turn. [`Pair`] puts a load and its server into
//! one process.

#![forbid(unsafe_code)]

mod download;
mod echo_load;
mod gauge;
mod pair;

pub use download::{Download, file_byte};
pub use echo_load::{EchoLoad, EchoLoadConfig, LoadState, Pick};
pub use gauge::{Gauge, Reading};
pub use pair::{Pair, PairError, PairSize};
