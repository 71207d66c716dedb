//! The flow table against a model, and at its promised load.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use freeway_base::{FlowHash, Rng, Seed};
use freeway_collections::{FlowTable, Full};
use freeway_mem::{Arena, ArenaLayout};
use proptest::prelude::*;

const CASES: u32 = if cfg!(miri) { 4 } else { 256 };
const OPS: usize = if cfg!(miri) { 80 } else { 600 };

fn table(capacity: u32) -> FlowTable {
    let mut arena = Arena::heap(FlowTable::plan(ArenaLayout::new(), capacity).bytes()).unwrap();
    FlowTable::new(&mut arena, capacity).unwrap()
}

#[derive(Clone, Debug)]
enum Op {
    Insert { hash: u64 },
    Remove { pick: usize },
    RemoveAbsent { hash: u64 },
    Replace { pick: usize },
    Find { pick: usize },
    FindAbsent { hash: u64 },
}

/// Hashes of few homes and few tags, so that buckets overflow and tags collide.
fn crowded_hash() -> impl Strategy<Value = u64> {
    (0..6u64, 0..5u64, any::<u16>()).prop_map(|(home, tag, high)| {
        let low = home * (u64::from(u32::MAX) / 6) + home;
        (u64::from(high) << 48) | (tag << 32) | low
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => crowded_hash().prop_map(|hash| Op::Insert { hash }),
        3 => any::<usize>().prop_map(|pick| Op::Remove { pick }),
        1 => crowded_hash().prop_map(|hash| Op::RemoveAbsent { hash }),
        2 => any::<usize>().prop_map(|pick| Op::Replace { pick }),
        2 => any::<usize>().prop_map(|pick| Op::Find { pick }),
        1 => crowded_hash().prop_map(|hash| Op::FindAbsent { hash }),
    ]
}

/// What the table must agree with: each index in it, and its hash.
#[derive(Default)]
struct Model {
    hashes: HashMap<u32, u64>,
    order: Vec<u32>,
    next_index: u32,
}

impl Model {
    fn pick(&self, pick: usize) -> Option<usize> {
        (!self.order.is_empty()).then(|| pick % self.order.len())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_hash_map(
        capacity in prop_oneof![1..12u32, 60..200u32, 300..427u32],
        ops in prop::collection::vec(op(), 1..OPS),
    ) {
        let mut table = table(capacity);
        let mut model = Model::default();
        for op in ops {
            apply(&mut table, &mut model, &op);
            prop_assert_eq!(table.len() as usize, model.hashes.len());
        }
        for (&index, &hash) in &model.hashes {
            prop_assert_eq!(table.find(FlowHash(hash), |found| found == index), Some(index));
        }
        for (index, hash) in model.hashes.drain() {
            prop_assert!(table.remove(FlowHash(hash), index));
        }
        prop_assert!(table.is_empty());
    }
}

fn apply(table: &mut FlowTable, model: &mut Model, op: &Op) {
    match *op {
        Op::Insert { hash } => {
            let index = model.next_index;
            model.next_index += 1;
            // A table of one block takes its capacity whatever the hashes.
            let fits = (model.hashes.len() as u32) < table.capacity();
            assert_eq!(table.insert(FlowHash(hash), index), if fits { Ok(()) } else { Err(Full) });
            if fits {
                model.hashes.insert(index, hash);
                model.order.push(index);
            }
        }
        Op::Remove { pick } => {
            let Some(place) = model.pick(pick) else { return };
            let index = model.order.swap_remove(place);
            let hash = model.hashes.remove(&index).unwrap();
            assert!(table.remove(FlowHash(hash), index));
            assert!(!table.remove(FlowHash(hash), index));
            assert_eq!(table.find(FlowHash(hash), |found| found == index), None);
        }
        Op::Replace { pick } => {
            let Some(place) = model.pick(pick) else { return };
            let (old, new) = (model.order[place], model.next_index);
            model.next_index += 1;
            let hash = model.hashes.remove(&old).unwrap();
            assert!(table.replace(FlowHash(hash), old, new));
            assert!(!table.replace(FlowHash(hash), old, new));
            model.hashes.insert(new, hash);
            model.order[place] = new;
        }
        Op::RemoveAbsent { hash } => assert!(!table.remove(FlowHash(hash), u32::MAX - 1)),
        Op::Find { pick } => {
            let Some(place) = model.pick(pick) else { return };
            let index = model.order[place];
            let hash = FlowHash(model.hashes[&index]);
            assert_eq!(table.find(hash, |found| found == index), Some(index));
            assert!(table.first_candidate(hash).is_some());
            table.prefetch(hash);
        }
        Op::FindAbsent { hash } => assert_eq!(table.find(FlowHash(hash), |_| false), None),
    }
}

/// Entry `n`'s hash in a test of many.
fn random_hash(seed: u64, n: u32) -> FlowHash {
    FlowHash(Rng::new(Seed(seed ^ (u64::from(n) << 20))).next_u64())
}

#[test]
fn a_million_flows_fit_a_table_for_a_million_and_go_on_fitting_as_they_come_and_go() {
    let capacity = if cfg!(miri) { 1_500 } else { 1_000_000 };
    let mut table = table(capacity);
    for index in 0..capacity {
        assert_eq!(table.insert(random_hash(1, index), index), Ok(()), "at {index}");
    }
    assert_eq!(table.insert(random_hash(2, 0), 0), Err(Full));

    // Every flow leaves and another takes its index, in a random order, the table being full all the while.
    let mut rng = Rng::new(Seed(3));
    let mut generation = vec![1; capacity as usize];
    for _ in 0..capacity {
        let index = rng.below(capacity);
        let seed = &mut generation[index as usize];
        assert!(table.remove(random_hash(*seed, index), index));
        *seed += 1;
        assert_eq!(table.insert(random_hash(*seed, index), index), Ok(()));
    }
    assert_eq!(table.len(), capacity);
    for index in 0..capacity {
        let hash = random_hash(generation[index as usize], index);
        assert_eq!(table.find(hash, |found| found == index), Some(index));
    }
}

#[test]
fn absent_flows_offer_next_to_no_candidates() {
    let capacity = if cfg!(miri) { 1_000 } else { 200_000 };
    let mut table = table(capacity);
    for index in 0..capacity {
        table.insert(random_hash(1, index), index).unwrap();
    }
    let offered = (0..capacity).filter(|&n| table.first_candidate(random_hash(9, n)).is_some()).count();
    assert!(offered <= capacity as usize / 900, "{offered} candidates for {capacity} absent flows");
}

#[test]
#[cfg_attr(miri, ignore = "searches whole blocks, which takes minutes")]
fn a_flood_at_one_home_is_refused_after_one_block() {
    let mut table = table(100_000);
    let flood = (0u32..).take_while(|&n| table.insert(FlowHash(u64::from(n) << 32), n).is_ok()).count();
    assert_eq!(flood, 640);
    assert_eq!(table.insert(FlowHash(u64::from(u32::MAX)), 7), Ok(()), "another home is not affected");
    for n in 0..640 {
        assert!(table.remove(FlowHash(n << 32), n as u32));
    }
    assert_eq!(table.len(), 1);
    assert_eq!(table.insert(FlowHash(5), 5), Ok(()));
}

#[test]
fn the_smallest_tables_work() {
    let mut none = table(0);
    assert_eq!(none.insert(FlowHash(1), 1), Err(Full));
    assert_eq!(none.find(FlowHash(1), |_| true), None);
    assert!(!none.remove(FlowHash(1), 1));

    let mut one = table(1);
    assert_eq!(one.insert(FlowHash(u64::MAX), 1), Ok(()));
    assert_eq!(one.insert(FlowHash(2), 2), Err(Full));
    assert_eq!(one.first_candidate(FlowHash(u64::MAX)), Some(1));
}

#[test]
fn a_flow_inserted_twice_is_removed_twice() {
    let mut table = table(4);
    for _ in 0..2 {
        table.insert(FlowHash(9), 1).unwrap();
    }
    assert!(table.remove(FlowHash(9), 1));
    assert_eq!(table.first_candidate(FlowHash(9)), Some(1));
    assert!(table.remove(FlowHash(9), 1));
    assert!(!table.remove(FlowHash(9), 1));
}
