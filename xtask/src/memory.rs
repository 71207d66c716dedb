//! `cargo xtask miri`: the unsafe islands under a tool that sees memory errors.

use std::path::Path;

use anyhow::Result;

use crate::shell::{self, has_miri, has_nightly, nightly_cargo, say_loudly, target_directory};

/// The crates with `unsafe` that need no device.
const ISLANDS: [&str; 4] = ["--package", "freeway-mem", "--package", "freeway-collections"];

/// The part of a driver that needs none either: AF_XDP's rings, over ordinary memory.
const RINGS: [&str; 5] = ["--package", "freeway-afxdp", "--lib", "--", "xsk::ring"];

/// Miri, else AddressSanitizer, else a loud word; a run in CI that has a nightly toolchain must do one of them.
pub fn run(root: &Path) -> Result<()> {
    if has_miri() {
        return miri(root);
    }
    if has_nightly() {
        say_loudly(
            "Miri is not installed, AddressSanitizer runs instead; `rustup +nightly component add miri rust-src`",
        );
        return address_sanitizer(root);
    }
    say_loudly(
        "SKIPPED: neither Miri nor AddressSanitizer; `rustup toolchain install nightly --component miri,rust-src`",
    );
    Ok(())
}

fn miri(root: &Path) -> Result<()> {
    let miri = |tests: &[&str]| {
        shell::run(
            nightly_cargo(root)
                .args(["miri", "test", "--locked", "--target-dir"])
                .arg(target_directory(root, "miri")?)
                .args(tests)
                // Tests read the clock and the number of CPUs.
                .env("MIRIFLAGS", "-Zmiri-disable-isolation"),
        )
    };
    miri(&[&ISLANDS[..], &["--lib"]].concat())?;
    miri(&RINGS)
}

fn address_sanitizer(root: &Path) -> Result<()> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let sanitized = |tests: &[&str]| {
        shell::run(
            nightly_cargo(root)
                // A target of its own keeps the sanitizer out of build scripts and macros.
                .args(["test", "--locked", "--target", &target, "--target-dir"])
                .arg(target_directory(root, "asan")?)
                .args(tests)
                .env("RUSTFLAGS", "-Zsanitizer=address"),
        )
    };
    sanitized(&[&ISLANDS[..], &["--lib", "--tests"]].concat())?;
    sanitized(&RINGS)
}
