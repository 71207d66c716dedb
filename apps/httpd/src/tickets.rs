//! Tickets: what a server would have to keep of a session to resume it, kept by the client (RFC 5077; RFC 8446, section
//! 4.6.1).
//!
//! ```text
//!   key's name, 8 bytes | number, 8 bytes | session, encrypted by AES-256-GCM | tag, 16 bytes
//! ```
//!
//! All cores make tickets with the same key, so a client is known on whichever core it arrives. Numbers come from one
//! counter, so that no nonce is used twice; that is all that cores share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::server::ProducesTickets;

use crate::certificates::TlsError;

/// Seconds that clients are told a ticket is good for: as long as a key is the newest.
const LIFETIME: u32 = 6 * 3_600;

/// Bytes before the session.
const HEAD: usize = 16;

/// A ticket longer than this is none of ours: sessions hold no client's certificate.
const TICKET_MAX: usize = 1_024;

/// A key, and how many tickets were made with it.
struct Key {
    name: [u8; 8],
    key: LessSafeKey,
    made: AtomicU64,
}

impl Key {
    fn new() -> Result<Self, TlsError> {
        let (mut bytes, mut name) = ([0; 32], [0; 8]);
        let random = SystemRandom::new();
        let filled = random.fill(&mut bytes).and_then(|()| random.fill(&mut name));
        let key =
            filled.and_then(|()| UnboundKey::new(&AES_256_GCM, &bytes)).map_err(|_| TlsError::Random)?;
        bytes.fill(0);
        Ok(Self { name, key: LessSafeKey::new(key), made: AtomicU64::new(0) })
    }

    fn nonce(number: [u8; 8]) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&number);
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(&self, session: &[u8]) -> Option<Vec<u8>> {
        let number = self.made.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut ticket = [&self.name[..], &number, session].concat();
        let (head, body) = ticket.split_at_mut_checked(HEAD)?;
        let tag = self.key.seal_in_place_separate_tag(Self::nonce(number), Aad::from(&*head), body).ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (head, body) = ticket.split_at_checked(HEAD)?;
        let number: [u8; 8] = head.get(8..)?.try_into().ok()?;
        let mut body = body.to_vec();
        let len = self.key.open_in_place(Self::nonce(number), Aad::from(head), &mut body).ok()?.len();
        body.truncate(len);
        Some(body)
    }
}

/// The key that tickets are made with, and the one before, whose tickets are still taken.
#[derive(Clone)]
pub(crate) struct Keys {
    current: Arc<Key>,
    before: Option<Arc<Key>>,
}

impl Keys {
    pub(crate) fn new() -> Result<Self, TlsError> {
        Ok(Self { current: Arc::new(Key::new()?), before: None })
    }

    /// A new key, and this one's newest as the one before.
    pub(crate) fn next(&self) -> Result<Self, TlsError> {
        Ok(Self { current: Arc::new(Key::new()?), before: Some(Arc::clone(&self.current)) })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Keys")
    }
}

impl ProducesTickets for Keys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        // rustls asks for no ticket of a session that it could not read again.
        (plain.len() <= TICKET_MAX - HEAD - AES_256_GCM.tag_len()).then(|| self.current.seal(plain))?
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        if cipher.len() > TICKET_MAX {
            return None;
        }
        // Names are no secret.
        let name = cipher.get(..8)?;
        let keys = [Some(&self.current), self.before.as_ref()];
        keys.into_iter().flatten().find(|key| key.name == name)?.open(cipher)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tickets_are_taken_until_the_key_after_next() {
        let first = Keys::new().unwrap();
        let ticket = first.encrypt(b"session").unwrap();
        let second = first.next().unwrap();
        let third = second.next().unwrap();
        for (keys, expected) in [(&first, true), (&second, true), (&third, false)] {
            assert_eq!(keys.decrypt(&ticket).as_deref(), expected.then_some(&b"session"[..]));
        }
        assert_ne!(first.encrypt(b"session").unwrap(), ticket, "no number is used twice");
        assert_eq!(first.clone().current.made.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_changed_ticket_is_none() {
        let keys = Keys::new().unwrap();
        let ticket = keys.encrypt(b"session").unwrap();
        for place in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[place] ^= 1;
            assert_eq!(keys.decrypt(&changed), None, "byte {place}");
            assert_eq!(keys.decrypt(&ticket[..place]), None, "{place} bytes");
        }
        assert_eq!(keys.encrypt(&[0; TICKET_MAX]), None);
        assert_eq!(keys.decrypt(&[0; TICKET_MAX + 1]), None);
    }
}
