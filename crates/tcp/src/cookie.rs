//! SYN cookies: a half-open connection kept in the sequence number of its own SYN-ACK (RFC 4987, section 3.6).
//!
//! ```text
//!   the peer sends timestamps       MAC, 23 bits          │ MSS 3 │ shift 4 │ SACK │ ECN │
//!   it does not                     MAC, 25 bits              │ MSS 3 │ shift 3 │ SACK │
//! ```
//!
//! The MAC is a keyed hash of the four-tuple, the peer's initial sequence number, the options kept and the time in
//! slots of 68.7 s; an acknowledgment is good in the slot of its SYN-ACK and in the next. The peer's final
//! acknowledgment names our number, its own and (by carrying them or not) whether there are timestamps, so nothing
//! else is needed. With timestamps the echoed one must also be a time at which a SYN-ACK could have been sent: its
//! offset is secret, so that a stranger who guesses must hit 2^-22 for the MAC and 2^-15 for the echo; without, 2^-24.
//!
//! What a cookie cannot carry:
//!
//! - the peer's exact MSS: the next lower of eight is used; a peer that offers less than the least (536) gets none;
//! - without timestamps, every window shift: the next lower of 0, 2, 4, 6, 7, 8, 10 is used, which makes the peer's
//!   window seem smaller than it is;
//! - without timestamps, ECN: the SYN-ACK does not agree to it;
//! - the time of the SYN-ACK: without timestamps the first round trip is not measured, and a lost SYN-ACK is not
//!   sent again (the peer repeats its SYN);
//! - the window in the peer's SYN: that of its final acknowledgment counts;
//! - the first text, where that and the final acknowledgment are lost and later text arrives: no cookie is found in it,
//!   and the peer gets a reset, as from any listener;
//! - text in the SYN, user time-outs, and a sequence number above an older connection's in TIME-WAIT.

use freeway_base::{HashKey, Instant};
use freeway_wire::tcp::{Options, SeqNumber, Timestamps};

use crate::clock::millis;
use crate::config::{Config, Context};
use crate::ecn;
use crate::segment::Arrival;

/// A slot of time is 2^36 ns.
const SLOT_SHIFT: u32 = 36;
/// How long a SYN-ACK with timestamps may have been under way, in milliseconds: two slots, rounded down.
const AGE_MS_MAX: u32 = 131_072;
/// Bytes of a flow's name.
const FLOW_LEN: usize = 36;

/// Segment sizes of today's paths over IPv4: the host's least, tunnels, mobile networks, PPPoE, Ethernet, jumbo.
const MSS_V4: [u16; 8] = [536, 1024, 1300, 1360, 1400, 1452, 1460, 8960];
/// The same over IPv6, whose header is 20 bytes longer.
const MSS_V6: [u16; 8] = [536, 1220, 1300, 1360, 1400, 1432, 1440, 8940];
/// Window shifts that peers without timestamps are known by; before them, as number 0, no scaling.
const SHIFTS: [u8; 7] = [0, 2, 4, 6, 7, 8, 10];

/// What cookies are baked with: a secret, and the flow that this one is for.
#[derive(Clone, Copy, Debug)]
pub struct Cookies<'a> {
    /// The secret, not that of the initial sequence numbers.
    pub key: HashKey,
    /// The four-tuple in a fixed form.
    pub flow: &'a [u8; FLOW_LEN],
    /// Whether the flow is of IPv6.
    pub ipv6: bool,
    /// What the flow's timestamps add to the clock.
    pub timestamp_offset: u32,
}

/// What a cookie that came back says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Baked {
    /// The peer's offer, as far as it could be kept.
    pub(crate) offer: Options,
    /// Whether the SYN-ACK agreed to ECN.
    pub(crate) ecn: bool,
    /// Milliseconds since the SYN-ACK, with timestamps.
    pub(crate) age_ms: Option<u32>,
    /// The whole hash, of which the cookie shows a part: tells this cookie from every other.
    pub fingerprint: u64,
}

