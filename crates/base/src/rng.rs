//! A small fast generator of pseudo-random numbers.
//!
//! xoshiro256++ (Blackman and Vigna, 2019), seeded through SplitMix64. It serves jitter, port selection and
//! the simulator; secrets are [`HashKey`](crate::HashKey)s whose seed came from the operating system.

/// Where a generator starts. A simulation that repeats a seed repeats itself exactly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seed(pub u64);

/// A generator: 2^256 - 1 numbers before it repeats.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// A generator that starts at `seed`.
    pub const fn new(seed: Seed) -> Self {
        let mut state = [0; 4];
        let mut mixer = seed.0;
        let mut word = 0;
        while word < state.len() {
            mixer = mixer.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = mixer;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            state[word] = mixed ^ (mixed >> 31);
            word += 1;
        }
        Self { state }
    }

    /// The next 64 random bits.
    #[inline]
    pub const fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c1, d1) = (c ^ a, d ^ b);
        self.state = [a ^ d1, b ^ c1, c1 ^ (b << 17), d1.rotate_left(45)];
        result
    }

    /// The next 32 random bits.
    #[inline]
    pub const fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// A number in `0..bound` (0 when `bound` is 0), without a division (Lemire, 2019; the bias is at most
    /// `bound` / 2^32).
    #[inline]
    pub const fn below(&mut self, bound: u32) -> u32 {
        ((self.next_u32() as u64 * bound as u64) >> 32) as u32
    }

    /// True with the given probability (0.0 never, 1.0 always).
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A number in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A generator that is independent of this one from here on.
    pub const fn fork(&mut self) -> Self {
        Self::new(Seed(self.next_u64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_seeds_differ() {
        let draw = |seed| {
            let mut rng = Rng::new(Seed(seed));
            [rng.next_u64(), rng.next_u64(), rng.next_u64()]
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn below_stays_below_and_covers() {
        let mut rng = Rng::new(Seed(3));
        let mut seen = [false; 10];
        for _ in 0..1_000 {
            seen[rng.below(10) as usize] = true;
        }
        assert!(seen.iter().all(|&hit| hit));
        assert_eq!(rng.below(0), 0);
    }

    #[test]
    fn chance_is_about_right() {
        let mut rng = Rng::new(Seed(4));
        let hits = (0..100_000).filter(|_| rng.chance(0.03)).count();
        assert!((2_700..3_300).contains(&hits), "{hits} of 100000 at 3%");
        assert!(!rng.chance(0.0));
        assert!(rng.chance(1.0));
    }
}
