//! `cargo xtask interop`: Freeway against Linux, in network namespaces.

use std::path::Path;

use anyhow::Result;

use crate::shell::{self, cargo, target_directory};

/// Builds the server, then runs every test of `testing/interop` against it, one at a time.
pub fn run(root: &Path) -> Result<()> {
    shell::run(cargo(root).args(["build", "--release", "--locked", "--package", "freeway-cli"]))?;
    shell::run(
        cargo(root)
            .args(["test", "--release", "--locked", "--package", "freeway-interop"])
            .args(["--", "--include-ignored", "--test-threads=1"])
            .env("CARGO_TERM_QUIET", "false")
            .env("FREEWAY_BIN", target_directory(root, "release")?.join("freeway")),
    )
}
