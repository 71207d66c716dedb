//! SYN cookies that have opened a connection: none opens a second one.
//!
//! A cookie is good for a minute or two, and whoever recorded the acknowledgment that brought it could send it again
//! after the connection has gone. So the fingerprints of those that were used are remembered, in a table that maps
//! each to one place: the newer takes the place of the older, and what is forgotten that way is only the memory of a
//! use. A fingerprint has 64 bits, so that no good cookie is taken for a used one.

use alloc::boxed::Box;
use alloc::vec;

use freeway_base::HashKey;

/// The secret of the cookies, and those that were used.
pub(crate) struct CookieJar {
    pub(crate) key: HashKey,
    used: Box<[u64]>,
}

impl CookieJar {
    /// Remembers `capacity` cookies, rounded up to a power of two. The secret is drawn from `secret`, so that the
    /// cores of a process, which share that, share this.
    pub(crate) fn new(secret: HashKey, capacity: u32) -> Self {
        let places = capacity.max(1).next_power_of_two() as usize;
        Self { key: derive(secret, b"SYN cookies"), used: vec![0; places].into_boxed_slice() }
    }

    fn place(&mut self, fingerprint: u64) -> Option<&mut u64> {
        // The lower half stands in the sequence number; the upper is nobody's to choose.
        let mask = self.used.len() - 1;
        self.used.get_mut((fingerprint >> 32) as usize & mask)
    }

    /// Whether this cookie has opened a connection already.
    pub(crate) fn is_used(&mut self, fingerprint: u64) -> bool {
        self.place(fingerprint).is_some_and(|place| *place == fingerprint)
    }

    /// This cookie has opened a connection.
    pub(crate) fn use_up(&mut self, fingerprint: u64) {
        if let Some(place) = self.place(fingerprint) {
            *place = fingerprint;
        }
    }
}

/// A secret for one purpose from a secret for many.
pub(crate) fn derive(secret: HashKey, purpose: &[u8]) -> HashKey {
    let word = |number: u8| {
        let mut bytes = [number; 32];
        let len = purpose.len().min(bytes.len() - 1);
        bytes[1..=len].copy_from_slice(&purpose[..len]);
        secret.hash(&bytes)
    };
    HashKey::new([word(0), word(1)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_good_once_and_others_are_not_touched() {
        let mut jar = CookieJar::new(HashKey::new([1, 2]), 3);
        let (a, b) = (7 << 32 | 5, 8 << 32 | 5);
        assert!(!jar.is_used(a));
        jar.use_up(a);
        assert!(jar.is_used(a) && !jar.is_used(b) && !jar.is_used(a + 1));
        // The same place, of four: the older use is forgotten.
        jar.use_up(11 << 32);
        assert!(!jar.is_used(a));
    }

    #[test]
    fn purposes_have_secrets_of_their_own() {
        let secret = HashKey::new([1, 2]);
        let hash = |purpose: &[u8]| derive(secret, purpose).hash(b"x");
        assert_eq!(hash(b"one"), hash(b"one"));
        assert_ne!(hash(b"one"), hash(b"two"));
        assert_ne!(hash(b"one"), secret.hash(b"x"));
    }
}
