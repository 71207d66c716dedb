//! Requests a second of each address: a token bucket each, in a table of fixed size.
//!
//! ```text
//!   address ─► keyed hash ─► four places ─► the one it has, else the one that has been full the longest
//! ```

use std::net::IpAddr;

use freeway::{HashKey, Instant};

/// Places that an address may be in.
const WAYS: usize = 4;

/// What an address has left: 16 bytes.
#[derive(Clone, Copy, Default)]
struct Bucket {
    /// The address's hash; 0 is nobody's.
    tag: u64,
    /// When it is full again, in milliseconds.
    full_at_ms: u64,
}

/// The rates of a core's clients.
pub(crate) struct Rates {
    key: HashKey,
    sets: Vec<[Bucket; WAYS]>,
    /// Milliseconds that a request costs, in 1/1024, and that may be owed.
    cost: u64,
    debt_max: u64,
}

impl Rates {
    /// A bound of `per_second` with bursts of `burst`; `None` without one.
    pub(crate) fn new(per_second: u32, burst: u32, addresses: u32, key: HashKey) -> Option<Self> {
        if per_second == 0 {
            return None;
        }
        let sets = (addresses as usize / WAYS).max(1).next_power_of_two();
        let unbounded = Self { key, sets: vec![[Bucket::default(); WAYS]; sets], cost: 0, debt_max: 0 };
        Some(unbounded.bounded(per_second, burst))
    }

    /// The same with another bound, which is not 0. What addresses owe, they owe.
    pub(crate) fn bounded(self, per_second: u32, burst: u32) -> Self {
        let cost = ((1_000 << SHIFT) / u64::from(per_second.max(1))).max(1);
        Self { cost, debt_max: cost * u64::from(burst.max(1)), ..self }
    }

    /// Whether a request from `address` is within its rate; counts it if so.
    pub(crate) fn allows(&mut self, address: IpAddr, now: Instant) -> bool {
        let now = now.as_millis() << SHIFT;
        let tag = self.tag(address);
        let place = (tag >> 32) as usize & (self.sets.len() - 1);
        let Some(set) = self.sets.get_mut(place) else { return true };
        let way = set.iter().position(|bucket| bucket.tag == tag);
        // Who is not known takes the place of whoever was full first, and owes nothing.
        let bucket = match way {
            Some(way) => &mut set[way],
            None => {
                let oldest = set.iter_mut().min_by_key(|bucket| bucket.full_at_ms);
                let Some(bucket) = oldest else { return true };
                *bucket = Bucket { tag, full_at_ms: now };
                bucket
            }
        };
        let full_at = bucket.full_at_ms.max(now) + self.cost;
        if full_at - now > self.debt_max {
            return false;
        }
        bucket.full_at_ms = full_at;
        true
    }

    fn tag(&self, address: IpAddr) -> u64 {
        let mut bytes = [0; 9];
        match address {
            IpAddr::V4(address) => bytes[..4].copy_from_slice(&address.octets()),
            // A customer has a /64 at least.
            IpAddr::V6(address) => {
                bytes[..8].copy_from_slice(&address.octets()[..8]);
                bytes[8] = 6;
            }
        }
        self.key.hash(&bytes) | 1
    }
}

/// Times are kept in 1/1024 of a millisecond, so that rates above a thousand a second are exact enough.
const SHIFT: u32 = 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use freeway::Duration;

    use super::*;

    fn address(host: u32) -> IpAddr {
        IpAddr::V4((0xc612_0000 + host).into())
    }

    #[test]
    fn another_bound_holds_from_the_next_request() {
        let mut rates = Rates::new(10, 1, 1_024, HashKey::new([1, 2])).unwrap();
        let now = Instant::from_secs(100);
        assert!(rates.allows(address(1), now) && !rates.allows(address(1), now));
        let mut rates = rates.bounded(10, 3);
        assert!(rates.allows(address(1), now) && rates.allows(address(1), now));
        assert!(!rates.allows(address(1), now), "what was owed is owed");
    }

    #[test]
    fn a_burst_is_let_in_and_then_the_rate() {
        let mut rates = Rates::new(10, 5, 1_024, HashKey::new([1, 2])).unwrap();
        let mut now = Instant::from_secs(100);
        let let_in =
            |rates: &mut Rates, now, host| (0..20).filter(|_| rates.allows(address(host), now)).count();
        assert_eq!(let_in(&mut rates, now, 1), 5);
        assert_eq!(let_in(&mut rates, now, 2), 5, "another address has its own");
        now += Duration::from_millis(300);
        assert_eq!(let_in(&mut rates, now, 1), 3);
        now += Duration::from_secs(60);
        assert_eq!(let_in(&mut rates, now, 1), 5, "no more than a burst is saved up");
        assert!(Rates::new(0, 5, 1, HashKey::new([1, 2])).is_none());
    }

    #[test]
    fn a_crowd_of_addresses_does_not_free_one_that_is_over() {
        let mut rates = Rates::new(1, 1, 64, HashKey::new([1, 2])).unwrap();
        let now = Instant::from_secs(100);
        let mut again = 0;
        for host in 0..64 {
            assert!(rates.allows(address(host), now));
            again += usize::from(rates.allows(address(host), now));
        }
        assert_eq!(again, 0);
    }
}
