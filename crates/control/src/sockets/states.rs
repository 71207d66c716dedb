//! States by the names that ss gives them, and sets of them.

use bitflags::bitflags;
use freeway_stack::rows::{Stage, Tables};
use freeway_tcp::State;

bitflags! {
    /// A set of states. A UDP socket is in CLOSED, as in ss.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct States: u16 {
        /// ESTABLISHED.
        const ESTABLISHED = 1 << 0;
        /// SYN-SENT.
        const SYN_SENT = 1 << 1;
        /// SYN-RECEIVED.
        const SYN_RECEIVED = 1 << 2;
        /// FIN-WAIT-1.
        const FIN_WAIT_1 = 1 << 3;
        /// FIN-WAIT-2.
        const FIN_WAIT_2 = 1 << 4;
        /// TIME-WAIT.
        const TIME_WAIT = 1 << 5;
        /// CLOSED.
        const CLOSED = 1 << 6;
        /// CLOSE-WAIT.
        const CLOSE_WAIT = 1 << 7;
        /// LAST-ACK.
        const LAST_ACK = 1 << 8;
        /// LISTEN.
        const LISTEN = 1 << 9;
        /// CLOSING.
        const CLOSING = 1 << 10;
    }
}

/// Each state's name in what is shown, and in filters.
const NAMES: [(States, &str, &str); 11] = [
    (States::ESTABLISHED, "ESTAB", "established"),
    (States::SYN_SENT, "SYN-SENT", "syn-sent"),
    (States::SYN_RECEIVED, "SYN-RECV", "syn-recv"),
    (States::FIN_WAIT_1, "FIN-WAIT-1", "fin-wait-1"),
    (States::FIN_WAIT_2, "FIN-WAIT-2", "fin-wait-2"),
    (States::TIME_WAIT, "TIME-WAIT", "time-wait"),
    (States::CLOSED, "UNCONN", "closed"),
    (States::CLOSE_WAIT, "CLOSE-WAIT", "close-wait"),
    (States::LAST_ACK, "LAST-ACK", "last-ack"),
    (States::LISTEN, "LISTEN", "listening"),
    (States::CLOSING, "CLOSING", "closing"),
];

impl States {
    /// What is neither listening nor closed.
    pub const CONNECTED: Self = Self::all().difference(Self::LISTEN).difference(Self::CLOSED);
    /// What ss shows if nothing else is said: connections that somebody uses.
    pub const USUAL: Self = Self::CONNECTED.difference(Self::TIME_WAIT).difference(Self::SYN_RECEIVED);
    /// What waits for peers.
    pub const WAITING: Self = Self::LISTEN.union(Self::CLOSED);

    const SYNCHRONIZED: Self = Self::CONNECTED.difference(Self::SYN_SENT);
    const BUCKET: Self = Self::SYN_RECEIVED.union(Self::TIME_WAIT);

    /// A state, or a group of them, by its name in filters.
    pub fn by_name(name: &str) -> Option<Self> {
        let group = match name {
            "all" => Some(Self::all()),
            "connected" => Some(Self::CONNECTED),
            "synchronized" => Some(Self::SYNCHRONIZED),
            "bucket" => Some(Self::BUCKET),
            "big" => Some(Self::all().difference(Self::BUCKET)),
            "listen" => Some(Self::LISTEN),
            "close" | "unconnected" => Some(Self::CLOSED),
            _ => None,
        };
        group.or_else(|| NAMES.iter().find(|(_, _, known)| *known == name).map(|(state, _, _)| *state))
    }

    /// The one that a socket is in.
    pub const fn of(stage: Stage) -> Self {
        match stage {
            Stage::Listener { .. } => Self::LISTEN,
            Stage::Udp => Self::CLOSED,
            Stage::Tcp(state) => match state {
                State::Closed => Self::CLOSED,
                State::SynSent => Self::SYN_SENT,
                State::SynReceived => Self::SYN_RECEIVED,
                State::Established => Self::ESTABLISHED,
                State::FinWait1 => Self::FIN_WAIT_1,
                State::FinWait2 => Self::FIN_WAIT_2,
                State::CloseWait => Self::CLOSE_WAIT,
                State::Closing => Self::CLOSING,
                State::LastAck => Self::LAST_ACK,
                State::TimeWait => Self::TIME_WAIT,
            },
        }
    }

    /// What a single state is called where sockets are shown.
    pub fn shown(self) -> &'static str {
        NAMES.iter().find(|(state, _, _)| *state == self).map_or("-", |(_, shown, _)| shown)
    }

    /// The tables that may hold sockets in these states.
    pub fn tables(self, tcp: bool, udp: bool) -> Tables {
        let mut tables = Tables::empty();
        tables.set(Tables::UDP, udp && self.contains(Self::CLOSED));
        tables.set(Tables::LISTENERS, tcp && self.contains(Self::LISTEN));
        tables.set(Tables::SYN_RECEIVED, tcp && self.contains(Self::SYN_RECEIVED));
        tables.set(Tables::TIME_WAIT, tcp && self.contains(Self::TIME_WAIT));
        let has_tcb = Self::all().difference(Self::LISTEN).difference(Self::TIME_WAIT);
        tables.set(Tables::CONNECTIONS, tcp && self.intersects(has_tcb));
        tables
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_state_has_its_names_and_every_group_its_states() {
        for state in States::all().iter() {
            let (_, shown, name) = NAMES.iter().find(|(named, _, _)| *named == state).unwrap();
            assert_eq!((state.shown(), States::by_name(name)), (*shown, Some(state)));
        }
        let group = |name| States::by_name(name).unwrap();
        assert!(!group("connected").intersects(States::WAITING) && group("all") == States::all());
        assert_eq!(group("big") | group("bucket"), States::all());
        assert!(!group("synchronized").contains(States::SYN_SENT));
        assert_eq!(States::by_name("estab"), None);
    }

    #[test]
    fn only_tables_that_may_hold_what_is_wanted_are_looked_at() {
        assert_eq!(States::LISTEN.tables(true, true), Tables::LISTENERS);
        assert_eq!(States::TIME_WAIT.tables(true, true), Tables::TIME_WAIT);
        assert_eq!(States::ESTABLISHED.tables(true, true), Tables::CONNECTIONS);
        // An active open that crossed with the peer's is a connection in SYN-RECEIVED.
        assert_eq!(States::SYN_RECEIVED.tables(true, false), Tables::SYN_RECEIVED | Tables::CONNECTIONS);
        assert_eq!(States::all().tables(true, true), Tables::all());
        assert_eq!(States::all().tables(false, true), Tables::UDP);
    }
}
