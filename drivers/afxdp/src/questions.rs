//! Neighbours on an address that Linux has too: Linux asks and answers for them.
//!
//! The answer to a question that Freeway sent would reach Linux, for the address is Linux's. So a question about a
//! neighbour is not sent: it is taken out of the transmit burst, put to Linux (see `resolver`), and answered by a frame
//! that looks like the neighbour's own answer. What would claim the address is not sent either.
//!
//! Sources: RFC 826, RFC 5227, RFC 4861.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use freeway_mem::{Packet, PacketPool};
use freeway_wire::ethernet::{self, EtherType, Frame};
use freeway_wire::ndp::{self, NeighborAdvert, NeighborFlags};
use freeway_wire::{Ecn, MacAddr, Protocol, arp, ipv6, vlan};

/// What is to become of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It goes out.
    Send,
    /// Linux has said it already, or would contradict.
    Drop,
    /// Linux is asked for `neighbour`, and the answer is for `asker`.
    Ask { asker: IpAddr, neighbour: IpAddr },
}

/// What is to become of `frame`, of a host that shares the addresses `shared` with Linux.
#[inline]
pub(crate) fn fate(frame: &[u8], shared: &[IpAddr]) -> Fate {
    let Ok(view) = Frame::new_checked(frame) else { return Fate::Send };
    let (mut ethertype, mut payload) = (view.ethertype(), view.payload());
    if ethertype == EtherType::VLAN {
        let Some((tag, rest)) = payload.split_at_checked(vlan::HEADER_LEN) else { return Fate::Send };
        (ethertype, payload) = (vlan::Tag::new_unchecked(tag).ethertype(), rest);
    }
    match ethertype {
        EtherType::ARP => of_arp(payload, shared).unwrap_or(Fate::Send),
        EtherType::IPV6 => of_ndp(payload, shared).unwrap_or(Fate::Send),
        _ => Fate::Send,
    }
}

#[cold]
fn of_arp(payload: &[u8], shared: &[IpAddr]) -> Option<Fate> {
    let message = arp::Repr::parse(&arp::Packet::new_checked(payload).ok()?).ok()?;
    let (sender, target) = (IpAddr::V4(message.sender_ip), IpAddr::V4(message.target_ip));
    let about_us = shared.contains(&target);
    Some(match (shared.contains(&sender), message.operation == arp::Operation::REQUEST) {
        (true, true) if !about_us => Fate::Ask { asker: sender, neighbour: target },
        // An announcement, a defence, or an answer: Linux gives them.
        (true, _) => Fate::Drop,
        // A probe for the address.
        (false, _) if about_us && message.sender_ip == Ipv4Addr::UNSPECIFIED => Fate::Drop,
        (false, _) => Fate::Send,
    })
}

#[inline]
fn of_ndp(payload: &[u8], shared: &[IpAddr]) -> Option<Fate> {
    let packet = ipv6::Packet::new_checked(payload).ok()?;
    if packet.next_header() != Protocol::ICMPV6 {
        return None;
    }
    // Router and neighbour discovery: 133 to 137.
    let kind = *packet.payload().first()?;
    if !(133..=137).contains(&kind) {
        return None;
    }
    let target = packet.payload().get(8..24).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    let target = target.map(|octets| IpAddr::V6(Ipv6Addr::from(octets)));
    let sender = IpAddr::V6(packet.src());
    match (kind, target) {
        (135, Some(neighbour)) if shared.contains(&sender) && !shared.contains(&neighbour) => {
            Some(Fate::Ask { asker: sender, neighbour })
        }
        (135 | 136, Some(target)) if shared.contains(&target) || shared.contains(&sender) => Some(Fate::Drop),
        (133, _) if shared.contains(&sender) => Some(Fate::Drop),
        _ => None,
    }
}

