//! Copies and comparisons of a few bytes whose number is known at run time only.
//!
//! A call of `memcpy` or `memcmp` for a name of ten bytes costs more than the bytes do. Here two moves of a fixed size
//! that overlap in the middle do for any length between that size and twice it; only what is longer is called for.

/// Copies all of `from` over the beginning of `into`, which is at least as long; else nothing.
#[inline(always)]
pub fn copy(into: &mut [u8], from: &[u8]) {
    macro_rules! ends {
        ($size:literal) => {
            if let (Some(first), Some(last)) = (from.first_chunk::<$size>(), from.last_chunk::<$size>()) {
                let into = match into.get_mut(..from.len()) {
                    Some(into) => into,
                    None => return,
                };
                if let Some(place) = into.first_chunk_mut::<$size>() {
                    *place = *first;
                }
                if let Some(place) = into.last_chunk_mut::<$size>() {
                    *place = *last;
                }
                return;
            }
        };
    }
    if from.len() > 64 {
        if let Some(into) = into.get_mut(..from.len()) {
            into.copy_from_slice(from);
        }
        return;
    }
    ends!(32);
    ends!(16);
    ends!(8);
    ends!(4);
    ends!(2);
    ends!(1);
}

/// Whether two byte strings are the same.
#[inline(always)]
pub fn equal(one: &[u8], other: &[u8]) -> bool {
    macro_rules! ends {
        ($number:ty, $size:literal) => {
            if let (Some(first), Some(last)) = (one.first_chunk::<$size>(), one.last_chunk::<$size>())
                && let (Some(other_first), Some(other_last)) =
                    (other.first_chunk::<$size>(), other.last_chunk::<$size>())
            {
                let number = <$number>::from_ne_bytes;
                let differs = number(*first) ^ number(*other_first) | (number(*last) ^ number(*other_last));
                return differs == 0;
            }
        };
    }
    if one.len() != other.len() {
        return false;
    }
    if one.len() > 32 {
        return one == other;
    }
    ends!(u128, 16);
    ends!(u64, 8);
    ends!(u32, 4);
    ends!(u16, 2);
    ends!(u8, 1);
    true
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    #[test]
    fn every_length_is_copied_whole_and_nothing_else() {
        for len in 0..200_usize {
            let from: Vec<u8> = (1..=len).map(|place| place as u8).collect();
            let mut into = std::vec![0xee_u8; len + 3];
            copy(&mut into, &from);
            assert_eq!(into[..len], from[..]);
            assert_eq!(into[len..], [0xee; 3]);
            if len > 0 {
                let mut short = std::vec![0xee_u8; len - 1];
                copy(&mut short, &from);
                assert!(short.iter().all(|&byte| byte == 0xee), "what has no room is not begun");
            }
        }
    }

    #[test]
    fn one_byte_anywhere_makes_a_difference() {
        for len in 0..100_usize {
            let one: Vec<u8> = (0..len).map(|place| place as u8).collect();
            assert!(equal(&one, &one.clone()));
            for place in 0..len {
                let mut other = one.clone();
                other[place] ^= 0x10;
                assert!(!equal(&one, &other), "{place} of {len}");
            }
            if len > 0 {
                assert!(!equal(&one, &one[1..]));
                assert!(!equal(&one[..len - 1], &one));
            }
        }
    }
}
