//! TCP Fast Open (RFC 7413): a server's cookies by address and its bound for connections that rest on one; what a client
//! makes of SYN and SYN-ACK. What it knows of servers is in [`destinations`](super::destinations).
//!
//! A cookie is a keyed hash of both addresses and the number of a period of time, so nothing is kept of those given
//! out. It is good in its period and in the next, and whoever brings an old one is given a new one: the key changes by
//! itself.

use core::net::IpAddr;

use freeway_base::{HashKey, Instant, shared_hash};
use freeway_mem::Packet;
use freeway_tcp::{Config, Context, Held, Outgoing, SynReceived};
use freeway_wire::tcp::{FastOpenCookie, Flags as TcpFlags};

use super::TcpHost;
use super::input::Arriving;
use super::jar::derive;
use super::key::FlowKey;
use super::record::{Live as _, Notes};
use crate::net::{Hop, Net};

/// A listener's Fast Open.
///
/// Text in a SYN is given to the application before the handshake is over, and its answer goes out at once. A SYN may
/// arrive twice, and so may a request that rests on it (RFC 7413, section 6.1): only for services to which that does no
/// harm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FastOpen {
    /// Connections whose handshake is not over, at most; those that were reset before count on for a minute, so that
    /// resets by the hosts whose addresses were forged bring an attacker no new ones (section 5.1). Past the bound
    /// connections open in the ordinary way. Default 256; each takes the place of a connection.
    pub max_pending: u32,
}

impl Default for FastOpen {
    fn default() -> Self {
        Self { max_pending: 256 }
    }
}

/// What a Fast Open option in a SYN comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Judgment {
    /// It asks for a cookie, or has one that is not ours or too old.
    Other,
    /// A good cookie of this period.
    Good,
    /// A good cookie of the last period: it gets a new one.
    Aging,
}

/// The secret of the cookies that this host gives out.
pub(crate) struct Baker {
    key: HashKey,
    /// The key of a pool of servers, where this host is one of such.
    shared: Option<[u8; 16]>,
}

impl Baker {
    /// A period is 2^42 ns: 73 minutes.
    const PERIOD_SHIFT: u32 = 42;

    /// Cores that share `secret` take each other's cookies.
    pub(crate) fn new(secret: HashKey, shared: Option<[u8; 16]>) -> Self {
        Self { key: derive(secret, b"Fast Open cookies"), shared }
    }

    /// A cookie that every server of the pool makes alike, with no period in it.
    fn shared_cookie(key: &[u8; 16], local: IpAddr, peer: IpAddr) -> FastOpenCookie {
        let octets = |addr: IpAddr, into: &mut [u8; 32], at: usize| match addr {
            IpAddr::V4(v4) => copy(&v4.octets(), into, at),
            IpAddr::V6(v6) => copy(&v6.octets(), into, at),
        };
        let mut bytes = [0; 32];
        let len = octets(peer, &mut bytes, 0);
        let len = octets(local, &mut bytes, len);
        let hash = shared_hash(key, bytes.get(..len).unwrap_or_default());
        FastOpenCookie::new(&hash.to_le_bytes()).unwrap_or(FastOpenCookie::REQUEST)
    }

    fn cookie_of(&self, period: u64, local: IpAddr, peer: IpAddr) -> FastOpenCookie {
        let octets = |addr: IpAddr| match addr {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&period.to_be_bytes());
        bytes[8..24].copy_from_slice(&octets(local));
        bytes[24..].copy_from_slice(&octets(peer));
        FastOpenCookie::new(&self.key.hash(&bytes).to_be_bytes()).unwrap_or(FastOpenCookie::REQUEST)
    }

    /// The cookie for a peer.
    pub(crate) fn cookie(&self, now: Instant, local: IpAddr, peer: IpAddr) -> FastOpenCookie {
        if let Some(key) = &self.shared {
            return Self::shared_cookie(key, local, peer);
        }
        self.cookie_of(now.as_nanos() >> Self::PERIOD_SHIFT, local, peer)
    }

