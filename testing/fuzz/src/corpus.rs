//! The inputs that are kept: `corpus/TARGET/*`, one input a file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the inputs of a target lie.
pub fn directory(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// The inputs of a target, in the order of their names.
///
/// # Errors
///
/// When the directory is not there or a file cannot be read.
pub fn read(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let mut paths = fs::read_dir(directory(target))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    paths.into_iter().map(fs::read).collect()
}
