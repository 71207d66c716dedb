//! The arena: sections, pages, lifetime.

#![allow(clippy::unwrap_used)]

use super::*;

#[repr(align(256))]
#[derive(Clone, Copy)]
struct Wide(u8);

fn map(bytes: usize, huge_pages: HugePages) -> Result<Arena, ArenaError> {
    Arena::map(&ArenaConfig { bytes, name: "freeway test", huge_pages })
}

#[test]
fn arrays_are_initialised_aligned_and_apart() {
    let mut arena = Arena::heap(64 << 10).unwrap();
    let mut bytes = arena.array("bytes", 100, |n| n as u8).unwrap();
    let mut wide = arena.array("wide", 3, |n| Wide(n as u8)).unwrap();
    let mut words = arena.array("words", 7, |n| n as u64).unwrap();
    let nothing = arena.array::<u32>("nothing", 0, |_| 0).unwrap();
    let units = arena.array("units", 9, |_| ()).unwrap();
    for address in
        [bytes.as_ptr().addr(), wide.as_ptr().addr(), words.as_ptr().addr(), nothing.as_ptr().addr()]
    {
        assert_eq!(address % 64, 0);
    }
    assert_eq!(wide.as_ptr().addr() % 256, 0);
    bytes.fill(1);
    words.fill(2);
    wide[2] = Wide(3);
    assert!(bytes.iter().all(|&byte| byte == 1) && words.iter().all(|&word| word == 2));
    assert_eq!((wide[0].0, wide[2].0, nothing.len(), units.len()), (0, 3, 0, 9));
}

#[test]
fn arrays_outlive_their_arena() {
    let mut arena = Arena::heap(16 << 10).unwrap();
    let mut array = arena.array("kept", 10, |n| n).unwrap();
    drop(arena);
    array[9] += 1;
    assert_eq!(array.iter().sum::<usize>(), 46);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut arena = Arena::heap(header::BYTES + 4096).unwrap();
    let free = arena.bytes_free();
    assert_eq!(free, 4096);
    assert!(matches!(
        arena.array("a", 4097, |_| 0_u8),
        Err(ArenaError::Full { tag: "a", needed: 4160, free: 4096 })
    ));
    for len in [usize::MAX, usize::MAX / 8, isize::MAX as usize] {
        assert!(matches!(arena.array("b", len, |_| 0_u64), Err(ArenaError::Full { .. })));
    }
    assert_eq!((arena.bytes_free(), arena.sections().count()), (free, 0));
    arena.array("c", 4096, |_| 0_u8).unwrap();
    assert_eq!(arena.bytes_free(), 0);
}

#[test]
fn the_table_of_sections_has_an_end() {
    let mut arena = Arena::heap(64 << 10).unwrap();
    for _ in 0..MAX_SECTIONS {
        arena.array("one of many", 1, |_| 0_u8).unwrap();
    }
    assert_eq!(arena.array("late", 1, |_| 0_u8).unwrap_err(), ArenaError::TooManySections { tag: "late" });
    assert_eq!(arena.sections().count(), MAX_SECTIONS);
}

#[test]
fn the_header_lists_the_sections() {
    let mut arena = Arena::heap(64 << 10).unwrap();
    arena.array("flow buckets", 5, |_| 0_u64).unwrap();
    arena.array("a name that is much longer than a tag may be", 1, |_| Wide(0)).unwrap();
    let sections: Vec<_> = arena.sections().collect();
    let first = Section { tag: "flow buckets".into(), offset: 8192, element: 8, count: 5, align: 64 };
    let tag = "a name that is much longer than ".into();
    assert_eq!(sections, [first, Section { tag, offset: 8448, element: 256, count: 1, align: 256 }]);
}

#[test]
fn a_layout_is_enough_in_any_order() {
    let pool = crate::PoolConfig { buffers: 3, ..Default::default() };
    let layout = ArenaLayout::new().array::<u8>(1).pool(&pool).array::<Wide>(3).array::<u64>(9).pool(&pool);
    for reversed in [false, true] {
        let mut arena = Arena::heap(layout.bytes()).unwrap();
        let pools =
            |arena: &mut Arena| (0..2).try_for_each(|_| crate::PacketPool::new(arena, &pool).map(drop));
        if reversed {
            pools(&mut arena).unwrap();
        }
        arena.array("a", 1, |_| 0_u8).unwrap();
        arena.array("b", 3, |_| Wide(0)).unwrap();
        arena.array("c", 9, |_| 0_u64).unwrap();
        if !reversed {
            pools(&mut arena).unwrap();
        }
    }
    assert_eq!(ArenaLayout::new().array::<u64>(usize::MAX).array::<u8>(9).bytes(), usize::MAX);
}

