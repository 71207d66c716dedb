//! `cargo xtask tidy`: the rules of the house that no compiler checks.
//!
//! Every rule is a pure function from text to findings, and a finding is one line: where, what, and what to do.

mod files;
mod links;
mod rules;
mod source;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use crate::edges::{self, EDGES, Edge, Kind};
use source::Source;

/// Crates that an embedded system could run: they may not lean on an operating system.
const NO_STD: [&str; 4] = ["crates/base", "crates/wire", "crates/tcp", "crates/stack"];

/// Directories whose Rust files are held to the rules.
const RUST_DIRECTORIES: [&str; 7] = ["crates", "drivers", "apps", "cli", "examples", "testing", "xtask"];

/// Checks the workspace at `root`; fails when there is a finding, after printing every one.
pub fn run(root: &Path) -> Result<()> {
    let findings = findings(root)?;
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        count => bail!("tidy: {count} finding(s)"),
    }
}

fn findings(root: &Path) -> Result<Vec<String>> {
    let metadata = MetadataCommand::new()
        .current_dir(root)
        .no_deps()
        .exec()
        .context("cargo metadata does not understand the workspace")?;
    let house = House::new(&metadata);

    let mut findings = edges::check(EDGES, &house.crates(), &house.edges);
    for path in files::rust(root, &RUST_DIRECTORIES)? {
        match Source::read(root, &path) {
            Ok(source) => findings.extend(judge(&house, &source)),
            Err(reason) => findings.push(format!("{path}: not readable as Rust: {reason:#}")),
        }
    }
    for path in files::documents(root)? {
        let text = std::fs::read_to_string(root.join(&path)).with_context(|| path.clone())?;
        findings.extend(links::check(root, &path, &text));
    }
    Ok(findings)
}

/// Every rule for one Rust file.
fn judge(house: &House, source: &Source) -> Vec<String> {
    let mut findings = rules::header(source);
    findings.extend(rules::length(source));
    findings.extend(rules::leftovers(source));
    findings.extend(rules::unsafe_stays_in_its_islands(source));
    if house.roots.contains_key(&source.path) {
        findings.extend(rules::root_denies_unsafe(source));
    }
    if let Some(dir) = NO_STD.iter().find(|dir| source.path.starts_with(&format!("{dir}/src/"))) {
        if house.roots.contains_key(&source.path) {
            findings.extend(rules::root_states_no_std(source));
        }
        if *dir == "crates/stack" {
            findings.extend(rules::does_not_name_std(source));
        }
    }
    findings
}

/// What cargo knows of the workspace, with every path relative to its root.
struct House {
    /// `lib.rs` and `main.rs` of every crate (and the roots of further binaries), each with its crate's directory.
    roots: BTreeMap<String, String>,
    edges: Vec<Edge>,
}

impl House {
    fn new(metadata: &Metadata) -> Self {
        let relative = |path: &cargo_metadata::camino::Utf8Path| {
            path.strip_prefix(&metadata.workspace_root).unwrap_or(path).to_string()
        };
        let mut roots = BTreeMap::new();
        let mut edges = Vec::new();
        for package in metadata.workspace_packages() {
            let dir = relative(package.manifest_path.parent().unwrap_or(&package.manifest_path));
            for target in package.targets.iter().filter(|target| !target.is_test() && !target.is_bench()) {
                if !target.is_example() && !target.is_custom_build() {
                    roots.insert(relative(&target.src_path), dir.clone());
                }
            }
            for dependency in &package.dependencies {
                let Some(path) = &dependency.path else { continue };
                let kind = match dependency.kind {
                    DependencyKind::Development => Kind::Dev,
                    DependencyKind::Build => Kind::Build,
                    _ => Kind::Normal,
                };
                edges.push(Edge { from: dir.clone(), to: relative(path), kind });
            }
        }
        Self { roots, edges }
    }

    fn crates(&self) -> Vec<String> {
        let mut crates: Vec<String> = self.roots.values().cloned().collect();
        crates.sort();
        crates.dedup();
        crates
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::fs;

    /// A workspace of one crate, `crates/wire`, that keeps every rule.
    fn workspace() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n");
        write("crates/wire/Cargo.toml", "[package]\nname = \"wire\"\nedition = \"2024\"\n");
        write("crates/wire/src/lib.rs", "//! Formats.\n\n#![no_std]\n#![forbid(unsafe_code)]\n");
        write("README.md", "See [the formats](crates/wire/src/lib.rs).\n");
        root
    }

    #[test]
    fn a_tidy_workspace_has_no_finding() {
        let root = workspace();
        assert_eq!(findings(root.path()).unwrap(), Vec::<String>::new());
        assert!(run(root.path()).is_ok());
    }

    #[test]
    fn every_rule_reaches_the_files() {
        let root = workspace();
        fs::write(
            root.path().join("crates/wire/src/lib.rs"),
            "pub fn f() { unsafe { dbg!(()) } }\n".to_string() + &"\n".repeat(900),
        )
        .unwrap();
        fs::write(root.path().join("README.md"), "See [nothing](docs/nothing.md).\n").unwrap();
        fs::create_dir_all(root.path().join("crates/base/src")).unwrap();
        fs::write(
            root.path().join("crates/base/Cargo.toml"),
            "[package]\nname = \"base\"\nedition = \"2024\"\n[dependencies]\nwire = { path = \"../wire\" }\n",
        )
        .unwrap();
        fs::write(
            root.path().join("crates/base/src/lib.rs"),
            "//! Ground.\n#![no_std]\n#![forbid(unsafe_code)]\n",
        )
        .unwrap();

        let found = findings(root.path()).unwrap();
        for expected in [
            "crates/base/Cargo.toml: crates/base may not use crates/wire",
            "crates/wire/src/lib.rs:1: the file does not begin",
            "crates/wire/src/lib.rs: 901 lines",
            "crates/wire/src/lib.rs:1: dbg!",
            "crates/wire/src/lib.rs:1: `unsafe` outside",
            "crates/wire/src/lib.rs: lacks #![forbid(unsafe_code)]",
            "crates/wire/src/lib.rs: lacks #![no_std]",
            "README.md:1: docs/nothing.md",
        ] {
            assert!(found.iter().any(|line| line.starts_with(expected)), "{expected} is not in {found:#?}");
        }
        assert_eq!(found.len(), 8, "{found:#?}");
        assert!(run(root.path()).is_err());
    }

    #[test]
    fn what_is_not_rust_is_a_finding() {
        let root = workspace();
        fs::write(root.path().join("crates/wire/src/broken.rs"), "//! Broken.\nfn (\n").unwrap();
        let found = findings(root.path()).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("crates/wire/src/broken.rs: not readable as Rust"));
    }
}
