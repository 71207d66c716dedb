//! Frames as the peer sends them.

use std::net::{IpAddr, Ipv4Addr};

use freeway_wire::{Ecn, MacAddr, Protocol, arp, checksum, ethernet, icmpv4, ipv4, tcp};

/// The host's address.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// The peer's address.
pub(crate) const PEER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
pub(crate) const HOST_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
pub(crate) const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

/// Where the payload of an IPv4 packet without options begins.
pub(crate) const PAYLOAD: usize = ethernet::HEADER_LEN + ipv4::HEADER_LEN;

/// A frame from the peer to the host with room for `payload_len` bytes of an IPv4 packet's payload.
fn ip_frame(protocol: Protocol, ecn: Ecn, payload_len: usize) -> Vec<u8> {
    let header = ipv4::Repr {
        src: PEER,
        dst: HOST,
        protocol,
        ttl: 64,
        dscp: 0,
        ecn,
        ident: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        payload_len: payload_len as u16,
    };
    let mut frame = vec![0; PAYLOAD + payload_len];
    ethernet::Repr { dst: HOST_MAC, src: PEER_MAC, ethertype: ethernet::EtherType::IPV4 }.emit(&mut frame);
    header.emit(&mut frame[ethernet::HEADER_LEN..]);
    frame
}

/// A TCP segment; its payload is the stream's from `repr.seq` on (a SYN has the first number for itself).
pub(crate) fn segment(repr: &tcp::Repr, ecn: Ecn, payload_len: usize) -> Vec<u8> {
    let header_len = repr.header_len();
    let mut frame = ip_frame(Protocol::TCP, ecn, header_len + payload_len);
    repr.emit(&mut frame[PAYLOAD..]);
    let first = repr.seq.0.wrapping_add(u32::from(repr.flags.contains(tcp::Flags::SYN)));
    for (number, byte) in (0..).zip(&mut frame[PAYLOAD + header_len..]) {
        *byte = super::byte_at(first.wrapping_add(number));
    }
    checksum::fill_transport(IpAddr::V4(PEER), IpAddr::V4(HOST), Protocol::TCP, &mut frame[PAYLOAD..]);
    frame
}

/// An ICMP error that quotes one of the host's packets.
pub(crate) fn icmp_unreachable(code: u8, mtu: u16, invoking: &[u8]) -> Vec<u8> {
    let message = icmpv4::Repr::DstUnreachable { code, mtu, invoking };
    let mut frame = ip_frame(Protocol::ICMP, Ecn::NotEct, message.buffer_len());
    message.emit(&mut frame[PAYLOAD..]);
    frame
}

/// The peer's ARP request for the host's address.
pub(crate) fn arp_request() -> Vec<u8> {
    arp_frame(arp::Operation::REQUEST, MacAddr::BROADCAST)
}

/// The peer's answer to a frame, if it is an ARP request for the peer's address.
pub(crate) fn arp_reply(frame: &[u8]) -> Option<Vec<u8>> {
    let view = arp::Packet::new_checked(frame.get(ethernet::HEADER_LEN..)?).ok()?;
    let request = arp::Repr::parse(&view).ok()?;
    let is_for_peer = request.operation == arp::Operation::REQUEST && request.target_ip == PEER;
    is_for_peer.then(|| arp_frame(arp::Operation::REPLY, request.sender_mac))
}

fn arp_frame(operation: arp::Operation, dst: MacAddr) -> Vec<u8> {
    let message =
        arp::Repr { operation, sender_mac: PEER_MAC, sender_ip: PEER, target_mac: HOST_MAC, target_ip: HOST };
    let mut frame = vec![0; ethernet::HEADER_LEN + message.buffer_len()];
    ethernet::Repr { dst, src: PEER_MAC, ethertype: ethernet::EtherType::ARP }.emit(&mut frame);
    message.emit(&mut frame[ethernet::HEADER_LEN..]);
    frame
}
