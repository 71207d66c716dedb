//! Whose device it is, and what becomes of it.
#![allow(clippy::unwrap_used)]

use std::net::UdpSocket;
use std::process::Command;

use freeway_mem::{RxBurst, TxBurst};
use freeway_port::conformance::{Peer, pool_for};
use freeway_port::{Armed, Port, RxQueue, TxQueue};
use freeway_tap::{LinuxEnd, Tap, TapError, configure};
use rustix::process::Uid;
use rustix::thread::set_thread_res_uid;

use crate::namespace::{disable_ipv6, in_namespace};
use crate::raw_socket::RawSocket;

/// `ip` in this thread's namespace.
fn ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split_whitespace()).output().unwrap().status.success()
}

fn exists(name: &str) -> bool {
    ip(&format!("link show {name}"))
}

#[test]
fn a_device_that_was_created_vanishes_with_its_last_queue() {
    in_namespace("a_device_that_was_created_vanishes_with_its_last_queue", || {
        let mut taps = Tap::open("fwtest0", 2).unwrap();
        assert!(exists("fwtest0"));
        taps.pop();
        assert!(exists("fwtest0"));
        taps.pop();
        assert!(!exists("fwtest0"));
    });
}

#[test]
fn a_device_that_existed_stays_with_either_kind_of_queue() {
    in_namespace("a_device_that_existed_stays_with_either_kind_of_queue", || {
        assert!(ip("tuntap add single mode tap"));
        assert!(ip("tuntap add several mode tap multi_queue"));
        drop(Tap::open("single", 1).unwrap());
        drop(Tap::open("several", 1).unwrap());
        assert_eq!(Tap::open("several", 4).unwrap().len(), 4);
        let refused = Tap::open("single", 2).unwrap_err();
        assert!(matches!(refused, TapError::OtherKind { queues: 2, .. }), "{refused}");
        assert!(exists("single") && exists("several"));
    });
}

#[test]
fn what_is_not_ours_to_open_is_refused() {
    in_namespace("what_is_not_ours_to_open_is_refused", || {
        let _open = Tap::open("fwtest0", 1).unwrap();
        assert!(matches!(Tap::open("fwtest0", 1), Err(TapError::Busy(_))));
        assert!(matches!(Tap::open("lo", 1), Err(TapError::OtherKind { .. })));
        assert!(ip("tuntap add fwtun mode tun"));
        assert!(matches!(Tap::open("fwtun", 1), Err(TapError::OtherKind { .. })));
    });
}

#[test]
fn the_linux_end_gets_its_addresses_and_mtu() {
    in_namespace("the_linux_end_gets_its_addresses_and_mtu", || {
        disable_ipv6(false);
        let mut taps = Tap::open("fwtest0", 1).unwrap();
        let addresses = ["198.18.0.1", "198.18.64.1", "2001:db8::1"];
        let end = LinuxEnd {
            addresses: addresses.iter().map(|text| text.parse().unwrap()).zip([24, 24, 64]).collect(),
            mtu: 1_400,
        };
        configure(&mut taps, &end).unwrap();
        configure(&mut taps, &end).unwrap();
        assert_eq!(taps[0].info().mtu, 1_400);
        let output = Command::new("ip").args(["address", "show", "fwtest0"]).output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        for expected in ["UP", "mtu 1400", "198.18.0.1/24", "198.18.64.1/24", "2001:db8::1/64"] {
            assert!(shown.contains(expected), "no {expected} in: {shown}");
        }
        UdpSocket::bind("198.18.64.1:0").unwrap();

        let refused = |end: LinuxEnd| configure(&mut Tap::open("fwtest1", 1).unwrap(), &end).unwrap_err();
        let tiny = refused(LinuxEnd { mtu: 10, ..LinuxEnd::default() });
        assert!(matches!(tiny, TapError::Mtu { mtu: 10, .. }), "{tiny}");
        let multicast = LinuxEnd { addresses: vec![("ff02::1".parse().unwrap(), 64)], ..LinuxEnd::default() };
        assert!(matches!(refused(multicast), TapError::Address { .. }));
    });
}

/// Makes this thread, and no other, an ordinary user's.
fn become_nobody() {
    const NOBODY: u32 = 65_534;
    set_thread_res_uid(Uid::from_raw(NOBODY), Uid::from_raw(NOBODY), Uid::from_raw(NOBODY)).unwrap();
}

