//! Flow table at its full capacity: lookups at random, present and absent, and flows that go and come.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::hint::black_box;

use common::{BATCH, Draw, SIZES, arena, group, hash};
use criterion::{Criterion, criterion_group, criterion_main};
use freeway_base::FlowHash;
use freeway_collections::FlowTable;
use freeway_mem::ArenaLayout;

/// Absent flows are numbered from here.
const ABSENT: u64 = 1 << 40;

fn flow(n: u32) -> FlowHash {
    FlowHash(hash(u64::from(n)))
}

/// A full table whose every flow has been replaced once, so that displacement is what it is after long service.
/// Flow `index` is number `index + capacity` then.
fn seasoned_table(capacity: u32) -> FlowTable {
    let mut table =
        FlowTable::new(&mut arena(FlowTable::plan(ArenaLayout::new(), capacity)), capacity).unwrap();
    for n in 0..capacity {
        table.insert(flow(n), n).unwrap();
    }
    for n in 0..capacity {
        assert!(table.remove(flow(n), n));
        table.insert(flow(n + capacity), n).unwrap();
    }
    eprintln!("{:.2} bytes a flow", table.bytes() as f64 / f64::from(capacity));
    table
}

fn find(table: &FlowTable, n: u32) -> Option<u32> {
    table.find(flow(n + table.capacity()), |index| index == n)
}

fn lookups(criterion: &mut Criterion) {
    let mut draw = Draw::new();
    for (name, capacity) in SIZES {
        let mut table = seasoned_table(capacity);
        let mut group = group(criterion, &format!("flow_table/{name}"), BATCH);
        group.bench_function("find, dependent", |bencher| {
            bencher.iter(|| {
                // The index found is not compared with a known one, or the processor would guess it and go on.
                let found = draw.batch(capacity).into_iter().fold(0, |before, n| {
                    let n = (n ^ (before & 1)).min(capacity - 1);
                    table.first_candidate(flow(n + capacity)).unwrap()
                });
                black_box(found)
            });
        });
        group.bench_function("find", |bencher| {
            bencher.iter(|| draw.batch(capacity).map(|n| find(&table, n)));
        });
        group.bench_function("find, prefetched", |bencher| {
            bencher.iter(|| {
                let batch = draw.batch(capacity);
                batch.iter().for_each(|&n| table.prefetch(flow(n + capacity)));
                batch.map(|n| find(&table, n))
            });
        });
        group.bench_function("find absent, prefetched", |bencher| {
            bencher.iter(|| {
                let batch = draw.batch(u32::MAX).map(|n| FlowHash(hash(ABSENT + u64::from(n))));
                batch.iter().for_each(|&hash| table.prefetch(hash));
                batch.map(|hash| table.find(hash, |_| false))
            });
        });
        group.bench_function("remove and insert, prefetched", |bencher| {
            bencher.iter(|| {
                let batch = draw.batch(capacity);
                batch.iter().for_each(|&n| table.prefetch(flow(n + capacity)));
                for n in batch {
                    // A flow drawn twice is gone and back again by its second turn.
                    assert!(table.remove(flow(n + capacity), n));
                    table.insert(flow(n + capacity), n).unwrap();
                }
            });
        });
        group.finish();
    }
}

criterion_group!(benches, lookups);
criterion_main!(benches);
