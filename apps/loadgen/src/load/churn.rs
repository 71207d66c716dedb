//! Connections that come and go: open, one request, close.

use freeway::{CloseReason, Conn, Ended, Instant, Rng, Stack};

use super::sockets::Opener;
use super::{Common, Lane, LoadConfig, LoadState, Place};
use crate::gauge::{Reading, Work};
use crate::pace::Schedule;
use crate::protocol::Protocol;
use crate::times::Times;

/// Opens that one turn begins.
const OPENS_PER_TURN: usize = 64;

/// All connections that come and go.
pub(super) struct Churn {
    opener: Opener,
    times: Times,
    under_way: u32,
    most: u32,
    schedule: Option<Schedule>,
}

impl Churn {
    pub(super) fn new(config: &LoadConfig) -> Self {
        Self {
            opener: Opener::new(config.targets.requests, &config.sources, config.tcp),
            times: Times::new(0, 1),
            under_way: 0,
            most: 0,
            schedule: None,
        }
    }

    pub(super) fn begin(&mut self, work: Work, now: Instant, rng: &mut Rng) {
        (self.most, self.schedule) = match work {
            Work::Churn { under_way, rate } => (under_way, rate.map(|rate| Schedule::new(rate, now, rng))),
            Work::Mixed { under_way, rate, .. } => (under_way, Some(Schedule::new(rate, now, rng))),
            _ => (0, None),
        };
    }

    pub(super) const fn under_way(&self) -> u64 {
        self.under_way as u64
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.schedule.as_ref().map(Schedule::next)
    }

    pub(super) fn turn<P: Protocol>(
        &mut self,
        stack: &mut Stack<LoadState<P::Progress>>,
        common: &mut Common<P>,
    ) {
        for _ in 0..OPENS_PER_TURN {
            if self.under_way >= self.most || common.deaf > 0 {
                return;
            }
            let at = match &self.schedule {
                Some(schedule) if schedule.next() > common.now => return,
                Some(schedule) => schedule.next(),
                None => common.now,
            };
            let Ok(id) = self.opener.open(stack, Place::new(Lane::Churn, 0)) else {
                common.reading.failed += 1;
                return;
            };
            self.under_way += 1;
            common.reading.begun += 1;
            if let Some(mut conn) = stack.conn(id) {
                self.times.push(0, &mut conn.state().queue, at);
            }
            if let Some(schedule) = &mut self.schedule {
                schedule.advance(&mut common.rng);
            }
        }
    }

    /// The connection is open, or has room again: the request goes out.
    pub(super) fn connected<P: Protocol>(
        &mut self,
        conn: &mut Conn<'_, LoadState<P::Progress>>,
        common: &mut Common<P>,
    ) {
        // Without room `writable` brings it here again.
        if common.send_request_apart(conn) && P::TELLS {
            (common.told, common.deaf) = (common.now, common.reading.open);
        }
    }

    pub(super) fn readable<P: Protocol>(
        &mut self,
        conn: &mut Conn<'_, LoadState<P::Progress>>,
        common: &mut Common<P>,
    ) {
        loop {
            let LoadState { mut queue, mut progress, .. } = *conn.state();
            let piece = conn.peek();
            let count = piece.len();
            if count == 0 {
                break;
            }
            let found = common.protocol.answers(&mut progress, piece);
            conn.consume(count);
            common.reading.bytes_in += count as u64;
            common.reading.values += u64::from(found.values);
            common.reading.wrong += u64::from(found.wrong);
            if found.whole > 0
                && let Some(at) = self.times.pop(0, &mut queue)
            {
                common.reading.answered += 1;
                if !P::TELLS {
                    common.latencies.record(common.now.since(at).as_nanos());
                }
                conn.shutdown();
            }
            let state = conn.state();
            (state.queue, state.progress) = (queue, progress);
        }
        if conn.at_end() {
            conn.close();
        }
    }

    pub(super) fn closed<Q>(&mut self, ended: &Ended<LoadState<Q>>, reading: &mut Reading) {
        self.under_way -= 1;
        let answered = ended.state.queue.is_empty(&self.times);
        if answered && ended.reason == CloseReason::Finished {
            reading.cycles += 1;
        } else {
            reading.failed += 1;
            reading.timeouts += u64::from(ended.reason == CloseReason::TimedOut);
        }
    }
}