    pub(crate) fn judge(&self, now: Instant, local: IpAddr, peer: IpAddr, shown: FastOpenCookie) -> Judgment {
        let period = now.as_nanos() >> Self::PERIOD_SHIFT;
        if shown.is_request() {
            Judgment::Other
        } else if let Some(key) = &self.shared {
            if shown == Self::shared_cookie(key, local, peer) { Judgment::Good } else { Judgment::Other }
        } else if shown == self.cookie_of(period, local, peer) {
            Judgment::Good
        } else if shown == self.cookie_of(period.wrapping_sub(1), local, peer) {
            Judgment::Aging
        } else {
            Judgment::Other
        }
    }
}

/// Copies to a place in an array; returns where it ends.
fn copy(from: &[u8], into: &mut [u8; 32], at: usize) -> usize {
    let end = at + from.len();
    if let Some(into) = into.get_mut(at..end) {
        into.copy_from_slice(from);
    }
    end
}

/// Pending connections of a listener.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pending {
    /// Whose handshake is not over.
    pub(crate) open: u32,
    /// That were reset before it was, by the quarter of a minute (2^34 ns).
    reset: [u32; 4],
    quarter: u64,
}

impl Pending {
    const QUARTER_SHIFT: u32 = 34;

    /// Forgets resets of more than a minute ago.
    fn roll(&mut self, now: Instant) {
        let quarter = now.as_nanos() >> Self::QUARTER_SHIFT;
        let passed = quarter.saturating_sub(self.quarter).min(4);
        for ahead in 0..passed {
            if let Some(count) = self.reset.get_mut(((quarter - ahead) & 3) as usize) {
                *count = 0;
            }
        }
        self.quarter = quarter;
    }

    /// How many count at `now`.
    pub(crate) fn count(&mut self, now: Instant) -> u32 {
        self.roll(now);
        self.reset.iter().fold(self.open, |sum, &count| sum.saturating_add(count))
    }

    /// One has been reset.
    pub(crate) fn on_reset(&mut self, now: Instant) {
        self.roll(now);
        if let Some(count) = self.reset.get_mut((self.quarter & 3) as usize) {
            *count = count.saturating_add(1);
        }
    }
}

