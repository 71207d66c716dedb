//! Frames made by hand, and frames taken apart.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use freeway_wire::tcp::{Flags, Options, Repr, Segment, SeqNumber};
use freeway_wire::{Ecn, MacAddr, Protocol, arp, checksum, ethernet, ipv4, ipv6};

pub(crate) const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
pub(crate) const CLIENT_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(crate) const STRANGER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 6, 6]);

/// One of the stranger's addresses.
pub(crate) const fn stranger(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0xc613_0000 + (number & 0xffff)))
}

/// The same over IPv6.
pub(crate) fn stranger_v6(number: u32) -> IpAddr {
    IpAddr::from([0x2001, 0xdb8, 0, 0, 6, 6, (number >> 16) as u16, number as u16])
}

/// A frame from `from` to `to`.
pub(crate) fn ethernet(from: MacAddr, to: MacAddr, kind: ethernet::EtherType, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; ethernet::HEADER_LEN];
    ethernet::Repr { dst: to, src: from, ethertype: kind }.emit(&mut frame);
    frame.extend_from_slice(payload);
    frame
}

/// An IP packet.
pub(crate) fn ip(src: IpAddr, dst: IpAddr, protocol: Protocol, payload: &[u8]) -> Vec<u8> {
    let mut packet = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut header = vec![0; ipv4::HEADER_LEN];
            v4_header(src, dst, protocol, payload.len()).emit(&mut header);
            header
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mut header = vec![0; ipv6::HEADER_LEN];
            let repr = ipv6::Repr {
                src,
                dst,
                next_header: protocol,
                hop_limit: 64,
                dscp: 0,
                ecn: Ecn::NotEct,
                flow_label: 0,
                payload_len: payload.len() as u16,
            };
            repr.emit(&mut header);
            header
        }
        _ => panic!("{src} and {dst} are of two versions"),
    };
    packet.extend_from_slice(payload);
    packet
}

pub(crate) const fn v4_header(src: Ipv4Addr, dst: Ipv4Addr, protocol: Protocol, len: usize) -> ipv4::Repr {
    ipv4::Repr {
        src,
        dst,
        protocol,
        ttl: 64,
        dscp: 0,
        ecn: Ecn::NotEct,
        ident: 0,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        payload_len: len as u16,
    }
}

const fn kind_of(addr: IpAddr) -> ethernet::EtherType {
    if addr.is_ipv4() { ethernet::EtherType::IPV4 } else { ethernet::EtherType::IPV6 }
}

/// A packet of the stranger's for the server.
pub(crate) fn to_server(src: IpAddr, dst: IpAddr, protocol: Protocol, payload: &[u8]) -> Vec<u8> {
    ethernet(STRANGER_MAC, SERVER_MAC, kind_of(src), &ip(src, dst, protocol, payload))
}

/// A segment of the stranger's for the server.
pub(crate) fn segment(src: SocketAddr, dst: SocketAddr, repr: &Repr, payload: &[u8]) -> Vec<u8> {
    carry((STRANGER_MAC, SERVER_MAC), (src, dst), repr, payload)
}

/// The frame between two stations that carries a segment between two ports.
pub(crate) fn carry(
    (from, to): (MacAddr, MacAddr),
    (src, dst): (SocketAddr, SocketAddr),
    repr: &Repr,
    payload: &[u8],
) -> Vec<u8> {
    let repr = Repr { src_port: src.port(), dst_port: dst.port(), ..*repr };
    let mut bytes = vec![0; repr.header_len()];
    repr.emit(&mut bytes);
    bytes.extend_from_slice(payload);
    checksum::fill_transport(src.ip(), dst.ip(), Protocol::TCP, &mut bytes);
    ethernet(from, to, kind_of(src.ip()), &ip(src.ip(), dst.ip(), Protocol::TCP, &bytes))
}

/// A segment's fields.
pub(crate) fn fields(flags: Flags, seq: u32, ack: u32, window: u16) -> Repr {
    Repr {
        src_port: 0,
        dst_port: 0,
        seq: SeqNumber(seq),
        ack: SeqNumber(ack),
        flags,
        window,
        urgent: 0,
        options: Options::default(),
    }
}

/// The IP packet in a frame.
pub(crate) fn packet_of(frame: &[u8]) -> Option<&[u8]> {
    let kind = ethernet::Frame::new_checked(frame).ok()?.ethertype();
    let is_ip = kind == ethernet::EtherType::IPV4 || kind == ethernet::EtherType::IPV6;
    is_ip.then(|| &frame[ethernet::HEADER_LEN..])
}

