//! The way in: three passes over a batch of segments.
//!
//! One. Each header is parsed and verified, its flow hashed, and its bucket of the flow table prefetched.
//! Two. Each bucket, come by now, is probed for a first candidate, whose record is prefetched.
//! Three. Each segment runs through TCP, in the order of arrival.
//!
//! So the cache misses of up to 64 flows overlap, instead of following one another.

use alloc::vec::Vec;
use core::net::IpAddr;

use freeway_base::{FlowHash, Instant};
use freeway_mem::Packet;
use freeway_tcp::{Accept, Arrival, Context, Events, Fit, Held, IcmpError, Outcome, Reply, State};
use freeway_wire::tcp::{Flags as TcpFlags, Repr, Segment, SeqNumber};
use freeway_wire::{Ecn, Protocol, checksum};

use super::TcpHost;
use super::gaps::Inserted;
use super::key::FlowKey;
use super::list::Which;
use super::record::{Connection, Flags, Live as _, Socket};
use super::slot::Slot;
use super::tuning::Tuning;
use crate::net::plain::Plain;
use crate::net::{Addr, IcmpKind, IcmpNotice, Inbound, Net};

/// A segment between the passes. It stays where pass one put it: at two hundred bytes, every move would cost.
pub(crate) struct Arriving {
    /// Header and payload, until somebody keeps the payload.
    packet: Option<Packet>,
    pub(crate) dst: Addr,
    ecn: Ecn,
    pub(crate) repr: Repr,
    header_len: u32,
    /// Bytes behind the header.
    pub(crate) payload_len: u32,
    pub(crate) key: FlowKey,
    hash: FlowHash,
    /// What pass two found under the hash, whoever's it is.
    candidate: Option<Slot>,
}

/// The segments of one turn. Their places are made once and written to again and again: what does not change from one
/// segment to the next, as most options do not, is not written.
#[derive(Default)]
pub(crate) struct Batch {
    places: Vec<Arriving>,
    gathered: usize,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self { places: (0..freeway_mem::BURST).map(|_| Arriving::vacant()).collect(), gathered: 0 }
    }

    /// A place for another segment, with what the last one left there; `None` after a whole burst.
    #[inline]
    fn next(&mut self) -> Option<&mut Arriving> {
        let place = self.places.get_mut(self.gathered)?;
        self.gathered += 1;
        Some(place)
    }

    #[inline]
    fn gathered(&mut self) -> &mut [Arriving] {
        self.places.get_mut(..self.gathered).unwrap_or_default()
    }

    /// Forgets the segments, and lets go of packets that nobody kept.
    #[inline]
    fn clear(&mut self) {
        for arriving in self.gathered() {
            arriving.packet = None;
        }
        self.gathered = 0;
    }
}

impl Arriving {
    fn vacant() -> Self {
        const NOBODY: IpAddr = IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED);
        Self {
            packet: None,
            dst: Addr::from(NOBODY),
            ecn: Ecn::NotEct,
            repr: Repr::default(),
            header_len: 0,
            payload_len: 0,
            key: FlowKey::new(0, 0, NOBODY, 0),
            hash: FlowHash::default(),
            candidate: None,
        }
    }

    /// The peer's address.
    pub(crate) fn src(&self) -> IpAddr {
        self.key.remote()
    }

    /// The address of this host that it was sent to.
    pub(crate) fn dst(&self) -> IpAddr {
        self.dst.into()
    }

    /// The segment as TCP wants to know it.
    #[inline]
    pub(crate) fn arrival(&self) -> Arrival<'_> {
        Arrival { repr: &self.repr, payload_len: self.payload_len, ecn: self.ecn }
    }

    /// The bytes behind the header.
    pub(crate) fn text(&self) -> &[u8] {
        let bytes = self.packet.as_ref().map_or(&[][..], |packet| packet.data());
        bytes.get(self.header_len as usize..).unwrap_or(&[])
    }

    /// Does away with the payload: from here on it is as if the header had come alone.
    pub(crate) fn drop_text(&mut self) {
        self.payload_len = 0;
    }

    /// The frame with `accept`'s share of the payload as its data, to be kept.
    #[inline]
    fn take_text(&mut self, accept: &Accept) -> Option<Packet> {
        let mut packet = self.packet.take()?;
        packet.trim_front((self.header_len + accept.offset) as usize);
        packet.truncate(accept.len as usize);
        Some(packet)
    }
}

