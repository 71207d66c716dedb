//! Flows from one host to another over one narrow link, on a virtual clock: who gets how much of it.
//!
//! ```text
//!   sender ──► lost? ──► [ queue ] ══ rate ══► delay of the flow, overtaken? ──► receiver
//!      ▲                    marks above a depth                                     │
//!      └──────────────────────────── delay of the flow ◄────────────────────────────┘
//! ```
//!
//! Both hosts are the real stack. Acknowledgments meet neither loss nor queue, so that a figure has one cause.

mod host;
mod road;

use std::collections::BTreeMap;

use freeway_base::{Duration, Instant, Rng, Seed};
use freeway_tcp::{Config, Info};

use host::Host;
pub use road::Road;

/// The shortest pause between two moments at which something happens.
const TICK: Duration = Duration::from_micros(1);
/// Moments of one run at most; a world that needs more runs in circles.
const MOMENTS_MAX: u64 = 100_000_000;

/// One connection, and the way that only it goes.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// TCP's settings at both ends.
    pub tcp: Config,
    /// The round trip without queues.
    pub round_trip: Duration,
    /// When it opens, after the beginning.
    pub starts: Duration,
    /// What it sends before it closes.
    pub bytes: u64,
}

/// What TCP counted at the sender.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Segments with payload or without.
    pub segments: u64,
    /// Of these, sent again.
    pub retransmitted: u64,
    /// Time-outs that sent something again.
    pub timeouts: u64,
}

/// A frame on its way, and whose it will be.
struct Frame {
    to_receiver: bool,
    bytes: Vec<u8>,
}

/// Sender, receiver, road, clock.
pub struct World {
    sender: Host,
    receiver: Host,
    road: Road,
    rng: Rng,
    flows: Vec<Flow>,
    /// How many of them are open.
    opened: usize,
    begun: Instant,
    now: Instant,
    flying: BTreeMap<(Instant, u64), Frame>,
    sent: u64,
}

impl World {
    /// A road, and the flows that will go over it, in order of their beginning.
    pub fn new(road: Road, flows: &[Flow], seed: Seed) -> Self {
        let begun = Instant::from_secs(1);
        let mut rng = Rng::new(seed);
        Self {
            sender: Host::sender(flows, rng.next_u64(), begun),
            receiver: Host::receiver(flows, rng.next_u64(), begun),
            road,
            rng,
            flows: flows.to_vec(),
            opened: 0,
            begun,
            now: begun,
            flying: BTreeMap::new(),
            sent: 0,
        }
    }

    /// Bytes of a flow that have arrived in order and were read.
    pub fn delivered(&self, flow: usize) -> u64 {
        self.receiver.app.delivered.get(flow).copied().unwrap_or(0)
    }

    /// Time since the beginning.
    pub fn age(&self) -> Duration {
        self.now - self.begun
    }

    /// What the sender of a flow knows of it, while it is open.
    pub fn info(&self, flow: usize) -> Option<Info> {
        let wanted = self.sender.opened.get(flow)?;
        self.sender.stack.connections().find(|(id, _)| id == wanted).map(|(_, info)| info)
    }

    /// Frames that found the link's queue full, so far.
    pub const fn overflowed(&self) -> u64 {
        self.road.dropped
    }

    /// What the sender's TCP counted.
    pub fn sent(&self) -> Sent {
        let tcp = self.sender.stack.counters().tcp;
        Sent { segments: tcp.segments_out, retransmitted: tcp.retransmitted, timeouts: tcp.time_outs }
    }

