//! How a setting's value is written: in the file, with its TOML type, and behind a flag, as text.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::IntErrorKind;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration as Wall;

use freeway::tcp::congestion::Algorithm;
use freeway::tcp::{EcnMode, PathProbing};
use freeway::{Duration, Idle, Overflow, SynCookies};
use freeway_httpd::{Changes, Format, Symlinks};
use freeway_memcache::Protocol;
use toml::Spanned;
use toml::de::DeValue;

use crate::metrics::At;

/// A value of the file, and where it stands.
pub(crate) type Value<'a> = Spanned<DeValue<'a>>;

/// What is wrong with a file's values, each with its place in bytes.
#[derive(Debug, Default)]
pub(crate) struct Wrong(pub(crate) Vec<(Range<usize>, String)>);

impl Wrong {
    pub(crate) fn note(&mut self, place: Range<usize>, text: impl Into<String>) {
        self.0.push((place, text.into()));
    }
}

/// What a setting can be.
pub(crate) trait Setting: Sized {
    /// What a right value is, for people: "a number from 0 to 255".
    fn what() -> String;

    /// Reads what stands behind a flag.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    fn of_text(text: &str) -> Result<Self, String>;

    /// Reads all that a flag was given; of a setting that is one value, the last counts.
    ///
    /// # Errors
    ///
    /// What is wrong, each mistake a line.
    fn of_texts(texts: &[String]) -> Result<Self, Vec<String>> {
        Self::of_text(texts.last().map_or("", String::as_str)).map_err(|error| vec![error])
    }

    /// Reads a value of the file; notes what is wrong with it. By default it is a string as behind a flag.
    fn of_value(value: &Value<'_>, wrong: &mut Wrong) -> Option<Self> {
        let DeValue::String(text) = value.get_ref() else {
            wrong.note(value.span(), format!("this is {}: it should be {}", kind(value), Self::what()));
            return None;
        };
        Self::of_text(text).map_err(|error| wrong.note(value.span(), error)).ok()
    }

    /// Writes it as the file has it.
    fn to_toml(&self) -> String;
}

/// What kind of value this is, with its article.
pub(crate) fn kind(value: &Value<'_>) -> &'static str {
    match value.get_ref() {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Text as TOML quotes it.
pub(crate) fn quoted(text: impl fmt::Display) -> String {
    let mut quoted = String::from('"');
    for letter in text.to_string().chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(control))),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

macro_rules! numbers {
    ($($number:ty),*) => { $(
        impl Setting for $number {
            fn what() -> String {
                format!("a number from 0 to {}", Self::MAX)
            }

            fn of_text(text: &str) -> Result<Self, String> {
                text.trim().parse().map_err(|error: std::num::ParseIntError| match error.kind() {
                    IntErrorKind::PosOverflow => format!("{text} is too large: it should be {}", Self::what()),
                    _ => format!("'{text}' is not {}", Self::what()),
                })
            }

            fn of_value(value: &Value<'_>, wrong: &mut Wrong) -> Option<Self> {
                let DeValue::Integer(number) = value.get_ref() else {
                    let without = if matches!(value.get_ref(), DeValue::String(_)) { ", without quotes" } else { "" };
                    wrong.note(
                        value.span(),
                        format!("this is {}: it should be {}{without}", kind(value), Self::what()),
                    );
                    return None;
                };
                let read = Self::from_str_radix(number.as_str(), number.radix());
                read.map_err(|_| wrong.note(value.span(), format!("{} is not {}", number.as_str(), Self::what()))).ok()
            }

            fn to_toml(&self) -> String {
                self.to_string()
            }
        }
    )* };
}

numbers!(u8, u16, u32, u64, usize);

impl Setting for bool {
    fn what() -> String {
        "true or false".into()
    }

    fn of_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("'{text}' is neither true nor false"))
    }

    fn of_value(value: &Value<'_>, wrong: &mut Wrong) -> Option<Self> {
        if let DeValue::Boolean(truth) = value.get_ref() {
            return Some(*truth);
        }
        wrong.note(
            value.span(),
            format!("this is {}: it should be true or false, without quotes", kind(value)),
        );
        None
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

impl Setting for String {
    fn what() -> String {
        "text".into()
    }

    fn of_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }
}

impl Setting for PathBuf {
    fn what() -> String {
        "a path".into()
    }

    fn of_text(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("a path cannot be empty".into()) } else { Ok(text.into()) }
    }

    fn to_toml(&self) -> String {
        quoted(self.display())
    }
}

