//! One direction of a bad network: from entering a frame to its delivery, without a port.
//!
//! ```text
//!              lost?      flip a bit?   twice?       rate, queue           delay, jitter
//!   enter ──► ───────► ─────────────► ────────► [ departures ... ] ──► [ line, by due time ] ──► deliver
//!                                                                  └─► [ held, to be overtaken ]┘
//! ```

use std::collections::VecDeque;

use freeway_base::{Instant, Rng};
use freeway_mem::PacketFlags;

use super::config::{FaultConfig, FaultCounters};
use super::dice::Dice;

/// Frames under way at most, whatever the faults: beyond them the sender meets back-pressure.
const UNDER_WAY_MAX: usize = 1 << 16;

/// A frame under way. A cable holds none of its sender's buffers, so the bytes are a copy.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
    pub(super) flags: PacketFlags,
    due: Instant,
}

/// A frame that is being overtaken.
#[derive(Debug)]
struct Held {
    frame: Frame,
    /// Frames that are still to overtake it; none if only time lets it go.
    overtakers_left: Option<u32>,
}

/// One direction. Its clock is what its caller says.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) config: FaultConfig,
    pub(super) counters: FaultCounters,
    rng: Rng,
    /// The last frame was lost in a burst that goes on.
    in_burst: bool,
    /// When the frames before the link will have left, soonest first.
    departures: VecDeque<Instant>,
    /// Frames in order of delivery; due times never fall.
    line: VecDeque<Frame>,
    held: Vec<Held>,
    /// Buffers of frames that were delivered, to be used again.
    spare: Vec<Vec<u8>>,
}

impl Lane {
    pub(super) fn new(config: FaultConfig, rng: Rng) -> Self {
        Self {
            config,
            counters: FaultCounters::default(),
            rng,
            in_burst: false,
            departures: VecDeque::new(),
            line: VecDeque::new(),
            held: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Whether no frame may enter now.
    pub(super) fn is_full(&self) -> bool {
        self.under_way() >= UNDER_WAY_MAX
    }

    pub(super) fn under_way(&self) -> usize {
        self.line.len() + self.held.len()
    }

    /// When the next frame is to be delivered.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let held = self.held.iter().map(|held| held.frame.due).min();
        self.line.front().map(|frame| frame.due).into_iter().chain(held).min()
    }

    /// A frame enters; the faults decide whether, when and how often it will be delivered.
    pub(super) fn enter(&mut self, now: Instant, bytes: &[u8], flags: PacketFlags) {
        let config = self.config;
        let dice = Dice::throw(&mut self.rng);
        self.counters.entered += 1;
        if dice.is_lost(&config) {
            self.counters.lost += 1;
            return;
        }
        if dice.is_lost_in_burst(&config, &mut self.in_burst) {
            self.counters.lost_in_burst += 1;
            return;
        }
        let mut bytes = self.copy(bytes);
        let mut flags = flags.of_copy();
        if dice.corrupt(&config, &mut bytes) {
            self.counters.corrupted += 1;
            flags = PacketFlags::empty();
        }
        if dice.is_duplicated(&config) {
            self.counters.duplicated += 1;
            let copy = self.copy(&bytes);
            self.travel(now, &dice, bytes, flags);
            if let Some(departs) = self.depart(now, copy.len()) {
                self.line_up(Frame { bytes: copy, flags, due: departs + dice.delay_of_copy(&config) });
            }
        } else {
            self.travel(now, &dice, bytes, flags);
        }
    }

    /// A frame goes over the link and takes its time, in line or behind it.
    fn travel(&mut self, now: Instant, dice: &Dice, bytes: Vec<u8>, flags: PacketFlags) {
        let Some(departs) = self.depart(now, bytes.len()) else { return };
        let due = departs + dice.delay(&self.config);
        if dice.is_reordered(&self.config) {
            self.counters.reordered += 1;
            let distance = self.config.reorder_distance;
            let frame = Frame { bytes, flags, due: due + self.config.reorder_delay };
            self.held.push(Held { frame, overtakers_left: (distance > 0).then_some(distance) });
        } else {
            self.line_up(Frame { bytes, flags, due });
        }
    }

    /// When a frame of `len` bytes has left over the link. `None`, and counted, when the queue before it is full.
    fn depart(&mut self, now: Instant, len: usize) -> Option<Instant> {
        if self.config.rate_bits_per_sec == 0 {
            return Some(now);
        }
        while self.departures.front().is_some_and(|&departure| departure <= now) {
            self.departures.pop_front();
        }
        if self.config.queue_frames > 0 && self.departures.len() >= self.config.queue_frames {
            self.counters.dropped_queue_full += 1;
            return None;
        }
        let free = self.departures.back().copied().unwrap_or(now);
        let departs = free + self.config.serialization(len);
        self.departures.push_back(departs);
        Some(departs)
    }

    fn line_up(&mut self, mut frame: Frame) {
        if let Some(last) = self.line.back() {
            frame.due = frame.due.max(last.due);
        }
        self.line.push_back(frame);
    }

    /// The next frame that is due at `now`. [`Lane::recycle`] wants it back.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Frame> {
        let line_due = self.line.front().map(|frame| frame.due);
        if let Some(place) = self.released(now, line_due) {
            return Some(self.held.remove(place).frame);
        }
        if line_due? > now {
            return None;
        }
        let overtaker = self.line.pop_front()?;
        for held in &mut self.held {
            held.overtakers_left = held.overtakers_left.map(|left| left.saturating_sub(1));
            if held.overtakers_left == Some(0) {
                held.frame.due = held.frame.due.min(overtaker.due);
            }
        }
        Some(overtaker)
    }

    /// The place of a held frame that goes before the line's next one: overtaken often enough, or its time is up and
    /// was up before that one's.
    fn released(&self, now: Instant, line_due: Option<Instant>) -> Option<usize> {
        let overtaken = self.held.iter().position(|held| held.overtakers_left == Some(0));
        overtaken.or_else(|| {
            let (place, soonest) = self.held.iter().enumerate().min_by_key(|(_, held)| held.frame.due)?;
            let due = soonest.frame.due;
            (due <= now && line_due.is_none_or(|line_due| due < line_due)).then_some(place)
        })
    }

    /// A frame that was due and found no room: it is the next one again.
    pub(super) fn put_back(&mut self, now: Instant, bytes: &[u8], flags: PacketFlags) {
        let bytes = self.copy(bytes);
        let due = self.line.front().map_or(now, |first| first.due.min(now));
        self.line.push_front(Frame { bytes, flags, due });
    }

    /// Keeps a delivered frame's memory for another one.
    pub(super) fn recycle(&mut self, frame: Frame) {
        if self.spare.len() < 1_024 {
            self.spare.push(frame.bytes);
        }
    }

    fn copy(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut copy = self.spare.pop().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(bytes);
        copy
    }
}

#[cfg(test)]
mod tests;
