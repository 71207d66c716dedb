//! Cells in rows and columns, computed on all processors.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One part of a table: a title, names of columns, and rows of cells.
pub(super) struct Grid {
    pub(super) title: String,
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<String>,
}

impl Grid {
    /// Writes it with the cells given row by row.
    pub(super) fn print(&self, into: &mut String, mut cells: impl Iterator<Item = String>) {
        let line = |head: &str, cells: &[String]| {
            let mut line = format!("{head:24}");
            for cell in cells {
                write!(line, "{cell:>13}").expect("strings take everything");
            }
            line.trim_end().to_owned() + "\n"
        };
        into.push_str(&line(&self.title, &self.columns));
        for row in &self.rows {
            let cells: Vec<String> = cells.by_ref().take(self.columns.len()).collect();
            into.push_str(&line(&format!("  {row}"), &cells));
        }
        into.push('\n');
    }
}

/// `work` of every item, in order, computed on all processors.
pub(super) fn compute<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { return };
                    let result = work(item);
                    results.lock().expect("no thread panics").push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no thread panics");
    results.sort_by_key(|&(index, _)| index);
    results.into_iter().map(|(_, result)| result).collect()
}
