//! A client that lends its pool.
#![allow(clippy::unwrap_used)]

use freeway_mem::{RxBurst, TxBurst};
use freeway_memif::Trust;
use freeway_port::{Port, RxQueue, TxQueue};

use crate::lab::{meet, pair, pool, receive, send, trusting, until};

#[test]
fn what_is_received_and_sent_again_stays_in_its_buffer() {
    let (shared, private) = (pool(1_024, true), pool(256, false));
    let (mut server, mut client) = pair(trusting);
    meet(&shared, &mut [&mut client]);
    meet(&private, &mut [&mut server]);
    assert_eq!(shared.in_use(), client.lent());
    for round in 0..5_000_u32 {
        let frame = [round.to_le_bytes(); 25].concat();
        assert!(send(&mut server, &private, &frame));
        let mut burst = RxBurst::new();
        until("the frame", || client.rx_burst(&shared, &mut burst) > 0);
        let packet = burst.pop().unwrap();
        let buffer = packet.buffer();
        assert_eq!(packet.data(), frame);
        assert_eq!(packet.headroom(), usize::from(shared.headroom()), "room for a header");
        let packet = packet.share();
        let kept = packet.try_clone().unwrap();
        assert_eq!(client.tx_burst(&mut TxBurst::from_iter([packet])), 1);
        assert_eq!(receive(&mut server, &private).unwrap(), frame);
        assert!(!kept.is_unique(), "held until the next call");
        client.tx_burst(&mut TxBurst::new());
        assert!(kept.is_unique() && kept.buffer() == buffer);
    }
    let mut all: Vec<_> = std::iter::from_fn(|| shared.alloc()).collect();
    // The last packet goes, and comes back without another one to send.
    let mut last = all.pop().unwrap();
    assert!(last.copy_from_slice(b"last"));
    drop(all);
    assert_eq!(client.tx_burst(&mut TxBurst::from_iter([last.share()])), 1);
    assert_eq!(receive(&mut server, &private).unwrap(), b"last");
    client.rx_burst(&shared, &mut RxBurst::new());
    assert_eq!(shared.in_use(), client.lent());
    assert_eq!(private.in_use(), 0);
}

#[test]
fn a_pool_that_runs_dry_loses_the_newest_and_keeps_the_ring_filled() {
    let (shared, private) = (pool(64, true), pool(256, false));
    let (mut server, mut client) = pair(trusting);
    meet(&shared, &mut [&mut client]);
    meet(&private, &mut [&mut server]);
    let mut held = Vec::new();
    // A quarter of the pool is lent at a time; what is received is kept.
    for sent in 0..100_u8 {
        assert!(send(&mut server, &private, &[sent; 60]), "there always is a buffer for the server");
        let mut burst = RxBurst::new();
        client.rx_burst(&shared, &mut burst);
        held.extend(burst);
    }
    assert_eq!((held.len(), client.lent() + shared.available()), (48, 16));
    assert_eq!(client.counters().rx_dropped_no_buffer, 52);
    assert!(
        held.iter().zip(0..).all(|(packet, number)| packet.data() == [number; 60]),
        "the oldest are kept"
    );
    held.clear();
    assert!(send(&mut server, &private, b"once more"));
    assert_eq!(receive(&mut client, &shared).unwrap(), b"once more");
    assert_eq!(client.counters().rx_dropped_no_buffer, 52);
    assert_eq!(shared.in_use(), client.lent());
}

#[test]
fn packets_of_another_pool_are_copied_in_as_many_parts_as_it_takes() {
    let (shared, private) = (pool(1_024, true), pool(256, false));
    let jumbo = freeway_port::conformance::pool_for(
        &freeway_port::PortInfo { mtu: 9_000, ..freeway_port::PortInfo::new("jumbo") },
        64,
    );
    let (mut server, mut client) = pair(|config| {
        trusting(config);
        config.mtu = 9_000;
    });
    meet(&shared, &mut [&mut client]);
    meet(&private, &mut [&mut server]);
    for len in [60, 1_920, 1_921, 5_000, 9_018] {
        let frame: Vec<u8> = (0..len).map(|at| at as u8).collect();
        assert!(send(&mut client, &jumbo, &frame));
        assert_eq!(receive(&mut server, &jumbo).unwrap(), frame);
        assert!(send(&mut server, &jumbo, &frame));
        assert_eq!(receive(&mut client, &jumbo).unwrap(), frame);
    }
    client.tx_burst(&mut TxBurst::new());
    assert_eq!(jumbo.in_use(), 0);
}

#[test]
fn nobody_is_lent_a_pool_without_trust_or_without_a_file_of_its_own() {
    for (trust, shared) in [(Trust::None, true), (Trust::Full, false)] {
        let pool = pool(64, shared);
        let (mut server, mut client) = pair(|config| config.trust = trust);
        meet(&pool, &mut [&mut server, &mut client]);
        client.rx_burst(&pool, &mut RxBurst::new());
        assert_eq!(pool.in_use(), 0, "nothing lent");
        assert!(send(&mut client, &pool, b"frame"));
        assert_eq!(pool.in_use(), 0, "nothing held");
        assert_eq!(receive(&mut server, &pool).unwrap(), b"frame");
    }
}
