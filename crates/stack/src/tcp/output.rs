//! The way out: connections that have something to say, turned into frames.
//!
//! TCP says which bytes and which header; the payload comes from the send queue, the header goes into the room
//! before it, and the frame onto the interface's transmit queue.

use freeway_base::Instant;
use freeway_mem::{Packet, PacketFlags};
use freeway_tcp::{Config, Context, Outgoing, State};
use freeway_wire::tcp::Flags as TcpFlags;
use freeway_wire::{Protocol, checksum};

use super::key::FlowKey;
use super::list::Which;
use super::record::{Connection, Flags, Notes};
use super::replies::half_second;
use super::{NONE, TcpHost};
use crate::net::{Hop, IpHeader, Net};

/// Segments that one connection may send before the next has its turn.
const QUOTA: usize = 64;

/// Connections that one turn finds without room before it leaves the rest to the next. They go to the end of the list, so
/// all are asked in time, and a million that wait for a full port do not make a turn long.
const REFUSED_MAX: usize = 256;

impl<S: Copy + Default + 'static> TcpHost<S> {
    /// Lets every connection that wants to transmit do so; returns how many segments went out.
    ///
    /// A connection that has more to say than its quota, or finds no room, stays on the list.
    pub(crate) fn output(&mut self, now: Instant, net: &mut Net) -> usize {
        let (mut sent, mut refused) = (0, 0);
        // One place for all segments: the hot path would feel it made anew.
        let mut outgoing = Outgoing::default();
        for _ in 0..self.dirty.len() {
            let Some(index) = self.dirty.pop(Which::Dirty, &mut self.connections) else { break };
            let (segments, more) = self.transmit(now, net, index, &mut outgoing);
            sent += segments;
            self.settle(now, index);
            if more {
                self.mark_dirty(index);
                refused += usize::from(segments == 0);
                if refused == REFUSED_MAX {
                    break;
                }
            }
        }
        sent
    }

    /// Sends what one connection has to say; returns the segments sent, and whether it has more.
    fn transmit(
        &mut self,
        now: Instant,
        net: &mut Net,
        index: u32,
        outgoing: &mut Outgoing,
    ) -> (usize, bool) {
        if self.connections.slot(index).is_some_and(|connection| connection.tcb.is_narrow()) {
            self.follow_path(now, net, index);
        }
        for sent in 0..QUOTA {
            let Some(connection) = self.connections.slot_mut(index) else { return (sent, false) };
            if connection.socket.flags.contains(Flags::DETACHED) {
                return (sent, false);
            }
            let mut held = self.store.held(connection.socket.queues);
            let flight = self.store.flight_of(connection.socket.queues);
            if flight == NONE && connection.tcb.is_quiet(&held) {
                return (sent, false);
            }
            let has_buffer = self.store.pool.available() != 0;
            if !has_buffer || !net.has_tx_room(connection.socket.hop) {
                let waits = connection.tcb.wants_transmit(&held, self.store.flights.slot(flight));
                self.counters.no_buffer += u64::from(waits && !has_buffer);
                return (sent, waits);
            }
            let may_probe = connection.tcb.probes_path() && !held.probe.is_some();
            if may_probe && self.probe_path(now, net, index, &held) {
                continue;
            }
            let Some(connection) = self.connections.slot_mut(index) else { return (sent, false) };
            let mut place = None;
            let Some(config) = self.listeners.settings(net, &self.store, connection, &mut place) else {
                break;
            };
            let fast;
            let config = if connection.tcb.state() == State::SynSent {
                let payload = self.syn_payload(now, index, config);
                fast = Config { syn_payload: payload, ..*config };
                &fast
            } else {
                config
            };
            let cx = Context { now, config };
            let Some(connection) = self.connections.slot_mut(index) else { break };
            if connection.tcb.owes_blocks(&held) {
                held.gaps = self.store.rx_gaps(connection.socket.queues);
            }
            let flight = self.store.want_flight(connection.socket.queues, &cx, &connection.tcb, &held);
            self.counters.no_flight += u64::from(flight.is_err());
            let number = flight.unwrap_or(NONE);
            let flight = self.store.flights.slot_mut(number);
            if !connection.tcb.transmit_into(&cx, &held, flight, outgoing) {
                return (sent, false);
            }
            // Of a request or an answer this was all.
            let is_last = number == NONE && connection.tcb.is_quiet(&held);
            let makes_room =
                outgoing.len > 0 && !outgoing.retransmission && config.not_sent_low_water < u32::MAX;
            self.send_segment(now, net, index, outgoing);
            if makes_room
                && self.connections.slot(index).is_some_and(|c| c.socket.flags.contains(Flags::WANTS_ROOM))
            {
                self.raise(index, Flags::WRITABLE);
            }
            if is_last {
                return (sent + 1, false);
            }
        }
        (QUOTA, true)
    }

    pub(crate) fn send_segment(&mut self, now: Instant, net: &mut Net, index: u32, outgoing: &Outgoing) {
        let Some(Connection { socket, .. }) = self.connections.slot_mut(index) else { return };
        let (key, mut hop, list, profile) = (socket.key, socket.hop, socket.queues, socket.profile);
        if outgoing.retransmission {
            self.counters.retransmitted += 1;
            let probe = self.store.probe(list);
            if probe.covers(outgoing.seq) {
                self.probe_lost(now, net, index, probe);
            }
        }
        let with_option = self.fast_open_option(now, index, outgoing);
        let outgoing = with_option.as_ref().unwrap_or(outgoing);
        if outgoing.len == 0 {
            self.send_control(now, net, (&key, Some(profile)), &mut hop, outgoing);
        } else if let Some(mut payload) = self.store.tx_payload(list, outgoing.offset, outgoing.len) {
            self.counters.segments_out += 1;
            self.counters.bytes_out += u64::from(outgoing.len);
            let header = header(net, &key, outgoing, self.tcp_settings(profile));
            prepend_tcp(net, hop, &key, outgoing, &header, &mut payload.packet);
            match payload.owner {
                Some(item) => {
                    let mut frame = net.send_and_keep(now, &mut hop, &header, payload.packet);
                    frame.trim_front(frame.data().len() - outgoing.len as usize);
                    self.store.tx_restore(item, frame);
                }
                None => net.send(now, &mut hop, &header, payload.packet),
            }
        } else {
            self.counters.no_buffer += 1;
        }
        if let Some(connection) = self.connections.slot_mut(index) {
            connection.socket.hop = hop;
        }
    }

    fn tcp_settings(&self, profile: u16) -> Option<&Config> {
        self.listeners.profiles.get(usize::from(profile)).map(|profile| &profile.tcp)
    }

    /// Sends a connection's acknowledgment at once.
    pub(crate) fn acknowledge(&mut self, now: Instant, net: &mut Net, index: u32, outgoing: &Outgoing) {
        let Some(Connection { socket, .. }) = self.connections.slot_mut(index) else { return };
        let (key, profile, mut hop) = (socket.key, socket.profile, socket.hop);
        self.send_control(now, net, (&key, Some(profile)), &mut hop, outgoing);
        if let Some(connection) = self.connections.slot_mut(index) {
            connection.socket.hop = hop;
        }
    }

    /// Sends a segment without payload, marked as its profile says, if there is one.
    pub(crate) fn send_control(
        &mut self,
        now: Instant,
        net: &mut Net,
        (key, profile): (&FlowKey, Option<u16>),
        hop: &mut Hop,
        outgoing: &Outgoing,
    ) {
        let Some(mut packet) = self.store.pool.alloc() else {
            self.counters.no_buffer += 1;
            return;
        };
        self.counters.segments_out += 1;
        let header = header(net, key, outgoing, profile.and_then(|profile| self.tcp_settings(profile)));
        prepend_tcp(net, *hop, key, outgoing, &header, &mut packet);
        net.send(now, hop, &header, packet);
    }

    /// A connection's challenge ACK (RFC 5961, section 7): one in half a second, and, if `shared`, within the host's
    /// limit. The answer to a probe is not: hosts probe all their connections, and those without an answer are lost.
    pub(crate) fn challenge(
        &mut self,
        now: Instant,
        net: &mut Net,
        index: u32,
        (outgoing, shared): (&Outgoing, bool),
    ) {
        let Some(Connection { socket, .. }) = self.connections.slot_mut(index) else { return };
        let half_second = half_second(now);
        if socket.notes.contains(Notes::CHALLENGED) && socket.challenged == half_second {
            self.counters.limited_challenges += 1;
            return;
        }
        if shared && !self.challenges.take(now) {
            self.counters.limited_replies += 1;
            return;
        }
        socket.notes.insert(Notes::CHALLENGED);
        socket.challenged = half_second;
        self.acknowledge(now, net, index, outgoing);
    }

    /// Answers a segment that belongs to no connection, or that none accepts: resets, challenge ACKs, TIME-WAIT's
    /// ACKs. A stranger can provoke them, so their rate is bounded over all connections together, in a way that
    /// no stranger can measure (see [`replies`](super::replies)).
    pub(crate) fn reply(&mut self, now: Instant, net: &mut Net, key: &FlowKey, outgoing: &Outgoing) {
        let is_reset = outgoing.flags.contains(TcpFlags::RST);
        let limit = if is_reset { &mut self.resets } else { &mut self.challenges };
        if !limit.take(now) {
            self.counters.limited_replies += 1;
            return;
        }
        let Ok(mut hop) = net.hop(now, key.remote()) else { return };
        self.counters.resets_out += u64::from(is_reset);
        self.send_control(now, net, (key, None), &mut hop, outgoing);
    }
}

