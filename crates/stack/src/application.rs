//! What an application implements: the events of its connections.
//!
//! The stack calls back in batches, once a turn, after it has carried all that arrived through TCP
//! ([`Stack::dispatch`]). Events are levels, not edges of single segments: ten segments that arrived for one
//! connection in one turn are one [`readable`](Application::readable).
//!
//! ```text
//! accepted / connected ──► readable*, writable*, timer* ──► closed        (writable may come while it still opens)
//! ```
//!
//! Every connection that was announced ends with exactly one [`closed`](Application::closed).

use freeway_base::Instant;

use crate::net::IcmpKind;
use crate::stack::Stack;
use crate::tcp::{Conn, ConnId};
use crate::udp::Datagram;

/// An application on one core. One value serves all connections of that core; what belongs to a single
/// connection is its [`Conn`](Application::Conn) state, which lies beside the connection's TCB.
pub trait Application {
    /// The state of one connection, without pointers or destructors. It lies in the same cache lines as the
    /// TCB: its size is paid for every connection, idle or not.
    type Conn: Copy + Default + 'static;

    /// Called once, before the first turn: the place to listen, bind and connect.
    fn start(&mut self, stack: &mut Stack<Self::Conn>, now: Instant) {
        let _ = (stack, now);
    }

    /// Called once a turn: the place to open connections at a rate, or to do what no event announces.
    fn turn(&mut self, stack: &mut Stack<Self::Conn>, now: Instant) {
        let _ = (stack, now);
    }

    /// Called once a turn, after what arrived was taken from the ports and before its events: the place to take what the
    /// application wrote on other cores. Returns how much there was. Who takes all of it here can rely on this: a message
    /// sent before an answer left the other core is read before whatever that answer brings about.
    fn mail(&mut self, stack: &mut Stack<Self::Conn>, now: Instant) -> usize {
        let _ = (stack, now);
        0
    }

    /// Whether [`mail`](Application::mail) would find something, or has something left to send. Asked before the core
    /// sleeps, once whoever writes rings its bell.
    fn has_mail(&mut self) -> bool {
        false
    }

    /// When [`turn`](Application::turn) must run next, though nothing arrives.
    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// A peer has opened a connection to one of the listeners.
    fn accepted(&mut self, conn: Conn<'_, Self::Conn>) {
        let _ = conn;
    }

    /// A connection that this side opened is established.
    fn connected(&mut self, conn: Conn<'_, Self::Conn>) {
        let _ = conn;
    }

    /// Bytes are there to be read, or the peer has finished sending ([`Conn::at_end`]).
    fn readable(&mut self, conn: Conn<'_, Self::Conn>) {
        let _ = conn;
    }

    /// There is room again after a write or a reservation came short.
    fn writable(&mut self, conn: Conn<'_, Self::Conn>) {
        let _ = conn;
    }

    /// The same data was sent [`stall_retries`](freeway_tcp::Config::stall_retries) times and nobody answered (RFC 9293,
    /// MUST-20, R1). The connection goes on trying until its `user_timeout`; the application may know better.
    fn stalled(&mut self, conn: Conn<'_, Self::Conn>) {
        let _ = conn;
    }

    /// The path has told of an error that does not end the connection (RFC 9293, MUST-47, MUST-56): it may pass, and it may
    /// be forged. TCP goes on trying. The newest of a turn; an application that wants to hear none ignores it (SHLD-20).
    fn path_error(&mut self, conn: Conn<'_, Self::Conn>, kind: IcmpKind) {
        let _ = (conn, kind);
    }

    /// The time set by [`Conn::set_timer`] has come.
    fn timer(&mut self, conn: Conn<'_, Self::Conn>) {
        let _ = conn;
    }

    /// A connection is over. Its place in the table is free already; `ended` is what there was.
    fn closed(&mut self, stack: &mut Stack<Self::Conn>, ended: Ended<Self::Conn>) {
        let _ = (stack, ended);
    }

    /// A datagram arrived on a bound UDP socket.
    fn datagram(&mut self, stack: &mut Stack<Self::Conn>, datagram: Datagram) {
        let _ = (stack, datagram);
    }

    /// Shows its counters to `visit`, group by group: a name, then each counter's name and value; the same groups and
    /// counters each time. They appear beside the stack's.
    fn counters(&self, visit: &mut CounterVisit<'_>) {
        let _ = visit;
    }
}

/// Is shown one group of counters at a time: its name, then each counter's name and value.
pub type CounterVisit<'a> = dyn FnMut(&str, &mut dyn Iterator<Item = (&'static str, u64)>) + 'a;

/// A connection that is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended<S> {
    /// Its name, which no other connection will have.
    pub id: ConnId,
    /// The number that its listener or open was given.
    pub service: u16,
    /// The application's last state of it.
    pub state: S,
    /// Why it is over.
    pub reason: CloseReason,
}

/// How a connection ended (RFC 9293, MUST-12: a remote close is told from a remote reset).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// Both sides sent FIN and both were acknowledged.
    Finished,
    /// The peer reset it.
    Reset,
    /// The peer refused to open it: a reset, or a hard ICMP error, in answer to the SYN.
    Refused,
    /// Nothing was heard for as long as the user timeout or the keepalive allows.
    TimedOut,
    /// This side aborted it.
    Aborted,
}
