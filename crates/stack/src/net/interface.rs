//! One interface: its link header, its transmit queue, and which frames are meant for it.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use freeway_mem::{Packet, PacketFlags, SharedPacket, TxBurst, TxChecksum};
use freeway_wire::MacAddr;
use freeway_wire::ethernet::EtherType;

use super::address::Cidr;
use super::offload;

/// What to make of the checksums of frames that the port does not vouch for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RxChecksum {
    /// Verify them.
    #[default]
    Verify,
    /// Take them for good without a look: for links whose other end leaves sums unfilled, such as a veth pair.
    Trust,
}

/// How an interface is set up.
#[derive(Clone, Debug)]
pub struct InterfaceConfig {
    /// What people call it.
    pub name: String,
    /// Its MAC address.
    pub mac: MacAddr,
    /// The longest IP packet, in bytes, without the link header.
    pub mtu: u16,
    /// The host's addresses on this link, with their networks' prefixes.
    pub addresses: Vec<Cidr>,
    /// The default router for IPv4.
    pub gateway_v4: Option<Ipv4Addr>,
    /// The default router for IPv6.
    pub gateway_v6: Option<Ipv6Addr>,
    /// What to make of the checksums of arriving frames that the port does not vouch for. Default: verify.
    pub rx_checksum: RxChecksum,
    /// Which TCP and UDP sums the port fills in. Default: none.
    pub tx_checksum: TxChecksum,
    /// Frames that may wait for the port; at the bound the newest goes. Whoever can wait for room, as TCP's text does, leaves
    /// the last eighth to whoever cannot: resets, answers to strangers, datagrams. Default 1,024, 16 bytes each.
    pub tx_queue: usize,
    /// The VLAN that this interface is in: frames go out tagged, and only frames with this tag come in.
    pub vlan: Option<u16>,
}

impl InterfaceConfig {
    /// An Ethernet interface without addresses: MTU 1500, no offloads.
    pub fn new(name: impl Into<String>, mac: MacAddr) -> Self {
        Self {
            name: name.into(),
            mac,
            mtu: 1_500,
            addresses: Vec::new(),
            gateway_v4: None,
            gateway_v6: None,
            rx_checksum: RxChecksum::Verify,
            tx_checksum: TxChecksum::None,
            tx_queue: 1_024,
            vlan: None,
        }
    }
}

/// An Ethernet header of a plain frame, in bytes.
pub(crate) const PLAIN_LEN: usize = 14;
/// The same with a VLAN tag.
pub(crate) const TAGGED_LEN: usize = 18;

/// A link header, ready to be copied in front of a packet.
///
/// ```text
///  0        6        12       14    16          18
///  │ dst    │ src    │ type   │                        plain
///  │ dst    │ src    │ 0x8100 │ tag │ type      │      tagged
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkHeader {
    bytes: [u8; TAGGED_LEN],
    len: u8,
}

impl LinkHeader {
    pub(crate) const EMPTY: Self = Self { bytes: [0; TAGGED_LEN], len: 0 };

    pub(crate) fn new(dst: MacAddr, src: MacAddr, vlan: Option<u16>, ethertype: EtherType) -> Self {
        let mut bytes = [0; TAGGED_LEN];
        bytes[..6].copy_from_slice(&dst.0);
        bytes[6..12].copy_from_slice(&src.0);
        let [a, b] = ethertype.0.to_be_bytes();
        match vlan {
            None => bytes[12..14].copy_from_slice(&[a, b]),
            Some(vid) => {
                let [tpid_a, tpid_b] = EtherType::VLAN.0.to_be_bytes();
                let [vid_a, vid_b] = vid.to_be_bytes();
                bytes[12..18].copy_from_slice(&[tpid_a, tpid_b, vid_a, vid_b, a, b]);
            }
        }
        Self { bytes, len: if vlan.is_some() { TAGGED_LEN as u8 } else { PLAIN_LEN as u8 } }
    }

    pub(crate) const fn dst(&self) -> MacAddr {
        let [a, b, c, d, e, f, ..] = self.bytes;
        MacAddr([a, b, c, d, e, f])
    }

