//! `cargo xtask xdp`: the compiled XDP program is what its source says.
//!
//! The object is kept beside the source so that nobody needs a compiler for it. Here it is compiled once more and
//! compared, byte by byte; what another compiler makes of it is another object, so then it need only compile.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::shell::{self, target_directory};

/// Where source and object are.
const FOLDER: &str = "drivers/afxdp/xdp";
const SOURCE: &str = "freeway.c";
const OBJECT: &str = "freeway.o";

/// What made the object that is kept.
const COMPILER: &str = "clang version 14.";

/// No path and no date of this machine gets into the object.
const OPTIONS: [&str; 9] =
    ["-O2", "-g", "-target", "bpf", "-mcpu=v2", "-Wall", "-Wextra", "-Werror", "-fdebug-compilation-dir=."];

/// Compiles the program and compares it with the object; `write` replaces the object instead.
pub fn run(root: &Path, write: bool) -> Result<()> {
    let folder = root.join(FOLDER);
    let asked = Command::new("clang").arg("--version").output();
    let version =
        asked.context("clang compiles the XDP program: apt-get install clang llvm libbpf-dev")?.stdout;
    let version = String::from_utf8_lossy(&version).lines().next().unwrap_or_default().to_owned();
    let is_same_compiler = version.contains(COMPILER);
    let made = target_directory(root, "xdp")?.join(OBJECT);
    fs::create_dir_all(made.parent().context("a file has a folder")?)?;
    let headers = format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH);
    let mut clang = Command::new("clang");
    clang.current_dir(&folder).args(OPTIONS).arg(headers).args(["-c", SOURCE, "-o"]).arg(&made);
    shell::run(&mut clang)?;
    shell::run(Command::new("llvm-strip").arg("-g").arg(&made))?;
    let kept = folder.join(OBJECT);
    if write {
        ensure!(is_same_compiler, "the object is to be made by {COMPILER}x (Debian 12), not by {version}");
        fs::copy(&made, &kept).with_context(|| kept.display().to_string())?;
    } else if !is_same_compiler {
        println!(
            "the XDP program compiles; not compared, for {COMPILER}x made the object, and this is {version}"
        );
    } else if fs::read(&made)? != fs::read(&kept).with_context(|| kept.display().to_string())? {
        bail!("{FOLDER}/{OBJECT} is not what {SOURCE} compiles to: cargo xtask xdp --write");
    }
    Ok(())
}
