//! The store against a map with times to live, and its invariants.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use freeway_base::{HashKey, Rng, Seed};
use proptest::prelude::*;

use super::segment::State;
use super::*;

const MEMORY: usize = 4 << 20;

fn store(memory: usize, item_bytes: usize) -> Store {
    let config = StoreConfig {
        memory,
        item_bytes,
        item_max: memory / 2,
        place: Place::Heap,
        ..StoreConfig::default()
    };
    Store::new(&config, HashKey::new([1, 2])).unwrap()
}

/// A value that is told by its number and length alone.
fn bytes(number: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::new(Seed(number));
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend(rng.next_u64().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn key(number: u16) -> Vec<u8> {
    format!("{number}{}", "k".repeat(usize::from(number) % 200)).into_bytes()
}

impl Store {
    fn set(&mut self, key: &[u8], value: &[u8], flags: u32, expiry: u32, now: u32) -> Result<Item, NoRoom> {
        let hash = self.hash(key);
        assert!(self.make_room(now));
        let old = self.find(hash, key, now);
        let put = Put { key, hash, flags, expiry, cas: None, stale: false };
        self.put(&put, [Source::Bytes(value), Source::Bytes(b"")], old, now)
    }

    fn get(&mut self, key: &[u8], now: u32) -> Option<Item> {
        let hash = self.hash(key);
        let item = self.find(hash, key, now)?;
        self.hit(item, now);
        Some(item)
    }

    fn value(&self, item: Item) -> Vec<u8> {
        let mut value = vec![0; self.value_len(item) + 1];
        let len = self.read(item, 0, &mut value);
        value.truncate(len);
        value
    }

    fn delete(&mut self, key: &[u8], now: u32) -> bool {
        let hash = self.hash(key);
        let found = self.find(hash, key, now);
        if let Some(item) = found {
            self.remove(hash, item);
        }
        found.is_some()
    }

    /// Walks over everything and compares it with what is counted.
    fn check(&self) {
        let count = self.segments.count();
        let mut live = vec![0_u32; count as usize];
        let (mut items, mut larges, mut own) = (0, 0, [0, 0]);
        let mut state = vec![None; count as usize];
        for index in 0..count {
            let segment = self.segments.get(index);
            state[index as usize] = Some(segment.state);
            if !matches!(segment.state, State::Listed | State::Draining) {
                continue;
            }
            let mut offset = segment.first;
            while offset < segment.used {
                let item = self.item(index * POSITIONS + offset / 8);
                offset += item.header.record_len() as u32;
                if item.header.has(Bits::DEAD) {
                    continue;
                }
                items += 1;
                let key = self.key(item).to_vec();
                let hash = self.hash(&key);
                assert_eq!(
                    self.index.find(hash, |at| at == item.at),
                    Some(item.at),
                    "a live record is indexed"
                );
                let (here, there) = item.split();
                live[index as usize] += here as u32;
                if there > 0 {
                    live[segment.part as usize] += there as u32;
                }
                larges += u32::from(item.header.has(Bits::LARGE));
                let (_, mut next, bytes) = self.own(item);
                for _ in 0..bytes.div_ceil(SEGMENT) {
                    let segment = self.segments.get(next);
                    assert_eq!(segment.state, State::Own);
                    own[segment.queue as usize] += 1;
                    next = segment.next;
                }
            }
        }
        assert_eq!((items, larges), (self.index.len(), self.larges));
        assert_eq!(own, self.segments.own);
        for index in 0..count {
            let segment = self.segments.get(index);
            if segment.state != State::Limbo {
                assert_eq!(segment.live, live[index as usize], "segment {index} in {:?}", segment.state);
            }
        }
        let free = state.iter().filter(|&&state| state == Some(State::Free)).count();
        assert_eq!(free as u32, self.segments.free());
        let limbo = state.iter().filter(|&&state| state == Some(State::Limbo)).count();
        assert_eq!(limbo as u32, self.segments.limbo);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Set { key: u16, len: usize, flags: u32, ttl: u32 },
    Get { key: u16 },
    Delete { key: u16 },
    Touch { key: u16, ttl: u32 },
    Append { key: u16, len: usize },
    Number { key: u16 },
    Pin { key: u16 },
    Unpin { pick: usize },
    Piecemeal { key: u16, len: usize, abort: bool },
    Flush,
    Wait { secs: u32 },
    Maintain,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = || prop_oneof![4 => 0..20_u16, 1 => 0..400_u16];
    let ttl = || prop_oneof![3 => Just(0_u32), 2 => 1..20_u32, 1 => 20..5_000_u32];
    let len = || prop_oneof![6 => 0..100_usize, 3 => 100..5_000_usize, 2 => 5_000..70_000_usize, 1 => 60_000..300_000_usize];
    let flags = prop_oneof![Just(0_u32), any::<u32>()];
    let op = prop_oneof![
        12 => (key(), len(), flags, ttl()).prop_map(|(key, len, flags, ttl)| Op::Set { key, len, flags, ttl }),
        8 => key().prop_map(|key| Op::Get { key }),
        3 => key().prop_map(|key| Op::Delete { key }),
        3 => (key(), ttl()).prop_map(|(key, ttl)| Op::Touch { key, ttl }),
        2 => (key(), len()).prop_map(|(key, len)| Op::Append { key, len }),
        2 => key().prop_map(|key| Op::Number { key }),
        2 => key().prop_map(|key| Op::Pin { key }),
        2 => any::<usize>().prop_map(|pick| Op::Unpin { pick }),
        1 => (key(), len(), any::<bool>()).prop_map(|(key, len, abort)| Op::Piecemeal { key, len, abort }),
        1 => prop_oneof![5 => Just(Op::Maintain), 1 => Just(Op::Flush)],
        2 => (0..30_u32).prop_map(|secs| Op::Wait { secs }),
    ];
    prop::collection::vec(op, 1..300)
}

#[derive(Clone, Debug, PartialEq)]
struct Expected {
    value: Vec<u8>,
    flags: u32,
    expiry: u32,
    /// The CAS unique that a client was shown.
    cas: Option<u64>,
}

/// A store and what it must agree with. It may forget an item, when it counts an eviction; it may not make one up.
struct Pair {
    store: Store,
    model: HashMap<u16, Expected>,
    pinned: Vec<(Item, Vec<u8>)>,
    now: u32,
    number: u64,
    cas: u64,
}

impl Pair {
    fn expiry(&self, ttl: u32) -> u32 {
        if ttl == 0 { NEVER } else { self.now + ttl }
    }

    fn apply(&mut self, op: &Op) {
        self.number += 1;
        let now = self.now;
        match *op {
            Op::Set { key: k, len, flags, ttl } => {
                let (value, expiry) = (bytes(self.number, len), self.expiry(ttl));
                self.store.set(&key(k), &value, flags, expiry, now).unwrap();
                self.model.insert(k, Expected { value, flags, expiry, cas: None });
                self.compare(k);
                self.show(k);
            }
            Op::Get { key: k } => self.compare(k),
            Op::Delete { key: k } => {
                let found = self.store.delete(&key(k), now);
                let expected = self.model.remove(&k);
                assert!(!found || expected.is_some_and(|expected| expected.expiry > now));
            }
            Op::Touch { key: k, ttl } => {
                let (bytes, expiry) = (key(k), self.expiry(ttl));
                let hash = self.store.hash(&bytes);
                assert!(self.store.make_room(now));
                if let Some(item) = self.store.find(hash, &bytes, now) {
                    self.store.set_expiry(hash, item, expiry, now).unwrap();
                    self.model.get_mut(&k).unwrap().expiry = expiry;
                }
                self.compare(k);
            }
            Op::Append { key: k, len } => self.append(k, len),
            Op::Number { key: k } => {
                let bytes = key(k);
                let hash = self.store.hash(&bytes);
                let Some(item) = self.store.find(hash, &bytes, now) else { return };
                let digits = vec![b'7'; self.store.value_len(item)];
                if let Some(item) = self.store.set_number(item, &digits, None) {
                    let expected = self.model.get_mut(&k).unwrap();
                    (expected.value, expected.cas) = (digits, None);
                    assert!(self.store.cas(item) > self.cas, "a number has a new unique");
                    self.show(k);
                }
                self.compare(k);
            }
            Op::Pin { key: k } => {
                let bytes = key(k);
                let hash = self.store.hash(&bytes);
                if let Some(item) = self.store.find(hash, &bytes, now)
                    && self.store.pinned() < self.store.segments.count() / 4
                {
                    self.store.pin(item);
                    self.pinned.push((item, self.store.value(item)));
                }
            }
            Op::Unpin { pick } => {
                if !self.pinned.is_empty() {
                    let (item, value) = self.pinned.swap_remove(pick % self.pinned.len());
                    let item = self.store.pinned_item(item.number());
                    assert!(self.store.value(item) == value, "what is held is not written over");
                    self.store.unpin(item);
                }
            }
            Op::Piecemeal { key: k, len, abort } => self.piecemeal(k, len, abort),
            Op::Flush => {
                self.store.flush();
                self.model.clear();
            }
            Op::Wait { secs } => self.now += secs,
            Op::Maintain => {
                self.store.maintain(now, 200);
            }
        }
    }

    fn append(&mut self, k: u16, len: usize) {
        let (bytes, now) = (key(k), self.now);
        let hash = self.store.hash(&bytes);
        assert!(self.store.make_room(now));
        let Some(item) = self.store.find(hash, &bytes, now) else { return };
        let expected = self.model.get_mut(&k).unwrap();
        if expected.value.len() + len > 600_000 {
            return;
        }
        let more = self::bytes(self.number, len);
        let put = Put {
            key: &bytes,
            hash,
            flags: expected.flags,
            expiry: expected.expiry,
            cas: None,
            stale: false,
        };
        self.store.pin(item);
        let stored = self.store.put(&put, [Source::Item(item), Source::Bytes(&more)], Some(item), now);
        self.store.unpin(self.store.pinned_item(item.number()));
        stored.unwrap();
        expected.value.extend(more);
        expected.cas = None;
        self.compare(k);
        self.show(k);
    }

    fn piecemeal(&mut self, k: u16, len: usize, abort: bool) {
        let (bytes, now, value) = (key(k), self.now, self::bytes(self.number, len));
        let mut writer = self.store.begin(len, now).unwrap();
        for piece in value.chunks(1_460) {
            self.store.append_bytes(&mut writer, piece, now).unwrap();
        }
        if abort {
            self.store.abort(writer);
            return;
        }
        let hash = self.store.hash(&bytes);
        assert!(self.store.make_room(now));
        let old = self.store.find(hash, &bytes, now);
        let put = Put { key: &bytes, hash, flags: 5, expiry: NEVER, cas: None, stale: false };
        self.store.commit(&put, writer, old, now).unwrap();
        self.model.insert(k, Expected { value, flags: 5, expiry: NEVER, cas: None });
        self.compare(k);
    }

    /// What the store has under a key is what it must be.
    fn compare(&mut self, k: u16) {
        let Some(item) = self.store.get(&key(k), self.now) else {
            let lost = self.model.remove(&k).is_some_and(|expected| expected.expiry > self.now);
            assert!(!lost || self.store.counters.evictions > 0, "key {k} is lost");
            return;
        };
        let expected = self.model.get(&k).unwrap_or_else(|| panic!("key {k} should not be there"));
        assert!(expected.expiry > self.now, "key {k} should have expired");
        assert!(self.store.value(item) == expected.value, "the value of key {k}");
        assert_eq!((self.store.flags(item), self.store.expiry(item)), (expected.flags, expected.expiry));
        if let Some(cas) = expected.cas {
            assert_eq!(self.store.cas(item), cas, "a unique that was shown stays");
        }
        assert_eq!(self.store.last_access(item).min(self.now), self.store.last_access(item));
    }

    /// Half of the keys have their unique shown.
    fn show(&mut self, k: u16) {
        if k.is_multiple_of(2)
            && let Some(item) = self.store.get(&key(k), self.now)
        {
            let cas = self.store.show_cas(item);
            assert!(cas > self.cas || self.model[&k].cas == Some(cas), "uniques rise");
            self.cas = self.cas.max(cas);
            self.model.get_mut(&k).unwrap().cas = Some(cas);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_map_with_times_to_live(ops in ops()) {
        let mut pair = Pair {
            store: store(MEMORY, 64),
            model: HashMap::new(),
            pinned: Vec::new(),
            now: 1,
            number: 0,
            cas: 0,
        };
        for (step, op) in ops.iter().enumerate() {
            pair.apply(op);
            if step % 16 == 0 {
                pair.store.check();
            }
        }
        for k in 0..400 {
            pair.compare(k);
        }
        for (item, value) in std::mem::take(&mut pair.pinned) {
            let item = pair.store.pinned_item(item.number());
            assert!(pair.store.value(item) == value);
            pair.store.unpin(item);
        }
        assert_eq!((pair.store.pinned(), pair.store.segments.limbo), (0, 0));
        pair.store.check();
    }
}

#[test]
fn ten_times_its_memory_goes_through_it_and_every_step_is_bounded() {
    let mut store = store(16 << 20, 64);
    let mut rng = Rng::new(Seed(3));
    let total = 160 << 20;
    let (mut written, mut number, mut drained) = (0, 0_u64, 0);
    let mut most = 0;
    while written < total {
        let len = 10 + rng.below(700) as usize;
        number += 1;
        store.set(format!("key{number}").as_bytes(), &bytes(number, len), 0, NEVER, 1).unwrap();
        if number > 100 && number.is_multiple_of(3) {
            store.get(format!("key{}", number - 100).as_bytes(), 1);
        }
        written += len + 20;
        most = most.max(store.counters.drained - drained);
        drained = store.counters.drained;
    }
    assert!(store.counters.evictions > 100_000 && store.counters.promoted > 1_000);
    // Two batches of records are at most a part of one segment and a part of the next.
    assert!(most <= 2, "{most} segments were drained for one item");
    let (used, max) = store.bytes();
    assert!(used > max - max / 32, "{used} of {max} bytes are in use");
    store.check();
    // What was stored last is there.
    assert!(
        (number - 1_000..=number).all(|number| store.get(format!("key{number}").as_bytes(), 1).is_some())
    );
}

#[test]
fn segments_come_back_when_their_items_expire_and_nobody_asks() {
    let mut store = store(16 << 20, 64);
    for number in 0..20_000_u64 {
        let ttl = [10, 11, 100, 5_000][number as usize % 4];
        store.set(format!("key{number}").as_bytes(), &[7; 100], 0, 1 + ttl, 1).unwrap();
    }
    let used = |store: &Store| store.bytes().0 / SEGMENT as u64;
    let before = used(&store);
    for (now, share) in [(13, 2), (102, 1)] {
        while store.maintain(now, 100) {}
        let left = used(&store);
        assert!(left <= before * share / 4 + 2, "{left} of {before} segments at {now} s");
    }
    assert_eq!(store.counters.expired, 15_000);
    assert_eq!(store.counters.evictions, 0);
    store.check();
    while store.maintain(6_000, 100) {}
    assert_eq!((used(&store), store.len()), (0, 0));
}

#[test]
fn a_flush_gives_everything_back_bit_by_bit() {
    let mut store = store(16 << 20, 64);
    for number in 0..20_000_u64 {
        store.set(format!("key{number}").as_bytes(), &[7; 100], 0, NEVER, 1).unwrap();
    }
    store.flush();
    assert!(store.get(b"key7", 1).is_none());
    store.set(b"key8", b"new", 0, NEVER, 1).unwrap();
    let mut steps = 0;
    while store.maintain(1, 64) {
        steps += 1;
    }
    assert!(steps > 100, "{steps} steps");
    assert_eq!(store.len(), 1);
    assert_eq!(store.value(store.item(store.index.find(store.hash(b"key8"), |_| true).unwrap())), b"new");
    store.check();
}

#[test]
fn readers_hold_what_they_read_and_nobody_waits_for_them() {
    let mut store = store(8 << 20, 64);
    let large = bytes(1, 500_000);
    let item = store.set(b"large", &large, 0, NEVER, 1).unwrap();
    store.pin(item);
    for number in 0..100_000_u64 {
        store.set(format!("key{number}").as_bytes(), &[7; 300], 0, NEVER, 1).unwrap();
    }
    assert!(store.get(b"large", 1).is_none(), "it was evicted");
    let held = store.pinned_item(item.number());
    assert!(store.value(held) == large);
    assert!(store.segments.limbo >= 8);
    store.unpin(held);
    assert_eq!((store.segments.limbo, store.pinned()), (0, 0));
    store.check();
}

#[test]
fn a_lower_limit_is_kept_to() {
    let mut store = store(16 << 20, 64);
    for number in 0..100_000_u64 {
        store.set(format!("key{number}").as_bytes(), &[7; 300], 0, NEVER, 1).unwrap();
    }
    let limit = store.set_bytes_max(6 << 20);
    assert_eq!(limit, 6 << 20);
    while store.maintain(1, 64) {}
    assert!(store.bytes().0 <= limit);
    for number in 0..50_000_u64 {
        store.set(format!("key{number}").as_bytes(), &[7; 300], 0, NEVER, 1).unwrap();
        assert!(store.bytes().0 <= limit);
    }
    store.check();
}

#[test]
fn what_is_asked_for_outlives_a_scan() {
    let mut store = store(16 << 20, 64);
    let hot = |number: u64| format!("hot{number}").into_bytes();
    for number in 0..5_000 {
        store.set(&hot(number), &[1; 200], 0, NEVER, 1).unwrap();
    }
    for scanned in 0..300_000_u64 {
        store.set(format!("scan{scanned}").as_bytes(), &[2; 200], 0, NEVER, 1).unwrap();
        store.get(&hot(scanned % 5_000), 1);
    }
    let left = (0..5_000).filter(|&number| store.get(&hot(number), 1).is_some()).count();
    assert!(left > 4_900, "{left} of 5000 are left");
}

#[test]
fn what_does_not_fit_is_refused_and_harms_nothing() {
    let mut store = store(4 << 20, 64);
    store.set(b"small", b"value", 0, NEVER, 1).unwrap();
    assert!(store.begin(3 << 20, 1).is_err());
    // Readers hold everything.
    let mut held = Vec::new();
    for number in 0..100_u64 {
        let Ok(item) = store.set(format!("large{number}").as_bytes(), &[1; 100_000], 0, NEVER, 1) else {
            break;
        };
        store.pin(item);
        held.push(item);
        if !store.make_room(1) {
            break;
        }
    }
    assert!(held.len() > 20 && store.counters.no_room > 0);
    store.check();
    for item in held {
        store.unpin(store.pinned_item(item.number()));
    }
    store.set(b"again", b"value", 0, NEVER, 1).unwrap();
    store.check();
}
