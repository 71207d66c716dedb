//! What becomes of interfaces: down, deleted, taken, without the queues that were asked for.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::time::{Duration, Instant};

use freeway_afxdp::{
    AfxdpConfig, AfxdpError, Device, LinuxRoute, Share, Steering, VethConfig, VethPair, linux_side,
};
use freeway_mem::{PacketPool, RxBurst, TxBurst};
use freeway_port::conformance::{Peer, pool_for};
use freeway_port::{Armed, Port, RxQueue, TxQueue};

use crate::namespace::in_namespace;
use crate::raw_socket::RawSocket;

/// A command in this thread's namespace.
pub fn run(line: &str) -> bool {
    let mut words = line.split_whitespace();
    Command::new(words.next().unwrap()).args(words).output().unwrap().status.success()
}

fn ip(arguments: &str) -> bool {
    run(&format!("ip {arguments}"))
}

fn pair(queues: u32) -> VethPair {
    let config = VethConfig { name: "fwtest0".into(), addresses: Vec::new(), mtu: 1_500, queues };
    VethPair::create(&config).unwrap()
}

fn whole() -> AfxdpConfig {
    AfxdpConfig {
        steering: Steering { whole_interface: true, ..Steering::default() },
        ..AfxdpConfig::new("fwtest0-xdp")
    }
}

fn burst(pool: &PacketPool, frames: usize) -> TxBurst {
    let frame = |_| {
        let mut packet = pool.alloc().unwrap();
        packet.append(64).unwrap().fill(0xff);
        packet.share()
    };
    (0..frames).map(frame).collect()
}

#[test]
fn an_interface_that_is_down_drops_and_counts() {
    in_namespace("an_interface_that_is_down_drops_and_counts", || {
        let device = Device::open_pair(whole(), pair(1)).unwrap();
        let mut port = device.divide(1).remove(0).into_port();
        let pool = pool_for(port.info(), 4_096);
        port.attach(&pool).unwrap();
        assert!(ip("link set fwtest0-xdp down"));
        for _ in 0..64 {
            let mut frames = burst(&pool, 32);
            assert_eq!(port.tx_burst(&mut frames), 32, "the core is not held up");
        }
        assert!(port.counters().tx_dropped_no_link >= 512, "{:?}", port.counters());
        assert!(ip("link set fwtest0-xdp up"));
        assert!(ip("link set fwtest0 up"));
        let mut linux = RawSocket::open("fwtest0");
        let before = port.counters().tx_dropped_no_link;
        for _ in 0..64 {
            port.tx_burst(&mut burst(&pool, 32));
        }
        assert_eq!(port.counters().tx_dropped_no_link, before, "frames pass again");
        assert!(linux.receive().is_some());
    });
}

#[test]
fn an_interface_that_is_deleted_wakes_nobody() {
    in_namespace("an_interface_that_is_deleted_wakes_nobody", || {
        let device = Device::open_pair(whole(), pair(1)).unwrap();
        let mut port = device.divide(1).remove(0).into_port();
        let pool = pool_for(port.info(), 64);
        port.attach(&pool).unwrap();
        assert!(matches!(port.arm(), Armed::Fd(_)));
        assert!(ip("link delete fwtest0"));
        assert_eq!(port.rx_burst(&pool, &mut RxBurst::new()), 0);
        assert!(matches!(port.arm(), Armed::Never));
        for _ in 0..4 {
            assert_eq!(port.tx_burst(&mut burst(&pool, 8)), 8);
        }
        drop(port);
        assert_eq!(pool.in_use(), 0);
    });
}

#[test]
fn what_cannot_be_had_is_refused_with_what_would_help() {
    in_namespace("what_cannot_be_had_is_refused_with_what_would_help", || {
        assert!(matches!(Device::open(AfxdpConfig::new("nothing0")), Err(AfxdpError::NoInterface(_))));
        let pair = pair(2);
        let greedy = AfxdpConfig { queues: Some(3), ..whole() };
        let refused = Device::open(greedy).unwrap_err();
        assert!(matches!(refused, AfxdpError::Queues { wanted: 3, there: 2, .. }), "{refused}");
        let first = Device::open(whole()).unwrap();
        assert!(matches!(Device::open(whole()), Err(AfxdpError::Busy(_))));
        drop(first);
        // Gone with its owner.
        let device = Device::open(whole()).unwrap();

        let mut port = device.divide(1).remove(0).into_port();
        let spread = freeway_mem::PoolConfig { buffers: 64, ..Default::default() };
        let short = freeway_mem::PoolConfig { buffer_size: 1_024, spread: false, ..spread };
        for (unfit, help) in [(short, "2048 at least"), (spread, "`spread: false`")] {
            let layout = freeway_mem::ArenaLayout::new().pool(&unfit);
            let pool =
                PacketPool::new(&mut freeway_mem::Arena::heap(layout.bytes()).unwrap(), &unfit).unwrap();
            let refused = port.attach(&pool).unwrap_err().to_string();
            assert!(refused.contains(help), "{refused}");
        }
        drop(pair);
    });
}

