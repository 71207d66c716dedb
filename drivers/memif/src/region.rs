//! Memory shared with the peer: mapped, addressed within bounds, never referred to.
//!
//! The peer may write to any byte at any moment. So no reference to shared bytes is ever made: they are copied in or
//! out through a [`Span`], or (ring indices and descriptors) read and written as atomics by [`Ring`](crate::ring::Ring).
//! What was copied is checked afterwards, and read a second time only to be checked a second time.
//!
//! What can be wrong with a file, and why it would hurt:
//!
//! - It is shorter than was said, or is shortened later: touching a page behind its end kills the process (SIGBUS). The
//!   size is compared, and a peer that is not trusted must have sealed it (`F_SEAL_SHRINK`).
//! - It has huge pages: with a hole punched and no huge page left, touching it kills the process too. Only a trusted
//!   peer may bring them.
//! - It is no memory file: reading it may take as long as a file system likes. As before.

use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use std::os::fd::{AsFd, OwnedFd};

use freeway_mem::arch;
use rustix::fs::{
    FileType, MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, fstatfs, ftruncate,
    memfd_create,
};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::config::Trust;
use crate::reason::Reason;

/// `HUGETLBFS_MAGIC` of linux/magic.h.
const HUGETLBFS: u32 = 0x9584_58f6;

/// One mapped file.
#[derive(Debug)]
struct Region {
    /// As `mmap` returned it, for `bytes` bytes.
    base: NonNull<u8>,
    bytes: usize,
}

/// All memory of one connection, in the order of the regions' numbers.
#[derive(Debug)]
pub(crate) struct Regions {
    regions: Box<[Region]>,
}

// SAFETY: needed because connections are set up on one thread and used on others. The mappings belong to no thread,
// and their bytes are reached by copies and atomics only, which expect to be raced (by another process, so by another
// thread as well).
unsafe impl Send for Regions {}
// SAFETY: as above; `&Regions` gives nothing but spans.
unsafe impl Sync for Regions {}

impl Regions {
    /// Maps files a peer has given, of the sizes it has said.
    pub(crate) fn map(files: &[(u64, OwnedFd)], trust: Trust) -> Result<Self, Reason> {
        let regions: Result<Box<[_]>, _> =
            files.iter().map(|(bytes, file)| Region::of_peer(file, *bytes, trust)).collect();
        Ok(Self { regions: regions? })
    }

    /// Makes a region of `bytes` bytes, which is zero, and returns its file for the peer; sealed, so that the peer
    /// cannot shorten it either.
    pub(crate) fn create(bytes: usize) -> Result<(Self, OwnedFd), Errno> {
        let file = memfd_create("freeway memif", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, bytes as u64)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let region = Region::map(&file, bytes, MapFlags::POPULATE)?;
        Ok((Self { regions: Box::new([region]) }, file))
    }

    /// The bytes that a descriptor names. `None` if they are not all inside a region.
    #[inline(always)]
    pub(crate) fn span(&self, region: u16, offset: u32, len: u32) -> Option<Span<'_>> {
        let region = self.regions.get(usize::from(region))?;
        let end = offset as usize + len as usize;
        if end > region.bytes {
            return None;
        }
        // SAFETY: needed to address the region. The offset is within it, or at its end.
        let at = unsafe { region.base.add(offset as usize) };
        Some(Span { at, len: len as usize, memory: PhantomData })
    }
}

impl Region {
    fn of_peer(file: &OwnedFd, bytes: u64, trust: Trust) -> Result<Self, Reason> {
        let stat = fstat(file).map_err(|_| Reason::RegionKind)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Reason::RegionKind);
        }
        if trust == Trust::None {
            let seals = fcntl_get_seals(file).map_err(|_| Reason::RegionKind)?;
            let system = fstatfs(file).map_err(|_| Reason::RegionKind)?;
            if !seals.contains(SealFlags::SHRINK) || system.f_type as u32 == HUGETLBFS {
                return Err(Reason::RegionKind);
            }
        }
        let size = u64::try_from(stat.st_size).map_err(|_| Reason::RegionSize)?;
        let bytes = usize::try_from(bytes).ok().filter(|_| bytes <= size).ok_or(Reason::RegionSize)?;
        Self::map(file, bytes, MapFlags::empty()).map_err(|_| Reason::RegionMap)
    }

    fn map(file: &OwnedFd, bytes: usize, flags: MapFlags) -> Result<Self, Errno> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: needed to share memory. The address is the kernel's choice, so that nothing is replaced, and nothing
        // but the result leads there. A size of zero is an error.
        let base = unsafe { mmap(ptr::null_mut(), bytes, prot, MapFlags::SHARED | flags, file.as_fd(), 0) }?;
        let base = NonNull::new(base.cast::<u8>()).ok_or(Errno::NOMEM)?;
        Ok(Self { base, bytes })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: needed to give the address space back. Spans and rings, the only ways there, borrow or hold the
        // regions. A failure would leave it mapped, which harms nobody.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

/// Shared bytes that may be copied, within their bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span<'a> {
    /// `len` mapped bytes begin here.
    at: NonNull<u8>,
    len: usize,
    /// The mapping outlives the span.
    memory: PhantomData<&'a Regions>,
}

