//! Passive opens: LISTEN and SYN-RECEIVED (RFC 9293, sections 3.10.7.2 and 3.10.7.4), and SYN cookies in their place
//! (RFC 4987, section 3.6).

use core::net::IpAddr;

use freeway_base::Instant;
use freeway_tcp::{Config, Context, Cookies, SynReceived, SynVerdict};
use freeway_wire::tcp::{FastOpenCookie, Flags as TcpFlags, SeqNumber};

use super::TcpHost;
use super::gate::{Admission, Shed};
use super::input::Arriving;
use super::key::FlowKey;
use super::lifecycle::flow_name;
use super::slot::Slot;
use super::syn_table::Entry;
use crate::net::{Hop, Net};

impl<S: Copy + Default + 'static> TcpHost<S> {
    /// A segment for no connection.
    pub(crate) fn listen_segment(&mut self, now: Instant, net: &mut Net, arriving: &mut Arriving) {
        let listener = self.listeners.find(arriving.dst(), arriving.key.local_port);
        let decisive = TcpFlags::SYN | TcpFlags::ACK | TcpFlags::RST;
        let kind = arriving.repr.flags.intersection(decisive);
        match listener {
            Some(profile) if kind == TcpFlags::SYN => self.open_passive(now, net, arriving, profile, None),
            // A listener that has no half-open record of this flow may have sent it a cookie.
            Some(profile) if kind == TcpFlags::ACK && self.redeem(now, net, profile, arriving) => {}
            // CLOSED and LISTEN alike: whatever is not a SYN, and not a reset, is answered with a reset.
            _ => self.refuse(now, net, arriving),
        }
    }

    /// CLOSED: a reset for everything but resets.
    fn refuse(&mut self, now: Instant, net: &mut Net, arriving: &Arriving) {
        self.counters.dropped_no_listener += 1;
        if let Some(outgoing) = freeway_tcp::reset_for(&arriving.repr, arriving.payload_len) {
            self.reply(now, net, &arriving.key, &outgoing);
        }
    }

    /// What to do with a SYN for the listener of `profile`. One that takes over from TIME-WAIT (`reopens`) must begin
    /// above the old connection's numbers, which a cookie cannot.
    fn admission(&self, profile: u16, peer: IpAddr, reopens: bool) -> Result<Admission, Shed> {
        self.admits(profile, peer)?;
        let full = self.half_open.entries.len() == self.half_open.entries.capacity();
        let Some(gate) = self.listeners.gate(profile) else { return Ok(Admission::Full) };
        Ok(match gate.on_syn(full) {
            Admission::Cookie if reopens && full => Admission::Full,
            Admission::Cookie if reopens => Admission::Record,
            admission => admission,
        })
    }

    /// A SYN for a listener: a half-open record, or none and a cookie; and a SYN-ACK. `iss_floor` is the sequence
    /// number which a connection that takes over from TIME-WAIT must begin above (RFC 6191).
    fn open_passive(
        &mut self,
        now: Instant,
        net: &mut Net,
        arriving: &mut Arriving,
        profile: u16,
        iss_floor: Option<SeqNumber>,
    ) {
        let key = arriving.key;
        let (fast, cookie) = self.judge_fast_open(now, profile, arriving);
        let admission = match self.admission(profile, key.remote(), iss_floor.is_some()) {
            Ok(Admission::Full) if !fast => return self.shed_half_open(profile),
            Ok(admission) => admission,
            Err(why) => return self.shed(profile, why),
        };
        let Ok(hop) = net.hop(now, arriving.src()) else { return };
        let Some(config) = self.opening_config(net, profile, hop, key.remote()) else { return };
        let cx = Context { now, config: &config };
        if admission == Admission::Cookie && !fast {
            self.send_cookie(&cx, net, arriving, (profile, hop), cookie);
            return;
        }
        let (iss, timestamp_offset) = self.sequence(now, net, &key);
        let iss = match iss_floor {
            Some(floor) if iss.is_before(floor) => floor,
            _ => iss,
        };
        let syn = SynReceived::from_syn(&cx, &arriving.arrival(), iss, timestamp_offset);
        if fast {
            self.open_fast(&cx, net, arriving, &syn, (key, profile, hop), cookie);
            return;
        }
        if let Some(index) = self.insert_half_open(net, Entry { key, profile, hop, syn }) {
            if let Some(deadline) = syn.next_deadline(now) {
                self.wheel.arm(self.half_open_timer(index), deadline);
            }
            self.send_syn_ack(now, net, index, cookie);
        }
    }

    fn insert_half_open(&mut self, net: &Net, entry: Entry) -> Option<u32> {
        let Entry { key, profile, .. } = entry;
        let Ok(index) = self.half_open.entries.insert(entry) else {
            self.shed_half_open(profile);
            return None;
        };
        let hash = self.hash(net, &key);
        if !self.enter_flow(hash, Slot::SynReceived(index)) {
            self.half_open.entries.remove(index);
            self.shed_half_open(profile);
            return None;
        }
        if let Some(gate) = self.listeners.gate_mut(profile) {
            gate.half_open += 1;
        }
        Some(index)
    }

    fn shed_half_open(&mut self, profile: u16) {
        self.counters.dropped_syn_table_full += 1;
        if let Some(gate) = self.listeners.gate_mut(profile) {
            gate.counters.shed_half_open += 1;
        }
    }

    /// The SYN of a new connection of a flow that is in TIME-WAIT, which gives way where there is room for a record.
    pub(crate) fn reopen(
        &mut self,
        now: Instant,
        net: &mut Net,
        index: u32,
        arriving: &mut Arriving,
        iss_floor: SeqNumber,
    ) {
        let Some(profile) = self.listeners.find(arriving.dst(), arriving.key.local_port) else {
            // Nobody listens any more: CLOSED.
            return self.refuse(now, net, arriving);
        };
        match self.admission(profile, arriving.key.remote(), true) {
            Ok(Admission::Record) => {
                self.remove_time_wait(net, index);
                self.open_passive(now, net, arriving, profile, Some(iss_floor));
            }
            Ok(Admission::Cookie | Admission::Full) => self.shed_half_open(profile),
            Err(why) => self.shed(profile, why),
        }
    }

    // ---- SYN cookies ----

    /// What the cookies of a flow are baked with.
    fn cookies<'a>(&self, flow: &'a [u8; 36], key: &FlowKey) -> Cookies<'a> {
        Cookies {
            key: self.jar.key,
            flow,
            ipv6: key.remote().is_ipv6(),
            timestamp_offset: freeway_tcp::timestamp_offset(self.secrets.sequence, flow),
        }
    }

    /// Answers a SYN and keeps nothing of it.
    fn send_cookie(
        &mut self,
        cx: &Context<'_>,
        net: &mut Net,
        arriving: &Arriving,
        (profile, mut hop): (u16, Hop),
        cookie: Option<FastOpenCookie>,
    ) {
        let key = arriving.key;
        let flow = flow_name(net, &key);
        let Some(syn) = SynReceived::with_cookie(cx, &arriving.arrival(), &self.cookies(&flow, &key)) else {
            return self.shed_half_open(profile);
        };
        self.counters.syn_cookies_sent += 1;
        if let Some(gate) = self.listeners.gate_mut(profile) {
            gate.bake(cx.now);
        }
        let mut outgoing = syn.syn_ack(cx);
        outgoing.options.fast_open = cookie;
        self.send_control(cx.now, net, (&key, Some(profile)), &mut hop, &outgoing);
    }

    /// An acknowledgment for a listener: the end of a handshake whose beginning was not kept, if a cookie is in it.
    /// False where there is none, and the segment is to be refused.
    fn redeem(&mut self, now: Instant, net: &mut Net, profile: u16, arriving: &mut Arriving) -> bool {
        if !self.listeners.gate(profile).is_some_and(|gate| gate.expects_cookies(now)) {
            return false;
        }
        let Some(config) = self.listeners.profiles.get(usize::from(profile)).map(|profile| profile.tcp)
        else {
            return false;
        };
        let key = arriving.key;
        let flow = flow_name(net, &key);
        let cookies = self.cookies(&flow, &key);
        let baked = cookies.read(&Context { now, config: &config }, &arriving.arrival());
        let Some(baked) = baked.filter(|baked| !self.jar.is_used(baked.fingerprint)) else {
            self.counters.dropped_bad_cookie += 1;
            if let Some(gate) = self.listeners.gate_mut(profile) {
                gate.counters.cookies_refused += 1;
            }
            return false;
        };
        if let Err(why) = self.admits_connection(profile, key.remote()) {
            self.turn_away(now, net, profile, arriving, why);
            return true;
        }
        // No way back to the peer: as if the segment had been lost.
        let Ok(hop) = net.hop(now, key.remote()) else { return true };
        let Some(config) = self.opening_config(net, profile, hop, key.remote()) else { return true };
        let cx = Context { now, config: &config };
        let tcb = SynReceived::redeem(&cx, &arriving.arrival(), &cookies, &baked);
        self.jar.use_up(baked.fingerprint);
        self.counters.syn_cookies_accepted += 1;
        if let Some(gate) = self.listeners.gate_mut(profile) {
            gate.counters.cookies_accepted += 1;
        }
        self.accept(now, net, tcb, (key, profile, hop), arriving);
        true
    }

    // ---- half-open records ----

    /// Sends (again) what a half-open connection says, the first time with a Fast Open cookie if one was asked for.
    pub(crate) fn send_syn_ack(
        &mut self,
        now: Instant,
        net: &mut Net,
        index: u32,
        cookie: Option<FastOpenCookie>,
    ) {
        let Some(&Entry { key, profile, hop, syn }) = self.half_open.entries.get(index) else { return };
        let Some(config) = self.opening_config(net, profile, hop, key.remote()) else { return };
        let mut outgoing = syn.syn_ack(&Context { now, config: &config });
        outgoing.options.fast_open = cookie;
        let mut hop = hop;
        self.send_control(now, net, (&key, Some(profile)), &mut hop, &outgoing);
    }

    /// A segment for a half-open connection.
    pub(crate) fn half_open_segment(
        &mut self,
        now: Instant,
        net: &mut Net,
        index: u32,
        arriving: &mut Arriving,
    ) {
        let Some(&Entry { key, profile, hop, .. }) = self.half_open.entries.get(index) else { return };
        let Some(config) = self.opening_config(net, profile, hop, key.remote()) else { return };
        let Some(entry) = self.half_open.entries.get_mut(index) else { return };
        let cx = Context { now, config: &config };
        match entry.syn.on_segment(&cx, &arriving.arrival()) {
            SynVerdict::Drop(_) => self.counters.dropped_unacceptable += 1,
            SynVerdict::ResendSynAck => self.send_syn_ack(now, net, index, None),
            SynVerdict::ChallengeAck(outgoing) | SynVerdict::Reset(outgoing) => {
                self.reply(now, net, &arriving.key, &outgoing);
            }
            SynVerdict::Remove => self.remove_half_open(net, index),
            SynVerdict::Establish(tcb) => match self.admits_connection(profile, key.remote()) {
                Ok(()) => {
                    self.remove_half_open(net, index);
                    self.accept(now, net, tcb, (key, profile, hop), arriving);
                }
                // The record stays: the SYN-ACK is sent again, and the peer's ACK may find room then.
                Err(why) => {
                    if self.turn_away(now, net, profile, arriving, why) {
                        self.remove_half_open(net, index);
                    }
                }
            },
        }
    }

    /// TCP's settings while a connection opens; see [`Listeners::opening`](super::listener::Listeners::opening).
    pub(crate) fn opening_config(&self, net: &Net, profile: u16, hop: Hop, peer: IpAddr) -> Option<Config> {
        self.listeners.opening(net, &self.store, profile, hop, peer)
    }

    /// Forgets a half-open connection.
    pub(crate) fn remove_half_open(&mut self, net: &Net, index: u32) {
        if let Some(&Entry { key, profile, .. }) = self.half_open.entries.get(index) {
            self.half_open.entries.remove(index);
            if let Some(gate) = self.listeners.gate_mut(profile) {
                gate.half_open = gate.half_open.saturating_sub(1);
            }
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
