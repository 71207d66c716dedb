//! The address resolution protocol for IPv4 over Ethernet, RFC 826.
//!
//! ```text
//!  0       2       4   5   6       8               14      18              24      28
//! +-------+-------+---+---+-------+---------------+-------+---------------+-------+
//! | htype | ptype |hln|pln| oper  | sender mac    | s. ip | target mac    | t. ip |
//! +-------+-------+---+---+-------+---------------+-------+---------------+-------+
//!     1    0x0800   6   4
//! ```

use core::net::Ipv4Addr;

use crate::bytes::{Octets, U8, U16};
use crate::ethernet::EtherType;
use crate::{Error, MacAddr, Result};

/// Bytes of an ARP packet for IPv4 over Ethernet.
pub const PACKET_LEN: usize = 28;

const HARDWARE_ETHERNET: u16 = 1;
const MAC_LEN: u8 = 6;
const IPV4_LEN: u8 = 4;

mod field {
    use super::{Octets, U8, U16};

    pub const HARDWARE_TYPE: U16 = U16(0);
    pub const PROTOCOL_TYPE: U16 = U16(2);
    pub const HARDWARE_LEN: U8 = U8(4);
    pub const PROTOCOL_LEN: U8 = U8(5);
    pub const OPERATION: U16 = U16(6);
    pub const SENDER_MAC: Octets<6> = Octets(8);
    pub const SENDER_IP: Octets<4> = Octets(14);
    pub const TARGET_MAC: Octets<6> = Octets(18);
    pub const TARGET_IP: Octets<4> = Octets(24);
}

/// What an ARP packet asks or says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Operation(pub u16);

impl Operation {
    /// Who has this address?
    pub const REQUEST: Self = Self(1);
    /// I have it.
    pub const REPLY: Self = Self(2);
}

/// A view of an ARP packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet<T: AsRef<[u8]>> {
    bytes: T,
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// A view without any check: fields that are not there read as zero.
    #[inline]
    pub const fn new_unchecked(bytes: T) -> Self {
        Self { bytes }
    }

    /// A view of a whole packet for IPv4 over Ethernet.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] when the bytes end too soon, [`Error::BadValue`] for other hardware or protocols.
    #[inline]
    pub fn new_checked(bytes: T) -> Result<Self> {
        let packet = Self { bytes };
        let bytes = packet.bytes.as_ref();
        if bytes.len() < PACKET_LEN {
            return Err(Error::Truncated);
        }
        let ours = field::HARDWARE_TYPE.get(bytes) == HARDWARE_ETHERNET
            && field::PROTOCOL_TYPE.get(bytes) == EtherType::IPV4.0
            && field::HARDWARE_LEN.get(bytes) == MAC_LEN
            && field::PROTOCOL_LEN.get(bytes) == IPV4_LEN;
        if ours { Ok(packet) } else { Err(Error::BadValue) }
    }

    /// The bytes again.
    #[inline]
    pub fn into_inner(self) -> T {
        self.bytes
    }

    /// What is asked or said.
    #[inline]
    pub fn operation(&self) -> Operation {
        Operation(field::OPERATION.get(self.bytes.as_ref()))
    }

    /// The sender's Ethernet address.
    #[inline]
    pub fn sender_mac(&self) -> MacAddr {
        MacAddr(field::SENDER_MAC.get(self.bytes.as_ref()))
    }

    /// The sender's IPv4 address; unspecified in a probe (RFC 5227).
    #[inline]
    pub fn sender_ip(&self) -> Ipv4Addr {
        field::SENDER_IP.get(self.bytes.as_ref()).into()
    }

    /// The target's Ethernet address; without meaning in a request.
    #[inline]
    pub fn target_mac(&self) -> MacAddr {
        MacAddr(field::TARGET_MAC.get(self.bytes.as_ref()))
    }

    /// The target's IPv4 address.
    #[inline]
    pub fn target_ip(&self) -> Ipv4Addr {
        field::TARGET_IP.get(self.bytes.as_ref()).into()
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Writes the fields that say "IPv4 over Ethernet".
    #[inline]
    pub fn set_types(&mut self) {
        let bytes = self.bytes.as_mut();
        field::HARDWARE_TYPE.set(bytes, HARDWARE_ETHERNET);
        field::PROTOCOL_TYPE.set(bytes, EtherType::IPV4.0);
        field::HARDWARE_LEN.set(bytes, MAC_LEN);
        field::PROTOCOL_LEN.set(bytes, IPV4_LEN);
    }

    /// Writes what is asked or said.
    #[inline]
    pub fn set_operation(&mut self, operation: Operation) {
        field::OPERATION.set(self.bytes.as_mut(), operation.0);
    }

    /// Writes the sender's addresses.
    #[inline]
    pub fn set_sender(&mut self, mac: MacAddr, ip: Ipv4Addr) {
        field::SENDER_MAC.set(self.bytes.as_mut(), mac.0);
        field::SENDER_IP.set(self.bytes.as_mut(), ip.octets());
    }

    /// Writes the target's addresses.
    #[inline]
    pub fn set_target(&mut self, mac: MacAddr, ip: Ipv4Addr) {
        field::TARGET_MAC.set(self.bytes.as_mut(), mac.0);
        field::TARGET_IP.set(self.bytes.as_mut(), ip.octets());
    }
}

/// An ARP packet for IPv4 over Ethernet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Repr {
    /// What is asked or said.
    pub operation: Operation,
    /// The sender's Ethernet address.
    pub sender_mac: MacAddr,
    /// The sender's IPv4 address; unspecified in a probe (RFC 5227).
    pub sender_ip: Ipv4Addr,
    /// The target's Ethernet address; without meaning in a request.
    pub target_mac: MacAddr,
    /// The target's IPv4 address.
    pub target_ip: Ipv4Addr,
}

impl Repr {
    /// Reads the packet.
    ///
    /// # Errors
    ///
    /// Those of [`Packet::new_checked`], for a view that was made unchecked.
    #[inline]
    pub fn parse<T: AsRef<[u8]>>(packet: &Packet<T>) -> Result<Self> {
        let packet = Packet::new_checked(packet.bytes.as_ref())?;
        Ok(Self {
            operation: packet.operation(),
            sender_mac: packet.sender_mac(),
            sender_ip: packet.sender_ip(),
            target_mac: packet.target_mac(),
            target_ip: packet.target_ip(),
        })
    }

    /// Bytes that [`emit`](Self::emit) writes.
    #[inline]
    pub const fn buffer_len(&self) -> usize {
        PACKET_LEN
    }

    /// Writes the packet to the front of `bytes`.
    #[inline]
    pub fn emit(&self, bytes: &mut [u8]) {
        let Self { operation, sender_mac, sender_ip, target_mac, target_ip } = *self;
        let Some(packet) = bytes.first_chunk_mut::<PACKET_LEN>() else { return };
        let mut packet = Packet::new_unchecked(packet);
        packet.set_types();
        packet.set_operation(operation);
        packet.set_sender(sender_mac, sender_ip);
        packet.set_target(target_mac, target_ip);
    }
}
