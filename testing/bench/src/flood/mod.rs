//! A port that floods: whatever its owner sends goes out, and between it SYNs from addresses that nobody has.
//!
//! ```text
//!   client's stack ──────────────┬──► port ──► server
//!                  SYNs, by the clock
//!   client's stack ◄─────────────┬─── port ◄── server
//!                  answers to forged addresses end here
//! ```
//!
//! SYNs fall due one by one, evenly in time, and go out at the owner's next turn: a burst of them is what one turn's
//! time is worth. Both ways are counted.

mod syn;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use freeway::port::{Armed, Clock, CounterVisit, Port, PortCounters, PortInfo, RxQueue, TxQueue};
use freeway::{Instant, PacketPool, Rng, RxBurst, Seed, TxBurst};
use freeway_wire::MacAddr;
use freeway_wire::tcp::Flags;

pub use syn::{SYN_LEN, SynTemplate, answer_to};

/// SYNs that may wait for an owner that was held up; those beyond are given up. Processors are taken away for some
/// milliseconds, which at half a million a second are thousands of SYNs: they follow in bursts of one a turn.
const LATE_MAX: u64 = 8_192;

/// Whom a flood is for, and from where it seems to come.
#[derive(Clone, Copy, Debug)]
pub struct FloodConfig {
    /// The server.
    pub server: SocketAddrV4,
    /// Its station, or that of the router to it.
    pub server_mac: [u8; 6],
    /// The network that forged addresses are drawn from; none of its addresses is the owner's.
    pub forged: Ipv4Addr,
    /// Bits of its prefix, 1 to 31.
    pub forged_prefix: u8,
    /// Where the random numbers start.
    pub seed: Seed,
}

/// What a flood has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FloodCounts {
    /// SYNs that the port took.
    pub syns: u64,
    /// SYNs given up because the owner, its packet pool or the port was late by more than some thousands of them.
    pub given_up: u64,
    /// SYN-ACKs that came for forged addresses.
    pub syn_acks: u64,
    /// Anything else for them.
    pub others: u64,
}

impl FloodCounts {
    /// What was counted since `before`.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        let Self { syns, given_up, syn_acks, others } = self;
        Self {
            syns: syns - before.syns,
            given_up: given_up - before.given_up,
            syn_acks: syn_acks - before.syn_acks,
            others: others - before.others,
        }
    }
}

/// The hand on the tap. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct FloodTap {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    per_second: AtomicU64,
    counts: [AtomicU64; 4],
}

impl FloodTap {
    /// From the owner's next turn on, so many SYNs a second; none to begin with.
    pub fn open(&self, per_second: u64) {
        self.shared.per_second.store(per_second, Ordering::Relaxed);
    }

    /// What was counted by the owner's last turn.
    pub fn counts(&self) -> FloodCounts {
        let [syns, given_up, syn_acks, others] =
            self.shared.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        FloodCounts { syns, given_up, syn_acks, others }
    }

    fn write(&self, counts: FloodCounts) {
        let FloodCounts { syns, given_up, syn_acks, others } = counts;
        for (word, count) in self.shared.counts.iter().zip([syns, given_up, syn_acks, others]) {
            word.store(count, Ordering::Relaxed);
        }
    }
}

/// A port with a flood beside its owner's frames. Its owner must poll, for a sleeping one makes no SYNs.
#[derive(Debug)]
pub struct Flood<P, C> {
    port: P,
    clock: C,
    template: SynTemplate,
    forged: u32,
    host_bits: u32,
    rng: Rng,
    tap: FloodTap,
    counts: FloodCounts,
    /// The rate that is followed, since when, and how many SYNs fell due since.
    per_second: u64,
    since: Instant,
    due: u64,
    /// Made, and not taken by the port yet.
    ready: TxBurst,
}

impl<P: Port, C: Clock> Flood<P, C> {
    /// `port` with a flood that `tap` turns on and off.
    pub fn new(port: P, clock: C, config: &FloodConfig, tap: FloodTap) -> Self {
        let FloodConfig { server, server_mac, forged, forged_prefix, seed } = *config;
        let host_bits = u32::MAX >> forged_prefix.clamp(1, 31);
        Self {
            template: SynTemplate::new(MacAddr(port.info().mac), MacAddr(server_mac), server),
            forged: forged.to_bits() & !host_bits,
            host_bits,
            rng: Rng::new(seed),
            tap,
            counts: FloodCounts::default(),
            per_second: 0,
            since: clock.now(),
            due: 0,
            ready: TxBurst::new(),
            port,
            clock,
        }
    }

