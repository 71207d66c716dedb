//! The path memory: how large a packet gets through to which destination (RFC 1191, section 6.3; RFC 8201, section 5.2;
//! RFC 4821, section 5).
//!
//! A destination without an entry has the MTU of the link that leads there. An entry says less, and for how long it is
//! believed: afterwards the link's MTU is tried again (RFC 1191, section 6.3, about ten minutes).
//!
//! ```text
//!        1024 + 40        mtu                     fails            link
//!   ──────────┼────────────┼─────────────────────────┼────────────────┼──
//!             └ known to pass ┘ └ to be searched by probes ┘ └ known to be too big ┘
//! ```
//!
//! A keyed hash chooses a set of four entries, so that no stranger chooses whose entry his own displaces; in a full set the
//! one goes that ends first.

use alloc::boxed::Box;
use alloc::vec;
use core::net::IpAddr;

use freeway_base::{Duration, HashKey, Instant};

use super::address::bits;

/// What is known of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// Bytes of the longest packet that gets through, as far as is known.
    pub mtu: u16,
    /// The shortest packet that is known not to, or `u16::MAX`.
    pub fails: u16,
}

#[derive(Clone, Copy)]
struct Entry {
    /// The destination, IPv4 mapped.
    addr: u128,
    until: Instant,
    path: Path,
}

impl Entry {
    const VACANT: Self = Self { addr: 0, until: Instant::ZERO, path: Path { mtu: 0, fails: 0 } };
}

/// Entries that a destination may lie in.
const WAYS: usize = 4;

/// What became of a lesson.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Learned {
    /// It was noted.
    Noted,
    /// It was noted in the place of another destination's entry, which is still believed.
    Displaced,
}

/// The paths that differ from their links.
pub(crate) struct Paths {
    sets: Box<[[Entry; WAYS]]>,
    /// No entry is believed longer than this.
    until: Instant,
    expiry: Duration,
    key: HashKey,
}

impl Paths {
    /// Room for at least `capacity` destinations, each believed for `expiry`.
    pub(crate) fn new(capacity: u16, expiry: Duration, key: HashKey) -> Self {
        let sets = usize::from(capacity).div_ceil(WAYS).next_power_of_two();
        let sets = vec![[Entry::VACANT; WAYS]; sets].into_boxed_slice();
        Self { sets, until: Instant::ZERO, expiry, key }
    }

    /// Whether nothing is known of any path: most hosts' paths are as wide as their links.
    #[inline]
    pub(crate) fn is_empty(&self, now: Instant) -> bool {
        self.until <= now
    }

    fn set(&self, addr: u128) -> usize {
        self.key.hash(&addr.to_be_bytes()) as usize & (self.sets.len() - 1)
    }

    /// What is known of the path to `dst`.
    #[inline]
    pub(crate) fn get(&self, now: Instant, dst: IpAddr) -> Option<Path> {
        if self.is_empty(now) { None } else { self.find(now, bits(dst)).map(|entry| entry.path) }
    }

    fn find(&self, now: Instant, addr: u128) -> Option<&Entry> {
        let set = self.sets.get(self.set(addr))?;
        set.iter().find(|entry| entry.addr == addr && entry.until > now)
    }

    /// Notes what was found out of the path to `dst`; believed from now on for the full time.
    pub(crate) fn learn(&mut self, now: Instant, dst: IpAddr, path: Path) -> Learned {
        let (addr, until) = (bits(dst), now + self.expiry);
        let set = self.set(addr);
        let Some(set) = self.sets.get_mut(set) else { return Learned::Noted };
        let place = match set.iter().position(|entry| entry.addr == addr) {
            Some(own) => Some(own),
            None => (0..WAYS).min_by_key(|&way| set.get(way).map(|entry| entry.until)),
        };
        let Some(entry) = place.and_then(|way| set.get_mut(way)) else { return Learned::Noted };
        let displaced = entry.addr != addr && entry.until > now;
        *entry = Entry { addr, until, path };
        self.until = self.until.max(until);
        if displaced { Learned::Displaced } else { Learned::Noted }
    }

    /// How many paths are known; a walk over the whole table.
    pub(crate) fn known(&self, now: Instant) -> usize {
        self.sets.iter().flatten().filter(|entry| entry.until > now).count()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use core::net::Ipv4Addr;

    use super::*;

    const START: Instant = Instant::from_secs(100);
    const TEN_MINUTES: Duration = Duration::from_secs(600);

    fn paths(capacity: u16) -> Paths {
        Paths::new(capacity, TEN_MINUTES, HashKey::new([1, 2]))
    }

    fn dst(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0xc612_0000 + number).into()
    }

    fn narrow(mtu: u16) -> Path {
        Path { mtu, fails: u16::MAX }
    }

    #[test]
    fn a_path_is_remembered_for_its_time_and_each_destination_by_itself() {
        let mut paths = paths(64);
        assert!(paths.is_empty(START));
        assert_eq!(paths.learn(START, dst(1), narrow(1_400)), Learned::Noted);
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        paths.learn(START, v6, narrow(1_280));
        assert_eq!(paths.get(START, dst(1)), Some(narrow(1_400)));
        assert_eq!(paths.get(START, v6), Some(narrow(1_280)));
        assert_eq!(paths.get(START, dst(2)), None);
        let last = START + TEN_MINUTES - Duration::from_nanos(1);
        assert_eq!(paths.get(last, dst(1)), Some(narrow(1_400)));
        assert_eq!(paths.get(START + TEN_MINUTES, dst(1)), None);
        assert!(paths.is_empty(START + TEN_MINUTES));
    }

    #[test]
    fn a_new_lesson_takes_the_place_of_the_old_and_begins_its_time_anew() {
        let mut paths = paths(64);
        paths.learn(START, dst(1), narrow(1_400));
        let later = START + Duration::from_secs(500);
        assert_eq!(paths.learn(later, dst(1), narrow(1_300)), Learned::Noted);
        assert_eq!(paths.get(START + TEN_MINUTES, dst(1)), Some(narrow(1_300)));
        assert_eq!(paths.known(START + TEN_MINUTES), 1);
    }

    #[test]
    fn the_table_is_bounded_and_the_oldest_of_a_set_goes() {
        let mut paths = paths(4);
        for number in 0..4 {
            let at = START + Duration::from_secs(u64::from(number));
            assert_eq!(paths.learn(at, dst(number), narrow(1_400)), Learned::Noted);
        }
        let now = START + Duration::from_secs(10);
        assert_eq!(paths.learn(now, dst(9), narrow(1_300)), Learned::Displaced);
        assert_eq!((paths.known(now), paths.get(now, dst(0))), (4, None));
        assert_eq!(paths.get(now, dst(1)), Some(narrow(1_400)));
        // What is no longer believed displaces nothing.
        let much_later = now + TEN_MINUTES;
        assert_eq!(paths.learn(much_later, dst(10), narrow(1_300)), Learned::Noted);
        assert_eq!(paths.known(much_later), 1);
    }
}
