//! The book: its summary and its chapters agree, and `mdbook`, where it is installed, builds it.
//!
//! Links are `tidy`'s, Rust blocks the tests' (`cargo test -p freeway-examples --doc`).

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use pulldown_cmark::{Event, Parser, Tag};

use crate::shell::run as run_command;

/// Checks the book of the repository at `root`.
pub fn run(root: &Path) -> Result<()> {
    let sources = root.join("book").join("src");
    let summary = std::fs::read_to_string(sources.join("SUMMARY.md")).context("book/src/SUMMARY.md")?;
    let mut files = BTreeSet::new();
    for entry in std::fs::read_dir(&sources).context("book/src")? {
        files.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    let findings = compare(&summary, &files);
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("book: {} finding(s)", findings.len());
    }
    let version =
        Command::new("mdbook").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if version.is_ok_and(|status| status.success()) {
        let output = root.join("target").join("book");
        run_command(
            Command::new("mdbook").arg("build").arg(root.join("book")).arg("--dest-dir").arg(output),
        )?;
    }
    Ok(())
}

/// What is in the summary and not in the folder, and the other way round.
fn compare(summary: &str, files: &BTreeSet<String>) -> Vec<String> {
    let chapters: BTreeSet<String> = Parser::new(summary)
        .filter_map(|event| match event {
            Event::Start(Tag::Link { dest_url, .. }) => Some(dest_url.into_string()),
            _ => None,
        })
        .collect();
    let lacking =
        chapters.difference(files).map(|file| format!("book/src/SUMMARY.md: {file} does not exist"));
    let unlisted = files
        .difference(&chapters)
        .filter(|file| *file != "SUMMARY.md")
        .map(|file| format!("book/src/{file}: not in SUMMARY.md, so nobody will find it"));
    lacking.chain(unlisted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chapters_that_lack_and_chapters_that_nobody_lists_are_found() {
        let files = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
        let summary = "# Summary\n\n[One](one.md)\n\n- [Two](two.md)\n    - [Three](three.md)\n";
        assert_eq!(compare(summary, &files(&["SUMMARY.md", "one.md", "two.md", "three.md"])), [""; 0]);
        let found = compare(summary, &files(&["SUMMARY.md", "one.md", "three.md", "four.md"]));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("two.md") && found[1].contains("four.md"));
    }
}
