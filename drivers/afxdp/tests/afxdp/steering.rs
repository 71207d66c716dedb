//! What the XDP program makes of frames: which reach the port, and why the others do not.
#![allow(clippy::unwrap_used)]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use freeway_afxdp::{Afxdp, AfxdpConfig, Device, Steering, Transport, Verdicts, VethConfig, VethPair};
use freeway_mem::{PacketPool, RxBurst};
use freeway_port::conformance::{Peer, pool_for};
use freeway_port::{Port, RxQueue};

use crate::namespace::in_namespace;
use crate::raw_socket::RawSocket;

const CLIENT: &str = "198.18.0.1";
const OWN: &str = "198.18.0.2";
const SHARED: &str = "198.18.0.3";
const CLIENT_V6: &str = "2001:db8::1";
const OWN_V6: &str = "2001:db8::2";
const SHARED_V6: &str = "2001:db8::3";

const TCP: u8 = 6;
const UDP: u8 = 17;

struct Bench {
    device: Device,
    port: Afxdp,
    pool: PacketPool,
    linux: RawSocket,
}

impl Bench {
    fn new(vlan: u16) -> Self {
        let pair = VethConfig { name: "fwtest0".into(), addresses: Vec::new(), mtu: 1_500, queues: 1 };
        let pair = VethPair::create(&pair).unwrap();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let steering = Steering {
            whole_interface: false,
            vlan,
            own: vec![ip(OWN), ip(OWN_V6)],
            shared: vec![ip(SHARED), ip(SHARED_V6)],
            services: vec![],
            opens: Some(61_000..=61_999),
        };
        // Linux does not have the shared addresses here, so their ports cannot be bound.
        let steering = Steering { services: Vec::new(), ..steering };
        let device = Device::open_pair(AfxdpConfig { steering, ..AfxdpConfig::new("") }, pair).unwrap();
        let mut port = device.divide(1).remove(0).into_port();
        let pool = pool_for(port.info(), 1_024);
        port.attach(&pool).unwrap();
        Self { device, port, pool, linux: RawSocket::open("fwtest0") }
    }

    /// What the program counts for this frame. Where it goes to the port it arrives there unchanged, and nowhere else.
    fn verdict(&mut self, frame: &[u8]) -> &'static str {
        let before = self.device.verdicts().unwrap();
        assert!(self.linux.send(frame));
        let over = Instant::now() + Duration::from_secs(5);
        loop {
            let after = self.device.verdicts().unwrap();
            if let Some(changed) = changed(&before, &after) {
                let mut burst = RxBurst::new();
                let expected = usize::from(!changed.starts_with("passed"));
                while self.port.rx_burst(&self.pool, &mut burst) < expected && Instant::now() < over {}
                assert_eq!(burst.len(), expected, "{changed}");
                assert!(burst.iter().all(|packet| packet.data() == frame), "{changed}");
                return changed;
            }
            assert!(Instant::now() < over, "nothing was counted");
        }
    }
}

fn changed(before: &Verdicts, after: &Verdicts) -> Option<&'static str> {
    let mut pairs = before.iter().zip(after.iter());
    pairs.find(|((_, before), (_, after))| before != after).map(|((name, _), _)| name)
}

/// An Ethernet frame behind so many VLAN tags.
fn ethernet(tags: &[u16], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 9]);
    for (place, tag) in tags.iter().enumerate() {
        let kind: u16 = if place + 1 < tags.len() { 0x88a8 } else { 0x8100 };
        frame.extend(kind.to_be_bytes());
        frame.extend(tag.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame.resize(frame.len().max(60), 0);
    frame
}

/// An IPv4 packet; `fragment` is the field with flags and offset.
fn ipv4(src: &str, dst: &str, protocol: u8, fragment: u16, ident: u16, payload: &[u8]) -> Vec<u8> {
    let octets = |text: &str| text.parse::<std::net::Ipv4Addr>().unwrap().octets();
    let mut packet = vec![0x45, 0];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend(ident.to_be_bytes());
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(octets(src).iter().chain(&octets(dst)));
    packet.extend(payload);
    packet
}

fn ipv6(src: &str, dst: &str, next: u8, payload: &[u8]) -> Vec<u8> {
    let octets = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(octets(src).iter().chain(&octets(dst)));
    packet.extend(payload);
    packet
}

/// The beginning of a TCP or UDP header, and something behind it.
fn ports(src: u16, dst: u16) -> Vec<u8> {
    let mut header = [src.to_be_bytes(), dst.to_be_bytes()].concat();
    header.extend([0; 28]);
    header
}

fn arp(sender: &str, target: &str) -> Vec<u8> {
    let octets = |text: &str| text.parse::<std::net::Ipv4Addr>().unwrap().octets();
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9];
    packet.extend(octets(sender));
    packet.extend([0; 6]);
    packet.extend(octets(target));
    packet
}

