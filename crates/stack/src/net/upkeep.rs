//! What time brings: neighbours that do not answer, fragments that do not come, addresses that are probed,
//! announced, or expire.

use core::net::IpAddr;

use freeway_base::{Duration, Instant};

use super::Net;
use super::address::Use;
use super::icmp::{Complaint, Offender};
use super::neighbor::Due;
use super::output::to_ip;

/// Between probes, at least, and how much is added at random (RFC 5227, section 1.1, PROBE_MIN and PROBE_MAX).
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
const PROBE_JITTER_MS: u32 = 1_000;
/// After the last probe, until the address is ours (ANNOUNCE_WAIT), and between announcements.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);

impl Net {
    /// Does what is due.
    #[inline]
    pub fn expire(&mut self, now: Instant) {
        while let Some(due) = self.neighbors.due(now) {
            match due {
                Due::Solicit { key, at } => self.solicit(now, key, at),
                Due::Failed { dropped } => self.counters.dropped_unresolved += u64::from(dropped),
            }
        }
        if self.reassembly.next_deadline() <= now {
            self.expire_fragments(now);
        }
        if self.housekeeping <= now {
            self.housekeep(now);
        }
    }

    /// When [`Net::expire`] must be called next, at the latest.
    pub fn next_deadline(&self) -> Option<Instant> {
        let next = self.neighbors.next_deadline().min(self.reassembly.next_deadline()).min(self.housekeeping);
        (next < Instant::FAR_FUTURE).then_some(next)
    }

    /// Datagrams that did not become whole: their senders are told, if the beginning arrived (RFC 792;
    /// RFC 4443, section 3.3).
    #[cold]
    fn expire_fragments(&mut self, now: Instant) {
        while let Some(expired) = self.reassembly.expired(now, &mut self.counters) {
            let Some(packet) = expired.packet else { continue };
            let (src, dst) = (to_ip(expired.src), to_ip(expired.dst));
            let offender = Offender { packet, src, dst, group: self.is_local(dst).is_none() };
            self.complain(now, offender, Complaint::reassembly_time(src.is_ipv4()));
        }
    }

    /// Addresses and routes.
    #[cold]
    fn housekeep(&mut self, now: Instant) {
        self.routes.expire(now);
        let mut next = self.routes.next_deadline();
        for index in 0..self.addresses.len() {
            next = next.min(self.keep_address(now, index));
        }
        for at in 0..self.solicitors.len() {
            next = next.min(self.solicit_routers(now, at));
        }
        self.housekeeping = next;
    }

    /// Does what is due for one address; says when it must be looked at again.
    fn keep_address(&mut self, now: Instant, index: u16) -> Instant {
        let Some(&address) = self.addresses.get(index) else { return Instant::FAR_FUTURE };
        if address.usable == Use::No {
            return Instant::FAR_FUTURE;
        }
        if address.valid_until <= now {
            self.addresses.set_use(index, Use::No);
            return Instant::FAR_FUTURE;
        }
        if address.due > now {
            return address.due.min(address.valid_until);
        }
        let (iface, addr) = (address.iface, address.cidr.addr);
        let (mut probes_left, mut announcements_left) = (address.probes_left, address.announcements_left);
        let mut due = Instant::FAR_FUTURE;
        if probes_left > 0 {
            probes_left -= 1;
            match addr {
                IpAddr::V4(v4) => self.probe_v4(iface, v4),
                IpAddr::V6(v6) => self.probe_v6(now, iface, v6),
            }
            let jitter = Duration::from_millis(u64::from(self.rng.below(PROBE_JITTER_MS)));
            due = now + if probes_left > 0 { PROBE_INTERVAL + jitter } else { ANNOUNCE_INTERVAL };
        } else if announcements_left > 0 {
            announcements_left -= 1;
            self.addresses.set_use(index, Use::Yes);
            match addr {
                IpAddr::V4(v4) => self.announce_v4(iface, v4),
                IpAddr::V6(v6) => self.announce_v6(now, iface, v6),
            }
            if announcements_left > 0 {
                due = now + ANNOUNCE_INTERVAL;
            }
        }
        if let Some(address) = self.addresses.get_mut(index) {
            (address.probes_left, address.announcements_left, address.due) =
                (probes_left, announcements_left, due);
        }
        due.min(address.valid_until)
    }
}
