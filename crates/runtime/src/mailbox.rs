//! How a frame reaches the core it belongs to.
//!
//! A flow lives on one core. Where the device spreads flows by a hash of its own, a frame may arrive elsewhere;
//! the core that took it copies it into a ring that leads to the right one. There is a ring for every ordered
//! pair of cores, so each has one writer and one reader and nothing is ever locked:
//!
//! ```text
//!            to 0   to 1   to 2
//!   from 0    -     ring   ring       N * (N - 1) rings, one bell a core
//!   from 1   ring    -     ring
//!   from 2   ring   ring    -
//! ```
//!
//! Frames become visible once a burst ([`Mailboxes::send`]), so the other core's cache line is written once for
//! up to 64 frames. A full ring drops the frame and counts it: the sender of a foreign frame cannot wait.
//!
//! A slot's flag byte says what the frame's bytes do not:
//!
//! ```text
//!    7   6                 0
//!  ┌────┬───────────────────┐
//!  │sums│ interface         │    sums: the checksums were verified already
//!  └────┴───────────────────┘
//! ```

use std::io;
use std::sync::Arc;

use freeway_mem::ring::{self, FrameConsumer, FrameProducer};
use freeway_mem::{Packet, PacketFlags, PacketPool, RxBurst};

use freeway_stack::net::IfaceId;

use crate::bell::Bell;
use crate::stats::MailCounters;

/// The highest interface number that fits beside a frame.
pub(crate) const IFACE_MAX: u8 = SUMS_GOOD - 1;

const SUMS_GOOD: u8 = 1 << 7;

/// How much the rings between cores hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MailConfig {
    /// Frames in one ring, a power of two. Default 512: eight full bursts.
    pub slots: usize,
    /// The longest frame in bytes; longer ones are dropped and counted. Default 2,048. One ring takes
    /// `slots * slot_size` bytes.
    pub slot_size: usize,
}

impl Default for MailConfig {
    fn default() -> Self {
        Self { slots: 512, slot_size: 2_048 }
    }
}

/// One core's ends of the rings to and from all others.
pub struct Mailboxes {
    core: u32,
    bell: Arc<Bell>,
    /// By receiving core; none at this core's own place.
    outgoing: Vec<Option<Outbox>>,
    /// One for every other core.
    incoming: Vec<FrameConsumer>,
    pub(crate) counters: MailCounters,
}

struct Outbox {
    ring: FrameProducer,
    bell: Arc<Bell>,
    /// Frames were pushed that the other core cannot see yet.
    unsent: bool,
}

/// The rings between `cores` cores: element `n` is for core `n` and may move to its thread.
///
/// # Errors
///
/// No file descriptor for a bell.
pub fn mesh(cores: u32, config: &MailConfig) -> io::Result<Vec<Mailboxes>> {
    let mut all = (0..cores)
        .map(|core| {
            let outgoing = (0..cores).map(|_| None).collect();
            let counters = MailCounters::default();
            Ok(Mailboxes { core, bell: Bell::new()?, outgoing, incoming: Vec::new(), counters })
        })
        .collect::<io::Result<Vec<_>>>()?;
    for from in 0..all.len() {
        for to in (0..all.len()).filter(|&to| to != from) {
            let (producer, consumer) = ring::frames(config.slots, config.slot_size);
            let bell = Arc::clone(&all[to].bell);
            all[from].outgoing[to] = Some(Outbox { ring: producer, bell, unsent: false });
            all[to].incoming.push(consumer);
        }
    }
    Ok(all)
}

impl Mailboxes {
    /// What a single core has: a bell and no rings.
    ///
    /// # Errors
    ///
    /// No file descriptor for the bell.
    pub fn single() -> io::Result<Self> {
        mesh(1, &MailConfig::default()).map(|mut all| all.remove(0))
    }

    /// This core's number.
    pub fn core(&self) -> u32 {
        self.core
    }

    /// How many cores there are, this one included.
    pub fn cores(&self) -> u32 {
        self.outgoing.len() as u32
    }

