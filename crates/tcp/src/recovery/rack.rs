//! RACK: what is lost, told by time (RFC 8985, sections 6.1 to 6.3).
//!
//! A segment is lost when one that was sent later has been delivered, and long enough ago: the reordering window, a
//! quarter of the least round trip to begin with, is how much segments may overtake each other. That finds lost
//! retransmissions as well as lost originals. Where a merged span says only between when and when it was sent, the
//! earliest counts for what it proves, and the latest for what is held against it.

use freeway_wire::tcp::SeqNumber;

use super::scoreboard::{Fate, Scoreboard, Span, is_later};

/// Segments that, delivered behind a hole, prove a loss while no reordering was seen (RFC 5681's threshold).
pub(crate) const DUPLICATE_THRESHOLD: u32 = 3;

/// Recoveries for which a widened reordering window is kept without another D-SACK (RFC 8985, section 6.2, step 4).
const PERSISTENCE: u8 = 16;

/// The state of RACK: what was delivered last in the order of sending, and how much order there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(crate) struct Rack {
    /// RACK.xmit_ts: when the segment was sent that, of all delivered, was sent last.
    xmit_ts: u32,
    /// RACK.end_seq: its end.
    end_seq: SeqNumber,
    /// RACK.rtt: its round trip, in microseconds.
    rtt: u32,
    /// RACK.fack: the highest end that was delivered.
    fack: SeqNumber,
    /// RACK.dsack_round: SND.NXT when the window was widened last.
    dsack_round: SeqNumber,
    /// RACK.reo_wnd_mult: by how many quarters of the least round trip segments may overtake each other.
    quarters: u8,
    /// RACK.reo_wnd_persist.
    persist: u8,
    /// Something was delivered.
    is_known: bool,
    /// RACK.reordering_seen.
    reordering_seen: bool,
    /// `dsack_round` has not passed.
    widened: bool,
}

/// A delivered segment as far as RACK wants to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Delivered {
    /// When it was sent.
    pub(crate) sent_at: u32,
    /// Its end.
    pub(crate) end: SeqNumber,
}

impl Delivered {
    /// RACK_sent_after of RFC 8985, section 6.2, step 2.
    #[inline]
    pub(crate) const fn is_sent_after(&self, sent_at: u32, end: SeqNumber) -> bool {
        is_later(self.sent_at, sent_at) || self.sent_at == sent_at && self.end.is_after(end)
    }
}

/// What a look for losses found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Verdict {
    /// Something was declared lost.
    pub(crate) lost: bool,
    /// Something was lost for the second time.
    pub(crate) lost_again: bool,
    /// How long until more may be lost, in microseconds; 0 when nothing is in doubt.
    pub(crate) wait_us: u32,
}

impl Rack {
    pub(crate) const fn new(una: SeqNumber) -> Self {
        Self {
            xmit_ts: 0,
            end_seq: una,
            rtt: 0,
            fack: una,
            dsack_round: una,
            quarters: 1,
            persist: 0,
            is_known: false,
            reordering_seen: false,
            widened: false,
        }
    }

    /// Whether segments were seen to overtake each other.
    pub(crate) const fn has_seen_reordering(&self) -> bool {
        self.reordering_seen
    }

    /// Whether it is known of something delivered when it was sent.
    pub(crate) const fn is_known(&self) -> bool {
        self.is_known
    }

    /// They were in an earlier flight.
    pub(crate) const fn expect_reordering(&mut self) {
        self.reordering_seen = true;
    }

    /// What was delivered last proves nothing any more: it was an original that only looked like its repetition, so it
    /// was sent earlier than it seemed.
    pub(crate) const fn forget_newest(&mut self) {
        self.is_known = false;
    }

    /// Step 2: of all that an acknowledgment delivered, the segment that was sent last.
    #[inline]
    pub(crate) fn on_delivered(&mut self, newest: Delivered, now_us: u32) {
        self.rtt = now_us.wrapping_sub(newest.sent_at);
        if !self.is_known || newest.is_sent_after(self.xmit_ts, self.end_seq) {
            (self.xmit_ts, self.end_seq, self.is_known) = (newest.sent_at, newest.end, true);
        }
    }

