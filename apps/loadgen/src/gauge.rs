//! What a load shows to its controller, and what the controller tells it.
//!
//! Counts are atomics that the load writes once a turn. Orders and latencies pass by a lock that the load takes only
//! when the controller has just changed something: never in the steady state.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::latency::Latencies;
use crate::pace::Rate;

/// What a load does with its connections, and beside them.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub enum Work {
    /// Nothing: connections are held.
    #[default]
    Hold,
    /// Requests on held connections.
    Requests(Requests),
    /// One request on every held connection, in order, `in_flight` at once. It is over when nothing is under way.
    Sweep {
        /// Requests under way at once.
        in_flight: u32,
    },
    /// Connections of their own that are opened, carry one request, and are closed, `under_way` at once, or at a rate.
    Churn {
        /// Connections under way at once, at most.
        under_way: u32,
        /// How often one is opened; as often as the bound above allows without it.
        rate: Option<Rate>,
    },
    /// Requests on the first `among` held connections, each when the last one there was answered, and beside them
    /// newcomers: connections that are opened at a rate, carry one request, and are closed.
    Mixed {
        /// Held connections that carry requests.
        among: u32,
        /// Newcomers under way at once, at most.
        under_way: u32,
        /// How often one is opened.
        rate: Rate,
    },
    /// So many connections of their own that send as fast as they may.
    Upload {
        /// How many.
        connections: u32,
    },
    /// So many connections of their own on which whatever comes is read.
    Download {
        /// How many.
        connections: u32,
    },
    /// Requests in datagrams.
    Datagrams {
        /// Requests under way at once, at most.
        in_flight: u32,
        /// How often one is sent; as often as the bound above allows without it.
        rate: Option<Rate>,
    },
}

/// Requests on held connections.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Requests {
    /// Only the first so many of the held connections carry them.
    pub among: u32,
    /// What brings the next one about.
    pub cause: Cause,
}

/// What brings the next request about.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub enum Cause {
    /// The last answer on the same connection, which has as many under way as its depth: a closed loop on few, hot
    /// connections.
    SameAnswered,
    /// Any answer, so that so many are under way, each on a connection drawn at random: a closed loop on connections
    /// as cold as the number of them makes them.
    AnyAnswered(u32),
    /// The time: an open loop, on connections drawn at random.
    Time(Rate),
}

/// Shared between one load, which writes the counts, and its controller, which gives orders.
#[derive(Clone, Debug, Default)]
pub struct Gauge {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    counts: [AtomicU64; Reading::COUNT],
    /// Held connections there should be.
    hold: AtomicU32,
    /// The number of the order given last.
    ordered: AtomicU64,
    /// The number of the order that the load follows.
    followed: AtomicU64,
    /// How often latencies were asked for, and handed over.
    asked: AtomicU64,
    handed: AtomicU64,
    order: Mutex<Work>,
    latencies: Mutex<Latencies>,
}

/// The counts at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Reading {
    /// Held connections that are established.
    pub open: u64,
    /// Connections established since the start, of any kind.
    pub opened: u64,
    /// Connections that ended otherwise than by the load's own wish.
    pub failed: u64,
    /// Requests answered since the start.
    pub answered: u64,
    /// Answers that were not what was asked for.
    pub wrong: u64,
    /// Values in answers, where answers have values.
    pub values: u64,
    /// Requests that were given up, or whose connection was, for want of an answer.
    pub timeouts: u64,
    /// Requests under way.
    pub in_flight: u64,
    /// Bytes of payload received.
    pub bytes_in: u64,
    /// Bytes of payload sent, or queued to be sent.
    pub bytes_out: u64,
    /// Connections opened, used and closed by both sides.
    pub cycles: u64,
    /// Connections that come and go, begun: in time each is among `cycles` or `failed`.
    pub begun: u64,
}

impl Reading {
    const COUNT: usize = 12;

    const fn words(self) -> [u64; Self::COUNT] {
        let Self {
            open,
            opened,
            failed,
            answered,
            wrong,
            values,
            timeouts,
            in_flight,
            bytes_in,
            bytes_out,
            cycles,
            begun,
        } = self;
        [
            open, opened, failed, answered, wrong, values, timeouts, in_flight, bytes_in, bytes_out, cycles,
            begun,
        ]
    }

    const fn from_words(words: [u64; Self::COUNT]) -> Self {
        let [
            open,
            opened,
            failed,
            answered,
            wrong,
            values,
            timeouts,
            in_flight,
            bytes_in,
            bytes_out,
            cycles,
            begun,
        ] = words;
        Self {
            open,
            opened,
            failed,
            answered,
            wrong,
            values,
            timeouts,
            in_flight,
            bytes_in,
            bytes_out,
            cycles,
            begun,
        }
    }

