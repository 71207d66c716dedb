//! Keyed hashing of what a stranger chooses.
//!
//! Addresses and ports come from whoever sends packets, so every table they index is hashed with a secret:
//! SipHash-1-3, the variant that hash tables use (Aumasson and Bernstein, 2012).

use core::hash::Hasher;
use siphasher::sip::{SipHasher13, SipHasher24};

use crate::rng::Rng;

/// The secret of a hash. Two cores that must agree on a flow's home share one key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey {
    words: [u64; 2],
}

impl HashKey {
    /// A key of two given words; tests and simulations use fixed ones.
    pub const fn new(words: [u64; 2]) -> Self {
        Self { words }
    }

    /// A key drawn from `rng`.
    pub fn random(rng: &mut Rng) -> Self {
        Self { words: [rng.next_u64(), rng.next_u64()] }
    }

    /// The hash of `bytes` under this key.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.words[0], self.words[1]);
        hasher.write(bytes);
        hasher.finish()
    }
}

impl HashKey {
    /// The hash of eight and four bytes, given as words in the processor's order: what [`hash`](Self::hash) says of
    /// them in a row on a little-endian processor. Words in registers need not be put together in memory first, and
    /// waited for.
    #[inline]
    pub fn hash_words(&self, words: u64, last: u32) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.words[0], self.words[1]);
        hasher.write_u64(words);
        hasher.write_u32(last);
        hasher.finish()
    }
}

/// SipHash-2-4 under a key that other hosts know too: for what all of them must compute alike.
pub fn shared_hash(key: &[u8; 16], bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write(bytes);
    hasher.finish()
}

impl core::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HashKey(secret)")
    }
}

/// The keyed hash of a flow's four-tuple: chooses the flow's core and its bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FlowHash(pub u64);

impl FlowHash {
    /// Which of `cores` a flow belongs to: an even split of the hash's upper half, with a multiplication in
    /// place of a division (Lemire, 2016). The flow table indexes by the lower half, so a core's own flows
    /// still spread over its whole table.
    #[inline]
    pub const fn core(self, cores: u32) -> u32 {
        (((self.0 >> 32) * cores as u64) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_decides_the_hash() {
        let (a, b) = (HashKey::new([1, 2]), HashKey::new([1, 3]));
        assert_eq!(a.hash(b"flow"), a.hash(b"flow"));
        assert_ne!(a.hash(b"flow"), b.hash(b"flow"));
    }

    #[test]
    fn the_shared_hash_is_siphash_2_4() {
        // The authors' first test vectors.
        let key: [u8; 16] = core::array::from_fn(|at| at as u8);
        assert_eq!(shared_hash(&key, &[]).to_le_bytes(), [0x31, 0x0e, 0x0e, 0xdd, 0x47, 0xdb, 0x6f, 0x72]);
        assert_eq!(shared_hash(&key, &[0]).to_le_bytes(), [0xfd, 0x67, 0xdc, 0x93, 0xc5, 0x39, 0xf8, 0x74]);
    }

    #[test]
    fn flows_spread_evenly_over_any_number_of_cores() {
        let key = HashKey::new([7, 9]);
        for cores in 1..=7u32 {
            let mut share = [0u32; 7];
            for flow in 0..7_000u32 {
                share[FlowHash(key.hash(&flow.to_be_bytes())).core(cores) as usize] += 1;
            }
            let even = 7_000 / cores;
            for (core, &count) in share.iter().enumerate().take(cores as usize) {
                assert!(
                    count.abs_diff(even) < even / 5 + 1,
                    "{count} flows of 7000 on core {core} of {cores}"
                );
            }
        }
    }
}
