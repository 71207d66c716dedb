//! Checksums of the protocols above IP, over the pseudo-header, the header and the payload.

use core::net::IpAddr;

use super::{Sum, pseudo_header, sum};
use crate::Protocol;
use crate::bytes::U16;

/// Where a protocol keeps its checksum; `None` for one that is not known here.
#[inline]
const fn field(protocol: Protocol) -> Option<U16> {
    match protocol {
        Protocol::TCP => Some(U16(16)),
        Protocol::UDP => Some(U16(6)),
        Protocol::ICMP | Protocol::ICMPV6 => Some(U16(2)),
        _ => None,
    }
}

/// The pseudo-header's sum, where the protocol has one.
#[inline]
fn before(src: IpAddr, dst: IpAddr, protocol: Protocol, len: usize) -> Sum {
    match protocol {
        Protocol::ICMP => Sum::new(),
        _ => pseudo_header(src, dst, protocol, len as u32),
    }
}

/// UDP's zero means "none", so a sum that comes out as zero is written as its other representation (RFC 768).
#[inline]
const fn as_written(protocol: Protocol, checksum: u16) -> u16 {
    match (protocol, checksum) {
        (Protocol::UDP, 0) => 0xffff,
        _ => checksum,
    }
}

/// Computes the checksum of a TCP segment, UDP datagram or ICMP message and writes it; `bytes` begin with its header
/// and end with its payload. Those of other protocols are left as they are.
#[inline]
pub fn fill_transport(src: IpAddr, dst: IpAddr, protocol: Protocol, bytes: &mut [u8]) {
    fill_transport_parts(src, dst, protocol, bytes, Sum::new(), 0);
}

/// The same for a payload that is not (or not wholly) in `front` but was summed where it lies or when it was copied:
/// `rest` is the sum of the `rest_len` bytes behind `front`.
#[inline]
pub fn fill_transport_parts(
    src: IpAddr,
    dst: IpAddr,
    protocol: Protocol,
    front: &mut [u8],
    rest: Sum,
    rest_len: usize,
) {
    let Some(field) = field(protocol) else { return };
    field.set(front, 0);
    let pseudo = before(src, dst, protocol, front.len() + rest_len);
    let checksum = pseudo.add(front).join(rest, front.len()).finish();
    field.set(front, as_written(protocol, checksum));
}

/// Writes only the pseudo-header's sum into the checksum field, for a device that adds the rest.
#[inline]
pub fn seed_transport(src: IpAddr, dst: IpAddr, protocol: Protocol, bytes: &mut [u8]) {
    let Some(field) = field(protocol) else { return };
    field.set(bytes, before(src, dst, protocol, bytes.len()).partial());
}

/// Whether the checksum of a TCP segment, UDP datagram or ICMP message is right; `bytes` are all of it and nothing
/// more. A UDP datagram over IPv4 may do without (zero); nothing else may (RFC 9293 MUST-3, RFC 8200 section 8.1).
/// False for other protocols and for bytes that do not reach to the checksum.
#[inline]
pub fn verify_transport(src: IpAddr, dst: IpAddr, protocol: Protocol, bytes: &[u8]) -> bool {
    let Some(field) = field(protocol) else { return false };
    if bytes.len() < field.0 + 2 {
        return false;
    }
    if protocol == Protocol::UDP && field.get(bytes) == 0 {
        return src.is_ipv4();
    }
    let pseudo = before(src, dst, protocol, bytes.len());
    pseudo.join(sum(bytes), 0).is_valid()
}
