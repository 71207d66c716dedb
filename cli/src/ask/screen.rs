//! What the asking commands share in showing figures.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context as _, Result};

/// Writes a report to a file, or to standard output if its name is `-`.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    if path.as_os_str() == "-" {
        return Ok(io::stdout().lock().write_all(text.as_bytes())?);
    }
    fs::write(path, text).with_context(|| format!("--json {}", path.display()))
}

/// Seconds between two looks.
pub(super) fn interval(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.2..=3_600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give seconds from 0.2 (cores publish every 0.1 s) to 3600".to_owned()),
    }
}

/// A number with a unit's prefix: 1234567 is `1.23 M`.
pub(super) fn short(value: f64) -> String {
    let (scaled, unit) = match value {
        v if v >= 1e9 => (v / 1e9, " G"),
        v if v >= 1e6 => (v / 1e6, " M"),
        v if v >= 1e4 => (v / 1e3, " k"),
        v => return format!("{v:.0}"),
    };
    match scaled {
        s if s >= 100.0 => format!("{s:.0}{unit}"),
        s if s >= 10.0 => format!("{s:.1}{unit}"),
        s => format!("{s:.2}{unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        let shown = [0.0, 9_999.0, 12_345.0, 1_234_567.0, 56_700_000.0, 9.87e11].map(short);
        assert_eq!(shown, ["0", "9999", "12.3 k", "1.23 M", "56.7 M", "987 G"]);
    }

    #[test]
    fn an_interval_is_no_shorter_than_cores_publish() {
        assert_eq!(interval("0.5"), Ok(0.5));
        assert!(["0", "0.1", "-1", "NaN", "x", "1e9"].iter().all(|text| interval(text).is_err()));
    }
}
