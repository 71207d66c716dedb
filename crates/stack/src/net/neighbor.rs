//! The neighbour cache: which MAC address a host on the link has, for ARP and NDP alike.
//!
//! An entry holds the whole link header of a frame to its neighbour, ready to be copied in front of a packet.
//! Flows name an entry by a [`Hop`]; an entry that goes takes a new generation number, so that an old hop is
//! known for what it is.
//!
//! ```text
//!             solicit, broadcast                    30 s unheard
//!   (new) ──► INCOMPLETE ─────────────► REACHABLE ──────────────► STALE
//!                │  3 tries, no answer      ▲  ▲                    │ a packet is sent
//!                ▼                  answer  │  │ answer             ▼
//!              (free) ◄──────────── PROBE ──┘  └───────────────── DELAY
//!                     3 tries,        ▲                             │ 5 s unheard
//!                     no answer       └─────────────────────────────┘
//! ```
//!
//! (RFC 4861, section 7.3.2, used for ARP as well.) Every state's wait has one length, so each state keeps its
//! entries in a list in the order of their deadlines: the first is always the next one due, and nothing is
//! searched. The lists also say who goes when the cache is full: first groups, which need no asking; then those that
//! never answered, so that a scan through many addresses displaces only its own entries; then the stale, oldest first;
//! those in use last.

use alloc::vec;
use alloc::vec::Vec;

use freeway_base::{Duration, HashKey, Instant};
use freeway_mem::Packet;
use freeway_wire::MacAddr;

use super::IfaceId;
use super::interface::LinkHeader;
use super::pending::{PendingPool, Queue};

/// How long an answer is believed (RFC 4861, section 10, REACHABLE_TIME).
pub(crate) const REACHABLE: Duration = Duration::from_secs(30);
/// How long an upper layer may take to show that the neighbour lives (DELAY_FIRST_PROBE_TIME).
pub(crate) const DELAY: Duration = Duration::from_secs(5);
/// Between two solicitations (RETRANS_TIMER; RFC 1122, section 2.3.2.1, asks for at most one a second).
pub(crate) const RETRANSMIT: Duration = Duration::from_secs(1);
/// Solicitations before a neighbour is given up (MAX_UNICAST_SOLICIT, MAX_MULTICAST_SOLICIT).
pub(crate) const ATTEMPTS: u8 = 3;

/// A flow's next hop: which neighbour entry, and which generation of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop(u32);

impl Hop {
    /// No entry yet; the first packet looks it up.
    pub const UNRESOLVED: Self = Self(u32::MAX);

    const fn new(index: u16, generation: u16) -> Self {
        Self((generation as u32) << 16 | index as u32)
    }

    const fn index(self) -> u16 {
        self.0 as u16
    }

    const fn generation(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

/// What is known of a neighbour (RFC 4861, section 7.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum State {
    Free,
    /// Asked for; packets wait.
    Incomplete,
    /// Heard lately.
    Reachable,
    /// Not heard lately, nor needed.
    Stale,
    /// Needed again; upper layers may show that it lives.
    Delay,
    /// Asked whether it lives; packets go out meanwhile.
    Probe,
    /// A multicast or broadcast address, which needs no asking.
    Permanent,
}

const STATES: usize = 7;
/// Who goes first when the cache is full.
const EVICTION: [State; 6] =
    [State::Permanent, State::Incomplete, State::Stale, State::Probe, State::Reachable, State::Delay];
/// States that end by themselves.
const TIMED: [State; 4] = [State::Incomplete, State::Reachable, State::Delay, State::Probe];

/// Whom an entry is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    /// The neighbour's address, IPv4 mapped.
    pub(crate) addr: u128,
    pub(crate) iface: IfaceId,
}

const NONE: u16 = u16::MAX;

struct Entry {
    link: LinkHeader,
    state: State,
    attempts: u8,
    generation: u16,
    deadline: Instant,
    key: Key,
    /// The next entry of the same hash bucket.
    chain: u16,
    prev: u16,
    next: u16,
    pending: Queue,
}

