//! `cargo xtask deny`: what comes in from outside may come in.
//!
//! Licences and sources of all dependencies, checked against `deny.toml` by what cargo knows of them. Where cargo-deny is
//! installed it checks the same file, and advisories besides; building it takes longer than everything else in CI.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand};
use spdx::{Expression, ParseMode};

use crate::shell::{cargo, run as run_command};

/// What `deny.toml` lets in.
struct Policy {
    licences: Vec<String>,
    /// Further licences of single crates, by name.
    exceptions: Vec<(String, String)>,
    registries: Vec<String>,
}

/// A dependency, as far as it matters here.
struct Crate {
    name: String,
    licence: Option<String>,
    source: String,
}

/// Checks the workspace at `root`.
pub fn run(root: &Path) -> Result<()> {
    let text = std::fs::read_to_string(root.join("deny.toml")).context("deny.toml")?;
    let policy = policy(&text)?;
    let crates =
        outsiders(&MetadataCommand::new().current_dir(root).other_options(["--locked".into()]).exec()?);
    let findings: Vec<String> = crates.iter().flat_map(|it| judge(&policy, it)).collect();
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("deny: {} finding(s)", findings.len());
    }
    println!("    {} crates from outside, all under licences that deny.toml allows", crates.len());
    let installed = Command::new("cargo-deny")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !installed {
        println!(
            "    cargo-deny is not installed: advisories are not looked at (cargo install --locked cargo-deny)"
        );
        return Ok(());
    }
    run_command(cargo(root).args(["deny", "--locked", "check"]))
}

fn policy(text: &str) -> Result<Policy> {
    let table: toml::Table = text.parse().context("deny.toml is no TOML")?;
    let list = |section: &str, key: &str| -> Result<Vec<String>> {
        let values = table.get(section).and_then(|section| section.get(key)).and_then(toml::Value::as_array);
        let values = values.with_context(|| format!("deny.toml lacks {section}.{key}"))?;
        Ok(values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect())
    };
    let exceptions = table.get("licenses").and_then(|section| section.get("exceptions"));
    let mut allowed = Vec::new();
    for exception in exceptions.and_then(toml::Value::as_array).into_iter().flatten() {
        let name = exception.get("crate").and_then(toml::Value::as_str);
        let name = name.context("an exception of deny.toml names no crate")?;
        let licences = exception.get("allow").and_then(toml::Value::as_array).into_iter().flatten();
        allowed.extend(licences.filter_map(toml::Value::as_str).map(|it| (name.to_owned(), it.to_owned())));
    }
    Ok(Policy {
        licences: list("licenses", "allow")?,
        exceptions: allowed,
        registries: list("sources", "allow-registry")?,
    })
}

fn outsiders(metadata: &Metadata) -> Vec<Crate> {
    let from_outside = metadata.packages.iter().filter_map(|package| {
        let source = package.source.as_ref()?.repr.clone();
        let name = format!("{} {}", package.name, package.version);
        Some(Crate { name, licence: package.license.clone(), source })
    });
    from_outside.collect()
}

fn judge(policy: &Policy, it: &Crate) -> Vec<String> {
    let Crate { name, licence, source } = it;
    let mut findings = Vec::new();
    let known =
        source.strip_prefix("registry+").is_some_and(|url| policy.registries.iter().any(|it| it == url));
    if !known {
        findings.push(format!("{name}: comes from {source}, which deny.toml does not allow"));
    }
    match licence.as_deref().map(|text| (text, Expression::parse_mode(text, ParseMode::LAX))) {
        None => findings.push(format!("{name}: names no licence; use another crate")),
        Some((text, Err(_))) => findings.push(format!("{name}: its licence '{text}' is no SPDX expression")),
        Some((text, Ok(expression))) => {
            let is_allowed = |wanted: &spdx::LicenseReq| {
                let wanted = wanted.to_string();
                let of_crate =
                    |it: &(String, String)| name.split(' ').next() == Some(&it.0) && it.1 == wanted;
                policy.licences.contains(&wanted) || policy.exceptions.iter().any(of_crate)
            };
            if !expression.evaluate(is_allowed) {
                findings.push(format!("{name}: deny.toml allows none of its licences '{text}'"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const HOME: &str = "registry+https://github.com/rust-lang/crates.io-index";

    fn findings(licence: Option<&str>, source: &str) -> usize {
        let text = "[licenses]\nallow = ['MIT', 'Zlib', 'Apache-2.0 WITH LLVM-exception']\n\
                    exceptions = [{ crate = 'x', allow = ['EUPL-1.2'] }, { crate = 'y', allow = ['MPL-2.0'] }]\n\
                    [sources]\nallow-registry = ['https://github.com/rust-lang/crates.io-index']\n";
        let it = Crate { name: "x 1.0.0".into(), licence: licence.map(str::to_owned), source: source.into() };
        judge(&policy(text).unwrap(), &it).len()
    }

    #[test]
    fn one_of_several_licences_is_enough_and_all_of_those_joined_are_needed() {
        for licence in ["MIT", "MIT OR GPL-3.0", "GPL-3.0 OR (MIT AND Zlib)", "MIT/Apache-2.0"] {
            assert_eq!(findings(Some(licence), HOME), 0, "{licence}");
        }
        assert_eq!(findings(Some("Apache-2.0 WITH LLVM-exception"), HOME), 0);
        for licence in ["GPL-3.0", "MIT AND GPL-3.0", "Apache-2.0", "my own"] {
            assert_eq!(findings(Some(licence), HOME), 1, "{licence}");
        }
        assert_eq!(findings(None, HOME), 1);
        assert_eq!((findings(Some("EUPL-1.2"), HOME), findings(Some("MPL-2.0"), HOME)), (0, 1), "exceptions");
    }

    #[test]
    fn other_sources_are_found() {
        assert_eq!(findings(Some("MIT"), "git+https://example.net/x#abc"), 1);
        assert_eq!(findings(Some("GPL-3.0"), "registry+https://example.net"), 2);
    }

    #[test]
    fn the_policy_of_this_workspace_is_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let policy = policy(&std::fs::read_to_string(root.join("deny.toml")).unwrap()).unwrap();
        assert!(policy.licences.iter().any(|it| it == "MIT") && policy.registries.len() == 1);
    }
}
