//! Flow table, slab and timing wheel: what one core looks its connections up in, keeps them in, and is woken by.
//!
//! All three are sized once, lie in the core's arena as plain indices, and never allocate, divide, lock or resize
//! afterwards. They are built around cache misses, the only cost that matters at ten million entries:
//!
//! | structure | bytes an entry | lines touched |
//! |---|---|---|
//! | [`FlowTable`] | 9.6 | 1 for a lookup, of a present key or an absent one (more for 3 in 100 when full) |
//! | [`Slab`] | the entry + 4.1 | the entry's own; 1 bit an entry says who is in (1.25 MB for ten million) |
//! | [`Wheel`] | 16.6 (+ 140 KB in all) | the timer's own, and a fourteenth of its slot's |
//!
//! Each has a `prefetch`, so that a burst's misses overlap: ask for all lines of a burst first, then use them.
//!
//! The crate needs no `unsafe`: what a bounds check costs is a predicted branch beside a cache miss.

#![forbid(unsafe_code)]

pub mod flow_table;
pub mod slab;
pub mod wheel;

mod header;

pub use flow_table::{FlowTable, Full};
pub use slab::Slab;
pub use wheel::Wheel;

use freeway_mem::ArenaError;

/// Why a collection could not be laid out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BuildError {
    /// More entries were asked for than the collection's index can name.
    #[error("{asked} entries asked for, at most {most} can be numbered")]
    Capacity {
        /// What was asked for.
        asked: u32,
        /// The largest capacity there is.
        most: u32,
    },
    /// The arena has no room.
    #[error(transparent)]
    Arena(#[from] ArenaError),
}
