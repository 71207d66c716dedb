//! The snapshot tables are what the code makes of them.

use freeway_sim::tables::{ALL, WRITE, diff};

#[test]
fn tables_are_what_they_were() {
    let mut text = String::new();
    for table in ALL {
        let kept = std::fs::read_to_string(table.path()).unwrap_or_default();
        if let Some(diff) = diff(&kept, &(table.make)()) {
            text.push_str(&format!("{}:\n{diff}\n", table.name));
        }
    }
    assert!(
        text.is_empty(),
        "tables differ (- kept, + made):\n{text}If that is meant, write them anew: {WRITE}"
    );
}
