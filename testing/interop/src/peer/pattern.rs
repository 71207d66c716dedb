//! Bytes to send that nobody can guess, and the proof that they arrived.

use std::io::{self, Read};

use freeway_base::{Rng, Seed};
use sha2::{Digest, Sha256};

/// A stream of random bytes from a seed: the same seed gives the same bytes.
pub struct Pattern {
    rng: Rng,
    left: u64,
}

impl Pattern {
    /// `length` bytes from `seed`.
    pub fn new(seed: u64, length: u64) -> Self {
        Self { rng: Rng::new(Seed(seed)), left: length }
    }
}

impl Read for Pattern {
    /// Hands out whole words except at the end, so that the size of the reads does not change the bytes; `buffer` should
    /// hold at least 8.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len() as u64;
        let length = if room >= self.left { self.left } else { room - room % 8 };
        let part = &mut buffer[..length as usize];
        for word in part.chunks_mut(8) {
            word.copy_from_slice(&self.rng.next_u64().to_le_bytes()[..word.len()]);
        }
        self.left -= length;
        Ok(part.len())
    }
}

/// How many bytes there were, and their SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proof {
    /// Bytes.
    pub length: u64,
    /// SHA-256 of all of them, in order.
    pub sha256: [u8; 32],
}

/// Makes a [`Proof`] of bytes as they pass.
#[derive(Default)]
pub struct Prover {
    hasher: Sha256,
    length: u64,
}

impl Prover {
    /// `bytes` pass.
    pub fn add(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// The proof of all that passed.
    pub fn finish(self) -> Proof {
        Proof { length: self.length, sha256: self.hasher.finalize().into() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read_by(step: usize) -> Vec<u8> {
        let mut pattern = Pattern::new(7, 1_003);
        let (mut all, mut buffer) = (Vec::new(), vec![0; step]);
        loop {
            match pattern.read(&mut buffer).unwrap() {
                0 => return all,
                length => all.extend_from_slice(&buffer[..length]),
            }
        }
    }

    #[test]
    fn a_pattern_does_not_depend_on_how_it_is_read() {
        let whole = read_by(4_096);
        assert_eq!(whole.len(), 1_003);
        assert_eq!(whole, read_by(8));
        assert_eq!(whole, read_by(61));
    }

    #[test]
    fn a_proof_does_not_depend_on_how_bytes_came() {
        let (mut whole, mut parts) = (Prover::default(), Prover::default());
        whole.add(b"freeway");
        parts.add(b"free");
        parts.add(b"way");
        let proof = whole.finish();
        assert_eq!(proof, parts.finish());
        assert_eq!(proof.length, 7);
        assert_eq!(proof.sha256[..4], [0xba, 0xc8, 0x16, 0xc9], "as sha256sum says");
    }
}