    /// Writes the header in front of a packet; false when there is no room.
    #[inline]
    #[must_use]
    pub(crate) fn prepend(&self, packet: &mut Packet) -> bool {
        // The common length is a constant, so that the copy is two moves.
        if usize::from(self.len) == PLAIN_LEN {
            let Some(room) = packet.prepend(PLAIN_LEN) else { return false };
            room[..PLAIN_LEN].copy_from_slice(&self.bytes[..PLAIN_LEN]);
        } else {
            let Some(room) = packet.prepend(TAGGED_LEN) else { return false };
            room[..TAGGED_LEN].copy_from_slice(&self.bytes);
        }
        true
    }
}

/// One interface at work.
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) mac: MacAddr,
    pub(crate) mtu: u16,
    pub(crate) trusted: bool,
    pub(crate) tx_checksum: TxChecksum,
    pub(crate) vlan: Option<u16>,
    queue: VecDeque<SharedPacket>,
    queue_limit: usize,
    /// Where those stop who can wait.
    queue_patient: usize,
}

impl Interface {
    pub(crate) fn new(config: InterfaceConfig) -> Self {
        Self {
            name: config.name,
            mac: config.mac,
            mtu: config.mtu,
            trusted: config.rx_checksum == RxChecksum::Trust,
            tx_checksum: config.tx_checksum,
            vlan: config.vlan,
            queue: VecDeque::with_capacity(config.tx_queue),
            queue_limit: config.tx_queue,
            queue_patient: config.tx_queue - config.tx_queue / 8,
        }
    }

    /// The header of frames to `dst`.
    pub(crate) fn link_header(&self, dst: MacAddr, ethertype: EtherType) -> LinkHeader {
        LinkHeader::new(dst, self.mac, self.vlan, ethertype)
    }

    /// Makes a frame of an IP packet; false when there is no room for its header.
    #[inline]
    #[must_use]
    pub(crate) fn frame(&self, link: &LinkHeader, packet: &mut Packet) -> bool {
        if !link.prepend(packet) {
            return false;
        }
        if self.tx_checksum == TxChecksum::Requested && packet.flags().contains(PacketFlags::CHECKSUM_NEEDED)
        {
            offload::request(packet, usize::from(link.len));
        }
        true
    }

    /// Queues a frame for the port; false when the queue is full.
    #[inline]
    #[must_use]
    pub(crate) fn enqueue(&mut self, frame: SharedPacket) -> bool {
        let room = self.queue.len() < self.queue_limit;
        if room {
            self.queue.push_back(frame);
        }
        room
    }

    /// Whether there is room for a frame that could wait.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.queue.len() < self.queue_patient
    }

    #[inline]
    pub(crate) fn pending(&self) -> usize {
        self.queue.len()
    }

    #[inline]
    pub(crate) fn drain(&mut self, into: &mut TxBurst) {
        let count = into.remaining_capacity().min(self.queue.len());
        into.extend(self.queue.drain(..count));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::net::testing::pool;

    const DST: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const SRC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    #[test]
    fn headers_are_plain_or_tagged() {
        let pool = pool();
        let plain = LinkHeader::new(DST, SRC, None, EtherType::IPV4);
        let mut packet = pool.alloc().unwrap();
        assert!(plain.prepend(&mut packet));
        assert_eq!(packet.data(), [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
        let tagged = LinkHeader::new(DST, SRC, Some(0x123), EtherType::IPV6);
        let mut packet = pool.alloc().unwrap();
        assert!(tagged.prepend(&mut packet));
        assert_eq!(packet.data()[12..], [0x81, 0, 0x01, 0x23, 0x86, 0xdd]);
        assert_eq!(tagged.dst(), DST);
    }

    #[test]
    fn the_queue_is_bounded_and_drains_by_bursts() {
        let pool = pool();
        let config = InterfaceConfig { tx_queue: 70, ..InterfaceConfig::new("test", SRC) };
        let mut interface = Interface::new(config);
        for number in 0..70 {
            assert_eq!(interface.has_room(), number < 62);
            assert!(interface.enqueue(pool.alloc().unwrap().share()));
        }
        assert!(!interface.enqueue(pool.alloc().unwrap().share()));
        let mut burst = TxBurst::new();
        interface.drain(&mut burst);
        assert_eq!((burst.len(), interface.pending()), (64, 6));
        interface.drain(&mut burst);
        assert_eq!(interface.pending(), 6);
        burst.clear();
        interface.drain(&mut burst);
        assert_eq!((burst.len(), interface.pending()), (6, 0));
    }
}
