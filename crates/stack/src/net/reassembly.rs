//! Fragments on their way to being datagrams again.
//!
//! A context collects one datagram's fragments in a buffer large enough for any datagram, each byte at its final
//! place, and remembers which stretches it has:
//!
//! ```text
//!  headroom │ header │ ████████░░░░░░░░████████████░░░░░░░░░░░░ │
//!                    0        a        b           c         total (known from the last fragment)
//! ```
//!
//! A datagram that fits into a frame's buffer leaves in one: few buffers are large, and an application may read late.
//!
//! What a stranger can make of it is bounded: contexts in all and by source (the oldest goes), stretches of one
//! datagram, time. Fragments that overlap condemn their datagram, also those that are yet to come (RFC 5722, and
//! for IPv4 as well: no honest sender does it). A fragment that repeats what is there, byte for byte, is a
//! duplicate made by the network and is ignored (RFC 8200, section 4.5).

use alloc::vec::Vec;

use arrayvec::ArrayVec;
use freeway_base::{Duration, Instant};
use freeway_mem::{Packet, PacketPool};
use freeway_wire::{Ecn, Protocol};

use super::counters::NetCounters;

/// Separate stretches of one datagram that are kept apart; in the order sent, or reversed, there is one.
const STRETCHES: usize = 32;
/// The longest datagram with its header, which is what a packet's length can say.
const LONGEST: usize = u16::MAX as usize;
/// The longest header that is kept: IPv6's.
const HEADER_MAX: usize = 40;

/// What fragments of one datagram have in common (RFC 791, section 3.2; RFC 8200, section 4.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    /// Addresses, IPv4 mapped.
    pub(crate) src: u128,
    pub(crate) dst: u128,
    pub(crate) ident: u32,
    /// IPv4 only; zero for IPv6, whose fragments may differ in it.
    pub(crate) protocol: Protocol,
}

/// One fragment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment<'a> {
    pub(crate) key: Key,
    /// Where `bytes` belong in the datagram.
    pub(crate) offset: usize,
    /// Whether others follow behind it.
    pub(crate) more: bool,
    pub(crate) bytes: &'a [u8],
    /// The IP header without options: 20 or 40 bytes.
    pub(crate) header: &'a [u8],
    /// What the datagram holds; the first fragment's word counts.
    pub(crate) protocol: Protocol,
    pub(crate) ecn: Ecn,
    pub(crate) hop_limit: u8,
}

/// A datagram put together. The packet's data is its payload; the header lies before it.
pub(crate) struct Whole {
    pub(crate) packet: Packet,
    pub(crate) header_len: u16,
    pub(crate) protocol: Protocol,
    pub(crate) ecn: Ecn,
    pub(crate) hop_limit: u8,
}

impl Whole {
    /// The same in a frame's buffer, where it fits: who keeps it, unread, shall not keep others from being put
    /// together.
    pub(crate) fn fitted(mut self, frames: &PacketPool) -> Self {
        let header_len = usize::from(self.header_len);
        let Some(mut frame) = frames.alloc() else { return self };
        if self.packet.prepend(header_len).is_none() {
            return self;
        }
        if frame.copy_from_slice(self.packet.data()) {
            self.packet = frame;
        }
        self.packet.trim_front(header_len);
        self
    }
}

/// A datagram whose time ran out.
pub(crate) struct Expired {
    /// Header and what there is behind it without a gap, if the first fragment came: what an ICMP error quotes.
    pub(crate) packet: Option<Packet>,
    pub(crate) src: u128,
    pub(crate) dst: u128,
}

/// A stretch of bytes that have arrived: from `start` to before `end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stretch {
    start: usize,
    end: usize,
}

/// What the first fragment says for all.
#[derive(Clone, Copy)]
struct First {
    header: [u8; HEADER_MAX],
    protocol: Protocol,
    hop_limit: u8,
}

