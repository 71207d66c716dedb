//! Each fault by itself, counted over many frames of a fixed seed.
#![allow(clippy::unwrap_used)]

use freeway_base::{Duration, Seed};

use super::*;

const FRAMES: u64 = 20_000;

/// One delivery: when, which frame, and its bytes.
type Delivery = (Instant, u64, Vec<u8>);

/// Sends `frames` frames of 100 bytes, one every `gap`, and collects what is delivered and when.
fn run_with(config: FaultConfig, seed: u64, frames: u64, gap: Duration) -> (Lane, Vec<Delivery>) {
    let mut lane = Lane::new(config, Rng::new(Seed(seed)));
    let mut delivered = Vec::new();
    let mut collect = |lane: &mut Lane, until: Instant| {
        while let Some(due) = lane.next_due().filter(|&due| due <= until) {
            while let Some(frame) = lane.take_due(due) {
                delivered.push((due, number_in(&frame.bytes), frame.bytes.clone()));
                lane.recycle(frame);
            }
        }
    };
    for number in 0..frames {
        let now = Instant::ZERO + gap.saturating_mul(number);
        collect(&mut lane, now);
        lane.enter(now, &frame(number), PacketFlags::CHECKSUM_GOOD);
    }
    collect(&mut lane, Instant::FAR_FUTURE);
    assert_eq!(lane.under_way(), 0);
    (lane, delivered)
}

fn run(config: FaultConfig) -> (Lane, Vec<Delivery>) {
    run_with(config, 1, FRAMES, Duration::from_micros(10))
}

fn frame(number: u64) -> Vec<u8> {
    let mut bytes = vec![0; 100];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn number_in(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[..8].try_into().unwrap())
}

fn numbers(delivered: &[Delivery]) -> Vec<u64> {
    delivered.iter().map(|&(_, number, _)| number).collect()
}

fn sent_at(number: u64) -> Instant {
    Instant::from_micros(10 * number)
}

/// `count` of [`FRAMES`] is `ratio` of them, within a tenth.
fn assert_ratio(count: u64, ratio: f64) {
    let expected = FRAMES as f64 * ratio;
    assert!((count as f64 - expected).abs() < expected / 10.0, "{count} of {FRAMES} instead of {expected}");
}

#[test]
fn a_perfect_cable_delivers_all_at_once_and_in_order() {
    let (lane, delivered) = run(FaultConfig::NONE);
    assert_eq!(numbers(&delivered), (0..FRAMES).collect::<Vec<_>>());
    assert!(delivered.iter().all(|&(at, number, _)| at == sent_at(number)));
    assert_eq!(lane.counters, FaultCounters { entered: FRAMES, ..FaultCounters::default() });
}

#[test]
fn loss_is_as_frequent_as_configured() {
    let (lane, delivered) = run(FaultConfig { loss_ratio: 0.05, ..FaultConfig::NONE });
    assert_ratio(lane.counters.lost, 0.05);
    assert_eq!(delivered.len() as u64 + lane.counters.lost, FRAMES);
}

#[test]
fn losses_of_a_burst_stand_together() {
    let bursts = FaultConfig { loss_burst_ratio: 0.01, loss_burst_frames_mean: 5.0, ..FaultConfig::NONE };
    let (lane, delivered) = run(bursts);
    let gaps: Vec<u64> =
        numbers(&delivered).windows(2).map(|pair| pair[1] - pair[0] - 1).filter(|&gap| gap > 0).collect();
    let mean = gaps.iter().sum::<u64>() as f64 / gaps.len() as f64;
    assert!((4.0..6.0).contains(&mean), "bursts of {mean} frames");
    // Bursts begin outside of bursts only: r / (1 + r * mean) of all frames.
    assert_ratio(gaps.len() as u64, 0.01 / 1.05);
    assert_eq!(delivered.len() as u64 + lane.counters.lost_in_burst, FRAMES);
}

