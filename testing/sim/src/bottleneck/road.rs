//! The narrow link: a queue that drops or marks, and a few faults.

use freeway_base::{Duration, Instant, Rng};
use freeway_wire::{Ecn, ethernet, ipv4};

/// A link and the queue before it.
#[derive(Clone, Copy, Debug)]
pub struct Road {
    /// Bits a second, counted over whole frames.
    pub rate_bits_per_sec: u64,
    /// Bytes that may wait; a frame that does not fit is dropped.
    pub queue_bytes: u64,
    /// Frames that find more bytes waiting than this are marked, if they may be (RFC 3168).
    pub mark_above_bytes: Option<u64>,
    /// Frames lost before the queue, each by itself, of all.
    pub loss_ratio: f64,
    /// Frames that take longer and are overtaken, of all.
    pub reorder_ratio: f64,
    /// By how much longer.
    pub reorder_delay: Duration,
    /// When the frames before the link will have left.
    free_at: Instant,
    /// Frames that found no room.
    pub dropped: u64,
    /// Frames that were marked.
    pub marked: u64,
}

impl Road {
    /// A link without faults.
    pub const fn new(rate_bits_per_sec: u64, queue_bytes: u64) -> Self {
        Self {
            rate_bits_per_sec,
            queue_bytes,
            mark_above_bytes: None,
            loss_ratio: 0.0,
            reorder_ratio: 0.0,
            reorder_delay: Duration::ZERO,
            free_at: Instant::ZERO,
            dropped: 0,
            marked: 0,
        }
    }

    /// A frame comes to the link; when it will have left, unless it is lost. Always draws two numbers, so that a fault
    /// that is turned on leaves the other where it was.
    pub(super) fn enter(&mut self, now: Instant, rng: &mut Rng, frame: &mut [u8]) -> Option<Instant> {
        let (loss, reorder) = (rng.unit(), rng.unit());
        if loss < self.loss_ratio {
            return None;
        }
        let free = self.free_at.max(now);
        let waiting =
            u128::from((free - now).as_nanos()) * u128::from(self.rate_bits_per_sec) / 8_000_000_000;
        let waiting = waiting as u64;
        if waiting + frame.len() as u64 > self.queue_bytes {
            self.dropped += 1;
            return None;
        }
        if self.mark_above_bytes.is_some_and(|depth| waiting > depth) {
            self.marked += u64::from(mark(frame));
        }
        self.free_at =
            free + Duration::from_nanos(frame.len() as u64 * 8_000_000_000 / self.rate_bits_per_sec);
        let late = if reorder < self.reorder_ratio { self.reorder_delay } else { Duration::ZERO };
        Some(self.free_at + late)
    }
}

/// Marks a frame's IPv4 packet as having met congestion; whether its sender understands that.
fn mark(frame: &mut [u8]) -> bool {
    let Some(bytes) = frame.get_mut(ethernet::HEADER_LEN..) else { return false };
    let Ok(mut packet) = ipv4::Packet::new_checked(bytes) else { return false };
    if !matches!(packet.ecn(), Ecn::Ect0 | Ecn::Ect1) {
        return false;
    }
    packet.set_ecn(Ecn::Ce);
    packet.fill_checksum();
    true
}
