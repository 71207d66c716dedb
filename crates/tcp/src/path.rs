//! How large a segment the path carries: black holes and probes (RFC 4821), and what the caller remembers of paths.
//!
//! ```text
//!      floor ........ base ............ mss ................ mss_max
//!                      ▲                  │ probe acknowledged ──► ▲
//!                      └── nothing but ───┘
//!                          silence
//! ```
//!
//! A router that drops what is too big and says nothing is a black hole: the connection notices when several
//! retransmissions in a row stay unanswered, and goes on with segments that nearly every path carries. A path that did
//! carry full segments may just have lost so many in a row: there it takes two times with a shorter segment between them
//! that got through, and no full one. From there it
//! searches upward by probes: segments longer than all others, one at a time, which carry data that has to be sent
//! anyway. A probe that is lost tells of the path's size and not of congestion (section 7.6.1). The search's bounds
//! are the destination's and lie with the caller, who also keeps the one probe in flight ([`Probe`]) beside the send queue.

use freeway_wire::tcp::SeqNumber;

use crate::config::Context;
use crate::negotiate::{self, TIMESTAMPS_LEN};
use crate::outcome::Held;
use crate::recovery::Flight;
use crate::segment::Outgoing;
use crate::sendable::Share;
use crate::tcb::{Marks, Tcb};

/// Whether larger segments are tried than those that are known to get through.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum PathProbing {
    /// Never: what the SYNs agreed on is sent, and routers say what is too big, or nothing works.
    Off,
    /// Once a path has swallowed several retransmissions in silence.
    #[default]
    BlackHole,
    /// From the beginning: segments begin at [`path_base_mss`](crate::Config::path_base_mss).
    Always,
}

/// A probe in flight: one segment that is longer than all others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Probe {
    seq: SeqNumber,
    /// 0 if there is none.
    len: u16,
}

impl Probe {
    /// No probe.
    pub const NONE: Self = Self { seq: SeqNumber(0), len: 0 };

    /// Whether there is one.
    #[inline]
    pub const fn is_some(&self) -> bool {
        self.len > 0
    }

    /// Payload bytes of the probe.
    pub const fn len(&self) -> u16 {
        self.len
    }

    /// Whether there is no probe.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the probe carries `seq`.
    #[inline]
    pub fn covers(&self, seq: SeqNumber) -> bool {
        self.is_some() && seq.in_window(self.seq, u32::from(self.len))
    }

    /// The sequence number behind the probe.
    pub fn end(&self) -> SeqNumber {
        self.seq + u32::from(self.len)
    }

    /// Whether all of the probe is acknowledged, `snd_una` being the oldest unacknowledged byte.
    pub fn is_acked(&self, snd_una: SeqNumber) -> bool {
        self.is_some() && snd_una.is_at_or_after(self.end())
    }
}

/// Segments that follow a probe at once, so that its loss is noticed by duplicate acknowledgments (section 7.2).
const FOLLOWERS: u32 = 3;
/// A search that has come so close is over (section 7.3: a small fraction of the size).
const CLOSE_ENOUGH: u16 = 8;

impl Tcb {
    /// Payload bytes of a full segment as the two SYNs allow, whatever the path carries.
    #[inline]
    pub const fn mss_max(&self) -> u16 {
        self.mss_max
    }

    /// The longest segment that is sent now, options included: what the path carries less the IP header and 20 bytes.
    #[inline]
    pub fn path_mss(&self) -> u16 {
        self.segment_of(self.mss)
    }

    /// A payload as a segment's length, options included.
    pub fn segment_of(&self, payload: u16) -> u16 {
        payload.saturating_add(if self.marks.contains(Marks::TIMESTAMPS) { TIMESTAMPS_LEN } else { 0 })
    }

    /// A segment's length, options included, as payload.
    pub fn payload_of(&self, segment: u16) -> u16 {
        negotiate::payload_of(segment, self.marks.contains(Marks::TIMESTAMPS))
    }

    /// Whether segments are shorter than the SYNs would allow.
    #[inline]
    pub const fn is_narrow(&self) -> bool {
        self.mss < self.mss_max
    }

    /// Whether segments grow by probes alone: the path has swallowed some, or the configuration says so. Otherwise
    /// they grow when the path's memory fades ([`set_path_mss`](Self::set_path_mss)).
    #[inline]
    pub const fn probes_path(&self) -> bool {
        self.marks.contains(Marks::PROBES_PATH)
    }

    /// The path carries segments of `mss` bytes, options included, as far as the caller remembers.
    pub fn set_path_mss(&mut self, mss: u16) {
        self.set_mss(self.payload_of(mss));
    }

    fn set_mss(&mut self, payload: u16) {
        self.mss = payload.min(self.mss_max);
        // A window of less than a segment would let nothing out.
        self.congestion.cwnd = self.congestion.cwnd.max(u32::from(self.mss));
    }

    /// The application allows no segments above `mss`, options included. Never more than the SYNs did.
    pub fn limit_mss(&mut self, mss: u16) {
        self.mss_max = self.mss_max.min(self.payload_of(mss));
        self.set_mss(self.mss);
    }

    /// The connection has just opened: where probing is on from the beginning, it begins at the bottom.
    pub fn begin_probing(&mut self, cx: &Context<'_>) {
        if cx.config.path_probing == PathProbing::Always && self.mss > cx.config.path_base_mss {
            self.marks.insert(Marks::PROBES_PATH);
            self.set_mss(cx.config.path_base_mss.max(cx.config.path_floor_mss));
        }
    }