#[derive(Clone, Copy)]
struct List {
    head: u16,
    tail: u16,
}

/// What is to be done for an entry whose time has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    /// Ask for it: everybody, or the neighbour itself at its last known MAC address.
    Solicit { key: Key, at: Option<MacAddr> },
    /// It did not answer and was forgotten, with so many packets.
    Failed { dropped: u16 },
}

/// What is to be done with a packet for an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Passage {
    /// Send it under the entry's link header.
    Open,
    /// Let it wait.
    Wait,
}

pub(crate) struct Neighbors {
    entries: Vec<Entry>,
    buckets: Vec<u16>,
    lists: [List; STATES],
    pending: PendingPool,
    key: HashKey,
    /// What was found last.
    recent: u16,
}

impl Neighbors {
    pub(crate) fn new(capacity: u16, pending: PendingPool, key: HashKey) -> Self {
        let capacity = capacity.clamp(1, NONE - 1);
        let entries = (0..capacity).map(|_| Entry {
            link: LinkHeader::EMPTY,
            state: State::Free,
            attempts: 0,
            generation: 0,
            deadline: Instant::FAR_FUTURE,
            key: Key { addr: 0, iface: IfaceId(0) },
            chain: NONE,
            prev: NONE,
            next: NONE,
            pending: Queue::EMPTY,
        });
        let mut cache = Self {
            entries: entries.collect(),
            buckets: vec![NONE; (usize::from(capacity) * 2).next_power_of_two()],
            lists: [List { head: NONE, tail: NONE }; STATES],
            pending,
            key,
            recent: 0,
        };
        for index in 0..capacity {
            cache.link_last(index, State::Free);
        }
        cache
    }

    // ---- looking up ----

    /// The entry that `hop` names, if it is still the same.
    #[inline]
    pub(crate) fn index(&self, hop: Hop) -> Option<u16> {
        let entry = self.entries.get(usize::from(hop.index()))?;
        if entry.generation == hop.generation() && entry.state != State::Free {
            Some(hop.index())
        } else {
            None
        }
    }

    /// The name of an entry.
    pub(crate) fn hop(&self, index: u16) -> Hop {
        self.get(index).map_or(Hop::UNRESOLVED, |entry| Hop::new(index, entry.generation))
    }

    #[inline]
    fn get(&self, index: u16) -> Option<&Entry> {
        self.entries.get(usize::from(index))
    }

    fn bucket(&self, key: Key) -> usize {
        let mut bytes = [0; 17];
        bytes[..16].copy_from_slice(&key.addr.to_be_bytes());
        bytes[16] = key.iface.0;
        self.key.hash(&bytes) as usize & (self.buckets.len() - 1)
    }

    pub(crate) fn find(&self, key: Key) -> Option<u16> {
        let mut index = *self.buckets.get(self.bucket(key))?;
        while let Some(entry) = self.get(index) {
            if entry.key == key {
                return Some(index);
            }
            index = entry.chain;
        }
        None
    }

    /// The same, for the way of a packet: most go to few neighbours, a host's router above all, so that the one of the
    /// packet before is tried first.
    #[inline]
    pub(crate) fn find_again(&mut self, key: Key) -> Option<u16> {
        if self.get(self.recent).is_some_and(|entry| entry.key == key && entry.state != State::Free) {
            return Some(self.recent);
        }
        let found = self.find(key)?;
        self.recent = found;
        Some(found)
    }

    pub(crate) fn state(&self, index: u16) -> State {
        self.get(index).map_or(State::Free, |entry| entry.state)
    }

    #[inline]
    /// Whether a packet for this neighbour goes out, or has room to wait for its answer.
    pub(crate) fn has_room(&self, index: u16) -> bool {
        match self.entries.get(usize::from(index)) {
            Some(entry) if entry.state == State::Incomplete => !self.pending.is_full(&entry.pending),
            _ => true,
        }
    }

    pub(crate) fn iface(&self, index: u16) -> IfaceId {
        self.get(index).map_or(IfaceId(u8::MAX), |entry| entry.key.iface)
    }

