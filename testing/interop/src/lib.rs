//! Linux as the peer, in network namespaces of the test's own.
//!
//! - [`netns`]: namespaces, veth pairs and addresses that vanish with the test;
//! - [`server`]: `freeway serve` in a namespace, up to its `ready` line;
//! - [`peer`]: what Linux clients do to it, over ordinary blocking sockets;
//! - [`impair`]: a bridge between two interfaces that loses, delays, reorders, doubles and corrupts frames;
//! - [`lab`]: all of these put together, as tests use them;
//! - [`pair`]: a server on a veth pair by AF_XDP;
//! - [`soak`]: hours of all of it at once, after which nothing may be left over;
//! - [`transfer`]: bulk transfers that Freeway and Linux serve alike, to hold one against the other;
//! - [`privilege`]: what happens to a test that may not do all this.
//!
//! The tests themselves stand in `tests/`. Those that need the server are ignored by a plain `cargo test`;
//! `cargo xtask interop` builds it and runs them all.
//!
//! Addresses are 198.18.0.0/15 (RFC 2544), 2001:db8::/32 (RFC 3849) and fdc1::/64 (RFC 4193); none of them leaves
//! the namespaces.

#![forbid(unsafe_code)]

pub mod impair;
pub mod lab;
pub mod netns;
pub mod pair;
pub mod peer;
pub mod privilege;
pub mod server;
pub mod shell;
pub mod soak;
pub mod transfer;
