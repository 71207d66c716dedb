//! Passive opens: LISTEN and SYN-RECEIVED (RFC 9293, sections 3.10.7.2 and 3.10.7.4).

use core::net::IpAddr;

use freeway_base::Instant;
use freeway_tcp::{Config, Context, SynReceived, SynVerdict};
use freeway_wire::tcp::{Flags as TcpFlags, SeqNumber};

use super::TcpHost;
use super::input::Arriving;
use super::path::headers;
use super::record::Flags;
use super::slot::Slot;
use super::syn_table::Entry;
use crate::net::{Hop, Net};

impl<S: Copy + Default + 'static> TcpHost<S> {
    /// A segment for no connection.
    pub(crate) fn listen_segment(&mut self, now: Instant, net: &mut Net, arriving: &Arriving) {
        let flags = arriving.repr.flags;
        let is_open = flags.contains(TcpFlags::SYN) && !flags.intersects(TcpFlags::ACK | TcpFlags::RST);
        if is_open && self.listeners.find(arriving.inbound.dst, arriving.key.local_port).is_some() {
            self.open_passive(now, net, arriving, None);
            return;
        }
        // CLOSED and LISTEN alike: whatever is not a SYN, and not a reset, is answered with a reset.
        self.counters.dropped_no_listener += 1;
        if let Some(outgoing) = freeway_tcp::reset_for(&arriving.repr, arriving.payload_len()) {
            self.reply(now, net, &arriving.key, &outgoing);
        }
    }

    /// A SYN for a listener: a half-open record, and a SYN-ACK. `iss_floor` is the sequence number which a
    /// connection that takes over from TIME-WAIT must begin above (RFC 6191).
    pub(crate) fn open_passive(
        &mut self,
        now: Instant,
        net: &mut Net,
        arriving: &Arriving,
        iss_floor: Option<SeqNumber>,
    ) {
        let key = arriving.key;
        let Some(profile) = self.listeners.find(arriving.inbound.dst, key.local_port) else { return };
        let Ok(hop) = net.hop(now, arriving.inbound.src) else { return };
        let Some(config) = self.opening_config(net, profile, hop, key.remote()) else { return };
        let cx = Context { now, config: &config };
        let (iss, timestamp_offset) = self.sequence(now, net, &key);
        let iss = match iss_floor {
            Some(floor) if iss.is_before(floor) => floor,
            _ => iss,
        };
        let syn = SynReceived::from_syn(&cx, &arriving.arrival(), iss, timestamp_offset);
        let Ok(index) = self.half_open.entries.insert(Entry { key, profile, hop, syn }) else {
            self.counters.dropped_syn_table_full += 1;
            return;
        };
        let hash = self.hash(net, &key);
        if self.flows.insert(hash, Slot::SynReceived(index).pack()).is_err() {
            self.half_open.entries.remove(index);
            self.counters.dropped_syn_table_full += 1;
            return;
        }
        if let Some(deadline) = syn.next_deadline(now) {
            self.wheel.arm(self.half_open_timer(index), deadline);
        }
        self.send_syn_ack(now, net, index);
    }

    /// Sends (again) what a half-open connection says.
    pub(crate) fn send_syn_ack(&mut self, now: Instant, net: &mut Net, index: u32) {
        let Some(&Entry { key, profile, hop, syn }) = self.half_open.entries.get(index) else { return };
        let Some(config) = self.opening_config(net, profile, hop, key.remote()) else { return };
        let outgoing = syn.syn_ack(&Context { now, config: &config });
        let mut hop = hop;
        self.send_control(now, net, (&key, Some(profile)), &mut hop, &outgoing);
    }

    /// A segment for a half-open connection.
    pub(crate) fn half_open_segment(&mut self, now: Instant, net: &mut Net, index: u32, arriving: Arriving) {
        let Some(&Entry { key, profile, hop, .. }) = self.half_open.entries.get(index) else { return };
        let Some(config) = self.opening_config(net, profile, hop, key.remote()) else { return };
        let Some(entry) = self.half_open.entries.get_mut(index) else { return };
        let cx = Context { now, config: &config };
        match entry.syn.on_segment(&cx, &arriving.arrival()) {
            SynVerdict::Drop(_) => self.counters.dropped_unacceptable += 1,
            SynVerdict::ResendSynAck => self.send_syn_ack(now, net, index),
            SynVerdict::ChallengeAck(outgoing) | SynVerdict::Reset(outgoing) => {
                self.reply(now, net, &arriving.key, &outgoing);
            }
            SynVerdict::Remove => self.remove_half_open(net, index),
            SynVerdict::Establish(tcb) => {
                if self.connections.len() == self.connections.capacity() {
                    // The record stays: the SYN-ACK is sent again, and the peer's ACK may find room then.
                    self.counters.dropped_connections_full += 1;
                    return;
                }
                self.remove_half_open(net, index);
                let Some(index) = self.insert(now, net, tcb, (key, profile, hop)) else {
                    self.counters.dropped_connections_full += 1;
                    return;
                };
                self.counters.accepted += 1;
                self.raise(index, Flags::ACCEPTED);
                if arriving.payload_len() > 0 || arriving.repr.flags.contains(TcpFlags::FIN) {
                    self.connection_segment(now, net, index, arriving);
                } else {
                    self.mark_dirty(index);
                }
            }
        }
    }

    /// TCP's settings while a connection opens: those of its profile, with the MSS that the way to the peer and
    /// this host's buffers carry (RFC 9293, SHLD-6, MUST-15, MUST-67).
    pub(crate) fn opening_config(&self, net: &Net, profile: u16, hop: Hop, peer: IpAddr) -> Option<Config> {
        const DEFAULT_MSS_V6: u16 = 1220;
        let mut config = self.listeners.profiles.get(usize::from(profile))?.tcp;
        let buffer = self.store.pool.buffer_size() - u32::from(self.store.pool.headroom());
        let carried =
            net.mtu(hop).saturating_sub(headers(peer)).min(u16::try_from(buffer).unwrap_or(u16::MAX));
        config.mss = config.mss.min(carried);
        if peer.is_ipv6() {
            config.default_mss = config.default_mss.max(DEFAULT_MSS_V6);
        }
        Some(config)
    }

    /// Forgets a half-open connection.
    pub(crate) fn remove_half_open(&mut self, net: &Net, index: u32) {
        if let Some(&Entry { key, .. }) = self.half_open.entries.get(index) {
            self.half_open.entries.remove(index);
            let hash = self.hash(net, &key);
            self.flows.remove(hash, Slot::SynReceived(index).pack());
            self.wheel.cancel(self.half_open_timer(index));
        }
    }

    /// The wheel's number for a half-open connection: they come behind the connections.
    pub(crate) fn half_open_timer(&self, index: u32) -> u32 {
        self.connections.capacity() + index
    }
}
