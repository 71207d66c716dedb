//! What a segment costs in the state machine alone: no bytes, no tables.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use freeway_base::{Duration, Instant};
use freeway_tcp::{Arrival, Config, Context, Held, NarrowFlight, Outcome, Tcb};
use freeway_wire::Ecn;
use freeway_wire::tcp::{Flags, Options, Repr, SeqNumber, Timestamps};

const ISS: SeqNumber = SeqNumber(1);
const IRS: SeqNumber = SeqNumber(7);

/// The peer's side, in as many words as the benchmark needs.
struct Bench {
    tcb: Tcb,
    config: Config,
    now: Instant,
    held: Held,
    flight: Option<NarrowFlight>,
}

impl Bench {
    fn established() -> Self {
        let config = Config { receive_window: 1 << 20, quick_acks: 0, ..Config::default() };
        let now = Instant::from_secs(10);
        let cx = Context { now, config: &config };
        let mut tcb = Tcb::connect(&cx, ISS, 0);
        let held = Held::default();
        while tcb.poll_transmit(&cx, &held, None).is_some() {}
        let mut bench = Self { tcb, config, now, held, flight: None };
        let mut syn_ack = bench.repr(IRS, ISS + 1);
        syn_ack.flags = Flags::SYN | Flags::ACK;
        syn_ack.options = Options { mss: Some(1460), window_scale: Some(7), ..syn_ack.options };
        bench.take(&syn_ack, 0);
        while bench.poll() {}
        bench
    }

    fn repr(&self, seq: SeqNumber, ack: SeqNumber) -> Repr {
        let value = self.now.as_millis() as u32;
        Repr {
            src_port: 1,
            dst_port: 2,
            seq,
            ack,
            flags: Flags::ACK,
            window: 60_000,
            urgent: 0,
            options: Options { timestamps: Some(Timestamps { value, echo: value }), ..Options::default() },
        }
    }

    #[inline]
    fn take(&mut self, repr: &Repr, payload_len: u32) {
        let cx = Context { now: self.now, config: &self.config };
        let arrival = Arrival { repr, payload_len, ecn: Ecn::NotEct };
        let mut outcome = Outcome::default();
        self.tcb.on_segment(&cx, &arrival, &self.held, self.flight.as_deref_mut(), &mut outcome);
        if self.flight.as_deref().is_some_and(|flight| !self.tcb.needs_flight(flight)) {
            self.flight = None;
        }
        self.held.queued -= outcome.acked;
        black_box(&outcome);
    }

    #[inline]
    fn poll(&mut self) -> bool {
        let cx = Context { now: self.now, config: &self.config };
        if !self.tcb.wants_transmit(&self.held, self.flight.as_deref()) {
            return false;
        }
        if self.flight.is_none() && self.tcb.wants_flight(&self.held) {
            self.flight = Some(NarrowFlight::begin(&cx, &self.tcb));
        }
        black_box(self.tcb.poll_transmit(&cx, &self.held, self.flight.as_deref_mut())).is_some()
    }
}

fn segments(c: &mut Criterion) {
    let mut group = c.benchmark_group("segments");
    group.throughput(Throughput::Elements(1));

    group.bench_function("in-order data, every second one acknowledged", |b| {
        let mut bench = Bench::established();
        b.iter(|| {
            bench.now += Duration::from_micros(1);
            let repr = bench.repr(bench.tcb.rcv_nxt(), bench.tcb.snd_una());
            bench.take(black_box(&repr), 1_448);
            while bench.poll() {}
        });
    });

    group.bench_function("request and response", |b| {
        let mut bench = Bench::established();
        b.iter(|| {
            bench.now += Duration::from_micros(1);
            let repr = bench.repr(bench.tcb.rcv_nxt(), bench.tcb.snd_nxt());
            bench.take(black_box(&repr), 100);
            bench.held.queued += 300;
            while bench.poll() {}
        });
    });

    group.bench_function("bulk sending, two segments for each acknowledgment", |b| {
        let mut bench = Bench::established();
        b.iter(|| {
            bench.now += Duration::from_micros(1);
            bench.held.queued = 1 << 16;
            while bench.poll() {}
            let una = bench.tcb.snd_una();
            let in_flight = bench.tcb.snd_nxt().distance_from(una);
            let repr = bench.repr(bench.tcb.rcv_nxt(), una + in_flight.min(2_896));
            bench.take(black_box(&repr), 0);
        });
    });

    group.bench_function("a segment out of the window", |b| {
        let mut bench = Bench::established();
        b.iter(|| {
            let repr = bench.repr(bench.tcb.rcv_nxt() + (1 << 30), bench.tcb.snd_nxt());
            bench.take(black_box(&repr), 0);
        });
    });
    group.finish();
}

criterion_group!(benches, segments);
criterion_main!(benches);