#[test]
fn a_burst_of_one_is_one_loss() {
    let (_, delivered) = run(FaultConfig { loss_burst_ratio: 0.001, ..FaultConfig::NONE });
    let numbers = numbers(&delivered);
    let longest = numbers.windows(2).map(|pair| pair[1] - pair[0] - 1).max();
    assert_eq!(longest, Some(1));
}

#[test]
fn corruption_flips_one_bit_anywhere_and_vouches_for_nothing() {
    let config = FaultConfig { corrupt_ratio: 1.0, ..FaultConfig::NONE };
    let mut lane = Lane::new(config, Rng::new(Seed(1)));
    let mut hits = [0_u32; 800];
    for _ in 0..FRAMES {
        lane.enter(Instant::ZERO, &[0; 100], PacketFlags::CHECKSUM_GOOD);
        let frame = lane.take_due(Instant::ZERO).unwrap();
        assert_eq!(frame.flags, PacketFlags::empty());
        let flipped: Vec<usize> =
            (0..800).filter(|bit| frame.bytes[bit / 8] & (1 << (bit % 8)) != 0).collect();
        assert_eq!(flipped.len(), 1);
        hits[flipped[0]] += 1;
    }
    assert!(hits.iter().all(|&count| (5..60).contains(&count)), "25 each were expected: {hits:?}");
    let (lane, _) = run(FaultConfig { corrupt_ratio: 0.1, ..FaultConfig::NONE });
    assert_ratio(lane.counters.corrupted, 0.1);
}

#[test]
fn a_duplicate_follows_its_original() {
    let (lane, delivered) = run(FaultConfig { duplicate_ratio: 0.1, ..FaultConfig::NONE });
    assert_ratio(lane.counters.duplicated, 0.1);
    assert_eq!(delivered.len() as u64, FRAMES + lane.counters.duplicated);
    let numbers = numbers(&delivered);
    assert!(numbers.is_sorted());
    assert_eq!(numbers.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64, lane.counters.duplicated);
}

#[test]
fn delay_keeps_order_and_jitter_spreads_around_the_mean() {
    let (delay_mean, jitter) = (Duration::from_millis(20), Duration::from_millis(5));
    let config = FaultConfig { delay_mean, jitter, ..FaultConfig::NONE };
    // Frames far apart cannot get into each other's way.
    let gap = Duration::from_millis(50);
    let (_, delivered) = run_with(config, 1, FRAMES, gap);
    let delays: Vec<u64> = delivered
        .iter()
        .map(|&(at, number, _)| at.since(Instant::ZERO + gap.saturating_mul(number)).as_micros())
        .collect();
    let mean = delays.iter().sum::<u64>() / FRAMES;
    assert!((19_900..20_100).contains(&mean), "a mean of {mean} us");
    assert!(*delays.iter().min().unwrap() < 15_100 && *delays.iter().min().unwrap() >= 15_000);
    assert!(*delays.iter().max().unwrap() > 24_900 && *delays.iter().max().unwrap() <= 25_000);

    let (_, dense) = run(config);
    assert!(numbers(&dense).is_sorted());
    assert!(dense.is_sorted_by_key(|&(at, ..)| at));
}

#[test]
fn a_reordered_frame_is_overtaken_by_as_many_as_configured() {
    let config = FaultConfig { reorder_ratio: 0.02, reorder_distance: 4, ..FaultConfig::NONE };
    let (lane, delivered) = run(config);
    assert_ratio(lane.counters.reordered, 0.02);
    let numbers = numbers(&delivered);
    let late: Vec<_> = (0..numbers.len())
        .filter(|&place| numbers[..place].iter().rev().take(16).any(|&earlier| earlier > numbers[place]))
        .collect();
    // The last of all may have had nobody behind them.
    assert!(late.len() as u64 >= lane.counters.reordered - 1);
    // Overtaken by four; a few more or fewer where two of them meet.
    let overtaken_by = |place: usize| {
        numbers[..place].iter().rev().take(32).filter(|&&earlier| earlier > numbers[place]).count()
    };
    let exact = late.iter().filter(|&&place| overtaken_by(place) == 4).count();
    assert!(exact * 10 > late.len() * 8, "{exact} of {} by exactly four", late.len());
}

