//! How long a peer is waited for (RFC 9112, section 9.5; what slowloris and slow readers live on).

use freeway::Duration;
use freeway_http1::Status;

use crate::io::Io;
use crate::reply::Mode;
use crate::server::{Next, Server, some};
use crate::state::{HttpState, NONE, Phase};

impl Server {
    /// A connection's time has come: whether it is over, or how long it still has. A time is not moved with each request;
    /// it comes, and is compared with when the phase began.
    pub(crate) fn patience<I: Io>(&mut self, io: &mut I, state: &mut HttpState) -> Next {
        let ago = state.since.ago(io.now());
        match state.phase {
            Phase::Fresh => self.in_time(self.config.header_timeout, ago).unwrap_or_else(|| {
                self.counters.timed_out_idle += 1;
                Next::Close
            }),
            Phase::Idle => {
                if self.stopping {
                    return Next::Close;
                }
                self.in_time(self.config.keep_alive_timeout, ago).unwrap_or_else(|| {
                    self.counters.timed_out_idle += 1;
                    // What the client has not taken in all this time, it will not take.
                    if io.unacknowledged() > 0 { Next::Abort } else { Next::Close }
                })
            }
            Phase::Head => self.in_time(self.config.header_timeout, ago).unwrap_or_else(|| {
                self.counters.timed_out_head += 1;
                self.refuse(io, Status::REQUEST_TIMEOUT)
            }),
            Phase::Exchange => self.rate(io, state),
            Phase::Events => self.check_subscriber(io, state),
            Phase::Socket => self.check_subscriber(io, state),
            Phase::Draining => self.drain(io, state),
        }
    }

    /// Whether a connection that is over may still be read from, or takes the end of its answer.
    fn drain<I: Io>(&mut self, io: &mut I, state: &mut HttpState) -> Next {
        let left = io.unacknowledged() as u32;
        if left == 0 {
            return Next::Abort;
        }
        let least = self.config.send_rate_min.saturating_mul(self.config.rate_interval.as_millis()) / 1_000;
        let moves = u64::from(state.place.saturating_sub(left)) >= least;
        // The first look is at what is left; the others at what has gone since.
        if state.place != NONE && !moves {
            self.counters.timed_out_send += 1;
            return Next::Abort;
        }
        state.place = left;
        some(self.config.rate_interval).map_or(Next::Wait, Next::WaitFor)
    }

    /// What is left of `limit` after `ago`; `None` when nothing is.
    #[allow(clippy::unused_self)]
    fn in_time(&self, limit: Duration, ago: Duration) -> Option<Next> {
        match some(limit) {
            None => Some(Next::Wait),
            Some(limit) if ago < limit => {
                let left = Duration::from_nanos(limit.as_nanos() - ago.as_nanos());
                Some(Next::WaitFor(left.max(Duration::from_millis(70))))
            }
            Some(_) => None,
        }
    }

    /// Whether an exchange has moved as fast as it must since it was looked at last.
    fn rate<I: Io>(&mut self, io: &mut I, state: &mut HttpState) -> Next {
        let interval = self.config.rate_interval;
        let Some(exchange) = self.exchanges.get_mut(state.place) else { return Next::Abort };
        let taken = exchange.written.saturating_sub(io.unacknowledged() as u64);
        let (body_before, taken_before) = exchange.seen;
        let (body, sent) = (exchange.body_read - body_before, taken.saturating_sub(taken_before));
        exchange.seen = (exchange.body_read, taken.max(taken_before));
        let seconds = interval.as_millis().max(1_000) / 1_000;
        let reads = !exchange.body.is_done();
        // An exchange that does both moves if either does: an echo waits for the one that it is not held up by.
        let is_sending = exchange.written > taken || !reads;
        let moves_in = reads && body >= self.config.body_rate_min * seconds;
        let moves_out = is_sending && sent >= self.config.send_rate_min * seconds;
        // What waits for a disk of ours is not the peer's fault.
        let is_ours = is_sending && io.unacknowledged() == 0 && !reads;
        if moves_in || moves_out || is_ours {
            return some(interval).map_or(Next::Wait, Next::WaitFor);
        }
        if is_sending && exchange.written > taken {
            self.counters.timed_out_send += 1;
            return Next::Abort;
        }
        self.counters.timed_out_body += 1;
        if exchange.mode != Mode::None {
            return Next::Abort;
        }
        self.entry = exchange.entry.take();
        self.refuse(io, Status::REQUEST_TIMEOUT)
    }
}
