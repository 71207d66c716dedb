//! Loss recovery without selective acknowledgments: NewReno (RFC 6582), limited transmit (RFC 3042), and what
//! follows a time-out.
//!
//! It decides *what* is lost and *when* that is known, from acknowledgments alone; how much may be sent is
//! `congestion`'s, and `transmit` asks [`Recovery::resend_from`] what to send again. Where there is a scoreboard that
//! takes the place of these judgments; the phase and where it ends stay here.
//!
//! ```text
//!                 third duplicate                       all of it acknowledged
//!   Open ───────────────────────────► Fast ───────────────────────────────────► Open
//!     │                                │  partial: the next hole is sent again
//!     │        timer                   │ timer
//!     └──────────────► Timeout ◄───────┘        Timeout ──── all of it acknowledged ──► Open
//!                      everything up to `point` is sent again, as the window allows
//! ```

use freeway_wire::tcp::SeqNumber;

/// RFC 5681, section 3.2.
const DUPLICATE_THRESHOLD: u8 = 3;

/// Where the recovery is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Nothing is known to be lost.
    Open,
    /// Fast recovery.
    Fast,
    /// After a time-out.
    Timeout,
}

/// The state of loss recovery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(crate) struct Recovery {
    /// "recover" of RFC 6582: `snd_nxt` when the loss was noticed.
    point: SeqNumber,
    /// After a time-out: the next to be sent again, up to `point`.
    next: SeqNumber,
    phase: Phase,
    duplicates: u8,
    /// Duplicates below `point` mean nothing: what was sent again may itself be what they answer (RFC 6582,
    /// section 4, the careful variant).
    guarded: bool,
    /// A partial acknowledgment has restarted the timer: only the first one does (RFC 6582, section 3.2).
    restarted: bool,
}

/// What a duplicate acknowledgment means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Duplicate {
    /// Nothing to do (but limited transmit may now send).
    Counted,
    /// A segment is lost: fast retransmit.
    Loss,
    /// Another segment has left the network during fast recovery.
    Departed,
    /// It tells nothing.
    Ignored,
}

/// What an acknowledgment of new data means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// Nothing was lost, or the time-out's recovery goes on: the window grows.
    Growth,
    /// Fast recovery has ended.
    Recovered,
    /// There is another hole at `snd_una`; `restart_timer` for the first of its kind.
    Partial {
        /// Whether the retransmission timer starts anew.
        restart_timer: bool,
    },
}

impl Recovery {
    pub(crate) const fn new(iss: SeqNumber) -> Self {
        Self { point: iss, next: iss, phase: Phase::Open, duplicates: 0, guarded: false, restarted: false }
    }

    /// Whether anything but a smooth flow is going on.
    pub(crate) const fn is_active(&self) -> bool {
        self.duplicates > 0 || self.guarded || !matches!(self.phase, Phase::Open)
    }

    /// A duplicate acknowledgment.
    pub(crate) fn on_duplicate(&mut self, snd_nxt: SeqNumber) -> Duplicate {
        match self.phase {
            Phase::Timeout => return Duplicate::Ignored,
            Phase::Fast => return Duplicate::Departed,
            Phase::Open => {}
        }
        self.duplicates = self.duplicates.saturating_add(1);
        if self.duplicates != DUPLICATE_THRESHOLD || self.guarded {
            return Duplicate::Counted;
        }
        self.phase = Phase::Fast;
        self.point = snd_nxt;
        self.guarded = true;
        self.restarted = false;
        Duplicate::Loss
    }

    /// New data was acknowledged, up to `snd_una`.
    pub(crate) fn on_progress(&mut self, snd_una: SeqNumber) -> Progress {
        self.duplicates = 0;
        if snd_una.is_after(self.point) {
            self.guarded = false;
        }
        let reached = snd_una.is_at_or_after(self.point);
        match self.phase {
            Phase::Open => Progress::Growth,
            Phase::Fast if reached => {
                self.phase = Phase::Open;
                Progress::Recovered
            }
            Phase::Fast => {
                let restart_timer = !self.restarted;
                self.restarted = true;
                Progress::Partial { restart_timer }
            }
            Phase::Timeout => {
                if reached {
                    self.phase = Phase::Open;
                }
                self.next = self.next.max(snd_una);
                Progress::Growth
            }
        }
    }

    /// Everything in flight counts as lost: after a time-out, or when the path or the peer's window turned out
    /// too narrow for it.
    pub(crate) fn resend_all(&mut self, snd_una: SeqNumber, snd_nxt: SeqNumber) {
        self.phase = Phase::Timeout;
        self.point = snd_nxt;
        self.next = snd_una;
        self.duplicates = 0;
        self.guarded = true;
    }

    /// After a time-out: where sending again goes on, and up to where.
    pub(crate) fn resend_from(&self) -> Option<(SeqNumber, SeqNumber)> {
        let due = self.phase == Phase::Timeout && self.next.is_before(self.point);
        due.then_some((self.next, self.point))
    }

