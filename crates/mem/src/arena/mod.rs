//! One core's memory, mapped at start and carved into sections.
//!
//! ```text
//!   0           8 KiB                                                       bytes
//!   ├──────────┬──────────┬──────┬─────────────┬─────────────┬─────────────┤
//!   │ header   │ section  │ pad  │ section     │ section     │ not carved  │
//!   │ + table  │          │      │             │             │             │
//!   └──────────┴──────────┴──────┴─────────────┴─────────────┴─────────────┘
//!                ▲ each begins on a cache line (buffers: on a 4 KiB page)
//! ```
//!
//! The memory is that of a memfd, so it does not die with a process that hands the file on, and it means the same
//! wherever it is mapped: sections hold indices, never pointers, and the [header] says what lies where.
//! Sections are carved once, in order, and never given back: the arena of a core is as old as the core.
//!
//! Pages are of 2 MiB if the machine has any set aside; else 4 KiB pages that the kernel is asked to join
//! (`MADV_COLLAPSE`, Linux 6.1); else as they are. All are faulted in before [`Arena::map`] returns, so that no
//! page fault, and no lack of memory, shows up later.

mod array;
pub mod header;
mod layout;
mod mapping;

use core::ptr::NonNull;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use thiserror::Error;

pub use array::Array;
use header::{HeaderPtr, MAX_SECTIONS, Section};
pub use layout::ArenaLayout;
pub(crate) use layout::SectionShape;
pub(crate) use mapping::Mapping;
pub use mapping::PageKind;

/// Which pages an arena may be made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HugePages {
    /// The largest there are. The default.
    #[default]
    Auto,
    /// 4 KiB pages.
    Never,
    /// 2 MiB pages set aside by the administrator, or an error.
    Require,
}

/// What [`Arena::map`] is to map.
#[derive(Clone, Copy, Debug)]
pub struct ArenaConfig<'a> {
    /// How much, in bytes; rounded up to whole pages. [`ArenaLayout`] adds it up.
    pub bytes: usize,
    /// The memory's name, seen in `/proc/PID/maps`; its first 31 bytes stand in the header too.
    pub name: &'a str,
    /// The pages to use.
    pub huge_pages: HugePages,
}

/// Why an arena, or a section in it, could not be made.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ArenaError {
    /// The operating system refused.
    #[error("{call} of {bytes} bytes: {source}")]
    Os {
        /// The system call.
        call: &'static str,
        /// What was asked for.
        bytes: usize,
        /// Its answer.
        source: rustix::io::Errno,
    },
    /// [`HugePages::Require`] and not enough of them.
    #[error("{bytes} bytes of 2 MiB pages: {source}; set /proc/sys/vm/nr_hugepages to at least {}", bytes >> 21)]
    NoHugePages {
        /// What was asked for, rounded up to whole pages.
        bytes: usize,
        /// What the operating system answered.
        source: rustix::io::Errno,
    },
    /// The section does not fit in what is left.
    #[error("section {tag:?} needs {needed} bytes, {free} are left in the arena")]
    Full {
        /// The section.
        tag: &'static str,
        /// What it needs, padding included; `usize::MAX` when more than can be counted.
        needed: usize,
        /// What is left.
        free: usize,
    },
    /// The header's table is full.
    #[error("section {tag:?} is one too many: an arena has at most {MAX_SECTIONS}")]
    TooManySections {
        /// The section.
        tag: &'static str,
    },
    /// A pool's sizes make no sense.
    #[error("packet pool: {0}")]
    BadPool(&'static str),
}

/// A core's memory. See the [module](self) for its layout.
#[derive(Debug)]
pub struct Arena {
    mapping: Rc<Mapping>,
    /// Where the next section may begin.
    used: usize,
    sections: usize,
}

impl Arena {
    /// Maps memory and faults it in.
    ///
    /// # Errors
    ///
    /// Not enough memory, or no huge pages where they were required.
    pub fn map(config: &ArenaConfig<'_>) -> Result<Self, ArenaError> {
        let mapping = Mapping::new(config.bytes.max(header::BYTES), config.name, config.huge_pages)?;
        Ok(Self::over(mapping, config.name))
    }

