//! What happens to a test that lacks the rights or the tools it needs.
//!
//! In CI (`CI` is set in the environment) it fails. Elsewhere it passes and says on standard error, past the test
//! harness's capture, that it was skipped and why.

use std::io::Write;
use std::path::Path;

/// Programs the tests call. `cargo xtask deps` names their packages.
const PROGRAMS: [&str; 6] = ["ip", "ss", "ping", "ethtool", "curl", "tshark"];

/// Whether `test` can run; see the module for what happens when it cannot.
///
/// # Panics
///
/// In CI, when something is missing.
#[must_use = "a test that may not run has to return"]
pub fn granted(test: &str) -> bool {
    granted_with(test, &[])
}

/// The same for a test that calls other programs too.
///
/// # Panics
///
/// In CI, when something is missing.
#[must_use = "a test that may not run has to return"]
pub fn granted_with(test: &str, programs: &[&str]) -> bool {
    let Some(lack) = lack(programs) else { return true };
    assert!(std::env::var_os("CI").is_none(), "{test} cannot run in CI: {lack}");
    // A closed standard error is nobody's fault here.
    let _ = writeln!(std::io::stderr(), "*** SKIPPED {test}: {lack} ***");
    false
}

/// What is missing on this machine, with what mends it.
fn lack(others: &[&str]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it needs root to make network namespaces; run it by sudo".to_string());
    }
    if !Path::new("/dev/net/tun").exists() {
        return Some("there is no /dev/net/tun; load the kernel module `tun`".to_string());
    }
    let programs = PROGRAMS.into_iter().chain(others.iter().copied());
    let missing: Vec<_> = programs.filter(|program| !is_installed(program)).collect();
    (!missing.is_empty())
        .then(|| format!("not installed: {}; apt-get install $(cargo xtask deps)", missing.join(", ")))
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_up_in_the_path() {
        assert!(is_installed("sh"));
        assert!(!is_installed("freeway-no-such-program"));
    }
}
