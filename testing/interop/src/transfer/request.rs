//! What a client asks for, and what proves that it came.
//!
//! ```text
//!   request   │ sender, 1 │ seed, 8 │ length, 8 │
//!   proof     │ length, 8 │ SHA-256, 32         │   from the server, once it has received everything
//! ```
//!
//! Numbers are big-endian. A server that sends closes afterwards; a client that sends finishes its direction, and reads
//! the server's proof.

use anyhow::{Result, bail};

use crate::peer::pattern::{Pattern, Proof, Prover};

/// Who sends the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// The client sends to the server.
    Client,
    /// The server sends to the client.
    Server,
}

impl Sender {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Client, Self::Server];
}

/// A transfer as a client asks for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Who sends.
    pub sender: Sender,
    /// What the bytes are made of: see [`Pattern`].
    pub seed: u64,
    /// How many they are.
    pub length: u64,
}

impl Request {
    /// Bytes of a request.
    pub const LENGTH: usize = 17;

    /// The request as it is sent.
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[0] = match self.sender {
            Sender::Client => b'C',
            Sender::Server => b'S',
        };
        bytes[1..9].copy_from_slice(&self.seed.to_be_bytes());
        bytes[9..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// When it names no sender.
    pub fn from_bytes(bytes: &[u8; Self::LENGTH]) -> Result<Self> {
        let sender = match bytes[0] {
            b'C' => Sender::Client,
            b'S' => Sender::Server,
            other => bail!("no request begins with {other:#04x}"),
        };
        Ok(Self { sender, seed: number(&bytes[1..9]), length: number(&bytes[9..]) })
    }

    /// The bytes that are to flow.
    pub fn pattern(self) -> Pattern {
        Pattern::new(self.seed, self.length)
    }

    /// What their receiver must be able to prove.
    pub fn proof(self) -> Proof {
        let (mut prover, mut pattern, mut buffer) = (Prover::default(), self.pattern(), vec![0; 64 * 1024]);
        while let Ok(length @ 1..) = std::io::Read::read(&mut pattern, &mut buffer) {
            prover.add(&buffer[..length]);
        }
        prover.finish()
    }
}

/// Bytes of a proof.
pub const PROOF_LENGTH: usize = 40;

/// A proof as it is sent.
pub fn proof_to_bytes(proof: &Proof) -> [u8; PROOF_LENGTH] {
    let mut bytes = [0; PROOF_LENGTH];
    bytes[..8].copy_from_slice(&proof.length.to_be_bytes());
    bytes[8..].copy_from_slice(&proof.sha256);
    bytes
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written() {
        for sender in Sender::ALL {
            let request = Request { sender, seed: 0x0102_0304_0506_0708, length: u64::MAX - 1 };
            assert_eq!(Request::from_bytes(&request.to_bytes()).unwrap(), request);
        }
        assert!(Request::from_bytes(&[0; Request::LENGTH]).is_err());
    }

    #[test]
    fn requests_of_other_bytes_have_other_proofs() {
        let request = Request { sender: Sender::Client, seed: 1, length: 100_003 };
        assert_eq!(request.proof().length, 100_003);
        assert_ne!(request.proof(), Request { seed: 2, ..request }.proof());
        let bytes = proof_to_bytes(&request.proof());
        assert_eq!((number(&bytes[..8]), &bytes[8..]), (100_003, &request.proof().sha256[..]));
    }
}
