//! What a seed makes of the world.

use freeway_base::{Duration, Rng, Seed};
use freeway_port::FaultConfig;
use freeway_tcp::congestion::Algorithm;
use freeway_tcp::{Config, EcnMode, Keepalive, PathProbing};

/// Everything that differs from run to run, one field a fault.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Plan {
    /// The seed it was made from.
    pub seed: Seed,
    /// Frames from the client to the server.
    pub upward: FaultConfig,
    /// Frames from the server to the client.
    pub downward: FaultConfig,
    /// Streams that the client opens.
    pub streams: u32,
    /// Bytes of the longest.
    pub stream_bytes_max: u32,
    /// Packet buffers of each host: few of them are exhausted again and again.
    pub buffers: u32,
    /// Connections that each host has room for.
    pub connections: u32,
    /// Over IPv6 instead of IPv4.
    pub ipv6: bool,
    /// With Fast Open: requests may travel in SYNs.
    pub fast_open: bool,
    /// Half-open connections that the server has room for: cookies answer the rest.
    pub half_open: u32,
    /// Connections of each host that can have more than one segment in flight with all of loss recovery.
    pub flights: u32,
    /// Bytes that a connection may have queued for sending.
    pub send_buffer: u32,
    /// TCP's settings at the client.
    pub client_tcp: Config,
    /// And at the server, which need not be the same.
    pub server_tcp: Config,
}

impl Plan {
    /// The plan of a seed. One seed in eight is a perfect cable, so that what fails there needs no fault.
    pub fn new(seed: Seed) -> Self {
        let mut rng = Rng::new(seed);
        let perfect = rng.chance(0.125);
        let path = Path::new(&mut rng);
        let mut direction = || if perfect { FaultConfig::NONE } else { path.faults(&mut rng) };
        let (upward, downward) = (direction(), direction());
        let scarce = rng.chance(0.25);
        let client_tcp = tcp(&mut rng);
        let server_tcp = if rng.chance(0.5) { client_tcp } else { tcp(&mut rng) };
        Self {
            seed,
            upward,
            downward,
            streams: 1 + rng.below(12),
            stream_bytes_max: 1 << (6 + rng.below(12)),
            buffers: if scarce { 64 + rng.below(64) } else { 2_048 },
            connections: if rng.chance(0.25) { 4 } else { 64 },
            ipv6: rng.chance(0.5),
            fast_open: rng.chance(0.25),
            half_open: if rng.chance(0.25) { 1 + rng.below(3) } else { 64 },
            flights: if rng.chance(0.25) { 1 + rng.below(3) } else { 64 },
            send_buffer: 1 << (13 + rng.below(8)),
            client_tcp,
            server_tcp,
        }
    }
}

/// What both directions of a path share.
struct Path {
    delay: Duration,
    rate_bits_per_sec: u64,
}

impl Path {
    fn new(rng: &mut Rng) -> Self {
        let delay = match rng.below(4) {
            0 => Duration::ZERO,
            1 => Duration::from_micros(u64::from(rng.below(1_000))),
            2 => Duration::from_millis(u64::from(rng.below(20))),
            _ => Duration::from_millis(u64::from(rng.below(200))),
        };
        let rate_bits_per_sec = if rng.chance(0.5) { 0 } else { 1_000_000 << rng.below(8) };
        Self { delay, rate_bits_per_sec }
    }

    fn faults(&self, rng: &mut Rng) -> FaultConfig {
        let mut sometimes = |most: f64| if rng.chance(0.5) { rng.unit() * most } else { 0.0 };
        FaultConfig {
            loss_ratio: sometimes(0.1),
            loss_burst_ratio: sometimes(0.01),
            loss_burst_frames_mean: 1.0 + sometimes(4.0),
            corrupt_ratio: sometimes(0.05),
            duplicate_ratio: sometimes(0.1),
            reorder_ratio: sometimes(0.1),
            rate_bits_per_sec: self.rate_bits_per_sec,
            queue_frames: 8 + rng.below(256) as usize,
            delay_mean: self.delay,
            jitter: Duration::from_micros(u64::from(rng.below(1_000))),
            reorder_distance: 1 + rng.below(8),
            reorder_delay: Duration::from_millis(1 + u64::from(rng.below(10))),
        }
    }
}

fn one_of<T: Copy, const N: usize>(rng: &mut Rng, all: [T; N]) -> T {
    all[rng.below(N as u32) as usize]
}

fn tcp(rng: &mut Rng) -> Config {
    let receive_window = 1 << (12 + rng.below(8));
    Config {
        mss: one_of(rng, [1_460, 1_460, 1_460, 1_200, 536]),
        receive_window,
        receive_window_max: receive_window << rng.below(6),
        window_scale: rng.chance(0.75),
        timestamps: rng.chance(0.75),
        sack: rng.chance(0.75),
        tail_loss_probe: rng.chance(0.75),
        congestion: one_of(rng, Algorithm::ALL),
        hystart: rng.chance(0.75),
        pacing: rng.chance(0.25),
        ecn: one_of(rng, EcnMode::ALL),
        initial_window: one_of(rng, [1, 4, 10, 10, 32]),
        rto_min: Duration::from_millis(one_of(rng, [5, 200, 200, 1_000])),
        delayed_ack: if rng.chance(0.25) { None } else { Some(Duration::from_millis(40)) },
        quick_acks: one_of(rng, [0, 16, 16]),
        nagle: rng.chance(0.25),
        cork: rng.chance(0.05),
        path_probing: one_of(rng, [PathProbing::Off, PathProbing::BlackHole, PathProbing::Always]),
        // Some of these paths lose every third frame: patience decides nothing here.
        keepalive: rng.chance(0.25).then_some(Keepalive {
            idle: Duration::from_millis(500),
            interval: Duration::from_secs(60),
            probes: u8::MAX,
            spread: 16,
        }),
        syn_retries: 20,
        syn_ack_retries: 20,
        user_timeout: Duration::from_secs(7_200),
        fin_wait_2: Some(Duration::from_secs(7_200)),
        not_sent_low_water: if rng.chance(0.25) { 1 << (12 + rng.below(6)) } else { u32::MAX },
        ..Config::default()
    }
}
