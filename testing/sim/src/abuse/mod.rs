//! Attacks on a host that goes on serving: one file for each kind.
//!
//! ```text
//!   honest client ──── 198.18.0.0/24, 2001:db8::/64 ──── server ──── 198.18.1.0/24 ──── attacker
//! ```
//!
//! The server echoes. The honest client holds one connection on which it never stops talking, and opens another every
//! ten milliseconds. The attacker has a cable of its own, sends what it likes from whatever address, and reads what the
//! server sends back that way. Every attack shows: bounded tables while it lasts, honest traffic served, a counter that
//! tells of it, and after it a server as before.

mod forge;
pub(crate) mod honest;
mod world;

mod ack_flood;
mod fast_open;
mod fragments;
mod hoard;
mod injection;
mod land;
mod neighbors;
mod optimistic;
mod out_of_order;
mod path_lies;
mod persist;
mod puppets;
mod rst_flood;
mod small_segments;
mod syn_flood;
