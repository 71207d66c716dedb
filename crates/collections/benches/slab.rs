//! Slab of 128-byte entries, full: random access, and entries that go and come.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::hint::black_box;

use common::{BATCH, Draw, SIZES, arena, group};
use criterion::{Criterion, criterion_group, criterion_main};
use freeway_collections::Slab;
use freeway_mem::ArenaLayout;

/// Two cache lines, like a connection.
#[derive(Clone, Copy)]
#[repr(align(128))]
struct Entry([u64; 16]);

impl Entry {
    fn first_line(&self) -> u64 {
        self.0[3]
    }

    fn both_lines(&self) -> u64 {
        self.0[3] + self.0[11]
    }
}

fn full_slab(capacity: u32) -> Slab<Entry> {
    let mut arena = arena(Slab::<Entry>::plan(ArenaLayout::new(), capacity));
    let mut slab = Slab::new(&mut arena, "entries", capacity, |_| Entry([0; 16])).unwrap();
    for n in 0..capacity {
        slab.insert(Entry([u64::from(n); 16])).ok().unwrap();
    }
    slab
}

fn accesses(criterion: &mut Criterion) {
    let mut draw = Draw::new();
    for (name, capacity) in SIZES {
        let mut slab = full_slab(capacity);
        let mut group = group(criterion, &format!("slab/{name}"), BATCH);
        group.bench_function("get, dependent", |bencher| {
            bencher.iter(|| {
                let last = draw.batch(capacity).into_iter().fold(0, |before, n| {
                    let n = (n ^ (before as u32 & 1)).min(capacity - 1);
                    slab.get(n).unwrap().first_line()
                });
                black_box(last)
            });
        });
        group.bench_function("get", |bencher| {
            bencher.iter(|| draw.batch(capacity).map(|n| slab.get(n).unwrap().first_line()));
        });
        group.bench_function("get, prefetched", |bencher| {
            bencher.iter(|| {
                let batch = draw.batch(capacity);
                batch.iter().for_each(|&n| slab.prefetch(n, 1));
                batch.map(|n| slab.get(n).unwrap().first_line())
            });
        });
        group.bench_function("get two lines, prefetched", |bencher| {
            bencher.iter(|| {
                let batch = draw.batch(capacity);
                batch.iter().for_each(|&n| slab.prefetch(n, 2));
                batch.map(|n| slab.get(n).unwrap().both_lines())
            });
        });
        group.bench_function("remove and insert", |bencher| {
            bencher.iter(|| {
                for n in draw.batch(capacity) {
                    assert!(slab.remove(n));
                    black_box(slab.insert(Entry([u64::from(n); 16])).ok());
                }
            });
        });
        group.finish();
    }
}

criterion_group!(benches, accesses);
criterion_main!(benches);