struct Context {
    key: Key,
    deadline: Instant,
    /// `None` when the datagram is condemned.
    buffer: Option<Packet>,
    /// In order, with gaps between them.
    stretches: ArrayVec<Stretch, STRETCHES>,
    total: Option<usize>,
    first: Option<First>,
    header_len: usize,
    ecn: Option<Ecn>,
}

pub(crate) struct Reassembly {
    /// Oldest first.
    contexts: Vec<Context>,
    limit: usize,
    per_source: usize,
    timeout: Duration,
}

/// Why a fragment condemns its datagram, or goes no further itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refused {
    Duplicate,
    Overlap,
    Impossible,
    TooMany,
}

impl Reassembly {
    pub(crate) fn new(limit: u16, per_source: u16, timeout: Duration) -> Self {
        let limit = usize::from(limit);
        Self {
            contexts: Vec::with_capacity(limit),
            limit,
            per_source: usize::from(per_source).max(1),
            timeout,
        }
    }

    /// Takes a fragment; returns the datagram when it is whole.
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        fragment: &Fragment<'_>,
        pool: &PacketPool,
        counters: &mut NetCounters,
    ) -> Option<Whole> {
        let at = match self.contexts.iter().position(|context| context.key == fragment.key) {
            Some(at) => at,
            None => self.open(now, fragment, pool, counters)?,
        };
        let context = self.contexts.get_mut(at)?;
        match context.add(fragment) {
            Ok(()) => {}
            Err(Refused::Duplicate) => counters.dropped_duplicate += 1,
            Err(refused) => {
                context.condemn();
                *match refused {
                    Refused::Overlap => &mut counters.dropped_overlap,
                    Refused::TooMany => &mut counters.dropped_reassembly_shed,
                    Refused::Impossible | Refused::Duplicate => &mut counters.dropped_fragment,
                } += 1;
            }
        }
        if !context.is_whole() {
            return None;
        }
        self.contexts.remove(at).finish()
    }

    /// Makes a context for a new datagram, at the oldest's cost if need be; returns its place.
    fn open(
        &mut self,
        now: Instant,
        fragment: &Fragment<'_>,
        pool: &PacketPool,
        counters: &mut NetCounters,
    ) -> Option<usize> {
        let src = fragment.key.src;
        let of_source = self.contexts.iter().filter(|context| context.key.src == src).count();
        if of_source >= self.per_source {
            let oldest = self.contexts.iter().position(|context| context.key.src == src);
            self.shed(oldest, counters);
        } else if self.contexts.len() >= self.limit {
            self.shed(Some(0), counters);
        }
        let buffer = match pool.alloc() {
            None => {
                let oldest = self.contexts.iter().position(|context| context.buffer.is_some());
                self.shed(oldest, counters);
                pool.alloc()
            }
            found => found,
        };
        if buffer.is_none() || self.contexts.len() >= self.limit {
            counters.dropped_reassembly_no_buffer += 1;
            return None;
        }
        self.contexts.push(Context::new(fragment, buffer, now + self.timeout));
        Some(self.contexts.len() - 1)
    }

    fn shed(&mut self, at: Option<usize>, counters: &mut NetCounters) {
        if let Some(at) = at
            && at < self.contexts.len()
        {
            // A condemned datagram was counted when it was condemned.
            let context = self.contexts.remove(at);
            counters.dropped_reassembly_shed += u64::from(context.buffer.is_some());
        }
    }

    /// When [`Reassembly::expired`] must be asked next.
    pub(crate) fn next_deadline(&self) -> Instant {
        self.contexts.first().map_or(Instant::FAR_FUTURE, |oldest| oldest.deadline)
    }

    /// Takes the next datagram whose time ran out.
    pub(crate) fn expired(&mut self, now: Instant, counters: &mut NetCounters) -> Option<Expired> {
        if self.next_deadline() > now {
            return None;
        }
        let mut context = self.contexts.remove(0);
        counters.dropped_reassembly_timeout += u64::from(context.buffer.is_some());
        let (src, dst) = (context.key.src, context.key.dst);
        Some(Expired { packet: context.head(), src, dst })
    }
}

