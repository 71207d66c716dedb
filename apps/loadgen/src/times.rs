//! When the requests under way on each connection were meant to be sent.
//!
//! Answers come in the order of their requests, so each connection has a queue of times. One request at a time needs
//! no more than a word of the connection's own state; more need a row of a table that is laid out at start.

use freeway::Instant;

/// The queues of all connections.
#[derive(Clone, Debug)]
pub struct Times {
    depth: u32,
    rows: Box<[u64]>,
}

/// A connection's own part of its queue: its only time, or the first place and the number of those in its row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Queue(u64);

impl Queue {
    /// Whether no request is under way.
    #[inline]
    pub const fn is_empty(self, times: &Times) -> bool {
        self.len(times) == 0
    }

    /// How many requests are under way.
    #[inline]
    pub const fn len(self, times: &Times) -> u32 {
        if times.depth == 1 { (self.0 != 0) as u32 } else { self.0 as u32 }
    }
}

impl Times {
    /// Room for `depth` requests on each of `connections`; 8 bytes for each request if there is more than one.
    pub fn new(connections: u32, depth: u32) -> Self {
        let rows = if depth > 1 { connections as usize * depth as usize } else { 0 };
        Self { depth: depth.max(1), rows: vec![0; rows].into() }
    }

    /// Requests that may be under way on one connection.
    pub const fn depth(&self) -> u32 {
        self.depth
    }

    fn slot(&mut self, row: u32, place: u64) -> Option<&mut u64> {
        let depth = self.depth as usize;
        let place = place as usize;
        let place = if place < depth { place } else { place - depth };
        self.rows.get_mut(row as usize * depth + place)
    }

    /// Adds a request to the queue of the connection that has `row`. False when it has as many as there may be.
    #[inline]
    pub fn push(&mut self, row: u32, queue: &mut Queue, at: Instant) -> bool {
        let nanos = at.as_nanos().max(1);
        let len = queue.len(self);
        if len >= self.depth {
            return false;
        }
        if self.depth == 1 {
            queue.0 = nanos;
            return true;
        }
        let first = queue.0 >> 32;
        let Some(slot) = self.slot(row, first + u64::from(len)) else { return false };
        *slot = nanos;
        queue.0 += 1;
        true
    }

    /// Takes the time of the request that was answered; `None` if none was under way.
    #[inline]
    pub fn pop(&mut self, row: u32, queue: &mut Queue) -> Option<Instant> {
        let len = queue.len(self);
        if len == 0 {
            return None;
        }
        if self.depth == 1 {
            return Some(Instant::from_nanos(core::mem::take(&mut queue.0)));
        }
        let first = queue.0 >> 32;
        let nanos = *self.slot(row, first)?;
        let next = if first + 1 < u64::from(self.depth) { first + 1 } else { 0 };
        queue.0 = next << 32 | u64::from(len - 1);
        Some(Instant::from_nanos(nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn rows_are_queues() {
        for depth in [1, 2, 3, 16] {
            let mut times = Times::new(3, depth);
            let mut queues = [Queue::default(); 3];
            let mut models = [const { VecDeque::new() }; 3];
            let mut random = 1u32;
            for step in 1..10_000 {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let row = (random >> 8) % 3;
                let (queue, model) = (&mut queues[row as usize], &mut models[row as usize]);
                if random >> 31 == 0 {
                    let at = Instant::from_nanos(step);
                    let pushed = times.push(row, queue, at);
                    assert_eq!(pushed, model.len() < depth as usize);
                    if pushed {
                        model.push_back(at);
                    }
                } else {
                    assert_eq!(times.pop(row, queue), model.pop_front());
                }
                assert_eq!(queue.len(&times) as usize, model.len());
                assert_eq!(queue.is_empty(&times), model.is_empty());
            }
        }
    }
}
