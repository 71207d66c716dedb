//! Where a core's cycles go.
//!
//! [`Core::poll`](crate::Core::poll) reads the cycle counter at each border between two stages: a few
//! nanoseconds a border, paid once for a whole burst. Cycles of turns that found nothing to do are kept apart,
//! or polling an empty queue would look like the price of a packet.

use freeway_mem::arch;
use freeway_mem::burst::BURST;

/// The stages of a turn, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Stage {
    /// Taking frames from ports and mailboxes, handing foreign ones over.
    Rx,
    /// Headers, demultiplexing, TCP.
    Input,
    /// Timers that are due, and what somebody asked to see.
    Timers,
    /// The application's events.
    App,
    /// Writing the frames of connections that have something to send.
    Output,
    /// Giving frames to the ports.
    Tx,
}

impl Stage {
    /// How many stages there are.
    pub const COUNT: usize = 6;
    /// All of them, in order.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Rx, Self::Input, Self::Timers, Self::App, Self::Output, Self::Tx];

    /// The stage's name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rx => "rx",
            Self::Input => "input",
            Self::Timers => "timers",
            Self::App => "app",
            Self::Output => "output",
            Self::Tx => "tx",
        }
    }
}

/// Cycles by stage, since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stages {
    /// Cycles of turns that did something, indexed by [`Stage`].
    pub busy: [u64; Stage::COUNT],
    /// Cycles of turns that found nothing to do, all stages together.
    pub idle: u64,
}

impl Stages {
    /// Cycles that busy turns spent in `stage`.
    pub const fn of(&self, stage: Stage) -> u64 {
        self.busy[stage as usize]
    }

    /// Cycles of all busy turns.
    pub fn total(&self) -> u64 {
        self.busy.iter().sum()
    }

    /// Books the laps of one turn.
    #[inline]
    pub(crate) fn book(&mut self, watch: &Stopwatch, busy: bool) {
        if busy {
            for (sum, lap) in self.busy.iter_mut().zip(watch.laps) {
                *sum += lap;
            }
        } else {
            self.idle += watch.laps.iter().sum::<u64>();
        }
    }
}

/// Splits one turn into laps.
pub(crate) struct Stopwatch {
    last: u64,
    laps: [u64; Stage::COUNT],
}

impl Stopwatch {
    #[inline]
    pub(crate) fn start() -> Self {
        Self { last: arch::cycles(), laps: [0; Stage::COUNT] }
    }

    /// Charges everything since the last border to `stage`.
    #[inline]
    pub(crate) fn lap(&mut self, stage: Stage) {
        let now = arch::cycles();
        self.laps[stage as usize] += now.wrapping_sub(self.last);
        self.last = now;
    }
}

/// How large the bursts were that a core took: how many times it found 1, 2, ... 64 frames.
///
/// A busy core's bursts grow by themselves; the histogram shows whether it has slack (small bursts) or runs at
/// its limit (bursts of 64).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bursts {
    /// `counts[n]` is how many bursts of `n` frames there were; `counts[0]` stays zero.
    pub counts: [u64; BURST + 1],
}

impl Default for Bursts {
    fn default() -> Self {
        Self { counts: [0; BURST + 1] }
    }
}

impl Bursts {
    /// Counts a burst and returns its size; no frames are no burst.
    #[inline]
    pub(crate) fn note(&mut self, frames: usize) -> usize {
        if frames > 0
            && let Some(count) = self.counts.get_mut(frames)
        {
            *count += 1;
        }
        frames
    }

    /// All bursts.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All frames in them.
    pub fn frames(&self) -> u64 {
        self.counts.iter().zip(0u64..).map(|(count, frames)| count * frames).sum()
    }

    /// The mean size of a burst in frames; zero before the first.
    pub fn mean(&self) -> f64 {
        match self.total() {
            0 => 0.0,
            total => self.frames() as f64 / total as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_the_order_of_the_stages() {
        for (index, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, index);
            assert!(!stage.name().is_empty());
        }
    }

    #[test]
    fn idle_turns_are_booked_apart() {
        let mut stages = Stages::default();
        let watch = Stopwatch { last: 0, laps: [1, 2, 3, 4, 5, 6] };
        stages.book(&watch, true);
        stages.book(&watch, false);
        assert_eq!(stages, Stages { busy: [1, 2, 3, 4, 5, 6], idle: 21 });
        assert_eq!(stages.of(Stage::App), 4);
        assert_eq!(stages.total(), 21);
    }

    #[test]
    fn bursts_are_counted_by_size() {
        let mut bursts = Bursts::default();
        for frames in [0, 1, 1, 64] {
            bursts.note(frames);
        }
        assert_eq!((bursts.total(), bursts.frames()), (3, 66));
        assert!((bursts.mean() - 22.0).abs() < f64::EPSILON);
    }
}
