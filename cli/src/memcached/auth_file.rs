//! `-Y`: names and passwords.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// Reads a file of `user:password` lines.
pub(super) fn read(path: &Path) -> Result<Vec<String>> {
    let place = || format!("-Y {}", path.display());
    let text = fs::read_to_string(path).with_context(place)?;
    parse(&text).with_context(place)
}

fn parse(text: &str) -> Result<Vec<String>> {
    let mut users = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty()) {
        let (user, password) = line.split_once(':').with_context(|| format!("line {number} has no colon"))?;
        ensure!(!user.is_empty() && !password.is_empty(), "line {number} has no name or no password");
        ensure!(!user.contains(' '), "line {number}: a client cannot say a name with a blank");
        users.push(line.to_owned());
    }
    ensure!(!users.is_empty(), "it names nobody");
    Ok(users)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn each_line_is_a_user() {
        assert_eq!(parse("a:b\n\nc:d:e\r\n").unwrap(), ["a:b", "c:d:e"]);
    }

    #[test]
    fn a_file_that_lets_nobody_in_is_refused() {
        for text in ["", "\n", "a", "a:", ":b", "a b:c"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