    /// The counts of two loads together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let mut words = self.words();
        words.iter_mut().zip(other.words()).for_each(|(sum, more)| *sum = sum.wrapping_add(more));
        Self::from_words(words)
    }

    /// What was counted since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        let mut words = self.words();
        words.iter_mut().zip(before.words()).for_each(|(count, less)| *count = count.wrapping_sub(less));
        Self::from_words(words)
    }
}

impl Gauge {
    // ---- the controller's side ----

    /// Has the load hold so many connections, as far as it has room; it opens what is missing.
    pub fn hold(&self, connections: u32) {
        self.shared.hold.store(connections, Ordering::Relaxed);
    }

    /// Has the load do something else from its next turn on. Connections that are held stay.
    pub fn order(&self, work: Work) {
        *lock(&self.shared.order) = work;
        self.shared.ordered.fetch_add(1, Ordering::Release);
    }

    /// Whether the load follows the last order.
    pub fn follows(&self) -> bool {
        self.shared.followed.load(Ordering::Acquire) == self.shared.ordered.load(Ordering::Relaxed)
    }

    /// The counts of the last turn.
    pub fn read(&self) -> Reading {
        Reading::from_words(self.shared.counts.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Asks for the latencies recorded since they were last asked for: the load begins anew. [`Gauge::latencies`] has
    /// them once it has had a turn.
    pub fn ask_latencies(&self) {
        self.shared.asked.fetch_add(1, Ordering::Release);
    }

    /// The latencies that were asked for last; `None` as long as the load has not handed them over.
    pub fn latencies(&self) -> Option<Latencies> {
        let handed = self.shared.handed.load(Ordering::Acquire);
        (handed == self.shared.asked.load(Ordering::Relaxed)).then(|| lock(&self.shared.latencies).clone())
    }

    // ---- the load's side ----

    pub(crate) fn wanted(&self) -> u32 {
        self.shared.hold.load(Ordering::Relaxed)
    }

    /// The order, if there is one that is not followed yet.
    #[inline]
    pub(crate) fn new_order(&self) -> Option<Work> {
        let ordered = self.shared.ordered.load(Ordering::Acquire);
        if ordered == self.shared.followed.load(Ordering::Relaxed) {
            return None;
        }
        // A newer order than `ordered` may be found here; it is found again then, which does no harm.
        let work = *lock(&self.shared.order);
        self.shared.followed.store(ordered, Ordering::Release);
        Some(work)
    }

    /// Hands the latencies over if they were asked for.
    #[inline]
    pub(crate) fn hand_over(&self, latencies: &mut Latencies) {
        let asked = self.shared.asked.load(Ordering::Acquire);
        if asked != self.shared.handed.load(Ordering::Relaxed) {
            std::mem::swap(&mut *lock(&self.shared.latencies), latencies);
            latencies.clear();
            self.shared.handed.store(asked, Ordering::Release);
        }
    }

    pub(crate) fn write(&self, reading: Reading) {
        for (count, word) in self.shared.counts.iter().zip(reading.words()) {
            count.store(word, Ordering::Relaxed);
        }
    }
}

/// Nothing under these locks can panic, so a poisoned one holds what it should.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_followed_once() {
        let gauge = Gauge::default();
        assert!(gauge.follows() && gauge.new_order().is_none());
        gauge.order(Work::Sweep { in_flight: 3 });
        assert!(!gauge.follows());
        assert_eq!(gauge.new_order(), Some(Work::Sweep { in_flight: 3 }));
        assert!(gauge.follows() && gauge.new_order().is_none());
    }

    #[test]
    fn latencies_begin_anew_when_they_are_asked_for() {
        let (gauge, mut latencies) = (Gauge::default(), Latencies::new());
        latencies.record(5);
        gauge.hand_over(&mut latencies);
        assert_eq!(latencies.percentiles().count, 1);
        gauge.ask_latencies();
        assert!(gauge.latencies().is_none());
        gauge.hand_over(&mut latencies);
        assert_eq!(gauge.latencies().map(|handed| handed.percentiles().count), Some(1));
        assert_eq!(latencies.percentiles().count, 0);
        gauge.ask_latencies();
        gauge.hand_over(&mut latencies);
        assert_eq!(gauge.latencies().map(|handed| handed.percentiles().count), Some(0));
    }

    #[test]
    fn readings_pass_and_subtract() {
        let gauge = Gauge::default();
        let reading = Reading { open: 1, cycles: 11, begun: 12, bytes_in: 9, ..Reading::default() };
        gauge.write(reading);
        assert_eq!(gauge.read(), reading);
        assert_eq!(reading.plus(reading).since(reading), reading);
    }
}
