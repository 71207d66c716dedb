//! Which files the rules look at.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Every `.rs` file below `directories` of `root`, as sorted paths relative to `root`; build output is left out.
pub fn rust(root: &Path, directories: &[&str]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for directory in directories {
        if root.join(directory).is_dir() {
            collect(root, directory, "rs", &mut found)?;
        }
    }
    found.sort();
    Ok(found)
}

/// The documents whose links are held to be true: the three at the top and all of `docs`.
pub fn documents(root: &Path) -> Result<Vec<String>> {
    let mut found: Vec<String> = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"]
        .into_iter()
        .filter(|name| root.join(name).is_file())
        .map(str::to_string)
        .collect();
    if root.join("docs").is_dir() {
        collect(root, "docs", "md", &mut found)?;
    }
    found.sort();
    Ok(found)
}

fn collect(root: &Path, directory: &str, extension: &str, found: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(root.join(directory)).with_context(|| format!("reading {directory}"))? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let path = format!("{directory}/{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() && name != "target" && !name.starts_with('.') {
            collect(root, &path, extension, found)?;
        } else if kind.is_file() && Path::new(name).extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn finds_what_counts_and_nothing_that_was_built() {
        let root = tempfile::tempdir().unwrap();
        for path in
            ["crates/a/src/lib.rs", "crates/a/target/out.rs", "crates/a/notes.txt", "docs/deep/a.md", "b.md"]
        {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        assert_eq!(rust(root.path(), &["crates", "absent"]).unwrap(), ["crates/a/src/lib.rs"]);
        assert_eq!(documents(root.path()).unwrap(), ["docs/deep/a.md"]);
    }
}
