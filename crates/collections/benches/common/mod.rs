//! What the three benchmarks share: sizes, an arena like a core's, and batches of random numbers.

#![allow(clippy::unwrap_used, dead_code)]

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use freeway_base::{Rng, Seed};
use freeway_mem::{Arena, ArenaConfig, ArenaLayout, HugePages};

/// Entries in the structure: within the first cache, past the last one, and the number the project is about.
pub const SIZES: [(&str, u32); 3] = [("1k", 1_000), ("1M", 1_000_000), ("10M", 10_000_000)];

/// Operations whose lines are asked for together.
pub const BATCH: usize = 32;

/// An arena for `layout`, on huge pages if there are any.
pub fn arena(layout: ArenaLayout) -> Arena {
    let config = ArenaConfig { bytes: layout.bytes(), name: "bench", huge_pages: HugePages::Auto };
    let arena = Arena::map(&config).unwrap();
    eprintln!("arena of {} MiB: {:?}", layout.bytes() >> 20, arena.page_kind());
    arena
}

/// A group that is measured for a second a figure, and reports the time of `elements` operations.
pub fn group<'a>(criterion: &'a mut Criterion, name: &str, elements: usize) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1))
        .throughput(Throughput::Elements(elements as u64));
    group
}

/// Draws whole batches of numbers.
pub struct Draw(Rng);

impl Draw {
    pub fn new() -> Self {
        Self(Rng::new(Seed(1)))
    }

    pub fn batch(&mut self, bound: u32) -> [u32; BATCH] {
        std::array::from_fn(|_| self.0.below(bound))
    }

    pub fn below(&mut self, bound: u32) -> u32 {
        self.0.below(bound)
    }
}

/// A hash computed from a number, so that no array of keys is read beside the structure under test.
pub const fn hash(n: u64) -> u64 {
    let mut mixed = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