    /// What wakes this core.
    pub fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// How many rings lead here.
    pub(crate) fn rings(&self) -> usize {
        self.incoming.len()
    }

    /// Copies a frame of `iface` into the ring of `core`, to be seen after the next [`Mailboxes::send`].
    #[inline]
    pub(crate) fn hand_over(&mut self, core: u32, iface: IfaceId, packet: &Packet) {
        let Some(Some(outbox)) = self.outgoing.get_mut(core as usize) else { return };
        let pushed = outbox.push(iface, packet, &mut self.counters);
        self.counters.handed_over += u64::from(pushed);
    }

    /// The same for every other core.
    #[inline]
    pub(crate) fn share(&mut self, iface: IfaceId, packet: &Packet) {
        for outbox in self.outgoing.iter_mut().flatten() {
            let pushed = outbox.push(iface, packet, &mut self.counters);
            self.counters.shared += u64::from(pushed);
        }
    }

    /// Makes the frames of this burst visible to their cores, and wakes those that sleep.
    #[inline]
    pub(crate) fn send(&mut self) {
        for outbox in self.outgoing.iter_mut().flatten().filter(|outbox| outbox.unsent) {
            outbox.unsent = false;
            outbox.ring.commit();
            self.counters.rung += u64::from(outbox.bell.ring());
        }
    }

    /// Takes frames from ring number `ring` as long as they are of one interface and there is room in `into`.
    /// Returns the interface, or `None` when nothing is there.
    #[inline]
    pub(crate) fn take(&mut self, ring: usize, pool: &PacketPool, into: &mut RxBurst) -> Option<IfaceId> {
        let ring = self.incoming.get_mut(ring)?;
        let mut iface = None;
        while !into.is_full() {
            let Some((frame, slot)) = ring.peek() else { break };
            let of = IfaceId(slot & IFACE_MAX);
            if *iface.get_or_insert(of) != of {
                break;
            }
            match copy(pool, frame, slot) {
                Some(packet) => into.push(packet),
                None => self.counters.dropped_no_buffer += 1,
            }
            ring.release();
            self.counters.taken += 1;
        }
        iface
    }

    /// Whether frames wait in any of the rings that lead here.
    pub(crate) fn has_mail(&mut self) -> bool {
        self.incoming.iter_mut().any(|ring| ring.peek().is_some())
    }
}

impl Outbox {
    /// Returns whether the frame went into the ring; where it did not, the reason is counted.
    #[inline]
    fn push(&mut self, iface: IfaceId, packet: &Packet, counters: &mut MailCounters) -> bool {
        if packet.len() > self.ring.slot_size() {
            counters.dropped_too_long += 1;
            return false;
        }
        let sums = if packet.flags().contains(PacketFlags::CHECKSUM_GOOD) { SUMS_GOOD } else { 0 };
        let pushed = self.ring.push(packet.data(), iface.0 | sums);
        self.unsent |= pushed;
        counters.dropped_full += u64::from(!pushed);
        pushed
    }
}

