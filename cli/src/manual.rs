//! Manual pages and shell completions, made from the flags themselves: what `cargo xtask package` puts into a package.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Command;
use clap_complete::Shell;

/// Writes manual pages and shell completions.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder to write into: `man` and `completions` in it.
    folder: PathBuf,
}

/// Writes a page for the command and one for each thing it does that is shown, and completions for three shells.
pub(crate) fn run(args: &Args, mut command: Command) -> Result<()> {
    let (man, completions) = (args.folder.join("man"), args.folder.join("completions"));
    for folder in [&man, &completions] {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    clap_mangen::generate_to(command.clone(), &man).with_context(|| man.display().to_string())?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "freeway", &completions)
            .with_context(|| completions.display().to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_and_every_flag_of_it_has_its_place_in_a_page() {
        let folder = tempfile::tempdir().unwrap();
        run(&Args { folder: folder.path().to_owned() }, crate::Cli::command()).unwrap();
        let command = crate::Cli::command();
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let name = format!("man/freeway-{}.1", sub.get_name());
            let page = fs::read_to_string(folder.path().join(&name)).unwrap();
            for flag in sub.get_arguments().filter(|flag| !flag.is_hide_set()) {
                let Some(flag) = flag.get_long() else { continue };
                let written = format!("\\-\\-{}", flag.replace('-', "\\-"));
                assert!(page.contains(&written), "{name} says nothing of --{flag}");
            }
        }
        assert!(!folder.path().join("man/freeway-manual.1").exists(), "what is hidden stays hidden");
        for file in
            ["man/freeway.1", "completions/freeway.bash", "completions/_freeway", "completions/freeway.fish"]
        {
            let text = fs::read_to_string(folder.path().join(file)).unwrap();
            assert!(text.contains("serve"), "{file}");
        }
    }
}
