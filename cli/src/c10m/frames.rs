//! Bare frames over the memif: what the way alone costs, without a stack at either end.
//!
//! One side sends frames at an open loop's rate, each with the time that it was meant for; the other sends them back as
//! they come. Both poll, as the cores of a host do.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use freeway::mem::{
    Arena, ArenaConfig, ArenaLayout, HugePages, Packet, PacketPool, PoolConfig, RxBurst, TxBurst,
};
use freeway::port::{Port, RxQueue as _, TxQueue as _};
use freeway::{Clock as _, Monotonic, Rng, Seed};
use freeway_loadgen::{Arrivals, Latencies, Percentiles, Rate, Schedule};
use freeway_memif::{Memif, MemifQueue};

use super::plan::{Side, Size};

/// Bytes of a frame: those of a 64-byte request over TCP and IPv4 with timestamps.
const FRAME: usize = 14 + 20 + 32 + 64;
/// How long a link may take to come up.
const PATIENCE: Duration = Duration::from_secs(20);

/// One end of a pair, bare.
pub(super) struct Bare {
    port: Memif,
    pool: PacketPool,
}

impl Bare {
    /// Takes the queue, on the thread that will poll it.
    pub(super) fn new(queue: MemifQueue, size: Size, side: Side) -> Result<Self> {
        let shared = size.memif("", 0, side).trust == freeway_memif::Trust::Full;
        let config = PoolConfig { buffers: size.buffers, shared, ..PoolConfig::default() };
        let bytes = ArenaLayout::new().pool(&config).bytes();
        let mut arena = Arena::map(&ArenaConfig { bytes, name: "frames", huge_pages: HugePages::Auto })?;
        let pool = PacketPool::new(&mut arena, &config)?;
        let mut port = queue.into_port();
        port.attach(&pool)?;
        Ok(Self { port, pool })
    }

    /// Sends back what comes, until `over` says so (asked every few thousand turns).
    pub(super) fn echo(&mut self, over: impl Fn() -> bool) {
        let (mut received, mut to_send) = (RxBurst::new(), TxBurst::new());
        while !over() {
            for _ in 0..4_096 {
                self.port.rx_burst(&self.pool, &mut received);
                to_send.extend(received.drain(..).map(Packet::share));
                while !to_send.is_empty() && self.port.status().is_up() {
                    self.port.tx_burst(&mut to_send);
                }
                to_send.clear();
            }
        }
    }

    /// Waits until the other side is there.
    pub(super) fn wait_for_link(&mut self) -> Result<()> {
        let begun = Instant::now();
        while self.port.counters().link_ups == 0 || !self.port.status().is_up() {
            self.port.rx_burst(&self.pool, &mut RxBurst::new());
            ensure!(begun.elapsed() < PATIENCE, "no link: {:?}", self.port.status().last_reason());
        }
        Ok(())
    }

    /// Sends frames at `rate` for `seconds`; how long each took to come back.
    pub(super) fn ask(&mut self, rate: f64, seconds: f64) -> Result<Percentiles> {
        let mut clock = Monotonic::new();
        let mut rng = Rng::new(Seed(7));
        let mut latencies = Latencies::new();
        let begin = clock.now();
        let warm = begin + freeway::Duration::from_millis(200);
        let end = warm + freeway::Duration::from_nanos((seconds * 1e9) as u64);
        let mut schedule =
            Schedule::new(Rate { per_second: rate, arrivals: Arrivals::Poisson }, begin, &mut rng);
        let (mut received, mut to_send) = (RxBurst::new(), TxBurst::new());
        let mut came = 0u64;
        loop {
            let now = clock.now();
            if now >= end {
                break;
            }
            self.port.rx_burst(&self.pool, &mut received);
            for frame in received.drain(..) {
                if let Some(&at) = frame.data().first_chunk::<8>() {
                    let at = freeway::Instant::from_nanos(u64::from_be_bytes(at));
                    came += 1;
                    if at >= warm {
                        latencies.record(now.since(at).as_nanos());
                    }
                }
            }
            while schedule.next() <= now && !to_send.is_full() {
                let Some(mut packet) = self.pool.alloc() else { break };
                let at = schedule.next().as_nanos().to_be_bytes();
                if let Some(room) = packet.append(FRAME).and_then(<[u8]>::first_chunk_mut) {
                    *room = at;
                }
                to_send.push(packet.share());
                schedule.advance(&mut rng);
            }
            self.port.tx_burst(&mut to_send);
        }
        // What is still under way is not to be taken for the next run's.
        let over = Instant::now() + Duration::from_millis(50);
        while Instant::now() < over {
            self.port.rx_burst(&self.pool, &mut received);
            received.clear();
        }
        ensure!(came > 0, "no frame came back");
        Ok(latencies.percentiles())
    }
}
