//! Receiving: frames out of a ring, a burst at a time.
//!
//! ```text
//!   Peer, Own:  copied out of the slot's buffer; then the slot goes back
//!   Lent:       the slot's packet is handed on as it is; another is lent in its place, many at a time
//! ```
//!
//! All descriptors of a burst are read, checked and prefetched before the first frame is touched, so that the misses of
//! a burst overlap. Indices are moved once a burst.

use arrayvec::ArrayVec;
use freeway_mem::{BURST, Packet, PacketPool, RxBurst, arch};
use freeway_port::PortCounters;

use crate::link::{Buffers, Channel, stride};
use crate::reason::Reason;
use crate::region::{Span, first_lines};
use crate::ring::{Descriptor, Ring};

/// Empty packets are lent when so many are missing, not one by one: the peer's view of the ring stays valid longer.
const REFILL: u16 = 32;

/// A pool that is lent to the peer, and the packets it has now.
#[derive(Debug)]
pub(crate) struct RxLoan {
    pub(crate) pool: PacketPool,
    /// By slot.
    pub(crate) packets: Box<[Option<Packet>]>,
}

/// The receiving end of a ring.
#[derive(Debug)]
pub(crate) struct Rx {
    pub(crate) channel: Channel,
    buffers: Buffers,
    /// The next slot to be received from.
    next: u16,
    /// A client's: up to where slots have been lent. What `head` says, in private.
    lent: u16,
    /// How many packets of a pool are lent at most.
    loan_max: u16,
}

impl Rx {
    /// Begins to receive. With a loan, packets are lent at the first burst.
    pub(crate) fn new(channel: Channel, buffers: Buffers, loan: Option<&RxLoan>) -> Self {
        channel.ring.set_interrupts(false);
        let size = channel.ring.size();
        // A quarter of the pool at most: the rest is for frames on their way through.
        let loan_max = loan.map_or(0, |loan| size.min((loan.pool.capacity() / 4).clamp(1, 1 << 14) as u16));
        let mut rx = Self { channel, buffers, next: 0, lent: 0, loan_max };
        if let Buffers::Own { .. } = buffers {
            rx.relend(size);
        }
        rx
    }

    /// Receives into the room left in `into`. An error is the peer's: it is to be left alone from now on.
    #[inline]
    pub(crate) fn burst(
        &mut self,
        pool: &PacketPool,
        loan: Option<&mut RxLoan>,
        into: &mut RxBurst,
        counters: &mut PortCounters,
    ) -> Result<(), Reason> {
        let ring = &self.channel.ring;
        match self.buffers {
            Buffers::Peer => {
                let waiting = waiting(ring.head(), self.next, ring.size())?;
                let locate = |_, descriptor: &Descriptor| {
                    let Descriptor { region, offset, length, .. } = *descriptor;
                    ring.regions().span(region, offset, length).ok_or(Reason::Descriptor)
                };
                let taken = copy_out(ring, self.next, waiting, pool, into, counters, locate)?;
                if taken > 0 {
                    self.next = self.next.wrapping_add(taken);
                    ring.set_tail(self.next);
                }
            }
            Buffers::Own { rx_at, size, .. } => {
                let waiting = waiting(ring.tail(), self.next, self.lent.wrapping_sub(self.next))?;
                // Whatever the descriptor says of the place: it is known here.
                let locate = |index, descriptor: &Descriptor| {
                    let length =
                        Some(descriptor.length).filter(|&length| length <= size).ok_or(Reason::Length)?;
                    let offset = rx_at + ring.slot(index) as u32 * stride(size);
                    ring.regions().span(0, offset, length).ok_or(Reason::Descriptor)
                };
                let taken = copy_out(ring, self.next, waiting, pool, into, counters, locate)?;
                self.next = self.next.wrapping_add(taken);
                self.relend(taken);
            }
            Buffers::Lent { region } => {
                if let Some(loan) = loan {
                    self.take_lent(pool, loan, into, counters)?;
                    self.refill(region, loan);
                }
            }
        }
        Ok(())
    }

    /// How many packets of the pool lie with the peer, to be filled.
    pub(crate) fn lent(&self) -> u32 {
        match self.buffers {
            Buffers::Lent { .. } => self.lent.wrapping_sub(self.next).into(),
            Buffers::Peer | Buffers::Own { .. } => 0,
        }
    }

    /// Whether there is something to receive; a lie of the peer is, too.
    pub(crate) fn has_frames(&self) -> bool {
        let ring = &self.channel.ring;
        let filled = if self.buffers == Buffers::Peer { ring.head() } else { ring.tail() };
        filled != self.next
    }

