//! Words and signs of an expression, each with the column where it begins.

use alloc::vec::Vec;

/// One word or sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token<'a> {
    /// As it is written.
    pub(crate) text: &'a str,
    /// Where it begins, in bytes from the expression's beginning.
    pub(crate) at: usize,
}

/// Signs, the longer ones first. `[` and `]` are none: `tcp[tcpflags]` is a word.
const SIGNS: [&str; 9] = ["&&", "||", "!=", "==", "=", "&", "|", "(", ")"];

/// All tokens of `text`.
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut all = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let len = if rest.starts_with(char::is_whitespace) {
            rest.len() - rest.trim_start().len()
        } else {
            let len = sign(rest).unwrap_or_else(|| {
                rest.find(|c: char| c.is_whitespace() || "()&|=!".contains(c)).unwrap_or(rest.len())
            });
            let text = rest.get(..len).unwrap_or(rest);
            all.push(Token { text, at });
            text.len()
        };
        at += len;
    }
    all
}

/// The length of the sign that `rest` begins with.
fn sign(rest: &str) -> Option<usize> {
    let found = SIGNS.iter().find(|sign| rest.starts_with(**sign)).map(|sign| sign.len());
    found.or_else(|| rest.starts_with('!').then_some(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_signs_are_told_apart() {
        let words = |text| tokens(text).iter().map(|token| token.text).collect::<Vec<_>>();
        assert_eq!(words("!(tcp&&port 80)"), ["!", "(", "tcp", "&&", "port", "80", ")"]);
        assert_eq!(words("tcp[tcpflags]&(tcp-syn|tcp-fin)!=0").len(), 9);
        assert_eq!(words("  2001:db8::/32\t"), ["2001:db8::/32"]);
        assert!(words("").is_empty() && words(" \n").is_empty());
        assert_eq!(words("é|ü"), ["é", "|", "ü"]);
        assert_eq!(tokens(" a  b").iter().map(|token| token.at).collect::<Vec<_>>(), [1, 4]);
    }
}