#[test]
fn one_port_serves_several_queues_and_wakes_for_each() {
    in_namespace("one_port_serves_several_queues_and_wakes_for_each", || {
        let device = Device::open_pair(whole(), pair(4)).unwrap();
        let shares = device.divide(3);
        let queues: Vec<_> = shares.iter().map(|share| share.queues().to_vec()).collect();
        assert_eq!(queues, [vec![0, 3], vec![1], vec![2]]);
        drop(shares);
        let mut port = device.divide(1).remove(0).into_port();
        let pool = pool_for(port.info(), 4_096);
        port.attach(&pool).unwrap();
        assert!(matches!(port.arm(), Armed::Fd(_)));
        let mut linux = RawSocket::open("fwtest0");
        let mut frame = vec![0xff; 64];
        let mut received = 0;
        for number in 0..200_u8 {
            frame[20] = number;
            while !linux.send(&frame) {}
        }
        let over = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while received < 200 && std::time::Instant::now() < over {
            received += port.rx_burst(&pool, &mut RxBurst::new());
        }
        assert_eq!(received, 200);
        assert_eq!(pool.in_use(), port.lent());
    });
}

#[test]
fn linux_says_what_it_has() {
    in_namespace("linux_says_what_it_has", || {
        let _pair = pair(1);
        assert!(ip("address add 198.18.0.2/24 dev fwtest0"));
        for route in [
            "default via 198.18.0.1",
            "198.19.4.0/24 via 198.18.0.9",
            // Not in the main table, no router, no way: these are not learnt.
            "198.19.5.0/24 via 198.18.0.9 table 7",
            "198.19.6.0/24",
        ] {
            assert!(ip(&format!("route add {route} dev fwtest0")), "{route}");
        }
        assert!(ip("route add unreachable 198.19.7.0/24"));
        let linux = linux_side("fwtest0").unwrap();
        assert_eq!(linux.addresses, [("198.18.0.2".parse().unwrap(), 24)]);
        let route = |network: &str, prefix_len, gateway: &str| LinuxRoute {
            network: network.parse().unwrap(),
            prefix_len,
            gateway: gateway.parse().unwrap(),
        };
        let expected = [route("0.0.0.0", 0, "198.18.0.1"), route("198.19.4.0", 24, "198.18.0.9")];
        assert_eq!(linux.routes.now(), expected);
        assert!(linux_side("fwtest0-xdp").unwrap().addresses.is_empty());

        // What changes is told whole, each time, until nobody follows.
        let (tell, told) = std::sync::mpsc::channel();
        let following = linux.routes.follow(move |routes| drop(tell.send(routes.to_vec()))).unwrap();
        let patience = std::time::Duration::from_secs(10);
        assert!(ip("route delete default via 198.18.0.1 dev fwtest0"));
        assert_eq!(told.recv_timeout(patience).unwrap(), expected[1..]);
        assert!(ip("route add 198.19.8.0/24 via 198.18.0.1 dev fwtest0"));
        let both = [expected[1], route("198.19.8.0", 24, "198.18.0.1")];
        assert_eq!(told.recv_timeout(patience).unwrap(), both);
        drop(following);
        assert!(told.recv().is_err());
    });
}

/// Once for all queues, by the port of queue 0, and as the device tells them.
#[test]
fn the_programs_counters_are_shown_beside_a_ports_own() {
    in_namespace("the_programs_counters_are_shown_beside_a_ports_own", || {
        let device = Device::open_pair(whole(), pair(2)).unwrap();
        let mut linux = RawSocket::open("fwtest0");
        for _ in 0..5 {
            assert!(linux.send(&[0xff; 60]));
        }
        let over = Instant::now() + Duration::from_secs(5);
        // No socket is there yet.
        while device.verdicts().unwrap().passed_no_socket < 5 {
            assert!(Instant::now() < over, "{:?}", device.verdicts());
        }
        let ports: Vec<_> = device.divide(2).into_iter().map(Share::into_port).collect();
        let mut groups = Vec::new();
        ports[0].more_counters(&mut |name, counters| {
            groups.push((name.to_owned(), counters.collect::<Vec<_>>()));
        });
        ports[1].more_counters(&mut |name, _| panic!("{name} is shown twice"));
        let shown: Vec<_> = device.verdicts().unwrap().iter().collect();
        assert_eq!(groups, [("xdp fwtest0-xdp".to_owned(), shown)]);
    });
}
