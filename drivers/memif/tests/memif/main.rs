//! Interfaces over real sockets and real shared memory. They need no privilege.

mod conformance;
mod lab;
mod link;
mod zero_copy;
