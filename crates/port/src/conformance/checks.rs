//! What is expected of a port, one function each.

use freeway_base::{Rng, Seed};
use freeway_mem::{BURST, Packet, PoolConfig, RxBurst, SharedPacket, TxBurst};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Peer;
use super::bench::{Bench, LULL, PATIENCE, SHORTEST, assert_same, number_of, patiently, pool};
use crate::queue::{Armed, Port};

type Check<P, Q> = fn(Bench<P, Q>);

pub(super) fn all<P: Port, Q: Peer>() -> [(&'static str, Check<P, Q>); 15] {
    [
        ("frames of every length pass both ways unchanged", every_length),
        ("rings wrap around: order and bytes survive many bursts of all sizes", many_bursts),
        ("what has arrived is split over calls by the room there is", room_in_the_burst),
        ("back-pressure leaves the rest with the caller, in order", leftovers_stay),
        ("an empty burst is neither sent nor received", nothing_to_do),
        ("a pool that ran dry drops, counts, and recovers", dry_pool),
        ("the core's own pool that ran dry drops, counts, and recovers", dry_own_pool),
        ("a dry pool costs no more frames than there was room for", dry_pool_without_room),
        ("a frame longer than the pool's buffers is dropped and counted", short_buffers),
        ("a frame too long to be sent is dropped and counted", too_long_to_send),
        ("a packet that others hold is sent and stays theirs", held_by_others),
        ("counters agree with what passed", counters_agree),
        ("an armed port wakes its sleeper, and only when a frame comes", wake_up),
        ("a port with frames waiting does not let its core sleep", no_sleep_with_frames),
        ("when the peer dies its last frames arrive and sending goes nowhere", peer_dies),
    ]
}

fn every_length<P: Port, Q: Peer>(mut bench: Bench<P, Q>) {
    let lengths = (SHORTEST..=bench.longest()).step_by(61).chain([bench.longest()]);
    for (number, len) in (0..).zip(lengths) {
        bench.port_sends([number], len);
        bench.peer_receives([number], len);
        bench.peer_sends([number], len);
        bench.port_receives(number..number + 1, len);
    }
    all_buffers_are_home(&mut bench);
}

fn many_bursts<P: Port, Q: Peer>(mut bench: Bench<P, Q>) {
    let mut rng = Rng::new(Seed(1));
    let mut number = 0;
    while number < 10_000 {
        let count = 1 + rng.below(BURST as u32);
        let len = SHORTEST + rng.below(200) as usize;
        bench.port_sends(number..number + count, len);
        bench.peer_sends(number..number + count, len);
        bench.port_receives(number..number + count, len);
        bench.peer_receives(number..number + count, len);
        number += count;
    }
    all_buffers_are_home(&mut bench);
}

fn room_in_the_burst<P: Port, Q: Peer>(mut bench: Bench<P, Q>) {
    let own = |bench: &Bench<P, Q>, n| unshared(bench.packet(n, SHORTEST));
    let mut burst: RxBurst = (1_000..1_060).map(|number| own(&bench, number)).collect();
    bench.peer_sends(0..10, SHORTEST);
    let pool = bench.pool.clone();
    patiently(|| {
        bench.port.rx_burst(&pool, &mut burst);
        burst.is_full().then_some(())
    });
    assert_eq!(burst.len(), BURST);
    assert_eq!(bench.port.rx_burst(&pool, &mut burst), 0, "frames received into a full burst");
    let numbers: Vec<u32> = burst.iter().map(|packet| number_of(packet.data())).collect();
    assert_eq!(
        numbers,
        (1_000..1_060).chain(0..4).collect::<Vec<_>>(),
        "what was in the burst stays in front"
    );
    bench.port_receives(4..10, SHORTEST);
}

fn leftovers_stay<P: Port, Q: Peer>(mut bench: Bench<P, Q>) {
    let mut taken = 0;
    let mut burst = TxBurst::new();
    while taken < 1_024 && burst.is_empty() {
        burst.extend((taken..taken + BURST as u32).map(|number| bench.packet(number, SHORTEST)));
        let before = burst.len();
        let said = bench.port.tx_burst(&mut burst);
        assert_eq!(said, before - burst.len(), "what is said to be taken is gone from the burst");
        taken += said as u32;
    }
    let left: Vec<u32> = burst.iter().map(|packet| number_of(packet.data())).collect();
    assert_eq!(left, (taken..taken + left.len() as u32).collect::<Vec<_>>(), "leftovers");
    let left_len = left.len() as u64;
    bench.peer_receives(0..taken, SHORTEST);
    bench.peer_receives_no_more();
    if !burst.is_empty() {
        assert!(bench.port.counters().tx_full > 0, "a full queue is counted");
        assert_eq!(bench.port.tx_burst(&mut burst), left.len(), "room is there again");
        bench.peer_receives(left, SHORTEST);
    }
    assert_eq!(bench.port.counters().tx_frames, u64::from(taken) + left_len, "what was sent");
}

fn nothing_to_do<P: Port, Q: Peer>(mut bench: Bench<P, Q>) {
    assert_eq!(bench.port.tx_burst(&mut TxBurst::new()), 0);
    bench.peer_receives_no_more();
    let (counters, pool) = (bench.port.counters(), bench.pool.clone());
    let received = bench.port.rx_burst(&pool, &mut RxBurst::new());
    assert_eq!(bench.port.counters().rx_frames - counters.rx_frames, received as u64);
    all_buffers_are_home(&mut bench);
}

fn dry_pool<P: Port, Q: Peer>(mut bench: Bench<P, Q>) {
    let small = pool(&PoolConfig { buffers: 8, ..PoolConfig::default() });
    bench.peer_sends(0..12, SHORTEST);
    let held = bench.port_receives_into(&small, 8);
    drops(&mut bench, &small, 4);
    assert_eq!(number_of(held[7].data()), 7, "the oldest frames are kept, the newest dropped");
    drop(held);
    bench.peer_sends(12..15, SHORTEST);
    let after = bench.port_receives_into(&small, 3);
    assert_same(after[0].data(), 12, SHORTEST);
}

fn dry_own_pool<P: Port, Q: Peer>(mut bench: Bench<P, Q>) {
    let pool = bench.pool.clone();
    let all: Vec<Packet> = std::iter::from_fn(|| pool.alloc()).collect();
    bench.peer_sends(0..12, SHORTEST);
    drops(&mut bench, &pool, 12);
    drop(all);
    bench.peer_sends(12..15, SHORTEST);
    bench.port_receives(12..15, SHORTEST);
    all_buffers_are_home(&mut bench);
}

/// The port drops `count` frames for want of a buffer.
fn drops<P: Port, Q: Peer>(bench: &mut Bench<P, Q>, dry: &freeway_mem::PacketPool, count: u64) {
    patiently(|| {
        assert_eq!(bench.port.rx_burst(dry, &mut RxBurst::new()), 0, "the pool has no buffer");
        (bench.port.counters().rx_dropped_no_buffer >= count).then_some(())
    });
    assert_eq!(bench.port.counters().rx_dropped_no_buffer, count, "frames dropped for want of a buffer");
}

fn dry_pool_without_room<P: Port, Q: Peer>(mut bench: Bench<P, Q>) {
    let dry = pool(&PoolConfig { buffers: 1, ..PoolConfig::default() });
    let only = dry.alloc();
    let mut burst: RxBurst = (0..BURST as u32 - 1).map(|n| unshared(bench.packet(n, SHORTEST))).collect();
    bench.peer_sends(0..3, SHORTEST);
    patiently(|| {
        let before = bench.port.counters().rx_dropped_no_buffer;
        bench.port.rx_burst(&dry, &mut burst);
        let dropped = bench.port.counters().rx_dropped_no_buffer - before;
        assert!(dropped <= 1, "{dropped} frames dropped where there was room for one");
        (before + dropped == 1).then_some(())
    });
    drop(only);
    bench.port_receives(1..3, SHORTEST);
}

fn short_buffers<P: Port, Q: Peer>(mut bench: Bench<P, Q>) {
    let short = pool(&PoolConfig { buffers: 8, buffer_size: 256, headroom: 128, ..PoolConfig::default() });
    bench.peer_sends([0], 128);
    bench.peer_sends([1], 129);
    bench.peer_sends([2], bench.longest());
    bench.peer_sends([3], SHORTEST);
    let received = bench.port_receives_into(&short, 2);
    assert_same(received[0].data(), 0, 128);
    assert_same(received[1].data(), 3, SHORTEST);
    assert_eq!(bench.port.counters().rx_dropped_too_long, 2);
    drop(received);
    assert_eq!(short.in_use(), 0, "buffers of dropped frames go home");
}

fn too_long_to_send<P: Port, Q: Peer>(mut bench: Bench<P, Q>) {
    let too_long = bench.port.info().frame_max() + 1;
    let lengths = [SHORTEST, too_long, SHORTEST];
    let mut burst: TxBurst = (0..).zip(lengths).map(|(number, len)| bench.packet(number, len)).collect();
    assert_eq!(bench.port.tx_burst(&mut burst), 3, "frames taken, the one dropped included");
    bench.peer_receives([0, 2], SHORTEST);
    let counters = bench.port.counters();
    assert_eq!((counters.tx_frames, counters.tx_dropped_too_long), (2, 1));
    all_buffers_are_home(&mut bench);
}

fn held_by_others<P: Port, Q: Peer>(mut bench: Bench<P, Q>) {
    let kept = bench.packet(7, 300);
    let mut view = kept.try_clone().expect("room for a second holder");
    view.truncate(SHORTEST);
    bench.port.tx_burst(&mut TxBurst::from_iter([view]));
    bench.peer_receives([7], SHORTEST);
    assert_same(kept.data(), 7, 300);
    // The port may keep its handle as long as the device has the frame, and lets go when it is called again.
    let released = patiently(|| {
        bench.port.tx_burst(&mut TxBurst::new());
        kept.is_unique().then_some(())
    });
    assert!(released.is_some(), "the port holds on to a packet that was sent");
}

fn counters_agree<P: Port, Q: Peer>(mut bench: Bench<P, Q>) {
    bench.port_sends(0..100, 100);
    bench.port_sends([100], bench.longest());
    bench.peer_receives(0..100, 100);
    let counters = bench.port.counters();
    assert_eq!((counters.tx_frames, counters.tx_bytes), (101, 100 * 100 + bench.longest() as u64));

    bench.peer_sends(0..100, 100);
    let (mut frames, mut bytes, mut ours) = (0, 0, 0);
    let pool = bench.pool.clone();
    patiently(|| {
        let mut burst = RxBurst::new();
        frames += bench.port.rx_burst(&pool, &mut burst) as u64;
        bytes += burst.iter().map(|packet| packet.len() as u64).sum::<u64>();
        ours += burst.iter().filter(|packet| packet.len() == 100).count();
        (ours >= 100).then_some(())
    });
    let counters = bench.port.counters();
    assert_eq!((counters.rx_frames, counters.rx_bytes), (frames, bytes));
    assert_eq!(counters.rx_dropped_no_buffer + counters.rx_dropped_too_long + counters.rx_errors, 0);
    assert_eq!(counters.tx_dropped_too_long + counters.tx_dropped_no_link + counters.tx_errors, 0);
}

fn wake_up<P: Port, Q: Peer>(mut bench: Bench<P, Q>) {
    for number in 0..3 {
        silence(&mut bench);
        assert!(!sleeps_until_woken(&mut bench.port, LULL), "woken for nothing");
        bench.port.disarm();

        let Armed::Fd(fd) = bench.port.arm() else {
            panic!("a port where frames arrive wakes by descriptor")
        };
        let fd = fd.try_clone_to_owned().expect("a descriptor");
        bench.peer_sends([number], SHORTEST);
        assert!(is_readable(&fd, PATIENCE), "a frame came and woke nobody");
        bench.port.disarm();
        bench.port_receives(number..number + 1, SHORTEST);
    }
}

fn no_sleep_with_frames<P: Port, Q: Peer>(mut bench: Bench<P, Q>) {
    bench.peer_sends(0..2, SHORTEST);
    assert!(sleeps_until_woken(&mut bench.port, PATIENCE), "a sleep with a frame at the door");
    bench.port.disarm();
    let mut burst = RxBurst::new();
    let pool = bench.pool.clone();
    bench.port.rx_burst(&pool, &mut burst);
    bench.peer_sends([2], SHORTEST);
    assert!(sleeps_until_woken(&mut bench.port, PATIENCE), "a sleep with a frame that came while awake");
    bench.port.disarm();
}

/// Takes whatever came by itself.
fn silence<P: Port, Q: Peer>(bench: &mut Bench<P, Q>) {
    let pool = bench.pool.clone();
    while bench.port.rx_burst(&pool, &mut RxBurst::new()) > 0 {}
}

/// Arms the port and does as a core would. Whether something ended the sleep before its time.
fn sleeps_until_woken(port: &mut impl Port, at_most: std::time::Duration) -> bool {
    match port.arm() {
        Armed::Ready => true,
        Armed::Fd(fd) => is_readable(&fd, at_most),
        Armed::Never => panic!("frames do arrive at this port"),
    }
}

pub(super) fn is_readable(fd: &impl std::os::fd::AsFd, at_most: std::time::Duration) -> bool {
    let timeout = Timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: i64::from(at_most.subsec_nanos()) };
    poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout)).expect("poll") > 0
}

