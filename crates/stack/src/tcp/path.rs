//! A connection's path: what TCP finds out of it, and what the host remembers for all who go that way.
//!
//! TCP counts payload and the path memory whole packets; between them lie the options, the TCP header and IP's. What is
//! remembered of a destination narrows connections as they open, and lets those that were narrowed by a router grow
//! again when the memory fades. A connection on a path that swallows segments grows by probes alone (RFC 4821).

use core::net::IpAddr;

use freeway_base::Instant;
use freeway_tcp::{Context, Events, Held, IcmpError, Probe};
use freeway_wire::tcp::SeqNumber;

use super::TcpHost;
use super::record::Connection;
use crate::net::{Net, Path};

/// Bytes of IP and TCP headers without options.
pub(crate) const fn headers(peer: IpAddr) -> u16 {
    match peer {
        IpAddr::V4(_) => 20 + 20,
        IpAddr::V6(_) => 40 + 20,
    }
}

impl<S: Copy + Default + 'static> TcpHost<S> {
    /// Settings of a connection as they stand.
    fn settings(&self, connection: &Connection<S>) -> Option<&freeway_tcp::Config> {
        self.listeners.profiles.get(usize::from(connection.socket.profile)).map(|profile| &profile.tcp)
    }

    /// A connection has opened: its segments are as long as the path is remembered to carry.
    pub(crate) fn adopt_path(&mut self, now: Instant, net: &Net, index: u32) {
        let Some(connection) = self.connections.slot_mut(index) else { return };
        let Some(profile) = self.listeners.profiles.get(usize::from(connection.socket.profile)) else {
            return;
        };
        connection.tcb.begin_probing(&Context { now, config: &profile.tcp });
        let peer = connection.socket.key.remote();
        if let Some(path) = net.path(now, peer) {
            connection.tcb.set_path_mss(path.mtu.saturating_sub(headers(peer)));
        }
    }

    /// Before a connection with short segments sends: is the path remembered to be as narrow still?
    #[cold]
    pub(crate) fn follow_path(&mut self, now: Instant, net: &Net, index: u32) {
        let Some(connection) = self.connections.slot_mut(index) else { return };
        if connection.tcb.probes_path() {
            return;
        }
        let peer = connection.socket.key.remote();
        let mss = net.path(now, peer).map_or(u16::MAX, |path| path.mtu.saturating_sub(headers(peer)));
        connection.tcb.set_path_mss(mss);
    }

    /// Sends a longer segment than the others, if the path is to be probed and this is the time for it; whether it did.
    #[cold]
    pub(crate) fn probe_path(&mut self, now: Instant, net: &mut Net, index: u32, held: &Held) -> bool {
        let Some(connection) = self.connections.slot(index) else { return false };
        let Some(profile) = self.listeners.profiles.get(usize::from(connection.socket.profile)) else {
            return false;
        };
        let peer = connection.socket.key.remote();
        let fails = match net.path(now, peer) {
            Some(Path { fails, .. }) if fails < u16::MAX => {
                connection.tcb.payload_of(fails.saturating_sub(headers(peer)))
            }
            _ => u16::MAX,
        };
        let Some(len) = connection.tcb.probe_len(fails) else { return false };
        let (cx, list) = (Context { now, config: &profile.tcp }, connection.socket.queues);
        let mut tcb = connection.tcb;
        let flight = self.store.want_flight(list, &cx, &tcb, held).unwrap_or(super::NONE);
        let flight = self.store.flights.slot_mut(flight);
        let Some((outgoing, probe)) = tcb.poll_probe(&cx, held, flight, len) else { return false };
        if let Some(connection) = self.connections.slot_mut(index) {
            connection.tcb = tcb;
        }
        self.store.set_probe(list, probe);
        self.counters.path_probes += 1;
        self.send_segment(now, net, index, &outgoing);
        true
    }

    /// An acknowledgment has come, of a probe perhaps, or of the first segments short enough for a black hole.
    #[cold]
    pub(crate) fn path_acked(&mut self, now: Instant, net: &mut Net, index: u32, held: &Held) {
        let Some(connection) = self.connections.slot_mut(index) else { return };
        let peer = connection.socket.key.remote();
        let path = net.path(now, peer);
        let mut fails = path.map_or(u16::MAX, |path| path.fails);
        let has_news = connection.tcb.has_path_news();
        if connection.tcb.take_path_news() {
            self.counters.black_holes += 1;
            fails = u16::MAX;
        } else if held.probe.is_acked(connection.tcb.snd_una()) {
            connection.tcb.on_probe_acked(held.probe);
            self.store.set_probe(connection.socket.queues, Probe::NONE);
        } else {
            if let Some(path) = path.filter(|_| has_news) {
                connection.tcb.set_path_mss(path.mtu.saturating_sub(headers(peer)));
            }
            return;
        }
        let mtu = connection.tcb.path_mss().saturating_add(headers(peer));
        let fails = if fails > mtu { fails } else { u16::MAX };
        net.learn_path(now, peer, Path { mtu, fails });
    }

    /// A probe did not get through: its bytes are being sent again.
    #[cold]
    pub(crate) fn probe_lost(&mut self, now: Instant, net: &mut Net, index: u32, probe: Probe) {
        let Some(connection) = self.connections.slot_mut(index) else { return };
        self.counters.path_probes_lost += 1;
        self.store.set_probe(connection.socket.queues, Probe::NONE);
        let tcb = &connection.tcb;
        let peer = connection.socket.key.remote();
        let mtu = tcb.path_mss().saturating_add(headers(peer));
        let fails = tcb.segment_of(probe.len()).saturating_add(headers(peer));
        net.learn_path(now, peer, Path { mtu, fails });
    }

    /// A router says that the segment at `seq` is longer than `mtu` carries (RFC 1191; RFC 8201; RFC 5927, section 7).
    #[cold]
    pub(crate) fn too_big(&mut self, now: Instant, net: &mut Net, index: u32, mtu: u16, seq: SeqNumber) {
        let Some(connection) = self.connections.slot(index) else { return };
        let Some(config) = self.settings(connection) else { return };
        let (peer, list) = (connection.socket.key.remote(), connection.socket.queues);
        let cx = Context { now, config };
        let mut tcb = connection.tcb;
        let probe = self.store.held(list).probe;
        let mss = mtu.saturating_sub(headers(peer));
        let payload = tcb.payload_of(mss);
        let believable = mtu >= net.path_mtu_min(peer.into());
        if believable && probe.covers(seq) && payload >= tcb.mss() && payload < probe.len() {
            tcb.on_probe_too_big(&cx, probe);
            self.put_back(index, tcb);
            self.probe_lost(now, net, index, probe);
            net.learn_path(
                now,
                peer,
                Path { mtu: tcb.path_mss().saturating_add(headers(peer)), fails: mtu.saturating_add(1) },
            );
        } else if believable && tcb.on_icmp(&cx, IcmpError::PacketTooBig { mss }, seq).contains(Events::PATH)
        {
            self.put_back(index, tcb);
            net.narrow_path(now, peer, mtu);
        } else {
            net.counters.ignored_too_big += 1;
            return;
        }
        self.mark_dirty(index);
    }

    fn put_back(&mut self, index: u32, tcb: freeway_tcp::Tcb) {
        if let Some(connection) = self.connections.slot_mut(index) {
            connection.tcb = tcb;
        }
    }
}
