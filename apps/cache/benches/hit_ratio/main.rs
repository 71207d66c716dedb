//! Hit ratios of the store and of models of other caches, over the same requests: the table of `docs/cache.md`.
//!
//! Every request asks for a key; what is not there is stored. All models are charged what the store takes for an item, but
//! for the one that is memcached with its own overhead.
//!
//! ```sh
//! cargo bench -p freeway-cache --bench hit_ratio
//! ```
#![allow(clippy::unwrap_used, missing_docs)]

mod model;
#[allow(dead_code)]
mod trace;

use freeway_base::HashKey;
use freeway_cache::store::{NEVER, Place, Policy, Put, Source, Store, StoreConfig};
use model::{ItemS3Fifo, Lru, Model, Segmented, Sieve};
use trace::{Request, TRACES};

/// Bytes of each cache.
const MEMORY: usize = 16 << 20;

/// What an item takes in the store: its header, a key of 8 bytes, its value.
fn charge(size: u32) -> u64 {
    (8 + 8 + u64::from(size)).next_multiple_of(8)
}

/// What it takes in memcached: 48 bytes of header, 8 of CAS unique, the key and its end, the value and its, in chunks
/// that grow by a quarter.
fn charge_memcached(size: u32) -> u64 {
    let wanted = 48 + 8 + 9 + u64::from(size) + 2;
    let mut chunk = 96_u64;
    while chunk < wanted {
        chunk = (chunk * 5 / 4).next_multiple_of(8);
    }
    chunk
}

/// The store as a model.
struct Real {
    store: Store,
    value: Vec<u8>,
}

impl Real {
    fn new(policy: Policy) -> Self {
        let config = StoreConfig {
            memory: MEMORY,
            item_bytes: 128,
            policy,
            place: Place::Heap,
            ..StoreConfig::default()
        };
        Self { store: Store::new(&config, HashKey::new([3, 4])).unwrap(), value: vec![0; 1 << 20] }
    }
}

impl Model for Real {
    fn request(&mut self, request: Request) -> bool {
        let key = request.key.to_le_bytes();
        let hash = self.store.hash(&key);
        let found = self.store.find(hash, &key, 1);
        if let Some(item) = found {
            self.store.hit(item, 1);
            if !request.write {
                return true;
            }
        }
        let _ = self.store.make_room(1);
        let old = self.store.find(hash, &key, 1);
        let put = Put { key: &key, hash, flags: 0, expiry: NEVER, cas: None, stale: false };
        let value = &self.value[..request.size as usize];
        self.store.put(&put, [Source::Bytes(value), Source::Bytes(b"")], old, 1).unwrap();
        found.is_some()
    }
}

fn main() {
    let real = |policy| Box::new(Real::new(policy)) as Box<dyn Model>;
    let default = Policy::default();
    // What the segments of the real store hold, without index and fingerprints.
    let bytes = Real::new(default).store.bytes().1;
    type Make<'a> = Box<dyn Fn() -> Box<dyn Model> + 'a>;
    let models: Vec<(&str, Make<'_>)> = vec![
        ("LRU", Box::new(|| Box::new(Lru::new(bytes, charge)))),
        ("memcached -m", Box::new(|| Box::new(Segmented::new(MEMORY as u64, charge_memcached)))),
        ("its segmented LRU", Box::new(|| Box::new(Segmented::new(bytes, charge)))),
        ("SIEVE", Box::new(|| Box::new(Sieve::new(bytes, charge)))),
        ("S3-FIFO", Box::new(|| Box::new(ItemS3Fifo::new(bytes, charge)))),
        ("clock", Box::new(|| real(Policy { clock: true, ..default }))),
        ("no ghosts", Box::new(|| real(Policy { ghosts: false, ..default }))),
        ("promote at 2", Box::new(|| real(Policy { promote_at: 2, ..default }))),
        ("small 1/4", Box::new(|| real(Policy { small_share: 64, ..default }))),
        ("**Freeway**", Box::new(|| real(default))),
    ];
    // Arguments name columns.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let models: Vec<_> = models
        .into_iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|wanted| name.contains(wanted)))
        .collect();
    print!("| trace |");
    models.iter().for_each(|(name, _)| print!(" {name} |"));
    println!("\n|---|{}", "---|".repeat(models.len()));
    for trace in TRACES {
        print!("| {} |", trace.name);
        for (_, make) in &models {
            let mut model = make();
            let (mut asked, mut hits) = (0_u64, 0_u64);
            let warm = trace.requests / 3;
            for (number, request) in trace.requests().enumerate() {
                let hit = model.request(request);
                if number as u64 >= warm && !request.write {
                    asked += 1;
                    hits += u64::from(hit);
                }
            }
            print!(" {:.2} |", hits as f64 * 100.0 / asked as f64);
        }
        println!();
    }
}