    /// Makes the SYNs that are due, one burst at most, and gives them to the port.
    fn pour(&mut self, pool: &PacketPool) {
        let per_second = self.tap.shared.per_second.load(Ordering::Relaxed);
        if per_second != self.per_second {
            (self.per_second, self.since, self.due) = (per_second, self.clock.now(), 0);
            self.ready.clear();
        }
        if per_second == 0 {
            return;
        }
        let elapsed_ns = self.clock.now().since(self.since).as_nanos();
        let wanted = (u128::from(elapsed_ns) * u128::from(per_second) / 1_000_000_000) as u64;
        let too_late = (wanted - self.due).saturating_sub(LATE_MAX);
        self.due += too_late;
        self.counts.given_up += too_late;
        while self.due < wanted
            && !self.ready.is_full()
            && let Some(mut packet) = pool.alloc()
        {
            let Some(frame) = packet.append(SYN_LEN).and_then(|bytes| bytes.first_chunk_mut()) else {
                return;
            };
            let addr = Ipv4Addr::from_bits(self.forged | self.rng.next_u32() & self.host_bits);
            // Nobody connects from ports below 1,024.
            let port = 1_024 + self.rng.below(64_512) as u16;
            self.template.write(frame, SocketAddrV4::new(addr, port), self.rng.next_u32());
            self.ready.push(packet.share());
            self.due += 1;
        }
        self.counts.syns += self.port.tx_burst(&mut self.ready) as u64;
    }

    /// Takes out of `into`, behind the first `before` frames, what is for forged addresses; returns how many.
    fn divert(&mut self, into: &mut RxBurst, before: usize) -> usize {
        let (forged, hosts, counts) = (self.forged, self.host_bits, &mut self.counts);
        let (mut place, mut taken) = (0, 0);
        into.retain(|packet| {
            place += 1;
            if place <= before {
                return true;
            }
            let Some(flags) = answer_to(packet.data(), |addr| addr.to_bits() & !hosts == forged) else {
                return true;
            };
            taken += 1;
            match flags == Flags::SYN | Flags::ACK {
                true => counts.syn_acks += 1,
                false => counts.others += 1,
            }
            false
        });
        taken
    }
}

impl<P: Port, C: Clock> RxQueue for Flood<P, C> {
    fn rx_burst(&mut self, pool: &PacketPool, into: &mut RxBurst) -> usize {
        self.pour(pool);
        let before = into.len();
        let received = self.port.rx_burst(pool, into);
        let taken = if received > 0 { self.divert(into, before) } else { 0 };
        self.tap.write(self.counts);
        received - taken
    }

    fn arm(&mut self) -> Armed<'_> {
        if self.per_second > 0 { Armed::Ready } else { self.port.arm() }
    }

    fn disarm(&mut self) {
        self.port.disarm();
    }
}

impl<P: Port, C: Clock> TxQueue for Flood<P, C> {
    fn tx_burst(&mut self, from: &mut TxBurst) -> usize {
        self.port.tx_burst(from)
    }
}

impl<P: Port, C: Clock> Port for Flood<P, C> {
    fn attach(&mut self, pool: &PacketPool) -> std::io::Result<()> {
        self.port.attach(pool)
    }

    fn lent(&self) -> u32 {
        self.port.lent()
    }

    fn info(&self) -> &PortInfo {
        self.port.info()
    }

    fn is_remote(&self) -> bool {
        self.port.is_remote()
    }

    fn counters(&self) -> PortCounters {
        self.port.counters()
    }