    /// An arena in ordinary memory: for Miri, which knows no mappings, and for small tests.
    ///
    /// # Errors
    ///
    /// Not enough memory.
    pub fn heap(bytes: usize) -> Result<Self, ArenaError> {
        Ok(Self::over(Mapping::heap(bytes.max(header::BYTES))?, "heap"))
    }

    fn over(mapping: Mapping, name: &str) -> Self {
        let arena = Self { mapping: Rc::new(mapping), used: header::BYTES, sections: 0 };
        arena.header().write_head(arena.mapping.bytes(), arena.used, name);
        arena
    }

    /// Carves an array of `len` elements, element `n` being `init(n)`. `tag` names it in the header.
    ///
    /// `T` must not need dropping (checked when compiled), and must not hold pointers or references, which would
    /// mean nothing to the next process.
    ///
    /// # Errors
    ///
    /// [`ArenaError::Full`] or [`ArenaError::TooManySections`].
    pub fn array<T: 'static>(
        &mut self,
        tag: &'static str,
        len: usize,
        init: impl FnMut(usize) -> T,
    ) -> Result<Array<T>, ArenaError> {
        const { assert!(!core::mem::needs_drop::<T>(), "what lies in an arena is never dropped") }
        const { assert!(align_of::<T>() <= mapping::ALIGN, "an arena's base is aligned to a page") }
        let place = self.carve(tag, SectionShape::of::<T>(len))?.cast::<T>();
        // SAFETY: needed to turn a carved section into typed memory. `place` begins `len` elements of `T` (that is
        // the shape carved), is aligned for it, and is given to nobody else; the mapping goes along.
        Ok(unsafe { Array::init(Rc::clone(&self.mapping), place, len, init) })
    }

    /// Takes the next section of this shape and lists it in the header. Its bytes are zero.
    pub(crate) fn carve(
        &mut self,
        tag: &'static str,
        shape: SectionShape,
    ) -> Result<NonNull<u8>, ArenaError> {
        let free = self.bytes_free();
        let fits = shape.place(self.used).filter(|place| place.end <= self.mapping.bytes());
        let Some(place) = fits else {
            return Err(ArenaError::Full { tag, needed: shape.bytes_at_most().unwrap_or(usize::MAX), free });
        };
        if self.sections == MAX_SECTIONS {
            return Err(ArenaError::TooManySections { tag });
        }
        self.used = place.end;
        self.header().write_section(self.sections, tag, place.start, &shape);
        self.sections += 1;
        self.header().write_used(self.sections, self.used);
        // SAFETY: needed to address the section. `place` ends within the mapping.
        Ok(unsafe { self.mapping.base().add(place.start) })
    }

    /// What is left to carve, in bytes.
    pub fn bytes_free(&self) -> usize {
        self.mapping.bytes() - self.used
    }

    /// The size of the whole mapping in bytes.
    pub fn bytes(&self) -> usize {
        self.mapping.bytes()
    }

    /// How much of the mapping is in memory, in bytes: all of it, unless something is wrong.
    pub fn resident_bytes(&self) -> usize {
        self.mapping.resident_bytes()
    }

    /// What its pages are.
    pub fn page_kind(&self) -> PageKind {
        self.mapping.page_kind()
    }

    /// The sections carved so far, in order, as the header lists them.
    pub fn sections(&self) -> impl Iterator<Item = Section> + '_ {
        (0..self.sections).map(|index| self.header().read_section(index))
    }

    /// The file behind the memory: what a successor is given. `None` for an arena on the heap.
    ///
    /// # Safety
    ///
    /// Whoever writes through the file writes into live arrays and packets. Only somebody who reads, or who waits
    /// until this process has let go of the arena, may use it.
    pub unsafe fn memory_file(&self) -> Option<BorrowedFd<'_>> {
        self.mapping.file()
    }

    pub(crate) fn mapping(&self) -> &Rc<Mapping> {
        &self.mapping
    }

    fn header(&self) -> HeaderPtr {
        // SAFETY: needed to reach the header. The mapping holds at least `header::BYTES`, is aligned to a page, and
        // its first `header::BYTES` belong to this arena alone: sections begin behind them.
        unsafe { HeaderPtr::new(self.mapping.base()) }
    }
}

pub(crate) type SharedMapping = Rc<Mapping>;

#[cfg(test)]
mod tests;