/// What a cookie keeps of the peer's offer, as numbers of a few bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Kept {
    mss: u8,
    /// 0 for no scaling.
    shift: u8,
    sack: bool,
    /// Only with timestamps.
    ecn: bool,
    timestamps: bool,
}

impl Kept {
    fn of(config: &Config, ipv6: bool, peer: &Options, ecn: bool) -> Option<Self> {
        let mss = peer.mss.unwrap_or(config.default_mss);
        let timestamps = config.timestamps && peer.timestamps.is_some();
        let shift = peer.window_scale.filter(|_| config.window_scale).map(|shift| shift.min(14));
        Some(Self {
            mss: last_at_most(table(ipv6), mss)?,
            shift: match shift {
                None => 0,
                Some(shift) if timestamps => shift + 1,
                Some(shift) => last_at_most(&SHIFTS, shift)? + 1,
            },
            sack: config.sack && peer.sack_permitted,
            ecn: ecn && timestamps,
            timestamps,
        })
    }

    /// Bits that the options take.
    const fn bits(timestamps: bool) -> u32 {
        if timestamps { 9 } else { 7 }
    }

    const fn pack(self) -> u32 {
        let Self { mss, shift, sack, ecn, timestamps } = self;
        if timestamps {
            (mss as u32) << 6 | (shift as u32) << 2 | (sack as u32) << 1 | ecn as u32
        } else {
            (mss as u32) << 4 | (shift as u32) << 1 | sack as u32
        }
    }

    const fn unpack(bits: u32, timestamps: bool) -> Self {
        if !timestamps {
            let (mss, shift, sack) = ((bits >> 4 & 7) as u8, (bits >> 1 & 7) as u8, bits & 1 == 1);
            return Self { mss, shift, sack, ecn: false, timestamps };
        }
        let (mss, shift, sack) = ((bits >> 6 & 7) as u8, (bits >> 2 & 15) as u8, bits >> 1 & 1 == 1);
        Self { mss, shift, sack, ecn: bits & 1 == 1, timestamps }
    }

    fn offer(self, ipv6: bool, stamps: Option<Timestamps>) -> Options {
        let Self { mss, shift, sack, ecn: _, timestamps } = self;
        let window_scale = shift.checked_sub(1).map(|number| {
            if timestamps { number } else { SHIFTS.get(usize::from(number)).copied().unwrap_or(0) }
        });
        Options {
            mss: table(ipv6).get(usize::from(mss)).copied(),
            window_scale,
            sack_permitted: sack,
            timestamps: stamps,
            ..Options::default()
        }
    }
}

const fn table(ipv6: bool) -> &'static [u16; 8] {
    if ipv6 { &MSS_V6 } else { &MSS_V4 }
}

/// The place of the last entry that is not above `value`; `None` when all are.
fn last_at_most<T: PartialOrd + Copy>(table: &[T], value: T) -> Option<u8> {
    table.iter().rposition(|&entry| entry <= value).map(|place| place as u8)
}

const fn slot(now: Instant) -> u64 {
    now.as_nanos() >> SLOT_SHIFT
}

