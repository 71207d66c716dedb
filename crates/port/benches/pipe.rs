//! Frames of 64 bytes through a pipe: echoed by another core, one way to another core, and to and fro on one core.
//!
//! Each core runs its own thread, pinned, with its own pool, and polls without ever sleeping. A frame is copied out of
//! its sender's buffer into the ring and out of the ring into a buffer of its receiver's pool, as in production.
#![allow(clippy::unwrap_used)]

use std::hint::{black_box, spin_loop};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use freeway_mem::{BURST, Packet, PacketPool, RxBurst, TxBurst};
use freeway_port::conformance::pool_for;
use freeway_port::{Pipe, PipeConfig, Port, RxQueue, TxQueue, pipe};
use rustix::thread::{CpuSet, sched_setaffinity};

const FRAME: [u8; 64] = [0x5a; 64];
/// Frames under way at once in the echo: what keeps both sides busy.
const WINDOW: u64 = 256;

/// Keeps this thread on one CPU. A machine with fewer shares, and measures that.
fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    let _ = sched_setaffinity(None, &set);
}

fn packet(pool: &PacketPool) -> Option<Packet> {
    let mut packet = pool.alloc()?;
    packet.append(FRAME.len())?.copy_from_slice(&FRAME);
    Some(packet)
}

/// Another core that gives each burst to `serve`, until the flag says that it is over.
struct Partner {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Partner {
    fn new(mut port: Pipe, mut serve: impl FnMut(&mut Pipe, &mut RxBurst) + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&over);
        let thread = thread::spawn(move || {
            pin(1);
            let pool = pool_for(port.info(), 1_024);
            let mut burst = RxBurst::new();
            while !flag.load(Ordering::Relaxed) {
                if port.rx_burst(&pool, &mut burst) == 0 {
                    spin_loop();
                } else {
                    serve(&mut port, &mut burst);
                }
            }
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Sends until `frames` were echoed, no more than a window ahead. `batch` frames a burst at most.
fn echo(port: &mut Pipe, pool: &PacketPool, frames: u64, batch: usize, window: u64) -> Duration {
    let start = Instant::now();
    let (mut sent, mut echoed) = (0, 0);
    let mut burst = TxBurst::new();
    let mut back = RxBurst::new();
    while echoed < frames {
        let room = (frames - sent).min(window - (sent - echoed)).min((batch - burst.len()) as u64);
        for packet in (0..room).map_while(|_| packet(pool)) {
            burst.push(packet.share());
            sent += 1;
        }
        if !burst.is_empty() {
            port.tx_burst(&mut burst);
        }
        echoed += port.rx_burst(pool, &mut back) as u64;
        black_box(back.first());
        back.clear();
    }
    start.elapsed()
}

fn flood(port: &mut Pipe, pool: &PacketPool, frames: u64) -> Duration {
    let start = Instant::now();
    let mut burst = TxBurst::new();
    let mut made = 0;
    while made < frames || !burst.is_empty() {
        while !burst.is_full()
            && made < frames
            && let Some(packet) = packet(pool)
        {
            burst.push(packet.share());
            made += 1;
        }
        port.tx_burst(&mut burst);
    }
    start.elapsed()
}

fn two_cores(c: &mut Criterion) {
    let mut group = c.benchmark_group("pipe, two cores");
    group.throughput(Throughput::Elements(1));
    for (name, batch, window) in [("echo 64 B", BURST, WINDOW), ("ping-pong 64 B", 1, 1)] {
        group.bench_function(name, |b| {
            let (mut near, far) = pipe(&PipeConfig::default()).unwrap();
            let pool = pool_for(near.info(), 1_024);
            let _partner = Partner::new(far, |port, burst| {
                let mut out: TxBurst = burst.drain(..).map(Packet::share).collect();
                // The window is smaller than the ring, so there is always room.
                port.tx_burst(&mut out);
            });
            b.iter_custom(|frames| echo(&mut near, &pool, frames, batch, window));
        });
    }
    group.bench_function("one way 64 B", |b| {
        let (mut near, far) = pipe(&PipeConfig::default()).unwrap();
        let pool = pool_for(near.info(), 1_024);
        let _partner = Partner::new(far, |_, burst| burst.clear());
        b.iter_custom(|frames| flood(&mut near, &pool, frames));
    });
    group.finish();
}

fn one_core(c: &mut Criterion) {
    let mut group = c.benchmark_group("pipe, one core");
    group.throughput(Throughput::Elements(1));
    group.bench_function("one way 64 B", |b| {
        let (mut near, mut far) = pipe(&PipeConfig::default()).unwrap();
        let pool = pool_for(near.info(), 1_024);
        let mut received = RxBurst::new();
        b.iter_custom(|frames| {
            let start = Instant::now();
            for _ in 0..frames.div_ceil(BURST as u64) {
                let mut burst: TxBurst = (0..BURST).map_while(|_| packet(&pool)).map(Packet::share).collect();
                near.tx_burst(&mut burst);
                far.rx_burst(&pool, &mut received);
                received.clear();
            }
            start.elapsed()
        });
    });
    group.finish();
}

fn all(c: &mut Criterion) {
    pin(0);
    two_cores(c);
    one_core(c);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3));
    targets = all
}
criterion_main!(benches);