    /// The retransmission timer has expired, `retries` times in a row: from R1 on, perhaps because the path swallows
    /// segments of this size (section 7.7). First the size that nearly every path carries, then half of it, and so on.
    pub(crate) fn suspect_black_hole(&mut self, cx: &Context<'_>) {
        let config = cx.config;
        let is_too_early = self.retries < config.stall_retries.max(1);
        if config.path_probing == PathProbing::Off || is_too_early || self.snd_wnd == 0 {
            return;
        }
        let base = config.path_base_mss.max(config.path_floor_mss);
        let next = if self.mss > base { base } else { (self.mss / 2).max(config.path_floor_mss) };
        // Segments that were short already did not vanish for their length.
        if next < self.mss && self.in_flight() > u32::from(next) {
            if self.marks.contains(Marks::SUSPECTED) {
                self.marks.remove(Marks::FULL_PASSED);
            }
            self.set_mss(next);
            self.marks.insert(Marks::PROBES_PATH | Marks::PATH_NEWS);
        }
    }

    /// Whether [`take_path_news`](Self::take_path_news) has something to tell.
    #[inline]
    pub const fn has_path_news(&self) -> bool {
        self.marks.contains(Marks::PATH_NEWS)
    }

    /// Whether, with an acknowledgment that has just come, it is certain that the present size gets through where a
    /// longer one did not: [`path_mss`](Self::path_mss) is to be remembered. Asking takes the news away. Where it is not
    /// certain segments are as long again as the SYNs allow: the caller says what else it knows of the path.
    #[inline]
    pub fn take_path_news(&mut self) -> bool {
        let news = self.marks.contains(Marks::PATH_NEWS);
        if news {
            self.marks.remove(Marks::PATH_NEWS);
        }
        if news && self.marks.contains(Marks::FULL_PASSED) {
            // It did carry full ones not long ago: they have one more chance, and the next silence is proof.
            self.marks.remove(Marks::PROBES_PATH | Marks::FULL_PASSED);
            self.marks.insert(Marks::SUSPECTED);
            self.set_mss(self.mss_max);
            return false;
        }
        if news {
            self.marks.remove(Marks::SUSPECTED);
        }
        news
    }

    /// An acknowledgment of `bytes` has come: a full segment was among them, perhaps.
    #[inline]
    pub(crate) fn note_full_segment(&mut self, bytes: u32) {
        if bytes >= self.full() && !self.marks.contains(Marks::PATH_NEWS) {
            self.marks.insert(Marks::FULL_PASSED);
            self.marks.remove(Marks::SUSPECTED);
        }
    }

    /// The payload that the next probe should have, `fails` being the shortest that is known not to get through:
    /// first all that the SYNs allow, since most black holes are passing troubles; then half way (section 7.3).
    pub fn probe_len(&self, fails: u16) -> Option<u16> {
        let high = self.mss_max.min(fails.saturating_sub(1));
        if high <= self.mss {
            return None;
        }
        let len = if fails > self.mss_max { high } else { self.mss + (high - self.mss).div_ceil(2) };
        (len == self.mss_max || high - self.mss >= CLOSE_ENOUGH).then_some(len)
    }

    /// A probe of `len` bytes of payload, if this is the time for one: nothing is amiss, enough is waiting that other
    /// segments follow it at once, and both windows have room for all of them.
    pub fn poll_probe(
        &mut self,
        cx: &Context<'_>,
        held: &Held,
        flight: Option<&mut Flight>,
        len: u16,
    ) -> Option<(Outgoing, Probe)> {
        let special = Marks::UNEVEN | Marks::PERSIST | Marks::FORCE | Marks::RESEND_NOW | Marks::FIN_SENT;
        let is_quiet =
            self.state.transmits() && !self.marks.intersects(special) && !self.recovery.is_active();
        if held.probe.is_some() || !is_quiet || len <= self.mss || len > self.mss_max {
            return None;
        }
        let sent = self.in_flight();
        let needed = u32::from(len) + FOLLOWERS * self.full();
        let fits = held.queued.saturating_sub(sent) >= needed
            && self.snd_wnd.saturating_sub(sent) >= needed
            && self.congestion.cwnd >= needed
            // It goes in the place of an ordinary segment, and the others follow as acknowledgments come.
            && self.congestion.cwnd.saturating_sub(sent) >= self.full();
        if !fits {
            return None;
        }
        let probe = Probe { seq: self.snd_nxt, len };
        let share = Share { seq: self.snd_nxt, len: u32::from(len), fin: false };
        let mut outgoing = Outgoing::default();
        self.emit_new(cx, held, flight, &share, &mut outgoing);
        Some((outgoing, probe))
    }

    /// The probe is lost, and it is what everything waits for: its bytes, and no others, are sent again in shorter segments.
    pub(crate) fn on_probe_lost(&mut self, cx: &Context<'_>, probe: Probe) {
        self.recovery.resend_all(self.snd_una, probe.end());
        self.marks.insert(Marks::UNEVEN);
        self.arm_resend(cx);
    }

    /// A router says that the probe in flight is too big for the path: the same at once, without duplicates to wait for.
    pub fn on_probe_too_big(&mut self, cx: &Context<'_>, probe: Probe) {
        if probe.covers(self.snd_una) {
            self.on_probe_lost(cx, probe);
        }
    }

    /// Whether all that is lost so far is the path probe.
    pub(crate) fn is_probe_loss(&self, held: &Held, lost: u32) -> bool {
        held.probe.covers(self.snd_una) && lost <= u32::from(held.probe.len())
    }

    /// A probe was acknowledged: segments of its length get through (section 7.6.1).
    pub fn on_probe_acked(&mut self, probe: Probe) {
        if probe.len > self.mss {
            self.set_mss(probe.len);
        }
        if !self.is_narrow() {
            self.marks.remove(Marks::PROBES_PATH);
        }
    }
}
