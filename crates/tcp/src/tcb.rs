//! The transmission control block: one connection in two cache lines.
//!
//! ```text
//!  line 0   snd_una  snd_nxt  snd_wnd  snd_wl1 │ rcv_nxt  rcv_edge  last_ack  ts_recent
//!           ts_offset  last_heard  resend_at  ack_at │ marks  mss peer_seg  state.. timed_seq
//!           ── data in order, or an ACK of all that is in flight, with no loss about, needs this much ──
//!  line 1   timed_at │ rtt │ congestion │ recovery │ slow_at  stalled_since │ counts
//!           ── a round-trip sample (one a round trip), a timer armed anew, a window that grows, a loss ──
//! ```
//!
//! Plain numbers: no pointers, no instants wider than 32 bits. An idle connection is this and nothing more.

use bitflags::bitflags;
use freeway_base::{Duration, Instant};
use freeway_wire::tcp::SeqNumber;

use crate::clock::{Tick, millis};
use crate::config::{Config, Context};
use crate::congestion::Congestion;
use crate::negotiate::{self, Agreed};
use crate::recovery::Recovery;
use crate::rtt::Rtt;
use crate::state::State;
use crate::window::Growth;

/// One connection.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Tcb {
    // ---- line 0: sending ----
    /// SND.UNA: the oldest unacknowledged sequence number. Our SYN is not counted: until it is acknowledged, in
    /// SYN-SENT and SYN-RECEIVED, its own number is the one before, and text may be in flight behind it (RFC 7413).
    pub(crate) snd_una: SeqNumber,
    /// SND.NXT: the next to be sent for the first time. Never moves back; see `recovery` for what is resent.
    pub(crate) snd_nxt: SeqNumber,
    /// SND.WND, in bytes.
    pub(crate) snd_wnd: u32,
    /// SND.WL1: the sequence number of the segment that set the window last.
    pub(crate) snd_wl1: SeqNumber,
    // ---- line 0: receiving ----
    /// RCV.NXT.
    pub(crate) rcv_nxt: SeqNumber,
    /// The right edge of the window as promised to the peer: RCV.NXT + RCV.WND. Never moves back.
    pub(crate) rcv_edge: SeqNumber,
    /// Last.ACK.sent of RFC 7323.
    pub(crate) last_ack: SeqNumber,
    /// TS.Recent of RFC 7323.
    pub(crate) ts_recent: u32,
    /// What is added to the clock for this connection's timestamps.
    pub(crate) ts_offset: u32,
    /// When the peer was last heard; also the age of `ts_recent`.
    pub(crate) last_heard: Tick,
    // ---- line 0: the two busy timers ----
    /// When to retransmit or to probe, if `RESEND_ARMED`; else when the last data was acknowledged.
    pub(crate) resend_at: Tick,
    /// When the delayed acknowledgment is due, if `ACK_ARMED`, or a segment that is held back may go, if `PACED`.
    pub(crate) ack_at: Tick,
    // ---- line 0: the rest ----
    pub(crate) marks: Marks,
    /// Payload bytes of a full segment, options subtracted, as far as the path carries them (MUST-16).
    pub(crate) mss: u16,
    /// The longest segment the peer sent so far: what "every second full segment" refers to.
    pub(crate) peer_segment: u16,
    pub(crate) state: State,
    /// Acknowledgments still to be sent at once.
    pub(crate) quick_acks: u8,
    /// Both window shifts.
    pub(crate) scales: Scales,
    /// The largest window the peer ever offered (MAX.SND.WND), as a power of two: it was less than 1 << this.
    pub(crate) max_window_bits: u8,
    /// The end of the segment whose round trip is being measured, if `TIMING`.
    pub(crate) timed_seq: SeqNumber,
    // ---- line 1 ----
    /// When that segment was sent, in microseconds; or, without `TIMING`, when `snd_una` was last sent again.
    pub(crate) timed_at: u32,
    pub(crate) rtt: Rtt,
    pub(crate) congestion: Congestion,
    pub(crate) recovery: Recovery,
    /// When to look at keepalive or FIN-WAIT-2, if `SLOW_ARMED`.
    pub(crate) slow_at: Tick,
    /// Since when the peer acknowledges nothing, while `retries` > 0 or a window probe is due.
    pub(crate) stalled_since: Tick,
    /// Segments retransmitted so far, for reports; stops at its maximum.
    pub(crate) retransmitted: u16,
    /// Expiries of the retransmission timer since the last progress.
    pub(crate) retries: u8,
    /// How often the time-out is doubled; stays until a round trip is measured (Karn).
    pub(crate) backoff: u8,
    /// Unanswered keepalive probes.
    pub(crate) probes: u8,
    /// How far the receive buffer has grown beyond its first size.
    pub(crate) growth: Growth,
    /// What `mss` may be at most: as the two SYNs agreed, whatever the path carries.
    pub(crate) mss_max: u16,
}

