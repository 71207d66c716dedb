//! `cargo xtask loom`: the lock-free rings through every interleaving that the memory model allows.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::shell::{self, cargo, target_directory};

/// Runs the tests of `crates/mem/tests/loom_ring.rs`, built with `--cfg loom`.
pub fn run(root: &Path) -> Result<()> {
    // A filter that fits no test passes as well, so the tests are counted first.
    let list = loom_test(root)?.args(["--", "--list"]).output().context("cannot start cargo")?;
    ensure!(list.status.success(), "the loom tests do not build:\n{}", String::from_utf8_lossy(&list.stderr));
    ensure!(
        count_tests(&String::from_utf8_lossy(&list.stdout)) > 0,
        "crates/mem/tests/loom_ring.rs has no test; the rings need one"
    );
    shell::run(&mut loom_test(root)?)
}

fn loom_test(root: &Path) -> Result<Command> {
    let mut command = cargo(root);
    command
        .args(["test", "--locked", "--package", "freeway-mem", "--test", "loom_ring", "--target-dir"])
        .arg(target_directory(root, "loom")?)
        .env("RUSTFLAGS", "--cfg loom")
        // Loom replays a test thousands of times: slow code makes it minutes.
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "3");
    Ok(command)
}

/// How many tests the harness lists, as `NAME: test`.
fn count_tests(list: &str) -> usize {
    list.lines().filter(|line| line.ends_with(": test")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_tests_are_counted_and_nothing_else() {
        assert_eq!(
            count_tests("ring::loom::wraps: test\nring::loom::ends: test\n\n2 tests, 0 benchmarks\n"),
            2
        );
        assert_eq!(count_tests("\n0 tests, 0 benchmarks\n"), 0);
    }
}
