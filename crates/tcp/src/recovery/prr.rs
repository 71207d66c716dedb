//! Proportional rate reduction (RFC 6937, with the safe bound of RFC 9937): how much may be sent in fast recovery.
//!
//! For every byte that arrives `ssthresh / RecoverFS` bytes are sent, so that the window has come down when the
//! recovery ends, without a pause and without a burst. Where losses have already brought what is in flight below
//! ssthresh it is built up again: by as much as arrives, and a segment more if the acknowledgment shows that the repair
//! gets on.

/// The state of a reduction, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub(crate) struct Prr {
    /// prr_delivered: what has arrived since the recovery began.
    delivered: u32,
    /// prr_out: what was sent since.
    out: u32,
    /// RecoverFS: what was in flight when it began, but for what was sent beyond the window on the first signs of a loss:
    /// as much has been reported by then as that was (RFC 9937, section 5), and Linux counts the window likewise.
    recover_fs: u32,
}

impl Prr {
    /// A recovery begins with `flight` bytes out.
    pub(crate) const fn begin(flight: u32) -> Self {
        Self { delivered: 0, out: 0, recover_fs: flight }
    }

    /// Something was sent during the recovery.
    pub(crate) const fn on_sent(&mut self, bytes: u32) {
        self.out = self.out.saturating_add(bytes);
    }

    /// An acknowledgment brought news of `delivered` bytes: how many may be sent (sndcnt).
    ///
    /// `is_safe` says that it moved SND.UNA and showed no further loss.
    pub(crate) fn on_ack(
        &mut self,
        delivered: u32,
        pipe: u32,
        ssthresh: u32,
        mss: u32,
        is_safe: bool,
    ) -> u32 {
        self.delivered = self.delivered.saturating_add(delivered);
        let sendable = if pipe > ssthresh {
            let share = u64::from(self.delivered) * u64::from(ssthresh);
            let due = share.div_ceil(u64::from(self.recover_fs.max(1)));
            u32::try_from(due).unwrap_or(u32::MAX).saturating_sub(self.out)
        } else {
            let conserved = self.delivered.saturating_sub(self.out).max(delivered);
            let bound = if is_safe { conserved.saturating_add(mss) } else { conserved };
            bound.min(ssthresh - pipe)
        };
        // The first retransmission goes out in any case.
        if self.out == 0 { sendable.max(mss) } else { sendable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_loss_in_twenty_segments_leaves_half_of_them() {
        // RFC 6937, section 4, figure 1: 20 segments, the first lost, ssthresh 10.
        let mut prr = Prr::begin(20_000);
        let (mut pipe, mut sent) = (20_000 - 1_000, 0);
        for ack in 1..=19 {
            pipe -= 1_000;
            let allowed = prr.on_ack(1_000, pipe, 10_000, 1_000, false);
            let now = allowed / 1_000 * 1_000;
            prr.on_sent(now);
            pipe += now;
            sent += now;
            assert!(now <= 1_000, "no burst");
            // Every second acknowledgment sends; the retransmission is the first.
            assert!(sent.abs_diff(ack * 500) <= 1_000, "{sent} after {ack}");
        }
        assert_eq!(pipe, 10_000);
    }

    #[test]
    fn many_losses_are_made_up_for_without_a_burst() {
        // RFC 6937, section 4, figure 2: the first 15 of 20 are lost; what is left is below ssthresh at once.
        let mut prr = Prr::begin(20_000);
        let mut pipe = 4_000;
        for _ in 0..5 {
            let allowed = prr.on_ack(1_000, pipe, 10_000, 1_000, false);
            assert_eq!(allowed, 1_000, "conservation while it is not known to be safe");
            prr.on_sent(allowed);
        }
        pipe = 5_000;
        let allowed = prr.on_ack(1_000, pipe - 1_000, 10_000, 1_000, true);
        assert_eq!(allowed, 2_000, "slow start while it is");
        assert_eq!(prr.on_ack(1_000, 9_500, 10_000, 1_000, true), 500, "never beyond ssthresh");
    }

    #[test]
    fn no_division_by_nothing() {
        assert_eq!(Prr::begin(0).on_ack(u32::MAX, 5, 4, 1_000, false), u32::MAX);
    }
}