impl Context {
    fn new(fragment: &Fragment<'_>, buffer: Option<Packet>, deadline: Instant) -> Self {
        Self {
            key: fragment.key,
            deadline,
            buffer,
            stretches: ArrayVec::new(),
            total: None,
            first: None,
            header_len: fragment.header.len().min(HEADER_MAX),
            ecn: None,
        }
    }

    /// Puts a fragment's bytes where they belong.
    fn add(&mut self, fragment: &Fragment<'_>) -> Result<(), Refused> {
        // What comes for a condemned datagram goes the same way.
        let Some(buffer) = self.buffer.as_mut() else { return Err(Refused::Duplicate) };
        let stretch = Stretch { start: fragment.offset, end: fragment.offset + fragment.bytes.len() };
        if stretch.end + self.header_len > LONGEST || fragment.bytes.is_empty() {
            return Err(Refused::Impossible);
        }
        let grown = stretch.end.saturating_sub(buffer.len());
        if buffer.append(grown).is_none() {
            return Err(Refused::Impossible);
        }
        let place = buffer.data_mut().get_mut(stretch.start..stretch.end).ok_or(Refused::Impossible)?;
        if self.stretches.iter().any(|known| known.start <= stretch.start && stretch.end <= known.end) {
            // A fragment that says differently where the datagram ends is no duplicate.
            let same = place == fragment.bytes && (fragment.more || self.total == Some(stretch.end));
            return Err(if same { Refused::Duplicate } else { Refused::Overlap });
        }
        if self.stretches.iter().any(|known| known.start < stretch.end && stretch.start < known.end) {
            return Err(Refused::Overlap);
        }
        place.copy_from_slice(fragment.bytes);
        self.set_total(stretch.end, fragment.more)?;
        self.ecn = Some(combine(self.ecn, fragment.ecn).ok_or(Refused::Impossible)?);
        if fragment.offset == 0 {
            self.first = Some(First::of(fragment));
        }
        self.merge(stretch)
    }

    /// Checks a fragment's end against the datagram's, which the last fragment tells.
    fn set_total(&mut self, end: usize, more: bool) -> Result<(), Refused> {
        let last_end = self.stretches.last().map_or(0, |last| last.end);
        match self.total {
            None if more => Ok(()),
            None if last_end > end => Err(Refused::Overlap),
            None => {
                self.total = Some(end);
                Ok(())
            }
            Some(total) if more && end < total => Ok(()),
            Some(_) => Err(Refused::Overlap),
        }
    }

    /// Adds a stretch that touches none of those known, and joins it to its neighbours.
    fn merge(&mut self, new: Stretch) -> Result<(), Refused> {
        let at = self.stretches.partition_point(|known| known.end <= new.start);
        let joins_left = at > 0 && self.stretches[at - 1].end == new.start;
        let joins_right = self.stretches.get(at).is_some_and(|right| right.start == new.end);
        match (joins_left, joins_right) {
            (true, true) => {
                let right = self.stretches.remove(at);
                self.stretches[at - 1].end = right.end;
            }
            (true, false) => self.stretches[at - 1].end = new.end,
            (false, true) => self.stretches[at].start = new.start,
            (false, false) => return self.stretches.try_insert(at, new).map_err(|_| Refused::TooMany),
        }
        Ok(())
    }

    /// Gives the buffer back, and remembers only that nothing more is wanted of this datagram.
    fn condemn(&mut self) {
        self.buffer = None;
        self.stretches.clear();
        self.total = None;
    }

    fn is_whole(&self) -> bool {
        let whole = Stretch { start: 0, end: self.total.unwrap_or(usize::MAX) };
        self.stretches.as_slice() == [whole]
    }