fn copy(pool: &PacketPool, frame: &[u8], slot: u8) -> Option<Packet> {
    let mut packet = pool.alloc()?;
    if !packet.copy_from_slice(frame) {
        return None;
    }
    if slot & SUMS_GOOD != 0 {
        packet.set_flags(PacketFlags::CHECKSUM_GOOD);
    }
    Some(packet)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{packet, pool};

    const SMALL: MailConfig = MailConfig { slots: 4, slot_size: 64 };
    const LAN: IfaceId = IfaceId(5);

    fn taken(mail: &mut Mailboxes, ring: usize, pool: &PacketPool) -> (Option<IfaceId>, Vec<Vec<u8>>) {
        let mut burst = RxBurst::new();
        let iface = mail.take(ring, pool, &mut burst);
        (iface, burst.iter().map(|packet| packet.data().to_vec()).collect())
    }

    #[test]
    fn frames_arrive_in_order_once_they_are_sent() {
        let pool = pool(16);
        let mut all = mesh(2, &SMALL).unwrap();
        let (mut one, mut zero) = (all.pop().unwrap(), all.pop().unwrap());
        for frame in [b"first", b"other"] {
            zero.hand_over(1, LAN, &packet(&pool, frame));
        }
        assert!(!one.has_mail());
        zero.send();
        assert!(one.has_mail());
        assert_eq!(taken(&mut one, 0, &pool), (Some(LAN), vec![b"first".to_vec(), b"other".to_vec()]));
        assert_eq!(taken(&mut one, 0, &pool), (None, vec![]));
        assert_eq!((zero.counters.handed_over, one.counters.taken), (2, 2));
    }

    #[test]
    fn a_verified_checksum_stays_verified() {
        let pool = pool(16);
        let mut all = mesh(2, &SMALL).unwrap();
        let mut frame = packet(&pool, b"frame");
        frame.set_flags(PacketFlags::CHECKSUM_GOOD);
        all[0].hand_over(1, IfaceId(IFACE_MAX), &frame);
        all[0].hand_over(1, IfaceId(IFACE_MAX), &packet(&pool, b"unknown"));
        all[0].send();
        let mut burst = RxBurst::new();
        assert_eq!(all[1].take(0, &pool, &mut burst), Some(IfaceId(IFACE_MAX)));
        let flags: Vec<_> = burst.iter().map(Packet::flags).collect();
        assert_eq!(flags, [PacketFlags::CHECKSUM_GOOD, PacketFlags::empty()]);
    }

    #[test]
    fn a_burst_ends_where_the_interface_changes() {
        let pool = pool(16);
        let mut all = mesh(2, &SMALL).unwrap();
        for (iface, frame) in [(1, b"a"), (1, b"b"), (2, b"c")] {
            all[0].hand_over(1, IfaceId(iface), &packet(&pool, frame));
        }
        all[0].send();
        assert_eq!(taken(&mut all[1], 0, &pool), (Some(IfaceId(1)), vec![b"a".to_vec(), b"b".to_vec()]));
        assert_eq!(taken(&mut all[1], 0, &pool), (Some(IfaceId(2)), vec![b"c".to_vec()]));
    }

    #[test]
    fn what_is_for_all_reaches_all_others() {
        let pool = pool(16);
        let mut all = mesh(3, &SMALL).unwrap();
        all[1].share(LAN, &packet(&pool, b"who has"));
        all[1].send();
        let reached: Vec<bool> = all.iter_mut().map(Mailboxes::has_mail).collect();
        assert_eq!(reached, [true, false, true]);
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let pool = pool(16);
        let mut all = mesh(2, &SMALL).unwrap();
        for _ in 0..6 {
            all[0].hand_over(1, LAN, &packet(&pool, b"frame"));
        }
        all[0].hand_over(1, LAN, &packet(&pool, &[0; 65]));
        all[0].send();
        assert_eq!((all[0].counters.dropped_full, all[0].counters.dropped_too_long), (2, 1));
        assert_eq!(taken(&mut all[1], 0, &pool).1.len(), 4);
    }

    #[test]
    fn frames_without_a_buffer_are_dropped_and_counted() {
        let pool = pool(3);
        let mut all = mesh(2, &SMALL).unwrap();
        for _ in 0..4 {
            all[0].hand_over(1, LAN, &packet(&pool, b"frame"));
        }
        all[0].send();
        assert_eq!(taken(&mut all[1], 0, &pool).1.len(), 3);
        assert_eq!((all[1].counters.taken, all[1].counters.dropped_no_buffer), (4, 1));
    }

    #[test]
    fn only_a_sleeper_is_rung() {
        let pool = pool(16);
        let mut all = mesh(2, &SMALL).unwrap();
        all[0].hand_over(1, LAN, &packet(&pool, b"frame"));
        all[0].send();
        assert_eq!(all[0].counters.rung, 0);
        all[1].bell().arm();
        all[0].hand_over(1, LAN, &packet(&pool, b"frame"));
        all[0].send();
        all[0].send();
        assert_eq!(all[0].counters.rung, 1);
    }
}
