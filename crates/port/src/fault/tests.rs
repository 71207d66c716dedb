//! The wrapper around a pipe, under a clock that the test sets.
#![allow(clippy::unwrap_used)]

use freeway_base::Duration;

use super::*;
use crate::clock::SharedClock;
use crate::pipe::{Pipe, PipeConfig, pipe};
use crate::testing::{bytes_of, packet, pool};

const SLOW: FaultConfig = FaultConfig { delay_mean: Duration::from_millis(10), ..FaultConfig::NONE };

fn cable(tx: FaultConfig, rx: FaultConfig, frames: usize) -> (Fault<Pipe, SharedClock>, Pipe, SharedClock) {
    let clock = SharedClock::default();
    let (near, far) = pipe(&PipeConfig { frames, ..PipeConfig::default() }).unwrap();
    (Fault::new(near, clock.clone(), Seed(1), tx, rx).unwrap(), far, clock)
}

fn received(port: &mut impl Port, pool: &PacketPool) -> Vec<Vec<u8>> {
    let mut burst = RxBurst::new();
    port.rx_burst(pool, &mut burst);
    bytes_of(&burst)
}

#[test]
fn each_direction_has_its_own_delay_and_tells_when_it_ends() {
    let pool = pool(16);
    let slower = FaultConfig { delay_mean: Duration::from_millis(15), ..SLOW };
    let (mut near, mut far, clock) = cable(SLOW, slower, 16);
    let handle = near.handle();
    assert_eq!(handle.next_event(), None);
    near.tx_burst(&mut TxBurst::from_iter([packet(&pool, b"there").share()]));
    far.tx_burst(&mut TxBurst::from_iter([packet(&pool, b"back").share()]));
    assert!(received(&mut near, &pool).is_empty());
    assert!(received(&mut far, &pool).is_empty());
    assert!(matches!(near.arm(), Armed::Ready));
    assert_eq!((handle.next_event(), handle.under_way()), (Some(Instant::from_millis(10)), 2));

    clock.set(Instant::from_millis(10));
    assert!(received(&mut near, &pool).is_empty());
    assert_eq!(received(&mut far, &pool), [b"there".to_vec()]);
    assert_eq!(handle.next_event(), Some(Instant::from_millis(15)));

    clock.set(Instant::from_millis(15));
    assert_eq!(received(&mut near, &pool), [b"back".to_vec()]);
    assert_eq!((handle.next_event(), handle.under_way()), (None, 0));
    assert_eq!((handle.tx_counters().delivered, handle.rx_counters().delivered), (1, 1));
    assert!(matches!(near.arm(), Armed::Fd(_)));
}

#[test]
fn a_full_port_behind_the_faults_loses_nothing_and_keeps_the_order() {
    let pool = pool(256);
    let (mut near, mut far, clock) = cable(SLOW, FaultConfig::NONE, 4);
    let mut burst: TxBurst = (0..50_u8).map(|n| packet(&pool, &[n]).share()).collect();
    assert_eq!(near.tx_burst(&mut burst), 50);
    clock.set(Instant::from_millis(10));
    let mut arrived = Vec::new();
    while near.handle().under_way() > 0 {
        near.tx_burst(&mut TxBurst::new());
        arrived.extend(received(&mut far, &pool));
    }
    assert_eq!(arrived.concat(), (0..50).collect::<Vec<u8>>());
    assert_eq!(near.handle().tx_counters().delivered, 50);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_dry_pool_at_the_far_end_is_counted_there() {
    let (near_pool, dry) = (pool(8), pool(1));
    let (mut near, mut far, _) = cable(FaultConfig::NONE, FaultConfig::NONE, 16);
    far.tx_burst(&mut (0..3_u8).map(|n| packet(&near_pool, &[n]).share()).collect());
    let mut burst = RxBurst::new();
    assert_eq!(near.rx_burst(&dry, &mut burst), 1);
    assert_eq!((near.counters().rx_frames, near.counters().rx_dropped_no_buffer), (1, 2));
}

#[test]
fn faults_can_change_while_frames_are_under_way() {
    let pool = pool(8);
    let (mut near, mut far, clock) = cable(SLOW, FaultConfig::NONE, 16);
    near.tx_burst(&mut TxBurst::from_iter([packet(&pool, b"before").share()]));
    let cut = FaultConfig { loss_ratio: 1.0, ..FaultConfig::NONE };
    near.handle().set(cut, cut);
    near.tx_burst(&mut TxBurst::from_iter([packet(&pool, b"after").share()]));
    clock.set(Instant::from_secs(1));
    near.tx_burst(&mut TxBurst::new());
    assert_eq!(received(&mut far, &pool), [b"before".to_vec()]);
    assert_eq!(near.handle().tx_counters().lost, 1);
}