    fn finish(self) -> Option<Whole> {
        let (mut packet, first) = (self.buffer?, self.first?);
        put_header(&mut packet, &first, self.header_len)?;
        packet.trim_front(self.header_len);
        Some(Whole {
            packet,
            header_len: self.header_len as u16,
            protocol: first.protocol,
            ecn: self.ecn?,
            hop_limit: first.hop_limit,
        })
    }

    /// The datagram's beginning with its header, if it came.
    fn head(&mut self) -> Option<Packet> {
        let (mut packet, first) = (self.buffer.take()?, self.first?);
        packet.truncate(self.stretches.first()?.end);
        put_header(&mut packet, &first, self.header_len)?;
        Some(packet)
    }
}

impl First {
    fn of(fragment: &Fragment<'_>) -> Self {
        let mut header = [0; HEADER_MAX];
        for (to, from) in header.iter_mut().zip(fragment.header) {
            *to = *from;
        }
        Self { header, protocol: fragment.protocol, hop_limit: fragment.hop_limit }
    }
}

/// Writes a datagram's header before its payload, as it would have looked without fragments.
fn put_header(packet: &mut Packet, first: &First, header_len: usize) -> Option<()> {
    let payload_len = packet.len();
    let room = packet.prepend(header_len)?.get_mut(..header_len)?;
    room.copy_from_slice(first.header.get(..header_len)?);
    super::header::unfragment(room, payload_len, first.protocol);
    Some(())
}

