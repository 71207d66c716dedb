//! The memory of an arena, as the operating system (or, for tests, the heap) gives it.

use core::ffi::c_void;
use core::ptr::{self, NonNull};
use std::alloc::{self, Layout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::Duration;

use rustix::fs::{self, MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{self, Advice, MapFlags, ProtFlags};

use super::{ArenaError, HugePages};

/// What a mapping's base is aligned to at least: a small page.
pub(super) const ALIGN: usize = 4096;

const HUGE: usize = 2 << 20;

/// What an arena's memory is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageKind {
    /// 2 MiB pages that the administrator set aside.
    Huge,
    /// Small pages that the kernel joined to 2 MiB ones.
    Transparent,
    /// 4 KiB pages: every access to a large table costs a second miss, that of its page table entry.
    Small,
    /// The heap's memory.
    Heap,
}

/// A run of zeroed memory, given back when dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// As returned by the call that made it: all other pointers are derived from this one.
    base: NonNull<u8>,
    bytes: usize,
    page_kind: PageKind,
    /// Keeps the memory's file open, to be handed on. `None` on the heap.
    file: Option<OwnedFd>,
}

impl Mapping {
    pub(super) fn new(bytes: usize, name: &str, huge_pages: HugePages) -> Result<Self, ArenaError> {
        Self::with_seals(bytes, name, huge_pages, SealFlags::empty())
    }

    /// Memory whose file another process is to be given: its size is fixed for ever, so that nobody who has the file
    /// can take pages from under those who have mapped it.
    pub(crate) fn sealed(bytes: usize, name: &str) -> Result<Self, ArenaError> {
        let fixed = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        Self::with_seals(bytes, name, HugePages::Auto, fixed)
    }

    fn with_seals(
        bytes: usize,
        name: &str,
        huge_pages: HugePages,
        seals: SealFlags,
    ) -> Result<Self, ArenaError> {
        match huge_pages {
            HugePages::Never => Self::small(bytes, name, false, seals),
            HugePages::Require => {
                let bytes = round_up(bytes, HUGE)?;
                Self::huge(bytes, name, seals).map_err(|source| ArenaError::NoHugePages { bytes, source })
            }
            HugePages::Auto => Self::huge(round_up(bytes, HUGE)?, name, seals)
                .or_else(|_| Self::small(bytes, name, true, seals)),
        }
    }

    /// Pages set aside. They are reserved by the mapping itself, so that there are enough or it fails.
    fn huge(bytes: usize, name: &str, seals: SealFlags) -> Result<Self, Errno> {
        let flags = MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
        let file = memory_file(name, flags, seals)?;
        fs::ftruncate(&file, bytes as u64)?;
        seal(&file, seals)?;
        let mapping = Self::of_file(file, bytes, PageKind::Huge)?;
        mapping.fault_in()?;
        Ok(mapping)
    }

    /// Small pages, joined if wanted and possible.
    fn small(bytes: usize, name: &str, join: bool, seals: SealFlags) -> Result<Self, ArenaError> {
        let join = join && bytes >= HUGE;
        let bytes = round_up(bytes, if join { HUGE } else { ALIGN })?;
        let failed = |call| move |source| ArenaError::Os { call, bytes, source };
        let file = memory_file(name, MemfdFlags::empty(), seals).map_err(failed("memfd_create"))?;
        fs::ftruncate(&file, bytes as u64).map_err(failed("ftruncate"))?;
        seal(&file, seals).map_err(failed("fcntl"))?;
        let mut mapping = Self::of_file(file, bytes, PageKind::Small).map_err(failed("mmap"))?;
        if join && mapping.join() {
            mapping.page_kind = PageKind::Transparent;
        }
        mapping.fault_in().map_err(failed("madvise"))?;
        Ok(mapping)
    }

    /// Maps the file at a multiple of [`HUGE`], which joining pages needs: more than enough address space is
    /// reserved, the file mapped inside it, the rest given back.
    fn of_file(file: OwnedFd, bytes: usize, page_kind: PageKind) -> Result<Self, Errno> {
        let reserved = bytes.checked_add(HUGE).ok_or(Errno::NOMEM)?;
        // SAFETY: needed to find room. An address of the kernel's choice, so nothing there is replaced.
        let room = unsafe {
            mm::mmap_anonymous(
                ptr::null_mut(),
                reserved,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }?;
        let before = room.align_offset(HUGE);
        let behind = HUGE - before;
        // SAFETY: needed to place the mapping. `before` is below `HUGE`, so `bytes` more stay inside the room.
        let at = unsafe { room.byte_add(before) };
        let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::FIXED);
        // SAFETY: needed to map memory. What it replaces is the room just reserved, that nobody else knows of.
        let base = unsafe { mm::mmap(at, bytes, prot, flags, &file, 0) };
        let base = match base {
            Ok(base) => base,
            Err(errno) => {
                // SAFETY: needed to give the room back, in which nothing was mapped.
                unsafe { mm::munmap(room, reserved) }?;
                return Err(errno);
            }
        };
        let base = NonNull::new(base.cast::<u8>()).ok_or(Errno::NOMEM)?;
        // From here on dropping gives the memory back.
        let mapping = Self { base, bytes, page_kind, file: Some(file) };
        if before > 0 {
            // SAFETY: needed to give back what lies before the mapping: reserved above, and not used.
            unsafe { mm::munmap(room, before) }?;
        }
        // SAFETY: needed to address the end of the room, at most `reserved` behind its start.
        let rest = unsafe { at.byte_add(bytes) };
        // SAFETY: needed to give back what lies behind the mapping, which is not empty: `before` is below `HUGE`.
        unsafe { mm::munmap(rest, behind) }?;
        Ok(mapping)
    }

