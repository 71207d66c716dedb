//! Starting other programs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use cargo_metadata::MetadataCommand;

/// The toolchain for Miri, sanitizers and fuzzing.
const NIGHTLY: &str = "nightly";

/// `cargo` of the toolchain in use, in `root`, silent but for warnings and errors.
pub fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).env("CARGO_TERM_QUIET", "true");
    command
}

/// `cargo` of the nightly toolchain, in `root`.
pub fn nightly_cargo(root: &Path) -> Command {
    let mut command = nightly("cargo");
    command.current_dir(root).env("CARGO_TERM_QUIET", "true");
    command
}

/// Whether a nightly toolchain is installed.
pub fn has_nightly() -> bool {
    succeeds(nightly("rustc").arg("--version"))
}

/// Whether Miri can run: its component and the sources of the standard library, both of the nightly toolchain.
pub fn has_miri() -> bool {
    let sysroot = nightly("rustc").args(["--print", "sysroot"]).output();
    let Ok(sysroot) = sysroot else { return false };
    let sources =
        Path::new(String::from_utf8_lossy(&sysroot.stdout).trim()).join("lib/rustlib/src/rust/library");
    sources.is_dir() && succeeds(nightly("cargo").args(["miri", "--version"]))
}

/// Whether `cargo fuzz` is installed.
pub fn has_cargo_fuzz() -> bool {
    succeeds(nightly("cargo").args(["fuzz", "--version"]))
}

/// Where builds with other flags go, so that they and the ordinary ones do not throw each other's work away.
pub fn target_directory(root: &Path, purpose: &str) -> Result<PathBuf> {
    let metadata = MetadataCommand::new().current_dir(root).no_deps().exec().context("cargo metadata")?;
    Ok(metadata.target_directory.join(purpose).into_std_path_buf())
}

/// Runs `command` to its end without standard input; an error names the command line.
pub fn run(command: &mut Command) -> Result<()> {
    let line = describe(command);
    println!("    {line}");
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Says `message` so that nobody overlooks it in a long log.
pub fn say_loudly(message: &str) {
    eprintln!("\n*** {message} ***\n");
}

fn nightly(program: &str) -> Command {
    let mut command = Command::new("rustup");
    // What the outer cargo set for its own toolchain would be taken for orders.
    command
        .args(["run", NIGHTLY, program])
        .env_remove("CARGO")
        .env_remove("RUSTC")
        .env_remove("RUSTUP_TOOLCHAIN");
    command
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The command as a person would type it.
fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let variables = command.get_envs().filter_map(|(name, value)| {
        let shown =
            ["RUSTFLAGS", "RUSTDOCFLAGS", "MIRIFLAGS", "FREEWAY_BIN"].iter().any(|wanted| name == *wanted);
        value
            .filter(|_| shown)
            .map(|value| format!("{}={:?}", name.to_string_lossy(), value.to_string_lossy()))
    });
    let words = std::iter::once(program).chain(command.get_args()).map(OsStr::to_string_lossy);
    variables.chain(words.map(Into::into)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_command_that_fails_is_an_error_with_its_name() {
        assert!(run(&mut Command::new("true")).is_ok());
        let error =
            run(Command::new("false").arg("--really").env("RUSTFLAGS", "-x")).unwrap_err().to_string();
        assert!(error.contains("RUSTFLAGS=\"-x\" false --really"), "{error}");
        assert!(run(&mut Command::new("freeway-no-such-program")).is_err());
    }
}