    /// Step 3: something was delivered up to `end`; out of order if it is behind what was delivered before, and no
    /// repetition.
    #[inline]
    pub(crate) fn note_order(&mut self, end: SeqNumber, was_repeated: bool) {
        if end.is_after(self.fack) {
            self.fack = end;
        } else if end.is_before(self.fack) && !was_repeated {
            self.reordering_seen = true;
        }
    }

    /// Step 4: the peer got something twice, so a loss was declared too soon. The window is widened once a round trip.
    pub(crate) fn on_dsack(&mut self, snd_una: SeqNumber, snd_nxt: SeqNumber) {
        if self.widened && snd_una.is_at_or_after(self.dsack_round) {
            self.widened = false;
        }
        if !self.widened {
            self.widened = true;
            self.dsack_round = snd_nxt;
            self.quarters = self.quarters.saturating_add(1);
            self.persist = PERSISTENCE;
        }
    }

    /// Step 4: a recovery has ended; after so many without a D-SACK the window is narrow again.
    pub(crate) const fn on_recovered(&mut self) {
        self.persist = self.persist.saturating_sub(1);
        if self.persist == 0 {
            self.quarters = 1;
        }
    }

    /// Step 4: the reordering window in microseconds. Without a sign of reordering there is none once a recovery has
    /// begun or `proven`, that is, three segments lie behind a hole.
    pub(crate) fn window(&self, proven: bool, min_rtt: u32, srtt: u32) -> u32 {
        if !self.reordering_seen && proven || min_rtt == u32::MAX {
            return 0;
        }
        ((min_rtt >> 2).saturating_mul(u32::from(self.quarters))).min(srtt)
    }

    /// Step 5: declares lost what was sent before the last delivered one, longer than a round trip and `window` ago.
    pub(crate) fn detect(&self, board: &mut Scoreboard, now_us: u32, window: u32) -> Verdict {
        let mut verdict = Verdict::default();
        if !self.is_known {
            return verdict;
        }
        let last = Delivered { sent_at: self.xmit_ts, end: self.end_seq };
        board.change_all(|_, span| {
            let is_under_way = !span.fate.contains(Fate::SACKED)
                && (!span.fate.contains(Fate::LOST) || span.fate.contains(Fate::RESENT));
            if !is_under_way || !last.is_sent_after(span.sent_at, span.end) {
                return;
            }
            match self.remaining(span, now_us, window) {
                0 => {
                    verdict.lost = true;
                    verdict.lost_again |= span.fate.contains(Fate::RESENT);
                    span.fate = span.fate.difference(Fate::RESENT) | Fate::LOST;
                }
                wait_us => verdict.wait_us = verdict.wait_us.max(wait_us),
            }
        });
        verdict
    }

    /// How long until a span may be called lost, in microseconds.
    pub(crate) const fn remaining(&self, span: &Span, now_us: u32, window: u32) -> u32 {
        let age = now_us.wrapping_sub(span.sent_at);
        self.rtt.saturating_add(window).saturating_sub(age)
    }
}

#[cfg(test)]
mod tests {
    use super::super::scoreboard::Board;
    use super::*;

    const UNA: SeqNumber = SeqNumber(u32::MAX - 2_500);

    /// Ten segments of 1,000 bytes, one every 100 µs from 1,000 µs on.
    fn board() -> Board<46> {
        let mut board = Board::<46>::new(UNA);
        for segment in 1..=10u32 {
            board.sent(UNA + segment * 1_000, 1_000 + segment * 100, 0);
        }
        board
    }

    fn sack(board: &mut Scoreboard, from: u32, to: u32) {
        board.change(UNA + from, UNA + to, |_, span| span.fate = Fate::SACKED);
    }

    fn lost(board: &Scoreboard) -> u32 {
        board.lost()
    }

