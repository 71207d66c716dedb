//! The common frame, recognised at a glance.
//!
//! Nearly all frames of a busy host are TCP segments or datagrams in whole IP packets without options, sent to one of its
//! addresses at its MAC address. A few comparisons at fixed offsets tell such a frame; whatever fails one of them takes the long
//! way (`link`, `ipv4`, `ipv6`), which finds out what it is, and counts it. So nothing is dropped here.

use core::net::IpAddr;

use freeway_mem::{Packet, PacketFlags};
use freeway_wire::ethernet::EtherType;
use freeway_wire::{Ecn, Protocol, ipv4, ipv6, tcp, udp};

use super::address::{Addr, v4_bits};
use super::interface::PLAIN_LEN;
use super::setup::{is_host_v4, is_host_v6};
use super::{IfaceId, Net};

/// What a plain frame says before its transport's header begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Plain {
    pub(crate) src: Addr,
    pub(crate) dst: Addr,
    /// Which of the host's addresses `dst` is.
    pub(crate) local: u16,
    /// TCP or UDP.
    pub(crate) protocol: Protocol,
    pub(crate) ecn: Ecn,
    /// Whether the checksums need no look.
    pub(crate) trusted: bool,
    /// Bytes in front of the transport's header.
    pub(crate) header_len: usize,
    /// Bytes from there on.
    pub(crate) len: usize,
}

/// The least that a packet of this protocol has; `None` for a protocol whose frames are not plain.
#[inline(always)]
const fn least(protocol: Protocol) -> Option<usize> {
    match protocol {
        Protocol::TCP => Some(tcp::HEADER_LEN),
        Protocol::UDP => Some(udp::HEADER_LEN),
        _ => None,
    }
}

impl Net {
    /// What to know of a plain frame; `None` for any other. Whoever takes it for one [counts](Self::count_plain) it.
    #[inline(always)]
    pub(crate) fn plain(&self, iface: IfaceId, packet: &Packet) -> Option<Plain> {
        let interface = self.interfaces.get(usize::from(iface.0))?;
        let (link, rest) = packet.data().split_first_chunk::<PLAIN_LEN>()?;
        let trusted = interface.trusted || packet.flags().contains(PacketFlags::CHECKSUM_GOOD);
        if interface.vlan.is_some() || link.first_chunk() != Some(&interface.mac.0) {
            return None;
        }
        const IPV4: [u8; 2] = EtherType::IPV4.0.to_be_bytes();
        const IPV6: [u8; 2] = EtherType::IPV6.0.to_be_bytes();
        match [link[12], link[13]] {
            IPV4 => self.plain_v4(rest, trusted),
            IPV6 => self.plain_v6(rest, trusted),
            _ => None,
        }
    }

    /// Counts a plain frame that goes no other way.
    #[inline(always)]
    pub(crate) fn count_plain(&mut self, plain: &Plain) {
        self.counters.frames_in += 1;
        if plain.src.is_v4() {
            self.counters.ipv4_in += 1;
        } else {
            self.counters.ipv6_in += 1;
        }
    }

    #[inline(always)]
    fn plain_v4(&self, bytes: &[u8], trusted: bool) -> Option<Plain> {
        /// The version, and a header of five words.
        const VERSION_IHL: u8 = 0x45;
        /// More fragments, or an offset.
        const IN_PARTS: u16 = 0x3fff;
        let header = bytes.first_chunk::<{ ipv4::HEADER_LEN }>()?;
        let view = ipv4::Packet::new_unchecked(header);
        let fragment = u16::from_be_bytes([header[6], header[7]]);
        let (len, protocol) = (view.total_len(), view.protocol());
        if header[0] != VERSION_IHL
            || fragment & IN_PARTS != 0
            || len > bytes.len()
            || len < ipv4::HEADER_LEN + least(protocol)?
            || !(trusted || view.verify_checksum())
        {
            return None;
        }
        let (src, dst, number) = (view.src(), view.dst(), v4_bits(view.src()));
        let local = self.addresses.find(v4_bits(dst))?;
        if !is_host_v4(src) || self.addresses.is_any_broadcast(src) || self.is_own(number) {
            return None;
        }
        Some(Plain {
            src: Addr(number),
            dst: Addr::from(dst),
            local,
            protocol,
            ecn: view.ecn(),
            trusted,
            header_len: PLAIN_LEN + ipv4::HEADER_LEN,
            len: len - ipv4::HEADER_LEN,
        })
    }

    #[inline]
    fn plain_v6(&self, bytes: &[u8], trusted: bool) -> Option<Plain> {
        let header = bytes.first_chunk::<{ ipv6::HEADER_LEN }>()?;
        let view = ipv6::Packet::new_unchecked(header);
        let (len, protocol) = (view.payload_len(), view.next_header());
        if view.version() != 6 || len > bytes.len() - ipv6::HEADER_LEN || len < least(protocol)? {
            return None;
        }
        let (src, dst) = (view.src(), view.dst());
        let local = self.is_local(IpAddr::V6(dst))?;
        if !is_host_v6(src) || self.is_own(src.to_bits()) {
            return None;
        }
        Some(Plain {
            src: Addr::from(src),
            dst: Addr::from(dst),
            local,
            protocol,
            ecn: view.ecn(),
            trusted,
            header_len: PLAIN_LEN + ipv6::HEADER_LEN,
            len,
        })
    }

    /// Whether an address, as a number, is one of this host's. A packet "from us to us" that came by the wire is an attack
    /// (LAND).
    #[inline]
    pub(crate) fn is_own(&self, addr: u128) -> bool {
        self.addresses.contains(addr)
    }
}
