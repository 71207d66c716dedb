//! TCP Fast Open, the client's side (RFC 7413, section 4.1.3): what is known of the servers it was tried with.
//!
//! A bounded table in sets of four: in a full set the entry that was not used for longest goes. A server that gives no
//! cookies, or that text does not reach, is left alone for an hour.

use alloc::boxed::Box;
use alloc::vec;
use core::net::IpAddr;

use freeway_base::{Duration, HashKey, Instant};
use freeway_tcp::Config;
use freeway_wire::tcp::{FastOpenCookie, Options};

/// How long Fast Open is not tried after it failed.
const REFUSED_FOR: Duration = Duration::from_secs(3_600);
/// Entries of a set.
const WAYS: usize = 4;
/// Bytes of options that a SYN has room for.
const OPTIONS_MAX: u16 = 40;

/// What is known of one server.
#[derive(Clone, Copy, Debug)]
struct Known {
    addr: Option<IpAddr>,
    cookie: FastOpenCookie,
    /// The longest segment that the server takes, options included.
    mss: u16,
    /// Fast Open is not tried before then.
    refused_until: Instant,
    used: Instant,
}

/// What is known of all servers.
pub(crate) struct Destinations {
    places: Box<[Known]>,
    key: HashKey,
}

impl Destinations {
    /// Room for `capacity` servers, rounded up to a power of two.
    pub(crate) fn new(capacity: u32, key: HashKey) -> Self {
        let vacant = Known {
            addr: None,
            cookie: FastOpenCookie::REQUEST,
            mss: 0,
            refused_until: Instant::ZERO,
            used: Instant::ZERO,
        };
        let places = (capacity as usize).next_power_of_two().max(WAYS);
        Self { places: vec![vacant; places].into_boxed_slice(), key }
    }

    fn set(&self, addr: IpAddr) -> usize {
        let hash = match addr {
            IpAddr::V4(v4) => self.key.hash(&v4.octets()),
            IpAddr::V6(v6) => self.key.hash(&v6.octets()),
        };
        hash as usize & (self.places.len() - 1) & !(WAYS - 1)
    }

    fn find(&self, addr: IpAddr) -> Option<&Known> {
        let set = self.set(addr);
        self.places.get(set..set + WAYS)?.iter().find(|known| known.addr == Some(addr))
    }

    /// The entry of `addr`, or the place of the one that is to go for it.
    fn place(&mut self, addr: IpAddr) -> Option<&mut Known> {
        let set = self.set(addr);
        let places = self.places.get_mut(set..set + WAYS)?;
        let at = places.iter().position(|known| known.addr == Some(addr));
        let at = at.or_else(|| {
            let oldest = places.iter().enumerate().min_by_key(|(_, known)| known.used);
            oldest.map(|(at, _)| at)
        })?;
        let known = places.get_mut(at)?;
        if known.addr != Some(addr) {
            *known = Known {
                addr: Some(addr),
                cookie: FastOpenCookie::REQUEST,
                mss: 0,
                refused_until: Instant::ZERO,
                used: known.used,
            };
        }
        Some(known)
    }

    /// The option that a SYN to `addr` is to carry: a cookie, or a request for one; `None` where it was refused.
    pub(crate) fn option(&self, now: Instant, addr: IpAddr) -> Option<FastOpenCookie> {
        match self.find(addr) {
            Some(known) if now < known.refused_until => None,
            Some(known) => Some(known.cookie),
            None => Some(FastOpenCookie::REQUEST),
        }
    }

    /// Bytes of text that a SYN to `addr` may carry: none without a cookie (RFC 7413, section 4.1.3).
    pub(crate) fn payload(&self, now: Instant, addr: IpAddr, config: &Config) -> u16 {
        match self.find(addr) {
            Some(known) if now >= known.refused_until && !known.cookie.is_request() => {
                known.mss.min(config.mss).saturating_sub(OPTIONS_MAX)
            }
            _ => 0,
        }
    }

    /// A SYN-ACK has brought a cookie.
    pub(crate) fn learn(
        &mut self,
        now: Instant,
        addr: IpAddr,
        cookie: FastOpenCookie,
        peer: &Options,
        config: &Config,
    ) {
        if let Some(known) = self.place(addr) {
            let mss = peer.mss.unwrap_or(config.default_mss);
            *known = Known { addr: Some(addr), cookie, mss, refused_until: Instant::ZERO, used: now };
        }
    }

    /// It worked: the entry stays for longer.
    pub(crate) fn touch(&mut self, now: Instant, addr: IpAddr) {
        if let Some(known) = self.place(addr) {
            known.used = now;
        }
    }

    /// It did not work.
    pub(crate) fn refuse(&mut self, now: Instant, addr: IpAddr) {
        if let Some(known) = self.place(addr) {
            (known.cookie, known.refused_until, known.used) =
                (FastOpenCookie::REQUEST, now + REFUSED_FOR, now);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use core::net::Ipv4Addr;

    fn cookie(byte: u8) -> FastOpenCookie {
        FastOpenCookie::new(&[byte; 8]).unwrap()
    }

    #[test]
    fn a_server_is_asked_then_known_then_left_alone() {
        let (config, options) = (Config::default(), Options { mss: Some(1_200), ..Options::default() });
        let mut table = Destinations::new(16, HashKey::new([1, 2]));
        let (now, addr) = (Instant::from_secs(9), "2001:db8::1".parse().unwrap());
        assert_eq!(table.option(now, addr), Some(FastOpenCookie::REQUEST));
        assert_eq!(table.payload(now, addr, &config), 0);
        table.learn(now, addr, cookie(7), &options, &config);
        assert_eq!((table.option(now, addr), table.payload(now, addr, &config)), (Some(cookie(7)), 1_160));
        table.refuse(now, addr);
        assert_eq!((table.option(now, addr), table.payload(now, addr, &config)), (None, 0));
        let later = now + Duration::from_secs(3_601);
        assert_eq!(table.option(later, addr), Some(FastOpenCookie::REQUEST));
        assert_eq!(table.payload(later, addr, &config), 0);
    }

    #[test]
    fn the_longest_unused_of_a_set_goes() {
        let (config, options) = (Config::default(), Options::default());
        let mut table = Destinations::new(4, HashKey::new([1, 2]));
        let addr = |last| IpAddr::V4(Ipv4Addr::new(198, 18, 0, last));
        let at = |secs| Instant::from_secs(secs);
        for last in 1..=4 {
            table.learn(at(u64::from(last)), addr(last), cookie(last), &options, &config);
        }
        table.touch(at(9), addr(1));
        table.learn(at(10), addr(5), cookie(5), &options, &config);
        let known = |last| table.option(at(11), addr(last)) == Some(cookie(last));
        assert_eq!([1, 2, 3, 4, 5].map(known), [true, false, true, true, true]);
    }
}
