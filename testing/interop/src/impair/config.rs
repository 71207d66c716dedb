//! What a path does to frames, and how a command line says it.

use std::str::FromStr;

use anyhow::{Context, Error, Result, bail};
use freeway_base::Duration;

/// What one direction of a path does to frames. Ratios are 0.0 to 1.0 of all frames; the default does nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Impairment {
    /// Ratio of frames lost, each by itself.
    pub loss: f64,
    /// Ratio of frames at which a burst of losses begins.
    pub burst: f64,
    /// Mean length of such a burst, in frames (geometrically distributed; at least 1).
    pub burst_length: f64,
    /// Ratio of frames that arrive twice.
    pub duplicate: f64,
    /// Ratio of frames with one bit flipped, behind the Ethernet header.
    pub corrupt: f64,
    /// Ratio of frames held back, so that later ones overtake them.
    pub reorder: f64,
    /// How long a reordered frame is held back on top of its delay.
    pub reorder_delay: Duration,
    /// How long every frame is under way.
    pub delay: Duration,
    /// Up to this much more, evenly distributed. Jitter alone keeps the order.
    pub jitter: Duration,
    /// The line's rate, if it has one.
    pub rate: Option<Rate>,
    /// Bytes that may wait for the line when it has a rate; what comes on top is dropped.
    pub queue_bytes: u64,
    /// Frames to drop by number; the first is number 1.
    pub drop_nth: Vec<u64>,
}

impl Default for Impairment {
    fn default() -> Self {
        Self {
            loss: 0.0,
            burst: 0.0,
            burst_length: 4.0,
            duplicate: 0.0,
            corrupt: 0.0,
            reorder: 0.0,
            reorder_delay: Duration::from_millis(2),
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            rate: None,
            queue_bytes: 256 * 1024,
            drop_nth: Vec::new(),
        }
    }
}

/// A rate in bits a second, read as `100M`, `1G`, `56k` or a plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bits a second; never 0.
    pub bits_per_second: u64,
}

impl Rate {
    /// How long `bytes` take.
    pub fn time_of(self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 8 * 1_000_000_000 / u128::from(self.bits_per_second);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl FromStr for Rate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (digits, factor) = match text.as_bytes().last() {
            Some(b'k') => (&text[..text.len() - 1], 1_000),
            Some(b'M') => (&text[..text.len() - 1], 1_000_000),
            Some(b'G') => (&text[..text.len() - 1], 1_000_000_000),
            _ => (text, 1),
        };
        let number: u64 =
            digits.parse().with_context(|| format!("`{text}` is no rate such as 100M or 56k"))?;
        match number.checked_mul(factor) {
            Some(bits_per_second) if bits_per_second > 0 => Ok(Self { bits_per_second }),
            _ => bail!("the rate `{text}` is out of range"),
        }
    }
}

/// A span of time, read as `20ms`, `150us`, `1s` or `0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unit_start = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(unit_start);
        let number: u64 =
            digits.parse().with_context(|| format!("`{text}` is no time such as 20ms or 150us"))?;
        Ok(Self(match unit {
            "" if number == 0 => Duration::ZERO,
            "ns" => Duration::from_nanos(number),
            "us" => Duration::from_micros(number),
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            _ => bail!("`{text}` has no unit out of ns, us, ms and s"),
        }))
    }
}

/// A value for each direction, read as `VALUE` for both or `FORWARD/BACKWARD`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Both<T> {
    /// From the first interface to the second.
    pub forward: T,
    /// From the second interface to the first.
    pub backward: T,
}

/// One of a path's two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the first interface to the second.
    Forward,
    /// From the second interface to the first.
    Backward,
}

impl<T: Copy> Both<T> {
    /// The value for `way`.
    pub fn of(self, way: Way) -> T {
        match way {
            Way::Forward => self.forward,
            Way::Backward => self.backward,
        }
    }
}

impl<T: FromStr> FromStr for Both<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        let (forward, backward) = text.split_once('/').unwrap_or((text, text));
        Ok(Self { forward: forward.parse()?, backward: backward.parse()? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn rates_and_times_are_read_with_their_units() {
        assert_eq!("100M".parse::<Rate>().unwrap().bits_per_second, 100_000_000);
        assert_eq!("9600".parse::<Rate>().unwrap().bits_per_second, 9_600);
        assert_eq!("1G".parse::<Rate>().unwrap().time_of(1_250), Duration::from_micros(10));
        assert_eq!("20ms".parse::<Span>().unwrap().0, Duration::from_millis(20));
        assert_eq!("0".parse::<Span>().unwrap().0, Duration::ZERO);
        for wrong in ["", "0", "fast", "1T", "-1", "99999999999999999999G"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
        for wrong in ["", "20", "ms", "1h", "-1ms"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_value_serves_both_directions() {
        assert_eq!("0.5".parse::<Both<f64>>().unwrap(), Both { forward: 0.5, backward: 0.5 });
        assert_eq!("0.5/0".parse::<Both<f64>>().unwrap(), Both { forward: 0.5, backward: 0.0 });
        assert!("0.5/0/1".parse::<Both<f64>>().is_err());
    }
}
