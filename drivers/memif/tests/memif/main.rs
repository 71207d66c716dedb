//! Interfaces over real sockets and real shared memory. They need no privilege.

mod conformance;
mod hostile;
mod lab;
mod liar;
mod link;
mod process;
mod zero_copy;
