//! Timing wheel with every timer armed: re-arming, cancelling, and time passing.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::hint::black_box;
use std::time::Instant as Clock;

use common::{BATCH, Draw, SIZES, arena, group};
use criterion::{Criterion, criterion_group, criterion_main};
use freeway_base::{Duration, Instant};
use freeway_collections::Wheel;
use freeway_mem::ArenaLayout;

/// Timers are armed for up to two hours ahead, a keepalive's time.
const SPAN_MS: u32 = 7_200_000;
const TICK: Duration = Duration::from_nanos(1 << 20);

fn ahead(draw: &mut Draw, now: Instant, span_ms: u32) -> Instant {
    now + Duration::from_millis(1 + u64::from(draw.below(span_ms)))
}

fn armed_wheel(timers: u32, draw: &mut Draw, span_ms: u32) -> Wheel {
    let mut wheel =
        Wheel::new(&mut arena(Wheel::plan(ArenaLayout::new(), timers)), timers, Instant::ZERO).unwrap();
    for id in 0..timers {
        wheel.arm(id, ahead(draw, Instant::ZERO, span_ms));
    }
    wheel
}

fn standing(criterion: &mut Criterion) {
    let mut draw = Draw::new();
    for (name, timers) in SIZES {
        let mut wheel = armed_wheel(timers, &mut draw, SPAN_MS);
        let mut group = group(criterion, &format!("wheel/{name}"), BATCH);
        group.bench_function("arm again", |bencher| {
            bencher.iter(|| {
                for id in draw.batch(timers) {
                    wheel.arm(id, ahead(&mut draw, Instant::ZERO, SPAN_MS));
                }
            });
        });
        group.bench_function("arm again, prefetched", |bencher| {
            bencher.iter(|| {
                let batch = draw.batch(timers);
                batch.iter().for_each(|&id| wheel.prefetch(id));
                for id in batch {
                    wheel.arm(id, ahead(&mut draw, Instant::ZERO, SPAN_MS));
                }
            });
        });
        group.bench_function("cancel and arm, prefetched", |bencher| {
            bencher.iter(|| {
                let batch = draw.batch(timers);
                batch.iter().for_each(|&id| wheel.prefetch(id));
                for id in batch {
                    assert!(wheel.cancel(id));
                    wheel.arm(id, ahead(&mut draw, Instant::ZERO, SPAN_MS));
                }
            });
        });
        group.bench_function("next_deadline", |bencher| {
            bencher.iter(|| {
                for _ in 0..BATCH {
                    black_box(wheel.next_deadline());
                }
            });
        });
        group.bench_function("pop_due, nothing due", |bencher| {
            bencher.iter(|| {
                for _ in 0..BATCH {
                    assert_eq!(wheel.pop_due(Instant::ZERO), None);
                }
            });
        });
        group.finish();
    }
}

/// A timer's whole life: armed for up to two minutes (two levels), sunk, delivered, armed again.
fn passing(criterion: &mut Criterion) {
    const SPAN_MS: u32 = 120_000;
    let mut draw = Draw::new();
    for (name, timers) in SIZES {
        let mut wheel = armed_wheel(timers, &mut draw, SPAN_MS);
        let mut now = Instant::ZERO;
        let mut group = group(criterion, &format!("wheel/{name}"), 1);
        group.bench_function("sink, deliver and arm", |bencher| {
            bencher.iter_custom(|iterations| {
                let start = Clock::now();
                let mut delivered = 0;
                while delivered < iterations {
                    while let Some(id) = wheel.pop_due(now) {
                        wheel.arm(id, ahead(&mut draw, now, SPAN_MS));
                        delivered += 1;
                    }
                    now += TICK;
                }
                start.elapsed().mul_f64(iterations as f64 / delivered as f64)
            });
        });
        group.finish();
    }
}

criterion_group!(benches, standing, passing);
criterion_main!(benches);
