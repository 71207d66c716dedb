//! Frames of 64 bytes through a TAP device, in a network namespace of its own (so it needs root).
//!
//! Linux's end has a raw socket. *To Linux* writes frames of no protocol, which Linux takes and drops. *From Linux*
//! reads frames that another thread sends all the time; it is as fast as the slower of the two. *Echo* answers them.
#![allow(clippy::unwrap_used)]

#[path = "../tests/tap/namespace.rs"]
mod namespace;
#[path = "../tests/tap/raw_socket.rs"]
mod raw_socket;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use freeway_mem::{BURST, Packet, PacketPool, RxBurst, TxBurst};
use freeway_port::conformance::{Peer, pool_for};
use freeway_port::{Port, RxQueue, TxQueue};
use freeway_tap::{LinuxEnd, Tap, configure};
use rustix::thread::{CpuSet, sched_setaffinity};

use namespace::in_namespace;
use raw_socket::RawSocket;

const FRAME_LEN: usize = 64;

/// Keeps this thread on one CPU. A machine with fewer shares, and measures that.
fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    let _ = sched_setaffinity(None, &set);
}

/// From nobody to nobody, of an EtherType that is free for experiments.
fn frame() -> [u8; FRAME_LEN] {
    let mut frame = [0x02; FRAME_LEN];
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame
}

fn device() -> (Tap, PacketPool) {
    let mut taps = Tap::open("fwbench0", 1).unwrap();
    configure(&mut taps, &LinuxEnd::default()).unwrap();
    let tap = taps.remove(0);
    let pool = pool_for(tap.info(), 1_024);
    (tap, pool)
}

fn to_linux(tap: &mut Tap, pool: &PacketPool, frames: u64) -> Duration {
    let start = Instant::now();
    let mut sent = 0;
    while sent < frames {
        let count = (frames - sent).min(BURST as u64);
        let mut burst: TxBurst = (0..count)
            .map(|_| {
                let mut packet = pool.alloc().unwrap();
                packet.append(FRAME_LEN).unwrap().copy_from_slice(&frame());
                packet.share()
            })
            .collect();
        sent += tap.tx_burst(&mut burst) as u64;
    }
    start.elapsed()
}

/// Takes `frames` frames, and sends them back if `echo` says so.
fn from_linux(tap: &mut Tap, pool: &PacketPool, frames: u64, echo: bool) -> Duration {
    let start = Instant::now();
    let mut burst = RxBurst::new();
    let mut received = 0;
    while received < frames {
        received += tap.rx_burst(pool, &mut burst) as u64;
        if echo {
            tap.tx_burst(&mut burst.drain(..).map(Packet::share).collect());
        }
        burst.clear();
    }
    start.elapsed()
}

fn all(c: &mut Criterion) {
    pin(0);
    let mut group = c.benchmark_group("tap, 64 B");
    group.throughput(Throughput::Elements(1));
    let (mut tap, pool) = device();
    group.bench_function("to Linux", |b| b.iter_custom(|frames| to_linux(&mut tap, &pool, frames)));

    let over = Arc::new(AtomicBool::new(false));
    let mut linux = RawSocket::open(tap.name());
    let is_over = Arc::clone(&over);
    let generator = thread::spawn(move || {
        pin(1);
        while !is_over.load(Ordering::Relaxed) {
            linux.send(&frame());
        }
    });
    for (name, echo) in [("from Linux", false), ("echo", true)] {
        group.bench_function(name, |b| b.iter_custom(|frames| from_linux(&mut tap, &pool, frames, echo)));
    }
    over.store(true, Ordering::Relaxed);
    generator.join().unwrap();
    group.finish();
}

fn main() {
    in_namespace("the TAP benchmark", || {
        let criterion = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3));
        let mut criterion = criterion.configure_from_args();
        all(&mut criterion);
        criterion.final_summary();
    });
}