const _: () = assert!(size_of::<Tcb>() <= 120);
// The first cache line ends where the cold half begins.
const _: () = assert!(core::mem::offset_of!(Tcb, timed_at) == 64);

bitflags! {
    /// What is pending, agreed or armed.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct Marks: u32 {
        /// `resend_at` is a deadline.
        const RESEND_ARMED = 1 << 0;
        /// `ack_at` is a deadline.
        const ACK_ARMED = 1 << 1;
        /// `slow_at` is a deadline.
        const SLOW_ARMED = 1 << 2;
        /// `resend_at` is the persist timer: nothing is in flight, and the window lets nothing out.
        const PERSIST = 1 << 3;
        /// An acknowledgment is owed now.
        const ACK_NOW = 1 << 4;
        /// A keepalive probe is owed now.
        const PROBE_NOW = 1 << 5;
        /// A SYN (or SYN-ACK) is owed now.
        const SYN_NOW = 1 << 6;
        /// The segment at `snd_una` is to be sent again now, whatever the congestion window says.
        const RESEND_NOW = 1 << 7;
        /// The persist timer expired: send what fits, and one byte where nothing does.
        const FORCE = 1 << 8;
        /// The application has closed: a FIN follows the queue.
        const FIN_WANTED = 1 << 9;
        /// The FIN was sent; it is the last number before `snd_nxt`.
        const FIN_SENT = 1 << 10;
        /// Both sides send timestamps.
        const TIMESTAMPS = 1 << 11;
        /// Both sides understand selective acknowledgments.
        const SACK = 1 << 12;
        /// The last new segment filled the congestion window.
        const CWND_LIMITED = 1 << 13;
        /// A round trip is being measured.
        const TIMING = 1 << 14;
        /// Losses are about: the common path does not apply.
        const UNEVEN = 1 << 15;
        /// The SYN was sent more than once.
        const SYN_LOST = 1 << 16;
        /// The peer's SYN brought a Fast Open cookie: in SYN-RECEIVED text goes both ways already.
        const FAST_OPEN = 1 << 27;
        /// `resend_at` is when to send a tail loss probe.
        const PROBE_TIMER = 1 << 24;
        /// The one segment in flight has gone out again as a probe, before its time-out counts.
        const PROBED = 1 << 22;
        /// `resend_at` is when segments that were overtaken count as lost.
        const REORDER_TIMER = 1 << 25;
        /// Segments were seen to overtake each other on this path.
        const REORDERING = 1 << 26;
        /// A segment that was not full has gone out since nothing was in flight: Nagle's algorithm holds the next.
        const SMALL_SENT = 1 << 29;
        /// Segments shrank because something on the path swallows longer ones: the next acknowledgment proves it.
        const PATH_NEWS = 1 << 30;
        /// A full segment has been acknowledged, and nothing makes doubtful that the path carries more of them.
        const FULL_PASSED = 1 << 28;
        /// Full segments were lost again and again, and a shorter one got through; no full one has since.
        const SUSPECTED = 1 << 23;
        /// `mss` grows by probes alone.
        const PROBES_PATH = 1 << 31;
        /// `ack_at` is when a segment that is held back may go.
        const PACED = 1 << 17;
        /// Both sides understand explicit congestion notification.
        const ECN = 1 << 18;
        /// Acknowledgments echo a congestion mark.
        const ECHO = 1 << 19;
        /// The next new data tells the peer that the window was reduced.
        const CWR_NOW = 1 << 20;
        /// `timed_seq` is SND.NXT as it was when a mark reduced the window; no round trip is being measured.
        const ECN_HOLD = 1 << 21;
    }
}

