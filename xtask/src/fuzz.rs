//! `cargo xtask fuzz`: every target of `testing/fuzz/targets` for a while.
//!
//! It installs nothing. What it needs is a nightly toolchain and `cargo-fuzz`. What the fuzzers find out goes to the
//! target directory, under `fuzz`: inputs that reach new code to `corpus`, inputs that fail to `artifacts`. The corpus
//! kept in the repository, `testing/fuzz/corpus/TARGET`, is read and not written.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use cargo_metadata::MetadataCommand;

use crate::shell::{self, has_cargo_fuzz, nightly_cargo, target_directory};

const FUZZ_DIRECTORY: &str = "testing/fuzz/targets";
const KEPT_CORPUS: &str = "testing/fuzz/corpus";

/// Fuzzes each target for `seconds`.
pub fn run(root: &Path, seconds: u32) -> Result<()> {
    if !has_cargo_fuzz() {
        bail!(
            "fuzzing needs a nightly toolchain and cargo-fuzz: `rustup toolchain install nightly`, then \
             `cargo install --locked cargo-fuzz`"
        );
    }
    let targets = targets(&root.join(FUZZ_DIRECTORY))?;
    for (index, target) in targets.iter().enumerate() {
        println!("==> {target} ({} of {}, {seconds} s)", index + 1, targets.len());
        run_target(root, target, seconds)?;
    }
    Ok(())
}

fn run_target(root: &Path, target: &str, seconds: u32) -> Result<()> {
    let directory = target_directory(root, "fuzz")?;
    let (corpus, artifacts) =
        (directory.join("corpus").join(target), directory.join("artifacts").join(target));
    for needed in [&corpus, &artifacts] {
        fs::create_dir_all(needed).with_context(|| needed.display().to_string())?;
    }
    let kept_corpus = root.join(KEPT_CORPUS).join(target);
    shell::run(
        nightly_cargo(root)
            .args(["fuzz", "run", "--fuzz-dir", FUZZ_DIRECTORY, "--target-dir"])
            .arg(&directory)
            .arg(target)
            // libFuzzer writes to the first of its corpora alone.
            .arg(&corpus)
            .args(kept_corpus.is_dir().then_some(&kept_corpus))
            .arg("--")
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display())),
    )
}

/// The names of the fuzz targets, which are the binaries of the crate in `directory`, sorted.
fn targets(directory: &Path) -> Result<Vec<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(directory.join("Cargo.toml"))
        .no_deps()
        .exec()
        .with_context(|| format!("no crate of fuzz targets in {}", directory.display()))?;
    let binaries =
        metadata.packages.iter().flat_map(|package| &package.targets).filter(|target| target.is_bin());
    let mut names: Vec<String> = binaries.map(|target| target.name.clone()).collect();
    if names.is_empty() {
        bail!("no fuzz target in {}", directory.display());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn targets_are_the_binaries_and_none_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert!(targets(directory.path()).is_err());

        let manifest = directory.path().join("Cargo.toml");
        let package = "[package]\nname = \"targets\"\nedition = \"2024\"\nautobins = false\n[workspace]\n";
        fs::write(&manifest, format!("{package}[lib]\npath = \"lib.rs\"\n")).unwrap();
        fs::write(directory.path().join("lib.rs"), "").unwrap();
        assert!(targets(directory.path()).is_err());

        let binary = |name: &str| format!("[[bin]]\nname = \"{name}\"\npath = \"{name}.rs\"\n");
        fs::write(&manifest, format!("{package}{}{}", binary("tcp"), binary("arp"))).unwrap();
        assert_eq!(targets(directory.path()).unwrap(), ["arp", "tcp"]);
    }
}
