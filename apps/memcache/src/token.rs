//! A line cut into its tokens: runs of anything but blanks.

use memchr::memchr;

/// The tokens of a line that are left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    pub(crate) const fn new(line: &'a [u8]) -> Self {
        Self { rest: line }
    }

    /// What has not been cut yet.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn last(mut self) -> Option<&'a [u8]> {
        // From the end: a multi-get's line is long.
        while let Some((b' ', rest)) = self.rest.split_last() {
            self.rest = rest;
        }
        let begin = memchr::memrchr(b' ', self.rest).map_or(0, |blank| blank + 1);
        self.rest.get(begin..).filter(|token| !token.is_empty())
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while let Some((b' ', rest)) = self.rest.split_first() {
            self.rest = rest;
        }
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr(b' ', self.rest).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_what_stands_between_blanks() {
        let all: Vec<&[u8]> = Tokens::new(b"  get a  b\tc ").collect();
        assert_eq!(all, [b"get".as_slice(), b"a", b"b\tc"]);
    }

    #[test]
    fn last_is_the_last() {
        for (line, last) in [
            (b"get a b".as_slice(), Some(b"b".as_slice())),
            (b"get a noreply  ", Some(b"noreply")),
            (b"one", Some(b"one")),
            (b"   ", None),
            (b"", None),
        ] {
            assert_eq!(Tokens::new(line).last(), last);
            assert_eq!(Tokens::new(line).last(), Iterator::last(Tokens::new(line)));
        }
    }
}
