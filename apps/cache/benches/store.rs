//! Operations a second of one store, without a network: hits one by one and in batches, writes in place, writes that evict.
//!
//! ```sh
//! cargo bench -p freeway-cache --bench store -- 1000000 10000000
//! ```
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Instant;

use freeway_base::{FlowHash, HashKey, Rng, Seed};
use freeway_cache::store::{NEVER, Put, Source, Store, StoreConfig};

/// Bytes of a value.
const VALUE: usize = 32;
/// Keys whose memory is asked for together.
const BATCH: usize = 100;

struct Bench {
    store: Store,
    keys: u64,
    rng: Rng,
    value: Vec<u8>,
}

impl Bench {
    fn new(keys: u64) -> Self {
        // A record of 8 bytes of header, 10 of key and 32 of value takes 56; a tenth more for the index, and room.
        let memory = (keys as usize * 80).max(16 << 20);
        let config = StoreConfig { memory, item_bytes: 56, item_max: 1 << 20, ..StoreConfig::default() };
        let store = Store::new(&config, HashKey::new([5, 6])).unwrap();
        Self { store, keys, rng: Rng::new(Seed(9)), value: vec![7; VALUE] }
    }

    fn key(number: u64) -> [u8; 10] {
        let mut key = *b"key-------";
        key[2..].copy_from_slice(&number.to_le_bytes());
        key
    }

    fn any(&mut self) -> [u8; 10] {
        let number = (u128::from(self.rng.next_u64()) * u128::from(self.keys)) >> 64;
        Self::key(number as u64)
    }

    fn set(&mut self, key: &[u8]) {
        let hash = self.store.hash(key);
        assert!(self.store.make_room(1));
        let old = self.store.find(hash, key, 1);
        let put = Put { key, hash, flags: 0, expiry: NEVER, cas: None, stale: false };
        self.store.put(&put, [Source::Bytes(&self.value), Source::Bytes(b"")], old, 1).unwrap();
    }

    fn get(&mut self, hash: FlowHash, key: &[u8], into: &mut [u8]) -> bool {
        let Some(item) = self.store.find(hash, key, 1) else { return false };
        self.store.hit(item, 1);
        self.store.read(item, 0, into) == VALUE
    }

    /// Runs `operation` for about a second and prints how often it did what it returns.
    fn measure(&mut self, name: &str, mut operation: impl FnMut(&mut Self) -> u64) {
        let begun = Instant::now();
        let (mut done, mut longest) = (0, 0);
        while begun.elapsed().as_millis() < 1_000 {
            let before = Instant::now();
            done += operation(self);
            longest = longest.max(before.elapsed().as_micros());
        }
        let rate = done as f64 / begun.elapsed().as_secs_f64() / 1e6;
        println!("| {} | {name} | {rate:.2} | {longest} |", self.keys);
    }
}

fn main() {
    let sizes: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![1_000_000] } else { sizes };
    println!("| keys | operation | million a second | longest step of {BATCH} in us |\n|---|---|---|---|");
    for keys in sizes {
        let mut bench = Bench::new(keys);
        for number in 0..keys {
            bench.set(&Bench::key(number));
        }
        assert_eq!(bench.store.counters.evictions, 0, "everything fits");
        let mut into = [0; VALUE];
        bench.measure("get, one by one", |bench| {
            for _ in 0..BATCH {
                let key = bench.any();
                let hash = bench.store.hash(&key);
                assert!(bench.get(hash, &key, &mut into));
            }
            BATCH as u64
        });
        bench.measure("get, a hundred together", |bench| {
            let mut keys = [([0; 10], FlowHash(0)); BATCH];
            for place in &mut keys {
                let key = bench.any();
                *place = (key, bench.store.hash(&key));
                bench.store.prefetch(place.1);
            }
            keys.iter().for_each(|(_, hash)| bench.store.prefetch_item(*hash));
            for (key, hash) in &keys {
                assert!(bench.get(*hash, key, &mut into));
            }
            BATCH as u64
        });
        bench.measure("set, in place", |bench| {
            for _ in 0..BATCH {
                let key = bench.any();
                bench.set(&key);
            }
            BATCH as u64
        });
        let mut fresh = keys;
        bench.measure("set of new keys, evicting", |bench| {
            for _ in 0..BATCH {
                fresh += 1;
                bench.set(&Bench::key(fresh));
            }
            BATCH as u64
        });
    }
}
