//! A store of 1 GiB over its whole life: filled, overwritten ten times, and asked for the same keys as memcached.
//!
//! ```sh
//! cargo bench -p freeway-cache --bench gibibyte -- fill
//! cargo bench -p freeway-cache --bench gibibyte -- hits         # needs memcached in the path
//! ```
//!
//! `fill` times every value stored, and as long a loop that does nothing but read the clock: what both show is the machine's.
#![allow(clippy::unwrap_used, missing_docs)]

mod peer;
#[path = "../hit_ratio/trace.rs"]
#[allow(dead_code)]
mod trace;

use std::time::{Duration, Instant};

use freeway_base::{HashKey, Rng, Seed};
use freeway_cache::store::{NEVER, Put, Source, Store, StoreConfig};
use trace::{Request, Trace};

const MEMORY: usize = 1 << 30;
/// Requests that are made together, as a client does with a multi-get.
const BATCH: usize = 64;

fn store() -> Store {
    let config = StoreConfig { memory: MEMORY, item_bytes: 400, item_max: 1 << 20, ..StoreConfig::default() };
    Store::new(&config, HashKey::new([5, 6])).unwrap()
}

/// 16 letters that name a number.
fn key(number: u64) -> [u8; 16] {
    core::array::from_fn(|place| b'a' + (number >> (place * 4) & 15) as u8)
}

fn set(store: &mut Store, key: &[u8], value: &[u8]) {
    let hash = store.hash(key);
    assert!(store.make_room(1));
    let old = store.find(hash, key, 1);
    let put = Put { key, hash, flags: 0, expiry: NEVER, cas: None, stale: false };
    store.put(&put, [Source::Bytes(value), Source::Bytes(b"")], old, 1).unwrap();
}

/// How long single steps took.
#[derive(Default)]
struct Steps {
    count: u64,
    over: [u64; 4],
    longest: Duration,
    all: Duration,
}

const BOUNDS_US: [u64; 4] = [10, 100, 1_000, 10_000];

impl Steps {
    fn note(&mut self, step: Duration) {
        self.count += 1;
        self.longest = self.longest.max(step);
        for (over, bound) in self.over.iter_mut().zip(BOUNDS_US) {
            *over += u64::from(step > Duration::from_micros(bound));
        }
    }

    fn print(&self, name: &str) {
        let secs = self.all.as_secs_f64();
        let per_second = self.over.map(|over| format!("{:.1}", over as f64 / secs)).join(" | ");
        let longest = self.longest.as_secs_f64() * 1e3;
        println!("| {name} | {} | {secs:.1} | {per_second} | {longest:.2} |", self.count);
    }
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn fill() {
    let before = resident();
    let mut store = store();
    let value = vec![7; 2_000];
    let mut rng = Rng::new(Seed(3));
    let (mut stored, mut number) = (0_usize, 0);
    println!("| ten times 1 GiB | steps | s | over 10 us a second | 100 us | 1 ms | 10 ms | longest, ms |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut steps = Steps::default();
    let begun = Instant::now();
    let mut last = begun;
    while stored < 10 * MEMORY {
        number += 1;
        let len = 100 + rng.below(1_900) as usize;
        set(&mut store, &key(number), &value[..len]);
        stored += len + 16;
        let now = Instant::now();
        steps.note(now - last);
        last = now;
    }
    steps.all = begun.elapsed();
    steps.print("values of 100 to 2,000 bytes stored");
    let mut idle = Steps::default();
    let begun = Instant::now();
    let mut last = begun;
    while begun.elapsed() < steps.all {
        let now = Instant::now();
        idle.note(now - last);
        last = now;
    }
    idle.all = begun.elapsed();
    idle.print("nothing but the clock read");
    let (used, limit) = store.bytes();
    let grown = resident() - before;
    println!(
        "\nlimit {MEMORY}, resident {grown} ({:+.2}%), segments in use {used} of {limit}, evicted {}, items {}",
        (grown as f64 / MEMORY as f64 - 1.0) * 100.0,
        store.counters.evictions,
        store.len()
    );
    // What the store keeps apart for a moment is a hundredth of it.
    assert!((grown as f64 / MEMORY as f64 - 1.0).abs() < 0.02);
}

fn hits() {
    println!("| trace | memcached -m 1024 | Freeway |\n|---|---|---|");
    for trace in Trace::large() {
        let mut memcached = peer::Memcached::start(MEMORY >> 20);
        let theirs = ratio(&trace, |batch| memcached.ask(batch));
        drop(memcached);
        let mut store = store();
        let value = vec![7; 2_000];
        let ours = ratio(&trace, |batch| {
            let found: Vec<bool> = batch
                .iter()
                .map(|request| {
                    let key = key(request.key);
                    let hash = store.hash(&key);
                    let found = store.find(hash, &key, 1);
                    found.inspect(|item| store.hit(*item, 1)).is_some()
                })
                .collect();
            for (request, found) in batch.iter().zip(&found) {
                if !found || request.write {
                    set(&mut store, &key(request.key), &value[..request.size as usize]);
                }
            }
            found
        });
        println!("| {} | {theirs:.2} | {ours:.2} |", trace.name);
    }
}

/// Hits in a hundred requests, of the second half of them.
fn ratio(trace: &Trace, mut ask: impl FnMut(&[Request]) -> Vec<bool>) -> f64 {
    let (mut hits, mut counted, mut seen) = (0, 0, 0);
    let mut requests = trace.requests();
    loop {
        let batch: Vec<Request> = requests.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            return hits as f64 / f64::from(counted) * 100.0;
        }
        let found = ask(&batch);
        seen += batch.len() as u64;
        if seen > trace.requests / 2 {
            let asked = batch.iter().zip(&found).filter(|(request, _)| !request.write);
            asked.for_each(|(_, &found)| {
                counted += 1;
                hits += u64::from(found);
            });
        }
    }
}

fn main() {
    let what: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| what.iter().any(|what| what == name);
    if wanted("fill") {
        fill();
    }
    if wanted("hits") {
        hits();
    }
}
