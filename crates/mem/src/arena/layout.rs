//! How large sections are, and how large an arena for them must be.

use core::ops::Range;

use super::header;
use crate::pool::PoolConfig;

/// A cache line: what every section is aligned to at least.
const LINE: usize = 64;

/// One section's elements and where it may begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SectionShape {
    pub(crate) element: usize,
    pub(crate) count: usize,
    pub(crate) align: usize,
}

impl SectionShape {
    pub(crate) const fn of<T>(count: usize) -> Self {
        let align = if align_of::<T>() > LINE { align_of::<T>() } else { LINE };
        Self { element: size_of::<T>(), count, align }
    }

    /// Where the section lies if the first free byte is at `used`. `None` when that cannot be counted.
    pub(crate) fn place(&self, used: usize) -> Option<Range<usize>> {
        let start = used.checked_next_multiple_of(self.align)?;
        let end = start.checked_add(self.element.checked_mul(self.count)?)?;
        (end <= isize::MAX as usize).then_some(start..end)
    }

    /// The bytes it takes wherever it begins.
    pub(crate) fn bytes_at_most(&self) -> Option<usize> {
        let bytes = self.element.checked_mul(self.count)?;
        bytes.checked_next_multiple_of(LINE)?.checked_add(self.align - LINE)
    }
}

/// Adds up what an arena must hold, in any order, before it is mapped.
///
/// ```
/// use freeway_mem::{Arena, ArenaLayout, PacketPool, PoolConfig};
///
/// let config = PoolConfig { buffers: 16, ..PoolConfig::default() };
/// let layout = ArenaLayout::new().array::<u64>(100).pool(&config);
/// let mut arena = Arena::heap(layout.bytes())?;
/// arena.array::<u64>("numbers", 100, |n| n as u64)?;
/// PacketPool::new(&mut arena, &config)?;
/// # Ok::<(), freeway_mem::ArenaError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct ArenaLayout {
    bytes: usize,
}

impl ArenaLayout {
    /// A layout of nothing but the header.
    pub const fn new() -> Self {
        Self { bytes: header::BYTES }
    }

    /// And an array of `len` elements.
    pub fn array<T: 'static>(self, len: usize) -> Self {
        self.section(&SectionShape::of::<T>(len))
    }

    /// And a packet pool.
    pub fn pool(self, config: &PoolConfig) -> Self {
        config.sections().iter().fold(self, |layout, (_, shape)| layout.section(shape))
    }

    /// The sum, in bytes. More than can be counted stays at `usize::MAX`, which no machine maps.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    fn section(self, shape: &SectionShape) -> Self {
        Self { bytes: self.bytes.saturating_add(shape.bytes_at_most().unwrap_or(usize::MAX)) }
    }
}

impl Default for ArenaLayout {
    fn default() -> Self {
        Self::new()
    }
}
