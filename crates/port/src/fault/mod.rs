//! A bad network around any port, the same one for the same seed.
//!
//! ```text
//!             ┌──────────────── Fault ────────────────┐
//!   core ───► │ tx lane: loses, flips, doubles, holds │ ───► wrapped port
//!        ◄─── │ rx lane: the same, by its own faults  │ ◄───
//!             └───────────────────────────────────────┘
//!                         ▲ FaultHandle: next_event(), counters, new faults while it runs
//! ```
//!
//! Wrap one end of a [`pipe()`](crate::pipe()), and both directions are impaired. Time is what the [`Clock`] says: a
//! simulation sets it to the soonest of its cores' deadlines and [`FaultHandle::next_event`], and polls again. Frames
//! move when the port is called, by either of its bursts; then all that is due goes on.
//!
//! It is a tool for tests. Unlike a driver it allocates (up to the most frames that were under way at once) and
//! copies.

mod config;
mod dice;
mod lane;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use freeway_base::{Instant, Rng, Seed};
use freeway_mem::{Arena, ArenaError, ArenaLayout, BURST, Packet, PacketPool, PoolConfig, RxBurst, TxBurst};

use crate::clock::Clock;
use crate::info::PortInfo;
use crate::queue::{Armed, CounterVisit, Port, PortCounters, RxQueue, TxQueue};
pub use config::{FaultConfig, FaultCounters};
use lane::{Frame, Lane};

/// A port behind a bad network. See the [module](self).
#[derive(Debug)]
pub struct Fault<P, C> {
    port: P,
    clock: C,
    lanes: Rc<RefCell<Lanes>>,
    /// Frames between the lanes and the wrapped port: the core's own pool shall feel only what reaches the core.
    staging: PacketPool,
}

#[derive(Debug)]
struct Lanes {
    tx: Lane,
    rx: Lane,
}

/// A view of a [`Fault`] that stays with the simulation when the port has gone into a core.
#[derive(Clone, Debug)]
pub struct FaultHandle {
    lanes: Rc<RefCell<Lanes>>,
}

impl<P: Port, C: Clock> Fault<P, C> {
    /// Wraps `port`. What is sent through it meets the faults `tx`, what it receives meets `rx`. The same seed, frames
    /// and times give the same faults.
    ///
    /// # Errors
    ///
    /// No memory for the staging pool.
    pub fn new(port: P, clock: C, seed: Seed, tx: FaultConfig, rx: FaultConfig) -> Result<Self, ArenaError> {
        let mut rng = Rng::new(seed);
        let lanes = Lanes { tx: Lane::new(tx, rng.fork()), rx: Lane::new(rx, rng.fork()) };
        let staging = staging(port.info().frame_max())?;
        Ok(Self { port, clock, lanes: Rc::new(RefCell::new(lanes)), staging })
    }

    /// A handle on the faults.
    pub fn handle(&self) -> FaultHandle {
        FaultHandle { lanes: Rc::clone(&self.lanes) }
    }

    /// When the next frame under way is due. See [`FaultHandle::next_event`].
    pub fn next_event(&self) -> Option<Instant> {
        self.handle().next_event()
    }

    /// The wrapped port.
    pub fn get_ref(&self) -> &P {
        &self.port
    }

    /// Gives all frames that are due to the wrapped port, as far as it has room.
    fn send_due(&mut self, now: Instant) {
        let lane = &mut self.lanes.borrow_mut().tx;
        let mut burst = TxBurst::new();
        loop {
            stage(lane, now, &self.staging, &mut burst);
            if burst.is_empty() {
                return;
            }
            let bytes = bytes_in(&burst);
            lane.counters.delivered += self.port.tx_burst(&mut burst) as u64;
            lane.counters.delivered_bytes += bytes - bytes_in(&burst);
            if !burst.is_empty() {
                // The port is full. A cable has room between its ends: the frames are the next ones again.
                burst.drain(..).rev().for_each(|packet| lane.put_back(now, packet.data(), packet.flags()));
                return;
            }
        }
    }

    /// Takes all that has arrived at the wrapped port into the lane.
    fn collect(&mut self, now: Instant) {
        let lane = &mut self.lanes.borrow_mut().rx;
        let mut burst = RxBurst::new();
        while !lane.is_full() && self.port.rx_burst(&self.staging, &mut burst) > 0 {
            for packet in burst.drain(..) {
                lane.enter(now, packet.data(), packet.flags());
            }
        }
    }
}

/// Enough buffers for a burst each way and for what a port may hold back, none shorter than a frame.
fn staging(frame_max: usize) -> Result<PacketPool, ArenaError> {
    let headroom = PoolConfig::default().headroom;
    let buffer_size = (frame_max + usize::from(headroom)).next_power_of_two() as u32;
    let config = PoolConfig { buffers: 4 * BURST as u32, buffer_size, headroom, ..PoolConfig::default() };
    PacketPool::new(&mut Arena::heap(ArenaLayout::new().pool(&config).bytes())?, &config)
}

