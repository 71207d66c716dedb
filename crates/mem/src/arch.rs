//! What differs between processors: hints to the cache, and the counter of cycles.
//!
//! Sources: Intel SDM vol. 2 (PREFETCHT0, PREFETCHW, RDTSC), AMD APM vol. 3, Arm ARM (PRFM, CNTVCT_EL0). On other processors, and
//! under Miri, hints do nothing and cycles are nanoseconds.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The size of a cache line in bytes.
pub const CACHE_LINE: usize = 64;

/// Asks for the first cache line of `value`, to be read soon.
#[inline(always)]
pub fn prefetch_read<T: ?Sized>(value: &T) {
    prefetch_address(core::ptr::from_ref(value).cast());
}

/// Asks for the first cache line of `slice[index]`. An index beyond the slice is no error: a hint is not an access.
#[inline(always)]
pub fn prefetch_index<T>(slice: &[T], index: usize) {
    prefetch_address(slice.as_ptr().wrapping_add(index).cast());
}

/// Asks for the first `lines` cache lines of `slice[index]`.
#[inline(always)]
pub fn prefetch_lines<T>(slice: &[T], index: usize, lines: usize) {
    let first = slice.as_ptr().wrapping_add(index).cast::<u8>();
    for line in 0..lines {
        prefetch_address(first.wrapping_add(line * CACHE_LINE));
    }
}

/// Asks for the cache line at an address, whatever is there: a hint is not an access.
#[inline(always)]
pub fn prefetch_pointer(address: *const u8) {
    prefetch_address(address);
}

/// Asks for the cache line at an address, to be written: other cores lose it. Whatever is there: a hint is not an
/// access.
#[inline(always)]
pub fn prefetch_pointer_to_write(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: needed for the instruction, which does nothing on the few x86-64 that lack it. It never faults, whatever
    // the address, and changes nothing one can see.
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: as in `prefetch_address`.
    unsafe {
        core::arch::asm!("prfm pstl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = address;
}

#[inline(always)]
fn prefetch_address(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: needed for the instruction, which every x86-64 has. It never faults, whatever the address.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: needed for the instruction. It never faults, whatever the address, and changes nothing one can see.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = address;
}

/// A count of cycles that advances at [`cycles_per_second`], the same on all cores of a machine with an invariant
/// counter. It is for measuring: it does not wait for the instructions before it.
#[inline(always)]
pub fn cycles() -> u64 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: needed for the instruction, which user code may execute unless its kernel forbids it, and Linux does
    // not.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    {
        let count: u64;
        // SAFETY: needed for the register, which Linux lets user code read. It touches no memory.
        unsafe {
            core::arch::asm!("mrs {}, cntvct_el0", out(reg) count, options(nomem, nostack, preserves_flags))
        };
        count
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }
}

/// How fast [`cycles`] counts, measured against the system's clock on the first call, which takes 20 ms.
pub fn cycles_per_second() -> u64 {
    static RATE: OnceLock<u64> = OnceLock::new();
    *RATE.get_or_init(|| measure(Duration::from_millis(20)))
}

/// Counts cycles for at least `span`.
fn measure(span: Duration) -> u64 {
    let (start, start_cycles) = both_clocks();
    std::thread::sleep(span);
    let (end, end_cycles) = both_clocks();
    let counted = u128::from(end_cycles.wrapping_sub(start_cycles));
    let elapsed_ns = end.duration_since(start).as_nanos().max(1);
    (counted * 1_000_000_000 / elapsed_ns) as u64
}

/// The system's clock and the count at the same instant: of several readings the one that was least interrupted.
fn both_clocks() -> (Instant, u64) {
    let mut best = (Instant::now(), cycles());
    let mut shortest = u64::MAX;
    for _ in 0..16 {
        let (before, clock, after) = (cycles(), Instant::now(), cycles());
        let took = after.wrapping_sub(before);
        if took < shortest {
            shortest = took;
            best = (clock, before.wrapping_add(took / 2));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_take_any_index() {
        let values = [1_u64, 2, 3];
        prefetch_read(&values);
        prefetch_read("");
        prefetch_read::<[u8]>(&[]);
        prefetch_index(&values, 2);
        prefetch_index(&values, usize::MAX);
        prefetch_lines(&values, 1 << 40, 4);
        prefetch_pointer(core::ptr::null());
        prefetch_pointer_to_write(core::ptr::null());
    }

    #[test]
    fn cycles_advance_at_the_rate_measured() {
        let rate = cycles_per_second();
        assert_eq!(rate, cycles_per_second());
        let again = measure(Duration::from_millis(50));
        assert!(rate.abs_diff(again) < rate / 20, "{rate} a second, then {again}");
    }
}
