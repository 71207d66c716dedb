//! Formats of the packets on the wire: views over bytes and their representations.
//!
//! Every protocol's file has the same silhouette:
//!
//! 1. `field`: where each field lies and how wide it is;
//! 2. a *view*, `Frame`, `Packet`, `Datagram` or `Segment`, over any bytes. `new_checked` proves that the lengths
//!    in the header agree with the bytes there are; getters read fields in host order, setters write them;
//! 3. a *representation*, `Repr`: the header's meaning as a plain struct, with `parse` (from a view), `buffer_len`
//!    (bytes that `emit` writes) and `emit` (into bytes).
//!
//! **Nothing here panics, whatever the bytes.** A read beyond the end of a view reads zeros and a write beyond it
//! writes nothing, so even a view made by `new_unchecked` over rubbish is only wrong, never fatal. `emit` into too
//! short a buffer writes nothing.
//!
//! `parse` does not look at checksums, because a device may have vouched for them: [`checksum::verify_transport`]
//! and the views' `verify_checksum` do. `emit` fills in the sums that no device takes over (IPv4's header, ICMP's);
//! those of TCP and UDP are left zero for [`checksum::fill_transport`] or [`checksum::seed_transport`].

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod icmpv4;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod ndp;
pub mod offload;
pub mod tcp;
pub mod udp;
pub mod vlan;

mod address;
mod bytes;
mod error;
mod protocol;

pub use address::{MacAddr, ParseMacAddrError};
pub use error::{Error, Result};
pub use protocol::{Ecn, Protocol};
