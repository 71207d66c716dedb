//! Documents point at files that exist.
//!
//! Two things count as pointing: a Markdown link without a scheme, and a path in `code` that begins with one of the
//! repository's own directories. Line numbers (`file.rs:12`) and anchors (`file.md#part`) are cut off.

use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Parser, Tag};

/// Directories that make a word in `code` a path.
const OWN_DIRECTORIES: [&str; 11] =
    ["crates", "drivers", "apps", "cli", "examples", "testing", "xtask", "docs", "book", "packaging", ".ci"];

/// What `text`, the document at `document`, points at and `root` does not have.
pub fn check(root: &Path, document: &str, text: &str) -> Vec<String> {
    let folder = Path::new(document).parent().unwrap_or(Path::new(""));
    Parser::new(text)
        .into_offset_iter()
        .filter_map(|(event, range)| {
            let (shown, path) = match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    let target = linked_file(&dest_url)?.to_string();
                    let path = match target.strip_prefix('/') {
                        Some(from_root) => PathBuf::from(from_root),
                        None => folder.join(&target),
                    };
                    (target, path)
                }
                Event::Code(code) => {
                    let path = named_file(&code)?;
                    (path.to_string(), PathBuf::from(path))
                }
                _ => return None,
            };
            let line = text[..range.start].matches('\n').count() + 1;
            (!stays_inside(&path) || !root.join(&path).exists()).then(|| {
                format!("{document}:{line}: {shown} does not exist; mend the link or the file's name")
            })
        })
        .collect()
}

/// The file part of a link into the repository; none for other places and for anchors within the document.
fn linked_file(url: &str) -> Option<&str> {
    let file = url.split('#').next().unwrap_or_default();
    let is_elsewhere = url.contains("://") || url.starts_with("mailto:");
    (!is_elsewhere && !file.is_empty()).then_some(file)
}

/// The path that a piece of `code` is, if it is one of the repository's.
fn named_file(code: &str) -> Option<&str> {
    let path = code.split(':').next().unwrap_or_default();
    let is_plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
    let (first, _) = path.split_once('/')?;
    (is_plain && OWN_DIRECTORIES.contains(&first)).then_some(path)
}

fn stays_inside(path: &Path) -> bool {
    let mut depth = 0i32;
    path.components().all(|component| {
        depth += match component {
            Component::ParentDir => -1,
            Component::CurDir => 0,
            _ => 1,
        };
        depth >= 0
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::fs;

    fn check_in_fixture(document: &str, text: &str) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        for path in ["docs/a.md", "crates/wire/src/lib.rs", "README.md"] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        check(root.path(), document, text)
    }

    #[test]
    fn what_exists_passes() {
        let text = "[a](docs/a.md#part) [web](https://example.net/x) [here](#top) `crates/wire/src/lib.rs:7` \
                    `crates/wire` `drivers/*` `cargo test` `and/or` <mailto:a@example.net>\n";
        assert_eq!(check_in_fixture("README.md", text), Vec::<String>::new());
        assert_eq!(
            check_in_fixture("docs/b.md", "[a](a.md) [up](../README.md) [top](/README.md)\n"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn dead_links_fail_with_their_line() {
        let found = check_in_fixture("README.md", "Fine.\n\nA [dead](docs/dead.md) link.\n");
        assert_eq!(found, ["README.md:3: docs/dead.md does not exist; mend the link or the file's name"]);
        assert_eq!(
            check_in_fixture("docs/b.md", "[a](docs/a.md)\n").len(),
            1,
            "links are relative to the document"
        );
        assert_eq!(check_in_fixture("README.md", "[out](../../etc/passwd)\n").len(), 1);
    }

    #[test]
    fn dead_paths_in_code_fail() {
        assert_eq!(check_in_fixture("README.md", "- `crates/wire/src/gone.rs`\n").len(), 1);
        assert_eq!(check_in_fixture("README.md", "`.ci/run`\n").len(), 1);
    }
}
