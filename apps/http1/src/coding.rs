//! Content codings and what a client accepts of them (RFC 9110, sections 8.4 and 12.5.3).

use crate::fields::{list, trim};

/// How a stored document is coded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Coding {
    /// As it is.
    Identity,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
    /// Brotli (RFC 7932).
    Brotli,
}

impl Coding {
    /// All of them, the tightest first.
    pub const ALL: [Self; 4] = [Self::Brotli, Self::Zstd, Self::Gzip, Self::Identity];

    /// Its name in Content-Encoding.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Brotli => "br",
        }
    }

    /// The ending of a file so coded.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Identity => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
            Self::Brotli => ".br",
        }
    }

    const fn place(self) -> usize {
        match self {
            Self::Identity => 0,
            Self::Gzip => 1,
            Self::Zstd => 2,
            Self::Brotli => 3,
        }
    }
}

/// How much a client likes each coding, in thousandths; 0 is not at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted([u16; 4]);

impl Accepted {
    /// What a request without the field accepts that is sure to be understood.
    pub const ANYTHING: Self = Self([1000, 0, 0, 0]);

    /// Reads the values of all Accept-Encoding fields.
    pub fn parse<'a>(values: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut named = [None; 4];
        let mut others = None;
        for member in values.flat_map(list) {
            let mut parts = member.split(|&byte| byte == b';').map(trim);
            let name = parts.next().unwrap_or(&[]);
            let quality = parts.find_map(weight).unwrap_or(1000);
            if name == b"*" {
                others = Some(quality);
                continue;
            }
            let name = if name.eq_ignore_ascii_case(b"x-gzip") { b"gzip" } else { name };
            if let Some(coding) =
                Coding::ALL.into_iter().find(|coding| name.eq_ignore_ascii_case(coding.name().as_bytes()))
            {
                named[coding.place()] = Some(quality);
            }
        }
        let mut accepted = named.map(|quality| quality.or(others).unwrap_or(0));
        // Identity is accepted unless it is ruled out, though less than anything named.
        if named[0].is_none() {
            accepted[0] = if others == Some(0) { 0 } else { 1 };
        }
        Self(accepted)
    }

    /// The best of the codings that `has` says there are: what the client likes most, among equals the tightest. `None`
    /// when it accepts none of them.
    pub fn choose(&self, has: impl Fn(Coding) -> bool) -> Option<Coding> {
        let mut best: Option<Coding> = None;
        for coding in Coding::ALL {
            let quality = self.0[coding.place()];
            if quality > 0 && has(coding) && best.is_none_or(|best| quality > self.0[best.place()]) {
                best = Some(coding);
            }
        }
        best
    }
}

/// `q=0.5` in thousandths (section 12.4.2); what is malformed counts as nothing.
fn weight(parameter: &[u8]) -> Option<u16> {
    let value = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))?;
    let (whole, fraction) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return Some(0),
    };
    let mut thousandths = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return Some(0),
    };
    let mut unit = 100;
    for digit in fraction {
        if !digit.is_ascii_digit() {
            return Some(0);
        }
        thousandths += u16::from(digit - b'0') * unit;
        unit /= 10;
    }
    Some(if thousandths <= 1000 { thousandths } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(value: &str, has: &[Coding]) -> Option<Coding> {
        Accepted::parse([value.as_bytes()].into_iter()).choose(|coding| has.contains(&coding))
    }

    #[test]
    fn the_best_that_both_have_is_chosen() {
        use Coding::*;
        let all = [Identity, Gzip, Zstd, Brotli];
        for (value, has, chosen) in [
            ("gzip, deflate, br, zstd", &all[..], Some(Brotli)),
            ("gzip, deflate", &all, Some(Gzip)),
            ("x-gzip", &all, Some(Gzip)),
            ("GZIP", &all, Some(Gzip)),
            ("br;q=0.5, gzip;q=0.8", &all, Some(Gzip)),
            ("br;q=0, gzip", &all, Some(Gzip)),
            ("br", &[Identity, Gzip], Some(Identity)),
            ("", &all, Some(Identity)),
            ("deflate", &all, Some(Identity)),
            ("identity;q=1, gzip;q=0.5", &all, Some(Identity)),
            ("*", &all, Some(Brotli)),
            ("*;q=0, gzip", &all, Some(Gzip)),
            ("*;q=0", &all, None),
            ("identity;q=0", &[Identity], None),
            ("gzip;q=1.001", &all, Some(Identity)),
            ("gzip;q=x", &all, Some(Identity)),
            ("gzip;q=0.001", &all, Some(Gzip)),
            ("gzip ; q=1.000", &all, Some(Gzip)),
        ] {
            assert_eq!(choose(value, has), chosen, "{value}");
        }
    }

    #[test]
    fn several_fields_are_one_list() {
        let accepted = Accepted::parse([&b"gzip"[..], b"br;q=0.9"].into_iter());
        assert_eq!(accepted.choose(|_| true), Some(Coding::Gzip));
        assert_eq!(Accepted::ANYTHING.choose(|_| true), Some(Coding::Identity));
    }
}