/// The segment in a frame: where it goes, its fields, its payload's length.
pub(crate) fn segment_of(frame: &[u8]) -> Option<(SocketAddr, Repr, usize)> {
    let packet = packet_of(frame)?;
    let (dst, transport) = match packet.first()? >> 4 {
        4 => {
            let view = ipv4::Packet::new_checked(packet).ok()?;
            (view.protocol() == Protocol::TCP).then_some(())?;
            (IpAddr::V4(view.dst()), &packet[view.header_len()..view.total_len()])
        }
        _ => {
            let view = ipv6::Packet::new_checked(packet).ok()?;
            (view.next_header() == Protocol::TCP).then_some(())?;
            (IpAddr::V6(view.dst()), &packet[ipv6::HEADER_LEN..])
        }
    };
    let view = Segment::new_checked(transport).ok()?;
    let repr = Repr::parse(&view).ok()?;
    Some((SocketAddr::new(dst, repr.dst_port), repr, transport.len() - view.header_len()))
}

/// The stranger's answer to an ARP request for one of his addresses.
pub(crate) fn arp_reply(frame: &[u8]) -> Option<Vec<u8>> {
    arp_answer(frame, |addr| addr.octets()[..2] == [198, 19])
}

/// The answer to an ARP request, if `frame` is one for an address that is his.
pub(crate) fn arp_answer(frame: &[u8], is_his: impl Fn(Ipv4Addr) -> bool) -> Option<Vec<u8>> {
    let header = ethernet::Frame::new_checked(frame).ok()?;
    if header.ethertype() != ethernet::EtherType::ARP {
        return None;
    }
    let view = arp::Packet::new_checked(frame.get(ethernet::HEADER_LEN..)?).ok()?;
    let request = arp::Repr::parse(&view).ok()?;
    let asks = request.operation == arp::Operation::REQUEST && is_his(request.target_ip);
    asks.then(|| {
        let reply = arp::Repr {
            operation: arp::Operation::REPLY,
            sender_mac: STRANGER_MAC,
            sender_ip: request.target_ip,
            target_mac: request.sender_mac,
            target_ip: request.sender_ip,
        };
        let mut bytes = vec![0; reply.buffer_len()];
        reply.emit(&mut bytes);
        ethernet(STRANGER_MAC, request.sender_mac, ethernet::EtherType::ARP, &bytes)
    })
}

/// A router's report to the sender of the packet in `frame` that it is longer than `mtu`; the frame is turned around.
pub(crate) fn too_big(frame: &[u8], mtu: u16) -> Vec<u8> {
    let packet = packet_of(frame).expect("an IP packet");
    let [high, low] = mtu.to_be_bytes();
    let (src, dst, protocol, message) = if packet[0] >> 4 == 4 {
        let view = ipv4::Packet::new_checked(packet).expect("a packet");
        let quote = &packet[..packet.len().min(view.header_len() + 8)];
        let message = [&[3, 4, 0, 0, 0, 0, high, low], quote].concat();
        (IpAddr::V4(view.dst()), IpAddr::V4(view.src()), Protocol::ICMP, message)
    } else {
        let view = ipv6::Packet::new_checked(packet).expect("a packet");
        let quote = &packet[..packet.len().min(1_200)];
        let message = [&[2, 0, 0, 0, 0, 0, high, low], quote].concat();
        (IpAddr::V6(view.dst()), IpAddr::V6(view.src()), Protocol::ICMPV6, message)
    };
    let mut message = message;
    checksum::fill_transport(src, dst, protocol, &mut message);
    let header = ethernet::Frame::new_checked(frame).expect("a frame");
    ethernet(header.dst(), header.src(), kind_of(src), &ip(src, dst, protocol, &message))
}

/// The stranger asks for the server, which so learns where one of his addresses is.
pub(crate) fn arp_hello(number: u32) -> Vec<u8> {
    let (IpAddr::V4(own), IpAddr::V4(server)) = (stranger(number), super::address(super::SERVER, false))
    else {
        unreachable!("both are IPv4")
    };
    let request = arp::Repr {
        operation: arp::Operation::REQUEST,
        sender_mac: STRANGER_MAC,
        sender_ip: own,
        target_mac: MacAddr::UNSPECIFIED,
        target_ip: server,
    };
    let mut bytes = vec![0; request.buffer_len()];
    request.emit(&mut bytes);
    ethernet(STRANGER_MAC, MacAddr::BROADCAST, ethernet::EtherType::ARP, &bytes)
}
