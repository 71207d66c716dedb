//! What congestion control knows while several segments are in flight, and may forget afterwards.

use freeway_base::Instant;
use freeway_wire::tcp::SeqNumber;

use super::cubic::Curve;
use super::dctcp::Marked;
use super::hystart::HyStart;
use super::{Ack, Congestion};

/// Congestion control's part of a [`Flight`](crate::Flight). A new one knows nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Epoch {
    /// SND.NXT when the round began: it is over when that is acknowledged. `None` before the first acknowledgment.
    round_end: Option<SeqNumber>,
    /// The acknowledgment at hand ends a round.
    round_ends: bool,
    /// 2^44 / cwnd as of the round's beginning; 0 when it must be computed anew.
    reciprocal: u64,
    pub(super) hystart: HyStart,
    pub(super) curve: Curve,
    pub(super) marks: Marked,
    pub(super) undo: Option<Snapshot>,
    /// SND.NXT when a mark reduced the window last.
    reduced_at: Option<SeqNumber>,
    /// The most bytes in flight at once in this round.
    out_max: u32,
    /// When the next segment may go, where segments are paced.
    release: Instant,
}

const _: () = assert!(size_of::<Epoch>() <= 192);

/// Binary places of [`Epoch::reciprocal`].
pub(crate) const RECIPROCAL_BITS: u32 = 44;

impl Epoch {
    /// Nothing known.
    pub(crate) const fn new() -> Self {
        Self {
            round_end: None,
            round_ends: false,
            reciprocal: 0,
            hystart: HyStart::new(),
            curve: Curve::new(),
            marks: Marked::new(),
            undo: None,
            reduced_at: None,
            out_max: 0,
            release: Instant::ZERO,
        }
    }

    /// Rounds (RFC 9406, section 4.2; RFC 8257, section 3.3, step 5): one ends when what was sent last at its
    /// beginning is acknowledged, and certainly when everything is.
    pub(super) fn begin_ack(&mut self, cwnd: u32, ack: &Ack) {
        let reached = self.round_end.is_some_and(|end| ack.una.is_at_or_after(end));
        self.round_ends = reached || ack.una == ack.nxt;
        if self.round_ends || self.reciprocal == 0 {
            self.refresh(cwnd);
        }
    }

    /// So many bytes are in flight now that new data has gone out.
    pub(crate) fn note_out(&mut self, out: u32) {
        self.out_max = self.out_max.max(out);
    }

    /// Whether slow start may go on: the window grows to twice what was out (RFC 7661 on why no further).
    pub(crate) const fn may_double(&self, cwnd: u32) -> bool {
        cwnd < self.out_max.saturating_mul(2)
    }

    /// The one division of a round trip.
    pub(super) fn refresh(&mut self, cwnd: u32) {
        self.reciprocal = (1 << RECIPROCAL_BITS) / u64::from(cwnd.max(1));
    }

    pub(super) fn end_ack(&mut self, ack: &Ack) {
        if self.round_ends || self.round_end.is_none() {
            if self.round_ends {
                self.out_max = ack.nxt.distance_from(ack.una);
            }
            self.round_end = Some(ack.nxt);
            self.hystart.end_round();
        }
        self.curve.end_ack(ack);
    }

    /// SND.NXT when a mark reduced the window last.
    pub(crate) const fn reduced_at(&self) -> Option<SeqNumber> {
        self.reduced_at
    }

    /// A mark reduces the window now, at this SND.NXT.
    pub(crate) const fn set_reduced_at(&mut self, nxt: SeqNumber) {
        self.reduced_at = Some(nxt);
    }

    /// Whether the acknowledgment at hand is the last of its round trip.
    pub(super) const fn round_ends(&self) -> bool {
        self.round_ends
    }

    /// 2^44 / cwnd, at most a round trip old; 0 when it is not known.
    pub(super) const fn reciprocal(&self) -> u64 {
        self.reciprocal
    }

    /// The same where it is known, else that of `cwnd`.
    #[inline]
    pub(crate) fn known_reciprocal(&mut self, cwnd: u32) -> u64 {
        if self.reciprocal == 0 {
            self.refresh(cwnd);
        }
        self.reciprocal
    }

    /// When the next segment may go, where segments are paced.
    pub(crate) const fn release(&self) -> Instant {
        self.release
    }

    /// The next segment goes then.
    pub(crate) const fn set_release(&mut self, at: Instant) {
        self.release = at;
    }

    /// The window was reduced: what was derived from it holds no longer, and congestion avoidance begins again.
    pub(super) fn begin_anew(&mut self) {
        self.reciprocal = 0;
        self.hystart = HyStart::new();
        self.curve.stop();
    }
}

/// What a reduction changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Snapshot {
    window: Congestion,
    curve: Curve,
}

impl Snapshot {
    pub(super) const fn of(window: &Congestion, epoch: &Epoch) -> Self {
        Self { window: *window, curve: epoch.curve }
    }

    /// RFC 4015, section 3.2; RFC 9438, section 4.9.1: a window that has grown beyond meanwhile stays.
    pub(super) fn restore(self, window: &mut Congestion, epoch: &mut Epoch) {
        let Congestion { cwnd, ssthresh, memory } = self.window;
        window.cwnd = window.cwnd.max(cwnd);
        window.ssthresh = window.ssthresh.max(ssthresh);
        window.memory = memory;
        epoch.begin_anew();
        epoch.curve = self.curve;
    }
}
