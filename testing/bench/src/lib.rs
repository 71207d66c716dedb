//! Whole-stack benchmarks.
//!
//! `echo` measures requests a second and cycles by stage, on few connections or on a million, and `memory` what an idle
//! connection costs, both over the in-process pipe; `memif` frames between processes, beside DPDK's; `veth` requests of
//! Linux clients over AF_XDP, beside Linux's own server; `rivals` the cache and the web server beside memcached and nginx;
//! `linux-path` goodput over bad paths, beside Linux's; `flood` what a flood of SYNs leaves of a service. `turn` puts a
//! server and its client on a single thread, for profilers. They are ordinary programs that print a table, or JSON for other
//! programs.

#![forbid(unsafe_code)]

mod core_time;
pub mod flood;
pub mod placing;
mod server;
mod watching;

pub use core_time::CoreTime;
pub use server::{CacheServer, EchoServer, HttpServer};
pub use watching::Watching;