#[test]
fn a_reordered_frame_that_nobody_overtakes_arrives_after_its_delay() {
    let reorder_delay = Duration::from_millis(3);
    let config = FaultConfig { reorder_ratio: 1.0, reorder_distance: 4, reorder_delay, ..FaultConfig::NONE };
    let (_, delivered) = run_with(config, 1, 1, Duration::ZERO);
    assert_eq!(delivered[0].0, Instant::from_millis(3));
    let by_time = FaultConfig { reorder_ratio: 0.05, reorder_distance: 0, ..config };
    let (lane, delivered) = run(by_time);
    let late = delivered.iter().filter(|&&(at, number, _)| at == sent_at(number) + reorder_delay).count();
    assert_eq!(late as u64, lane.counters.reordered);
}

#[test]
fn a_link_sends_at_its_rate_and_drops_what_its_queue_cannot_hold() {
    // 100 bytes at 40 Mbit/s take 20 us; one comes every 10 us: half of them have no place.
    let config = FaultConfig { rate_bits_per_sec: 40_000_000, queue_frames: 8, ..FaultConfig::NONE };
    let (lane, delivered) = run(config);
    assert_ratio(lane.counters.dropped_queue_full, 0.5);
    assert!(delivered.windows(2).all(|pair| pair[1].0.since(pair[0].0) == Duration::from_micros(20)));
    let longest = delivered.iter().map(|&(at, number, _)| at.since(sent_at(number))).max().unwrap();
    assert!((Duration::from_micros(150)..=Duration::from_micros(160)).contains(&longest), "{longest}");
}

#[test]
fn a_seed_repeats_itself_and_another_does_not() {
    let config = all_faults();
    let gap = Duration::from_micros(10);
    let (first, first_delivered) = run_with(config, 7, 5_000, gap);
    let (again, again_delivered) = run_with(config, 7, 5_000, gap);
    assert_eq!(first.counters, again.counters);
    assert!(first_delivered == again_delivered);
    let (_, other) = run_with(config, 8, 5_000, gap);
    assert!(first_delivered != other);
}

#[test]
fn turning_one_fault_off_leaves_the_others_where_they_were() {
    let gap = Duration::from_micros(10);
    let only_loss = FaultConfig { loss_ratio: 0.02, ..FaultConfig::NONE };
    let (_, loss) = run_with(only_loss, 7, 5_000, gap);
    let (_, both) = run_with(FaultConfig { duplicate_ratio: 0.1, ..only_loss }, 7, 5_000, gap);
    let mut arrived = numbers(&both);
    arrived.dedup();
    assert_eq!(arrived, numbers(&loss));
}

#[test]
fn frames_are_accounted_for() {
    let (lane, delivered) = run(all_faults());
    let FaultCounters { entered, lost, lost_in_burst, duplicated, dropped_queue_full, .. } = lane.counters;
    assert_eq!(entered + duplicated, lost + lost_in_burst + dropped_queue_full + delivered.len() as u64);
}

#[test]
fn a_frame_put_back_is_the_next_one() {
    let mut lane = Lane::new(FaultConfig::NONE, Rng::new(Seed(1)));
    let now = Instant::from_secs(1);
    (0..3).for_each(|number| lane.enter(now, &frame(number), PacketFlags::empty()));
    let first = lane.take_due(now).unwrap();
    lane.put_back(now, &first.bytes, first.flags);
    let order: Vec<_> = std::iter::from_fn(|| lane.take_due(now)).map(|f| number_in(&f.bytes)).collect();
    assert_eq!(order, [0, 1, 2]);
}

fn all_faults() -> FaultConfig {
    FaultConfig {
        loss_ratio: 0.02,
        loss_burst_ratio: 0.001,
        loss_burst_frames_mean: 3.0,
        corrupt_ratio: 0.01,
        duplicate_ratio: 0.02,
        rate_bits_per_sec: 100_000_000,
        queue_frames: 50,
        delay_mean: Duration::from_millis(5),
        jitter: Duration::from_millis(1),
        reorder_ratio: 0.02,
        ..FaultConfig::NONE
    }
}
