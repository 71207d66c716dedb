//! What a packet costs before it carries anything: taking a buffer and giving it back, hot.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use freeway_mem::{Arena, ArenaLayout, PacketPool, PoolConfig, RxBurst};

const BURST: usize = 32;

fn pool() -> PacketPool {
    let config = PoolConfig::default();
    let mut arena = Arena::heap(ArenaLayout::new().pool(&config).bytes()).unwrap();
    PacketPool::new(&mut arena, &config).unwrap()
}

fn packets(criterion: &mut Criterion) {
    let pool = pool();
    let mut group = criterion.benchmark_group("pool");
    group.throughput(Throughput::Elements(1));
    // Through a reference: a packet passed by value would be stored in halves and loaded whole, which stalls.
    group.bench_function("alloc_free", |bench| {
        bench.iter(|| pool.alloc().map(|mut packet| black_box(&mut packet).truncate(0)));
    });
    group.bench_function("alloc_share_clone_free", |bench| {
        bench.iter(|| pool.alloc().map(|packet| black_box(packet.share().try_clone())));
    });
    group.bench_function("alloc_park_unpark_free", |bench| {
        bench.iter(|| pool.alloc().map(|packet| pool.unpark(black_box(packet.share().park()))));
    });
    group.throughput(Throughput::Elements(BURST as u64));
    group.bench_function("alloc_free_burst_32", |bench| {
        let mut burst = RxBurst::new();
        bench.iter(|| {
            burst.extend((0..BURST).map_while(|_| pool.alloc()));
            black_box(&mut burst).clear();
        });
    });
    group.finish();
}

criterion_group!(benches, packets);
criterion_main!(benches);
