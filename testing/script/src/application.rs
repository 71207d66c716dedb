//! The application of the host under test: it remembers what it heard, flow by flow.

use std::collections::{HashMap, VecDeque};

use freeway_stack::net::IcmpKind;
use freeway_stack::{Application, Conn, ConnId, Ended, Stack};

/// A flow by its ports: the host's, then the peer's.
pub(crate) type Ports = (u16, u16);

/// What the application heard of one flow, and the connection it heard it of last.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) events: VecDeque<String>,
    pub(crate) conn: Option<ConnId>,
}

/// An application that does nothing by itself.
#[derive(Default)]
pub(crate) struct Recorder {
    flows: HashMap<Ports, Heard>,
    names: HashMap<ConnId, Ports>,
}

impl Recorder {
    /// What was heard of a flow.
    pub(crate) fn flow(&mut self, ports: Ports) -> &mut Heard {
        self.flows.entry(ports).or_default()
    }

    /// Knows a connection by its flow from now on.
    pub(crate) fn name(&mut self, conn: ConnId, ports: Ports) {
        self.names.insert(conn, ports);
        self.flow(ports).conn = Some(conn);
    }

    /// Every event that no step asked for.
    pub(crate) fn left(&self) -> Vec<&str> {
        self.flows.values().flat_map(|heard| heard.events.iter().map(String::as_str)).collect()
    }

    fn hear(&mut self, conn: &Conn<'_, [u64; 2]>, event: &str) {
        let ports = (conn.local().port(), conn.peer().port());
        self.name(conn.id(), ports);
        self.flow(ports).events.push_back(event.to_owned());
    }
}

impl Application for Recorder {
    type Conn = [u64; 2];

    fn accepted(&mut self, conn: Conn<'_, Self::Conn>) {
        self.hear(&conn, "accepted");
    }

    fn connected(&mut self, conn: Conn<'_, Self::Conn>) {
        self.hear(&conn, "connected");
    }

    fn readable(&mut self, conn: Conn<'_, Self::Conn>) {
        let readable = format!("readable {}", conn.readable_bytes());
        self.hear(&conn, if conn.at_end() { "end" } else { &readable });
    }

    fn writable(&mut self, conn: Conn<'_, Self::Conn>) {
        self.hear(&conn, "writable");
    }

    fn stalled(&mut self, conn: Conn<'_, Self::Conn>) {
        self.hear(&conn, "stalled");
    }

    fn path_error(&mut self, conn: Conn<'_, Self::Conn>, kind: IcmpKind) {
        self.hear(&conn, &format!("path-error {kind:?}"));
    }

    fn closed(&mut self, _: &mut Stack<Self::Conn>, ended: Ended<Self::Conn>) {
        let Ended { id, reason, .. } = ended;
        let Some(ports) = self.names.remove(&id) else { return };
        let heard = self.flow(ports);
        if heard.conn == Some(id) {
            heard.conn = None;
        }
        heard.events.push_back(format!("closed {reason:?}"));
    }
}
