//! Sending: frames into a ring, a burst at a time.
//!
//! ```text
//!   Peer:  copied into buffers that the client has lent, several if one is too short
//!   Own:   copied into the slot's own buffer, likewise
//!   Lent:  the slot names the packet itself, which is held until the peer has moved past it; packets of another pool
//!          are copied into packets of this one first
//! ```
//!
//! The index is moved, and the receiver interrupted if it sleeps, once a burst.

use std::sync::Arc;

use arrayvec::ArrayVec;
use freeway_mem::{BURST, PacketPool, SharedPacket, TxBurst};
use freeway_port::PortCounters;

use crate::alarm::Alarm;
use crate::link::{Buffers, Channel, stride};
use crate::reason::Reason;
use crate::region::Span;
use crate::ring::{Descriptor, Ring};

/// A pool that the peer reads from, and the packets it has not yet read.
#[derive(Debug)]
pub(crate) struct TxLoan {
    pub(crate) pool: PacketPool,
    /// By slot.
    pub(crate) packets: Box<[Option<SharedPacket>]>,
}

/// The sending end of a ring.
#[derive(Debug)]
pub(crate) struct Tx {
    pub(crate) channel: Channel,
    buffers: Buffers,
    alarm: Arc<Alarm>,
    /// The longest frame, in bytes.
    frame_max: usize,
    /// The next slot to be sent with. What the own index says, in private.
    next: u16,
    /// The first slot whose packet the peer may still read.
    held: u16,
}

impl Tx {
    pub(crate) const fn new(channel: Channel, buffers: Buffers, frame_max: usize, alarm: Arc<Alarm>) -> Self {
        Self { channel, buffers, alarm, frame_max, next: 0, held: 0 }
    }

    /// Sends from the front of `from` as far as there is room. An error is the peer's: it is to be left alone from now
    /// on.
    #[inline]
    pub(crate) fn burst(
        &mut self,
        from: &mut TxBurst,
        loan: Option<&mut TxLoan>,
        counters: &mut PortCounters,
    ) -> Result<(), Reason> {
        let ring = &self.channel.ring;
        match self.buffers {
            Buffers::Peer => {
                let free = ring.head().wrapping_sub(self.next);
                if free > ring.size() {
                    return Err(Reason::RingIndices);
                }
                let room = |index| {
                    let descriptor = ring.descriptor(index);
                    let Descriptor { region, offset, length, .. } = descriptor;
                    let span = ring.regions().span(region, offset, length).ok_or(Reason::Descriptor)?;
                    Ok((span, descriptor))
                };
                let used = copy_in(ring, self.next, free, from, self.frame_max, counters, room)?;
                if used > 0 {
                    self.next = self.next.wrapping_add(used);
                    ring.set_tail(self.next);
                    self.interrupt();
                }
            }
            Buffers::Own { tx_at, size, .. } => {
                let under_way = self.under_way()?;
                let room = |index| {
                    let offset = tx_at + ring.slot(index) as u32 * stride(size);
                    let descriptor = Descriptor { more: false, region: 0, length: size, offset };
                    let span = ring.regions().span(0, offset, size).ok_or(Reason::Descriptor)?;
                    Ok((span, descriptor))
                };
                let free = ring.size() - under_way;
                let used = copy_in(ring, self.next, free, from, self.frame_max, counters, room)?;
                self.publish_head(used);
            }
            Buffers::Lent { region } => {
                if let Some(loan) = loan {
                    self.take_back(loan)?;
                    let used = self.lend(region, from, loan, counters);
                    self.publish_head(used);
                }
            }
        }
        Ok(())
    }

    /// Slots that the server has not dealt with.
    #[inline(always)]
    fn under_way(&self) -> Result<u16, Reason> {
        let under_way = self.next.wrapping_sub(self.channel.ring.tail());
        if under_way > self.channel.ring.size() { Err(Reason::RingIndices) } else { Ok(under_way) }
    }

