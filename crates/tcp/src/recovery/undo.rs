//! Was the recovery a mistake? F-RTO (RFC 5682), the Eifel detection (RFC 3522) and D-SACK (RFC 3708), and what to put
//! back (RFC 4015).
//!
//! A segment that was only late looks lost. Three signs tell later that it was not: after a time-out, data arrives that
//! was never sent again; an echoed timestamp is older than the first retransmission; or the peer reports, for every
//! single retransmission, that it had that already.

use freeway_wire::tcp::SeqNumber;

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
    /// SND.UNA when the recovery began.
    marker: SeqNumber,
    /// Bytes sent again and not reported as duplicates.
    resent: u32,
    /// The timestamp of the first retransmission, if `stamped`.
    stamp: u32,
    stamped: bool,
    /// There is something to take back.
    armed: bool,
    pub(crate) frto: Frto,
}

impl Undo {
    /// Nothing to take back.
    pub(crate) const fn new() -> Self {
        Self { marker: SeqNumber(0), resent: 0, stamp: 0, stamped: false, armed: false, frto: Frto::Off }
    }

    /// A recovery begins, by a time-out or otherwise.
    pub(crate) const fn begin(snd_una: SeqNumber, by_timeout: bool) -> Self {
        let frto = if by_timeout { Frto::Resent } else { Frto::Off };
        Self { marker: snd_una, resent: 0, stamp: 0, stamped: false, armed: true, frto }
    }

    /// Something was sent again; `timestamp` is what it carries.
    pub(crate) const fn on_resent(&mut self, bytes: u32, timestamp: Option<u32>) {
        if !self.armed {
            return;
        }
        if let Some(stamp) = timestamp
            && self.resent == 0
        {
            (self.stamp, self.stamped) = (stamp, true);
        }
        self.resent = self.resent.saturating_add(bytes);
    }

    /// The peer had `from..to` already; true when it had everything that was sent again.
    pub(crate) fn on_dsack(&mut self, from: SeqNumber, to: SeqNumber) -> bool {
        let waits = self.armed && self.resent > 0 && from.is_at_or_after(self.marker);
        if waits {
            self.resent = self.resent.saturating_sub(to.distance_from(from));
        }
        waits && self.resent == 0
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

    /// Whether D-SACKs that are still to come may take the recovery back.
    pub(crate) const fn is_pending(&self) -> bool {
        self.armed && self.resent > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNA: SeqNumber = SeqNumber(u32::MAX - 100);

    #[test]
    fn an_echo_from_before_the_first_retransmission_tells_once() {
        for (echo, spurious) in [(99, true), (100, false), (101, false)] {
            let mut undo = Undo::begin(UNA, false);
            assert!(!undo.on_progress(Some(0)), "nothing was sent again yet");
            undo.on_resent(1_000, Some(100));
            undo.on_resent(1_000, Some(500));
            assert_eq!(undo.on_progress(Some(echo)), spurious);
            assert!(!undo.on_progress(Some(0)));
        }
    }

    #[test]
    fn only_d_sacks_of_everything_take_it_back() {
        let mut undo = Undo::begin(UNA, false);
        assert!(!undo.on_dsack(UNA, UNA + 1_000), "nothing was sent again");
        undo.on_resent(1_000, None);
        undo.on_resent(1_000, None);
        assert!(!undo.on_dsack(UNA - 1_000, UNA), "of an earlier recovery");
        assert!(!undo.on_dsack(UNA, UNA + 1_000));
        assert!(undo.is_pending());
        assert!(undo.on_dsack(UNA + 5_000, UNA + 6_000));
        assert!(!undo.is_pending() && !undo.on_dsack(UNA, UNA + 1_000));
    }
}