    pub(crate) fn mac(&self, index: u16) -> Option<MacAddr> {
        let entry = self.get(index)?;
        let known = !matches!(entry.state, State::Free | State::Incomplete);
        known.then(|| entry.link.dst())
    }

    /// The link header of frames to this neighbour.
    #[inline]
    pub(crate) fn link(&self, index: u16) -> Option<&LinkHeader> {
        self.get(index).map(|entry| &entry.link)
    }

    // ---- a packet on its way out ----

    /// Whether a packet may go, and what follows from its going (RFC 4861, section 7.3.3).
    #[inline]
    pub(crate) fn passage(&mut self, index: u16, now: Instant) -> Passage {
        match self.state(index) {
            State::Reachable | State::Delay | State::Probe | State::Permanent => Passage::Open,
            State::Stale => {
                self.enter(index, State::Delay, now + DELAY);
                Passage::Open
            }
            State::Incomplete | State::Free => Passage::Wait,
        }
    }

    /// Lets a packet wait; gives back the one that had to go, if one had to.
    pub(crate) fn wait(&mut self, index: u16, packet: Packet) -> Option<Packet> {
        match self.entries.get_mut(usize::from(index)) {
            Some(entry) => self.pending.push(&mut entry.pending, packet),
            None => Some(packet),
        }
    }

    /// The next packet that waited for this neighbour.
    pub(crate) fn waited(&mut self, index: u16) -> Option<Packet> {
        let entry = self.entries.get_mut(usize::from(index))?;
        self.pending.pop(&mut entry.pending)
    }

    // ---- what is heard ----

    /// A new entry that is being asked for. The caller sends the first solicitation. Second is how many packets
    /// went with the entry that made room.
    pub(crate) fn insert(&mut self, key: Key, now: Instant) -> Option<(u16, u16)> {
        let (index, dropped) = self.vacancy()?;
        let bucket = self.bucket(key);
        let chain = core::mem::replace(self.buckets.get_mut(bucket)?, index);
        let entry = self.entries.get_mut(usize::from(index))?;
        (entry.key, entry.chain, entry.attempts) = (key, chain, 1);
        self.enter(index, State::Incomplete, now + RETRANSMIT);
        Some((index, dropped))
    }

    /// The neighbour has answered: it is at `link` and alive.
    pub(crate) fn confirm(&mut self, index: u16, link: LinkHeader, now: Instant) {
        if let Some(entry) = self.entries.get_mut(usize::from(index)) {
            entry.link = link;
            self.enter(index, State::Reachable, now + REACHABLE);
        }
    }

    /// An upper layer has seen that the neighbour lives (RFC 4861, section 7.3.1).
    pub(crate) fn confirm_forward(&mut self, index: u16, now: Instant) {
        if matches!(self.state(index), State::Stale | State::Delay | State::Probe) {
            self.enter(index, State::Reachable, now + REACHABLE);
        }
    }

    /// The neighbour is said to be at `link`; whether it hears us is not known.
    pub(crate) fn learn(&mut self, index: u16, link: LinkHeader) {
        if let Some(entry) = self.entries.get_mut(usize::from(index)) {
            entry.link = link;
            self.enter(index, State::Stale, Instant::FAR_FUTURE);
        }
    }

    /// A group's address: it is what it is.
    pub(crate) fn fix(&mut self, index: u16, link: LinkHeader) {
        if let Some(entry) = self.entries.get_mut(usize::from(index)) {
            entry.link = link;
            self.enter(index, State::Permanent, Instant::FAR_FUTURE);
        }
    }

    /// Somebody claims a reachable neighbour's address: ask the neighbour, at once, whether it is still there.
    pub(crate) fn doubt(&mut self, index: u16, now: Instant) {
        if let Some(entry) = self.entries.get_mut(usize::from(index)) {
            entry.attempts = 0;
            self.enter(index, State::Probe, now);
        }
    }

    // ---- time ----

