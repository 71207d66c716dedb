//! What a network does to frames, and how often.

use freeway_base::{Duration, counters};

/// The faults of one direction. Each is a ratio of frames (0.0 never, 1.0 always) or a span; the default is a perfect
/// cable. A frame meets them in the order of the fields.
///
/// ```
/// use freeway_base::Duration;
/// use freeway_port::FaultConfig;
///
/// let distant_and_lossy = FaultConfig {
///     loss_ratio: 0.01,
///     delay_mean: Duration::from_millis(50),
///     rate_bits_per_sec: 10_000_000,
///     queue_frames: 100,
///     ..FaultConfig::NONE
/// };
/// # assert_ne!(distant_and_lossy, FaultConfig::default());
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FaultConfig {
    /// Frames lost, each by itself.
    pub loss_ratio: f64,
    /// Frames at which a burst of losses begins; that frame is the first one lost.
    pub loss_burst_ratio: f64,
    /// Frames lost in a burst, on average (geometrically distributed; at least 1).
    pub loss_burst_frames_mean: f64,
    /// Frames of which one bit, any of them, arrives flipped. Such a frame is vouched for no more: its receiver
    /// verifies its sums. Not all is under a sum: addresses of Ethernet and the whole of ARP are not.
    pub corrupt_ratio: f64,
    /// Frames that arrive twice, the copy right behind the original. Both take their time on a link with a rate.
    pub duplicate_ratio: f64,
    /// The link's rate in bits per second, counted over the frame as it is, without preamble and gap. 0: no limit.
    pub rate_bits_per_sec: u64,
    /// Frames that may wait for a link with a rate, the one on its way out included; one more is dropped. 0: no
    /// limit.
    pub queue_frames: usize,
    /// How long a frame travels, on average.
    pub delay_mean: Duration,
    /// How far from the mean: delays are even between `delay_mean - jitter` (cut off at 0) and `delay_mean + jitter`.
    /// It reorders nothing: a frame never overtakes the one before it, so under dense traffic delays lean to the
    /// longer.
    pub jitter: Duration,
    /// Frames that are held back and overtaken.
    pub reorder_ratio: f64,
    /// By how many frames. 0: only time lets it go.
    pub reorder_distance: u32,
    /// For how long at most, if not enough frames come to overtake it.
    pub reorder_delay: Duration,
}

impl FaultConfig {
    /// A perfect cable.
    pub const NONE: Self = Self {
        loss_ratio: 0.0,
        loss_burst_ratio: 0.0,
        loss_burst_frames_mean: 1.0,
        corrupt_ratio: 0.0,
        duplicate_ratio: 0.0,
        rate_bits_per_sec: 0,
        queue_frames: 0,
        delay_mean: Duration::ZERO,
        jitter: Duration::ZERO,
        reorder_ratio: 0.0,
        reorder_distance: 3,
        reorder_delay: Duration::from_millis(1),
    };

    /// How long a frame of `bytes` occupies the link.
    pub(super) fn serialization(&self, bytes: usize) -> Duration {
        let nanos = (bytes as u64 * 8_000_000_000).checked_div(self.rate_bits_per_sec);
        Duration::from_nanos(nanos.unwrap_or(0))
    }
}

impl Default for FaultConfig {
    fn default() -> Self {
        Self::NONE
    }
}

counters! {
    /// What became of the frames of one direction. All that entered were lost or dropped, delivered, or are under
    /// way; duplicates were delivered besides.
    pub struct FaultCounters {
        /// Frames that entered.
        entered,
        /// Lost by themselves.
        lost,
        /// Lost in a burst.
        lost_in_burst,
        /// Arrived with a bit flipped.
        corrupted,
        /// Copies made.
        duplicated,
        /// Dropped because the queue before the link was full.
        dropped_queue_full,
        /// Held back to be overtaken.
        reordered,
        /// Delivered, copies included.
        delivered,
        /// Bytes of them.
        delivered_bytes,
        /// Reached the far end when it had no buffer.
        dropped_no_buffer,
        /// Reached the far end when it had only shorter buffers.
        dropped_too_long,
    }
}