#[test]
fn an_ordinary_user_needs_no_rights_for_what_is_set_up_already() {
    in_namespace("an_ordinary_user_needs_no_rights_for_what_is_set_up_already", || {
        disable_ipv6(false);
        assert!(ip("tuntap add fwtest0 mode tap"));
        assert!(ip("address add 198.18.0.1/24 dev fwtest0"));
        assert!(ip("address add 2001:db8::1/64 dev fwtest0"));
        assert!(ip("link set fwtest0 mtu 1400 up"));
        let mut taps = Tap::open("fwtest0", 1).unwrap();
        become_nobody();
        let mut addresses = vec![("198.18.0.1".parse().unwrap(), 24), ("2001:db8::1".parse().unwrap(), 64)];
        configure(&mut taps, &LinuxEnd { addresses: addresses.clone(), mtu: 1_400 }).unwrap();

        addresses.push(("198.18.1.1".parse().unwrap(), 24));
        let refused = configure(&mut taps, &LinuxEnd { addresses, mtu: 1_400 }).unwrap_err();
        assert!(matches!(refused, TapError::SetUpNotPermitted(_)), "{refused}");
    });
}

#[test]
fn a_device_that_is_down_drops_and_counts() {
    in_namespace("a_device_that_is_down_drops_and_counts", || {
        let mut tap = Tap::open("fwtest0", 1).unwrap().remove(0);
        let pool = pool_for(tap.info(), 8);
        let mut burst: TxBurst = (0..3)
            .map(|_| {
                let mut packet = pool.alloc().unwrap();
                packet.append(64).unwrap().fill(0);
                packet.share()
            })
            .collect();
        assert_eq!(tap.tx_burst(&mut burst), 3);
        assert_eq!(tap.counters().tx_dropped_no_link, 3);
        assert_eq!(tap.rx_burst(&pool, &mut RxBurst::new()), 0);
        assert_eq!(tap.counters().rx_errors, 0);
        assert_eq!(pool.in_use(), 0);
    });
}

#[test]
fn a_device_that_is_deleted_wakes_nobody_any_more() {
    in_namespace("a_device_that_is_deleted_wakes_nobody_any_more", || {
        let mut tap = Tap::open("fwtest0", 1).unwrap().remove(0);
        let pool = pool_for(tap.info(), 8);
        assert!(matches!(tap.arm(), Armed::Fd(_)));
        assert!(ip("link delete fwtest0"));
        assert_eq!(tap.rx_burst(&pool, &mut RxBurst::new()), 0);
        assert_eq!(tap.counters().rx_errors, 1);
        assert!(matches!(tap.arm(), Armed::Never));
        let mut packet = pool.alloc().unwrap();
        packet.append(64).unwrap().fill(0);
        assert_eq!(tap.tx_burst(&mut TxBurst::from_iter([packet.share()])), 1);
        assert_eq!(tap.counters().tx_dropped_no_link, 1);
    });
}

#[test]
fn every_queue_carries_frames_both_ways() {
    in_namespace("every_queue_carries_frames_both_ways", || {
        let mut taps = Tap::open("fwtest0", 3).unwrap();
        configure(&mut taps, &LinuxEnd { addresses: vec![("198.18.0.1".parse().unwrap(), 24)], mtu: 1_500 })
            .unwrap();
        let mut linux = RawSocket::open("fwtest0");
        let pool = pool_for(taps[0].info(), 64);
        for (number, tap) in (0_u8..).zip(&mut taps) {
            let mut packet = pool.alloc().unwrap();
            packet.append(64).unwrap().fill(0x88);
            packet.data_mut()[20] = number;
            assert_eq!(tap.tx_burst(&mut TxBurst::from_iter([packet.share()])), 1);
            let arrived = std::iter::from_fn(|| linux.receive()).find(|frame| frame[12..14] == [0x88, 0x88]);
            assert_eq!(arrived.unwrap()[20], number);
        }
        // Linux spreads flows by their hash: many flows reach every queue.
        let arp = ["neighbour", "add", "198.18.0.2", "lladdr", "02:00:00:00:00:02", "dev", "fwtest0"];
        assert!(ip(&arp.join(" ")));
        let mut received = [0, 0, 0];
        for _ in 0..64 {
            UdpSocket::bind("198.18.0.1:0").unwrap().send_to(b"flow", "198.18.0.2:9").unwrap();
            for (count, tap) in received.iter_mut().zip(&mut taps) {
                *count += tap.rx_burst(&pool, &mut RxBurst::new());
            }
        }
        assert!(received.iter().sum::<usize>() >= 64, "{received:?}");
        assert!(received.iter().all(|&count| count > 0), "{received:?}");
    });
}