// Each mark has a bit of its own.
const _: () = assert!(<Marks as bitflags::Flags>::FLAGS.len() == Marks::all().bits().count_ones() as usize);

/// Both window shifts in a byte: the peer's in the upper half, ours in the lower.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Scales(u8);

impl Scales {
    pub(crate) const fn new(theirs: u8, ours: u8) -> Self {
        Self(theirs << 4 | ours & 15)
    }

    /// By how much the peer's window field is shifted.
    #[inline]
    pub(crate) const fn theirs(self) -> u32 {
        (self.0 >> 4) as u32
    }

    /// By how much ours is.
    #[inline]
    pub(crate) const fn ours(self) -> u32 {
        (self.0 & 15) as u32
    }
}

/// Where a connection begins: what the active open and the handshake's record have in common.
pub(crate) struct Origin {
    pub(crate) state: State,
    pub(crate) iss: SeqNumber,
    pub(crate) rcv_nxt: SeqNumber,
    pub(crate) ts_offset: u32,
    pub(crate) ts_recent: u32,
}

impl Tcb {
    /// Active open (RFC 9293, section 3.10.1): the connection is in SYN-SENT, and
    /// [`poll_transmit`](Self::poll_transmit) gives its SYN.
    pub fn connect(cx: &Context<'_>, iss: SeqNumber, timestamp_offset: u32) -> Self {
        let origin = Origin {
            state: State::SynSent,
            iss,
            rcv_nxt: SeqNumber(0),
            ts_offset: timestamp_offset,
            ts_recent: 0,
        };
        let mut tcb = Self::new(cx, &origin, &Agreed::none(cx.config));
        tcb.marks.insert(Marks::SYN_NOW);
        tcb
    }

    /// A connection in CLOSED, for a table's empty places.
    pub fn vacant() -> Self {
        let config = Config::default();
        let origin = Origin {
            state: State::Closed,
            iss: SeqNumber(0),
            rcv_nxt: SeqNumber(0),
            ts_offset: 0,
            ts_recent: 0,
        };
        Self::new(&Context { now: Instant::ZERO, config: &config }, &origin, &Agreed::none(&config))
    }

    /// A connection at its beginning. What is not in `origin` or `agreed` has only one way to begin.
    pub(crate) fn new(cx: &Context<'_>, origin: &Origin, agreed: &Agreed) -> Self {
        let &Origin { state, iss, rcv_nxt, ts_offset, ts_recent } = origin;
        let mut tcb = Self {
            snd_una: iss + 1,
            snd_nxt: iss + 1,
            snd_wnd: 0,
            snd_wl1: rcv_nxt,
            rcv_nxt,
            rcv_edge: rcv_nxt,
            last_ack: rcv_nxt,
            ts_recent,
            ts_offset,
            last_heard: Tick::at(cx.now),
            resend_at: Tick::at(cx.now),
            ack_at: Tick::default(),
            marks: Marks::empty(),
            mss: 0,
            peer_segment: cx.config.default_mss,
            state,
            quick_acks: cx.config.quick_acks,
            scales: Scales::default(),
            max_window_bits: 0,
            timed_seq: iss + 1,
            timed_at: 0,
            rtt: Rtt::default(),
            congestion: Congestion::new(cx.config, u32::from(cx.config.mss), false),
            recovery: Recovery::new(iss),
            slow_at: Tick::default(),
            stalled_since: Tick::default(),
            retransmitted: 0,
            retries: 0,
            backoff: 0,
            probes: 0,
            growth: Growth::default(),
            mss_max: 0,
        };
        tcb.agree(agreed);
        tcb
    }