fn bytes_in(burst: &TxBurst) -> u64 {
    burst.iter().map(|packet| packet.len() as u64).sum()
}

/// Moves frames that are due into buffers of `pool`, until `burst` is full. Should the pool be empty, because the
/// wrapped port keeps packets for a while, they stay in the lane.
fn stage(lane: &mut Lane, now: Instant, pool: &PacketPool, burst: &mut TxBurst) {
    while !burst.is_full()
        && let Some(mut packet) = pool.alloc()
        && let Some(frame) = lane.take_due(now)
    {
        if packet.copy_from_slice(&frame.bytes) {
            packet.set_flags(frame.flags);
            burst.push(packet.share());
        } else {
            lane.counters.dropped_too_long += 1;
        }
        lane.recycle(frame);
    }
}

/// A frame at the end of its way, in a buffer of the core that receives it.
fn hand_over(frame: &Frame, pool: &PacketPool, counters: &mut FaultCounters) -> Option<Packet> {
    let Some(mut packet) = pool.alloc() else {
        counters.dropped_no_buffer += 1;
        return None;
    };
    if !packet.copy_from_slice(&frame.bytes) {
        counters.dropped_too_long += 1;
        return None;
    }
    packet.set_flags(frame.flags);
    counters.delivered += 1;
    counters.delivered_bytes += frame.bytes.len() as u64;
    Some(packet)
}

impl<P: Port, C: Clock> RxQueue for Fault<P, C> {
    fn rx_burst(&mut self, pool: &PacketPool, into: &mut RxBurst) -> usize {
        let now = self.clock.now();
        self.send_due(now);
        self.collect(now);
        let lane = &mut self.lanes.borrow_mut().rx;
        let before = into.len();
        for _ in 0..into.remaining_capacity() {
            let Some(frame) = lane.take_due(now) else { break };
            into.extend(hand_over(&frame, pool, &mut lane.counters));
            lane.recycle(frame);
        }
        into.len() - before
    }

    /// Never lets a core sleep while frames are under way: no descriptor tells of their coming.
    fn arm(&mut self) -> Armed<'_> {
        if self.lanes.borrow().under_way() > 0 { Armed::Ready } else { self.port.arm() }
    }

    fn disarm(&mut self) {
        self.port.disarm();
    }
}

impl<P: Port, C: Clock> TxQueue for Fault<P, C> {
    fn tx_burst(&mut self, from: &mut TxBurst) -> usize {
        let now = self.clock.now();
        let mut taken = 0;
        {
            let lane = &mut self.lanes.borrow_mut().tx;
            for packet in from.iter() {
                if lane.is_full() {
                    break;
                }
                lane.enter(now, packet.data(), packet.flags());
                taken += 1;
            }
        }
        from.drain(..taken);
        self.send_due(now);
        taken
    }
}

impl<P: Port, C: Clock> Port for Fault<P, C> {
    fn attach(&mut self, pool: &PacketPool) -> io::Result<()> {
        self.port.attach(pool)
    }

    fn lent(&self) -> u32 {
        self.port.lent()
    }

    fn info(&self) -> &PortInfo {
        self.port.info()
    }

    /// The wrapped port's, as the core sees them: frames are received when they leave the lane.
    fn counters(&self) -> PortCounters {
        let mut counters = self.port.counters();
        let rx = &self.lanes.borrow().rx.counters;
        counters.rx_frames = rx.delivered;
        counters.rx_bytes = rx.delivered_bytes;
        counters.rx_dropped_no_buffer = rx.dropped_no_buffer;
        counters.rx_dropped_too_long = rx.dropped_too_long;
        counters
    }

    fn more_counters(&self, visit: &mut CounterVisit<'_>) {
        self.port.more_counters(visit);
    }
}

impl Lanes {
    fn under_way(&self) -> usize {
        self.tx.under_way() + self.rx.under_way()
    }
}

impl FaultHandle {
    /// When the next frame under way is due, in either direction; none if no frame is. It may lie in the past when
    /// the wrapped port had no room: the other end must be polled first.
    pub fn next_event(&self) -> Option<Instant> {
        let lanes = self.lanes.borrow();
        lanes.tx.next_due().into_iter().chain(lanes.rx.next_due()).min()
    }

    /// Frames under way in both directions.
    pub fn under_way(&self) -> usize {
        self.lanes.borrow().under_way()
    }

    /// What became of the frames that were sent.
    pub fn tx_counters(&self) -> FaultCounters {
        self.lanes.borrow().tx.counters
    }

    /// What became of the frames that were received.
    pub fn rx_counters(&self) -> FaultCounters {
        self.lanes.borrow().rx.counters
    }

    /// Changes the faults from the next frame on. Frames under way keep their times.
    pub fn set(&self, tx: FaultConfig, rx: FaultConfig) {
        let mut lanes = self.lanes.borrow_mut();
        lanes.tx.config = tx;
        lanes.rx.config = rx;
    }
}

#[cfg(test)]
mod tests;
