//! One host, its application and a peer that says whatever a script tells it to: what each must have seen of the
//! other.
//!
//! ```text
//!             segments, in any order, overlapping, torn              what the application reads
//!   Peer ──────────────────────────────────────────────► Stack ───► must be the bytes of the stream
//!   must see what was written, each time it is sent ◄──── Stack ◄─── what it writes
//! ```
//!
//! A byte of the peer's is a function of its sequence number ([`byte_at`]), so whatever a segment covers, every
//! byte of it is the right one; a reader that got one wrong, twice, or not at all stands at the wrong number.

mod application;
mod frame;
mod peer;

pub(crate) use application::{Action, Conversation};
pub(crate) use frame::{HOST, HOST_MAC, PEER, arp_request, icmp_unreachable};
pub(crate) use peer::{Draft, HOST_PORT_ACTIVE, Peer, SLOT_ACTIVE, SLOTS, TCP_PORT};

/// The byte of a stream at a sequence number.
pub(crate) const fn byte_at(seq: u32) -> u8 {
    (seq.wrapping_mul(0x9e37_79b1) >> 24) as u8
}