#[inline(always)]
fn header(net: &Net, key: &FlowKey, outgoing: &Outgoing, config: Option<&Config>) -> IpHeader {
    IpHeader {
        src: net.addr(key.local),
        dst: key.remote_addr(),
        protocol: Protocol::TCP,
        // RFC 9293, MUST-49 and MUST-48.
        hop_limit: config.and_then(|config| config.hop_limit).unwrap_or_else(|| net.hop_limit()),
        dscp: config.map_or(0, |config| config.dscp & 63),
        ecn: outgoing.ecn,
        dont_fragment: true,
    }
}

/// Writes the TCP header before the payload, with its checksum (or what the port needs to fill it in).
#[inline(always)]
fn prepend_tcp(
    net: &Net,
    hop: Hop,
    key: &FlowKey,
    outgoing: &Outgoing,
    header: &IpHeader,
    packet: &mut Packet,
) {
    let segment = outgoing.header(key.local_port, key.remote_port);
    if packet.prepend(segment.len()).is_none() {
        return;
    }
    let IpHeader { src, dst, protocol, .. } = *header;
    if net.tx_checksum(hop) {
        segment.emit(packet.data_mut());
        checksum::seed_transport(src.into(), dst.into(), protocol, packet.data_mut());
        // What was flagged when it was sent before is not so any more.
        packet.set_flags(PacketFlags::CHECKSUM_NEEDED);
    } else {
        packet.set_flags(PacketFlags::empty());
        let pseudo = checksum::pseudo_header_mapped(src.0, dst.0, protocol, packet.len() as u32);
        segment.emit_summed(packet.data_mut(), pseudo);
    }
}