    /// Everything before `end` was sent again.
    pub(crate) fn on_resent(&mut self, end: SeqNumber) {
        if self.phase == Phase::Timeout {
            self.next = self.next.max(end);
        }
    }

    /// What counts against the congestion window: what is out and not known to be lost.
    pub(crate) fn flight(&self, snd_una: SeqNumber, snd_nxt: SeqNumber) -> u32 {
        match self.resend_from() {
            Some((next, point)) => next.distance_from(snd_una) + snd_nxt.distance_from(point),
            None => snd_nxt.distance_from(snd_una),
        }
    }

    /// Where the recovery is.
    #[inline]
    pub(crate) const fn phase(&self) -> Phase {
        self.phase
    }

    /// "recover" of RFC 6582, RecoveryPoint of RFC 6675: where the recovery ends.
    #[inline]
    pub(crate) const fn point(&self) -> SeqNumber {
        self.point
    }

    /// Acknowledgments in a row that moved nothing, but reported what has arrived.
    pub(crate) const fn duplicates(&self) -> u8 {
        self.duplicates
    }

    /// One more of those, or the end of their row.
    pub(crate) const fn count_duplicate(&mut self, advanced: bool, delivered: bool) {
        if advanced {
            self.duplicates = 0;
        } else if delivered {
            self.duplicates = self.duplicates.saturating_add(1);
        }
    }

    /// A recovery begins by the scoreboard's word, which knows what is to be sent again.
    pub(crate) const fn begin(&mut self, phase: Phase, snd_nxt: SeqNumber) {
        *self =
            Self { point: snd_nxt, next: snd_nxt, phase, duplicates: 0, guarded: false, restarted: false };
    }

    /// It has ended.
    pub(crate) const fn end(&mut self) {
        self.phase = Phase::Open;
        self.duplicates = 0;
        self.guarded = false;
    }

    /// Segments that limited transmit allows beyond the window (RFC 3042).
    pub(crate) fn extra_segments(&self) -> u32 {
        match self.phase {
            Phase::Open if !self.guarded => u32::from(self.duplicates.min(DUPLICATE_THRESHOLD - 1)),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISS: SeqNumber = SeqNumber(u32::MAX - 1_000);

    fn at(offset: u32) -> SeqNumber {
        ISS + offset
    }

    #[test]
    fn open_third_duplicate_is_a_loss_and_the_rest_are_departures() {
        let mut recovery = Recovery::new(ISS);
        assert_eq!(recovery.on_duplicate(at(5_000)), Duplicate::Counted);
        assert_eq!(recovery.extra_segments(), 1);
        assert_eq!(recovery.on_duplicate(at(5_000)), Duplicate::Counted);
        assert_eq!(recovery.extra_segments(), 2);
        assert_eq!(recovery.on_duplicate(at(5_000)), Duplicate::Loss);
        assert_eq!(recovery.on_duplicate(at(5_000)), Duplicate::Departed);
        assert_eq!(recovery.extra_segments(), 0);
    }

    #[test]
    fn fast_partial_restarts_the_timer_once_and_full_ends_it() {
        let mut recovery = Recovery::new(ISS);
        for _ in 0..3 {
            recovery.on_duplicate(at(5_000));
        }
        assert_eq!(recovery.on_progress(at(2_000)), Progress::Partial { restart_timer: true });
        assert_eq!(recovery.on_progress(at(3_000)), Progress::Partial { restart_timer: false });
        assert_eq!(recovery.on_progress(at(5_000)), Progress::Recovered);
        assert_eq!(recovery.phase, Phase::Open);
    }

    #[test]
    fn recovered_duplicates_of_the_old_flight_do_not_start_another_recovery() {
        let mut recovery = Recovery::new(ISS);
        for _ in 0..3 {
            recovery.on_duplicate(at(5_000));
        }
        recovery.on_progress(at(5_000));
        for _ in 0..5 {
            assert_eq!(recovery.on_duplicate(at(6_000)), Duplicate::Counted);
        }
        recovery.on_progress(at(5_001));
        assert!(!recovery.is_active());
    }

    #[test]
    fn timeout_sends_everything_again_and_counts_only_that() {
        let mut recovery = Recovery::new(ISS);
        recovery.resend_all(at(1_000), at(5_000));
        assert_eq!(recovery.flight(at(1_000), at(5_000)), 0);
        recovery.on_resent(at(2_000));
        assert_eq!(recovery.flight(at(1_000), at(5_000)), 1_000);
        assert_eq!(recovery.on_progress(at(4_000)), Progress::Growth);
        assert_eq!(recovery.resend_from(), Some((at(4_000), at(5_000))));
        recovery.on_progress(at(5_000));
        assert_eq!((recovery.resend_from(), recovery.phase), (None, Phase::Open));
    }
}
