//! Segments that are spread over the round trip.

use freeway_base::{Duration, Instant};
use freeway_wire::tcp::SeqNumber;

use super::single::{ISS, One, ack, plain};
use super::world::{Faults, Plan, World};
use crate::congestion::Algorithm;
use crate::{Config, EcnMode};

/// Established over a path of 100 ms, out of slow start, with a window of 20 segments of 1000 bytes.
fn paced() -> One {
    let config = Config { pacing: true, initial_window: 20, ..plain() };
    let mut one = One::syn_sent(config);
    one.now += Duration::from_millis(100);
    one.take(
        super::single::made(freeway_wire::tcp::Flags::SYN | freeway_wire::tcp::Flags::ACK, 0, 1).mss(1_000),
    );
    one.sent();
    one
}

/// Sends for a while, with nothing acknowledged; returns when each segment went out.
fn schedule(one: &mut One, span: Duration) -> std::vec::Vec<Duration> {
    let (begin, end) = (one.now, one.now + span);
    let mut times = std::vec::Vec::new();
    loop {
        times.extend(one.sent().iter().map(|_| one.now - begin));
        match one.due_in() {
            Some(wait) if one.now + wait <= end => {
                one.wait(wait);
            }
            _ => return times,
        }
    }
}

#[test]
fn established_slow_start_takes_half_a_round_trip_for_a_window() {
    let mut one = paced();
    one.write(60_000);
    let times = schedule(&mut one, Duration::from_millis(90));
    assert_eq!(times.len(), 20, "the whole window, and no more");
    // 20 segments in 50 ms: one each 2.5 ms. The first flies alone, before there is anything to pace.
    let last = times[19].as_millis();
    assert!((43..=50).contains(&last), "{times:?}");
    let burst = times.chunk_by(|a, b| a == b).map(<[_]>::len).max();
    assert!(burst <= Some(3), "{times:?}");
    for pair in times[3..].windows(2) {
        let gap = (pair[1] - pair[0]).as_micros();
        assert!((1_000..=4_000).contains(&gap), "{times:?}");
    }
}

#[test]
fn established_short_round_trips_are_not_held() {
    let mut one = One::established(Config { pacing: true, ..plain() });
    for _ in 0..200 {
        // A round trip of 100 µs.
        let acked = one.tcb.snd_nxt().distance_from(ISS);
        one.take(ack(1, acked));
        one.held.queued = 30_000;
        one.sent();
        one.now += Duration::from_micros(100);
    }
    assert!(one.tcb.info().srtt < Some(Duration::from_micros(400)));
    let acked = one.tcb.snd_nxt().distance_from(ISS);
    one.take(ack(1, acked));
    one.held.queued = 10_000;
    assert_eq!(one.sent().len(), 10);
}

#[test]
fn established_what_is_held_goes_without_an_acknowledgment_and_a_delayed_one_rides_along() {
    let mut one = paced();
    one.write(60_000).sent();
    one.take(super::single::data(1, 100, 1));
    let wait = one.due_in().expect("the next segment waits");
    assert!(wait < Duration::from_millis(5), "{wait}");
    one.wait(wait);
    let sent = one.sent();
    assert!(!sent.is_empty() && sent.iter().all(|outgoing| outgoing.len == 1_000));
    assert_eq!(sent[0].ack, super::single::IRS + 101);
}

fn transfer(config: Config, faults: Faults, seed: u64) -> Duration {
    let client = Plan { iss: SeqNumber(7), total: 3_000_000, write: 100_000, lazy: 0, opens: true };
    let server = Plan { iss: SeqNumber(9), total: 10, opens: false, ..client };
    let mut world = World::new([config; 2], [client, server], faults, seed);
    world.run(Duration::from_secs(3_000));
    assert_eq!(world.ends[1].received, 3_000_000);
    world.now - Instant::from_secs(1_000)
}

#[test]
fn pacing_costs_no_throughput_and_survives_losses() {
    for congestion in Algorithm::ALL {
        let config = Config { congestion, ecn: EcnMode::On, ..Config::default() };
        for delay in [1, 20, 100] {
            let faults = Faults { delay: Duration::from_millis(delay), ..Faults::NONE };
            let free = transfer(config, faults, 1).as_micros();
            let paced = transfer(Config { pacing: true, ..config }, faults, 1).as_micros();
            assert!(paced <= free + free / 4 + 20_000, "{congestion}, {delay} ms: {paced} {free}");
        }
        for seed in 0..5 {
            let faults = Faults { loss: 3, reordering: 5, marking: 5, ..Faults::NONE };
            transfer(Config { pacing: true, ..config }, faults, seed);
        }
    }
}