    /// Lends the same buffers for the next `count` slots.
    fn relend(&mut self, count: u16) {
        let Buffers::Own { rx_at, size, .. } = self.buffers else { return };
        let ring = &self.channel.ring;
        for _ in 0..count {
            let offset = rx_at + ring.slot(self.lent) as u32 * stride(size);
            let empty = Descriptor { more: false, region: 0, length: size, offset };
            ring.set_descriptor(self.lent, &empty);
            self.lent = self.lent.wrapping_add(1);
        }
        if count > 0 {
            ring.set_head(self.lent);
        }
    }

    /// Hands on packets that the peer has filled.
    fn take_lent(
        &mut self,
        pool: &PacketPool,
        loan: &mut RxLoan,
        into: &mut RxBurst,
        counters: &mut PortCounters,
    ) -> Result<(), Reason> {
        let ring = &self.channel.ring;
        let mut waiting = waiting(ring.tail(), self.next, self.lent.wrapping_sub(self.next))?;
        // If the caller's pool is the one that was lent; else frames are copied into its own.
        let is_same = pool.is_same(&loan.pool);
        for _ in 0..into.remaining_capacity() {
            if waiting == 0 {
                break;
            }
            let descriptor = ring.descriptor(self.next);
            if descriptor.more {
                let Some(used) = self.take_lent_chain(waiting, pool, loan, into, counters)? else { break };
                self.next = self.next.wrapping_add(used);
                waiting -= used;
                continue;
            }
            let Some(mut packet) = loan.packets.get_mut(ring.slot(self.next)).and_then(Option::take) else {
                return Err(Reason::RingIndices);
            };
            if packet.append(descriptor.length as usize).is_none() {
                return Err(Reason::Length);
            }
            // The peer wrote it on another core: its headers come while the rest of the burst is gone through.
            first_lines(packet.data().as_ptr(), packet.len(), arch::prefetch_pointer);
            self.next = self.next.wrapping_add(1);
            waiting -= 1;
            if is_same {
                // Without others for all the slots that want one the packet is lent again, and the frame is lost.
                let missing = self.loan_max.saturating_sub(self.lent.wrapping_sub(self.next));
                if loan.pool.available() < missing.into() {
                    counters.rx_dropped_no_buffer += 1;
                    continue;
                }
                accept(packet, into, counters);
            } else {
                deliver(pool, packet.len(), into, counters, |room| room.copy_from_slice(packet.data()));
            }
        }
        Ok(())
    }

    /// A frame in several of the lent packets: put together in one, which must be long enough.
    #[cold]
    fn take_lent_chain(
        &self,
        waiting: u16,
        pool: &PacketPool,
        loan: &mut RxLoan,
        into: &mut RxBurst,
        counters: &mut PortCounters,
    ) -> Result<Option<u16>, Reason> {
        let ring = &self.channel.ring;
        let Some(count) = chain_slots(ring, self.next, waiting)? else { return Ok(None) };
        let mut whole = pool.alloc();
        counters.rx_dropped_no_buffer += u64::from(whole.is_none());
        for index in (0..count).map(|n| self.next.wrapping_add(n)) {
            let Some(mut part) = loan.packets.get_mut(ring.slot(index)).and_then(Option::take) else {
                return Err(Reason::RingIndices);
            };
            if part.append(ring.descriptor(index).length as usize).is_none() {
                return Err(Reason::Length);
            }
            let Some(packet) = &mut whole else { continue };
            match packet.append(part.len()) {
                Some(room) => room.copy_from_slice(part.data()),
                None => {
                    counters.rx_dropped_too_long += 1;
                    whole = None;
                }
            }
        }
        if let Some(packet) = whole {
            accept(packet, into, counters);
        }
        Ok(Some(count))
    }

    /// Lends packets of the pool, as long as it has any.
    fn refill(&mut self, region: u16, loan: &mut RxLoan) {
        let missing = self.loan_max - self.lent.wrapping_sub(self.next).min(self.loan_max);
        if missing < REFILL.min(self.loan_max) {
            return;
        }
        let ring = &self.channel.ring;
        let before = self.lent;
        for _ in 0..u32::from(missing).min(loan.pool.available()) {
            let Some(place) = loan.packets.get_mut(ring.slot(self.lent)) else { break };
            let Some(packet) = loan.pool.alloc() else { break };
            let length = packet.tailroom() as u32;
            let offset = packet.region_offset() as u32;
            ring.set_descriptor(self.lent, &Descriptor { more: false, region, length, offset });
            *place = Some(packet);
            self.lent = self.lent.wrapping_add(1);
        }
        if self.lent != before {
            ring.set_head(self.lent);
        }
    }
}