/// Settings with an ordinary text form.
macro_rules! texts {
    ($($kind:ty => $what:literal,)*) => { $(
        impl Setting for $kind {
            fn what() -> String {
                $what.into()
            }

            fn of_text(text: &str) -> Result<Self, String> {
                <$kind>::from_str(text).map_err(|_| format!("'{text}' is not {}", Self::what()))
            }

            fn to_toml(&self) -> String {
                quoted(self)
            }
        }
    )* };
}

texts! {
    IpAddr => "an address, such as 198.18.0.1 or fdc1::1",
    SocketAddr => "ADDRESS:PORT, such as 198.18.0.2:9100",
}

/// The same where the type itself says best what is wrong.
macro_rules! telling {
    ($($kind:ty => $what:literal,)*) => { $(
        impl Setting for $kind {
            fn what() -> String {
                $what.into()
            }

            fn of_text(text: &str) -> Result<Self, String> {
                <$kind>::from_str(text).map_err(|error| error.to_string())
            }

            fn to_toml(&self) -> String {
                quoted(self)
            }
        }
    )* };
}

telling! {
    At => "ADDRESS:PORT or :PORT, such as 198.18.0.2:9100",
    Idle => "sleep, adaptive or spin",
    Algorithm => "cubic, newreno or dctcp",
    EcnMode => "off, passive or on",
}

/// Settings that are one of some words.
macro_rules! words {
    ($($kind:ty { $($word:literal => $value:expr,)* })*) => { $(
        impl Setting for $kind {
            fn what() -> String {
                [$($word),*].join(", ")
            }

            fn of_text(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($value),)*
                    _ => Err(format!("'{text}' is none of {}", Self::what())),
                }
            }

            fn to_toml(&self) -> String {
                let known = [$(($word, $value)),*];
                quoted(known.iter().find(|(_, value)| value == self).map_or("", |(word, _)| word))
            }
        }
    )* };
}

words! {
    PathProbing {
        "off" => Self::Off,
        "black-hole" => Self::BlackHole,
        "always" => Self::Always,
    }
    Overflow {
        "drop" => Self::Drop,
        "reset" => Self::Reset,
    }
    SynCookies {
        "off" => Self::Off,
        "when-needed" => Self::WhenNeeded,
        "always" => Self::Always,
    }
    Symlinks {
        "never" => Self::Never,
        "inside" => Self::Inside,
        "always" => Self::Always,
    }
    Changes {
        "told" => Self::Told,
        "poll" => Self::Poll(Wall::from_secs(2)),
        "never" => Self::Never,
    }
    Format {
        "combined" => Self::Combined,
        "json" => Self::Json,
    }
    Protocol {
        "auto" => Self::Auto,
        "ascii" => Self::Text,
        "binary" => Self::Binary,
    }
}

/// Units of time, the longest first, in nanoseconds.
const UNITS: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl Setting for Duration {
    fn what() -> String {
        "a time such as \"10s\": a number with d, h, min, s, ms, us or ns behind it; without, seconds".into()
    }

    fn of_text(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = || format!("'{text}' is not {}", Self::what());
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit = if unit.trim().is_empty() { "s" } else { unit.trim() };
        let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        number.checked_mul(*nanos).map(Self::from_nanos).ok_or_else(|| format!("{text} is too long a time"))
    }

    fn of_value(value: &Value<'_>, wrong: &mut Wrong) -> Option<Self> {
        text_or_number(value, wrong)
    }

    fn to_toml(&self) -> String {
        let nanos = self.as_nanos();
        let whole = |(_, unit): &&(&str, u64)| nanos.is_multiple_of(*unit);
        match UNITS.iter().filter(|_| nanos > 0).find(whole) {
            Some((name, unit)) => quoted(format!("{}{name}", nanos / unit)),
            None => quoted("0s"),
        }
    }
}

