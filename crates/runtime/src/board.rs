//! How a core's counters get to whoever wants to see them, without the core ever waiting.
//!
//! A core writes its counters into a [`Board`] of its own about every 100 ms, off the data path; readers copy
//! them out. The board is a sequence lock over atomic words with one writer: the sequence is odd while the
//! writer is at work, and a reader that saw it odd, or saw it change, reads once more.
//!
//! ```text
//!   writer                          reader
//!   sequence = odd                  s = sequence (Acquire)
//!   ---- Release fence ----         words, one by one
//!   words, one by one               ---- Acquire fence ----
//!   sequence = even (Release)       again if s is odd or sequence != s
//! ```
//!
//! The words are plain numbers at fixed places; their names are agreed on once, when the board is made.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use freeway_base::{Duration, Instant};

use crate::stats::{CoreStats, Tally};

/// How often a core publishes.
pub(crate) const PERIOD: Duration = Duration::from_millis(100);

/// The last published counters of one core.
pub(crate) struct Board {
    /// Group and counter names, in the order of the words.
    names: CoreStats,
    sequence: AtomicU64,
    words: Box<[AtomicU64]>,
}

impl Board {
    /// A board for counters of the kind that `tally` reports, showing its present values.
    pub(crate) fn new(core: u32, tally: &impl Tally) -> Self {
        let names = CoreStats::collect(core, Instant::ZERO, tally);
        let mut values = Vec::new();
        names.for_each_word(|word| values.push(AtomicU64::new(word)));
        Self { names, sequence: AtomicU64::new(0), words: values.into() }
    }

    /// Publishes the present values. Only the board's own core may call this.
    pub(crate) fn publish(&self, now: Instant, tally: &impl Tally) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        let mut places = self.words.iter();
        CoreStats::for_each_value(now, tally, |value| {
            if let Some(place) = places.next() {
                place.store(value, Ordering::Relaxed);
            }
        });
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// The values published last, all from one moment.
    pub(crate) fn read(&self) -> CoreStats {
        let mut stats = self.names.clone();
        loop {
            let before = self.sequence.load(Ordering::Acquire);
            if before.is_multiple_of(2) {
                let mut places = self.words.iter();
                stats.fill(|| places.next().map_or(0, |place| place.load(Ordering::Relaxed)));
                fence(Ordering::Acquire);
                if self.sequence.load(Ordering::Relaxed) == before {
                    return stats;
                }
            }
            // The writer needs less than a microsecond, unless it lost its CPU; then this reader lends it one.
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::stage::{Bursts, Stages};
    use crate::stats::Visit;

    /// Counters that all hold the same number.
    struct Same(u64);

    impl Tally for Same {
        fn stages(&self) -> Stages {
            Stages { busy: [self.0; 6], idle: self.0 }
        }

        fn bursts(&self) -> Bursts {
            Bursts { counts: [self.0; 65] }
        }

        fn visit(&self, visit: &mut Visit<'_>) {
            visit("left", &mut [("one", self.0)].into_iter());
            visit("right", &mut [("one", self.0), ("two", self.0)].into_iter());
        }
    }

    #[test]
    fn what_is_published_is_read_back_by_name() {
        let board = Board::new(3, &Same(1));
        assert_eq!(board.read().get("left", "one"), Some(1));
        board.publish(Instant::from_secs(5), &Same(7));
        let stats = board.read();
        assert_eq!((stats.core, stats.at), (3, Instant::from_secs(5)));
        assert_eq!(stats.get("right", "two"), Some(7));
        assert_eq!(stats.get("right", "three"), None);
        assert_eq!(stats.stages.idle, 7);
        assert_eq!(stats.bursts.counts[64], 7);
    }

    #[test]
    fn a_reader_never_sees_two_moments_at_once() {
        let board = Board::new(0, &Same(0));
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for value in 1..50_000 {
                    board.publish(Instant::from_nanos(value), &Same(value));
                }
                done.store(true, Ordering::Relaxed);
            });
            let mut last = 0;
            while !done.load(Ordering::Relaxed) {
                let stats = board.read();
                let value = stats.at.as_nanos();
                assert!(value >= last);
                last = value;
                assert_eq!(stats.stages.busy, [value; 6]);
                assert_eq!(stats.get("right", "two"), Some(value));
            }
        });
        assert_eq!(board.read().get("left", "one"), Some(49_999));
    }
}
