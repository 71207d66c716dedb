//! Which core a frame belongs to.
//!
//! Where a device does not spread flows by a hash that is known, the core that took a frame finds its home by
//! reading as little of it as will do. All cores reckon with one key, so they agree.
//!
//! | frame | home |
//! |---|---|
//! | TCP, UDP | by the four-tuple |
//! | fragments | by addresses and identification: all of a datagram at one core |
//! | ICMP errors | by the packet they quote: where the flow lives |
//! | ICMP echo and the rest | by the addresses |
//! | ARP, neighbour and router discovery | every core learns |
//! | anything else | any core may count and drop it |
//!
//! A datagram put together from fragments is delivered where its fragments met: its ports were in one of them
//! only. UDP sockets are bound on every core; a TCP segment in fragments, which no sender makes on purpose, may
//! miss its connection.

use freeway_base::{FlowHash, HashKey};
use freeway_wire::ethernet::{EtherType, Frame};
use freeway_wire::ipv6::ext::{ExtensionHeaders, FragmentRepr, Kind};
use freeway_wire::{Protocol, arp, ipv4, ipv6};

use crate::net::Addr;

/// Where a frame belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Home {
    /// To one core.
    Core(u32),
    /// To all of them: what they learn neighbours and routers from.
    Every,
    /// To none in particular.
    Any,
}

/// The hash of the flow between two ends. The stack names its own end first.
#[inline]
pub fn flow_hash(key: &HashKey, local: (Addr, u16), remote: (Addr, u16)) -> FlowHash {
    let (Addr(a), Addr(b)) = (local.0, remote.0);
    let ports = u32::from(local.1) << 16 | u32::from(remote.1);
    FlowHash(if local.0.is_v4() && remote.0.is_v4() {
        key.hash_words(u64::from(a as u32) << 32 | u64::from(b as u32), ports)
    } else {
        let mut bytes = [0; 36];
        bytes[..16].copy_from_slice(&a.to_be_bytes());
        bytes[16..32].copy_from_slice(&b.to_be_bytes());
        bytes[32..].copy_from_slice(&ports.to_be_bytes());
        key.hash(&bytes)
    })
}

/// Where a frame belongs, as it came from the link.
#[inline]
pub fn home(frame: &[u8], key: &HashKey, cores: u32) -> Home {
    let Ok(view) = Frame::new_checked(frame) else { return Home::Any };
    let Some((ethertype, payload)) = view.untagged() else { return Home::Any };
    let found = match ethertype {
        EtherType::IPV4 => home_v4(payload),
        EtherType::IPV6 => home_v6(payload),
        EtherType::ARP if payload.len() >= arp::PACKET_LEN => Some(Found::Every),
        _ => None,
    };
    match found {
        Some(Found::Flow { local, remote }) => Home::Core(flow_hash(key, local, remote).core(cores)),
        Some(Found::Every) => Home::Every,
        None => Home::Any,
    }
}

/// What decides a frame's home.
enum Found {
    /// Two ends; what has no ports puts something else in their place.
    Flow {
        local: (Addr, u16),
        remote: (Addr, u16),
    },
    Every,
}

fn home_v4(bytes: &[u8]) -> Option<Found> {
    let view = ipv4::Packet::new_quoted(bytes).ok()?;
    let (src, dst, protocol) = (Addr::from(view.src()), Addr::from(view.dst()), view.protocol());
    if view.is_fragment() {
        return Some(Found::Flow { local: (dst, view.ident()), remote: (src, u16::from(protocol.0)) });
    }
    let payload = bytes.get(view.header_len()..)?;
    match protocol {
        Protocol::TCP | Protocol::UDP => flow(dst, src, payload),
        Protocol::ICMP => match payload.first()? {
            // Unreachable, time exceeded, parameter problem.
            3 | 11 | 12 => quoted_v4(payload.get(8..)?).or(Some(between(dst, src))),
            _ => Some(between(dst, src)),
        },
        _ => Some(between(dst, src)),
    }
}

fn home_v6(bytes: &[u8]) -> Option<Found> {
    let view = ipv6::Packet::new_quoted(bytes).ok()?;
    let (src, dst) = (Addr::from(view.src()), Addr::from(view.dst()));
    let payload = bytes.get(ipv6::HEADER_LEN..)?;
    let (protocol, payload) = match upper(view.next_header(), payload)? {
        Upper::Protocol(protocol, payload) => (protocol, payload),
        Upper::Fragment(ident) => {
            let (high, low) = ((ident >> 16) as u16, ident as u16);
            return Some(Found::Flow { local: (dst, high), remote: (src, low) });
        }
    };
    match protocol {
        Protocol::TCP | Protocol::UDP => flow(dst, src, payload),
        Protocol::ICMPV6 => match payload.first()? {
            1..=4 => quoted_v6(payload.get(8..)?).or(Some(between(dst, src))),
            // Discovery: routers and neighbours (RFC 4861).
            133..=137 => Some(Found::Every),
            _ => Some(between(dst, src)),
        },
        _ => Some(between(dst, src)),
    }
}