    /// Zeroed memory of the heap.
    pub(super) fn heap(bytes: usize) -> Result<Self, ArenaError> {
        let no_memory = ArenaError::Os { call: "malloc", bytes, source: Errno::NOMEM };
        let Some(layout) = heap_layout(bytes) else { return Err(no_memory) };
        // SAFETY: needed for zeroed and aligned memory; the layout is not empty, an arena has a header at least.
        let base = unsafe { alloc::alloc_zeroed(layout) };
        let Some(base) = NonNull::new(base) else { return Err(no_memory) };
        Ok(Self { base, bytes: layout.size(), page_kind: PageKind::Heap, file: None })
    }

    /// Makes 2 MiB pages of the small ones, whatever the administrator's setting for shared memory is
    /// (`MADV_COLLAPSE`, Linux 6.1). A range that has no page at all is not joined, one with a single page is, and
    /// many times faster than one with all of them: nothing need be copied.
    fn join(&self) -> bool {
        // A hint for the faults to come, which not every kernel takes.
        // SAFETY: needed to advise on our own mapping; the advice does not change its contents.
        let _ = unsafe { mm::madvise(self.address(), self.bytes, Advice::LinuxHugepage) };
        self.touch(HUGE);
        // SAFETY: needed for an advice that `rustix` does not name. It moves our own mapping's contents to other
        // pages and does not change them.
        unsafe { libc::madvise(self.address(), self.bytes, libc::MADV_COLLAPSE) == 0 }
    }

    /// Gives every page its memory now (`MADV_POPULATE_WRITE`, Linux 5.14), or writes to each.
    ///
    /// A page may be refused for a moment only, while memory is being reclaimed or joined: what is missing is missing
    /// still when asked for a few times more.
    fn fault_in(&self) -> Result<(), Errno> {
        const TRIES: u32 = 5;
        const PAUSE: Duration = Duration::from_millis(20);
        let mut tries = 1;
        loop {
            // SAFETY: needed to advise on our own mapping; the advice does not change its contents.
            match unsafe { mm::madvise(self.address(), self.bytes, Advice::LinuxPopulateWrite) } {
                Err(Errno::INVAL) => {
                    self.touch(ALIGN);
                    return Ok(());
                }
                Err(Errno::NOMEM | Errno::AGAIN) if tries < TRIES => {
                    tries += 1;
                    thread::sleep(PAUSE);
                }
                other => return other,
            }
        }
    }

    /// Writes to the first page of every `stride` bytes.
    fn touch(&self, stride: usize) {
        for offset in (0..self.bytes).step_by(stride) {
            // SAFETY: needed to address the page, which lies within the mapping.
            let page = unsafe { self.base.add(offset) };
            // SAFETY: needed to write where the compiler sees no use for it. The mapping is new and ours, and
            // holds zeros.
            unsafe { page.write_volatile(0) };
        }
    }

    pub(crate) const fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) const fn page_kind(&self) -> PageKind {
        self.page_kind
    }

    pub(crate) fn file(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    /// A memory file's blocks are the pages it has.
    pub(super) fn resident_bytes(&self) -> usize {
        const BLOCK: usize = 512;
        let stat = self.file.as_ref().map(fs::fstat);
        stat.and_then(Result::ok).map_or(self.bytes, |stat| stat.st_blocks as usize * BLOCK)
    }

    const fn address(&self) -> *mut c_void {
        self.base.as_ptr().cast()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.file.is_some() {
            // SAFETY: needed to give the memory back. Everything that points into it holds a share of `self`, and
            // the last share is gone. A failure would leave it mapped, which harms nobody.
            let _ = unsafe { mm::munmap(self.address(), self.bytes) };
        } else if let Some(layout) = heap_layout(self.bytes) {
            // SAFETY: as above; the layout is the one it was allocated with (rounding up twice changes nothing).
            unsafe { alloc::dealloc(self.base.as_ptr(), layout) };
        }
    }
}

/// A new memory file, which takes seals only if there are any to come.
fn memory_file(name: &str, flags: MemfdFlags, seals: SealFlags) -> Result<OwnedFd, Errno> {
    let sealing = if seals.is_empty() { MemfdFlags::empty() } else { MemfdFlags::ALLOW_SEALING };
    fs::memfd_create(name, flags | sealing | MemfdFlags::CLOEXEC)
}

fn seal(file: &OwnedFd, seals: SealFlags) -> Result<(), Errno> {
    if seals.is_empty() { Ok(()) } else { fs::fcntl_add_seals(file, seals) }
}

fn heap_layout(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes.checked_next_multiple_of(ALIGN)?, ALIGN).ok()
}

fn round_up(bytes: usize, to: usize) -> Result<usize, ArenaError> {
    let too_much = ArenaError::Os { call: "mmap", bytes, source: Errno::NOMEM };
    bytes.checked_next_multiple_of(to).filter(|&bytes| bytes <= isize::MAX as usize).ok_or(too_much)
}