    /// When [`Neighbors::due`] must be asked next.
    pub(crate) fn next_deadline(&self) -> Instant {
        // A reachable neighbour that turns stale wakes nobody: the change waits for the next turn.
        let waking = [State::Incomplete, State::Delay, State::Probe];
        waking.into_iter().map(|state| self.first_deadline(state)).min().unwrap_or(Instant::FAR_FUTURE)
    }

    fn first_deadline(&self, state: State) -> Instant {
        self.get(self.lists[state as usize].head).map_or(Instant::FAR_FUTURE, |entry| entry.deadline)
    }

    /// Takes the next entry whose time has come one step on; `None` when none is left.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Due> {
        loop {
            let state = TIMED.into_iter().find(|&state| self.first_deadline(state) <= now)?;
            let index = self.lists[state as usize].head;
            match state {
                State::Reachable => self.enter(index, State::Stale, Instant::FAR_FUTURE),
                State::Delay => {
                    self.entries.get_mut(usize::from(index))?.attempts = 1;
                    return self.solicit(index, State::Probe, now);
                }
                _ => {
                    let entry = self.entries.get_mut(usize::from(index))?;
                    if entry.attempts >= ATTEMPTS {
                        return Some(Due::Failed { dropped: self.remove(index) });
                    }
                    entry.attempts += 1;
                    return self.solicit(index, state, now);
                }
            }
        }
    }

    fn solicit(&mut self, index: u16, state: State, now: Instant) -> Option<Due> {
        self.enter(index, state, now + RETRANSMIT);
        Some(Due::Solicit { key: self.get(index)?.key, at: self.mac(index) })
    }

    // ---- lists ----

    /// A free entry, if need be by forgetting another one; and how many packets waited for that.
    fn vacancy(&mut self) -> Option<(u16, u16)> {
        let free = self.lists[State::Free as usize].head;
        if free != NONE {
            return Some((free, 0));
        }
        let heads = EVICTION.into_iter().map(|state| self.lists[state as usize].head);
        let index = heads.into_iter().find(|&head| head != NONE)?;
        let dropped = self.remove(index);
        Some((index, dropped))
    }

    /// Forgets an entry; returns how many packets waited for it.
    pub(crate) fn remove(&mut self, index: u16) -> u16 {
        self.unchain(index);
        let Some(entry) = self.entries.get_mut(usize::from(index)) else { return 0 };
        entry.generation = entry.generation.wrapping_add(1);
        let mut dropped = 0;
        while self.pending.pop(&mut entry.pending).is_some() {
            dropped += 1;
        }
        self.enter(index, State::Free, Instant::FAR_FUTURE);
        dropped
    }

    fn unchain(&mut self, index: u16) {
        let Some(entry) = self.get(index) else { return };
        let (bucket, chain) = (self.bucket(entry.key), entry.chain);
        let Some(first) = self.buckets.get_mut(bucket) else { return };
        if *first == index {
            *first = chain;
            return;
        }
        let mut before = *first;
        while let Some(entry) = self.entries.get_mut(usize::from(before)) {
            if entry.chain == index {
                entry.chain = chain;
                return;
            }
            before = entry.chain;
        }
    }

    /// Moves an entry to the end of a state's list.
    fn enter(&mut self, index: u16, state: State, deadline: Instant) {
        self.unlink(index);
        if let Some(entry) = self.entries.get_mut(usize::from(index)) {
            entry.deadline = deadline;
        }
        self.link_last(index, state);
    }

    fn unlink(&mut self, index: u16) {
        let Some(entry) = self.get(index) else { return };
        let (state, prev, next) = (entry.state, entry.prev, entry.next);
        match self.entries.get_mut(usize::from(prev)) {
            Some(before) => before.next = next,
            None => self.lists[state as usize].head = next,
        }
        match self.entries.get_mut(usize::from(next)) {
            Some(after) => after.prev = prev,
            None => self.lists[state as usize].tail = prev,
        }
    }

    fn link_last(&mut self, index: u16, state: State) {
        let tail = self.lists[state as usize].tail;
        let Some(entry) = self.entries.get_mut(usize::from(index)) else { return };
        (entry.state, entry.prev, entry.next) = (state, tail, NONE);
        match self.entries.get_mut(usize::from(tail)) {
            Some(before) => before.next = index,
            None => self.lists[state as usize].head = index,
        }
        self.lists[state as usize].tail = index;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::net::testing::pool;

    const START: Instant = Instant::from_secs(100);
    const SECOND: Duration = Duration::from_secs(1);

    fn key(addr: u128) -> Key {
        Key { addr, iface: IfaceId(0) }
    }

    fn cache(capacity: u16) -> Neighbors {
        Neighbors::new(capacity, PendingPool::new(16, 4), HashKey::new([1, 2]))
    }

    fn link(last: u8) -> LinkHeader {
        LinkHeader::new(mac(last), mac(0xee), None, freeway_wire::ethernet::EtherType::IPV4)
    }

    fn mac(last: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, last])
    }

    #[test]
    fn incomplete_asks_three_times_and_gives_up_with_its_packets() {
        let buffers = pool();
        let mut cache = cache(4);
        let (index, _) = cache.insert(key(1), START).unwrap();
        let hop = cache.hop(index);
        assert_eq!(cache.passage(index, START), Passage::Wait);
        assert!(cache.wait(index, buffers.alloc().unwrap()).is_none());
        assert_eq!(cache.due(START + Duration::from_millis(999)), None);
        let ask = Some(Due::Solicit { key: key(1), at: None });
        assert_eq!(cache.next_deadline(), START + SECOND);
        assert_eq!(cache.due(START + SECOND), ask);
        assert_eq!(cache.due(START + SECOND), None);
        assert_eq!(cache.due(START + Duration::from_secs(2)), ask);
        assert_eq!(cache.due(START + Duration::from_secs(3)), Some(Due::Failed { dropped: 1 }));
        assert_eq!(cache.index(hop), None);
        assert_eq!(cache.find(key(1)), None);
        assert_eq!(cache.next_deadline(), Instant::FAR_FUTURE);
        assert_eq!(buffers.in_use(), 0);
    }

    #[test]
    fn reachable_turns_stale_after_its_time_without_waking_anyone() {
        let mut cache = cache(4);
        let (index, _) = cache.insert(key(1), START).unwrap();
        cache.confirm(index, link(1), START);
        assert_eq!(cache.state(index), State::Reachable);
        assert_eq!(cache.passage(index, START), Passage::Open);
        assert_eq!(cache.next_deadline(), Instant::FAR_FUTURE);
        assert_eq!(cache.due(START + REACHABLE), None);
        assert_eq!(cache.state(index), State::Stale);
        assert_eq!(cache.mac(index), Some(mac(1)));
    }

    #[test]
    fn stale_delays_then_probes_then_fails() {
        let mut cache = cache(4);
        let (index, _) = cache.insert(key(1), START).unwrap();
        cache.learn(index, link(1));
        assert_eq!(cache.state(index), State::Stale);
        assert_eq!(cache.passage(index, START), Passage::Open);
        assert_eq!(cache.state(index), State::Delay);
        assert_eq!(cache.next_deadline(), START + DELAY);
        let ask = Some(Due::Solicit { key: key(1), at: Some(mac(1)) });
        let mut now = START + DELAY;
        for _ in 0..ATTEMPTS {
            assert_eq!(cache.due(now), ask);
            assert_eq!(cache.state(index), State::Probe);
            assert_eq!(cache.passage(index, now), Passage::Open);
            now += RETRANSMIT;
        }
        assert_eq!(cache.due(now), Some(Due::Failed { dropped: 0 }));
        assert_eq!(cache.state(index), State::Free);
    }

    #[test]
    fn what_was_found_last_is_found_again_as_long_as_it_is_there() {
        let mut cache = cache(1);
        let (index, _) = cache.insert(key(1), START).unwrap();
        assert_eq!((cache.find_again(key(1)), cache.find_again(key(1))), (Some(index), Some(index)));
        assert_eq!(cache.find_again(key(2)), None);
        // The only entry goes to another neighbour.
        assert_eq!(cache.insert(key(2), START), Some((index, 0)));
        assert_eq!((cache.find_again(key(1)), cache.find_again(key(2))), (None, Some(index)));
        let mut now = START;
        while cache.due(now) != Some(Due::Failed { dropped: 0 }) {
            now += RETRANSMIT;
            assert!(now < START + Duration::from_secs(60));
        }
        assert_eq!((cache.find_again(key(2)), cache.find(key(2))), (None, None));
    }

    #[test]
    fn delay_and_probe_end_with_an_answer_or_an_upper_layers_word() {
        let mut cache = cache(4);
        let (index, _) = cache.insert(key(1), START).unwrap();
        cache.learn(index, link(1));
        cache.passage(index, START);
        cache.confirm_forward(index, START);
        assert_eq!(cache.state(index), State::Reachable);
        cache.doubt(index, START);
        assert_eq!(cache.due(START), Some(Due::Solicit { key: key(1), at: Some(mac(1)) }));
        assert_eq!(cache.state(index), State::Probe);
        cache.confirm(index, link(2), START);
        assert_eq!((cache.state(index), cache.mac(index)), (State::Reachable, Some(mac(2))));
        assert_eq!(cache.due(START + DELAY), None);
    }

    #[test]
    fn an_upper_layers_word_does_not_resolve_an_address() {
        let mut cache = cache(4);
        let (index, _) = cache.insert(key(1), START).unwrap();
        cache.confirm_forward(index, START);
        assert_eq!(cache.state(index), State::Incomplete);
    }

    #[test]
    fn a_scan_displaces_its_own_entries_and_then_the_stale() {
        let mut cache = cache(8);
        let insert = |cache: &mut Neighbors, addr| cache.insert(key(addr), START).unwrap().0;
        let reachable = insert(&mut cache, 1);
        cache.confirm(reachable, link(1), START);
        let stale = insert(&mut cache, 2);
        cache.learn(stale, link(2));
        let newer_stale = insert(&mut cache, 3);
        cache.learn(newer_stale, link(3));
        for scanned in 1_000..2_000 {
            insert(&mut cache, scanned);
        }
        for addr in [1, 2, 3] {
            assert!(cache.find(key(addr)).is_some(), "{addr} was displaced by a scan");
        }
        // Strangers that announce themselves fill the cache with stale entries: the oldest goes first.
        for stranger in 2_000..2_006 {
            let index = insert(&mut cache, stranger);
            cache.learn(index, link(9));
        }
        assert_eq!(cache.find(key(2)), None);
        assert!(cache.find(key(1)).is_some());
        for stranger in 3_000..3_100 {
            let index = insert(&mut cache, stranger);
            cache.learn(index, link(9));
        }
        assert_eq!(cache.find(key(3)), None);
        assert!(cache.find(key(1)).is_some(), "an entry in use went before stale ones");
    }

    #[test]
    fn a_hop_does_not_outlive_its_entry() {
        let mut cache = cache(1);
        let (index, _) = cache.insert(key(1), START).unwrap();
        let hop = cache.hop(index);
        assert_eq!(cache.index(hop), Some(index));
        cache.insert(key(2), START).unwrap();
        assert_eq!(cache.index(hop), None);
        assert_eq!(cache.index(Hop::UNRESOLVED), None);
    }

    #[test]
    fn entries_are_found_after_any_order_of_coming_and_going() {
        let mut cache = cache(64);
        let mut rng = freeway_base::Rng::new(freeway_base::Seed(5));
        let mut known = [false; 100];
        for _ in 0..10_000 {
            let addr = rng.below(100);
            let present = known.get_mut(addr as usize).unwrap();
            match cache.find(key(u128::from(addr))) {
                Some(index) => {
                    assert!(*present);
                    cache.remove(index);
                    *present = false;
                }
                None => {
                    assert!(!*present);
                    if cache.lists[State::Free as usize].head != NONE {
                        cache.insert(key(u128::from(addr)), START).unwrap();
                        *present = true;
                    }
                }
            }
        }
    }
}