    /// Lets time pass until `done`, or for `limit` at most; whether it was.
    ///
    /// # Panics
    ///
    /// When the world runs in circles.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        for _ in 0..MOMENTS_MAX {
            self.open_due();
            self.settle();
            if done(self) {
                return true;
            }
            let next = self.next_moment().unwrap_or(end);
            if next >= end {
                self.now = end;
                return false;
            }
            self.now = next.max(self.now + TICK);
            while let Some(entry) = self.flying.first_entry()
                && entry.key().0 <= self.now
            {
                let Frame { to_receiver, bytes } = entry.remove();
                let host = if to_receiver { &mut self.receiver } else { &mut self.sender };
                host.receive(self.now, &bytes);
            }
        }
        panic!("no end after {MOMENTS_MAX} moments");
    }

    fn next_moment(&self) -> Option<Instant> {
        let arrival = self.flying.keys().next().map(|&(at, _)| at);
        let opening = self.flows.get(self.opened).map(|flow| self.begun + flow.starts);
        let timers = [self.sender.stack.next_deadline(), self.receiver.stack.next_deadline()];
        [arrival, opening].into_iter().chain(timers).flatten().min()
    }

    fn open_due(&mut self) {
        while let Some(flow) = self.flows.get(self.opened)
            && self.begun + flow.starts <= self.now
        {
            self.sender.open(self.opened, flow);
            self.opened += 1;
        }
    }

    /// Lets both hosts do what they have to do now.
    fn settle(&mut self) {
        let Self { sender, receiver, road, rng, flows, now, flying, sent, .. } = self;
        let mut fly = |at: Instant, to_receiver, bytes| {
            *sent += 1;
            flying.insert((at, *sent), Frame { to_receiver, bytes });
        };
        let delay =
            |bytes: &[u8]| host::flow_of(bytes).and_then(|flow| flows.get(flow)).map(|flow| flow.round_trip);
        sender.run(*now, |mut bytes| {
            let round_trip = delay(&bytes);
            // Only segments meet the queue and the faults: neighbours find each other at once.
            match round_trip {
                None => fly(*now, true, bytes),
                Some(round_trip) => {
                    if let Some(leaves) = road.enter(*now, rng, &mut bytes) {
                        fly(leaves + Duration::from_nanos(round_trip.as_nanos() / 2), true, bytes);
                    }
                }
            }
        });
        receiver.run(*now, |bytes| {
            let round_trip = delay(&bytes).unwrap_or(Duration::ZERO);
            fly(*now + Duration::from_nanos(round_trip.as_nanos() / 2), false, bytes);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half of the product of 100 Mbit/s and 100 ms: 860 segments are under way, and 430 may wait.
    const HALF: u64 = 625_000;

    fn long_and_fat(queue_bytes: u64, loss_ratio: f64) -> World {
        const BYTES: u64 = 12_000_000;
        let mut road = Road::new(100_000_000, queue_bytes);
        road.loss_ratio = loss_ratio;
        let tcp = Config::default();
        let flow = Flow { tcp, round_trip: Duration::from_millis(100), starts: Duration::ZERO, bytes: BYTES };
        let mut world = World::new(road, &[flow], Seed(1));
        assert!(world.run_until(Duration::from_secs(120), |world| world.delivered(0) >= BYTES));
        world
    }

    #[test]
    fn a_slow_start_over_a_long_fat_path_loses_next_to_nothing() {
        let world = long_and_fat(HALF, 0.0);
        assert!(world.overflowed() <= 4, "{}", world.overflowed());
        assert_eq!((world.sent().retransmitted, world.sent().timeouts), (world.overflowed(), 0));
    }

    #[test]
    fn hundreds_of_losses_at_once_are_repaired_one_by_one_without_a_time_out() {
        let world = long_and_fat(HALF / 3, 0.0);
        assert!(world.overflowed() > 200, "{}", world.overflowed());
        assert_eq!((world.sent().retransmitted, world.sent().timeouts), (world.overflowed(), 0));
        let counters = world.sender.stack.counters().tcp;
        assert!(counters.wide_flights >= 1 && counters.no_wide_flight == 0);
        assert_eq!(world.receiver.stack.counters().tcp.dropped_out_of_order_full, 0);
    }

    #[test]
    fn segments_lost_at_random_are_sent_again_once() {
        let world = long_and_fat(HALF, 0.002);
        let Sent { retransmitted, timeouts, segments } = world.sent();
        assert_eq!(timeouts, 0);
        // Those lost twice, and a probe or two, are among them.
        let lost = (segments as f64 * 0.002) as u64 + world.overflowed();
        assert!(
            retransmitted < 2 * lost + 10,
            "{retransmitted} of {segments}, {} overflowed",
            world.overflowed()
        );
    }
}