impl Cookies<'_> {
    /// The slot of time that `now` lies in. A cookie is good in its own slot and in the next.
    pub const fn slot(now: Instant) -> u64 {
        slot(now)
    }

    fn hash(&self, irs: SeqNumber, slot: u64, kept: Kept) -> u64 {
        // The four-tuple, then fixed-width fields; the layout is told by the last byte. All of it in whole words: one
        // that is read back and was written in parts waits for the stores.
        let mut bytes = [0; FLOW_LEN + 4 + 8 + 8];
        let [.., a, b, c, d] = *self.flow;
        let last = u64::from(u32::from_be_bytes([a, b, c, d])) << 32 | u64::from(irs.0);
        let kept = u64::from(kept.pack()) << 32 | u64::from(kept.timestamps);
        bytes[..32].copy_from_slice(&self.flow[..32]);
        bytes[32..40].copy_from_slice(&last.to_be_bytes());
        bytes[40..48].copy_from_slice(&slot.to_be_bytes());
        bytes[48..].copy_from_slice(&kept.to_be_bytes());
        self.key.hash(&bytes)
    }

    const fn number(hash: u64, kept: Kept) -> SeqNumber {
        SeqNumber((hash as u32) << Kept::bits(kept.timestamps) | kept.pack())
    }

    /// The initial sequence number that keeps what a SYN offers; `None` where that cannot be kept.
    pub(crate) fn bake(&self, cx: &Context<'_>, arrival: &Arrival<'_>) -> Option<SeqNumber> {
        let ecn = ecn::accepts(cx.config, arrival.repr.flags);
        let kept = Kept::of(cx.config, self.ipv6, &arrival.repr.options, ecn)?;
        let hash = self.hash(arrival.repr.seq, slot(cx.now), kept);
        Some(Self::number(hash, kept))
    }

    /// Reads the cookie in an acknowledgment; `None` if it is not one of ours, or too old.
    pub fn read(&self, cx: &Context<'_>, arrival: &Arrival<'_>) -> Option<Baked> {
        let (iss, irs) = (arrival.repr.ack - 1, arrival.repr.seq - 1);
        let stamps = arrival.repr.options.timestamps.filter(|_| cx.config.timestamps);
        let age_ms =
            stamps.map(|stamps| millis(cx.now).wrapping_add(self.timestamp_offset).wrapping_sub(stamps.echo));
        if age_ms.is_some_and(|age| age > AGE_MS_MAX) {
            return None;
        }
        let kept = Kept::unpack(iss.0, stamps.is_some());
        let now = slot(cx.now);
        let fingerprint = [now, now.wrapping_sub(1)]
            .into_iter()
            .map(|slot| self.hash(irs, slot, kept))
            .find(|&hash| Self::number(hash, kept) == iss)?;
        Some(Baked { offer: kept.offer(self.ipv6, stamps), ecn: kept.ecn, age_ms, fingerprint })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::vec::Vec;

    #[test]
    fn what_is_kept_comes_back_and_fits_its_bits() {
        for timestamps in [false, true] {
            let most = if timestamps { 15 } else { 7 };
            for (mss, shift, sack) in (0..8)
                .flat_map(|mss| (0..=most).flat_map(move |shift| [(mss, shift, false), (mss, shift, true)]))
            {
                for ecn in [false, timestamps] {
                    let kept = Kept { mss, shift, sack, ecn, timestamps };
                    assert!(kept.pack() < 1 << Kept::bits(timestamps));
                    assert_eq!(Kept::unpack(kept.pack(), timestamps), kept);
                }
            }
        }
    }

    #[test]
    fn nothing_is_rounded_up() {
        let config = Config { sack: true, ..Config::default() };
        for ipv6 in [false, true] {
            for mss in 536..=9_000 {
                for shift in [None, Some(0), Some(1), Some(5), Some(8), Some(14), Some(200)] {
                    let stamps = Some(Timestamps::default());
                    for timestamps in [None, stamps] {
                        let offer =
                            Options { mss: Some(mss), window_scale: shift, timestamps, ..Options::default() };
                        let back = Kept::of(&config, ipv6, &offer, true).unwrap().offer(ipv6, timestamps);
                        assert!(back.mss.unwrap() <= mss);
                        assert_eq!(back.window_scale.is_some(), shift.is_some());
                        assert!(back.window_scale <= shift);
                        if timestamps.is_some() {
                            assert_eq!(back.window_scale, shift.map(|shift: u8| shift.min(14)));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_sizes_that_ethernet_gives_are_kept_exactly() {
        let kept = |ipv6, mss| {
            let offer = Options { mss: Some(mss), ..Options::default() };
            Kept::of(&Config::default(), ipv6, &offer, false).map(|kept| kept.offer(ipv6, None).mss.unwrap())
        };
        let v4: Vec<_> = [535, 536, 1460, 1459, 8960].map(|mss| kept(false, mss)).into();
        assert_eq!(v4, [None, Some(536), Some(1460), Some(1452), Some(8960)]);
        assert_eq!((kept(true, 1440), kept(true, 1220)), (Some(1440), Some(1220)));
    }
}
