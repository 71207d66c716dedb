//! What an arena says of itself: the first 8 KiB.
//!
//! ```text
//!        0        8       12       16       24       32             64           128
//!      0 ├────────┼────────┼────────┼────────┼────────┼──────────────┼────────────┤
//!        │ magic  │version │sections│ bytes  │ used   │ name         │ section 0  │
//!    128 ├────────┴────────┴────────┴────────┴────────┴──────────────┼────────────┤
//!        │ section 1                                                 │ section 2  │
//!        │ …                                                         │ … 126      │
//!   8192 └───────────────────────────────────────────────────────────┴────────────┘
//!
//!   a section:  │ tag, zero-padded (32) │ offset (8) │ element size (8) │ count (8) │ align (8) │
//! ```
//!
//! Numbers are in the machine's byte order. A reader that finds another version must not guess.

use core::ptr::NonNull;

use super::layout::SectionShape;

/// The size of the header with its table.
pub const BYTES: usize = 8192;

/// How many sections an arena can have.
pub const MAX_SECTIONS: usize = 127;

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"FREEWAY\0";

/// The version of this layout. It changes whenever a reader of the old one would misread the new one.
pub const VERSION: u32 = 1;

const NAME_BYTES: usize = 32;

#[derive(Clone, Copy)]
#[repr(C)]
struct Head {
    magic: [u8; 8],
    version: u32,
    sections: u32,
    bytes: u64,
    used: u64,
    name: [u8; NAME_BYTES],
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Entry {
    tag: [u8; NAME_BYTES],
    offset: u64,
    element: u64,
    count: u64,
    align: u64,
}

const _: () = assert!(size_of::<Head>() == 64);
const _: () = assert!(size_of::<Head>() + MAX_SECTIONS * size_of::<Entry>() == BYTES);

/// One section, as the table lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// What it was called, cut to 32 bytes.
    pub tag: String,
    /// Where it begins, in bytes from the start of the arena.
    pub offset: u64,
    /// The size of an element in bytes.
    pub element: u64,
    /// How many elements.
    pub count: u64,
    /// What `offset` is a multiple of.
    pub align: u64,
}

/// The header of a live arena.
#[derive(Clone, Copy)]
pub(super) struct HeaderPtr(NonNull<u8>);

impl HeaderPtr {
    /// # Safety
    ///
    /// `base` begins [`BYTES`] bytes, aligned for [`Head`] and initialised, that only this arena's methods touch
    /// while the value is in use.
    pub(super) const unsafe fn new(base: NonNull<u8>) -> Self {
        Self(base)
    }

    pub(super) fn write_head(self, bytes: usize, used: usize, name: &str) {
        let head = Head {
            magic: MAGIC,
            version: VERSION,
            sections: 0,
            bytes: bytes as u64,
            used: used as u64,
            name: padded(name),
        };
        // SAFETY: needed to lay a struct over mapped bytes. By `new`'s contract they are there, aligned, and ours.
        unsafe { self.head().write(head) };
    }

    pub(super) fn write_used(self, sections: usize, used: usize) {
        // SAFETY: as in `write_head`, which has filled it.
        let mut head = unsafe { self.head().read() };
        head.sections = sections as u32;
        head.used = used as u64;
        // SAFETY: as in `write_head`.
        unsafe { self.head().write(head) };
    }

    pub(super) fn write_section(self, index: usize, tag: &str, offset: usize, shape: &SectionShape) {
        let entry = Entry {
            tag: padded(tag),
            offset: offset as u64,
            element: shape.element as u64,
            count: shape.count as u64,
            align: shape.align as u64,
        };
        // SAFETY: as in `write_head`; `entry` stays inside the table.
        unsafe { self.entry(index).write(entry) };
    }

    pub(super) fn read_section(self, index: usize) -> Section {
        // SAFETY: as in `write_head`; any bytes make an `Entry`.
        let Entry { tag, offset, element, count, align } = unsafe { self.entry(index).read() };
        let end = tag.iter().position(|&byte| byte == 0).unwrap_or(tag.len());
        Section { tag: String::from_utf8_lossy(&tag[..end]).into_owned(), offset, element, count, align }
    }

    const fn head(self) -> NonNull<Head> {
        self.0.cast()
    }

    /// The table's entry `index`, which must be below [`MAX_SECTIONS`]: checked, for this is no hot path.
    fn entry(self, index: usize) -> NonNull<Entry> {
        assert!(index < MAX_SECTIONS, "an arena's table has {MAX_SECTIONS} entries");
        // SAFETY: needed to address the table. The offset is below `BYTES`, which `new` was promised.
        unsafe { self.0.add(size_of::<Head>() + index * size_of::<Entry>()) }.cast()
    }
}

/// The first bytes of `text`, with zeros behind.
fn padded(text: &str) -> [u8; NAME_BYTES] {
    let mut bytes = [0; NAME_BYTES];
    let len = text.len().min(NAME_BYTES);
    bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
    bytes
}