/// How many slots are filled, by an index of the peer's, which may be `most` further than `next`.
#[inline(always)]
fn waiting(filled: u16, next: u16, most: u16) -> Result<u16, Reason> {
    let waiting = filled.wrapping_sub(next);
    if waiting > most { Err(Reason::RingIndices) } else { Ok(waiting) }
}

/// How many slots a chain has that begins at `first`. `None` if its end is not there yet.
fn chain_slots(ring: &Ring, first: u16, waiting: u16) -> Result<Option<u16>, Reason> {
    for n in 0..waiting {
        if !ring.descriptor(first.wrapping_add(n)).more {
            return Ok(Some(n + 1));
        }
    }
    if waiting == ring.size() { Err(Reason::EndlessChain) } else { Ok(None) }
}

/// Copies frames out of the next slots, and returns how many slots it has done with.
#[inline(always)]
fn copy_out<'a>(
    ring: &Ring,
    next: u16,
    waiting: u16,
    pool: &PacketPool,
    into: &mut RxBurst,
    counters: &mut PortCounters,
    locate: impl Fn(u16, &Descriptor) -> Result<Span<'a>, Reason>,
) -> Result<u16, Reason> {
    let count = waiting.min(into.remaining_capacity() as u16);
    if count == 0 {
        return Ok(0);
    }
    let mut pieces: ArrayVec<(Span<'_>, bool), BURST> = ArrayVec::new();
    for index in (0..count).map(|n| next.wrapping_add(n)) {
        let descriptor = ring.descriptor(index);
        let span = locate(index, &descriptor)?;
        span.prefetch();
        if pieces.try_push((span, descriptor.more)).is_err() {
            break;
        }
    }
    let mut done = 0_u16;
    while let Some((span, more)) = pieces.get(usize::from(done)) {
        if *more {
            let first = next.wrapping_add(done);
            let used = copy_chain(ring, first, waiting - done, pool, into, counters, &locate)?;
            let Some(used) = used else { break };
            done += used;
            continue;
        }
        deliver(pool, span.len(), into, counters, |room| span.copy_to(room));
        done += 1;
    }
    Ok(done)
}

/// A frame in several slots. The descriptors are read again, and what they say now is checked.
#[cold]
fn copy_chain<'a>(
    ring: &Ring,
    first: u16,
    waiting: u16,
    pool: &PacketPool,
    into: &mut RxBurst,
    counters: &mut PortCounters,
    locate: &impl Fn(u16, &Descriptor) -> Result<Span<'a>, Reason>,
) -> Result<Option<u16>, Reason> {
    let Some(count) = chain_slots(ring, first, waiting)? else { return Ok(None) };
    let Some(mut packet) = pool.alloc() else {
        counters.rx_dropped_no_buffer += 1;
        return Ok(Some(count));
    };
    for index in (0..count).map(|n| first.wrapping_add(n)) {
        let span = locate(index, &ring.descriptor(index))?;
        let Some(room) = packet.append(span.len()) else {
            counters.rx_dropped_too_long += 1;
            return Ok(Some(count));
        };
        span.copy_to(room);
    }
    accept(packet, into, counters);
    Ok(Some(count))
}

/// A frame of `len` bytes, which `copy` brings, in a packet of `pool`.
#[inline(always)]
fn deliver(
    pool: &PacketPool,
    len: usize,
    into: &mut RxBurst,
    counters: &mut PortCounters,
    copy: impl FnOnce(&mut [u8]),
) {
    let Some(mut packet) = pool.alloc() else {
        counters.rx_dropped_no_buffer += 1;
        return;
    };
    let Some(room) = packet.append(len) else {
        counters.rx_dropped_too_long += 1;
        return;
    };
    copy(room);
    accept(packet, into, counters);
}

/// A frame that has bytes is received; one that has none is counted and dropped.
#[inline(always)]
fn accept(packet: Packet, into: &mut RxBurst, counters: &mut PortCounters) {
    let len = packet.len();
    if len == 0 || into.try_push(packet).is_err() {
        counters.rx_errors += 1;
    } else {
        counters.rx_frames += 1;
        counters.rx_bytes += len as u64;
    }
}
