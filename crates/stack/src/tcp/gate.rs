//! What a listener lets in: its bounds, how full they are, and what was shed at them (RFC 4987).
//!
//! ```text
//!   SYN ──► half-open ──────────► waiting for the application ──► open
//!     │       ≤ half_open            ≤ backlog                      ≤ connections, ≤ connections_per_peer
//!     └─► cookie: nothing is kept ───────▲
//! ```

use freeway_base::{Instant, counters};
use freeway_tcp::Cookies;

use super::fast_open::{FastOpen, Pending};

/// How many connections of a listener there may be in each stage of life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcceptLimits {
    /// Half-open connections: SYN received, last acknowledgment missing. Past it SYN cookies take over, where the
    /// listener has them. Default no bound but that of the table, [`max_syn_received`]; costs nothing.
    ///
    /// [`max_syn_received`]: crate::StackConfig::max_syn_received
    pub half_open: u32,
    /// Connections accepted and not yet handled: those whose [`accepted`] has not run, or that were put off with
    /// [`Conn::defer`](crate::Conn::defer). Past it neither SYNs nor last acknowledgments are taken. Default 4,096.
    ///
    /// [`accepted`]: crate::Application::accepted
    pub backlog: u32,
    /// Connections open at once, until the application has heard of their end. Default no bound but that of the
    /// table.
    pub connections: u32,
    /// The same from one remote address (IPv6: from one /64 network), over all listeners that bound it. Needs
    /// [`count_peers`](crate::StackConfig::count_peers). Default no bound.
    pub connections_per_peer: u32,
    /// What a peer hears whose handshake comes to its end at one of these bounds. Default [`Overflow::Drop`].
    pub overflow: Overflow,
}

impl Default for AcceptLimits {
    fn default() -> Self {
        Self {
            half_open: u32::MAX,
            backlog: 4_096,
            connections: u32::MAX,
            connections_per_peer: u32::MAX,
            overflow: Overflow::Drop,
        }
    }
}

/// What a peer hears that finds no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Overflow {
    /// Nothing: it tries again, and may find room then.
    #[default]
    Drop,
    /// A reset: it knows at once, and may turn to another host.
    Reset,
}

/// When a listener answers SYNs by cookies, which keep nothing of them (see `freeway_tcp`'s `cookie` for what is lost
/// that way).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SynCookies {
    /// Never: past the bound the newest SYN is dropped.
    Off,
    /// When the table of half-open connections, or the listener's share of it, is full.
    #[default]
    WhenNeeded,
    /// Always: a listener without any half-open record.
    Always,
}

counters! {
    /// What one listener let in and shed.
    pub struct ListenerCounters {
        /// Connections accepted.
        accepted,
        /// SYNs answered by a cookie.
        cookies_sent,
        /// Connections that a cookie opened; they are among those accepted.
        cookies_accepted,
        /// Acknowledgments that were no good cookie.
        cookies_refused,
        /// SYNs shed: too many half-open connections, and no cookies.
        shed_half_open,
        /// SYNs and last acknowledgments shed: too many connections waited for the application.
        shed_backlog,
        /// SYNs and last acknowledgments shed: too many connections were open, on the listener or in all.
        shed_connections,
        /// SYNs and last acknowledgments shed: too many connections from the same address.
        shed_peer,
        /// Fast Open: connections whose SYN carried a good cookie; they are among those accepted.
        fast_opened,
        /// Fast Open: cookies given out.
        fast_open_cookies_sent,
        /// Fast Open: SYNs with a cookie that was not ours, or too old; they open in the ordinary way.
        fast_open_refused,
        /// Fast Open: SYNs with a good cookie at a bound; they open in the ordinary way, if at all.
        fast_open_overflow,
    }
}

/// How a listener does, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ListenerReport {
    /// Half-open connections.
    pub half_open: u32,
    /// Connections accepted and not yet handled.
    pub backlog: u32,
    /// Connections open.
    pub open: u32,
    /// Fast Open connections whose handshake is not over.
    pub fast_open_pending: u32,
    /// What it let in and shed.
    pub counters: ListenerCounters,
}

/// Why a connection is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shed {
    Backlog,
    Connections,
    Peer,
}

/// What to do with a SYN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    /// Keep a half-open record.
    Record,
    /// Answer by a cookie.
    Cookie,
    /// Drop it: there is no room for a record, and no cookies are wanted.
    Full,
}