impl Span<'_> {
    #[inline(always)]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Where it begins, for a ring to be laid over it.
    pub(crate) const fn start(&self) -> NonNull<u8> {
        self.at
    }

    /// Asks for the frame's first lines, to be read.
    #[inline(always)]
    pub(crate) fn prefetch(&self) {
        first_lines(self.at.as_ptr(), self.len, arch::prefetch_pointer);
    }

    /// Asks for the lines that the beginning of a frame of `len` bytes will be written to.
    #[inline(always)]
    pub(crate) fn prefetch_to_write(&self, len: usize) {
        first_lines(self.at.as_ptr(), len, arch::prefetch_pointer_to_write);
    }

    /// Copies the first bytes out, as many as there are and `into` has room for. They may be any bytes: the peer may
    /// be writing.
    #[inline(always)]
    pub(crate) fn copy_to(&self, into: &mut [u8]) {
        let count = into.len().min(self.len);
        // SAFETY: needed to read memory that may change meanwhile, which no reference may stand for. Both sides have
        // `count` bytes; `into` is borrowed for writing, so it is no shared memory that a span names (a trusted peer's
        // descriptors aside, which name buffers of nobody else). Any bytes are a `u8`.
        unsafe { ptr::copy_nonoverlapping(self.at.as_ptr(), into.as_mut_ptr(), count) };
    }

    /// Copies `from` in, as far as there is room.
    #[inline(always)]
    pub(crate) fn copy_from(&self, from: &[u8]) {
        let count = from.len().min(self.len);
        // SAFETY: needed to write memory that others may read meanwhile; as in `copy_to`.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), self.at.as_ptr(), count) };
    }
}

/// Asks for the cache lines of a frame's headers and of a short request: two at most, and no more than the frame fills.
#[inline(always)]
pub(crate) fn first_lines(at: *const u8, len: usize, prefetch: impl Fn(*const u8)) {
    prefetch(at);
    if at.addr() % arch::CACHE_LINE + len > arch::CACHE_LINE {
        prefetch(at.wrapping_add(arch::CACHE_LINE));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs::File;

    use super::*;

    fn memory_file(bytes: u64, seals: SealFlags) -> OwnedFd {
        let file = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&file, bytes).unwrap();
        fcntl_add_seals(&file, seals).unwrap();
        file
    }

    fn refused(file: OwnedFd, bytes: u64, trust: Trust) -> Option<Reason> {
        Regions::map(&[(bytes, file)], trust).err()
    }

    #[test]
    fn spans_end_where_their_region_does() {
        let (regions, _file) = Regions::create(8_192).unwrap();
        assert_eq!(regions.span(0, 0, 8_192).unwrap().len(), 8_192);
        assert!(regions.span(0, 8_192, 0).is_some());
        for (region, offset, len) in [
            (0, 0, 8_193),
            (0, 8_193, 0),
            (0, 1, 8_192),
            (0, u32::MAX, u32::MAX),
            (1, 0, 1),
            (u16::MAX, 0, 0),
        ] {
            assert!(regions.span(region, offset, len).is_none(), "{region} {offset} {len}");
        }
    }

    #[test]
    fn bytes_copied_in_are_seen_by_the_peer() {
        let (ours, file) = Regions::create(4_096).unwrap();
        let theirs = Regions::map(&[(4_096, file)], Trust::None).unwrap();
        ours.span(0, 100, 5).unwrap().copy_from(b"frame and more");
        let mut bytes = [b'-'; 8];
        theirs.span(0, 99, 7).unwrap().copy_to(&mut bytes);
        assert_eq!(&bytes, b"\0frame\0-");
    }

    #[test]
    fn files_that_could_kill_the_reader_are_refused() {
        let none = SealFlags::empty();
        assert_eq!(refused(memory_file(4_096, none), 4_096, Trust::None), Some(Reason::RegionKind));
        assert_eq!(refused(memory_file(4_096, none), 4_096, Trust::Full), None);
        assert_eq!(
            refused(memory_file(4_096, SealFlags::GROW), 4_096, Trust::None),
            Some(Reason::RegionKind)
        );
        assert_eq!(refused(memory_file(4_096, SealFlags::SHRINK), 4_096, Trust::None), None);
        for trust in [Trust::None, Trust::Full] {
            let short = memory_file(4_096, SealFlags::SHRINK);
            assert_eq!(refused(short, 4_097, trust), Some(Reason::RegionSize));
            let device: OwnedFd = File::open("/dev/null").unwrap().into();
            assert_eq!(refused(device, 4_096, trust), Some(Reason::RegionKind));
            let (read, _write) = std::io::pipe().unwrap();
            assert_eq!(refused(read.into(), 4_096, trust), Some(Reason::RegionKind));
            assert_eq!(refused(memory_file(0, SealFlags::SHRINK), 0, trust), Some(Reason::RegionMap));
        }
    }

    #[test]
    fn the_peer_cannot_shorten_what_it_is_given() {
        let (_regions, file) = Regions::create(8_192).unwrap();
        assert_eq!(ftruncate(&file, 4_096), Err(Errno::PERM));
        assert_eq!(fcntl_add_seals(&file, SealFlags::WRITE), Err(Errno::PERM));
    }
}
