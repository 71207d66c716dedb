//! Packets in groups: what a queue gives and takes at once.
//!
//! A burst is whatever was there, at most [`BURST`]; nobody waits for it to fill. Work is done burst by burst, so
//! that the cache misses of its packets overlap.

use arrayvec::ArrayVec;

use crate::{Packet, SharedPacket};

/// The most packets moved at once.
pub const BURST: usize = 64;

/// Packets on their way in, each with one owner.
pub type RxBurst = ArrayVec<Packet, BURST>;

/// Packets on their way out. Their sender may hold them too, to retransmit.
pub type TxBurst = ArrayVec<SharedPacket, BURST>;

// A burst lives on the stack of the loop that moves it: 1 KiB and its length.
const _: () = assert!(size_of::<RxBurst>() <= 64 * 16 + 8);
