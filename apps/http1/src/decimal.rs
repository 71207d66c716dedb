//! Numbers as text, two digits at a time.

/// Digits of the longest number.
pub const DIGITS_MAX: usize = 20;

/// `00` to `99`.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut value = 0;
    while value < 100 {
        pairs[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        value += 1;
    }
    pairs
};

/// A number's digits.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    digits: [u8; DIGITS_MAX],
    first: usize,
}

impl Decimal {
    /// The digits of `value`.
    pub fn new(mut value: u64) -> Self {
        let mut digits = [0; DIGITS_MAX];
        let mut first = DIGITS_MAX;
        // Divisions by a constant are multiplications.
        while value >= 10 {
            first -= 2;
            digits[first..first + 2].copy_from_slice(&PAIRS[(value % 100) as usize]);
            value /= 100;
        }
        if value > 0 || first == DIGITS_MAX {
            first -= 1;
            digits[first] = b'0' + value as u8;
        }
        Self { digits, first }
    }

    /// The digits, without leading zeros.
    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[self.first..]
    }
}

/// The number that `text` consists of: digits only, at least one, and no more than a `u64` holds.
pub fn parse(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { value.checked_mul(10)?.checked_add(u64::from(digit)) }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_digits_are_a_number() {
        for text in ["", "+1", "-1", " 1", "1 ", "0x1", "1,1", "1.0", "18446744073709551616"] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse(b"007"), Some(7));
    }

    proptest! {
        #[test]
        fn digits_are_those_of_the_standard_library(value: u64, shift in 0..64u32) {
            for value in [value >> shift, 0, 9, 10, 99, 100, u64::MAX] {
                prop_assert_eq!(Decimal::new(value).as_bytes().to_vec(), value.to_string().into_bytes());
                prop_assert_eq!(parse(Decimal::new(value).as_bytes()), Some(value));
            }
        }
    }
}
