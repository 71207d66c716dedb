//! What Linux clients do to a server: ordinary blocking sockets, each made inside the client's namespace.
//!
//! Every socket has a time limit on each call, so that a server that stops answering fails a test instead of hanging it.

pub mod http;
pub mod pattern;
pub mod tcp;
pub mod udp;

use std::time::Duration;

/// How long one call on a socket may take without a byte moving.
pub const PATIENCE: Duration = Duration::from_secs(30);