fn peer_dies<P: Port, Q: Peer>(mut bench: Bench<P, Q>) {
    bench.peer_sends(0..5, SHORTEST);
    let Bench { mut port, peer, pool } = bench;
    drop(peer);
    let mut last = RxBurst::new();
    patiently(|| {
        port.rx_burst(&pool, &mut last);
        (last.len() >= 5).then_some(())
    });
    assert!(last.len() >= 5, "frames sent before the death");
    drop(last);

    let frame = super::bench::frame(0, SHORTEST);
    let mut sent = 0;
    let over = patiently(|| {
        let mut burst: TxBurst = (0..BURST).filter_map(|_| pool.alloc()).map(|p| filled(p, &frame)).collect();
        let offered = burst.len();
        assert_eq!(port.tx_burst(&mut burst), offered - burst.len());
        sent += offered - burst.len();
        (sent >= 4_096).then_some(())
    });
    assert!(over.is_some(), "frames for a dead peer pile up after {sent}");
    assert_eq!(port.rx_burst(&pool, &mut RxBurst::new()), 0, "frames from a dead peer");
    drop(port);
    assert_eq!(pool.in_use(), 0, "buffers that did not come home");
}

fn filled(mut packet: Packet, frame: &[u8]) -> SharedPacket {
    assert!(packet.copy_from_slice(frame), "the pool's buffers are longer than any frame");
    packet.share()
}

fn unshared(packet: SharedPacket) -> Packet {
    packet.try_unique().unwrap_or_else(|_| panic!("nobody else holds it"))
}

/// All are back but those that lie with the device, as soon as the port, called as by a core, has seen what was sent.
fn all_buffers_are_home<P: Port, Q: Peer>(bench: &mut Bench<P, Q>) {
    patiently(|| {
        bench.port.tx_burst(&mut TxBurst::new());
        (bench.pool.in_use() == bench.port.lent()).then_some(())
    });
    assert_eq!(bench.pool.in_use(), bench.port.lent(), "buffers that did not come home");
}