    /// Settles what both SYNs have said.
    pub(crate) fn agree(&mut self, agreed: &Agreed) {
        let &Agreed { mss, timestamps, sack, ecn, scales } = agreed;
        self.scales = scales;
        self.marks.set(Marks::TIMESTAMPS, timestamps);
        self.marks.set(Marks::SACK, sack);
        self.marks.set(Marks::ECN, ecn);
        self.mss = negotiate::payload_of(mss, timestamps);
        self.mss_max = self.mss;
        self.peer_segment = self.peer_segment.min(self.mss);
    }

    /// The number of our SYN, while that is not acknowledged.
    #[inline]
    pub(crate) fn syn_seq(&self) -> SeqNumber {
        self.snd_una - 1
    }

    // ---- getters ----

    /// The state.
    #[inline]
    pub const fn state(&self) -> State {
        self.state
    }

    /// The oldest unacknowledged sequence number.
    #[inline]
    pub const fn snd_una(&self) -> SeqNumber {
        self.snd_una
    }

    /// The next sequence number to be sent for the first time.
    #[inline]
    pub const fn snd_nxt(&self) -> SeqNumber {
        self.snd_nxt
    }

    /// The next sequence number expected.
    #[inline]
    pub const fn rcv_nxt(&self) -> SeqNumber {
        self.rcv_nxt
    }

    /// Bytes of payload that the peer may send beyond `rcv_nxt`: what was promised and cannot be taken back.
    #[inline]
    pub const fn receive_window(&self) -> u32 {
        self.rcv_edge.distance_from(self.rcv_nxt)
    }

    /// Payload bytes of a full segment.
    #[inline]
    pub const fn mss(&self) -> u16 {
        self.mss
    }

    /// Whether the application may still queue data: it has not closed, and the connection lives.
    #[inline]
    pub const fn can_send(&self) -> bool {
        self.state.can_send() && !self.marks.contains(Marks::FIN_WANTED)
    }

    /// Whether the connection is open and owes nothing: nothing in flight, no acknowledgment due.
    pub const fn is_idle(&self) -> bool {
        matches!(self.state, State::Established | State::CloseWait | State::FinWait2)
            && self.in_flight() == 0
            && !self.marks.intersects(Marks::ACK_NOW.union(Marks::ACK_ARMED).union(Marks::RESEND_ARMED))
    }

    /// Sequence numbers sent and not acknowledged.
    #[inline]
    pub(crate) const fn in_flight(&self) -> u32 {
        self.snd_nxt.distance_from(self.snd_una)
    }

    /// Bytes of payload sent and not acknowledged: a FIN in flight is not counted.
    #[inline]
    pub(crate) fn bytes_in_flight(&self) -> u32 {
        let fin = u32::from(self.marks.contains(Marks::FIN_SENT));
        self.in_flight().saturating_sub(fin)
    }

    /// Whether the peer has acknowledged our FIN.
    #[inline]
    pub(crate) fn fin_is_acked(&self) -> bool {
        self.marks.contains(Marks::FIN_SENT) && self.snd_una == self.snd_nxt
    }

    /// Whether our SYN had to be sent more than once.
    #[inline]
    pub const fn syn_was_lost(&self) -> bool {
        self.marks.contains(Marks::SYN_LOST)
    }

    /// Whether queued data, or a FIN, may go out: behind a SYN-ACK too, where Fast Open has shown who the peer is.
    #[inline]
    pub(crate) fn transmits(&self) -> bool {
        let fast = self.state == State::SynReceived
            && self.marks.intersection(Marks::FAST_OPEN.union(Marks::SYN_NOW)) == Marks::FAST_OPEN;
        self.state.transmits() || fast
    }

    /// A full segment, for arithmetic.
    #[inline]
    pub(crate) fn full(&self) -> u32 {
        u32::from(self.mss)
    }

    /// Our timestamp clock.
    #[inline]
    pub(crate) fn timestamp(&self, cx: &Context<'_>) -> u32 {
        millis(cx.now).wrapping_add(self.ts_offset)
    }

    /// The time-out of now, back-off included.
    pub(crate) fn timeout(&self, config: &Config) -> Duration {
        let syn_was_lost = self.marks.contains(Marks::SYN_LOST) && self.state.is_synchronized();
        self.rtt.timeout(config, syn_was_lost, self.backoff)
    }
}
