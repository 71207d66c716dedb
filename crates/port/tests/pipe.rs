//! The pipe: the suite of all ports, and its two ends on two threads.
#![allow(clippy::unwrap_used)]

use std::thread;
use std::time::{Duration, Instant};

use freeway_base::{Rng, Seed};
use freeway_mem::{PacketFlags, PacketPool, RxBurst, TxBurst};
use freeway_port::conformance::{self, PortPeer, pool_for};
use freeway_port::{
    Armed, Capabilities, Capture, Fault, FaultConfig, Pipe, PipeConfig, Port, RxChecksum, RxQueue,
    SharedClock, TxChecksum, TxQueue, pipe,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

fn cable() -> (Pipe, Pipe) {
    pipe(&PipeConfig::default()).unwrap()
}

#[test]
fn a_pipe_conforms() {
    conformance::run(|| {
        let (near, far) = cable();
        (near, PortPeer::new(far))
    });
}

#[test]
fn a_jumbo_pipe_conforms() {
    conformance::run(|| {
        let (near, far) = pipe(&PipeConfig { mtu: 9_000, frames: 256, ..PipeConfig::default() }).unwrap();
        (near, PortPeer::new(far))
    });
}

#[test]
fn a_captured_pipe_conforms() {
    conformance::run(|| {
        let (near, far) = cable();
        (Capture::new(near, SharedClock::default(), std::io::sink()).unwrap(), PortPeer::new(far))
    });
}

#[test]
fn no_wake_up_is_lost() {
    let (near, far) = cable();
    let pool = pool_for(near.info(), 64);
    conformance::no_wake_up_is_lost(near, &pool, || PortPeer::new(far));
}

/// Without faults, a network between two ports is a cable like any other.
#[test]
fn a_faultless_network_conforms() {
    conformance::run(|| {
        let (near, far) = cable();
        let (clock, none) = (SharedClock::default(), FaultConfig::NONE);
        (Fault::new(near, clock, Seed(1), none, none).unwrap(), PortPeer::new(far))
    });
}

#[test]
#[should_panic = "frames received"]
fn a_network_that_doubles_frames_does_not_conform() {
    conformance::run(|| {
        let (near, far) = cable();
        let doubling = FaultConfig { duplicate_ratio: 1.0, ..FaultConfig::NONE };
        (Fault::new(near, SharedClock::default(), Seed(1), doubling, doubling).unwrap(), PortPeer::new(far))
    });
}

fn frame(pool: &PacketPool, number: u32) -> freeway_mem::SharedPacket {
    let mut packet = pool.alloc().unwrap();
    packet.append(64).unwrap().fill(number as u8);
    packet.data_mut()[..4].copy_from_slice(&number.to_be_bytes());
    packet.share()
}

fn number(bytes: &[u8]) -> u32 {
    assert!(bytes[4..].iter().all(|&byte| byte == bytes[3]), "torn frame");
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

#[test]
fn frames_cross_threads_whole_and_in_order() {
    const FRAMES: u32 = 200_000;
    let (mut near, mut far) = cable();
    let sender = thread::spawn(move || {
        let pool = pool_for(near.info(), 128);
        let mut rng = Rng::new(Seed(1));
        let mut next = 0;
        let mut burst = TxBurst::new();
        while next < FRAMES || !burst.is_empty() {
            let most = (burst.len() + 1 + rng.below(64) as usize).min(64);
            while burst.len() < most && next < FRAMES {
                burst.push(frame(&pool, next));
                next += 1;
            }
            if near.tx_burst(&mut burst) == 0 {
                thread::yield_now();
            }
        }
        near.counters().tx_frames
    });
    let pool = pool_for(far.info(), 128);
    let mut expected = 0;
    let over = Instant::now() + Duration::from_secs(60);
    while expected < FRAMES && Instant::now() < over {
        let mut burst = RxBurst::new();
        if far.rx_burst(&pool, &mut burst) == 0 {
            thread::yield_now();
        }
        for packet in burst {
            assert_eq!(number(packet.data()), expected);
            expected += 1;
        }
    }
    assert_eq!((sender.join().unwrap(), far.counters().rx_frames), (FRAMES.into(), FRAMES.into()));
    assert_eq!(far.counters().rx_dropped_no_buffer, 0);
}

/// Sleeps as a core does until a frame comes.
fn next(port: &mut Pipe, pool: &PacketPool) -> u32 {
    let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
    loop {
        let mut burst = RxBurst::new();
        if port.rx_burst(pool, &mut burst) > 0 {
            return number(burst[0].data());
        }
        if let Armed::Fd(fd) = port.arm() {
            let woken = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&patience)).unwrap();
            assert_eq!(woken, 1, "a wake-up was lost");
        }
        port.disarm();
    }
}

/// Both sides sleep while they wait, and pause at random, so that sending meets every moment of falling asleep.
#[test]
fn no_wake_up_is_lost_between_threads() {
    const ROUNDS: u32 = 20_000;
    let (near, far) = cable();
    let side = |mut port: Pipe, begins: bool, seed| {
        move || {
            let pool = pool_for(port.info(), 8);
            let mut rng = Rng::new(Seed(seed));
            for round in 0..ROUNDS {
                if !begins {
                    assert_eq!(next(&mut port, &pool), round);
                }
                (0..rng.below(1_500)).for_each(|_| std::hint::spin_loop());
                assert_eq!(port.tx_burst(&mut TxBurst::from_iter([frame(&pool, round)])), 1);
                if begins {
                    assert_eq!(next(&mut port, &pool), round);
                }
            }
            port
        }
    };
    let echo = thread::spawn(side(far, false, 1));
    side(near, true, 2)();
    echo.join().unwrap();
}

#[test]
fn a_claimed_checksum_offload_vouches_for_what_was_left_open() {
    let capabilities = Capabilities {
        tx_checksum: TxChecksum::Flagged,
        rx_checksum: RxChecksum::Verified,
        ..Capabilities::default()
    };
    let (mut near, mut far) = pipe(&PipeConfig { capabilities, ..PipeConfig::default() }).unwrap();
    let pool = pool_for(near.info(), 8);
    let mut open = frame(&pool, 0);
    open.set_flags(PacketFlags::CHECKSUM_NEEDED);
    near.tx_burst(&mut TxBurst::from_iter([open, frame(&pool, 1)]));
    let mut burst = RxBurst::new();
    far.rx_burst(&pool, &mut burst);
    assert_eq!(burst[0].flags(), PacketFlags::CHECKSUM_GOOD);
    assert_eq!(burst[1].flags(), PacketFlags::empty());
}
