//! Was the recovery a mistake? F-RTO (RFC 5682), the Eifel detection (RFC 3522) and D-SACK (RFC 3708), and what to put
//! back (RFC 4015).
//!
//! A segment that was only late looks lost. Three signs tell later that it was not: after a time-out, data arrives that
//! was never sent again; an echoed timestamp is older than the first retransmission; or the peer reports, for every
//! single retransmission, that it had that already.

use freeway_wire::tcp::SeqNumber;

/// Runs of retransmitted data that are told apart.
const RUNS: usize = 4;

/// What a report of duplicates means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Report {
    /// The network has doubled what was sent once.
    Foreign,
    /// Something was sent again for nothing.
    Ours,
    /// Everything was.
    All,
}

/// How far F-RTO is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Frto {
    /// Not in question, or decided.
    Off,
    /// Step 2: the first segment was sent again after a time-out, and nothing of it is known.
    Resent,
    /// Step 3: SND.UNA has moved, and new data was let out instead of repetitions.
    Probing,
}

/// What tells whether the recovery is to be taken back. The window as it was is congestion control's to remember.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(crate) struct Undo {
    /// What was sent again and is not reported as a duplicate: the first `runs` of them.
    resent: [(SeqNumber, SeqNumber); RUNS],
    /// The timestamp of the first retransmission, if `stamped`.
    stamp: u32,
    runs: u8,
    /// More was sent again than can be told apart, or some of it twice: no report shows that all was for nothing.
    is_crowded: bool,
    stamped: bool,
    /// There is something to take back.
    armed: bool,
    pub(crate) frto: Frto,
}

impl Undo {
    /// Nothing to take back.
    pub(crate) const fn new() -> Self {
        Self {
            resent: [(SeqNumber(0), SeqNumber(0)); RUNS],
            stamp: 0,
            runs: 0,
            is_crowded: false,
            stamped: false,
            armed: false,
            frto: Frto::Off,
        }
    }

    /// A recovery begins, by a time-out or otherwise.
    pub(crate) const fn begin(by_timeout: bool) -> Self {
        let frto = if by_timeout { Frto::Resent } else { Frto::Off };
        Self { armed: true, frto, ..Self::new() }
    }

    /// `from..to` was sent again; `timestamp` is what it carries.
    pub(crate) fn on_resent(&mut self, from: SeqNumber, to: SeqNumber, timestamp: Option<u32>) {
        if !self.armed {
            return;
        }
        if let Some(stamp) = timestamp
            && self.runs == 0
            && !self.is_crowded
        {
            (self.stamp, self.stamped) = (stamp, true);
        }
        for run in self.resent.iter_mut().take(usize::from(self.runs)) {
            if from.is_before(run.1) && to.is_after(run.0) {
                self.is_crowded = true;
                return;
            }
            if run.1 == from {
                run.1 = to;
                return;
            }
        }
        match self.resent.get_mut(usize::from(self.runs)) {
            Some(place) => {
                *place = (from, to);
                self.runs += 1;
            }
            None => self.is_crowded = true,
        }
    }

    /// The peer had `from..to` already (RFC 3708).
    pub(crate) fn on_dsack(&mut self, from: SeqNumber, to: SeqNumber) -> Report {
        let count = usize::from(self.runs);
        let Some(runs) = self.resent.get_mut(..count) else { return Report::Foreign };
        let holds = |run: &(SeqNumber, SeqNumber)| from.is_at_or_after(run.0) && to.is_at_or_before(run.1);
        let Some(index) = runs.iter().position(holds) else { return Report::Foreign };
        if let Some(run) = runs.get_mut(index) {
            if run.0 == from {
                run.0 = to;
            } else {
                // Reports come in the order of the retransmissions: what lies before it is reported no more, and what
                // lies behind it cannot be kept as well.
                self.is_crowded |= run.1 != to;
                run.1 = from;
            }
            if run.0 == run.1 {
                runs.copy_within(index + 1.., index);
                self.runs -= 1;
            }
        }
        if self.armed && self.runs == 0 && !self.is_crowded { Report::All } else { Report::Ours }
    }

