//! A packet at rest in a table.

use core::fmt;
use core::num::NonZeroU32;

use super::place::Place;

/// A shared packet as a table of the arena holds it: twelve bytes, no pointer, nothing to drop, and a niche, so
/// that an `Option` takes no more. [`PacketPool::unpark`](super::PacketPool::unpark) makes a packet of it again,
/// [`PacketPool::view`](super::PacketPool::view) reads it in place.
///
/// It still holds its buffer. One that is forgotten keeps it until its pool's last handle is gone.
///
/// ```text
///   0         4                            12
///   ├─────────┼────────────────────────────┤
///   │ pool    │ buffer, flags, offset, len │
///   └─────────┴────────────────────────────┘
/// ```
#[must_use = "what is parked holds its buffer: unpark it to let go"]
pub struct Parked {
    pool: NonZeroU32,
    place: [u32; 2],
}

const _: () = assert!(size_of::<Option<Parked>>() == 12);
const _: () = assert!(!core::mem::needs_drop::<Parked>());

impl Parked {
    #[inline(always)]
    pub(super) const fn new(pool: NonZeroU32, place: Place) -> Self {
        Self { pool, place: place.to_halves() }
    }

    #[inline(always)]
    pub(super) const fn pool(&self) -> NonZeroU32 {
        self.pool
    }

    #[inline(always)]
    pub(super) const fn place(&self) -> Place {
        Place::from_halves(self.place)
    }

    /// How many bytes of data.
    #[inline(always)]
    pub const fn len(&self) -> usize {
        self.place().len()
    }

    /// Whether there are none.
    #[inline(always)]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place().describe("Parked", f)
    }
}
