//! `cargo xtask package`: the command, its manual and completions, and the Debian package of them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::pgo;
use crate::shell::{cargo, run as run_command, target_directory};

/// Files that a package must hold.
const CONTENTS: [&str; 8] = [
    "./usr/bin/freeway",
    "./etc/default/freeway",
    "./lib/systemd/system/freeway.service",
    "./usr/share/man/man1/freeway.1.gz",
    "./usr/share/man/man1/freeway-serve.1.gz",
    "./usr/share/bash-completion/completions/freeway",
    "./usr/share/zsh/vendor-completions/_freeway",
    "./usr/share/fish/vendor_completions.d/freeway.fish",
];

/// Builds all of it below the target folder, and looks what came of it.
pub fn run(root: &Path, with_profile: bool) -> Result<()> {
    let release = target_directory(root, "release")?;
    if with_profile {
        // The package takes its command from where an ordinary build puts it.
        let built = pgo::run(root)?;
        fs::create_dir_all(&release)?;
        fs::copy(&built, release.join("freeway")).with_context(|| built.display().to_string())?;
    } else {
        run_command(cargo(root).args(["build", "--release", "--locked", "--package", "freeway-cli"]))?;
    }
    let target = release.parent().context("the release folder lies in the target folder")?;
    run_command(Command::new(release.join("freeway")).arg("manual").arg(target.join("package")))?;
    let deb = target.join("package").join("freeway.deb");
    run_command(
        cargo(root).args(["deb", "--no-build", "--locked", "--package", "freeway-cli", "--output"]).arg(&deb),
    )
    .context("cargo-deb makes the package: cargo install --locked cargo-deb")?;
    let listed = Command::new("dpkg-deb").arg("--contents").arg(&deb).output().context("dpkg-deb")?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for file in CONTENTS {
        let is_there = listed
            .lines()
            .any(|line| line.ends_with(file) || line.ends_with(&file.replace("./lib/", "./usr/lib/")));
        ensure!(is_there, "the package lacks {file}:\n{listed}");
    }
    // A server whose files are gone would serve on.
    let before_removal =
        Command::new("dpkg-deb").arg("--info").arg(&deb).arg("prerm").output().context("dpkg-deb")?;
    let before_removal = String::from_utf8_lossy(&before_removal.stdout).into_owned();
    ensure!(
        before_removal.contains("deb-systemd-invoke stop") && before_removal.contains("freeway.service"),
        "nobody stops the service before it is removed:\n{before_removal}"
    );
    println!("{}", deb.display());
    Ok(())
}
