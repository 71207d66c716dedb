//! The other side of a server under test: connections and requests on Freeway's own stack.
//!
//! A [`Load`] is an application: it opens connections by the million and does with them what its controller orders
//! through a [`Gauge`], closed loop or open loop, in any [`Protocol`]. A [`KernelLoad`] does the same on Linux's sockets, and a
//! [`KernelServer`] is what Freeway is measured against there. [`Pair`] puts a load and its server into one
//! process.

#![forbid(unsafe_code)]

mod download;
mod gauge;
mod kernel;
mod latency;
mod load;
mod pace;
mod pair;
mod protocol;
mod times;

pub use download::{Download, file_byte};
pub use gauge::{Cause, Gauge, Reading, Requests, Work};
pub use kernel::{KernelLoad, KernelServer, KernelService};
pub use latency::{Latencies, Percentiles};
pub use load::{Load, LoadConfig, LoadState, Targets};
pub use pace::{Arrivals, Rate, Schedule};
pub use pair::{Pair, PairError, PairSize};
pub use protocol::{
    Answers, Cache, CacheConfig, CacheProgress, Echo, EchoProgress, Form, Http, HttpProgress, Protocol,
    Subscribe, SubscribeProgress,
};
