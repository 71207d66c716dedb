//! Tables: what goes in and what comes out, line by line.
//!
//! ```text
//! # a comment
//! == name of a case              a new, empty cache and a new connection; [not 1.6.18] behind the name: that
//!                                version answers otherwise
//! > get a                        goes in, with CR LF behind it
//! >> get                         goes in as it is
//! < END                          comes out, with CR LF behind it
//! << ab                          comes out as it is
//! >b set flags=5 key=a value=b   a binary request; see `binary_line`
//! <b set cas={?c}                a binary answer
//! <.                             the server closes the connection
//! + 10                           ten seconds go by
//! --                             another connection to the same cache
//! ```
//!
//! In what stands behind: `\r`, `\n`, `\t`, `\\`, `\xNN`; `{250*k}` is 250 times k; `{#}` stands for any digits that
//! come out, `{?c}` for digits that are remembered as c, or are the same as before, `{c}` for these going in.

use anyhow::{Context as _, Result, bail, ensure};

use crate::binary_line;

/// A part of what goes in or comes out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Piece {
    Bytes(Vec<u8>),
    /// Digits, remembered under a name or not at all.
    Digits(Option<String>),
    /// Eight bytes of a number, likewise.
    Wide(Option<String>),
}

/// A line of a case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Its number in the file.
    pub number: usize,
    pub(crate) what: What,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum What {
    Send(Vec<Piece>),
    Expect(Vec<Piece>),
    Closed,
    Advance(u64),
    Reconnect,
}

/// A case: a few lines on one cache.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// A version of memcached that answers otherwise.
    pub not: Option<String>,
    /// In order.
    pub lines: Vec<Line>,
}

/// A file of cases.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    /// The file's name.
    pub name: String,
    /// In order.
    pub cases: Vec<Case>,
}

macro_rules! tables {
    ($($name:literal),* $(,)?) => {
        const TEXTS: &[(&str, &str)] = &[$(($name, include_str!(concat!("../tables/", $name, ".txt"))),)*];
    };
}

tables!(
    "storage",
    "retrieval",
    "arithmetic",
    "deletion",
    "admin",
    "limits",
    "meta_get",
    "meta_set",
    "meta_delete",
    "meta_arithmetic",
    "meta_errors",
    "leases",
    "binary",
    "binary_errors"
);

impl Table {
    /// All tables of this crate.
    ///
    /// # Errors
    ///
    /// A line that cannot be read, by its number.
    pub fn all() -> Result<Vec<Self>> {
        TEXTS.iter().map(|&(name, text)| Self::parse(name, text)).collect()
    }

    /// Reads a table.
    ///
    /// # Errors
    ///
    /// A line that cannot be read, by its number.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let mut cases: Vec<Case> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let read = || format!("{name}.txt:{number}: {line}");
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(title) = line.strip_prefix("== ") {
                cases.push(case(title).with_context(read)?);
                continue;
            }
            let what = what(line).with_context(read)?;
            let Some(case) = cases.last_mut() else { bail!("{}: no case has begun", read()) };
            case.lines.push(Line { number, what });
        }
        Ok(Self { name: name.to_owned(), cases })
    }
}

fn case(title: &str) -> Result<Case> {
    let (name, not) = match title.split_once(" [not ") {
        Some((name, rest)) => {
            (name, Some(rest.strip_suffix(']').context("a bracket is missing")?.to_owned()))
        }
        None => (title, None),
    };
    Ok(Case { name: name.to_owned(), not, lines: Vec::new() })
}

fn what(line: &str) -> Result<What> {
    let (sign, rest) = line.split_once(' ').unwrap_or((line, ""));
    Ok(match sign {
        ">" => What::Send(with_end(pieces(rest)?)),
        ">>" => What::Send(pieces(rest)?),
        "<" => What::Expect(with_end(pieces(rest)?)),
        "<<" => What::Expect(pieces(rest)?),
        ">b" => What::Send(binary_line::request(rest)?),
        "<b" => What::Expect(binary_line::answer(rest)?),
        "<." => What::Closed,
        "+" => What::Advance(rest.parse()?),
        "--" => What::Reconnect,
        _ => bail!("it begins with no sign of a table"),
    })
}

fn with_end(mut pieces: Vec<Piece>) -> Vec<Piece> {
    pieces.push(Piece::Bytes(b"\r\n".to_vec()));
    pieces
}

/// Reads escapes, repetitions and names.
pub(crate) fn pieces(text: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match first {
            '\\' => {
                let (byte, after) = escape(rest)?;
                bytes.push(byte);
                rest = after;
            }
            '{' => {
                let (name, after) = rest.split_once('}').context("a brace is open")?;
                rest = after;
                if let Some((count, text)) = name.split_once('*') {
                    bytes.extend(text.repeat(count.parse()?).into_bytes());
                    continue;
                }
                pieces.push(Piece::Bytes(std::mem::take(&mut bytes)));
                let name = name.strip_prefix('?').unwrap_or(name);
                pieces.push(Piece::Digits(Some(name.to_owned()).filter(|name| name != "#")));
            }
            _ => bytes.extend(first.to_string().into_bytes()),
        }
    }
    pieces.push(Piece::Bytes(bytes));
    Ok(pieces)
}

fn escape(rest: &str) -> Result<(u8, &str)> {
    let letter = rest.chars().next().context("nothing is escaped")?;
    let simple = |byte| Ok((byte, &rest[1..]));
    match letter {
        'r' => simple(b'\r'),
        'n' => simple(b'\n'),
        't' => simple(b'\t'),
        '\\' => simple(b'\\'),
        'x' => {
            let hex = rest.get(1..3).context("two hexadecimal digits are missing")?;
            Ok((u8::from_str_radix(hex, 16)?, &rest[3..]))
        }
        _ => bail!("\\{letter} is no escape"),
    }
}

/// The bytes of pieces that name nothing.
pub(crate) fn bytes(text: &str) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for piece in pieces(text)? {
        let Piece::Bytes(bytes) = piece else { bail!("a name does not fit here") };
        all.extend(bytes);
    }
    ensure!(all.len() <= 1 << 24, "it is too long");
    Ok(all)
}
