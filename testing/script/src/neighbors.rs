//! The link around the host: everybody on it answers the host's questions for their hardware address.

use std::net::IpAddr;

use freeway_wire::ndp::{self, NeighborAdvert, NeighborFlags};
use freeway_wire::{Protocol, arp, ethernet, icmpv6, ipv6};

use crate::version::{HOST_MAC, PEER_MAC, Version};

/// A frame of the host's that belongs to the link, not to a scenario: ARP or neighbour discovery.
pub(crate) fn is_discovery(frame: &[u8]) -> bool {
    let Ok(frame) = ethernet::Frame::new_checked(frame) else { return false };
    match frame.ethertype() {
        ethernet::EtherType::ARP => true,
        ethernet::EtherType::IPV6 => ipv6::Packet::new_checked(frame.payload()).is_ok_and(|packet| {
            let is_ndp = |message: icmpv6::Packet<&[u8]>| message.kind().is_ndp();
            packet.next_header() == Protocol::ICMPV6
                && icmpv6::Packet::new_checked(packet.payload()).is_ok_and(is_ndp)
        }),
        _ => false,
    }
}

/// The answer to a question of the host's.
pub(crate) fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    let view = ethernet::Frame::new_checked(frame).ok()?;
    if view.ethertype() == ethernet::EtherType::ARP {
        answer_arp(view.payload())
    } else {
        answer_ndp(view.payload())
    }
}

fn answer_arp(payload: &[u8]) -> Option<Vec<u8>> {
    let asked = arp::Repr::parse(&arp::Packet::new_checked(payload).ok()?).ok()?;
    let is_question = asked.operation == arp::Operation::REQUEST && asked.target_ip != asked.sender_ip;
    let nobody = Version::Ipv4.address("nobody").ok()?;
    if !is_question || IpAddr::V4(asked.target_ip) == nobody {
        return None;
    }
    let reply = arp::Repr {
        operation: arp::Operation::REPLY,
        sender_mac: PEER_MAC,
        sender_ip: asked.target_ip,
        target_mac: HOST_MAC,
        target_ip: asked.sender_ip,
    };
    let mut frame = vec![0; ethernet::HEADER_LEN + reply.buffer_len()];
    ethernet::Repr { dst: HOST_MAC, src: PEER_MAC, ethertype: ethernet::EtherType::ARP }.emit(&mut frame);
    reply.emit(&mut frame[ethernet::HEADER_LEN..]);
    Some(frame)
}

fn answer_ndp(payload: &[u8]) -> Option<Vec<u8>> {
    let packet = ipv6::Packet::new_checked(payload).ok()?;
    let message = icmpv6::Packet::new_checked(packet.payload()).ok()?;
    let ndp::Repr::NeighborSolicit(asked) = ndp::Repr::parse(&message).ok()? else { return None };
    let nobody = Version::Ipv6.address("nobody").ok()?;
    if IpAddr::V6(asked.target) == nobody || packet.src().is_unspecified() {
        return None;
    }
    let flags = NeighborFlags::SOLICITED | NeighborFlags::OVERRIDE;
    let advert = NeighborAdvert { flags, target: asked.target, target_lladdr: Some(PEER_MAC) };
    let repr = ndp::Repr::NeighborAdvert(advert);
    let header = ipv6::Repr {
        src: asked.target,
        dst: packet.src(),
        next_header: Protocol::ICMPV6,
        hop_limit: ndp::HOP_LIMIT,
        dscp: 0,
        ecn: freeway_wire::Ecn::NotEct,
        flow_label: 0,
        payload_len: repr.buffer_len() as u16,
    };
    let start = ethernet::HEADER_LEN + ipv6::HEADER_LEN;
    let mut frame = vec![0; start + repr.buffer_len()];
    ethernet::Repr { dst: HOST_MAC, src: PEER_MAC, ethertype: ethernet::EtherType::IPV6 }.emit(&mut frame);
    header.emit(&mut frame[ethernet::HEADER_LEN..]);
    repr.emit(asked.target, packet.src(), &mut frame[start..]);
    Some(frame)
}
