//! One direction of the path: frames go in now and come out when they have arrived, or never.
//!
//! The order of events for a frame: named for dropping, lost, lost in a burst, corrupted, doubled; then each copy waits
//! for the line (or overflows its queue), travels, and is held back if it is to be overtaken.
//!
//! Each fault has a generator of its own, thrown for every frame whatever else becomes of it, so that switching one
//! fault on does not move another's decisions.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use freeway_base::{Duration, Instant, Rng, Seed};

use super::config::Impairment;

freeway_base::counters! {
    /// What happened to the frames of one direction.
    pub struct Counts {
        /// Frames that came in.
        received,
        /// Frames handed on, duplicates included.
        delivered,
        /// Frames lost by themselves.
        lost,
        /// Frames lost in bursts.
        lost_in_burst,
        /// Frames dropped because their number was named.
        dropped_nth,
        /// Frames that found the line's queue full.
        dropped_queue_full,
        /// Frames that went on twice.
        duplicated,
        /// Frames with a flipped bit.
        corrupted,
        /// Frames held back.
        reordered,
    }
}

/// The Ethernet header: corruption leaves it alone, for a flipped address shows as loss, not as corruption.
const HEADER_LENGTH: usize = 14;

/// A frame under way, ordered by when it arrives and then by when it came in.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    due: Instant,
    serial: u64,
    frame: Vec<u8>,
}

/// One generator a fault.
struct Dice {
    loss: Rng,
    burst: Rng,
    duplicate: Rng,
    corrupt: Rng,
    reorder: Rng,
    jitter: Rng,
}

/// What the dice say of one frame.
struct Fate {
    is_lost: bool,
    is_in_burst: bool,
    /// Which bit of the frame arrives wrong.
    flipped_bit: Option<usize>,
    is_doubled: bool,
    is_held_back: bool,
    /// How much later than the path's delay it arrives.
    jitter: Duration,
}

/// One direction of an impaired path.
pub struct Impairer {
    config: Impairment,
    dice: Dice,
    counts: Counts,
    in_burst: bool,
    /// When the line has sent all that waits for it.
    line_free: Instant,
    /// The latest arrival of a frame that keeps its place: none that follows arrives before it.
    last_in_order: Instant,
    serial: u64,
    under_way: BinaryHeap<Reverse<UnderWay>>,
}

impl Impairer {
    /// A path that does what `config` says, by chances drawn from `seed`.
    pub fn new(config: Impairment, seed: Seed) -> Self {
        let mut rng = Rng::new(seed);
        let dice = Dice {
            loss: rng.fork(),
            burst: rng.fork(),
            duplicate: rng.fork(),
            corrupt: rng.fork(),
            reorder: rng.fork(),
            jitter: rng.fork(),
        };
        Self {
            config,
            dice,
            counts: Counts::default(),
            in_burst: false,
            line_free: Instant::ZERO,
            last_in_order: Instant::ZERO,
            serial: 0,
            under_way: BinaryHeap::new(),
        }
    }

    /// A frame enters the path at `now`.
    pub fn push(&mut self, now: Instant, frame: &[u8]) {
        self.counts.received += 1;
        let fate = self.draw_fate(frame.len());
        if self.config.drop_nth.contains(&self.counts.received) {
            self.counts.dropped_nth += 1;
            return;
        }
        if fate.is_lost {
            self.counts.lost += 1;
            return;
        }
        if fate.is_in_burst {
            self.counts.lost_in_burst += 1;
            return;
        }
        let mut frame = frame.to_vec();
        if let Some(bit) = fate.flipped_bit {
            self.counts.corrupted += 1;
            frame[bit / 8] ^= 1 << (bit % 8);
        }
        if fate.is_doubled {
            self.counts.duplicated += 1;
            self.send(now, frame.clone(), &fate);
        }
        self.send(now, frame, &fate);
    }

    /// A frame that has arrived by `now`, the earliest first.
    pub fn pop(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.next_due()? > now {
            return None;
        }
        self.counts.delivered += 1;
        self.under_way.pop().map(|Reverse(arrived)| arrived.frame)
    }