    fn more_counters(&self, visit: &mut CounterVisit<'_>) {
        self.port.more_counters(visit);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashSet;

    use freeway::Duration;
    use freeway::mem::{Arena, ArenaLayout, PoolConfig};
    use freeway::port::{Pipe, PipeConfig, SharedClock, pipe};
    use freeway_wire::{Protocol, ethernet, ipv4};

    use super::*;

    struct World {
        clock: SharedClock,
        tap: FloodTap,
        flood: Flood<Pipe, SharedClock>,
        far: Pipe,
        pool: PacketPool,
    }

    fn world() -> World {
        let (near, far) = pipe(&PipeConfig::default()).unwrap();
        let (clock, tap) = (SharedClock::default(), FloodTap::default());
        let config = FloodConfig {
            server: "198.18.0.2:7".parse().unwrap(),
            server_mac: [2, 0, 0, 0, 0, 2],
            forged: Ipv4Addr::new(198, 19, 0, 0),
            forged_prefix: 16,
            seed: Seed(1),
        };
        let flood = Flood::new(near, clock.clone(), &config, tap.clone());
        let size = PoolConfig { buffers: 1_024, ..PoolConfig::default() };
        let mut arena = Arena::heap(ArenaLayout::new().pool(&size).bytes()).unwrap();
        let pool = PacketPool::new(&mut arena, &size).unwrap();
        World { clock, tap, flood, far, pool }
    }

    impl World {
        /// One turn of the owner's, and what the far end receives.
        fn turn(&mut self, micros: u64) -> RxBurst {
            self.clock.set(self.clock.now() + Duration::from_micros(micros));
            let mut burst = RxBurst::new();
            self.flood.rx_burst(&self.pool, &mut burst);
            assert!(burst.is_empty());
            self.far.rx_burst(&self.pool, &mut burst);
            burst
        }
    }

    #[test]
    fn syns_come_evenly_at_the_rate_that_was_asked_for() {
        let mut world = world();
        assert!(world.turn(1_000).is_empty());
        world.tap.open(500_000);
        assert!(world.turn(10).is_empty());
        let mut senders = HashSet::new();
        for _ in 0..1_000 {
            let burst = world.turn(20);
            assert_eq!(burst.len(), 10);
            senders.extend(burst.iter().map(|frame| frame.data()[26..38].to_vec()));
        }
        // Addresses, ports and numbers are drawn: hardly two SYNs are of one connection.
        assert!(senders.len() > 9_990, "{}", senders.len());
        assert!(senders.iter().all(|sender| sender.starts_with(&[198, 19])));
        world.tap.open(0);
        assert!(world.turn(1_000).is_empty());
        assert_eq!(world.tap.counts(), FloodCounts { syns: 10_000, ..FloodCounts::default() });
    }

    #[test]
    fn an_owner_that_was_away_makes_up_for_little() {
        let mut world = world();
        world.tap.open(1_000_000);
        assert!(world.turn(10).is_empty());
        assert_eq!(world.turn(10_000).len(), 64);
        let counts = world.tap.counts();
        assert_eq!((counts.syns, counts.given_up), (64, 10_000 - LATE_MAX));
        let rest: usize = (0..200).map(|_| world.turn(0).len()).sum();
        assert_eq!(rest as u64, LATE_MAX - 64);
    }

    #[test]
    fn answers_to_forged_addresses_do_not_reach_the_owner() {
        let mut world = world();
        let frame = |dst: Ipv4Addr, flags: Flags| {
            let mut packet = world.pool.alloc().unwrap();
            let bytes: &mut [u8; SYN_LEN] = packet.append(SYN_LEN).unwrap().first_chunk_mut().unwrap();
            let template = SynTemplate::new(MacAddr([2; 6]), MacAddr([4; 6]), SocketAddrV4::new(dst, 5));
            template.write(bytes, "198.18.0.2:7".parse().unwrap(), 1);
            bytes[14 + 20 + 13] = flags.bits();
            packet.share()
        };
        let (forged, own) = (Ipv4Addr::new(198, 19, 200, 1), Ipv4Addr::new(198, 18, 0, 16));
        let syn_ack = Flags::SYN | Flags::ACK;
        let mut burst: TxBurst =
            [frame(own, syn_ack), frame(forged, syn_ack), frame(forged, Flags::RST), frame(own, Flags::ACK)]
                .into_iter()
                .collect();
        assert_eq!(world.far.tx_burst(&mut burst), 4);
        let mut received = RxBurst::new();
        assert_eq!(world.flood.rx_burst(&world.pool, &mut received), 2);
        for packet in &received {
            let frame = ethernet::Frame::new_checked(packet.data()).unwrap();
            let packet = ipv4::Packet::new_checked(frame.payload()).unwrap();
            assert_eq!((packet.dst(), packet.protocol()), (own, Protocol::TCP));
        }
        let counts = world.tap.counts();
        assert_eq!((counts.syn_acks, counts.others), (1, 1));
        // What is in the burst already is the owner's, whatever it is.
        let mut burst = received;
        let mut more: TxBurst = [frame(forged, syn_ack), frame(own, syn_ack)].into_iter().collect();
        world.far.tx_burst(&mut more);
        assert_eq!(world.flood.rx_burst(&world.pool, &mut burst), 1);
        assert_eq!(burst.len(), 3);
    }
}
