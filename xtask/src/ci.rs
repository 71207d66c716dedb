//! `cargo xtask ci`: the steps a change has to pass, in the order that finds the cheap faults first.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::shell::{cargo, run as run_command};
use crate::{book, deny, interop, loom, memory, tidy, xdp};

struct Step {
    name: &'static str,
    what: &'static str,
    run: fn(&Path) -> Result<()>,
}

const STEPS: [Step; 11] = [
    Step { name: "fmt", what: "the code is formatted", run: fmt },
    Step { name: "clippy", what: "no warning in any target", run: clippy },
    Step { name: "tidy", what: "edges, unsafe islands, headers, links", run: tidy::run },
    Step { name: "deny", what: "licences and sources of all dependencies", run: deny::run },
    Step { name: "book", what: "the book's chapters are all in its summary", run: book::run },
    Step { name: "xdp", what: "the compiled XDP program is what its source says", run: compare_xdp },
    Step { name: "test", what: "every test that needs no privilege", run: test },
    Step { name: "loom", what: "the rings, in every interleaving", run: loom::run },
    Step { name: "miri", what: "the unsafe islands under Miri or AddressSanitizer", run: memory::run },
    Step { name: "interop", what: "Linux as the peer, in network namespaces", run: interop::run },
    Step { name: "docs", what: "the documentation builds without a warning", run: docs },
];

/// Prints the steps.
pub fn list() {
    for Step { name, what, .. } in &STEPS {
        println!("{name:<8} {what}");
    }
}

/// Runs the steps up to the first failure.
pub fn run(root: &Path) -> Result<()> {
    let start = Instant::now();
    for Step { name, run, .. } in &STEPS {
        println!("==> {name}");
        let step_start = Instant::now();
        run(root).with_context(|| format!("step {name}"))?;
        println!("    {name} took {:.1} s", step_start.elapsed().as_secs_f64());
    }
    println!("==> all {} steps passed in {:.0} s", STEPS.len(), start.elapsed().as_secs_f64());
    Ok(())
}

fn fmt(root: &Path) -> Result<()> {
    run_command(cargo(root).args(["fmt", "--all", "--check"]))
}

fn clippy(root: &Path) -> Result<()> {
    run_command(cargo(root).args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))
}

fn test(root: &Path) -> Result<()> {
    run_command(cargo(root).args(["test", "--workspace", "--locked"]))
}

fn compare_xdp(root: &Path) -> Result<()> {
    xdp::run(root, false)
}

fn docs(root: &Path) -> Result<()> {
    run_command(
        cargo(root).args(["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-Dwarnings"),
    )
}
