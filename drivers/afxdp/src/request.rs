//! Frames whose TCP or UDP sum is left to the kernel or the card: what stands before each of them.
//!
//! ```text
//!   chunk
//!   │ …        │ request, 24 bytes │ frame …  │     the descriptor says where the frame is,
//!              └ part of the chunk ┘                and whether the request before it counts
//! ```
//!
//! The stack writes the request while a frame has one owner; by the time it comes here it may have several, and nobody
//! writes. What comes without one, for it is a copy, is given its own here. On such a socket the kernel demands those 24
//! bytes of every frame, asked for or not: one that begins too near its chunk's start is copied.
//!
//! Source: net/xdp/xsk_queue.h and net/xdp/xsk.c of Linux, Documentation/networking/xsk-tx-metadata.rst.

use freeway_mem::{Packet, PacketFlags, PacketPool, SharedPacket};
use freeway_wire::offload::{ChecksumRequest, REQUEST_LEN};

const ASKED: PacketFlags = PacketFlags::CHECKSUM_NEEDED.union(PacketFlags::CHECKSUM_REQUESTED);

/// Whether a frame can be sent where it lies, as it is, out of chunks of `1 << chunk_shift` bytes. It is of the socket's
/// pool.
#[inline(always)]
pub(crate) fn is_ready(packet: &SharedPacket, chunk_shift: u32) -> bool {
    let asked = packet.flags().intersection(ASKED);
    has_room(packet, chunk_shift) && (asked.is_empty() || asked == ASKED)
}

/// Whether [`prepare`] takes a buffer of the pool for a frame.
#[inline]
pub(crate) fn takes_buffer(pool: &PacketPool, packet: &SharedPacket, chunk_shift: u32) -> bool {
    let stays = is_ready(packet, chunk_shift) || has_room(packet, chunk_shift) && packet.is_unique();
    !(pool.owns(packet) && stays)
}

/// Makes a frame [ready](is_ready), in a buffer of `pool` if it must be copied. `None` if there is none, or if its sum is
/// of no kind that can be asked for.
#[cold]
pub(crate) fn prepare(pool: &PacketPool, packet: SharedPacket, chunk_shift: u32) -> Option<SharedPacket> {
    let stays = pool.owns(&packet) && has_room(&packet, chunk_shift);
    let owned = if stays { packet.try_unique() } else { Err(packet) };
    let mut packet = match owned {
        Ok(packet) => packet,
        Err(shared) => copy(pool, &shared)?,
    };
    if packet.flags().contains(PacketFlags::CHECKSUM_NEEDED) {
        let request = ChecksumRequest::of_frame(packet.data())?;
        request.emit(packet.headroom_mut(REQUEST_LEN)?);
        packet.set_flags(ASKED);
    }
    Some(packet.share())
}

/// Whether the request before a frame is what its headers say.
pub(crate) fn is_right(packet: &SharedPacket) -> bool {
    let request = packet.before(REQUEST_LEN).and_then(ChecksumRequest::parse);
    request.is_some() && request == ChecksumRequest::of_frame(packet.data())
}

#[inline(always)]
fn has_room(packet: &SharedPacket, chunk_shift: u32) -> bool {
    packet.region_offset() & ((1 << chunk_shift) - 1) >= REQUEST_LEN
}

