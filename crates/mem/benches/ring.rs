//! What it costs to reach another core: one thread sends, another receives, in bursts of 32.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::{black_box, spin_loop};
use std::thread;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use freeway_mem::ring::{frames, spsc};
use rustix::thread::{CpuSet, sched_setaffinity};

const BURST: usize = 32;
const SLOTS: usize = 1024;
/// What one iteration moves, so that starting the other thread does not show.
const BATCH: u64 = 1 << 17;

/// Keeps the thread on one CPU, where there are two: threads that share one would measure the scheduler.
fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    let _ = sched_setaffinity(None, &set);
}

/// The time in which `count` values, a multiple of [`BURST`], cross the ring, counted from the first that arrives.
fn values<T: Copy + Send + 'static>(count: u64, value: T) -> Duration {
    let (mut producer, mut consumer) = spsc(SLOTS);
    let bursts = count / BURST as u64;
    pin(0);
    let sender = thread::spawn(move || {
        pin(1);
        for _ in 0..bursts {
            let mut burst: ArrayVec<T, BURST> = (0..BURST).map(|_| value).collect();
            while !burst.is_empty() {
                if producer.push_burst(&mut burst) == 0 {
                    spin_loop();
                }
            }
        }
    });
    while consumer.is_empty() {
        spin_loop();
    }
    let start = Instant::now();
    let mut left = count;
    let mut burst = ArrayVec::<T, BURST>::new();
    while left > 0 {
        let taken = consumer.pop_burst(&mut burst);
        left -= taken as u64;
        if taken == 0 {
            spin_loop();
        }
        black_box(&mut burst).clear();
    }
    let elapsed = start.elapsed();
    sender.join().unwrap();
    elapsed
}

/// The same for frames of `LEN` bytes.
fn bytes<const LEN: usize>(count: u64) -> Duration {
    let (mut producer, mut consumer) = frames(SLOTS, 2048);
    let bursts = count / BURST as u64;
    pin(0);
    let sender = thread::spawn(move || {
        pin(1);
        let frame = [7; LEN];
        for _ in 0..bursts {
            for _ in 0..BURST {
                while !producer.push(black_box(&frame), 0) {
                    spin_loop();
                }
            }
            producer.commit();
        }
    });
    while consumer.is_empty() {
        spin_loop();
    }
    let start = Instant::now();
    let mut left = count;
    let mut copy = [0; LEN];
    while left > 0 {
        let Some((frame, _)) = consumer.peek() else {
            spin_loop();
            continue;
        };
        copy.copy_from_slice(frame);
        black_box(&copy);
        consumer.release();
        left -= 1;
    }
    let elapsed = start.elapsed();
    sender.join().unwrap();
    elapsed
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, transfer: impl Fn(u64) -> Duration) {
    group.bench_function(name, |bench| bench.iter_custom(|batches| transfer(batches * BATCH)));
}

fn rings(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    group.throughput(Throughput::Elements(BATCH));
    measure(&mut group, "spsc_8", |count| values(count, 7_u64));
    measure(&mut group, "spsc_64", |count| values(count, [7_u64; 8]));
    measure(&mut group, "frames_64", bytes::<64>);
    measure(&mut group, "frames_1514", bytes::<1514>);
    group.finish();
}

criterion_group!(benches, rings);
criterion_main!(benches);