    #[inline(always)]
    fn publish_head(&mut self, used: u16) {
        if used > 0 {
            self.next = self.next.wrapping_add(used);
            self.channel.ring.set_head(self.next);
            self.interrupt();
        }
    }

    #[inline(always)]
    fn interrupt(&self) {
        if self.channel.ring.wants_interrupt() {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        self.alarm.ring(&self.channel.interrupt);
    }

    /// Lets go of packets that the peer has read, if it has any. A core without packets has none to send, and so none
    /// come back by [`Tx::burst`].
    #[inline]
    pub(crate) fn reap(&mut self, loan: Option<&mut TxLoan>) -> Result<(), Reason> {
        match loan {
            Some(loan) if self.held != self.next => self.take_back(loan),
            _ => Ok(()),
        }
    }

    /// Lets go of the packets that the peer has read.
    #[inline(always)]
    fn take_back(&mut self, loan: &mut TxLoan) -> Result<(), Reason> {
        let ring = &self.channel.ring;
        let read = ring.tail().wrapping_sub(self.held);
        if read > self.next.wrapping_sub(self.held) {
            return Err(Reason::RingIndices);
        }
        for _ in 0..read {
            if let Some(packet) = loan.packets.get_mut(ring.slot(self.held)) {
                *packet = None;
            }
            self.held = self.held.wrapping_add(1);
        }
        Ok(())
    }

    /// Fills slots with packets, and returns how many.
    #[inline(always)]
    fn lend(&self, region: u16, from: &mut TxBurst, loan: &mut TxLoan, counters: &mut PortCounters) -> u16 {
        let ring = &self.channel.ring;
        let free = ring.size() - self.next.wrapping_sub(self.held);
        let count = from.len().min(usize::from(free));
        let is_plain =
            |packet: &SharedPacket| (1..=self.frame_max).contains(&packet.len()) && loan.pool.owns(packet);
        if !from.iter().take(count).all(is_plain) {
            return self.lend_or_copy(region, free, from, loan, counters);
        }
        counters.tx_full += u64::from(count < from.len());
        let mut index = self.next;
        for packet in from.drain(..count) {
            counters.tx_frames += 1;
            counters.tx_bytes += packet.len() as u64;
            put(ring, index, region, false, packet, loan);
            index = index.wrapping_add(1);
        }
        count as u16
    }

    /// As [`Tx::lend`], when some packets are of other pools, or too long.
    #[cold]
    fn lend_or_copy(
        &self,
        region: u16,
        free: u16,
        from: &mut TxBurst,
        loan: &mut TxLoan,
        counters: &mut PortCounters,
    ) -> u16 {
        let ring = &self.channel.ring;
        let mut used = 0;
        while let Some(packet) = from.first() {
            let len = packet.len();
            if len == 0 || len > self.frame_max {
                counters.tx_dropped_too_long += 1;
                drop(from.remove(0));
                continue;
            }
            let parts = if loan.pool.owns(packet) { 1 } else { parts_of(len, &loan.pool) };
            let left = usize::from(free - used);
            if parts > usize::from(ring.size()) {
                counters.tx_dropped_too_long += 1;
                drop(from.remove(0));
                continue;
            }
            if parts > left || (!loan.pool.owns(packet) && parts > loan.pool.available() as usize) {
                counters.tx_full += 1;
                break;
            }
            let packet = from.remove(0);
            counters.tx_frames += 1;
            counters.tx_bytes += len as u64;
            if loan.pool.owns(&packet) {
                put(ring, self.next.wrapping_add(used), region, false, packet, loan);
                used += 1;
                continue;
            }
            let mut rest = packet.data();
            for part in (1..=parts).rev() {
                let Some(mut copy) = loan.pool.alloc() else { break };
                let (now, later) = rest.split_at(rest.len().min(copy.tailroom()));
                copy.copy_from_slice(now);
                rest = later;
                put(ring, self.next.wrapping_add(used), region, part > 1, copy.share(), loan);
                used += 1;
            }
        }
        used
    }
}

/// How many packets of `pool` a frame of `len` bytes fills.
fn parts_of(len: usize, pool: &PacketPool) -> usize {
    let room = pool.buffer_size() as usize - usize::from(pool.headroom());
    len.div_ceil(room.max(1))
}

/// Names a packet in a slot, and holds it there.
#[inline(always)]
fn put(ring: &Ring, index: u16, region: u16, more: bool, packet: SharedPacket, loan: &mut TxLoan) {
    let (length, offset) = (packet.len() as u32, packet.region_offset() as u32);
    ring.set_descriptor(index, &Descriptor { more, region, length, offset });
    if let Some(place) = loan.packets.get_mut(ring.slot(index)) {
        *place = Some(packet);
    }
}

/// Copies frames into the next slots, takes them out of `from`, and returns how many slots it has filled.
#[inline(always)]
fn copy_in<'a>(
    ring: &Ring,
    next: u16,
    free: u16,
    from: &mut TxBurst,
    frame_max: usize,
    counters: &mut PortCounters,
    room: impl Fn(u16) -> Result<(Span<'a>, Descriptor), Reason>,
) -> Result<u16, Reason> {
    let mut rooms: ArrayVec<(Span<'_>, Descriptor), BURST> = ArrayVec::new();
    for (n, packet) in (0..free).zip(from.iter()) {
        let (span, descriptor) = room(next.wrapping_add(n))?;
        span.prefetch_to_write(packet.len());
        if rooms.try_push((span, descriptor)).is_err() {
            break;
        }
    }
    let (mut used, mut taken) = (0_u16, 0);
    for packet in from.iter() {
        let frame = packet.data();
        if frame.is_empty() || frame.len() > frame_max {
            counters.tx_dropped_too_long += 1;
            taken += 1;
            continue;
        }
        let index = next.wrapping_add(used);
        match rooms.get(usize::from(used)) {
            Some((span, descriptor)) if frame.len() <= span.len() => {
                span.copy_from(frame);
                let filled = Descriptor { more: false, length: frame.len() as u32, ..*descriptor };
                ring.set_descriptor(index, &filled);
                used += 1;
            }
            _ => match split(ring, index, free - used, frame, &room)? {
                Some(slots) => used += slots,
                // All the slots there are do not suffice: no use to wait for more.
                None if used == 0 && free == ring.size() => {
                    counters.tx_dropped_too_long += 1;
                    taken += 1;
                    continue;
                }
                None => {
                    counters.tx_full += 1;
                    break;
                }
            },
        }
        counters.tx_frames += 1;
        counters.tx_bytes += frame.len() as u64;
        taken += 1;
    }
    from.drain(..taken);
    Ok(used)
}

/// Copies a frame into as many slots as it needs, chained. `None` if there are too few.
#[cold]
fn split<'a>(
    ring: &Ring,
    first: u16,
    free: u16,
    frame: &[u8],
    room: &impl Fn(u16) -> Result<(Span<'a>, Descriptor), Reason>,
) -> Result<Option<u16>, Reason> {
    let mut needed = 0;
    let mut sum = 0;
    while sum < frame.len() {
        if needed == free {
            return Ok(None);
        }
        sum += room(first.wrapping_add(needed))?.0.len();
        needed += 1;
    }
    let mut rest = frame;
    for n in 0..needed {
        let index = first.wrapping_add(n);
        let (span, descriptor) = room(index)?;
        let (now, later) = rest.split_at(rest.len().min(span.len()));
        span.copy_from(now);
        rest = later;
        let more = n + 1 < needed;
        ring.set_descriptor(index, &Descriptor { more, length: now.len() as u32, ..descriptor });
    }
    // The buffers became shorter between two looks at them.
    if rest.is_empty() { Ok(Some(needed)) } else { Err(Reason::Length) }
}
