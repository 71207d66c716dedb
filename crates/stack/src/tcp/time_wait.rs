//! TIME-WAIT: what remains of a connection for twice the maximum segment lifetime.
//!
//! A small record instead of the whole connection. All wait equally long, so the order of their list is the
//! order in which they end: the head is the next to expire, and the one to go when the table is full.

use core::net::{IpAddr, Ipv4Addr};

use freeway_base::Instant;
use freeway_collections::{BuildError, Slab};
use freeway_mem::Arena;
use freeway_tcp::TimeWait;

use super::NONE;
use super::key::FlowKey;

/// One record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) key: FlowKey,
    pub(crate) profile: u16,
    pub(crate) tcp: TimeWait,
    pub(crate) until: Instant,
    older: u32,
    newer: u32,
}

impl Entry {
    /// What a vacant place of the table holds.
    fn vacant() -> Self {
        let key = FlowKey::new(0, 0, IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let tcp = TimeWait::vacant();
        Self { key, profile: 0, tcp, until: Instant::ZERO, older: NONE, newer: NONE }
    }
}

/// All records, oldest first.
pub(crate) struct TimeWaitTable {
    entries: Slab<Entry>,
    oldest: u32,
    newest: u32,
}

impl TimeWaitTable {
    pub(crate) fn new(arena: &mut Arena, capacity: u32) -> Result<Self, BuildError> {
        Ok(Self {
            entries: Slab::new(arena, "time-wait", capacity, |_| Entry::vacant())?,
            oldest: NONE,
            newest: NONE,
        })
    }

    #[inline]
    pub(crate) fn key(&self, index: u32) -> Option<&FlowKey> {
        self.entries.get(index).map(|entry| &entry.key)
    }

    /// The record at `index`.
    pub(crate) fn get(&self, index: u32) -> Option<&Entry> {
        self.entries.get(index)
    }

    /// Which of the 64 records from `64 * word` on there are.
    pub(crate) fn occupied_bits(&self, word: usize) -> Option<u64> {
        self.entries.occupied_bits(word)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Entry> {
        self.entries.get_mut(index)
    }

    pub(crate) fn len(&self) -> u32 {
        self.entries.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() == self.entries.capacity()
    }

    /// Adds a record that lasts `until` then.
    pub(crate) fn add(&mut self, key: FlowKey, profile: u16, tcp: TimeWait, until: Instant) -> Option<u32> {
        let entry = Entry { key, profile, tcp, until, older: NONE, newer: NONE };
        let index = self.entries.insert(entry).ok()?;
        self.append(index);
        Some(index)
    }

    fn append(&mut self, index: u32) {
        let newest = core::mem::replace(&mut self.newest, index);
        if let Some(entry) = self.entries.get_mut(index) {
            (entry.older, entry.newer) = (newest, NONE);
        }
        match self.entries.get_mut(newest) {
            Some(entry) => entry.newer = index,
            None => self.oldest = index,
        }
    }

    fn unlink(&mut self, index: u32) {
        let Some(&Entry { older, newer, .. }) = self.entries.get(index) else { return };
        match self.entries.get_mut(older) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.entries.get_mut(newer) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }

    /// Starts the wait anew (RFC 9293, section 3.10.7.4: a retransmitted FIN restarts the timer).
    pub(crate) fn restart(&mut self, index: u32, until: Instant) {
        self.unlink(index);
        if let Some(entry) = self.entries.get_mut(index) {
            entry.until = until;
        }
        self.append(index);
    }

    /// Removes a record.
    pub(crate) fn remove(&mut self, index: u32) -> Option<FlowKey> {
        let key = self.entries.get(index)?.key;
        self.unlink(index);
        self.entries.remove(index);
        Some(key)
    }

    /// The oldest record.
    pub(crate) const fn oldest(&self) -> u32 {
        self.oldest
    }

    /// When the oldest record ends.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.entries.get(self.oldest).map(|entry| entry.until)
    }
}