fn solicit(target: &str) -> Vec<u8> {
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.parse::<std::net::Ipv6Addr>().unwrap().octets());
    message
}

#[test]
fn addresses_of_its_own_are_freeways() {
    in_namespace("addresses_of_its_own_are_freeways", || {
        let mut bench = Bench::new(0);
        let mut of = |ethertype, payload: &[u8]| bench.verdict(&ethernet(&[], ethertype, payload));
        assert_eq!(of(0x0806, &arp(CLIENT, OWN)), "own_neighbour");
        assert_eq!(of(0x0806, &arp(OWN, CLIENT)), "own_neighbour");
        assert_eq!(of(0x0806, &arp(CLIENT, SHARED)), "passed");
        assert_eq!(of(0x0806, &arp(CLIENT, "198.18.0.9")), "passed");
        for protocol in [TCP, UDP, 1, 47] {
            assert_eq!(of(0x0800, &ipv4(CLIENT, OWN, protocol, 0, 1, &ports(1, 2))), "own_address");
        }
        assert_eq!(of(0x0800, &ipv4(CLIENT, OWN, UDP, 0x2001, 1, &[0; 40])), "own_address");
        assert_eq!(of(0x0800, &ipv4(CLIENT, "198.18.0.9", TCP, 0, 1, &ports(1, 2))), "passed");
        assert_eq!(of(0x0800, &ipv4(CLIENT, "255.255.255.255", UDP, 0, 1, &ports(1, 2))), "passed");
        assert_eq!(of(0x86dd, &ipv6(CLIENT_V6, OWN_V6, TCP, &ports(1, 2))), "own_address");
        assert_eq!(of(0x86dd, &ipv6(CLIENT_V6, "ff02::1:ff00:2", 58, &solicit(OWN_V6))), "own_neighbour");
        assert_eq!(of(0x86dd, &ipv6(CLIENT_V6, "ff02::1:ff00:3", 58, &solicit(SHARED_V6))), "passed");
        assert_eq!(of(0x88b5, &[0; 46]), "passed");
    });
}

#[test]
fn only_its_own_vlan_is_freeways() {
    in_namespace("only_its_own_vlan_is_freeways", || {
        let mut bench = Bench::new(100);
        let packet = ipv4(CLIENT, OWN, TCP, 0, 1, &ports(1, 2));
        let mut of = |tags: &[u16]| bench.verdict(&ethernet(tags, 0x0800, &packet));
        assert_eq!(of(&[100]), "own_address");
        // With a priority, and behind a provider's tag.
        assert_eq!(of(&[0xe064]), "own_address");
        assert_eq!(of(&[7, 100]), "own_address");
        assert_eq!(of(&[101]), "passed");
        assert_eq!(of(&[]), "passed");
        assert_eq!(of(&[100, 101]), "passed");
        assert_eq!(of(&[7, 7, 100]), "passed");
    });
}

#[test]
fn of_a_shared_address_only_some_ports_are_freeways() {
    in_namespace("of_a_shared_address_only_some_ports_are_freeways", || {
        let mut bench = Bench::new(0);
        let mut of = |ethertype, payload: &[u8]| bench.verdict(&ethernet(&[], ethertype, payload));
        let mut v4 = |protocol, fragment, ident, payload: &[u8]| {
            of(0x0800, &ipv4(CLIENT, SHARED, protocol, fragment, ident, payload))
        };
        assert_eq!(v4(TCP, 0, 1, &ports(80, 61_000)), "open");
        assert_eq!(v4(UDP, 0, 1, &ports(80, 61_999)), "open");
        assert_eq!(v4(TCP, 0, 1, &ports(80, 60_999)), "passed");
        assert_eq!(v4(TCP, 0, 1, &ports(61_000, 22)), "passed");
        assert_eq!(v4(1, 0, 1, &[8; 30]), "passed");
        assert_eq!(v4(47, 0, 1, &ports(80, 61_000)), "passed");

        // Fragments follow the first one, whatever their ports seem to be.
        assert_eq!(v4(UDP, 0x2000, 7, &ports(80, 61_000)), "open");
        assert_eq!(v4(UDP, 0x2004, 7, &ports(80, 22)), "fragment");
        assert_eq!(v4(UDP, 0x0008, 7, &ports(80, 22)), "fragment");
        assert_eq!(v4(UDP, 0x0008, 8, &ports(80, 61_000)), "passed");
        assert_eq!(v4(TCP, 0x0008, 7, &ports(80, 61_000)), "passed");
        assert_eq!(v4(UDP, 0x2000, 9, &ports(80, 22)), "passed");
        assert_eq!(v4(UDP, 0x0008, 9, &ports(80, 61_000)), "passed");

        // ICMP errors, by the packet they quote.
        let error = |kind: u8, quoted: &[u8]| [&[kind, 4, 0, 0, 0, 0, 0, 0][..], quoted].concat();
        let from = |src, port| ipv4(src, CLIENT, TCP, 0, 1, &ports(port, 80)[..8]);
        assert_eq!(v4(1, 0, 1, &error(3, &from(SHARED, 61_000))), "icmp_error");
        assert_eq!(v4(1, 0, 1, &error(3, &from(SHARED, 22))), "passed");
        assert_eq!(v4(1, 0, 1, &error(3, &from(CLIENT, 61_000))), "passed");
        assert_eq!(v4(1, 0, 1, &error(8, &from(SHARED, 61_000))), "passed");
    });
}

