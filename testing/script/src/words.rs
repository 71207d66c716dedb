//! Words of a line: numbers, times, bytes; and the choice between what holds for one IP version and for the other.

use std::iter::Peekable;
use std::slice::Iter;
use std::str::FromStr;
use std::time::Duration;

use crate::version::Version;

/// The words of a line that are not read yet.
pub(crate) struct Words<'a> {
    words: Peekable<Iter<'a, String>>,
}

impl<'a> Words<'a> {
    pub(crate) fn new(words: &'a [String]) -> Self {
        Self { words: words.iter().peekable() }
    }

    pub(crate) fn next(&mut self) -> Option<&'a str> {
        self.words.next().map(String::as_str)
    }

    /// The next word, if `wanted` likes it.
    pub(crate) fn next_if(&mut self, wanted: impl Fn(&str) -> bool) -> Option<&'a str> {
        self.words.next_if(|word| wanted(word)).map(String::as_str)
    }

    /// The word that `of` wants behind it.
    pub(crate) fn value(&mut self, of: &str) -> Result<&'a str, String> {
        self.next().ok_or_else(|| format!("'{of}' wants a value"))
    }

    /// The number that `of` wants behind it.
    pub(crate) fn number<T: FromStr>(&mut self, of: &str) -> Result<T, String> {
        number(self.value(of)?)
    }
}

/// The words of a line, without its comment; `1460/1440` is the first over IPv4 and the second over IPv6.
pub(crate) fn split(line: &str, version: Version) -> Vec<String> {
    let line = line.split('#').next().unwrap_or("");
    line.split_whitespace().map(|word| choose(word, version)).collect()
}

fn choose(word: &str, version: Version) -> String {
    let one = |part: &str| match (part.split_once('/'), version) {
        (None, _) => part.to_owned(),
        (Some((v4, _)), Version::Ipv4) => v4.to_owned(),
        (Some((_, v6)), Version::Ipv6) => v6.to_owned(),
    };
    word.split(':').map(one).collect::<Vec<_>>().join(":")
}

pub(crate) fn number<T: FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("'{word}' is no number that fits here"))
}

/// `FIRST:END`, or `FIRST` alone for nothing at it.
pub(crate) fn range(word: &str) -> Result<(u32, u32), String> {
    let (first, end) = word.split_once(':').unwrap_or((word, word));
    let (first, end) = (number(first)?, number(end)?);
    if end < first { Err(format!("'{word}' ends before it begins")) } else { Ok((first, end)) }
}

pub(crate) fn time_span(word: &str) -> Result<Duration, String> {
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let count: u64 = number(digits)?;
    match &word[digits.len()..] {
        "us" => Ok(Duration::from_micros(count)),
        "ms" => Ok(Duration::from_millis(count)),
        "s" => Ok(Duration::from_secs(count)),
        "h" => Ok(Duration::from_secs(count * 3_600)),
        "d" => Ok(Duration::from_secs(count * 86_400)),
        unit => Err(format!("'{unit}' is no unit of time: us, ms, s, h or d")),
    }
}

/// `LEAST..MOST`, both times.
pub(crate) fn time_range(word: &str) -> Result<(Duration, Duration), String> {
    let (least, most) = word.split_once("..").ok_or_else(|| format!("'{word}' is no range of time"))?;
    Ok((time_span(least)?, time_span(most)?))
}

/// Bytes, two digits each.
pub(crate) fn hex(word: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("'{word}' is not bytes of two hexadecimal digits");
    if !word.is_ascii() || !word.len().is_multiple_of(2) {
        return Err(wrong());
    }
    let bytes = (0..word.len()).step_by(2).map(|at| u8::from_str_radix(&word[at..at + 2], 16));
    bytes.collect::<Result<_, _>>().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn words_differ_by_version() {
        let line = "< A 1:537/1221 mss 1460/1440 # a/b";
        assert_eq!(split(line, Version::Ipv4), ["<", "A", "1:537", "mss", "1460"]);
        assert_eq!(split(line, Version::Ipv6), ["<", "A", "1:1221", "mss", "1440"]);
    }

    #[test]
    fn values_are_read_or_refused() {
        assert_eq!(range("1:3"), Ok((1, 3)));
        assert_eq!(range("7"), Ok((7, 7)));
        assert!(range("3:1").is_err());
        assert_eq!(time_range("2ms..1s"), Ok((Duration::from_millis(2), Duration::from_secs(1))));
        assert!(time_span("4y").is_err() && time_span("ms").is_err());
        assert_eq!(hex("00ff"), Ok(vec![0, 255]));
        assert!(hex("0").is_err() && hex("0g").is_err() && hex("é0").is_err());
    }
}
