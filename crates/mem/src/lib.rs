//! A core's memory: arena, packet pool, bursts, rings.
//!
//! Everything a core needs while it runs is laid out before it starts, and given out by index:
//!
//! ```text
//!   Arena ──┬── Array<T>            tables: flow buckets, TCBs, timers
//!           └── PacketPool ──► Packet ⇄ SharedPacket ⇄ Parked
//!                              one owner   counted,     named by index,
//!                              writes      read only    rests in a table
//!   ring::spsc     values   ┐
//!   ring::frames   bytes    ┘ the only things two cores share
//! ```
//!
//! This crate is one of the few that may use `unsafe`, and exists so that the others need none. What its
//! soundness rests on:
//!
//! - *Provenance*: every pointer into an arena is derived from the one its mapping returned, and no reference to
//!   more than one section, array or packet is ever made. Nothing is recovered from an integer.
//! - *Aliasing*: the bytes of a buffer are reached for writing only through the one [`Packet`] that owns it, and
//!   for reading only through it or through the [`SharedPacket`]s and [`Parked`] that its count numbers.
//! - *Lifetime*: an [`Array`] holds a share of its mapping; a pool lives until its last handle is gone and its
//!   last packet is home (see [`pool`]).
//! - *Threads*: an arena and what lies in it stay with one thread: none of its handles is `Send`. The ends of the
//!   rings are, and each end has one owner.
//!
//! ```compile_fail,E0277
//! fn assert_send<T: Send>() {}
//! assert_send::<freeway_mem::Packet>();
//! ```

pub mod arch;
pub mod arena;
pub mod burst;
pub mod pool;
pub mod ring;

pub use arena::{Arena, ArenaConfig, ArenaError, ArenaLayout, Array, HugePages, PageKind};
pub use burst::{BURST, RxBurst, TxBurst};
pub use pool::{
    BufferFile, BufferMemory, Packet, PacketFlags, PacketPool, Parked, PoolConfig, PoolStats, SharedPacket,
    TxChecksum,
};