/// A string as behind a flag, or a number without quotes.
fn text_or_number<T: Setting>(value: &Value<'_>, wrong: &mut Wrong) -> Option<T> {
    let text = match value.get_ref() {
        DeValue::String(text) => text.as_ref(),
        DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
        _ => {
            wrong.note(value.span(), format!("this is {}: it should be {}", kind(value), T::what()));
            return None;
        }
    };
    T::of_text(text).map_err(|error| wrong.note(value.span(), error)).ok()
}

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "G"), (20, "M"), (10, "K")];
        let fits = |(shift, _): &&(u32, &str)| self.0 > 0 && self.0.is_multiple_of(1 << shift);
        match units.iter().find(fits) {
            Some((shift, unit)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Setting for Size {
    fn what() -> String {
        "a number of bytes, such as \"64M\": with K, M or G behind it for powers of 1024".into()
    }

    fn of_text(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not {}", Self::what());
        let (digits, shift) = match text.trim().as_bytes() {
            [digits @ .., b'k' | b'K'] => (digits.len(), 10),
            [digits @ .., b'm' | b'M'] => (digits.len(), 20),
            [digits @ .., b'g' | b'G'] => (digits.len(), 30),
            all => (all.len(), 0),
        };
        let number: u64 = text.trim().get(..digits).ok_or_else(wrong)?.parse().map_err(|_| wrong())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(|| format!("{text} is more than any memory"))
    }

    fn of_value(value: &Value<'_>, wrong: &mut Wrong) -> Option<Self> {
        text_or_number(value, wrong)
    }

    fn to_toml(&self) -> String {
        if self.0.is_multiple_of(1 << 10) && self.0 > 0 { quoted(self) } else { self.0.to_string() }
    }
}

macro_rules! sizes {
    ($($number:ty),*) => { $(
        impl From<$number> for Size {
            fn from(bytes: $number) -> Self {
                Self(bytes as u64)
            }
        }

        impl From<Size> for $number {
            fn from(size: Size) -> Self {
                // Every key of this width has bounds within it.
                Self::try_from(size.0).unwrap_or(Self::MAX)
            }
        }
    )* };
}

sizes!(u32, usize);

impl From<u64> for Size {
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl From<Size> for u64 {
    fn from(size: Size) -> Self {
        size.0
    }
}

/// A setting that follows from others unless it is given: `"auto"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Auto<T> {
    /// It follows.
    #[default]
    Auto,
    /// It is given.
    Set(T),
}

impl<T> Auto<T> {
    /// What it comes to, when the others say `otherwise`.
    pub(crate) fn or(self, otherwise: T) -> T {
        match self {
            Self::Auto => otherwise,
            Self::Set(value) => value,
        }
    }
}

impl<T: Setting> Setting for Auto<T> {
    fn what() -> String {
        format!("\"auto\", or {}", T::what())
    }

    fn of_text(text: &str) -> Result<Self, String> {
        if text == "auto" { Ok(Self::Auto) } else { T::of_text(text).map(Self::Set) }
    }

    fn of_value(value: &Value<'_>, wrong: &mut Wrong) -> Option<Self> {
        if matches!(value.get_ref(), DeValue::String(text) if text == "auto") {
            return Some(Self::Auto);
        }
        T::of_value(value, wrong).map(Self::Set)
    }

    fn to_toml(&self) -> String {
        match self {
            Self::Auto => quoted("auto"),
            Self::Set(value) => value.to_toml(),
        }
    }
}

impl<T: Setting> Setting for Option<T> {
    fn what() -> String {
        format!("\"none\", or {}", T::what())
    }

    fn of_text(text: &str) -> Result<Self, String> {
        if text == "none" { Ok(None) } else { T::of_text(text).map(Some) }
    }

    fn of_value(value: &Value<'_>, wrong: &mut Wrong) -> Option<Self> {
        if matches!(value.get_ref(), DeValue::String(text) if text == "none") {
            return Some(None);
        }
        T::of_value(value, wrong).map(Some)
    }

    fn to_toml(&self) -> String {
        self.as_ref().map_or_else(|| quoted("none"), T::to_toml)
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn what() -> String {
        format!("a list, each of it {}", T::what())
    }

    fn of_text(text: &str) -> Result<Self, String> {
        T::of_text(text).map(|value| vec![value])
    }

    fn of_texts(texts: &[String]) -> Result<Self, Vec<String>> {
        let mut errors = Vec::new();
        let read = texts.iter().filter_map(|text| T::of_text(text).map_err(|error| errors.push(error)).ok());
        let read = read.collect();
        if errors.is_empty() { Ok(read) } else { Err(errors) }
    }

    fn of_value(value: &Value<'_>, wrong: &mut Wrong) -> Option<Self> {
        let DeValue::Array(items) = value.get_ref() else {
            wrong.note(value.span(), format!("this is {}: it should be {}", kind(value), Self::what()));
            return None;
        };
        let before = wrong.0.len();
        let read = items.iter().filter_map(|item| T::of_value(item, wrong)).collect();
        (wrong.0.len() == before).then_some(read)
    }

    fn to_toml(&self) -> String {
        format!("[{}]", self.iter().map(T::to_toml).collect::<Vec<_>>().join(", "))
    }
}

impl Setting for RangeInclusive<u16> {
    fn what() -> String {
        "two ports, such as \"32768-65535\"".into()
    }

    fn of_text(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not {}", Self::what());
        let (first, last) = text.split_once('-').ok_or_else(wrong)?;
        let (first, last): (u16, u16) =
            (first.trim().parse().map_err(|_| wrong())?, last.trim().parse().map_err(|_| wrong())?);
        if first == 0 || first > last { Err(wrong()) } else { Ok(first..=last) }
    }

    fn to_toml(&self) -> String {
        quoted(format!("{}-{}", self.start(), self.end()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn there_and_back<T: Setting + PartialEq + fmt::Debug>(text: &str) {
        let read = T::of_text(text).unwrap();
        let line = format!("key = {}", read.to_toml());
        let table = toml::de::DeTable::parse(&line).unwrap();
        let mut wrong = Wrong::default();
        let value = table.get_ref().values().next().unwrap();
        assert_eq!(T::of_value(value, &mut wrong), Some(read), "{line}: {wrong:?}");
    }

    #[test]
    fn what_a_flag_says_the_file_can_say() {
        there_and_back::<u16>("65535");
        there_and_back::<bool>("true");
        there_and_back::<String>("a \"b\" \\ c\n");
        there_and_back::<PathBuf>("/a/b");
        there_and_back::<Vec<IpAddr>>("2001:db8::1");
        there_and_back::<crate::device::Cidr>("198.18.0.2/24");
        there_and_back::<Idle>("spin");
        there_and_back::<Algorithm>("newreno");
        there_and_back::<EcnMode>("passive");
        there_and_back::<PathProbing>("black-hole");
        there_and_back::<Changes>("poll");
        there_and_back::<Size>("1G");
        there_and_back::<Size>("1000");
        there_and_back::<Auto<u32>>("auto");
        there_and_back::<Auto<u32>>("7");
        there_and_back::<Option<Duration>>("none");
        there_and_back::<Option<Duration>>("40ms");
        there_and_back::<RangeInclusive<u16>>("61000-65535");
    }

    #[test]
    fn times_have_units() {
        for (text, nanos) in [("3", 3_000_000_000), ("2 ms", 2_000_000), ("1min", 60_000_000_000), ("0", 0)] {
            assert_eq!(Duration::of_text(text).unwrap().as_nanos(), nanos, "{text}");
        }
        assert_eq!(Duration::from_millis(1_500).to_toml(), "\"1500ms\"");
        assert_eq!(Duration::from_secs(120).to_toml(), "\"2min\"");
        for bad in ["", "s", "1 fortnight", "-1s", "99999999999d"] {
            assert!(Duration::of_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(Size::of_text("64M").unwrap(), Size(64 << 20));
        assert_eq!(Size::of_text("3k").unwrap(), Size(3 << 10));
        for bad in ["", "M", "1.5G", "99999999999G"] {
            assert!(Size::of_text(bad).is_err(), "{bad}");
        }
    }
}
