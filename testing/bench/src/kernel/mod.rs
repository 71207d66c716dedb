//! Linux's own TCP at either end of a benchmark: an echo server and a load, both on epoll and one thread.
//!
//! They are as cheap as ordinary sockets allow: one wait for many events, one read and one write for each of them, no
//! allocation while they run.

mod load;
mod server;

pub use load::{Load, LoadConfig, Outcome, Pace};
pub use server::{EchoListener, serve_echo};
