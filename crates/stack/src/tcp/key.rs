//! The name of a flow, in 24 bytes.

use core::net::IpAddr;

use crate::net::{Addr, bits};

/// A flow's four-tuple. Addresses of both versions share one form: IPv4 is mapped into `::ffff:0:0/96`. The
/// local address is an index into the host's own addresses, of which there are few.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(crate) struct FlowKey {
    /// The address as one number, in the processor's order; in bytes, so that it needs no alignment.
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
        Self { remote: bits(remote).to_ne_bytes(), remote_port, local_port, local }
    }

    /// The same, the address given as a number.
    #[inline]
    pub(crate) const fn of(local: u16, local_port: u16, remote: Addr, remote_port: u16) -> Self {
        Self { remote: remote.0.to_ne_bytes(), remote_port, local_port, local }
    }

    /// The peer's address as a number.
    #[inline]
    pub(crate) const fn remote_addr(&self) -> Addr {
        Addr(u128::from_ne_bytes(self.remote))
    }

    /// The peer's address.
    #[inline]
    pub(crate) fn remote(&self) -> IpAddr {
        self.remote_addr().into()
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
