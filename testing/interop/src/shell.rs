//! Running a program to its end.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs `command` without standard input and returns what it printed; an error quotes all of it and what it complained
/// of.
pub fn output(command: &mut Command) -> Result<String> {
    let line = describe(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{line}`"))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}` failed ({}): {printed}{}", output.status, complaint.trim());
    }
    Ok(printed.into_owned())
}

/// The command as a person would type it.
fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(std::ffi::OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