impl<S: Copy + Default + 'static> TcpHost<S> {
    /// Pass one, for one segment in a frame that was recognised at a glance.
    #[inline]
    pub(crate) fn gather_plain(&mut self, plain: &Plain, mut packet: Packet) {
        let &Plain { src, dst, local, ecn, trusted, header_len, len, .. } = plain;
        packet.trim_front(header_len);
        packet.truncate(len);
        self.counters.segments_in += 1;
        self.counters.marked_in += u64::from(ecn == Ecn::Ce);
        self.gather_segment(packet, (src, dst), local, ecn, trusted);
    }

    /// The same, for any other.
    pub(crate) fn gather(&mut self, net: &Net, inbound: Inbound) {
        self.counters.segments_in += 1;
        self.counters.marked_in += u64::from(inbound.ecn == Ecn::Ce);
        // RFC 9293, MUST-57: nothing that was sent to more than one host.
        let local = if inbound.broadcast { None } else { net.is_local(inbound.dst) };
        let Some(local) = local else {
            self.counters.dropped_broadcast += 1;
            return;
        };
        let Inbound { packet, src, dst, ecn, checksum_good, .. } = inbound;
        self.gather_segment(packet, (src.into(), dst.into()), local, ecn, checksum_good);
    }

    #[inline(always)]
    fn gather_segment(
        &mut self,
        packet: Packet,
        (src, dst): (Addr, Addr),
        local: u16,
        ecn: Ecn,
        checksum_good: bool,
    ) {
        let bytes = packet.data();
        let Ok(segment) = Segment::new_checked(bytes) else {
            self.counters.dropped_malformed += 1;
            return;
        };
        // RFC 9293, MUST-3.
        let pseudo = || checksum::pseudo_header_mapped(src.0, dst.0, Protocol::TCP, bytes.len() as u32);
        if !checksum_good && !pseudo().join(checksum::sum(bytes), 0).is_valid() {
            self.counters.dropped_checksum += 1;
            return;
        }
        let Some(arriving) = self.batch.next() else { return };
        arriving.repr.reread(&segment);
        arriving.header_len = segment.header_len() as u32;
        arriving.payload_len = bytes.len() as u32 - arriving.header_len;
        let (remote_port, local_port) = (arriving.repr.src_port, arriving.repr.dst_port);
        arriving.key = FlowKey::of(local, local_port, src, remote_port);
        arriving.hash = crate::steer::flow_hash(&self.secrets.flow, (dst, local_port), (src, remote_port));
        self.flows.prefetch(arriving.hash);
        (arriving.dst, arriving.ecn) = (dst, ecn);
        arriving.packet = Some(packet);
    }

    /// Passes two and three, over all that was gathered.
    pub(crate) fn run_batch(&mut self, now: Instant, net: &mut Net) {
        for arriving in self.batch.gathered() {
            arriving.candidate = self.flows.first_candidate(arriving.hash).map(Slot::unpack);
            match arriving.candidate {
                Some(Slot::Connection(index)) => {
                    self.connections.prefetch(index, Self::LINES);
                    self.wheel.prefetch(index);
                }
                Some(Slot::SynReceived(index)) => self.half_open.entries.prefetch(index, 2),
                Some(Slot::TimeWait(_)) | None => {}
            }
        }
        self.flows_grew = false;
        let mut batch = core::mem::take(&mut self.batch);
        for arriving in batch.gathered() {
            self.segment(now, net, arriving);
        }
        batch.clear();
        self.batch = batch;
    }

    #[inline]
    fn segment(&mut self, now: Instant, net: &mut Net, arriving: &mut Arriving) {
        // Nearly always pass two has found it. A record keeps its key; what has left the flow table is detached.
        if let Some(Slot::Connection(index)) = arriving.candidate
            && let Some(Connection { socket, .. }) = self.connections.slot(index)
            && socket.key == arriving.key
            && !socket.flags.contains(Flags::DETACHED)
        {
            return self.connection_segment(now, net, index, arriving);
        }
        // What had no candidate then has none now: a newcomer's SYN, of which a flood brings many.
        if arriving.candidate.is_none() && !self.flows_grew {
            return self.listen_segment(now, net, arriving);
        }
        match self.find(arriving.hash, &arriving.key) {
            Some(Slot::Connection(index)) => self.connection_segment(now, net, index, arriving),
            Some(Slot::SynReceived(index)) => self.half_open_segment(now, net, index, arriving),
            Some(Slot::TimeWait(index)) => self.time_wait_segment(now, net, index, arriving),
            None => self.listen_segment(now, net, arriving),
        }
    }

    /// Whether a connection holds so little that it may hold more though the host has no room.
    #[cold]
    fn may_hold_little(&self, index: u32) -> bool {
        self.connections.slot(index).is_some_and(|it| self.store.admits_received(it.socket.queues))
    }

    /// A segment for a connection that has a TCB.
    pub(crate) fn connection_segment(
        &mut self,
        now: Instant,
        net: &mut Net,
        index: u32,
        arriving: &mut Arriving,
    ) {
        if arriving.payload_len > 0 && !self.store.has_room_to_receive() && !self.may_hold_little(index) {
            // Too few buffers to keep the payload: the acknowledgment in the header is used all the same, for it
            // is what brings buffers back.
            self.counters.dropped_no_room += 1;
            arriving.drop_text();
            arriving.repr.flags.remove(TcpFlags::FIN | TcpFlags::PSH);
        }
        let Some(connection) = self.connections.slot_mut(index) else { return };
        let held = self.store.held(connection.socket.queues);
        let mut place = None;
        let Some(config) = self.listeners.settings(net, &self.store, connection, &mut place) else { return };
        let cx = Context { now, config };
        let was = connection.tcb.state();
        let in_syn = connection.tcb.snd_nxt().distance_from(connection.tcb.snd_una());
        let flight = self.store.flight_of(connection.socket.queues);
        let mut outcome = Outcome::default();
        let record = self.store.flights.slot_mut(flight);
        connection.tcb.on_segment(&cx, &arriving.arrival(), &held, record, &mut outcome);
        let Outcome { ref accept, acked, ref reply, mut events, reduced, dropped, mut duplicate } = outcome;
        self.counters.ecn_reductions += u64::from(reduced);

        if dropped.is_some() {
            self.counters.dropped_unacceptable += 1;
        }
        if let Some(flight) = self.store.flights.slot(flight) {
            let fit = flight.fit();
            if !connection.tcb.needs_flight(flight) {
                self.store.end_flight(&mut connection.socket.queues);
            } else if fit != Fit::Right {
                let is_exchanged = self.store.exchange_flight(connection.socket.queues);
                self.counters.wide_flights += u64::from(is_exchanged && fit == Fit::Cramped);
                self.counters.no_wide_flight += u64::from(!is_exchanged && fit == Fit::Cramped);
            }
        }
        if acked > 0 {
            if held.probe.is_some() || connection.tcb.has_path_news() {
                self.path_acked(now, net, index, &held);
            }
            let Some(connection) = self.connections.slot_mut(index) else { return };
            net.confirm(now, connection.socket.hop);
            self.store.tx_acked(connection.socket.queues, acked);
            if connection.socket.flags.contains(Flags::WANTS_ROOM) {
                self.raise(index, Flags::WRITABLE);
            }
        }
        if was == State::SynSent && events.contains(Events::ESTABLISHED) {
            self.learn_fast_open(now, index, arriving, (in_syn, acked));
        }
        if let Some(accept) = accept {
            let read_closed =
                self.connections.slot(index).is_some_and(|c| c.socket.flags.contains(Flags::READ_CLOSED));
            if accept.len > 0 && read_closed {
                // RFC 9293, SHLD-3: data that nobody will read any more is answered with a reset.
                self.abort(now, net, index);
                return;
            }
            if accept.in_order && accept.len > 0 {
                self.measure(
                    now,
                    index,
                    accept.len,
                    arriving.repr.options.timestamps.map(|stamps| stamps.echo),
                );
            }
            let Some(packet) = arriving.take_text(accept) else { return };
            if held.out_of_order && accept.in_order && duplicate.is_none() {
                duplicate = self.overlap(index, (accept.seq, accept.seq + accept.len));
            }
            let (gained, is_held) =
                self.take_payload(now, index, accept.seq.0, packet, accept.in_order, accept.fin);
            events |= gained;
            if is_held && accept.len > 0 {
                duplicate = Some((accept.seq, accept.seq + accept.len));
            }
        }
        if let Some(block) = duplicate {
            self.report_duplicate(now, net, index, block);
        }
        match reply {
            Reply::None => {}
            Reply::Ack(outgoing) => self.acknowledge(now, net, index, outgoing),
            Reply::Challenge(outgoing) => self.challenge(now, net, index, (outgoing, true)),
            Reply::Alive(outgoing) => self.challenge(now, net, index, (outgoing, false)),
            Reply::Reset(outgoing) => self.reply(now, net, &arriving.key, outgoing),
        }
        self.apply(now, net, index, events);
        self.mark_dirty(index);
    }

    /// A segment of a stream perhaps: for the receive buffer's growth.
    #[inline]
    fn measure(&mut self, now: Instant, index: u32, len: u32, echo: Option<u32>) {
        let Some(Connection { tcb, socket, .. }) = self.connections.slot(index) else { return };
        if Tuning::counts(tcb, len)
            && let Some(profile) = self.listeners.profiles.get(usize::from(socket.profile))
        {
            let cx = Context { now, config: &profile.tcp };
            let echo = echo.and_then(|echo| tcb.echo_age(&cx, echo).map(|age| (echo, age)));
            self.tuning.arrived(now, (index, socket.serial), tcb, echo);
        }
    }

    /// What of a segment that closes a gap was held behind it already (RFC 2883, section 4.2).
    #[cold]
    fn overlap(&self, index: u32, block: (SeqNumber, SeqNumber)) -> Option<(SeqNumber, SeqNumber)> {
        self.store.rx_overlap(self.connections.live(index)?.socket.queues, block)
    }

    /// Tells the peer at once that it has sent `block` twice (RFC 2883), so that it knows how it came to that.
    #[cold]
    fn report_duplicate(&mut self, now: Instant, net: &mut Net, index: u32, block: (SeqNumber, SeqNumber)) {
        let Some(connection) = self.connections.slot_mut(index) else { return };
        let Some(profile) = self.listeners.profiles.get(usize::from(connection.socket.profile)) else {
            return;
        };
        let list = connection.socket.queues;
        let held = Held { gaps: self.store.rx_gaps(list), ..self.store.held(list) };
        if !connection.tcb.state().is_synchronized() || !connection.tcb.info().sack {
            return;
        }
        let cx = Context { now, config: &profile.tcp };
        let outgoing = connection.tcb.report_duplicate(&cx, &held, block);
        let Socket { key, profile, mut hop, .. } = connection.socket;
        self.counters.duplicates_reported += 1;
        self.send_control(now, net, (&key, Some(profile)), &mut hop, &outgoing);
    }

    /// Stores accepted payload; returns what follows from gaps that closed, and whether all of it was held already.
    pub(crate) fn take_payload(
        &mut self,
        now: Instant,
        index: u32,
        seq: u32,
        packet: Packet,
        in_order: bool,
        fin: bool,
    ) -> (Events, bool) {
        let Some(connection) = self.connections.slot_mut(index) else { return (Events::empty(), false) };
        let list = &mut connection.socket.queues;
        let len = packet.data().len() as u64;
        if !in_order {
            let inserted = self.store.rx_insert(list, seq, packet, fin, connection.tcb.receive_window());
            match inserted {
                Inserted::Stored => self.counters.out_of_order += 1,
                Inserted::Duplicate => self.counters.dropped_duplicate += 1,
                Inserted::Full => self.counters.dropped_out_of_order_full += 1,
            }
            return (Events::empty(), inserted == Inserted::Duplicate);
        }
        if len > 0 && self.store.rx_append(list, seq, packet) {
            self.counters.bytes_in += len;
        }
        if !connection.tcb.state().can_receive() {
            // The peer's FIN came with these bytes: whatever is held lies behind the end of the stream.
            self.store.rx_discard_held(list);
        }
        let (filled, finished) = self.store.rx_fill(list, connection.tcb.rcv_nxt().0);
        let mut events = Events::empty();
        if filled > 0 || finished {
            self.counters.bytes_in += u64::from(filled);
            if let Some(profile) = self.listeners.profiles.get(usize::from(connection.socket.profile)) {
                events =
                    connection.tcb.on_gap_filled(&Context { now, config: &profile.tcp }, filled, finished);
            }
        }
        if len > 0 || filled > 0 {
            self.raise(index, Flags::READABLE);
        }
        (events, false)
    }

    /// A segment for what remains of a closed connection (RFC 9293, section 3.10.7.4; RFC 1337; RFC 6191).
    fn time_wait_segment(&mut self, now: Instant, net: &mut Net, index: u32, arriving: &mut Arriving) {
        use freeway_tcp::TimeWaitVerdict as Verdict;
        let Some(entry) = self.time_wait.get_mut(index) else { return };
        let Some(profile) = self.listeners.profiles.get(usize::from(entry.profile)) else { return };
        let cx = Context { now, config: &profile.tcp };
        let wait = profile.tcp.time_wait;
        match entry.tcp.on_segment(&cx, &arriving.arrival()) {
            Verdict::Drop => self.counters.dropped_unacceptable += 1,
            Verdict::Ack(outgoing) => self.reply(now, net, &arriving.key, &outgoing),
            Verdict::Restart(outgoing) => {
                self.time_wait.restart(index, now + wait);
                self.reply(now, net, &arriving.key, &outgoing);
            }
            Verdict::Reopen { iss_floor } => self.reopen(now, net, index, arriving, iss_floor),
        }
    }

    /// An ICMP error that quotes one of our segments.
    pub(crate) fn icmp_error(&mut self, now: Instant, net: &mut Net, notice: &IcmpNotice) {
        let (Some(local), Some(seq)) = (net.is_local(notice.local), notice.seq) else { return };
        if notice.protocol != Protocol::TCP {
            return;
        }
        let key = FlowKey::new(local, notice.local_port, notice.remote, notice.remote_port);
        let Some(Slot::Connection(index)) = self.find(self.hash(net, &key), &key) else { return };
        let Some(connection) = self.connections.slot_mut(index) else { return };
        let Some(profile) = self.listeners.profiles.get(usize::from(connection.socket.profile)) else {
            return;
        };
        let error = match notice.kind {
            IcmpKind::PacketTooBig { mtu } => return self.too_big(now, net, index, mtu, seq),
            kind if kind.is_hard() => IcmpError::Hard,
            _ => IcmpError::Soft,
        };
        let events = connection.tcb.on_icmp(&Context { now, config: &profile.tcp }, error, seq);
        if events.contains(Events::SOFT_ERROR) {
            self.note_trouble(index, notice.kind);
        }
        self.apply(now, net, index, events);
        self.mark_dirty(index);
    }

    /// Marks events for the application.
    #[inline]
    pub(crate) fn raise(&mut self, index: u32, events: Flags) {
        if let Some(connection) = self.connections.slot_mut(index) {
            connection.socket.flags.insert(events);
            self.ready.push(Which::Ready, &mut self.connections, index);
        }
    }

    /// Puts a connection on the list of those that are looked at at the end of the turn: for what they have to say, and
    /// to set their timer.
    #[inline]
    pub(crate) fn mark_dirty(&mut self, index: u32) {
        if self.connections.slot(index).is_some_and(|c| !c.socket.flags.contains(Flags::DETACHED)) {
            self.dirty.push(Which::Dirty, &mut self.connections, index);
        }
    }
}
