//! Frames that nobody's stack would send.

use std::net::{IpAddr, SocketAddr};

use freeway_base::Rng;
use freeway_wire::tcp::{Flags, Options, Repr, SeqNumber};
use freeway_wire::{Ecn, MacAddr, Protocol, arp, checksum, ethernet, ipv4, ipv6};

/// The attacker's hardware address.
pub(crate) const MAC: MacAddr = MacAddr([2, 0, 0, 0, 6, 6]);

/// A segment with the given control bits and numbers.
pub(crate) fn segment(flags: Flags, seq: u32, ack: u32) -> Repr {
    Repr {
        src_port: 0,
        dst_port: 0,
        seq: SeqNumber(seq),
        ack: SeqNumber(ack),
        flags,
        window: 65_535,
        urgent: 0,
        options: Options::default(),
    }
}

/// A SYN as an ordinary host sends it.
pub(crate) fn syn(rng: &mut Rng) -> Repr {
    let options = Options { mss: Some(1_460), window_scale: Some(7), ..Options::default() };
    Repr { options, ..segment(Flags::SYN, rng.next_u32(), 0) }
}

/// The frame that carries a segment to the server at `mac`.
pub(crate) fn frame(mac: MacAddr, src: SocketAddr, dst: SocketAddr, repr: &Repr, payload: &[u8]) -> Vec<u8> {
    let repr = Repr { src_port: src.port(), dst_port: dst.port(), ..*repr };
    let header_len = repr.header_len();
    let mut tcp = vec![0; header_len + payload.len()];
    repr.emit(&mut tcp);
    tcp[header_len..].copy_from_slice(payload);
    checksum::fill_transport(src.ip(), dst.ip(), Protocol::TCP, &mut tcp);
    let (ethertype, mut packet) = match (src.ip(), dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let ip = ipv4::Repr {
                src,
                dst,
                protocol: Protocol::TCP,
                ttl: 64,
                dscp: 0,
                ecn: Ecn::NotEct,
                ident: 0,
                dont_fragment: true,
                more_fragments: false,
                fragment_offset: 0,
                payload_len: tcp.len() as u16,
            };
            let mut header = vec![0; ipv4::HEADER_LEN];
            ip.emit(&mut header);
            (ethernet::EtherType::IPV4, header)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let ip = ipv6::Repr {
                src,
                dst,
                next_header: Protocol::TCP,
                hop_limit: 64,
                dscp: 0,
                ecn: Ecn::NotEct,
                flow_label: 0,
                payload_len: tcp.len() as u16,
            };
            let mut header = vec![0; ipv6::HEADER_LEN];
            ip.emit(&mut header);
            (ethernet::EtherType::IPV6, header)
        }
        mixed => panic!("no packet goes from one IP version to the other: {mixed:?}"),
    };
    packet.append(&mut tcp);
    framed(mac, ethertype, &packet)
}

fn framed(dst: MacAddr, ethertype: ethernet::EtherType, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; ethernet::HEADER_LEN];
    ethernet::Repr { dst, src: MAC, ethertype }.emit(&mut frame);
    frame.extend_from_slice(packet);
    frame
}

/// The answer to an ARP request, if `frame` is one: the attacker has every address on its cable.
pub(crate) fn arp_reply(frame: &[u8]) -> Option<Vec<u8>> {
    let header = ethernet::Frame::new_checked(frame).ok()?;
    if header.ethertype() != ethernet::EtherType::ARP {
        return None;
    }
    let view = arp::Packet::new_checked(&frame[ethernet::HEADER_LEN..]).ok()?;
    let request = arp::Repr::parse(&view).ok()?;
    if request.operation != arp::Operation::REQUEST {
        return None;
    }
    let reply = arp::Repr {
        operation: arp::Operation::REPLY,
        sender_mac: MAC,
        sender_ip: request.target_ip,
        target_mac: request.sender_mac,
        target_ip: request.sender_ip,
    };
    let mut bytes = vec![0; reply.buffer_len()];
    reply.emit(&mut bytes);
    Some(framed(request.sender_mac, ethernet::EtherType::ARP, &bytes))
}

/// The segment in an IPv4 frame, and whom it is for, if it holds one.
pub(crate) fn segment_of(frame: &[u8]) -> Option<(SocketAddr, Repr)> {
    let header = ethernet::Frame::new_checked(frame).ok()?;
    if header.ethertype() != ethernet::EtherType::IPV4 {
        return None;
    }
    let ip = ipv4::Packet::new_checked(&frame[ethernet::HEADER_LEN..]).ok()?;
    let start = ethernet::HEADER_LEN + ip.header_len();
    let segment = freeway_wire::tcp::Segment::new_checked(&frame[start..]).ok()?;
    let repr = Repr::parse(&segment).ok()?;
    Some((SocketAddr::new(IpAddr::V4(ip.dst()), repr.dst_port), repr))
}
