//! The cube root of an integer, by its binary digits.

/// The largest r with r³ <= n.
///
/// From the highest digit down: r² and 3r²-like terms are carried along, so each of the 22 digits costs a comparison
/// and additions (Warren, Hacker's Delight, section 11-2).
pub(crate) const fn cube_root(n: u64) -> u32 {
    let mut rest = n;
    let mut root: u64 = 0;
    let mut shift = 63;
    loop {
        root <<= 1;
        // (root + 1)³ - root³, at this digit's place.
        let step = 3 * root * (root + 1) + 1;
        if rest >> shift >= step {
            rest -= step << shift;
            root += 1;
        }
        if shift == 0 {
            return root as u32;
        }
        shift -= 3;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_root(n: u64) -> bool {
        let root = u128::from(cube_root(n));
        root.pow(3) <= u128::from(n) && u128::from(n) < (root + 1).pow(3)
    }

    #[test]
    fn small_numbers_and_the_edges_of_every_root() {
        for n in 0..100_000 {
            assert!(is_root(n), "{n}");
        }
        for root in (1..=2_642_245u64).step_by(97).chain([2_642_245]) {
            let cube = root.pow(3);
            assert_eq!((cube_root(cube - 1), cube_root(cube)), (root as u32 - 1, root as u32));
        }
        assert_eq!(cube_root(u64::MAX), 2_642_245);
    }

    proptest! {
        #[test]
        fn it_is_the_root_of_any_number(n: u64) {
            prop_assert!(is_root(n));
            let float = (n as f64).cbrt();
            prop_assert!((f64::from(cube_root(n)) - float).abs() <= 1.0);
        }
    }
}