/// What IPv6's extension headers lead to.
enum Upper<'a> {
    Protocol(Protocol, &'a [u8]),
    /// A part of a datagram, by its identification.
    Fragment(u32),
}

fn upper(first: Protocol, payload: &[u8]) -> Option<Upper<'_>> {
    if matches!(first, Protocol::TCP | Protocol::UDP) {
        return Some(Upper::Protocol(first, payload));
    }
    for extension in ExtensionHeaders::new(first, payload) {
        let extension = extension.ok()?;
        match extension.kind {
            // All of its datagram, thus none (RFC 6946).
            Kind::Fragment(FragmentRepr { offset: 0, more: false, .. }) => {}
            Kind::Fragment(fragment) => return Some(Upper::Fragment(fragment.ident)),
            Kind::Upper(protocol) => {
                return Some(Upper::Protocol(protocol, payload.get(extension.offset..)?));
            }
            _ => {}
        }
    }
    None
}

/// An arriving packet's flow: its destination is the local end.
fn flow(dst: Addr, src: Addr, payload: &[u8]) -> Option<Found> {
    let &[a, b, c, d] = payload.first_chunk::<4>()?;
    let (src_port, dst_port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Some(Found::Flow { local: (dst, dst_port), remote: (src, src_port) })
}

const fn between(dst: Addr, src: Addr) -> Found {
    Found::Flow { local: (dst, 0), remote: (src, 0) }
}

/// A quoted packet is one of ours: its source is the local end.
fn quoted_v4(quote: &[u8]) -> Option<Found> {
    let view = ipv4::Packet::new_quoted(quote).ok()?;
    if view.fragment_offset() != 0 {
        return None;
    }
    let payload = quote.get(view.header_len()..)?;
    quoted(view.src().into(), view.dst().into(), view.protocol(), payload)
}

fn quoted_v6(quote: &[u8]) -> Option<Found> {
    let view = ipv6::Packet::new_quoted(quote).ok()?;
    match upper(view.next_header(), quote.get(ipv6::HEADER_LEN..)?)? {
        Upper::Protocol(protocol, payload) => quoted(view.src().into(), view.dst().into(), protocol, payload),
        Upper::Fragment(_) => None,
    }
}

fn quoted(src: Addr, dst: Addr, protocol: Protocol, payload: &[u8]) -> Option<Found> {
    if matches!(protocol, Protocol::TCP | Protocol::UDP) {
        let Found::Flow { local, remote } = flow(src, dst, payload)? else { return None };
        // `flow` takes the second port for the local one; here it is the first.
        return Some(Found::Flow { local: (src, remote.1), remote: (dst, local.1) });
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use alloc::vec::Vec;

    use freeway_wire::arp::Operation;
    use freeway_wire::{MacAddr, ipv4};
    use proptest::prelude::*;

    use super::*;
    use crate::net::testing::*;

    const KEY: HashKey = HashKey::new([5, 6]);
    const CORES: u32 = 7;
    /// Ports 4000 and 80, and a sequence number.
    const SEGMENT: [u8; 20] = [15, 160, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    fn home_of(frame: &[u8]) -> Home {
        home(frame, &KEY, CORES)
    }

    fn core_of(local: (Addr, u16), remote: (Addr, u16)) -> Home {
        Home::Core(flow_hash(&KEY, local, remote).core(CORES))
    }

    #[test]
    fn a_segment_belongs_where_its_flow_does() {
        let v4 = core_of((OUR_V4.into(), 80), (PEER_V4.into(), 4_000));
        let v6 = core_of((OUR_V6.into(), 80), (PEER_V6.into(), 4_000));
        for protocol in [Protocol::TCP, Protocol::UDP] {
            assert_eq!(home_of(&v4_frame(protocol, &SEGMENT)), v4);
            assert_eq!(home_of(&v6_frame(protocol, &SEGMENT)), v6);
        }
        let options = [&[Protocol::TCP.0, 0, 1, 4, 0, 0, 0, 0][..], &SEGMENT].concat();
        assert_eq!(home_of(&v6_frame(Protocol::DESTINATION, &options)), v6);
        let mut tagged = v4_frame(Protocol::TCP, &SEGMENT);
        tagged.splice(12..12, [0x81, 0, 0, 9]);
        assert_eq!(home_of(&tagged), v4);
    }

    #[test]
    fn an_error_belongs_where_the_quoted_flow_does() {
        let quote = ipv4::Repr { src: OUR_V4, dst: PEER_V4, ..v4_repr(Protocol::TCP, 20) };
        let message = [&[3, 3, 0, 0, 0, 0, 0, 0][..], &v4_packet(&quote, &SEGMENT)].concat();
        let expected = core_of((OUR_V4.into(), 4_000), (PEER_V4.into(), 80));
        assert_eq!(home_of(&v4_frame(Protocol::ICMP, &message)), expected);
        let quote = ipv6::Repr { src: OUR_V6, dst: PEER_V6, ..v6_repr(Protocol::TCP, 20) };
        let message = [&[1, 4, 0, 0, 0, 0, 0, 0][..], &v6_packet(&quote, &SEGMENT)].concat();
        let expected = core_of((OUR_V6.into(), 4_000), (PEER_V6.into(), 80));
        assert_eq!(home_of(&v6_frame(Protocol::ICMPV6, &message)), expected);
    }

    #[test]
    fn fragments_of_a_datagram_meet() {
        let fragment = |offset, more, payload: &[u8]| {
            let mut repr = v4_repr(Protocol::UDP, payload.len());
            (repr.fragment_offset, repr.more_fragments) = (offset, more);
            home_of(&v4_framed(&repr, payload))
        };
        let first = fragment(0, true, &SEGMENT[..16]);
        assert!(matches!(first, Home::Core(_)));
        assert_eq!(fragment(16, true, &[9; 8]), first);
        assert_eq!(fragment(24, false, &[1; 3]), first);
        let v6 = |offset: u16, more: u16| {
            let [a, b] = (offset | more).to_be_bytes();
            let bytes = [&[17, 0, a, b, 0, 0, 1, 9][..], &SEGMENT].concat();
            home_of(&v6_frame(Protocol::FRAGMENT, &bytes))
        };
        assert_eq!(v6(0, 1), v6(24, 0));
        // An atomic fragment is no fragment.
        assert_eq!(v6(0, 0), core_of((OUR_V6.into(), 80), (PEER_V6.into(), 4_000)));
    }

    #[test]
    fn all_cores_learn_neighbours_and_routers() {
        let arp = arp_frame(Operation::REQUEST, PEER_MAC, PEER_V4, MacAddr::UNSPECIFIED, OUR_V4);
        assert_eq!(home_of(&arp), Home::Every);
        for kind in 133..=137 {
            assert_eq!(home_of(&v6_frame(Protocol::ICMPV6, &[kind; 24])), Home::Every);
        }
        assert!(matches!(home_of(&v6_frame(Protocol::ICMPV6, &[128; 24])), Home::Core(_)));
        assert!(matches!(home_of(&v4_frame(Protocol::ICMP, &[8; 24])), Home::Core(_)));
    }

    #[test]
    fn rubbish_belongs_to_nobody() {
        assert_eq!(home_of(&[]), Home::Any);
        assert_eq!(
            home_of(&arp_frame(Operation::REQUEST, PEER_MAC, PEER_V4, PEER_MAC, OUR_V4)[..20]),
            Home::Any
        );
        assert_eq!(home_of(&ethernet(OUR_MAC, PEER_MAC, EtherType(0x88cc), &[0; 50])), Home::Any);
        assert_eq!(home_of(&v4_frame(Protocol::TCP, &SEGMENT)[..30]), Home::Any);
    }

    #[test]
    fn mixed_versions_hash_as_mapped_addresses() {
        let mapped = Addr::from(OUR_V4.to_ipv6_mapped());
        let ends = ((mapped, 1), (PEER_V6.into(), 2));
        assert_eq!(flow_hash(&KEY, (OUR_V4.into(), 1), ends.1), flow_hash(&KEY, ends.0, ends.1));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..120), kind in 0usize..4) {
            let ethertype = [EtherType::IPV4, EtherType::IPV6, EtherType::ARP, EtherType::VLAN][kind];
            let frame: Vec<u8> = ethernet(OUR_MAC, PEER_MAC, ethertype, &bytes);
            for frame in [&frame[..], &bytes[..]] {
                if let Home::Core(core) = home_of(frame) {
                    prop_assert!(core < CORES);
                }
            }
        }
    }
}
