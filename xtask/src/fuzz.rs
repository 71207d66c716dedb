//! `cargo xtask fuzz`: every target of `testing/fuzz/targets` for a while.
//!
//! It installs nothing. What it needs is a nightly toolchain and `cargo-fuzz`. What the fuzzers find out goes to the
//! target directory, under `fuzz`: inputs that reach new code to `corpus`, inputs that fail to `artifacts`. The corpus
//! kept in the repository, `testing/fuzz/corpus/TARGET`, is read and not written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::MetadataCommand;

use crate::shell::{self, has_cargo_fuzz, nightly_cargo, say_loudly, target_directory};

const FUZZ_DIRECTORY: &str = "testing/fuzz/targets";
const KEPT_CORPUS: &str = "testing/fuzz/corpus";

/// Fuzzes each target for `seconds`, all of them, and fails when one of them does.
pub fn run(root: &Path, seconds: u32) -> Result<()> {
    if !has_cargo_fuzz() {
        bail!(
            "fuzzing needs a nightly toolchain and cargo-fuzz: `rustup toolchain install nightly`, then \
             `cargo install --locked cargo-fuzz`"
        );
    }
    let (directory, targets) = (target_directory(root, "fuzz")?, targets(&root.join(FUZZ_DIRECTORY))?);
    let mut failed = Vec::new();
    for (index, target) in targets.iter().enumerate() {
        println!("==> {target} ({} of {}, {seconds} s)", index + 1, targets.len());
        let paths = Paths::new(root, &directory, target);
        paths.create()?;
        // One finding does not keep the other targets from being run.
        if let Err(error) = shell::run(&mut paths.command(root, &directory, target, seconds)) {
            say_loudly(&format!("{target}: {error:#}; the input is in {}", paths.artifacts.display()));
            failed.push(target.as_str());
        }
    }
    if !failed.is_empty() {
        bail!("{} of {} fuzz targets failed: {}", failed.len(), targets.len(), failed.join(", "));
    }
    Ok(())
}

/// Where the inputs of one target lie.
struct Paths {
    /// What is found goes here.
    corpus: PathBuf,
    /// Inputs that fail go here.
    artifacts: PathBuf,
    /// The corpus of the repository, if the target has one.
    kept: Option<PathBuf>,
}

impl Paths {
    fn new(root: &Path, directory: &Path, target: &str) -> Self {
        Self {
            corpus: directory.join("corpus").join(target),
            artifacts: directory.join("artifacts").join(target),
            kept: Some(root.join(KEPT_CORPUS).join(target)).filter(|kept| kept.is_dir()),
        }
    }

    fn create(&self) -> Result<()> {
        for needed in [&self.corpus, &self.artifacts] {
            fs::create_dir_all(needed).with_context(|| needed.display().to_string())?;
        }
        Ok(())
    }

    fn command(&self, root: &Path, directory: &Path, target: &str, seconds: u32) -> Command {
        let mut command = nightly_cargo(root);
        command
            .args(["fuzz", "run", "--fuzz-dir", FUZZ_DIRECTORY, "--target-dir"])
            .arg(directory)
            .arg(target)
            // libFuzzer reads all of its corpora and writes to the first alone.
            .arg(&self.corpus)
            .args(&self.kept)
            .arg("--")
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", self.artifacts.display()));
        command
    }
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
    fn the_kept_corpus_is_read_and_the_other_written() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("target");
        let arguments = |target| {
            let paths = Paths::new(root.path(), &directory, target);
            let command = paths.command(root.path(), &directory, target, 7);
            command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        let kept = root.path().join(KEPT_CORPUS).join("tcp");
        fs::create_dir_all(&kept).unwrap();

        let with = arguments("tcp");
        let at = with.iter().position(|argument| argument == "tcp").unwrap();
        let own = directory.join("corpus/tcp");
        assert_eq!(with[at + 1..at + 4], [own.to_str().unwrap(), kept.to_str().unwrap(), "--"]);
        assert!(with.contains(&"-max_total_time=7".to_owned()));
        assert_eq!(arguments("arp").len(), with.len() - 1, "a target without a kept corpus");
    }

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
