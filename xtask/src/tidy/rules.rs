//! The rules for one Rust file.

use super::source::{Source, Token};

/// A file longer than this holds more than one idea.
const LINES_MAX: usize = 900;

/// Where `unsafe` may stand.
const ISLANDS: [&str; 3] = ["crates/mem/", "drivers/", "testing/packetdrill/"];

/// Macros that mark unfinished work.
const LEFTOVERS: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// The file's first line is its module documentation.
pub fn header(source: &Source) -> Vec<String> {
    if source.text.starts_with("//!") {
        return Vec::new();
    }
    vec![format!("{}:1: the file does not begin with `//!`; say in a line what lives in it", source.path)]
}

/// The file is short enough to be one idea.
pub fn length(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    if lines <= LINES_MAX {
        return Vec::new();
    }
    vec![format!("{}: {lines} lines, at most {LINES_MAX}; split it by ideas", source.path)]
}

/// No mark of unfinished work is left.
pub fn leftovers(source: &Source) -> Vec<String> {
    source
        .tokens
        .windows(3)
        .filter(|window| {
            let [name, bang, open] = window else { return false };
            LEFTOVERS.contains(&name.text.as_str())
                && bang.text == "!"
                && matches!(open.text.as_str(), "(" | "[" | "{")
        })
        .map(|window| {
            format!(
                "{}:{}: {}! is left; finish the work or take it out",
                source.path, window[0].line, window[0].text
            )
        })
        .collect()
}

/// `unsafe` is written only where it may be.
pub fn unsafe_stays_in_its_islands(source: &Source) -> Vec<String> {
    if ISLANDS.iter().any(|island| source.path.starts_with(island)) {
        return Vec::new();
    }
    words(source, "unsafe")
        .map(|word| {
            format!(
                "{}:{}: `unsafe` outside its islands ({}); use a safe interface, or add one there",
                source.path,
                word.line,
                ISLANDS.join(", "),
            )
        })
        .collect()
}

/// A crate's root makes the compiler refuse `unsafe`, unless the crate is an island.
pub fn root_denies_unsafe(source: &Source) -> Vec<String> {
    if ISLANDS.iter().any(|island| source.path.starts_with(island)) {
        return Vec::new();
    }
    if source.sets_lint("forbid", "unsafe_code") {
        return Vec::new();
    }
    vec![format!("{}: lacks #![forbid(unsafe_code)]; add it below the module documentation", source.path)]
}

/// A `no_std` crate says so.
pub fn root_states_no_std(source: &Source) -> Vec<String> {
    if source.states("no_std") {
        return Vec::new();
    }
    vec![format!("{}: lacks #![no_std]; add it below the module documentation", source.path)]
}

/// Outside of tests, the file does not name `std`.
pub fn does_not_name_std(source: &Source) -> Vec<String> {
    words(source, "std")
        .filter(|word| !source.is_test(word.line))
        .map(|word| format!("{}:{}: names std; use core or alloc", source.path, word.line))
        .collect()
}

fn words<'a>(source: &'a Source, word: &'a str) -> impl Iterator<Item = &'a Token> {
    source.tokens.iter().filter(move |token| token.text == word)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source::parse(path, text.to_string()).unwrap()
    }

    const ANYWHERE: &str = "crates/stack/src/lib.rs";

    #[test]
    fn header_must_be_the_first_line() {
        assert!(header(&source(ANYWHERE, "//! Says it.\n")).is_empty());
        assert_eq!(header(&source(ANYWHERE, "// Says nothing.\n//! Late.\n")).len(), 1);
        assert_eq!(header(&source(ANYWHERE, "")).len(), 1);
    }

    #[test]
    fn length_ends_at_the_limit() {
        assert!(length(&source(ANYWHERE, &"\n".repeat(900))).is_empty());
        assert_eq!(length(&source(ANYWHERE, &"\n".repeat(901))).len(), 1);
    }

    #[test]
    fn leftovers_are_macro_calls_and_not_words() {
        for call in ["todo!()", "unimplemented!(\"later\")", "dbg!(1)", "std::todo! {}"] {
            let text = format!("fn f() {{\n    {call};\n}}\n");
            let found = leftovers(&source(ANYWHERE, &text));
            assert_eq!(found.len(), 1, "{call}");
            assert!(found[0].starts_with("crates/stack/src/lib.rs:2: "));
        }
        assert!(
            leftovers(&source(ANYWHERE, "// todo!()\nfn todo() -> bool { !dbg != \"todo!()\" }\n"))
                .is_empty()
        );
    }

    #[test]
    fn unsafe_is_refused_outside_the_islands() {
        let text = "fn f() {\n    unsafe { g() }\n}\n";
        for path in ["crates/mem/src/arena.rs", "drivers/tap/src/lib.rs"] {
            assert!(unsafe_stays_in_its_islands(&source(path, text)).is_empty(), "{path}");
        }
        for path in [
            "crates/stack/src/lib.rs",
            "crates/runtime/src/core.rs",
            "cli/src/main.rs",
            "testing/a/tests/b.rs",
        ] {
            let found = unsafe_stays_in_its_islands(&source(path, text));
            assert_eq!(found.len(), 1, "{path}");
            assert!(found[0].starts_with(&format!("{path}:2: `unsafe` outside")));
        }
        assert!(
            unsafe_stays_in_its_islands(&source(ANYWHERE, "#![forbid(unsafe_code)] // unsafe\n")).is_empty()
        );
    }

    #[test]
    fn roots_must_forbid_unsafe() {
        let forbids = "#![forbid(unsafe_code)]\n";
        let denies = "#![deny(unsafe_code)]\n";
        assert!(root_denies_unsafe(&source("apps/echo/src/lib.rs", forbids)).is_empty());
        assert_eq!(root_denies_unsafe(&source("apps/echo/src/lib.rs", denies)).len(), 1);
        assert_eq!(
            root_denies_unsafe(&source("apps/echo/src/lib.rs", "// #![forbid(unsafe_code)]\n")).len(),
            1
        );
        assert!(root_denies_unsafe(&source("crates/mem/src/lib.rs", "")).is_empty());
    }

    #[test]
    fn no_std_must_be_stated_without_conditions() {
        assert!(root_states_no_std(&source(ANYWHERE, "#![no_std]\n")).is_empty());
        assert_eq!(root_states_no_std(&source(ANYWHERE, "#![cfg_attr(not(test), no_std)]\n")).len(), 1);
        assert_eq!(root_states_no_std(&source(ANYWHERE, "")).len(), 1);
    }

    #[test]
    fn std_is_named_in_tests_only() {
        let found = does_not_name_std(&source(ANYWHERE, "use core::fmt;\nuse std::vec::Vec;\n"));
        assert_eq!(found, ["crates/stack/src/lib.rs:2: names std; use core or alloc"]);
        assert!(does_not_name_std(&source(ANYWHERE, "#[cfg(test)]\nextern crate std;\n")).is_empty());
        assert!(does_not_name_std(&source(ANYWHERE, "//! Never std::time.\nuse core::time;\n")).is_empty());
    }
}
