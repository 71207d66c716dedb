//! Whole-stack benchmarks over the in-process pipe.
//!
//! `echo` measures requests a second and cycles by stage, on few connections or on a million; `memory` measures what
//! an idle connection costs. Both are ordinary programs that print a table, or JSON for other programs.

#![forbid(unsafe_code)]

mod server;

pub use server::EchoServer;
