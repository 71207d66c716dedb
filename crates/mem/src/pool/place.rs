//! Where a packet's data is, in one word.
//!
//! ```text
//!   63         41 40      33 32         16 15        0
//!   ├────────────┼──────────┼─────────────┼───────────┤
//!   │ buffer (23)│ flags (8)│ offset (17) │ len (16)  │
//!   └────────────┴──────────┴─────────────┴───────────┘
//! ```
//!
//! Moving an edge of the data is one addition to the word: `offset` and `len` change together.

use bitflags::bitflags;

const LEN_BITS: u32 = 16;
const OFFSET_BITS: u32 = 17;
const FLAG_BITS: u32 = 8;

const OFFSET_SHIFT: u32 = LEN_BITS;
const FLAG_SHIFT: u32 = OFFSET_SHIFT + OFFSET_BITS;
const INDEX_SHIFT: u32 = FLAG_SHIFT + FLAG_BITS;

/// The last byte an offset reaches.
pub(super) const OFFSET_MAX: u32 = (1 << OFFSET_BITS) - 1;
/// The most data a packet has, in bytes.
pub(super) const LEN_MAX: usize = (1 << LEN_BITS) - 1;
/// The last buffer of the largest pool.
pub(super) const INDEX_MAX: u32 = (1 << (u64::BITS - INDEX_SHIFT)) - 1;

bitflags! {
    /// What is known of a packet besides its bytes.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct PacketFlags: u8 {
        /// Received: the IP and transport checksums were verified, or the port vouches for them.
        const CHECKSUM_GOOD = 1 << 0;
        /// To be sent: the transport checksum holds the pseudo-header's sum only; the port completes it.
        const CHECKSUM_NEEDED = 1 << 1;
        /// Besides [`CHECKSUM_NEEDED`](Self::CHECKSUM_NEEDED): what the port is to do stands right before the data, in
        /// the form that it reads. Whoever moves the data's front, or copies the data, takes the flag away.
        const CHECKSUM_REQUESTED = 1 << 2;
    }
}

/// Which TCP and UDP sums a port fills in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TxChecksum {
    /// None: software fills them in.
    #[default]
    None,
    /// Those of frames flagged [`CHECKSUM_NEEDED`](PacketFlags::CHECKSUM_NEEDED).
    Flagged,
    /// The same; and the port is spared a copy where a frame is flagged
    /// [`CHECKSUM_REQUESTED`](PacketFlags::CHECKSUM_REQUESTED) too, and the request (24 bytes in the format of
    /// `freeway_wire::offload`) stands right before it. The stack writes it; where the headroom has no place for it,
    /// software fills the sum in.
    Requested,
}

impl PacketFlags {
    /// The flags of a copy: what stands before the data is not copied.
    #[inline]
    #[must_use]
    pub const fn of_copy(self) -> Self {
        self.difference(Self::CHECKSUM_REQUESTED)
    }
}

/// A buffer's number, a part of the buffer, and flags.
///
/// What makes it valid for a pool is kept by its users: the number is below the pool's capacity, and
/// `offset + len` is at most the pool's reach ([`Inner::reach`](super::inner::Inner::reach)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place(u64);

impl Place {
    /// No data, at `offset`.
    #[inline(always)]
    pub(super) const fn new(index: u32, offset: u16) -> Self {
        Self(((index as u64) << INDEX_SHIFT) | ((offset as u64) << OFFSET_SHIFT))
    }

    /// `len` bytes at `offset`, neither larger than its field.
    #[inline(always)]
    pub(super) const fn spanning(index: u32, offset: usize, len: usize) -> Self {
        Self(((index as u64) << INDEX_SHIFT) | ((offset as u64) << OFFSET_SHIFT) | len as u64)
    }

    #[inline(always)]
    pub(super) const fn index(self) -> u32 {
        (self.0 >> INDEX_SHIFT) as u32
    }

    #[inline(always)]
    pub(super) const fn offset(self) -> usize {
        (self.0 >> OFFSET_SHIFT) as usize & OFFSET_MAX as usize
    }

    #[inline(always)]
    pub(super) const fn len(self) -> usize {
        self.0 as usize & LEN_MAX
    }

    /// Where the data ends.
    #[inline(always)]
    pub(super) const fn end(self) -> usize {
        self.offset() + self.len()
    }

    #[inline(always)]
    pub(super) const fn flags(self) -> PacketFlags {
        PacketFlags::from_bits_retain((self.0 >> FLAG_SHIFT) as u8)
    }

    #[inline(always)]
    pub(super) const fn with_flags(self, flags: PacketFlags) -> Self {
        const MASK: u64 = !((u8::MAX as u64) << FLAG_SHIFT);
        Self(self.0 & MASK | (flags.bits() as u64) << FLAG_SHIFT)
    }

    /// `count` bytes more at the front. `None` if there is no room for them.
    #[inline(always)]
    pub(super) const fn prepended(self, count: usize) -> Option<Self> {
        if count > self.offset() || count > LEN_MAX - self.len() {
            return None;
        }
        Some(Self(self.0 - ((count as u64) << OFFSET_SHIFT) + count as u64))
    }

    /// `count` bytes more at the end, which may not lie behind `reach`. `None` if there is no room for them.
    #[inline(always)]
    pub(super) const fn appended(self, count: usize, reach: usize) -> Option<Self> {
        if count > reach - self.end() || count > LEN_MAX - self.len() {
            return None;
        }
        Some(Self(self.0 + count as u64))
    }

    /// Without the first `count` bytes, or without any if there are fewer.
    #[inline(always)]
    pub(super) const fn trimmed(self, count: usize) -> Self {
        let count = if count < self.len() { count } else { self.len() };
        Self(self.0 + ((count as u64) << OFFSET_SHIFT) - count as u64)
    }

    /// The first `len` bytes, or all if there are fewer.
    #[inline(always)]
    pub(super) const fn truncated(self, len: usize) -> Self {
        let gone = self.len().saturating_sub(len);
        Self(self.0 - gone as u64)
    }

    /// The word in two halves, low one first, for a place that must not be aligned to eight bytes.
    #[inline(always)]
    pub(super) const fn to_halves(self) -> [u32; 2] {
        [self.0 as u32, (self.0 >> 32) as u32]
    }

    /// The reverse of [`Place::to_halves`].
    #[inline(always)]
    pub(super) const fn from_halves([low, high]: [u32; 2]) -> Self {
        Self(low as u64 | (high as u64) << 32)
    }

    /// For the `Debug` of packets: what is where, not the bytes.
    pub(super) fn describe(self, name: &str, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct(name)
            .field("buffer", &self.index())
            .field("offset", &self.offset())
            .field("len", &self.len())
            .field("flags", &self.flags())
            .finish()
    }
}