/// A copy with room before it, whatever the pool's headroom.
fn copy(pool: &PacketPool, packet: &SharedPacket) -> Option<Packet> {
    let mut copy = pool.alloc()?;
    let short = REQUEST_LEN.saturating_sub(copy.headroom());
    copy.append(short)?;
    copy.trim_front(short);
    copy.append(packet.len())?.copy_from_slice(packet.data());
    copy.set_flags(packet.flags().of_copy());
    Some(copy)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use freeway_mem::{Arena, ArenaLayout, PoolConfig};

    use super::*;

    const CHUNK_SHIFT: u32 = 11;

    fn pool(headroom: u16) -> PacketPool {
        let config = PoolConfig { buffers: 4, headroom, spread: false, ..PoolConfig::default() };
        let mut arena = Arena::heap(ArenaLayout::new().pool(&config).bytes()).unwrap();
        PacketPool::new(&mut arena, &config).unwrap()
    }

    /// A frame of a UDP datagram over IPv4.
    fn frame() -> Vec<u8> {
        let mut frame = vec![0; 14 + 20 + 8];
        frame[12..16].copy_from_slice(&[8, 0, 0x45, 0]);
        frame[16..18].copy_from_slice(&28_u16.to_be_bytes());
        frame[23] = 17;
        frame[38..40].copy_from_slice(&8_u16.to_be_bytes());
        frame
    }

    fn packet(pool: &PacketPool, flags: PacketFlags) -> Packet {
        let mut packet = pool.alloc().unwrap();
        packet.append(frame().len()).unwrap().copy_from_slice(&frame());
        packet.set_flags(flags);
        packet
    }

    /// Prepares a frame, and says whether it stayed where it was and what stands before it.
    fn prepared(pool: &PacketPool, packet: SharedPacket) -> (bool, Option<ChecksumRequest>) {
        let before = (pool.owns(&packet), packet.region_offset());
        let packet = prepare(pool, packet, CHUNK_SHIFT).unwrap();
        assert!(pool.owns(&packet) && is_ready(&packet, CHUNK_SHIFT));
        assert_eq!(packet.data(), frame());
        let stayed = before == (true, packet.region_offset());
        let asks = packet.flags() == ASKED;
        let request = packet.try_unique().ok().and_then(|mut packet| {
            ChecksumRequest::parse(packet.headroom_mut(REQUEST_LEN).unwrap()).filter(|_| asks)
        });
        (stayed, request)
    }

    const REQUEST: ChecksumRequest = ChecksumRequest { start: 34, offset: 6 };

    #[test]
    fn what_has_room_and_is_whole_or_asks_goes_as_it_is() {
        let pool = pool(128);
        let flags = [PacketFlags::empty(), ASKED, PacketFlags::CHECKSUM_NEEDED];
        for (flags, ready) in flags.into_iter().zip([true, true, false]) {
            assert_eq!(is_ready(&packet(&pool, flags).share(), CHUNK_SHIFT), ready, "{flags:?}");
        }
    }

    #[test]
    fn what_asks_without_a_request_is_given_one_where_it_lies_if_it_has_one_owner() {
        let pool = pool(128);
        let alone = packet(&pool, PacketFlags::CHECKSUM_NEEDED).share();
        assert!(!takes_buffer(&pool, &alone, CHUNK_SHIFT));
        assert_eq!(prepared(&pool, alone), (true, Some(REQUEST)));
        let shared = packet(&pool, PacketFlags::CHECKSUM_NEEDED).share();
        let other = shared.try_clone().unwrap();
        assert!(takes_buffer(&pool, &shared, CHUNK_SHIFT));
        assert_eq!(prepared(&pool, shared), (false, Some(REQUEST)), "nobody writes before it");
        drop(other);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn what_begins_too_near_its_chunks_start_is_copied() {
        for (headroom, stays) in [(0, false), (23, false), (24, true)] {
            let pool = pool(headroom);
            let whole = packet(&pool, PacketFlags::empty()).share();
            assert_eq!(is_ready(&whole, CHUNK_SHIFT), stays);
            assert_eq!(takes_buffer(&pool, &whole, CHUNK_SHIFT), !stays);
            assert_eq!(prepared(&pool, whole), (stays, None));
            let asking = packet(&pool, PacketFlags::CHECKSUM_NEEDED).share();
            assert_eq!(prepared(&pool, asking), (stays, Some(REQUEST)));
        }
    }

    #[test]
    fn a_copy_of_another_pools_frame_asks_for_itself() {
        let (ours, theirs) = (pool(0), pool(128));
        let mut asking = packet(&theirs, ASKED);
        ChecksumRequest { start: 1, offset: 2 }.emit(asking.headroom_mut(REQUEST_LEN).unwrap());
        assert_eq!(prepared(&ours, asking.share()), (false, Some(REQUEST)));
        assert_eq!(prepared(&ours, packet(&theirs, PacketFlags::empty()).share()), (false, None));
    }

    #[test]
    fn a_sum_that_cannot_be_asked_for_and_a_dry_pool_are_refused() {
        let pool = pool(128);
        let mut icmp = packet(&pool, PacketFlags::CHECKSUM_NEEDED);
        icmp.data_mut()[23] = 1;
        assert!(prepare(&pool, icmp.share(), CHUNK_SHIFT).is_none());
        let shared = packet(&pool, PacketFlags::CHECKSUM_NEEDED).share();
        let _others: Vec<_> = std::iter::from_fn(|| pool.alloc()).collect();
        let _other = shared.try_clone().unwrap();
        assert!(prepare(&pool, shared, CHUNK_SHIFT).is_none());
    }
}