/// The ECN field of a datagram from those of its fragments (RFC 3168, section 5.3): congestion that one of them
/// met is reported; fragments that contradict each other make no datagram.
fn combine(known: Option<Ecn>, new: Ecn) -> Option<Ecn> {
    match (known, new) {
        (None, ecn) => Some(ecn),
        (Some(known), new) if known == new => Some(known),
        (Some(Ecn::NotEct), _) | (Some(_), Ecn::NotEct) => None,
        (Some(Ecn::Ce), _) | (Some(_), Ecn::Ce) => Some(Ecn::Ce),
        (Some(known), _) => Some(known),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::net::testing::large_pool;

    const START: Instant = Instant::from_secs(10);
    const HEADER: [u8; 20] = [0x45, 0, 0, 0, 0, 7, 0x20, 0, 64, 17, 0, 0, 198, 18, 0, 2, 198, 18, 0, 1];

    fn key(src: u128, ident: u32) -> Key {
        Key { src, dst: 1, ident, protocol: Protocol::UDP }
    }

    fn fragment(ident: u32, offset: usize, more: bool, bytes: &[u8]) -> Fragment<'_> {
        Fragment {
            key: key(2, ident),
            offset,
            more,
            bytes,
            header: &HEADER,
            protocol: Protocol::UDP,
            ecn: Ecn::NotEct,
            hop_limit: 64,
        }
    }

    struct World {
        reassembly: Reassembly,
        pool: PacketPool,
        counters: NetCounters,
    }

    impl World {
        fn new() -> Self {
            let reassembly = Reassembly::new(4, 2, Duration::from_secs(60));
            Self { reassembly, pool: large_pool(), counters: NetCounters::default() }
        }

        fn insert(&mut self, fragment: &Fragment<'_>) -> Option<Whole> {
            self.reassembly.insert(START, fragment, &self.pool, &mut self.counters)
        }
    }

    #[test]
    fn two_halves_make_a_datagram_in_either_order() {
        let bytes: Vec<u8> = (0..100).collect();
        for order in [[0, 1], [1, 0]] {
            let mut world = World::new();
            let halves = [fragment(1, 0, true, &bytes[..56]), fragment(1, 56, false, &bytes[56..])];
            assert!(world.insert(&halves[order[0]]).is_none());
            let whole = world.insert(&halves[order[1]]).unwrap();
            assert_eq!(whole.packet.data(), bytes);
            assert_eq!((whole.header_len, whole.protocol, whole.hop_limit), (20, Protocol::UDP, 64));
            let mut packet = whole.packet;
            let header = packet.prepend(20).unwrap();
            assert_eq!(u16::from_be_bytes([header[2], header[3]]), 120);
            assert_eq!([header[6], header[7]], [0, 0]);
        }
    }

    #[test]
    fn overlap_condemns_the_datagram_and_all_that_follows() {
        let mut world = World::new();
        assert!(world.insert(&fragment(1, 0, true, &[1; 16])).is_none());
        assert!(world.insert(&fragment(1, 8, true, &[1; 16])).is_none());
        assert_eq!(world.counters.dropped_overlap, 1);
        assert_eq!(world.pool.in_use(), 0);
        assert!(world.insert(&fragment(1, 0, true, &[1; 16])).is_none());
        assert!(world.insert(&fragment(1, 16, false, &[1; 16])).is_none());
        assert_eq!(world.counters.dropped_overlap, 1);
        // Another datagram is not concerned.
        assert!(world.insert(&fragment(2, 0, true, &[1; 16])).is_none());
        assert!(world.insert(&fragment(2, 16, false, &[1; 16])).is_some());
    }

    #[test]
    fn duplicates_are_ignored_but_not_if_they_differ() {
        let mut world = World::new();
        assert!(world.insert(&fragment(1, 0, true, &[1; 16])).is_none());
        assert!(world.insert(&fragment(1, 0, true, &[1; 16])).is_none());
        assert_eq!((world.counters.dropped_duplicate, world.counters.dropped_overlap), (1, 0));
        assert!(world.insert(&fragment(1, 0, true, &[2; 16])).is_none());
        assert_eq!(world.counters.dropped_overlap, 1);
    }

    #[test]
    fn two_different_ends_condemn() {
        let mut world = World::new();
        world.insert(&fragment(1, 16, false, &[1; 8]));
        world.insert(&fragment(1, 24, false, &[1; 8]));
        assert_eq!(world.counters.dropped_overlap, 1);
        world.insert(&fragment(2, 32, true, &[1; 8]));
        world.insert(&fragment(2, 8, false, &[1; 8]));
        assert_eq!(world.counters.dropped_overlap, 2);
    }

    #[test]
    fn more_than_a_datagram_can_hold_condemns() {
        let mut world = World::new();
        world.insert(&fragment(1, 65_528, true, &[1; 64]));
        assert_eq!(world.counters.dropped_fragment, 1);
        world.insert(&fragment(2, 0, true, &[]));
        assert_eq!(world.counters.dropped_fragment, 2);
    }

    #[test]
    fn too_many_gaps_condemn() {
        let mut world = World::new();
        for gap in 0..=STRETCHES {
            world.insert(&fragment(1, gap * 16, true, &[1; 8]));
        }
        assert_eq!(world.counters.dropped_reassembly_shed, 1);
        assert_eq!(world.pool.in_use(), 0);
    }

    #[test]
    fn a_source_displaces_its_own_oldest_datagram() {
        let mut world = World::new();
        let mut other = fragment(9, 0, true, &[7; 8]);
        other.key.src = 77;
        world.insert(&other);
        for ident in 0..10 {
            world.insert(&fragment(ident, 0, true, &[1; 8]));
        }
        assert_eq!(world.counters.dropped_reassembly_shed, 8);
        let mut rest = fragment(9, 8, false, &[7; 8]);
        rest.key.src = 77;
        assert_eq!(world.insert(&rest).unwrap().packet.data(), [7; 16]);
    }

    #[test]
    fn the_oldest_goes_at_the_bound() {
        let mut world = World::new();
        for src in 0..6 {
            let mut fragment = fragment(1, 0, true, &[1; 8]);
            fragment.key.src = src;
            world.insert(&fragment);
        }
        assert_eq!(world.counters.dropped_reassembly_shed, 2);
        assert_eq!(world.pool.in_use(), 4);
    }

    #[test]
    fn without_buffers_fragments_are_dropped() {
        let mut world = World::new();
        let held: Vec<_> = core::iter::from_fn(|| world.pool.alloc()).collect();
        world.insert(&fragment(1, 0, true, &[1; 8]));
        assert_eq!(world.counters.dropped_reassembly_no_buffer, 1);
        drop(held);
    }

    #[test]
    fn time_runs_out_and_the_head_can_be_quoted() {
        let mut world = World::new();
        world.insert(&fragment(1, 0, true, &[5; 16]));
        world.insert(&fragment(1, 32, true, &[6; 16]));
        world.insert(&fragment(2, 8, true, &[1; 8]));
        let end = START + Duration::from_secs(60);
        assert_eq!(world.reassembly.next_deadline(), end);
        assert!(world.reassembly.expired(START + Duration::from_secs(59), &mut world.counters).is_none());
        let expired = world.reassembly.expired(end, &mut world.counters).unwrap();
        let packet = expired.packet.unwrap();
        assert_eq!(packet.len(), 20 + 16);
        assert_eq!(packet.data()[20..], [5; 16]);
        // Without its first fragment a datagram ends in silence.
        assert!(world.reassembly.expired(end, &mut world.counters).unwrap().packet.is_none());
        assert!(world.reassembly.expired(end, &mut world.counters).is_none());
        assert_eq!(world.counters.dropped_reassembly_timeout, 2);
        drop(packet);
        assert_eq!(world.pool.in_use(), 0);
    }

    #[test]
    fn congestion_met_by_one_fragment_is_met_by_all() {
        assert_eq!(combine(None, Ecn::Ect0), Some(Ecn::Ect0));
        assert_eq!(combine(Some(Ecn::Ect0), Ecn::Ce), Some(Ecn::Ce));
        assert_eq!(combine(Some(Ecn::Ce), Ecn::Ect1), Some(Ecn::Ce));
        assert_eq!(combine(Some(Ecn::NotEct), Ecn::Ce), None);
        assert_eq!(combine(Some(Ecn::NotEct), Ecn::NotEct), Some(Ecn::NotEct));
    }

    proptest! {
        #[test]
        fn fragments_in_any_order_make_the_same_datagram_or_none(
            bytes in prop::collection::vec(any::<u8>(), 1..4_000),
            cuts in prop::collection::vec(1usize..500, 0..24),
            order in prop::collection::vec(any::<prop::sample::Index>(), 1..80),
            forged in prop::option::of((0usize..500, 1usize..200, any::<bool>(), any::<u8>())),
        ) {
            let mut edges: Vec<usize> = cuts.iter().map(|cut| cut * 8).filter(|&cut| cut < bytes.len()).collect();
            edges.extend([0, bytes.len()]);
            edges.sort_unstable();
            edges.dedup();
            let mut pieces: Vec<(usize, bool, Vec<u8>)> = edges
                .windows(2)
                .map(|edge| (edge[0], edge[1] < bytes.len(), bytes[edge[0]..edge[1]].to_vec()))
                .collect();
            let genuine = pieces.len();
            if let Some((offset, len, more, fill)) = forged {
                pieces.push((offset * 8, more, vec![fill; len]));
            }
            let mut world = World::new();
            let mut wholes = 0;
            // Some in random order with duplicates, then all once more, so that nothing is missing.
            let chosen = order.iter().map(|index| index.index(pieces.len())).chain(0..genuine);
            for index in chosen {
                let (offset, more, piece) = &pieces[index];
                if let Some(whole) = world.insert(&fragment(1, *offset, *more, piece)) {
                    if forged.is_none() {
                        prop_assert_eq!(whole.packet.data(), &bytes[..]);
                    }
                    wholes += 1;
                }
            }
            if forged.is_none() {
                prop_assert!(wholes >= 1);
                prop_assert_eq!(world.counters.dropped_overlap, 0);
            }
        }
    }
}
