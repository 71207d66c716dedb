//! What the Internet checksum costs, alone and with a copy, and reading and writing a TCP header.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use freeway_wire::checksum;
use freeway_wire::tcp::{Flags, Options, Repr, Segment, SeqNumber, Timestamps};

/// A small frame's transport part, a full one's, and a jumbo frame's.
const LENGTHS: [usize; 4] = [20, 64, 1460, 8960];

fn checksums(c: &mut Criterion) {
    let bytes: Vec<u8> = (0..=255).cycle().take(16 << 10).collect();
    let mut copy = bytes.clone();
    let mut group = c.benchmark_group("checksum");
    for len in LENGTHS {
        group.bench_with_input(BenchmarkId::new("sum", len), &len, |b, &len| {
            b.iter(|| checksum::sum(black_box(&bytes[..len])).finish());
        });
        group.bench_with_input(BenchmarkId::new("copy", len), &len, |b, &len| {
            b.iter(|| black_box(&mut copy[..len]).copy_from_slice(black_box(&bytes[..len])));
        });
        group.bench_with_input(BenchmarkId::new("copy_and_sum", len), &len, |b, &len| {
            b.iter(|| checksum::copy_and_sum(black_box(&mut copy[..len]), black_box(&bytes[..len])).finish());
        });
    }
    group.finish();
}

fn tcp_header(c: &mut Criterion) {
    let timestamps = Timestamps { value: 0x1234_5678, echo: 0x9abc_def0 };
    let established = Repr {
        src_port: 80,
        dst_port: 40_000,
        seq: SeqNumber(1),
        ack: SeqNumber(2),
        flags: Flags::ACK | Flags::PSH,
        window: 1_000,
        urgent: 0,
        options: Options::with_timestamps(timestamps),
    };
    let syn = Repr {
        flags: Flags::SYN,
        options: Options {
            mss: Some(1460),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: Some(timestamps),
            ..Options::NONE
        },
        ..established
    };
    let mut group = c.benchmark_group("tcp_header");
    for (name, repr) in [("established", established), ("syn", syn)] {
        let mut bytes = [0; 60];
        repr.emit(&mut bytes);
        let len = repr.header_len();
        group.bench_function(BenchmarkId::new("parse", name), |b| {
            b.iter(|| {
                // By reference, as the stack reads it: to return it would measure a copy.
                if let Ok(segment) = Segment::new_checked(black_box(&bytes[..len])) {
                    black_box(&Repr::read(&segment));
                }
            });
        });
        group.bench_function(BenchmarkId::new("emit", name), |b| {
            b.iter(|| black_box(&repr).emit(black_box(&mut bytes)));
        });
    }
    group.finish();
}

criterion_group!(benches, checksums, tcp_header);
criterion_main!(benches);
