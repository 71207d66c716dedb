//! What a connection has spent its time with: `tcpi_busy_time` and its parts.

use freeway::{Duration, Instant};

use crate::socket::{Key, State};
use crate::world::World;

/// What holds a sender back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Limit {
    /// Nothing waits for the peer.
    #[default]
    Idle,
    /// The network, or nobody.
    Busy,
    /// The peer's window.
    Window,
    /// The send buffer: the application would write more.
    Buffer,
}

/// Sums of time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chrono {
    limit: Limit,
    since: Instant,
    sums: [Duration; 3],
}

impl Chrono {
    /// Microseconds busy at all, and of these those limited by the peer's window, and by the buffer.
    pub(crate) fn micros(&self) -> [u64; 3] {
        let [busy, window, buffer] = self.sums.map(Duration::as_micros);
        [busy + window + buffer, window, buffer]
    }

    /// Adds the time since the last call to what was the limit, and notes what is now.
    fn turn(&mut self, now: Instant, limit: Limit) {
        let passed = now.since(self.since);
        let [busy, window, buffer] = self.sums;
        self.sums = match self.limit {
            Limit::Idle => self.sums,
            Limit::Busy => [busy + passed, window, buffer],
            Limit::Window => [busy, window + passed, buffer],
            Limit::Buffer => [busy, window, buffer + passed],
        };
        (self.since, self.limit) = (now, limit);
    }
}

impl World {
    /// Brings the sums of all connections up to now.
    pub(crate) fn count_time(&mut self) {
        let now = self.host.now();
        let open: Vec<Key> = self
            .sockets
            .iter()
            .filter(|(_, socket)| matches!(socket.state, State::Open(_)))
            .map(|(&key, _)| key)
            .collect();
        for key in open {
            let (queued, unsent) = self.queued(key);
            let Some(socket) = self.sockets.get_mut(&key) else { continue };
            let conn = socket.conn().and_then(|id| self.host.conn(id));
            let info = conn.as_ref().and_then(freeway::Conn::info);
            let shut_out = info.is_some_and(|info| info.window_limited);
            let limit = match (queued, unsent) {
                (0, _) => Limit::Idle,
                (_, 1..) if shut_out => Limit::Window,
                (_, 0) if socket.wants_room => Limit::Buffer,
                _ => Limit::Busy,
            };
            socket.chrono.turn(now, limit);
        }
    }
}