    /// SND.UNA moved on, by an acknowledgment that echoes `echo`: true when that was sent before the first
    /// retransmission, so that the original has arrived. Only the first such acknowledgment tells.
    pub(crate) const fn on_progress(&mut self, echo: Option<u32>) -> bool {
        let stamped = core::mem::replace(&mut self.stamped, false);
        match echo {
            Some(echo) => self.armed && stamped && (echo.wrapping_sub(self.stamp) as i32) < 0,
            None => false,
        }
    }

    /// The recovery was taken back; reports of what it had sent again may still come.
    pub(crate) const fn disarm(&mut self) {
        (self.armed, self.stamped, self.frto) = (false, false, Frto::Off);
    }

    /// Whether reports that are still to come may take the recovery back.
    pub(crate) const fn is_pending(&self) -> bool {
        self.armed && self.runs > 0 && !self.is_crowded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNA: SeqNumber = SeqNumber(u32::MAX - 100);

    fn report(undo: &mut Undo, from: u32, to: u32) -> Report {
        undo.on_dsack(UNA + from, UNA + to)
    }

    #[test]
    fn an_echo_from_before_the_first_retransmission_tells_once() {
        for (echo, spurious) in [(99, true), (100, false), (101, false)] {
            let mut undo = Undo::begin(false);
            assert!(!undo.on_progress(Some(0)), "nothing was sent again yet");
            undo.on_resent(UNA, UNA + 1_000, Some(100));
            undo.on_resent(UNA + 1_000, UNA + 2_000, Some(500));
            assert_eq!(undo.on_progress(Some(echo)), spurious);
            assert!(!undo.on_progress(Some(0)));
        }
    }

    #[test]
    fn only_reports_of_everything_take_it_back() {
        let mut undo = Undo::begin(false);
        assert_eq!(report(&mut undo, 0, 1_000), Report::Foreign, "nothing was sent again");
        for from in [0, 1_000, 5_000] {
            undo.on_resent(UNA + from, UNA + from + 1_000, None);
        }
        assert_eq!(report(&mut undo, 3_000, 4_000), Report::Foreign, "the network's own");
        assert_eq!(report(&mut undo, 0, 1_000), Report::Ours);
        assert_eq!(report(&mut undo, 0, 1_000), Report::Foreign, "once is enough");
        assert!(undo.is_pending());
        assert_eq!(report(&mut undo, 5_000, 6_000), Report::Ours);
        assert_eq!(report(&mut undo, 1_000, 2_000), Report::All);
        assert!(!undo.is_pending());
    }

    #[test]
    fn what_was_sent_again_twice_or_in_too_many_runs_is_not_taken_back() {
        let mut twice = Undo::begin(false);
        twice.on_resent(UNA, UNA + 1_000, None);
        twice.on_resent(UNA, UNA + 1_000, None);
        assert_eq!(report(&mut twice, 0, 1_000), Report::Ours);
        let mut many = Undo::begin(false);
        for run in 0..=RUNS as u32 {
            many.on_resent(UNA + run * 2_000, UNA + run * 2_000 + 1_000, None);
        }
        for run in 0..RUNS as u32 {
            assert_eq!(report(&mut many, run * 2_000, run * 2_000 + 1_000), Report::Ours);
        }
        assert!(!many.is_pending());
    }

    #[test]
    fn taken_back_it_still_knows_its_own() {
        let mut undo = Undo::begin(false);
        undo.on_resent(UNA, UNA + 1_000, Some(5));
        assert!(undo.on_progress(Some(4)));
        undo.disarm();
        assert_eq!(report(&mut undo, 0, 1_000), Report::Ours);
    }
}
