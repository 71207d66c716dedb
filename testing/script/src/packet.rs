//! The frames of the peer, right or wrong as the scenario wants them.

use std::net::IpAddr;

use freeway_wire::ipv6::ext::FragmentRepr;
use freeway_wire::tcp::{HEADER_LEN, Repr};
use freeway_wire::{Ecn, Protocol, checksum, ethernet, icmpv4, ipv4, ipv6};

use crate::segment::{Icmp, IpWords, Segment, Sum};
use crate::version::{HOST_MAC, PEER_MAC, Version};

/// The payload byte at a place in a stream.
pub(crate) const fn byte_at(place: u32) -> u8 {
    (place.wrapping_mul(31) >> 3) as u8
}

/// The two ends of a packet.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
}

impl Ends {
    /// The ends that the scenario names instead.
    pub(crate) fn or(self, ip: &IpWords) -> Self {
        Self { src: ip.from.unwrap_or(self.src), dst: ip.to.unwrap_or(self.dst) }
    }
}

/// A TCP segment: header, options, payload and sum.
pub(crate) fn tcp(repr: &Repr, payload: &[u8], ends: Ends, segment: &Segment) -> Vec<u8> {
    let mut bytes = vec![0; repr.header_len()];
    repr.emit(&mut bytes);
    if let Some(options) = &segment.raw_options {
        bytes.truncate(HEADER_LEN);
        bytes.extend_from_slice(options);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    let words = segment.data_offset.unwrap_or((bytes.len() / 4) as u8);
    bytes[12] = words << 4 | segment.reserved;
    bytes.extend_from_slice(payload);
    checksum::fill_transport(ends.src, ends.dst, Protocol::TCP, &mut bytes);
    match segment.checksum {
        Sum::Right => {}
        Sum::Wrong => bytes[16] ^= 0xff,
        Sum::Zero => bytes[16..18].fill(0),
    }
    bytes
}

/// An ICMP message; `quote` is the packet it is about.
pub(crate) fn icmp(message: &Icmp, quote: &[u8], ends: Ends, version: Version) -> Vec<u8> {
    let value = message.value.unwrap_or(0);
    let rest = match version {
        Version::Ipv6 => value.to_be_bytes(),
        // RFC 1191: the MTU stands in the lower half; RFC 792: a pointer in the first byte.
        Version::Ipv4 if message.kind == icmpv4::Type::DST_UNREACHABLE.0 => value.to_be_bytes(),
        Version::Ipv4 => (value << 24).to_be_bytes(),
    };
    let mut bytes = vec![message.kind, message.code, 0, 0];
    bytes.extend_from_slice(&rest);
    bytes.extend_from_slice(quote);
    checksum::fill_transport(ends.src, ends.dst, version.icmp(), &mut bytes);
    if message.bad_sum {
        bytes[2] ^= 0xff;
    }
    bytes
}

/// The IP packet that a router or the peer quotes: header and the first bytes of a segment of the host's.
pub(crate) fn quoted(repr: &Repr, len: u32, ends: Ends, cut: Option<usize>) -> Vec<u8> {
    let mut segment = vec![0; repr.header_len() + len as usize];
    repr.emit(&mut segment);
    checksum::fill_transport(ends.src, ends.dst, Protocol::TCP, &mut segment);
    let mut packet = header(ends, Protocol::TCP, segment.len(), &IpWords::default(), None);
    segment.truncate(cut.unwrap_or(segment.len()).min(512));
    packet.extend_from_slice(&segment);
    packet
}

/// The frames that carry an IP packet with this payload: one, or one for each part.
pub(crate) fn frames(ends: Ends, protocol: Protocol, payload: &[u8], ip: &IpWords) -> Vec<Vec<u8>> {
    let (protocol, payload) = extended(protocol, payload, ip);
    let whole = [(0, None)];
    let parts = if ip.parts.is_empty() { &whole[..] } else { &ip.parts };
    let frame = |&(first, end): &(usize, Option<usize>)| {
        let end = end.unwrap_or(payload.len()).min(payload.len());
        let place = (!ip.parts.is_empty()).then_some((first, end < payload.len()));
        let bytes = &payload[first.min(end)..end];
        let packet = header(ends, protocol, bytes.len(), ip, place);
        let dst = ip.mac.unwrap_or(HOST_MAC);
        let ethertype = if ends.dst.is_ipv4() { Version::Ipv4 } else { Version::Ipv6 }.ethertype();
        let mut frame = vec![0; ethernet::HEADER_LEN];
        ethernet::Repr { dst, src: PEER_MAC, ethertype }.emit(&mut frame);
        frame.extend_from_slice(&packet);
        frame.extend_from_slice(bytes);
        frame
    };
    parts.iter().map(frame).collect()
}

/// The payload behind IPv6's extension headers, and the number of the first of them.
fn extended(protocol: Protocol, payload: &[u8], ip: &IpWords) -> (Protocol, Vec<u8>) {
    let mut bytes = Vec::new();
    for (index, (_, header)) in ip.extensions.iter().enumerate() {
        let next = ip.extensions.get(index + 1).map_or(protocol.0, |&(number, _)| number);
        bytes.push(next);
        bytes.extend_from_slice(header);
    }
    bytes.extend_from_slice(payload);
    (ip.extensions.first().map_or(protocol, |&(number, _)| Protocol(number)), bytes)
}

/// The IP header of a packet, or of a part of one: where it begins, and whether more follow.
fn header(ends: Ends, protocol: Protocol, len: usize, ip: &IpWords, part: Option<(usize, bool)>) -> Vec<u8> {
    let (ecn, dscp, ttl) = (ip.ecn.unwrap_or(Ecn::NotEct), ip.dscp.unwrap_or(0), ip.ttl.unwrap_or(64));
    match (ends.src, ends.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut bytes = vec![0; ipv4::HEADER_LEN];
            let repr = ipv4::Repr {
                src,
                dst,
                protocol,
                ttl,
                dscp,
                ecn,
                ident: ip.ident,
                dont_fragment: part.is_none(),
                more_fragments: part.is_some_and(|(_, more)| more),
                fragment_offset: part.map_or(0, |(first, _)| first as u16),
                payload_len: (ip.options.len() + len) as u16,
            };
            repr.emit(&mut bytes);
            bytes.extend_from_slice(&ip.options);
            let words = ip.header_words.unwrap_or((bytes.len() / 4) as u8);
            bytes[0] = ip.version.unwrap_or(4) << 4 | words;
            if let Some(length) = ip.length {
                bytes[2..4].copy_from_slice(&length.to_be_bytes());
            }
            bytes[10..12].fill(0);
            let sum = checksum::sum(&bytes).finish();
            bytes[10..12].copy_from_slice(&sum.to_be_bytes());
            if ip.bad_sum {
                bytes[10] ^= 0xff;
            }
            bytes
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let fragment = part.map(|(first, more)| FragmentRepr {
                next_header: protocol,
                offset: first as u16,
                more,
                ident: u32::from(ip.ident),
            });
            let fragment_len = fragment.map_or(0, |fragment| fragment.buffer_len());
            let mut bytes = vec![0; ipv6::HEADER_LEN + fragment_len];
            let repr = ipv6::Repr {
                src,
                dst,
                next_header: if fragment.is_some() { Protocol::FRAGMENT } else { protocol },
                hop_limit: ttl,
                dscp,
                ecn,
                flow_label: 0,
                payload_len: ip.length.unwrap_or((fragment_len + len) as u16),
            };
            repr.emit(&mut bytes);
            if let Some(fragment) = fragment {
                fragment.emit(&mut bytes[ipv6::HEADER_LEN..]);
            }
            if let Some(version) = ip.version {
                bytes[0] = bytes[0] & 0x0f | version << 4;
            }
            bytes
        }
        // A scenario that mixes the versions gets a packet of nothing.
        _ => Vec::new(),
    }
}
