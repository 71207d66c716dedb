//! Path MTU discovery, the host's part (RFC 1191; RFC 8201; RFC 5927, section 7): what is believed of "too big", and what
//! is remembered of paths.
//!
//! A transport that can check the quotation against what it has in flight does so before it believes a message; UDP
//! cannot, so its messages must at least be about a socket. Nothing is believed that would widen a path, or narrow it
//! below the least that every link carries.

use core::net::IpAddr;

use freeway_base::Instant;

use super::Net;
use super::address::Addr;
use super::path::{Learned, Path};
use super::setup::MTU_MIN_V6;

impl Net {
    /// Bytes of the longest IP packet that reaches `dst` in one piece, as far as is known: what the path is remembered to
    /// carry, else what the link does. `None` where no route leads.
    pub fn path_mtu(&self, now: Instant, dst: IpAddr) -> Option<u16> {
        let link = self.link_mtu(dst)?;
        Some(self.paths.get(now, dst).map_or(link, |path| path.mtu.min(link)))
    }

    /// What is remembered of the path to `dst`; `None` where it is as wide as its link, as far as is known.
    #[inline]
    pub fn path(&self, now: Instant, dst: IpAddr) -> Option<Path> {
        self.paths.get(now, dst)
    }

    /// How many paths are known to differ from their links.
    pub fn paths_known(&self, now: Instant) -> usize {
        self.paths.known(now)
    }

    fn link_mtu(&self, dst: IpAddr) -> Option<u16> {
        let route = self.routes.lookup(dst)?;
        self.interface(route.iface).map(|interface| interface.mtu)
    }

    /// The least MTU that a message may report.
    pub(crate) const fn path_mtu_min(&self, dst: Addr) -> u16 {
        if dst.is_v4() { self.config.path_mtu_min_v4 } else { MTU_MIN_V6 }
    }

    /// Remembers that the path to `dst` carries no more than `mtu` bytes, unless it is known to carry less.
    pub(crate) fn narrow_path(&mut self, now: Instant, dst: IpAddr, mtu: u16) {
        let known = self.path_mtu(now, dst).unwrap_or(u16::MAX);
        if mtu < known {
            self.counters.paths_narrowed += 1;
            self.learn_path(now, dst, Path { mtu, fails: mtu.saturating_add(1) });
        }
    }

    /// Remembers what a transport found out by probes (RFC 4821).
    pub(crate) fn learn_path(&mut self, now: Instant, dst: IpAddr, path: Path) {
        if self.paths.learn(now, dst, path) == Learned::Displaced {
            self.counters.shed_paths += 1;
        }
    }

    /// A router says that a datagram of ours was longer than `mtu`: believed if it narrows the path within reason.
    pub(crate) fn datagram_too_big(&mut self, now: Instant, dst: IpAddr, mtu: u16) {
        let narrows = self.path_mtu(now, dst).is_some_and(|known| mtu < known);
        if narrows && mtu >= self.path_mtu_min(dst.into()) {
            self.narrow_path(now, dst, mtu);
        } else {
            self.counters.ignored_too_big += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use freeway_base::Duration;

    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_path_is_as_wide_as_its_link_until_it_is_known_better() {
        let mut host = Host::new();
        for (dst, mtu) in [(IpAddr::V4(PEER_V4), 1_300), (IpAddr::V6(PEER_V6), 1_280)] {
            assert_eq!(host.net.path_mtu(START, dst), Some(1_500));
            host.net.narrow_path(START, dst, mtu);
            assert_eq!(host.net.path_mtu(START, dst), Some(mtu));
            // A wider report later is no news; the time is over after ten minutes.
            host.net.narrow_path(START, dst, 1_400);
            assert_eq!(host.net.path_mtu(START, dst), Some(mtu));
            assert_eq!(host.net.path_mtu(START + Duration::from_secs(600), dst), Some(1_500));
        }
        assert_eq!((host.net.counters.paths_narrowed, host.net.paths_known(START)), (2, 2));
        assert_eq!(host.net.path_mtu(START, "2001:db9::1".parse().unwrap()), None);
    }

    #[test]
    fn lies_about_datagrams_are_ignored_and_counted() {
        let mut host = Host::new();
        let (v4, v6) = (IpAddr::V4(PEER_V4), IpAddr::V6(PEER_V6));
        for (dst, lie) in [(v4, 0), (v4, 68), (v4, 551), (v4, 1_500), (v4, 65_535), (v6, 1_279), (v6, 1_500)]
        {
            host.net.datagram_too_big(START, dst, lie);
            assert_eq!(host.net.path_mtu(START, dst), Some(1_500), "{lie}");
        }
        assert_eq!((host.net.counters.ignored_too_big, host.net.counters.paths_narrowed), (7, 0));
        host.net.datagram_too_big(START, v4, 552);
        host.net.datagram_too_big(START, v6, 1_280);
        assert_eq!(host.net.path_mtu(START, v4), Some(552));
        assert_eq!(host.net.path_mtu(START, v6), Some(1_280));
    }
}
