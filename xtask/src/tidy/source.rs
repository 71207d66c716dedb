//! One Rust file, as the rules read it: its tokens without comments and strings, and what its root states.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned;

/// A word or a mark of the source, with its line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// The line it stands on, from 1.
    pub line: usize,
    /// An identifier, one character of punctuation, or an opening or closing bracket; empty for a literal.
    pub text: String,
}

/// A parsed file.
pub struct Source {
    /// Relative to the workspace's root, with forward slashes.
    pub path: String,
    /// The whole text.
    pub text: String,
    /// All tokens in order, those inside macros included.
    pub tokens: Vec<Token>,
    attributes: Vec<syn::Attribute>,
    test_lines: Vec<RangeInclusive<usize>>,
}

impl Source {
    /// Reads and parses `path` below `root`.
    pub fn read(root: &Path, path: &str) -> Result<Self> {
        Self::parse(path, fs::read_to_string(root.join(path))?)
    }

    /// Parses `text`.
    pub fn parse(path: &str, text: String) -> Result<Self> {
        let stream = TokenStream::from_str(&text).map_err(|error| anyhow::anyhow!("{error}"))?;
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        let file = syn::parse_file(&text).context("syntax")?;
        let test_lines = file.items.iter().filter_map(lines_of_test_item).collect();
        Ok(Self { path: path.to_string(), text, tokens, attributes: file.attrs, test_lines })
    }

    /// Whether the file opens with `#![name]`.
    pub fn states(&self, name: &str) -> bool {
        self.attributes.iter().any(|attribute| attribute.path().is_ident(name))
    }

    /// Whether the file opens with `#![level(lint)]`, alone or among other lints.
    pub fn sets_lint(&self, level: &str, lint: &str) -> bool {
        self.attributes.iter().filter(|attribute| attribute.path().is_ident(level)).any(|attribute| {
            let mut found = false;
            // A lint list that does not parse sets nothing.
            let _ = attribute.parse_nested_meta(|meta| {
                found |= meta.path.is_ident(lint);
                Ok(())
            });
            found
        })
    }

    /// Whether `line` belongs to an item under `#[cfg(test)]`, or the file is a test as a whole.
    pub fn is_test(&self, line: usize) -> bool {
        self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
            || self.test_lines.iter().any(|lines| lines.contains(&line))
    }
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Ident(word) => tokens.push(Token { line, text: word.to_string() }),
            TokenTree::Punct(mark) => tokens.push(Token { line, text: mark.as_char().to_string() }),
            TokenTree::Literal(_) => tokens.push(Token { line, text: String::new() }),
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                tokens.push(Token { line, text: open.to_string() });
                flatten(group.stream(), tokens);
                tokens.push(Token { line: group.span_close().start().line, text: close.to_string() });
            }
        }
    }
}

fn lines_of_test_item(item: &syn::Item) -> Option<RangeInclusive<usize>> {
    let attributes = match item {
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::ExternCrate(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        _ => return None,
    };
    let is_test = |attribute: &syn::Attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    };
    let span = item.span();
    attributes.iter().any(is_test).then(|| span.start().line..=span.end().line)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn parse(text: &str) -> Source {
        Source::parse("crates/x/src/lib.rs", text.to_string()).unwrap()
    }

    #[test]
    fn comments_and_strings_are_no_tokens() {
        let source = parse("//! unsafe\n// unsafe\n/* unsafe */\n/// unsafe\nconst A: &str = \"unsafe\";\n");
        assert!(source.tokens.iter().all(|token| token.text != "unsafe"));
    }

    #[test]
    fn words_in_macros_are_tokens_with_their_line() {
        let source = parse("macro_rules! m {\n    () => {\n        unsafe { f() }\n    };\n}\n");
        let word = source.tokens.iter().find(|token| token.text == "unsafe").unwrap();
        assert_eq!(word.line, 3);
    }

    #[test]
    fn attributes_of_the_file_are_seen_alone_or_in_a_list() {
        let source = parse("//! Doc.\n#![no_std]\n#![forbid(unsafe_code, missing_docs)]\n");
        assert!(source.states("no_std"));
        assert!(source.sets_lint("forbid", "unsafe_code"));
        assert!(source.sets_lint("forbid", "missing_docs"));
        assert!(!source.sets_lint("deny", "unsafe_code"));
        assert!(!parse("//! #![no_std]\n").states("no_std"));
    }

    #[test]
    fn test_items_are_known_by_their_lines() {
        let source =
            parse("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n#[cfg(loom)]\nmod c {}\n");
        assert!(!source.is_test(1));
        assert!(source.is_test(2) && source.is_test(4));
        assert!(!source.is_test(7));
    }
}