/// The state of one listener's bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate {
    pub(crate) limits: AcceptLimits,
    pub(crate) cookies: SynCookies,
    pub(crate) half_open: u32,
    pub(crate) waiting: u32,
    pub(crate) open: u32,
    pub(crate) fast_open: Option<FastOpen>,
    pub(crate) pending: Pending,
    /// The slot of time in which the last cookie went out; none may come back long after it.
    baked: Option<u64>,
    pub(crate) counters: ListenerCounters,
}

impl Gate {
    pub(crate) fn new(limits: AcceptLimits, cookies: SynCookies, fast_open: Option<FastOpen>) -> Self {
        Self {
            limits,
            cookies,
            fast_open,
            pending: Pending::default(),
            half_open: 0,
            waiting: 0,
            open: 0,
            baked: None,
            counters: ListenerCounters::default(),
        }
    }

    /// Whether one more connection may come in, as far as the listener's own bounds go.
    pub(crate) const fn admits(&self) -> Result<(), Shed> {
        if self.waiting >= self.limits.backlog {
            Err(Shed::Backlog)
        } else if self.open >= self.limits.connections {
            Err(Shed::Connections)
        } else {
            Ok(())
        }
    }

    /// What to do with a SYN, where `table_full` says that no record is free.
    pub(crate) const fn on_syn(&self, table_full: bool) -> Admission {
        let full = table_full || self.half_open >= self.limits.half_open;
        match (self.cookies, full) {
            (SynCookies::Always, _) | (SynCookies::WhenNeeded, true) => Admission::Cookie,
            (SynCookies::Off, true) => Admission::Full,
            (SynCookies::Off | SynCookies::WhenNeeded, false) => Admission::Record,
        }
    }

    /// Counts what is shed.
    pub(crate) const fn shed(&mut self, why: Shed) {
        match why {
            Shed::Backlog => self.counters.shed_backlog += 1,
            Shed::Connections => self.counters.shed_connections += 1,
            Shed::Peer => self.counters.shed_peer += 1,
        }
    }

    /// A cookie goes out.
    pub(crate) const fn bake(&mut self, now: Instant) {
        self.baked = Some(Cookies::slot(now));
        self.counters.cookies_sent += 1;
    }

    /// Whether a cookie may come back now: without an attack no acknowledgment is looked at for one, and there is
    /// nothing to guess at.
    pub(crate) const fn expects_cookies(&self, now: Instant) -> bool {
        match self.baked {
            Some(slot) => Cookies::slot(now).wrapping_sub(slot) <= 1,
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freeway_base::Duration;

    fn gate(cookies: SynCookies) -> Gate {
        let limits = AcceptLimits { half_open: 2, backlog: 3, connections: 5, ..AcceptLimits::default() };
        Gate::new(limits, cookies, None)
    }

    #[test]
    fn cookies_take_over_when_the_table_or_the_share_is_full() {
        for (cookies, below, at) in [
            (SynCookies::Off, Admission::Record, Admission::Full),
            (SynCookies::WhenNeeded, Admission::Record, Admission::Cookie),
            (SynCookies::Always, Admission::Cookie, Admission::Cookie),
        ] {
            let mut gate = gate(cookies);
            gate.half_open = 1;
            assert_eq!((gate.on_syn(false), gate.on_syn(true)), (below, at));
            gate.half_open = 2;
            assert_eq!(gate.on_syn(false), at);
        }
    }

    #[test]
    fn the_backlog_and_the_open_connections_are_bounded() {
        let mut gate = gate(SynCookies::Off);
        (gate.waiting, gate.open) = (2, 4);
        assert_eq!(gate.admits(), Ok(()));
        gate.waiting = 3;
        assert_eq!(gate.admits(), Err(Shed::Backlog));
        (gate.waiting, gate.open) = (0, 5);
        assert_eq!(gate.admits(), Err(Shed::Connections));
    }

    #[test]
    fn cookies_are_expected_only_after_some_went_out() {
        let mut gate = gate(SynCookies::WhenNeeded);
        let now = Instant::from_secs(1_000);
        assert!(!gate.expects_cookies(now));
        gate.bake(now);
        assert!(gate.expects_cookies(now) && gate.expects_cookies(now + Duration::from_secs(68)));
        assert!(!gate.expects_cookies(now + Duration::from_secs(140)));
    }
}