    #[test]
    fn what_was_sent_before_the_last_delivered_is_lost_after_a_round_trip_and_the_window() {
        let mut rack = Rack::new(UNA);
        let mut board = board();
        // The fifth, sent at 1,500, arrives at 11,500.
        sack(&mut board, 4_000, 5_000);
        rack.on_delivered(Delivered { sent_at: 1_500, end: UNA + 5_000 }, 11_500);
        let verdict = rack.detect(&mut board, 11_500, 2_500);
        // The fourth was sent at 1,400: a round trip of 10,000 and 2,500 more end at 13,900.
        assert_eq!(verdict, Verdict { lost: false, lost_again: false, wait_us: 2_400 });
        let verdict = rack.detect(&mut board, 13_750, 2_500);
        assert_eq!((lost(&board), verdict.wait_us), (2_000, 150));
        assert!(rack.detect(&mut board, 13_900, 2_500).lost);
        // What was sent after the fifth is not in question, however late it is.
        rack.detect(&mut board, 1_000_000, 2_500);
        assert_eq!(lost(&board), 4_000);
    }

    #[test]
    fn of_one_turn_the_order_is_that_of_the_sequence_numbers() {
        let mut rack = Rack::new(UNA);
        let mut board = Board::<46>::new(UNA);
        board.sent(UNA + 10_000, 1_000, 0);
        sack(&mut board, 4_000, 5_000);
        rack.on_delivered(Delivered { sent_at: 1_000, end: UNA + 5_000 }, 11_000);
        rack.detect(&mut board, 11_000, 0);
        assert_eq!(lost(&board), 4_000);
    }

    #[test]
    fn a_lost_retransmission_is_lost_again() {
        let mut rack = Rack::new(UNA);
        let mut board = board();
        sack(&mut board, 4_000, 5_000);
        rack.on_delivered(Delivered { sent_at: 1_500, end: UNA + 5_000 }, 11_500);
        rack.detect(&mut board, 11_500, 0);
        board.resent(UNA, UNA + 1_000, 11_500, 0);
        board.resent(UNA + 1_000, UNA + 2_000, 11_600, 0);
        assert_eq!((board.lost(), board.pipe()), (4_000, 7_000));
        // The second repetition arrives, the first does not.
        sack(&mut board, 1_000, 2_000);
        rack.on_delivered(Delivered { sent_at: 11_600, end: UNA + 2_000 }, 21_600);
        let verdict = rack.detect(&mut board, 21_600, 0);
        assert!(verdict.lost && verdict.lost_again);
        assert_eq!(board.next_lost(), Some((UNA, UNA + 1_000)));
    }

    #[test]
    fn the_window_is_a_quarter_and_grows_with_d_sacks_for_sixteen_recoveries() {
        let mut rack = Rack::new(UNA);
        assert_eq!(rack.window(false, 8_000, 10_000), 2_000);
        assert_eq!(rack.window(true, 8_000, 10_000), 0);
        rack.note_order(UNA + 2_000, false);
        rack.note_order(UNA + 1_000, true);
        assert_eq!(rack.window(true, 8_000, 10_000), 0, "a repetition that fills a hole is in its place");
        rack.note_order(UNA + 1_000, false);
        assert_eq!(rack.window(true, 8_000, 10_000), 2_000);
        for _ in 0..3 {
            // Of one round trip: once.
            rack.on_dsack(UNA, UNA + 5_000);
        }
        assert_eq!(rack.window(true, 8_000, 10_000), 4_000);
        rack.on_dsack(UNA + 5_000, UNA + 9_000);
        assert_eq!(rack.window(true, 8_000, 10_000), 6_000);
        for _ in 0..10 {
            rack.on_dsack(UNA + 20_000, UNA + 20_000);
        }
        assert_eq!(rack.window(true, 8_000, 10_000), 10_000, "never more than a round trip");
        for _ in 0..15 {
            rack.on_recovered();
        }
        assert_eq!(rack.window(true, 8_000, 10_000), 10_000);
        rack.on_recovered();
        assert_eq!(rack.window(true, 8_000, 10_000), 2_000);
    }
}
