//! The name of a flow, in 24 bytes.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A flow's four-tuple. Addresses of both versions share one form: IPv4 is mapped into `::ffff:0:0/96`. The
/// local address is an index into the host's own addresses, of which there are few.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(crate) struct FlowKey {
    remote: [u8; 16],
    /// The peer's port.
    pub(crate) remote_port: u16,
    /// This side's port.
    pub(crate) local_port: u16,
    /// Which of the host's addresses.
    pub(crate) local: u16,
}

impl FlowKey {
    #[inline]
    pub(crate) const fn new(local: u16, local_port: u16, remote: IpAddr, remote_port: u16) -> Self {
        let remote = match remote {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        Self { remote, remote_port, local_port, local }
    }

    /// The peer's address.
    #[inline]
    pub(crate) const fn remote(&self) -> IpAddr {
        let bits = u128::from_be_bytes(self.remote);
        if bits >> 32 == 0xffff {
            IpAddr::V4(Ipv4Addr::from_bits(bits as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_come_back() {
        for text in ["198.18.0.1", "2001:db8::7", "0.0.0.0", "::"] {
            let addr: IpAddr = text.parse().expect("an address");
            assert_eq!(FlowKey::new(0, 1, addr, 2).remote(), addr);
        }
    }
}
