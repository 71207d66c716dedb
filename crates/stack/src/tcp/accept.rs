//! Accepting: from a finished handshake to a connection that the application hears of, within the bounds of its
//! listener ([`gate`](super::gate)).

use core::net::IpAddr;

use freeway_base::Instant;
use freeway_tcp::Tcb;
use freeway_wire::tcp::Flags as TcpFlags;

use super::TcpHost;
use super::gate::{Overflow, Shed};
use super::input::Arriving;
use super::key::FlowKey;
use super::peers::Peers;
use super::record::{Flags, Live as _, Notes};
use crate::net::{Hop, Net};

impl<S: Copy + Default + 'static> TcpHost<S> {
    /// Remote addresses of accepted connections, where they are counted.
    pub(crate) fn peers(&self) -> u32 {
        self.peers.as_ref().map_or(0, Peers::len)
    }

    /// Whether the listener of a profile has room for one more connection, from `peer`.
    pub(crate) fn admits(&self, profile: u16, peer: IpAddr) -> Result<(), Shed> {
        let Some(gate) = self.listeners.gate(profile) else { return Ok(()) };
        gate.admits()?;
        match &self.peers {
            Some(peers) if peers.open(peer) >= gate.limits.connections_per_peer => Err(Shed::Peer),
            _ => Ok(()),
        }
    }

    /// The same for a handshake that is over: the host must have room, too.
    pub(crate) fn admits_connection(&self, profile: u16, peer: IpAddr) -> Result<(), Shed> {
        self.admits(profile, peer)?;
        let full = self.connections.len() == self.connections.capacity();
        if full { Err(Shed::Connections) } else { Ok(()) }
    }

    /// Counts a segment that opens nothing because of a bound.
    pub(crate) fn shed(&mut self, profile: u16, why: Shed) {
        if self.connections.len() == self.connections.capacity() {
            self.counters.dropped_connections_full += 1;
        } else {
            self.counters.dropped_accept_limit += 1;
        }
        if let Some(gate) = self.listeners.gate_mut(profile) {
            gate.shed(why);
        }
    }

    /// A handshake is over at a bound: the segment is dropped, so that the peer tries again, or answered with a
    /// reset, as the listener wishes. Returns whether it was the latter.
    pub(crate) fn turn_away(
        &mut self,
        now: Instant,
        net: &mut Net,
        profile: u16,
        arriving: &Arriving,
        why: Shed,
    ) -> bool {
        self.shed(profile, why);
        let overflow = self.listeners.gate(profile).map_or(Overflow::Drop, |gate| gate.limits.overflow);
        if overflow == Overflow::Drop {
            return false;
        }
        if let Some(outgoing) = freeway_tcp::reset_for(&arriving.repr, arriving.payload_len) {
            self.reply(now, net, &arriving.key, &outgoing);
        }
        true
    }

    /// A connection that a peer has opened enters the tables, and the segment that opened it is carried on: its text
    /// and FIN count. The caller has asked [`admits_connection`](Self::admits_connection).
    pub(crate) fn accept(
        &mut self,
        now: Instant,
        net: &mut Net,
        tcb: Tcb,
        (key, profile, hop): (FlowKey, u16, Hop),
        arriving: &mut Arriving,
    ) {
        let Some(index) = self.enter(now, net, tcb, (key, profile, hop)) else { return };
        if arriving.payload_len > 0 || arriving.repr.flags.contains(TcpFlags::FIN) {
            self.connection_segment(now, net, index, arriving);
        } else {
            self.mark_dirty(index);
        }
    }

    /// Puts an accepted connection into the tables and counts it.
    pub(crate) fn enter(
        &mut self,
        now: Instant,
        net: &Net,
        tcb: Tcb,
        (key, profile, hop): (FlowKey, u16, Hop),
    ) -> Option<u32> {
        let Some(index) = self.insert(now, net, tcb, (key, profile, hop)) else {
            self.counters.dropped_connections_full += 1;
            return None;
        };
        self.counters.accepted += 1;
        let mut notes = Notes::empty();
        if let Some(gate) = self.listeners.gate_mut(profile) {
            gate.open += 1;
            gate.waiting += 1;
            gate.counters.accepted += 1;
            notes |= Notes::OPEN | Notes::WAITING;
        }
        if self.peers.as_mut().is_some_and(|peers| peers.add(key.remote())) {
            notes |= Notes::PEER;
        }
        if let Some(connection) = self.connections.live_mut(index) {
            connection.socket.notes |= notes;
        }
        self.raise(index, Flags::ACCEPTED);
        Some(index)
    }

    /// The application has handled a connection that it was told of: it waits no more.
    pub(crate) fn handled(&mut self, index: u32) {
        let Some(connection) = self.connections.live_mut(index) else { return };
        let was_waiting = connection.socket.notes.contains(Notes::WAITING);
        connection.socket.notes.remove(Notes::WAITING | Notes::DEFERRED);
        if was_waiting && let Some(gate) = self.listeners.gate_mut(connection.socket.profile) {
            gate.waiting = gate.waiting.saturating_sub(1);
        }
    }

    /// The application puts a connection off that it was told of.
    pub(crate) fn defer(&mut self, index: u32) {
        if let Some(connection) = self.connections.live_mut(index) {
            connection.socket.notes.insert(Notes::DEFERRED);
        }
    }

    /// The application's `accepted` has run.
    pub(crate) fn after_accepted(&mut self, index: u32) {
        if self.connections.live(index).is_some_and(|c| !c.socket.notes.contains(Notes::DEFERRED)) {
            self.handled(index);
        }
    }

    /// An accepted connection's place becomes free: it counts no more.
    pub(crate) fn leave(&mut self, index: u32) {
        self.handled(index);
        self.leave_fast_open(Instant::ZERO, index, false);
        let Some(connection) = self.connections.live_mut(index) else { return };
        let (notes, key) = (connection.socket.notes, connection.socket.key);
        if notes.contains(Notes::OPEN)
            && let Some(gate) = self.listeners.gate_mut(connection.socket.profile)
        {
            gate.open = gate.open.saturating_sub(1);
        }
        connection.socket.notes.remove(Notes::OPEN | Notes::PEER);
        if notes.contains(Notes::PEER)
            && let Some(peers) = &mut self.peers
        {
            peers.remove(key.remote());
        }
    }
}