#[test]
fn ipv6_extension_headers_are_walked() {
    in_namespace("ipv6_extension_headers_are_walked", || {
        let mut bench = Bench::new(0);
        let mut of = |next, payload: &[u8]| {
            bench.verdict(&ethernet(&[], 0x86dd, &ipv6(CLIENT_V6, SHARED_V6, next, payload)))
        };
        let options = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
        let fragment = |next: u8, field: u16| [&[next, 0][..], &field.to_be_bytes(), &[0, 0, 0, 5]].concat();
        let tcp = ports(80, 61_000);
        assert_eq!(of(TCP, &tcp), "open");
        assert_eq!(of(0, &[&options(60)[..], &options(TCP), &tcp].concat()), "open");
        assert_eq!(of(60, &[&options(UDP)[..], &ports(80, 22)].concat()), "passed");
        // The first fragment has options behind its fragment header; the later one has none.
        assert_eq!(of(44, &[&fragment(60, 1)[..], &options(UDP), &tcp].concat()), "open");
        assert_eq!(of(44, &[&fragment(60, 0x20)[..], &tcp].concat()), "fragment");
        assert_eq!(of(44, &[&fragment(UDP, 0x20)[..], &tcp].concat()), "passed");
        // A length that leads out of the frame.
        assert_eq!(of(60, &[TCP, 200, 0, 0, 0, 0, 0, 0]), "passed_malformed");
        let too_big =
            [&[2, 0, 0, 0, 0, 0, 5, 0][..], &ipv6(SHARED_V6, CLIENT_V6, TCP, &ports(61_000, 80))].concat();
        assert_eq!(of(58, &too_big), "icmp_error");
    });
}

#[test]
fn frames_cut_short_do_no_harm() {
    in_namespace("frames_cut_short_do_no_harm", || {
        let mut bench = Bench::new(0);
        let whole = [
            ethernet(&[7, 8], 0x0800, &ipv4(CLIENT, SHARED, UDP, 0, 1, &ports(80, 61_000))),
            ethernet(&[], 0x86dd, &ipv6(CLIENT_V6, SHARED_V6, 44, &[0; 40])),
            ethernet(&[], 0x0806, &arp(CLIENT, OWN)),
        ];
        for frame in whole {
            for len in 14..frame.len() {
                bench.verdict(&frame[..len]);
            }
        }
    });
}

#[test]
fn a_service_is_tcp_or_udp() {
    in_namespace("a_service_is_tcp_or_udp", || {
        let pair = VethConfig { name: "fwtest0".into(), addresses: Vec::new(), mtu: 1_500, queues: 1 };
        let pair = VethPair::create(&pair).unwrap();
        // Linux has to have an address for its ports to be bound; any end of the namespace will do.
        assert!(
            std::process::Command::new("ip")
                .args(["address", "add", "198.18.0.3/24", "dev", "fwtest0-xdp"])
                .status()
                .unwrap()
                .success()
        );
        let steering = Steering {
            shared: vec![SHARED.parse().unwrap()],
            services: vec![(Transport::Tcp, 80), (Transport::Udp, 53)],
            ..Steering::default()
        };
        let device = Device::open_pair(AfxdpConfig { steering, ..AfxdpConfig::new("") }, pair).unwrap();
        let mut port = device.divide(1).remove(0).into_port();
        let pool = pool_for(port.info(), 1_024);
        port.attach(&pool).unwrap();
        let mut bench = Bench { device, port, pool, linux: RawSocket::open("fwtest0") };
        let mut of = |protocol, port| {
            bench.verdict(&ethernet(&[], 0x0800, &ipv4(CLIENT, SHARED, protocol, 0, 1, &ports(9, port))))
        };
        assert_eq!((of(TCP, 80), of(UDP, 53)), ("service", "service"));
        assert_eq!((of(UDP, 80), of(TCP, 53), of(TCP, 81)), ("passed", "passed", "passed"));
    });
}
