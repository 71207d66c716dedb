//! Snapshot tables: what congestion control and loss recovery come to over many roads, so that a change shows in a diff.
//!
//! The tables lie in `testing/sim/tables/`; a test makes them anew and compares.

mod fairness;
mod goodput;
mod grid;

use std::fmt::Write as _;
use std::path::PathBuf;

/// The command that writes the tables anew.
pub const WRITE: &str = "cargo run --release -p freeway-sim -- tables --write";

/// A file of the snapshot.
pub struct Table {
    /// Its name, without directory.
    pub name: &'static str,
    /// What it says now.
    pub make: fn() -> String,
}

/// Every table.
pub const ALL: [Table; 4] = [
    Table { name: "goodput-loss.txt", make: goodput::over_loss },
    Table { name: "goodput-buffer.txt", make: goodput::over_buffers },
    Table { name: "goodput-reordering.txt", make: goodput::over_reordering },
    Table { name: "fairness.txt", make: fairness::table },
];

impl Table {
    /// Where its snapshot lies.
    pub fn path(&self) -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "tables", self.name].iter().collect()
    }
}

/// The lines in which two texts differ, or nothing if they do not.
pub fn diff(kept: &str, made: &str) -> Option<String> {
    if kept == made {
        return None;
    }
    let (mut old, mut new) = (kept.lines(), made.lines());
    let mut text = String::new();
    loop {
        match (old.next(), new.next()) {
            (None, None) => return Some(text),
            (old, new) if old == new => {}
            (old, new) => {
                for (sign, line) in [('-', old), ('+', new)] {
                    if let Some(line) = line {
                        writeln!(text, "{sign} {line}").expect("strings take everything");
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::diff;

    #[test]
    fn texts_that_differ_say_where() {
        assert_eq!(diff("a\nb\n", "a\nb\n"), None);
        assert_eq!(diff("a\nb\n", "a\nc\nd\n").as_deref(), Some("- b\n+ c\n+ d\n"));
        assert_eq!(diff("a\nb\n", "a\n").as_deref(), Some("- b\n"));
    }
}