/// The frame in which `neighbour`, at `at`, tells `asker` where it is. `None` if there is no buffer.
pub(crate) fn answer(
    pool: &PacketPool,
    vlan: u16,
    own_mac: [u8; 6],
    asker: IpAddr,
    neighbour: IpAddr,
    at: [u8; 6],
) -> Option<Packet> {
    let (own, at) = (MacAddr(own_mac), MacAddr(at));
    let mut packet = pool.alloc()?;
    let ethertype = match (asker, neighbour) {
        (IpAddr::V4(target_ip), IpAddr::V4(sender_ip)) => {
            let operation = arp::Operation::REPLY;
            let message = arp::Repr { operation, sender_mac: at, sender_ip, target_mac: own, target_ip };
            message.emit(packet.append(message.buffer_len())?);
            EtherType::ARP
        }
        (IpAddr::V6(dst), IpAddr::V6(src)) => {
            let flags = NeighborFlags::SOLICITED | NeighborFlags::OVERRIDE;
            let advert = NeighborAdvert { flags, target: src, target_lladdr: Some(at) };
            let message = ndp::Repr::NeighborAdvert(advert);
            let len = message.buffer_len();
            message.emit(src, dst, packet.append(len)?);
            let header = ipv6::Repr {
                src,
                dst,
                next_header: Protocol::ICMPV6,
                payload_len: len as u16,
                hop_limit: ndp::HOP_LIMIT,
                dscp: 0,
                ecn: Ecn::NotEct,
                flow_label: 0,
            };
            header.emit(packet.prepend(header.buffer_len())?);
            EtherType::IPV6
        }
        _ => return None,
    };
    let outer = if vlan == 0 {
        ethertype
    } else {
        let tag = packet.prepend(vlan::HEADER_LEN)?;
        tag[..2].copy_from_slice(&vlan.to_be_bytes());
        tag[2..].copy_from_slice(&ethertype.0.to_be_bytes());
        EtherType::VLAN
    };
    let header = ethernet::Repr { dst: own, src: at, ethertype: outer };
    header.emit(packet.prepend(header.buffer_len())?);
    Some(packet)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use freeway_mem::{Arena, ArenaLayout, PoolConfig};
    use freeway_wire::icmpv6;
    use freeway_wire::ndp::NeighborSolicit;

    use super::*;

    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 9];

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn shared() -> [IpAddr; 2] {
        [ip("198.18.0.2"), ip("2001:db8::2")]
    }

    fn frame(ethertype: EtherType, payload: &[u8]) -> Vec<u8> {
        let header = ethernet::Repr { dst: MacAddr::BROADCAST, src: MacAddr(OWN), ethertype };
        let mut frame = vec![0; header.buffer_len()];
        header.emit(&mut frame);
        frame.extend(payload);
        frame
    }

    fn arp_frame(operation: arp::Operation, sender: &str, target: &str) -> Vec<u8> {
        let message = arp::Repr {
            operation,
            sender_mac: MacAddr(OWN),
            sender_ip: sender.parse().unwrap(),
            target_mac: MacAddr::UNSPECIFIED,
            target_ip: target.parse().unwrap(),
        };
        let mut payload = vec![0; message.buffer_len()];
        message.emit(&mut payload);
        frame(EtherType::ARP, &payload)
    }

    fn ndp_frame(src: &str, message: &ndp::Repr<'_>) -> Vec<u8> {
        let (src, dst) = (src.parse().unwrap(), "ff02::1".parse().unwrap());
        let header = ipv6::Repr {
            src,
            dst,
            next_header: Protocol::ICMPV6,
            hop_limit: ndp::HOP_LIMIT,
            dscp: 0,
            ecn: Ecn::NotEct,
            flow_label: 0,
            payload_len: message.buffer_len() as u16,
        };
        let mut payload = vec![0; header.buffer_len() + message.buffer_len()];
        header.emit(&mut payload);
        message.emit(src, dst, &mut payload[header.buffer_len()..]);
        frame(EtherType::IPV6, &payload)
    }

    #[test]
    fn questions_of_a_shared_address_go_to_linux_and_claims_nowhere() {
        let (asks, says) = (arp::Operation::REQUEST, arp::Operation::REPLY);
        let ask = Fate::Ask { asker: ip("198.18.0.2"), neighbour: ip("198.18.0.1") };
        for (operation, sender, target, expected) in [
            (asks, "198.18.0.2", "198.18.0.1", ask),
            (asks, "198.18.0.2", "198.18.0.2", Fate::Drop),
            (says, "198.18.0.2", "198.18.0.1", Fate::Drop),
            (asks, "0.0.0.0", "198.18.0.2", Fate::Drop),
            (asks, "198.18.0.3", "198.18.0.1", Fate::Send),
            (says, "198.18.0.3", "198.18.0.1", Fate::Send),
            (asks, "0.0.0.0", "198.18.0.3", Fate::Send),
        ] {
            let frame = arp_frame(operation, sender, target);
            assert_eq!(fate(&frame, &shared()), expected, "{operation:?} {sender} {target}");
        }
    }

    #[test]
    fn neighbour_discovery_likewise() {
        let solicit = |target: &str| {
            ndp::Repr::NeighborSolicit(NeighborSolicit {
                target: target.parse().unwrap(),
                source_lladdr: None,
            })
        };
        let ask = Fate::Ask { asker: ip("2001:db8::2"), neighbour: ip("2001:db8::1") };
        assert_eq!(fate(&ndp_frame("2001:db8::2", &solicit("2001:db8::1")), &shared()), ask);
        assert_eq!(fate(&ndp_frame("::", &solicit("2001:db8::2")), &shared()), Fate::Drop);
        assert_eq!(fate(&ndp_frame("2001:db8::3", &solicit("2001:db8::1")), &shared()), Fate::Send);
    }

    #[test]
    fn an_answer_is_what_the_neighbour_would_have_said() {
        let config = PoolConfig { buffers: 2, ..PoolConfig::default() };
        let mut arena = Arena::heap(ArenaLayout::new().pool(&config).bytes()).unwrap();
        let pool = PacketPool::new(&mut arena, &config).unwrap();
        let packet = answer(&pool, 0, OWN, ip("198.18.0.2"), ip("198.18.0.1"), THEIRS).unwrap();
        let view = Frame::new_checked(packet.data()).unwrap();
        assert_eq!(
            (view.dst(), view.src(), view.ethertype()),
            (MacAddr(OWN), MacAddr(THEIRS), EtherType::ARP)
        );
        let message = arp::Repr::parse(&arp::Packet::new_checked(view.payload()).unwrap()).unwrap();
        assert_eq!((message.operation, message.sender_mac), (arp::Operation::REPLY, MacAddr(THEIRS)));
        drop(packet);

        let packet = answer(&pool, 7, OWN, ip("2001:db8::2"), ip("2001:db8::1"), THEIRS).unwrap();
        let view = Frame::new_checked(packet.data()).unwrap();
        assert_eq!(view.ethertype(), EtherType::VLAN);
        let tag = vlan::Tag::new_unchecked(view.payload());
        assert_eq!((tag.vid(), tag.ethertype()), (7, EtherType::IPV6));
        let inner = ipv6::Packet::new_checked(&view.payload()[vlan::HEADER_LEN..]).unwrap();
        assert_eq!((inner.hop_limit(), IpAddr::V6(inner.dst())), (255, ip("2001:db8::2")));
        assert!(freeway_wire::checksum::verify_transport(
            IpAddr::V6(inner.src()),
            IpAddr::V6(inner.dst()),
            Protocol::ICMPV6,
            inner.payload()
        ));
        let message = icmpv6::Packet::new_checked(inner.payload()).unwrap();
        let message = ndp::Repr::parse(&message).unwrap();
        assert!(
            matches!(message, ndp::Repr::NeighborAdvert(advert) if advert.target_lladdr == Some(MacAddr(THEIRS)))
        );
        drop(packet);
        assert!(answer(&pool, 0, OWN, ip("198.18.0.2"), ip("2001:db8::1"), THEIRS).is_none());
        assert_eq!(pool.in_use(), 0);
    }
}
