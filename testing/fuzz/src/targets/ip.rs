//! IPv4 with its options, IPv6 with its extension headers.

use std::hint::black_box;

use freeway_wire::ipv6::ext::{ExtensionHeaders, FragmentRepr, Kind};
use freeway_wire::{Protocol, ipv4, ipv6};

use super::buffer;

/// IPv4 packets.
pub fn ipv4(data: &[u8]) {
    let packet = ipv4::Packet::new_unchecked(data);
    walk_ipv4(&packet);
    let Ok(packet) = ipv4::Packet::new_checked(data) else { return };
    assert_eq!(packet.header().len() + packet.payload().len(), packet.total_len());
    let Ok(repr) = ipv4::Repr::parse(&packet) else { return };
    let mut bytes = buffer(repr.buffer_len());
    repr.emit(&mut bytes);
    let again = ipv4::Packet::new_quoted(bytes).expect("was just written");
    assert!(again.verify_checksum());
    // A header that lost its options and came to more than fits in the total length cannot be the same.
    assert_eq!(ipv4::Repr::parse(&again), Ok(repr));
}

fn walk_ipv4(packet: &ipv4::Packet<&[u8]>) {
    black_box((packet.version(), packet.header_len(), packet.dscp(), packet.ecn(), packet.total_len()));
    black_box((packet.ident(), packet.dont_fragment(), packet.more_fragments(), packet.fragment_offset()));
    black_box((packet.is_fragment(), packet.ttl(), packet.protocol(), packet.checksum()));
    black_box((packet.src(), packet.dst(), packet.header(), packet.payload(), packet.verify_checksum()));
    let _ = black_box(packet.pseudo_header());
    let room = packet.options().as_bytes().len();
    let taken: usize = packet.options().flatten().map(|option| option.data.len() + 2).sum();
    assert!(taken <= room);
}

/// IPv6 packets with their extension headers.
pub fn ipv6(data: &[u8]) {
    let packet = ipv6::Packet::new_unchecked(data);
    black_box((packet.version(), packet.dscp(), packet.ecn(), packet.flow_label(), packet.payload_len()));
    black_box((packet.next_header(), packet.hop_limit(), packet.src(), packet.dst(), packet.payload()));
    let _ = black_box(packet.pseudo_header(Protocol::TCP, 0));
    walk_extensions(packet.extension_headers(), packet.payload());
    let Ok(packet) = ipv6::Packet::new_checked(data) else { return };
    assert_eq!(packet.payload().len(), packet.payload_len());
    let repr = ipv6::Repr::parse(&packet).expect("was checked");
    let mut bytes = buffer(repr.buffer_len());
    repr.emit(&mut bytes);
    assert_eq!(bytes, data[..ipv6::HEADER_LEN]);
    assert_eq!(ipv6::Repr::parse(&ipv6::Packet::new_unchecked(bytes)), Ok(repr));
}

fn walk_extensions(headers: ExtensionHeaders<'_>, payload: &[u8]) {
    let mut offset = 0;
    let mut ended = false;
    for extension in headers {
        assert!(!ended, "nothing comes after the end");
        let Ok(extension) = extension else {
            ended = true;
            continue;
        };
        assert!(extension.offset >= offset && extension.offset <= payload.len());
        assert!(extension.announced_at < ipv6::HEADER_LEN + extension.offset.max(1));
        offset = extension.offset;
        match extension.kind {
            Kind::HopByHop(options) | Kind::Destination(options) => {
                for option in options.flatten() {
                    assert_eq!(payload[option.offset], option.kind.0);
                    black_box((option.kind.action(), option.kind.may_change(), option.data));
                }
            }
            Kind::Fragment(fragment) => same_fragment(fragment),
            Kind::Routing(routing) => {
                black_box(routing);
            }
            Kind::Upper(_) => ended = true,
        }
    }
    assert!(ended, "a walk ends with a protocol or an error");
}

fn same_fragment(fragment: FragmentRepr) {
    let mut bytes = buffer(fragment.buffer_len());
    fragment.emit(&mut bytes);
    assert_eq!(FragmentRepr::parse(&bytes), Ok(fragment));
}
