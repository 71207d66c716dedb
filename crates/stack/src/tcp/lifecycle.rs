//! How a connection comes into the tables, and how it leaves them.
//!
//! ```text
//!   insert ──► flow table, wheel ──► finish: out of both, the queues let go ──► the application hears
//!              (or TIME-WAIT takes its place in the flow table)                  of it ──► release
//! ```

use core::net::IpAddr;

use freeway_base::Instant;
use freeway_tcp::{Context, Events, Tcb, TimeWait};
use freeway_wire::tcp::SeqNumber;

use super::TcpHost;
use super::key::FlowKey;
use super::list::Which;
use super::record::{Connection, Flags, Live as _, Socket};
use super::slot::Slot;
use crate::application::CloseReason;
use crate::net::{Hop, Net};

impl<S: Copy + Default + 'static> TcpHost<S> {
    /// The initial sequence number (RFC 6528) and the timestamp offset (RFC 7323, section 5.4) of a flow.
    pub(crate) fn sequence(&self, now: Instant, net: &Net, key: &FlowKey) -> (SeqNumber, u32) {
        let (flow, secret) = (flow_name(net, key), self.secrets.sequence);
        (freeway_tcp::isn(secret, &flow, now), freeway_tcp::timestamp_offset(secret, &flow))
    }

    /// Puts a connection into the tables.
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        net: &Net,
        tcb: Tcb,
        (key, profile, hop): (FlowKey, u16, Hop),
    ) -> Option<u32> {
        self.next_serial = self.next_serial.wrapping_add(1);
        let socket = Socket::new(key, profile, hop, self.next_serial);
        let index = self.connections.insert(Connection { tcb, socket, app: S::default() }).ok()?;
        let hash = self.hash(net, &key);
        if !self.enter_flow(hash, Slot::Connection(index)) {
            if let Some(Connection { socket, .. }) = self.connections.slot_mut(index) {
                socket.flags.insert(Flags::DETACHED);
            }
            self.connections.remove(index);
            return None;
        }
        if tcb.state().is_synchronized() {
            self.adopt_path(now, net, index);
        }
        self.rearm(now, index);
        Some(index)
    }

    /// Acts on what TCP reported of a connection.
    #[inline]
    pub(crate) fn apply(&mut self, now: Instant, net: &mut Net, index: u32, events: Events) {
        // Room in the send queue is nearly all that there is, and seen to where it comes about.
        if !events.difference(Events::WRITABLE).is_empty() {
            self.apply_events(now, net, index, events);
        }
    }

    fn apply_events(&mut self, now: Instant, net: &mut Net, index: u32, events: Events) {
        // A Fast Open connection was announced with its SYN.
        if events.contains(Events::ESTABLISHED) && !self.leave_fast_open(now, index, false) {
            self.counters.connected += 1;
            self.adopt_path(now, net, index);
            self.raise(index, Flags::CONNECTED);
        }
        if events.intersects(Events::RECOVERY) {
            self.count_recovery(events);
        }
        if events.contains(Events::PEER_FIN) {
            self.raise(index, Flags::PEER_FINISHED | Flags::READABLE);
        }
        if events.contains(Events::STALLED) {
            // RFC 9293, MUST-20 and MUST-21: the next hop is asked whether it still lives, and the user told.
            if let Some(connection) = self.connections.slot(index) {
                net.doubt(now, connection.socket.hop);
            }
            self.counters.stalled += 1;
            self.raise(index, Flags::STALLED);
        }
        if events.contains(Events::RESET) {
            self.finish(net, index, CloseReason::Reset);
        } else if events.contains(Events::REFUSED) {
            self.leave_fast_open(now, index, true);
            self.finish(net, index, CloseReason::Refused);
        } else if events.contains(Events::TIMED_OUT) {
            self.finish(net, index, CloseReason::TimedOut);
        } else if events.contains(Events::TIME_WAIT) {
            self.finish(net, index, CloseReason::Finished);
            self.enter_time_wait(now, net, index);
        } else if events.contains(Events::CLOSED) {
            self.finish(net, index, CloseReason::Finished);
        }
    }

    /// Counts what loss recovery reports.
    #[cold]
    fn count_recovery(&mut self, events: Events) {
        let counters = &mut self.counters;
        counters.fast_recoveries += u64::from(events.contains(Events::FAST_RECOVERY));
        counters.time_outs += u64::from(events.contains(Events::TIMED_RESEND));
        counters.probes += u64::from(events.contains(Events::PROBED));
        counters.spurious += u64::from(events.contains(Events::SPURIOUS));
        counters.lost_again += u64::from(events.contains(Events::LOST_AGAIN));
        counters.sack_rejected += u64::from(events.contains(Events::SACK_REJECTED));
        counters.reneged += u64::from(events.contains(Events::RENEGED));
    }

    /// Takes a connection out of the flow table and the wheel, and lets go of its data: all of it, or, where
    /// the end was an orderly one, what is not still to be read. The application hears of the end at its next
    /// turn (and reads the rest before).
    pub(crate) fn finish(&mut self, net: &Net, index: u32, reason: CloseReason) {
        let Some(connection) = self.connections.slot_mut(index) else { return };
        if connection.socket.flags.contains(Flags::DETACHED) {
            return;
        }
        connection.socket.flags.insert(Flags::DETACHED | Flags::CLOSED);
        connection.socket.flags.set_reason(reason);
        let key = connection.socket.key;
        let keep_unread =
            reason == CloseReason::Finished && !connection.socket.flags.contains(Flags::READ_CLOSED);
        if keep_unread {
            self.store.end_flight(&mut connection.socket.queues);
        } else {
            self.store.clear(&mut connection.socket.queues);
        }
        match reason {
            CloseReason::Finished => self.counters.closed_finished += 1,
            CloseReason::Reset | CloseReason::Refused => self.counters.closed_reset += 1,
            CloseReason::TimedOut => self.counters.closed_timed_out += 1,
            CloseReason::Aborted => self.counters.closed_aborted += 1,
        }
        let hash = self.hash(net, &key);
        self.flows.remove(hash, Slot::Connection(index).pack());
        self.wheel.cancel(index);
        if let Some(first) = self.application_timers {
            self.wheel.cancel(first + index);
        }
        self.raise(index, Flags::CLOSED);
    }

    /// Leaves a TIME-WAIT record in the place of a connection that has just left the flow table, which begins by
    /// acknowledging the peer's FIN, unless that was done in CLOSING. At the bound the oldest record goes.
    fn enter_time_wait(&mut self, now: Instant, net: &mut Net, index: u32) {
        if self.time_wait.is_full() {
            self.counters.shed_time_wait += 1;
            self.remove_time_wait(net, self.time_wait.oldest());
        }
        let Some(Connection { tcb, socket, .. }) = self.connections.slot(index) else { return };
        let Some(profile) = self.listeners.profiles.get(usize::from(socket.profile)) else { return };
        let config = profile.tcp;
        let cx = Context { now, config: &config };
        let record = TimeWait::from_tcb(&cx, tcb);
        let owes_ack = tcb.owes_acknowledgment();
        let (key, mut hop) = (socket.key, socket.hop);
        // The class may end with the connection; what it was made from stays.
        let base = self.listeners.base(socket.profile);
        let place = self.time_wait.add(key, base, record, now + config.time_wait);
        if owes_ack {
            self.send_control(now, net, (&key, Some(base)), &mut hop, &record.ack(&cx));
        }
        let Some(place) = place else { return };
        let hash = self.hash(net, &key);
        if !self.enter_flow(hash, Slot::TimeWait(place)) {
            self.time_wait.remove(place);
        }
    }

    /// Forgets a TIME-WAIT record.
    pub(crate) fn remove_time_wait(&mut self, net: &Net, index: u32) {
        if let Some(key) = self.time_wait.remove(index) {
            let hash = self.hash(net, &key);
            self.flows.remove(hash, Slot::TimeWait(index).pack());
        }
    }

    /// Ends a connection at once, with a reset to the peer where one is due (RFC 9293, section 3.10.5).
    pub(crate) fn abort(&mut self, now: Instant, net: &mut Net, index: u32) {
        let Some(connection) = self.connections.slot_mut(index) else { return };
        let Some(profile) = self.listeners.profiles.get(usize::from(connection.socket.profile)) else {
            return;
        };
        if connection.socket.flags.contains(Flags::DETACHED) {
            // Over already, but for bytes that wait to be read: nobody will read them now.
            self.store.clear(&mut connection.socket.queues);
            self.raise(index, Flags::CLOSED);
            return;
        }
        let config = profile.tcp;
        let outgoing = connection.tcb.abort(&Context { now, config: &config });
        let (key, mut hop, of) = (connection.socket.key, connection.socket.hop, connection.socket.profile);
        if let Some(outgoing) = outgoing {
            self.counters.resets_out += 1;
            self.send_control(now, net, (&key, Some(of)), &mut hop, &outgoing);
        }
        self.finish(net, index, CloseReason::Aborted);
    }

    /// Tells connections that found too few buffers free that there is room again; a bounded number a turn.
    pub(crate) fn feed_starved(&mut self) {
        const PER_TURN: u32 = 64;
        for _ in 0..self.starved.len().min(PER_TURN) {
            let Some(index) = self.starved.pop(Which::Starved, &mut self.connections) else { break };
            let served = self.connections.slot(index).is_some_and(|Connection { socket, .. }| {
                socket.flags.contains(Flags::DETACHED) || self.store.admits_sent(socket.queues)
            });
            if served {
                self.raise(index, Flags::WRITABLE);
            } else {
                self.starved.push(Which::Starved, &mut self.connections, index);
            }
        }
    }

    /// Gives a connection's place back, after the application has heard of its end.
    pub(crate) fn release(&mut self, index: u32) -> Option<S> {
        self.leave(index);
        let connection = self.connections.live_mut(index)?;
        debug_assert!(
            connection.socket.flags.contains(Flags::DETACHED),
            "a record that was let go would seem live"
        );
        self.store.clear(&mut connection.socket.queues);
        let (app, profile) = (connection.app, connection.socket.profile);
        self.listeners.let_go(profile);
        self.connections.remove(index);
        Some(app)
    }
}

/// A four-tuple in a form of its own, for keyed hashes.
pub(crate) fn flow_name(net: &Net, key: &FlowKey) -> [u8; 36] {
    let mapped = |addr| match addr {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    let mut flow = [0; 36];
    flow[..16].copy_from_slice(&mapped(net.address(key.local)));
    flow[16..32].copy_from_slice(&mapped(key.remote()));
    // One store: what is read back as a word, and was written in parts, waits for them.
    let ports = u32::from(key.local_port) << 16 | u32::from(key.remote_port);
    flow[32..].copy_from_slice(&ports.to_be_bytes());
    flow
}
