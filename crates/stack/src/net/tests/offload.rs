//! What is asked of a port that fills in sums: the request stands before the frame, and doing what it says makes a right
//! sum.

use core::net::IpAddr;

use freeway_mem::{Packet, PacketFlags, TxBurst};
use freeway_wire::checksum::{seed_transport, verify_transport};
use freeway_wire::offload::{ChecksumRequest, REQUEST_LEN};
use freeway_wire::{Protocol, ipv4, ipv6};

use crate::net::testing::*;
use crate::net::{Hop, TxChecksum};

use super::output::{answer, header};

const ASKED: PacketFlags = PacketFlags::CHECKSUM_NEEDED.union(PacketFlags::CHECKSUM_REQUESTED);
const NOBODY: PacketFlags = PacketFlags::empty();

fn asking(vlan: Option<u16>) -> Host {
    Host::with(quiet(), |interface| {
        interface.tx_checksum = TxChecksum::Requested;
        interface.vlan = vlan;
    })
}

/// A transport's packet as it comes to IP: the pseudo-header's sum in it, and flagged.
fn seeded(host: &Host, (src, dst): (IpAddr, IpAddr), protocol: Protocol, len: usize) -> Packet {
    let mut packet = host.pool.alloc().unwrap();
    for (number, byte) in packet.append(len).unwrap().iter_mut().enumerate() {
        *byte = number as u8;
    }
    if protocol == Protocol::UDP {
        packet.data_mut()[4..6].copy_from_slice(&(len as u16).to_be_bytes());
    }
    seed_transport(src, dst, protocol, packet.data_mut());
    packet.set_flags(PacketFlags::CHECKSUM_NEEDED);
    packet
}

/// The one frame on its way, which nobody else holds.
fn sent(host: &mut Host) -> Packet {
    let mut burst = TxBurst::new();
    host.net.tx_burst(IFACE, &mut burst);
    assert_eq!(burst.len(), 1);
    burst.pop().unwrap().try_unique().unwrap()
}

/// Reads the request before the frame.
fn request(frame: &mut Packet) -> ChecksumRequest {
    assert_eq!(frame.flags(), ASKED);
    ChecksumRequest::parse(frame.headroom_mut(REQUEST_LEN).unwrap()).unwrap()
}

/// Whether the sum of the transport's packet behind the headers is right.
fn is_right(frame: &Packet, addresses: (IpAddr, IpAddr), protocol: Protocol, headers: usize) -> bool {
    verify_transport(addresses.0, addresses.1, protocol, &frame.data()[headers..])
}

/// Groups need no asking for, so that no neighbour has to be learnt.
const TO_GROUPS: [(IpAddr, IpAddr, usize); 2] = [
    (IpAddr::V4(OUR_V4), IpAddr::V4(core::net::Ipv4Addr::new(224, 0, 0, 251)), ipv4::HEADER_LEN),
    (
        IpAddr::V6(OUR_V6),
        IpAddr::V6(core::net::Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb)),
        ipv6::HEADER_LEN,
    ),
];

#[test]
fn a_request_points_at_the_transports_sum_whatever_the_headers() {
    for vlan in [None, Some(7)] {
        for (src, dst, ip_len) in TO_GROUPS {
            for protocol in [Protocol::TCP, Protocol::UDP] {
                for keeps in [false, true] {
                    let mut host = asking(vlan);
                    let packet = seeded(&host, (src, dst), protocol, 61);
                    let mut hop = host.net.hop(host.now, dst).unwrap();
                    let header = header(src, dst, protocol);
                    if keeps {
                        let kept = host.net.send_and_keep(host.now, &mut hop, &header, packet);
                        assert!(!kept.is_unique(), "the port holds it too");
                    } else {
                        host.net.send(host.now, &mut hop, &header, packet);
                    }
                    let mut frame = sent(&mut host);
                    let headers = if vlan.is_some() { 18 } else { 14 } + ip_len;
                    let expected = ChecksumRequest {
                        start: headers as u16,
                        offset: if protocol == Protocol::TCP { 16 } else { 6 },
                    };
                    assert_eq!(request(&mut frame), expected, "{vlan:?} {src} {protocol}");
                    assert!(!is_right(&frame, (src, dst), protocol, headers));
                    assert!(expected.fill(frame.data_mut()));
                    assert!(is_right(&frame, (src, dst), protocol, headers), "{vlan:?} {src} {protocol}");
                }
            }
        }
    }
}

