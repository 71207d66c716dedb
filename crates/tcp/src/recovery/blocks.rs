//! Which SACK blocks to believe (RFC 2018, section 8; RFC 2883, section 4).
//!
//! A peer, or somebody who guesses, may say anything. A block counts if it lies within what is in flight; the first may
//! instead be a duplicate report. Everything else is ignored, and counted unless it is merely late.

use freeway_wire::tcp::{SackBlocks, SeqNumber};

/// A run of sequence numbers, from the first to the one behind the last.
pub(crate) type Block = (SeqNumber, SeqNumber);

/// What an acknowledgment's SACK option says, as far as it can be true.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Blocks {
    /// What has arrived, in ascending order.
    blocks: [Option<Block>; SackBlocks::MAX],
    /// What has arrived twice.
    pub(crate) duplicate: Option<Block>,
    /// Whether something in it cannot be.
    pub(crate) has_lies: bool,
}

impl Blocks {
    /// Sorts out the blocks of an acknowledgment `ack`, `snd_una` being what it has made of SND.UNA, and `window` the
    /// longest that a duplicate report may come too late.
    pub(crate) fn new(
        option: &SackBlocks,
        ack: SeqNumber,
        snd_una: SeqNumber,
        snd_nxt: SeqNumber,
        window: u32,
    ) -> Self {
        let mut blocks = Self::default();
        let mut option = option.as_slice();
        if let [first, rest @ ..] = option
            && is_duplicate_report(*first, rest.first(), ack)
        {
            let (from, to) = *first;
            let is_recent =
                from.is_before(to) && to.is_at_or_before(snd_nxt) && from.is_at_or_after(snd_una - window);
            blocks.duplicate = is_recent.then_some(*first);
            blocks.has_lies |= !is_recent;
            option = rest;
        }
        for (place, &(from, to)) in blocks.blocks.iter_mut().zip(option) {
            if from.is_at_or_after(snd_una) && from.is_before(to) && to.is_at_or_before(snd_nxt) {
                *place = Some((from, to));
            } else {
                // An acknowledgment that was overtaken reports what has been acknowledged since.
                let is_late = ack.is_before(snd_una) && from.is_before(to) && to.is_at_or_before(snd_una);
                blocks.has_lies |= !is_late;
            }
        }
        blocks.blocks.sort_unstable_by_key(|block| block.map(|(from, _)| from.distance_from(snd_una)));
        blocks
    }

    /// What has arrived, in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Block> {
        self.blocks.iter().flatten().copied()
    }
}

/// RFC 2883, section 4: the first block lies below the acknowledgment number, or within the second.
fn is_duplicate_report((from, to): Block, second: Option<&Block>, ack: SeqNumber) -> bool {
    let is_acknowledged = from.is_before(ack);
    let is_within = second.is_some_and(|&(outer_from, outer_to)| {
        from.is_at_or_after(outer_from) && to.is_at_or_before(outer_to)
    });
    is_acknowledged || is_within
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNA: SeqNumber = SeqNumber(u32::MAX - 4_000);

    /// Blocks that count, a duplicate report, and whether there were lies.
    type Sorted = (std::vec::Vec<(u32, u32)>, Option<(i32, i32)>, bool);

    fn sorted_out(ack: u32, blocks: &[(i32, i32)]) -> Sorted {
        let at = |offset: i32| UNA + offset as u32;
        let option: SackBlocks = blocks.iter().map(|&(from, to)| (at(from), at(to))).collect();
        let found = Blocks::new(&option, UNA + ack, UNA, UNA + 10_000, 65_536);
        let offset = |seq: SeqNumber| seq.0.wrapping_sub(UNA.0);
        let kept = found.iter().map(|(from, to)| (offset(from), offset(to))).collect();
        let duplicate = found.duplicate.map(|(from, to)| (offset(from) as i32, offset(to) as i32));
        (kept, duplicate, found.has_lies)
    }

    #[test]
    fn blocks_within_the_flight_count_and_are_put_in_order() {
        let (kept, duplicate, lies) = sorted_out(0, &[(7_000, 8_000), (1_000, 2_000), (9_000, 10_000)]);
        assert_eq!(
            (kept, duplicate, lies),
            ([(1_000, 2_000), (7_000, 8_000), (9_000, 10_000)].into(), None, false)
        );
    }

    #[test]
    fn what_was_never_sent_or_is_no_run_is_a_lie() {
        for lie in [(9_000, 10_001), (20_000, 21_000), (5_000, 5_000), (6_000, 5_000)] {
            let (kept, duplicate, lies) = sorted_out(0, &[(1_000, 2_000), lie]);
            assert_eq!((kept.len(), duplicate, lies), (1, None, true), "{lie:?}");
        }
    }

    #[test]
    fn the_first_block_below_the_acknowledgment_is_a_duplicate_report() {
        assert_eq!(sorted_out(0, &[(-2_000, -1_000)]), ([].into(), Some((-2_000, -1_000)), false));
        let (kept, duplicate, _) = sorted_out(0, &[(-2_000, -1_000), (3_000, 4_000)]);
        assert_eq!((kept.len(), duplicate), (1, Some((-2_000, -1_000))));
        // Longer ago than any window.
        assert_eq!(sorted_out(0, &[(-100_000, -99_000)]), ([].into(), None, true));
    }

    #[test]
    fn the_first_block_within_the_second_is_a_duplicate_report() {
        let (kept, duplicate, lies) = sorted_out(0, &[(3_500, 4_000), (3_000, 5_000)]);
        assert_eq!((kept, duplicate, lies), ([(3_000, 5_000)].into(), Some((3_500, 4_000)), false));
    }

    #[test]
    fn an_overtaken_acknowledgment_is_late_but_no_lie() {
        // Its acknowledgment number lies before SND.UNA, and so do its blocks.
        let option: SackBlocks =
            [(UNA - 3_000, UNA - 2_000), (UNA - 1_500, UNA - 1_000)].into_iter().collect();
        let found = Blocks::new(&option, UNA - 4_000, UNA, UNA + 10_000, 65_536);
        assert_eq!((found.iter().count(), found.duplicate, found.has_lies), (0, None, false));
    }
}
