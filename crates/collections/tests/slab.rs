//! The slab against a model.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use freeway_collections::Slab;
use freeway_mem::{Arena, ArenaLayout};
use proptest::prelude::*;

const CASES: u32 = if cfg!(miri) { 4 } else { 256 };
const OPS: usize = if cfg!(miri) { 60 } else { 400 };

/// An entry of three cache lines.
type Entry = [u64; 24];

fn slab(capacity: u32) -> Slab<Entry> {
    let mut arena = Arena::heap(Slab::<Entry>::plan(ArenaLayout::new(), capacity).bytes()).unwrap();
    Slab::new(&mut arena, "entries", capacity, |index| [u64::from(index); 24]).unwrap()
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u64),
    Remove(u32),
    Change(u32, u64),
    Get(u32),
}

fn op() -> impl Strategy<Value = Op> {
    // Indices run past every capacity tried.
    let index = || 0..220u32;
    prop_oneof![
        3 => any::<u64>().prop_map(Op::Insert),
        2 => index().prop_map(Op::Remove),
        1 => (index(), any::<u64>()).prop_map(|(index, value)| Op::Change(index, value)),
        2 => index().prop_map(Op::Get),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_map(capacity in 0..200u32, ops in prop::collection::vec(op(), 1..OPS)) {
        let mut slab = slab(capacity);
        let mut model = BTreeMap::new();
        for op in ops {
            apply(&mut slab, &mut model, &op);
            prop_assert_eq!(slab.len() as usize, model.len());
        }
        let held: Vec<_> = slab.iter().map(|(index, entry)| (index, entry[0])).collect();
        prop_assert_eq!(held, model.into_iter().collect::<Vec<_>>());
    }
}

fn apply(slab: &mut Slab<Entry>, model: &mut BTreeMap<u32, u64>, op: &Op) {
    match *op {
        Op::Insert(value) => match slab.insert([value; 24]) {
            Ok(index) => {
                assert!(index < slab.capacity());
                assert_eq!(model.insert(index, value), None, "index {index} was taken");
            }
            Err(entry) => {
                assert_eq!(entry, [value; 24]);
                assert_eq!(model.len() as u32, slab.capacity());
            }
        },
        Op::Remove(index) => assert_eq!(slab.remove(index), model.remove(&index).is_some()),
        Op::Change(index, value) => match (slab.get_mut(index), model.get_mut(&index)) {
            (Some(entry), Some(held)) => {
                *entry = [value; 24];
                *held = value;
            }
            (None, None) => {}
            (entry, held) => panic!("{index}: {entry:?} but {held:?}"),
        },
        Op::Get(index) => {
            slab.prefetch(index, 3);
            assert_eq!(slab.contains(index), model.contains_key(&index));
            assert_eq!(slab.get(index), model.get(&index).map(|&value| [value; 24]).as_ref());
        }
    }
}

#[test]
fn the_index_freed_last_is_used_first() {
    let mut slab = slab(4);
    let indices: Vec<_> = (0..4).map(|value| slab.insert([value; 24]).unwrap()).collect();
    assert_eq!(indices, [0, 1, 2, 3]);
    assert!(slab.insert([9; 24]).is_err());
    assert!(slab.remove(1) && slab.remove(3));
    assert!(!slab.remove(3), "a second removal changes nothing");
    assert_eq!(slab.insert([5; 24]).unwrap(), 3);
    assert_eq!(slab.insert([6; 24]).unwrap(), 1);
    assert_eq!(slab.len(), 4);
}

#[test]
fn an_empty_slab_refuses() {
    let mut slab = slab(0);
    assert_eq!(slab.insert([1; 24]), Err([1; 24]));
    assert!(slab.get(0).is_none() && !slab.remove(0) && slab.is_empty());
}
