//! The tables against the model, however the bytes arrive.

#![allow(clippy::unwrap_used)]

use freeway_memcache::Limits;
use freeway_memcached::{ModelWire, Table, run};
use proptest::prelude::*;

/// All tables; pieces of these sizes arrive.
fn all(sizes: &[usize], skip_large: bool) -> Result<usize, String> {
    let mut failures = Vec::new();
    let mut count = 0;
    for table in Table::all().unwrap().iter().filter(|table| !skip_large || table.name != "limits") {
        let mut wire = ModelWire::new(sizes.to_vec(), Limits::default());
        match run(table, &mut wire, "1.6.45") {
            Ok(cases) => count += cases,
            Err(error) => failures.push(error.to_string()),
        }
    }
    if failures.is_empty() { Ok(count) } else { Err(failures.join("\n")) }
}

#[test]
fn whole() {
    let cases = all(&[], false).unwrap_or_else(|failures| panic!("\n{failures}"));
    assert!(cases > 150, "{cases} cases ran");
}

#[test]
fn byte_by_byte() {
    all(&[1], true).unwrap_or_else(|failures| panic!("\n{failures}"));
}

#[test]
fn in_segments() {
    all(&[1448], false).unwrap_or_else(|failures| panic!("\n{failures}"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn split_anywhere(sizes in prop::collection::vec(1_usize..80, 1..20)) {
        prop_assert_eq!(all(&sizes, true).err(), None);
    }
}
