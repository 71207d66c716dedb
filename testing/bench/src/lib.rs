//! Whole-stack benchmarks.
//!
//! `echo` measures requests a second and cycles by stage, on few connections or on a million, and `memory` what an idle
//! connection costs, both over the in-process pipe; `linux-path` holds goodput over bad paths against Linux's, in network
//! namespaces. They are ordinary programs that print a table, or JSON for other programs.

#![forbid(unsafe_code)]

mod server;

pub use server::EchoServer;
