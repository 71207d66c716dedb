//! What a connection keeps between turns: 16 bytes beside its TCB.
//!
//! ```text
//!  accepted ─► Fresh ─► Head ─► (answered at once) ─► Idle ─► Head ...
//!                        │  ▲                           ▲
//!                        ▼  └───────────────────────────┤
//!                     Exchange ─────────────────────────┘        Draining ─► closed
//!                        └─► Events, Socket: subscribed
//! ```

use freeway::Instant;

/// No place in a table.
pub(crate) const NONE: u32 = u32::MAX;

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Phase {
    /// Nothing has arrived yet.
    #[default]
    Fresh,
    /// A request's head has arrived in part.
    Head,
    /// Between requests.
    Idle,
    /// A request or an answer is under way: its record is in the table of exchanges.
    Exchange,
    /// It hears the events of a topic.
    Events,
    /// The same, as a WebSocket.
    Socket,
    /// It has been told that it is over, and its peer may still be sending.
    Draining,
}

/// A connection's state. It holds no pointer: places in tables of its core's server.
#[derive(Clone, Copy, Debug)]
pub struct HttpState {
    /// The place of its exchange or its subscription, by phase.
    pub(crate) place: u32,
    /// The place of its TLS session.
    pub(crate) tls: u32,
    /// When its phase began, in ticks.
    pub(crate) since: Ticks,
    /// Requests so far, as far as they are counted.
    pub(crate) requests: u16,
    pub(crate) phase: Phase,
    /// The topic of a subscription.
    pub(crate) topic: u8,
}

const _: () = assert!(size_of::<HttpState>() <= 16);

impl Default for HttpState {
    fn default() -> Self {
        Self { place: NONE, tls: NONE, since: Ticks(0), requests: 0, phase: Phase::Fresh, topic: 0 }
    }
}

/// A connection's state as an application holds it: its own, or one variant of several.
pub trait HoldsHttp: Copy + Default + 'static {
    /// The state of a connection that the HTTP server was given.
    fn http(&mut self) -> &mut HttpState;
}

impl HoldsHttp for HttpState {
    fn http(&mut self) -> &mut HttpState {
        self
    }
}

/// A time to 67 ms, of which differences up to four years are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ticks(u32);

impl Ticks {
    const SHIFT: u32 = 26;

    pub(crate) const fn of(now: Instant) -> Self {
        Self((now.as_nanos() >> Self::SHIFT) as u32)
    }

    /// How long ago it was.
    pub(crate) const fn ago(self, now: Instant) -> freeway::Duration {
        let ticks = Self::of(now).0.wrapping_sub(self.0);
        freeway::Duration::from_nanos((ticks as u64) << Self::SHIFT)
    }
}
