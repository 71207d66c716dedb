//! Decimal numbers as memcached reads them.

/// Digits with an optional plus, as strtoull takes them; `None` for anything else and for what 64 bits cannot hold.
pub(crate) fn unsigned(token: &[u8]) -> Option<u64> {
    let digits = token.strip_prefix(b"+").unwrap_or(token);
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// As [`unsigned`], in 32 bits.
pub(crate) fn unsigned_32(token: &[u8]) -> Option<u32> {
    u32::try_from(unsigned(token)?).ok()
}

/// Digits with an optional sign, in 32 bits.
pub(crate) fn signed_32(token: &[u8]) -> Option<i32> {
    match token.strip_prefix(b"-") {
        // A second sign is none.
        Some(digits) if digits.first().is_some_and(u8::is_ascii_digit) => {
            i32::try_from(-i64::try_from(unsigned(digits)?).ok()?).ok()
        }
        Some(_) => None,
        None => i32::try_from(unsigned(token)?).ok(),
    }
}

/// A value that incr and decr can work on: up to 20 digits, and blanks after them, which older servers left when a
/// number lost a digit.
pub fn stored(value: &[u8]) -> Option<u64> {
    let end = value.iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1);
    unsigned(value.get(..end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(unsigned(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(unsigned(b"18446744073709551616"), None);
        assert_eq!(unsigned_32(b"4294967295"), Some(u32::MAX));
        assert_eq!(unsigned_32(b"4294967296"), None);
        assert_eq!(signed_32(b"2147483647"), Some(i32::MAX));
        assert_eq!(signed_32(b"2147483648"), None);
        assert_eq!(signed_32(b"-2147483648"), Some(i32::MIN));
        assert_eq!(signed_32(b"-2147483649"), None);
    }

    #[test]
    fn numbers_are_digits() {
        assert_eq!(unsigned(b"+7"), Some(7));
        assert_eq!(signed_32(b"+7"), Some(7));
        for bad in [b"".as_slice(), b"+", b"-", b"-1", b"1x", b" 1", b"0x1", b"++1", b"1.0"] {
            assert_eq!(unsigned(bad), None, "{bad:?}");
        }
        for bad in [b"".as_slice(), b"-", b"--1", b"-+1", b"+-1", b"1-"] {
            assert_eq!(signed_32(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn stored_numbers_may_end_in_blanks() {
        assert_eq!(stored(b"10  "), Some(10));
        assert_eq!(stored(b"10 1"), None);
        assert_eq!(stored(b""), None);
        assert_eq!(stored(b"  "), None);
    }
}
