//! AF_XDP sockets on veth pairs of the real kernel, each test in a network namespace of its own. They need root;
//! elsewhere they are skipped and say so, and where `CI` is set they fail.

mod conformance;
mod device;
mod namespace;
mod raw_socket;
mod steering;
mod sums;