#[test]
fn heap_memory_that_cannot_be_is_refused() {
    assert!(matches!(Arena::heap(usize::MAX), Err(ArenaError::Os { .. })));
    assert!(matches!(map(usize::MAX, HugePages::Auto), Err(ArenaError::Os { .. })));
}

#[cfg(not(miri))]
mod mapped {
    #![allow(clippy::multiple_unsafe_ops_per_block)]

    use super::*;
    use rustix::fs;
    use rustix::mm::{self, MapFlags, ProtFlags};

    #[test]
    fn memory_is_zero_there_and_given_back() {
        for huge_pages in [HugePages::Never, HugePages::Auto] {
            for bytes in [1, 5000, (2 << 20) + 1, 6 << 20] {
                let mut arena = map(bytes, huge_pages).unwrap();
                assert!(arena.bytes() >= bytes.max(header::BYTES) && arena.bytes().is_multiple_of(4096));
                assert_eq!(arena.resident_bytes(), arena.bytes(), "{huge_pages:?}, {:?}", arena.page_kind());
                let pages = arena.bytes_free();
                let place = arena.carve("all", SectionShape::of::<u8>(pages)).unwrap();
                // SAFETY: needed to see raw memory; the section is that long, carved memory is initialised.
                let all = unsafe { core::slice::from_raw_parts(place.as_ptr(), pages) };
                assert!(all.iter().all(|&byte| byte == 0));
                assert_eq!(arena.bytes_free(), 0);
            }
        }
    }

    #[test]
    fn small_pages_stay_small_if_so_wished() {
        assert_eq!(map(4 << 20, HugePages::Never).unwrap().page_kind(), PageKind::Small);
    }

    #[test]
    fn required_huge_pages_are_huge_or_an_error() {
        match map(4 << 20, HugePages::Require) {
            Ok(arena) => assert_eq!((arena.page_kind(), arena.bytes()), (PageKind::Huge, 4 << 20)),
            Err(error) => {
                assert!(matches!(error, ArenaError::NoHugePages { bytes: 0x40_0000, .. }));
                assert!(error.to_string().ends_with("nr_hugepages to at least 2"), "{error}");
            }
        }
    }

    /// What a successor will do: map the file wherever the kernel likes, and find everything by the header.
    #[test]
    fn the_file_means_the_same_at_another_address() {
        let mut arena = map(1 << 20, HugePages::Never).unwrap();
        let array = arena.array("answers", 3, |n| 42 + n as u64).unwrap();
        let (section, bytes) = (arena.sections().next().unwrap(), arena.bytes());
        // SAFETY: needed for a second mapping, which is read while nobody writes.
        let view = unsafe {
            let file = arena.memory_file().unwrap();
            assert_eq!(fs::fstat(file).unwrap().st_size as usize, bytes);
            let at = core::ptr::null_mut();
            let view = mm::mmap(at, bytes, ProtFlags::READ, MapFlags::SHARED, file, 0).unwrap();
            core::slice::from_raw_parts(view.cast::<u8>(), bytes)
        };
        assert_ne!(view.as_ptr().cast(), array.as_ptr());
        assert_eq!(view[..8], header::MAGIC);
        assert_eq!(view[8..12], header::VERSION.to_ne_bytes());
        assert_eq!(view[12..16], 1_u32.to_ne_bytes());
        assert_eq!(view[16..24], (bytes as u64).to_ne_bytes());
        assert_eq!(&view[32..45], b"freeway test\0");
        assert_eq!(&view[64..72], b"answers\0");
        let at = section.offset as usize;
        assert_eq!(view[at + 16..at + 24], 44_u64.to_ne_bytes());
        // SAFETY: needed to give the second mapping back, which is not used any more.
        unsafe { mm::munmap(view.as_ptr().cast_mut().cast(), bytes).unwrap() };
    }
}
