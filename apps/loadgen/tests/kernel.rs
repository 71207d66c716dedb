//! The kernel's client and server against each other over loopback: every kind of work is done, and counted right.
#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use freeway_loadgen::{
    Arrivals, Cause, Echo, Gauge, KernelLoad, KernelServer, KernelService, LoadConfig, Rate, Reading,
    Requests, Targets, Work,
};

/// How long anything may take that will certainly happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is counted of a piece of work.
type Count = fn(Reading) -> u64;

/// Ports that nobody listens on just now.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// Threads that end with the test.
struct Threads {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

fn until(gauge: &Gauge, what: &str, done: impl Fn(Reading) -> bool) -> Reading {
    let begun = Instant::now();
    loop {
        let reading = gauge.read();
        if gauge.follows() && done(reading) {
            return reading;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: {reading:?}");
        sleep(Duration::from_millis(2));
    }
}

#[test]
fn every_kind_of_work_is_done_over_loopback() {
    const CONNECTIONS: u32 = 60;
    let [echo, sink, source] = free_ports();
    let stop = Arc::new(AtomicBool::new(false));
    let mut threads = Threads { stop: Arc::clone(&stop), threads: Vec::new() };
    let ports =
        [(echo, KernelService::Echo), (sink, KernelService::Discard), (source, KernelService::Source)];
    let stop_server = Arc::clone(&stop);
    let (listening, is_listening) = mpsc::channel();
    threads.threads.push(thread::spawn(move || {
        let mut server = KernelServer::new(&ports, None).unwrap();
        listening.send(()).unwrap();
        server.run(&stop_server).unwrap();
    }));
    is_listening.recv().unwrap();

    let to = |port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    let targets = Targets { requests: to(echo), sink: to(sink), source: to(source), datagrams: to(echo) };
    let sources = vec![[127, 0, 0, 2].into(), [127, 0, 0, 3].into()];
    let config =
        LoadConfig { targets, sources, depth: 4, sockets: 2, ..LoadConfig::new(to(echo), CONNECTIONS) };
    let gauge = Gauge::default();
    let load_gauge = gauge.clone();
    threads.threads.push(thread::spawn(move || {
        KernelLoad::new(&config, Echo::new(100), load_gauge).unwrap().run(&stop).unwrap();
    }));

    gauge.hold(CONNECTIONS);
    until(&gauge, "opening", |reading| reading.open == u64::from(CONNECTIONS));
    let rate = Rate { per_second: 20_000.0, arrivals: Arrivals::Constant };
    let requests = |cause| Work::Requests(Requests { among: CONNECTIONS, cause });
    let mixed = Work::Mixed { among: 2, under_way: 8, rate };
    let works: [(Work, Count, u64); 10] = [
        (requests(Cause::SameAnswered), |reading| reading.answered, 5_000),
        (requests(Cause::AnyAnswered(20)), |reading| reading.answered, 5_000),
        (requests(Cause::Time(rate)), |reading| reading.answered, 2_000),
        (Work::Sweep { in_flight: 7 }, |reading| reading.answered, u64::from(CONNECTIONS)),
        (Work::Churn { under_way: 8, rate: None }, |reading| reading.cycles, 500),
        (mixed, |reading| reading.cycles, 500),
        (mixed, |reading| reading.answered - reading.cycles, 500),
        (Work::Datagrams { in_flight: 16, rate: None }, |reading| reading.answered, 2_000),
        (Work::Upload { connections: 2 }, |reading| reading.bytes_out, 10 << 20),
        (Work::Download { connections: 2 }, |reading| reading.bytes_in, 10 << 20),
    ];
    for (work, count, wanted) in works {
        gauge.order(Work::Hold);
        let before = until(&gauge, "rest", |reading| reading.in_flight == 0);
        gauge.ask_latencies();
        gauge.order(work);
        let name = format!("{work:?}");
        let done = until(&gauge, &name, |reading| count(reading.since(before)) >= wanted).since(before);
        assert_eq!((done.failed, done.wrong, done.timeouts), (0, 0, 0), "{name}");
    }
    gauge.order(Work::Hold);
    let last = until(&gauge, "rest", |reading| reading.in_flight == 0);
    assert_eq!(last.open, u64::from(CONNECTIONS));
}

#[test]
fn a_server_that_is_not_there_is_counted() {
    let [port] = free_ports();
    let gauge = Gauge::default();
    let config =
        LoadConfig { sockets: 0, ..LoadConfig::new(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port), 3) };
    let stop = Arc::new(AtomicBool::new(false));
    let (stop_load, load_gauge) = (Arc::clone(&stop), gauge.clone());
    let load = thread::spawn(move || {
        KernelLoad::new(&config, Echo::new(8), load_gauge).unwrap().run(&stop_load).unwrap();
    });
    let _threads = Threads { stop, threads: vec![load] };
    gauge.hold(3);
    let reading = until(&gauge, "refusal", |reading| reading.failed >= 3);
    assert_eq!((reading.open, reading.opened), (0, 0));
}