#[test]
fn a_packet_that_waited_for_its_neighbour_asks_too() {
    let addresses = (IpAddr::V4(OUR_V4), IpAddr::V4(PEER_V4));
    for keeps in [false, true] {
        let mut host = asking(None);
        let packet = seeded(&host, addresses, Protocol::TCP, 40);
        let mut hop = host.net.hop(host.now, PEER_V4.into()).unwrap();
        let header = header(OUR_V4, PEER_V4, Protocol::TCP);
        if keeps {
            drop(host.net.send_and_keep(host.now, &mut hop, &header, packet));
        } else {
            host.net.send(host.now, &mut hop, &header, packet);
        }
        host.sent();
        answer(&mut host);
        let mut frame = sent(&mut host);
        assert!(request(&mut frame).fill(frame.data_mut()));
        assert!(is_right(&frame, addresses, Protocol::TCP, 34), "kept: {keeps}");
    }
}

#[test]
fn without_room_before_the_frame_software_fills_it_in() {
    let addresses = (IpAddr::V4(OUR_V4), IpAddr::V4(PEER_V4));
    for (room, flags) in [(REQUEST_LEN, ASKED), (REQUEST_LEN - 1, NOBODY), (0, NOBODY)] {
        let mut host = asking(None);
        host.learn_peer();
        let mut packet = host.pool.alloc().unwrap();
        let len = packet.headroom() - 34 - room;
        packet.prepend(len).unwrap().fill(0x5a);
        seed_transport(addresses.0, addresses.1, Protocol::TCP, packet.data_mut());
        packet.set_flags(PacketFlags::CHECKSUM_NEEDED);
        let header = header(OUR_V4, PEER_V4, Protocol::TCP);
        host.net.send(host.now, &mut { Hop::UNRESOLVED }, &header, packet);
        let frame = sent(&mut host);
        assert_eq!((frame.headroom(), frame.flags()), (room, flags));
        assert_eq!(is_right(&frame, addresses, Protocol::TCP, 34), flags.is_empty());
    }
}

/// What it wrote itself, and whatever is not flagged, is complete.
#[test]
fn nothing_is_asked_for_where_nothing_is_left_open() {
    let addresses = (IpAddr::V4(OUR_V4), IpAddr::V4(PEER_V4));
    let mut host = asking(None);
    host.learn_peer();
    let mut packet = seeded(&host, addresses, Protocol::TCP, 40);
    packet.set_flags(PacketFlags::empty());
    let header = header(OUR_V4, PEER_V4, Protocol::TCP);
    host.net.send(host.now, &mut { Hop::UNRESOLVED }, &header, packet);
    assert_eq!(sent(&mut host).flags(), NOBODY);
}

/// A port that goes by the flag alone gets the flag alone.
#[test]
fn a_port_that_wants_no_request_gets_none() {
    let addresses = (IpAddr::V4(OUR_V4), IpAddr::V4(PEER_V4));
    let mut host = Host::with(quiet(), |interface| interface.tx_checksum = TxChecksum::Flagged);
    host.learn_peer();
    let packet = seeded(&host, addresses, Protocol::TCP, 40);
    let header = header(OUR_V4, PEER_V4, Protocol::TCP);
    host.net.send(host.now, &mut { Hop::UNRESOLVED }, &header, packet);
    assert_eq!(sent(&mut host).flags(), PacketFlags::CHECKSUM_NEEDED);
}
