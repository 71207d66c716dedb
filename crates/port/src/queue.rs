//! The contract between a device and the core that polls it.

use std::io;
use std::os::fd::BorrowedFd;

use freeway_base::counters;
use freeway_mem::{PacketPool, RxBurst, TxBurst};

use crate::info::PortInfo;

/// What arrives at one core from one device.
pub trait RxQueue {
    /// Takes frames that have arrived, into the room left in `into`, in the order of arrival; what is in `into`
    /// already stays. Returns how many were added. Never waits.
    ///
    /// A frame for which `pool` has no buffer, or only too short ones, is dropped and counted; no call drops more
    /// frames than there was room for. So a pool that ran dry costs frames, not turns.
    fn rx_burst(&mut self, pool: &PacketPool, into: &mut RxBurst) -> usize;

    /// Asks to be woken when a frame arrives; called before going to sleep, ended by [`RxQueue::disarm`].
    fn arm(&mut self) -> Armed<'_>;

    /// Ends [`RxQueue::arm`]: wake-ups cost the other end something, so a busy core does not ask for them.
    fn disarm(&mut self);
}

/// What one core sends through one device.
pub trait TxQueue {
    /// Sends frames from the front of `from` as far as there is room, in order, and returns how many were taken out
    /// of it. Leftovers stay: back-pressure is no error. Never waits.
    ///
    /// A frame that the device can never send (too long, no link) is taken, dropped and counted. All frames of a call
    /// are made known to the device at once: call with full bursts when there is much to send. An empty burst lets the
    /// port go on with what it took earlier, and let go of packets that were sent.
    fn tx_burst(&mut self, from: &mut TxBurst) -> usize;
}

/// One device as one core sees it. Every core has ports of its own; none is shared.
pub trait Port: RxQueue + TxQueue {
    /// Tells the port, once, on its core's own thread and before the first burst, which pool the core uses. A device
    /// that transfers by itself takes that memory as its own from here on; it works with other pools too, by copying.
    ///
    /// # Errors
    ///
    /// The device does not take this memory, or is gone.
    fn attach(&mut self, pool: &PacketPool) -> io::Result<()> {
        let _ = pool;
        Ok(())
    }

    /// How many buffers of that pool lie with the device, to be filled. They count as in use.
    fn lent(&self) -> u32 {
        0
    }

    /// Who the port is.
    fn info(&self) -> &PortInfo;

    /// Whether it has no queue of the device: its frames pass another core's port, which sends them on.
    fn is_remote(&self) -> bool {
        false
    }

    /// What it has done so far.
    fn counters(&self) -> PortCounters;

    /// Shows what it counts besides, a group at a time: its name, then each counter's name and value. The groups and
    /// their counters are the same ones each time. Asked for now and then, off the data path.
    fn more_counters(&self, visit: &mut CounterVisit<'_>) {
        let _ = visit;
    }
}

/// Is shown groups of counters.
pub type CounterVisit<'a> = dyn FnMut(&str, &mut dyn Iterator<Item = (&'static str, u64)>) + 'a;

/// A port's answer to [`RxQueue::arm`].
#[derive(Debug)]
pub enum Armed<'a> {
    /// Frames are there already: do not sleep.
    Ready,
    /// Sleep until this is readable. What makes it so is the port's business; only the port reads it.
    Fd(BorrowedFd<'a>),
    /// Nothing ever arrives here: sleep on whatever else there is.
    Never,
}

counters! {
    /// What a port counts. Frames are counted once: sent, received, or dropped for one of the reasons.
    pub struct PortCounters {
        /// Frames received.
        rx_frames,
        /// Bytes of them.
        rx_bytes,
        /// Frames that arrived when the pool had no buffer.
        rx_dropped_no_buffer,
        /// Frames that arrived and were longer than the pool's buffers.
        rx_dropped_too_long,
        /// Frames that the device dropped because this core did not take them in time.
        rx_dropped_queue_full,
        /// Frames that the device dropped because it had no buffer to fill.
        rx_dropped_starved,
        /// Frames that the device dropped for another reason.
        rx_dropped_device,
        /// Failed attempts to receive.
        rx_errors,
        /// Frames given to the device.
        tx_frames,
        /// Bytes of them.
        tx_bytes,
        /// Frames sent whose sums the device was asked to fill in.
        tx_checksum_requests,
        /// Frames longer than the device sends.
        tx_dropped_too_long,
        /// Frames for a device without a link, or whose other end is gone.
        tx_dropped_no_link,
        /// Frames that the device refused for another reason.
        tx_errors,
        /// Calls that left frames with the caller because there was no room.
        tx_full,
        /// Times the link came up. 0 for a device that does not tell.
        link_ups,
        /// Times it went down: it is up while this is less.
        link_downs,
    }
}

impl<P: RxQueue + ?Sized> RxQueue for Box<P> {
    fn rx_burst(&mut self, pool: &PacketPool, into: &mut RxBurst) -> usize {
        (**self).rx_burst(pool, into)
    }

    fn arm(&mut self) -> Armed<'_> {
        (**self).arm()
    }

    fn disarm(&mut self) {
        (**self).disarm();
    }
}

impl<P: TxQueue + ?Sized> TxQueue for Box<P> {
    fn tx_burst(&mut self, from: &mut TxBurst) -> usize {
        (**self).tx_burst(from)
    }
}

impl<P: Port + ?Sized> Port for Box<P> {
    fn attach(&mut self, pool: &PacketPool) -> io::Result<()> {
        (**self).attach(pool)
    }

    fn lent(&self) -> u32 {
        (**self).lent()
    }

    fn info(&self) -> &PortInfo {
        (**self).info()
    }

    fn is_remote(&self) -> bool {
        (**self).is_remote()
    }

    fn counters(&self) -> PortCounters {
        (**self).counters()
    }

    fn more_counters(&self, visit: &mut CounterVisit<'_>) {
        (**self).more_counters(visit);
    }
}