    /// When the next frame arrives, if one is under way.
    pub fn next_due(&self) -> Option<Instant> {
        self.under_way.peek().map(|Reverse(next)| next.due)
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn draw_fate(&mut self, length: usize) -> Fate {
        Fate {
            is_lost: self.dice.loss.chance(self.config.loss),
            is_in_burst: self.step_burst(),
            flipped_bit: self.draw_flipped_bit(length),
            is_doubled: self.dice.duplicate.chance(self.config.duplicate),
            is_held_back: self.dice.reorder.chance(self.config.reorder),
            jitter: Duration::from_nanos(
                (self.dice.jitter.unit() * self.config.jitter.as_nanos() as f64) as u64,
            ),
        }
    }

    /// Whether this frame falls into a burst of losses: Gilbert's model, two states with a chance for each change.
    fn step_burst(&mut self) -> bool {
        let chance = self.dice.burst.unit();
        self.in_burst = if self.in_burst {
            chance >= 1.0 / self.config.burst_length.max(1.0)
        } else {
            chance < self.config.burst
        };
        self.in_burst
    }

    fn draw_flipped_bit(&mut self, length: usize) -> Option<usize> {
        let is_hit = self.dice.corrupt.chance(self.config.corrupt);
        let behind_header = u32::try_from(length.checked_sub(HEADER_LENGTH)? * 8).ok()?;
        let bit = self.dice.corrupt.below(behind_header) as usize;
        (is_hit && behind_header > 0).then_some(HEADER_LENGTH * 8 + bit)
    }

    /// Line, journey, and the hold that lets others overtake.
    fn send(&mut self, now: Instant, frame: Vec<u8>, fate: &Fate) {
        let Some(left_line) = self.pass_line(now, frame.len() as u64) else {
            self.counts.dropped_queue_full += 1;
            return;
        };
        let in_order = (left_line + self.config.delay + fate.jitter).max(self.last_in_order);
        let due = if fate.is_held_back {
            self.counts.reordered += 1;
            in_order + self.config.reorder_delay
        } else {
            self.last_in_order = in_order;
            in_order
        };
        self.serial += 1;
        self.under_way.push(Reverse(UnderWay { due, serial: self.serial, frame }));
    }

    /// When the line has sent `length` bytes more; none when they do not fit into its queue.
    fn pass_line(&mut self, now: Instant, length: u64) -> Option<Instant> {
        let Some(rate) = self.config.rate else { return Some(now) };
        let start = self.line_free.max(now);
        if start.since(now) + rate.time_of(length) > rate.time_of(self.config.queue_bytes) {
            return None;
        }
        self.line_free = start + rate.time_of(length);
        Some(self.line_free)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::Rate;
    use super::*;

    const FRAMES: u64 = 10_000;

    fn frame(number: u64) -> Vec<u8> {
        let mut frame = vec![0; 60];
        frame[20..28].copy_from_slice(&number.to_be_bytes());
        frame
    }

    fn number(frame: &[u8]) -> u64 {
        u64::from_be_bytes(frame[20..28].try_into().unwrap())
    }

    fn sent_at(number: u64) -> Instant {
        Instant::from_micros(100 * (number + 1))
    }

    /// Sends [`FRAMES`] frames 100 µs apart and returns when each arrival came, and what.
    fn carry(config: Impairment, seed: u64) -> (Vec<(Instant, Vec<u8>)>, Counts) {
        let mut path = Impairer::new(config, Seed(seed));
        let mut arrived = Vec::new();
        for index in 0..FRAMES {
            let now = sent_at(index);
            drain(&mut path, now, &mut arrived);
            path.push(now, &frame(index));
        }
        drain(&mut path, Instant::FAR_FUTURE, &mut arrived);
        (arrived, path.counts())
    }

    fn drain(path: &mut Impairer, until: Instant, arrived: &mut Vec<(Instant, Vec<u8>)>) {
        while let Some(due) = path.next_due().filter(|&due| due <= until) {
            assert_eq!(path.pop(due - Duration::from_nanos(1)), None, "a frame came early");
            arrived.push((due, path.pop(due).unwrap()));
        }
    }

    fn numbers(arrived: &[(Instant, Vec<u8>)]) -> Vec<u64> {
        arrived.iter().map(|(_, frame)| number(frame)).collect()
    }

    fn everything() -> Impairment {
        Impairment {
            loss: 0.05,
            burst: 0.01,
            duplicate: 0.05,
            corrupt: 0.05,
            reorder: 0.05,
            delay: Duration::from_millis(5),
            jitter: Duration::from_millis(1),
            rate: Some(Rate { bits_per_second: 4_000_000 }),
            queue_bytes: 600,
            drop_nth: vec![3],
            ..Impairment::default()
        }
    }

    #[test]
    fn the_default_hands_every_frame_on_at_once_and_in_order() {
        let (arrived, counts) = carry(Impairment::default(), 1);
        assert_eq!(numbers(&arrived), (0..FRAMES).collect::<Vec<_>>());
        assert!(arrived.iter().all(|(at, f)| *at == sent_at(number(f))));
        assert_eq!(counts, Counts { received: FRAMES, delivered: FRAMES, ..Counts::default() });
    }

    #[test]
    fn a_seed_repeats_exactly_and_seeds_differ() {
        let first = carry(everything(), 7);
        assert_eq!(first, carry(everything(), 7));
        assert_ne!(first.0, carry(everything(), 8).0);
    }

    #[test]
    fn every_frame_is_accounted_for() {
        let (arrived, counts) = carry(everything(), 7);
        let gone = counts.lost + counts.lost_in_burst + counts.dropped_nth + counts.dropped_queue_full;
        assert_eq!(counts.received + counts.duplicated, counts.delivered + gone);
        assert_eq!(counts.delivered, arrived.len() as u64);
        assert!(counts.iter().all(|(_, value)| value > 0), "{counts:?}");
    }

    #[test]
    fn losses_come_as_often_as_asked() {
        let (_, counts) = carry(Impairment { loss: 0.1, ..Impairment::default() }, 2);
        assert!((900..1_100).contains(&counts.lost), "{}", counts.lost);
    }

    #[test]
    fn switching_one_fault_on_does_not_move_another() {
        let lossy = Impairment { loss: 0.1, ..Impairment::default() };
        let also_late = Impairment { jitter: Duration::from_micros(50), duplicate: 0.1, ..lossy.clone() };
        let mut with_duplicates = numbers(&carry(also_late, 2).0);
        with_duplicates.dedup();
        assert_eq!(numbers(&carry(lossy, 2).0), with_duplicates);
    }

    #[test]
    fn bursts_have_the_length_asked_for() {
        let config = Impairment { burst: 0.01, burst_length: 5.0, ..Impairment::default() };
        let (arrived, counts) = carry(config, 3);
        let bursts = numbers(&arrived).windows(2).filter(|pair| pair[1] - pair[0] > 1).count() as f64;
        let mean = counts.lost_in_burst as f64 / bursts;
        assert!((4.0..6.0).contains(&mean), "{mean}");
    }

    #[test]
    fn named_frames_are_dropped_and_no_others() {
        let (arrived, counts) = carry(Impairment { drop_nth: vec![1, 5], ..Impairment::default() }, 4);
        assert_eq!(&numbers(&arrived)[..5], [1, 2, 3, 5, 6]);
        assert_eq!(counts.dropped_nth, 2);
    }

    #[test]
    fn duplicates_follow_their_original() {
        let (arrived, counts) = carry(Impairment { duplicate: 0.1, ..Impairment::default() }, 5);
        let pairs = numbers(&arrived).windows(2).filter(|pair| pair[0] == pair[1]).count() as u64;
        assert_eq!(pairs, counts.duplicated);
        assert!((900..1_100).contains(&pairs), "{pairs}");
    }

    #[test]
    fn corruption_flips_one_bit_behind_the_header() {
        let (arrived, counts) = carry(Impairment { corrupt: 0.1, ..Impairment::default() }, 6);
        let flipped = |(index, (_, got)): (usize, &(Instant, Vec<u8>))| {
            let sent = frame(index as u64);
            assert_eq!(got[..14], sent[..14]);
            u64::from(got.iter().zip(&sent).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>())
        };
        let bits: Vec<u64> = arrived.iter().enumerate().map(flipped).collect();
        assert!(bits.iter().all(|&count| count <= 1));
        assert_eq!(bits.iter().sum::<u64>(), counts.corrupted);
        assert!((900..1_100).contains(&counts.corrupted), "{}", counts.corrupted);
        // A frame with no body has nothing to flip.
        let mut path = Impairer::new(Impairment { corrupt: 1.0, ..Impairment::default() }, Seed(1));
        path.push(Instant::ZERO, &[0; 14]);
        path.push(Instant::ZERO, &[0; 3]);
        assert_eq!(path.counts().corrupted, 0);
    }

    #[test]
    fn reordered_frames_are_overtaken_and_nothing_else_moves() {
        let (arrived, counts) = carry(Impairment { reorder: 0.05, ..Impairment::default() }, 7);
        // Held back for 2 ms at a frame every 100 µs: 20 frames overtake.
        let late = arrived.iter().filter(|(at, f)| at.since(sent_at(number(f))) > Duration::ZERO);
        assert_eq!(late.count() as u64, counts.reordered);
        let mut sorted = numbers(&arrived);
        assert!(!sorted.is_sorted());
        sorted.sort_unstable();
        assert_eq!(sorted, (0..FRAMES).collect::<Vec<_>>());
    }

    #[test]
    fn jitter_stays_within_its_span_and_keeps_the_order() {
        let (delay, jitter) = (Duration::from_millis(20), Duration::from_millis(1));
        let (arrived, _) = carry(Impairment { delay, jitter, ..Impairment::default() }, 8);
        assert!(numbers(&arrived).is_sorted());
        for (at, frame) in &arrived {
            let under_way = at.since(sent_at(number(frame)));
            assert!(under_way >= delay && under_way <= delay + jitter, "{under_way}");
        }
    }

    #[test]
    fn a_line_spaces_frames_and_its_queue_overflows() {
        // 60 bytes at 480 kbit/s take 1 ms; ten of them fit into the queue.
        let rate = Some(Rate { bits_per_second: 480_000 });
        let mut path = Impairer::new(Impairment { rate, queue_bytes: 600, ..Impairment::default() }, Seed(9));
        for index in 0..12 {
            path.push(Instant::ZERO, &frame(index));
        }
        let mut arrived = Vec::new();
        drain(&mut path, Instant::FAR_FUTURE, &mut arrived);
        let times: Vec<u64> = arrived.iter().map(|(at, _)| at.as_millis()).collect();
        assert_eq!(times, (1..=10).collect::<Vec<_>>());
        assert_eq!(path.counts().dropped_queue_full, 2);
    }
}