impl<S: Copy + Default + 'static> TcpHost<S> {
    /// Judges the Fast Open option of a SYN, if it has one and the listener wants to know. Returns whether the
    /// connection may open at once, and the cookie that the SYN-ACK is to bring.
    pub(crate) fn judge_fast_open(
        &mut self,
        now: Instant,
        profile: u16,
        arriving: &Arriving,
    ) -> (bool, Option<FastOpenCookie>) {
        let (local, peer) = (arriving.dst(), arriving.src());
        let full = self.admits_connection(profile, peer).is_err();
        let Some(shown) = arriving.repr.options.fast_open else { return (false, None) };
        let Some(gate) = self.listeners.gate_mut(profile) else { return (false, None) };
        let Some(FastOpen { max_pending }) = gate.fast_open else { return (false, None) };
        let judgment = self.baker.judge(now, local, peer, shown);
        let good = judgment != Judgment::Other;
        let overflows = good && (full || gate.pending.count(now) >= max_pending);
        gate.counters.fast_open_overflow += u64::from(overflows);
        gate.counters.fast_open_refused += u64::from(!good && !shown.is_request());
        if judgment == Judgment::Good {
            return (!overflows, None);
        }
        gate.counters.fast_open_cookies_sent += 1;
        (good && !overflows, Some(self.baker.cookie(now, local, peer)))
    }

    /// The text of a SYN in a buffer of its own, if there are enough: otherwise the peer sends it again.
    fn copy_text(&mut self, arriving: &Arriving) -> Option<Packet> {
        let text = Some(arriving.text()).filter(|text| !text.is_empty())?;
        let room = self.store.has_room_to_receive();
        let packet = if room { self.store.pool.alloc() } else { None };
        let copied = packet.and_then(|mut packet| packet.copy_from_slice(text).then_some(packet));
        self.counters.dropped_no_room += u64::from(copied.is_none());
        copied
    }

    /// A SYN with a good cookie: a connection at once, to which the text of the SYN belongs.
    pub(crate) fn open_fast(
        &mut self,
        cx: &Context<'_>,
        net: &mut Net,
        arriving: &mut Arriving,
        record: &SynReceived,
        (key, profile, hop): (FlowKey, u16, Hop),
        renewed: Option<FastOpenCookie>,
    ) {
        let text = self.copy_text(arriving);
        if text.is_none() {
            arriving.drop_text();
        }
        let (mut tcb, accept) = record.fast_open(cx, &arriving.arrival());
        // The SYN-ACK goes out now, ahead of what the application has to say.
        let held = Held { unread: accept.map_or(0, |accept| accept.len), ..Held::default() };
        let syn_ack = tcb.poll_transmit(cx, &held, None);
        let Some(index) = self.enter(cx.now, net, tcb, (key, profile, hop)) else { return };
        if let Some(mut syn_ack) = syn_ack {
            syn_ack.options.fast_open = renewed;
            let mut hop = hop;
            self.send_control(cx.now, net, (&key, Some(profile)), &mut hop, &syn_ack);
        }
        if let Some(connection) = self.connections.live_mut(index) {
            connection.socket.notes.insert(Notes::FAST_OPEN);
        }
        if let Some(gate) = self.listeners.gate_mut(profile) {
            gate.pending.open += 1;
            gate.counters.fast_opened += 1;
        }
        if let (Some(accept), Some(mut text)) = (accept, text) {
            text.truncate(accept.len as usize);
            self.take_payload(cx.now, index, accept.seq.0, text, true, false);
        }
        self.mark_dirty(index);
    }

    // ---- the client's side ----

    /// Bytes of text that a SYN to `peer` could carry now.
    pub(crate) fn fast_open_room(&self, now: Instant, peer: IpAddr, config: &Config) -> u16 {
        self.destinations.payload(now, peer, config)
    }

    /// The peer of an active open that tries Fast Open.
    fn fast_open_peer(&self, index: u32) -> Option<IpAddr> {
        let connection = self.connections.live(index)?;
        let profile = self.listeners.profiles.get(usize::from(connection.socket.profile))?;
        profile.fast_open.then(|| connection.socket.key.remote())
    }

    /// Bytes of text that may stand in a connection's SYN: some, where the server has given out a cookie.
    pub(crate) fn syn_payload(&self, now: Instant, index: u32, config: &Config) -> u16 {
        self.fast_open_peer(index).map_or(0, |peer| self.destinations.payload(now, peer, config))
    }

    /// The segment with a Fast Open option, if it is to have one: the first SYN of an active open brings the server's
    /// cookie, or asks for one.
    #[inline]
    pub(crate) fn fast_open_option(
        &mut self,
        now: Instant,
        index: u32,
        outgoing: &Outgoing,
    ) -> Option<Outgoing> {
        let kind = outgoing.flags.intersection(TcpFlags::SYN | TcpFlags::ACK);
        if kind != TcpFlags::SYN || outgoing.retransmission {
            return None;
        }
        let peer = self.fast_open_peer(index)?;
        let cookie = self.destinations.option(now, peer)?;
        self.counters.fast_open_sent += u64::from(outgoing.len > 0);
        let mut outgoing = *outgoing;
        outgoing.options.fast_open = Some(cookie);
        Some(outgoing)
    }

    /// An active open has got its SYN-ACK; `acked` bytes of `in_syn` that stood in the SYN were taken.
    pub(crate) fn learn_fast_open(
        &mut self,
        now: Instant,
        index: u32,
        arriving: &Arriving,
        (in_syn, acked): (u32, u32),
    ) {
        let Some(peer) = self.fast_open_peer(index) else { return };
        let Some(connection) = self.connections.live(index) else { return };
        let Some(profile) = self.listeners.profiles.get(usize::from(connection.socket.profile)) else {
            return;
        };
        let was_lost = connection.tcb.syn_was_lost();
        let has_cookie = self.destinations.option(now, peer).is_some_and(|cookie| !cookie.is_request());
        match arriving.repr.options.fast_open {
            Some(cookie) if !cookie.is_request() => {
                self.destinations.learn(now, peer, cookie, &arriving.repr.options, &profile.tcp);
            }
            // With a good cookie a server need not say more.
            _ if has_cookie && !was_lost && (in_syn == 0 || acked > 0) => self.destinations.touch(now, peer),
            // It was left alone anyway.
            _ if self.destinations.option(now, peer).is_none() => {}
            // No cookie where one was asked for, text that was not taken, or a SYN that only got through without it.
            _ => {
                self.counters.fast_open_failed += 1;
                self.destinations.refuse(now, peer);
            }
        }
    }

    /// A Fast Open connection's handshake is over, or the connection is.
    pub(crate) fn leave_fast_open(&mut self, now: Instant, index: u32, was_reset: bool) -> bool {
        let Some(connection) = self.connections.live_mut(index) else { return false };
        if !connection.socket.notes.contains(Notes::FAST_OPEN) {
            return false;
        }
        connection.socket.notes.remove(Notes::FAST_OPEN);
        if let Some(gate) = self.listeners.gate_mut(connection.socket.profile) {
            gate.pending.open = gate.pending.open.saturating_sub(1);
            if was_reset {
                gate.pending.on_reset(now);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use freeway_base::Duration;

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_cookie_is_good_for_one_address_and_two_periods() {
        let baker = Baker::new(HashKey::new([1, 2]), None);
        let (local, peer, other) = (addr("198.18.0.2"), addr("198.18.0.1"), addr("2001:db8::1"));
        let period = Duration::from_nanos(1 << 42);
        let now = Instant::from_nanos(77 << 42);
        let cookie = baker.cookie(now, local, peer);
        let judge = |now, local, peer| baker.judge(now, local, peer, cookie);
        assert_eq!(judge(now, local, peer), Judgment::Good);
        assert_eq!(judge(now + period, local, peer), Judgment::Aging);
        assert_eq!(judge(now + period + period, local, peer), Judgment::Other);
        assert_eq!(judge(now, local, other), Judgment::Other);
        assert_eq!(judge(now, other, peer), Judgment::Other);
        assert_eq!(baker.judge(now, local, peer, FastOpenCookie::REQUEST), Judgment::Other);
        assert_eq!(Baker::new(HashKey::new([1, 3]), None).judge(now, local, peer, cookie), Judgment::Other);
    }

    #[test]
    fn servers_that_share_a_key_take_each_others_cookies() {
        // A cookie as Linux's own tests have it, for the key a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4.
        let words: [u32; 4] = [0xa1a1_a1a1, 0xb2b2_b2b2, 0xc3c3_c3c3, 0xd4d4_d4d4];
        let mut key = [0; 16];
        for (bytes, word) in key.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let bakers = [1, 2].map(|own| Baker::new(HashKey::new([own, own]), Some(key)));
        let (local, peer) = (addr("192.168.0.1"), addr("192.0.2.1"));
        let cookie = bakers[0].cookie(Instant::from_secs(1), local, peer);
        let linux = FastOpenCookie::new(&[0x30, 0x21, 0xb9, 0xd8, 0x89, 0x01, 0x7e, 0xeb]).unwrap();
        assert_eq!(cookie, linux);
        let later = Instant::from_secs(1_000_000);
        assert_eq!(bakers[1].judge(later, local, peer, cookie), Judgment::Good);
        assert_eq!(bakers[1].judge(later, peer, local, cookie), Judgment::Other);
        assert_eq!(bakers[1].judge(later, local, peer, FastOpenCookie::REQUEST), Judgment::Other);
    }

    #[test]
    fn resets_count_for_a_minute() {
        let mut pending = Pending::default();
        let mut now = Instant::from_secs(10_000);
        pending.open = 1;
        for _ in 0..3 {
            pending.on_reset(now);
        }
        assert_eq!(pending.count(now), 4);
        now += Duration::from_secs(50);
        pending.on_reset(now);
        assert_eq!(pending.count(now), 5);
        now += Duration::from_secs(30);
        assert_eq!(pending.count(now), 2);
        now += Duration::from_secs(1_000_000);
        assert_eq!(pending.count(now), 1);
    }
}
